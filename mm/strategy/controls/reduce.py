"""Rebalancing and liquidation protection: quote the reducing side only, until the position is back inside.

Both only ever quote: post-only, up to the touch, never more than the position, so that neither can flip it.
"""

from __future__ import annotations

import math

import numpy as np

from mm.core.jit import hot_kernel
from mm.core.types import Rec
from mm.strategy.controls.draft import reduce_only, rescue
from mm.strategy.controls.names import LIQUIDATION, REBALANCE
from mm.strategy.margin import MARGIN, MAX_TIERS, liquidation_tick
from mm.strategy.portfolio import average_entry

BALANCE = np.dtype([("limit_lots", "i8"), ("resume_lots", "i8")])
PROTECTION = np.dtype([("below", "f8"), ("resume", "f8"), ("tiers", "f8", (MAX_TIERS, 2))])
"""Shares of the distance from entry to liquidation that are left; maintenance margin: rate and deduction a tier."""

PROTECTION_STATE = np.dtype([("on", "i8"), ("margin", MARGIN), ("left", "f8")])


@hot_kernel
def rebalance(g: Rec, mode: int, t: Rec, excess_lots: int) -> int:
    """The mode from now on: 1 from beyond the limit until the inventory is back at the resume level."""
    held = abs(excess_lots)
    mode = 1 if held > g.limit_lots or (mode != 0 and held > g.resume_lots) else 0
    if mode:
        reduce_only(t, excess_lots, REBALANCE)
    return mode


@hot_kernel
def note_entry(c: Rec, p: Rec, pos_lots: int, side: int, tick: int, lots: int) -> None:
    """Average entry, before the fill is booked."""
    c.margin.entry = average_entry(p, c.margin.entry, pos_lots, side, tick, lots)


@hot_kernel
def distance_left(g: Rec, c: Rec, p: Rec, s: Rec, mark: float) -> float:
    """Share of the distance from entry to liquidation that is left at ``mark``: 1 at the entry, nan without a price."""
    if s.pos_lots == 0:
        return math.nan
    liq = liquidation_tick(s, p, c.margin, g.tiers, 0)
    if math.isnan(liq) or liq == c.margin.entry:
        return math.nan
    return float((mark - liq) / (c.margin.entry - liq))


@hot_kernel
def protect(g: Rec, c: Rec, p: Rec, s: Rec, t: Rec, mark: float) -> None:
    """Reduce only while too little is left; nothing else may pull that side."""
    # what is too little for an order cannot be reduced: waiting for it to go would keep both sides away
    c.left = distance_left(g, c, p, s, mark) if abs(s.pos_lots) >= p.min_lots else math.nan
    if c.left < g.below:
        c.on = 1
    elif not c.left <= g.resume:
        c.on = 0
    if c.on:
        reduce_only(t, s.pos_lots, LIQUIDATION)
        rescue(t, s.pos_lots)
