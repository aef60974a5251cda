"""Binance USDⓈ-M futures, the small part that ccxt's unified API uses: the generic adapter is shown on it.

REST under ``/fapi``, market streams under ``/public/ws`` (depth, trades) and ``/market/ws`` (aggregates, marks), user
data under ``/private/ws`` by listen key. Depth goes out every 100 ms with the updates it covers.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec
from aiohttp import web

from mm.sandbox.account import Account, currency_of
from mm.sandbox.face import Core, Face, Frame, Session
from mm.sandbox.faces import binanceusdm_wire as out
from mm.sandbox.faces.binanceusdm_rest import Params, Signatures, Trading, local_keys, whole
from mm.sandbox.faces.mexc_auth import Denied, ListenKeys
from mm.venues.native import wire
from mm.venues.spec import RateRule

__all__ = ["FACE", "BinanceUsdmFace", "local_keys"]

DEPTH_PUSH_S: Final = 0.1
_MARK_NS: Final = 1_000_000_000
_EIGHT_HOURS_MS: Final = 28_800_000
_TOPIC: Final = re.compile(r"([a-z0-9]+)@(depth(?:@100ms)?|trade|aggTrade|markPrice(?:@1s)?)", re.ASCII)

Serve = Callable[[Account, Params], Any]


@dataclass(slots=True)
class Gathered:
    """Changes of a book since the last push."""

    first: int = 0
    last: int = 0
    bids: dict[str, str] = field(default_factory=dict)
    asks: dict[str, str] = field(default_factory=dict)


class _Said(msgspec.Struct):
    method: str
    params: list[str] = []
    id: int | str | None = None


class BinanceUsdmFace(Face):
    """See the module."""

    venue = "binanceusdm"
    order_paths = ("/fapi/v1/order",)
    rates = (RateRule("new orders", 300, 10.0), RateRule("new orders", 1_200, 60.0), RateRule("requests", 2_400, 60.0))

    def __init__(self, core: Core) -> None:
        super().__init__(core)
        self.trading = Trading(self.exchange, self.now_ns)
        self._signatures = Signatures(self.exchange.accounts)
        self._keys = ListenKeys()
        self._gathered: dict[str, Gathered] = {}
        self._pushed: dict[str, int] = {}  # by symbol: the last update of the last push
        self._marked_ns = 0

    def routes(self) -> list[web.RouteDef]:
        """REST and the WebSocket endpoints."""
        trading, v1 = self.trading, "/fapi/v1/"
        queries: dict[str, Serve] = {
            "v1/order": trading.order, "v1/openOrders": trading.open_orders, "v1/userTrades": trading.user_trades,
            "v1/income": trading.income, "v1/commissionRate": trading.fees, "v1/leverageBracket": trading.brackets,
            "v2/account": trading.account, "v3/account": trading.account, "v2/positionRisk": trading.positions,
            "v3/positionRisk": trading.positions,
        }  # fmt: skip
        return [
            web.get("/public/ws/{n}", self._market_socket),
            web.get("/market/ws/{n}", self._market_socket),
            web.get("/private/ws", self._user_socket),
            web.get(v1 + "ping", self._open(lambda _: {})),
            web.get(v1 + "time", self._open(lambda _: {"serverTime": self._now_ms()})),
            web.get(v1 + "exchangeInfo", self._open(self._exchange_info)),
            web.get(v1 + "depth", self._open(self._depth)),
            *(web.get("/fapi/" + path, self._signed(serve, "requests")) for path, serve in queries.items()),
            web.post(v1 + "order", self._signed(trading.place, "new orders")),
            web.delete(v1 + "order", self._signed(trading.cancel, "requests")),
            web.delete(v1 + "allOpenOrders", self._signed(trading.cancel_all, "requests")),
            web.post(v1 + "leverage", self._signed(trading.set_leverage, "requests")),
            web.post(v1 + "marginType", self._signed(trading.set_margin_type, "requests")),
            web.post(v1 + "listenKey", self._keyed(self._new_key)),
            web.put(v1 + "listenKey", self._keyed(self._extend_key)),
            web.delete(v1 + "listenKey", self._keyed(self._end_key)),
        ]

    # --- REST --------------------------------------------------------------------------------------------------------
    def maintenance_response(self) -> web.Response:
        """The gateway's own page."""
        return web.Response(status=503, text="<html>503 Service Temporarily Unavailable</html>")

    def rate_limited_response(self) -> web.Response:
        """With the time to wait."""
        said = {"code": -1003, "msg": "Too many requests; current limit is 2400 requests per minute."}
        return _json(said, 429, {"Retry-After": "1"})

    def unknown_route_response(self, request: web.Request) -> web.Response:
        """No such endpoint."""
        return web.Response(status=404, text=f"Path {request.path}, Method {request.method} is invalid")

    def _open(self, serve: Callable[[Params], Any]) -> Callable[[web.Request], Any]:
        async def handle(request: web.Request) -> web.Response:
            return self._answer(lambda: serve(request.query))

        return handle

    def _signed(self, serve: Serve, what: str) -> Callable[[web.Request], Any]:
        async def handle(request: web.Request) -> web.Response:
            payload = request.raw_path.partition("?")[2] + await request.text()
            params = dict(parse_qsl(payload, keep_blank_values=True))
            try:
                account = self._signatures.check(request.headers.get("X-MBX-APIKEY"), payload, params, self._now_ms())
            except Denied as no:
                return self._denied(no)
            if not self.limit(account, what):
                return self.rate_limited_response()
            return self._answer(lambda: serve(account, params))

        return handle

    def _keyed(self, serve: Callable[[Account], Any]) -> Callable[[web.Request], Any]:
        """Listen keys want the API key alone."""

        async def handle(request: web.Request) -> web.Response:
            return self._answer(lambda: serve(self._signatures.owner(request.headers.get("X-MBX-APIKEY"))[0]))

        return handle

    def _answer(self, serve: Callable[[], Any]) -> web.Response:
        try:
            return _json(serve())
        except Denied as no:
            return self._denied(no)

    def _denied(self, no: Denied) -> web.Response:
        self.counts["refused"] += 1
        return _json({"code": no.code, "msg": no.message}, no.status)

    def _exchange_info(self, _params: Params) -> dict[str, Any]:
        rows = [out.instrument_row(one) for one in self.exchange.instruments]
        return {"timezone": "UTC", "serverTime": self._now_ms(), "rateLimits": [], "assets": [], "symbols": rows}

    def _depth(self, params: Params) -> dict[str, Any]:
        symbol, limit = self.trading.symbol(params), whole(params, "limit", 500)
        book, now_ms = self.exchange.markets[symbol].snapshot(self.now_ns()), self._now_ms()
        sides = {"bids": book.bids[:limit], "asks": book.asks[:limit]}
        return {"lastUpdateId": book.seq, "E": now_ms, "T": now_ms, **sides}

    # --- listen keys: one for an account -----------------------------------------------------------------------------
    def _new_key(self, account: Account) -> dict[str, str]:
        known = self._keys.of(account, self.now_ns())
        return {"listenKey": known[0] if known else self._make_key(account)}

    def _make_key(self, account: Account) -> str:
        return self._keys.make(account, self.now_ns(), self.faults.token_life_s)

    def _extend_key(self, account: Account) -> dict[str, str]:
        known = self._keys.of(account, self.now_ns())
        if not known:
            raise Denied(-1125, "This listenKey does not exist.")
        self._keys.extend(account, known[0], self.now_ns(), self.faults.token_life_s)
        return {"listenKey": known[0]}

    def _end_key(self, account: Account) -> dict[str, str]:
        for key in self._keys.of(account, self.now_ns()):
            self._keys.end(account, key, self.now_ns())
            self._end_streams(key)
        return {}

    def _end_streams(self, key: str) -> None:
        for session in self.sessions:
            if session.state.get("key") == key:
                session.send(out.text({"e": "listenKeyExpired", "E": self._now_ms(), "listenKey": key}))
                session.close(1000, "listenKey has expired")

    # --- sockets -----------------------------------------------------------------------------------------------------
    async def _market_socket(self, request: web.Request) -> web.StreamResponse:
        return await self.serve_socket(request, self._heard, private=False)

    async def _user_socket(self, request: web.Request) -> web.StreamResponse:
        key = request.query.get("listenKey", "")
        account = self._keys.account(key, self.now_ns())
        if account is None:
            return web.Response(status=400, text="invalid listenKey")
        return await self.serve_socket(request, _deaf, private=True, account=account, state={"key": key})

    def _heard(self, session: Session, frame: Frame) -> None:
        try:
            said = msgspec.json.decode(frame, type=_Said)
        except wire.DECODE_ERRORS:
            self.counts["bad_requests"] += 1
            session.send(out.text({"error": {"code": 3, "msg": "Invalid JSON"}}))
            return
        known = [self._known(topic) for topic in said.params]
        if said.method not in {"SUBSCRIBE", "UNSUBSCRIBE"} or not all(known):
            self.counts["bad_requests"] += 1
            session.send(out.text({"error": {"code": 2, "msg": "Invalid request"}, "id": said.id}))
            return
        change = session.topics.update if said.method == "SUBSCRIBE" else session.topics.difference_update
        change(said.params)
        session.send(out.text({"result": None, "id": said.id}))

    def _known(self, topic: str) -> bool:
        found = _TOPIC.fullmatch(topic)
        return found is not None and found[1].upper() in self.exchange.markets

    # --- pushes ------------------------------------------------------------------------------------------------------
    def on_public(self, symbol: str, message: wire.Message) -> None:
        """Gather depth, push trades; marks have a clock of their own."""
        if isinstance(message, wire.Trades):
            for trade in message.trades:
                for name, aggregate in (("trade", False), ("aggTrade", True)):
                    push = out.trade_push(symbol, trade, self._now_ms(), aggregate=aggregate)
                    self._to(symbol, name, push)
        elif isinstance(message, wire.Depth):
            gathered = self._gathered.get(symbol)
            if gathered is None:
                gathered = self._gathered[symbol] = Gathered(message.seq)
                asyncio.get_running_loop().call_later(DEPTH_PUSH_S, self._push_depth, symbol)
            gathered.last = message.seq
            gathered.bids.update(message.bids)
            gathered.asks.update(message.asks)

    def _push_depth(self, symbol: str) -> None:
        g = self._gathered.pop(symbol)
        before, self._pushed[symbol] = self._pushed.get(symbol, g.first - 1), g.last
        push = out.depth_push(symbol, g.first, g.last, before, (g.bids, g.asks), self._now_ms())
        for name in ("depth", "depth@100ms"):
            self._to(symbol, name, push)

    def _to(self, symbol: str, name: str, push: str) -> None:
        """Push to a topic somebody has: faults count what is sent."""
        topic = f"{symbol.lower()}@{name}"
        if any(topic in session.topics for session in self.sessions):
            self.broadcast(topic, push)

    def on_private(self, account: Account, message: wire.Message) -> None:
        """Orders, executions and money of one account."""
        now_ns = self.now_ns()
        match message:
            case wire.OrderUpdate(status="open" | "canceled"):
                order = account.orders.get(message.cid)
                if order is None or order.oid != message.oid:
                    return
                units = order.market.units
                filled = units.size(order.size_lots - units.lots(message.qty))
                status, what = out.status_of(order), "AMENDMENT"
                if message.status == "canceled":
                    what = "EXPIRED" if status == "EXPIRED" else "CANCELED"
                elif not units.lots(filled):
                    status, what = "NEW", "NEW"
                self.push(account, out.order_push(order, what, status, filled, now_ns))
            case wire.Fill():
                self._tell_fill(account, message)
            case wire.FundingPaid():
                self._tell_money(account, message.symbol, "FUNDING_FEE", [])
            case wire.Position():
                self._tell_money(account, message.symbol, "ORDER", [message])
            case _:
                pass  # refusals and cancels that found nothing are answered over HTTP

    def _tell_fill(self, account: Account, fill: wire.Fill) -> None:
        currency = currency_of(self.exchange.market(fill.symbol).instrument)
        order = account.orders.get(fill.cid)
        if fill.oid == 0 or order is None:
            self.push(account, out.liquidation_push(fill, currency))
            return
        units = order.market.units
        done = units.size(order.size_lots - units.lots(fill.remaining))
        status = "PARTIALLY_FILLED" if units.lots(fill.remaining) else "FILLED"
        trade = {
            "l": fill.qty, "L": fill.px, "N": currency, "n": out.money(fill.fee), "t": out.trade_id(fill),
            "m": fill.maker,
        }  # fmt: skip
        self.push(account, out.order_push(order, "TRADE", status, done, fill.ts, **trade))

    def _tell_money(self, account: Account, symbol: str, why: str, positions: list[wire.Position]) -> None:
        currency = currency_of(self.exchange.market(symbol).instrument)
        balance = format(self.exchange.balance(account, symbol), "f")
        self.push(account, out.account_push(why, balance, currency, positions, self.now_ns()))

    def on_tick(self, now_ns: int) -> None:
        """Marks once a second; listen keys whose time is over."""
        for key in list(self._keys.ended(self.now_ns())):
            self._end_streams(key)
        if 0 <= now_ns - self._marked_ns < _MARK_NS:  # a clock that was set back does not silence it
            return
        self._marked_ns = now_ns
        now_ms = self._now_ms()
        for symbol, market in self.exchange.markets.items():
            if market.mark is not None:
                next_ms = (now_ms // _EIGHT_HOURS_MS + 1) * _EIGHT_HOURS_MS
                push = out.mark_push(symbol, market.units.price(market.mark), next_ms, now_ms)
                for name in ("markPrice", "markPrice@1s"):
                    self._to(symbol, name, push)

    def _now_ms(self) -> int:
        return self.now_ns() // 1_000_000


def _deaf(_session: Session, _frame: Frame) -> None:
    """User data streams take no requests."""


def _json(data: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(body=msgspec.json.encode(data), status=status, headers=headers, content_type="application/json")


FACE: Final = BinanceUsdmFace
