"""Market guards: no quotes while the market's own spread is too wide or its book too thin."""

from __future__ import annotations

import numpy as np

from mm.core.jit import hot_kernel
from mm.core.types import Rec
from mm.strategy.controls.draft import pull
from mm.strategy.controls.names import MARKET_SPREAD, THIN_BOOK

MARKET = np.dtype([("max_spread", "f8"), ("min_depth_lots", "i8")])  # ticks; inf and 0: off


@hot_kernel
def market_spread(g: Rec, f: Rec, t: Rec) -> None:
    """The others' best ask is too far above their best bid."""
    if f.ask_tick - f.bid_tick > g.max_spread:
        pull(t, 0, MARKET_SPREAD)


@hot_kernel
def thin_book(g: Rec, f: Rec, t: Rec) -> None:
    """One of the sides holds too little near the touch."""
    if min(f.depth_bid_lots, f.depth_ask_lots) < g.min_depth_lots:
        pull(t, 0, THIN_BOOK)
