"""Which format a file has, by its content."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any, Final

import orjson

from mm.data.importers.lines import head
from mm.data.importers.ohlcv import columns_of
from mm.errors import DataError

_HEADERS: Final = {  # columns that only this kind of file has
    "tardis-book": "exchange,symbol,timestamp,local_timestamp,is_snapshot,side,price,amount",
    "tardis-trades": "exchange,symbol,timestamp,local_timestamp,id,side,price,amount",
    "tardis-snapshots": "exchange,symbol,timestamp,local_timestamp,asks[0].price",
    "bybit-trades": "timestamp,symbol,side,size,price",
}
_SPOT_TRADES: Final = {"timestamp", "price", "volume", "side"}


def kind_of(path: Path) -> str:
    """The kind of a file, of which a format has one or several; raises ``DataError`` when it is none that we know."""
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    if _has_arrays(path):
        return "hftbacktest"
    lines = head(path, 20)
    for line in lines:
        kind = _of_line(line)
        if kind:
            return kind
    shown = lines[0][:80].decode("utf-8", "replace") if lines else ""
    raise DataError(f"{path}: begins {shown!r}, which is no format that we know; give --format")


def _has_arrays(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith(".npy") for name in archive.namelist())


def _of_line(line: bytes) -> str:
    text = line.decode("utf-8", "replace").strip("\ufeff\r ")
    stamp, space, rest = text.partition(" ")
    if text.startswith("{") or (space and stamp.isdigit() and rest.startswith("{")):
        try:
            return _of_json(orjson.loads(text if text.startswith("{") else rest), collected=not text.startswith("{"))
        except (orjson.JSONDecodeError, AttributeError, TypeError):
            return ""
    for kind, begin in _HEADERS.items():
        if text.startswith(begin):
            return kind
    cells = text.split(",")
    if set(cells) >= _SPOT_TRADES:
        return "bybit-trades"
    try:
        columns_of(cells)
    except DataError:
        return ""
    return "ohlcv" if len(cells) >= 6 else ""


def _of_json(message: Any, *, collected: bool) -> str:
    if str(message.get("topic", "")).startswith("orderbook."):
        return "bybit-book"
    inner = message.get("raw", message)
    if inner.get("channel") in ("l2Book", "trades"):
        return "hyperliquid"
    return "binance-collector" if collected and ("stream" in message or "lastUpdateId" in message) else ""
