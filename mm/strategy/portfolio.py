"""The only place where position and cash change: exact integers for linear contracts and spot.

Cash of a linear fill is ``-side * tick * lots`` in units of one tick times one lot, its fee an integer in 1e-8 of that
unit. Inverse contracts settle in the base currency, ``PnL = side * Q * (1/entry - 1/exit)``, and are kept in floats.
Equity = cash + position marked - fees + funding, in quote currency.
"""

from __future__ import annotations

from mm.core.jit import hot_kernel
from mm.core.types import FUNDING_RATE_UNIT, Rec


@hot_kernel
def fee_e8(p: Rec, tick: int, lots: int, maker: bool) -> int:
    """Expected fee of a fill on a linear contract or spot, in tick x lot x 1e-8 (negative: a rebate)."""
    rate = p.maker_fee_e8 if maker else p.taker_fee_e8
    return int(tick * lots * rate)


@hot_kernel
def apply_fill(s: Rec, p: Rec, side: int, tick: int, lots: int, maker: bool, fee_units_e8: int) -> None:
    """Book one fill: ``side`` +1 we bought, -1 we sold; ``fee_units_e8`` as charged (``fee_e8`` when simulated)."""
    s.pos_lots += side * lots
    if p.inverse:
        coins = p.unit_value * lots / (tick * p.tick_size)
        s.cash_coin += side * coins
        s.fee_coin += coins * (p.maker_fee_e8 if maker else p.taker_fee_e8) * 1e-8
        s.notional_units += lots
    else:
        s.cash_units -= side * tick * lots
        s.fee_units_e8 += fee_units_e8
        s.notional_units += tick * lots
    s.fills += 1
    if not maker:
        s.taker_fills += 1
    if side > 0:
        s.bought_lots += lots
    else:
        s.sold_lots += lots


@hot_kernel
def funding_flow(p: Rec, pos_lots: int, mark_tick: int, rate_e9: int) -> float:
    """Cash received at a settlement by the holder of a position: a long one pays ``position * mark * rate``."""
    if p.spot:
        return 0.0
    rate = rate_e9 * FUNDING_RATE_UNIT
    if p.inverse:
        return float(-(pos_lots * p.unit_value / (mark_tick * p.tick_size) * rate))
    return float(-(pos_lots * mark_tick * p.unit_value * rate))


@hot_kernel
def apply_funding(s: Rec, p: Rec, mark_tick: int, rate_e9: int) -> None:
    """A funding settlement on the position held now."""
    s.funding += funding_flow(p, s.pos_lots, mark_tick, rate_e9)


@hot_kernel
def apply_liquidation(s: Rec, p: Rec, side: int, tick: int, lots: int, fee_units_e8: int, fee_coin: float) -> None:
    """The venue closed a position, as a taker, for a fee that it chose (the one that fits the contract counts)."""
    fee_coin += s.fee_coin
    apply_fill(s, p, side, tick, lots, False, fee_units_e8)
    s.fee_coin = fee_coin


@hot_kernel
def average_entry(p: Rec, entry: float, pos_lots: int, side: int, tick: int, lots: int) -> float:
    """Average entry [ticks] after a fill on a position: adding averages, reducing leaves it, a flip starts anew."""
    if pos_lots * side < 0:
        return entry if lots <= abs(pos_lots) else float(tick)
    held = abs(pos_lots)
    if held == 0:
        return float(tick)
    if p.inverse:
        return float((held + lots) / (held / entry + lots / tick))
    return float((held * entry + lots * tick) / (held + lots))


@hot_kernel
def equity(s: Rec, p: Rec, mark: float) -> float:
    """Profit since the start in quote currency, position marked at ``mark`` ticks, fees and funding inside."""
    if p.inverse:
        price = mark * p.tick_size
        coins = s.cash_coin - s.pos_lots * p.unit_value / price - s.fee_coin + s.funding
        return float(coins * price)
    paid = s.fee_units_e8 * 1e-8 * p.unit_value
    return float((s.cash_units + s.pos_lots * mark) * p.unit_value - paid + s.funding)


@hot_kernel
def fees_paid(s: Rec, p: Rec, mark: float) -> float:
    """Net fees in quote currency (rebates lower them)."""
    if p.inverse:
        return float(s.fee_coin * mark * p.tick_size)
    return float(s.fee_units_e8 * 1e-8 * p.unit_value)
