"""``python -m benchmarks.candle_bias [STORE ...]``: what candle mode says of a market that a replay knows better.

The same strategy decides at the same moments, once on the tape and once on candles of its trades; no fees. Printed:
profit per volume in bps under the worst and the best order of events in a candle, against the replay.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from mm.config.schema import RunConfig
from mm.sim.candles import candles_of, simulate_candles
from mm.sim.run import simulate
from mm.sim.tape import open_tape

STEPS_S = (1, 5, 15, 60)
SPREADS_BPS = (0.5, 3, 8)
SEEDS = (1, 2, 3)


def config(source: str, seed: int, spread_bps: float) -> RunConfig:
    """The strategy, without fees."""
    raw: dict[str, Any] = {
        "data": {"source": source, "duration": "600s", "seed": seed},
        "strategy": {
            "model": {"gamma": {"q_max": 5}, "kappa": "2.5/bps", "A": 3},
            "order_size": "200 usd",
            "spread": {"min": f"{spread_bps} bps"},
            "requote": {"threshold": "0 ticks", "min_age": "0s", "max_age": "0s"},
        },
        "risk": {"max_drawdown_usd": 9000, "max_daily_loss_usd": 9000},
        "sim": {"maker_fee": "0 bps"},
    }
    return RunConfig.model_validate(raw)


def compare(source: str, step_s: float, spread_bps: float) -> tuple[float, float, float, int, int]:
    """(replay, worst, best) profit in bps of the replay's volume, fills of the replay and of the worst order."""
    total = np.zeros(6)
    for seed in SEEDS if source == "synth" else SEEDS[:1]:
        cfg = config(source, seed, spread_bps)
        tape = open_tape(cfg.data)
        seen = candles_of(tape, step_s)
        times = seen.rows["ts_ns"]
        truth = simulate(cfg, tape, decide_ns=np.ascontiguousarray(times[times > tape.msg_recv_ns[0]])).metrics
        m: dict[str, Any] = simulate_candles(cfg, seen).metrics
        row = truth["pnl_usd"], m["pnl_usd"], m["pnl_both_filled_usd"], truth["volume_usd"], truth["fills"], m["fills"]
        total += np.array(row, float)
    replay, worst, best = total[:3] / max(total[3], 1.0) * 1e4
    return replay, worst, best, int(total[4]), int(total[5])


def main(sources: list[str]) -> None:
    """Print a Markdown table."""
    print("| tape | candle s | min spread bps | replay bps | worst bps | both filled bps | fills replay / candles |")
    print("|---|---|---|---|---|---|---|")
    for source in sources:
        for step_s in STEPS_S:
            for spread_bps in SPREADS_BPS:
                replay, worst, best, n, m = compare(source, step_s, spread_bps)
                name = source.rstrip("/").rpartition("/")[2]
                print(f"| {name} | {step_s} | {spread_bps:g} | {replay:.2f} | {worst:.2f} | {best:.2f} | {n} / {m} |")


if __name__ == "__main__":
    main(sys.argv[1:] or ["synth"])
