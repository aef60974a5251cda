"""What stands between every model's quote and the order: the inventory limit and the spread bounds.

The optional controls come in between (``mm.strategy.controls.chain``). The bounds are last, so that nothing after them
can move a price except tick rounding away from the touch.
"""

from __future__ import annotations

import math
from typing import Final

from mm.core.jit import hot_kernel
from mm.core.types import Rec

CLAMPED_LIMIT: Final = 0.1  # of the decisions: above it the spread bounds quote, not the model (MATRIX C4)


@hot_kernel
def inventory_lots(p: Rec, pos_lots: int, side: int) -> int:
    """Size of a quote under the inventory limit: the order size, what is left of the limit, or 0."""
    if side > 0:
        room = p.max_inventory_lots - (pos_lots - p.target_lots)
    else:
        room = p.max_inventory_lots + (pos_lots - p.target_lots)
        if p.spot:
            room = min(room, pos_lots)
    lots = min(p.order_lots, room)
    return lots if lots >= p.min_lots else 0


@hot_kernel
def bound_spread(p: Rec, ref: float, raw_bid: float, raw_ask: float) -> tuple[float, float, bool]:
    """Clamp the skew, then the total spread about the reservation price: (bid, ask, moved).

    A quote without its other side (a table model at its inventory limit) may stand where the two-sided rule could put
    it: as far out as half the widest spread, as far in as the largest skew, less half the narrowest spread.
    """
    has_bid = math.isfinite(raw_bid)
    has_ask = math.isfinite(raw_ask)
    if not has_bid or not has_ask:
        far, near = 0.5 * p.max_spread, p.max_skew - 0.5 * p.min_spread
        bid = min(max(raw_bid, ref - far), ref + near) if has_bid else raw_bid
        ask = min(max(raw_ask, ref - near), ref + far) if has_ask else raw_ask
        return bid, ask, (has_bid and bid != raw_bid) or (has_ask and ask != raw_ask)
    skew = 0.5 * (raw_bid + raw_ask) - ref
    spread = raw_ask - raw_bid
    bounded_skew = min(max(skew, -p.max_skew), p.max_skew)
    bounded = min(max(spread, p.min_spread), p.max_spread)
    if bounded_skew == skew and bounded == spread:
        return raw_bid, raw_ask, False
    reservation = ref + bounded_skew
    return reservation - 0.5 * bounded, reservation + 0.5 * bounded, True
