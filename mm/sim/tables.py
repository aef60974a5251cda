"""What one pass works on, bundled: the tape's columns, the exchange's tables, the strategies' records.

NamedTuples of arrays: inside a kernel a field is as cheap as a variable, and a signature stays readable.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mm.core.book import Levels
from mm.core.types import RecArray

Floats = NDArray[np.float64]
Column = Any  # one column of a tape: any integer dtype, shape (n,); untyped because kernels mix the widths


class Messages(NamedTuple):
    """The tape as the exchange sees it (``mm.sim.tape.Tape``)."""

    words: Column
    lots: Column
    ts_ns: Column
    start: Column
    whole: Column  # (messages,) 0: a part of a message that continues
    base_tick: int


class Venue(NamedTuple):
    """The simulated exchange: its book, and the orders and messages of n strategies (``mm.sim.state``)."""

    cursor: RecArray  # (1,) EXCHANGE
    bids: Column  # (levels,) lots
    asks: Column
    bid_sets: Levels  # (levels,) which strategies rest there, a bit each
    ask_sets: Levels
    bid_orders: RecArray  # (n,) XORDER
    ask_orders: RecArray
    sets: RecArray  # (n,) SET
    params: RecArray  # (n,) PARAMS
    accounts: RecArray  # (n,) STATE as the exchange knows it: fills count when they happen
    tiers: Floats  # (n * MAX_TIERS, 2) maintenance margin: rate, deduction
    refusals: Levels  # (n, REFUSALS) rejected orders by reason
    connections: RecArray  # (2 n,) CONNECTION: orders and responses of each strategy in turn
    series: Levels  # (rows, 2) measured latencies
    due_ns: Levels  # (n,) arrival of each strategy's next command
    flight: RecArray  # (n * FLIGHT_ROWS,) IN_FLIGHT
    reports: RecArray  # (n * REPORT_ROWS,) REPORT
    fills: RecArray  # FILL_ROW, shared
    base_tick: int


class Strategies(NamedTuple):
    """The decision kernel's records (``mm.strategy.state``), one row a strategy."""

    params: RecArray
    model: RecArray
    policy: RecArray
    state: RecArray
    orders: RecArray  # (n,) WORKING
    limits: RecArray
    loss: RecArray
    rate: RecArray
    target: RecArray  # (1,) scratch
    cmds: RecArray  # (MAX_COMMANDS,) scratch


class Observed(NamedTuple):
    """One chunk of what strategies see: ``marks[mark_end[d - 1] : mark_end[d]]`` arrived since the last decision."""

    decide_ns: Levels
    features: RecArray
    marks: RecArray
    mark_end: Levels
