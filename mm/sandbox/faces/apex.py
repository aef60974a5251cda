"""ApeX Omni over the exchange: REST of version 3 and both WebSockets, signatures really verified.

Orders are taken as the venue takes them: checked, answered PENDING, then OPEN or CANCELED on the private socket. HTTP
status is 200 for refusals too: a body with a ``code`` is one.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final
from urllib.parse import parse_qsl

import msgspec
from aiohttp import web

from mm.sandbox.account import Account, ClientOrder
from mm.sandbox.exchange import Refused
from mm.sandbox.face import Core, Face
from mm.sandbox.faces import apex_auth
from mm.sandbox.faces import apex_wire as say
from mm.sandbox.faces.apex_auth import ZkVerifier, account_id, local_keys
from mm.sandbox.faces.apex_orders import MAX_OPEN, Holdings, Refusal, read_order
from mm.sandbox.faces.apex_socket import MarketTopics, Sockets, account_push
from mm.venues.apex.spec import SPEC
from mm.venues.native import wire

__all__ = ["FACE", "ApexFace", "local_keys"]

_PAGE: Final = 100  # entries of a list in one answer, unless the client asks for fewer
_MAX_BATCH: Final = 20
_MAX_CANDLES: Final = 200
Query = Callable[[Account, Mapping[str, str]], web.Response]


class ApexFace(Face):
    """See the module."""

    venue: ClassVar[str] = "apex"
    order_paths = (
        "/api/v3/order", "/api/v3/batch-orders", "/api/v3/delete-order", "/api/v3/delete-client-order-id",
        "/api/v3/delete-open-orders",
    )  # fmt: skip
    rates = SPEC.rates

    def __init__(self, core: Core) -> None:
        super().__init__(core)
        now_ns = self.now_ns()
        self._markets = {s: MarketTopics(self.exchange, s, now_ns) for s in self.instruments}
        self._by_name = {m.name: m for m in self._markets.values()}
        keys = {token: local_keys(token) for token in self.exchange.accounts}
        self._accounts = {keys[token]["api_key"]: (a, keys[token]) for token, a in self.exchange.accounts.items()}
        self._numbers = {a.name: account_id(token) for token, a in self.exchange.accounts.items()}
        self._verifiers = {a.name: ZkVerifier(token) for token, a in self.exchange.accounts.items()}
        self._holdings = Holdings(self.exchange)
        self._sockets = Sockets(self, self._accounts, self._markets, self._contents)

    def routes(self) -> list[web.RouteDef]:
        """Everything under /api/v3 and the two sockets."""
        public: dict[str, Callable[[Mapping[str, str]], web.Response]] = {
            "symbols": lambda _: _data(say.symbols(self.exchange.instruments)),
            "time": lambda _: _data({"time": self.now_ns() // 1_000_000}),
            "depth": self._depth,
            "trades": self._trades,
            "ticker": lambda query: _data([self._market_of(query).ticker(self.now_ns())]),
            "klines": self._klines,
            "history-funding": self._rates,
        }
        gets: dict[str, Query] = {
            "user": lambda a, _: _data({"id": self._numbers[a.name], "ethereumAddress": "0x"}),
            "account": lambda a, _: _data(self._account(a)),
            "account-balance": lambda a, _: _data(self._holdings.balance(a)),
            "open-orders": lambda a, _: _data([self._order(o) for o in a.open.values()]),
            "order": lambda a, q: _data(self._order(self._find(a.by_oid(_number(q.get("id", "")))))),
            "order-by-client-order-id": lambda a, q: _data(self._order(self._find(a.orders.get(q.get("id", ""))))),
            "history-orders": self._history,
            "fills": self._fills,
            "funding": lambda a, q: _data(_paged("fundingValues", self._holdings.settlements(a), "fundingTime", q)),
        }
        posts: dict[str, Query] = {
            "order": lambda a, form: _data(self._place(a, form)),
            "batch-orders": self._place_batch,
            "delete-order": lambda a, f: self._cancel(a, a.by_oid(_number(f.get("id", ""))), f.get("id", "")),
            "delete-client-order-id": lambda a, f: self._cancel(a, a.orders.get(f.get("id", "")), f.get("id", "")),
            "delete-open-orders": self._cancel_all,
            "set-initial-margin-rate": self._set_margin_rate,
        }
        return [
            *(web.get(f"/api/v3/{path}", _public(take)) for path, take in public.items()),
            *(web.get(f"/api/v3/{path}", self._private(take)) for path, take in gets.items()),
            *(web.post(f"/api/v3/{path}", self._private(take)) for path, take in posts.items()),
            web.get("/realtime_public", self._public_socket),
            web.get("/realtime_private", self._private_socket),
        ]

    async def _public_socket(self, request: web.Request) -> web.StreamResponse:
        return await self.serve_socket(request, self._sockets.hear, private=False)

    async def _private_socket(self, request: web.Request) -> web.StreamResponse:
        return await self.serve_socket(request, self._sockets.hear, private=True)

    # --- what the exchange says --------------------------------------------------------------------------------------
    def on_public(self, symbol: str, message: wire.Message) -> None:
        """Books, trades and prices to who subscribed."""
        for topic, frame in self._markets[symbol].news(message, self.now_ns()):
            self.broadcast(topic, frame)

    def on_private(self, account: Account, message: wire.Message) -> None:
        """Orders, fills and positions to their account."""
        match message:
            case wire.Fill():
                told = {"fills": [say.fill(message, self._numbers[account.name])]}
                order = account.by_oid(message.oid)
                if order is not None:
                    told["orders"] = [self._order(order)]
                elif not message.oid:
                    told["orders"] = [say.liquidation(message, self._numbers[account.name])]
                self._tell(account, told)
            case wire.OrderUpdate() if message.oid and message.status != "filled":  # the fill has said so
                order = account.orders.get(message.cid)
                if order is not None:
                    self._tell(account, {"orders": [self._order(order)]})
            case wire.FundingPaid():
                self._holdings.settled(account, message)
            case wire.Position():
                self._tell(account, self._holdings.state(account, [message.symbol], self.now_ns()))
            case _:
                pass

    def on_tick(self, now_ns: int) -> None:
        """Pings."""
        for session in list(self.sessions):
            self._sockets.beat(session, now_ns)

    def maintenance_response(self) -> web.Response:
        """Out of service."""
        return _refuse(503, "", "Service Unavailable : We're temporarily offline for maintenance.", status=503)

    def rate_limited_response(self) -> web.Response:
        """One request too many."""
        return _refuse(403, "", "too many requests", status=403)

    def unknown_route_response(self, request: web.Request) -> web.Response:
        """No such path."""
        return _refuse(404, "", f"Not Found : {request.path}", status=404)

    def _tell(self, account: Account, contents: dict[str, Any]) -> None:
        self.push(account, say.text(account_push("delta", contents, self.now_ns())), topic="ws_zk_accounts_v3")

    def _contents(self, account: Account) -> dict[str, Any]:
        """What a new private socket is told."""
        return {
            "orders": [self._order(o) for o in account.open.values()],
            **self._holdings.state(account, list(self.instruments), self.now_ns()),
        }

    def _order(self, order: ClientOrder, *, pending: bool = False) -> dict[str, Any]:
        return say.order(order, self._numbers[order.account.name], pending=pending)

    # --- who asks ----------------------------------------------------------------------------------------------------
    def _private(self, take: Query) -> Callable[[web.Request], Any]:
        """A handler that knows its account."""

        async def handle(request: web.Request) -> web.Response:
            said = (await request.read()).decode(errors="replace") if request.method == "POST" else ""
            try:
                form = dict(parse_qsl(said, keep_blank_values=True))
                account = self._authenticate(request, form)
                if not self.limit(account, request.method):
                    return self.rate_limited_response()
                return take(account, form if request.method == "POST" else request.query)
            except Refusal as exc:
                self.counts["refused"] += 1
                return _refuse(exc.code, exc.key, str(exc))

        return handle

    def _authenticate(self, request: web.Request, form: Mapping[str, str]) -> Account:
        """The account whose key signed a request; raises ``Refusal``."""
        said = request.headers.get("APEX-API-KEY", "")
        account, keys = self._accounts.get(said, (None, {}))
        if account is None or request.headers.get("APEX-PASSPHRASE") != keys["passphrase"]:
            raise Refusal(10002, "", f"Api credential is invalid [apiKey={said}]!")
        stamp = request.headers.get("APEX-TIMESTAMP", "")
        if not apex_auth.is_fresh(stamp, self.now_ns()):
            raise Refusal(20002, "", "timestamp expired")
        signature = apex_auth.sign(keys["api_secret"], stamp, request.method, request.raw_path, form)
        if not hmac.compare_digest(signature, request.headers.get("APEX-SIGNATURE", "")):
            raise Refusal(20016, "", "apikey sign error")
        return account

    # --- orders ------------------------------------------------------------------------------------------------------
    def _place(self, account: Account, form: Mapping[str, str]) -> dict[str, Any]:
        """Take one order; raises ``Refusal``."""
        if self.limited and len(account.open) >= MAX_OPEN:
            raise Refusal(3, "ORDER_OPEN_ORDER_COUNT_LIMIT_EXCEED", f"You have {MAX_OPEN} open orders")
        request, price, size = read_order(form, self.instruments, self.now_ns())
        fees = self._holdings.fees(account)
        pair = say.pair_id(self.exchange.instruments, request.symbol)
        if not self._verifiers[account.name].verify(form, pair, fees):
            raise Refusal(20001, "INVALID_L2_SIGNATURE", "Invalid L2 signature.")
        if wire.decimal(form.get("limitFee", "")) < price * size * fees[1]:
            raise Refusal(3, "ORDER_LIMIT_FEE_NOT_ENOUGH", f"Insufficient gas fees on this order. {form['limitFee']}")
        order = self.exchange.place(account, request, self.now_ns())
        if not order.oid:
            raise Refusal(3, *say.refusal(order.reason))
        taken = self._order(order, pending=True)
        self._tell(account, {"orders": [taken]})
        return taken

    def _place_batch(self, account: Account, form: Mapping[str, str]) -> web.Response:
        """Several orders: each is taken or refused on its own."""
        try:
            raw = msgspec.json.decode(form.get("orders", ""), type=list[dict[str, Any]])
        except msgspec.MsgspecError as exc:
            raise Refusal(10001, "", f"orders: {exc}") from exc
        if not 0 < len(raw) <= _MAX_BATCH:
            raise Refusal(10001, "", f"a batch holds 1 to {_MAX_BATCH} orders")
        out = []
        for one in raw:
            said = {key: str(value) for key, value in one.items() if value is not None}
            try:
                out.append(self._place(account, said))
            except Refusal as exc:
                self.counts["refused"] += 1
                out.append({"clientId": said.get("clientId", ""), "code": exc.code, "key": exc.key, "msg": str(exc)})
        return _data(out)

    def _cancel(self, account: Account, order: ClientOrder | None, said: str) -> web.Response:
        if order is None or order.status != "open":
            raise Refusal(3, *say.uncancelable("" if order is None else order.status))
        self.exchange.cancel(account, order.cid, self.now_ns())
        return _data(said)

    def _cancel_all(self, account: Account, form: Mapping[str, str]) -> web.Response:
        only = {s for s in form.get("symbol", "").split(",") if s}
        for order in list(account.open.values()):
            if not only or order.request.symbol in only:
                self.exchange.cancel(account, order.cid, self.now_ns())
        return _data({})

    def _set_margin_rate(self, account: Account, form: Mapping[str, str]) -> web.Response:
        symbol = form.get("symbol", "")
        if symbol not in self.instruments:
            raise Refusal(3, *say.refusal("unknown_symbol"))
        try:
            rate = wire.decimal(form.get("initialMarginRate", ""))
        except ValueError as exc:
            raise Refusal(10001, "", str(exc)) from exc
        if not 0 < rate <= 1:
            raise Refusal(3, "INVALID_INITIAL_MARGIN_RATE", f"initialMarginRate {rate}")
        try:
            self.exchange.set_leverage(account, symbol, round(1 / rate))
        except Refused as exc:
            raise Refusal(3, "INVALID_INITIAL_MARGIN_RATE", str(exc)) from exc
        return _data(None)

    # --- queries -----------------------------------------------------------------------------------------------------
    def _account(self, account: Account) -> dict[str, Any]:
        head = self._holdings.account(account, self._numbers[account.name], self._verifiers[account.name].l2_key)
        return {**head, **self._holdings.state(account, list(self.instruments), self.now_ns())}

    def _history(self, account: Account, query: Mapping[str, str]) -> web.Response:
        orders = sorted(account.orders.values(), key=lambda o: -o.created_ns)
        return _data(_paged("orders", [self._order(o) for o in orders], "createdAt", query))

    def _fills(self, account: Account, query: Mapping[str, str]) -> web.Response:
        number, symbol = self._numbers[account.name], query.get("symbol", "")
        told = [say.fill_record(f, number) for f in reversed(account.fills) if symbol in ("", f.symbol)]
        return _data(_paged("orders", told, "createdAt", query))

    def _depth(self, query: Mapping[str, str]) -> web.Response:
        market = self._market_of(query)
        book = self.exchange.market(market.symbol).snapshot(self.now_ns())
        limit = min(_limit(query), _PAGE)
        return _data({"s": market.name, "b": book.bids[:limit], "a": book.asks[:limit], "u": book.seq})

    def _trades(self, query: Mapping[str, str]) -> web.Response:
        return _data(list(self._market_of(query).latest))

    def _klines(self, query: Mapping[str, str]) -> web.Response:
        market = self._market_of(query)
        start, end = (1_000 * _number(query.get(name, "")) for name in ("start", "end"))  # in seconds, these alone
        try:
            told = market.history.candle_rows(query.get("interval", "1"), start, end, min(_limit(query), _MAX_CANDLES))
        except KeyError as exc:
            raise Refusal(10001, "", f"no interval {exc}") from None
        return _data({market.name: told})

    def _rates(self, query: Mapping[str, str]) -> web.Response:
        market = self._markets.get(query.get("symbol", ""))  # with its dash, this alone of the public queries
        if market is None:
            raise Refusal(3, *say.refusal("unknown_symbol"))
        return _data(_paged("historyFunds", market.history.rates(), "fundingTimestamp", query))

    def _market_of(self, query: Mapping[str, str]) -> MarketTopics:
        market = self._by_name.get(query.get("symbol", ""))
        if market is None:
            raise Refusal(3, *say.refusal("unknown_symbol"))
        return market

    @staticmethod
    def _find(order: ClientOrder | None) -> ClientOrder:
        if order is None or not order.oid:
            raise Refusal(3, *say.NOT_FOUND)
        return order


def _public(take: Callable[[Mapping[str, str]], web.Response]) -> Callable[[web.Request], Any]:
    async def handle(request: web.Request) -> web.Response:
        try:
            return take(request.query)
        except Refusal as exc:
            return _refuse(exc.code, exc.key, str(exc))

    return handle


def _data(data: Any) -> web.Response:
    return web.Response(body=say.encode({"data": data, "timeCost": 1}), content_type="application/json")


def _refuse(code: int, key: str, message: str, status: int = 200) -> web.Response:
    body = say.encode({"code": code, "msg": message, "key": key, "detail": {}, "timeCost": 1})
    return web.Response(body=body, status=status, content_type="application/json")


def _paged(name: str, newest_first: list[dict[str, Any]], stamp: str, query: Mapping[str, str]) -> dict[str, Any]:
    """One page of a list, as the query wants it."""
    begin, end = _number(query.get("beginTimeInclusive", "")), _number(query.get("endTimeExclusive", ""))
    found = [one for one in newest_first if begin <= one[stamp] and (not end or one[stamp] < end)]
    limit = min(_limit(query), _PAGE)
    at = _number(query.get("page", "")) * limit
    return {name: found[at : at + limit], "totalSize": len(found)}


def _limit(query: Mapping[str, str]) -> int:
    return _number(query.get("limit", "")) or _PAGE


def _number(text: str) -> int:
    """A number in a query, 0 for anything else; order numbers without their offset."""
    value = int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0
    return value - say.FIRST_ID if value > say.FIRST_ID else value


FACE: Final = ApexFace
