"""The local MEXC as the unmodified ccxt.pro sees it, and what the venue says when it refuses."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from typing import Any

import aiohttp
import ccxt.pro
import msgspec
import pytest
from ccxt.base import errors
from ccxt.protobuf.mexc.PushDataV3ApiWrapper_pb2 import PushDataV3ApiWrapper
from hypothesis import given, settings
from hypothesis import strategies as st

from mm.core.types import ASK, BID, BUY, SELL
from mm.sandbox.exchange import Exchange
from mm.sandbox.faces.mexc import local_keys
from mm.sandbox.faces.mexc_auth import Denied
from mm.sandbox.faces.mexc_rest import Trading
from mm.sandbox.spec import parse_spec
from tests.contract.conformance.wait import until
from tests.contract.mexc_local import BTC, MID, TOKEN, Local, local_mexc

SYMBOL = "BTC/USDT"


def stock_client(local: Local, **options: Any) -> Any:
    """ccxt.pro's own class with other addresses."""
    keys = local_keys(TOKEN)
    ex = ccxt.pro.mexc({
        "apiKey": keys["api_key"], "secret": keys["api_secret"], "enableRateLimit": False,
        "options": {"defaultType": "spot", "watchOrderBook": {"snapshotDelay": 0}, **options},
    })  # fmt: skip
    rest, ws = local.rest, local.ws
    ex.urls["api"] = {
        "spot": {"public": rest, "private": rest}, "spot2": {"public": rest, "private": rest},
        "contract": {"public": rest + "/api/v1/contract", "private": rest}, "broker": {"private": rest},
        "ws": {"spot": ws + "/ws", "swap": ws + "/edge"},
    }  # fmt: skip
    return ex


def test_markets_book_and_trades_through_ccxt() -> None:
    async def run() -> None:
        async with local_mexc() as local:
            ex = stock_client(local)
            await ex.load_markets()
            market = ex.market(SYMBOL)
            assert (market["precision"]["price"], market["precision"]["amount"]) == (0.01, 0.000001)
            assert market["limits"]["cost"]["min"] == 5
            waiting = asyncio.create_task(ex.watch_order_book(SYMBOL))
            trades = asyncio.create_task(ex.watch_trades(SYMBOL))
            await until(lambda: len(local.face._topics.get("BTCUSDT", ())) == 2)
            for k in range(3):
                local.play((BID, MID - 50 - k, 1_000_000))
                await asyncio.sleep(0.11)
            local.play((SELL, MID - 50, 400_000))
            book = await asyncio.wait_for(waiting, 5)
            assert book["asks"][0] == [100_001.0, 5.0]
            [trade] = await asyncio.wait_for(trades, 5)
            assert (trade["side"], trade["price"], trade["amount"]) == ("sell", 99_999.5, 0.4)
            book = await ex.fetch_order_book(SYMBOL)
            assert book["bids"][0] == [99_999.5, 0.6]
            assert [(t["side"], t["amount"]) for t in await ex.fetch_trades(SYMBOL)] == [("sell", 0.4)]
            await ex.close()

    asyncio.run(run())


def test_an_order_from_its_placing_to_its_fill_through_ccxt() -> None:
    async def run() -> None:
        async with local_mexc() as local:
            ex = stock_client(local)
            await ex.load_markets()
            orders = asyncio.create_task(ex.watch_orders())
            deals = asyncio.create_task(ex.watch_my_trades())
            await until(lambda: sum(len(s.topics) for s in local.face.sessions if s.private) == 2)
            maker = {"postOnly": True, "clientOrderId": "A-1"}
            placed = await ex.create_order(SYMBOL, "limit", "sell", 0.01, 100_000.5, maker)
            [order] = await asyncio.wait_for(orders, 5)
            assert (order["clientOrderId"], order["status"], order["timeInForce"]) == ("A-1", "open", "PO")
            [row] = await ex.fetch_open_orders(SYMBOL)
            assert (row["id"], row["clientOrderId"], row["info"]["type"]) == (placed["id"], "A-1", "LIMIT_MAKER")
            assert (await ex.fetch_balance())["BTC"] == {"free": 0.99, "used": 0.01, "total": 1.0}
            local.play((BUY, MID + 50, 4_000))
            [deal] = await asyncio.wait_for(deals, 5)
            assert (deal["side"], deal["amount"], deal["order"], deal["info"]["isMaker"]) == (
                "sell", 0.004, placed["id"], True,
            )  # fmt: skip
            row = await ex.fetch_order(placed["id"], SYMBOL)
            assert (row["status"], row["filled"], row["average"]) == ("open", 0.004, 100_000.5)
            canceled = await ex.cancel_order(placed["id"], SYMBOL)
            assert canceled["info"]["status"] == "PARTIALLY_CANCELED"
            with pytest.raises(errors.BadRequest, match="-2011"):
                await ex.cancel_order(placed["id"], SYMBOL)
            [trade] = await ex.fetch_my_trades(SYMBOL)
            assert (trade["takerOrMaker"], trade["cost"]) == ("maker", 400.002)
            balance = await ex.fetch_balance()
            assert (balance["BTC"]["total"], balance["USDT"]["free"]) == (0.996, 100_400.002)
            fee = await ex.fetch_trading_fee(SYMBOL)
            assert (fee["maker"], fee["taker"]) == (0.0, 0.0005)
            await ex.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("order", "error", "code"),
    [
        (("buy", 0.01, 100_001.0, {"postOnly": True}), errors.ExchangeError, "-2010"),
        (("buy", 0.00004, 100_000.0, {}), errors.InvalidOrder, "30002"),
        (("sell", 1.1, 100_000.5, {}), errors.InsufficientFunds, "30005"),
        (("buy", 2.0, 99_000.0, {}), errors.InsufficientFunds, "30004"),
        (("buy", 0.01, 99_000.0, {"clientOrderId": "not a name"}), errors.BadRequest, "700008"),
        (("buy", 0.01, 99_000.0, {"type": "STOP"}), errors.InvalidOrder, "30041"),
    ],
)
def test_refusals_through_ccxt(order: tuple[Any, ...], error: type[Exception], code: str) -> None:
    async def run() -> None:
        async with local_mexc() as local:
            ex = stock_client(local)
            await ex.load_markets()
            with pytest.raises(error, match=code):
                await ex.create_order(SYMBOL, "limit", order[0], order[1], order[2], order[3])
            assert not local.server.exchange.accounts[TOKEN].open
            await ex.close()

    asyncio.run(run())


def test_access_is_refused_as_the_venue_does() -> None:
    async def run() -> None:
        async with local_mexc() as local:
            for change, error, code in (
                ({"secret": "x"}, errors.AuthenticationError, "700002"),
                ({"apiKey": "mx0unknown"}, errors.BadRequest, "10072"),
                ({"options": {"recvWindow": 60_001}}, errors.InvalidNonce, "700005"),
            ):
                ex = stock_client(local)
                for name, value in change.items():
                    setattr(ex, name, {**ex.options, **value} if isinstance(value, dict) else value)
                with pytest.raises(error, match=code):
                    await ex.spotPrivateGetAccount()
                await ex.close()
            ex = stock_client(local)
            for skew_s in (-6.0, 6.5):  # the client is behind by more than the window, or ahead by more than a second
                local.face.change_faults({"clock_skew_s": -skew_s})
                with pytest.raises(errors.InvalidNonce, match="700003"):
                    await ex.spotPrivateGetAccount()
            local.face.change_faults({"clock_skew_s": 3.0})
            assert (await ex.spotPrivateGetAccount())["canTrade"]
            assert abs(await ex.fetch_time() - time.time() * 1e3 - 3_000) < 500
            async with aiohttp.ClientSession() as plain, plain.get(local.rest + "/api/v3/account") as r:
                assert (r.status, (await r.json())["code"]) == (400, 400)
            await ex.close()

    asyncio.run(run())


def test_limits_maintenance_and_unknown_paths() -> None:
    async def run() -> None:
        async with local_mexc() as local:
            ex = stock_client(local)
            await ex.load_markets()
            batch = [
                {"symbol": SYMBOL, "type": "limit", "side": "buy", "amount": a, "price": 99_000, "params": {
                    "postOnly": True, "clientOrderId": f"A-{k}"}}
                for k, a in enumerate((0.01, 0.00001, 0.02))
            ]  # fmt: skip
            rows = [r["info"] for r in await ex.create_orders(batch)]
            assert [r.get("code") for r in rows] == [None, 30002, None]
            assert [r["newClientOrderId"] for r in rows] == ["A-0", "A-1", "A-2"]
            assert len(local.server.exchange.accounts[TOKEN].open) == 2
            await ex.cancel_all_orders()
            assert not local.server.exchange.accounts[TOKEN].open
            calls = [ex.spotPrivatePostBatchOrders({"batchOrders": "[{}]"}) for _ in range(3)]
            ends = await asyncio.gather(*calls, return_exceptions=True)
            assert any(isinstance(end, errors.RateLimitExceeded) for end in ends)
            local.face.change_faults({"maintenance": True})
            with pytest.raises(errors.OnMaintenance):
                await ex.fetch_time()
            local.face.change_faults({"maintenance": False})
            async with aiohttp.ClientSession() as plain, plain.get(local.rest + "/api/v3/nowhere") as r:
                assert r.status == 404
            assert local.face.counts["unknown_routes"] == 1
            await ex.close()

    asyncio.run(run())


def test_a_listen_key_ends_with_its_stream() -> None:
    async def run() -> None:
        async with local_mexc() as local, aiohttp.ClientSession() as plain:
            ex = stock_client(local)
            local.face.change_faults({"token_life_s": 0.3})
            key = (await ex.spotPrivatePostUserDataStream())["listenKey"]
            async with plain.ws_connect(local.ws + "/ws?listenKey=" + key) as socket:
                await socket.send_json({"method": "SUBSCRIPTION", "params": ["spot@private.orders.v3.api.pb", "x@y"]})
                told = (await socket.receive_json())["msg"]
                assert told == "spot@private.orders.v3.api.pb,Not Subscribed successfully! [x@y].  Reason： Blocked! "
                await asyncio.sleep(0.2)
                await ex.spotPrivatePutUserDataStream({"listenKey": key})
                await asyncio.sleep(0.2)
                await socket.send_json({"method": "ping"})
                assert (await socket.receive_json())["msg"] == "PONG"
                assert (await socket.receive(timeout=2)).type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)
            with pytest.raises(errors.BadRequest):
                await ex.spotPrivatePutUserDataStream({"listenKey": key})
            async with plain.ws_connect(local.ws + "/ws?listenKey=" + key) as socket:
                await socket.send_json({"method": "ping"})
                assert (await socket.receive()).data == "Invalid listen key"
            await ex.close()

    asyncio.run(run())


@pytest.mark.parametrize("as_error", [True, False])
def test_a_crossing_post_only_order_is_refused_in_one_of_two_ways(as_error: bool) -> None:
    async def run() -> None:
        async with local_mexc() as local, aiohttp.ClientSession() as plain:
            local.face.trading.post_only_error = as_error
            ex = stock_client(local)
            key = (await ex.spotPrivatePostUserDataStream())["listenKey"]
            order = {
                "symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT_MAKER", "quantity": "0.01", "price": "100001",
                "newClientOrderId": "A-7",
            }  # fmt: skip
            async with plain.ws_connect(local.ws + "/ws?listenKey=" + key) as socket:
                await socket.send_json({"method": "SUBSCRIPTION", "params": ["spot@private.orders.v3.api.pb"]})
                await socket.receive_json()
                if as_error:
                    with pytest.raises(errors.ExchangeError, match="-2010"):
                        await ex.spotPrivatePostOrder(order)
                else:
                    taken = await ex.spotPrivatePostOrder(order)
                    push = PushDataV3ApiWrapper.FromString((await socket.receive(timeout=2)).data).privateOrders
                    assert (push.id, push.clientId, push.status) == (taken["orderId"], "A-7", 4)
                    assert (push.orderType, push.cumulativeQuantity) == (2, "0")
            await ex.close()

    asyncio.run(run())


def test_pushes_cover_versions_without_a_hole_and_agree_with_the_snapshot() -> None:
    async def run() -> None:
        async with local_mexc() as local, aiohttp.ClientSession() as plain:
            topic = "spot@public.aggre.depth.v3.api.pb@10ms@BTCUSDT"
            async with plain.ws_connect(local.ws + "/ws") as socket:
                await socket.send_json({"method": "SUBSCRIPTION", "params": [topic]})
                await socket.receive_json()
                async with plain.get(local.rest + "/api/v3/depth?symbol=BTCUSDT") as r:
                    start = await r.json()
                book = {s: dict(start[s]) for s in ("bids", "asks")}
                for k in range(40):
                    local.play((BID, MID - 300 - k % 7, k % 3 * 1_000_000), (ASK, MID + 300 + k % 5, k * 1_000))
                    await asyncio.sleep(0.002)
                at, pushes = start["lastUpdateId"], 0
                while at < local.server.exchange.market("BTCUSDT").seq:
                    body = PushDataV3ApiWrapper.FromString((await socket.receive(timeout=2)).data).publicAggreDepths
                    assert int(body.fromVersion) == at + 1
                    at, pushes = int(body.toVersion), pushes + 1
                    for side in ("bids", "asks"):
                        for level in getattr(body, side):
                            book[side][level.price] = level.quantity
                assert pushes < 40  # changes of one interval are one push
                async with plain.get(local.rest + "/api/v3/depth?symbol=BTCUSDT") as r:
                    end = await r.json()
                for side in ("bids", "asks"):
                    assert {p: q for p, q in book[side].items() if float(q)} == dict(end[side])

    asyncio.run(run())


WORDS = st.one_of(
    st.sampled_from(["BTCUSDT", "BUY", "LIMIT_MAKER", "0.01", "99000", "-1", "1e400", "NaN", "9" * 5_000, "[{}]", ","]),
    st.text(max_size=8),
)
NAMES = st.sampled_from([
    "symbol", "side", "type", "price", "quantity", "newClientOrderId", "orderId", "origClientOrderId", "limit",
    "startTime", "endTime", "batchOrders",
])  # fmt: skip


@given(st.lists(st.tuples(st.integers(0, 12), st.dictionaries(NAMES, WORDS)), max_size=8))
@settings(max_examples=60, deadline=None)
def test_whatever_is_asked_is_answered_or_denied(requests: list[tuple[int, dict[str, str]]]) -> None:
    exchange = Exchange(parse_spec(json.dumps({
        "control_token": "control-token", "instruments": [BTC], "accounts": [{"name": "a", "token": TOKEN}],
    }).encode(), "spec"))  # fmt: skip
    trading = Trading(exchange, time.time_ns)
    calls = [
        trading.place, trading.test, trading.batch, trading.cancel, trading.cancel_symbols, trading.cancel_everything,
        trading.order, trading.open_orders, trading.all_orders, trading.my_trades, trading.account, trading.trade_fee,
        trading.self_symbols,
    ]  # fmt: skip
    for which, params in requests:
        full = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "price": "99000", "quantity": "0.01", **params}
        with contextlib.suppress(Denied):
            msgspec.json.encode(calls[which](exchange.accounts[TOKEN], full))
