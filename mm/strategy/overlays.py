"""Controls between the model's quote and the order: each may only widen, shrink, pull or bound.

The chain is a list (``mm.strategy.kernel.decide`` runs it in order) and the spread bounds are its last member, so that
nothing after them can move a price except tick rounding away from the touch.
"""

from __future__ import annotations

import math

from mm.core.jit import kernel
from mm.core.types import Rec


@kernel
def inventory_lots(p: Rec, pos_lots: int, side: int) -> int:
    """Size of a quote under the inventory limit: the order size, what is left of the limit, or 0."""
    if side > 0:
        room = p.max_inventory_lots - pos_lots
    else:
        room = p.max_inventory_lots + pos_lots
        if p.spot:
            room = min(room, pos_lots)
    lots = min(p.order_lots, room)
    return lots if lots >= p.min_lots else 0


@kernel
def bound_spread(p: Rec, ref: float, raw_bid: float, raw_ask: float) -> tuple[float, float, bool]:
    """Clamp the skew, then the total spread about the reservation price: (bid, ask, moved).

    A one-sided quote is bounded as if the missing side mirrored it about the reference.
    """
    has_bid = math.isfinite(raw_bid)
    has_ask = math.isfinite(raw_ask)
    if not has_bid and not has_ask:
        return raw_bid, raw_ask, False
    bid = raw_bid if has_bid else 2.0 * ref - raw_ask
    ask = raw_ask if has_ask else 2.0 * ref - raw_bid
    skew = 0.5 * (bid + ask) - ref
    spread = ask - bid
    bounded_skew = min(max(skew, -p.max_skew), p.max_skew)
    bounded = min(max(spread, p.min_spread), p.max_spread)
    if bounded_skew == skew and bounded == spread:
        return raw_bid, raw_ask, False
    reservation = ref + bounded_skew
    bid = reservation - 0.5 * bounded if has_bid else math.nan
    ask = reservation + 0.5 * bounded if has_ask else math.nan
    return bid, ask, True
