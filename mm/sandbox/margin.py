"""Isolated margin in exact decimals: what positions and orders of an account need, and when a position is taken over.

A position is backed by its initial margin (value at entry over leverage) or by what the balance still holds; its
unrealised profit stands behind it alone. Orders need the margin of the position they could make: of bids and asks only
one side can add to it, so the larger counts, and what merely closes needs nothing. Maintenance margin is tiered,
``max_i(value * rate_i - deduction_i)``; a position is taken over at the mark at which margin and unrealised profit no
longer exceed it, and loses no more than its margin. Amounts are in the settlement currency, as in
``mm.core.account_ledger``.
"""

from __future__ import annotations

from decimal import Context, Decimal
from typing import Final

from mm.core.account_ledger import Ledger
from mm.core.perps import liquidation_inverse, liquidation_linear
from mm.sandbox.account import Account, ClientOrder, currency_of
from mm.sandbox.market import Market

_EXACT: Final = Context(prec=50)
_ZERO: Final = Decimal(0)


# --- positions -------------------------------------------------------------------------------------------------------
def unrealised(ledger: Ledger, mark: int | None) -> Decimal:
    """Profit of the open position at a mark price [ticks]."""
    if mark is None or not ledger.lots or ledger.instrument.kind == "spot":
        return _ZERO
    return _EXACT.subtract(ledger.lots * ledger.worth(mark), ledger.cost)


def position_margin(account: Account, market: Market) -> Decimal:
    """Margin behind the position."""
    symbol = market.instrument.symbol
    wanted = abs(account.ledgers[symbol].cost) / account.leverage.get(symbol, 1)
    return max(min(wanted, account.balance(currency_of(market.instrument))), _ZERO) if wanted else _ZERO


def maintenance_margin(ledger: Ledger, market: Market, mark: int | None) -> Decimal:
    """Maintenance margin of the position at a mark price [ticks]."""
    if mark is None or not ledger.lots or ledger.instrument.kind == "spot":
        return _ZERO
    margin = market.rules.maintenance(ledger.instrument.notional(mark, abs(ledger.lots)))
    return margin / ledger.instrument.price(mark) if ledger.instrument.kind == "inverse" else margin


def liquidation_price(account: Account, market: Market) -> Decimal | None:
    """The mark at which the position is taken over, None: there is none. For display: computed in floats."""
    ledger = account.ledgers[market.instrument.symbol]
    entry = ledger.entry
    if entry is None:
        return None
    leverage = float(account.leverage[market.instrument.symbol])
    side, at, best = (1 if ledger.lots > 0 else -1), float(entry), None
    size = float(market.instrument.size(abs(ledger.lots)) * market.instrument.contract_value)
    extra = float(position_margin(account, market)) - abs(float(ledger.cost)) / leverage
    for rate, deduction in market.rules.tiers:
        if ledger.instrument.kind == "inverse":
            found = liquidation_inverse(side, size, at, leverage, float(rate), float(deduction) / at, extra)
            price = found.liq_price_mark_mm
        else:
            price = liquidation_linear(side, size, at, leverage, float(rate), float(deduction), extra).liq_price
        if price is not None and (best is None or side * price > side * best):
            best = price
    return None if best is None else market.instrument.price(round(best / float(market.instrument.tick_size)))


def is_due(account: Account, market: Market, mark: int) -> bool:
    """The position is to be taken over at this mark."""
    ledger = account.ledgers[market.instrument.symbol]
    left = position_margin(account, market) + unrealised(ledger, mark)
    return left <= maintenance_margin(ledger, market, mark)


def take_over_terms(account: Account, market: Market, mark: int) -> tuple[int, Decimal]:
    """(price [ticks], fee rate) at which a position is closed: at the mark, but never for more than its margin."""
    symbol = market.instrument.symbol
    ledger = account.ledgers[symbol]
    margin, side = position_margin(account, market), (1 if ledger.lots > 0 else -1)
    ticks = mark
    worst = ledger.ticks_of_worth((ledger.cost - margin) / ledger.lots, up=side > 0)
    if worst is not None and side * worst > side * mark:
        ticks = worst
    left = margin + unrealised(ledger, ticks)
    value = abs(ledger.lots * ledger.worth(ticks))
    return ticks, min(account.fees[symbol][1], max(left, _ZERO) / value)


# --- orders ----------------------------------------------------------------------------------------------------------
def required(
    account: Account, market: Market, order: ClientOrder | None = None, ticks: int = 0, lots: int = 0
) -> Decimal:
    """Initial margin of position and open orders in a market, with ``order`` at that price and open size."""
    symbol = market.instrument.symbol
    ledger = account.ledgers[symbol]
    value, size = {1: _ZERO, -1: _ZERO}, {1: 0, -1: 0}
    for o in account.open.values():
        if o.market is market and o is not order and not o.request.reduce_only:
            value[o.side] += abs(ledger.worth(o.ticks)) * o.lots
            size[o.side] += o.lots
    if order is not None and not order.request.reduce_only:
        value[order.side] += abs(ledger.worth(ticks)) * lots
        size[order.side] += lots
    held, position = ledger.lots, abs(ledger.cost)
    most = position
    for side in (1, -1):
        if held * side >= 0:
            most = max(most, position + value[side])
        elif size[side] > abs(held):
            most = max(most, value[side] * (size[side] - abs(held)) / size[side])
    return most / account.leverage[symbol]


def available(account: Account, markets: dict[str, Market], currency: str) -> Decimal:
    """What is left of a balance for new orders; negative when losses ate into what is needed."""
    used = (required(account, m) for m in markets.values() if _margined(m, currency))
    return account.balance(currency) - sum(used, _ZERO)


def covered(
    account: Account, markets: dict[str, Market], order: ClientOrder, market: Market, ticks: int, lots: int
) -> bool:
    """The balance covers ``order``, new or open, at that price and open size; what needs no more is always covered."""
    currency = currency_of(market.instrument)
    before, after = required(account, market), required(account, market, order, ticks, lots)
    if after <= before:
        return True
    others = (required(account, m) for m in markets.values() if m is not market and _margined(m, currency))
    return after + sum(others, _ZERO) <= account.balance(currency)


def _margined(market: Market, currency: str) -> bool:
    return market.instrument.kind != "spot" and currency_of(market.instrument) == currency
