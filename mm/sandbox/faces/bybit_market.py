"""Market data over REST as Bybit v5 tells it: candles, trades, funding, tickers, books. Raises ``Denied``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final

from mm.sandbox.exchange import Exchange
from mm.sandbox.faces import bybit_wire as out
from mm.sandbox.faces.bybit_book import Window
from mm.sandbox.faces.bybit_wire import Denied
from mm.sandbox.history import DAY_MINUTES, MINUTE_MS, MarketHistory
from mm.venues.native import wire

Params = Mapping[str, str]

FUNDING_MS: Final = 8 * 3_600_000
_INTERVALS: Final = {
    **{str(n): n for n in (1, 3, 5, 15, 30, 60, 120, 240, 360, 720)}, "D": DAY_MINUTES, "W": 7 * DAY_MINUTES,
}  # fmt: skip


class MarketData:
    """``now_ns``: the exchange's clock; ``windows``: the books as they were pushed."""

    def __init__(self, exchange: Exchange, windows: Mapping[str, Window], now_ns: Callable[[], int]) -> None:
        self._exchange = exchange
        self._windows = windows
        self._now_ns = now_ns
        next_ms = (now_ns() // 1_000_000 // FUNDING_MS + 1) * FUNDING_MS
        self._history = {symbol: MarketHistory() for symbol in windows}
        self._rates = dict.fromkeys(windows, "0.0001")  # announced
        self._next_funding = dict.fromkeys(windows, next_ms)

    # --- what happened -----------------------------------------------------------------------------------------------
    def printed(self, symbol: str, message: wire.Trades) -> None:
        """Trades of one moment."""
        self._history[symbol].add_trades(message.trades, message.ts // 1_000_000)

    def settled(self, symbol: str, message: wire.Funding) -> tuple[dict[str, str], dict[str, str]]:
        """A funding settlement, as the tickers tell it: the rate that is charged, then the time of the next one."""
        self._history[symbol].funding.append(message)
        self._rates[symbol] = message.rate
        scheduled_ms = self._exchange.markets[symbol].next_funding_ns // 1_000_000
        next_ms = max(scheduled_ms, self._next_funding[symbol] + 1)
        self._next_funding[symbol] = next_ms if scheduled_ms else self._next_funding[symbol] + FUNDING_MS
        rate = {"markPrice": message.mark, "fundingRate": message.rate}
        return rate, {"nextFundingTime": str(self._next_funding[symbol])}

    # --- answers -----------------------------------------------------------------------------------------------------
    def time(self, _params: Params) -> dict[str, Any]:
        """The clock."""
        now_ns = self._now_ns()
        return {"timeSecond": str(now_ns // 1_000_000_000), "timeNano": str(now_ns)}

    def instruments(self, params: Params) -> dict[str, Any]:
        """Linear perpetuals; every other category is empty here."""
        wanted = params.get("symbol", "")
        linear = params.get("category") == "linear"
        found = [i for i in self._exchange.instruments if linear and wanted in {"", i.symbol}]
        rows = [out.instrument_row(i, self._exchange.markets[i.symbol].rules.max_leverage) for i in found]
        return {"category": params.get("category", ""), "list": rows, "nextPageCursor": ""}

    def book(self, params: Params) -> dict[str, Any]:
        """The window as it was pushed last."""
        window = self._windows[self._symbol(params)]
        shown = window.snapshot(self._now_ns() // 1_000_000)
        return {**shown["data"], "ts": shown["ts"], "cts": shown["cts"]}

    def tickers(self, params: Params) -> dict[str, Any]:
        """Of one symbol or all."""
        wanted = params.get("symbol", "")
        return {"category": "linear", "list": [self.ticker(s) for s in self._windows if wanted in {"", s}]}

    def ticker(self, symbol: str) -> dict[str, str]:
        """Best prices, mark, funding and the last day."""
        window, market = self._windows[symbol], self._exchange.markets[symbol]
        (bid, bid_size), (ask, ask_size) = window.bids.best(), window.asks.best()
        history = self._history[symbol]
        last = history.trades[-1][0].px if history.trades else bid
        mark = last if market.mark is None else market.units.price(market.mark)
        day = history.day(self._now_ns() // 1_000_000)
        change = Decimal(0) if day is None else round(day.close / day.open - 1, 6)
        return {
            "symbol": symbol, "lastPrice": last, "markPrice": mark, "indexPrice": mark, "bid1Price": bid,
            "bid1Size": bid_size, "ask1Price": ask, "ask1Size": ask_size, "fundingRate": self._rates[symbol],
            "nextFundingTime": str(self._next_funding[symbol]), "fundingIntervalHour": "8", "openInterest": "0",
            "openInterestValue": "0", "volume24h": str(day.volume if day else 0),
            "turnover24h": str(day.turnover if day else 0), "prevPrice24h": str(day.open) if day else last,
            "price24hPcnt": format(change, "f"), "highPrice24h": str(day.high) if day else last,
            "lowPrice24h": str(day.low) if day else last,
        }  # fmt: skip

    def candles(self, params: Params) -> dict[str, Any]:
        """``kline``: the newest first."""
        symbol, interval = self._symbol(params), params.get("interval", "")
        if interval not in _INTERVALS:
            raise Denied(10001, "params error: Invalid period!")
        start, end, limit = out.whole(params, "start", 0), out.whole(params, "end", 0), out.whole(params, "limit", 200)
        found = self._history[symbol].candles(_INTERVALS[interval], start, end + 1 if end else 0)
        rows = [
            [str(c.minute * MINUTE_MS), *(str(x) for x in (c.open, c.high, c.low, c.close, c.volume, c.turnover))]
            for c in (found[: min(limit, 1_000)] if start else found[-min(limit, 1_000) :])
        ]
        return {"category": "linear", "symbol": symbol, "list": rows[::-1]}

    def trades(self, params: Params) -> dict[str, Any]:
        """The newest first."""
        symbol = self._symbol(params)
        newest = list(self._history[symbol].trades)[-min(out.whole(params, "limit", 500), 1_000) :]
        rows = [
            {"execId": out.order_id(t.id), "symbol": symbol, "price": t.px, "size": t.qty, "side": out.side(t.side),
             "time": str(ts_ms), "isBlockTrade": False, "seq": str(t.id)}
            for t, ts_ms in reversed(newest)
        ]  # fmt: skip
        return {"category": "linear", "list": rows}

    def funding(self, params: Params) -> dict[str, Any]:
        """Settlements, the newest first."""
        symbol = self._symbol(params)
        start, end = out.whole(params, "startTime", 0), out.whole(params, "endTime", 1 << 62)
        found = [f for f in self._history[symbol].funding if start <= f.ts // 1_000_000 <= end]
        newest = found[-min(out.whole(params, "limit", 200), 200) :]
        rows = [
            {"symbol": symbol, "fundingRate": f.rate, "fundingRateTimestamp": out.ms(f.ts)} for f in reversed(newest)
        ]
        return {"category": "linear", "list": rows}

    def _symbol(self, params: Params) -> str:
        symbol = params.get("symbol", "")
        if symbol not in self._windows or params.get("category", "linear") != "linear":
            raise Denied(10001, "params error: symbol or category invalid")
        return symbol
