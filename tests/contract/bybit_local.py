"""A local Bybit in the test's own event loop, and a market to trade in."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from mm.core.instrument import Instrument
from mm.core.types import ASK, BID, EXEC_NAMES
from mm.sandbox.faces.bybit import BybitFace, local_keys
from mm.sandbox.server import Server
from mm.sandbox.spec import parse_spec
from mm.venues.base import Decoded
from mm.venues.bybit.codec import BybitCodec
from tests.contract.local_server import running

TOKEN = "token-of-a"
BTC = {
    "symbol": "BTCUSDT", "venue": "bybit", "kind": "linear", "tick_size": "0.1", "lot_size": "0.001",
    "min_notional": "5", "base": "BTC", "quote": "USDT", "maker_fee": "0.0002", "taker_fee": "0.00055",
}  # fmt: skip
ETH = {**BTC, "symbol": "ETHUSDT", "tick_size": "0.01", "lot_size": "0.01", "base": "ETH"}
MID = 1_000_000  # ticks: 100,000 USDT
PREFIX = "t1"


@dataclass
class Local:
    """A running exchange with its face."""

    server: Server
    face: BybitFace
    port: int

    @property
    def options(self) -> dict[str, Any]:
        """Of the venue's clients."""
        where = {"rest_url": f"http://127.0.0.1:{self.port}", "ws_url": f"ws://127.0.0.1:{self.port}"}
        return {"network": "local", **where, **local_keys(TOKEN)}

    def play(self, *rows: tuple[int, int, int], symbol: str = "BTCUSDT") -> None:
        """Anonymous flow: (kind, tick, lots)."""
        self.server.exchange.background(symbol, rows, time.time_ns())
        self.server.publish()


@dataclass
class Heard:
    """What a client delivered and what the codec made of it."""

    codec: BybitCodec = field(default_factory=lambda: BybitCodec([Instrument.from_dict(BTC)], PREFIX))
    public: bool = False
    frames: list[bytes] = field(default_factory=list)
    decoded: list[Decoded] = field(default_factory=list)

    def __call__(self, raw: bytes, ts_recv_ns: int) -> None:
        self.frames.append(raw)
        decode = self.codec.decode_public if self.public else self.codec.decode_private
        self.decoded.append(decode(raw, ts_recv_ns))

    @property
    def execs(self) -> list[tuple[str, int, int, int]]:
        """(kind, id, lots, tick) of every report so far."""
        return [(EXEC_NAMES[e["kind"]], int(e["id"]), int(e["lots"]), int(e["tick"])) for d in self.decoded
                for e in d.execs]  # fmt: skip

    @property
    def reasons(self) -> list[str]:
        return [x.reason for d in self.decoded for x in d.exec_detail]

    @property
    def events(self) -> list[Any]:
        return [e for d in self.decoded for e in d.events]

    @property
    def unknown(self) -> list[str]:
        return [cid for d in self.decoded for cid in d.unknown]

    @property
    def errors(self) -> list[str]:
        return [d.error for d in self.decoded if d.error]

    @property
    def news(self) -> list[Any]:
        return [n for d in self.decoded for n in d.news]

    def kinds(self, order: int) -> list[str]:
        """What was reported of one order."""
        return [kind for kind, number, *_ in self.execs if number == order]


def price(offset_ticks: int) -> Decimal:
    """A price around the middle."""
    return Decimal(MID + offset_ticks) / 10


@asynccontextmanager
async def local_bybit(**spec: Any) -> AsyncIterator[Local]:
    """A local Bybit with BTC and ETH, a book of two levels each side in BTC."""
    raw = {
        "control_token": "control-token", "face": "bybit", "instruments": [BTC, ETH],
        "accounts": [{"name": "a", "token": TOKEN, "balance": "100000"}], **spec,
    }  # fmt: skip
    server = Server(parse_spec(json.dumps(raw).encode(), "spec"))
    assert isinstance(server.face, BybitFace)
    async with running(server) as port:
        local = Local(server, server.face, port)
        local.play((BID, MID - 100, 500), (BID, MID - 200, 500), (ASK, MID + 100, 500), (ASK, MID + 200, 500))
        yield local
