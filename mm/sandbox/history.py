"""What was in one market of a local exchange: candles of its trades, its newest trades, its funding settlements."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from mm.venues.native import wire

MINUTE_MS: Final = 60_000
DAY_MINUTES: Final = 1_440
_KEPT_MINUTES: Final = 3 * DAY_MINUTES
_KEPT_FUNDING: Final = 5_000
_KEPT_TRADES: Final = 1_000


@dataclass(slots=True)
class Candle:
    """One interval; ``minute`` since the epoch is its beginning."""

    minute: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    turnover: Decimal
    count: int

    def add(self, other: Candle) -> None:
        """What came after."""
        self.high, self.low = max(self.high, other.high), min(self.low, other.low)
        self.close = other.close
        self.volume += other.volume
        self.turnover += other.turnover
        self.count += other.count


class MarketHistory:
    """Candles are kept by the minute, for three days; minutes without a trade have none."""

    def __init__(self) -> None:
        self._minutes: deque[Candle] = deque(maxlen=_KEPT_MINUTES)
        self.funding: deque[wire.Funding] = deque(maxlen=_KEPT_FUNDING)  # oldest first
        self.trades: deque[tuple[wire.Trade, int]] = deque(maxlen=_KEPT_TRADES)  # with their times [ms], oldest first

    def add_trades(self, matches: Iterable[wire.Trade], ts_ms: int) -> None:
        """Matches of one moment."""
        minute = ts_ms // MINUTE_MS
        for match in matches:
            self.trades.append((match, ts_ms))
            px, qty = Decimal(match.px), Decimal(match.qty)
            one = Candle(minute, px, px, px, px, qty, px * qty, 1)
            if self._minutes and self._minutes[-1].minute == minute:
                self._minutes[-1].add(one)
            else:
                self._minutes.append(one)

    def candles(self, minutes: int, start_ms: int, end_ms: int) -> list[Candle]:
        """Candles of that many minutes that begin within the times (``end_ms`` 0: no end), oldest first."""
        grouped: dict[int, Candle] = {}
        for one in self._minutes:
            begin = one.minute // minutes * minutes
            if begin in grouped:
                grouped[begin].add(one)
            else:
                grouped[begin] = replace(one, minute=begin)
        return [
            c
            for begin, c in grouped.items()
            if start_ms <= begin * MINUTE_MS and (not end_ms or begin * MINUTE_MS < end_ms)
        ]

    def day(self, now_ms: int) -> Candle | None:
        """The last 24 hours as one candle, None for hours without a trade."""
        first = now_ms // MINUTE_MS - DAY_MINUTES
        minutes = [one for one in self._minutes if one.minute > first]
        if not minutes:
            return None
        total = replace(minutes[0])
        for one in minutes[1:]:
            total.add(one)
        return total
