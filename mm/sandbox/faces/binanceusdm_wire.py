"""What the exchange says, in the words of Binance USDⓈ-M futures (fapi)."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Final

import msgspec

from mm.core.instrument import Instrument
from mm.sandbox.account import Account, ClientOrder
from mm.venues.native import wire

POST_ONLY: Final = "post_only_would_cross"
_STATUS: Final = {"filled": "FILLED", "canceled": "CANCELED", "rejected": "REJECTED"}
_FAR: Final = 4_133_404_800_000  # delivery of a perpetual


def text(message: Any) -> str:
    """A message as it goes on the wire."""
    return msgspec.json.encode(message).decode()


def ms(ns: int) -> int:
    """Nanoseconds as the venue's milliseconds."""
    return ns // 1_000_000


def money(exact: str) -> str:
    """An amount with at most eight decimals, as the venue has them."""
    return exact if len(exact) < 20 else format(Decimal(exact).quantize(Decimal("1e-12")), "f")


def instrument_row(one: Instrument) -> dict[str, Any]:
    """A row of ``exchangeInfo``."""
    tick, lot = format(one.tick_size, "f"), format(one.lot_size, "f")
    size = {"minQty": lot, "maxQty": format(one.lot_size * 10_000_000, "f"), "stepSize": lot}
    return {
        "symbol": one.symbol, "pair": one.symbol, "contractType": "PERPETUAL", "deliveryDate": _FAR,
        "onboardDate": 1_569_398_400_000, "status": "TRADING", "maintMarginPercent": "2.5000",
        "requiredMarginPercent": "5.0000", "baseAsset": one.base, "quoteAsset": one.quote, "marginAsset": one.quote,
        "pricePrecision": 2, "quantityPrecision": 3, "baseAssetPrecision": 8, "quotePrecision": 8,
        "underlyingType": "COIN", "triggerProtect": "0.0500", "liquidationFee": "0.012500",
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "100000000", "tickSize": tick},
            {"filterType": "LOT_SIZE", **size}, {"filterType": "MARKET_LOT_SIZE", **size},
            {"filterType": "MAX_NUM_ORDERS", "limit": 200},
            {"filterType": "MIN_NOTIONAL", "notional": format(one.min_notional, "f")},
        ],
        "orderTypes": ["LIMIT", "MARKET"], "timeInForce": ["GTC", "IOC", "FOK", "GTX"],
    }  # fmt: skip


def depth_push(symbol: str, first: int, last: int, before: int, sides: Iterable[dict[str, str]], now_ms: int) -> str:
    """Changes of a book that cover the updates ``first`` to ``last``; ``before``: the last of the previous push."""
    bids, asks = (list(side.items()) for side in sides)
    return text({
        "e": "depthUpdate", "E": now_ms, "T": now_ms, "s": symbol, "U": first, "u": last, "pu": before, "b": bids,
        "a": asks,
    })  # fmt: skip


def trade_push(symbol: str, trade: wire.Trade, now_ms: int, *, aggregate: bool) -> str:
    """A public trade; ``m``: the buyer was the maker."""
    row = {
        "E": now_ms, "T": now_ms, "s": symbol, "p": trade.px, "q": trade.qty, "m": trade.side == "sell",
    }  # fmt: skip
    if aggregate:
        return text({"e": "aggTrade", **row, "a": trade.id, "f": trade.id, "l": trade.id})
    return text({"e": "trade", **row, "t": trade.id, "X": "MARKET"})


def mark_push(symbol: str, mark: str, next_ms: int, now_ms: int) -> str:
    """``markPrice@1s``."""
    row = {"e": "markPriceUpdate", "E": now_ms, "s": symbol, "p": mark, "i": mark, "P": mark, "r": "0.00010000"}
    return text({**row, "T": next_ms})


# --- orders ----------------------------------------------------------------------------------------------------------
def status_of(order: ClientOrder) -> str:
    """``status`` of an order as it stands."""
    if order.status == "open":
        return "PARTIALLY_FILLED" if order.filled_lots else "NEW"
    if order.status == "canceled" and order.reason in {"ioc", "stp"}:
        return "EXPIRED"
    return _STATUS[order.status]


def time_in_force(order: ClientOrder) -> str:
    """GTX is post-only."""
    return "GTX" if order.request.post_only else order.request.tif


def order_row(order: ClientOrder) -> dict[str, Any]:
    """An order in an answer."""
    units, request = order.market.units, order.request
    filled, average = Decimal(units.size(order.filled_lots)), order.average_price or Decimal(0)
    return {
        "orderId": order.oid, "symbol": request.symbol, "status": status_of(order), "clientOrderId": order.cid,
        "price": units.price(order.ticks), "avgPrice": format(average, "f"), "origQty": units.size(order.size_lots),
        "executedQty": format(filled, "f"), "cumQty": format(filled, "f"), "cumQuote": format(filled * average, "f"),
        "timeInForce": time_in_force(order), "type": "LIMIT", "reduceOnly": request.reduce_only,
        "closePosition": False, "side": request.side.upper(), "positionSide": "BOTH", "stopPrice": "0",
        "workingType": "CONTRACT_PRICE", "priceProtect": False, "origType": "LIMIT", "priceMatch": "NONE",
        "selfTradePreventionMode": "NONE", "goodTillDate": 0, "time": ms(order.created_ns),
        "updateTime": ms(order.updated_ns),
    }  # fmt: skip


def order_push(order: ClientOrder, what: str, status: str, filled: str, now_ns: int, **trade: Any) -> str:
    """``ORDER_TRADE_UPDATE``; ``trade`` has what belongs to an execution."""
    units, request = order.market.units, order.request
    average = format(order.average_price or Decimal(0), "f")
    told = {
        "s": request.symbol, "c": order.cid, "S": request.side.upper(), "o": "LIMIT", "f": time_in_force(order),
        "q": units.size(order.size_lots), "p": units.price(order.ticks), "ap": average, "sp": "0", "x": what,
        "X": status, "i": order.oid, "l": "0", "z": filled, "L": "0", "T": ms(now_ns), "t": 0, "b": "0", "a": "0",
        "m": False, "R": request.reduce_only, "wt": "CONTRACT_PRICE", "ot": "LIMIT", "ps": "BOTH", "cp": False,
        "rp": "0", "pP": False, "si": 0, "ss": 0, "V": "NONE", "pm": "NONE", "gtd": 0,
    }  # fmt: skip
    return text({"e": "ORDER_TRADE_UPDATE", "E": ms(now_ns), "T": ms(now_ns), "o": told | trade})


def liquidation_push(fill: wire.Fill, currency: str) -> str:
    """The venue's own order that closes a position without margin: new and filled at once."""
    told = {
        "s": fill.symbol, "c": f"autoclose-{fill.ts}", "S": fill.side.upper(), "o": "LIQUIDATION", "f": "IOC",
        "q": fill.qty, "p": fill.px, "ap": fill.px, "sp": "0", "x": "TRADE", "X": "FILLED", "i": forced_id(fill),
        "l": fill.qty, "z": fill.qty, "L": fill.px, "N": currency, "n": money(fill.fee), "T": ms(fill.ts),
        "t": trade_id(fill), "b": "0", "a": "0", "m": False, "R": True, "wt": "CONTRACT_PRICE", "ot": "LIQUIDATION",
        "ps": "BOTH", "cp": False, "rp": "0", "pP": False, "si": 0, "ss": 0,
    }  # fmt: skip
    return text({"e": "ORDER_TRADE_UPDATE", "E": ms(fill.ts), "T": ms(fill.ts), "o": told})


def forced_id(fill: wire.Fill) -> int:
    """The order id of a liquidation."""
    return (1 << 40) + fill.trade_id


def trade_id(fill: wire.Fill) -> int:
    """One number for each side of a trade."""
    return fill.trade_id * 1_000 + fill.n % 1_000


def own_trade_row(fill: wire.Fill, currency: str) -> dict[str, Any]:
    """A row of ``userTrades``: it names the order by the venue's id alone."""
    return {
        "symbol": fill.symbol, "id": trade_id(fill), "orderId": fill.oid or forced_id(fill), "side": fill.side.upper(),
        "price": fill.px, "qty": fill.qty, "realizedPnl": "0", "marginAsset": currency,
        "quoteQty": format(Decimal(fill.px) * Decimal(fill.qty), "f"), "commission": money(fill.fee),
        "commissionAsset": currency, "time": ms(fill.ts), "positionSide": "BOTH", "buyer": fill.side == "buy",
        "maker": fill.maker,
    }  # fmt: skip


# --- money -----------------------------------------------------------------------------------------------------------
def account_push(
    why: str, balance: str, currency: str, positions: Iterable[wire.Position], now_ns: int
) -> str:  # fmt: skip
    """``ACCOUNT_UPDATE``."""
    rows = [
        {
            "s": p.symbol, "pa": p.size, "ep": p.entry or "0", "bep": p.entry or "0", "cr": "0", "up": p.unrealised,
            "mt": "isolated", "iw": p.margin, "ps": "BOTH",
        }
        for p in positions
    ]  # fmt: skip
    told = {"m": why, "B": [{"a": currency, "wb": money(balance), "cw": money(balance), "bc": "0"}], "P": rows}
    return text({"e": "ACCOUNT_UPDATE", "E": ms(now_ns), "T": ms(now_ns), "a": told})


def account_body(view: wire.AccountView, account: Account, now_ms: int) -> dict[str, Any]:
    """``account``."""
    asset = {
        "asset": view.currency, "walletBalance": money(view.balance), "unrealizedProfit": money(view.unrealised),
        "marginBalance": money(view.equity), "maintMargin": money(view.maintenance),
        "initialMargin": money(view.initial), "positionInitialMargin": "0", "openOrderInitialMargin": "0",
        "crossWalletBalance": money(view.balance), "crossUnPnl": money(view.unrealised),
        "availableBalance": money(view.available), "maxWithdrawAmount": money(view.available), "updateTime": now_ms,
    }  # fmt: skip
    return {
        "totalWalletBalance": asset["walletBalance"], "totalMarginBalance": asset["marginBalance"],
        "availableBalance": asset["availableBalance"], "assets": [asset], "positions": [], "canTrade": bool(account),
    }  # fmt: skip


def position_row(position: wire.Position, currency: str) -> dict[str, Any]:
    """A row of ``positionRisk``."""
    notional = Decimal(position.size) * Decimal(position.mark or position.entry or "0")
    return {
        "symbol": position.symbol, "positionSide": "BOTH", "positionAmt": position.size,
        "entryPrice": position.entry or "0.0", "breakEvenPrice": position.entry or "0.0",
        "markPrice": position.mark or "0", "unRealizedProfit": money(position.unrealised),
        "liquidationPrice": position.liquidation or "0", "isolatedMargin": money(position.margin),
        "notional": format(notional, "f"), "marginAsset": currency, "isolatedWallet": money(position.margin),
        "initialMargin": money(position.margin), "maintMargin": money(position.maintenance),
        "positionInitialMargin": money(position.margin), "openOrderInitialMargin": "0", "adl": 0, "bidNotional": "0",
        "askNotional": "0", "updateTime": ms(position.ts),
    }  # fmt: skip


def income_row(paid: wire.FundingPaid, currency: str, number: int) -> dict[str, Any]:
    """A funding settlement among ``income``."""
    return {
        "symbol": paid.symbol, "incomeType": "FUNDING_FEE", "income": paid.amount, "asset": currency, "info": "",
        "time": ms(paid.ts), "tranId": paid.ts // 1_000 + number, "tradeId": "",
    }  # fmt: skip
