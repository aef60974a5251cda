"""One instrument's public side as the codec keeps it: the visible book, and what was seen before. Pure.

Hyperliquid sends the twenty best levels whole, and the touch between them, without sequence numbers: nothing can be
missing that the next frame does not say again. What can happen is a frame older than the last one; times tell. A whole
book is a snapshot: all its levels, and an end for each that is no longer visible (so nobody sees an empty book in
between); only the first one, or one that was asked for, clears. A touch is told as the difference that it makes.

Funding is paid at every whole hour and no public frame says so: the first book of a new hour says it, with the rate and
the mark that were told last.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Final

from mm.core.instrument import Instrument
from mm.core.types import ASK, BID, FUNDING, SNAPSHOT
from mm.venues.hyperliquid.messages import Level
from mm.venues.native.wire import Units, decimal
from mm.venues.rows import TOP_TICK, Row, cleared

_KEPT_TRADES: Final = 4_096  # ids by which a repeated trade is recognised
_KEPT_PRICES: Final = 100_000
_RATIO_DIGITS: Final = 12
_HOUR_MS: Final = 3_600_000

Levels = dict[int, int]  # ticks -> lots


class Grid:
    """Prices to ticks. The venue's grid may be finer than ours (``mm.venues.hyperliquid.rules``): then to a side."""

    __slots__ = ("_down", "_step", "_up", "units")

    def __init__(self, instrument: Instrument) -> None:
        self.units = Units(instrument)
        self._step = instrument.tick_size
        self._down: dict[str, int] = {}
        self._up: dict[str, int] = {}

    def tick(self, text: str, *, up: bool) -> int:
        """Ticks of a price, rounded up or down when it is between two; raises ``ValueError``."""
        known = self._up if up else self._down
        tick = known.get(text)
        if tick is None:
            ticks = (decimal(text) / self._step).to_integral_value(ROUND_CEILING if up else ROUND_FLOOR)
            if not 0 <= ticks <= TOP_TICK or ticks.adjusted() > _RATIO_DIGITS:
                raise ValueError(f"price {text} is out of range")
            tick = int(ticks)
            if len(known) >= _KEPT_PRICES:
                known.clear()
            known[text] = tick
        return tick

    def near(self, text: str) -> int:
        """The nearest tick of a price."""
        down = self.tick(text, up=False)
        return down if 2 * (decimal(text) - down * self._step) < self._step else self.tick(text, up=True)

    def on_grid(self, text: str) -> bool:
        """Whether a price is a whole number of ticks."""
        return self.tick(text, up=False) == self.tick(text, up=True)

    def levels(self, side: Iterable[Level], *, up: bool) -> Levels:
        """Best first. Levels behind the same tick are one; raises ``ValueError``, also for levels out of order."""
        out: Levels = {}
        last: Decimal | None = None
        for level in side:
            lots = self.units.lots(level.sz)
            price = decimal(level.px)
            if lots == 0 or (last is not None and (price <= last if up else price >= last)):
                raise ValueError(f"levels out of order at {level.px}")
            last = price
            tick = self.tick(level.px, up=up)
            out[tick] = out.get(tick, 0) + lots
        return out


class Visible:
    """The book of instrument ``i`` and the trades that were seen."""

    def __init__(self, i: int, instrument: Instrument) -> None:
        self.i = i
        self.grid = Grid(instrument)
        self.valid = False  # False: withheld until the next whole book
        self.since_ms = 0  # of the book that ended the withholding
        self.time_ms = 0
        self.mark = -1  # ticks, -1: not told yet
        self.rate: int | None = None  # funding of the current hour, in FUNDING_RATE_UNIT
        self._hour = 0  # of the last book
        self._bids: Levels = {}
        self._asks: Levels = {}
        self._trades: dict[int, None] = {}

    def reset(self) -> None:
        """Withhold everything until the next whole book."""
        self.valid = False
        self.time_ms = 0

    def book(self, time_ms: int, bids: list[Level], asks: list[Level], ts_recv_ns: int) -> list[Row]:
        """Rows of a whole book; none for one that is older than what is known. Raises ``ValueError``."""
        if self.valid and time_ms < self.time_ms:
            return []
        new_bids, new_asks = self.grid.levels(bids, up=False), self.grid.levels(asks, up=True)
        if new_bids and new_asks and max(new_bids) >= min(new_asks):
            raise ValueError(f"crossed book: {max(new_bids)} and {min(new_asks)} ticks")
        ts, i = time_ms * 1_000_000, self.i
        rows = self._funding(time_ms, ts_recv_ns)
        if not self.valid:
            self._bids, self._asks = {}, {}
            self.valid, self.since_ms = True, time_ms
            rows += cleared(ts, ts_recv_ns, i)
        self.time_ms = time_ms
        for kind, old, new in ((BID, self._bids, new_bids), (ASK, self._asks, new_asks)):
            rows += [(ts, ts_recv_ns, 0, tick, i, kind, SNAPSHOT) for tick in old if tick not in new]
            rows += [(ts, ts_recv_ns, lots, tick, i, kind, SNAPSHOT) for tick, lots in new.items()]
        self._bids, self._asks = new_bids, new_asks
        return rows

    def touch(self, time_ms: int, bid: Level | None, ask: Level | None, ts_recv_ns: int) -> list[Row]:
        """Rows of a best level of both sides; what was better than it is gone. Raises ``ValueError``."""
        if not self.valid or time_ms < self.time_ms:
            return []
        best_bid = self.grid.levels([bid] if bid else [], up=False)
        best_ask = self.grid.levels([ask] if ask else [], up=True)
        low, high = max(best_bid, default=-1), min(best_ask, default=TOP_TICK)
        if best_bid and best_ask and low >= high:
            raise ValueError(f"crossed touch: {low} and {high} ticks")
        bids = {tick: lots for tick, lots in self._bids.items() if tick <= low} | best_bid
        asks = {tick: lots for tick, lots in self._asks.items() if tick >= high} | best_ask
        self.time_ms = time_ms
        ts = time_ms * 1_000_000
        rows = self._funding(time_ms, ts_recv_ns)
        for kind, old, new in ((BID, self._bids, bids), (ASK, self._asks, asks)):
            rows += [(ts, ts_recv_ns, 0, tick, self.i, kind, 0) for tick in old if tick not in new]
            rows += [(ts, ts_recv_ns, n, tick, self.i, kind, 0) for tick, n in new.items() if old.get(tick) != n]
        self._bids, self._asks = bids, asks
        return rows

    def _funding(self, time_ms: int, ts_recv_ns: int) -> list[Row]:
        before, self._hour = self._hour, time_ms // _HOUR_MS
        if not 0 < before < self._hour or self.rate is None or self.mark < 0:
            return []
        return [(self._hour * _HOUR_MS * 1_000_000, ts_recv_ns, self.rate, self.mark, self.i, FUNDING, 0)]

    def new_trade(self, tid: int, time_ms: int) -> bool:
        """Whether a trade happened after the book that we have, and is told for the first time."""
        if not self.valid or time_ms < self.since_ms or tid in self._trades:
            return False
        if len(self._trades) >= _KEPT_TRADES:
            del self._trades[next(iter(self._trades))]
        self._trades[tid] = None
        return True
