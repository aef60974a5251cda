"""The risk gate and the loss limits: the same functions in the executor, in the risk actor and in a simulated trial."""

from __future__ import annotations

from typing import Final

import numpy as np

from mm.core.jit import hot_kernel
from mm.core.types import FREE, Rec, RecArray

LIMITS = np.dtype(
    [
        ("max_pos_lots", "i8"),  # |position| if every working order of one side filled
        ("max_notional_usd", "f8"),
        ("max_daily_loss_usd", "f8"),
        ("max_drawdown_usd", "f8"),
        ("initial_equity_usd", "f8"),
        ("valid_until_ns", "i8"),  # a lease: past it nothing passes and everything is cancelled
    ]
)

LOSS = np.dtype(
    [
        ("pnl_usd", "f8"),  # profit since the start
        ("peak_usd", "f8"),  # highest, 0 (the starting equity) included
        ("drawdown_usd", "f8"),  # largest so far
        ("day", "i8"),  # UTC day number
        ("day_start_usd", "f8"),
    ]
)

PASS: Final = 0
OVER_POSITION: Final = 1
OVER_NOTIONAL: Final = 2
LEASE_EXPIRED: Final = 3
SHORT_SPOT: Final = 4
GATE_HALTED: Final = 5
BELOW_MINIMUM: Final = 6
GATE_REASONS: Final = (
    "pass", "max_position", "max_notional", "risk_lease_expired", "spot_cannot_short", "halted", "below_min_lots",
)  # fmt: skip

NOT_HALTED: Final = 0
HALT_DAILY_LOSS: Final = 1
HALT_DRAWDOWN: Final = 2
HALT_OPERATOR: Final = 3
HALT_POSITION: Final = 4
HALT_LIQUIDATION: Final = 5
HALT_REASONS: Final = ("", "daily_loss", "drawdown", "operator", "position_mismatch", "liquidation")

DAY_NS: Final = 86_400_000_000_000


@hot_kernel
def worst_position(pos_lots: int, orders: RecArray, side: int) -> int:
    """Position if every working order of ``side`` filled (orders being cancelled still can)."""
    worst = pos_lots
    for k in range(orders.shape[0]):
        if orders[k].state != FREE and orders[k].side == side:
            worst += side * orders[k].lots
    return worst


@hot_kernel
def gate(lim: Rec, p: Rec, s: Rec, orders: RecArray, side: int, tick: int, lots: int, now_ns: int) -> int:
    """May this new order go out? Returns PASS or the reason. O(number of order slots)."""
    if s.halted != NOT_HALTED:
        return GATE_HALTED
    if lim.valid_until_ns < now_ns:
        return LEASE_EXPIRED
    if lots < p.min_lots:
        return BELOW_MINIMUM
    worst = worst_position(s.pos_lots, orders, side) + side * lots
    if p.spot and worst < 0 and side < 0:
        return SHORT_SPOT
    reduces = abs(worst) <= abs(s.pos_lots) and worst * s.pos_lots >= 0
    if reduces:
        return PASS
    if abs(worst) > lim.max_pos_lots:
        return OVER_POSITION
    value = p.unit_value if p.inverse else p.unit_value * tick
    if abs(worst) * value > lim.max_notional_usd:
        return OVER_NOTIONAL
    return PASS


@hot_kernel
def mark_loss(loss: Rec, lim: Rec, pnl_usd: float, now_ns: int) -> int:
    """Update peak, drawdown and the UTC day with a new equity; returns a HALT_* code (NOT_HALTED: all is well)."""
    day = now_ns // DAY_NS
    if day != loss.day:
        loss.day = day
        loss.day_start_usd = loss.pnl_usd  # the last one known, so that a jump over midnight counts; 0 at the start
    loss.pnl_usd = pnl_usd
    loss.peak_usd = max(loss.peak_usd, pnl_usd)
    drawdown = loss.peak_usd - pnl_usd
    loss.drawdown_usd = max(loss.drawdown_usd, drawdown)
    if drawdown > lim.max_drawdown_usd:
        return HALT_DRAWDOWN
    if loss.day_start_usd - pnl_usd > lim.max_daily_loss_usd:
        return HALT_DAILY_LOSS
    return NOT_HALTED
