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
from mm.sandbox.spec import BackgroundSpec

Row = tuple[int, int, int]

_CHUNK_NS: Final = 500_000_000  # of synthetic flow at a time: a fraction of a millisecond of work
_CHUNK_ROWS: Final = 8_192  # of a store at a time
_MAX_LAG_NS: Final = 1_000_000_000  # further behind than this, the flow slips instead of racing to catch up


def synthetic(spec: SynthSpec, seed: int) -> Iterator[tuple[list[int], list[Row]]]:
    """Chunks (times, rows) of an endless synthetic flow."""
    flow = SynthFlow(spec, seed)
    while True:
        chunk = flow.next_chunk(_CHUNK_NS)
        yield chunk["ts_exch_ns"].tolist(), _rows(chunk)


def recorded(store: Store) -> Iterator[tuple[list[int], list[Row]]]:
    """Chunks (times, rows) of a store, over and over: each round begins with an empty book, times go on."""
    first = int(store.ts_recv_ns[0])
    round_ns = int(store.ts_recv_ns[-1]) - first + 1
    shift = 0
    while True:
        yield [first + shift] * 2, _rows(clear_rows(0, 0, 0))
        for at in range(0, len(store), _CHUNK_ROWS):
            chunk = store.events(at, at + _CHUNK_ROWS)
            yield (chunk["ts_recv_ns"] + shift).tolist(), _rows(chunk)
        shift += round_ns


class Background:
    """Hands out the rows of a flow when their time has come; the first row is due when ``begin`` says so."""

    def __init__(self, chunks: Iterator[tuple[list[int], list[Row]]], speed: float) -> None:
        self._chunks = chunks
        self._speed = speed
        self._times: list[int] = []
        self._rows: list[Row] = []
        self._at = 0
        self._refill()
        self._origin_ns = self._times[0]
        self._start_ns = 0
        self.slipped_ns = 0  # how much the flow was delayed because the machine could not follow

    def begin(self, now_ns: int) -> None:
        """The first row is due now."""
        self._start_ns = now_ns

    def due(self, now_ns: int, limit: int) -> list[Row]:
        """Rows due by now, at most about ``limit``."""
        lag = now_ns - self.next_ns()
        if lag > _MAX_LAG_NS:
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


def make_background(instrument: Instrument, spec: BackgroundSpec) -> Background:
    """The background that a spec describes; raises ``ConfigError`` or ``DataError``."""
    where = f"background of {instrument.symbol}"
    if spec.kind == "synth":
        try:
            synth = SynthSpec(instrument=instrument, **spec.params)
        except TypeError as exc:
            raise ConfigError(f"{where}: {exc}") from exc
        return Background(synthetic(synth, spec.seed), spec.speed)
    if spec.params or not spec.path:
        raise ConfigError(f"{where}: a store takes a path and no params")
    store = Store.open(spec.path)
    for name in ("tick_size", "lot_size"):
        if getattr(store.instrument, name) != getattr(instrument, name):
            raise ConfigError(
                f"{where}: {spec.path} has {name} {getattr(store.instrument, name)}, "
                f"the exchange lists {getattr(instrument, name)}"
            )
    return Background(recorded(store), spec.speed)


def _rows(chunk: RecArray | np.ndarray[Any, Any]) -> list[Row]:
    return list(zip(chunk["kind"].tolist(), chunk["tick"].tolist(), chunk["lots"].tolist(), strict=True))
