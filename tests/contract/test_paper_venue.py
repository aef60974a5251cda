"""Paper orders over a real local exchange's public stream: sockets, latency, a restart."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from mm.core.types import ACK, ASK, BID, BUY, CANCEL_REJECT, CANCELED, EXEC_NAMES, FILL, REJECT, SELL
from mm.errors import DataError, VenueUnreachable
from mm.sandbox.process import control, exchange_stats, start_exchange, stop_exchange
from mm.venues.native import wire
from mm.venues.registry import get_venue

CONTROL = "control-token"
SPEC = {
    "control_token": CONTROL,
    "instruments": [{
        "symbol": "BTC-USDT", "venue": "native", "kind": "linear", "tick_size": "1", "lot_size": "0.001",
        "quote": "USDT", "maker_fee": "-0.0001", "taker_fee": "0.0005",
    }],
}  # fmt: skip
pytestmark = pytest.mark.slow  # a process and sockets
SYMBOL = "BTC-USDT"


@pytest.fixture
def exchange(tmp_path):
    handle = start_exchange(SPEC, tmp_path / "log")
    yield handle
    stop_exchange(handle)


class Desk:
    """A paper account and what it was told."""

    def __init__(self, handle: Any, path: Any = None) -> None:
        self.handle = handle
        venue = get_venue("paper:native")
        options = {"port": handle.port, "symbols": [SYMBOL], "latency_s": 0.005, "fills_path": path}
        self.client = venue.make_trading(options)
        self.told: list[tuple[str, int]] = []
        self._venue = venue
        self._codec: Any = None

    async def open(self) -> None:
        public = self._venue.make_public({"port": self.handle.port}, [SYMBOL])
        self._codec = self._venue.make_codec(await public.instruments(), "p")
        await self.client.connect(self._frame)

    def _frame(self, raw: bytes, ts: int) -> None:
        decoded = self._codec.decode_private(raw, ts)
        assert decoded.error == ""
        self.told += [(EXEC_NAMES[e["kind"]], int(e["lots"])) for e in decoded.execs]

    def play(self, *rows: tuple[int, int, int]) -> None:
        control(self.handle, wire.Play(token=CONTROL, symbol=SYMBOL, rows=list(rows)))

    async def hear(self, n: int) -> list[tuple[str, int]]:
        async with asyncio.timeout(10):
            while len(self.told) < n:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        out, self.told = self.told, []
        return out


def test_a_life_on_paper(exchange, tmp_path):
    async def run() -> None:
        desk = Desk(exchange, tmp_path / "paper" / "fills.jsonl")
        desk.play((BID, 99, 10), (ASK, 101, 10))
        await desk.open()
        await desk.client.place(SYMBOL, "p-1", 1, Decimal(99), Decimal("0.004"))
        await desk.client.place(SYMBOL, "p-2", 1, Decimal(101), Decimal("0.004"))
        await desk.client.cancel(SYMBOL, "p-9")
        assert await desk.hear(3) == [(EXEC_NAMES[ACK], 4), (EXEC_NAMES[REJECT], 0), (EXEC_NAMES[CANCEL_REJECT], 0)]
        desk.play((SELL, 99, 8), (BUY, 101, 1))  # eight of the ten ahead of us
        desk.play((SELL, 99, 2))
        desk.play((BID, 99, 10))
        await asyncio.sleep(0.1)
        assert desk.told == []  # it was our turn, and nobody came
        desk.play((SELL, 98, 1), (BID, 98, 5))
        (order,) = await desk.client.open_orders()
        assert order.client_order_id == "p-1"
        desk.play((SELL, 99, 40))  # through the level
        async with asyncio.timeout(10):
            while sum(lots for kind, lots in desk.told if kind == EXEC_NAMES[FILL]) < 4:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        desk.told = []
        state = await desk.client.order(SYMBOL, "p-1")
        assert (state.status, state.filled) == ("filled", Decimal("0.004"))
        position = await desk.client.position(SYMBOL)
        assert position.size == Decimal("0.004")
        assert position.balance == 10000 + Decimal("0.004") * 99 * Decimal("0.0001")  # a rebate
        await desk.client.place_reduce_only_ioc(SYMBOL, "p-3", -1, Decimal(90), Decimal(1))
        told = await desk.hear(1)
        assert told[0][0] == EXEC_NAMES[FILL]
        assert exchange_stats(exchange)["orders"] == 0  # nothing of it went out
        await desk.client.close()

        again = Desk(exchange, tmp_path / "paper" / "fills.jsonl")  # a restarted process
        desk.play((BID, 95, 10), (ASK, 105, 10))
        await again.open()
        fills = await again.client.fills(0)
        assert sum(f.size * f.side for f in fills) == (await again.client.position(SYMBOL)).size
        assert fills[0].client_order_id == "p-1"
        await again.client.close()

    asyncio.run(run())


def test_the_dead_man_and_the_end_of_the_market(exchange):
    async def run() -> None:
        desk = Desk(exchange)
        desk.play((BID, 99, 10), (ASK, 101, 10))
        await desk.open()
        await desk.client.place(SYMBOL, "p-1", 1, Decimal(98), Decimal("0.004"))
        assert await desk.hear(1) == [(EXEC_NAMES[ACK], 4)]
        await desk.client.arm_dead_man(0.1)
        assert await desk.hear(1) == [(EXEC_NAMES[CANCELED], 4)]
        stop_exchange(exchange)
        async with asyncio.timeout(10):
            await desk.client.closed()
        with pytest.raises(VenueUnreachable):
            await desk.client.connect(lambda _raw, _ts: None)
        await desk.client.close()

    asyncio.run(run())


def test_a_record_that_is_none(exchange, tmp_path):
    path = tmp_path / "fills.jsonl"
    path.write_text('{"type":"nonsense"}\n')

    async def run() -> None:
        desk = Desk(exchange, path)
        desk.play((BID, 99, 10), (ASK, 101, 10))
        with pytest.raises(DataError, match="not a record of paper fills"):
            await desk.open()
        await desk.client.close()

    asyncio.run(run())
