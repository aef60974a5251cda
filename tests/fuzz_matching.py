"""``python -m tests.fuzz_matching --ops 1000000``: random operations, the engine against the naive reference.

Scripts of 500 operations on a fresh book under each self-trade policy. After every operation the reports and the
touch must be equal, every few operations the whole book and the engine's internal links.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mm.sim.matching import MatchingEngine
from tests.reference.naive_matching import Naive, Op, check_links, joined, merged, play

SCRIPT = 500
FULL_CHECK_EVERY = 10
POLICIES = ("cancel_newest", "cancel_oldest", "cancel_both")
NAMES = ("new", "new", "new", "cancel", "modify", "level", "take", "clear")


@dataclass(slots=True)
class Tally:
    """What was played."""

    ops: int = 0
    scripts: int = 0
    reports: Counter[str] = field(default_factory=Counter)


def script(rng: np.random.Generator, length: int) -> Iterator[Op]:
    """Operations on 12 prices; ids are mostly fresh, sometimes used before or unknown; bad prices and sizes occur."""
    words = rng.integers(0, 1 << 30, size=(length, 8)).tolist()
    sent: list[tuple[int, int]] = [(1, 1)]  # (price, size) by id
    for name_w, side_w, px_w, qty_w, id_w, kind_w, acct_w, post_w in words:
        name = NAMES[name_w % len(NAMES)]
        side = 1 if side_w & 1 else -1
        px, qty = 1 + px_w % 12, 1 + qty_w % 9
        if px_w % 5:  # mostly on its own side of the middle, so that queues grow
            px = 1 + px_w % 7 if side > 0 else 6 + px_w % 7
        recent = max(0, len(sent) - 1 - id_w % 20)
        if name == "new":
            oid = len(sent) if id_w % 40 else max(recent, 1)  # 0 is the background
            bad = kind_w % 97
            price = None if kind_w % 13 == 0 else px - 13 * (bad == 1)
            if oid == len(sent):
                sent.append((price or 1, qty))
            tif = ("GTC", "GTC", "GTC", "GTC", "GTC", "GTC", "IOC", "FOK")[kind_w % 8]
            yield ("new", oid, "abc"[acct_w % 3], side, price, 0 if bad == 2 else qty, tif, post_w % 4 == 0)
        elif name == "cancel":
            yield ("cancel", recent)
        elif name == "modify":  # half of them at the order's own price: smaller keeps its place, larger loses it
            price, size = sent[recent]
            yield ("modify", recent, price if kind_w % 2 else px - (px_w % 31 == 0), max(size + qty_w % 5 - 3, -1))
        elif name == "level":
            yield ("level", side, px, qty_w % 16)
        elif name == "take":
            yield ("take", side, px, qty)
        elif kind_w % 4 == 0:
            yield ("clear", side, px)
        else:
            yield ("level", side, px, 0)


def play_script(stp: Any, ops: list[Op], tally: Tally, label: str) -> None:
    """One script on both; raises ``AssertionError`` with the operations so far when they differ."""
    engine, naive = MatchingEngine(stp), Naive(stp)
    for k, op in enumerate(ops):
        got, want = joined(play(engine, op)), joined(play(naive, op))
        same = got == want
        if same and (k % FULL_CHECK_EVERY == 0 or k + 1 == len(ops)):
            same = merged(engine.final_book()) == merged(naive.final_book())
            check_links(engine)
        if not same:
            differ = f"{label}, {stp}, operation {k}: {op}\n  engine: {got}\n  naive:  {want}"
            raise AssertionError(f"{differ}\n{ops[: k + 1]}")
        tally.ops += 1
        tally.reports.update(report[0] for report in got)
    tally.scripts += 1


def fuzz(ops: int, seed: int, script_length: int = SCRIPT, progress: Any = None) -> Tally:
    """Play ``ops`` random operations; the k-th script depends on the seed and k only."""
    tally = Tally()
    while tally.ops < ops:
        k = tally.scripts
        rng = np.random.default_rng([seed, k])
        play_script(
            POLICIES[k % 3], list(script(rng, min(script_length, ops - tally.ops))), tally, f"seed {seed}, script {k}"
        )
        if progress is not None:
            progress(tally)
    return tally


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz_matching", description=__doc__)
    parser.add_argument("--ops", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(argv)
    start = time.perf_counter()
    try:
        tally = fuzz(options.ops, options.seed)
    except AssertionError as exc:
        print(exc)
        return 1
    took = time.perf_counter() - start
    counts = ", ".join(f"{name} {n}" for name, n in sorted(tally.reports.items()))
    print(f"{tally.ops} operations in {tally.scripts} scripts, no difference, {took:.1f} s; reports: {counts}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
