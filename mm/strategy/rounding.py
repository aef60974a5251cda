"""Post-only rounding of raw quotes to the tick grid.

The bid rounds down and stays below the best ask, the ask rounds up and stays above the best bid; an exact multiple
stays. When the two meet, only the side that reduces |q| is kept (q >= 0 keeps the ask).
"""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from mm.core.jit import hot_kernel

_NO_QUOTE = -(1 << 62)


@hot_kernel
def round_quotes(raw_bid: float, raw_ask: float, best_bid: int, best_ask: int, q: float) -> tuple[int, int, bool, bool]:
    """Quotes in ticks: (bid, ask, has_bid, has_ask).

    Args:
        raw_bid, raw_ask: ticks, nan for no quote on that side.
        best_bid, best_ask: touch of the others' book, ticks.
        q: inventory, any unit; decides which side stays when both meet.
    """
    has_bid = math.isfinite(raw_bid)
    has_ask = math.isfinite(raw_ask)
    bid = min(math.floor(raw_bid), best_ask - 1) if has_bid else _NO_QUOTE
    ask = max(math.ceil(raw_ask), best_bid + 1) if has_ask else _NO_QUOTE
    if has_bid and has_ask and bid >= ask:
        if q >= 0:
            has_bid = False
        else:
            has_ask = False
    return int(bid), int(ask), has_bid, has_ask


def round_quotes_exact(
    raw_bid: Decimal, raw_ask: Decimal, tick: Decimal, best_bid: Decimal, best_ask: Decimal, q: Decimal | float
) -> tuple[Decimal | None, Decimal | None]:
    """The same rule on decimal prices, exact: (bid, ask), None for no quote."""
    bid: Decimal | None = min((raw_bid / tick).to_integral_value(ROUND_FLOOR) * tick, best_ask - tick)
    ask: Decimal | None = max((raw_ask / tick).to_integral_value(ROUND_CEILING) * tick, best_bid + tick)
    if bid is not None and ask is not None and bid >= ask:
        if q >= 0:
            bid = None
        else:
            ask = None
    return bid, ask
