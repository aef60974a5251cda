"""Requests under way: how many there may be."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from typing import Any, Final

from mm.errors import VenueUnreachable
from mm.venues.base import Budget

_PULLED: Final = "everything was cancelled before it was sent"

log = logging.getLogger("mm.venues")
_begun: ContextVar[int] = ContextVar("begun")  # of the request that runs: how many pulls there had been


class Sends:
    """Requests under way, at most ``limit`` of them; cancels may use ``reserve`` more.

    ``start`` returns as soon as a request has its place: only a full house makes the caller wait. What waits, for a
    place or for the account's budget, while everything is cancelled or the session ends (``pull``), must not be sent
    after that: ``start`` and ``turn`` raise ``VenueUnreachable`` then. Cancels are always wanted.
    """

    def __init__(self, limit: int = 32, reserve: int = 32) -> None:
        self._limit = limit
        self._total = limit + reserve
        self._tasks: set[asyncio.Task[None]] = set()
        self._freed = asyncio.Event()
        self._pulls = 0

    def __len__(self) -> int:
        return len(self._tasks)

    async def start(self, send: Coroutine[Any, Any, None], *, cancel: bool = False) -> None:
        """Begin one request."""
        bound, pulls = self._total if cancel else self._limit, self._pulls
        while len(self._tasks) >= bound:
            self._freed.clear()
            await self._freed.wait()
        if pulls != self._pulls and not cancel:
            send.close()
            raise VenueUnreachable(_PULLED)
        task = asyncio.create_task(self._run(send, pulls))
        self._tasks.add(task)
        task.add_done_callback(self._done)

    @staticmethod
    async def _run(send: Coroutine[Any, Any, None], pulls: int) -> None:
        _begun.set(pulls)
        await send

    def pull(self) -> None:
        """What still waits is not wanted any more."""
        self._pulls += 1

    def wanted(self) -> Callable[[], bool]:
        """In a request: whether it is still wanted, for whoever sends it later and in another thread."""
        begun = _begun.get(self._pulls)
        return lambda: begun == self._pulls

    async def turn(self, budget: Budget | None, kind: str, count: int = 1) -> None:
        """In a request, before it is sent: wait for the account's budget; raises when it was pulled meanwhile."""
        for _ in range(count if budget is not None else 0):
            assert budget is not None
            await budget.take(kind)
        if kind != "cancel" and _begun.get(self._pulls) != self._pulls:
            raise VenueUnreachable(_PULLED)

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
