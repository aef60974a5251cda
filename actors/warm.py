"""Load the kernels before the first real event, so that no quote waits for them.

With a cold cache one process compiles them for all actors and ends: compiling takes a hundred megabytes that an actor
would keep, and three actors at once would do the same work three times.
"""

from __future__ import annotations

import fcntl
import logging
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Final

import numba
import numpy as np

from mm.config.schema import RunConfig
from mm.core.instrument import Instrument
from mm.core.types import ACK, ASK, BID, EVENT, EXEC, FILL, LAST
from mm.strategy.executor_core import try_place
from mm.strategy.portfolio import equity
from mm.strategy.quoter import Quoter
from mm.strategy.risk import gate, mark_loss
from mm.strategy.setup import StrategyRecords

log = logging.getLogger(__name__)

_ROOT: Final = Path(__file__).resolve().parents[1]
_SOME_INSTRUMENT: Final = Instrument("WARM-UP", "none", "linear", Decimal("0.1"), Decimal("0.001"), base="WARM")


def warm_kernels() -> None:
    """Make every kernel of the live path ready; with a cold cache the better part of a minute, else a moment."""
    cache = str(numba.config.CACHE_DIR)  # type: ignore[attr-defined]  # numba sets its options at run time
    if cache and not numba.config.DISABLE_JIT:  # type: ignore[attr-defined]
        _compile_elsewhere(Path(cache))
    run_kernels()


def _compile_elsewhere(cache: Path) -> None:
    """Fill the cache from a process of its own, once; harmless where that fails: then we compile ourselves."""
    done = cache / "live-path"
    if done.exists():
        return
    env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))}
    command = [sys.executable, "-c", "from actors.warm import run_kernels; run_kernels()"]
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with (cache / "live-path.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists() and subprocess.run(command, env=env, check=False).returncode == 0:  # noqa: S603
                done.touch()
    except OSError as exc:
        log.info("the kernels are compiled here: %s", exc)


def run_kernels() -> None:
    """Run every kernel of the live path once on invented data."""
    q = Quoter(RunConfig(), [_SOME_INSTRUMENT])
    book = [(1, 1, 50, 599_990 + k, 0, BID, 0) for k in range(5)] + [
        (1, 1, 50, 600_010 + k, 0, ASK, 0) for k in range(5)
    ]
    events = np.array(book, EVENT)
    events["flags"][-1] = LAST
    for ts in (10**18, 10**18 + 10**9):
        events["ts_recv_ns"] = events["ts_exch_ns"] = ts
        q.on_events(events)
        q.on_events(np.frombuffer(events.tobytes(), EVENT))  # as they arrive: read-only is another type to numba
        q.decide(ts)
    execs = np.zeros(2, EXEC)
    execs["kind"] = (ACK, FILL)
    execs["id"], execs["lots"], execs["tick"], execs["side"], execs["maker"] = 1, 1, 599_990, 1, 1
    q.on_execs(execs, [Decimal(0), Decimal(0)])
    q.decide(10**18 + 2 * 10**9, stale=True)
    r = q.records_of(0)
    if r is not None:
        value = equity(r.state[0], r.params[0], 600_000.0)
        mark_loss(r.loss[0], r.limits[0], value, 10**18)
        gate(r.limits[0], r.params[0], r.state[0], r.orders, 1, 599_990, 1, 10**18)
        place_one(r)


def place_one(r: StrategyRecords) -> None:
    """The executor's kernel."""
    try_place(r.limits, r.params, r.state, r.orders, 99, 1, 599_990, 1, 10**18)
