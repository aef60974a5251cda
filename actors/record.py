"""``data record``: market data of a live venue to a recording (``actors.recording``), until told to stop.

Lost connections are made again; the books are void in between, and marked so in the stores. Ctrl-C and SIGTERM finish
the stores; so does a disk that is nearly full. Started again with the same words a recording goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
from pydantic import ValidationError

from actors import exchanges
from actors.recorder import RawRecorder
from actors.recording import Decoder, Part, Recording, size_of
from mm.config.schema import VenueConfig
from mm.core.instrument import Instrument
from mm.core.units import parse_seconds
from mm.data.quality import Checker, ImportReport
from mm.data.store import COLUMNS, DISK_RESERVE, clear_rows
from mm.data.touch import Walker
from mm.errors import ConfigError, DataError, RaymakerError, VenueUnreachable
from mm.venues.base import PublicClient
from mm.venues.registry import get_venue
from mm.venues.specs import venue_spec

_FIRST_WAIT_S: Final = 0.1
_LONGEST_WAIT_S: Final = 10.0
_GIVE_UP_S: Final = 20.0  # never connected for so long
_FLUSH_S: Final = 0.5
_SIZES: Final = {"kb": 10**3, "mb": 10**6, "gb": 10**9}


@dataclass(frozen=True, slots=True)
class Limits:
    """When a part ends, when the recording ends. Bytes are of raw frames."""

    rotate_s: float | None = None
    rotate_bytes: int | None = None
    duration_s: float | None = None
    min_free: int = DISK_RESERVE


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a recording stands; ``frames_per_s`` since the last one."""

    elapsed_s: float
    frames_per_s: float
    events: int
    gaps: int
    reconnects: int
    bad_frames: int
    parts: int
    raw_bytes: int

    def __str__(self) -> str:
        return (
            f"{self.elapsed_s:,.0f} s  {self.frames_per_s:,.0f} messages/s  {self.events:,} events  {self.gaps} gaps  "
            f"{self.reconnects} reconnects  {self.bad_frames} bad  part {self.parts}  {self.raw_bytes / 1e6:,.1f} MB"
        )


class Recorder:
    """One venue's public connection, recorded. ``client`` is closed by whoever made it."""

    def __init__(self, recording: Recording, client: PublicClient, limits: Limits) -> None:
        self.recording = recording
        self.client = client
        self.limits = limits
        self.stopped = ""  # why
        self.frames = 0
        self.reconnects = 0
        self.parts = 0
        self.reports: list[ImportReport] = []
        self._stop = asyncio.Event()
        self._finishing: list[asyncio.Task[None]] = []
        self._asking: set[asyncio.Task[None]] = set()
        self._decoder = Decoder(recording.codec(), recording.instruments)
        self._bytes_before = size_of(recording.path)
        self._ended = False
        self._new_part()
        now_ns = time.time_ns()
        self._raw.connection(now_ns)
        self._decoder.connection(now_ns)

    def stop(self, why: str) -> None:
        """End gracefully."""
        self.stopped = self.stopped or why
        self._stop.set()

    async def run(self, on_progress: Callable[[Progress], None] | None = None) -> None:
        """Record until stopped; raises ``VenueUnreachable`` when the venue never answers."""
        keeper = asyncio.create_task(self._housekeeping(on_progress))
        try:
            await self._stay_connected(keeper)
        finally:
            self._ended = True
            keeper.cancel()
            await asyncio.gather(keeper, *self._asking, return_exceptions=True)
            self._end_part()
            await asyncio.gather(*self._finishing)

    # --- connection --------------------------------------------------------------------------------------------------
    async def _stay_connected(self, keeper: asyncio.Task[None]) -> None:
        wait_s, begun = _FIRST_WAIT_S, time.monotonic()
        stopped = asyncio.create_task(self._stop.wait())
        try:
            while not self._stop.is_set():
                known = self.frames
                connection = asyncio.create_task(self.client.run(self._on_frame))
                await asyncio.wait([connection, stopped, keeper], return_when=asyncio.FIRST_COMPLETED)
                if keeper.done():
                    keeper.result()  # it never ends by itself: raises
                connection.cancel()
                reason = "closed"
                with contextlib.suppress(asyncio.CancelledError):
                    try:
                        await connection
                    except VenueUnreachable as exc:
                        reason = str(exc)
                if self._stop.is_set():
                    return
                self._lost()
                if self.frames > known:
                    wait_s = _FIRST_WAIT_S
                elif not self.frames and time.monotonic() - begun > _GIVE_UP_S:
                    raise VenueUnreachable(reason)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), wait_s)
                wait_s = min(wait_s * 2, _LONGEST_WAIT_S)
        finally:
            stopped.cancel()

    def _lost(self) -> None:
        """The mark stands where the connection ended: what follows is unknown until the next snapshot."""
        self.reconnects += 1
        now_ns = time.time_ns()
        self._raw.connection(now_ns)
        self._decoder.connection(now_ns)

    def _on_frame(self, raw: bytes, ts_recv_ns: int) -> None:
        if self._ended:
            return
        if ts_recv_ns >= self._until_ns or self._raw_bytes >= (self.limits.rotate_bytes or 1 << 62):
            self._end_part()
            self._new_part()
        self._raw.frame(raw, ts_recv_ns)
        self._raw_bytes += len(raw) + 12
        self.frames += 1
        for i in self._decoder.frame(raw, ts_recv_ns).gap:
            task = asyncio.ensure_future(self._ask(self.recording.instruments[i].symbol))
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)

    async def _ask(self, symbol: str) -> None:
        with contextlib.suppress(RaymakerError):  # the connection is gone; the next one begins with snapshots
            await self.client.resync(symbol)

    # --- parts -------------------------------------------------------------------------------------------------------
    def _new_part(self) -> None:
        now_ns = time.time_ns()
        stamp = f"{datetime.fromtimestamp(now_ns / 1e9, UTC):%Y%m%dT%H%M%S}_{now_ns // 1000 % 1_000_000:06}"
        self._raw = RawRecorder(self.recording.raw / f"{stamp}.bin")
        self._raw_bytes = 0
        self._decoder.part = Part(self.recording, stamp)
        self.parts += 1
        every_ns = round((self.limits.rotate_s or 0) * 1e9)
        self._until_ns = (now_ns // every_ns + 1) * every_ns if every_ns else 1 << 62

    def _end_part(self) -> None:
        """Finish the stores beside the loop: it takes a while, and the next frames wait for nobody."""
        self._decoder.flush()
        self._raw.close()
        self._bytes_before += self._raw.bytes
        part = self._decoder.part
        if part is not None:
            self._finishing.append(asyncio.ensure_future(self._finish(part)))

    async def _finish(self, part: Part) -> None:
        figures = await asyncio.to_thread(part.finish)
        self.recording.finished(part.stamp, figures)
        self.reports += part.reports

    async def _housekeeping(self, on_progress: Callable[[Progress], None] | None) -> None:
        begun = told = time.monotonic()
        before = 0
        while True:
            await asyncio.sleep(_FLUSH_S)
            now = time.monotonic()
            try:
                self._raw.flush()
                self._decoder.flush()
                free = shutil.disk_usage(self.recording.path).free
            except (OSError, DataError) as exc:  # the raw frames so far make the stores, next time
                if self._decoder.part is not None:
                    self._decoder.part.abort()
                    self._decoder.part = None
                self.stop(f"cannot write: {exc}")
                continue
            if free < self.limits.min_free:
                self.stop(
                    f"the disk is nearly full: {free / 1e9:,.1f} GB left of which {self.limits.min_free / 1e9:g} stay"
                )
            if self.limits.duration_s is not None and now - begun >= self.limits.duration_s:
                self.stop("duration")
            if on_progress is not None and now - told >= 1.0:
                d, size = self._decoder, self._bytes_before + self._raw.bytes
                rate = (self.frames - before) / (now - told)
                on_progress(Progress(now - begun, rate, d.events, d.gaps, self.reconnects, d.errors, self.parts, size))
                told, before = now, self.frames

    def summary(self) -> dict[str, Any]:
        """What was recorded."""
        return {
            "path": str(self.recording.path), "stopped": self.stopped, "frames": self.frames,
            "events": self._decoder.events, "gaps": self._decoder.gaps, "reconnects": self.reconnects,
            "bad_frames": self._decoder.errors, "parts": self.parts, "raw_bytes": size_of(self.recording.path),
            "stores": self.reports,
        }  # fmt: skip


def record(
    venue: str, network: str, address: str | None, symbols: list[str] | None, out: Path, limits: Limits,
    on_progress: Callable[[Progress], None] | None = None, note: Callable[[str], None] = lambda _text: None,
) -> dict[str, Any]:  # fmt: skip
    """Record until a signal or a limit; returns the summary. Raises ``ConfigError``, ``VenueUnreachable``."""
    symbols = symbols or ([x.symbol for x in venue_spec(venue).listings] if venue != "native" else ["BTC-USDT"])
    try:
        cfg = VenueConfig.model_validate(
            {"name": venue, "kind": venue, "network": network, "address": address, "instruments": symbols}
        )
    except ValidationError as exc:
        first = exc.errors()[0]
        raise ConfigError(f"data record: {'.'.join(map(str, first['loc']))}: {first['msg']}") from exc
    options = exchanges.external_options(cfg)
    known = [Instrument.from_dict(raw) for raw in exchanges.ask_instruments(cfg, options)]
    recording = Recording(out, venue, network, known)
    try:
        for stamp in recording.recover():
            note(f"part {stamp}, left by a killed recording, is decoded")
        _warm()
        return asyncio.run(_record(recording, options, symbols, limits, on_progress))
    finally:
        recording.close()


async def _record(
    recording: Recording, options: dict[str, Any], symbols: list[str], limits: Limits,
    on_progress: Callable[[Progress], None] | None,
) -> dict[str, Any]:  # fmt: skip
    client = get_venue(recording.venue).make_public(options, symbols)
    try:
        recorder = Recorder(recording, client, limits)
        with _signals(recorder):
            await recorder.run(on_progress)
        return recorder.summary()
    finally:
        await client.close()


@contextlib.contextmanager
def _signals(recorder: Recorder) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, recorder.stop, signal.Signals(name).name)
    try:
        yield
    finally:
        for name in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(name)


def _warm() -> None:
    """Compile what the loop will call before frames wait for it."""
    Checker((1, 8)).feed(clear_rows(1, 1, 0))
    columns = [np.zeros(1, COLUMNS[name]) for name in ("kind", "tick", "lots")]
    for column in columns:
        column.setflags(write=False)  # as the columns of a store
    Walker((1, 8)).feed(*columns)


def limits_of(rotate: str | None, duration: str | None, min_free: str | None) -> Limits:
    """From the words of the command line: a length of time or a size; raises ``ConfigError``."""
    size = None if rotate is None else _bytes(rotate)
    free = DISK_RESERVE if min_free is None else _bytes(min_free)
    if free is None:
        raise ConfigError(f"--min-free {min_free}: expected a size such as 5GB")
    return Limits(None if rotate is None or size else _seconds(rotate, "--rotate"), size,
                  None if duration is None else _seconds(duration, "--duration"), free)  # fmt: skip


def _bytes(text: str) -> int | None:
    found = re.fullmatch(r"([0-9.]+)\s*(kb|mb|gb)", text.strip().lower())
    return round(float(found[1]) * _SIZES[found[2]]) if found and found[1].count(".") < 2 else None


def _seconds(text: str, option: str) -> float:
    try:
        seconds = parse_seconds(text)
    except ValueError as exc:
        raise ConfigError(f"{option}: {exc}") from exc
    if seconds <= 0:
        raise ConfigError(f"{option} {text}: expected more than nothing")
    return seconds
