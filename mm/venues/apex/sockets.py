"""One WebSocket connection of the library, supervised by us.

The library signs in, words subscriptions and answers pings. It reconnects badly (see WIRE: threads without end) and
notices no silence, so a connection here lives once: it ends for whatever reason, and who wants another makes another.
Frames leave the library's thread as bytes with the time of receipt, before anything parses them.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

from mm.errors import VenueUnreachable
from mm.venues.apex import wire
from mm.venues.apex.rest import Keys, Tuning
from mm.venues.apex.shim import load
from mm.venues.base import OnFrame

_IDLE_S: Final = 1.0  # after this long without a frame, or a third of the limit, we ask whether the connection lives
BEAT_S: Final = 15.0  # the venue wants to hear from us this often, whatever it sends
_LAG_S: Final = 0.5  # our own loop was late: it may be us who did not read
_PING_MARK: Final = b'"ping"'


class Link:
    """See the module. ``ended`` holds the reason, None after ``close``."""

    def __init__(self, ws_url: str, on_frame: OnFrame, tuning: Tuning, keys: Keys | None = None) -> None:
        self.ended: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self._loop = asyncio.get_running_loop()
        self._on_frame = on_frame
        self._keys = keys
        self._timeout_s = tuning.timeout_s
        self._silence_s = tuning.stall_s
        self._idle_s = min(_IDLE_S, tuning.stall_s / 3)
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._frames: deque[tuple[bytes, int]] = deque()
        self._waking = False
        self._heard_s = time.monotonic()
        self._watchdog: asyncio.Task[None] | None = None
        self._expected: dict[str, float] = {}  # topics whose snapshot is to come, and since when (monotonic)
        library = load("apexomni.websocket_api")
        secret = {"key": keys.api_key, "secret": keys.api_secret, "passphrase": keys.passphrase} if keys else None
        self.api = library.WebSocket(endpoint=ws_url, api_key_credentials=secret, restart_on_error=False)
        self._socket: Any = _socket_class()(self, tuning, endpoint=ws_url, api_key_credentials=secret)
        if keys is None:
            self.api.ws_public, self._path = self._socket, library.PUBLIC_WSS
        else:
            self.api.ws_private, self._path = self._socket, library.PRIVATE_WSS
        self._where = ws_url

    async def open(self) -> None:
        """Connect, and sign in where there are keys; raises ``VenueUnreachable``."""
        self._socket._connect(self._where + self._path)  # noqa: SLF001  ours, under the library's name
        try:
            await asyncio.wait_for(asyncio.shield(self._ready), self._timeout_s)
        except TimeoutError:
            self._end(f"no connection in {self._timeout_s:g} s")
        if self.ended.done():
            await self.close()
            raise self.gone()
        self._watchdog = asyncio.create_task(self._watch())

    def subscribe(self, ask: Callable[[Any], None]) -> None:
        """Let the library word and send a subscription; what cannot be sent ends the connection."""
        try:
            ask(self.api)
        except Exception as exc:  # noqa: BLE001  websocket-client and the socket raise many kinds
            self._end(f"cannot send: {type(exc).__name__}: {exc}")

    def expect(self, topic: str) -> None:
        """A snapshot of a topic must come soon: changes without one would never make a book."""
        self._expected[topic] = time.monotonic()

    def gone(self) -> VenueUnreachable:
        """The error that says how the connection ended."""
        why = self.ended.result() if self.ended.done() else "it is not open"
        return VenueUnreachable(f"apex: {self._where}: {why or 'the connection was closed'}")

    async def close(self) -> None:
        """End the connection and its thread."""
        self._end(None)
        if self._watchdog is not None:
            self._watchdog.cancel()
        await asyncio.to_thread(self._socket.stop, self._timeout_s)

    # --- in the library's thread -------------------------------------------------------------------------------------
    def heard(self, raw: bytes) -> None:
        """One frame; the loop is woken once for all that wait."""
        ts_recv_ns = time.time_ns()
        self._heard_s = time.monotonic()
        self._frames.append((raw, ts_recv_ns))
        if not self._waking:
            self._waking = True
            self._call(self._drain)

    def alive(self) -> None:
        """A pong of the protocol's own kind."""
        self._heard_s = time.monotonic()

    def opened(self) -> None:
        """The handshake is done; a private socket is ready when it is signed in."""
        if self._keys is None:
            self._call(self._set_ready)

    def lost(self, why: str) -> None:
        """The thread ends."""
        self._call(lambda: self._end(why))

    def _call(self, action: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(action)
        except RuntimeError:  # the loop is closed: nobody listens any more
            self._socket.abort()

    # --- in the loop -------------------------------------------------------------------------------------------------
    def _drain(self) -> None:
        self._waking = False
        while self._frames:
            raw, ts_recv_ns = self._frames.popleft()
            if not self._ready.done():
                self._signed_in(raw)
            if self._expected:
                self._arrived(raw)
            if self.ended.done():
                continue
            try:
                self._on_frame(raw, ts_recv_ns)
            except Exception as exc:  # noqa: BLE001  whatever it was, ``ended`` tells it: a feed must not die in silence
                self._end(f"{type(exc).__name__}: {exc}")

    def _signed_in(self, raw: bytes) -> None:
        try:
            frame = wire.decode_frame(raw)
        except wire.DECODE_ERRORS:
            return
        if self._keys is None or frame.success is None:
            return
        if str(frame.success).lower() == "true":
            self._set_ready()
        else:
            self._end(f"log-in refused: {self._keys.redact(frame.ret_msg)}")

    def _arrived(self, raw: bytes) -> None:
        try:
            frame = wire.decode_frame(raw)
        except wire.DECODE_ERRORS:
            return
        if frame.type == "snapshot":
            self._expected.pop(frame.topic, None)

    def _set_ready(self) -> None:
        if not self._ready.done():
            self._ready.set_result(None)

    def _end(self, why: str | None) -> None:
        if not self.ended.done():
            self.ended.set_result(why)
        self._set_ready()
        self._socket.abort()

    async def _watch(self) -> None:
        """Ask when nothing came for a while and every so often; end the connection when nothing comes at all."""
        asked_s = 0.0
        pause_s = self._idle_s / 4
        while not self.ended.done():
            before_s = time.monotonic()
            await asyncio.sleep(pause_s)
            now_s = time.monotonic()
            if now_s - before_s > pause_s + _LAG_S:
                continue
            silent_s = now_s - self._heard_s
            late = [topic for topic, since_s in self._expected.items() if now_s - since_s > self._silence_s]
            if silent_s > self._silence_s:
                self._end(f"no frame and no pong for {silent_s:.1f} s")
            elif late:
                self._end(f"no snapshot of {late[0]} in {self._silence_s:g} s")
            elif (silent_s > self._idle_s and now_s - asked_s > self._idle_s) or now_s - asked_s > BEAT_S:
                asked_s = now_s
                self._socket.ping()


def _socket_class() -> type[Any]:
    """The library's connection with our thread and our ears; made once, when the library is first wanted."""
    global _made  # noqa: PLW0603  a class that needs the library cannot be made on import
    if _made is None:
        _made = _make_socket_class()
    return _made


_made: type[Any] | None = None


def _make_socket_class() -> type[Any]:
    base: type[Any] = load("apexomni._websocket_stream")._ApexWebSocketManager  # noqa: SLF001  no public name
    websocket: Any = load("websocket")

    class Socket(base):  # type: ignore[misc]
        """Connects without waiting, hands raw frames on, never reconnects."""

        def __init__(self, link: Link, tuning: Tuning, **options: Any) -> None:
            super().__init__(restart_on_error=False, ping_interval=0, **options)
            self._link = link
            logging.getLogger("websocket").setLevel(logging.CRITICAL)  # the end of a connection is told to its owner
            self._proxy = _proxy_options(tuning.proxy, tuning.timeout_s)
            self.raw_socket: Any = None
            self.private_websocket = options["api_key_credentials"] is not None
            websocket.setdefaulttimeout(tuning.timeout_s)  # to connect, and to send to a peer that does not read

        def _connect(self, url: str) -> None:
            stamp = int(time.time() * 1000)
            self.ws = websocket.WebSocketApp(
                f"{url}&timestamp={stamp}",
                on_open=lambda _: self._opened(stamp),
                on_message=lambda _, raw: self._on_message(raw),
                on_error=lambda _, error: self._on_error(error),
                on_pong=lambda _, _payload: self._link.alive(),
            )
            self.wst = threading.Thread(target=self._live, name="apex-ws", daemon=True)
            self.wst.start()

        def _live(self) -> None:
            """The thread of one connection."""
            self.fault = "the venue closed the connection"
            try:
                self.ws.run_forever(skip_utf8_validation=True, **self._proxy)
            except Exception as exc:  # noqa: BLE001  told to whoever waits for the connection
                self.fault = f"{type(exc).__name__}: {exc}"
            finally:
                if self.raw_socket is not None:
                    self.raw_socket.close()  # the library leaves an aborted one to the garbage collector
            self._link.lost(self.fault)

        def _opened(self, stamp: int) -> None:
            self.raw_socket = self.ws.sock.sock
            if self.private_websocket:
                self._auth(stamp)
            self._link.opened()

        def _on_message(self, raw: bytes) -> None:
            self._link.heard(raw)
            if _PING_MARK in raw[:40]:
                super()._on_message(raw)  # the library answers

        def _on_error(self, error: Any) -> None:
            self.fault = str(error) or type(error).__name__
            self._link.lost(self.fault)  # now: the library may still wait for a farewell

        def ping(self) -> None:
            """Ask both ways whether anybody is there; a connection that cannot be written to has ended."""
            try:
                self.ws.send(json.dumps({"op": "ping", "args": [str(int(time.time() * 1000))]}))
                if self.ws.sock is not None:
                    self.ws.sock.ping()
            except Exception as exc:  # noqa: BLE001  websocket-client and the socket raise many kinds
                self._link.lost(f"cannot send: {type(exc).__name__}: {exc}")

        def abort(self) -> None:
            """Wake and end the thread, without a farewell that could block."""
            app = getattr(self, "ws", None)
            if app is None:
                return
            app.keep_running = False
            sock = app.sock
            if sock is not None:
                try:
                    sock.abort()
                except OSError:  # it is gone already
                    return

        def stop(self, timeout_s: float) -> None:
            """Wait for the thread (not in the loop)."""
            self.abort()
            thread = getattr(self, "wst", None)
            if thread is not None:
                thread.join(timeout_s)

    return Socket


def _proxy_options(proxy: str, timeout_s: float) -> dict[str, Any]:
    """For ``run_forever``. Without a proxy of ours the environment's is not used either: a host excepts everything."""
    if not proxy:
        return {"http_proxy_host": "none", "http_proxy_port": 1, "http_no_proxy": ["*"], "proxy_type": "http"}
    parts = urlsplit(proxy)
    return {
        "http_proxy_host": parts.hostname,
        "http_proxy_port": parts.port or 1080,
        "proxy_type": parts.scheme,
        "http_proxy_timeout": timeout_s,
        "http_proxy_auth": (parts.username, parts.password) if parts.username else None,
    }
