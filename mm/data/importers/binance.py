"""Raw lines of a Binance collector, ``local_ns JSON``, to a store.

Markets: ``usdm`` (linear futures), ``cm`` (coin-margined, inverse: sizes are contracts), ``spot``. Read are depth
diffs, trades and REST snapshots (a line whose JSON has ``lastUpdateId`` and no ``stream``); bookTicker is only compared
with the rebuilt book. Sequence rules, snapshots and gaps: ``mm.data.importers.sequence``. On the 345 s usdm tape this
gives 466,836 - 259 rows: all diffs, trades and the snapshot as hftbacktest's converter writes them, less the level
rows of the four diffs that its snapshot already contains.

Sizes finer than the lot size (orders older than today's rule) are rounded down, never to zero, and counted; a price
off the tick grid makes a bad line, and a lost depth message a gap.

Clock: exchange time is ``T`` where the message has it (the matching engine's), else ``E``. Collector and exchange
clocks differ. When the smallest latency of the import, receive minus exchange time, is below ``base_latency_s``, all
exchange times are shifted by one constant so that it equals ``base_latency_s``; receive times stay as recorded. (Half
the true network delay cannot be known from one side; the shift is kept in the report as ``clock_offset_ns``.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from mm.core.book import window
from mm.core.instrument import Instrument
from mm.core.types import BID, BUY, SELL, RecArray
from mm.data.importers.assemble import assemble
from mm.data.importers.binance_symbols import MARKETS, binance_instrument, known_steps
from mm.data.importers.decimals import infer_step, numbers, on_grid, step_parts
from mm.data.importers.lines import Backlog, BadLines, Block, read_blocks, refuse_disorder
from mm.data.importers.options import Options
from mm.data.importers.sequence import DIFF, END, LEVELS, SNAP, Plan, Sequencer
from mm.data.quality import Checker, ImportReport, TickerCheck, report
from mm.data.store import StoreWriter
from mm.errors import DataError

Ints = NDArray[np.int64]

EXPECTED: Final = 'expected collector lines such as: 1723161255030314667 {"stream":"btcusdt@depth@0ms","data":{...}}'
MAX_CLOCK_ERROR_NS: Final = 3_600_000_000_000
GIVE_UP_AFTER: Final = 1000  # bad lines without one good: a foreign file

_DEPTH, _SNAPSHOT, _TRADE, _TICKER = range(4)
_COUNTS: Final = (
    "rows",
    "trades",
    "depth_messages",
    "gaps",
    "snapshots",
    "snapshots_unused",
    "stale_diffs",
    "diffs_replayed",
    "partial_book_diffs",
    "rounded_sizes",
    "out_of_order",
    "exch_out_of_order",
    "other_messages",
)
_FIELDS: Final = ("line", "what", "kind", "recv_ns", "exch_ns", "prev_u", "u", "n_first", "n_asks")


@dataclass(slots=True)
class _Messages:
    """One block's messages: a tuple of ``_FIELDS`` each, and their prices and sizes as one flat list of strings."""

    rows: list[tuple[int, ...]] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    bad: list[tuple[int, str]] = field(default_factory=list)  # line index, reason


_EVENTS: Final = frozenset({"trade", "depthUpdate", "bookTicker"})


class _Importer:
    def __init__(self, options: Options) -> None:
        self.options = options
        self.futures = options.market != "spot"
        self.symbol = options.symbol
        self.bad = BadLines(options.max_bad)
        self.others: set[str] = set()  # symbols that were left out
        self.sequencer = Sequencer()
        self.ticker = TickerCheck()
        self.instrument: Instrument | None = None
        self.checker: Checker | None = None
        self.last_exch_ns = 0
        self.last_recv_ns = 0
        self.newest_exch_ns = {_DEPTH: 0, _TRADE: 0}
        self.counts = dict.fromkeys(_COUNTS, 0)
        self.steps = ((1, 0), (1, 0))

    # --- one line ----------------------------------------------------------------------------------------------------
    def read(self, lines: list[bytes]) -> _Messages:
        out = _Messages()
        loads = orjson.loads
        for k, line in enumerate(lines):
            try:
                stamp, _, body = line.partition(b" ")
                recv_ns = int(stamp)
                message = loads(body)
            except ValueError:
                if line.strip():
                    out.bad.append((k, "not `local_ns JSON`"))
                continue
            kept = len(out.text)
            try:
                if not 10**18 <= recv_ns < 4 * 10**18:
                    raise ValueError(f"local time {recv_ns} is not nanoseconds since 1970")  # noqa: TRY301
                self._message(out, k, recv_ns, message)
            except (KeyError, TypeError, ValueError, AttributeError) as exc:
                del out.text[kept:]
                out.bad.append((k, str(exc) if isinstance(exc, ValueError) else f"unexpected message: {exc!r}"))
        return out

    def _message(self, out: _Messages, k: int, recv_ns: int, message: dict[str, Any]) -> None:
        data = message.get("data")
        if data is None:
            if "lastUpdateId" not in message:
                self.counts["other_messages"] += 1
                return
            when = _exch_ns(message["T"], recv_ns) if "T" in message else 0
            u = _update_id(message["lastUpdateId"])
            self._book(out, (k, _SNAPSHOT, BID, recv_ns, when, u, u), message["bids"], message["asks"])
            return
        event = data.get("e") or message["stream"].rpartition("@")[2]
        if event not in _EVENTS:
            self.counts["other_messages"] += 1
        elif data["s"] != self.symbol and not self._ours(data):
            self.counts["other_messages"] += 1
            self.others.add(str(data["s"]))
        elif event == "trade":
            if data.get("X", "MARKET") != "MARKET":  # insurance fund, ADL: not against the book
                self.counts["other_messages"] += 1
                return
            out.text += (data["p"], data["q"])
            kind = SELL if data["m"] else BUY
            out.rows.append((k, _TRADE, kind, recv_ns, _exch_ns(data["T"], recv_ns), 0, 0, 1, 0))
        elif event == "bookTicker":
            out.text += (data["b"], "0", data["a"], "0")
            out.rows.append((k, _TICKER, BID, recv_ns, 0, 0, _update_id(data["u"]), 1, 1))
        else:
            if ("pu" in data) != self.futures or ("ps" in data) != (self.options.market == "cm"):
                raise DataError(f"this is not a {self.options.market} tape (by the keys of its depth messages)")
            when = _exch_ns(data["T"] if self.futures else data["E"], recv_ns)
            before = _update_id(data["pu"]) if self.futures else _update_id(data["U"]) - 1
            self._book(out, (k, _DEPTH, BID, recv_ns, when, before, _update_id(data["u"])), data["b"], data["a"])

    def _book(self, out: _Messages, row: tuple[int, ...], bids: list[Any], asks: list[Any]) -> None:
        start = len(out.text)
        out.text.extend(chain.from_iterable(bids))
        out.text.extend(chain.from_iterable(asks))
        if len(out.text) - start != 2 * (len(bids) + len(asks)):
            raise ValueError("a level is not a pair of price and size")
        out.rows.append((*row, len(bids), len(asks)))

    def _ours(self, data: dict[str, Any]) -> bool:
        if self.symbol is None and isinstance(data["s"], str):
            self.symbol = data["s"]
        return bool(data["s"] == self.symbol)

    # --- one block ---------------------------------------------------------------------------------------------------
    def block(self, backlog: Backlog, *, final: bool) -> tuple[RecArray | None, int]:
        """(rows to store, lines used); unused lines are to be read again with the next block."""
        lines = backlog.lines()
        read = self.read(lines)
        if not read.rows:
            self._note_bad(backlog, read.bad, len(lines))
            self.counts["rows"] += _count_rows(lines)
            return None, len(lines)
        if self.symbol is None and not final:
            return None, 0  # so far only snapshots, which do not name their symbol
        read.text, mantissa, decimals = numbers(read.text)
        cols = np.array(read.rows, np.int64).T
        msg = dict(zip(_FIELDS, cols, strict=True))
        size = msg["n_first"] + msg["n_asks"]
        msg["pair"] = np.cumsum(size) - size
        if self.instrument is None:
            self._find_instrument(mantissa, decimals)
        ticks, lots, good = self._to_grid(read, msg, size, mantissa, decimals)
        self._repair_times(msg)

        bits = np.where(msg["what"] == _TRADE, LEVELS | END, 0) * good
        depth = np.flatnonzero((msg["what"] <= _SNAPSHOT) & good)
        what = np.where(msg["what"] == _DEPTH, DIFF, SNAP)
        plan = self.sequencer.plan(bits, depth, what, msg["recv_ns"], msg["prev_u"], msg["u"], final=final)
        used = len(lines) if plan.cut == len(bits) else int(msg["line"][plan.cut])
        self._note_bad(backlog, read.bad, used)
        self.counts["rows"] += _count_rows(lines[:used])
        self._count(msg, plan, good)
        rows, message, ends = assemble(plan, msg, ticks, lots)
        self._check(rows, message, ends, msg, ticks, plan)
        return rows, used

    def _find_instrument(self, mantissa: Ints, decimals: Ints) -> None:
        options, symbol = self.options, self.symbol or "UNKNOWN"
        known_tick, known_lot = known_steps(options.market, symbol)
        tick_size = options.tick_size or known_tick or infer_step(mantissa[::2], decimals[::2])
        lot_size = options.lot_size or known_lot or infer_step(mantissa[1::2], decimals[1::2])
        if tick_size is None or lot_size is None:
            raise DataError(f"{symbol}: cannot tell tick and lot size from the data; give both")
        self.instrument = binance_instrument(options.market, symbol, tick_size, lot_size)
        self.steps = (step_parts(tick_size), step_parts(lot_size))

    def _to_grid(
        self, read: _Messages, msg: dict[str, Ints], size: Ints, mantissa: Ints, decimals: Ints
    ) -> tuple[Ints, Ints, NDArray[np.bool_]]:
        ticks, lots, wrong, rounded = on_grid(mantissa, decimals, self.steps)
        self.counts["rounded_sizes"] += rounded
        good = np.ones(len(size), np.bool_)
        for k, why in wrong:
            m = int(np.searchsorted(msg["pair"] + size, k // 2, side="right"))
            if good[m]:
                good[m] = False
                read.bad.append((int(msg["line"][m]), f"{'size' if k % 2 else 'price'} {read.text[k]!r} {why}"))
        read.bad.sort()
        if len(good) > GIVE_UP_AFTER and not good.any():
            raise DataError(f"{read.bad[0][1]}: give the tick size")
        return ticks, lots, good

    def _repair_times(self, msg: dict[str, Ints]) -> None:
        """Receive times never go back; a snapshot without a time gets that of the message before it."""
        recv = np.maximum.accumulate(np.concatenate([[self.last_recv_ns], msg["recv_ns"]]))[1:]
        self.counts["out_of_order"] += int((recv != msg["recv_ns"]).sum())
        msg["recv_ns"] = recv
        exch = msg["exch_ns"]
        timeless = np.flatnonzero((exch == 0) & (msg["what"] == _SNAPSHOT))
        for k in timeless.tolist():
            known = exch[:k][exch[:k] > 0]
            later = exch[k:][exch[k:] > 0]
            if len(known):
                exch[k] = known[-1]
            else:
                exch[k] = self.last_exch_ns or (later[0] if len(later) else recv[k])

    def _count(self, msg: dict[str, Ints], plan: Plan, good: NDArray[np.bool_]) -> None:
        counts, cut = self.counts, plan.cut
        counts["trades"] += int(((msg["what"] == _TRADE) & good)[:cut].sum())
        counts["depth_messages"] += int(((msg["what"] == _DEPTH) & good)[:cut].sum())
        counts["snapshots"] += len(plan.used_snapshots)
        counts["snapshots_unused"] += len(plan.unused_snapshots)
        counts["gaps"] += len(plan.gaps)
        counts["stale_diffs"] += len(plan.stale)
        counts["diffs_replayed"] += sum(map(len, plan.replays.values()))
        counts["partial_book_diffs"] += len(plan.partial)
        for what, newest in self.newest_exch_ns.items():
            times = np.concatenate([[newest], msg["exch_ns"][:cut][msg["what"][:cut] == what]])
            counts["exch_out_of_order"] += int((times[1:] < times[:-1]).sum())
            self.newest_exch_ns[what] = int(times[-1])
        if cut:
            self.last_recv_ns = int(msg["recv_ns"][cut - 1])
            known = msg["exch_ns"][:cut][msg["exch_ns"][:cut] > 0]
            self.last_exch_ns = int(known[-1]) if len(known) else self.last_exch_ns

    def _check(self, rows: RecArray, message: Ints, ends: Ints, msg: dict[str, Ints], ticks: Ints, plan: Plan) -> None:
        if self.checker is None:
            if not len(rows):
                return
            middle = int(np.median(rows["tick"][rows["kind"] <= BUY]))
            self.checker = Checker(window(middle, middle, 0.1))
        best_bid, best_ask = self.checker.feed(rows)
        shown = (msg["what"][message] == _DEPTH) & (ends >= 0)
        touch = np.stack([msg["u"][message[shown]], best_bid[ends[shown]], best_ask[ends[shown]]])
        if not self.sequencer.synced:
            touch = touch[:, :0]
        ticker = np.flatnonzero(msg["what"][: plan.cut] == _TICKER)
        pair = msg["pair"][ticker]
        self.ticker.feed(touch, np.stack([msg["u"][ticker], ticks[pair], ticks[pair + 1]]))

    def refuse_misread(self, files: list[Path]) -> None:
        """A store of what an option left over from a good file is worse than none."""
        counts, options = self.counts, self.options
        if self.others and not counts["depth_messages"] + counts["trades"]:
            held = ", ".join(sorted(self.others)[:5])
            raise DataError(f"{files[0]}: no message of {options.symbol or self.symbol}; the files hold {held}")
        if 2 * self.bad.count > counts["rows"] and (options.tick_size or options.lot_size):
            raise DataError(
                f"{files[0]}: {self.bad.count:,} of {counts['rows']:,} lines do not fit ({self.bad.first[0]}); "
                "is --tick-size right? It is known for the large symbols, and inferred from the data otherwise"
            )

    def _note_bad(self, backlog: Backlog, bad: list[tuple[int, str]], used: int) -> None:
        for k, why in bad:
            if k < used:
                self.bad.add(backlog.where(k), why)
        if self.bad.count >= GIVE_UP_AFTER and self.instrument is None:
            raise DataError(
                f"{backlog.parts[0].file}: not a {self.options.market} tape ({self.bad.first[0]}); {EXPECTED}"
            )


def import_binance(
    files: list[Path], out: Path, options: Options, progress: Callable[[float], None] | None = None
) -> ImportReport:
    """Import collector files, in the order given, as one tape; returns the quality report that is also stored."""
    if options.market not in MARKETS:
        raise DataError(f"unknown market {options.market!r}; known: {', '.join(MARKETS)}")
    if not files:
        raise DataError("no files to import")
    source = f"binance-collector {options.market}: {' '.join(path.name for path in files)}"
    importer = _Importer(options)
    writer: StoreWriter | None = None
    try:
        backlog = Backlog()
        begun: list[Block] = []
        for block in chain(read_blocks(files, importer.bad, progress), [None]):
            if block is not None:
                refuse_disorder(begun, block, _first_ns)
                backlog.parts.append(block)
            if not backlog.parts:
                continue
            rows, used = importer.block(backlog, final=block is None)
            backlog.drop(used)
            if rows is None or not len(rows):
                continue
            if writer is None and importer.instrument is not None:
                writer = StoreWriter(out, importer.instrument, source)
            if writer is not None:
                writer.append(rows)
        if writer is None:
            why = f" ({importer.bad.first[0]})" if importer.bad.first else ""
            raise DataError(f"{files[0]}: no usable market data{why}; {EXPECTED}")
        importer.refuse_misread(files)
        return _finish(importer, writer)
    finally:
        if writer is not None:
            writer.abort()


def _first_ns(block: Block) -> int:
    """Local time of the first line that has one; 0 without."""
    return next((int(stamp) for line in block.lines[:100] if (stamp := line.partition(b" ")[0]).isdigit()), 0)


def _finish(importer: _Importer, writer: StoreWriter) -> ImportReport:
    floor_ns = round(importer.options.base_latency_s * 1e9)
    shift_ns = min(0, writer.min_latency_ns - floor_ns)
    agreement = importer.ticker.agreement
    quality = {
        "format": "binance-collector",
        "market": importer.options.market,
        **importer.counts,
        "bad_lines": importer.bad.count,
        "first_bad_lines": importer.bad.first,
        "crossed": importer.checker.crossed if importer.checker else 0,
        "clock_offset_ns": -shift_ns,
        "base_latency_ns": floor_ns,
        "bookticker_compared": importer.ticker.compared,
        "bookticker_agreement": None if agreement is None else round(agreement, 6),
    }
    return report(writer.finish(quality, exch_shift_ns=shift_ns))


def _exch_ns(ms: object, recv_ns: int) -> int:
    """Exchange time in ns. One absurd time must not move the clock of a whole tape."""
    if type(ms) is not int or abs(1_000_000 * ms - recv_ns) > MAX_CLOCK_ERROR_NS:
        raise ValueError(f"exchange time {ms} is not within an hour of the local time")
    return 1_000_000 * ms


def _count_rows(lines: list[bytes]) -> int:
    return sum(map(bool, map(bytes.strip, lines)))


def _update_id(value: object) -> int:
    if type(value) is not int or not 0 <= value < 1 << 62:
        raise ValueError(f"update id {value} is not a whole number in range")
    return value
