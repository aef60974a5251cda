"""Load (or compile) the kernels before the first real event, so that no quote waits for them."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

import numpy as np

from mm.config.schema import RunConfig
from mm.core.instrument import Instrument
from mm.core.types import ACK, ASK, BID, EVENT, EXEC, FILL, LAST
from mm.strategy.executor_core import try_place
from mm.strategy.portfolio import equity
from mm.strategy.quoter import Quoter
from mm.strategy.risk import gate, mark_loss
from mm.strategy.setup import StrategyRecords

_SOME_INSTRUMENT: Final = Instrument("WARM-UP", "none", "linear", Decimal("0.1"), Decimal("0.001"), base="WARM")


def warm_kernels() -> None:
    """Run every kernel of the live path once on invented data; seconds with a cold cache, else a moment."""
    q = Quoter(RunConfig(), [_SOME_INSTRUMENT])
    book = [(1, 1, 50, 599_990 + k, 0, BID, 0) for k in range(5)] + [
        (1, 1, 50, 600_010 + k, 0, ASK, 0) for k in range(5)
    ]
    events = np.array(book, EVENT)
    events["flags"][-1] = LAST
    for ts in (10**18, 10**18 + 10**9):
        events["ts_recv_ns"] = events["ts_exch_ns"] = ts
        q.on_events(events)
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
