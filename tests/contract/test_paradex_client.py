"""The Paradex clients against the local exchange, beyond the shared cases: log-in, tokens, sockets, answers."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets

from mm.core.types import ASK, BID, EXEC_NAMES, SELL
from mm.errors import ConfigError, VenueUnreachable
from mm.sandbox.faces.paradex_auth import local_keys
from mm.venues.base import OrderRequest
from mm.venues.paradex.client import ParadexTradingClient
from mm.venues.paradex.codec import ParadexCodec
from mm.venues.paradex.rest import Refused, Rest
from mm.venues.paradex.venue import VENUE
from tests.contract.conformance.wait import until
from tests.contract.paradex_local import BTC, ETH, MID, ONE, PREFIX, SYMBOL, Local, local

WALLET = {
    "l1_address": "0xd2c7314539dCe7752c8120af4eC2AA750Cf2035e",
    "l1_private_key": "0xf8e4d1d772cdd44e5e77615ad11cc071c94e4c06dc21150d903f28e6aa6abdff",
}
WALLET_KEY = 0x2C144D2F2D4FC61B6F8967F3BA0012A87D90140BCFE5A3E92E8DF83258C960F  # what the library derives from it
SIZE = Decimal("0.01")


class Desk:
    """A connected client and what it was told."""

    def __init__(self, one: Local, client: ParadexTradingClient) -> None:
        self.one = one
        self.client = client
        self.codec = ParadexCodec([BTC], PREFIX)
        self.told: list[tuple[str, int]] = []
        self.unknown: list[str] = []
        self.errors: list[str] = []

    async def connect(self) -> None:
        self.codec.reset()
        await self.client.connect(self.on_frame)

    def on_frame(self, raw: bytes, ts_recv_ns: int) -> None:
        d = self.codec.decode_private(raw, ts_recv_ns)
        self.told += [(EXEC_NAMES[int(e["kind"])], int(e["id"])) for e in d.execs]
        self.unknown += d.unknown
        if d.error:
            self.errors.append(d.error)

    async def place(self, n: int, ticks: int = MID - 100) -> None:
        await self.client.place(SYMBOL, f"{PREFIX}-{n}", 1, BTC.price(ticks), SIZE)

    async def hears(self, *what: tuple[str, int]) -> None:
        await until(lambda: all(x in self.told for x in what))


@asynccontextmanager
async def desk(*, connect: bool = True, **options: Any) -> AsyncIterator[Desk]:
    async with local() as one:
        d = Desk(one, one.trading(**({"timeout_s": 4.0, "stall_s": 6.0} | options)))
        if connect:
            await d.connect()
        try:
            yield d
        finally:
            await d.client.close()


# --- what it is made with --------------------------------------------------------------------------------------------
def test_missing_options_and_keys_are_named() -> None:
    where = {"rest_url": "http://127.0.0.1:1", "ws_url": "ws://127.0.0.1:1"}
    with pytest.raises(ConfigError, match="rest_url"):
        VENUE.make_public({}, [SYMBOL])
    with pytest.raises(ConfigError, match="RAYMAKER_PARADEX_L2_ADDRESS, RAYMAKER_PARADEX_L2_PRIVATE_KEY"):
        VENUE.make_trading(where)
    with pytest.raises(ConfigError, match="RAYMAKER_PARADEX_L1_ADDRESS"):
        VENUE.make_trading(where | {"l1_private_key": "0x1"})
    client = VENUE.make_trading(where | local_keys("token-of-a"))
    assert local_keys("token-of-a")["l2_private_key"] not in repr(client) + repr(vars(client)["_where"])
    assert set(VENUE.networks) == {"testnet", "mainnet"}


def test_keys_that_are_no_numbers() -> None:
    async def run() -> None:
        async with desk(connect=False, l2_private_key="my dog") as d:
            with pytest.raises(ConfigError, match="hexadecimal"):
                await d.connect()

    asyncio.run(run())


def test_the_library_is_loaded_by_whoever_connects_only() -> None:
    code = "import sys, mm.venues.paradex.venue; assert not {'paradex_py', 'httpx', 'websockets'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=True)


def test_a_wallet_opens_its_account_and_trades() -> None:
    async def run() -> None:
        async with desk(connect=False, l2_private_key="", l2_address="", **WALLET) as d:
            d.one.face.access.register(d.one.account, WALLET_KEY, onboarded=False)
            await d.connect()
            await d.place(1)
            await d.hears(("ack", 1))

    asyncio.run(run())


async def _relay(seen: list[bytes], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection through a SOCKS5 proxy that takes everything for this machine."""
    await reader.readexactly((await reader.readexactly(2))[1])
    writer.write(b"\x05\x00")
    kind = (await reader.readexactly(4))[3]
    seen.append(await reader.readexactly((await reader.readexactly(1))[0] if kind == 3 else 4))
    theirs, ours = await asyncio.open_connection("127.0.0.1", int.from_bytes(await reader.readexactly(2), "big"))
    writer.write(b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65_536):
            sink.write(data)
        sink.close()

    await asyncio.gather(pump(reader, ours), pump(theirs, writer), return_exceptions=True)


def test_a_socks_proxy_carries_everything_and_looks_names_up() -> None:
    async def run() -> None:
        seen: list[bytes] = []
        proxy = await asyncio.start_server(lambda r, w: _relay(seen, r, w), "127.0.0.1", 0)
        async with local() as one:
            named = {k: v.replace("127.0.0.1", "venue.test") for k, v in one.options().items()}
            options = named | {"proxy": f"socks5h://127.0.0.1:{proxy.sockets[0].getsockname()[1]}"}
            client = VENUE.make_trading(options)
            assert isinstance(client, ParadexTradingClient)
            d = Desk(one, client)
            await d.connect()
            await d.place(1)
            await d.hears(("ack", 1))
            assert len(await client.open_orders()) == 1
            await client.close()
        proxy.close()
        assert set(seen) == {b"venue.test"}
        assert len(seen) >= 2

    asyncio.run(run())


# --- tokens and the clock --------------------------------------------------------------------------------------------
def test_tokens_are_renewed_before_their_end_on_the_same_socket() -> None:
    async def run() -> None:
        async with local() as one:
            one.face.change_faults({"token_life_s": 2.0})
            d = Desk(one, one.trading())
            await d.connect()
            socket, first = d.client._socket, d.client._made and d.client._made.account.jwt_token
            await asyncio.sleep(2.6)
            assert d.client._socket is socket
            assert socket is not None
            assert not socket.ended.done()
            assert d.client._made is not None
            assert d.client._made.account.jwt_token != first
            await d.place(1)
            await d.hears(("ack", 1))
            await d.client.close()

    asyncio.run(run())


def test_a_socket_whose_token_cannot_be_renewed_ends_and_comes_back() -> None:
    async def run() -> None:
        async with local() as one:
            one.face.change_faults({"token_life_s": 0.5})
            d = Desk(one, one.trading())
            await d.connect()
            one.face.change_faults({"rest_down": True})
            await asyncio.wait_for(d.client.closed(), 5)
            assert any("40111" in error for error in d.errors)
            with pytest.raises(VenueUnreachable):
                await d.place(1)
            with pytest.raises(VenueUnreachable):
                await d.connect()
            one.face.change_faults({"rest_down": False, "token_life_s": 0.0})
            await d.connect()
            await d.place(2)
            await d.hears(("ack", 2))
            await d.client.close()

    asyncio.run(run())


def test_a_revoked_token_is_renewed_by_the_next_query() -> None:
    async def run() -> None:
        async with desk() as d:
            d.one.face.access.revoke(time.time_ns())
            assert await d.client.open_orders() == []

    asyncio.run(run())


def test_after_a_refusal_for_its_time_the_clock_is_asked() -> None:
    async def run() -> None:
        async with desk() as d:
            d.one.face.change_faults({"clock_skew_s": 20.0})
            await d.place(1)
            await d.hears(("reject", 1))
            await d.place(2)
            await d.hears(("ack", 2))
            assert d.client._made is not None
            assert abs(d.client._made.offset_ns - 20e9) < 1e9

    asyncio.run(run())


# --- orders ----------------------------------------------------------------------------------------------------------
def test_a_cancel_does_not_overtake_its_order() -> None:
    async def run() -> None:
        async with desk() as d:
            for n in range(1, 11):
                await d.place(n, MID - 100 - n)
                await d.client.cancel(SYMBOL, f"{PREFIX}-{n}")
            await d.hears(*(("canceled", n) for n in range(1, 11)))
            assert d.told.count(("ack", 10)) == 1
            assert not [x for x in d.told if x[0] == "cancel_reject"]
            assert d.one.account.open == {}

    asyncio.run(run())


def test_many_orders_at_once_are_bounded_and_none_is_lost() -> None:
    async def run() -> None:
        async with desk() as d:
            for n in range(1, 46):
                await d.place(n, MID - 100 - n)
                assert len(d.client._sends) <= 32
            await d.hears(*(("ack", n) for n in range(1, 46)))
            assert len(d.one.account.open) == 45
            assert await d.client.cancel_all() == 45

    asyncio.run(run())


def test_what_is_not_sent_when_everything_is_cancelled_is_never_sent() -> None:
    async def run() -> None:
        async with desk() as d:
            for n in range(1, 41):  # more than may be under way
                task = asyncio.ensure_future(d.place(n, MID - 100 - n))
                await asyncio.sleep(0)
            await d.client.cancel_all()
            with suppress(VenueUnreachable):
                await task
            await until(lambda: not len(d.client._sends))
            await asyncio.sleep(0.1)
            assert d.one.account.open == {}
            assert [x for x in d.told if x[0] == "reject"]
            await d.place(100)
            await d.hears(("ack", 100))

    asyncio.run(run())


def test_a_halt_takes_every_way_there_is() -> None:
    async def run() -> None:
        async with desk(timeout_s=1.0) as d:
            await d.place(1)
            await d.hears(("ack", 1))
            d.one.face.change_faults({"rest_down": True})
            with pytest.raises(VenueUnreachable):  # it cannot be verified
                await d.client.cancel_all()
            assert d.one.account.open == {}  # the socket did it
            d.one.face.change_faults({"rest_down": False})
            await d.place(2)
            await d.hears(("ack", 2))
            d.one.face.drop("private", hard=True)
            await asyncio.wait_for(d.client.closed(), 2)
            assert await d.client.cancel_all() == 1
            assert d.one.account.open == {}

    asyncio.run(run())


def test_an_amendment_counts_what_is_filled() -> None:
    async def run() -> None:
        async with desk() as d:
            await d.client.place(SYMBOL, f"{PREFIX}-1", 1, BTC.price(MID), Decimal("0.05"))
            await d.hears(("ack", 1))
            d.one.play((SELL, MID, 2 * ONE // 100))
            await d.hears(("fill", 1))
            await d.client.amend(SYMBOL, f"{PREFIX}-1", BTC.price(MID - 1), Decimal("0.04"))
            await until(lambda: d.told.count(("ack", 1)) == 2)
            (order,) = d.one.account.open.values()
            assert (order.ticks, BTC.size(order.lots)) == (MID - 1, Decimal("0.04"))
            state = await d.client.order(SYMBOL, f"{PREFIX}-1")
            assert state is not None
            assert (state.size, state.filled) == (Decimal("0.06"), Decimal("0.02"))
            await d.client.amend(SYMBOL, f"{PREFIX}-9", BTC.price(MID - 1), SIZE)
            await d.hears(("cancel_reject", 9))

    asyncio.run(run())


def test_batches_that_are_none() -> None:
    async def run() -> None:
        async with desk() as d:
            one = OrderRequest(SYMBOL, f"{PREFIX}-1", 1, BTC.price(MID - 100), SIZE)
            for orders in ([], [one] * 51):
                with pytest.raises(ValueError, match="1 to 50"):
                    await d.client.place_batch(orders)
            await d.client.place_batch([one, OrderRequest(SYMBOL, f"{PREFIX}-2", 1, Decimal("59990.05"), SIZE)])
            await d.hears(("ack", 1), ("reject", 2))

    asyncio.run(run())


def test_no_answer_in_time_is_unknown_and_the_order_is_not_sent_again() -> None:
    async def run() -> None:
        async with desk(timeout_s=1.0) as d:
            d.one.face.change_faults({"ack_lost": 1})
            await d.place(1)
            await until(lambda: d.unknown == [f"{PREFIX}-1"])
            await asyncio.sleep(0.2)
            assert d.one.account.n_orders == 1
            d.one.face.change_faults({"request_delay_s": 1.4})
            await d.place(2)
            await until(lambda: len(d.unknown) == 2)
            assert await d.client.order(SYMBOL, f"{PREFIX}-2") is None  # not yet: the executor asks again
            await until(lambda: len(d.one.account.open) == 2)

    asyncio.run(run())


def test_requests_under_way_when_the_socket_ends_are_unknown() -> None:
    async def run() -> None:
        async with desk() as d:
            d.one.face.change_faults({"ack_delay_s": 3.0})
            await d.place(1)
            await until(lambda: d.one.account.open)
            d.one.face.drop("private", hard=True)
            await until(lambda: d.unknown == [f"{PREFIX}-1"])
            await asyncio.wait_for(d.client.closed(), 2)

    asyncio.run(run())


def test_what_was_not_sent_is_refused_and_what_may_have_been_sent_is_unknown() -> None:
    async def run() -> None:
        async with desk() as d:
            rest, socket = d.client._made, d.client._socket
            assert rest is not None
            assert socket is not None

            async def refuse(*_: Any) -> Any:
                raise websockets.ConnectionClosedError(None, None)  # has a code, and is no answer

            socket._send_request = refuse  # type: ignore[method-assign]
            await d.place(1)
            await until(lambda: d.unknown == [f"{PREFIX}-1"])
            signing = rest.sign

            async def ends_meanwhile(order: dict[str, Any]) -> dict[str, Any]:
                socket.end("gone")
                return await signing(order)

            rest.sign = ends_meanwhile  # type: ignore[method-assign]
            await d.place(2)
            await d.hears(("reject", 2))
            assert d.told == [("reject", 2)]
            assert d.one.account.n_orders == 0

    asyncio.run(run())


# --- the socket's life -----------------------------------------------------------------------------------------------
def test_the_dead_man_is_armed_by_session() -> None:
    async def run() -> None:
        async with desk() as d:
            await d.place(1)
            await d.hears(("ack", 1))
            await d.client.arm_dead_man(10)
            d.one.face.drop("private", hard=True)
            await until(lambda: not d.one.account.open)
            await d.connect()
            await d.place(2)
            await d.hears(("ack", 2))
            d.one.face.drop("private", hard=True)
            await asyncio.wait_for(d.client.closed(), 2)
            await asyncio.sleep(0.1)
            assert len(d.one.account.open) == 1  # a new session begins without
            with pytest.raises(VenueUnreachable):
                await d.client.arm_dead_man(10)

    asyncio.run(run())


@pytest.mark.parametrize("ending", ["soft", "hard", "silent"])
def test_closed_returns_whatever_ended_the_connection(ending: str) -> None:
    async def run() -> None:
        async with desk(stall_s=0.6) as d:
            begun = time.perf_counter()
            if ending == "silent":
                d.one.face.change_faults({"stall_private": True, "no_pong": True})
            else:
                d.one.face.drop("private", hard=ending == "hard")
            await asyncio.wait_for(d.client.closed(), 2)
            assert time.perf_counter() - begun < 1.5
            with pytest.raises(VenueUnreachable):
                await d.client.cancel(SYMBOL, f"{PREFIX}-1")
            await d.connect()

    asyncio.run(run())


def test_market_data_that_falls_silent_ends_though_pongs_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mm.venues.paradex.client.STALL_S", 0.5)

    async def run() -> None:
        async with local() as one:
            client = one.public(stall_s=0.5)
            frames: list[bytes] = []
            run_ = asyncio.create_task(client.run(lambda raw, _: frames.append(raw)))
            await until(lambda: len(frames) > 3)
            one.face.change_faults({"stall_public": True})
            with pytest.raises(VenueUnreachable, match="no frame for"):
                await asyncio.wait_for(run_, 8)
            await client.close()

    asyncio.run(run())


def test_two_markets_over_one_connection() -> None:
    async def run() -> None:
        async with local(instruments=(BTC, ETH)) as one:
            codec = ParadexCodec([BTC, ETH], PREFIX)
            levels: dict[tuple[int, int, int], int] = {}
            acks: list[tuple[int, int]] = []

            def public(raw: bytes, ts: int) -> None:
                for e in codec.decode_public(raw, ts).events:
                    if int(e["kind"]) in (BID, ASK):
                        levels[int(e["instrument"]), int(e["kind"]), int(e["tick"])] = int(e["lots"])

            def private(raw: bytes, ts: int) -> None:
                acks.extend((int(e["instrument"]), int(e["id"])) for e in codec.decode_private(raw, ts).execs)

            feed = VENUE.make_public(one.options(), [BTC.symbol, ETH.symbol])
            task = asyncio.create_task(feed.run(public))
            await until(lambda: (0, BID, MID - 10) in levels)
            one.exchange.background(ETH.symbol, [(BID, 300_000, 10_000), (ASK, 300_010, 20_000)], time.time_ns())
            one.server.publish()
            await until(lambda: levels.get((1, ASK, 300_010)) == 20_000)
            assert {i.symbol for i in await feed.instruments()} == {BTC.symbol, ETH.symbol}
            client = one.trading()
            await client.connect(private)
            for n, i in ((1, BTC), (2, ETH)):
                await client.place(i.symbol, f"{PREFIX}-{n}", 1, i.price(290_000), i.size(10_000))
            await until(lambda: sorted(acks) == [(0, 1), (1, 2)])
            assert {o.symbol for o in await client.open_orders()} == {BTC.symbol, ETH.symbol}
            assert await client.order(ETH.symbol, f"{PREFIX}-1") is None  # it is in the other market
            await client.cancel(ETH.symbol, f"{PREFIX}-1")
            await until(lambda: (1, 1) in acks)  # a CANCEL_REJECT
            assert len(one.account.open) == 2
            await client.close()
            await feed.close()
            await asyncio.wait_for(task, 2)

    asyncio.run(run())


def test_run_returns_after_close_and_nothing_stays_behind() -> None:
    async def run() -> None:
        async with local() as one:
            public = one.public()
            frames: list[bytes] = []
            run_ = asyncio.create_task(public.run(lambda raw, _: frames.append(raw)))
            await until(lambda: frames)
            assert [i.symbol for i in await public.instruments()] == [SYMBOL]
            await public.close()
            await asyncio.wait_for(run_, 2)
            trading = one.trading()
            await trading.connect(lambda _raw, _ts: None)
            one.face.change_faults({"stall_private": True, "no_pong": True})
            begun = time.perf_counter()
            await trading.close()
            assert time.perf_counter() - begun < 2.0
            await trading.close()

    asyncio.run(run())
    left = [t.name for t in threading.enumerate() if t.name.startswith("paradex") and t.is_alive()]
    deadline = time.monotonic() + 3
    while left and time.monotonic() < deadline:
        time.sleep(0.05)
        left = [t.name for t in threading.enumerate() if t.name.startswith("paradex") and t.is_alive()]
    assert left == []


def test_a_subscription_that_is_refused_ends_the_run() -> None:
    async def run() -> None:
        async with local() as one:
            client = VENUE.make_public(one.options(), ["DOGE-USD-PERP"])
            with pytest.raises(VenueUnreachable, match="DOGE"):
                await client.run(lambda _raw, _ts: None)
            with pytest.raises(VenueUnreachable):
                await client.resync(SYMBOL)
            await client.close()

    asyncio.run(run())


def test_closing_while_connecting_leaves_nothing_open() -> None:
    async def run() -> None:
        async with local() as one:
            trading, public = one.trading(), one.public()
            for pause in (0.0, 0.01, 0.03, 0.1):
                for start in (
                    lambda: trading.connect(lambda _raw, _ts: None),
                    lambda: public.run(lambda _raw, _ts: None),
                ):
                    task = asyncio.ensure_future(start())
                    await asyncio.sleep(pause)
                    await trading.close()
                    await public.close()
                    with suppress(VenueUnreachable):
                        await asyncio.wait_for(task, 6)
                    await trading.close()
                    await public.close()
            await until(lambda: not one.face.sessions)

    asyncio.run(run())


def test_a_listener_that_fails_ends_the_session() -> None:
    async def run() -> None:
        async with local() as one:
            for what in (b"orders.ALL", b'"raymaker"'):
                client = one.trading()

                def listen(raw: bytes, _ts: int, what: bytes = what) -> None:
                    if what in raw:
                        raise RuntimeError("no more disk")

                await client.connect(listen)
                await client.place(SYMBOL, f"{PREFIX}-{len(what)}", 1, BTC.price(MID - 100), SIZE)
                await asyncio.wait_for(client.closed(), 5)
                await client.close()

    asyncio.run(run())


def test_fees_are_those_that_the_market_tells_this_account() -> None:
    async def run() -> None:
        async with desk() as d:
            d.one.account.fees[SYMBOL] = own = (Decimal("-0.00005"), Decimal("0.0003"))
            assert await d.client.fees(SYMBOL) == own
            with pytest.raises(VenueUnreachable):
                await d.client.fees("DOGE-USD-PERP")

    asyncio.run(run())


class _Budget:
    def __init__(self) -> None:
        self.taken: list[str] = []

    async def take(self, kind: str) -> None:
        self.taken.append(kind)

    def note(self, kind: str) -> None:
        self.taken.append(f"noted {kind}")


def test_every_request_of_the_account_comes_from_its_budget_but_a_halt() -> None:
    async def run() -> None:
        budget = _Budget()
        async with desk(budget=budget) as d:
            await d.place(1)
            await d.hears(("ack", 1))
            await d.client.cancel(SYMBOL, f"{PREFIX}-1")
            await d.hears(("canceled", 1))
            await d.client.open_orders()
            await d.client.position(SYMBOL)
            await d.client.order(SYMBOL, f"{PREFIX}-1")
            assert budget.taken == ["place", "cancel", "query", "query", "query", "query"]
            await d.client.cancel_all()
            assert budget.taken[6:] == ["noted cancel_all"] * 2

    asyncio.run(run())


# --- answers that are none -------------------------------------------------------------------------------------------
def _boom(_request: httpx.Request) -> httpx.Response:
    raise httpx.ReadTimeout("slow")


@pytest.mark.parametrize(
    ("handler", "expected", "words"),
    [
        (lambda _: httpx.Response(502, text="<html>bad gateway</html>"), VenueUnreachable, "502"),
        (lambda _: httpx.Response(429, text="{}"), VenueUnreachable, "Rate limit"),
        (
            lambda _: httpx.Response(503, json={"error": "SERVICE_UNAVAILABLE", "message": "x"}),
            VenueUnreachable,
            "SERVICE",
        ),
        (
            lambda _: httpx.Response(400, json={"error": "VALIDATION_ERROR", "message": "it's bad", "data": None}),
            Refused,
            "it's bad",
        ),
        (_boom, VenueUnreachable, "ReadTimeout"),
    ],
)
def test_what_the_library_makes_of_bad_answers(
    handler: Callable[[httpx.Request], httpx.Response], expected: type[Exception], words: str
) -> None:
    async def run() -> None:
        rest = Rest("http://127.0.0.1:1/v1", {}, "", 1.0)
        rest.api.client = httpx.Client(transport=httpx.MockTransport(handler))
        with pytest.raises(expected, match=words):
            await rest.call(lambda api: api.fetch_markets())
        rest.close()

    asyncio.run(run())


@pytest.mark.parametrize("body", ["", "null", "[]", '{"results": 1}', '{"results": [{"id": 1}]}', "<html>"])
def test_an_answer_that_cannot_be_read_is_no_answer(body: str) -> None:
    async def run() -> None:
        async with desk() as d:
            assert d.client._made is not None
            d.client._made.api.client = httpx.Client(
                transport=httpx.MockTransport(lambda _: httpx.Response(200, text=body))
            )
            for ask in (d.client.open_orders, lambda: d.client.fills(0), lambda: d.client.position(SYMBOL)):
                with pytest.raises(VenueUnreachable):
                    await ask()

    asyncio.run(run())
