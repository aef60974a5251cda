"""Isolated margin of a position: what is behind it, and the mark at which the venue takes it over.

Pure, in kernel units; the simulated exchange liquidates by it and the liquidation protection looks ahead with it. The
margin of a position is its initial margin at the average entry, or what the wallet has left, whichever is less; the
maintenance margin is tiered, ``max_i(value * rate_i - deduction_i)``, which is convex, so that the liquidation price is
the nearest one over the tiers (FORMULAS section 7).
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mm.config.schema import MarginConfig
from mm.core.jit import hot_kernel
from mm.core.types import Rec
from mm.strategy.portfolio import equity

MAX_TIERS: Final = 16  # of maintenance margin, per strategy
RULES: Final = {"entry_mm": 0, "mark_mm": 1, "mark_mm_fee": 2}
ENTRY_MM: Final = RULES["entry_mm"]
MARK_MM_FEE: Final = RULES["mark_mm_fee"]

_SLACK: Final = 1e-9  # of the wallet: rounding refuses nobody

MARGIN = np.dtype(
    [
        ("tiers", "i8"),  # of maintenance margin, 0: no margin account
        ("maintenance", "i8"),  # RULES
        ("leverage", "f8"),
        ("wallet", "f8"),  # at the start, quote (inverse: coin)
        ("entry", "f8"),  # average entry of the position, ticks
    ]
)
"""What the functions below read of ``z``; any record with these fields will do."""


def tier_table(margin: MarginConfig, unit_usd: float = 1.0) -> NDArray[np.float64]:
    """(MAX_TIERS, 2) rate and deduction; the deductions make the maintenance margin continuous.

    ``unit_usd``: quote currency per unit of margin (inverse contracts: the reference price, so that it is coin).
    """
    out = np.zeros((MAX_TIERS, 2))
    rate = deduction = 0.0
    for k, tier in enumerate(margin.tiers):
        deduction += tier.above_usd / unit_usd * (tier.rate_pct * 0.01 - rate)
        rate = tier.rate_pct * 0.01
        out[k] = rate, deduction
    return out


@hot_kernel
def position_value(p: Rec, lots: int, tick: float) -> float:
    """Position value in quote (linear) or coin (inverse)."""
    if p.inverse:
        return float(lots * p.unit_value / (tick * p.tick_size))
    return float(lots * p.unit_value * tick)


@hot_kernel
def isolated_margin(a: Rec, p: Rec, z: Rec) -> float:
    """Margin behind the position of account ``a``, quote (linear) or coin (inverse): no less than nothing."""
    profit = equity(a, p, z.entry)
    if p.inverse:
        profit /= z.entry * p.tick_size
    return float(max(min(position_value(p, abs(a.pos_lots), z.entry) / z.leverage, z.wallet + profit), 0.0))


@hot_kernel
def price_at_loss(p: Rec, side: int, lots: int, entry: float, loss: float) -> float:
    """Price [ticks] at which the position has lost that much; nan where no price does."""
    if p.inverse:
        coins = position_value(p, lots, entry) + side * loss
        return lots * p.unit_value / coins / p.tick_size if coins > 0.0 else math.nan
    return float(entry - side * loss / (lots * p.unit_value))


@hot_kernel
def liquidation_tick(a: Rec, p: Rec, z: Rec, tiers: NDArray[np.float64], first: int) -> float:
    """Mark price [ticks] at which the position of account ``a`` is taken over, nan: none; tiers from row ``first``."""
    if z.tiers == 0 or a.pos_lots == 0:
        return math.nan
    side = 1 if a.pos_lots > 0 else -1
    lots = abs(a.pos_lots)
    margin = isolated_margin(a, p, z)
    value = position_value(p, lots, z.entry)
    worst = math.nan
    for t in range(first, first + z.tiers):
        rate, deduction = tiers[t, 0], tiers[t, 1]
        if z.maintenance == ENTRY_MM:
            at = price_at_loss(p, side, lots, z.entry, margin - (value * rate - deduction))
        else:
            if z.maintenance == MARK_MM_FEE:
                rate += p.taker_fee_e8 * 1e-8
            if p.inverse:
                coins = value + side * (margin + deduction)
                at = lots * p.unit_value * (1.0 + side * rate) / coins / p.tick_size if coins > 0.0 else math.nan
            else:
                at = (side * value - margin - deduction) / (lots * p.unit_value * (side - rate))
        if at > 0.0 and not (side * at <= side * worst):
            worst = at
    return worst


@hot_kernel
def covered(a: Rec, p: Rec, z: Rec, side: int, tick: int, lots: int) -> bool:
    """The wallet covers the position that account ``a`` would have if this order filled wholly.

    Wanted is that position's initial margin, value over leverage: what is held at its entry, what the order adds at its
    price. There is what the wallet began with, realised profit, fees and funding. Profit and loss of the open position
    is in neither: isolated, it stands behind that position alone; only a reversal counts what closing brings, at the
    order's price. What merely reduces needs no margin. Of a bid and an ask only one can add to a position: each is
    measured as if alone, as venues count the larger side.

    Spot is paid in full, its fee at the dearer rate with it, out of the quote currency that is held.
    """
    if p.spot:
        price = position_value(p, lots, float(tick)) * (1.0 + max(p.maker_fee_e8, p.taker_fee_e8, 0) * 1e-8)
        return bool(side < 0 or price <= (z.wallet + equity(a, p, 0.0)) * (1.0 + _SLACK))
    held = a.pos_lots * side
    if z.tiers == 0 or held + lots <= 0:
        return True
    mark = z.entry if held >= 0 else float(tick)
    value = position_value(p, max(held, 0), z.entry) + position_value(p, lots + min(held, 0), float(tick))
    profit = equity(a, p, mark)
    if p.inverse:
        profit /= mark * p.tick_size
    return bool(value / z.leverage <= (z.wallet + profit) * (1.0 + _SLACK))
