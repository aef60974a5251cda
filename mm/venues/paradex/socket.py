"""One WebSocket of paradex-py: its requests and log-in, our reading and supervision.

The library reconnects badly and decodes every frame into models; here a connection lives once, raw frames go to
``on_frame``, and only answers to requests go through the library. See ``Socket.ended`` for how it says that it is over.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from contextlib import suppress
from typing import Any, Final

import websockets
from paradex_py.api.ws_client import ParadexWebsocketClient, WsRpcError

from mm.errors import VenueUnreachable
from mm.venues.base import OnFrame
from mm.venues.paradex import sbe
from mm.venues.paradex.link import Refusal

_INTERNAL: Final = -32603
_UNSURE_WORDS: Final = ("RATE_LIMIT", "SERVICE_UNAVAILABLE", "INTERNAL_ERROR")
_PUSH: Final = b'"method":"subscription"'
_HEAD: Final = 80  # bytes in which a push says that it is one
_LAG_S: Final = 0.5  # our own loop was late: it may be us who did not read
_CLOSE_S: Final = 1.0
_MAX_FRAME: Final = 16 << 20
_QUEUE: Final = 4_096  # frames read ahead of us

library_log = logging.getLogger("mm.venues.paradex.library")
library_log.setLevel(logging.CRITICAL)  # it logs every defect of a connection with a traceback; we report the end


class Socket(ParadexWebsocketClient):
    """One connection. ``stall_s``: after this long without a frame or pong it is over."""

    def __init__(
        self, url: str, on_frame: OnFrame, *, binary: bool, proxy: str, timeout_s: float, stall_s: float,
        silence_s: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__(
            env="prod",
            logger=library_log,
            auto_start_reader=False,
            connector=self._dial,
            ws_url_override=url,
            disable_reconnect=True,
            sbe_enabled=binary,
        )
        self.on_frame = on_frame
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._url = url
        self._proxy = proxy or None
        self._timeout_s = timeout_s
        self._stall_s = stall_s
        self._silence_s = silence_s  # without a frame, pongs or not; 0: does not matter
        self._heard_s = self._framed_s = 0.0
        self._watcher: asyncio.Task[None] | None = None
        self._fault = ""  # why the venue could not be dialled: the library keeps it to itself

    async def open(self) -> None:
        """Connect (and, with an account, log in); raises ``VenueUnreachable``."""
        try:
            done = await asyncio.wait_for(self.connect(), self._timeout_s)
        except TimeoutError:
            done = False
        if not done or self.ws is None:
            raise VenueUnreachable(f"paradex: cannot connect to {self._url} ({self._fault or 'no answer'})")
        if self.ended.done():
            self._abort()
            raise VenueUnreachable("paradex: closed while connecting")
        self._heard_s = self._framed_s = time.monotonic()
        self._reader_task = asyncio.create_task(self._read())
        self._watcher = asyncio.create_task(self._watch())

    async def ask(self, method: str, params: Any) -> Any:
        """The result of a request; raises ``VenueUnreachable`` for none and ``Refusal``.

        The venue's "internal error", "unavailable" and "too many" are no answers: it may or may not have been done.
        """
        try:
            return await self._send_request(method, params, self._timeout_s)
        except WsRpcError as exc:
            text = f"{exc.message} {exc.data or ''}".strip()
            if exc.code == _INTERNAL or any(word in text for word in _UNSURE_WORDS):
                raise VenueUnreachable(f"paradex: {method}: {text}") from exc
            raise Refusal(str(exc.code), text) from exc
        except (TimeoutError, ConnectionError, websockets.ConnectionClosed) as exc:
            raise VenueUnreachable(f"paradex: no answer to {method} ({str(exc) or 'timed out'})") from exc

    async def subscribe_all(self, channels: list[str]) -> None:
        """Subscribe, each acknowledged; raises ``VenueUnreachable``."""
        try:
            await asyncio.gather(*(self.ask("subscribe", {"channel": channel}) for channel in channels))
        except Refusal as exc:
            raise VenueUnreachable(f"paradex: a subscription was refused: {exc}") from exc

    def end(self, reason: str) -> None:
        """The connection is over; whoever waits for an answer is told."""
        if self.ended.done():
            return
        self.ended.set_result(reason)
        waiting = list(self._pending_requests.values())
        self._cancel_pending_requests(ConnectionError(reason))
        for future in waiting:
            if not future.cancelled():
                future.exception()  # asked for, also where nobody waits: the request may still be in ``send``
        self._abort()

    async def shut(self) -> None:
        """Close in bounded time, whatever the library and the venue do."""
        if not self.ended.done():
            self.ended.set_result("closed")
        tasks = [t for t in (self._watcher, self._reader_task) if t is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._reader_task = self._watcher = None
        with suppress(TimeoutError):
            await asyncio.wait_for(self.close(), _CLOSE_S)  # type: ignore[no-untyped-call]
        self._abort()

    def _abort(self) -> None:
        transport = getattr(self.ws, "transport", None)
        if transport is not None:
            transport.abort()

    async def _dial(self, url: str, headers: dict[str, str]) -> Any:
        """The library's connector: no compression, no pings of its own, proxies only as told."""
        try:
            return await websockets.connect(
                url,
                additional_headers=headers,
                compression=None,
                ping_interval=None,
                open_timeout=self._timeout_s,
                close_timeout=_CLOSE_S / 2,
                max_size=_MAX_FRAME,
                max_queue=_QUEUE,
                proxy=self._proxy,
                logger=library_log,
            )
        except Exception as exc:
            self._fault = f"{type(exc).__name__}: {exc}"
            raise

    async def _read(self) -> None:
        ws: Any = self.ws
        reason = "the connection ended"
        try:
            while True:
                raw = await ws.recv(decode=False)
                self._heard_s = self._framed_s = time.monotonic()
                if _PUSH in raw[:_HEAD] or raw[4:6] == sbe.SCHEMA or not self._answers(raw):
                    self.on_frame(raw, time.time_ns())
        except websockets.ConnectionClosed as exc:
            reason = f"the connection ended ({exc})"
        except Exception as exc:  # noqa: BLE001  whatever it was, ``ended`` tells it: a feed must not die in silence
            reason = f"reading failed: {type(exc).__name__}: {exc}"
        self.end(reason)

    def _answers(self, raw: bytes) -> bool:
        """Give an answer to whoever asked; False when nobody did."""
        try:
            message = json.loads(raw)
        except ValueError:
            return False
        if not isinstance(message, dict) or message.get("id") not in self._pending_requests:
            return False
        self._check_subscribed_channel(message)
        return True

    async def _watch(self) -> None:
        """Ping while nothing comes; end the connection when nothing came for too long."""
        ws: Any = self.ws
        pause_s = self._stall_s / 4
        while not self.ended.done():
            before_s = time.monotonic()
            await asyncio.sleep(pause_s)
            now_s = time.monotonic()
            if now_s - before_s > pause_s + _LAG_S:
                continue
            if now_s - self._heard_s > self._stall_s - pause_s / 2:
                self.end(f"no frame and no pong for {now_s - self._heard_s:.1f} s")
            elif self._silence_s and now_s - self._framed_s > self._silence_s:
                self.end(f"no frame for {now_s - self._framed_s:.1f} s")
            elif now_s - self._heard_s > pause_s / 2:
                try:
                    (await ws.ping()).add_done_callback(self._ponged)
                except websockets.ConnectionClosed:
                    return  # the reader says so

    def _ponged(self, pong: asyncio.Future[float]) -> None:
        if not pong.cancelled() and pong.exception() is None:
            self._heard_s = time.monotonic()
