"""Orders in the words of Bybit v5: the same for REST and for the order socket. Raises ``Denied``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from mm.sandbox.account import Account, ClientOrder
from mm.sandbox.exchange import Exchange
from mm.sandbox.faces import bybit_wire as out
from mm.sandbox.faces.bybit_wire import Denied
from mm.venues.native import wire

MAX_BATCH: Final = 20
_SIDES: Final = {"Buy": "buy", "Sell": "sell"}
_TIF: Final = {"GTC": "GTC", "IOC": "IOC", "FOK": "FOK", "PostOnly": "GTC"}
_LATE_CANCEL: Final = Denied(110001, "order not exists or too late to cancel")
_LATE_AMEND: Final = Denied(110001, "order not exists or too late to replace")


class Create(msgspec.Struct):
    """``order.create``; numbers are strings, as the venue demands."""

    symbol: str
    side: str
    orderType: str
    qty: str
    category: str = ""
    price: str = ""
    timeInForce: str = "GTC"
    orderLinkId: str = ""
    reduceOnly: bool = False
    positionIdx: int = 0


class Named(msgspec.Struct):
    """``order.cancel`` and ``order.amend``: by either id."""

    symbol: str
    category: str = ""
    orderId: str = ""
    orderLinkId: str = ""
    price: str = ""
    qty: str = ""


class Everything(msgspec.Struct):
    """``cancel-all``: one of the three says of what."""

    symbol: str = ""
    baseCoin: str = ""
    settleCoin: str = ""


class Orders:
    """``now_ns``: the exchange's clock."""

    def __init__(self, exchange: Exchange, now_ns: Callable[[], int]) -> None:
        self._exchange = exchange
        self._now_ns = now_ns
        self._unnamed = 0

    def create(self, account: Account, raw: Any) -> dict[str, str]:
        """One limit order; a post-only order that would cross is taken, and cancelled a moment later."""
        r = out.read(raw, Create)
        if r.side not in _SIDES or r.timeInForce not in _TIF or r.positionIdx:
            raise Denied(10001, "params error: side, timeInForce or positionIdx invalid")
        if r.orderType != "Limit":
            raise Denied(10001, "params error: this exchange takes limit orders")
        if len(r.orderLinkId) > 36:
            raise Denied(10001, "params error: OrderLinkId is longer than 36")
        self._unnamed += not r.orderLinkId
        request = wire.Place(
            symbol=r.symbol,
            cid=r.orderLinkId or f"{out.NO_LINK}{self._unnamed}",
            side="buy" if r.side == "Buy" else "sell",
            px=r.price,
            qty=r.qty,
            post_only=r.timeInForce == "PostOnly",
            tif="GTC" if r.timeInForce in {"GTC", "PostOnly"} else "IOC" if r.timeInForce == "IOC" else "FOK",
            reduce_only=r.reduceOnly,
        )
        order = self._exchange.place(account, request, self._now_ns())
        if order.status == "rejected" and not order.oid:
            raise Denied(*out.refusal(order.reason))
        return _ids(order)

    def amend(self, account: Account, raw: Any) -> dict[str, str]:
        """New price or whole size of an order; it keeps its ids."""
        r = out.read(raw, Named)
        order = self._find(account, r)
        if order is None or order.status != "open":
            raise _LATE_AMEND
        units, qty = order.market.units, None
        if not r.price and not r.qty:
            raise Denied(10001, "params error: nothing to amend")
        if r.qty:
            try:
                qty = units.size(units.lots(r.qty) - order.filled_lots)
            except ValueError:
                raise Denied(*out.refusal("bad_qty")) from None
        exchange, now_ns = self._exchange, self._now_ns()
        changed = exchange.amend(account, order.cid, r.price or None, qty, now_ns, r.symbol, if_crossing="cancel")
        if changed is None:
            raise Denied(*out.refusal(account.refusal))
        return _ids(order)

    def cancel(self, account: Account, raw: Any) -> dict[str, str]:
        """One order by either id."""
        order = self._find(account, out.read(raw, Named))
        if order is None or order.status != "open":
            raise _LATE_CANCEL
        self._exchange.cancel(account, order.cid, self._now_ns(), order.request.symbol)
        return _ids(order)

    def cancel_all(self, account: Account, raw: Any) -> dict[str, Any]:
        """Every order of the account, or of a symbol."""
        r = out.read(raw, Everything)
        if not r.symbol and not r.settleCoin and not r.baseCoin:
            raise Denied(10001, "params error: symbol, baseCoin or settleCoin is needed")
        gone = [o for o in account.open.values() if r.symbol in {"", o.request.symbol}]
        for order in gone:
            self._exchange.cancel(account, order.cid, self._now_ns(), order.request.symbol)
        return {"list": [_ids(order) for order in gone], "success": "1"}

    def batch(self, account: Account, raw: Any, one: Callable[[Account, Any], dict[str, str]]) -> tuple[Any, Any]:
        """(result, retExtInfo): every leg has an answer of its own."""
        legs = raw.get("request") if isinstance(raw, dict) else None
        if not isinstance(legs, list) or not 0 < len(legs) <= MAX_BATCH:
            raise Denied(10001, f"params error: a batch has 1 to {MAX_BATCH} orders")
        rows, codes = [], []
        for leg in legs:
            symbol = leg.get("symbol", "") if isinstance(leg, dict) else ""
            try:
                ids = one(account, leg)
                codes.append({"code": 0, "msg": "OK"})
            except Denied as no:
                ids = {"orderId": "", "orderLinkId": leg.get("orderLinkId", "") if isinstance(leg, dict) else ""}
                codes.append({"code": no.code, "msg": no.message})
            rows.append({"category": "linear", "symbol": symbol, **ids, "createAt": out.ms(self._now_ns())})
        return {"list": rows}, {"list": codes}

    @staticmethod
    def _find(account: Account, r: Named) -> ClientOrder | None:
        if r.orderId:
            return account.by_oid(out.oid_of(r.orderId))
        return account.orders.get(r.orderLinkId) if r.orderLinkId else None


def _ids(order: ClientOrder) -> dict[str, str]:
    return {"orderId": out.order_id(order.oid), "orderLinkId": out.link_id(order.cid)}
