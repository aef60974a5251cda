"""Section 4, first part: the matching engine and the queue models."""

from __future__ import annotations

from typing import Any

from tests.golden.outcome import Outcome


def queue_model(i: dict[str, Any]) -> Outcome:
    from mm.sim.queue import trace

    rows, total = trace(i["model"], i["lot"], i["side"], i["tape"])
    return Outcome({"trace": rows, "total_filled": total})


def lob_script(i: dict[str, Any]) -> Outcome:
    from mm.sim.matching import MatchingEngine

    engine = MatchingEngine(stp=i["stp"])
    reports = [engine.handle(event) for event in i["events"]]
    trades = [r for batch in reports for r in batch if r[0] == "trade"]
    return Outcome(
        {
            "reports": reports,
            "n_trades": len(trades),
            "traded_qty": sum(t[4] for t in trades),
            "final_book": engine.final_book(),
        }
    )
