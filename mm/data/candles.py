"""Candle stores: a directory with ``meta.json`` (kind "candles") and one memory-mapped array of CANDLE rows."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from mm.core.instrument import Instrument
from mm.core.types import RecArray
from mm.data.store import META, SCHEMA, move_into_place, replaceable
from mm.errors import DataError

CANDLE = np.dtype(
    [
        ("ts_ns", "i8"),  # start of the candle, UTC
        ("open", "i8"),  # ticks
        ("high", "i8"),
        ("low", "i8"),
        ("close", "i8"),
        ("lots", "i8"),  # volume
    ]
)
KIND: Final = "candles"
_ROWS: Final = "candles.npy"


@dataclass(frozen=True, slots=True)
class Candles:
    """Candles of one instrument in order of time. ``rows``: CANDLE; ``step_ns``: length of a candle.

    ``volume_known``: the volume is in base currency (or contracts), so it can bound what a quote is filled.
    """

    instrument: Instrument
    rows: RecArray
    step_ns: int
    volume_known: bool
    data_hash: str
    source: str = ""

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def span_s(self) -> float:
        return float(self.rows["ts_ns"][-1] - self.rows["ts_ns"][0] + self.step_ns) * 1e-9


def hash_rows(rows: RecArray) -> str:
    """Content hash of CANDLE rows."""
    return hashlib.sha256(np.ascontiguousarray(rows).tobytes()).hexdigest()


def write_candles(path: Path, candles: Candles, quality: dict[str, Any]) -> None:
    """Write a candle store at ``path``; an existing store is replaced, anything else is refused (``DataError``)."""
    if path.exists() and not replaceable(path):
        raise DataError(f"{path} exists and is not a store: refusing to overwrite it")
    temp = path.parent / f".{path.name}.{os.getpid()}.partial"
    try:
        shutil.rmtree(temp, ignore_errors=True)
        temp.mkdir(parents=True)
        np.save(temp / _ROWS, np.asarray(candles.rows), allow_pickle=False)
        meta = {
            "schema": SCHEMA,
            "kind": KIND,
            "candles": len(candles),
            "step_ns": candles.step_ns,
            "volume_known": candles.volume_known,
            "instrument": candles.instrument.to_dict(),
            "source": candles.source,
            "data_hash": candles.data_hash,
            "quality": quality,
        }
        (temp / META).write_text(json.dumps(meta, indent=1) + "\n")
        move_into_place(temp, path)
    except OSError as exc:
        shutil.rmtree(temp, ignore_errors=True)
        raise DataError(f"{path}: cannot write here: {exc}") from exc


def read_meta(path: Path) -> dict[str, Any] | None:
    """The meta file of a candle store, None when there is none at ``path`` (perhaps a store of another kind)."""
    try:
        meta = json.loads((path / META).read_text())
    except (OSError, ValueError):
        return None
    return meta if isinstance(meta, dict) and meta.get("kind") == KIND else None


def open_candles(path: str | os.PathLike[str]) -> Candles:
    """Open a candle store, memory-mapped; ``DataError`` says what is missing or damaged."""
    path = Path(path)
    meta = read_meta(path)
    if meta is None:
        raise DataError(f"{path}: not a candle store; make one with `data import --format ohlcv`")
    try:
        rows = np.load(path / _ROWS, mmap_mode="r", allow_pickle=False)
        candles = Candles(
            Instrument.from_dict(meta["instrument"]), rows.view(np.recarray), int(meta["step_ns"]),
            bool(meta["volume_known"]), str(meta["data_hash"]), str(meta["source"]),
        )  # fmt: skip
        promised = (meta["schema"], int(meta["candles"]))
    except (OSError, ValueError, KeyError, AttributeError) as exc:
        raise DataError(f"{path}: damaged candle store ({exc}); import the data again") from exc
    if rows.dtype != CANDLE or promised != (SCHEMA, len(rows)) or len(rows) == 0:
        raise DataError(f"{path}: the rows are not those that its meta file describes; import the data again")
    return candles


def info(path: Path) -> dict[str, Any]:
    """The import report of a candle store."""
    candles = open_candles(path)
    meta = read_meta(path) or {}
    return {
        "kind": KIND,
        "candles": len(candles),
        "step_s": candles.step_ns * 1e-9,
        "span_s": candles.span_s,
        "path": str(path),
        "source": candles.source,
        "instrument": candles.instrument.to_dict(),
        "data_hash": candles.data_hash,
    } | dict(meta.get("quality", {}))
