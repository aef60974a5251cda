"""What a run leaves on disk while it trades: raw frames, decisions. Buffered, flushed about once a second."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

RAW_HEADER: Final = struct.Struct("<qI")  # ts_recv_ns, length

DECISION: Final = np.dtype(
    [
        ("now_ns", "i8"),
        ("instrument", "i8"),
        ("frames", "i8"),  # messages of the feed taken before this decision, in all
        ("events", "i8"),  # their events
        ("execs", "i8"),  # execution reports taken before it
        ("stale", "i8"),
        ("bid_tick", "i8"),
        ("ask_tick", "i8"),
        ("bid_lots", "i8"),
        ("ask_lots", "i8"),
        ("reason", "i8"),
        ("commands", "i8"),
        ("mid", "f8"),  # ticks
        ("pos_lots", "i8"),
    ]
)


class AppendFile:
    """Bytes appended to a file, collected in memory until ``flush``."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._parts: list[bytes] = []
        self.bytes = 0

    def add(self, *parts: bytes) -> None:
        self._parts += parts

    def flush(self) -> None:
        """Hand what was collected to the operating system."""
        if not self._parts:
            return
        data = b"".join(self._parts)
        self._parts = []
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]
        self.bytes += len(data)

    def close(self) -> None:
        self.flush()
        os.close(self._fd)


class RawRecorder(AppendFile):
    """Raw frames, each behind its time of receipt and length."""

    def frame(self, raw: bytes, ts_recv_ns: int) -> None:
        self.add(RAW_HEADER.pack(ts_recv_ns, len(raw)), raw)


def read_raw(path: str | os.PathLike[str]) -> Iterator[tuple[int, bytes]]:
    """(ts_recv_ns, frame) in order; a frame cut off by a crash is left out."""
    data = Path(path).read_bytes()
    at = 0
    while at + RAW_HEADER.size <= len(data):
        ts, size = RAW_HEADER.unpack_from(data, at)
        at += RAW_HEADER.size
        if at + size > len(data):
            return
        yield ts, data[at : at + size]
        at += size


def read_decisions(path: str | os.PathLike[str]) -> NDArray[Any]:
    """DECISION records; a torn last one is left out. A missing file has none."""
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        return np.zeros(0, DECISION)
    whole = len(data) // DECISION.itemsize * DECISION.itemsize
    return np.frombuffer(data[:whole], DECISION)
