"""What is ApeX's alone: its REST through threads, its signatures, its heartbeat, no thread left behind."""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import aiohttp
import pytest
from yarl import URL

from mm.core.types import BID, SELL
from mm.errors import ConfigError, VenueUnreachable
from mm.sandbox.faces import apex_orders, apex_socket
from mm.sandbox.faces.apex import ApexFace, local_keys
from mm.sandbox.faces.apex_auth import sign
from mm.venues.apex.client import ApexTradingClient
from mm.venues.apex.rest import Keys, Tuning, judge
from mm.venues.apex.shim import load
from mm.venues.apex.venue import VENUE
from mm.venues.settings import Endpoints
from mm.venues.spec import RateRule
from tests.contract.conformance.rig import Rig
from tests.contract.conformance.wait import until


@asynccontextmanager
async def local() -> AsyncIterator[Rig]:
    rig = Rig("apex")
    await rig.start()
    await rig.begin()
    try:
        yield rig
    finally:
        await rig.end()
        await rig.stop()


def library(rig: Rig, token: str, **changed: str) -> Any:
    """The real library, as anybody has it."""
    keys = local_keys(token) | changed
    client = load("apexomni.http_private_sign").HttpPrivateSign(
        f"http://127.0.0.1:{rig.face_port}", network_id=9, zk_seeds=keys["zk_seeds"], zk_l2Key="",
        api_key_credentials={"key": keys["api_key"], "secret": keys["api_secret"], "passphrase": keys["passphrase"]},
    )  # fmt: skip
    client.client.trust_env = False
    return client


def buy(rig: Rig, cid: str, **more: Any) -> dict[str, Any]:
    order = {"symbol": rig.symbol, "side": "BUY", "type": "LIMIT", "size": "0.01", "price": "59000.0"}
    return order | {"timeInForce": "POST_ONLY", "clientId": cid} | more


# --- the face --------------------------------------------------------------------------------------------------------
def test_signatures_are_verified() -> None:
    async def run() -> None:
        async with local() as rig:
            account, other = next(rig.unused), next(rig.unused)
            token = account.spec.token

            def ask() -> dict[str, Any]:
                clients = [good := library(rig, token)]
                good.configs_v3()
                good.get_account_v3()
                answers = {"good": good.create_order_v3(**buy(rig, "X-1"))}
                said: dict[str, Any] = {"configV3": good.configV3, "accountV3": good.accountV3}
                strange = {
                    "seeds": {"zk_seeds": local_keys(other.spec.token)["zk_seeds"]},
                    "secret": {"api_secret": "not-the-secret"},
                    "passphrase": {"passphrase": "not-the-passphrase"},
                    "key": {"api_key": "nobody"},
                }
                for name, changed in strange.items():
                    clients.append(client := library(rig, token, **changed))
                    vars(client).update(said)
                    answers[name] = client.create_order_v3(**buy(rig, f"X-{name}"))
                post = good._post
                for name, value in (("price", "58000.0"), ("size", "0.02"), ("side", "SELL"), ("signature", "0x00")):
                    changed_form = {name: value}
                    good._post = lambda data, changed_form=changed_form, **k: post(data=data | changed_form, **k)
                    answers[name] = good.create_order_v3(**buy(rig, f"X-{name}", price="59000.0"))
                good._post = post
                rig.fault(clock_skew_s=60.0)
                answers["clock"] = good.open_orders_v3()
                for client in clients:
                    client._exit()
                return answers

            answers = await asyncio.to_thread(ask)
            assert answers["good"]["data"]["status"] == "PENDING"
            codes = {name: (a.get("code"), a.get("key")) for name, a in answers.items() if name != "good"}
            forged = (20001, "INVALID_L2_SIGNATURE")
            assert codes == {
                "seeds": forged, "secret": (20016, ""), "passphrase": (10002, ""), "key": (10002, ""),
                "price": forged, "size": forged, "side": forged, "signature": forged, "clock": (20002, ""),
            }  # fmt: skip
            assert account.n_orders == 1

    asyncio.run(run())


def test_the_limits_of_an_account(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        async with local() as rig:
            trader = await rig.trader()
            monkeypatch.setattr("mm.sandbox.faces.apex.MAX_OPEN", 2)
            for k in (2, 3):
                await trader.rest(1, rig.mid - k * rig.step, "0.01")
            n = await trader.place(1, rig.mid - 4 * rig.step, "0.01")
            await trader.hears(n, "reject")
            assert trader.told[-1].detail.reason == "ORDER_OPEN_ORDER_COUNT_LIMIT_EXCEED"
            monkeypatch.setattr(ApexFace, "rates", (RateRule("POST", 3, 60.0), RateRule("GET", 600, 60.0)))
            n = await trader.place(1, rig.mid - 5 * rig.step, "0.01")
            await until(lambda: n in trader.unknown, "an unknown outcome")
            assert len(await trader.client.open_orders()) == 2  # queries have an allowance of their own
            monkeypatch.undo()

    assert apex_orders.MAX_OPEN == 200
    asyncio.run(run())


def test_heartbeats(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library answers the venue's pings; who does not is put out."""
    monkeypatch.setattr(apex_socket, "PING_NS", 50_000_000)
    monkeypatch.setattr(apex_socket, "DEAD_NS", 400_000_000)

    async def run() -> None:
        async with local() as rig:
            market = await rig.market(stall_s=30.0)
            async with aiohttp.ClientSession() as session:
                mute = await session.ws_connect(f"http://127.0.0.1:{rig.face_port}/realtime_public")
                await mute.send_str(json.dumps({"op": "subscribe", "args": ["candle.1.BTCUSDT"]}))
                said = [json.loads((await mute.receive()).data)]
                while (message := await mute.receive()).type is aiohttp.WSMsgType.TEXT:
                    said.append(json.loads(message.data))
                assert said[0]["success"] is False
                assert {m["op"] for m in said[1:]} == {"ping"}
            assert not market.ended

    asyncio.run(run())


def test_another_client_reads_the_same() -> None:
    """ccxt knows this venue too, from its documentation."""
    import ccxt

    async def run() -> None:
        async with local() as rig:
            trader = await rig.trader()
            n = await trader.rest(1, rig.mid, "0.05")
            rig.play((SELL, rig.mid, rig.lots("0.02")))
            await trader.hears(n, "fill")
            rig.exchange.settle(rig.symbol, rig.mid, Decimal("0.0001"), rig.now_ns())
            rig.server.publish()
            keys = local_keys(trader.account.spec.token)

            def read() -> dict[str, Any]:
                other = ccxt.apex(
                    {"apiKey": keys["api_key"], "secret": keys["api_secret"], "password": keys["passphrase"]}
                )
                where = f"http://127.0.0.1:{rig.face_port}/api"
                other.urls["api"] = {"public": where, "private": where}
                other.session.trust_env = False
                other.load_markets()
                (symbol,) = other.symbols
                queries = {
                    "ohlcv": (symbol,), "my_trades": (symbol,), "open_orders": (symbol,), "positions": ([symbol],),
                    "funding_history": (symbol,), "funding_rate_history": (symbol,), "order_book": (symbol,),
                    "trades": (symbol,), "ticker": (symbol,), "balance": (),
                }  # fmt: skip
                told = {name: getattr(other, f"fetch_{name}")(*args) for name, args in queries.items()}
                other.session.close()
                return told

            told = await asyncio.to_thread(read)
            price = float(rig.instrument.price(rig.mid))
            assert told["ohlcv"][0][1:] == [price, price, price, price, 0.02]
            assert [(t["side"], t["amount"], t["price"]) for t in told["my_trades"]] == [("buy", 0.02, price)]
            assert [(o["clientOrderId"], o["remaining"]) for o in told["open_orders"]] == [(trader.cid(n), 0.03)]
            assert [(p["side"], p["contracts"]) for p in told["positions"] if p["contracts"]] == [("long", 0.02)]
            assert [f["amount"] for f in told["funding_history"]] == [pytest.approx(-price * 0.02 * 0.0001)]
            assert [f["fundingRate"] for f in told["funding_rate_history"]] == [0.0001]
            assert told["order_book"]["bids"][0] == [price, 0.03]
            assert [(t["side"], t["amount"]) for t in told["trades"]] == [("sell", 0.02)]
            assert (told["ticker"]["last"], told["ticker"]["baseVolume"]) == (price, 0.02)
            assert told["balance"]["USDT"]["total"] == pytest.approx(float(trader.account.balance("USDT")))

    asyncio.run(run())


def ours(name: str = "apex") -> int:
    """Threads of the clients."""
    return sum(t.name.startswith(name) for t in threading.enumerate())


# --- the client ------------------------------------------------------------------------------------------------------
def test_no_thread_is_left_behind() -> None:
    async def run() -> None:
        async with local() as rig:
            market, trader = await rig.market(), await rig.trader()
            await trader.rest(1, rig.mid - 2 * rig.step, "0.01")
            assert ours("apex-ws") == 2
            for n in range(5):
                rig.drop("public", hard=bool(n % 2))
                rig.drop("private", hard=not n % 2)
                await until(lambda: market.ended and trader.ended, "both ends")
                market.task.exception()
                market.start()
                await trader.connect()
                await until(market.agrees, "the true book")
            await trader.rest(1, rig.mid - 3 * rig.step, "0.01")
            assert ours("apex-ws") == 2
            assert ours("apex-rest") <= 6  # of the orders' session, all that were used
            await market.close()
            await trader.close()
            await until(lambda: not ours(), "the end of all threads")

    asyncio.run(run())


def test_slow_orders_delay_no_cancel_and_are_not_sent_late() -> None:
    async def run() -> None:
        async with local() as rig:
            trader = await rig.trader()
            resting = await trader.rest(1, rig.mid - 2 * rig.step, "0.01")
            trader.client._orders._patience_s = 0.3  # type: ignore[attr-defined]
            rig.fault(ack_delay_s=0.6)
            begun = time.perf_counter()
            numbers = [await trader.place(1, rig.mid - k * rig.step, "0.01") for k in range(3, 11)]
            await trader.cancel(resting)
            await trader.hears(resting, "canceled")
            assert await trader.client.cancel_all() >= 0
            assert time.perf_counter() - begun < 1.5
            outcomes = {n: await trader.hears(n, "ack", "reject") for n in numbers}
            late = [n for n, kind in outcomes.items() if kind == "reject"]
            assert late  # more than there are threads: those that waited too long never left
            reasons = {t.detail.reason.split(":")[0] for t in trader.told if t.id in late}
            assert reasons == {"not sent"}
            assert trader.account.n_orders == 1 + len(numbers) - len(late)

    asyncio.run(run())


def test_seeds_of_another_account_are_noticed_before_the_first_order() -> None:
    async def run() -> None:
        async with local() as rig:
            account, other = next(rig.unused), next(rig.unused)
            options = rig.options(account) | {"zk_seeds": local_keys(other.spec.token)["zk_seeds"]}
            client = VENUE.make_trading(options)
            with pytest.raises(ConfigError, match="zk_seeds"):
                await client.connect(lambda _raw, _ts: None)
            await client.close()
            with pytest.raises(ConfigError, match="hexadecimal"):
                VENUE.make_trading(options | {"zk_seeds": "xyz"})
            with pytest.raises(ConfigError, match="too short"):
                VENUE.make_trading(options | {"zk_seeds": "ab"})
            with pytest.raises(ConfigError, match="RAYMAKER_APEX_PASSPHRASE"):
                VENUE.make_trading(options | {"passphrase": ""})

    asyncio.run(run())


@pytest.mark.parametrize(
    ("status", "body", "end", "text"),
    [
        (200, '{"data":{"id":"1"},"timeCost":1}', "ok", ""),
        (200, '{"data":null}', "ok", ""),
        (200, '{"code":3,"msg":"no such","key":"ORDER_NOT_FOUND"}', "no", "ORDER_NOT_FOUND"),
        (400, '{"code":400,"msg":"strconv: bad"}', "no", "strconv: bad"),
        (200, '{"code":10003,"msg":"slow down"}', "unknown", "slow down"),
        (200, '{"code":3,"msg":"Service Error","key":"UNKNOWN"}', "unknown", "UNKNOWN"),
        (403, '{"code":403,"msg":"too many requests"}', "unknown", "too many requests"),
        (502, "<html>bad gateway</html>", "unknown", "HTTP 502: <html>bad gateway</html>"),
        (503, '{"data":{"id":"1"}}', "unknown", "HTTP 503"),
        (200, "", "unknown", "HTTP 200: "),
        (200, '{"code":10002,"msg":"Api credential is invalid [apiKey=key-0123]!"}', "no",
         "Api credential is invalid [apiKey=***]!"),
        (0, "", "unknown", "no answer"),
    ],
)  # fmt: skip
def test_what_an_answer_means(status: int, body: str, end: str, text: str) -> None:
    keys = Keys("key-0123", "secret-0123", "passphrase", "00")
    outcome = judge(status, body.encode(), keys.redact)
    assert (outcome.end, outcome.text.strip()) == (end, text.strip())
    assert "key-0123" not in repr(keys)


class Thrifty:
    """A budget that lets nothing through for a while."""

    def __init__(self) -> None:
        self.wait_s = 0.0
        self.asked: list[str] = []

    async def take(self, kind: str) -> None:
        self.asked.append(kind)
        await asyncio.sleep(self.wait_s)

    def note(self, kind: str) -> None:
        self.asked.append("noted " + kind)


def test_the_budget_is_asked_and_an_order_that_waited_too_long_is_not_sent() -> None:
    async def run() -> None:
        async with local() as rig:
            budget = Thrifty()
            trader = await rig.trader(budget=budget)
            await trader.rest(1, rig.mid - 2 * rig.step, "0.01")
            trader.client._orders._patience_s = budget.wait_s = 0.2  # type: ignore[attr-defined]
            n = await trader.place(1, rig.mid - 2 * rig.step, "0.01")
            await trader.hears(n, "reject")
            await trader.client.open_orders()
            assert await trader.client.cancel_all() == 1
            assert budget.asked == ["place"] * 4 + ["query"] + ["noted cancel_all"] * 2
            assert trader.account.n_orders == 1

    asyncio.run(run())


def test_a_snapshot_that_never_comes_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Changes flow and pongs too, but the book's beginning was lost: that must not last."""

    async def run() -> None:
        async with local() as rig:
            monkeypatch.setattr(apex_socket.MarketTopics, "snapshot", lambda *_: '{"topic":"other","type":"snapshot"}')
            market = await rig.market(wait=False, stall_s=0.6)
            for _ in range(100):
                rig.play((BID, rig.mid - rig.step, rig.lots("1") + _))
                await asyncio.sleep(0.02)
                if market.ended:
                    break
            assert "no snapshot of orderBook200" in str(market.task.exception())
            monkeypatch.undo()
            market.start()
            await until(market.agrees, "the true book")

    asyncio.run(run())


def test_nothing_listens() -> None:
    """A connection that is refused sent nothing: the order is rejected, not unknown."""

    async def run() -> None:
        async with local() as rig:
            trader = await rig.trader()
            trader.client._orders.library.endpoint = "http://127.0.0.1:9"  # type: ignore[attr-defined]
            n = await trader.place(1, rig.mid - 2 * rig.step, "0.01")
            assert await trader.hears(n, "reject") == "reject"
            assert trader.told[-1].detail.reason.startswith("not sent")

    asyncio.run(run())


async def _socks5(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: list[str]) -> None:
    """A SOCKS5 proxy of the plainest kind."""
    await reader.readexactly((await reader.readexactly(2))[1])
    writer.write(b"\x05\x00")
    kind = (await reader.readexactly(4))[3]
    raw = await reader.readexactly((await reader.readexactly(1))[0] if kind == 3 else 4)
    host = raw.decode() if kind == 3 else ".".join(map(str, raw))
    port = int.from_bytes(await reader.readexactly(2))
    asked.append(host)
    there, back = await asyncio.open_connection(host, port)
    writer.write(b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")

    async def pipe(source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
        while data := await source.read(1 << 16):
            to.write(data)
        to.close()

    await asyncio.gather(pipe(reader, back), pipe(there, writer))


def test_everything_goes_through_the_proxy() -> None:
    async def run() -> None:
        async with local() as rig:
            asked: list[str] = []
            proxy = await asyncio.start_server(lambda r, w: _socks5(r, w, asked), "127.0.0.1", 0)
            where = Endpoints(f"http://127.0.0.1:{rig.face_port}", f"ws://127.0.0.1:{rig.face_port}")
            port = proxy.sockets[0].getsockname()[1]
            account = next(rig.unused)
            keys = Keys(**local_keys(account.spec.token))
            client = ApexTradingClient(where, keys, Tuning(proxy=f"socks5h://127.0.0.1:{port}"))
            told: list[bytes] = []
            await client.connect(lambda raw, _ts: told.append(raw))
            assert await client.open_orders() == []
            assert asked == ["127.0.0.1"] * 3  # orders, socket, queries
            await client.place(rig.symbol, "X-1", 1, Decimal(59000), Decimal("0.01"))
            await until(lambda: account.open, "the order")
            proxy.close()
            lost = ApexTradingClient(where, keys, Tuning(proxy="socks5h://127.0.0.1:9"))
            with pytest.raises(VenueUnreachable, match="proxy"):
                await lost.connect(lambda _raw, _ts: None)
            for one in (client, lost):
                await one.close()

    asyncio.run(run())


ODD = (
    "",
    "0",
    "-1",
    "1e400",
    "NaN",
    "²",
    "٣",
    "9" * 400,
    "1e17",
    "true",
    "[]",
    "{}",
    '[{"clientId":null}]',
    "\x00",
    "\ud7ff",
    "BTC-USDT",
)
PATHS = (
    "order", "batch-orders", "delete-order", "delete-client-order-id", "delete-open-orders", "set-initial-margin-rate",
    "account", "open-orders", "order-by-client-order-id", "history-orders", "fills", "funding", "depth", "klines",
    "history-funding", "ticker", "trades",
)  # fmt: skip
NAMES = (
    "symbol", "side", "type", "timeInForce", "size", "price", "limitFee", "expiration", "clientId", "signature", "id",
    "orders", "initialMarginRate", "limit", "page", "beginTimeInclusive", "interval", "start",
)  # fmt: skip


def test_nothing_that_a_client_says_breaks_the_face() -> None:
    async def run() -> None:
        rng = random.Random(5)
        async with local() as rig, aiohttp.ClientSession(f"http://127.0.0.1:{rig.face_port}") as session:
            keys = local_keys(next(rig.unused).spec.token)
            good = {
                "symbol": rig.symbol, "side": "BUY", "type": "LIMIT", "timeInForce": "POST_ONLY", "size": "0.01",
                "price": "59000", "limitFee": "1", "expiration": "9" * 13, "clientId": "X",
                "signature": "0x" + "0" * 128,
            }  # fmt: skip
            rig.fault()
            assert rig.face is not None
            rig.face.limited = False
            for _ in range(400):
                path, post = f"/api/v3/{rng.choice(PATHS)}", rng.random() < 0.6
                form = (good if rng.random() < 0.7 else {}) | {
                    rng.choice(NAMES): rng.choice(ODD) for _ in range(rng.randint(0, 3))
                }
                stamp = rng.choice(("²", "9" * 30)) if rng.random() < 0.05 else str(time.time_ns() // 1_000_000)
                if not post:
                    path = str(URL(path).with_query(form))
                signature = sign(keys["api_secret"], stamp, "POST" if post else "GET", path, form if post else {})
                headers = {
                    "APEX-API-KEY": keys["api_key"], "APEX-PASSPHRASE": keys["passphrase"], "APEX-TIMESTAMP": stamp,
                    "APEX-SIGNATURE": signature,
                }  # fmt: skip
                body = form if rng.random() < 0.95 else b"\xff\xfe=\x00"
                ask = (
                    session.post(path, data=body, headers=headers)
                    if post
                    else session.get(URL(path, encoded=True), headers=headers)
                )
                async with ask as answer:
                    assert answer.status < 500, (path, form, await answer.text())
                    assert isinstance(await answer.json(), dict)
            for kind in ("public", "private"):
                ws = await session.ws_connect(f"/realtime_{kind}")
                for said in (
                    b"\xff", b"[]", b'{"op":1}', b'{"op":"subscribe"}', b'{"op":"subscribe","args":[1]}',
                    b'{"op":"subscribe","args":["orderBook999.H.BTCUSDT"]}', b'{"op":"x","args":["y"]}',
                ):  # fmt: skip
                    await ws.send_bytes(said)
                    assert json.loads((await ws.receive()).data)["success"] is False or said == b'{"op":"subscribe"}'
                for arg in ("", "[]", '{"type":"login"}', json.dumps({**LOGIN, "timestamp": "²"}), json.dumps(LOGIN)):
                    other = await session.ws_connect("/realtime_private")
                    await other.send_str(json.dumps({"op": "login", "args": [arg]}))
                    assert json.loads((await other.receive()).data)["success"] is False
                    await other.close()
                await ws.close()

    asyncio.run(run())


LOGIN = {
    "type": "login", "topics": [], "httpMethod": "GET", "requestPath": "/ws/accounts", "apiKey": "nobody",
    "passphrase": "", "timestamp": 10**40, "signature": "",
}  # fmt: skip
