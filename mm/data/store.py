"""One store = one instrument on one venue: a directory with ``meta.json`` and one ``.npy`` file per event column.

Columns are those of ``mm.core.types.EVENT`` without ``instrument``; they are memory-mapped on open, so many processes
share one copy in the page cache. What every store promises:

* rows are sorted by ``ts_recv_ns`` and ``ts_exch_ns <= ts_recv_ns`` (importers correct the clock, see their docs);
* the last row of each exchange message carries flag ``LAST``;
* a book is (re)built by ``CLEAR_BID``/``CLEAR_ASK`` followed by level rows, all flagged ``SNAPSHOT``.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import shutil
from pathlib import Path
from typing import IO, Any, Final, Self

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from mm.core.book import window
from mm.core.instrument import Instrument
from mm.core.types import ASK, BUY, CLEAR_ASK, CLEAR_BID, EVENT, LAST, SELL, RecArray, records
from mm.data.touch import Walker
from mm.errors import DataError, RaymakerError

DISK_RESERVE: Final = 2_000_000_000  # bytes that no import takes
SCHEMA: Final = 1
META: Final = "meta.json"
COLUMNS: Final = {name: EVENT[name] for name in ("ts_exch_ns", "ts_recv_ns", "kind", "flags", "tick", "lots")}
_RANGES: Final = ("low_tick", "high_tick", "first_ts_ns", "last_ts_ns")
_KEYS: Final = ("events", "instrument", "source", "quality", *_RANGES, "data_hash")
_NOWHERE: Final = (1 << 62, -(1 << 62))  # the empty range (lowest, highest)
_BLOCK: Final = 1 << 20  # rows per step when a whole store is walked

Column = NDArray[Any]  # one column: shape (n,), the dtype of COLUMNS


class Store:
    """An opened store, read-only. Every column is a memory map of shape (n,)."""

    def __init__(self, path: Path, meta: dict[str, Any], columns: dict[str, Any]) -> None:
        self.path = path
        self.meta = meta
        self.instrument = Instrument.from_dict(meta["instrument"])
        self.data_hash: str = meta["data_hash"]
        self.low_tick: int = meta["low_tick"]  # lowest best bid
        self.high_tick: int = meta["high_tick"]  # highest best ask
        self.columns = columns
        self.ts_exch_ns: NDArray[np.int64] = columns["ts_exch_ns"]
        self.ts_recv_ns: NDArray[np.int64] = columns["ts_recv_ns"]
        self.kind: NDArray[np.uint8] = columns["kind"]
        self.flags: NDArray[np.uint8] = columns["flags"]
        self.tick: NDArray[np.int32] = columns["tick"]
        self.lots: NDArray[np.int64] = columns["lots"]

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Store:
        """Open the store at ``path``; raises ``DataError`` that says what is missing, foreign or damaged."""
        path = Path(path)
        meta = _read_meta(path)
        columns = {}
        for name, dtype in COLUMNS.items():
            file = path / f"{name}.npy"
            try:
                column = np.load(file, mmap_mode="r", allow_pickle=False)
            except (OSError, ValueError) as exc:
                raise DataError(f"{file}: column is missing or truncated ({exc}); import the data again") from exc
            if column.dtype != dtype or column.shape != (meta["events"],):
                raise DataError(
                    f"{file}: expected {meta['events']} values of {dtype}, found {column.shape} of {column.dtype}"
                )
            columns[name] = column
        return cls(path, meta, columns)

    def __len__(self) -> int:
        return len(self.tick)

    def __repr__(self) -> str:
        return f"Store({str(self.path)!r}, {self.instrument.symbol}, {len(self)} events, {self.data_hash[:12]})"

    @property
    def span_s(self) -> float:
        """Seconds between the first and the last row, by receive time."""
        return float(self.meta["last_ts_ns"] - self.meta["first_ts_ns"]) * 1e-9

    def book_window(self, margin: float = 0.02) -> tuple[int, int]:
        """(base_tick, n) for ``mm.core.book.new_book``: every best price of the store fits with ``margin`` to spare."""
        return window(self.low_tick, self.high_tick, margin)

    def forget(self) -> None:
        """Give the columns' pages back to the system, which reads them again when they are needed."""
        for column in self.columns.values():
            mapped = getattr(column, "_mmap", None)
            if mapped is not None:
                mapped.madvise(mmap.MADV_DONTNEED)

    def events(self, start: int = 0, stop: int | None = None) -> RecArray:
        """Rows ``start:stop`` copied to one EVENT array (``instrument`` 0)."""
        rows = slice(*slice(start, stop).indices(len(self)))
        out = records(max(0, rows.stop - rows.start), EVENT)
        for name, column in self.columns.items():
            out[name] = column[rows]
        return out


class StoreWriter:
    """Streams EVENT chunks to a new store in O(chunk) memory; nothing is visible at ``path`` before ``finish``.

    The store is written beside ``path`` and renamed into place. An existing store is replaced; any other existing
    file or non-empty directory is refused. As a context manager it removes what it wrote when the block fails.
    """

    def __init__(self, path: str | os.PathLike[str], instrument: Instrument, source: str) -> None:
        self.path = Path(path)
        if self.path.exists() and not replaceable(self.path):
            raise DataError(f"{self.path} exists and is not a store: refusing to overwrite it")
        self.instrument = instrument
        self.source = source
        self.min_latency_ns = _NOWHERE[0]  # smallest ts_recv_ns - ts_exch_ns so far; negative when clocks disagree
        self._n = 0
        self._last_recv_ns = _NOWHERE[1]
        self._first_recv_ns = 0
        self._low, self._high = _NOWHERE  # range of the trades: where the price is
        self._low_level, self._high_level = _NOWHERE  # the same guessed from level rows, for a store without trades
        self._temp = self.path.parent / f".{self.path.name}.{os.getpid()}.partial"
        shutil.rmtree(self._temp, ignore_errors=True)
        try:
            self._temp.mkdir(parents=True)
        except OSError as exc:
            raise DataError(f"{self.path}: cannot write here: {exc}") from exc
        self._files: dict[str, IO[bytes]] = {}
        self._hashes = {name: hashlib.sha256() for name in COLUMNS}
        for name, dtype in COLUMNS.items():
            self._files[name] = (self._temp / f"{name}.npy").open("wb")
            _write_header(self._files[name], dtype, 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.abort()

    def abort(self) -> None:
        """Drop what was written; harmless after ``finish``."""
        for file in self._files.values():
            file.close()
        shutil.rmtree(self._temp, ignore_errors=True)

    def append(self, events: RecArray) -> None:
        """Add rows (EVENT array, any length); raises ``DataError`` when they break the promises of a store."""
        n = len(events)
        if n == 0:
            return
        recv = np.ascontiguousarray(events["ts_recv_ns"])
        if recv[0] < self._last_recv_ns or np.any(recv[1:] < recv[:-1]):
            raise DataError(f"{self.path}: events must be sorted by ts_recv_ns (near row {self._n})")
        self.min_latency_ns = min(self.min_latency_ns, int((recv - events["ts_exch_ns"]).min()))
        if self._n == 0:
            self._first_recv_ns = int(recv[0])
        self._last_recv_ns = int(recv[-1])
        self._see_prices(events["kind"], events["tick"])
        try:
            for name, dtype in COLUMNS.items():
                column = np.ascontiguousarray(events[name], dtype)
                self._hashes[name].update(column.data)
                self._files[name].write(column.data)
        except OSError as exc:  # a full disk
            self.abort()
            raise DataError(f"{self.path}: cannot write after {self._n} events: {exc.strerror or exc}") from exc
        self._n += n

    def make_room(self, rows: float) -> None:
        """Refuse before the disk is full: raises ``DataError`` when about so many rows will not fit beside a reserve.

        A full disk stops everybody on the machine, a desk that journals its orders first.
        """
        wanted = rows * sum(dtype.itemsize for dtype in COLUMNS.values())
        free = shutil.disk_usage(self._temp).free
        if wanted > free - DISK_RESERVE:
            self.abort()
            raise DataError(
                f"{self.path}: about {rows:.2g} events need {wanted / 1e9:,.1f} GB, {free / 1e9:,.1f} GB are free (of "
                f"which {DISK_RESERVE / 1e9:g} stay so); take a shorter span, or another disk"
            )

    def finish(self, quality: dict[str, Any] | None = None, exch_shift_ns: int = 0) -> Store:
        """Complete the store and open it; ``quality`` (JSON-able) is kept in ``meta.json``.

        ``exch_shift_ns`` is added to every ``ts_exch_ns``: the one correction that is known only at the end. Raises
        ``DataError`` when an event would still leave the exchange after it was received.
        """
        if self._n == 0:
            self.abort()
            raise DataError(f"{self.path}: no events to store")
        if self.min_latency_ns < exch_shift_ns:
            self.abort()
            early_ns = exch_shift_ns - self.min_latency_ns
            raise DataError(f"{self.path}: an event left the exchange {early_ns} ns after it was received")
        for name, file in self._files.items():
            file.seek(0)
            _write_header(file, COLUMNS[name], self._n)
            file.close()
        if exch_shift_ns:
            self._shift_exchange_clock(exch_shift_ns)
        low, high = self._touch_range()
        meta = {
            "schema": SCHEMA,
            "events": self._n,
            "instrument": self.instrument.to_dict(),
            "source": self.source,
            "low_tick": low,
            "high_tick": high,
            "first_ts_ns": self._first_recv_ns,
            "last_ts_ns": self._last_recv_ns,
            "data_hash": _combine(self._hashes),
            "quality": quality or {},
        }
        (self._temp / META).write_text(json.dumps(meta, indent=1) + "\n")
        move_into_place(self._temp, self.path)
        return Store.open(self.path)

    def _shift_exchange_clock(self, shift_ns: int) -> None:
        column = np.load(self._temp / "ts_exch_ns.npy", mmap_mode="r+")
        digest = hashlib.sha256()
        for at in range(0, self._n, _BLOCK):
            column[at : at + _BLOCK] += shift_ns
            digest.update(np.ascontiguousarray(column[at : at + _BLOCK]).data)
        column.flush()
        self._hashes["ts_exch_ns"] = digest

    def _see_prices(self, kind: Column, tick: Column) -> None:
        trades = tick[(kind == SELL) | (kind == BUY)]
        if len(trades):
            self._low = min(self._low, int(trades.min()))
            self._high = max(self._high, int(trades.max()))
        levels = tick[kind <= ASK]
        if len(levels):  # the median, because books hold levels at absurd prices
            middle = int(np.median(levels))
            self._low_level = min(self._low_level, middle)
            self._high_level = max(self._high_level, middle)

    def _touch_range(self) -> tuple[int, int]:
        """(lowest best bid, highest best ask) after any message, by one pass over the written rows."""
        low, high = self._low, self._high
        if low > high:
            low, high = self._low_level, self._high_level
        if low > high:
            raise DataError(f"{self.path}: no trade and no level among {self._n} events")
        walker = Walker(window(low, high, 0.1))
        lowest, highest = _NOWHERE
        kind, flags, tick, lots = (
            np.load(self._temp / f"{name}.npy", mmap_mode="r") for name in ("kind", "flags", "tick", "lots")
        )
        for at in range(0, self._n, _BLOCK):
            part = slice(at, at + _BLOCK)
            best_bid, best_ask = walker.feed(kind[part], tick[part], lots[part])
            shown = (best_bid > 0) & ((flags[part] & LAST) > 0)
            if shown.any():
                lowest = min(lowest, int(best_bid[shown].min()))
                highest = max(highest, int(best_ask[shown].max()))
        return (lowest, highest) if lowest <= highest else (low, high)


def clear_rows(ts_exch_ns: int, ts_recv_ns: int, flags: int) -> RecArray:
    """The two rows that void a whole book (EVENT array of length 2)."""
    out = records(2, EVENT)
    out["ts_exch_ns"], out["ts_recv_ns"], out["flags"] = ts_exch_ns, ts_recv_ns, flags
    out["kind"] = CLEAR_BID, CLEAR_ASK
    out["tick"] = 0, np.iinfo(np.int32).max
    return out


def _write_header(file: IO[bytes], dtype: np.dtype[Any], n: int) -> None:
    """Same length for every ``n`` (numpy pads the growing axis), so that it can be rewritten in place."""
    npy.write_array_header_1_0(file, {"descr": npy.dtype_to_descr(dtype), "fortran_order": False, "shape": (n,)})


def _combine(hashes: dict[str, Any]) -> str:
    digest = hashlib.sha256()
    for name, column in hashes.items():
        digest.update(f"{name}:{column.hexdigest()};".encode())
    return digest.hexdigest()


def _read_meta(path: Path) -> dict[str, Any]:
    if not path.exists():
        raise DataError(f"{path}: no such store; make one with `data import` or `data synth`")
    file = path / META
    if not file.is_file():
        raise DataError(f"{path}: not a store (no {META})")
    try:
        meta = json.loads(file.read_text())
    except (OSError, ValueError) as exc:
        raise DataError(f"{file}: unreadable ({exc})") from exc
    if not isinstance(meta, dict) or "schema" not in meta:
        raise DataError(f"{file}: not the meta file of a store (no schema version)")
    if meta["schema"] != SCHEMA:
        raise DataError(f"{file}: schema version {meta['schema']}, this program reads {SCHEMA}; import the data again")
    missing = [key for key in _KEYS if key not in meta]
    if missing:
        raise DataError(f"{file}: key {missing[0]!r} is missing")
    try:
        Instrument.from_dict(meta["instrument"])
    except (RaymakerError, AttributeError) as exc:
        raise DataError(f"{file}: {exc}") from exc
    return meta


def replaceable(path: Path) -> bool:
    """A store may be written at ``path``: a store is there already, or nothing."""
    if not path.is_dir():
        return False
    if not any(path.iterdir()):
        return True
    try:
        meta = json.loads((path / META).read_text())
    except (OSError, ValueError):
        return False
    return isinstance(meta, dict) and "schema" in meta


def move_into_place(new: Path, path: Path) -> None:
    """Replace ``path`` by ``new``: a reader finds the old store or the new one, never a mixture."""
    old = new.with_suffix(".old")
    if path.exists():
        path.rename(old)
    new.rename(path)
    shutil.rmtree(old, ignore_errors=True)
