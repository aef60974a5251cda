"""From messages of any exchange to a store: what the importers of archives share.

An importer is a generator: blocks of lines in, ``Message`` out, in order of receipt. Books and trades come in files of
their own and are merged by time of receipt. What is bad in a message costs that message: a lost change of the book
voids the book, which then fills up again from the changes that follow (``partial_book_messages``) until a snapshot.

Where a file does not say when a message was received, that is ``base_latency_s`` after it left the exchange. Where it
does and the clocks disagree, all exchange times are shifted by one constant, as in ``mm.data.importers.binance``.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mm.core.book import window
from mm.core.types import BID, BUY, EVENT, SELL, RecArray, records
from mm.data.importers.assemble import write_rows
from mm.data.importers.decimals import infer_step, numbers, on_grid, step_parts
from mm.data.importers.instruments import instrument_of
from mm.data.importers.lines import BadLines, Block, read_blocks, refuse_disorder
from mm.data.importers.options import Options
from mm.data.importers.sequence import CLEAR, END, LEVELS, REBUILD
from mm.data.quality import Checker, ImportReport, report
from mm.data.store import StoreWriter
from mm.errors import DataError

Ints = NDArray[np.int64]

TRADE: Final = 0
CHANGES: Final = 1  # sizes at levels, 0 removes one
SNAPSHOT: Final = 2  # the book is void, these are its levels
VISIBLE: Final = 3  # the whole book as far as it is shown: only what differs from the one before is stored
LOST: Final = 4  # a change of the book is missing here

MAX_CLOCK_ERROR_NS: Final = 3_600_000_000_000
_BLOCK_TEXTS: Final = 200_000  # prices and sizes that are converted at once
_BLOCK_MESSAGES: Final = 50_000
Malformed = (KeyError, TypeError, ValueError, AttributeError, IndexError, ArithmeticError)  # of one line


class Message(NamedTuple):
    """One message: ``text`` holds price, size, price, ... of the bids (of the trade), then of the asks."""

    recv_ns: int
    exch_ns: int
    what: int
    n_first: int  # levels of ``text`` that are bids
    text: list[Any]
    where: tuple[str, int]  # file and line
    kind: int = BID  # BUY or SELL: a trade and its aggressor


@dataclass(slots=True)
class Reading:
    """What the streams of one import share."""

    options: Options
    bad: BadLines
    venue: str
    symbol: str | None = None
    others: set[str] = field(default_factory=set)  # symbols that were left out
    other_messages: int = 0
    gaps: int = 0
    stale: int = 0

    def ours(self, symbol: Any) -> bool:
        """Whether a message is about our symbol, the first one unless the user names one; others are counted."""
        if symbol == self.symbol:
            return True
        if not isinstance(symbol, str) or not symbol:
            raise ValueError(f"{symbol!r} is not a symbol")
        if self.symbol is None:
            self.symbol = symbol
            return True
        self.others.add(symbol)
        self.other_messages += 1
        return False

    def refuse(self, where: tuple[str, int], exc: BaseException) -> None:
        """One bad line."""
        self.bad.add(f"{where[0]}:{where[1]}", str(exc) if type(exc) is ValueError else f"unexpected line: {exc!r}")

    def later(self, exch_ns: int) -> int:
        """Assumed time of receipt."""
        return exch_ns + round(self.options.base_latency_s * 1e9)


Stream = Callable[[Iterator[Block], Reading], Iterator[Message]]


class Feed:
    """Messages to EVENT rows, many at a time."""

    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        self.instrument: Any = None
        self.steps = ((1, 0), (1, 0))
        self.checker: Checker | None = None
        self.known = False  # the book is known since a snapshot
        self.shown = False  # it has levels at all
        self.visible: dict[tuple[int, int], int] | None = None  # (side, tick) -> lots of the last VISIBLE message
        self.last_recv_ns = 0
        self.counts = dict.fromkeys(
            ("trades", "depth_messages", "snapshots", "partial_book_messages", "rounded_sizes", "out_of_order"), 0
        )
        self.silence_ns = 0

    def rows(self, messages: list[Message]) -> RecArray:
        """EVENT rows of a block of messages."""
        text, mantissa, decimals = numbers(list(chain.from_iterable(m.text for m in messages)))
        if self.instrument is None:
            self._find_instrument(mantissa, decimals)
        size = np.array([len(m.text) // 2 for m in messages], np.int64)
        ticks, lots, wrong, rounded = on_grid(mantissa, decimals, self.steps)
        self.counts["rounded_sizes"] += rounded
        ends = np.cumsum(size)
        lost: dict[int, str] = {}
        for k, why in wrong:
            m = int(np.searchsorted(ends, k // 2, side="right"))
            lost.setdefault(m, f"{'size' if k % 2 else 'price'} {text[k]!r} {why}")
        for m, message in enumerate(messages):
            if message.what == TRADE and m not in lost and lots[ends[m] - 1] == 0:
                lost[m] = "a trade of size 0"
        for m, why in lost.items():
            file, line = messages[m].where
            self.reading.bad.add(f"{file}:{line}", why)
        return self._write(messages, lost.keys(), ticks, lots, ends - size)

    def _find_instrument(self, mantissa: Ints, decimals: Ints) -> None:
        options, symbol = self.reading.options, self.reading.symbol or "UNKNOWN"
        tick_size = options.tick_size or infer_step(mantissa[::2], decimals[::2])
        lot_size = options.lot_size or infer_step(mantissa[1::2], decimals[1::2])
        if tick_size is None or lot_size is None:
            raise DataError(f"{symbol}: cannot tell tick and lot size from the data; give both")
        self.instrument = instrument_of(self.reading.venue, options.kind, symbol, tick_size, lot_size)
        self.steps = (step_parts(tick_size), step_parts(lot_size))

    def _write(self, messages: list[Message], lost: Any, ticks: Ints, lots: Ints, pair: Ints) -> RecArray:
        n = len(messages)
        first = np.array([m.n_first for m in messages], np.int64)
        asks = np.array([len(m.text) // 2 for m in messages], np.int64) - first
        bits = np.zeros(n, np.int64)
        extra: list[tuple[int, int]] = []  # (tick, lots) of what VISIBLE messages changed
        pair = pair.copy()
        for k, m in enumerate(messages):
            if k in lost or m.what == LOST:
                bits[k] = self._lost(m.what)
                first[k] = asks[k] = 0
            elif m.what == VISIBLE:
                levels = slice(pair[k], pair[k] + first[k] + asks[k])
                bids, sells = self._differences(ticks[levels].tolist(), lots[levels].tolist(), int(first[k]))
                pair[k], first[k], asks[k] = len(ticks) + len(extra), len(bids), len(sells)
                extra += bids + sells
                bits[k] = self._depth(CHANGES if self.known else SNAPSHOT) * bool(bids or sells)
            else:
                bits[k] = self._depth(m.what) if m.what != TRADE else LEVELS | END
        self.counts["trades"] += sum(m.what == TRADE and k not in lost for k, m in enumerate(messages))
        if extra:
            more = np.array(extra, np.int64).T
            ticks, lots = np.concatenate([ticks, more[0]]), np.concatenate([lots, more[1]])
        recv = self._times(np.array([m.recv_ns for m in messages], np.int64))
        kept = np.flatnonzero(bits)
        out = records(int((first + asks)[kept].sum()) + 2 * len(kept), EVENT)
        used = write_rows(
            kept, kept, bits[kept], np.array([m.kind for m in messages], np.int64), recv,
            np.array([m.exch_ns for m in messages], np.int64), pair, first, asks, np.ascontiguousarray(ticks),
            np.ascontiguousarray(lots), out, np.empty(len(kept), np.int64),
        )  # fmt: skip
        self._check(out[:used])
        return out[:used]

    def _depth(self, what: int) -> int:
        self.counts["depth_messages"] += 1
        self.counts["snapshots"] += what == SNAPSHOT
        self.counts["partial_book_messages"] += what == CHANGES and not self.known
        clear = what == SNAPSHOT or not self.shown
        self.known, self.shown = self.known or what == SNAPSHOT, True
        return LEVELS | END | (CLEAR | REBUILD if clear else 0)

    def _lost(self, what: int) -> int:
        """A change that could not be used, or never came: the book is unknown."""
        if what == TRADE:
            return 0
        void = self.shown
        if what != LOST:
            self.reading.gaps += 1
        self.known = self.shown = False
        self.visible = None
        return CLEAR | REBUILD | END if void else 0

    def _differences(self, ticks: list[int], lots: list[int], n_bids: int) -> tuple[list[Any], list[Any]]:
        """What a book that is sent whole changed, as (tick, lots) of its bids and its asks."""
        new = {(int(k >= n_bids), tick): size for k, (tick, size) in enumerate(zip(ticks, lots, strict=True)) if size}
        old = self.visible or {}
        gone = [(key, 0) for key in old if key not in new]
        set_ = [(key, size) for key, size in new.items() if old.get(key) != size]
        self.visible = new
        sides: tuple[list[Any], list[Any]] = ([], [])
        for (side, tick), size in gone + set_:
            sides[side].append((tick, size))
        return sides

    def _times(self, recv_ns: Ints) -> Ints:
        """Times of receipt never go back."""
        recv = np.maximum.accumulate(np.concatenate([[self.last_recv_ns or recv_ns[0]], recv_ns]))
        self.counts["out_of_order"] += int((recv[1:] != recv_ns).sum())
        self.silence_ns = max(self.silence_ns, int(np.diff(recv).max()))
        self.last_recv_ns = int(recv[-1])
        return recv[1:]

    def _check(self, rows: RecArray) -> None:
        if self.checker is None:
            prices = rows["tick"][rows["kind"] <= BUY]
            if not len(prices):
                return
            middle = int(np.median(prices))
            self.checker = Checker(window(middle, middle, 0.1))
        self.checker.feed(rows)


def import_messages(
    form: str,
    sources: list[tuple[Stream, list[Path]]],
    out: Path,
    reading: Reading,
    progress: Callable[[float], None] | None = None,
) -> ImportReport:
    """Import files by the stream that reads them, merged by time; returns the quality report. Raises ``DataError``."""
    names = ", ".join(path.name for _, files in sources for path in files)
    bars = _shares(sources, progress)
    streams = [_stream(make, files, reading, bar) for (make, files), bar in zip(sources, bars, strict=True)]
    merged = streams[0] if len(streams) == 1 else heapq.merge(*streams, key=lambda m: m.recv_ns)
    feed = Feed(reading)
    writer: StoreWriter | None = None
    seen = 0
    try:
        for block in _blocks(merged):
            rows = feed.rows(block)
            seen += len(block)
            if not len(rows):
                continue
            if writer is None:
                writer = StoreWriter(out, feed.instrument, f"{form}: {names}")
            writer.append(rows)
        _refuse(reading, feed, seen, names)
        if writer is None:
            why = f" ({reading.bad.first[0]})" if reading.bad.first else ""
            raise DataError(f"{names}: no usable market data{why}")
        return _finish(form, reading, feed, writer)
    finally:
        if writer is not None:
            writer.abort()


def _refuse(reading: Reading, feed: Feed, seen: int, names: str) -> None:
    if not seen and reading.others:
        held = ", ".join(sorted(reading.others)[:5])
        raise DataError(f"{names}: no message of {reading.symbol}; the files hold {held}")
    if 2 * feed.counts["out_of_order"] > max(seen, 2):
        raise DataError(f"{names}: most rows run backwards in time; sort them by time first")
    if 2 * reading.bad.count > max(seen, 10) and (reading.options.tick_size or reading.options.lot_size):
        raise DataError(f"{names}: most rows do not fit ({reading.bad.first[0]}); is --tick-size right?")


def _finish(form: str, reading: Reading, feed: Feed, writer: StoreWriter) -> ImportReport:
    floor_ns = round(reading.options.base_latency_s * 1e9)
    shift_ns = min(0, writer.min_latency_ns - floor_ns)
    quality = {
        "format": form,
        "market": reading.options.market,
        **feed.counts,
        "gaps": reading.gaps,
        "stale_diffs": reading.stale,
        "other_messages": reading.other_messages,
        "bad_lines": reading.bad.count,
        "first_bad_lines": reading.bad.first,
        "longest_silence_s": round(feed.silence_ns * 1e-9, 3),
        "crossed": feed.checker.crossed if feed.checker else 0,
        "clock_offset_ns": -shift_ns,
        "base_latency_ns": floor_ns,
    }
    return report(writer.finish(quality, exch_shift_ns=shift_ns))


def _stream(
    make: Stream, files: list[Path], reading: Reading, progress: Callable[[float], None] | None
) -> Iterator[Message]:
    """The messages of one stream; files in the wrong order are refused by their first messages."""

    def blocks() -> Iterator[Block]:
        begun: list[Block] = []
        for block in read_blocks(files, reading.bad, progress):
            if len(files) > 1:
                refuse_disorder(begun, block, first_ns)
            yield block

    def first_ns(block: Block) -> int:
        some = Block(block.file, block.number, block.lines[:100])
        trial = Reading(reading.options, BadLines(), reading.venue, reading.symbol)
        return next((m.recv_ns for m in make(iter([some]), trial)), 0)

    return make(blocks(), reading)


def _shares(
    sources: list[tuple[Stream, list[Path]]], progress: Callable[[float], None] | None
) -> list[Callable[[float], None] | None]:
    """One bar for several streams: each reports its own share of the bytes."""
    sizes = [sum(path.stat().st_size for path in files if path.is_file()) for _, files in sources]
    done = [0.0] * len(sizes)

    def bar(k: int) -> Callable[[float], None]:
        def told(share: float) -> None:
            done[k] = share * sizes[k]
            if progress is not None:
                progress(sum(done) / max(sum(sizes), 1))

        return told

    return [bar(k) if progress else None for k in range(len(sizes))]


def _blocks(messages: Iterator[Message]) -> Iterator[list[Message]]:
    block: list[Message] = []
    texts = 0
    for message in messages:
        block.append(message)
        texts += len(message.text)
        if texts >= _BLOCK_TEXTS or len(block) >= _BLOCK_MESSAGES:
            yield block
            block, texts = [], 0
    if block:
        yield block


def each_line(blocks: Iterator[Block], skip: bytes = b"") -> Iterator[tuple[bytes, tuple[str, int]]]:
    """(line, (file, number)) of the lines that are not empty and do not begin with ``skip``."""
    for block in blocks:
        name = block.file.name
        for k, line in enumerate(block.lines):
            if line.strip() and not (skip and line.startswith(skip)):
                yield line, (name, block.number + k)


def trade(side: Any, price: Any, size: Any, recv_ns: int, exch_ns: int, where: tuple[str, int]) -> Message:
    """A trade; ``side`` is the aggressor's in any spelling. ``ValueError`` for an unknown one."""
    known = {"buy": BUY, "b": BUY, "sell": SELL, "a": SELL, "s": SELL}
    try:
        kind = known[side.lower()]
    except (KeyError, AttributeError):
        raise ValueError(f"side {side!r} is neither buy nor sell") from None
    return Message(recv_ns, exch_ns, TRADE, 1, [price, size], where, kind)


def near(exch_ns: int, recv_ns: int) -> int:
    """An exchange time that can be: one absurd time must not move the clock of a whole tape."""
    if abs(exch_ns - recv_ns) > MAX_CLOCK_ERROR_NS:
        raise ValueError(f"exchange time {exch_ns} is not within an hour of the local time")
    return exch_ns
