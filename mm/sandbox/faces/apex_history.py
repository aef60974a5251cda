"""What was in one market: candles, funding rates and the last day, as ApeX Omni tells them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final

from mm.venues.native import wire

_MINUTE_MS: Final = 60_000
_DAY_MINUTES: Final = 1_440
_KEPT_MINUTES: Final = 3 * _DAY_MINUTES
_KEPT_FUNDING: Final = 5_000
_INTERVALS: Final = {
    **{str(n): n for n in (1, 3, 5, 15, 30, 60, 120, 240, 360, 720)}, "D": _DAY_MINUTES, "W": 7 * _DAY_MINUTES,
}  # fmt: skip


@dataclass(slots=True)
class _Candle:
    """One interval; ``minute`` since the epoch is its beginning."""

    minute: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    turnover: Decimal
    count: int

    def add(self, other: _Candle) -> None:
        """What came after."""
        self.high, self.low = max(self.high, other.high), min(self.low, other.low)
        self.close = other.close
        self.volume += other.volume
        self.turnover += other.turnover
        self.count += other.count


class History:
    """Kept by the minute, for three days."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._minutes: deque[_Candle] = deque(maxlen=_KEPT_MINUTES)
        self._funding: deque[wire.Funding] = deque(maxlen=_KEPT_FUNDING)

    def trades(self, matches: Iterable[wire.Trade], ts_ms: int) -> None:
        """Matches of one moment."""
        minute = ts_ms // _MINUTE_MS
        for match in matches:
            px, qty = Decimal(match.px), Decimal(match.qty)
            one = _Candle(minute, px, px, px, px, qty, px * qty, 1)
            if self._minutes and self._minutes[-1].minute == minute:
                self._minutes[-1].add(one)
            else:
                self._minutes.append(one)

    def settled(self, message: wire.Funding) -> None:
        """A funding settlement."""
        self._funding.append(message)

    def candles(self, interval: str, start_ms: int, end_ms: int, limit: int) -> list[dict[str, Any]]:
        """The newest ``limit`` candles that begin within the times (0: open), oldest first; raises ``KeyError``."""
        length = _INTERVALS[interval]
        grouped: dict[int, _Candle] = {}
        for one in self._minutes:
            begin = one.minute // length * length
            if begin in grouped:
                grouped[begin].add(one)
            else:
                grouped[begin] = replace(one, minute=begin)
        told = [
            {
                "s": self._name,
                "i": interval,
                "t": begin * _MINUTE_MS,
                "o": str(c.open),
                "h": str(c.high),
                "l": str(c.low),
                "c": str(c.close),
                "v": str(c.volume),
                "tr": str(c.turnover),
            }
            for begin, c in grouped.items()
            if start_ms <= begin * _MINUTE_MS and (not end_ms or begin * _MINUTE_MS < end_ms)
        ]
        return told[-limit:]

    def rates(self) -> list[dict[str, Any]]:
        """Funding settlements, the newest first."""
        return [
            {
                "symbol": f.symbol,
                "rate": f.rate,
                "price": f.mark,
                "fundingTime": f.ts // 1_000_000,
                "fundingTimestamp": f.ts // 1_000_000,
            }
            for f in reversed(self._funding)
        ]

    def day(self, now_ms: int, last: str) -> dict[str, str]:
        """The last 24 hours; ``last`` stands for prices of a day without a trade."""
        first = now_ms // _MINUTE_MS - _DAY_MINUTES
        minutes = [one for one in self._minutes if one.minute > first]
        if not minutes:
            nothing = {"price24hPcnt": "0", "turnover24h": "0", "volume24h": "0", "tradeCount": "0"}
            return {"highPrice24h": last, "lowPrice24h": last, **nothing}
        total = replace(minutes[0])
        for one in minutes[1:]:
            total.add(one)
        return {
            "price24hPcnt": format(round(total.close / total.open - 1, 6), "f"),
            "highPrice24h": str(total.high),
            "lowPrice24h": str(total.low),
            "turnover24h": str(total.turnover),
            "volume24h": str(total.volume),
            "tradeCount": str(total.count),
        }
