"""The private connection of a client built on ccxt.pro, from its subscriptions to its end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from mm.errors import VenueUnreachable
from mm.venues.ccxt_base import drop_sockets, until_broken
from mm.venues.sends import Sends


class Session:
    """One at a time. ``ended`` is called whenever one has ended, for whatever reason."""

    def __init__(self, exchange: Any, sends: Sends, ended: Callable[[], None] = lambda: None) -> None:
        self._exchange, self._sends, self._ended = exchange, sends, ended
        self._task: asyncio.Task[None] | None = None

    def begin(self, *watches: Awaitable[Any]) -> None:
        """It lasts until the first of these ends, see ``until_broken``."""
        self._task = asyncio.create_task(until_broken(self._exchange, *watches))
        self._task.add_done_callback(self._over)

    def _over(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            task.exception()  # ``closed`` tells that it ended; the reason is the library's
        self._ended()

    def need(self) -> None:
        """Raise ``VenueUnreachable`` when there is none."""
        if self._task is None or self._task.done():
            raise VenueUnreachable(f"{self._exchange.id}: not connected")

    def fail(self) -> None:
        """Whoever listens to it has failed: end it."""
        if self._task is not None:
            self._task.cancel()

    async def closed(self) -> None:
        """Return when it has ended, a silent stall included."""
        if self._task is not None:
            await asyncio.wait([self._task])
            await drop_sockets(self._exchange)

    async def end(self) -> None:
        """End it, with what still waits to be sent."""
        self._sends.pull()
        task, self._task = self._task, None
        await drop_sockets(self._exchange)
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, VenueUnreachable):
                await task
