"""Every venue's adapter against its local exchange, which is a process of its own on the same machine.

    python -m benchmarks.venues [--json] [--venue NAME ...] [--orders 60]

Order round trips (sent to acknowledged, library and codec inside), a lost frame to the fresh snapshot, reconnects by
kind of fault, frames a second through the codec, memory of a process with one connected client. The time of a real
network is not in any of it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import ROOT, Report, best_s
from benchmarks.venue_session import Session, session, until
from mm.core.types import ASK, BID
from mm.sandbox.faces import FACES
from mm.venues.registry import VENUES

PAUSE_S = 0.06  # between orders: the slowest venue takes 20 a second
N_FRAMES = 2_000


def venues() -> list[str]:
    """Venues with an adapter and a local exchange."""
    return sorted((v for v in VENUES if v == "native" or v in FACES), key=lambda v: (v != "native", v))


async def measure(venue: str, n_orders: int, folder: Path) -> dict[str, float]:
    """Every figure of one venue: ms, s, frames/s, MiB."""
    async with session(venue, folder / f"{venue}.log") as s:
        out = await _round_trips(s, n_orders)
        out |= await _codec(s)
        if venue != "native":
            out["gap to resync ms"] = await _gap(s)
            out |= await _reconnects(s)
        out |= await asyncio.to_thread(_memory, s)
    return out


async def _round_trips(s: Session, n: int) -> dict[str, float]:
    acks, cancels = [], []
    for k in range(n + 3):
        ack, cancel = await s.round_trip()
        if k >= 3:  # the first open connections
            acks.append(ack * 1e3)
            cancels.append(cancel * 1e3)
        await asyncio.sleep(PAUSE_S)
    return {
        "place p50 ms": float(np.percentile(acks, 50)),
        "place p99 ms": float(np.percentile(acks, 99)),
        "cancel p50 ms": float(np.percentile(cancels, 50)),
        "cancel p99 ms": float(np.percentile(cancels, 99)),
    }


async def _codec(s: Session) -> dict[str, float]:
    """Frames a second: a busy book's, in order, decoded again by a fresh codec."""
    rng = np.random.default_rng(1)
    deadline = time.monotonic() + 5.0
    while len(s.frames) < N_FRAMES and time.monotonic() < deadline:
        for _ in range(20):
            side, k = int(rng.integers(2)), int(rng.integers(1, 11))
            tick = s.mid + (k if side else -k) * s.step
            await s.play((ASK if side else BID, tick, s.lot + int(rng.integers(100))))
    frames = list(s.frames)
    events = 0

    def run() -> None:
        nonlocal events
        codec = s.venue.make_codec([s.instrument], "")
        events = sum(len(codec.decode_public(raw, 1).events) for raw in frames)

    took_s = best_s(run, repeats=3)
    size = float(np.mean([*map(len, frames)]))
    return {"frames decoded 1/s": len(frames) / took_s, "events decoded 1/s": events / took_s, "frame bytes": size}


async def _gap(s: Session) -> float:
    """Median milliseconds from the notice of a lost frame (a venue of whole books: its loss) to a whole book."""
    took = []
    for n in range(5):
        s.gap_at_s = 0.0
        lost_s = time.perf_counter()
        await s.fault(lose_public=1)
        for k in range(200):
            mark = s.lot + 1_000 * (n + 1) + k
            await s.play((BID, s.mid - 2 * s.step, mark))
            try:
                await until(lambda: s.valid and s.bids.get(s.mid - 2 * s.step) == mark, 0.25)  # noqa: B023
            except TimeoutError:
                continue
            if k:
                break
        took.append((time.perf_counter() - (s.gap_at_s or lost_s)) * 1e3)
    return float(np.median(took))


async def _reconnects(s: Session) -> dict[str, float]:
    """Milliseconds to a whole book or a logged-in client; a silent stall also counts the time until it is noticed."""
    out = {}
    for name, hard in (("feed closed", False), ("feed aborted", True)):
        begun = time.perf_counter()
        await s.fault("public", hard=hard)
        out[f"{name} ms"] = await _feed_again(s, begun)
    begun = time.perf_counter()
    await s.fault(stall_public=True, no_pong=True)
    await s.feed_ended()
    out["stall noticed ms"] = (time.perf_counter() - begun) * 1e3
    await s.fault(stall_public=False, no_pong=False)
    out["feed stalled ms"] = await _feed_again(s, time.perf_counter())
    for name, hard in (("orders closed", False), ("orders aborted", True)):
        begun = time.perf_counter()
        await s.fault("private", hard=hard)
        await asyncio.wait_for(s.trader.closed(), 15)
        await s.trader.connect(s.on_private)
        out[f"{name} ms"] = (time.perf_counter() - begun) * 1e3
    return out


async def _feed_again(s: Session, begun: float) -> float:
    await s.feed_ended()
    s.start_feed()
    await until(lambda: s.valid)
    return (time.perf_counter() - begun) * 1e3


def _memory(s: Session) -> dict[str, float]:
    out = {}
    for role in ("none", "feed", "executor"):
        told = json.dumps({"venue": s.venue.name, "role": role, "options": s.options}) + "\n"
        command = [sys.executable, "-m", "benchmarks.venue_session"]
        done = subprocess.run(command, input=told, capture_output=True, text=True, timeout=60, check=True, cwd=ROOT)
        out[f"memory {role} MiB"] = int(done.stdout) / 2**20
    return out


def run(names: list[str], n_orders: int) -> Report:
    """Measure some venues, one after the other."""
    report = Report("venues", "local exchanges on the loopback")
    report.notes["load"] = os.getloadavg()[1]
    with tempfile.TemporaryDirectory() as folder:
        for venue in names:
            figures = asyncio.run(measure(venue, n_orders, Path(folder)))
            for name, value in figures.items():
                what, _, unit = name.rpartition(" ")
                report.case(f"{venue} {what}", value, unit=unit)
            report.check(f"{venue}_codec_ge_5000_frames_per_s", figures["frames decoded 1/s"] >= 5_000)
            if "gap to resync ms" in figures:
                report.check(f"{venue}_gap_to_resync_le_2s", figures["gap to resync ms"] <= 2_000)
                slowest = max(v for k, v in figures.items() if k.startswith(("feed", "orders")))
                report.check(f"{venue}_reconnect_le_5s", slowest <= 5_000)
                report.check(f"{venue}_stall_noticed_le_5s", figures["stall noticed ms"] <= 5_000)
    return report


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    parser.add_argument("--venue", action="append", choices=venues(), help="only these")
    parser.add_argument("--orders", type=int, default=60, help="round trips of each venue")
    options: Any = parser.parse_args()
    report = run(options.venue or venues(), options.orders)
    report.print(as_json=options.json)
    return 0 if all(report.checks.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
