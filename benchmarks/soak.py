"""A desk of five venues for a long time, its wires disturbed at random.

``python -m benchmarks.soak --minutes 30 --json``.

Every ``--every`` seconds one venue's local exchange does one thing that real ones do: sockets dropped with and without
a word, silence, lost, repeated and swapped frames, late and lost answers, errors after an order was accepted, too many
requests, maintenance, REST alone down. At the end the exchanges are asked: nothing may be open, no fill may be missing
or booked twice, no order may have taken.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final, NamedTuple

from actors.desk import Desk
from benchmarks.common import ROOT
from mm.errors import RaymakerError
from mm.sandbox.process import ExchangeHandle, control
from mm.venues.native import wire


class Trouble(NamedTuple):
    """One disturbance: faults set for ``lasts_s`` and taken back, or sockets ended."""

    name: str
    faults: dict[str, Any]
    lasts_s: float = 0.0
    drop: str = ""
    hard: bool = False


TROUBLES: Final = (
    Trouble("public sockets dropped", {}, drop="public"),
    Trouble("public sockets aborted", {}, drop="public", hard=True),
    Trouble("private sockets dropped", {}, drop="private"),
    Trouble("private sockets aborted", {}, drop="private", hard=True),
    Trouble("public silence", {"stall_public": True}, 4.0),
    Trouble("private silence", {"stall_private": True}, 4.0),
    Trouble("public frames lost", {"lose_public": 3}, 1.0),
    Trouble("private frame lost", {"lose_private": 1}, 1.0),
    Trouble("public frame repeated", {"duplicate_public": 2}, 1.0),
    Trouble("private frame repeated", {"duplicate_private": 2}, 1.0),
    Trouble("public frames swapped", {"swap_public": 2}, 1.0),
    Trouble("late answers", {"ack_delay_s": 0.5}, 3.0),
    Trouble("answer lost after accept", {"ack_lost": 2}, 3.0),
    Trouble("error after accept", {"error_after_accept": 2}, 3.0),
    Trouble("too many requests", {"rate_limited": 3}, 3.0),
    Trouble("maintenance", {"maintenance": True}, 3.0),
    Trouble("REST down", {"rest_down": True}, 3.0),
    Trouble("WebSocket down", {"ws_down": True}, 3.0),
)
_CALM: Final = {  # what takes every fault back
    "stall_public": False, "stall_private": False, "lose_public": 0, "lose_private": 0, "duplicate_public": 0,
    "duplicate_private": 0, "swap_public": 0, "ack_delay_s": 0.0, "ack_lost": 0, "error_after_accept": 0,
    "rate_limited": 0, "maintenance": False, "rest_down": False, "ws_down": False,
}  # fmt: skip
_END_S: Final = 20.0  # of calm before the end: what is under way settles


class Disturber(threading.Thread):
    """Does one trouble after another until told to stop."""

    def __init__(self, exchanges: dict[str, ExchangeHandle], seed: int, every_s: float) -> None:
        super().__init__(daemon=True)
        self.done: Counter[str] = Counter()
        self.refused = 0
        self._exchanges, self._every_s = exchanges, every_s
        self._random = random.Random(seed)  # noqa: S311  which trouble comes next
        self._over = threading.Event()

    def run(self) -> None:
        names = sorted(self._exchanges)
        while not self._over.wait(self._every_s):
            name, trouble = self._random.choice(names), self._random.choice(TROUBLES)
            try:
                self._set(name, trouble.faults, trouble.drop, trouble.hard)
                self.done[trouble.name] += 1
                self._over.wait(trouble.lasts_s)
                self._set(name, _CALM)
            except RaymakerError as exc:
                self.refused += 1
                print(f"soak: {name}: {trouble.name}: {exc}", file=sys.stderr)

    def stop(self) -> None:
        """Calm everything down."""
        self._over.set()
        self.join(10)
        for name in self._exchanges:
            self._set(name, _CALM)

    def _set(self, name: str, faults: dict[str, Any], drop: Any = "", hard: bool = False) -> None:
        handle = self._exchanges[name]
        control(handle, wire.Fault(token=handle.control_token, set=faults, drop=drop, hard=hard))


def soak(config: Path, minutes: float, every_s: float, seed: int) -> dict[str, Any]:
    """Run it; returns the report."""
    desk = Desk(config, ["name=soak"])
    desk.start(minutes * 60)
    disturber: Disturber | None = None
    begun = 0.0
    worst_rss: dict[str, float] = {}
    first_rss: dict[str, float] = {}

    def look(status: dict[str, Any]) -> None:
        nonlocal disturber, begun, first_rss
        for name, mb in status["rss_mb"].items():
            worst_rss[name] = max(mb, worst_rss.get(name, 0.0))
        if disturber is None and status["state"] == "running":
            begun, first_rss = time.monotonic(), dict(status["rss_mb"])
            state = json.loads((desk.run_dir / "state" / "desk.json").read_text())
            disturber = Disturber({n: ExchangeHandle(**h) for n, h in state["exchanges"].items()}, seed, every_s)
            disturber.start()
        if disturber is not None and disturber.is_alive() and time.monotonic() - begun > minutes * 60 - _END_S:
            disturber.stop()
        if sys.stderr.isatty() and begun:
            print(f"\rsoak: {time.monotonic() - begun:,.0f} of {minutes * 60:,.0f} s", end="", file=sys.stderr)

    summary = desk.follow(look)
    assert disturber is not None
    return _report(summary, disturber, first_rss, worst_rss)


def _report(
    summary: dict[str, Any], disturber: Disturber, first: dict[str, float], worst: dict[str, float]
) -> dict[str, Any]:
    venues = {}
    for name, v in summary["venues"].items():
        audit = v["fee_audit"]
        venues[name] = {
            "orders": v["orders_sent"], "fills": v["fills"], "booked": audit["fills"], "taker_fills": v["taker_fills"],
            "left_open": v["open_orders_left"], "rejects": v["rejects"], "sessions": v["sessions"],
            "feed_gaps": v["gaps"], "unknown_outcomes": v["unknown_outcomes"], "fee_mismatches": audit["mismatches"],
            "quote_uptime": v["quote_uptime"],
        }  # fmt: skip
    every = list(venues.values())
    checks = {
        "ran_to_its_end": summary["ended"] == "duration" and not summary["error"] and not summary["halted"],
        "fills_on_each": all(v["fills"] for v in every),
        "no_taker_fill": not any(v["taker_fills"] for v in every),
        "nothing_left_open": not any(v["left_open"] for v in every),
        "every_fill_booked_once": all(v["booked"] == v["fills"] for v in every),
        "no_fee_mismatch": not any(v["fee_mismatches"] for v in every),
    }
    grown = {k: round(worst[k] - first[k], 1) for k in first if k in worst and not k.startswith("ray.")}
    return {
        "duration_s": summary["duration_s"], "venues": venues, "troubles": dict(disturber.done),
        "troubles_refused": disturber.refused, "rss_growth_mb": grown, "ended": summary["ended"],
        "error": summary["error"], "halted": summary["halted"], "path": summary["path"], "checks": checks,
        "pass": all(checks.values()),
    }  # fmt: skip


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--every", type=float, default=10.0, help="seconds of calm between two troubles")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--config", type=Path, default=ROOT / "configs" / "five_venues.yaml")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    args = parser.parse_args()
    report = soak(args.config, args.minutes, args.every, args.seed)
    print(json.dumps(report) if args.json else json.dumps(report, indent=1))
    return 0 if report["pass"] else 1


if __name__ == "__main__":
    sys.exit(main())
