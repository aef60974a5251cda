"""What was in one market: candles, funding rates and the last day, as ApeX Omni tells them."""

from __future__ import annotations

from typing import Any, Final

from mm.sandbox.history import DAY_MINUTES, MINUTE_MS, MarketHistory

_INTERVALS: Final = {
    **{str(n): n for n in (1, 3, 5, 15, 30, 60, 120, 240, 360, 720)}, "D": DAY_MINUTES, "W": 7 * DAY_MINUTES,
}  # fmt: skip


class History(MarketHistory):
    """Of the market with that name."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def candle_rows(self, interval: str, start_ms: int, end_ms: int, limit: int) -> list[dict[str, Any]]:
        """The newest ``limit`` candles that begin within the times (0: open), oldest first; raises ``KeyError``."""
        told = [
            {
                "s": self._name,
                "i": interval,
                "t": c.minute * MINUTE_MS,
                "o": str(c.open),
                "h": str(c.high),
                "l": str(c.low),
                "c": str(c.close),
                "v": str(c.volume),
                "tr": str(c.turnover),
            }
            for c in self.candles(_INTERVALS[interval], start_ms, end_ms)
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
            for f in reversed(self.funding)
        ]

    def figures(self, now_ms: int, last: str) -> dict[str, str]:
        """The last 24 hours; ``last`` stands for prices of a day without a trade."""
        total = self.day(now_ms)
        if total is None:
            nothing = {"price24hPcnt": "0", "turnover24h": "0", "volume24h": "0", "tradeCount": "0"}
            return {"highPrice24h": last, "lowPrice24h": last, **nothing}
        return {
            "price24hPcnt": format(round(total.close / total.open - 1, 6), "f"),
            "highPrice24h": str(total.high),
            "lowPrice24h": str(total.low),
            "turnover24h": str(total.turnover),
            "volume24h": str(total.volume),
            "tradeCount": str(total.count),
        }
