"""Fee floor: a maker-maker round trip must earn its fees, ``ask - bid >= (2 * maker fee + margin) * price``.

A rebate lowers the floor; it never makes a spread narrower than the model's.
"""

from __future__ import annotations

import math

from mm.core.jit import hot_kernel
from mm.core.types import Rec
from mm.strategy.controls.names import FEE_FLOOR


@hot_kernel
def fee_floor(floor: float, max_spread: float, t: Rec, raw_bid: float, raw_ask: float) -> tuple[float, float]:
    """Widen about the middle up to the floor [ticks], which never asks for more than ``max_spread``."""
    floor = min(floor, max_spread)
    if not (math.isfinite(raw_bid) and math.isfinite(raw_ask)) or raw_ask - raw_bid >= floor:
        return raw_bid, raw_ask
    t.acting |= 1 << FEE_FLOOR
    middle = 0.5 * (raw_bid + raw_ask)
    return middle - 0.5 * floor, middle + 0.5 * floor
