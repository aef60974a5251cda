"""hftbacktest's ``.npz`` (version 2: one array ``data`` of 64-byte events), read in blocks.

Rows: ``ev`` (kind and flags), ``exch_ts``, ``local_ts`` (ns), ``px``, ``qty`` (floats). What happened locally counts
(flag LOCAL), in its order; rows for the exchange's view alone repeat it and are left out, as are best prices (BBO) and
single orders. Rows of the book with the same two times are one message, a trade is always one.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from mm.core.book import window
from mm.core.types import ASK, BID, BUY, CLEAR_ASK, CLEAR_BID, EVENT, LAST, SELL, SNAPSHOT, RecArray, records
from mm.data.importers.decimals import infer_step, numbers
from mm.data.importers.instruments import instrument_of
from mm.data.importers.lines import BadLines
from mm.data.importers.messages import MAX_CLOCK_ERROR_NS
from mm.data.importers.options import Options
from mm.data.importers.times import EARLIEST_NS, LATEST_NS
from mm.data.quality import Checker, ImportReport, report
from mm.data.store import StoreWriter, clear_rows
from mm.errors import DataError

HFT_EVENT: Final = np.dtype(
    [
        ("ev", "u8"), ("exch_ts", "i8"), ("local_ts", "i8"), ("px", "f8"), ("qty", "f8"), ("order_id", "u8"),
        ("ival", "i8"), ("fval", "f8"),
    ]
)  # fmt: skip
LOCAL_EVENT: Final = 1 << 30
BUY_EVENT: Final = 1 << 29
SELL_EVENT: Final = 1 << 28
_DEPTH, _TRADE, _CLEAR, _SNAPSHOT = 1, 2, 3, 4
_ROWS: Final = 1 << 18  # of a block
_SAMPLE: Final = 20_000
_OFF: Final = 1e-4  # of a step: more is off the grid
_INT32_MAX: Final = 2**31 - 1


class _Importer:
    def __init__(self, options: Options, symbol: str) -> None:
        self.options = options
        self.symbol = symbol
        self.bad = BadLines(options.max_bad)
        self.instrument: Any = None
        self.checker: Checker | None = None
        self.last_recv_ns = 0
        self.begun = False
        self.counts = dict.fromkeys(("trades", "snapshots", "rounded_sizes", "out_of_order", "other_messages"), 0)

    def rows(self, data: NDArray[Any], file: str, first: int) -> RecArray:
        """EVENT rows of a block of whole messages; ``first`` is the number of its first row."""
        what = (data["ev"] & np.uint64(0xFF)).astype(np.int64)
        flag = data["ev"].astype(np.int64)
        sides = ((flag & BUY_EVENT) > 0).astype(np.int64) + 2 * ((flag & SELL_EVENT) > 0)
        local = (flag & LOCAL_EVENT) > 0
        known = local & (what >= _DEPTH) & (what <= _SNAPSHOT)
        self.counts["other_messages"] += int((~known).sum())
        recv, exch = data["local_ts"], data["exch_ts"]
        clear = what == _CLEAR
        px, qty = data["px"], data["qty"]
        if self.instrument is None:
            self._find_instrument(px[known & ~clear], qty[known & ~clear])
        tick, lots, price_ok, size_ok = self._to_grid(px, qty)
        whole_clear = clear & (sides == 0)
        reasons = (
            ((recv < EARLIEST_NS) | (recv >= LATEST_NS), "local_ts is not nanoseconds since 1970"),
            (np.abs(recv.astype(np.float64) - exch) > MAX_CLOCK_ERROR_NS, "exch_ts is not within an hour of local_ts"),
            ((sides == 3) | ((sides == 0) & ~clear), "neither buy nor sell"),
            (~price_ok & ~whole_clear, "px is not a price of the tick grid"),
            (~size_ok & ~clear, "qty is not a size"),
            ((what == _TRADE) & (lots == 0), "a trade of size 0"),
        )
        good = known.copy()
        for wrong, why in reasons:
            for k in np.flatnonzero(good & wrong).tolist():
                self.bad.add(f"{file}:{first + k}", why)
            good &= ~wrong
        kept = np.flatnonzero(good)
        return self._write(what[kept], sides[kept], tick[kept], lots[kept], recv[kept], exch[kept])

    def _find_instrument(self, px: NDArray[Any], qty: NDArray[Any]) -> None:
        def step(values: NDArray[Any]) -> Any:
            some = np.unique(values[np.isfinite(values) & (values > 0)][:_SAMPLE])
            _, mantissa, decimals = numbers([format(float(x), ".12g") for x in some])
            return infer_step(mantissa, decimals)

        tick_size, lot_size = self.options.tick_size or step(px), self.options.lot_size or step(qty)
        if tick_size is None or lot_size is None:
            raise DataError(f"{self.symbol}: cannot tell tick and lot size from the data; give both")
        self.instrument = instrument_of("hftbacktest", self.options.kind, self.symbol, tick_size, lot_size)

    def _to_grid(self, px: NDArray[Any], qty: NDArray[Any]) -> tuple[Any, Any, Any, Any]:
        with np.errstate(all="ignore"):
            exact = px / float(self.instrument.tick_size)
            ticks = np.rint(exact)
            price_ok = (np.abs(exact - ticks) < np.maximum(_OFF, 1e-12 * np.abs(exact))) & (ticks > 0) & (ticks < 2**31)
            size = qty / float(self.instrument.lot_size)
            size_ok = (size >= 0) & (size < 2**62)
            size = np.where(size_ok, size, 0.0)
            near = np.abs(size - np.rint(size)) < _OFF
            lots = np.where(near, np.rint(size), np.maximum(np.floor(size), 1.0))
        self.counts["rounded_sizes"] += int((~near).sum())
        return np.where(price_ok, ticks, 0).astype(np.int64), lots.astype(np.int64), price_ok, size_ok

    def _write(self, what: Any, sides: Any, tick: Any, lots: Any, recv: Any, exch: Any) -> RecArray:
        n = len(what)
        if not n:
            return records(0, EVENT)
        kind = np.where(what == _TRADE, np.where(sides == 1, BUY, SELL), np.where(sides == 1, BID, ASK))
        kind = np.where(what == _CLEAR, np.where(sides == 2, CLEAR_ASK, CLEAR_BID), kind)
        whole = (what == _CLEAR) & (sides == 0)
        at = np.repeat(np.arange(n), 1 + whole)  # a clear without a side is both
        second = np.concatenate([[False], at[1:] == at[:-1]])
        out = records(len(at), EVENT)
        monotone = np.maximum.accumulate(np.concatenate([[self.last_recv_ns], recv]))[1:]
        self.counts["out_of_order"] += int((monotone != recv).sum())
        self.last_recv_ns = int(monotone[-1])
        out["ts_recv_ns"], out["ts_exch_ns"] = monotone[at], exch[at]
        out["kind"] = np.where(second, CLEAR_ASK, kind[at])
        out["tick"] = np.where(whole[at], np.where(second, _INT32_MAX, 0), tick[at])
        out["lots"] = np.where((what == _CLEAR)[at], 0, lots[at])
        rebuild = ((what == _SNAPSHOT) | (what == _CLEAR))[at]
        trade = (what == _TRADE)[at]
        same = (recv[at][1:] == recv[at][:-1]) & (exch[at][1:] == exch[at][:-1]) & ~trade[1:] & ~trade[:-1]
        last = np.concatenate([~same, [True]])
        out["flags"] = rebuild * SNAPSHOT + last * LAST
        self.counts["trades"] += int(trade.sum())
        self.counts["snapshots"] += int(np.count_nonzero(rebuild & last))
        book = what[what != _TRADE]
        if len(book) and not self.begun:
            self.begun = True
            if book[0] != _CLEAR:
                mark = clear_rows(int(exch[0]), int(monotone[0]), SNAPSHOT)
                mark["flags"][-1] |= LAST
                out = np.concatenate([mark, out]).view(np.recarray)
        self._check(out)
        return out

    def _check(self, rows: RecArray) -> None:
        if self.checker is None:
            prices = rows["tick"][rows["kind"] <= BUY]
            if not len(prices):
                return
            middle = int(np.median(prices))
            self.checker = Checker(window(middle, middle, 0.1))
        self.checker.feed(rows)


def import_hftbacktest(
    files: list[Path], out: Path, options: Options, progress: Callable[[float], None] | None = None
) -> ImportReport:
    """Import npz files, in order, as one tape; returns its quality report. Raises ``DataError``."""
    importer = _Importer(options, options.symbol or files[0].name.split(".")[0].split("_")[0].upper())
    writer: StoreWriter | None = None
    try:
        for number, path in enumerate(files):
            for block, first, share in _blocks(path):
                rows = importer.rows(block, path.name, first)
                if progress is not None:
                    progress((number + share) / len(files))
                if not len(rows):
                    continue
                if writer is None:
                    writer = StoreWriter(out, importer.instrument, f"hftbacktest: {' '.join(f.name for f in files)}")
                writer.append(rows)
        if writer is None:
            why = f" ({importer.bad.first[0]})" if importer.bad.first else ""
            raise DataError(f"{files[0]}: no local events{why}")
        floor_ns = round(options.base_latency_s * 1e9)
        shift_ns = min(0, writer.min_latency_ns - floor_ns)
        quality = {
            "format": "hftbacktest",
            "market": options.market,
            **importer.counts,
            "bad_lines": importer.bad.count,
            "first_bad_lines": importer.bad.first,
            "crossed": importer.checker.crossed if importer.checker else 0,
            "clock_offset_ns": -shift_ns,
            "base_latency_ns": floor_ns,
        }
        return report(writer.finish(quality, exch_shift_ns=shift_ns))
    finally:
        if writer is not None:
            writer.abort()


def _blocks(path: Path) -> Iterator[tuple[NDArray[Any], int, float]]:
    """(rows that end with a whole message, number of the first from 1, share read); raises ``DataError``."""
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    try:
        with path.open("rb") as raw, _array(raw) as source:
            shape, _, dtype = _header(source)
            if dtype.names is None or any(name not in dtype.names for name in HFT_EVENT.names or ()) or len(shape) != 1:
                raise DataError(f"{path}: an array of {dtype} {shape} is not hftbacktest's events (version 2)")
            rest = np.zeros(0, dtype)
            done = 0
            while done + len(rest) < shape[0]:
                want = min(_ROWS, shape[0] - done - len(rest))
                data = source.read(want * dtype.itemsize)
                if len(data) < want * dtype.itemsize:
                    raise DataError(f"{path}: truncated: {done + len(rest)} of {shape[0]} rows are there")
                rows = np.concatenate([rest, np.frombuffer(data, dtype)])
                end = len(rows)
                if done + end < shape[0]:  # the last message may go on
                    key = rows["local_ts"]
                    while end > 0 and key[end - 1] == key[-1]:
                        end -= 1
                    if not end:
                        rest = rows
                        continue
                yield rows[:end], done + 1, (done + end) / shape[0]
                done += end
                rest = rows[end:]
    except (ValueError, OSError, zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as exc:
        raise DataError(f"{path}: not a readable npz ({exc})") from exc


def _array(raw: IO[bytes]) -> IO[bytes]:
    """The stream of the array: the member ``data`` of an npz, else its only one."""
    archive = zipfile.ZipFile(raw)
    names = archive.namelist()
    if "data.npy" not in names and len(names) != 1:
        raise ValueError(f"no array `data` among {', '.join(names)}")
    return archive.open("data.npy" if "data.npy" in names else names[0])


def _header(source: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    version = npy.read_magic(source)
    if version not in read:
        raise ValueError(f"npy version {version}")
    found: tuple[tuple[int, ...], bool, np.dtype[Any]] = read[version](source)
    return found
