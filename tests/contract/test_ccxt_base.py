"""What the ccxt clients share, with the real library over real sockets, against a few lines of server."""

import asyncio
import contextlib
import json
import time

import pytest
from aiohttp import WSMsgType, web

from mm.errors import ConfigError, VenueUnreachable
from mm.venues.settings import Endpoints, credentials, endpoints, proxy

ccxtpro = pytest.importorskip("ccxt.pro")

from mm.venues.ccxt_base import (  # noqa: E402  after the check that ccxt is here
    RawExchange,
    close_exchange,
    drop_sockets,
    make_exchange,
    until_broken,
    within,
)
from mm.venues.ccxt_calls import Sends, ask, attempt, clock_skew_s  # noqa: E402


class Exchange(RawExchange, ccxtpro.bybit):
    def is_control(self, socket, raw):
        return raw.find(b'"topic"', 0, 64) < 0


class Venue:
    """Answers subscriptions and order calls as told."""

    def __init__(self):
        self.sockets = []
        self.pongs = True
        self.status, self.body, self.late_s, self.cut = 200, '{"retCode":0,"result":{}}', 0.0, False
        self.requests = 0

    async def ws(self, request):
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        self.sockets.append((ws, request.transport))
        async for message in ws:
            op = json.loads(message.data)["op"] if message.type is WSMsgType.TEXT else ""
            if op == "subscribe":
                await ws.send_str('{"success":true,"op":"subscribe"}')
                await ws.send_str('{"topic":"orderbook.50.X","n":0,"text":"ü"}')
            elif op == "ping" and self.pongs:
                await ws.send_str('{"success":true,"ret_msg":"pong","op":"ping"}')
        return ws

    async def order(self, request):
        self.requests += 1
        await asyncio.sleep(self.late_s)
        if self.cut:
            request.transport.abort()
        return web.Response(status=self.status, text=self.body, content_type="application/json")

    async def now(self, _request):
        return web.json_response({"retCode": 0, "result": {"timeSecond": "0", "timeNano": "0"}, "time": 7_000})


@contextlib.asynccontextmanager
async def served():
    venue = Venue()
    app = web.Application()
    app.add_routes(
        [
            web.get("/v5/public/linear", venue.ws),
            web.post("/v5/order/create", venue.order),
            web.get("/v5/market/time", venue.now),
        ]
    )
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]
    where = Endpoints(f"http://127.0.0.1:{port}", f"ws://127.0.0.1:{port}")
    try:
        yield venue, where
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def session(**config):
    async with served() as (venue, where):
        exchange = make_exchange(Exchange, where, apiKey="the-api-key", secret="the-secret", **config)
        try:
            yield venue, exchange
        finally:
            await close_exchange(exchange)


def stream(exchange):
    url = exchange.urls["api"]["ws"]["public"]["linear"]
    return asyncio.create_task(until_broken(exchange, exchange.watch_topics(url, ["book"], ["orderbook.50.X"])))


async def until(what, timeout_s=2.0):
    async with asyncio.timeout(timeout_s):
        while not what():  # noqa: ASYNC110  what is waited for has no event
            await asyncio.sleep(0.005)


def place(exchange):
    return exchange.privatePostV5OrderCreate({"category": "linear", "orderLinkId": "x-1"})


# --- streams ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("how", ["close", "abort"])
def test_frames_arrive_untouched_and_a_drop_ends_the_stream(how):
    async def scenario():
        async with session() as (venue, exchange):
            frames = []
            exchange.on_frame = lambda raw, ts: frames.append((raw, ts))
            for round_ in range(2):  # the second round is a reconnect with a new subscription
                task = stream(exchange)
                await until(lambda n=round_: len(frames) == 2 * n + 2)
                ws, transport = venue.sockets[-1]
                await ws.close() if how == "close" else transport.abort()
                with pytest.raises(VenueUnreachable, match="the connection ended"):
                    await asyncio.wait_for(task, 1)
            assert frames[1][0] == '{"topic":"orderbook.50.X","n":0,"text":"ü"}'.encode()
            assert abs(frames[1][1] - time.time_ns()) < 5e9
            assert not exchange.orderbooks

    asyncio.run(scenario())


def test_a_silent_connection_is_ended_and_a_quiet_one_is_not(monkeypatch):
    monkeypatch.setattr(Exchange, "silence_s", 0.3)

    async def scenario():
        async with session() as (venue, exchange):
            task = stream(exchange)
            await asyncio.sleep(0.8)
            assert not task.done()  # pongs kept it
            venue.pongs = False
            began = time.monotonic()
            with pytest.raises(VenueUnreachable, match="no frame and no pong"):
                await asyncio.wait_for(task, 2)
            assert time.monotonic() - began < 0.8

    asyncio.run(scenario())


def test_a_consumer_that_fails_ends_the_stream_loudly():
    async def scenario():
        async with session() as (_venue, exchange):

            def fail(raw, ts):
                raise RuntimeError("no room")

            exchange.on_frame = fail
            with pytest.raises(VenueUnreachable, match="no room"):
                await asyncio.wait_for(stream(exchange), 2)

    asyncio.run(scenario())


def test_dropping_sockets_ends_the_stream_and_nobody_there_is_unreachable():
    async def scenario():
        async with session() as (venue, exchange):
            task = stream(exchange)
            await until(lambda: venue.sockets)
            await drop_sockets(exchange)
            with pytest.raises(VenueUnreachable):
                await asyncio.wait_for(task, 2)
        nowhere = make_exchange(Exchange, Endpoints("http://127.0.0.1:1", "ws://127.0.0.1:1"))
        for _ in range(3):  # no back-off of the library in between
            with pytest.raises(VenueUnreachable):
                await asyncio.wait_for(stream(nowhere), 0.5)
        await close_exchange(nowhere)

    asyncio.run(scenario())


# --- calls -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("status", "body", "end", "ok"),
    [
        (200, '{"retCode":0,"result":{}}', "certain", True),
        (200, '{"retCode":110072,"retMsg":"OrderLinkedID is duplicate"}', "certain", False),
        (400, '{"retCode":10001,"retMsg":"params error"}', "certain", False),
        (429, "too many", "unknown", False),
        (500, "<html>", "unknown", False),
        (503, "", "unknown", False),
    ],
)
def test_how_an_answer_ends_a_call(status, body, end, ok):
    async def scenario():
        async with session() as (venue, exchange):
            venue.status, venue.body = status, body
            answer = await attempt(exchange, lambda: place(exchange))
            assert (answer.end, answer.ok, answer.status, answer.body) == (end, ok, status, body)
            assert venue.requests == 1  # never sent twice

    asyncio.run(scenario())


def test_no_answer_is_unknown_but_a_refused_connection_was_never_sent():
    async def scenario():
        async with session(timeout_s=0.2) as (venue, exchange):
            venue.late_s = 1.0
            assert (await attempt(exchange, lambda: place(exchange))).end == "unknown"
            with pytest.raises(VenueUnreachable):
                await ask(exchange, lambda: place(exchange))
            venue.late_s, venue.cut = 0.0, True
            assert (await attempt(exchange, lambda: place(exchange))).end == "unknown"
        nowhere = make_exchange(Exchange, Endpoints("http://127.0.0.1:1", "ws://x"), apiKey="key-key", secret="s")
        unsent = await attempt(nowhere, lambda: place(nowhere))
        assert unsent.end == "unsent"
        assert "Cannot connect to host 127.0.0.1:1" in unsent.error  # and not the address alone
        await close_exchange(nowhere)

    asyncio.run(scenario())


def test_a_proxy_that_is_gone_and_a_session_that_was_closed_are_no_answer():
    async def scenario():
        where = Endpoints("http://venue.test", "ws://venue.test")
        exchange = make_exchange(Exchange, where, proxy="socks5h://127.0.0.1:1", apiKey="the-api-key", secret="s")
        answer = await attempt(exchange, lambda: place(exchange))
        assert answer.end in {"unknown", "unsent"}
        assert answer.error
        with pytest.raises(VenueUnreachable):
            await asyncio.wait_for(stream(exchange), 2)
        await close_exchange(exchange)
        assert (await attempt(exchange, lambda: place(exchange))).end == "unsent"
        with pytest.raises(VenueUnreachable):
            await ask(exchange, lambda: place(exchange))

    asyncio.run(scenario())


def test_a_step_of_a_connection_ends_in_one_kind_of_error():
    async def scenario():
        async with session() as (_venue, exchange):
            never = asyncio.get_running_loop().create_future()
            with pytest.raises(VenueUnreachable, match=r"log-in: no answer in 0\.05 s"):
                await within(exchange, 0.05, "log-in", never)
            ended = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_later(0.02, ended.cancel)
            with pytest.raises(VenueUnreachable, match="closed"):
                await within(exchange, 1.0, "log-in", ended)
            assert await within(exchange, 1.0, "x", asyncio.sleep(0, "done")) == "done"

    asyncio.run(scenario())


def test_answers_of_concurrent_calls_do_not_mix_and_errors_hold_no_keys():
    async def scenario():
        async with session() as (venue, exchange):
            venue.late_s = 0.05
            venue.body = '{"retCode":10003,"retMsg":"API key the-api-key is invalid"}'
            answers = await asyncio.gather(*(attempt(exchange, lambda: place(exchange)) for _ in range(20)))
            assert {a.body for a in answers} == {venue.body}
            assert "the-api-key" not in answers[0].error
            assert "***" in answers[0].error

    asyncio.run(scenario())


def test_clock_skew_is_measured_at_the_middle_of_the_round_trip():
    async def scenario():
        async with session() as (_venue, exchange):
            skew_s, trip_s = await clock_skew_s(exchange.fetch_time)
            assert skew_s == pytest.approx(time.time() - 7.0, abs=1.0)
            assert 0 < trip_s < 1

    asyncio.run(scenario())


def test_sends_are_bounded_and_cancels_have_a_reserve():
    async def scenario():
        sends = Sends(limit=2, reserve=1)
        gate = asyncio.Event()

        async def send():
            await gate.wait()

        for _ in range(2):
            await sends.start(send())
        third = asyncio.create_task(sends.start(send()))
        await asyncio.sleep(0.01)
        assert not third.done()
        await asyncio.wait_for(sends.start(send(), cancel=True), 0.1)
        gate.set()
        await asyncio.wait_for(third, 0.5)
        assert await sends.drain(0.5)
        gate.clear()
        await sends.start(send())
        assert not await sends.drain(0.02)

    asyncio.run(scenario())


def test_what_waits_while_everything_is_cancelled_is_not_sent():
    class Budget:
        def __init__(self):
            self.gate = asyncio.Event()

        async def take(self, kind):
            await self.gate.wait()

        def note(self, kind):
            pass

    async def scenario():
        sends, budget, done = Sends(limit=3, reserve=1), Budget(), []

        async def send(name, kind):
            try:
                await sends.turn(budget, kind)
            except VenueUnreachable:
                done.append(f"{name} not sent")
            else:
                done.append(f"{name} sent")

        await sends.start(send("a", "place"))
        await sends.start(send("b", "cancel"))
        await sends.start(send("c", "place"))
        fourth = asyncio.create_task(sends.start(send("d", "place")))  # waits for its place
        await asyncio.sleep(0)
        sends.pull()
        budget.gate.set()
        with pytest.raises(VenueUnreachable, match="cancelled before it was sent"):
            await fourth
        await sends.start(send("e", "place"))
        assert await sends.drain(0.5)
        assert sorted(done) == ["a not sent", "b sent", "c not sent", "e sent"]
        await sends.start(send("f", "place"))
        sends.pull()  # before the request has run at all
        assert await sends.drain(0.5)
        assert done[-1] == "f not sent"

    asyncio.run(scenario())


# --- settings --------------------------------------------------------------------------------------------------------
def test_a_proxy_of_the_environment_does_not_touch_this_machine(monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")

    async def scenario():
        async with session() as (_venue, exchange):
            assert (await attempt(exchange, lambda: place(exchange))).ok

    asyncio.run(scenario())
    local = Endpoints("http://127.0.0.1:80", "ws://127.0.0.1:80")
    assert not proxy({"proxy": "socks5h://h:1"}, local)
    assert proxy({"proxy": "socks5h://h:1"}, Endpoints("https://api.x", "wss://x")) == "socks5h://h:1"


def test_a_socks_proxy_carries_rest_and_websocket():
    async def relay(reader, writer, seen):
        await reader.readexactly(2)  # version, number of methods
        await reader.read(1)
        writer.write(b"\x05\x00")
        kind = (await reader.readexactly(4))[3]
        host = await reader.readexactly((await reader.readexactly(1))[0] if kind == 3 else 4)
        port = int.from_bytes(await reader.readexactly(2), "big")
        seen.append(host)
        theirs, ours = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")

        async def pump(source, sink):
            while data := await source.read(65536):
                sink.write(data)
            sink.close()

        await asyncio.gather(pump(reader, ours), pump(theirs, writer), return_exceptions=True)

    async def scenario():
        seen = []
        async with served() as (venue, where):
            server = await asyncio.start_server(lambda r, w: relay(r, w, seen), "127.0.0.1", 0)
            address = f"socks5h://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            named = Endpoints(
                where.rest.replace("127.0.0.1", "venue.test"), where.ws.replace("127.0.0.1", "venue.test")
            )
            exchange = make_exchange(Exchange, named, proxy=address, apiKey="the-api-key", secret="the-secret")
            assert (await attempt(exchange, lambda: place(exchange))).ok
            task = stream(exchange)
            await until(lambda: venue.sockets)
            await close_exchange(exchange)
            with pytest.raises(VenueUnreachable):
                await task
            server.close()
        assert set(seen) == {b"venue.test"}  # the proxy looks names up

    asyncio.run(scenario())


def test_options_are_checked():
    assert endpoints("bybit", {"rest_url": "http://127.0.0.1:1/", "ws_url": "ws://127.0.0.1:1"}).local
    assert not endpoints("bybit", {"rest_url": "https://api.x", "ws_url": "wss://x"}).local
    with pytest.raises(ConfigError, match="ws_url"):
        endpoints("bybit", {"rest_url": "https://api.x"})
    assert credentials("bybit", {"api_key": "k"}, ["api_key"]) == {"api_key": "k"}
    with pytest.raises(ConfigError, match="RAYMAKER_BYBIT_API_SECRET"):
        credentials("bybit", {"api_key": "k"}, ["api_key", "api_secret"])
