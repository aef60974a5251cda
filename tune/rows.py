"""Durable rows: one JSON line per finished trial, in one file per worker, on the disk before the trial is reported.

A line that a kill cut short is ignored and its trial runs again. Rows are keyed by configuration hash, so a trial that
ran twice counts once.
"""

from __future__ import annotations

import os
import socket
import uuid
from pathlib import Path
from typing import Any, Final

import orjson

OK: Final = "ok"
FAILED: Final = "failed"  # the configuration is invalid or its simulation raised: it would again
LOST: Final = "lost"  # its worker died: a resume tries again

Row = dict[str, Any]


class RowWriter:
    """Appends rows to a file of its own below ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.worker = f"{socket.gethostname()}-{os.getpid()}"
        self._path = folder / f"{self.worker}-{uuid.uuid4().hex[:8]}.jsonl"
        self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)

    def write(self, row: Row) -> None:
        """Write one row and wait until the disk has it."""
        os.write(self._fd, orjson.dumps(row, option=orjson.OPT_SERIALIZE_NUMPY) + b"\n")
        os.fdatasync(self._fd)

    def close(self) -> None:
        os.close(self._fd)


def read_rows(folder: Path) -> list[Row]:
    """Rows in the order of their index, one per configuration hash."""
    best: dict[str, Row] = {}
    for path in sorted(folder.glob("*.jsonl")):
        for line in path.read_bytes().split(b"\n"):
            try:
                row = orjson.loads(line)
            except orjson.JSONDecodeError:  # the line that a kill cut short, or the end of the file
                continue
            old = best.get(row["config_hash"])
            if old is None or old["status"] == LOST:
                best[row["config_hash"]] = row
    return sorted(best.values(), key=lambda row: row["index"])


def write_atomic(path: Path, content: bytes) -> None:
    """Replace a file at once: readers see the old or the new one, never half of it."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_bytes(content)
    part.replace(path)
