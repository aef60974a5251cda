"""The market that a simulation replays: a store's columns on two clocks, opened read-only and shared between trials."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mm.config.schema import DataConfig, ListingConfig
from mm.core.instrument import Instrument
from mm.core.jit import hot_kernel, source_hash
from mm.core.types import ASK, BID, BUY, CLEAR_ASK, CLEAR_BID, LAST, MARK, Rec, records
from mm.data.store import Store
from mm.data.synth import SynthSpec, write_synth
from mm.data.touch import Walker
from mm.errors import DataError

_CHUNK = 1 << 20  # rows looked at at once
_FIRST = 1 << 12  # rows in which most tapes have shown a book


@dataclass(frozen=True, slots=True, repr=False)
class Tape:
    """One instrument's events in order of arrival, packed for the replay, and the messages they came in.

    ``words`` (n,) uint32: kind in the top 4 bits, level index (tick - base_tick) below; ``lots`` (n,) int32 or int64.
    Level updates outside the window of ``book_window`` are left out (``outside``). Message m is rows
    ``msg_start[m] : msg_start[m + 1]``, seen by the exchange at ``msg_exch_ns[m]``, by us at ``msg_recv_ns[m]``;
    ``msg_whole[m]`` is 0 for a part of a message that continues. The exchange's clock never steps back: a row that
    was stamped earlier than its predecessor counts when that was due.
    """

    path: Path
    instrument: Instrument
    data_hash: str
    ref_price: float  # first mid, quote per base
    events: int  # rows of the store
    outside: int
    words: NDArray[np.uint32]
    lots: NDArray[Any]
    msg_exch_ns: NDArray[np.int64]
    msg_recv_ns: NDArray[np.int64]
    msg_start: NDArray[np.int64]
    msg_whole: NDArray[np.uint8]
    book_window: tuple[int, int]
    has_marks: bool = False  # the tape says what the mark price is
    other: Tape | None = field(default=None, compare=False, repr=False)  # the asset on another venue (mm.sim.cross)
    features: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)  # mm.sim.market keeps its own
    clocks: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)  # and mm.sim.latency

    def __repr__(self) -> str:
        return f"Tape({str(self.path)!r}, {self.instrument.symbol}, {self.events} events)"

    @property
    def span_s(self) -> float:
        return float(self.msg_recv_ns[-1] - self.msg_recv_ns[0]) * 1e-9

    def receive_ns(self, feed_latency_ns: int) -> NDArray[np.int64]:
        """When the strategy sees each message: as recorded (-1), or one constant latency after the exchange."""
        return self.msg_recv_ns if feed_latency_ns < 0 else self.msg_exch_ns + feed_latency_ns


@hot_kernel
def _pack(
    kind: Any, flags: Any, tick: Any, lots: Any, ts_exch: Any, ts_recv: Any, start: int, stop: int, base_tick: int,
    n_levels: int, words: Any, out_lots: Any, msg_exch: Any, msg_recv: Any, msg_start: Any, msg_whole: Any, at: Rec,
) -> None:  # fmt: skip
    """Fill the columns of a Tape from rows ``start:stop`` of a store; ``at`` carries over to the next rows."""
    n, m, clock = at.rows, at.messages, at.clock_ns
    for k in range(start, stop):
        i = int(tick[k]) - base_tick
        keep = True
        if kind[k] == BID or kind[k] == ASK:
            keep = bool(0 <= i < n_levels)
        elif kind[k] == CLEAR_BID:
            keep = bool(i < n_levels)
        elif kind[k] == CLEAR_ASK:
            keep = bool(i >= 0)
        elif kind[k] == MARK:
            at.marks += 1
        i = min(max(i, 0), n_levels - 1)
        if keep:
            words[n] = (int(kind[k]) << 28) | i
            out_lots[n] = lots[k]
            n += 1
        clock = max(clock, ts_exch[k])
        whole = flags[k] & LAST
        last = k + 1 == kind.shape[0] or ts_exch[k + 1] != ts_exch[k] or ts_recv[k + 1] != ts_recv[k]
        if whole or last:
            msg_exch[m] = clock
            msg_recv[m] = ts_recv[k]
            msg_whole[m] = 1 if whole else 0
            m += 1
            msg_start[m] = n
    at.rows, at.messages, at.clock_ns = n, m, clock


_PACKED = np.dtype([("rows", "i8"), ("messages", "i8"), ("clock_ns", "i8"), ("marks", "i8")])


def from_store(store: Store) -> Tape:
    """Pack a store, piece by piece; raises ``DataError`` when it has no book to trade on."""
    n = len(store)
    if n == 0 or store.low_tick > store.high_tick:
        raise DataError(f"{store.path}: the store is empty; nothing can be simulated on it")
    base, n_levels = store.book_window()
    if n_levels >= 1 << 28:
        raise DataError(f"{store.path}: the price range covers {n_levels} ticks, more than a replay holds")
    wide = any(int(np.max(store.lots[k : k + _CHUNK])) > np.iinfo(np.int32).max for k in range(0, n, _CHUNK))
    words = np.empty(n, np.uint32)
    lots = np.empty(n, np.int64 if wide else np.int32)
    msg_exch, msg_recv = np.empty(n, np.int64), np.empty(n, np.int64)
    msg_start, msg_whole = np.zeros(n + 1, np.int64), np.empty(n, np.uint8)
    at = records(1, _PACKED)[0]
    at.clock_ns = store.ts_exch_ns[0]
    for start in range(0, n, _CHUNK):
        _pack(
            store.kind, store.flags, store.tick, store.lots, store.ts_exch_ns, store.ts_recv_ns, start,
            min(start + _CHUNK, n), base, n_levels, words, lots, msg_exch, msg_recv, msg_start, msg_whole, at,
        )  # fmt: skip
        store.forget()
    rows, messages = int(at.rows), int(at.messages)
    # one by one, so that only one of them is there twice
    msg_exch = msg_exch[:messages].copy()
    msg_recv = msg_recv[:messages].copy()
    msg_start = msg_start[: messages + 1].copy()
    msg_whole = msg_whole[:messages].copy()
    return Tape(
        store.path, store.instrument, store.data_hash, _first_mid(store), n, n - rows, words[:rows], lots[:rows],
        msg_exch, msg_recv, msg_start, msg_whole, (base, n_levels), bool(at.marks),
    )  # fmt: skip


def _first_mid(store: Store) -> float:
    """First valid mid: the price at which the live quoter, too, converts the config's units."""
    walker = Walker(store.book_window())
    start, rows = 0, _FIRST
    while start < len(store):
        part = slice(start, start + rows)
        bid, ask = walker.feed(store.kind[part], store.tick[part], store.lots[part])
        valid = np.flatnonzero((bid > 0) & ((store.flags[part] & LAST) > 0))
        if len(valid):
            return 0.5 * float(bid[valid[0]] + ask[valid[0]]) * float(store.instrument.tick_size)
        start, rows = start + rows, _CHUNK
    raise DataError(f"{store.path}: the book never has two sides; nothing can be simulated on it")


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
        DataError: no store at ``data.source`` or ``data.other``, or one that cannot be listed as ``data.listing`` says.
    """
    path = Path(data.source)
    if data.source == "synth":
        spec = SynthSpec()
        path = synth_path(data, spec)
        if not path.exists():
            write_synth(path, spec, data.seed, data.duration, progress)
    tape = from_store(Store.open(path))
    tape = tape if data.listing is None else listed(tape, data.listing)
    return tape if data.other is None else beside(tape, from_store(Store.open(data.other)))


def beside(tape: Tape, other: Tape) -> Tape:
    """``tape`` with another venue's tape at its side; the two together are the data of a trial."""
    both = hashlib.sha256(f"{tape.data_hash} {other.data_hash}".encode()).hexdigest()
    return replace(tape, other=other, data_hash=both, features={}, clocks={})


def listed(tape: Tape, listing: ListingConfig) -> Tape:
    """The same market in a finer lot and with another smallest order; raises ``DataError`` when the lot is coarser.

    The ticks stay: a book that was recorded on a fine grid says nothing about queues on a coarse one.
    """
    own = tape.instrument
    factor = own.lot_size / listing.lot_size
    if factor != int(factor) or own.kind == "inverse":
        raise DataError(
            f"{tape.path}: sizes in lots of {own.lot_size} cannot be told in lots of {listing.lot_size} "
            f"(data.listing of {listing.venue})"
        )
    lots = tape.lots.astype(np.int64)
    lots[(tape.words >> 28) <= BUY] *= int(factor)  # levels and trades; funding has its rate there
    if len(lots) == 0 or int(lots.max()) <= np.iinfo(np.int32).max:
        lots = lots.astype(np.int32)
    instrument = replace(own, venue=listing.venue, lot_size=listing.lot_size, min_notional=listing.min_notional_usd)
    return replace(tape, instrument=instrument, lots=lots, features={}, clocks={})
