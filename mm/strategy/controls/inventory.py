"""Inventory limits: the soft one scales the size of the adding side, the hard one counts working orders as filled.

Inventory is measured from ``strategy.target_inventory``. Limits in quote currency are valued at the mid of the
decision, those in base at their own number; the tighter one counts.
"""

from __future__ import annotations

import numpy as np

from mm.core.jit import hot_kernel
from mm.core.types import FREE, SELL_SIDE, Rec, RecArray
from mm.strategy.controls.draft import shrink
from mm.strategy.controls.names import SOFT_LIMIT

INVENTORY = np.dtype(
    [
        ("soft_lots", "i8"),
        ("hard_lots", "i8"),
        ("soft_usd", "f8"),
        ("hard_usd", "f8"),
        ("skew", "f8"),  # times the model's own
    ]
)
INVENTORY_STATE = np.dtype([("hard_lots", "i8"), ("reduce_only", "i8")])
"""The hard limit and the mode of the last decision, for the orders that follow from it."""


@hot_kernel
def in_lots(p: Rec, usd: float, mid: float) -> int:
    """Whole lots worth ``usd`` at a mid [ticks]."""
    value = p.unit_value if p.inverse else p.unit_value * mid
    return int(min(usd / value, 1e15))


@hot_kernel
def inventory(p: Rec, g: Rec, c: Rec, t: Rec, excess_lots: int, mid: float) -> None:
    """Scale the adding side from the order size at the soft limit down to nothing at the hard one."""
    c.hard_lots = min(g.hard_lots, in_lots(p, g.hard_usd, mid))
    soft = min(g.soft_lots, in_lots(p, g.soft_usd, mid))
    held = abs(excess_lots)
    if held > soft:
        left = max(c.hard_lots - held, 0)
        shrink(t, 1 if excess_lots > 0 else -1, left / max(c.hard_lots - soft, 1), SOFT_LIMIT)


@hot_kernel
def hard_room(c: Rec, excess_lots: int, side: int) -> int:
    """Lots that the hard limit leaves on a side."""
    return int(max(c.hard_lots - side * excess_lots, 0))


@hot_kernel
def room_beside_working(p: Rec, s: Rec, orders: RecArray, side: int, lots: int) -> int:
    """How much of a new order may go out, with every working order of its side counted as filled.

    Never beyond the hard limit, and while only reducing never past the target; less than the venue's smallest is 0.
    """
    c = s.control.inventory
    excess = s.pos_lots - p.target_lots
    working = 0
    for k in range(orders.shape[0]):
        if orders[k].state != FREE and orders[k].side == side:
            working += orders[k].lots
    room = hard_room(c, excess + side * working, side) if p.controls & (1 << SOFT_LIMIT) else lots
    if c.reduce_only:
        room = min(room, -side * excess - working)
    if p.spot and side == SELL_SIDE:
        room = min(room, s.pos_lots - working)
    room = min(room, lots)
    return int(room) if room >= p.min_lots else 0
