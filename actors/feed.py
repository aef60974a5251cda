"""Market data of one venue: raw frames recorded, decoded, and handed to the quoter and risk."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from typing import Any, ClassVar, Final

import zmq

from actors.base import LoopActor
from actors.recorder import RawRecorder
from actors.transport import EVENTS, FEED_STATE, RESYNC, Curve, Inbox, Outbox
from mm.errors import RaymakerError, VenueUnreachable
from mm.venues.registry import get_venue

_FIRST_WAIT_S: Final = 0.1
_LONGEST_WAIT_S: Final = 10.0
_RISK_EVERY_S: Final = 0.02
_GIVE_UP_S: Final = 60.0  # never connected for so long, and tried often: the run fails
_GIVE_UP_TRIES: Final = 4  # on a starved machine one try can take longer than a venue would


class FeedActor(LoopActor):
    """One public connection. After a gap or a loss the receivers are told at once that the books are void."""

    role: ClassVar[str] = "feed"

    async def main(self) -> None:
        spec = self.spec
        venue = get_venue(spec.venue_config.adapter)
        self._symbols = list(spec.venue_config.instruments)
        self._codec = venue.make_codec(spec.parsed_instruments, spec.prefix)
        self._client = venue.make_public(spec.options, self._symbols)
        self._raw = RawRecorder(spec.path("raw", f"{spec.venue_config.name}.bin"))
        context: zmq.Context[Any] = zmq.Context()
        curve = Curve(**spec.curve) if spec.curve else None
        self._inbox = Inbox(context, spec.inboxes["feed"], curve)
        self._quoter = Outbox(context, spec.inboxes["quoter"], curve)
        self._risk = Outbox(context, spec.inboxes["risk"], curve)
        self._for_risk: list[bytes] = []
        self._stale_ns = round(spec.cfg.live.stale_after * 1e9)
        self._last_ns = 0
        self._tell(void=True)
        side = [asyncio.create_task(self._serve()), asyncio.create_task(self._housekeeping())]
        try:
            await self._stay_connected(side)
        finally:
            for task in side:
                task.cancel()
            await asyncio.gather(*side, return_exceptions=True)
            await self._client.close()
            self._ended = True  # a frame that the closing socket still hands over is neither counted nor recorded
            self._raw.close()
            self._inbox.close()
            self._quoter.close()
            self._risk.close()
            context.term()

    # --- connection --------------------------------------------------------------------------------------------------
    async def _stay_connected(self, side: list[asyncio.Task[None]]) -> None:
        wait_s = _FIRST_WAIT_S
        begun = time.monotonic()
        while not self._over():
            self._codec.reset()
            self._raw.connection(time.time_ns())
            known = self.frames
            connection = asyncio.create_task(self._client.run(self._on_frame))
            self._connection = connection
            done, _ = await asyncio.wait([connection, *side], return_when=asyncio.FIRST_COMPLETED)
            for task in side:
                if task in done:
                    task.result()  # it never ends by itself: raises
            reason = ""
            with contextlib.suppress(asyncio.CancelledError):
                try:
                    connection.result()
                except VenueUnreachable as exc:
                    reason = str(exc)
            if self._over():
                return
            self._tell(void=True)
            if self.frames > known:
                wait_s = _FIRST_WAIT_S
            elif not self.frames and self.reconnects + 1 >= _GIVE_UP_TRIES and time.monotonic() - begun > _GIVE_UP_S:
                raise VenueUnreachable(reason or "the market data connection ends at once")
            self.reconnects += 1
            self.log.warning("connection lost (%s); again in %.1f s", reason or "closed", wait_s)
            await asyncio.sleep(wait_s * random.uniform(0.5, 1.0))  # noqa: S311  jitter, not a secret
            wait_s = min(wait_s * 2, _LONGEST_WAIT_S)

    def _over(self) -> bool:
        return self.stopping

    def wake(self) -> None:
        loop, connection = self.loop, getattr(self, "_connection", None)
        if loop is not None and connection is not None:
            loop.call_soon_threadsafe(connection.cancel)

    # --- frames ------------------------------------------------------------------------------------------------------
    frames = 0
    _ended = False
    events = 0
    gaps = 0
    errors = 0
    last_error = ""
    reconnects = 0
    void = True

    def _on_frame(self, raw: bytes, ts_recv_ns: int) -> None:
        """Called by the client with every complete frame."""
        if self._ended:
            return
        now_ns = time.time_ns()
        read_mono_ns = time.monotonic_ns() - max(now_ns - ts_recv_ns, 0)  # when its last byte was read
        self._raw.frame(raw, ts_recv_ns)
        self.frames += 1
        self._last_ns = ts_recv_ns
        decoded = self._codec.decode_public(raw, ts_recv_ns)
        if decoded.error:
            self.errors += 1
            self.last_error = decoded.error
            self.log.warning("frame %d: %s", self.frames, decoded.error)
        if len(decoded.events):
            self.events += len(decoded.events)
            payload = decoded.events.tobytes()
            number = self._raw.number & 0xFFFF  # with the time of receipt: which frame of the record it is
            self._quoter.send(EVENTS, payload, b=number, t_mono_ns=read_mono_ns, t_wall_ns=ts_recv_ns)
            if not self._for_risk:
                asyncio.get_running_loop().call_later(_RISK_EVERY_S, self._tell_risk)
            self._for_risk.append(payload)
            if self.void:
                self._tell(void=False)
        for i in decoded.gap:
            self.gaps += 1
            self.log.warning("gap in the book of %s: asking for a snapshot", self._symbols[i])
            self._tell(void=True)
            self._ask_snapshot(self._symbols[i])

    def _tell_risk(self) -> None:
        """Risk marks fifty times a second at most, so that it does not compete with the quoter for the processor."""
        if self._for_risk and not self._ended:
            self._risk.send(EVENTS, b"".join(self._for_risk), t_wall_ns=self._last_ns)
            self._for_risk = []

    def _tell(self, *, void: bool) -> None:
        self._tell_risk()
        self.void = void
        self.phase = "void" if void else "running"
        for out in (self._quoter, self._risk):
            out.send(FEED_STATE, a=int(void), t_wall_ns=time.time_ns())

    def _ask_snapshot(self, symbol: str) -> None:
        task = asyncio.ensure_future(self._client.resync(symbol))
        task.add_done_callback(self._snapshot_asked)

    def _snapshot_asked(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (exc := task.exception()) is not None:
            if not isinstance(exc, RaymakerError):
                raise exc
            self.log.info("no snapshot: %s", exc)  # the connection is gone; the next one begins with snapshots

    async def _serve(self) -> None:
        """Requests from the receivers: a restarted quoter or risk needs the books from the beginning."""
        while True:
            await self._inbox.wait(1.0)
            if any(m.kind == RESYNC for m in self._inbox.drain()) and self.frames:
                for symbol in self._symbols:
                    self._ask_snapshot(symbol)

    async def _housekeeping(self) -> None:
        silent = False
        while True:
            await asyncio.sleep(0.5)
            self._raw.flush()
            quiet_ns = time.time_ns() - self._last_ns
            if self._last_ns and quiet_ns > self._stale_ns and not silent:
                self.log.warning("no market data for %.1f s", quiet_ns / 1e9)
            silent = bool(self._last_ns) and quiet_ns > self._stale_ns

    def report(self) -> dict[str, Any]:
        return {
            "frames": self.frames,
            "events": self.events,
            "gaps": self.gaps,
            "bad_frames": self.errors,
            "last_error": self.last_error,
            "reconnects": self.reconnects,
            "dropped": self._quoter.dropped + self._risk.dropped if self.phase != "starting" else 0,
        }
