"""The local Bybit itself: signatures, the unmodified ccxt.pro against it, the 50 best levels, market data clients."""

import asyncio
import hashlib
import hmac
import json
import time
from decimal import Decimal
from urllib.parse import urlencode

import aiohttp
import ccxt.pro
import numpy as np
import pytest
from yarl import URL

from mm.core.types import ASK, BID, BUY, CLEAR_ASK, CLEAR_BID, FUNDING, MARK, SELL
from mm.errors import VenueUnreachable
from mm.sandbox.faces.bybit_book import LEVELS, Window
from mm.venues.native import wire
from mm.venues.registry import get_venue
from tests.contract.bybit_local import BTC, MID, Heard, local_bybit
from tests.contract.conformance.wait import until

BYBIT = get_venue("bybit")


def signed(options, payload, *, stamp=None, secret=None, key=None):
    """The headers of a request."""
    stamp = str(stamp or time.time_ns() // 1_000_000)
    key = key or options["api_key"]
    text = f"{stamp}{key}5000{payload}".encode()
    sign = hmac.new((secret or options["api_secret"]).encode(), text, hashlib.sha256).hexdigest()
    return {"X-BAPI-API-KEY": key, "X-BAPI-TIMESTAMP": stamp, "X-BAPI-RECV-WINDOW": "5000", "X-BAPI-SIGN": sign}


# --- requests --------------------------------------------------------------------------------------------------------
def test_signatures_are_checked_over_time_key_window_and_payload():
    async def scenario():
        async with local_bybit() as local, aiohttp.ClientSession() as http:
            url = local.options["rest_url"]
            body = json.dumps({"category": "linear", "symbol": "BTCUSDT", "side": "Buy", "orderType": "Limit",
                               "qty": "0.010", "price": "99000", "orderLinkId": "x-1"})  # fmt: skip
            now_ms = time.time_ns() // 1_000_000

            async def post(headers, text=body):
                async with http.post(url + "/v5/order/create", data=text, headers=headers) as answer:
                    return (await answer.json())["retCode"]

            options = local.options
            assert await post({}) == 10003
            assert await post(signed(options, body, key="nobody")) == 10003
            assert await post(signed(options, body, secret="wrong")) == 10004
            assert await post(signed(options, body), body.replace("0.010", "0.020")) == 10004
            for stamp in (now_ms - 6_000, now_ms + 2_000):
                assert await post(signed(options, body, stamp=stamp)) == 10002
            assert await post(signed(options, "{")) == 10004
            assert await post(signed(options, "{"), "{") == 10001
            assert local.server.exchange.stats()["orders"] == 0
            assert await post(signed(options, body)) == 0
            query = "category=linear&symbol=BTCUSDT"
            async with http.get(f"{url}/v5/order/realtime?{query}", headers=signed(options, query)) as answer:
                rows = (await answer.json())["result"]["list"]
            assert [row["orderLinkId"] for row in rows] == ["x-1"]
            async with http.get(url + "/v5/no/such") as answer:
                assert answer.status == 404
            assert local.face.counts["unknown_routes"] == 1

    asyncio.run(scenario())


def test_what_may_be_said_on_a_socket():
    async def scenario():
        async with local_bybit() as local, aiohttp.ClientSession() as http:
            url = local.options["ws_url"]

            async def said(path, *messages):
                async with http.ws_connect(url + path) as socket:
                    for message in messages:
                        await socket.send_str(message if isinstance(message, str) else json.dumps(message))
                        answer = json.loads((await socket.receive(timeout=2)).data)
                    return answer

            public, private, trade = "/v5/public/linear", "/v5/private", "/v5/trade"
            subscribe = {"op": "subscribe", "args": ["orderbook.50.BTCUSDT"]}
            assert (await said(public, {"op": "ping", "req_id": "7"}))["ret_msg"] == "pong"
            assert not (await said(public, {"op": "subscribe", "args": ["orderbook.50.XRPUSDT"]}))["success"]
            assert not (await said(public, "{"))["success"]
            assert not (await said(public, {"op": "dance"}))["success"]
            assert (await said(private, {"op": "ping"}))["op"] == "pong"
            assert "authenticate" in (await said(private, {"op": "subscribe", "args": ["order"]}))["ret_msg"]
            assert not (await said(private, {"op": "auth", "args": ["x", str(10**13), "y"]}))["success"]
            create = {"op": "order.create", "reqId": "1", "header": {}, "args": [{"category": "linear"}]}
            assert (await said(trade, create))["retCode"] == 10003
            async with http.ws_connect(url + public) as socket:
                for _ in range(2):
                    await socket.send_json(subscribe)
                got = [json.loads((await socket.receive(timeout=2)).data) for _ in range(3)]
            assert [x.get("success") for x in got] == [True, None, False]
            assert "already subscribed" in got[2]["ret_msg"]

    asyncio.run(scenario())


def test_the_unmodified_library_trades_on_it():
    async def scenario(local, ex):
        symbol, seen = "BTC/USDT:USDT", []
        await ex.load_markets()
        assert ex.market(symbol)["precision"] == {"amount": 0.001, "price": 0.1}
        fee = await ex.fetch_trading_fee(symbol)
        assert (fee["maker"], fee["taker"]) == (0.0002, 0.00055)
        await ex.set_margin_mode("isolated", symbol, {"leverage": 5})
        await ex.set_leverage(5, symbol)
        with pytest.raises(ccxt.BadRequest, match="110043"):
            await ex.set_leverage(5, symbol)

        async def watch():
            while True:
                seen.extend((o["clientOrderId"], o["status"]) for o in await ex.watch_orders())

        watching = asyncio.create_task(watch())
        book = await ex.watch_order_book(symbol, 50)
        assert (book["bids"][0][0], book["asks"][0][0]) == (99990.0, 100010.0)
        await asyncio.sleep(0.1)
        own = {"postOnly": True}
        order = await ex.create_order(symbol, "limit", "buy", 0.01, 99900, {**own, "clientOrderId": "mm-1"})
        await ex.create_order(symbol, "limit", "buy", 0.01, 100020, {**own, "clientOrderId": "mm-2"})
        await until(lambda: ("mm-2", "canceled") in seen)
        with pytest.raises(ccxt.InvalidOrder, match="110072"):
            await ex.create_order(symbol, "limit", "buy", 0.01, 99900, {**own, "clientOrderId": "mm-1"})
        legs = [{"symbol": symbol, "type": "limit", "side": "sell", "amount": 0.01, "price": 100100 + i, "params": own}
                for i in range(2)]  # fmt: skip
        batch = await ex.create_orders(legs)
        assert (await ex.edit_order(order["id"], symbol, "limit", "buy", 0.02, 99901))["id"] == order["id"]
        assert len(await ex.fetch_open_orders(symbol)) == 3
        await ex.cancel_order(batch[0]["id"], symbol)
        with pytest.raises(ccxt.OrderNotFound):
            await ex.cancel_order(batch[0]["id"], symbol)
        await ex.cancel_all_orders_after(10000)
        over_ws = await ex.create_order_ws(symbol, "limit", "buy", 0.01, 99800, own)
        await ex.cancel_order_ws(over_ws["id"], symbol)
        await ex.create_order(symbol, "limit", "buy", 0.01, 100010, {"timeInForce": "IOC", "clientOrderId": "mm-3"})
        await until(lambda: ("mm-3", "closed") in seen)
        (position,) = await ex.fetch_positions([symbol])
        assert (position["side"], position["contracts"], position["leverage"]) == ("long", 0.01, 5)
        assert [t["takerOrMaker"] for t in await ex.fetch_my_trades(symbol)] == ["taker"]
        assert (await ex.fetch_balance())["USDT"]["total"] < 100_000
        assert len(await ex.cancel_all_orders(symbol)) == 2
        watching.cancel()
        local.play((FUNDING, MID, 100_000), (SELL, MID - 100, 5))
        await asyncio.sleep(0.05)
        (candle,) = await ex.fetch_ohlcv(symbol, "1h")
        assert candle[1:] == [100010.0, 100010.0, 99990.0, 99990.0, 0.015]
        assert [t["price"] for t in await ex.fetch_trades(symbol)] == [100010.0, 99990.0]
        (rate,) = await ex.fetch_funding_rate_history(symbol)
        assert rate["fundingRate"] == 0.0001
        assert (await ex.fetch_ticker(symbol))["last"] == 99990.0

    async def main():
        async with local_bybit() as local:
            keys = {"apiKey": local.options["api_key"], "secret": local.options["api_secret"]}
            kinds = {"defaultType": "swap", "fetchMarkets": {"types": ["linear"]}}
            ex = ccxt.pro.bybit({**keys, "enableRateLimit": False, "options": kinds})
            rest, ws = local.options["rest_url"], local.options["ws_url"]
            for name, url in ex.urls["api"].items():
                if isinstance(url, str):
                    ex.urls["api"][name] = rest
            own = {"contract": ws + "/v5/private", "trade": ws + "/v5/trade"}
            ex.urls["api"]["ws"] = {"public": {"linear": ws + "/v5/public/linear"}, "private": own}
            try:
                await scenario(local, ex)
            finally:
                await ex.close()

    asyncio.run(main())


# --- the window of 50 levels -----------------------------------------------------------------------------------------
def test_the_pushed_window_is_the_top_of_the_book():
    units = wire.Units(local_instrument())
    window, rng = Window("BTCUSDT", units), np.random.default_rng(5)
    truth: dict[int, dict[int, int]] = {1: {}, -1: {}}
    copy: dict[str, dict[str, str]] = {"b": {}, "a": {}}
    u = window.u
    for _ in range(600):
        changes: dict[int, list[tuple[str, str]]] = {1: [], -1: []}
        for _ in range(int(rng.integers(1, 12))):
            side, away, lots = int(rng.choice((-1, 1))), int(rng.integers(1, 120)), int(rng.integers(0, 3))
            tick = 10_000 - side * away
            truth[side][tick] = lots
            changes[side].append((units.price(tick), units.size(lots)))
        window.apply(wire.Depth("BTCUSDT", 1, 0, 0, changes[1], changes[-1]))
        delta = window.delta(0)
        if delta is not None:
            u += 1
            assert delta["data"]["u"] == u
            for name, levels in copy.items():
                for price, size in delta["data"][name]:
                    if Decimal(size):
                        levels[price] = size
                    else:
                        del levels[price]
        for name, side in (("b", 1), ("a", -1)):
            top = sorted((t for t, lots in truth[side].items() if lots), reverse=side > 0)[:LEVELS]
            want = [(units.price(t), units.size(truth[side][t])) for t in top]
            assert sorted(copy[name].items(), key=lambda x: Decimal(x[0]), reverse=side > 0) == want
            assert window.snapshot(0)["data"][name] == want


def local_instrument():
    from mm.core.instrument import Instrument

    return Instrument.from_dict(BTC)


# --- the market data client ------------------------------------------------------------------------------------------
def rebuilt(heard):
    """The book that the events make."""
    book = {}
    for e in heard.events:
        kind, tick = int(e["kind"]), int(e["tick"])
        if kind in (CLEAR_BID, CLEAR_ASK):
            book = {key: v for key, v in book.items() if key[0] != (BID if kind == CLEAR_BID else ASK)}
        elif kind in (BID, ASK):
            book[kind, tick] = int(e["lots"])
    return {key: lots for key, lots in book.items() if lots}


def true_book(local):
    engine = local.server.exchange.markets["BTCUSDT"].engine
    sides = ((BID, 1), (ASK, -1))
    return {(kind, tick): lots for kind, side in sides for tick, lots in engine.depth(side)[:LEVELS]}


def test_market_data_of_an_instrument_and_its_recovery():
    async def scenario():
        async with local_bybit() as local:
            client, heard = BYBIT.make_public(local.options, ["BTCUSDT"]), Heard(public=True)
            assert [i.symbol for i in await client.instruments()] == ["BTCUSDT", "ETHUSDT"]
            assert str((await client.instruments())[0].min_notional) == "5"
            running = asyncio.create_task(client.run(heard))
            await until(lambda: heard.events)
            rng = np.random.default_rng(1)
            for _ in range(300):
                side = int(rng.choice((BID, ASK)))
                away = int(rng.integers(50, 150))
                local.play((side, MID - away if side == BID else MID + away, int(rng.integers(0, 9))))
                await asyncio.sleep(0)
            await until(lambda: rebuilt(heard) == true_book(local))
            local.play((BUY, MID + 300, 3), (MARK, MID + 5, 0), (FUNDING, MID + 5, 200_000))
            await until(lambda: {BUY, MARK, FUNDING} <= {int(e["kind"]) for e in heard.events})
            local.face.change_faults({"lose_public": 1})
            local.play((BID, MID - 40, 7))
            await until(lambda: not local.face.faults.lose_public)
            local.play((BID, MID - 41, 7))
            await until(lambda: [d.gap for d in heard.decoded if d.gap] == [[0]])
            await client.resync("BTCUSDT")
            await until(lambda: rebuilt(heard) == true_book(local))
            local.face.drop("public", hard=True)
            with pytest.raises(VenueUnreachable):
                await asyncio.wait_for(running, 1)
            with pytest.raises(VenueUnreachable):
                await client.resync("BTCUSDT")
            heard.codec.reset()
            running = asyncio.create_task(client.run(heard))
            local.play((BID, MID - 42, 7))
            await until(lambda: rebuilt(heard) == true_book(local))
            await client.close()
            await asyncio.wait_for(running, 1)  # ends without an error: it was asked to
            assert not heard.errors

    asyncio.run(scenario())


# --- anything at all -------------------------------------------------------------------------------------------------
ODD = [None, True, "", "x", -1, 0, 1 << 70, 1.5, "-1", "NaN", "9" * 60, "1e999", [], {}, [[]], {"a": []}, "BTCUSDT",
       "Buy", "linear", "PostOnly", "Limit", "0.010", "99000", ["order"], [{"symbol": "BTCUSDT"}],
       "\x00", "é", "²"]  # fmt: skip
FIELDS = ["category", "symbol", "side", "orderType", "qty", "price", "timeInForce", "orderLinkId", "orderId", "request",
          "reduceOnly", "positionIdx", "settleCoin", "limit", "cursor", "startTime", "endTime", "execType", "interval",
          "start", "end", "timeWindow", "product", "buyLeverage", "sellLeverage", "setMarginMode"]  # fmt: skip


def test_any_parameters_and_any_bytes_are_answered():
    rng = np.random.default_rng(11)

    def pick(choices):
        return choices[int(rng.integers(len(choices)))]

    def some():
        out = {name: pick(ODD) for name in FIELDS if rng.random() < 0.3}
        if rng.random() < 0.7:
            out |= {"category": "linear", "symbol": "BTCUSDT"}
        return out

    async def scenario():
        async with local_bybit() as local, aiohttp.ClientSession() as http:
            options, face = local.options, local.face
            face.rates = ()
            routes = [(r.method, r.path) for r in face.routes()]
            for _ in range(40):
                for method, path in routes:
                    if path in {"/v5/private", "/v5/trade", "/v5/public/linear"}:
                        continue
                    params = some()
                    if method == "POST":
                        body = pick([json.dumps(params)] * 4 + ["", "[]", "{", '"x"'])
                        call = http.post(options["rest_url"] + path, data=body, headers=signed(options, body))
                    else:
                        query = urlencode(params)
                        headers = signed(options, query)
                        url = URL(f"{options['rest_url']}{path}?{query}", encoded=True)
                        call = http.get(url, headers=headers)
                    async with call as answer:
                        text = await answer.text()
                        assert (answer.status, "retCode" in text) == (200, True), (method, path, params, text)
            stamp = time.time_ns() // 1_000_000
            for path in ("/v5/public/linear", "/v5/private", "/v5/trade"):
                async with http.ws_connect(options["ws_url"] + path) as socket:
                    expires = str(stamp + 60_000)
                    text = f"GET/realtime{expires}".encode()
                    sign = hmac.new(options["api_secret"].encode(), text, hashlib.sha256).hexdigest()
                    await socket.send_json({"op": "auth", "args": [options["api_key"], expires, sign]})
                    for _ in range(300):
                        op = pick(["subscribe", "unsubscribe", "auth", "ping", "order.create", "order.create-batch",
                                   "order.amend", "order.cancel", "x", 7])  # fmt: skip
                        args = pick([[some()], [{"category": "linear", "request": [some(), pick(ODD)]}], pick(ODD)])
                        header = pick([{"X-BAPI-TIMESTAMP": str(stamp)}, {}, pick(ODD)])
                        said = {"op": op, "args": args, "reqId": "1", "req_id": pick(ODD), "header": header}
                        raw = json.dumps(said).encode()
                        if rng.random() < 0.2:
                            raw = raw[: int(rng.integers(len(raw)))]
                        await (socket.send_bytes(raw) if rng.random() < 0.1 else socket.send_str(raw.decode()))
                    await socket.send_json({"op": "ping", "req_id": "the last"})
                    async with asyncio.timeout(5):
                        async for message in socket:
                            if "pong" in message.data and ("the last" in message.data or path == "/v5/trade"):
                                break
                        else:
                            raise AssertionError(f"{path} ended: {socket.close_code}")

    asyncio.run(scenario())
