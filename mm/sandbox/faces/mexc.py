"""MEXC spot v3: REST with signed queries, protobuf WebSocket streams, user data by listen key.

Depth goes out as the venue sends it: changes gathered over 10 or 100 ms in one push that says which versions it covers;
a book begins with the REST snapshot and its ``lastUpdateId``.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec
from aiohttp import web

from mm.sandbox.account import Account
from mm.sandbox.face import Core, Face, Frame, Session, SessionEnd
from mm.sandbox.faces import mexc_wire as out
from mm.sandbox.faces.mexc_auth import Denied, ListenKeys, Signatures, local_keys
from mm.sandbox.faces.mexc_rest import POST_ONLY, Params, Trading, read_limit
from mm.venues.native import wire
from mm.venues.spec import RateRule

__all__ = ["FACE", "MexcFace", "local_keys"]

MAX_TOPICS: Final = 30  # per socket
_PUBLIC: Final = re.compile(rf"({re.escape(out.DEPTH)}|{re.escape(out.DEALS)})@(10|100)ms@([A-Z0-9]+)")
_PRIVATE: Final = {out.ORDERS, out.OWN_DEALS, out.BALANCES}
_SOCKET_LIFE_NS: Final = 86_400_000_000_000  # a connection is good for 24 hours
_IDLE_NS: Final = {
    False: 30_000_000_000,
    True: 60_000_000_000,
}  # without topics; with topics and no word from the client
_KEPT_TRADES: Final = 1_000
_LOST: Final = "Not Subscribed successfully! [{}].  Reason： Blocked! "
_ENDPOINTS: Final = ("order", "cancel", "cancels", "query", "history", "account", "stream")

Serve = Callable[[Account, Params], Any]


@dataclass(slots=True)
class Gathered:
    """What one topic says at the end of its interval."""

    first: int = 0
    last: int = 0
    bids: dict[str, str] = field(default_factory=dict)
    asks: dict[str, str] = field(default_factory=dict)
    trades: list[tuple[wire.Trade, int]] = field(default_factory=list)

    def depth(self, message: wire.Depth) -> None:
        """Add a change of the book; later quantities replace earlier ones."""
        self.first = self.first or message.seq
        self.last = message.seq
        self.bids.update(message.bids)
        self.asks.update(message.asks)


class MexcFace(Face):
    """See the module. ``trading.post_only_error`` chooses how a crossing post-only order is refused."""

    venue = "mexc"
    order_paths = ("/api/v3/order", "/api/v3/batchOrders", "/api/v3/openOrders")
    rates = (*(RateRule(what, 500, 10.0) for what in _ENDPOINTS), RateRule("batch", 2, 1.0))

    def __init__(self, core: Core) -> None:
        super().__init__(core)
        self.trading = Trading(self.exchange, self.now_ns)
        self._signatures = Signatures(self.exchange.accounts)
        self._keys = ListenKeys()
        self._markets = [out.market_row(i) for i in self.exchange.instruments]
        self._gathered: dict[str, Gathered] = {}  # by topic, until its interval ends
        self._topics: dict[str, set[str]] = {}  # by symbol: public topics somebody asked for
        self._trades: dict[str, deque[tuple[wire.Trade, int]]] = {
            symbol: deque(maxlen=_KEPT_TRADES) for symbol in self.exchange.markets
        }
        self._balances: dict[tuple[str, str], tuple[Decimal, Decimal]] = {}  # last told, by account and coin

    def routes(self) -> list[web.RouteDef]:
        """REST and the one WebSocket endpoint."""
        trading, v3 = self.trading, "/api/v3/"
        return [
            web.get("/ws", self._socket),
            web.get(v3 + "ping", self._public(lambda _: {})),
            web.get(v3 + "time", self._public(lambda _: {"serverTime": self._now_ms()})),
            web.get(v3 + "exchangeInfo", self._public(self._exchange_info)),
            web.get(v3 + "depth", self._public(self._depth)),
            web.get(v3 + "trades", self._public(self._recent_trades)),
            web.get(v3 + "aggTrades", self._public(self._aggregate_trades)),
            web.get("/api/v1/contract/detail", self._public(lambda _: {"success": True, "code": 0, "data": []})),
            web.post(v3 + "order", self._signed(trading.place, "order")),
            web.post(v3 + "order/test", self._signed(trading.test, "order")),
            web.post(v3 + "batchOrders", self._signed(trading.batch, "batch")),
            web.delete(v3 + "order", self._signed(trading.cancel, "cancel")),
            web.delete(v3 + "order/all", self._signed(trading.cancel_everything, "cancels")),
            web.delete(v3 + "openOrders", self._signed(trading.cancel_symbols, "cancels")),
            web.get(v3 + "order", self._signed(trading.order, "query")),
            web.get(v3 + "openOrders", self._signed(trading.open_orders, "query")),
            web.get(v3 + "allOrders", self._signed(trading.all_orders, "history")),
            web.get(v3 + "myTrades", self._signed(trading.my_trades, "history")),
            web.get(v3 + "account", self._signed(trading.account, "account")),
            web.get(v3 + "selfSymbols", self._signed(trading.self_symbols, "account")),
            web.get(v3 + "tradeFee", self._signed(trading.trade_fee, "account")),
            web.get(v3 + "capital/config/getall", self._signed(trading.coin_list, "account")),
            web.post(v3 + "userDataStream", self._signed(self._new_key, "stream")),
            web.get(v3 + "userDataStream", self._signed(self._list_keys, "stream")),
            web.put(v3 + "userDataStream", self._signed(self._extend_key, "stream")),
            web.delete(v3 + "userDataStream", self._signed(self._end_key, "stream")),
        ]

    # --- answers -----------------------------------------------------------------------------------------------------
    def maintenance_response(self) -> web.Response:
        """As the venue says it."""
        return _json({"code": 500, "message": "Under maintenance, please try again later"}, 503)

    def rate_limited_response(self) -> web.Response:
        """With the time to wait."""
        return _json({"code": 429, "msg": "Too Many Requests"}, 429, {"Retry-After": "1"})

    def unknown_route_response(self, request: web.Request) -> web.Response:
        """No such endpoint."""
        return _json({"code": 404, "msg": f"Not Found: {request.path}"}, 404)

    def _public(self, serve: Callable[[Params], Any]) -> Callable[[web.Request], Any]:
        async def handle(request: web.Request) -> web.Response:
            try:
                return _json(serve(request.query))
            except Denied as no:
                return self._denied(no)

        return handle

    def _signed(self, serve: Serve, what: str) -> Callable[[web.Request], Any]:
        async def handle(request: web.Request) -> web.Response:
            query, body = request.raw_path.partition("?")[2], await request.text()
            try:
                account = self._signatures.check(request.headers.get("X-MEXC-APIKEY"), query, body, self._now_ms())
                if not self.limit(account, what):
                    return self.rate_limited_response()
                return _json(serve(account, dict(parse_qsl(query, keep_blank_values=True))))
            except Denied as no:
                return self._denied(no)

        return handle

    def _denied(self, no: Denied) -> web.Response:
        self.counts["refused"] += 1
        return _json({"code": no.code, "msg": no.message, "_extend": None}, no.status)

    # --- market data over REST ---------------------------------------------------------------------------------------
    def _exchange_info(self, params: Params) -> dict[str, Any]:
        wanted = set(params.get("symbols", params.get("symbol", "")).split(",")) - {""}
        rows = [row for row in self._markets if not wanted or row["symbol"] in wanted]
        if wanted and len(rows) < len(wanted):
            raise Denied(-1121, "Invalid symbol.")
        return {
            "timezone": "CST", "serverTime": self._now_ms(), "rateLimits": [], "exchangeFilters": [], "symbols": rows,
        }  # fmt: skip

    def _depth(self, params: Params) -> dict[str, Any]:
        market = self.exchange.markets.get(params.get("symbol", ""))
        if market is None:
            raise Denied(-1121, "Invalid symbol.")
        return out.depth_body(market, read_limit(params, 100, 5_000), self.now_ns())

    def _recent_trades(self, params: Params) -> list[dict[str, Any]]:
        return [out.trade_row(trade, ts) for trade, ts in reversed(self._known_trades(params))]

    def _aggregate_trades(self, params: Params) -> list[dict[str, Any]]:
        return [out.aggregate_row(trade, ts) for trade, ts in reversed(self._known_trades(params))]

    def _known_trades(self, params: Params) -> deque[tuple[wire.Trade, int]]:
        known = self._trades.get(params.get("symbol", ""))
        if known is None:
            raise Denied(-1121, "Invalid symbol.")
        return known

    # --- user data streams -------------------------------------------------------------------------------------------
    def _new_key(self, account: Account, _params: Params) -> dict[str, Any]:
        return {"listenKey": self._keys.make(account, self.now_ns(), self.faults.token_life_s)}

    def _list_keys(self, account: Account, _params: Params) -> dict[str, Any]:
        return {"listenKey": self._keys.of(account, self.now_ns())}

    def _extend_key(self, account: Account, params: Params) -> dict[str, Any]:
        key = params.get("listenKey", "")
        self._keys.extend(account, key, self.now_ns(), self.faults.token_life_s)
        return {"listenKey": key}

    def _end_key(self, account: Account, params: Params) -> dict[str, Any]:
        key = params.get("listenKey", "")
        self._keys.end(account, key, self.now_ns())
        self._close_streams({key}, "listenKey was closed")
        return {"listenKey": key}

    def _close_streams(self, keys: set[str], why: str) -> None:
        for session in self.sessions:
            if session.state.get("key") in keys:
                session.close(1000, why)

    # --- sockets -----------------------------------------------------------------------------------------------------
    async def _socket(self, request: web.Request) -> web.StreamResponse:
        key = request.query.get("listenKey")
        account = None if key is None else self._keys.account(key, self.now_ns())

        def on_message(session: Session, frame: Frame) -> None:
            if key is not None and session.account is None:
                session.account, session.state["key"] = account, key
            self._heard(session, frame)

        if key is not None and account is None:
            return await self.serve_socket(request, _refuse_key, private=True)
        return await self.serve_socket(request, on_message, private=key is not None)

    def _heard(self, session: Session, frame: Frame) -> None:
        session.state["heard"] = self.now_ns()
        try:
            request = msgspec.json.decode(frame, type=_WsRequest)
        except wire.DECODE_ERRORS:
            self.counts["bad_requests"] += 1
            session.send(_note("invalid request"))
            return
        method = request.method.upper()
        if method == "PING":
            if not self.faults.no_pong:
                session.send(_note("PONG"))
        elif method == "SUBSCRIPTION":
            session.send(_note(",".join(self._subscribe(session, topic) for topic in request.params)))
        elif method == "UNSUBSCRIPTION":
            session.topics.difference_update(request.params)
            session.send(_note(",".join(request.params)))
        else:
            self.counts["bad_requests"] += 1
            session.send(_note("invalid method"))

    def _subscribe(self, session: Session, topic: str) -> str:
        """Add a topic; returns what the venue says of it."""
        found = _PUBLIC.fullmatch(topic)
        known = (found and found[3] in self.exchange.markets) or (session.private and topic in _PRIVATE)
        if not known or len(session.topics) >= MAX_TOPICS:
            return _LOST.format(topic)
        session.topics.add(topic)
        if found:
            self._topics.setdefault(found[3], set()).add(topic)
        return topic

    def on_tick(self, now_ns: int) -> None:
        """End what has lived too long: listen keys with their streams, idle and old sockets."""
        over = set(self._keys.ended(now_ns))
        if over:
            self._close_streams(over, "listenKey has expired")
        for session in self.sessions:
            began = session.state.setdefault("began", now_ns)
            heard = session.state.get("heard", began)
            if now_ns - began > _SOCKET_LIFE_NS or now_ns - heard > _IDLE_NS[bool(session.topics)]:
                session.close(1000, "idle or too old")

    # --- pushes ------------------------------------------------------------------------------------------------------
    def on_public(self, symbol: str, message: wire.Message) -> None:
        """Gather depth and trades; spot has no marks and no funding."""
        if isinstance(message, wire.Trades):
            self._trades[symbol].extend((trade, message.ts) for trade in message.trades)
        for topic in list(self._topics.get(symbol, ())):
            if isinstance(message, wire.Depth) and topic.startswith(out.DEPTH):
                self._gather(topic, symbol).depth(message)
            elif isinstance(message, wire.Trades) and topic.startswith(out.DEALS):
                self._gather(topic, symbol).trades.extend((trade, message.ts) for trade in message.trades)

    def _gather(self, topic: str, symbol: str) -> Gathered:
        gathered = self._gathered.get(topic)
        if gathered is None:
            gathered = self._gathered[topic] = Gathered()
            wait_s = 0.01 if "@10ms@" in topic else 0.1
            asyncio.get_running_loop().call_later(wait_s, self._send_gathered, topic, symbol)
        return gathered

    def _send_gathered(self, topic: str, symbol: str) -> None:
        gathered = self._gathered.pop(topic)
        if not any(topic in session.topics for session in self.sessions):
            self._topics[symbol].discard(topic)
            return
        now_ns = self.now_ns()
        if gathered.trades:
            self.broadcast(topic, out.deals_push(topic, symbol, gathered.trades, now_ns))
        else:
            versions = (gathered.first, gathered.last)
            bids, asks = gathered.bids.items(), gathered.asks.items()
            self.broadcast(topic, out.depth_push(topic, symbol, versions, bids, asks, now_ns))

    def on_private(self, account: Account, message: wire.Message) -> None:
        """Orders, executions and balances of one account."""
        now_ns = self.now_ns()
        match message:
            case wire.OrderUpdate():
                self._tell_order(account, message, now_ns)
            case wire.Fill():
                shown, coin = self.trading.shown(message), self.trading.fee_currency(message.symbol)
                self.push(account, out.own_deal_push(shown, coin, now_ns), out.OWN_DEALS)
                order = account.orders.get(message.cid)
                if order is not None and message.remaining != "0" and Decimal(message.remaining):
                    self.push(account, out.order_push(order, out.PARTLY_FILLED, message.remaining, now_ns), out.ORDERS)
            case wire.Position():
                self._tell_balances(account, message.symbol, "ENTRUST", now_ns)
            case _:
                pass  # a cancel that found nothing is answered over HTTP

    def _tell_order(self, account: Account, message: wire.OrderUpdate, now_ns: int) -> None:
        order = account.orders.get(message.cid)
        if order is None or order.oid != message.oid:
            return  # refused before it had a number: the answer says so
        part = Decimal(message.qty) < Decimal(order.request.qty)
        if message.status == "open":
            status, why = out.PARTLY_FILLED if part else out.NEW, "ENTRUST_PLACE"
        elif message.status == "filled":
            status, why = out.FILLED, ""
        elif message.status == "canceled":
            status, why = out.PARTLY_CANCELED if part else out.CANCELED, "ENTRUST_CANCEL"
        elif message.reason == POST_ONLY and not self.trading.post_only_error:
            status, why = out.CANCELED, ""
        else:
            return
        self.push(account, out.order_push(order, status, message.qty, now_ns), out.ORDERS)
        if why:
            self._tell_balances(account, message.symbol, why, now_ns)

    def _tell_balances(self, account: Account, symbol: str, why: str, now_ns: int) -> None:
        """Push the coins of a symbol whose amounts are no longer what was told last."""
        instrument = self.exchange.market(symbol).instrument
        for coin in (instrument.base, instrument.quote):
            free, frozen = self.trading.amounts(account, coin)
            old = self._balances.get((account.name, coin), (Decimal(0), Decimal(0)))
            if (free, frozen) != old:
                self._balances[account.name, coin] = (free, frozen)
                changes = (free - old[0], frozen - old[1])
                self.push(account, out.balance_push(coin, (free, frozen), changes, why, now_ns), out.BALANCES)

    def _now_ms(self) -> int:
        return self.now_ns() // 1_000_000


class _WsRequest(msgspec.Struct):
    method: str
    params: list[str] = []


def _refuse_key(session: Session, _frame: Frame) -> None:
    session.send("Invalid listen key")
    raise SessionEnd(1000, "Invalid listen key")


def _note(text: str) -> str:
    return msgspec.json.encode({"id": 0, "code": 0, "msg": text}).decode()


def _json(data: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(body=msgspec.json.encode(data), status=status, headers=headers, content_type="application/json")


FACE = MexcFace
