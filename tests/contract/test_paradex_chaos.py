"""Seconds of orders under random faults on every side: nothing that was reported is false, and the end is the truth."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any

import pytest

from mm.core.types import ASK, BID, BUY, CLEAR_ASK, CLEAR_BID, EXEC_NAMES, SELL
from mm.errors import VenueUnreachable
from mm.venues.paradex.codec import ParadexCodec
from tests.contract.conformance.wait import until
from tests.contract.paradex_local import BTC, MID, ONE, PREFIX, SYMBOL, Local, local

pytestmark = pytest.mark.slow

FAULTS: list[dict[str, Any]] = [
    {"ack_lost": 1}, {"error_after_accept": 1}, {"rate_limited": 1}, {"duplicate_private": 2}, {"lose_public": 2},
    {"swap_public": 1}, {"duplicate_public": 2}, {"request_delay_s": 0.05}, {"ack_delay_s": 0.05},
    {"request_delay_s": 0.0, "ack_delay_s": 0.0},
]  # fmt: skip
NONE = {name: type(value)(0) for fault in FAULTS for name, value in fault.items()}


class Feed:
    """The public side: a book that is connected, and asked for again after every gap."""

    def __init__(self, one: Local) -> None:
        self.client = one.public(timeout_s=2.0, stall_s=1.0)
        self.codec = ParadexCodec([BTC], PREFIX)
        self.book: dict[int, dict[int, int]] = {BID: {}, ASK: {}}
        self.errors: list[str] = []
        self._asked: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        while True:
            self.codec.reset()
            try:
                await self.client.run(self.on_frame)
            except VenueUnreachable:
                await asyncio.sleep(0.05)

    def on_frame(self, raw: bytes, ts_recv_ns: int) -> None:
        d = self.codec.decode_public(raw, ts_recv_ns)
        if d.error:
            self.errors.append(d.error)
        for e in d.events:
            kind, tick, lots = int(e["kind"]), int(e["tick"]), int(e["lots"])
            if kind in (CLEAR_BID, CLEAR_ASK):
                self.book[BID if kind == CLEAR_BID else ASK] = {}
            elif kind in (BID, ASK) and lots:
                self.book[kind][tick] = lots
            elif kind in (BID, ASK):
                self.book[kind].pop(tick, None)
        for _ in d.gap:
            task = asyncio.ensure_future(self._resync())
            self._asked.add(task)
            task.add_done_callback(self._asked.discard)

    async def _resync(self) -> None:
        try:
            await self.client.resync(SYMBOL)
        except VenueUnreachable:
            return  # the next connection begins with the whole book


class Trader:
    """The private side."""

    def __init__(self, one: Local) -> None:
        self.client = one.trading(timeout_s=1.0, stall_s=1.0)
        self.codec = ParadexCodec([BTC], PREFIX)
        self.told: list[tuple[str, int]] = []
        self.fills: set[str] = set()

    async def connect(self) -> None:
        while True:
            self.codec.reset()
            try:
                return await self.client.connect(self.on_frame)
            except VenueUnreachable:
                await asyncio.sleep(0.05)

    @property
    def ended(self) -> bool:
        return self.client._socket is None or self.client._socket.ended.done()

    def on_frame(self, raw: bytes, ts_recv_ns: int) -> None:
        d = self.codec.decode_private(raw, ts_recv_ns)
        self.told += [(EXEC_NAMES[int(e["kind"])], int(e["id"])) for e in d.execs]
        self.fills |= {x.trade_id for x in d.exec_detail if x.trade_id}


async def disturb(one: Local, trader: Trader, rng: random.Random, seconds: float) -> int:
    """Orders, cancels, amendments, flow and faults at random; returns how many orders were tried."""
    n, ends_s = 0, time.monotonic() + seconds
    while time.monotonic() < ends_s:
        r, some = rng.random(), f"{PREFIX}-{rng.randint(max(1, n - 40), max(1, n))}"
        try:
            if r < 0.45:
                n, side = n + 1, rng.choice((1, -1))
                price = BTC.price(MID - side * rng.randint(-12, 60))
                await trader.client.place(SYMBOL, f"{PREFIX}-{n}", side, price, BTC.size(ONE // 100))
            elif r < 0.6:
                await trader.client.cancel(SYMBOL, some)
            elif r < 0.65:
                await trader.client.amend(SYMBOL, some, BTC.price(MID - rng.randint(30, 39)), BTC.size(ONE // 50))
            elif r < 0.75:
                one.play((SELL, MID - rng.randint(1, 25), ONE // 50), (BUY, MID + rng.randint(1, 25), ONE // 50))
            elif r < 0.85:
                one.play((BID, MID - rng.randint(10, 30), ONE * rng.randint(0, 3)))
            elif r < 0.93:
                one.face.change_faults(rng.choice(FAULTS))
            elif r < 0.95:
                one.face.drop(rng.choice(("public", "private", "all")), hard=rng.random() < 0.5)
            elif r < 0.96:
                one.face.access.revoke(time.time_ns())
            else:
                await trader.client.open_orders()
        except VenueUnreachable:
            pass
        if trader.ended:
            await trader.connect()
        await asyncio.sleep(rng.random() * 0.02)
    return n


@pytest.mark.parametrize("seed", [1, 2])
def test_the_end_is_the_truth(seed: int) -> None:
    async def run() -> None:
        async with local() as one:
            one.face.limit = lambda *_a, **_k: True  # type: ignore[method-assign]
            feed, trader = Feed(one), Trader(one)
            feeding = asyncio.create_task(feed.run())
            await trader.connect()
            n = await disturb(one, trader, random.Random(seed), 4.0)
            one.face.change_faults(NONE)
            await asyncio.sleep(1.2)  # every request has an end by now
            if trader.ended:
                await trader.connect()
            assert {o.client_order_id for o in await trader.client.open_orders()} == set(one.account.open)
            history = await trader.client.fills(0)
            assert len({f.trade_id for f in history}) == len(history) == one.account.n_fills
            assert trader.fills <= {f.trade_id for f in history}
            for k in range(1, n + 1):
                kinds, order = [kind for kind, i in trader.told if i == k], one.account.orders.get(f"{PREFIX}-{k}")
                if "reject" in kinds:
                    assert order is None or order.status == "rejected", (k, kinds)
                if order is not None and k % 5 == 0:
                    state = await trader.client.order(SYMBOL, order.cid)
                    assert state is not None
                    assert (state.status, state.filled) == (order.status, BTC.size(order.filled_lots))
            engine = one.exchange.markets[SYMBOL].engine
            one.play((BID, MID - 90, ONE))
            await until(lambda: feed.book == {BID: dict(engine.depth(1)), ASK: dict(engine.depth(-1))})
            assert feed.errors == []
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)
            await feed.client.close()
            await trader.client.close()

    asyncio.run(run())
