"""Best bid and ask along a stretch of rows: what reports, plots and quality checks look at."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mm.core.book import Levels, apply, is_valid, new_book
from mm.core.jit import kernel
from mm.core.types import Rec

Column = NDArray[Any]


@kernel
def walk(
    b: Rec, bids: Levels, asks: Levels, kind: Column, tick: Column, lots: Column, best_bid: Levels, best_ask: Levels
) -> None:
    """Apply every row to the book and write the touch after it, in ticks; both are 0 while the book is not valid."""
    for k in range(len(kind)):
        kd = int(kind[k])  # one signature of ``apply`` for every caller
        apply(b, bids, asks, kd, int(tick[k]), int(lots[k]))
        if is_valid(b):
            best_bid[k] = b.bb + b.base_tick
            best_ask[k] = b.ba + b.base_tick
        else:
            best_bid[k] = 0
            best_ask[k] = 0


class Walker:
    """A book that is fed chunk by chunk. ``window`` is (base_tick, n), see ``mm.core.book.window``."""

    def __init__(self, window: tuple[int, int]) -> None:
        self.book, self.bids, self.asks = new_book(*window)

    def feed(self, kind: Column, tick: Column, lots: Column) -> tuple[Levels, Levels]:
        """(best bid, best ask) in ticks after each row, both 0 while one side is missing."""
        best_bid, best_ask = np.empty(len(kind), np.int64), np.empty(len(kind), np.int64)
        walk(self.book[0], self.bids, self.asks, kind, tick, lots, best_bid, best_ask)
        return best_bid, best_ask
