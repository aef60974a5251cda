"""Why an exchange refuses an order. Pure: reads accounts and markets, changes nothing."""

from __future__ import annotations

from decimal import Decimal

from mm.sandbox.account import ClientOrder
from mm.sandbox.margin import covered
from mm.sandbox.market import Market


def units_of(market: Market, px: str, qty: str) -> tuple[str, int, int]:
    """(reason to reject or "", ticks, lots) of a price and a size as they came."""
    try:
        ticks = market.units.ticks(px)
    except ValueError:
        return "bad_px", 0, 0
    try:
        lots = market.units.lots(qty)
    except ValueError:
        return "bad_qty", 0, 0
    if ticks <= 0 or lots <= 0:
        return "bad_px" if ticks <= 0 else "bad_qty", 0, 0
    return "", ticks, lots


def why_not(markets: dict[str, Market], order: ClientOrder, market: Market, ticks: int, lots: int) -> str:
    """Why ``order``, new or open, may not have this price and open size; "" if it may."""
    instrument = market.instrument
    if order.request.reduce_only:
        return "" if room_to_reduce(order, market) > 0 else "reduce_only"
    if instrument.notional(ticks, lots) < instrument.min_notional:
        return "min_notional"
    if instrument.kind == "spot":
        return "" if _can_pay(order, market, ticks, lots) else "insufficient_balance"
    return "" if covered(order.account, markets, order, market, ticks, lots) else "insufficient_margin"


def room_to_reduce(order: ClientOrder, market: Market) -> int:
    """Lots of the position that are left for a reduce-only order; one that never rests comes before those that do."""
    held = max(-order.side * order.account.ledgers[market.instrument.symbol].lots, 0)
    if order.request.tif != "GTC":
        return held
    others = (o for o in order.account.open.values() if o.market is market and o.side == order.side and o is not order)
    return held - sum(o.lots for o in others if o.request.reduce_only)


def _can_pay(order: ClientOrder, market: Market, ticks: int, lots: int) -> bool:
    """Spot: inventory covers every open sale, the balance every open purchase with its fee."""
    instrument, account = market.instrument, order.account
    others = [o for o in account.open.values() if o is not order and o.side == order.side]
    if order.side < 0:
        selling = sum(o.lots for o in others if o.market is market)
        return selling + lots <= account.ledgers[instrument.symbol].lots
    spending = sum((o.market.instrument.notional(o.ticks, o.lots) for o in others), instrument.notional(ticks, lots))
    maker, taker = account.fees[instrument.symbol]
    return spending * (1 + max(maker, taker, Decimal(0))) <= account.balance(instrument.quote)
