"""One venue's wire over the exchange: REST routes and WebSocket endpoints on one loopback port.

A face translates; what is true stands in ``mm.sandbox.exchange``. This base runs the sockets, applies the faults that
all venues share and keeps the venue's rate limits. A venue's file says which routes there are and how things are said.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, Final, Protocol

from aiohttp import WSMsgType, web

from mm.core.instrument import Instrument
from mm.sandbox.account import Account
from mm.sandbox.exchange import Exchange
from mm.sandbox.faults import Faults
from mm.sandbox.spec import HOST
from mm.venues.native import wire
from mm.venues.spec import RateRule

MAX_UNSENT: Final = 20_000  # messages that a client may leave unread before it is disconnected
MAX_BODY: Final = 4 << 20

Frame = str | bytes
Handler = Callable[[web.Request], Any]
OnMessage = Callable[["Session", Frame], None]  # a client's message; may raise ``SessionEnd``

log = logging.getLogger("mm.sandbox.face")


class Core(Protocol):
    """What a face needs of the server around the exchange."""

    exchange: Exchange
    counts: dict[str, int]

    def clock_ns(self) -> int: ...
    def publish(self) -> None: ...


class SessionEnd(Exception):
    """Ends a client's socket with a WebSocket close code."""

    def __init__(self, code: int = 1000, reason: str = "") -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Session:
    """One WebSocket of a client. ``account`` once it is known who speaks."""

    def __init__(self, socket: web.WebSocketResponse, transport: asyncio.Transport | None, *, private: bool) -> None:
        self.private = private
        self.account: Account | None = None
        self.topics: set[str] = set()
        self.state: dict[str, Any] = {}  # a face's own (token expiry, dead man, last ping)
        self._socket = socket
        self._transport = transport
        self._unsent: deque[Frame] = deque()
        self._wake = asyncio.Event()
        self._end: SessionEnd | None = None

    def send(self, data: Frame) -> None:
        """Queue one message; a client that does not read is disconnected."""
        self._unsent.append(data)
        self._wake.set()
        if len(self._unsent) > MAX_UNSENT:
            log.warning("a client left %d messages unread: disconnected", MAX_UNSENT)
            self.abort()

    def close(self, code: int = 1000, reason: str = "") -> None:
        """End the socket after what was queued."""
        self._end = self._end or SessionEnd(code, reason)
        self._wake.set()

    def abort(self) -> None:
        """End the connection without a word."""
        if self._transport is not None:
            self._transport.abort()

    async def write(self) -> None:
        """Send what is queued until the end."""
        try:
            while True:
                while self._unsent:
                    data = self._unsent.popleft()
                    await (self._socket.send_str(data) if isinstance(data, str) else self._socket.send_bytes(data))
                if self._end is not None:
                    await self._socket.close(code=self._end.code, message=self._end.reason.encode())
                    return
                self._wake.clear()
                await self._wake.wait()
        except (ConnectionError, RuntimeError) as exc:  # aiohttp raises RuntimeError for a closing socket
            log.debug("a client's socket ended: %s", exc)


class Face(ABC):
    """See the module. ``order_routes``: path prefixes of requests that place, amend or cancel orders."""

    venue: ClassVar[str]
    order_paths: ClassVar[tuple[str, ...]] = ()
    rates: ClassVar[tuple[RateRule, ...]] = ()

    def __init__(self, core: Core) -> None:
        self.exchange = core.exchange
        self.faults = Faults()
        self.limited = True  # the venue's rate limits hold
        self.sessions: set[Session] = set()
        self.counts = dict.fromkeys(("requests", "unknown_routes", "bad_requests", "refused", "rate_limited"), 0)
        self._core = core
        self._held: Frame | None = None
        self._used: dict[tuple[str, str, float], deque[int]] = {}  # by account and rule
        self._runner: web.AppRunner | None = None

    # --- what a venue says -------------------------------------------------------------------------------------------
    @abstractmethod
    def routes(self) -> Iterable[web.AbstractRouteDef]:
        """REST routes and WebSocket endpoints."""

    @abstractmethod
    def on_public(self, symbol: str, message: wire.Message) -> None:
        """Depth, Trades, Mark or Funding of the exchange."""

    @abstractmethod
    def on_private(self, account: Account, message: wire.Message) -> None:
        """OrderUpdate, CancelReject, Fill, Position and what else concerns one account."""

    def on_tick(self, now_ns: int) -> None:  # noqa: B027  most have nothing to do
        """About every 20 ms: pings, dead men, expiries."""

    def on_session_end(self, session: Session) -> None:  # noqa: B027  as on_tick
        """A client's socket has ended, for whatever reason (dead men that hang on it)."""

    @abstractmethod
    def maintenance_response(self) -> web.Response: ...

    @abstractmethod
    def rate_limited_response(self) -> web.Response: ...

    @abstractmethod
    def unknown_route_response(self, request: web.Request) -> web.Response: ...

    # --- for the venue's code ----------------------------------------------------------------------------------------
    def now_ns(self) -> int:
        """The exchange's clock, with the injected skew."""
        return self._core.clock_ns() + round(self.faults.clock_skew_s * 1e9)

    def publish(self) -> None:
        """Tell everybody what the exchange has to say; after every request that changed something."""
        self._core.publish()

    @property
    def instruments(self) -> Mapping[str, Instrument]:
        """By symbol."""
        return {i.symbol: i for i in self.exchange.instruments}

    def broadcast(self, topic: str, data: Frame) -> None:
        """One public message to every session with the topic, faults applied."""
        faults = self.faults
        if faults.stall_public or faults.take("lose_public"):
            return
        if self._held is not None:
            parts = [data, self._held]
            self._held = None
        elif faults.take("swap_public"):
            self._held = data
            return
        else:
            parts = [data, data] if faults.take("duplicate_public") else [data]
        for session in list(self.sessions):
            if topic in session.topics:
                for part in parts:
                    session.send(part)

    def push(self, account: Account, data: Frame, topic: str | None = None) -> None:
        """One private message to every session of an account (that has the topic), faults applied."""
        faults = self.faults
        if faults.stall_private or faults.take("lose_private"):
            return
        twice = faults.take("duplicate_private")
        for session in list(self.sessions):
            if session.account is account and (topic is None or topic in session.topics):
                session.send(data)
                if twice:
                    session.send(data)

    def limit(self, account: Account, what: str, count: int = 1) -> bool:
        """Count a request against the venue's rules; False when it is one too many."""
        now_ns = self._core.clock_ns()
        counted = []
        for rule in self.rates:
            if rule.what != what or not self.limited:
                continue
            used = self._used.setdefault((account.name, what, rule.window_s), deque())
            while used and now_ns - used[0] >= rule.window_s * 1e9:
                used.popleft()
            if len(used) + count > rule.count:
                self.counts["rate_limited"] += 1
                return False
            counted.append(used)
        for used in counted:
            used.extend([now_ns] * count)
        return True

    async def serve_socket(
        self, request: web.Request, on_message: OnMessage, *, private: bool, account: Account | None = None,
        state: Mapping[str, Any] | None = None,
    ) -> web.StreamResponse:  # fmt: skip
        """Run one WebSocket until it ends; ``on_message`` sees text and binary messages.

        ``account``, ``state``: of the session, where the address says already who speaks.
        """
        if self.faults.ws_down or self.faults.maintenance:
            return self._refuse_socket(request)
        socket = web.WebSocketResponse(autoping=False, max_msg_size=MAX_BODY, compress=False)
        await socket.prepare(request)
        session = Session(socket, request.transport, private=private)
        session.account = account
        session.state.update(state or {})
        self.sessions.add(session)
        writer = asyncio.create_task(session.write())
        try:
            async for message in socket:
                if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                    on_message(session, message.data)
                    self.publish()
                elif message.type == WSMsgType.PING and not self.faults.no_pong:
                    await socket.pong(message.data)
        except SessionEnd as end:
            session.close(end.code, end.reason)
            await writer
        except ConnectionError as exc:
            log.debug("a client's socket ended: %s", exc)
        finally:
            self.sessions.discard(session)
            writer.cancel()
            self.on_session_end(session)
            self.publish()
        return socket

    def drop(self, which: str, *, hard: bool) -> int:
        """End the sockets of a kind ("public", "private", "all"); returns how many."""
        gone = [s for s in self.sessions if which == "all" or s.private == (which == "private")]
        for session in gone:
            session.abort() if hard else session.close(1001, "going away")
        return len(gone)

    # --- the server --------------------------------------------------------------------------------------------------
    async def start(self, port: int = 0) -> int:
        """Listen on the loopback; returns the port."""
        app = web.Application(middlewares=[self._middleware], client_max_size=MAX_BODY)
        app.add_routes(list(self.routes()))
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, HOST, port)
        await site.start()
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """End every connection and stop listening."""
        for session in list(self.sessions):
            session.close(1001, "the exchange ends")
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def change_faults(self, changes: Mapping[str, Any], drop: str = "", *, hard: bool = False) -> None:
        """Set faults and end sockets; raises ``ConfigError``."""
        self.faults.change(dict(changes))
        if self.faults.ws_down:
            self.drop("all", hard=True)
        if drop:
            self.drop(drop, hard=hard)

    @web.middleware
    async def _middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self.counts["requests"] += 1
        faults = self.faults
        if "Upgrade" in request.headers:
            response: web.StreamResponse = await handler(request)
            return response
        if faults.rest_down:
            return _hang_up(request)
        if faults.maintenance:
            return self.maintenance_response()
        if faults.take("rate_limited"):
            self.counts["rate_limited"] += 1
            return self.rate_limited_response()
        order = self._is_order(request)
        if order and faults.request_delay_s:
            await request.read()  # it has arrived: who hangs up now does not take it back
            await asyncio.sleep(faults.request_delay_s)
        try:
            response = await handler(request)
        except (web.HTTPNotFound, web.HTTPMethodNotAllowed):
            self.counts["unknown_routes"] += 1
            log.warning("%s: no such route: %s %s", self.venue, request.method, request.path)
            response = self.unknown_route_response(request)
        self.publish()
        if order:
            if faults.take("ack_lost"):
                return _hang_up(request)
            if faults.take("error_after_accept"):
                return web.Response(status=502, text="<html><h1>502 Bad Gateway</h1></html>", content_type="text/html")
            if faults.ack_delay_s:
                await asyncio.sleep(faults.ack_delay_s)
        return response

    def _is_order(self, request: web.Request) -> bool:
        return request.method != "GET" and request.path.startswith(self.order_paths)

    def _refuse_socket(self, request: web.Request) -> web.Response:
        if self.faults.maintenance:
            return web.Response(status=503)
        return _hang_up(request)


def _hang_up(request: web.Request) -> web.Response:
    """Abort the connection of a request; the returned response never leaves."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)
