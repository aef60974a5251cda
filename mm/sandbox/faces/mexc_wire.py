"""What the local MEXC writes: protobuf pushes (with ccxt's own generated classes) and JSON rows."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Final

from ccxt.protobuf.mexc.PushDataV3ApiWrapper_pb2 import PushDataV3ApiWrapper

from mm.core.instrument import Instrument
from mm.errors import ConfigError
from mm.sandbox.account import ClientOrder
from mm.sandbox.market import Market
from mm.venues.native import wire

DEPTH: Final = "spot@public.aggre.depth.v3.api.pb"
DEALS: Final = "spot@public.aggre.deals.v3.api.pb"
ORDERS: Final = "spot@private.orders.v3.api.pb"
OWN_DEALS: Final = "spot@private.deals.v3.api.pb"
BALANCES: Final = "spot@private.account.v3.api.pb"

NEW, FILLED, PARTLY_FILLED, CANCELED, PARTLY_CANCELED = 1, 2, 3, 4, 5  # an order's status in pushes
STATUS_NAME: Final = {
    NEW: "NEW", FILLED: "FILLED", PARTLY_FILLED: "PARTIALLY_FILLED", CANCELED: "CANCELED",
    PARTLY_CANCELED: "PARTIALLY_CANCELED",
}  # fmt: skip
TRADE_TYPE: Final = {"buy": 1, "sell": 2}
ORDER_ID_HEAD: Final = "C02__"
AUTO_CID: Final = "~"  # begins the client ids that the exchange gives to orders without one
_ORDER_TYPE: Final = {"LIMIT": 1, "LIMIT_MAKER": 2, "IMMEDIATE_OR_CANCEL": 3, "FILL_OR_KILL": 4}


def order_id(oid: int) -> str:
    """The exchange's order number as the venue writes it."""
    return f"{ORDER_ID_HEAD}{oid:018d}"


def order_number(text: str) -> int:
    """The exchange's number in an order id, 0 when it is none."""
    digits = text.removeprefix(ORDER_ID_HEAD)
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= 18 else 0


def shown_cid(cid: str) -> str:
    """A client order id as the venue shows it: empty when the client gave none."""
    return "" if cid.startswith(AUTO_CID) else cid


def order_type(request: wire.Place) -> str:
    """The venue's name of an order's kind."""
    if request.tif == "IOC":
        return "IMMEDIATE_OR_CANCEL"
    if request.tif == "FOK":
        return "FILL_OR_KILL"
    return "LIMIT_MAKER" if request.post_only else "LIMIT"


# --- pushes ----------------------------------------------------------------------------------------------------------
def _push(channel: str, symbol: str, now_ns: int) -> PushDataV3ApiWrapper:
    now_ms = now_ns // 1_000_000
    return PushDataV3ApiWrapper(channel=channel, symbol=symbol, createTime=now_ms, sendTime=now_ms)


def depth_push(
    channel: str, symbol: str, versions: tuple[int, int], bids: Iterable[wire.Level], asks: Iterable[wire.Level],
    now_ns: int,
) -> bytes:  # fmt: skip
    """Changed levels of versions first..last."""
    push = _push(channel, symbol, now_ns)
    body = push.publicAggreDepths
    for levels, rows in ((body.bids, bids), (body.asks, asks)):
        for px, qty in rows:
            levels.add(price=px, quantity=qty)
    body.eventType = channel.rsplit("@", 1)[0]
    body.fromVersion, body.toVersion = map(str, versions)
    return bytes(push.SerializeToString())


def deals_push(channel: str, symbol: str, trades: Iterable[tuple[wire.Trade, int]], now_ns: int) -> bytes:
    """Public trades, each with its time."""
    push = _push(channel, symbol, now_ns)
    body = push.publicAggreDeals
    for trade, ts_ns in trades:
        body.deals.add(price=trade.px, quantity=trade.qty, tradeType=TRADE_TYPE[trade.side], time=ts_ns // 1_000_000)
    body.eventType = channel.rsplit("@", 1)[0]
    return bytes(push.SerializeToString())


def order_push(order: ClientOrder, status: int, open_qty: str, now_ns: int) -> bytes:
    """An order's state; ``open_qty`` is what remains (or remained when it was canceled)."""
    request = order.request
    size, price = Decimal(request.qty), Decimal(request.px)
    done = size - Decimal(open_qty)
    average = order.average_price or Decimal(0)
    push = _push(ORDERS, request.symbol, now_ns)
    body = push.privateOrders
    body.id, body.clientId = order_id(order.oid), shown_cid(order.cid)
    body.price, body.quantity, body.amount = request.px, request.qty, _text(size * price)
    body.avgPrice = _text(average)
    body.orderType, body.tradeType = _ORDER_TYPE[order_type(request)], TRADE_TYPE[request.side]
    body.isMaker = request.post_only
    body.remainQuantity, body.remainAmount = open_qty, _text(Decimal(open_qty) * price)
    body.lastDealQuantity = body.cumulativeQuantity = _text(done)
    body.cumulativeAmount = _text(done * average)
    body.status, body.createTime = status, order.created_ns // 1_000_000
    return bytes(push.SerializeToString())


def own_deal_push(fill: wire.Fill, fee_currency: str, now_ns: int) -> bytes:
    """One execution."""
    push = _push(OWN_DEALS, fill.symbol, now_ns)
    body = push.privateDeals
    body.price, body.quantity, body.amount = fill.px, fill.qty, _text(Decimal(fill.px) * Decimal(fill.qty))
    body.tradeType, body.isMaker, body.isSelfTrade = TRADE_TYPE[fill.side], fill.maker, False
    body.tradeId, body.clientOrderId, body.orderId = trade_id(fill), shown_cid(fill.cid), order_id(fill.oid)
    body.feeAmount, body.feeCurrency, body.time = fill.fee, fee_currency, fill.ts // 1_000_000
    return bytes(push.SerializeToString())


def balance_push(
    coin: str, amounts: tuple[Decimal, Decimal], changes: tuple[Decimal, Decimal], why: str, now_ns: int
) -> bytes:
    """Free and frozen amount of a coin and how they changed."""
    push = _push(BALANCES, "", now_ns)
    push.ClearField("symbol")
    body = push.privateAccount
    body.vcoinName, body.type, body.time = coin, why, now_ns // 1_000_000
    body.balanceAmount, body.frozenAmount = map(_text, amounts)
    body.balanceAmountChange, body.frozenAmountChange = map(_text, changes)
    return bytes(push.SerializeToString())


# --- rows ------------------------------------------------------------------------------------------------------------
def market_row(instrument: Instrument) -> dict[str, Any]:
    """One symbol of ``exchangeInfo``; raises ``ConfigError`` when the venue could not list it."""
    base, quote = _decimals(instrument, instrument.lot_size), _decimals(instrument, instrument.tick_size)
    return {
        "symbol": instrument.symbol, "status": "1", "baseAsset": instrument.base, "baseAssetPrecision": base,
        "quoteAsset": instrument.quote, "quotePrecision": quote, "quoteAssetPrecision": quote,
        "baseCommissionPrecision": base, "quoteCommissionPrecision": quote,
        "orderTypes": ["LIMIT", "MARKET", "LIMIT_MAKER", "IMMEDIATE_OR_CANCEL", "FILL_OR_KILL"],
        "isSpotTradingAllowed": True, "isMarginTradingAllowed": False, "permissions": ["SPOT"], "filters": [],
        "quoteAmountPrecision": _text(instrument.min_notional), "baseSizePrecision": _text(instrument.lot_size),
        "maxQuoteAmount": "4000000", "makerCommission": _text(instrument.maker_fee),
        "takerCommission": _text(instrument.taker_fee), "fullName": instrument.base, "tradeSideType": 1,
    }  # fmt: skip


def depth_body(market: Market, limit: int, now_ns: int) -> dict[str, Any]:
    """The REST snapshot of a book."""
    book = market.snapshot(now_ns)
    return {
        "lastUpdateId": book.seq,
        "bids": book.bids[:limit],
        "asks": book.asks[:limit],
        "timestamp": now_ns // 1_000_000,
    }


def trade_row(trade: wire.Trade, ts_ns: int) -> dict[str, Any]:
    """One public trade."""
    return {
        "id": None, "price": trade.px, "qty": trade.qty, "quoteQty": _text(Decimal(trade.px) * Decimal(trade.qty)),
        "time": ts_ns // 1_000_000, "isBuyerMaker": trade.side == "sell", "isBestMatch": True,
        "tradeType": "BID" if trade.side == "buy" else "ASK",
    }  # fmt: skip


def aggregate_row(trade: wire.Trade, ts_ns: int) -> dict[str, Any]:
    """One public trade in the short form."""
    return {
        "a": None, "f": None, "l": None, "p": trade.px, "q": trade.qty, "T": ts_ns // 1_000_000,
        "m": trade.side == "sell", "M": True,
    }  # fmt: skip


def taken_row(order: ClientOrder) -> dict[str, Any]:
    """The answer to a new order."""
    request = order.request
    return {
        "symbol": request.symbol, "orderId": order_id(order.oid), "orderListId": -1, "price": request.px,
        "origQty": request.qty, "type": order_type(request), "side": request.side.upper(), "stpMode": "",
        "transactTime": order.created_ns // 1_000_000,
    }  # fmt: skip


def order_row(order: ClientOrder) -> dict[str, Any]:
    """An order as queries and cancels show it."""
    request, units = order.request, order.market.units
    done = units.size(order.filled_lots)
    spent = (order.average_price or Decimal(0)) * Decimal(done)
    cid = shown_cid(order.cid)
    return {
        "symbol": request.symbol, "orderId": order_id(order.oid), "orderListId": -1, "clientOrderId": cid,
        "origClientOrderId": cid, "price": units.price(order.ticks), "origQty": units.size(order.size_lots),
        "executedQty": done, "cummulativeQuoteQty": _text(spent), "status": STATUS_NAME[order_status(order)],
        "timeInForce": None, "type": order_type(request), "side": request.side.upper(), "stopPrice": None,
        "icebergQty": None, "time": order.created_ns // 1_000_000, "updateTime": order.updated_ns // 1_000_000,
        "isWorking": True, "origQuoteOrderQty": "0",
    }  # fmt: skip


def order_status(order: ClientOrder) -> int:
    """The venue's number for how an order stands; it knows no rejected ones, only canceled."""
    if order.status == "filled":
        return FILLED
    if order.status == "open":
        return PARTLY_FILLED if order.filled_lots else NEW
    return PARTLY_CANCELED if order.filled_lots else CANCELED


def own_trade_row(fill: wire.Fill, fee_currency: str) -> dict[str, Any]:
    """One execution in ``myTrades``."""
    return {
        "symbol": fill.symbol, "id": trade_id(fill), "orderId": order_id(fill.oid), "orderListId": -1,
        "price": fill.px, "qty": fill.qty, "quoteQty": _text(Decimal(fill.px) * Decimal(fill.qty)),
        "commission": fill.fee, "commissionAsset": fee_currency, "time": fill.ts // 1_000_000,
        "isBuyer": fill.side == "buy", "isMaker": fill.maker, "isBestMatch": True, "isSelfTrade": False,
        "clientOrderId": shown_cid(fill.cid) or None,
    }  # fmt: skip


def trade_id(fill: wire.Fill) -> str:
    """A trade's id."""
    return f"{fill.trade_id:018d}X1"


def _text(number: Decimal) -> str:
    """Without exponent and trailing zeros."""
    return format(number.normalize(), "f") if number else "0"


def _decimals(instrument: Instrument, step: Decimal) -> int:
    """Decimals of a power of ten: the venue knows no other steps."""
    exponent = step.adjusted()
    if step != Decimal(1).scaleb(exponent) or exponent > 0:
        raise ConfigError(f"{instrument.symbol}: MEXC lists steps of 1, 0.1, 0.01 and so on, not {step}")
    return -exponent
