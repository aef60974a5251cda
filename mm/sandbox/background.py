"""The anonymous flow of a market: a synthetic or recorded stream of events, paced in real time.

Time is passed in. Rows are (kind, tick, lots) of ``mm.core.types``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from mm.core.instrument import Instrument
from mm.core.types import RecArray
from mm.data.store import Store, clear_rows
from mm.data.synth import SynthFlow, SynthSpec
from mm.errors import ConfigError
from mm.sandbox.regrid import Regrid, Row
from mm.sandbox.spec import BackgroundSpec

Chunk = tuple[list[int], list[Row]]

_CHUNK_NS: Final = 500_000_000  # of synthetic flow at a time: a fraction of a millisecond of work
_CHUNK_ROWS: Final = 8_192  # of a store at a time
_MAX_LAG_NS: Final = 1_000_000_000  # further behind than this, the flow slips instead of racing to catch up


def synthetic(spec: SynthSpec, seed: int, late_ns: int = 0) -> Iterator[Chunk]:
    """Chunks (times, rows) of an endless synthetic flow; ``late_ns`` of it are left out."""
    flow = SynthFlow(spec, seed, late_ns)
    while True:
        chunk = flow.next_chunk(_CHUNK_NS)
        yield chunk["ts_exch_ns"].tolist(), _rows(chunk)


def recorded(store: Store, grid: Regrid | None = None, late_ns: int = 0) -> Iterator[Chunk]:
    """Chunks (times, rows) of a store, over and over: each round begins with an empty book, times go on.

    ``grid``: of the venue that plays it; default as recorded. ``late_ns``: whole rounds within it are left out.
    """
    first = int(store.ts_recv_ns[0])
    round_ns = int(store.ts_recv_ns[-1]) - first + 1
    shift = late_ns // round_ns * round_ns
    while True:
        for at in range(-_CHUNK_ROWS, len(store), _CHUNK_ROWS):
            chunk = clear_rows(0, first, 0) if at < 0 else store.events(at, at + _CHUNK_ROWS)
            times, rows = (chunk["ts_recv_ns"] + shift).tolist(), _rows(chunk)
            if grid is not None:
                pairs = [(t, new) for t, old in zip(times, rows, strict=True) for new in grid.row(old)]
                times, rows = [t for t, _ in pairs], [row for _, row in pairs]
            yield times, rows
        shift += round_ns


class Background:
    """Hands out the rows of a flow when their time has come; the first row is due when ``begin`` says so.

    ``origin``: (time in the flow, time by the clock) that belong together, of a flow that others play too: it began
    then, and it never slips.
    """

    def __init__(self, chunks: Iterator[Chunk], speed: float, origin: tuple[int, int] | None = None) -> None:
        self._chunks = chunks
        self._speed = speed
        self._shared = origin is not None
        self._times: list[int] = []
        self._rows: list[Row] = []
        self._at = 0
        self._refill()
        self._origin_ns, self._start_ns = origin or (self._times[0], 0)
        self.slipped_ns = 0  # how much the flow was delayed because the machine could not follow

    def begin(self, now_ns: int) -> None:
        """The first row is due now, unless the flow began elsewhere."""
        if not self._shared:
            self._start_ns = now_ns

    def due(self, now_ns: int, limit: int) -> list[Row]:
        """Rows due by now, at most about ``limit``."""
        lag = now_ns - self.next_ns()
        if lag > _MAX_LAG_NS and not self._shared:
            self._start_ns += lag
            self.slipped_ns += lag
        until = self._origin_ns + int((now_ns - self._start_ns) * self._speed)
        out: list[Row] = []
        while len(out) < limit and self._times[self._at] <= until:
            times, end = self._times, self._at
            while end < len(times) and times[end] <= until:
                end += 1
            out += self._rows[self._at : end]
            self._at = end
            if end == len(times):
                self._refill()
        return out

    def next_ns(self) -> int:
        """When the next row is due."""
        return self._start_ns + int((self._times[self._at] - self._origin_ns) / self._speed)

    def _refill(self) -> None:
        self._times = []
        while not self._times:
            self._times, self._rows = next(self._chunks)
        self._at = 0


def make_background(instrument: Instrument, spec: BackgroundSpec, now_ns: int = 0) -> Background:
    """The background that a spec describes, as it stands at ``now_ns``; raises ``ConfigError`` or ``DataError``."""
    where = f"background of {instrument.symbol}"
    late_ns = 0 if spec.epoch_ns is None else max(0, int((now_ns - spec.epoch_ns) * spec.speed))
    if spec.kind == "synth":
        shared = {"fair_seed": spec.fair_seed, "basis_bps": spec.basis_bps, "delay_ms": spec.delay_ms}
        try:
            synth = SynthSpec(instrument=instrument, **{**shared, **spec.params})
        except TypeError as exc:
            raise ConfigError(f"{where}: {exc}") from exc
        origin = None if spec.epoch_ns is None else (synth.start_ts_ns, spec.epoch_ns)
        return Background(synthetic(synth, spec.seed, late_ns), spec.speed, origin)
    if spec.params or spec.fair_seed is not None or not spec.path:
        raise ConfigError(f"{where}: a store takes a path, and neither params nor fair_seed")
    store = Store.open(spec.path)
    grid = Regrid(store.instrument, instrument, spec.basis_bps, _middle(store))
    first = int(store.ts_recv_ns[0]) - int(spec.delay_ms * 1e6)
    origin = None if spec.epoch_ns is None else (first, spec.epoch_ns)
    return Background(recorded(store, None if grid.same else grid, late_ns), spec.speed, origin)


def _middle(store: Store) -> float:
    """A price in the middle of what a store holds."""
    return float(store.instrument.tick_size) * (store.low_tick + store.high_tick) / 2


def _rows(chunk: RecArray | np.ndarray[Any, Any]) -> list[Row]:
    return list(zip(chunk["kind"].tolist(), chunk["tick"].tolist(), chunk["lots"].tolist(), strict=True))
