"""Raw files to stores. A new format is one file and one line in ``IMPORTERS``."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Final

from mm.data.importers.binance import Options, import_binance
from mm.data.importers.ohlcv import import_ohlcv
from mm.data.quality import ImportReport
from mm.errors import DataError

Importer = Callable[[list[Path], Path, Options, Callable[[float], None] | None], ImportReport]

IMPORTERS: Final[dict[str, Importer]] = {
    "binance-collector": import_binance,
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
    progress: Callable[[float], None] | None = None,
) -> ImportReport:
    """Import ``files``, in order, into a store at ``out``; returns its report. Raises ``DataError``."""
    if format not in IMPORTERS:
        raise DataError(f"unknown format {format!r}; known: {', '.join(IMPORTERS)}")
    options = Options(
        market=market, symbol=symbol, tick_size=tick_size, lot_size=lot_size, base_latency_s=base_latency_s
    )
    return IMPORTERS[format](files, out, options, progress)
