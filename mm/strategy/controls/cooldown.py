"""Fill-imbalance cooldown: a side that is filled one-sidedly, or whose fills turn out badly, is widened, then paused.

Each side has a heat, in order sizes. A fill heats its side and cools the other; a fill whose markout after ``markout``
is worse than ``adverse`` heats its side again. Heat decays with a half-life of wall-clock time, so every pause ends.
Fills are noted where reports are booked (``note_fill``); the decisions read them here.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from mm.core.jit import hot_kernel
from mm.core.types import BUY_SIDE, SELL_SIDE, Rec
from mm.strategy.controls.draft import pull, widen
from mm.strategy.controls.names import COOLDOWN

PENDING: Final = 16  # fills waiting for their markout

COOL = np.dtype(
    [
        ("halflife_s", "f8"),
        ("widen_at", "f8"),  # heat [orders]
        ("pause_at", "f8"),
        ("resume_at", "f8"),
        ("extra", "f8"),  # half-spreads
        ("markout_ns", "i8"),
        ("adverse", "f8"),  # ticks
        ("weight", "f8"),  # heat of an adverse fill, in its own size
    ]
)
COOL_STATE = np.dtype(
    [
        ("ns", "i8"),  # of the last decay
        ("heat_bid", "f8"),
        ("heat_ask", "f8"),
        ("paused_bid", "i8"),
        ("paused_ask", "i8"),
        ("bought_lots", "i8"),  # since the last decision
        ("sold_lots", "i8"),
        ("bought_value", "i8"),  # tick x lot
        ("sold_value", "i8"),
        ("head", "i8"),
        ("tail", "i8"),
        ("due_ns", "i8", (PENDING,)),
        ("price", "f8", (PENDING,)),
        ("signed", "f8", (PENDING,)),  # signed orders: positive bought
    ]
)


@hot_kernel
def note_fill(c: Rec, side: int, tick: int, lots: int) -> None:
    """One of our orders traded."""
    if side > 0:
        c.bought_lots += lots
        c.bought_value += tick * lots
    else:
        c.sold_lots += lots
        c.sold_value += tick * lots


@hot_kernel
def _heat(c: Rec, bid: float, ask: float) -> None:
    c.heat_bid = max(c.heat_bid + bid, 0.0)
    c.heat_ask = max(c.heat_ask + ask, 0.0)


@hot_kernel
def _settle(g: Rec, c: Rec, mid: float) -> None:
    """Markout of the oldest pending fill."""
    k = c.head % PENDING
    c.head += 1
    size = c.signed[k]
    if size * (mid - c.price[k]) < -g.adverse * abs(size):
        _heat(c, g.weight * max(size, 0.0), g.weight * max(-size, 0.0))


@hot_kernel
def _await(g: Rec, c: Rec, size: float, price: float, now_ns: int, mid: float) -> None:
    if c.tail - c.head >= PENDING:
        _settle(g, c, mid)
    k = c.tail % PENDING
    c.tail += 1
    c.due_ns[k] = now_ns + g.markout_ns
    c.price[k] = price
    c.signed[k] = size


@hot_kernel
def warm(g: Rec, c: Rec, order_lots: int, now_ns: int, mid: float) -> None:
    """Bring the heat up to date: decay, fills since the last decision, markouts that are due."""
    kept = 2.0 ** (-max(now_ns - c.ns, 0) * 1e-9 / g.halflife_s)
    c.heat_bid *= kept
    c.heat_ask *= kept
    c.ns = max(now_ns, c.ns)
    bought, sold = c.bought_lots / order_lots, c.sold_lots / order_lots
    if bought > 0.0:
        _await(g, c, bought, c.bought_value / c.bought_lots, now_ns, mid)
    if sold > 0.0:
        _await(g, c, -sold, c.sold_value / c.sold_lots, now_ns, mid)
    _heat(c, bought - sold, sold - bought)
    c.bought_lots = 0
    c.sold_lots = 0
    c.bought_value = 0
    c.sold_value = 0
    while c.head < c.tail and c.due_ns[c.head % PENDING] <= now_ns:
        _settle(g, c, mid)


@hot_kernel
def _paused(g: Rec, heat: float, paused: int) -> int:
    return 1 if heat >= g.pause_at or (paused != 0 and heat > g.resume_at) else 0


@hot_kernel
def cooldown(g: Rec, c: Rec, t: Rec, order_lots: int, now_ns: int, mid: float) -> None:
    """Pause or widen each side by its heat. A paused side's resting order is cancelled: its target has no size."""
    warm(g, c, order_lots, now_ns, mid)
    c.paused_bid = _paused(g, c.heat_bid, c.paused_bid)
    c.paused_ask = _paused(g, c.heat_ask, c.paused_ask)
    if c.paused_bid:
        pull(t, BUY_SIDE, COOLDOWN)
    elif c.heat_bid >= g.widen_at:
        widen(t, BUY_SIDE, g.extra, COOLDOWN)
    if c.paused_ask:
        pull(t, SELL_SIDE, COOLDOWN)
    elif c.heat_ask >= g.widen_at:
        widen(t, SELL_SIDE, g.extra, COOLDOWN)
