"""What a run leaves on disk while it trades: raw frames, the quoter's inbox, its decisions and commands.

Each life of an actor writes files of its own (``sandbox.bin``, after a restart ``sandbox.1.bin``, ...), so that a file
torn by a crash is torn only at its end. Everything is collected in memory and handed to the operating system about
once a second, after the decision that it is about: recording never stands between a frame and an order.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from actors.transport import EVENTS, Message
from mm.core.types import COMMAND
from mm.errors import DataError
from mm.strategy.state import TARGET

RAW_HEADER: Final = struct.Struct("<qI")  # ts_recv_ns, length; length 0: a new connection begins
INBOX_HEADER: Final = struct.Struct("<BBHIqI")  # kind, a, b, seq, t_wall_ns, bytes of the payload

BEGIN: Final = 0  # kind of the first record of an inbox: what this life of the quoter began with, as JSON

DECISION: Final = np.dtype(
    [
        ("now_ns", "i8"),
        ("messages", "i8"),  # of the inbox taken before this decision, in this life of the quoter
        ("instrument", "i8"),
        ("stale", "i8"),
        ("commands", "i8"),  # of this decision, over all instruments
        ("pos_lots", "i8"),
        ("bid_tick", "i8"),
        ("ask_tick", "i8"),
        ("bid_lots", "i8"),
        ("ask_lots", "i8"),
        ("reason", "i8"),
        ("acting", "i8"),  # controls that acted, a bit each (mm.strategy.controls.names)
        ("mid", "f8"),  # ticks, of the others' book
        ("raw_bid", "f8"),  # ticks, before the overlays
        ("raw_ask", "f8"),
    ]
)
_OF_TARGET: Final = ("bid_tick", "ask_tick", "bid_lots", "ask_lots", "reason", "acting", "raw_bid", "raw_ask")
_AT: Final = tuple((TARGET.names or ()).index(name) for name in _OF_TARGET)
_ROW: Final = struct.Struct("<12q3d")
assert _ROW.size == DECISION.itemsize


def decision_row(
    now_ns: int, messages: int, instrument: int, stale: bool, commands: int, pos_lots: int, mid: float, target: Any
) -> bytes:
    """One DECISION record; ``target`` is a TARGET record as a tuple."""
    bid, ask, bid_lots, ask_lots, reason, acting, raw_bid, raw_ask = [target[k] for k in _AT]
    return _ROW.pack(
        now_ns, messages, instrument, stale, commands, pos_lots, bid, ask, bid_lots, ask_lots, reason, acting, mid,
        raw_bid, raw_ask,
    )  # fmt: skip


# --- writing ---------------------------------------------------------------------------------------------------------
def segments(path: str | os.PathLike[str]) -> list[Path]:
    """The files of an actor's lives, oldest first."""
    first = Path(path)
    out: list[Path] = []
    while (file := _life(first, len(out))).exists():
        out.append(file)
    return out


def _life(first: Path, n: int) -> Path:
    return first.with_name(f"{first.stem}.{n}{first.suffix}") if n else first


class AppendFile:
    """A new file for this life (``segments``); bytes appended to it, collected in memory until ``flush``."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = _life(path, len(segments(path)))
        self._fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
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
    """Raw frames, each behind its time of receipt and length. ``number`` counts those of the connection."""

    number = 0

    def connection(self, ts_ns: int) -> None:
        """A new connection begins: the decoder forgets what it knew."""
        self.number = 0
        self.add(RAW_HEADER.pack(ts_ns, 0))

    def frame(self, raw: bytes, ts_recv_ns: int) -> None:
        self.number += 1
        self.add(RAW_HEADER.pack(ts_recv_ns, len(raw)), raw)


class QuoterRecorder:
    """What one life of a quoter took and did: its inbox, its decisions, its commands."""

    def __init__(self, run_dir: Path, venue: str, head: dict[str, Any]) -> None:
        self._inbox = AppendFile(run_dir / "inbox" / f"{venue}.bin")
        text = json.dumps(head).encode()
        self._inbox.add(INBOX_HEADER.pack(BEGIN, 0, 0, 0, 0, len(text)), text)
        self._decisions = AppendFile(run_dir / "decisions" / f"{venue}.bin")
        self._commands = AppendFile(run_dir / "commands" / f"{venue}.bin")
        self.messages = 0

    def take(self, batch: list[Message]) -> None:
        """Messages, in the order in which they were taken. Market data stands in the raw frames: here its number."""
        self.messages += len(batch)
        add, pack = self._inbox.add, INBOX_HEADER.pack
        for m in batch:
            add(pack(m.kind, m.a, m.b, m.seq, m.t_wall_ns, len(m.payload)))
            if m.kind != EVENTS:
                add(m.payload)

    def decide(self, rows: list[bytes], commands: bytes) -> None:
        """One decision: a row an instrument (``decision_row``), and its COMMAND records."""
        self._decisions.add(*rows)
        if commands:
            self._commands.add(commands)

    def flush(self) -> None:
        """Causes before effects: a decision on disk has its inbox there too."""
        self._inbox.flush()
        self._commands.flush()
        self._decisions.flush()

    def close(self) -> None:
        self._inbox.close()
        self._commands.close()
        self._decisions.close()


# --- reading ---------------------------------------------------------------------------------------------------------
class Frame(NamedTuple):
    """A raw frame and its place: ``number`` on its connection, from 1; 0 is the beginning of a connection."""

    ts_recv_ns: int
    number: int
    raw: bytes


def read_raw(path: str | os.PathLike[str]) -> Iterator[Frame]:
    """Frames of one file in order; one cut off by a crash is left out."""
    number = 0
    with Path(path).open("rb") as file:
        while head := _exactly(file, RAW_HEADER.size):
            ts, size = RAW_HEADER.unpack(head)
            raw = _exactly(file, size) if size else b""
            if size and not raw:
                return
            number = number + 1 if size else 0
            yield Frame(ts, number, raw)


def read_inbox(path: str | os.PathLike[str]) -> Iterator[tuple[Message, int]]:
    """(message, bytes of its payload when it was taken) in order; EVENTS come without payload, a torn last one not."""
    with Path(path).open("rb") as file:
        while head := _exactly(file, INBOX_HEADER.size):
            kind, a, b, seq, t_wall_ns, size = INBOX_HEADER.unpack(head)
            payload = _exactly(file, size) if size and kind != EVENTS else b""
            if size and kind != EVENTS and not payload:
                return
            yield Message(kind, a, b, seq, 0, t_wall_ns, payload), size


def _exactly(file: IO[bytes], size: int) -> bytes:
    """So many bytes, or none when the file ends before."""
    data = file.read(size)
    return data if len(data) == size else b""


def _read_rows(path: str | os.PathLike[str], dtype: np.dtype[Any]) -> NDArray[Any]:
    data = Path(path).read_bytes()
    return np.frombuffer(data[: len(data) // dtype.itemsize * dtype.itemsize], dtype)


def read_decisions(path: str | os.PathLike[str]) -> NDArray[Any]:
    """DECISION records of every life; torn last ones are left out. A missing file has none."""
    return np.concatenate([np.zeros(0, DECISION), *(_read_rows(p, DECISION) for p in segments(path))])


class Life(NamedTuple):
    """What one life of a quoter left: ``decisions`` DECISION, ``commands`` COMMAND, whole rows only."""

    inbox: Path
    decisions: NDArray[Any]
    commands: NDArray[Any]


def read_lives(run_dir: Path, venue: str) -> list[Life]:
    """The lives of a venue's quoter, oldest first; raises ``DataError`` when nothing was recorded."""
    lives = []
    for inbox in segments(run_dir / "inbox" / f"{venue}.bin"):
        decisions, commands = run_dir / "decisions" / inbox.name, run_dir / "commands" / inbox.name
        lives.append(
            Life(
                inbox,
                _read_rows(decisions, DECISION) if decisions.exists() else np.zeros(0, DECISION),
                _read_rows(commands, COMMAND) if commands.exists() else np.zeros(0, COMMAND),
            )
        )
    if not lives:
        raise DataError(f"{run_dir}: no record of the quoter of {venue}; was this run made by an older version?")
    return lives
