"""OHLCV candles from CSV, plain or ``.gz``, with or without a header.

Without a header the columns are those of Binance's files: open time, open, high, low, close, volume, and perhaps
close time and quote volume. Times are epoch numbers (s, ms, µs or ns, told by their size) or ISO texts (UTC unless
they say otherwise) and are taken as the *start* of a candle; a close-time column proves it, without one it is assumed.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final

import numpy as np

from mm.core.types import records
from mm.data.candles import CANDLE, Candles, hash_rows, info, write_candles
from mm.data.importers.binance_symbols import MARKETS, binance_instrument
from mm.data.importers.lines import BadLines, read_blocks
from mm.data.importers.options import Options
from mm.data.importers.times import parse_time
from mm.errors import DataError

NAMES: Final = {
    "ts": ("timestamp", "time", "date", "datetime", "open_time", "opentime", "ts", "timestamp_ms", "open time"),
    "open": ("open", "o"),
    "high": ("high", "h"),
    "low": ("low", "l"),
    "close": ("close", "c"),
    "volume": ("volume", "v", "vol", "base_volume", "amount"),
    "close_time": ("close_time", "closetime", "close time"),
    "quote_volume": ("quote_volume", "quote asset volume", "quote_asset_volume", "turnover", "quotevolume"),
}
_NEEDED: Final = ("ts", "open", "high", "low", "close", "volume")
_BINANCE: Final = (*_NEEDED, "close_time", "quote_volume")
_PRICES: Final = ("open", "high", "low", "close")
_MAX_PLACES: Final = 8  # of an inferred step
_MAX_DIGITS: Final = 18  # before or behind the point
_NEARLY_ALL: Final = 0.995  # share of the values that an inferred step must hold
Row = tuple[int, Decimal, Decimal, Decimal, Decimal, Decimal]


def columns_of(first: Sequence[str]) -> tuple[dict[str, int], bool]:
    """(index of each known column, whether ``first`` is a header). ``DataError`` without the six that are needed."""
    words = [w.strip().strip('"').lower() for w in first]
    try:
        parse_time(words[0])
        header = False
    except ValueError:
        header = True
    if not header:
        found = {name: k for k, name in enumerate(_BINANCE[: len(words)])}
    else:
        found = {name: words.index(w) for name, known in NAMES.items() for w in reversed(known) if w in words}
    missing = [name for name in _NEEDED if name not in found]
    if missing:
        raise DataError(f"no column {missing[0]!r} among {', '.join(words)}")
    return found, header


class _Reader:
    def __init__(self, max_bad: int) -> None:
        self.bad = BadLines(max_bad)
        self.rows: list[Row] = []
        self.starts: set[bool] = set()  # close times that lie after their time: it is the start
        self.ratio: list[float] = []  # quote volume per base volume and price

    def read(self, files: list[Path], progress: Callable[[float], None] | None) -> None:
        columns: dict[str, int] = {}
        file: Path | None = None
        for block in read_blocks(files, self.bad, progress):
            for k, line in enumerate(block.lines):
                text = line.decode("utf-8", "replace").strip("\ufeff\r").replace("\r", " ")
                fields = next(csv.reader([text]), [])
                if not fields:
                    continue
                if block.file != file:
                    file = block.file
                    try:
                        columns, header = columns_of(fields)
                    except DataError as exc:
                        raise DataError(f"{file}: {exc}") from exc
                    if header:
                        continue
                try:
                    self._take(fields, columns)
                except (ValueError, InvalidOperation, IndexError, OverflowError) as exc:
                    self.bad.add(f"{block.file.name}:{block.number + k}", str(exc) or "not a candle")

    def _take(self, fields: list[str], columns: dict[str, int]) -> None:
        ts_ns = parse_time(fields[columns["ts"]])
        o, h, low, c, v = (Decimal(fields[columns[name]].strip().strip('"')) for name in (*_PRICES, "volume"))
        if not all(x.is_finite() for x in (o, h, low, c, v)) or low <= 0 or v < 0:
            raise ValueError("prices must be positive and volume not negative")
        if h.adjusted() > _MAX_DIGITS or v.adjusted() > _MAX_DIGITS or low.adjusted() < -_MAX_DIGITS:
            raise ValueError("a price or volume that no market has")
        if h < max(o, c) or low > min(o, c):
            raise ValueError(f"high {h} and low {low} do not contain open {o} and close {c}")
        self.rows.append((ts_ns, o, h, low, c, v))
        if "close_time" in columns and len(fields) > columns["close_time"]:
            self.starts.add(parse_time(fields[columns["close_time"]]) > ts_ns)
        if v > 0 and "quote_volume" in columns and len(fields) > columns["quote_volume"]:
            self.ratio.append(float(Decimal(fields[columns["quote_volume"]]) / v / ((o + c) / 2)))


def places_of(values: Sequence[Decimal]) -> int:
    """Decimal places that nearly every value has at most (a few odd ones may have more); ``_MAX_PLACES`` at most."""
    places = np.array([_places(v) for v in values])
    return min(int(np.quantile(places, _NEARLY_ALL, method="higher")), _MAX_PLACES)


def step_of(values: Sequence[Decimal]) -> Decimal:
    """Largest decimal step that holds every value of at most ``places_of(values)`` places."""
    places = places_of(values)
    scale = Decimal(10) ** places
    whole = math.gcd(*(int(v * scale) for v in values if _places(v) <= places))
    return Decimal(max(whole, 1)) / scale


def _places(value: Decimal) -> int:
    return max(-int(value.normalize().as_tuple().exponent), 0)


def import_ohlcv(
    files: list[Path], out: Path, options: Options, progress: Callable[[float], None] | None = None
) -> dict[str, Any]:
    """Import candle files, in order, into a candle store at ``out``; returns its quality report.

    A high or low off a given tick grid moves inwards, so that no fill is invented. Raises ``DataError``.
    """
    if options.market not in MARKETS:
        raise DataError(f"unknown market {options.market!r}; known: {', '.join(MARKETS)}")
    reader = _Reader(options.max_bad)
    reader.read(files, progress)
    rows = sorted(reader.rows, key=lambda r: r[0])
    unsorted = rows != reader.rows
    kept = [r for k, r in enumerate(rows) if k == 0 or r[0] != rows[k - 1][0]]
    if len(kept) < 2:
        raise DataError(f"{files[0]}: fewer than two candles")
    tick = options.tick_size or step_of([p for r in kept for p in r[1:5]])
    # sums of floats leave digits that no exchange has: volumes with more places than a lot can have say nothing
    clean = [r[5] for r in kept if _places(r[5]) <= _MAX_PLACES]
    lot = options.lot_size or Decimal(10) ** -places_of(clean or [r[5] for r in kept])
    if max(max(r[2] for r in kept) / tick, max(r[5] for r in kept) / lot) >= 2**62:
        raise DataError(f"{files[0]}: values too large for steps of {tick} and {lot}; give --tick-size and --lot-size")
    symbol = options.symbol or files[0].name.split(".")[0].upper().replace("-", "_")
    instrument = replace(binance_instrument(options.market, symbol, tick, lot), venue="ohlcv")
    packed = records(len(kept), CANDLE)
    off_grid = 0
    for k, (ts_ns, o, h, low, c, v) in enumerate(kept):
        exact = [p / tick for p in (o, h, low, c)]
        ticks = [
            int(x.to_integral_value(mode))
            for x, mode in zip(exact, (ROUND_HALF_EVEN, ROUND_FLOOR, ROUND_CEILING, ROUND_HALF_EVEN), strict=True)
        ]
        off_grid += any(x != t for x, t in zip(exact, ticks, strict=True))
        packed[k] = (ts_ns, ticks[0], max(ticks[1], ticks[0], ticks[3]), min(ticks[2], ticks[0], ticks[3]), ticks[3],
                     instrument.lots_floor(v))  # fmt: skip
    steps = np.diff(packed["ts_ns"])
    sizes, counts = np.unique(steps, return_counts=True)
    step_ns = int(sizes[np.argmax(counts)])
    base_volume = bool(reader.ratio) and abs(float(np.median(reader.ratio)) - 1.0) < 0.02
    candles = Candles(instrument, packed, step_ns, base_volume, hash_rows(packed), ", ".join(f.name for f in files))
    write_candles(
        out,
        candles,
        {
            "first_ts_ns": int(packed["ts_ns"][0]),
            "last_ts_ns": int(packed["ts_ns"][-1]),
            "gaps": int(np.count_nonzero(steps > step_ns)),
            "missing_candles": int(np.sum(np.maximum(steps // step_ns - 1, 0))),
            "uneven_steps": int(np.count_nonzero(steps % step_ns)),
            "duplicates": len(rows) - len(kept),
            "out_of_order": unsorted,
            "zero_volume": int(np.count_nonzero(packed["lots"] == 0)),
            "flat": int(np.count_nonzero(packed["high"] == packed["low"])),
            "open_is_previous_close": float(np.mean(packed["open"][1:] == packed["close"][:-1])),
            "off_grid": off_grid,
            "time_is": "start (proved by close times)" if reader.starts == {True} else "start (assumed)",
            "volume_unit": "base" if base_volume else "unknown",
            "bad_lines": reader.bad.count,
            "first_bad_lines": reader.bad.first,
        },
    )
    return info(out)
