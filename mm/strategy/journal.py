"""The executor's journal: what it meant to send, before it sent it, and everything the venue said.

One record per line: eight hex digits of CRC-32, a space, a JSON object. Policy: every record is handed to the operating
system before ``append`` returns (one ``write`` on an ``O_APPEND`` descriptor, no buffer of ours), so it survives
``kill -9`` of the process; ``sync`` (fsync) is the caller's, about once a second, so a power cut can lose the last
second, which the venue's own history gives back. A last line without its end is the
mark of a crash and is dropped when read.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from mm.errors import DataError

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


def frame(record: dict[str, Any]) -> bytes:
    """One line of the journal."""
    body = _encode(record)
    return b"%08x %s\n" % (zlib.crc32(body), body)


class Journal:
    """Appends records. A torn tail of an earlier process is cut off before the first append."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        _cut_torn_tail(self.path)
        self._fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.records = 0
        self._dirty = False

    def append(self, record: dict[str, Any]) -> None:
        """Hand one record to the operating system; raises ``OSError`` when that fails (then nothing may be sent)."""
        self.append_all((record,))

    def append_all(self, records: Iterable[dict[str, Any]]) -> None:
        """Several records with one write."""
        lines = [frame(r) for r in records]
        data = b"".join(lines)
        written = os.write(self._fd, data)
        if written != len(data):  # a full disk takes part of a write: what follows must not stick to the torn record
            os.ftruncate(self._fd, os.fstat(self._fd).st_size - written)
            raise OSError(f"{self.path}: only {written} of {len(data)} bytes were written")
        self.records += len(lines)
        self._dirty = True

    def sync(self) -> None:
        """Wait until the disk has everything; cheap when nothing is new."""
        if self._dirty:
            self._dirty = False
            os.fsync(self._fd)

    def close(self) -> None:
        if self._fd >= 0:
            self.sync()
            os.close(self._fd)
            self._fd = -1


def read_journal(path: str | os.PathLike[str]) -> Iterator[dict[str, Any]]:
    """Records in order; a missing file has none, a torn last line is dropped.

    Raises:
        DataError: a damaged record, with its line number.
    """
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        return
    *lines, _torn = data.split(b"\n")
    for number, line in enumerate(lines, start=1):
        record = _parse(line)
        if record is None:
            raise DataError(f"{path}:{number}: damaged journal record")
        yield record


def _parse(line: bytes) -> dict[str, Any] | None:
    crc, space, body = line[:8], line[8:9], line[9:]
    try:
        if space != b" " or int(crc, 16) != zlib.crc32(body):
            return None
        record = _decode(body)
    except (ValueError, msgspec.DecodeError):
        return None
    return record if isinstance(record, dict) else None


def _cut_torn_tail(path: Path) -> None:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return
    whole = data.rfind(b"\n") + 1
    if whole != len(data):
        with path.open("r+b") as file:
            file.truncate(whole)
