"""Requests under way: how many there may be."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

log = logging.getLogger("mm.venues")


class Sends:
    """Requests under way, at most ``limit`` of them; cancels may use ``reserve`` more.

    ``start`` returns as soon as a request has its place: only a full house makes the caller wait.
    """

    def __init__(self, limit: int = 32, reserve: int = 32) -> None:
        self._limit = limit
        self._total = limit + reserve
        self._tasks: set[asyncio.Task[None]] = set()
        self._freed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._tasks)

    async def start(self, send: Coroutine[Any, Any, None], *, cancel: bool = False) -> None:
        """Begin one request."""
        bound = self._total if cancel else self._limit
        while len(self._tasks) >= bound:
            self._freed.clear()
            await self._freed.wait()
        task = asyncio.create_task(send)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._freed.set()
        if not task.cancelled() and task.exception() is not None:  # a defect, not an outcome: ``attempt`` has those
            log.error("a request ended in an error of ours", exc_info=task.exception())

    async def drain(self, timeout_s: float) -> bool:
        """Wait for what is under way; what is late is given up, and then the result is False."""
        if not self._tasks:
            return True
        _, late = await asyncio.wait(set(self._tasks), timeout=timeout_s)
        for task in late:
            task.cancel()
        return not late
