"""A local MEXC in the test's own event loop, and a market to trade in."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from mm.core.types import ASK, BID
from mm.sandbox.faces.mexc import MexcFace, local_keys
from mm.sandbox.server import Server
from mm.sandbox.spec import parse_spec
from tests.contract.local_server import running

TOKEN = "token-of-a"
BTC = {
    "symbol": "BTCUSDT", "venue": "mexc", "kind": "spot", "tick_size": "0.01", "lot_size": "0.000001",
    "min_notional": "5", "base": "BTC", "quote": "USDT", "maker_fee": "0", "taker_fee": "0.0005",
}  # fmt: skip
ETH = {**BTC, "symbol": "ETHUSDT", "lot_size": "0.00001", "base": "ETH"}
MID = 10_000_000  # ticks: 100,000 USDT


@dataclass
class Local:
    """A running exchange with its face."""

    server: Server
    face: MexcFace
    port: int

    @property
    def rest(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    @property
    def options(self) -> dict[str, Any]:
        """Of the venue's clients."""
        return {"network": "local", "rest_url": self.rest, "ws_url": self.ws, **local_keys(TOKEN)}

    def play(self, *rows: tuple[int, int, int], symbol: str = "BTCUSDT") -> None:
        """Anonymous flow: (kind, tick, lots)."""
        self.server.exchange.background(symbol, rows, self.server.clock_ns())
        self.server.publish()


@asynccontextmanager
async def local_mexc(clock: Callable[[], int] = time.time_ns, **spec: Any) -> AsyncIterator[Local]:
    """A local MEXC with BTC and ETH, a book of two levels each side in BTC."""
    raw = {
        "control_token": "control-token", "face": "mexc", "instruments": [BTC, ETH],
        "accounts": [{"name": "a", "token": TOKEN, "balance": "100000", "positions": {"BTCUSDT": "1"}}], **spec,
    }  # fmt: skip
    server = Server(parse_spec(json.dumps(raw).encode(), "spec"), clock)
    assert isinstance(server.face, MexcFace)
    async with running(server) as port:
        local = Local(server, server.face, port)
        local.play((BID, MID - 100, 5_000_000), (BID, MID - 200, 5_000_000))
        local.play((ASK, MID + 100, 5_000_000), (ASK, MID + 200, 5_000_000))
        yield local
