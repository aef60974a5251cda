"""The sockets and the clock around ``Exchange``: one asyncio process on the loopback interface."""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from collections.abc import Callable
from typing import Any, Final

import msgspec
import psutil

from mm.errors import ConfigError
from mm.sandbox.account import Account
from mm.sandbox.background import Background, make_background
from mm.sandbox.exchange import Exchange, Refused
from mm.sandbox.faces import make_face
from mm.sandbox.spec import HOST, ExchangeSpec
from mm.venues.native import wire

MAX_BACKLOG: Final = 8 << 20  # bytes that a client may leave unread before it is disconnected
_TICK_S: Final = 0.001  # background events within this are one public message
_IDLE_S: Final = 0.02  # dead men are checked at least this often
_ROWS_PER_TICK: Final = 2_000  # background rows between two looks at the sockets
_WATCH_S: Final = 0.5

log = logging.getLogger("mm.sandbox")


class Connection(asyncio.Protocol):
    """One client."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.account: Account | None = None
        self.symbols: set[str] = set()
        self._splitter = wire.Splitter(wire.MAX_REQUEST)
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self.server.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None:
            log.debug("a client's connection ended: %s", exc)
        self._transport = None
        self.server.connections.discard(self)

    def data_received(self, data: bytes) -> None:
        try:
            frames = self._splitter.feed(data)
        except wire.FrameTooLong as exc:
            self.server.counts["oversized_frames"] += 1
            self.send(wire.frame(wire.Error(None, "frame_too_long", str(exc))))
            self.close()
            return
        for raw in frames:
            self.server.handle(self, raw)
        self.server.publish()

    def send(self, framed: bytes) -> None:
        """Write, or drop a client that does not read."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        transport.write(framed)
        if transport.get_write_buffer_size() > MAX_BACKLOG:
            log.warning("a client left more than %d bytes unread: disconnected", MAX_BACKLOG)
            self.server.counts["slow_clients"] += 1
            transport.abort()

    def close(self) -> None:
        """End the connection after what was written."""
        if self._transport is not None:
            self._transport.close()


class Server:
    """Decodes requests, calls the exchange, sends what it says, and plays the background."""

    def __init__(self, spec: ExchangeSpec, clock: Callable[[], int] = time.time_ns) -> None:
        self.exchange = Exchange(spec)
        self.connections: set[Connection] = set()
        self.counts = dict.fromkeys(
            ("requests", "public_messages", "bad_frames", "oversized_frames", "slow_clients"), 0
        )
        self.clock_ns = clock
        self._face_port = spec.face_port
        self._control_token = spec.control_token.encode()
        self._decode: Callable[[bytes], wire.AnyRequest] = msgspec.json.Decoder(wire.AnyRequest).decode
        self._stop = asyncio.Event()
        instruments = {i.symbol: i for i in self.exchange.instruments}
        self._flows: list[tuple[str, Background]] = [
            (symbol, make_background(instruments[symbol], raw, clock())) for symbol, raw in spec.background.items()
        ]
        self.face = make_face(spec.face, self) if spec.face else None
        if self.face is not None:
            self.face.limited = spec.limits

    async def run(self, port: int, on_listening: Callable[[int, int], None], watch_pid: int | None = None) -> None:
        """Serve until ``stop``; ``on_listening`` is told the port and the face's port (0 without a face)."""
        loop = asyncio.get_running_loop()
        listener = await loop.create_server(lambda: Connection(self), HOST, port)
        for _, flow in self._flows:
            flow.begin(self.clock_ns())
        tasks = [asyncio.create_task(self._play())]
        if watch_pid is not None:
            tasks.append(asyncio.create_task(self._watch(watch_pid)))
        face_port = await self.face.start(self._face_port) if self.face is not None else 0
        on_listening(listener.sockets[0].getsockname()[1], face_port)
        try:
            stopped = asyncio.create_task(self._stop.wait())
            done, _ = await asyncio.wait([stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()  # a fault of the flow ends the exchange loudly
        finally:
            listener.close()
            for task in tasks:
                task.cancel()
            for connection in list(self.connections):
                connection.close()
            if self.face is not None:
                await self.face.stop()
            await asyncio.sleep(0.02)  # let the last replies leave

    def stop(self) -> None:
        """Ask ``run`` to end."""
        self._stop.set()

    # --- background and time -----------------------------------------------------------------------------------------
    async def _play(self) -> None:
        """Feed the background and the dead men."""
        while True:
            now_ns = self.clock_ns()
            wake_ns = now_ns + int(_IDLE_S * 1e9)
            for symbol, flow in self._flows:
                rows = flow.due(now_ns, _ROWS_PER_TICK)
                if rows:
                    self.exchange.background(symbol, rows, now_ns)
                wake_ns = min(wake_ns, flow.next_ns())
            self.exchange.tick(now_ns)
            if self.face is not None:
                self.face.on_tick(self.face.now_ns())
            self.publish()
            await asyncio.sleep(max(_TICK_S, (wake_ns - self.clock_ns()) * 1e-9))

    async def _watch(self, pid: int) -> None:
        """End when the process that wanted this exchange is gone."""
        try:
            owner = psutil.Process(pid)
            while owner.is_running() and owner.status() != psutil.STATUS_ZOMBIE:  # noqa: ASYNC110
                await asyncio.sleep(_WATCH_S)  # nobody signals the end of a process that is not our child
        except psutil.NoSuchProcess:
            pass
        log.info("process %d is gone: ending", pid)
        self.stop()

    def publish(self) -> None:
        """Send what the exchange has to say to the public and to each account."""
        public = self.exchange.flush(self.clock_ns())
        self._push()
        for symbol, message in public:
            self.counts["public_messages"] += 1
            if self.face is not None:
                self.face.on_public(symbol, message)
            framed = b""
            for connection in list(self.connections):
                if symbol in connection.symbols:
                    framed = framed or wire.frame(message)
                    connection.send(framed)

    def _push(self) -> None:
        """Send private messages; always before the reply to the request that caused them."""
        exchange = self.exchange
        if not exchange.outbox:
            return
        outbox, exchange.outbox = exchange.outbox, []
        for account, message in outbox:
            if self.face is not None:
                self.face.on_private(account, message)
            framed = wire.frame(message)
            for connection in list(self.connections):
                if connection.account is account:
                    connection.send(framed)

    # --- requests ----------------------------------------------------------------------------------------------------
    def handle(self, connection: Connection, raw: bytes) -> None:
        """Serve one request frame. Whatever it holds, the answer is a message and the connection lives."""
        self.counts["requests"] += 1
        try:
            request = self._decode(raw)
        except wire.DECODE_ERRORS as exc:
            self.counts["bad_frames"] += 1
            connection.send(wire.frame(wire.Error(_req_id(raw), "malformed", str(exc))))
            return
        try:
            data = self._serve(connection, request, self.clock_ns())
        except Refused as exc:
            connection.send(wire.frame(wire.Error(request.req_id, exc.code, str(exc))))
            return
        if request.req_id is not None:
            self._push()
            connection.send(wire.frame(wire.Reply(request.req_id, data)))

    def _serve(self, connection: Connection, request: wire.AnyRequest, now_ns: int) -> Any:
        exchange = self.exchange
        match request:
            case wire.Place():
                return {"status": exchange.place(self._account(connection), request, now_ns).status}
            case wire.Cancel():
                order = exchange.cancel(self._account(connection), request.cid, now_ns, request.symbol)
                return {"status": "rejected" if order is None else order.status}
            case wire.Amend():
                account = self._account(connection)
                order = exchange.amend(account, request.cid, request.px, request.qty, now_ns, request.symbol)
                return {"status": "rejected" if order is None else order.status}
            case wire.CancelAll():
                return {"canceled": exchange.cancel_all(self._account(connection), now_ns)}
            case wire.DeadMan():
                exchange.arm(self._account(connection), request.timeout_s, now_ns)
                return {"timeout_s": request.timeout_s}
            case _:
                return self._serve_query(connection, request, now_ns)

    def _serve_query(self, connection: Connection, request: wire.AnyRequest, now_ns: int) -> Any:
        exchange = self.exchange
        match request:
            case wire.OpenOrders():
                return exchange.open_orders(self._account(connection), now_ns)
            case wire.OrderQuery():
                return exchange.order(self._account(connection), request.cid)
            case wire.FeesQuery():
                return [format(fee, "f") for fee in exchange.fees(self._account(connection), request.symbol)]
            case wire.PositionQuery():
                return exchange.position(self._account(connection), request.symbol, now_ns)
            case wire.Fills():
                return exchange.fills(self._account(connection), request.since, request.after)
            case _:
                return self._serve_money(connection, request, now_ns)

    def _serve_money(self, connection: Connection, request: wire.AnyRequest, now_ns: int) -> Any:
        exchange = self.exchange
        match request:
            case wire.SetLeverage():
                exchange.set_leverage(self._account(connection), request.symbol, request.leverage)
                return {"leverage": request.leverage}
            case wire.AccountQuery():
                return exchange.account_view(self._account(connection), request.symbol)
            case wire.FundingQuery():
                return exchange.funding(self._account(connection), request.since)
            case _:
                return self._serve_public(connection, request, now_ns)

    def _serve_control(self, request: wire.AnyRequest, now_ns: int) -> Any:
        match request:
            case wire.Shutdown():
                self._check_control(request.token)
                self.stop()
                return None
            case wire.Stats():
                self._check_control(request.token)
                return self.stats()
            case wire.Play():
                self._check_control(request.token)
                self.exchange.market(request.symbol)
                self.exchange.background(request.symbol, request.rows, now_ns)
                return None
            case wire.Fault():
                self._check_control(request.token)
                if self.face is None:
                    raise Refused("no_face", "this exchange speaks its own wire only: there is nothing to disturb")
                try:
                    self.face.change_faults(request.set, request.drop, hard=request.hard)
                except ConfigError as exc:
                    raise Refused("bad_fault", str(exc)) from exc
                return msgspec.to_builtins(self.face.faults)
            case _:
                return {"ts": now_ns}

    def stats(self) -> dict[str, Any]:
        """Counters of the exchange, its connections and its face."""
        slipped = {symbol: flow.slipped_ns * 1e-9 for symbol, flow in self._flows}
        out = {**self.exchange.stats(), **self.counts, "slipped_s": slipped, "connections": len(self.connections)}
        if self.face is not None:
            out["face"] = {"venue": self.face.venue, "sessions": len(self.face.sessions), **self.face.counts}
        return out

    def _serve_public(self, connection: Connection, request: wire.AnyRequest, now_ns: int) -> Any:
        exchange = self.exchange
        match request:
            case wire.Subscribe():
                markets = [exchange.market(symbol) for symbol in request.symbols]
                connection.symbols.update(request.symbols)
                for market in markets:
                    connection.send(wire.frame(market.snapshot(now_ns)))
                return {"subscribed": sorted(connection.symbols)}
            case wire.Resync():
                connection.send(wire.frame(exchange.market(request.symbol).snapshot(now_ns)))
                return None
            case wire.Instruments():
                return [instrument.to_dict() for instrument in exchange.instruments]
            case wire.Login():
                account = exchange.accounts.get(request.token)
                if account is None:
                    raise Refused("bad_token", "no account has this token")
                connection.account = account
                return {"account": account.name}
            case _:
                return self._serve_control(request, now_ns)

    @staticmethod
    def _account(connection: Connection) -> Account:
        if connection.account is None:
            raise Refused("not_logged_in", "log in first")
        return connection.account

    def _check_control(self, token: str) -> None:
        if not hmac.compare_digest(token.encode(), self._control_token):
            raise Refused("bad_token", "not the control token of this exchange")


class _Numbered(msgspec.Struct):
    req_id: wire.Whole | None = None


def _req_id(raw: bytes) -> int | None:
    """The request number of a frame that is not a valid request, if it can be found."""
    try:
        return msgspec.json.decode(raw, type=_Numbered).req_id
    except wire.DECODE_ERRORS:
        return None
