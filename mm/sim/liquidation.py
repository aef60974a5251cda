"""Isolated margin at the simulated exchange: liquidation prices, the takeover, and the floor under a loss.

The exchange keeps an account of its own per strategy (fills count when they happen, not when they are reported); the
prices are ``mm.strategy.margin``. A liquidated position is closed by the venue within its margin: a gap beyond the
bankruptcy price is the venue's loss.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mm.core.jit import hot_kernel
from mm.core.types import Rec
from mm.sim.reports import report_money, withdraw
from mm.sim.state import LIQUIDATED
from mm.sim.tables import Venue
from mm.strategy.margin import isolated_margin, liquidation_tick, position_value, price_at_loss
from mm.strategy.portfolio import apply_fill, apply_liquidation, average_entry, equity, fee_e8

FAR: Final = 1 << 60
_GRID_SLACK: Final = 1e-6  # ticks: a price this near to the grid is on it


@hot_kernel
def book_fill(a: Rec, p: Rec, z: Rec, tiers: NDArray[np.float64], first: int, side: int, tick: int, lots: int) -> None:
    """The account at the exchange after a maker fill, and where it is liquidated now."""
    z.entry = average_entry(p, z.entry, a.pos_lots, side, tick, lots)
    apply_fill(a, p, side, tick, lots, True, fee_e8(p, tick, lots, True))
    z.liq_tick = liquidation_tick(a, p, z, tiers, first)


@hot_kernel
def watch(cursor: Rec, z: Rec, pos_lots: int, base_tick: int) -> None:
    """Widen the range of mids at which margins are looked at, so that this position's price is in it."""
    if cursor.by_mark or math.isnan(z.liq_tick):
        return
    level = 2.0 * (z.liq_tick - base_tick)
    if pos_lots > 0:
        cursor.liq_lo = max(cursor.liq_lo, math.floor(max(level, -1e15)) + 1)
    else:
        cursor.liq_hi = min(cursor.liq_hi, math.ceil(min(level, 1e15)) - 1)


@hot_kernel
def margin_call(v: Venue, mark: float, ts_ns: int) -> None:
    """Take over every position that is due at this mark [ticks]."""
    cursor = v.cursor[0]
    cursor.liq_lo = -FAR
    cursor.liq_hi = FAR
    for k in range(v.sets.shape[0]):
        pos_lots, liq = v.accounts[k].pos_lots, v.sets[k].liq_tick
        if pos_lots == 0 or math.isnan(liq):
            continue
        if (pos_lots > 0 and mark <= liq) or (pos_lots < 0 and mark >= liq):
            _take_over(v, k, mark, ts_ns)
        else:
            watch(cursor, v.sets[k], pos_lots, v.base_tick)


@hot_kernel
def _take_over(v: Venue, k: int, mark: float, ts_ns: int) -> None:
    """Cancel everything, close the position within its margin, refuse whatever comes next."""
    z, a, p = v.sets[k], v.accounts[k], v.params[k]
    withdraw(v, k, 1, ts_ns)
    withdraw(v, k, -1, ts_ns)
    side = 1 if a.pos_lots > 0 else -1
    lots = abs(a.pos_lots)
    margin = isolated_margin(a, p, z)
    limit = price_at_loss(p, side, lots, z.entry, margin)
    if math.isnan(limit):
        limit = mark
    price = limit
    if z.close_at_mark and side * mark > side * limit:
        price = mark
    # the bankruptcy price rounds towards the entry, so that the grid costs the account nothing
    last_tick = math.ceil(limit - _GRID_SLACK) if side > 0 else math.floor(limit + _GRID_SLACK)
    tick = math.floor(price + _GRID_SLACK) if side > 0 else math.ceil(price - _GRID_SLACK)
    tick = max(int(max(tick, last_tick)), 1) if side > 0 else int(min(tick, last_tick))
    if p.inverse:
        lost = side * lots * p.unit_value * (1.0 / tick - 1.0 / z.entry) / p.tick_size
        fee_coin = min(position_value(p, lots, float(tick)) * p.taker_fee_e8 * 1e-8, max(margin - lost, 0.0))
        fee_units = 0
        z.liquidation_loss_usd = (lost + fee_coin) * tick * p.tick_size
    else:
        lost = side * (z.entry - tick) * lots * p.unit_value
        left = max(margin - lost, 0.0)
        fee_units = min(fee_e8(p, tick, lots, False), int(left / p.unit_value * 1e8))
        fee_coin = 0.0
        z.liquidation_loss_usd = lost + fee_units * 1e-8 * p.unit_value
    apply_liquidation(a, p, -side, tick, lots, fee_units, fee_coin)
    z.liq_tick = math.nan
    z.liquidated_ns = ts_ns
    arrive_ns = report_money(v, k, LIQUIDATED, -side, tick, lots, ts_ns, fee_units, fee_coin)
    cursor = v.cursor[0]
    if cursor.fills < v.fills.shape[0]:
        row = v.fills[cursor.fills]
        row.ts_exch_ns = ts_ns
        row.ts_recv_ns = arrive_ns
        row.order_id = 0
        row.side = -side
        row.tick = tick
        row.lots = lots
        row.mid = mark
        row.set = k
        cursor.fills += 1
    else:
        z.overflow += 1


@hot_kernel
def floored_equity(s: Rec, p: Rec, z: Rec, mid: float) -> float:
    """Profit as the strategy knows it; a margin account owes no more than it holds, whatever has not arrived yet."""
    profit = equity(s, p, mid)
    if z.tiers == 0:
        return float(profit)
    if p.inverse:
        return float(max(profit, -z.wallet * mid * p.tick_size))
    return float(max(profit, -z.wallet))
