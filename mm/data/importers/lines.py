"""Lines of recorded files, ``.gz`` or plain, in blocks: O(block) memory, and a damaged tail costs only itself."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

from mm.errors import DataError

BLOCK: Final = 4 << 20  # bytes of text per block, roughly
SHOWN: Final = 10  # bad lines kept for the report


@dataclass(slots=True)
class BadLines:
    """How many lines could not be used, and the first few with file, number and reason."""

    count: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, where: str, why: str) -> None:
        """Count one more."""
        self.count += 1
        if len(self.first) < SHOWN:
            self.first.append(f"{where}: {why}")


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
    source: Any = gzip.GzipFile(fileobj=raw) if raw.read(2) == b"\x1f\x8b" else raw
    raw.seek(0)
    parts: list[bytes] = []
    size = 0
    while True:
        try:
            piece = source.read1(1 << 20)
        except (EOFError, zlib.error, gzip.BadGzipFile) as exc:
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
