"""Hyperliquid's wire over the exchange: POST /info, POST /exchange and one WebSocket at /ws for everything.

The venue works in blocks. Here: what one turn of the loop has to say of an account is one message, the touch (bbo) is
told when it changes, the whole book (twenty levels) every half second, as on the venue, changed or not. Times of a
coin's books rise by at least a millisecond. Nothing here asks who listens: an account is public by its address, only
actions are signed (``hyperliquid_auth``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any, ClassVar, Final, cast

import msgspec
from aiohttp import web

from mm.sandbox.account import Account
from mm.sandbox.face import Core, Face, Frame, Session
from mm.sandbox.faces import hyperliquid_wire as hl
from mm.sandbox.faces.hyperliquid_actions import Actions, parse
from mm.sandbox.faces.hyperliquid_auth import Request, local_keys
from mm.sandbox.faces.hyperliquid_info import Info, Unknown, weight
from mm.venues.hyperliquid.spec import SPEC
from mm.venues.native import wire
from mm.venues.spec import RateRule

BOOK_EVERY_NS: Final = 500_000_000
IDLE_NS: Final = 60_000_000_000  # a socket of an account that says nothing for so long is closed
WEIGHT: Final = "weight of REST requests"
MESSAGES: Final = "WebSocket messages"
_OF_COIN: Final = frozenset({"l2Book", "bbo", "trades", "activeAssetCtx"})
_OF_USER: Final = frozenset({"orderUpdates", "userFills", "userEvents", "clearinghouseState", "userFundings"})
_UNREADABLE: Final = "Failed to deserialize the JSON body into the target type"
_ANYBODY: Final = cast("Account", SimpleNamespace(name="address of the machine"))  # whose budget public questions use

_encode: Final = msgspec.json.Encoder().encode


class HyperliquidFace(Face):
    """See the module."""

    venue = "hyperliquid"
    order_paths = ("/exchange",)
    rates: ClassVar[tuple[RateRule, ...]] = SPEC.rates

    def __init__(self, core: Core) -> None:
        super().__init__(core)
        self.actions = Actions(self.exchange, core.clock_ns, self.now_ns)
        self.info = Info(self.exchange, self.actions, self._to_ms)
        self.info.now_ms = lambda: self.now_ns() // 1_000_000
        self.counts |= self.actions.counts
        self.actions.counts = self.counts
        self._times: dict[str, int] = {}
        self._touch: dict[str, tuple[Any, Any]] = {}
        self._marks: dict[str, str] = {}
        self._books_due_ns = 0
        self._updates: dict[str, list[dict[str, Any]]] = {}  # by account name, until the end of this turn
        self._fills: dict[str, list[dict[str, Any]]] = {}
        self._moved: set[str] = set()
        self._flushing = False
        self._lids = 0
        self._by_name = {a.name: a for a in self.exchange.accounts.values()}

    # --- REST ---------------------------------------------------------------------------------------------------------
    def routes(self) -> Iterable[web.AbstractRouteDef]:
        """The three paths of the venue."""
        return [web.post("/info", self._info), web.post("/exchange", self._exchange), web.get("/ws", self._socket)]

    async def _info(self, request: web.Request) -> web.Response:
        try:
            asked = msgspec.json.decode(await request.read())
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return self._unreadable()
        kind = asked.get("type") if isinstance(asked, dict) else None
        user = self.actions.signers.get(str(asked.get("user", "")).lower()) if isinstance(asked, dict) else None
        if not self.limit(user or _ANYBODY, WEIGHT, weight(str(kind))):
            return self.rate_limited_response()
        try:
            return _json(self.info.answer(asked))
        except Unknown:
            return self._unreadable()

    async def _exchange(self, request: web.Request) -> web.Response:
        body = await request.read()
        signed = parse(body)
        if signed is None:
            return self._unreadable()
        account, refusal = self.actions.identify(signed)
        if not self.limit(account or _ANYBODY, WEIGHT, self.actions.weight(signed.action)):
            return self.rate_limited_response()
        if account is None or refusal:
            self.counts["refused"] += 1
            return _json({"status": "err", "response": refusal})
        return _json(self.actions.execute(account, signed.action))

    def _unreadable(self) -> web.Response:
        self.counts["bad_requests"] += 1
        return web.Response(status=422, text=_UNREADABLE)

    def maintenance_response(self) -> web.Response:
        """What its gateway says when the venue is away."""
        return web.Response(status=503, text="Service Unavailable")

    def rate_limited_response(self) -> web.Response:
        """Too much weight from one address."""
        return web.Response(status=429, text="null", content_type="application/json")

    def unknown_route_response(self, _request: web.Request) -> web.Response:
        """No words."""
        return web.Response(status=404)

    # --- WebSocket ----------------------------------------------------------------------------------------------------
    async def _socket(self, request: web.Request) -> web.StreamResponse:
        return await self.serve_socket(request, self._message, private=False)

    def _message(self, session: Session, frame: Frame) -> None:
        session.state["heard_ns"] = self.now_ns()
        try:
            message = msgspec.json.decode(frame)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            message = None
        method = message.get("method") if isinstance(message, dict) else None
        if method == "ping":
            if not self.faults.no_pong:
                session.send(_frame("pong"))
        elif method in {"subscribe", "unsubscribe"} and isinstance(message.get("subscription"), dict):
            self._subscribe(session, str(method), message["subscription"])
        elif method == "post" and isinstance(message.get("id"), int) and isinstance(message.get("request"), dict):
            self._post(session, message["id"], message["request"])
        else:
            self.counts["bad_requests"] += 1
            shown = frame if isinstance(frame, str) else frame.decode(errors="replace")
            session.send(_frame("error", f"Error parsing JSON into valid websocket request: {shown[:200]}"))

    def _subscribe(self, session: Session, method: str, asked: dict[str, Any]) -> None:
        kind, who = str(asked.get("type", "")), ""
        account = None
        if kind in _OF_COIN and str(asked.get("coin")) in self.exchange.markets:
            who = str(asked["coin"])
        elif kind in _OF_USER and str(asked.get("user", "")).startswith("0x"):
            who = str(asked["user"]).lower()
            account = self.actions.users.get(who)
        if not who:
            self.counts["bad_requests"] += 1
            session.send(_frame("error", f"Invalid subscription {_encode(asked).decode()}"))
            return
        topic = f"{kind}:{who}"
        if (topic in session.topics) == (method == "subscribe"):
            words = "Already subscribed" if method == "subscribe" else "Already unsubscribed"
            session.send(_frame("error", f"{words}: {_encode(asked).decode()}"))
            return
        session.send(_frame("subscriptionResponse", {"method": method, "subscription": asked}))
        if method == "unsubscribe":
            session.topics.discard(topic)
            return
        session.topics.add(topic)
        if kind in _OF_USER:
            session.private = True
            session.account = account
        self._first(session, kind, who, account)

    def _first(self, session: Session, kind: str, who: str, account: Account | None) -> None:
        """What a stream begins with."""
        faults = self.faults
        if faults.stall_private if kind in _OF_USER else faults.stall_public:
            return
        match kind:
            case "l2Book":
                session.send(_frame("l2Book", hl.book(who, self.exchange.markets[who], self._time_of(who))))
            case "bbo":
                session.send(_frame("bbo", hl.bbo(who, self.exchange.markets[who], self._time_of(who))))
            case "activeAssetCtx":
                session.send(self._context(who))
            case "userFills":
                rows = self.info.fills(account, 0, newest=True)
                session.send(_frame("userFills", {"isSnapshot": True, "user": who, "fills": rows}))
            case "clearinghouseState":
                session.send(self._state(who, account))

    def _post(self, session: Session, number: int, request: dict[str, Any]) -> None:
        """An action or a question by WebSocket; actions have the faults that they have over REST."""
        kind, payload, faults = request.get("type"), request.get("payload"), self.faults
        signed = parse(payload) if kind == "action" else None
        if signed is not None:
            if faults.maintenance:
                self._answer(session, number, {"type": "error", "payload": "Service Unavailable"})
            elif faults.take("rate_limited") or not self.limit(session.account or _ANYBODY, MESSAGES):
                self.counts["rate_limited"] += 1
                self._answer(session, number, {"type": "error", "payload": "Too many messages"})
            elif faults.request_delay_s:
                asyncio.get_running_loop().call_later(faults.request_delay_s, self._act, session, number, signed)
            else:
                self._act(session, number, signed)
            return
        answer: dict[str, Any] = {"type": "error", "payload": _UNREADABLE}
        if kind == "info" and isinstance(payload, dict):
            try:
                answer = {"type": "info", "payload": {"type": payload.get("type"), "data": self.info.answer(payload)}}
            except Unknown:
                self.counts["bad_requests"] += 1
        self._answer(session, number, answer)

    def _act(self, session: Session, number: int, signed: Request) -> None:
        account, refusal = self.actions.identify(signed)
        if account is None or refusal:
            self.counts["refused"] += 1
            body: dict[str, Any] = {"status": "err", "response": refusal}
        else:
            body = self.actions.execute(account, signed.action)
        self.publish()
        faults = self.faults
        if faults.take("ack_lost"):
            return
        answer = {"type": "action", "payload": body}
        if faults.take("error_after_accept"):
            answer = {"type": "error", "payload": "Bad Gateway"}
        if faults.ack_delay_s:
            asyncio.get_running_loop().call_later(faults.ack_delay_s, self._answer, session, number, answer)
        else:
            self._answer(session, number, answer)

    @staticmethod
    def _answer(session: Session, number: int, answer: dict[str, Any]) -> None:
        session.send(_frame("post", {"id": number, "response": answer}))

    # --- what the exchange says ---------------------------------------------------------------------------------------
    def on_public(self, symbol: str, message: wire.Message) -> None:
        """To whoever subscribed; the touch only when it changed."""
        market = self.exchange.markets[symbol]
        match message:
            case wire.Depth():
                now = (hl.best(market, 1), hl.best(market, -1))
                if now != self._touch.get(symbol):
                    self._touch[symbol] = now
                    frame = {"coin": symbol, "time": self._time_of(symbol, step=True), "bbo": now}
                    self.broadcast(f"bbo:{symbol}", _frame("bbo", frame))
            case wire.Trades(ts=ts, trades=trades):
                time_ms = self._to_ms(ts)
                self.broadcast(f"trades:{symbol}", _frame("trades", [hl.trade(symbol, t, time_ms) for t in trades]))
            case wire.Mark():
                self.broadcast(f"activeAssetCtx:{symbol}", self._context(symbol))
            case wire.Funding():
                self._settled(symbol, message)
            case _:
                raise TypeError(type(message).__name__)

    def _settled(self, coin: str, message: wire.Funding) -> None:
        """A funding rate: kept, and told with the context."""
        self.info.rates[coin] = message.rate
        row = {"coin": coin, "fundingRate": message.rate, "premium": "0.0", "time": self._to_ms(message.ts)}
        self.info.history.setdefault(coin, []).append(row)
        self.broadcast(f"activeAssetCtx:{coin}", self._context(coin))

    def on_private(self, account: Account, message: wire.Message) -> None:
        """Kept until the end of this turn: what belongs together is one message."""
        match message:
            case wire.OrderUpdate(status=status, cid=cid, ts=ts):
                order = account.orders.get(cid)
                if status == "rejected" or order is None or hl.order_status(order) == "iocCancelRejected":
                    return  # the answer to the request has said so
                row = {
                    "order": hl.basic_order(order, self._to_ms(order.created_ns)),
                    "status": "open" if status == "open" else hl.order_status(order),
                    "statusTimestamp": self._to_ms(ts),
                }
                self._updates.setdefault(account.name, []).append(row)
            case wire.Fill():
                self.actions.traded(account, message)
                row = hl.fill(message, self._to_ms(message.ts), self.actions.address[account.name])
                self._fills.setdefault(account.name, []).append(row)
            case wire.Position():
                self._moved.add(account.name)
            case wire.FundingPaid():
                event: dict[str, Any] = {"funding": hl.funding(message, self._to_ms(message.ts))}
                self._push(account, "userEvents", _frame("user", event))
            case wire.Liquidation():
                user, value = self.actions.address[account.name], self.exchange.balance(account, message.symbol)
                self._lids += 1
                event = {"liquidation": hl.liquidation(message, self._lids, user, value)}
                self._push(account, "userEvents", _frame("user", event))
            case _:
                return
        if not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        fills, self._fills = self._fills, {}
        updates, self._updates = self._updates, {}
        moved, self._moved = self._moved, set()
        for name, rows in fills.items():
            user = self.actions.address[name]
            self._push(self._by_name[name], "userFills", _frame("userFills", {"user": user, "fills": rows}))
        for name, rows in updates.items():
            self._push(self._by_name[name], "orderUpdates", _frame("orderUpdates", rows))
        for name in moved:
            account = self._by_name[name]
            self._push(account, "clearinghouseState", self._state(self.actions.address[name], account))

    def _push(self, account: Account, kind: str, frame: str) -> None:
        self.push(account, frame, f"{kind}:{self.actions.address[account.name]}")

    # --- time ---------------------------------------------------------------------------------------------------------
    def on_tick(self, now_ns: int) -> None:
        """Whole books and contexts twice a second; sockets that have gone quiet are closed."""
        if now_ns < self._books_due_ns <= now_ns + BOOK_EVERY_NS:
            return
        self._books_due_ns = now_ns + BOOK_EVERY_NS
        for coin, market in self.exchange.markets.items():
            if any(f"l2Book:{coin}" in s.topics for s in self.sessions):
                book = hl.book(coin, market, self._time_of(coin, step=True))
                self.broadcast(f"l2Book:{coin}", _frame("l2Book", book))
            mark = hl.num(format(hl.mark_price(market), "f"))
            if self._marks.get(coin) != mark:
                self._marks[coin] = mark
                self.broadcast(f"activeAssetCtx:{coin}", self._context(coin))
        for session in list(self.sessions):
            if session.private and now_ns - session.state.get("heard_ns", now_ns) > IDLE_NS:
                session.close(1000, "Inactive")

    def _to_ms(self, exchange_ns: int) -> int:
        return (exchange_ns + round(self.faults.clock_skew_s * 1e9)) // 1_000_000

    def _time_of(self, coin: str, *, step: bool = False) -> int:
        """The time of a book: now, but always after the one before."""
        now_ms = self.now_ns() // 1_000_000
        last = self._times.get(coin, 0)
        if abs(now_ms - last) > 10_000:  # the clock was set
            last = 0
        self._times[coin] = time_ms = max(now_ms, last + step)
        return time_ms

    def _context(self, coin: str) -> str:
        ctx = hl.asset_ctx(self.exchange.markets[coin], self.info.rates.get(coin, "0.0"))
        return _frame("activeAssetCtx", {"coin": coin, "ctx": ctx})

    def _state(self, user: str, account: Account | None) -> str:
        state = self.info.clearinghouse(account)
        return _frame("clearinghouseState", {"dex": "", "user": user, "clearinghouseState": state})


def _frame(channel: str, data: Any = None) -> str:
    body = {"channel": channel} if data is None else {"channel": channel, "data": data}
    return _encode(body).decode()


def _json(data: Any) -> web.Response:
    return web.Response(body=_encode(data), content_type="application/json")


FACE: Final = HyperliquidFace

__all__ = ["FACE", "HyperliquidFace", "local_keys"]
