"""Raw files to stores. A new format is one file and one line in ``IMPORTERS``, or in ``_STREAMS`` and ``_FORMATS``."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Final

from mm.data.importers import bybit, hyperliquid, tardis
from mm.data.importers.binance import import_binance
from mm.data.importers.detect import kind_of
from mm.data.importers.hftbacktest import import_hftbacktest
from mm.data.importers.lines import BadLines
from mm.data.importers.messages import Reading, Stream, import_messages
from mm.data.importers.ohlcv import import_ohlcv
from mm.data.importers.options import MAX_BAD, Options
from mm.data.quality import ImportReport
from mm.errors import DataError

Importer = Callable[[list[Path], Path, Options, Callable[[float], None] | None], ImportReport]
AUTO: Final = "auto"

# Kinds of files that are read as messages; a format whose files are of several kinds merges them by time.
_STREAMS: Final[dict[str, Stream]] = {
    "bybit-book": bybit.book,
    "bybit-trades": bybit.trades,
    "hyperliquid": hyperliquid.messages,
    "tardis-book": tardis.book,
    "tardis-snapshots": tardis.snapshots,
    "tardis-trades": tardis.trades,
}
_FORMATS: Final = {kind: kind.partition("-")[0] for kind in _STREAMS}
_BINANCE: Final = {"linear": "usdm", "inverse": "cm"}
_VENUES: Final = {"bybit": "bybit", "hyperliquid": "hyperliquid", "tardis": ""}  # "": the file says it


def _messages(
    files: list[Path], out: Path, options: Options, progress: Callable[[float], None] | None = None
) -> ImportReport:
    """Files of message archives, the kind of each by its content."""
    by_kind: dict[str, list[Path]] = {}
    for path in files:
        by_kind.setdefault(kind_of(path), []).append(path)
    forms = {_FORMATS.get(kind, kind) for kind in by_kind}
    if len(forms) > 1 or not forms <= set(_VENUES):
        raise DataError(f"files of different formats: {', '.join(f'{k} {v[0].name}' for k, v in by_kind.items())}")
    form = forms.pop()
    if {"tardis-book", "tardis-snapshots"} <= set(by_kind):
        raise DataError("incremental_book_L2 and book_snapshot files are the same book twice; give one of them")
    options.kind  # noqa: B018  an unknown market is refused before anything is read
    reading = Reading(options, BadLines(options.max_bad), _VENUES[form], options.symbol)
    return import_messages(form, [(_STREAMS[kind], paths) for kind, paths in by_kind.items()], out, reading, progress)


IMPORTERS: Final[dict[str, Importer]] = {
    "binance-collector": import_binance,
    "bybit": _messages,
    "hyperliquid": _messages,
    "tardis": _messages,
    "hftbacktest": import_hftbacktest,
    "ohlcv": import_ohlcv,
}


def import_files(
    format: str,  # noqa: A002  the name of the command line's option
    market: str,
    files: list[Path],
    out: Path,
    *,
    symbol: str | None = None,
    tick_size: Decimal | None = None,
    lot_size: Decimal | None = None,
    base_latency_s: float = 0.001,
    max_bad: int = MAX_BAD,
    progress: Callable[[float], None] | None = None,
) -> ImportReport:
    """Import ``files``, in order, into a store at ``out``; returns its report. Raises ``DataError``.

    ``format`` ``auto`` looks at what is in the first file.
    """
    if format == AUTO:
        if not files:
            raise DataError("no files to import")
        kind = kind_of(files[0])
        format = _FORMATS.get(kind, kind)  # noqa: A001
    if format not in IMPORTERS:
        raise DataError(f"unknown format {format!r}; known: {AUTO}, {', '.join(IMPORTERS)}")
    if format in ("ohlcv", "binance-collector"):
        market = _BINANCE.get(market, market)
    options = Options(
        market=market, symbol=symbol, tick_size=tick_size, lot_size=lot_size, base_latency_s=base_latency_s,
        max_bad=max_bad,
    )  # fmt: skip
    return IMPORTERS[format](files, out, options, progress)
