"""The base of all faces: sockets, faults and limits, with a venue of three lines."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from mm.core.types import ASK, BID
from mm.errors import ConfigError
from mm.sandbox.account import Account
from mm.sandbox.face import Face, Frame, Session, SessionEnd
from mm.sandbox.server import Server
from mm.sandbox.spec import parse_spec
from mm.venues.native import wire
from mm.venues.spec import RateRule

LINEAR = {"symbol": "L", "venue": "v", "kind": "linear", "tick_size": "0.5", "lot_size": "0.01", "quote": "USD"}


class Plain(Face):
    venue = "plain"
    order_paths = ("/order",)
    rates = (RateRule("orders", 3, 0.3),)

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/order", self.order), web.get("/ws", self.ws), web.get("/time", self.time)]

    async def order(self, request: web.Request) -> web.Response:
        account = self.exchange.accounts["token-of-a"]
        if not self.limit(account, "orders"):
            return self.rate_limited_response()
        body = await request.json()
        order = self.exchange.place(account, wire.Place(symbol="L", **body), self.now_ns())
        return web.json_response({"status": order.status})

    async def time(self, _request: web.Request) -> web.Response:
        return web.json_response({"ns": self.now_ns()})

    async def ws(self, request: web.Request) -> web.StreamResponse:
        return await self.serve_socket(request, self.say, private="private" in request.query)

    def say(self, session: Session, frame: Frame) -> None:
        if frame == "bye":
            raise SessionEnd(4000, "as you wish")
        if session.private:
            session.account = self.exchange.accounts["token-of-a"]
        else:
            session.topics.add(str(frame))
        session.send("hello")

    def on_public(self, symbol: str, message: wire.Message) -> None:
        self.broadcast(symbol, type(message).__name__ + str(getattr(message, "seq", "")))

    def on_private(self, account: Account, message: wire.Message) -> None:
        self.push(account, type(message).__name__)

    def maintenance_response(self) -> web.Response:
        return web.json_response({"code": "maintenance"}, status=503)

    def rate_limited_response(self) -> web.Response:
        return web.json_response({"code": "slow"}, status=429)

    def unknown_route_response(self, request: web.Request) -> web.Response:
        return web.json_response({"code": "no such " + request.path}, status=404)


@asynccontextmanager
async def plain() -> AsyncIterator[tuple[Plain, str, aiohttp.ClientSession]]:
    raw = {
        "control_token": "control-token", "instruments": [LINEAR], "accounts": [{"name": "a", "token": "token-of-a"}],
    }  # fmt: skip
    server = Server(parse_spec(json.dumps(raw).encode(), "spec"))
    face = Plain(server)
    server.face = face
    port = await face.start()
    async with aiohttp.ClientSession() as client:
        yield face, f"http://127.0.0.1:{port}", client
    await face.stop()


def order(cid: str, px: str = "90") -> dict[str, Any]:
    return {"cid": cid, "side": "buy", "px": px, "qty": "1", "post_only": True}


def test_a_request_reaches_the_exchange_and_an_unknown_route_is_counted() -> None:
    async def run() -> None:
        async with plain() as (face, url, client):
            async with client.post(url + "/order", json=order("A-1")) as r:
                assert await r.json() == {"status": "open"}
            async with client.get(url + "/nowhere") as r:
                assert (r.status, await r.json()) == (404, {"code": "no such /nowhere"})
            assert face.counts["unknown_routes"] == 1

    asyncio.run(run())


def test_accepted_and_not_told() -> None:
    async def run() -> None:
        async with plain() as (face, url, client):
            face.change_faults({"ack_lost": 1, "error_after_accept": 1})
            with pytest.raises(aiohttp.ClientError):
                await client.post(url + "/order", json=order("A-1"))
            async with client.post(url + "/order", json=order("A-2")) as r:
                assert r.status == 502
            assert list(face.exchange.accounts["token-of-a"].open) == ["A-1", "A-2"]
            async with client.post(url + "/order", json=order("A-3")) as r:
                assert r.status == 200

    asyncio.run(run())


def test_not_accepted() -> None:
    async def run() -> None:
        async with plain() as (face, url, client):
            face.change_faults({"rate_limited": 1})
            async with client.post(url + "/order", json=order("A-1")) as r:
                assert (r.status, await r.json()) == (429, {"code": "slow"})
            face.change_faults({"maintenance": True})
            async with client.post(url + "/order", json=order("A-2")) as r:
                assert r.status == 503
            face.change_faults({"maintenance": False, "rest_down": True})
            with pytest.raises(aiohttp.ClientError):
                await client.get(url + "/time")
            assert not face.exchange.accounts["token-of-a"].orders
            with pytest.raises(ConfigError, match="lose_publik"):
                face.change_faults({"lose_publik": 1})

    asyncio.run(run())


def test_the_venues_rate_limit() -> None:
    async def run() -> None:
        async with plain() as (_, url, client):
            statuses = []
            for n in range(4):
                async with client.post(url + "/order", json=order(f"A-{n}")) as r:
                    statuses.append(r.status)
            assert statuses == [200, 200, 200, 429]
            await asyncio.sleep(0.35)
            async with client.post(url + "/order", json=order("A-9")) as r:
                assert r.status == 200

    asyncio.run(run())


def test_several_rules_for_the_same_requests_count_apart() -> None:
    async def run() -> None:
        async with plain() as (face, url, client):
            face.rates = (RateRule("orders", 3, 0.2), RateRule("orders", 5, 60.0))  # type: ignore[misc]
            statuses = []
            for n in range(8):
                async with client.post(url + "/order", json=order(f"A-{n}")) as r:
                    statuses.append(r.status)
                if n == 3:
                    await asyncio.sleep(0.25)
            assert statuses == [200, 200, 200, 429, 200, 200, 429, 429]

    asyncio.run(run())


@pytest.mark.parametrize(
    ("faults", "expected"),
    [
        ({}, ["Depth1", "Depth2", "Depth3"]),
        ({"lose_public": 1}, ["Depth2", "Depth3"]),
        ({"duplicate_public": 1}, ["Depth1", "Depth1", "Depth2", "Depth3"]),
        ({"swap_public": 1}, ["Depth2", "Depth1", "Depth3"]),
        ({"stall_public": True}, []),
    ],
)
def test_public_faults(faults: dict[str, Any], expected: list[str]) -> None:
    async def run() -> None:
        async with plain() as (face, url, client), client.ws_connect(url + "/ws") as ws:
            await ws.send_str("L")
            assert await ws.receive_str() == "hello"
            face.change_faults(faults)
            for tick in (100, 101, 102):
                face.exchange.background("L", [(BID, tick, 5)], 1)
                face.publish()
            face.change_faults({"stall_public": False})
            await ws.send_str("L")
            got = []
            while (frame := await ws.receive_str()) != "hello":
                got.append(frame)
            assert got == expected

    asyncio.run(run())


def test_private_frames_go_to_their_account_and_sockets_end() -> None:
    async def run() -> None:
        async with plain() as (face, url, client):
            async with client.ws_connect(url + "/ws?private") as ws, client.ws_connect(url + "/ws") as other:
                for socket in (ws, other):
                    await socket.send_str("L")
                    assert await socket.receive_str() == "hello"
                await client.post(url + "/order", json=order("A-1"))
                face.exchange.background("L", [(ASK, 190, 100)], 2)
                face.publish()
                assert await ws.receive_str() == "OrderUpdate"
                assert (await other.receive_str()).startswith("Depth")
                assert face.drop("private", hard=False) == 1
                got = await ws.receive()
                assert [got.type, ws.close_code] == [aiohttp.WSMsgType.CLOSE, 1001]
                await other.send_str("bye")
                while (message := await other.receive()).type == aiohttp.WSMsgType.TEXT:
                    pass
                assert (message.type, other.close_code) == (aiohttp.WSMsgType.CLOSE, 4000)
            async with asyncio.timeout(5):
                while face.sessions:  # noqa: ASYNC110
                    await asyncio.sleep(0.005)
            face.change_faults({"ws_down": True})
            with pytest.raises(aiohttp.ClientError):
                await client.ws_connect(url + "/ws")

    asyncio.run(run())


def test_a_skewed_clock() -> None:
    async def run() -> None:
        async with plain() as (face, url, client):
            async with client.get(url + "/time") as r:
                true = (await r.json())["ns"]
            face.change_faults({"clock_skew_s": -20.0})
            async with client.get(url + "/time") as r:
                assert -21e9 < (await r.json())["ns"] - true < -19e9

    asyncio.run(run())
