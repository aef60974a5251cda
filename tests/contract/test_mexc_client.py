"""What is MEXC's own in the clients: listen keys, snapshots, batches, refusals in two forms, history by pages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import aiohttp
import pytest
from ccxt.base.errors import ExchangeNotAvailable

from mm.core.instrument import Instrument
from mm.core.types import BID, BUY, EXEC_NAMES, SELL
from mm.errors import ConfigError, VenueUnreachable
from mm.sandbox.faces.mexc_wire import market_row
from mm.venues.base import Decoded, OrderRequest
from mm.venues.ccxt_calls import ask
from mm.venues.mexc import wire
from mm.venues.mexc.client import MexcPublicClient, MexcTradingClient
from mm.venues.mexc.codec import MexcCodec
from tests.contract.conformance.wait import until
from tests.contract.mexc_local import BTC, ETH, MID, TOKEN, Local, local_mexc

INSTRUMENTS = [Instrument.from_dict(BTC), Instrument.from_dict(ETH)]
CLOSE = Decimal("100000.50")


class Heard:
    """What the codec made of the frames of a client."""

    def __init__(self) -> None:
        self.codec = MexcCodec(INSTRUMENTS, "RM")
        self.all: list[Decoded] = []
        self.events = 0

    def private(self, raw: bytes, ts_recv_ns: int) -> None:
        self.all.append(self.codec.decode_private(raw, ts_recv_ns))

    def public(self, raw: bytes, ts_recv_ns: int) -> None:
        self.all.append(self.codec.decode_public(raw, ts_recv_ns))
        self.events += len(self.all[-1].events)

    def of(self, n: int) -> list[str]:
        """Kinds reported of an order, a refusal with its reason."""
        return [
            EXEC_NAMES[int(e["kind"])] + (f" {detail.reason}" if EXEC_NAMES[int(e["kind"])] == "reject" else "")
            for d in self.all
            for e, detail in zip(d.execs, d.exec_detail, strict=True)
            if e["id"] == n
        ]

    @property
    def unknown(self) -> list[str]:
        return [cid for d in self.all for cid in d.unknown]


@asynccontextmanager
async def trading(**options: Any) -> AsyncIterator[tuple[Local, MexcTradingClient, Heard]]:
    async with local_mexc() as local:
        client, heard = MexcTradingClient({**local.options, **options}), Heard()
        await client.connect(heard.private)
        try:
            yield local, client, heard
        finally:
            await client.close()


async def place(client: MexcTradingClient, n: int, side: int = -1, price: Decimal = CLOSE, size: str = "0.01") -> None:
    await client.place("BTCUSDT", f"RM-{n}", side, price, Decimal(size))


def test_a_batch_is_told_order_by_order() -> None:
    async def run() -> None:
        async with trading() as (local, client, heard):
            sizes = ["0.01", "0.00001", "0.02"]
            orders = [OrderRequest("BTCUSDT", f"RM-{k}", -1, CLOSE, Decimal(s)) for k, s in enumerate(sizes)]
            eth = OrderRequest("ETHUSDT", "RM-3", 1, Decimal(2_000), Decimal("0.1"))
            await client.place_batch([*orders[:2], eth, orders[2]])
            await until(lambda: all(heard.of(n) for n in range(4)))
            assert [heard.of(n) for n in (0, 2, 3)] == [["ack"]] * 3
            assert heard.of(1) == ["reject 30002: The minimum transaction volume cannot be less than：5USDT"]
            assert {o.symbol for o in await client.open_orders()} == {"BTCUSDT", "ETHUSDT"}
            local.face.change_faults({"ack_lost": 1})
            await client.place_batch([OrderRequest("BTCUSDT", f"RM-{k}", -1, CLOSE, Decimal("0.01")) for k in (4, 5)])
            await until(lambda: len(heard.unknown) == 2)
            assert [heard.of(n) for n in (4, 5)] == [["ack"]] * 2  # the private stream knows
            assert await client.cancel_all() == 5

    asyncio.run(run())


@pytest.mark.parametrize("as_error", [True, False])
def test_a_crossing_order_is_one_refusal_in_both_forms(as_error: bool) -> None:
    async def run() -> None:
        async with trading() as (local, client, heard):
            local.face.trading.post_only_error = as_error
            await place(client, 1, 1, Decimal(100_001))
            await until(lambda: heard.of(1))
            await asyncio.sleep(0.05)
            [told] = heard.of(1)
            assert told == (
                "reject -2010: Order would immediately match and take."
                if as_error
                else "reject post-only order would cross"
            )

    asyncio.run(run())


def test_there_is_no_short_sale() -> None:
    async def run() -> None:
        async with trading() as (local, client, heard):
            await place(client, 1, size="0.7")
            await until(lambda: heard.of(1))
            await place(client, 2, size="0.4")
            await until(lambda: heard.of(2))
            assert heard.of(2) == ["reject 30005: Oversold"]
            await client.place_reduce_only_ioc("BTCUSDT", "RM-3", 1, Decimal(100_100), Decimal("0.1"))
            await client.place_reduce_only_ioc("BTCUSDT", "RM-4", -1, Decimal(99_000), Decimal("0.1"))
            await until(lambda: "fill" in heard.of(4))
            assert heard.of(3) == ["reject not sent: a purchase reduces nothing on a spot market"]
            account = local.server.exchange.accounts[TOKEN]
            assert (account.n_orders, account.n_taker_fills) == (3, 1)
            for call in (client.amend("BTCUSDT", "RM-1", CLOSE, Decimal(1)), client.set_leverage("BTCUSDT", 2)):
                with pytest.raises(NotImplementedError):
                    await call
            with pytest.raises(NotImplementedError):
                await client.arm_dead_man(10)

    asyncio.run(run())


def test_the_listen_key_is_renewed_and_a_refused_renewal_ends_the_session() -> None:
    async def run() -> None:
        async with trading() as (local, _, _):
            local.face.change_faults({"token_life_s": 0.4})
            client, heard = MexcTradingClient({**local.options, "renew_s": 0.1}), Heard()
            await client.connect(heard.private)
            await asyncio.sleep(0.9)
            await place(client, 1)
            await until(lambda: heard.of(1) == ["ack"])
            account = local.server.exchange.accounts[TOKEN]
            for key in local.face._keys.of(account, local.face.now_ns()):
                local.face._keys._keys.pop(key)
            await asyncio.wait_for(client.closed(), 2)
            await client.connect(heard.private)
            await place(client, 2)
            await until(lambda: heard.of(2) == ["ack"])
            await client.close()
            await until(lambda: len(local.face._keys.of(account, local.face.now_ns())) <= 1)  # its own is gone

    asyncio.run(run())


def test_nothing_is_sent_twice_but_a_query_is_asked_again() -> None:
    async def run() -> None:
        async with trading() as (local, client, heard):
            await place(client, 1)
            await until(lambda: heard.of(1))
            local.face.change_faults({"ack_lost": 1})
            before = local.face.counts["requests"]
            await client.cancel("BTCUSDT", "RM-1")
            await until(lambda: heard.unknown)
            assert local.face.counts["requests"] == before + 1
            assert heard.of(1) == ["ack", "canceled"]
            calls: list[dict[str, Any]] = []

            async def broken_once(params: dict[str, Any]) -> str:
                calls.append(params)
                if len(calls) == 1:
                    raise ExchangeNotAvailable("gone") from aiohttp.ServerDisconnectedError
                return "answer"

            assert await client._ask(broken_once, {}) == "answer"
            calls.clear()
            assert await ask(client._ex, lambda: broken_once({})) == "answer"

    asyncio.run(run())


def test_a_wrong_clock_is_set_right() -> None:
    async def run() -> None:
        async with trading() as (local, client, heard):
            local.face.change_faults({"clock_skew_s": 30.0})
            await place(client, 1)
            await until(lambda: heard.of(1))
            assert heard.of(1) == ["reject 700003: Timestamp for this request is outside of the recvWindow."]
            await until(lambda: client._clock is not None and client._clock.done())
            await place(client, 2)
            await until(lambda: heard.of(2) == ["ack"])
            local.face.change_faults({"clock_skew_s": 0.0})
            assert len(await client.open_orders()) == 1  # asked again with the right time

    asyncio.run(run())


def test_history_by_pages_and_what_is_held() -> None:
    async def run() -> None:
        async with trading(symbols=["BTCUSDT"]) as (local, client, heard):
            await place(client, 1, size="0.5")
            await until(lambda: heard.of(1))
            for _ in range(230):
                local.play((BUY, MID + 50, 1_000))
                await asyncio.sleep(0.001)
            await until(lambda: heard.of(1).count("fill") == 230)
            history = await client.fills(0)
            true = local.server.exchange.accounts[TOKEN].fills
            assert [(f.trade_id, f.size, f.maker) for f in history] == [
                (f"{t.trade_id:018d}X1", Decimal(t.qty), True) for t in true
            ]
            assert await client.fills(true[-1].ts + 1_000_000_000) == []
            assert await client.fees("BTCUSDT") == (Decimal(0), Decimal("0.0005"))
            position = await client.position("BTCUSDT")
            assert (position.size, position.balance) == (Decimal("0.77"), Decimal(100_000) + 230 * Decimal("100.0005"))
            assert position.entry_price == Decimal("99999.75")  # the mid, for want of an entry
            local.play((BID, MID - 100, 0))
            assert (await client.position("BTCUSDT")).entry_price == Decimal("99999.75")
            state = await client.order("BTCUSDT", "RM-1")
            assert state is not None
            assert (state.filled, state.status) == (Decimal("0.23"), "open")

    asyncio.run(run())


def test_executions_that_name_only_the_venues_order() -> None:
    async def run() -> None:
        async with trading() as (local, client, heard):
            local.face.trading.deals_tell_cid = False
            await place(client, 1)
            await until(lambda: heard.of(1))
            local.play((BUY, MID + 50, 4_000), (BUY, MID + 50, 6_000))
            await until(lambda: heard.of(1) == ["ack", "fill", "fill"])
            assert {f.client_order_id for f in await client.fills(0)} == {"RM-1"}
            fresh = MexcTradingClient(local.options)
            await fresh.connect(Heard().private)
            assert {f.client_order_id for f in await fresh.fills(0)} == {"RM-1"}  # it asked for the order
            await fresh.close()

    asyncio.run(run())


def test_an_order_without_a_client_id_is_known_by_the_venues() -> None:
    async def run() -> None:
        async with trading() as (_, client, heard):
            row = {"symbol": "BTCUSDT", "side": "SELL", "type": "LIMIT", "quantity": "0.01", "price": "100000.50"}
            await client._ex.spotPrivatePostOrder(row)
            [found] = await client.open_orders()
            assert found.client_order_id == found.venue_order_id
            await client.cancel("BTCUSDT", found.client_order_id)
            await until(lambda: heard.of(-1) == ["ack", "canceled"])
            state = await client.order("BTCUSDT", found.client_order_id)
            assert state is not None
            assert state.status == "canceled"

    asyncio.run(run())


def test_a_market_that_cannot_be_read_hides_no_other() -> None:
    good = market_row(INSTRUMENTS[0])
    rows = [{}, None, {**good, "symbol": "X", "baseAssetPrecision": "?"}, {**good, "orderTypes": ["LIMIT"]}, good]
    assert wire.instruments(rows) == INSTRUMENTS[:1]
    with pytest.raises(VenueUnreachable):
        wire.instruments("<html>")


def test_snapshots_are_asked_for_until_one_comes() -> None:
    async def run() -> None:
        async with local_mexc() as local:
            client, heard = MexcPublicClient(local.options, ["BTCUSDT", "ETHUSDT"]), Heard()
            local.face.change_faults({"rate_limited": 1})  # the first is refused: again after the second that it says
            running = asyncio.create_task(client.run(heard.public))
            await until(lambda: len([d for d in heard.all if len(d.events)]) == 2)
            assert sum(d.error != "" for d in heard.all) == 0
            for k in range(5):
                local.play((BID, MID - 50 - k, 1_000_000), (SELL, MID - 50 - k, 300_000))
            await until(lambda: heard.events > 12)
            assert local.face.counts["rate_limited"] == 1
            local.face.drop("public", hard=True)
            with pytest.raises(VenueUnreachable):
                await asyncio.wait_for(running, 2)
            with pytest.raises(VenueUnreachable, match="not connected"):
                await client.resync("BTCUSDT")
            assert {i.symbol for i in await client.instruments()} == {"BTCUSDT", "ETHUSDT"}
            assert [i for i in await client.instruments() if i.symbol == "BTCUSDT"] == INSTRUMENTS[:1]
            await client.close()

    asyncio.run(run())


def test_options() -> None:
    with pytest.raises(ConfigError, match="RAYMAKER_MEXC_API_SECRET"):
        MexcTradingClient({"rest_url": "http://127.0.0.1:1", "ws_url": "ws://127.0.0.1:1", "api_key": "mx0secret"})
    with pytest.raises(ConfigError, match="16 symbols"):
        MexcPublicClient({"rest_url": "http://127.0.0.1:1", "ws_url": "ws://127.0.0.1:1"}, ["A"] * 16)
