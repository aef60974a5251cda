"""Hyperliquid's local exchange in this event loop; one of its accounts by hand: ccxt signs, aiohttp sends."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import ccxt

from mm.core.types import ASK, BID, MARK
from mm.sandbox.account import Account
from mm.sandbox.faces.hyperliquid import HyperliquidFace
from mm.sandbox.faces.hyperliquid_auth import local_keys
from mm.sandbox.server import Server
from mm.sandbox.spec import parse_spec
from mm.venues.hyperliquid.rules import to_cloid
from mm.venues.hyperliquid.spec import SPEC
from tests.contract.local_server import running

TOKEN = "token-of-a"
POST_ONLY, IOC, GTC = ({"limit": {"tif": tif}} for tif in ("Alo", "Ioc", "Gtc"))


class Wire:
    """One account's requests and socket."""

    def __init__(self, server: Server, port: int, http: aiohttp.ClientSession, token: str = TOKEN) -> None:
        self.server, self.port, self.http = server, port, http
        face = server.face
        assert isinstance(face, HyperliquidFace)
        self.face = face
        self.account: Account = server.exchange.accounts[token]
        self.keys = local_keys(token)
        self.user = self.keys["wallet_address"]
        self.signer = ccxt.hyperliquid({"privateKey": self.keys["private_key"], "walletAddress": self.user})
        self.nonce = server.clock_ns() // 1_000_000
        self.told: list[dict[str, Any]] = []
        self.raw: list[str] = []

    def signed(self, action: dict[str, Any], nonce: int | None = None, **more: Any) -> dict[str, Any]:
        if nonce is None:
            self.nonce += 1
            nonce = self.nonce
        signature = self.signer.sign_l1_action(action, nonce, None, more.get("expiresAfter"))
        return {"action": action, "nonce": nonce, "signature": signature, **more}

    async def post(self, path: str, body: Any) -> tuple[int, Any]:
        async with self.http.post(f"http://127.0.0.1:{self.port}{path}", json=body) as r:
            text = await r.text()
            return r.status, json.loads(text) if text.startswith(("{", "[", '"', "null")) else text

    async def act(self, action: dict[str, Any], **more: Any) -> Any:
        status, answer = await self.post("/exchange", self.signed(action, **more))
        assert status == 200
        return answer

    async def info(self, kind: str, **asked: Any) -> Any:
        status, answer = await self.post("/info", {"type": kind, "user": self.user, **asked})
        assert status == 200, answer
        return answer

    async def place(self, *orders: dict[str, Any], **more: Any) -> list[Any]:
        answer = await self.act({"type": "order", "orders": list(orders), "grouping": "na", **more})
        assert answer["status"] == "ok", answer
        return answer["response"]["data"]["statuses"]

    def play(self, *rows: tuple[int, int, int], coin: str = "BTC") -> None:
        self.server.exchange.background(coin, rows, self.server.clock_ns())
        self.server.publish()

    @asynccontextmanager
    async def socket(self, *subscriptions: dict[str, str]) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        async with self.http.ws_connect(f"ws://127.0.0.1:{self.port}/ws") as ws:
            reader = asyncio.create_task(self._read(ws))
            for subscription in subscriptions:
                await ws.send_json({"method": "subscribe", "subscription": subscription})
            await self.heard(lambda: self.of("subscriptionResponse")[len(subscriptions) - 1 :])
            yield ws
            reader.cancel()

    async def _read(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        async for message in ws:
            self.told.append(json.loads(message.data))
            self.raw.append(message.data)

    def of(self, channel: str) -> list[Any]:
        return [m.get("data") for m in self.told if m["channel"] == channel]

    async def heard(self, what: Callable[[], Any]) -> Any:
        """Wait until something is true of what was said."""
        async with asyncio.timeout(3):
            while not (value := what()):  # noqa: ASYNC110
                await asyncio.sleep(0.002)
        return value


def order(cid: str | None, px: str, sz: str = "0.01", *, buy: bool = True, tif: Any = POST_ONLY, **more: Any) -> Any:
    out = {"a": 0, "b": buy, "p": px, "s": sz, "r": more.get("reduce", False), "t": tif}
    return out if cid is None else {**out, "c": to_cloid(cid)}


def make_server(clock: Callable[[], int] = time.time_ns) -> Server:
    """Two coins, two accounts; not running."""
    raw = {
        "control_token": "control-token",
        "instruments": [SPEC.instrument(base).to_dict() for base in ("BTC", "ETH")],
        "accounts": [{"name": n, "token": f"token-of-{n}", "balance": "100000"} for n in "ab"],
        "stp": "cancel_oldest",
        "face": "hyperliquid",
    }
    return Server(parse_spec(json.dumps(raw).encode(), "spec"), clock)


@asynccontextmanager
async def exchange(clock: Callable[[], int] = time.time_ns) -> AsyncIterator[Wire]:
    """The exchange with a small book in BTC, and its account a."""
    server = make_server(clock)
    async with running(server) as port, aiohttp.ClientSession() as http:
        wire = Wire(server, port, http)
        wire.play((BID, 99_990, 200_000), (ASK, 100_010, 100_000), (MARK, 100_000, 0))
        yield wire
