"""Signed requests of the local MEXC: parameters to the exchange, its answer as the venue writes it.

No sockets here: each method takes an account and the parameters, returns what becomes JSON or raises ``Denied``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final

import msgspec

from mm.core.instrument import Instrument
from mm.sandbox.account import Account, ClientOrder
from mm.sandbox.exchange import Exchange
from mm.sandbox.faces.mexc_auth import Denied
from mm.sandbox.faces.mexc_wire import AUTO_CID, order_number, order_row, own_trade_row, taken_row
from mm.venues.native import wire

Params = Mapping[str, str]

MAX_BATCH: Final = 20
MAX_TRADES: Final = 100
MAX_ORDERS: Final = 1_000
POST_ONLY: Final = "post_only_would_cross"  # the engine's reason

_CID: Final = re.compile(r"[A-Za-z0-9_.\-]{1,32}", re.ASCII)
_TYPES: Final[dict[str, tuple[bool, Any]]] = {  # post-only, time in force
    "LIMIT": (False, "GTC"), "LIMIT_MAKER": (True, "GTC"), "IMMEDIATE_OR_CANCEL": (False, "IOC"),
    "FILL_OR_KILL": (False, "FOK"),
}  # fmt: skip
_SIDES: Final[dict[str, wire.Side]] = {"BUY": "buy", "SELL": "sell"}
_REFUSALS: Final = {
    "bad_cid": (700008, "Illegal characters found in parameter 'newClientOrderId'"),
    "duplicate_cid": (603, "Repeated request"),
    "bad_px": (400, "price scale is invalid"),
    "bad_qty": (400, "quantity scale is invalid"),
    POST_ONLY: (-2010, "Order would immediately match and take."),
}


class Trading:
    """Two things that the venue's documentation leaves open are settings here.

    ``post_only_error``: a post-only order that would cross is answered with an error, else taken and canceled.
    ``deals_tell_cid``: executions repeat the client's order id, else they name the venue's only.
    """

    def __init__(self, exchange: Exchange, now_ns: Callable[[], int]) -> None:
        self.post_only_error = True
        self.deals_tell_cid = True
        self._exchange = exchange
        self._now_ns = now_ns
        self._auto = 0

    # --- orders ------------------------------------------------------------------------------------------------------
    def place(self, account: Account, params: Params) -> dict[str, Any]:
        """``POST /api/v3/order``."""
        request = self._request(params)
        order = self._exchange.place(account, request, self._now_ns())
        if order.status == "rejected" and not (order.reason == POST_ONLY and not self.post_only_error):
            raise self._refusal(order)
        return taken_row(order)

    def test(self, _account: Account, params: Params) -> dict[str, Any]:
        """``POST /api/v3/order/test``: only the parameters are looked at."""
        self._request(params)
        return {}

    def batch(self, account: Account, params: Params) -> list[dict[str, Any]]:
        """``POST /api/v3/batchOrders``: each order is taken or refused for itself."""
        try:
            rows = msgspec.json.decode(params.get("batchOrders", ""), type=list[dict[str, str | int | float]])
        except msgspec.MsgspecError:
            raise Denied(700008, "Illegal characters found in parameter 'batchOrders'") from None
        if not 0 < len(rows) <= MAX_BATCH:
            raise Denied(30029, "Cannot exceed the maximum order limit")
        if len({row.get("symbol") for row in rows}) > 1:
            raise Denied(400, "the orders of a batch must have the same symbol")
        out = []
        for row in rows:
            cid = {k: str(v) for k, v in row.items() if k == "newClientOrderId"}
            try:
                taken = self.place(account, {k: str(v) for k, v in row.items()})
                out.append({"symbol": taken["symbol"], "orderId": taken["orderId"], **cid, "orderListId": -1})
            except Denied as no:
                out.append({**cid, "msg": no.message, "code": no.code})
        return out

    def cancel(self, account: Account, params: Params) -> dict[str, Any]:
        """``DELETE /api/v3/order``."""
        order = self._find(account, params)
        if order is None or order.cid not in account.open:
            raise Denied(-2011, "Unknown order sent.")
        self._exchange.cancel(account, order.cid, self._now_ns(), order.request.symbol)
        return order_row(order)

    def cancel_symbols(self, account: Account, params: Params) -> list[dict[str, Any]]:
        """``DELETE /api/v3/openOrders``: every order of up to five symbols."""
        symbols = self._symbols(params)
        orders = [o for o in account.open.values() if o.request.symbol in symbols]
        for order in orders:
            self._exchange.cancel(account, order.cid, self._now_ns(), order.request.symbol)
        return [order_row(order) for order in orders]

    def cancel_everything(self, account: Account, _params: Params) -> dict[str, Any]:
        """``DELETE /api/v3/order/all``."""
        self._exchange.cancel_all(account, self._now_ns())
        return {"code": 200, "msg": "success", "timestamp": self._now_ns() // 1_000_000}

    # --- queries -----------------------------------------------------------------------------------------------------
    def order(self, account: Account, params: Params) -> dict[str, Any]:
        """``GET /api/v3/order``."""
        order = self._find(account, params)
        if order is None:
            raise Denied(-2013, "Order does not exist.")
        return order_row(order)

    def open_orders(self, account: Account, params: Params) -> list[dict[str, Any]]:
        """``GET /api/v3/openOrders``."""
        symbols = self._symbols(params)
        return [order_row(o) for o in account.open.values() if o.request.symbol in symbols]

    def all_orders(self, account: Account, params: Params) -> list[dict[str, Any]]:
        """``GET /api/v3/allOrders``, the newest first."""
        symbol, (since, until) = self._symbol(params), _window(params)
        rows = [
            order_row(o)
            for o in account.orders.values()
            if o.request.symbol == symbol and since <= o.created_ns // 1_000_000 <= until
        ]
        return sorted(rows, key=lambda r: (r["time"], r["orderId"]), reverse=True)[
            : read_limit(params, 500, MAX_ORDERS)
        ]

    def my_trades(self, account: Account, params: Params) -> list[dict[str, Any]]:
        """``GET /api/v3/myTrades``, the newest first."""
        symbol, (since, until) = self._symbol(params), _window(params)
        number = order_number(params["orderId"]) if "orderId" in params else None
        limit = read_limit(params, MAX_TRADES, MAX_TRADES)
        out: list[dict[str, Any]] = []
        for fill in reversed(account.fills):
            at = fill.ts // 1_000_000
            if at < since or len(out) == limit:
                break
            if fill.symbol == symbol and at <= until and (number is None or fill.oid == number):
                out.append(own_trade_row(self.shown(fill), self.fee_currency(symbol)))
        return out

    def shown(self, fill: wire.Fill) -> wire.Fill:
        """An execution as it is told."""
        return fill if self.deals_tell_cid else msgspec.structs.replace(fill, cid=AUTO_CID)

    def account(self, account: Account, _params: Params) -> dict[str, Any]:
        """``GET /api/v3/account``."""
        rows = []
        for coin in self.coins():
            free, locked = self.amounts(account, coin)
            rows.append({"asset": coin, "free": format(free, "f"), "locked": format(locked, "f")})
        return {
            "canTrade": True, "canWithdraw": False, "canDeposit": False, "updateTime": None, "accountType": "SPOT",
            "balances": rows, "permissions": ["SPOT"],
        }  # fmt: skip

    def trade_fee(self, account: Account, params: Params) -> dict[str, Any]:
        """``GET /api/v3/tradeFee``."""
        maker, taker = self._exchange.fees(account, self._symbol(params))
        data = {"makerCommission": float(maker), "takerCommission": float(taker)}
        return {"data": data, "code": 0, "msg": "success", "timestamp": self._now_ns() // 1_000_000}

    def self_symbols(self, _account: Account, _params: Params) -> dict[str, Any]:
        """``GET /api/v3/selfSymbols``: what the key may trade."""
        return {"code": 200, "data": list(self._exchange.markets), "msg": None}

    def coin_list(self, _account: Account, _params: Params) -> list[dict[str, Any]]:
        """``GET /api/v3/capital/config/getall``."""
        return [{"coin": coin, "Name": coin, "networkList": []} for coin in self.coins()]

    # --- money -------------------------------------------------------------------------------------------------------
    def coins(self) -> list[str]:
        """Every coin that some instrument is made of."""
        return sorted({coin for i in self._exchange.instruments for coin in (i.base, i.quote)})

    def fee_currency(self, symbol: str) -> str:
        """Fees are taken in the quote currency."""
        return self._exchange.market(symbol).instrument.quote

    def amounts(self, account: Account, coin: str) -> tuple[Decimal, Decimal]:
        """(free, frozen in open orders) of a coin."""
        total = Decimal(0)
        quoted = [i for i in self._exchange.instruments if i.quote == coin]
        for i in self._exchange.instruments:
            if i.base == coin:
                total += i.size(account.ledgers[i.symbol].lots)
        if quoted:
            total += self._exchange.balance(account, quoted[0].symbol)
        frozen = sum((_frozen(o, coin) for o in account.open.values()), Decimal(0))
        return total - frozen, frozen

    # --- parameters --------------------------------------------------------------------------------------------------
    def _request(self, params: Params) -> wire.Place:
        symbol = self._symbol(params)
        side, kind = _SIDES.get(_need(params, "side")), _need(params, "type")
        if side is None:
            raise Denied(700008, "Illegal characters found in parameter 'side'")
        if kind not in _TYPES:
            raise Denied(30041, "current order type can not place order")
        post_only, tif = _TYPES[kind]
        cid = params.get("newClientOrderId", "")
        if cid and not _CID.fullmatch(cid):
            raise Denied(*_REFUSALS["bad_cid"])
        if not cid:
            self._auto += 1
            cid = f"{AUTO_CID}{self._auto}"
        return wire.Place(
            symbol=symbol, cid=cid, side=side, px=_need(params, "price"), qty=_need(params, "quantity"),
            post_only=post_only, tif=tif,
        )  # fmt: skip

    def _refusal(self, order: ClientOrder) -> Denied:
        request = order.request
        instrument: Instrument = self._exchange.market(request.symbol).instrument
        if order.reason == "min_notional":
            need = f"{instrument.min_notional}{instrument.quote}"
            return Denied(30002, f"The minimum transaction volume cannot be less than：{need}")
        if order.reason == "insufficient_balance":
            return Denied(30004, "Insufficient position") if request.side == "buy" else Denied(30005, "Oversold")
        return Denied(*_REFUSALS.get(order.reason, (730000, f"Request failed: {order.reason}")))

    def _find(self, account: Account, params: Params) -> ClientOrder | None:
        symbol = self._symbol(params)
        if params.get("orderId"):
            order = account.by_oid(order_number(params["orderId"]))
        elif params.get("origClientOrderId"):
            order = account.orders.get(params["origClientOrderId"])
        else:
            raise Denied(700004, "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null")
        return order if order is not None and order.request.symbol == symbol else None

    def _symbol(self, params: Params) -> str:
        symbol = _need(params, "symbol")
        if symbol not in self._exchange.markets:
            raise Denied(-1121, "Invalid symbol.")
        return symbol

    def _symbols(self, params: Params) -> set[str]:
        symbols = set(_need(params, "symbol").split(","))
        if len(symbols) > 5 or not symbols <= self._exchange.markets.keys():
            raise Denied(-1121, "Invalid symbol.")
        return symbols


def _need(params: Params, name: str) -> str:
    if not params.get(name):
        raise Denied(700004, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
    return params[name]


def _window(params: Params) -> tuple[int, int]:
    """(startTime, endTime) in ms."""
    return _whole(params, "startTime", 0), _whole(params, "endTime", 1 << 62)


def read_limit(params: Params, default: int, most: int) -> int:
    """How many rows are wanted; raises ``Denied``."""
    return max(1, min(_whole(params, "limit", default), most))


def _whole(params: Params, name: str, default: int) -> int:
    text = params.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) <= 19):
        raise Denied(700008, f"Illegal characters found in parameter '{name}'")
    return int(text)


def _frozen(order: ClientOrder, coin: str) -> Decimal:
    """What an open order holds back of a coin."""
    instrument = order.market.instrument
    if order.side < 0:
        return instrument.size(order.lots) if instrument.base == coin else Decimal(0)
    return instrument.notional(order.ticks, order.lots) if instrument.quote == coin else Decimal(0)
