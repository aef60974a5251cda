"""What the clients built on ccxt.pro share: ccxt connects, signs, subscribes and answers pings; frames are ours.

A venue's exchange is ``class Exchange(RawExchange, ccxt.pro.bybit)``. Every WebSocket frame goes to ``on_frame``
untouched, with the time of receipt; ccxt itself sees only the frames that ``is_control`` names (log-in, subscription,
pong, answers), so it builds no books and no unified trades. A ``watch_*`` call then subscribes and never returns: it
raises when its connection ends. ``until_broken`` waits for that.

Raw answers of REST calls are kept by ``mm.venues.ccxt_calls``.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable
from functools import lru_cache
from typing import Any, Final

import aiohttp
import certifi
from ccxt.async_support.base.ws.client import Client
from ccxt.base.errors import BaseError, NetworkError, RequestTimeout

from mm.errors import VenueUnreachable
from mm.venues.base import OnFrame
from mm.venues.ccxt_calls import keep_answer, redacted
from mm.venues.settings import Endpoints

IDLE_S: Final = 1.0  # after this long without a frame we ask whether the connection lives
SILENCE_S: Final = 3.0  # after this long without a frame or pong it does not
_LAG_S: Final = 0.5  # our own loop was late: it may be us who did not read
_MAX_FRAME: Final = 16 << 20
_CLOSE_S: Final = 1.0
_ENDED: Final = (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSING, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)


class RawSocket(Client):  # type: ignore[misc]  # ccxt has no types
    """One WebSocket connection of ccxt: cheaper to read, raw, and supervised by us."""

    exchange: Any
    idle_s = IDLE_S
    silence_s = SILENCE_S
    heard_s = 0.0  # monotonic: the last frame or pong
    _reader: asyncio.Task[None] | None = None  # held: the loop keeps only weak references

    def create_connection(self, session: aiohttp.ClientSession) -> Any:
        """As ccxt's, with frames as bytes and a short farewell."""
        return session.ws_connect(
            self.url,
            autoping=False,
            autoclose=False,
            headers=self.options.get("headers"),
            compress=self.options.get("compress", 15),
            proxy=self.proxy,
            max_msg_size=_MAX_FRAME,
            timeout=aiohttp.ClientWSTimeout(ws_close=_CLOSE_S),
            decode_text=False,
        ).__aenter__()

    def receive_loop(self) -> None:
        """Read in one task; ccxt makes a task for each message."""
        self.heard_s = time.monotonic()
        self._reader = self.asyncio_loop.create_task(self._read())

    async def _read(self) -> None:
        try:
            while not self.closed():
                message = await self.connection.receive()
                self.heard_s = time.monotonic()
                if message.type in _ENDED:
                    break
                self.handle_message(message)
        except Exception as exc:  # noqa: BLE001  whatever it was, it ends the connection, and the watcher is told
            self.on_error(exc if isinstance(exc, BaseError) else NetworkError(f"{type(exc).__name__}: {exc}"))
            return
        if self.error is None:
            self.on_close(self.connection.close_code)

    def handle_message(self, message: aiohttp.WSMessage) -> None:
        """A frame to its owner; ccxt reads only what is control."""
        if message.type is not aiohttp.WSMsgType.TEXT and message.type is not aiohttp.WSMsgType.BINARY:
            super().handle_message(message)
        elif self.exchange.on_raw(self, message.data):
            self.handle_text_or_binary_message(message.data.decode())

    async def ping_loop(self) -> None:
        """Ask when nothing came for ``idle_s``; end the connection when nothing came for ``silence_s``."""
        asked_s = 0.0
        pause_s = self.idle_s / 4
        while not self.closed():
            before_s = time.monotonic()
            await asyncio.sleep(pause_s)
            now_s = time.monotonic()
            if now_s - before_s > pause_s + _LAG_S:
                continue
            silent_s = now_s - self.heard_s
            if silent_s > self.silence_s:
                self.on_error(RequestTimeout(f"no frame and no pong for {silent_s:.1f} s"))
                return
            if silent_s > self.idle_s and now_s - asked_s > self.idle_s:
                asked_s = now_s
                try:
                    await (self.send(self.ping(self)) if self.ping else self.connection.ping())
                except Exception as exc:  # noqa: BLE001  a socket that cannot be written to has ended
                    if not self.closed():
                        self.on_error(NetworkError(f"ping: {exc}"))
                    return


class RawExchange:
    """Mix-in before a ccxt.pro exchange, see the module. ``on_frame`` may be replaced at any time."""

    on_frame: OnFrame | None = None
    clients: dict[str, RawSocket]
    urls: dict[str, Any]
    options: dict[str, Any]
    session: aiohttp.ClientSession | None
    silence_s = SILENCE_S  # patience of its connections

    def is_control(self, socket: RawSocket, raw: bytes) -> bool:
        """Whether ccxt itself must see a frame; cheap, called for every frame."""
        raise NotImplementedError

    def on_raw(self, socket: RawSocket, raw: bytes) -> bool:
        """Stamp a frame and hand it on; returns whether ccxt reads it too."""
        if self.on_frame is not None:
            self.on_frame(raw, time.time_ns())
        return self.is_control(socket, raw)

    # --- what ccxt calls ---------------------------------------------------------------------------------------------
    def open(self, lazy: bool = False) -> None:
        """ccxt's sessions, and none that sends anything twice."""
        parent: Any = super()
        parent.open(lazy)
        _send_once(self.session)

    def get_socks_proxy_session(self, address: str) -> Any:
        """The session through a proxy."""
        parent: Any = super()
        return _send_once(parent.get_socks_proxy_session(address))

    def client(self, url: str) -> RawSocket:
        """ccxt's factory of connections."""
        parent: Any = super()
        if url not in self.clients:
            made = parent.client(url)  # of ccxt's class, with all its callbacks
            made.__class__ = RawSocket
            made.exchange = self
            made.silence_s, made.idle_s = self.silence_s, self.silence_s * IDLE_S / SILENCE_S
        return self.clients[url]

    def ws_dial_delay(self, _url: str) -> float:
        """No delay of ccxt's: feed and executor have a back-off of their own."""
        return 0.0

    def on_rest_response(self, *answer: Any) -> str:
        """Keep the raw answer for whoever called, see ``ccxt_calls.attempt``."""
        parent: Any = super()
        code, _reason, _url, _method, headers, body, *_request = answer
        keep_answer(code, headers, body)
        return str(parent.on_rest_response(*answer))


def _send_once(session: Any) -> Any:
    """aiohttp repeats GET, PUT and DELETE on a kept connection that breaks, and has no public switch for it.

    A second DELETE of an order is answered "unknown order", as if it had been gone before the first.
    """
    if session is not None:
        session._retry_connection = False  # noqa: SLF001
    return session


def make_exchange(
    kind: type[Any], where: Endpoints | None, *, proxy: str = "", timeout_s: float = 5.0, **config: Any
) -> Any:
    """An exchange of ``kind`` (a ``RawExchange`` of ccxt.pro) that talks to ``where`` and never slows itself down.

    ``where`` None: to the addresses that the library knows.

    ``config`` is ccxt's (apiKey, secret, options, ...). There is no rate limiter in it: budgets are ours. Calls raise
    after ``timeout_s``; the library never sends anything twice.
    """
    config.setdefault("options", {})["maxRetriesOnFailure"] = 0
    exchange = kind({"enableRateLimit": False, "timeout": round(timeout_s * 1e3), **config})
    exchange.clients = {}
    exchange.timeout_on_exit = 10
    plain = where is not None and not where.rest.startswith("https:") and not where.ws.startswith("wss:")
    exchange.ssl_context = False if plain else _tls()
    if where is not None:
        exchange.urls["api"] = _moved(exchange.urls["api"], where)
    if proxy:
        exchange.socksProxy = exchange.wsSocksProxy = proxy
    return exchange


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    """One for all: it takes tens of milliseconds to make. A local exchange needs none."""
    return ssl.create_default_context(cafile=certifi.where())


def _moved(urls: Any, where: Endpoints) -> Any:
    """The same tree of addresses at another host: paths stay."""
    if isinstance(urls, dict):
        return {key: _moved(value, where) for key, value in urls.items()}
    if not isinstance(urls, str) or "://" not in urls:
        return urls
    scheme, _, rest = urls.partition("://")
    _, slash, path = rest.partition("/")
    return (where.ws if scheme in {"ws", "wss"} else where.rest) + slash + path


async def within(exchange: Any, timeout_s: float, what: str, step: Awaitable[Any]) -> Any:
    """The result of one step of a connection; raises ``VenueUnreachable``, also when it was closed meanwhile."""
    task = asyncio.ensure_future(step)
    try:
        await asyncio.wait([task], timeout=timeout_s)
        if not task.done():
            raise VenueUnreachable(f"{exchange.id}: {what}: no answer in {timeout_s:g} s")
    finally:
        task.cancel()
    if task.cancelled():
        raise VenueUnreachable(f"{exchange.id}: {what}: the connection was closed")
    fault = task.exception()
    if fault is not None:
        raise VenueUnreachable(f"{exchange.id}: {what}: {redacted(exchange, fault)}") from fault
    return task.result()


async def until_broken(exchange: Any, *watches: Awaitable[Any]) -> None:
    """Wait for ``watch_*`` calls of an exchange; the first that ends, ends all.

    Raises:
        VenueUnreachable: always, with the reason.
    """
    tasks = [asyncio.ensure_future(watch) for watch in watches]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        if task.cancelled() or task.exception() is None:
            continue
        fault = task.exception()
        raise VenueUnreachable(f"{exchange.id}: the connection ended ({redacted(exchange, fault)})") from fault
    raise VenueUnreachable(f"{exchange.id}: the connection was closed")


async def close_exchange(*exchanges: Any) -> None:
    """Close everything an exchange holds, in bounded time."""
    for exchange in exchanges:
        try:
            await asyncio.wait_for(exchange.close(), 2 * _CLOSE_S + 1)
        except TimeoutError:
            continue


async def drop_sockets(exchange: Any) -> None:
    """End the WebSocket connections of an exchange: the next watch makes new ones."""
    sockets = list(exchange.clients.values())
    exchange.clients = {}
    await asyncio.gather(*(socket.close() for socket in sockets), return_exceptions=True)
