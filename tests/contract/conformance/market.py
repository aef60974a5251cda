"""A feed as the desk has it: frames decoded and applied to a plain book, a snapshot asked for after every gap."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from mm.core.types import ASK, BID, BUY, CLEAR_ASK, CLEAR_BID, FUNDING, MARK, SELL, SNAPSHOT
from mm.errors import RaymakerError
from tests.contract.conformance.wait import LIMIT_S

if TYPE_CHECKING:
    from tests.contract.conformance.rig import Rig

PREFIX = "c0ffee00"


class Market:
    """``valid``: a snapshot has come and no gap since."""

    def __init__(self, rig: Rig, options: dict[str, Any]) -> None:
        self.rig = rig
        self.client = rig.venue.make_public(options, [rig.symbol])
        self.codec = rig.venue.make_codec([rig.instrument], PREFIX)
        self.levels: dict[int, dict[int, int]] = {BID: {}, ASK: {}}
        self.valid = False
        self.frames = self.events = self.gaps = self.snapshots = 0
        self.errors: list[str] = []
        self.trades: list[tuple[int, int, int]] = []  # kind, tick, lots
        self.marks: list[int] = []  # ticks
        self.fundings: list[tuple[int, int]] = []  # rate in 1e-9, tick
        self.raw: list[bytes] = []
        self._held: bytes | None = None
        self._asked: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Connect, again after an end."""
        self.codec.reset()
        self.valid = False
        self.task = asyncio.create_task(self.client.run(self.on_frame))
        self.task.add_done_callback(lambda task: task.cancelled() or task.exception())  # seen: a case may start anew

    @property
    def ended(self) -> bool:
        """``run`` has ended."""
        return self.task.done()

    def top(self, depth: int = 10) -> dict[int, list[tuple[int, int]]]:
        """(tick, lots), best first."""
        return {side: sorted(self.levels[side].items(), reverse=side == BID)[:depth] for side in (BID, ASK)}

    def agrees(self, depth: int = 10) -> bool:
        """The book is valid and true."""
        return self.valid and self.top(depth) == self.rig.book(depth)

    def on_frame(self, raw: bytes, ts_recv_ns: int) -> None:
        for frame in self._disturbed(raw):
            self._decode(frame, ts_recv_ns)

    def _disturbed(self, raw: bytes) -> list[bytes]:
        """The native wire has no face: faults of public frames are made here."""
        faults = self.rig.faults
        if self.rig.face is not None:
            return [raw]
        if faults.take("lose_public"):
            return []
        if self._held is not None:
            held, self._held = self._held, None
            return [raw, held]
        if faults.take("swap_public"):
            self._held = raw
            return []
        return [raw, raw] if faults.take("duplicate_public") else [raw]

    def _decode(self, raw: bytes, ts_recv_ns: int) -> None:
        self.frames += 1
        self.raw.append(raw)
        decoded = self.codec.decode_public(raw, ts_recv_ns)
        if decoded.error:
            self.errors.append(decoded.error)
        self.events += len(decoded.events)
        if any(int(e["flags"]) & SNAPSHOT for e in decoded.events):
            self.snapshots += 1
            self.valid = True
        for event in decoded.events:
            self._apply(int(event["kind"]), int(event["tick"]), int(event["lots"]))
        for _ in decoded.gap:
            self.gaps += 1
            self.valid = False
            self.levels = {BID: {}, ASK: {}}
            task = asyncio.ensure_future(self._resync())
            self._asked.add(task)
            task.add_done_callback(self._asked.discard)

    async def _resync(self) -> None:
        with contextlib.suppress(RaymakerError):  # the connection is gone: the next one begins with snapshots
            await self.client.resync(self.rig.symbol)

    def _apply(self, kind: int, tick: int, lots: int) -> None:
        if kind in (BID, ASK):
            if lots:
                self.levels[kind][tick] = lots
            else:
                self.levels[kind].pop(tick, None)
        elif kind == CLEAR_BID:
            self.levels[BID] = {t: n for t, n in self.levels[BID].items() if t < tick}
        elif kind == CLEAR_ASK:
            self.levels[ASK] = {t: n for t, n in self.levels[ASK].items() if t > tick}
        elif kind in (BUY, SELL):
            self.trades.append((kind, tick, lots))
        elif kind == MARK:
            self.marks.append(tick)
        elif kind == FUNDING:
            self.fundings.append((lots, tick))

    def traded(self) -> list[tuple[int, int, int]]:
        """Trades with neighbours of one kind and tick put together: a venue may print parts."""
        out: list[tuple[int, int, int]] = []
        for kind, tick, lots in self.trades:
            if out and out[-1][:2] == (kind, tick):
                out[-1] = (kind, tick, out[-1][2] + lots)
            else:
                out.append((kind, tick, lots))
        return out

    async def close(self) -> None:
        await asyncio.wait_for(self.client.close(), LIMIT_S)
        with contextlib.suppress(RaymakerError, asyncio.CancelledError):
            await asyncio.wait_for(self.task, LIMIT_S)
        for task in list(self._asked):
            task.cancel()
