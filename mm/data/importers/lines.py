"""Lines of recorded files, plain or compressed, in blocks: O(block) memory, and a damaged tail costs only itself.

Read by content, whatever the name: gzip, zip (its members in order of name), LZ4 and Zstandard frames; the
rows of a Parquet file as CSV.
"""

from __future__ import annotations

import gzip
import io
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

from mm.data.importers.options import MAX_BAD
from mm.errors import DataError

BLOCK: Final = 4 << 20  # bytes of text per block, roughly
SHOWN: Final = 10  # bad lines kept for the report


@dataclass(slots=True)
class BadLines:
    """How many lines could not be used, and the first few with file, number and reason."""

    limit: int = MAX_BAD
    count: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, where: str, why: str) -> None:
        """Count one more; raises ``DataError`` above the limit."""
        self.count += 1
        if len(self.first) < SHOWN:
            self.first.append(f"{where}: {why}")
        if self.count > self.limit:
            raise DataError(f"more than {self.limit:,} bad lines, the first: {self.first[0]}; --max-bad sets the limit")


@dataclass(slots=True)
class Block:
    """Complete lines without their ends; ``lines[0]`` is line ``number`` (from 1) of ``file``."""

    file: Path
    number: int
    lines: list[bytes]


@dataclass(slots=True)
class Backlog:
    """Blocks read and not yet used up; lines keep their file and number."""

    parts: list[Block] = field(default_factory=list)

    def lines(self) -> list[bytes]:
        """All lines, oldest first."""
        return [line for part in self.parts for line in part.lines] if len(self.parts) != 1 else self.parts[0].lines

    def where(self, index: int) -> str:
        """``file:line`` of one of the lines."""
        for part in self.parts:
            if index < len(part.lines):
                return f"{part.file.name}:{part.number + index}"
            index -= len(part.lines)
        raise IndexError(index)

    def drop(self, count: int) -> None:
        """The first ``count`` lines are used up."""
        while self.parts and count >= len(self.parts[0].lines):
            count -= len(self.parts.pop(0).lines)
        if count:
            first = self.parts[0]
            self.parts[0] = Block(first.file, first.number + count, first.lines[count:])


def read_blocks(files: list[Path], bad: BadLines, progress: Callable[[float], None] | None = None) -> Iterator[Block]:
    """Blocks of the files in order. Raises ``DataError`` for a file that is missing, empty or not what it claims."""
    for path in files:
        if not path.is_file():
            raise DataError(f"{path}: no such file")
    total = sum(path.stat().st_size for path in files)
    done = 0
    for path in files:
        if path.stat().st_size == 0:
            raise DataError(f"{path}: the file is empty")
        with path.open("rb") as raw:
            number = 1
            for lines in _line_blocks(path, raw, bad):
                yield Block(path, number, lines)
                number += len(lines)
                if progress:
                    progress((done + raw.tell()) / total)
        done += path.stat().st_size


def _line_blocks(path: Path, raw: BinaryIO, bad: BadLines) -> Iterator[list[bytes]]:
    for source in _sources(path, raw):
        yield from _lines_of(source, path, bad)


_ZIP: Final = b"PK\x03\x04"
_PARQUET: Final = b"PAR1"
_FRAMES: Final = {b"\x04\x22\x4d\x18": "lz4", b"\x28\xb5\x2f\xfd": "zstd"}


def _sources(path: Path, raw: BinaryIO) -> Iterator[Any]:
    """The uncompressed streams in a file."""
    magic = raw.read(4)
    raw.seek(0)
    if magic[:2] == b"\x1f\x8b":
        yield gzip.GzipFile(fileobj=raw)
    elif magic == _ZIP:
        try:
            with zipfile.ZipFile(raw) as archive:
                for name in sorted(archive.namelist()):
                    if not name.endswith("/"):
                        with archive.open(name) as member:
                            yield member
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as exc:
            raise DataError(f"{path}: damaged or protected zip ({exc})") from exc
    elif magic in _FRAMES:
        import pyarrow as pa

        yield pa.CompressedInputStream(raw, _FRAMES[magic])
    elif magic == _PARQUET:
        yield from _tables(path, raw)
    else:
        yield raw


def _tables(path: Path, raw: BinaryIO) -> Iterator[BinaryIO]:
    """The rows of a Parquet file as CSV, the header with the first."""
    import pyarrow as pa
    from pyarrow import csv, parquet

    try:
        for k, batch in enumerate(parquet.ParquetFile(raw).iter_batches()):
            text = io.BytesIO()
            csv.write_csv(pa.Table.from_batches([batch]), text, csv.WriteOptions(include_header=k == 0))
            text.seek(0)
            yield text
    except pa.ArrowException as exc:
        raise DataError(f"{path}: damaged Parquet file ({exc})") from exc


def _lines_of(source: Any, path: Path, bad: BadLines) -> Iterator[list[bytes]]:
    read: Callable[[int], bytes] = getattr(source, "read1", source.read)
    parts: list[bytes] = []
    size = 0
    while True:
        try:
            piece = read(1 << 20)
        except (EOFError, zlib.error, zipfile.BadZipFile, OSError) as exc:
            bad.add(path.name, f"the compressed file is damaged here, the rest is lost ({exc})")
            piece = b""
        parts.append(piece)
        size += len(piece)
        if piece and size < BLOCK:
            continue
        text = b"".join(parts)
        if piece:
            text, _, rest = text.rpartition(b"\n")
            parts, size = [rest], len(rest)
            if text:
                yield text.split(b"\n")
            continue
        if text.strip():
            yield text.rstrip(b"\n").split(b"\n")
        return


def refuse_disorder(begun: list[Block], block: Block, first_ns: Callable[[Block], int]) -> None:
    """Files given backwards or twice would lose most rows as stale; ``begun`` holds the files' first blocks so far.

    ``first_ns``: time of the first line of a block that has one, 0 without. Raises ``DataError``.
    """
    if block.number != 1:
        return
    if begun and (first := first_ns(block)) and (before := first_ns(begun[-1])) and first <= before:
        ago = f"{(before - first) * 1e-9:.3g} s before" if first < before else "at the same time as"
        raise DataError(f"{block.file}: begins {ago} {begun[-1].file.name}; give the files in order of time, each once")
    begun.append(block)


def head(path: Path, lines: int = 5) -> list[bytes]:
    """The first lines of a file that are not empty; fewer when it has fewer. Raises ``DataError``."""
    out: list[bytes] = []
    bad = BadLines()
    for block in read_blocks([path], bad):
        out += [line for line in block.lines if line.strip()]
        if len(out) >= lines:
            break
    if bad.first and not out:
        raise DataError(bad.first[0])
    return out[:lines]
