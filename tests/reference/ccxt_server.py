"""What ccxt asks Bybit and Binance USDⓈ-M for market history, on a loopback port, with troubles on demand.

Prices are a pure function of time, so that any page can be checked. ``troubles``: what the next requests for history
meet, in turn: ``ok``, ``limit`` (rate limit), ``drop`` (connection), ``down`` (503), ``nonsense`` (a candle that cannot
be), ``refuse``, ``stop`` (from now on nothing is answered).
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

STEP = 300_000
FUNDING = 28_800_000


def candle(at: int) -> tuple[float, float, float, float, float]:
    n = at // STEP
    return (100.0 + n % 7, 110.0 + n % 5, 90.0 + n % 3, 101.0 + n % 4, 1.5 + n % 2)


class Server:
    """A context: ``address`` answers; ``holes``: times of candles that the exchange does not have."""

    def __init__(self, troubles: list[str] | None = None, holes: set[int] | None = None, newest: int = 10**14) -> None:
        self.troubles = troubles or []
        self.holes = holes or set()
        self.newest = newest
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.stopped = False
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None: ...

            def do_GET(self) -> None:
                where = urlsplit(self.path)
                query = {k: v[0] for k, v in parse_qs(where.query).items()}
                outer.answer(self, where.path, query)

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.address = f"127.0.0.1:{self.http.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.http.shutdown()
        self.http.server_close()

    def answer(self, handler: BaseHTTPRequestHandler, path: str, query: dict[str, str]) -> None:
        status, trouble = 200, "ok"
        if path not in ("/v5/market/instruments-info", "/fapi/v1/exchangeInfo"):
            self.asked.append((path, query))
            trouble = self.troubles.pop(0) if self.troubles else "ok"
        self.stopped |= trouble == "stop"
        if trouble == "drop" or self.stopped:
            handler.close_connection = True
            handler.connection.close()
            return
        body: Any = {"/v5/market/instruments-info": self.bybit_markets, "/v5/market/kline": self.bybit_candles,
                     "/v5/market/funding/history": self.bybit_funding, "/v5/market/recent-trade": self.bybit_trades,
                     "/fapi/v1/exchangeInfo": self.binance_markets, "/fapi/v1/klines": self.binance_candles,
                     "/fapi/v1/aggTrades": self.binance_trades}[path](query)  # fmt: skip
        if trouble == "limit":
            body = {"retCode": 10006, "retMsg": "Too many visits!", "result": {}}
        elif trouble == "refuse":
            body = {"retCode": 10001, "retMsg": "params error", "result": {}}
        elif trouble == "nonsense":
            rows = body["result"]["list"]
            rows[0] = [rows[0][0], "100", "90", "110", "100", "1", "1"]
        elif trouble == "down":
            status = 503
        data = json.dumps(body).encode() if status == 200 else b"<html>503 Service Temporarily Unavailable</html>"
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    # --- Bybit -------------------------------------------------------------------------------------------------------
    @staticmethod
    def _bybit(rows: list[Any]) -> dict[str, Any]:
        return {"retCode": 0, "retMsg": "OK", "result": {"category": "linear", "list": rows, "nextPageCursor": ""},
                "retExtInfo": {}, "time": 1}  # fmt: skip

    def bybit_markets(self, query: dict[str, str]) -> dict[str, Any]:
        row = {
            "symbol": "BTCUSDT", "contractType": "LinearPerpetual", "status": "Trading", "baseCoin": "BTC",
            "quoteCoin": "USDT", "settleCoin": "USDT", "launchTime": "1585526400000", "deliveryTime": "0",
            "deliveryFeeRate": "", "priceScale": "1", "fundingInterval": 480,
            "leverageFilter": {"minLeverage": "1", "maxLeverage": "100.00", "leverageStep": "0.01"},
            "priceFilter": {"minPrice": "0.1", "maxPrice": "1999999", "tickSize": "0.1"},
            "lotSizeFilter": {"maxOrderQty": "1190", "minOrderQty": "0.001", "qtyStep": "0.001",
                              "minNotionalValue": "5"},
        }  # fmt: skip
        return self._bybit([row] if query.get("category") == "linear" and "status" not in query else [])

    def _times(self, begin: int, end: int, limit: int) -> list[int]:
        first = -(-begin // STEP) * STEP
        times = range(first, min(end, self.newest) + 1, STEP)
        return [t for t in times if t not in self.holes][:limit]

    def bybit_candles(self, query: dict[str, str]) -> dict[str, Any]:
        assert query["interval"] == "5"
        times = self._times(int(query["start"]), int(query["end"]), int(query["limit"]))
        return self._bybit([[str(t), *map(str, candle(t)), "1"] for t in reversed(times)])

    def bybit_funding(self, query: dict[str, str]) -> dict[str, Any]:
        begin, end = int(query["startTime"]), int(query["endTime"])
        times = [t for t in range(-(-begin // FUNDING) * FUNDING, end + 1, FUNDING) if t not in self.holes]
        rows = [{"symbol": "BTCUSDT", "fundingRate": f"{t // FUNDING % 9}e-4", "fundingRateTimestamp": str(t)}
                for t in reversed(times)]  # fmt: skip
        return self._bybit(rows)

    def bybit_trades(self, _query: dict[str, str]) -> dict[str, Any]:
        return self._bybit([{"execId": f"e{k}", "symbol": "BTCUSDT", "price": "100", "size": "1", "side": "Buy",
                             "time": str(self.newest - k), "isBlockTrade": False} for k in range(5)])  # fmt: skip

    # --- Binance -----------------------------------------------------------------------------------------------------
    def binance_markets(self, _query: dict[str, str]) -> dict[str, Any]:
        filters = [{"filterType": "PRICE_FILTER", "minPrice": "0.1", "maxPrice": "999999", "tickSize": "0.1"},
                   {"filterType": "LOT_SIZE", "minQty": "0.001", "maxQty": "1000", "stepSize": "0.001"}]  # fmt: skip
        row = {"symbol": "BTCUSDT", "pair": "BTCUSDT", "contractType": "PERPETUAL", "deliveryDate": 4133404800000,
               "onboardDate": 1569398400000, "status": "TRADING", "baseAsset": "BTC", "quoteAsset": "USDT",
               "marginAsset": "USDT", "pricePrecision": 2, "quantityPrecision": 3, "baseAssetPrecision": 8,
               "quotePrecision": 8, "filters": filters, "orderTypes": ["LIMIT"], "timeInForce": ["GTC"]}  # fmt: skip
        return {"timezone": "UTC", "serverTime": 1, "symbols": [row], "assets": [], "rateLimits": []}

    def binance_candles(self, query: dict[str, str]) -> list[Any]:
        times = self._times(int(query["startTime"]), int(query.get("endTime", self.newest)), int(query["limit"]))
        return [[t, *map(str, candle(t)), t + STEP - 1, "1", 1, "1", "1", "0"] for t in times]

    def binance_trades(self, query: dict[str, str]) -> list[Any]:
        """Three trades a minute, two of them in the same millisecond; at most an hour of them."""
        begin = int(query["startTime"])
        end = min(int(query.get("endTime", begin + 3_600_000)), begin + 3_600_000, self.newest)
        out = []
        for minute in range(begin // 60_000, end // 60_000 + 1):
            for k, at in enumerate((minute * 60_000, minute * 60_000 + 7, minute * 60_000 + 7)):
                if begin <= at <= end:
                    out.append({"a": minute * 3 + k, "p": "100.5", "q": "0.5", "f": 1, "l": 1, "T": at, "m": bool(k)})
        return out[: int(query.get("limit", 500))]
