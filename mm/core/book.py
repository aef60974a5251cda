"""L2 book over a dense window of price levels: one array per side, index = tick - base_tick.

The window is fixed while it lives: a store knows its price range before a replay, and a live feed asks for a new
snapshot (and a new window) when the touch nears an edge. Levels outside the window are counted, not kept.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from mm.core.jit import hot_kernel
from mm.core.levels import clear_asks, clear_bids, set_ask, set_bid
from mm.core.types import ASK, BID, CLEAR_ASK, CLEAR_BID, Rec, RecArray, records

Levels = NDArray[np.int64]

BOOK = np.dtype(
    [
        ("base_tick", "i8"),  # tick of index 0
        ("n", "i8"),  # levels in the window
        ("bb", "i8"),  # index of the best bid, -1 when there is none
        ("ba", "i8"),  # index of the best ask, n when there is none
        ("lowb", "i8"),  # no bid below this index
        ("hia", "i8"),  # no ask above this index
        ("outside", "i8"),  # level updates that fell outside the window
        ("last_trade_tick", "i8"),  # 0 before the first
        ("ts_exch_ns", "i8"),  # of the newest event
        ("ts_recv_ns", "i8"),
    ]
)


def new_book(base_tick: int, n: int) -> tuple[RecArray, Levels, Levels]:
    """An empty book whose window is ticks ``base_tick .. base_tick + n - 1``: (1 BOOK record, bids, asks)."""
    book = records(1, BOOK)
    book[0].base_tick = base_tick
    book[0].n = n
    clear(book[0])
    return book, np.zeros(n, np.int64), np.zeros(n, np.int64)


def window(low_tick: int, high_tick: int, margin: float = 0.02) -> tuple[int, int]:
    """(base_tick, n) of a window that covers a price range and ``margin`` of the price on either side."""
    pad = max(1024, math.ceil(margin * high_tick))
    base = max(0, low_tick - pad)
    return base, high_tick + pad - base + 1


@hot_kernel
def clear(b: Rec) -> None:
    """Mark the book empty. The level arrays are wiped by the caller."""
    b.bb = -1
    b.ba = b.n
    b.lowb = b.n
    b.hia = -1


@hot_kernel
def apply(b: Rec, bids: Levels, asks: Levels, kind: int, tick: int, lots: int) -> None:
    """Apply one market event (``mm.core.types``); trades only move ``last_trade_tick``."""
    i = tick - b.base_tick
    if kind == BID or kind == ASK:
        if i < 0 or i >= b.n:
            b.outside += 1
        elif kind == BID:
            b.bb, b.ba, b.lowb, b.hia = set_bid(bids, asks, i, lots, b.bb, b.ba, b.lowb, b.hia)
        else:
            b.bb, b.ba, b.lowb, b.hia = set_ask(bids, asks, i, lots, b.bb, b.ba, b.lowb, b.hia)
    elif kind == CLEAR_BID:
        b.bb, b.lowb = clear_bids(bids, i, b.bb, b.lowb)
    elif kind == CLEAR_ASK:
        b.ba, b.hia = clear_asks(asks, i, b.ba, b.hia)
    elif kind <= 3:
        b.last_trade_tick = tick


@hot_kernel
def is_valid(b: Rec) -> bool:
    """Both sides are there and do not cross."""
    return bool(b.bb >= 0 and b.ba < b.n and b.bb < b.ba)
