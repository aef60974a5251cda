"""The executor's connection to its venue, from the first to the last.

A session always begins the same way: cancel everything, wait until nothing is open, book what the venue's history
knows and we do not, compare positions, and only then accept commands (a new epoch). Orders and positions are compared
for as long as it lasts, and again at the end.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from typing import Any, Final

from actors.executor_halt import HaltingActor
from actors.transport import QUOTER, RISK, SYNC
from mm.errors import VenueUnreachable
from mm.strategy.orders import client_order_id
from mm.venues.base import Codec

DEAD_MAN_S: Final = 10.0
_GIVE_UP_S: Final = 60.0  # never connected for so long, and tried often: the run fails
_GIVE_UP_TRIES: Final = 4  # on a starved machine one try can take longer than a venue would
_WHOLE_HISTORY: Final = 5_000  # fills; of a longer run the summary counts what was booked
_LATE_HISTORY: Final = 3  # looks before a position that our fills do not explain is a halt: histories lag


class SessionActor(HaltingActor):
    """An account that is connected, and connected again."""

    reconnects = 0
    _codec: Codec
    _symbols: list[str]
    _quoter_waits = False
    _dead_man = False  # it is granted, and has to be renewed
    _unexplained = 0

    def _on_frame(self, raw: bytes, ts_recv_ns: int) -> None:
        """A private frame."""
        raise NotImplementedError

    async def _sessions(self) -> None:
        wait_s = 0.1
        begun = time.monotonic()
        while True:
            self.phase = "connecting"
            try:
                await self._open_session()
                wait_s = 0.1
                await self._client.closed()
                reason = "the private connection ended"
            except VenueUnreachable as exc:
                reason = str(exc)
                late = time.monotonic() - begun > _GIVE_UP_S and self.reconnects + 1 >= _GIVE_UP_TRIES
                if late and not self.book.sessions:
                    raise
            self.core.ready = False
            self.reconnects += 1
            self.last_error = reason
            self.log.warning("%s; connecting again in %.1f s", reason, wait_s)
            await asyncio.sleep(wait_s * random.uniform(0.5, 1.0))  # noqa: S311  jitter, not a secret
            wait_s = min(2 * wait_s, 5.0)

    async def _open_session(self) -> None:
        self.core.ready = False
        self._codec.reset()
        try:
            await self._client.connect(self._on_frame)
        except VenueUnreachable:
            await self._cancel_unheard()
            raise
        left = await self._pull("session")
        if left:
            raise VenueUnreachable(f"{len(left)} orders could not be cancelled")
        self.book.audit.rates = [await self._client.fees(symbol) for symbol in self._symbols]  # before any is booked
        asked_ns = time.time_ns()
        fills = await self._client.fills(self.book.history_ns)
        positions = [await self._client.position(symbol) for symbol in self._symbols]
        explained = self.book.open_session(fills, positions, time.time_ns())
        self.book.history_read(asked_ns)
        self._unexplained = 0 if explained else self._unexplained + 1
        if not explained:
            if self._unexplained < _LATE_HISTORY and not self.core.halted:
                raise VenueUnreachable("the venue's position is not yet our fills' sum")
            self._latch(self._halt_reasons.index("position_mismatch"), "the venue's position is not our fills' sum")
        if self._client.caps.leverage:
            for symbol in self._symbols:
                await self._client.set_leverage(symbol, max(1, round(self.spec.cfg.risk.leverage)))
        await self._arm_dead_man()
        self.core.quoter_seen_ns = time.time_ns()
        self.core.ready = True
        self._publish_sync(RISK)
        self._quoter_waits = True
        self.log.info("session %d: positions %s", self.book.sessions, {p.symbol: str(p.size) for p in positions})

    async def _finish(self) -> dict[str, Any]:
        """Cancel everything and ask the venue what is left, for as long as it takes the venue to answer (10 s)."""
        self.phase = "stopping"
        error = ""
        for _ in range(20):
            try:
                left = await self._pull_all("stop")
                totals = await self._totals()
                positions = [await self._client.position(s) for s in self._symbols]
            except VenueUnreachable as exc:
                error = str(exc)
                with contextlib.suppress(VenueUnreachable):
                    await self._client.connect(self._on_frame)
                await asyncio.sleep(0.5)
                continue
            if not left:  # else it is the last thing that may cancel them
                with contextlib.suppress(VenueUnreachable, NotImplementedError):
                    await self._client.arm_dead_man(0)
            await asyncio.sleep(0)
            return totals | {
                "open_orders_left": len(left),
                "positions": {p.symbol: str(p.size) for p in positions},
                "balance": str(positions[0].balance) if positions else "",
            }
        self.log.error("the venue did not say what is left open: %s", error)
        return {"error": error}

    async def _totals(self) -> dict[str, int]:
        """Fills of the run: the venue's own count; of a long run what was booked, its history added."""
        if sum(self.core.fills(i) for i in range(len(self._symbols))) <= _WHOLE_HISTORY:
            fills = await self._client.fills(self.book.run_started_ns)
            return {"fills": len(fills), "taker_fills": sum(not f.maker for f in fills)}
        await self._book_history()
        return {name: sum(int(s[0][name]) for s in self.core.states) for name in ("fills", "taker_fills")}

    async def _arm_dead_man(self) -> None:
        """Once a session, then in time; a venue that has none or does not grant it is not asked again and again."""
        try:
            await self._client.arm_dead_man(DEAD_MAN_S)
        except NotImplementedError as exc:
            self._dead_man = False
            self.log.warning("no dead-man switch: %s; orders stay if this machine is lost", exc)
        else:
            self._dead_man = not self._client.caps.dead_man_on_disconnect  # else armed once a session

    def _publish_sync(self, *receivers: int) -> None:
        if QUOTER in receivers:
            self.core.epoch = (self.core.epoch + 1) & 0xFFFF  # what was decided before this is void
        for receiver in receivers:
            self._out[receiver].send(SYNC, self.core.sync(), b=self.core.epoch, t_wall_ns=time.time_ns())

    # --- comparing ---------------------------------------------------------------------------------------------------
    async def _reconcile(self) -> None:
        """Compare orders and positions with the venue's; never send anything twice."""
        asked_ns = time.time_ns()
        epoch = self.core.epoch
        open_orders = await self._client.open_orders()
        if not self.core.ready or epoch != self.core.epoch:
            return
        found, unwanted = self.book.reconcile(open_orders, asked_ns)
        if any(not cid for _, cid in unwanted):  # placed by hand, without an id to cancel it by
            await self._pull("an order without a client id")
        for instrument, cid in unwanted:
            self.log.warning("order %s is still open: cancelling", cid)
            await self._send_cancel(instrument, cid)
        for key in found.gone:
            await self._send_cancel(key.instrument, client_order_id(self.spec.prefix, key.id))
        if found.gone or found.found:
            self.log.warning("%d orders are not on the venue, %d were not reported", len(found.gone), len(found.found))
            self._publish_sync(QUOTER, RISK)
        await self._compare_positions()

    async def _compare_positions(self) -> None:
        """A difference that stays: book what the venue's history knows and we do not; halt on what then remains."""
        for i, symbol in enumerate(self._symbols):
            fills = self.core.fills(i)
            if not self.book.position_differs(await self._client.position(symbol), fills) or not self.core.ready:
                continue
            if await self._book_history():
                self._publish_sync(QUOTER, RISK)
                continue
            self._latch(self._halt_reasons.index("position_mismatch"), "the venue's position is not our fills' sum")

    async def _book_history(self) -> int:
        """Book what the venue's history knows and we do not; returns how many fills that were."""
        asked_ns = time.time_ns()
        n = self.book.missed(await self._client.fills(self.book.history_ns), asked_ns)
        self.book.history_read(asked_ns)
        return n

    async def _send_cancel(self, instrument: int, cid: str) -> int:
        try:
            await self._client.cancel(self.book.instruments[instrument].symbol, cid)
        except VenueUnreachable as exc:
            self.log.warning("cancel %s: %s", cid, exc)
            return 0
        return 1
