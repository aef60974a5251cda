"""A recording on disk: raw frames in parts, and a store per part and instrument, decoded as they come.

    DIR/recording.json          venue, instruments, the finished parts with their figures
    DIR/raw/STAMP.bin           raw frames (``actors.recorder``): what was really received
    DIR/SYMBOL/STAMP/           the store of that part

The raw frames are the truth: they are with the operating system about a second after they came, so a killed process
loses no more. A part whose stores were not finished is decoded again from them (``recover``), with the same result: a
store begins with the book as it stood, which every other store of the recording can do without.
"""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import numpy as np

from actors.recorder import read_raw
from mm.core.book import window
from mm.core.instrument import Instrument
from mm.core.types import ASK, BID, BUY, CLEAR_BID, EVENT, LAST, SNAPSHOT, RecArray, records
from mm.data.quality import Checker, ImportReport, report
from mm.data.store import StoreWriter, clear_rows
from mm.errors import ConfigError, DataError
from mm.venues.base import Codec, Decoded
from mm.venues.registry import get_venue

PREFIX: Final = "record"  # of client order ids: a recording has no orders
FILE: Final = "recording.json"
_MARGIN: Final = 0.3  # of the price: where the book is followed from one part to the next
_FLOOR_NS: Final = 1_000_000  # smallest latency where the clocks contradict each other


class Recording:
    """The directory; one process at a time. Raises ``ConfigError`` for one that holds something else."""

    def __init__(self, path: Path, venue: str, network: str, instruments: Sequence[Instrument]) -> None:
        self.path = path
        self.raw = path / "raw"
        self.instruments = list(instruments)
        about = {"schema": 1, "venue": venue, "network": network, "instruments": [i.to_dict() for i in instruments]}
        before = read_about(path)
        self.parts: dict[str, dict[str, Any]] = before.pop("parts") if before else {}
        if before not in (None, about):
            raise ConfigError(f"{path} is a recording of {_named(before)}, not of {_named(about)}: take another --out")
        try:
            if path.exists() and any(path.iterdir()) and not (path / FILE).exists():
                raise ConfigError(f"{path} exists and is not a recording: refusing to write there")
            self.raw.mkdir(parents=True, exist_ok=True)
            self._lock = (path / ".lock").open("w")
        except OSError as exc:
            raise ConfigError(f"--out {path}: cannot write there: {exc}") from exc
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            self._lock.close()
            raise ConfigError(f"{path}: another process records there") from exc
        self._about = about
        self.venue = venue
        self._save()

    def close(self) -> None:
        """Let others record here."""
        self._lock.close()

    def codec(self) -> Codec:
        """A decoder of its frames."""
        return get_venue(self.venue).make_codec(self.instruments, PREFIX)

    def store_path(self, instrument: Instrument, stamp: str) -> Path:
        return self.path / instrument.symbol.replace("/", "_").replace(":", "_") / stamp

    def finished(self, stamp: str, figures: dict[str, Any]) -> None:
        """A part has its stores."""
        self.parts[stamp] = figures
        self._save()

    def _save(self) -> None:
        temp = self.path / f".{FILE}.new"
        temp.write_text(json.dumps({**self._about, "parts": self.parts}, indent=1) + "\n")
        temp.rename(self.path / FILE)

    def recover(self) -> list[str]:
        """Decode the parts that a killed process left; returns their stamps."""
        stamps = sorted(p.stem for p in self.raw.glob("*.bin"))
        for instrument in self.instruments:
            for left in self.store_path(instrument, "x").parent.glob(".*.partial"):
                shutil.rmtree(left, ignore_errors=True)
        done = []
        for k, stamp in enumerate(stamps):
            if stamp in self.parts:
                continue
            decoder = Decoder(self.codec(), self.instruments)
            for earlier in stamps[_begin(self.raw, stamps, k) : k]:
                decoder.play(self.raw / f"{earlier}.bin")
            part = Part(self, stamp)
            decoder.part = part
            decoder.play(self.raw / f"{stamp}.bin")
            self.finished(stamp, part.finish())
            done.append(stamp)
        return done


def read_about(path: Path) -> dict[str, Any] | None:
    """What a recording is and has; None: there is none. Raises ``DataError`` for a damaged one."""
    try:
        about = json.loads((path / FILE).read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as exc:
        raise DataError(f"{path / FILE}: unreadable ({exc})") from exc
    if not isinstance(about, dict) or not {"venue", "network", "instruments", "parts"} <= about.keys():
        raise DataError(f"{path / FILE}: not the file of a recording")
    return about


def _named(about: dict[str, Any] | None) -> str:
    if about is None:
        return "nothing"
    return f"{about['venue']} {about['network']} {','.join(i['symbol'] for i in about['instruments'])}"


def _begin(raw: Path, stamps: list[str], k: int) -> int:
    """The newest part before ``k`` in which a connection began: from there the frames explain themselves."""
    for n in range(k - 1, -1, -1):
        if any(frame.number == 0 for frame in read_raw(raw / f"{stamps[n]}.bin")):
            return n
    return 0


class Part:
    """The stores of one part of a recording, while they are written."""

    def __init__(self, recording: Recording, stamp: str) -> None:
        self.recording = recording
        self.stamp = stamp
        self.writers: dict[int, StoreWriter] = {}
        self.priced: set[int] = set()
        self.crossed: dict[int, int] = {}
        self.gaps: dict[int, int] = {}
        self.bad_frames = 0
        self.reports: list[ImportReport] = []

    def append(self, i: int, rows: RecArray) -> None:
        """Rows of instrument ``i``, in order of receipt."""
        if i not in self.writers:
            instrument = self.recording.instruments[i]
            source = f"recorded from {instrument.venue}, part {self.stamp}"
            self.writers[i] = StoreWriter(self.recording.store_path(instrument, self.stamp), instrument, source)
        self.writers[i].append(rows)
        if np.any(rows["kind"] <= BUY):
            self.priced.add(i)

    def finish(self) -> dict[str, Any]:
        """Complete the stores; returns their figures by symbol. Nothing of a part is shared with the next one."""
        figures: dict[str, Any] = {}
        for i, writer in self.writers.items():
            instrument = self.recording.instruments[i]
            if i not in self.priced:  # marks and funding alone are no market
                writer.abort()
                continue
            shift_ns = writer.min_latency_ns - _FLOOR_NS if writer.min_latency_ns < 0 else 0
            quality = {
                "format": "recording", "gaps": self.gaps.get(i, 0), "bad_lines": self.bad_frames,
                "crossed": self.crossed.get(i, 0), "clock_offset_ns": -shift_ns,
            }  # fmt: skip
            found = report(writer.finish(quality, exch_shift_ns=shift_ns))
            self.reports.append(found)
            kept = ("events", "trades", "gaps", "crossed", "span_s", "path", "data_hash")
            figures[instrument.symbol] = {key: found[key] for key in kept}
        return figures

    def abort(self) -> None:
        for writer in self.writers.values():
            writer.abort()


class Decoder:
    """Frames to rows of stores: the same live and from the raw file. ``part`` may be exchanged between frames."""

    def __init__(self, codec: Codec, instruments: Sequence[Instrument]) -> None:
        self.codec = codec
        self.part: Part | None = None
        n = len(instruments)
        self._waiting: list[list[Any]] = [[] for _ in range(n)]  # rows since the last flush
        self._checkers: list[Checker | None] = [None] * n
        self._shown = [False] * n  # there is a book to void
        self._last_ns = [0] * n
        self._begun: list[Part | None] = [None] * n  # the part in which the instrument's store has begun
        self.events = 0
        self.gaps = 0
        self.errors = 0

    def play(self, path: Path) -> None:
        """Every whole frame of a raw file."""
        for frame in read_raw(path):
            if frame.number:
                self.frame(frame.raw, frame.ts_recv_ns)
            else:
                self.connection(frame.ts_recv_ns)
            if sum(map(len, self._waiting)) > 10_000:
                self.flush()
        self.flush()

    def connection(self, ts_ns: int) -> None:
        """The connection ended, or a new one begins: every book is unknown."""
        self.codec.reset()
        for i in range(len(self._waiting)):
            self._void(i, ts_ns)

    def frame(self, raw: bytes, ts_recv_ns: int) -> Decoded:
        """One frame; what the codec said of it."""
        decoded = self.codec.decode_public(raw, ts_recv_ns)
        events = decoded.events
        if len(events):
            self.events += len(events)
            of = events["instrument"]
            for i in {int(of[0]), int(of[-1])} if len(events) < 2 or (of == of[0]).all() else set(of.tolist()):
                rows = events if (of == i).all() else events[of == i]
                self._waiting[i].append(rows)
                self._shown[i] = self._shown[i] or bool((rows["kind"] <= ASK).any())
        if decoded.error:
            self.errors += 1
            if self.part is not None:
                self.part.bad_frames += 1
        for i in decoded.gap:
            self.gaps += 1
            self._void(i, ts_recv_ns)
        return decoded

    def _void(self, i: int, ts_ns: int) -> None:
        if not self._shown[i]:
            return
        self._shown[i] = False
        if self.part is not None:
            self.part.gaps[i] = self.part.gaps.get(i, 0) + 1
        rows = clear_rows(ts_ns, ts_ns, SNAPSHOT)
        rows["flags"][-1] |= LAST
        self._waiting[i].append(rows)

    def flush(self) -> None:
        """Hand the rows so far to the stores."""
        for i, waiting in enumerate(self._waiting):
            if waiting:
                rows = np.concatenate([np.asarray(w).view(EVENT) for w in waiting]).view(np.recarray)
                waiting.clear()
                self._write(i, rows)

    def _write(self, i: int, rows: RecArray) -> None:
        rows["instrument"] = 0
        recv = np.maximum.accumulate(np.concatenate([[self._last_ns[i]], rows["ts_recv_ns"]]))
        rows["ts_recv_ns"] = recv[1:]  # a clock that was set back
        self._last_ns[i] = int(recv[-1])
        if self.part is not None and self._begun[i] is not self.part:
            self._begun[i] = self.part
            if (rows["kind"][0], rows["tick"][0]) != (CLEAR_BID, 0):  # it does not begin with a book of its own
                rows = np.concatenate([self._standing(i, rows[0]), rows]).view(np.recarray)
            self._checkers[i] = None  # around the price of this part
        checker = self._checkers[i]
        if checker is None:
            prices = rows["tick"][rows["kind"] <= BUY]
            if len(prices):
                middle = int(np.median(prices))
                checker = self._checkers[i] = Checker(window(middle, middle, _MARGIN))
        crossed = 0
        if checker is not None:
            before = checker.crossed
            checker.feed(rows)
            crossed = checker.crossed - before
        if self.part is not None:
            self.part.append(i, rows)
            self.part.crossed[i] = self.part.crossed.get(i, 0) + crossed

    def _standing(self, i: int, first: Any) -> RecArray:
        """The book as it stands, at the time of the first row of a store; without one that it is void."""
        at, flags = (int(first["ts_exch_ns"]), int(first["ts_recv_ns"])), SNAPSHOT
        checker = self._checkers[i]
        parts = [clear_rows(*at, flags)]
        if checker is not None:
            base = int(checker.book[0].base_tick)
            for kind, levels in ((BID, checker.bids), (ASK, checker.asks)):
                held = np.flatnonzero(levels)
                rows = records(len(held), EVENT)
                rows["ts_exch_ns"], rows["ts_recv_ns"] = at
                rows["kind"], rows["flags"], rows["tick"], rows["lots"] = kind, flags, held + base, levels[held]
                parts.append(rows)
        out = np.concatenate(parts).view(np.recarray)
        out["flags"][-1] |= LAST
        return out


def size_of(path: Path) -> int:
    """Bytes of a recording's raw frames."""
    total = 0
    for file in (path / "raw").glob("*.bin"):
        with suppress(OSError):
            total += file.stat().st_size
    return total
