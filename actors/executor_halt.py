"""The executor's part that has to work when nothing else does: cancelling everything, and the latch.

Neither waits for a disk, a quoter or a lease.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any, Final

import numpy as np

from actors.base import LoopActor
from actors.executor_book import Book
from actors.home import Latch, clear_latch, read_latch, write_latch
from actors.transport import HALT, Outbox
from mm.core.types import SENT
from mm.errors import VenueUnreachable
from mm.strategy.executor_core import ExecutorCore
from mm.venues.base import OpenOrder, TradingClient

_UNANSWERED_S: Final = 3.0  # at the end: how long an order may be on its way to the venue


class HaltingActor(LoopActor):
    """An account that can be emptied of orders and latched."""

    book: Book
    core: ExecutorCore
    pulls = 0
    last_error = pull_reason = ""
    _client: TradingClient
    _out: dict[int, Outbox]
    _halt_reasons: tuple[str, ...]
    _to_keep: Latch | None = None  # not on disk yet

    async def _pull(self, why: str) -> list[OpenOrder]:
        """Cancel everything on the venue and look; returns what is still open after two seconds."""
        left: list[OpenOrder] = []
        for attempt in range(20):
            n = await self._client.cancel_all()
            left = await self._client.open_orders()
            if n:
                self.pulls += 1
                self.pull_reason = why
                self._try_to_note({"t": "cancel_all", "why": why, "n": n})
            if not left:
                break
            await asyncio.sleep(0.1 if attempt else 0.01)
        return left

    async def _pull_all(self, why: str) -> list[OpenOrder]:
        """As ``_pull``, again until no order of ours is on its way: a cancel can overtake the order before it."""
        deadline_s = time.monotonic() + _UNANSWERED_S
        while True:
            left = await self._pull(why)
            on_its_way = any(np.any(orders["state"] == SENT) for orders in self.core.orders)
            if left or not on_its_way or time.monotonic() > deadline_s:
                return left
            await asyncio.sleep(0.25)

    async def _cancel_unheard(self) -> None:
        """No session can be opened, and orders of the last one may rest: requests can work where streams do not."""
        try:
            n = await self._client.cancel_all()
        except VenueUnreachable as exc:
            self.log.warning("orders may be open: %s", exc)
            return
        if n:
            self.pulls += 1
            self.pull_reason = "no session"
            self._try_to_note({"t": "cancel_all", "why": self.pull_reason, "n": n})

    async def _cancel_blindly(self) -> None:
        """Without a journal we may not trade, and what an earlier process left open may not stay."""
        try:
            with contextlib.suppress(VenueUnreachable):  # not every venue needs it for that
                await self._client.connect(lambda _raw, _ts: None)
            n = await self._client.cancel_all()
        except VenueUnreachable as exc:
            self.log.error("orders may be open and cannot be cancelled: %s", exc)  # noqa: TRY400  it says it all
        else:
            self.log.warning("%d orders cancelled: the journal cannot be used", n)
        await self._client.close()

    def _latch(self, code: int, note: str) -> None:
        if not self.core.halt(code):
            return
        reason = self._halt_reasons[code]
        self.log.error("halted: %s (%s)", reason, note)
        for out in self._out.values():
            out.send(HALT, a=code, t_wall_ns=time.time_ns())
        self._to_keep = Latch(
            self.spec.desk, self.spec.venue_config.name, reason, time.time_ns(), self.spec.run_id, note
        )
        self._keep_latch()
        self._try_to_note({"t": "halt", "reason": reason, "note": note})

    def _keep_latch(self) -> None:
        """Put the latch on disk. We are halted in any case; while the disk refuses, it is tried every second."""
        if self._to_keep is None:
            return
        try:
            write_latch(self._to_keep)
        except OSError as exc:
            self.last_error = f"the latch is not on disk: {exc}"
            self.log.error("%s", self.last_error)  # noqa: TRY400  the message says it all
        else:
            self._to_keep = None

    async def _halt_now(self, note: str) -> int:
        from mm.strategy.risk import HALT_OPERATOR

        self._latch(HALT_OPERATOR, note)
        return len(await self._pull("halted"))

    async def _rearm(self, force: bool) -> bool:
        latch = read_latch(self.spec.desk, self.spec.venue_config.name)
        if latch is not None and not clear_latch(latch, force=force):
            return False
        self._to_keep = None
        self.core.rearm()
        self._try_to_note({"t": "rearm"})
        for out in self._out.values():
            out.send(HALT, a=0, t_wall_ns=time.time_ns())
        return True

    def _try_to_note(self, record: dict[str, Any]) -> bool:
        """A safety action does not wait for a disk that is full: what it was may be missing in the journal."""
        try:
            self.book.note(record)
        except OSError as exc:
            self.last_error = f"not in the journal: {exc}"
            self.log.error("%s: %s", self.last_error, record)  # noqa: TRY400  the message says it all
            return False
        return True

    # --- called by Ray -----------------------------------------------------------------------------------------------
    def halt(self, note: str) -> int:
        """Latch and cancel everything; returns how many orders the venue still shows."""
        return int(self.in_loop(self._halt_now(note), 15.0))

    def rearm(self, force: bool = False) -> bool:
        """Lift the latch; False when it has to stay (daily loss before the UTC day roll)."""
        return bool(self.in_loop(self._rearm(force), 5.0))
