"""Paradex's wire: REST, JSON-RPC WebSocket, SBE (or JSON) market data, Starknet signatures, JWT.

A socket that asks for SBE in its address gets public channels as SBE; control and private frames stay JSON. A socket
stays authenticated when its token ends, as the venue documents it; tokens whose life a fault has shortened end their
sockets with error 40111.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from decimal import Decimal
from typing import Any, ClassVar, Final

from aiohttp import web

from mm.sandbox.account import Account
from mm.sandbox.exchange import Refused
from mm.sandbox.face import Core, Face, Session
from mm.sandbox.faces import paradex_wire as out
from mm.sandbox.faces.paradex_auth import TOKEN_LIFE_S, Access, Refusal, local_keys
from mm.sandbox.faces.paradex_orders import Orders, is_at_once
from mm.sandbox.faces.paradex_public import PublicChannels
from mm.sandbox.faces.paradex_socket import Sockets
from mm.venues.native import wire
from mm.venues.paradex.spec import SPEC
from mm.venues.spec import RateRule

__all__ = ["FACE", "ParadexFace", "local_keys"]

ENTRY: Final = "orders and cancels"
READS: Final = "private reads"
MAX_OPEN: Final = 100  # orders per market and account
PAGE: Final = 100

Serve = Callable[[Account, web.Request, Any], Any]


class ParadexFace(Face):
    """See the module."""

    venue: ClassVar[str] = "paradex"
    order_paths: ClassVar[tuple[str, ...]] = ("/v1/orders",)
    rates: ClassVar[tuple[RateRule, ...]] = SPEC.rates

    def __init__(self, core: Core) -> None:
        super().__init__(core)
        self.access = Access(self.exchange.accounts)
        self.orders = Orders(self.exchange, self.access, self.now_ns)
        self.public = PublicChannels(self)
        self.sockets = Sockets(self)
        self.symbols = [i.symbol for i in self.exchange.instruments]

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        """REST and the socket."""
        v, p, private = "/v1", self._public, self._private
        return [
            web.get(v, self.sockets.serve),
            web.get(f"{v}/system/config", p(lambda _: out.config())),
            web.get(f"{v}/system/time", p(lambda _: {"server_time": str(self.now_ns() // 1_000_000)})),
            web.get(f"{v}/system/state", p(lambda _: {"status": "ok"})),
            web.get(f"{v}/markets", p(self._markets)),
            web.get(f"{v}/markets/summary", p(self._summaries)),
            web.get(v + "/orderbook/{market}", p(self._book)),
            web.get(v + "/bbo/{market}", p(self._bbo)),
            web.get(f"{v}/trades", p(self._trades)),
            web.get(f"{v}/funding/data", p(self._funding_data)),
            web.post(f"{v}/onboarding", self._rest(self._onboard)),
            web.post(f"{v}/auth", self._rest(self._auth)),
            web.post(v + "/auth/{key}", self._rest(self._auth)),
            web.get(f"{v}/account", private(self._account)),
            web.get(f"{v}/account/info", private(self._account_info)),
            web.get(f"{v}/account/margin", private(self._margin_configs)),
            web.post(v + "/account/margin/{market}", private(self._set_margin)),
            web.get(f"{v}/balance", private(self._balance)),
            web.get(f"{v}/positions", private(self._positions)),
            web.get(f"{v}/fills", private(self._fills)),
            web.get(f"{v}/funding/payments", private(self._funding_payments)),
            web.get(f"{v}/orders", private(self._open_orders)),
            web.get(f"{v}/orders-history", private(self._history)),
            web.get(v + "/orders/by_client_id/{cid}", private(self._by_client)),
            web.get(v + "/orders/{id}", private(self._by_id)),
            web.post(f"{v}/orders", private(lambda a, _, b: self.orders.create(a, b), status=201)),
            web.post(f"{v}/orders/batch", private(lambda a, _, b: self.orders.create_batch(a, b), status=201)),
            web.put(v + "/orders/{id}", private(lambda a, r, b: self.orders.modify(a, r.match_info["id"], b))),
            web.delete(f"{v}/orders/batch", private(self._cancel_batch)),
            web.delete(v + "/orders/by_client_id/{cid}", private(self._cancel_client, status=204)),
            web.delete(v + "/orders/{id}", private(self._cancel_id, status=204)),
            web.delete(f"{v}/orders", private(self._cancel_all)),
        ]

    # --- how requests are served -------------------------------------------------------------------------------------
    def _rest(self, serve: Callable[[web.Request], Awaitable[web.Response]]) -> Callable[[web.Request], Any]:
        async def handler(request: web.Request) -> web.Response:
            try:
                return await serve(request)
            except Refusal as exc:
                self.counts["refused"] += 1
                return _error(exc)
            except ValueError as exc:  # a number in the query that is none
                self.counts["bad_requests"] += 1
                return _error(Refusal("INVALID_REQUEST_PARAMETER", str(exc)))

        return handler

    def _public(self, answer: Callable[[web.Request], Any]) -> Callable[[web.Request], Any]:
        async def serve(request: web.Request) -> web.Response:
            return web.json_response(answer(request))

        return self._rest(serve)

    def _private(self, answer: Serve, status: int = 200) -> Callable[[web.Request], Any]:
        async def serve(request: web.Request) -> web.Response:
            account, _ = self.access.bearer(_token(request), self.now_ns())
            if not self.limit(account, READS if request.method == "GET" else ENTRY):
                return self.rate_limited_response()
            body = _parsed(await request.read()) if request.can_read_body else None
            data = answer(account, request, body)
            return web.Response(status=204) if status == 204 else web.json_response(data, status=status)

        return self._rest(serve)

    async def _onboard(self, request: web.Request) -> web.Response:
        self.access.onboard(request.headers, _parsed(await request.read()))
        return web.Response(status=200)

    async def _auth(self, request: web.Request) -> web.Response:
        life_s = self.faults.token_life_s or TOKEN_LIFE_S
        key = request.match_info.get("key", "")
        return web.json_response({
            "jwt_token": self.access.authenticate(request.headers, key, self.now_ns(), life_s),
        })  # fmt: skip

    def maintenance_response(self) -> web.Response:
        """As under SYSTEM_STATUS maintenance."""
        return _error(Refusal("SERVICE_UNAVAILABLE", "system is under maintenance", 503))

    def rate_limited_response(self) -> web.Response:
        """429, with the headers of the limiter."""
        headers = {"x-ratelimit-limit": "800", "x-ratelimit-remaining": "0", "x-ratelimit-window": "1"}
        body = {"error": "RATE_LIMIT_EXCEEDED", "message": "rate limit exceeded", "data": None}
        return web.json_response(body, status=429, headers=headers)

    def unknown_route_response(self, request: web.Request) -> web.Response:
        """The venue's 404."""
        return _error(Refusal("NOT_FOUND", f"{request.method} {request.path} not found", 404))

    # --- public ------------------------------------------------------------------------------------------------------
    def _markets(self, request: web.Request) -> Any:
        wanted = request.query.get("market", "")
        fees: dict[str, tuple[Decimal, Decimal]] = {}
        with suppress(Refusal):  # a public question: whoever is logged in is told his own fees
            fees = self.access.bearer(_token(request), self.now_ns())[0].fees
        rows = [
            out.market(m.instrument, m.rules.max_leverage, MAX_OPEN, fees.get(m.instrument.symbol))
            for m in self.exchange.markets.values()
        ]
        return {"results": [row for row in rows if wanted in ("", row["symbol"])]}

    def _summaries(self, request: web.Request) -> Any:
        wanted = request.query.get("market", "ALL")
        return {"results": [self.public.summary(s) for s in self.symbols if wanted in ("ALL", s)]}

    def _book(self, request: web.Request) -> Any:
        symbol = self._symbol(request)
        snapshot = self.exchange.market(symbol).snapshot(self.now_ns())
        depth = int(request.query.get("depth", "20"))
        return {
            "market": symbol, "seq_no": snapshot.seq, "last_updated_at": snapshot.ts // 1_000_000,
            "bids": snapshot.bids[:depth], "asks": snapshot.asks[:depth],
        }  # fmt: skip

    def _bbo(self, request: web.Request) -> Any:
        return self.public.bbo(self._symbol(request))

    def _trades(self, request: web.Request) -> Any:
        return {"next": None, "prev": None, "results": self.public.recent(request.query.get("market", ""))}

    def _funding_data(self, request: web.Request) -> Any:
        symbol = request.query.get("market", "")
        rows = [self.public.funding(s) for s in self.symbols if symbol in ("", s)]
        return {"next": None, "prev": None, "results": rows}

    def _symbol(self, request: web.Request) -> str:
        symbol = request.match_info["market"]
        if symbol not in self.symbols:
            raise Refusal("MARKET_NOT_FOUND", "market not found", 404)
        return symbol

    # --- the account -------------------------------------------------------------------------------------------------
    def account_summary(self, account: Account, status: str = "ACTIVE") -> dict[str, Any]:
        """Money of an account."""
        view = self.exchange.account_view(account, self.symbols[0])
        return out.summary(self._name(account), view, self.now_ns(), status)

    def position(self, account: Account, p: wire.Position) -> dict[str, Any]:
        """A position in Paradex's words."""
        return out.position(p, self._name(account))

    def _name(self, account: Account) -> str:
        return hex(self.access.owner(account).address)

    def _account(self, account: Account, _request: web.Request, _body: Any) -> Any:
        return self.account_summary(account)

    def _account_info(self, account: Account, _request: web.Request, _body: Any) -> Any:
        maker, taker = account.fees[self.symbols[0]]
        fees = {"maker_rate": out.text(maker), "taker_rate": out.text(taker)}
        return {"results": [{"account": self._name(account), "fees": fees, "kind": "main"}]}

    def _margin_configs(self, account: Account, request: web.Request, _body: Any) -> Any:
        wanted = request.query.get("market", "")
        configs = [
            {"market": s, "leverage": account.leverage[s], "margin_type": "ISOLATED"}
            for s in self.symbols if wanted in ("", s)
        ]  # fmt: skip
        return {"account": self._name(account), "configs": configs, "margin_methodology": "cross_margin"}

    def _set_margin(self, account: Account, request: web.Request, body: Any) -> Any:
        symbol = self._symbol(request)
        leverage, kind = (body.get("leverage"), body.get("margin_type")) if isinstance(body, dict) else (0, "")
        if not isinstance(leverage, int) or kind != "ISOLATED":
            raise Refusal("VALIDATION_ERROR", "leverage must be whole; the local exchange has ISOLATED margin only")
        try:
            self.exchange.set_leverage(account, symbol, leverage)
        except Refused as exc:
            raise Refusal("VALIDATION_ERROR", str(exc)) from exc
        return {"account": self._name(account), "market": symbol, "leverage": leverage, "margin_type": kind}

    def _balance(self, account: Account, _request: web.Request, _body: Any) -> Any:
        size = out.text(self.exchange.balance(account, self.symbols[0]))
        return {"results": [{"token": out.SETTLEMENT, "size": size, "last_updated_at": self.now_ns() // 1_000_000}]}

    def _positions(self, account: Account, _request: web.Request, _body: Any) -> Any:
        held = [s for s in self.symbols if account.ledgers[s].lots]
        rows = [self.position(account, self.exchange.position(account, s, self.now_ns())) for s in held]
        return {"next": None, "prev": None, "results": rows}

    def _fills(self, account: Account, request: web.Request, _body: Any) -> Any:
        """Newest first, in pages; the cursor is the number of the last fill that was told."""
        query = request.query
        market, since_ns = query.get("market", ""), int(query.get("start_at", "0")) * 1_000_000
        size, before = min(int(query.get("page_size", str(PAGE))), 5_000), int(query.get("cursor") or 1 << 62)
        rows: list[wire.Fill] = []
        for f in reversed(account.fills):
            if f.ts < since_ns or len(rows) > size:
                break
            if f.n < before and market in ("", f.symbol):
                rows.append(f)
        page = rows[:size]
        following = str(page[-1].n) if len(rows) > size else None
        told = [out.fill(f, self.orders.find(account, f.cid), self._name(account)) for f in page]
        return {"next": following, "prev": None, "results": told}

    def _funding_payments(self, account: Account, request: web.Request, _body: Any) -> Any:
        """Newest first, in pages; the cursor is how many were told."""
        query = request.query
        since_ms, market, told = int(query.get("start_at", "0")), query.get("market", ""), int(query.get("cursor") or 0)
        size = min(int(query.get("page_size", str(PAGE))), 5_000)
        known = self.exchange.funding(account, since_ms * 1_000_000)[::-1]
        rows = [out.payment(p, self._name(account)) for p in known if market in ("", p.symbol)]
        following = str(told + size) if len(rows) > told + size else None
        return {"next": following, "prev": None, "results": rows[told : told + size]}

    # --- orders ------------------------------------------------------------------------------------------------------
    def _open_orders(self, account: Account, request: web.Request, _body: Any) -> Any:
        market = request.query.get("market", "")
        rows = [self.orders.describe(o) for o in account.open.values() if market in ("", o.request.symbol)]
        return {"results": rows}

    def _history(self, account: Account, request: web.Request, _body: Any) -> Any:
        cid = request.query.get("client_id", "")
        rows = [o for o in account.orders.values() if cid in ("", o.cid)][-PAGE:]
        return {"next": None, "prev": None, "results": [self.orders.describe(o) for o in rows[::-1]]}

    def _by_client(self, account: Account, request: web.Request, _body: Any) -> Any:
        return self.orders.describe(self.orders.by_client(account, request.match_info["cid"]))

    def _by_id(self, account: Account, request: web.Request, _body: Any) -> Any:
        return self.orders.describe(self.orders.by_id(account, request.match_info["id"]))

    def _cancel_batch(self, account: Account, _request: web.Request, body: Any) -> Any:
        if not isinstance(body, dict):
            raise Refusal("BINDING_ERROR", "order_ids or client_order_ids expected")
        return self.orders.cancel_batch(account, body.get("order_ids"), body.get("client_order_ids"))

    def _cancel_client(self, account: Account, request: web.Request, _body: Any) -> None:
        self.orders.cancel_client(account, request.match_info["cid"], request.query.get("market", ""))

    def _cancel_id(self, account: Account, request: web.Request, _body: Any) -> None:
        self.orders.cancel_id(account, request.match_info["id"])

    def _cancel_all(self, account: Account, request: web.Request, _body: Any) -> Any:
        self.orders.cancel_all(account, request.query.get("market", ""))
        return {}

    # --- what the exchange says --------------------------------------------------------------------------------------
    def on_public(self, symbol: str, message: wire.Message) -> None:
        """Market data."""
        self.public.say(symbol, message)

    def on_private(self, account: Account, message: wire.Message) -> None:
        """Order, fill, position and account channels."""
        if isinstance(message, wire.OrderUpdate):
            order = self.orders.find(account, message.cid)
            if order is not None and not (message.status == "rejected" and is_at_once(message.reason)):
                self._tell(account, f"orders.{message.symbol}", self.orders.describe(order))
        elif isinstance(message, wire.Fill):
            order = self.orders.find(account, message.cid)
            self._tell(account, f"fills.{message.symbol}", out.fill(message, order, self._name(account)))
            if order is not None and order.status == "open":
                self._tell(account, f"orders.{message.symbol}", self.orders.describe(order))
        elif isinstance(message, wire.Position):
            self._tell(account, "positions", self.position(account, message))
            self._tell(account, "account", self.account_summary(account))
        elif isinstance(message, wire.FundingPaid):
            payment = out.payment(message, self._name(account))
            self._tell(account, f"funding_payments.{message.symbol}", payment)
        elif isinstance(message, wire.Liquidation):
            self._tell(account, "account", self.account_summary(account, "LIQUIDATION"))

    def _tell(self, account: Account, channel: str, data: Any) -> None:
        """To the sessions of the account, each under the name it has subscribed."""
        for topic in (channel, channel.partition(".")[0] + ".ALL"):
            if any(s.account is account and topic in s.topics for s in self.sessions):
                self.push(account, out.channel_frame(topic, data), topic)

    def on_tick(self, now_ns: int) -> None:
        """Periodic channels and tokens that ended."""
        self.public.tick(now_ns)
        self.sockets.tick(now_ns)

    def on_session_end(self, session: Session) -> None:
        """Cancel on disconnect."""
        self.sockets.ended(session)


def _token(request: web.Request) -> str:
    """The access token of a request; raises ``Refusal``."""
    head, _, token = request.headers.get("Authorization", "").partition(" ")
    if head != "Bearer":
        raise Refusal("INVALID_TOKEN", "missing or malformed jwt", 401)
    return token


def _parsed(raw: bytes) -> Any:
    if not raw:
        return None
    try:
        return json.loads(raw)
    except ValueError as exc:
        raise Refusal("BINDING_ERROR", "the body is not JSON") from exc


def _error(exc: Refusal) -> web.Response:
    return web.json_response({"error": exc.code, "message": str(exc), "data": None}, status=exc.status)


FACE: Final = ParadexFace
