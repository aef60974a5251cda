"""The market that a simulation replays: a store's columns on two clocks, opened read-only and shared between trials."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mm.config.schema import DataConfig
from mm.core.book import Levels, apply, is_valid, new_book
from mm.core.instrument import Instrument
from mm.core.jit import kernel, source_hash
from mm.core.types import LAST, RecArray
from mm.data.store import Store
from mm.data.synth import SynthSpec, write_synth
from mm.errors import DataError


@dataclass(frozen=True, slots=True)
class Tape:
    """Columns of one instrument's events in order of arrival (shape (n,) each).

    ``ts_exch_ns`` is the running maximum of the store's: the exchange never steps back, and a row that arrived late
    counts when it was due.
    """

    path: Path
    instrument: Instrument
    data_hash: str
    ref_price: float  # first mid, quote per base
    kind: NDArray[np.uint8]
    flags: NDArray[np.uint8]
    tick: NDArray[np.int32]
    lots: NDArray[np.int64]
    ts_exch_ns: NDArray[np.int64]
    ts_recv_ns: NDArray[np.int64]
    book_window: tuple[int, int]

    @property
    def events(self) -> int:
        return len(self.kind)

    @property
    def span_s(self) -> float:
        return float(self.ts_recv_ns[-1] - self.ts_recv_ns[0]) * 1e-9


def from_store(store: Store) -> Tape:
    """Wrap a store; raises ``DataError`` when it has no book to trade on."""
    if len(store) == 0 or store.low_tick > store.high_tick:
        raise DataError(f"{store.path}: the store is empty; nothing can be simulated on it")
    ts_exch = store.ts_exch_ns
    if np.any(ts_exch[1:] < ts_exch[:-1]):
        ts_exch = np.maximum.accumulate(ts_exch)
        ts_exch.setflags(write=False)  # as the memory maps are: one compiled version of the engine
    return Tape(
        store.path, store.instrument, store.data_hash, _first_mid(store), store.kind, store.flags, store.tick,
        store.lots, ts_exch, store.ts_recv_ns, store.book_window(),
    )  # fmt: skip


@kernel
def _first_valid(kind: Any, flags: Any, tick: Any, lots: Any, books: RecArray, bids: Levels, asks: Levels) -> float:
    b = books[0]
    for k in range(kind.shape[0]):
        apply(b, bids, asks, kind[k], tick[k], lots[k])
        if flags[k] & LAST and is_valid(b):
            return float(b.base_tick + 0.5 * (b.bb + b.ba))
    return 0.0


def _first_mid(store: Store) -> float:
    """First valid mid: the price at which the live quoter, too, converts the config's units."""
    book, bids, asks = new_book(*store.book_window())
    mid = _first_valid(store.kind, store.flags, store.tick, store.lots, book, bids, asks)
    if mid <= 0.0:
        raise DataError(f"{store.path}: the book never has two sides; nothing can be simulated on it")
    return mid * float(store.instrument.tick_size)


def cache_dir() -> Path:
    """Where synthetic tapes are kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "raymaker" / "tapes"


def synth_path(data: DataConfig, spec: SynthSpec) -> Path:
    """A synthetic tape's place in the cache: named by everything that shapes it, the generator's code included."""
    spec_dict: dict[str, Any] = asdict(spec) | {"instrument": spec.instrument.to_dict()}
    key = json.dumps([spec_dict, data.seed, data.duration], sort_keys=True, default=str)
    code = source_hash(Path(__file__).resolve().parents[1] / "data")
    return cache_dir() / f"synth-{hashlib.sha256((key + code).encode()).hexdigest()[:16]}"


def open_tape(data: DataConfig, progress: Callable[[float], None] | None = None) -> Tape:
    """Open the tape that a config names; a synthetic one is generated on first use.

    Raises:
        DataError: no store at ``data.source``.
    """
    if data.source != "synth":
        return from_store(Store.open(data.source))
    spec = SynthSpec()
    path = synth_path(data, spec)
    if not path.exists():
        write_synth(path, spec, data.seed, data.duration, progress)
    return from_store(Store.open(path))
