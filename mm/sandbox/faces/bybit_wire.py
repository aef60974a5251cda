"""What the exchange says, in the words of Bybit v5."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

import msgspec

from mm.core.instrument import Instrument
from mm.sandbox.account import Account, ClientOrder
from mm.venues.native import wire

POST_ONLY: Final = "post_only_would_cross"
NO_LINK: Final = "~"  # before the exchange's own name for an order whose client gave none
_SIDE: Final = {"buy": "Buy", "sell": "Sell"}
_TIF: Final = {"GTC": "GTC", "IOC": "IOC", "FOK": "FOK"}
_REFUSALS: Final = {
    "unknown_symbol": (10001, "params error: symbol invalid"),
    "bad_cid": (10001, "params error: OrderLinkId invalid"),
    "duplicate_cid": (110072, "OrderLinkedID is duplicate"),
    "bad_px": (10001, "params error: price invalid"),
    "bad_qty": (10001, "Qty invalid"),
    "min_notional": (110094, "Order does not meet minimum order value 5USDT"),
    "reduce_only": (110017, "current position is zero, cannot fix reduce-only order qty"),
    "insufficient_margin": (110007, "ab not enough for new order"),
    "insufficient_balance": (110007, "ab not enough for new order"),
}
_CANCEL_TYPE: Final = {"user": "CancelByUser", "dead_man": "CancelByDCP", "reduce_only": "CancelByReduceOnly",
                       "liquidation": "CancelByPrepareLiq"}  # fmt: skip
_REASON: Final = {POST_ONLY: "EC_PostOnlyWillTakeLiquidity", "ioc": "EC_NoImmediateQtyToFill",
                  "stp": "EC_CancelForNoFullFill"}  # fmt: skip


class Denied(Exception):
    """The venue says no: ``retCode`` and ``retMsg``."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def read(raw: Any, kind: type[Any]) -> Any:
    """The parameters of a request; raises ``Denied``."""
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as exc:
        raise Denied(10001, f"params error: {exc}") from exc


def whole(params: Mapping[str, Any], name: str, default: int) -> int:
    """A whole number among query parameters; raises ``Denied``."""
    given = str(params.get(name) or "")
    if not given:
        return default
    if not given.isascii() or not given.isdigit() or len(given) > 18:
        raise Denied(10001, f"params error: {name} invalid")
    return int(given)


def text(message: Any) -> str:
    """A message as it goes on the wire."""
    return msgspec.json.encode(message).decode()


def answer(code: int, message: str, result: Any, now_ms: int, ext: Any = None) -> dict[str, Any]:
    """The envelope of every REST answer."""
    return {"retCode": code, "retMsg": message, "result": result, "retExtInfo": ext or {}, "time": now_ms}


def refusal(reason: str) -> tuple[int, str]:
    """The venue's code and words for the exchange's reason."""
    return _REFUSALS.get(reason, (10001, f"params error: {reason}"))


def order_id(oid: int) -> str:
    """The venue's name of an order."""
    digits = f"{oid:032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def oid_of(name: str) -> int:
    """The exchange's number in an ``orderId``, 0 when it is none."""
    try:
        return int(name.replace("-", ""), 16)
    except ValueError:
        return 0


def exec_id(fill: wire.Fill) -> str:
    """The venue's name of an execution: both sides of a trade have their own."""
    return order_id((fill.trade_id << 64) | (fill.oid << 16) | (fill.n & 0xFFFF))


def side(name: wire.Side) -> str:
    """Buy or Sell."""
    return _SIDE[name]


def money(exact: str) -> str:
    """An amount with at most twelve decimals: the exchange is more exact than any venue."""
    return exact if len(exact) < 24 else format(Decimal(exact).quantize(Decimal("1e-12")), "f")


def link_id(cid: str) -> str:
    """The client's own id, "" when it gave none."""
    return "" if cid.startswith(NO_LINK) else cid


def ms(ns: int) -> str:
    """Nanoseconds as the venue's milliseconds."""
    return str(ns // 1_000_000)


def order_row(order: ClientOrder, status: str, leaves: str, now_ns: int) -> dict[str, Any]:
    """An order in a push or an answer; ``leaves``: open size as a string."""
    units, request = order.market.units, order.request
    size = Decimal(units.size(order.size_lots))
    average = order.average_price
    filled = Decimal(units.size(order.filled_lots)) if status in {"Cancelled", "Filled"} else size - Decimal(leaves)
    ended = status in {"Cancelled", "Rejected"}
    return {
        "category": "linear", "symbol": order.market.instrument.symbol, "orderId": order_id(order.oid),
        "orderLinkId": link_id(order.cid), "side": _SIDE[request.side], "positionIdx": 0, "orderStatus": status,
        "createType": "CreateByUser", "cancelType": _CANCEL_TYPE.get(order.reason, "UNKNOWN") if ended else "UNKNOWN",
        "rejectReason": _REASON.get(order.reason, "EC_NoError") if ended else "EC_NoError",
        "timeInForce": "PostOnly" if request.post_only else _TIF[request.tif], "orderType": "Limit",
        "price": units.price(order.ticks), "qty": format(size, "f"),
        "avgPrice": "" if average is None else format(average.normalize(), "f"),
        "leavesQty": "0" if ended or status == "Filled" else leaves, "leavesValue": "0",
        "cumExecQty": format(filled, "f"), "cumExecValue": format(filled * (average or 0), "f"),
        "cumExecFee": format(order.fee, "f"), "reduceOnly": request.reduce_only, "closeOnTrigger": False,
        "triggerPrice": "", "stopOrderType": "", "smpType": "None", "feeCurrency": "", "blockTradeId": "",
        "isLeverage": "", "createdTime": ms(order.created_ns), "updatedTime": ms(max(order.updated_ns, now_ns)),
    }  # fmt: skip


def status_of(order: ClientOrder) -> str:
    """``orderStatus`` of an order as it stands."""
    if order.status == "open":
        return "PartiallyFilled" if order.filled_lots else "New"
    return "Filled" if order.status == "filled" else "Cancelled"


def execution_row(fill: wire.Fill, order: ClientOrder | None, mark: str, rate: Decimal) -> dict[str, Any]:
    """One execution; a takeover by the venue has no order of the client's."""
    forced = fill.oid == 0
    value = Decimal(fill.px) * Decimal(fill.qty)
    return {
        "category": "linear", "symbol": fill.symbol, "orderId": order_id(fill.oid or fill.trade_id << 96),
        "orderLinkId": "" if forced else link_id(fill.cid), "side": _SIDE[fill.side],
        "orderPrice": order.request.px if order else fill.px, "orderQty": order.request.qty if order else fill.qty,
        "leavesQty": fill.remaining, "orderType": "Limit", "stopOrderType": "UNKNOWN",
        "createType": "CreateByLiq" if forced else "CreateByUser", "execFee": money(fill.fee), "execId": exec_id(fill),
        "execPrice": fill.px, "execQty": fill.qty, "execType": "BustTrade" if forced else "Trade",
        "execValue": format(value, "f"), "execTime": ms(fill.ts), "isMaker": fill.maker, "feeRate": format(rate, "f"),
        "markPrice": mark, "closedSize": "", "seq": fill.trade_id, "feeCurrency": "", "blockTradeId": "",
        "tradeIv": "", "markIv": "", "indexPrice": "", "underlyingPrice": "", "isLeverage": "0",
    }  # fmt: skip


def funding_row(paid: wire.FundingPaid) -> dict[str, Any]:
    """A funding settlement, which the venue tells as an execution: its fee is what was paid."""
    size = Decimal(paid.size)
    return {
        "category": "linear", "symbol": paid.symbol, "orderId": "", "orderLinkId": "",
        "side": "Buy" if size > 0 else "Sell", "orderPrice": "0", "orderQty": "0", "leavesQty": "0",
        "orderType": "UNKNOWN", "stopOrderType": "UNKNOWN", "createType": "",
        "execFee": format(-Decimal(paid.amount), "f"), "execId": f"funding-{paid.symbol}-{paid.ts}",
        "execPrice": paid.mark,
        "execQty": format(abs(size), "f"),
        "execType": "Funding", "execValue": format(abs(size) * Decimal(paid.mark), "f"), "execTime": ms(paid.ts),
        "isMaker": False, "feeRate": paid.rate, "markPrice": paid.mark, "closedSize": "", "seq": 0,
        "feeCurrency": "", "blockTradeId": "", "tradeIv": "", "markIv": "", "indexPrice": "", "underlyingPrice": "",
        "isLeverage": "0",
    }  # fmt: skip


def position_row(position: wire.Position) -> dict[str, Any]:
    """A position; flat has no side."""
    size = Decimal(position.size)
    entry = position.entry or "0"
    value = abs(size) * Decimal(entry)
    return {
        "positionIdx": 0, "riskId": 1, "category": "linear", "symbol": position.symbol,
        "side": "" if not size else "Buy" if size > 0 else "Sell", "size": format(abs(size), "f"), "avgPrice": entry,
        "entryPrice": entry, "positionValue": format(value, "f"), "tradeMode": 0,
        "leverage": str(position.leverage), "markPrice": position.mark or "", "liqPrice": position.liquidation or "",
        "bustPrice": "", "positionIM": position.margin, "positionMM": position.maintenance,
        "positionBalance": position.margin, "unrealisedPnl": position.unrealised, "cumRealisedPnl": "0",
        "curRealisedPnl": "0", "positionStatus": "Normal", "autoAddMargin": 0, "adlRankIndicator": 0,
        "takeProfit": "", "stopLoss": "", "trailingStop": "0", "seq": 0, "isReduceOnly": False,
        "createdTime": ms(position.ts), "updatedTime": ms(position.ts),
    }  # fmt: skip


def wallet_row(view: wire.AccountView, account: Account) -> dict[str, Any]:
    """The unified account's money."""
    equity, balance = money(view.equity), money(view.balance)
    realised = format(sum((x.realised for x in account.ledgers.values()), Decimal(0)), "f")
    coin = {
        "coin": view.currency, "equity": equity, "walletBalance": balance, "usdValue": equity,
        "availableToWithdraw": "", "free": "", "locked": "0", "borrowAmount": "0", "totalOrderIM": "0",
        "totalPositionIM": view.initial, "totalPositionMM": view.maintenance, "unrealisedPnl": view.unrealised,
        "cumRealisedPnl": realised,
    }  # fmt: skip
    return {
        "accountType": "UNIFIED", "totalEquity": equity, "totalWalletBalance": balance,
        "totalMarginBalance": equity, "totalAvailableBalance": view.available,
        "totalPerpUPL": view.unrealised, "totalInitialMargin": view.initial,
        "totalMaintenanceMargin": view.maintenance, "accountIMRate": "0", "accountMMRate": "0", "coin": [coin],
    }  # fmt: skip


def instrument_row(instrument: Instrument, max_leverage: int) -> dict[str, Any]:
    """A row of ``instruments-info``."""
    tick, lot = format(instrument.tick_size, "f"), format(instrument.lot_size, "f")
    return {
        "symbol": instrument.symbol, "contractType": "LinearPerpetual", "status": "Trading",
        "baseCoin": instrument.base, "quoteCoin": instrument.quote, "settleCoin": instrument.quote,
        "launchTime": "1585526400000", "deliveryTime": "0", "deliveryFeeRate": "",
        "priceScale": str(max(0, -int(instrument.tick_size.as_tuple().exponent))), "fundingInterval": 480,
        "copyTrading": "none", "unifiedMarginTrade": True, "isPreListing": False,
        "leverageFilter": {"minLeverage": "1", "maxLeverage": f"{max_leverage}.00", "leverageStep": "0.01"},
        "priceFilter": {"minPrice": tick, "maxPrice": format(instrument.tick_size * 19_999_998, "f"), "tickSize": tick},
        "lotSizeFilter": {
            "maxOrderQty": format(instrument.lot_size * 1_190_000, "f"), "minOrderQty": lot, "qtyStep": lot,
            "postOnlyMaxOrderQty": format(instrument.lot_size * 1_190_000, "f"),
            "maxMktOrderQty": format(instrument.lot_size * 500_000, "f"),
            "minNotionalValue": format(instrument.min_notional, "f"),
        },
    }  # fmt: skip
