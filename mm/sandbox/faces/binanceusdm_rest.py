"""Signed requests of the local Binance futures: HMAC checked, the exchange asked, its answer in fapi's words."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from mm.sandbox.account import Account, ClientOrder, currency_of
from mm.sandbox.exchange import Exchange, Refused
from mm.sandbox.faces import binanceusdm_wire as out
from mm.sandbox.faces.mexc_auth import Denied
from mm.venues.native import wire

Params = Mapping[str, str]

_WINDOW_MS: Final = 5_000
_AHEAD_MS: Final = 1_000
_MOST: Final = 1_000
_CID: Final = re.compile(r"[.A-Z:/a-z0-9_-]{1,36}", re.ASCII)
_TIFS: Final[dict[str, tuple[bool, Any]]] = {
    "GTC": (False, "GTC"), "IOC": (False, "IOC"), "FOK": (False, "FOK"), "GTX": (True, "GTC"),
}  # fmt: skip
_SIDES: Final[dict[str, wire.Side]] = {"BUY": "buy", "SELL": "sell"}
_REFUSALS: Final = {
    "bad_cid": (-4015, "Client order id length should not be more than 36 chars"),
    "duplicate_cid": (-4116, "ClientOrderId is duplicated."),
    "bad_px": (-4014, "Price not increased by tick size."),
    "bad_qty": (-4023, "Qty not increased by step size."),
    "min_notional": (-4164, "Order's notional must be no smaller than 100 (unless you choose reduce only)."),
    "insufficient_margin": (-2019, "Margin is insufficient."),
    "reduce_only": (-2022, "ReduceOnly Order is rejected."),
    out.POST_ONLY: (-5022, "Due to the order could not be executed as maker, the Post Only order will be rejected."),
}


def local_keys(token: str) -> dict[str, str]:
    """The API key and secret of a local account, derived from its token."""
    return {
        name: hashlib.sha256(f"binanceusdm {name} {token}".encode()).hexdigest() for name in ("api_key", "api_secret")
    }


class Signatures:
    """Verifies HMAC-SHA256 over query and body, keyed with the account's secret."""

    def __init__(self, accounts: Mapping[str, Account]) -> None:
        self._known: dict[str, tuple[Account, bytes]] = {}
        for token, account in accounts.items():
            keys = local_keys(token)
            self._known[keys["api_key"]] = (account, keys["api_secret"].encode())

    def owner(self, api_key: str | None) -> tuple[Account, bytes]:
        """Whose key it is; raises ``Denied``."""
        known = self._known.get(api_key or "")
        if known is None:
            raise Denied(-2015, "Invalid API-key, IP, or permissions for action.", 401)
        return known

    def check(self, api_key: str | None, payload: str, params: Params, now_ms: int) -> Account:
        """The account that signed ``payload`` (query and body as they were sent); raises ``Denied``."""
        account, secret = self.owner(api_key)
        signed = "&".join(part for part in payload.split("&") if not part.startswith("signature="))
        expected = hmac.new(secret, signed.encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(expected, params.get("signature", "")):
            raise Denied(-1022, "Signature for this request is not valid.")
        sent_ms, window_ms = whole(params, "timestamp"), whole(params, "recvWindow", _WINDOW_MS)
        if not (sent_ms < now_ms + _AHEAD_MS and now_ms - sent_ms <= window_ms):
            raise Denied(-1021, "Timestamp for this request is outside of the recvWindow.")
        return account


class Trading:
    """No sockets here: each method takes an account and the parameters, returns what becomes JSON or raises."""

    def __init__(self, exchange: Exchange, now_ns: Callable[[], int]) -> None:
        self._exchange = exchange
        self._now_ns = now_ns
        self._auto = 0

    # --- orders ------------------------------------------------------------------------------------------------------
    def place(self, account: Account, params: Params) -> dict[str, Any]:
        """``POST order``: limit orders in one-way mode."""
        side, tif = _SIDES.get(need(params, "side")), _TIFS.get(params.get("timeInForce", ""))
        if side is None or tif is None or need(params, "type") != "LIMIT":
            raise Denied(-1116, "Invalid orderType.")
        self._auto += 1
        cid = params.get("newClientOrderId") or f"web_{self._auto}"
        if not _CID.fullmatch(cid):
            raise Denied(*_REFUSALS["bad_cid"])
        request = wire.Place(
            symbol=self.symbol(params), cid=cid, side=side, px=need(params, "price"), qty=need(params, "quantity"),
            post_only=tif[0], tif=tif[1], reduce_only=params.get("reduceOnly", "").lower() == "true",
        )  # fmt: skip
        order = self._exchange.place(account, request, self._now_ns())
        if order.status == "rejected":
            raise Denied(*_REFUSALS.get(order.reason, (-1102, f"Mandatory parameter is malformed: {order.reason}")))
        return out.order_row(order)

    def cancel(self, account: Account, params: Params) -> dict[str, Any]:
        """``DELETE order``."""
        order = self._find(account, params)
        if order is None or order.cid not in account.open:
            raise Denied(-2011, "Unknown order sent.")
        self._exchange.cancel(account, order.cid, self._now_ns(), order.request.symbol)
        return out.order_row(order)

    def cancel_all(self, account: Account, params: Params) -> dict[str, Any]:
        """``DELETE allOpenOrders`` of one symbol."""
        symbol = self.symbol(params)
        for order in [o for o in account.open.values() if o.request.symbol == symbol]:
            self._exchange.cancel(account, order.cid, self._now_ns(), symbol)
        return {"code": 200, "msg": "The operation of cancel all open order is done."}

    def order(self, account: Account, params: Params) -> dict[str, Any]:
        """``GET order``."""
        order = self._find(account, params)
        if order is None:
            raise Denied(-2013, "Order does not exist.")
        return out.order_row(order)

    def open_orders(self, account: Account, params: Params) -> list[dict[str, Any]]:
        """``GET openOrders`` of one symbol or of all."""
        symbol = self.symbol(params) if "symbol" in params else ""
        return [out.order_row(o) for o in account.open.values() if symbol in ("", o.request.symbol)]

    def _find(self, account: Account, params: Params) -> ClientOrder | None:
        symbol = self.symbol(params)
        if "orderId" in params:
            order = account.by_oid(whole(params, "orderId"))
        else:
            order = account.orders.get(need(params, "origClientOrderId"))
        return order if order is not None and order.request.symbol == symbol else None

    # --- history and money -------------------------------------------------------------------------------------------
    def user_trades(self, account: Account, params: Params) -> list[dict[str, Any]]:
        """``GET userTrades``, oldest first from ``startTime``."""
        symbol, since_ms = self.symbol(params), whole(params, "startTime", 0)
        limit = min(whole(params, "limit", 500), _MOST)
        currency = currency_of(self._exchange.market(symbol).instrument)
        rows = [f for f in account.fills if f.symbol == symbol and out.ms(f.ts) >= since_ms]
        return [out.own_trade_row(f, currency) for f in (rows[:limit] if since_ms else rows[-limit:])]

    def income(self, account: Account, params: Params) -> list[dict[str, Any]]:
        """``GET income``: funding alone."""
        since_ms, limit = whole(params, "startTime", 0), min(whole(params, "limit", 100), _MOST)
        rows = [
            out.income_row(paid, currency_of(self._exchange.market(paid.symbol).instrument), n)
            for n, paid in enumerate(account.funding)
            if out.ms(paid.ts) >= since_ms and params.get("symbol", paid.symbol) == paid.symbol
        ]
        return rows[:limit] if params.get("incomeType", "FUNDING_FEE") == "FUNDING_FEE" else []

    def account(self, account: Account, _params: Params) -> dict[str, Any]:
        """``GET account``."""
        view = self._exchange.account_view(account, self._exchange.instruments[0].symbol)
        return out.account_body(view, account, self._now_ns() // 1_000_000)

    def positions(self, account: Account, params: Params) -> list[dict[str, Any]]:
        """``GET positionRisk``: version 3 lists only what is held."""
        symbols = [self.symbol(params)] if "symbol" in params else list(self._exchange.markets)
        rows = [self._exchange.position(account, symbol, self._now_ns()) for symbol in symbols]
        return [
            out.position_row(p, currency_of(self._exchange.market(p.symbol).instrument))
            for p in rows
            if p.entry is not None
        ]

    def fees(self, account: Account, params: Params) -> dict[str, Any]:
        """``GET commissionRate``."""
        symbol = self.symbol(params)
        maker, taker = (format(fee, "f") for fee in self._exchange.fees(account, symbol))
        return {"symbol": symbol, "makerCommissionRate": maker, "takerCommissionRate": taker}

    def brackets(self, _account: Account, _params: Params) -> list[dict[str, Any]]:
        """``GET leverageBracket``."""
        rows = []
        for symbol, market in self._exchange.markets.items():
            top = {"bracket": 1, "initialLeverage": market.rules.max_leverage, "notionalCap": 10**12}
            rate = float(market.rules.tiers[0][0]) if market.rules.tiers else 0.0
            rows.append({"symbol": symbol, "brackets": [{**top, "notionalFloor": 0, "maintMarginRatio": rate}]})
        return rows

    def set_leverage(self, account: Account, params: Params) -> dict[str, Any]:
        """``POST leverage``."""
        symbol, leverage = self.symbol(params), whole(params, "leverage")
        try:
            self._exchange.set_leverage(account, symbol, leverage)
        except Refused as no:
            code = -2027 if no.code == "insufficient_margin" else -4028
            raise Denied(code, f"Leverage {leverage} is not valid") from no
        return {"leverage": leverage, "maxNotionalValue": "1000000", "symbol": symbol}

    def set_margin_type(self, _account: Account, params: Params) -> dict[str, Any]:
        """``POST marginType``: it is isolated already."""
        self.symbol(params)
        if params.get("marginType") != "ISOLATED":
            raise Denied(-4067, "Position side cannot be changed if there exists open orders.")
        raise Denied(-4046, "No need to change margin type.")

    def symbol(self, params: Params) -> str:
        """The symbol of a request; raises ``Denied``."""
        symbol = need(params, "symbol")
        if symbol not in self._exchange.markets:
            raise Denied(-1121, "Invalid symbol.")
        return symbol


def need(params: Params, name: str) -> str:
    """A parameter; raises ``Denied``."""
    if not params.get(name):
        raise Denied(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
    return params[name]


def whole(params: Params, name: str, default: int | None = None) -> int:
    """A whole number among parameters; raises ``Denied``."""
    given = need(params, name) if default is None else params.get(name, str(default))
    if not (given.isascii() and given.isdigit() and len(given) <= 18):
        raise Denied(-1100, f"Illegal characters found in parameter '{name}'.")
    return int(given)
