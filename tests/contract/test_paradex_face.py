"""The local Paradex over real sockets, spoken to without the library: what it refuses, and in which words."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import aiohttp
import jwt
import pytest

from mm.core.types import ASK, BID
from mm.sandbox.faces.paradex_auth import ACCOUNT_CLASS, CHAIN, PROXY_CLASS, Refusal, local_keys
from mm.sandbox.faces.paradex_wire import oid_of
from mm.venues.paradex.stark import (
    Messages,
    OrderSigner,
    account_address,
    public_key,
    sign,
    signature_text,
)
from tests.contract.paradex_local import BTC, MID, ONE, SYMBOL, Local, local

KEYS = local_keys("token-of-a")
KEY, ADDRESS = int(KEYS["l2_private_key"], 16), int(KEYS["l2_address"], 16)
MESSAGES = Messages(CHAIN, ADDRESS)
Row = dict[str, Any]


class Hand:
    """Requests made by hand."""

    def __init__(self, one: Local, http: aiohttp.ClientSession) -> None:
        self.one = one
        self.http = http
        self.token = ""

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        auth = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        async with self.http.request(method, f"{self.one.url}/v1{path}", json=body, headers=auth | headers) as r:
            raw = await r.read()
            return r.status, json.loads(raw) if raw else None

    async def error(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, str]:
        status, answer = await self.ask(method, path, body, **headers)
        assert set(answer) == {"error", "message", "data"}
        return status, answer["error"]

    def log_in_headers(self, *, key: int = KEY, signed: float | None = None, life_s: int = 3600, **changes: str) -> Row:
        at = int(time.time() if signed is None else signed)
        signature = signature_text(*sign(key, MESSAGES.auth(at, at + life_s)))
        return {
            "PARADEX-STARKNET-ACCOUNT": hex(ADDRESS), "PARADEX-STARKNET-SIGNATURE": signature,
            "PARADEX-TIMESTAMP": str(at), "PARADEX-SIGNATURE-EXPIRATION": str(at + life_s), **changes,
        }  # fmt: skip

    async def log_in(self) -> None:
        status, answer = await self.ask("POST", f"/auth/{hex(public_key(KEY))}", **self.log_in_headers())
        assert status == 200
        self.token = answer["jwt_token"]

    def socket(self, query: str = "") -> Any:
        return self.http.ws_connect(f"{self.one.url}/v1{query}")


@asynccontextmanager
async def hand(*, log_in: bool = True) -> AsyncIterator[Hand]:
    async with local() as one, aiohttp.ClientSession() as http:
        h = Hand(one, http)
        if log_in:
            await h.log_in()
        yield h


def order(cid: str, *, key: int = KEY, tamper: Row | None = None, **changes: Any) -> Row:
    """A signed order; ``tamper`` is changed after signing."""
    body = {
        "market": SYMBOL, "side": "BUY", "type": "LIMIT", "size": "0.01", "price": "59990", "client_id": cid,
        "instruction": "POST_ONLY", "signature_timestamp": time.time_ns() // 1_000_000, "recv_window": 5_000,
        "stp": None,
    } | changes  # fmt: skip
    return OrderSigner(key, MESSAGES).sign_order(body) | (tamper or {})


async def rpc(ws: Any, method: str, params: Any, number: int = 1) -> Any:
    """The answer to one request; pushes before it are dropped."""
    await ws.send_json({"jsonrpc": "2.0", "method": method, "params": params, "id": number})
    while True:
        message = await ws.receive(timeout=5)
        if message.type == aiohttp.WSMsgType.TEXT and json.loads(message.data).get("id") == number:
            return json.loads(message.data)
        assert message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY)


# --- access ----------------------------------------------------------------------------------------------------------
def test_who_may_log_in() -> None:
    async def run() -> None:
        async with hand(log_in=False) as h:
            mine, now = f"/auth/{hex(public_key(KEY))}", time.time()
            for path, headers, expected in (
                (mine, h.log_in_headers(key=KEY + 1), (401, "STARKNET_SIGNATURE_VERIFICATION_FAILED")),
                (mine, h.log_in_headers(signed=now - 400), (400, "INVALID_TIMESTAMP")),
                (mine, h.log_in_headers(signed=now + 60), (400, "INVALID_TIMESTAMP")),
                (mine, h.log_in_headers(life_s=-1), (400, "INVALID_SIGNATURE_EXPIRATION")),
                (mine, h.log_in_headers(life_s=30 * 86_400), (400, "INVALID_SIGNATURE_EXPIRATION")),
                (mine, h.log_in_headers(**{"PARADEX-STARKNET-SIGNATURE": "[1]"}), (401, "INVALID_STARKNET_SIGNATURE")),
                (mine, h.log_in_headers(**{"PARADEX-TIMESTAMP": "soon"}), (400, "INVALID_TIMESTAMP")),
                (mine, h.log_in_headers(**{"PARADEX-STARKNET-ACCOUNT": "0x7"}), (400, "NOT_ONBOARDED")),
                (mine, {}, (400, "INVALID_STARKNET_ADDRESS")),
                (f"/auth/{hex(public_key(KEY + 1))}", h.log_in_headers(key=KEY + 1), (400, "INVALID_SUBKEY")),
            ):
                assert await h.error("POST", path, **headers) == expected
            status, answer = await h.ask("POST", "/auth", **h.log_in_headers())  # without the key in the path
            assert status == 200
            claims = jwt.decode(answer["jwt_token"], options={"verify_signature": False})
            assert 299 < claims["exp"] - time.time() <= 300

    asyncio.run(run())


def test_tokens() -> None:
    async def run() -> None:
        async with hand() as h:
            good = h.token
            assert (await h.ask("GET", "/account"))[0] == 200
            head, body, signature = good.split(".")
            forged = jwt.encode({"sub": hex(ADDRESS), "iat": 1, "exp": 9e9}, "x" * 32, algorithm="HS256")
            for bad in ("", "x", f"{head}.{body}.{signature[:-2]}aa", forged):
                h.token = bad
                assert await h.error("GET", "/account") == (401, "INVALID_TOKEN")
            h.one.face.change_faults({"token_life_s": 0.2})
            h.token = ""
            await h.log_in()
            assert (await h.ask("GET", "/account"))[0] == 200
            await asyncio.sleep(0.3)
            assert await h.error("GET", "/account") == (401, "INVALID_TOKEN")
            h.token = good
            h.one.face.access.revoke(time.time_ns())
            assert await h.error("GET", "/account") == (401, "INVALID_TOKEN")

    asyncio.run(run())


def test_an_account_opens_itself_once() -> None:
    async def run() -> None:
        async with hand(log_in=False) as h:
            key = 0xABCDEF
            owner = h.one.face.access.register(h.one.account, public_key(key), onboarded=False)
            assert owner.address == account_address(public_key(key), PROXY_CLASS, ACCOUNT_CLASS)
            messages, now = Messages(CHAIN, owner.address), int(time.time())
            log_in = {
                "PARADEX-STARKNET-ACCOUNT": hex(owner.address), "PARADEX-TIMESTAMP": str(now),
                "PARADEX-SIGNATURE-EXPIRATION": str(now + 60),
                "PARADEX-STARKNET-SIGNATURE": signature_text(*sign(key, messages.auth(now, now + 60))),
            }  # fmt: skip
            assert await h.error("POST", "/auth", **log_in) == (400, "NOT_ONBOARDED")
            signature = signature_text(*sign(key, messages.onboarding()))
            headers = {"PARADEX-STARKNET-ACCOUNT": hex(owner.address), "PARADEX-STARKNET-SIGNATURE": signature}
            wrong = {"public_key": hex(public_key(key + 1))}
            assert await h.error("POST", "/onboarding", wrong, **headers) == (400, "PUBLIC_KEY_INVALID")
            assert (await h.ask("POST", "/onboarding", {"public_key": hex(public_key(key))}, **headers))[0] == 200
            assert (await h.ask("POST", "/auth", **log_in))[0] == 200

    asyncio.run(run())


# --- orders by REST --------------------------------------------------------------------------------------------------
def test_orders_that_are_refused_at_once() -> None:
    async def run() -> None:
        async with hand() as h:
            now_ms = time.time_ns() // 1_000_000
            for body, expected in (
                (order("x", tamper={"price": "59989"}), "INVALID_ORDER_SIGNATURE"),
                (order("x", tamper={"size": "0.02"}), "INVALID_ORDER_SIGNATURE"),
                (order("x", tamper={"side": "SELL"}), "INVALID_ORDER_SIGNATURE"),
                (order("x", tamper={"signature_timestamp": now_ms - 1}), "INVALID_ORDER_SIGNATURE"),
                (order("x", tamper={"signature": "[]"}), "INVALID_ORDER_SIGNATURE"),
                (order("x", key=KEY + 1), "INVALID_ORDER_SIGNATURE"),
                (order("x", signature_timestamp=now_ms - 6_000), "INVALID_TIMESTAMP"),
                (order("x", signature_timestamp=now_ms + 60_000), "INVALID_TIMESTAMP"),
                (order("x", price="59990.05"), "VALIDATION_ERROR"),
                (order("x", size="0.000001"), "VALIDATION_ERROR"),
                (order("x", size="0.001"), "VALIDATION_ERROR"),  # 60 USD
                (order("x") | {"price": "NaN"}, "VALIDATION_ERROR"),
                (order("x") | {"type": "MARKET"}, "VALIDATION_ERROR"),
                (order(""), "VALIDATION_ERROR"),
                (order("x", market="DOGE-USD-PERP"), "MARKET_NOT_FOUND"),
                ([], "BINDING_ERROR"),
            ):
                assert await h.error("POST", "/orders", body) == (400, expected), body
            assert h.one.account.open == {}
            status, taken = await h.ask("POST", "/orders", order("x"))
            assert (status, taken["status"], taken["client_id"]) == (201, "NEW", "x")
            assert await h.error("POST", "/orders", order("x")) == (400, "DUPLICATED_CLIENT_ID")
            assert len(h.one.account.open) == 1

    asyncio.run(run())


def test_what_the_book_and_the_risk_engine_decide_closes_the_order() -> None:
    async def run() -> None:
        async with hand() as h:
            for cid, changes, reason in (
                ("cross", {"price": "60010"}, "POST_ONLY_WOULD_CROSS"),
                ("rich", {"size": "900"}, "NOT_ENOUGH_MARGIN"),
                ("reduce", {"instruction": "IOC", "flags": ["REDUCE_ONLY"]}, "REDUCE_ONLY_WILL_INCREASE"),
                ("ioc", {"instruction": "IOC"}, "IOC_NOT_FILLED"),
            ):
                status, taken = await h.ask("POST", "/orders", order(cid, **changes))
                assert (status, taken["status"]) == (201, "NEW")
                _, now = await h.ask("GET", f"/orders/by_client_id/{cid}")
                assert (now["status"], now["cancel_reason"]) == ("CLOSED", reason)
                assert await h.error("DELETE", f"/orders/by_client_id/{cid}") == (400, "ORDER_IS_CLOSED")

    asyncio.run(run())


def test_batches() -> None:
    async def run() -> None:
        async with hand() as h:
            bodies = [order("a"), order("b", price="59980.05"), order("c", price="59980")]
            status, answer = await h.ask("POST", "/orders/batch", bodies)
            assert status == 201
            assert [o and o["status"] for o in answer["orders"]] == ["NEW", None, "NEW"]
            assert [e and e["error"] for e in answer["errors"]] == [None, "VALIDATION_ERROR", None]
            bad = [order("d"), order("e", key=KEY + 1)]
            assert await h.error("POST", "/orders/batch", bad) == (400, "INVALID_ORDER_SIGNATURE")
            assert await h.error("POST", "/orders/batch", [order("f")] * 51) == (400, "BATCH_SIZE_OUT_OF_RANGE")
            assert sorted(h.one.account.open) == ["a", "c"]
            first = answer["orders"][0]["id"]
            wanted = {"order_ids": [first, "123"], "client_order_ids": ["c", "nobody"]}
            _, gone = await h.ask("DELETE", "/orders/batch", wanted)
            states = ["QUEUED_FOR_CANCELLATION", "NOT_FOUND", "QUEUED_FOR_CANCELLATION", "NOT_FOUND"]
            assert [r["status"] for r in gone["results"]] == states
            _, again = await h.ask("DELETE", "/orders/batch", {"order_ids": [first]})
            assert again["results"][0]["status"] == "ALREADY_CLOSED"
            assert await h.error("DELETE", "/orders/batch", {}) == (400, "BATCH_SIZE_OUT_OF_RANGE")

    asyncio.run(run())


def test_modify_and_the_ways_to_cancel() -> None:
    async def run() -> None:
        async with hand() as h:
            ids = {c: (await h.ask("POST", "/orders", order(c)))[1]["id"] for c in ("a", "b", "c", "d")}
            change = order("a", id=ids["a"], price="59980", size="0.02")
            status, changed = await h.ask("PUT", f"/orders/{ids['a']}", change)
            assert (status, changed["id"], changed["price"], changed["size"]) == (200, ids["a"], "59980.0", "0.02000")
            plain = order("a", price="59970")  # signed as a new order
            assert await h.error("PUT", f"/orders/{ids['a']}", plain) == (400, "INVALID_ORDER_SIGNATURE")
            crossing = order("a", id=ids["a"], price="60010")
            assert await h.error("PUT", f"/orders/{ids['a']}", crossing) == (400, "VALIDATION_ERROR")
            turned = order("a", id=ids["a"], side="SELL", price="60010")
            assert await h.error("PUT", f"/orders/{ids['a']}", turned) == (400, "VALIDATION_ERROR")
            assert await h.error("PUT", "/orders/1790", change) == (404, "ORDER_ID_NOT_FOUND")
            assert await h.ask("DELETE", f"/orders/{ids['a']}") == (204, None)
            assert await h.error("DELETE", f"/orders/{ids['a']}") == (400, "ORDER_IS_CLOSED")
            assert await h.ask("DELETE", "/orders/by_client_id/b?market=" + SYMBOL) == (204, None)
            missing = await h.error("DELETE", "/orders/by_client_id/c?market=ETH-USD-PERP")
            assert missing == (404, "CLIENT_ORDER_ID_NOT_FOUND")
            assert await h.ask("DELETE", "/orders?market=ETH-USD-PERP") == (200, {})
            assert len(h.one.account.open) == 2
            assert await h.ask("DELETE", "/orders") == (200, {})
            assert h.one.account.open == {}
            _, history = await h.ask("GET", "/orders-history")
            assert {o["status"] for o in history["results"]} == {"CLOSED"}

    asyncio.run(run())


def test_public_answers_and_unknown_routes() -> None:
    async def run() -> None:
        async with hand(log_in=False) as h:
            _, answer = await h.ask("GET", "/markets")
            (market,) = answer["results"]
            assert (market["price_tick_size"], market["order_size_increment"]) == ("0.1", "0.00001")
            assert market["fee_config"]["api_fee"]["maker_fee"]["fee"] == "0.00003"
            _, book = await h.ask("GET", f"/orderbook/{SYMBOL}?depth=1")
            assert (book["bids"], book["asks"]) == ([["59999.0", "1.00000"]], [["60001.0", "1.00000"]])
            _, bbo = await h.ask("GET", f"/bbo/{SYMBOL}")
            assert (bbo["bid"], bbo["ask"]) == ("59999.0", "60001.0")
            _, summary = await h.ask("GET", "/markets/summary?market=ALL")
            assert summary["results"][0]["mark_price"] == "60000"
            assert (await h.ask("GET", "/system/state"))[1] == {"status": "ok"}
            assert await h.error("GET", "/bbo/DOGE") == (404, "MARKET_NOT_FOUND")
            assert await h.error("GET", f"/orderbook/{SYMBOL}?depth=many") == (400, "INVALID_REQUEST_PARAMETER")
            assert await h.error("GET", "/vaults") == (404, "NOT_FOUND")
            assert h.one.face.counts["unknown_routes"] == 1
            assert await h.error("GET", "/orders") == (401, "INVALID_TOKEN")

    asyncio.run(run())


def test_too_many_requests() -> None:
    async def run() -> None:
        async with hand() as h:
            h.one.at_ns = time.time_ns()
            h.one.server.clock_ns = lambda: h.one.at_ns or 0  # a second that lasts
            statuses = [(await h.ask("GET", "/orders"))[0] for _ in range(122)]
            assert statuses == [200] * 120 + [429] * 2
            assert (await h.ask("POST", "/orders", order("x")))[0] == 201  # orders have a budget of their own
            h.one.at_ns += 1_000_000_000
            assert (await h.ask("GET", "/orders"))[0] == 200

    asyncio.run(run())


# --- the socket ------------------------------------------------------------------------------------------------------
def test_requests_that_are_none() -> None:
    async def run() -> None:
        async with hand() as h, h.socket() as ws:
            for text, code in (("{", -32700), ("[]", -32600), ('{"method":1}', -32600), ('{"method":"fly"}', -32601)):
                await ws.send_str(text)
                assert (await ws.receive_json())["error"]["code"] == code
            assert (await rpc(ws, "subscribe", {}))["error"]["code"] == -32602
            for method, params in (("order.create", order("x")), ("subscribe", {"channel": "orders.ALL"})):
                assert (await rpc(ws, method, params))["error"]["code"] == 40111
            assert (await rpc(ws, "auth", {"bearer": "x"}))["error"]["code"] == 40111
            assert (await rpc(ws, "auth", {"bearer": h.token}))["result"] == {"node_id": "local"}
            refused = await rpc(ws, "order.create", order("x", key=KEY + 1))
            assert refused["error"]["message"] == "INVALID_ORDER_SIGNATURE"
            assert (await rpc(ws, "order.create", order("x")))["result"]["order"]["status"] == "NEW"
            gone = await rpc(ws, "order.cancel", {"client_id": "x", "market": SYMBOL})
            assert gone["result"]["status"] == "QUEUED_FOR_CANCELLATION"
            again = await rpc(ws, "order.cancel", {"id": gone["result"]["order_id"]})
            assert again["error"]["message"] == "ORDER_IS_CLOSED"
            assert (await rpc(ws, "order.cancel", {"client_id": "x"}))["error"]["code"] == -32602

    asyncio.run(run())


def test_channels_as_the_venue_names_them() -> None:
    async def run() -> None:
        async with hand() as h:
            for query in ("?sbeSchemaId=2&sbeSchemaVersion=2", "?sbeSchemaId=1&sbeSchemaVersion=3", "?sbeSchemaId=1"):
                with pytest.raises(aiohttp.WSServerHandshakeError, match="400"):
                    await h.socket(query)
            async with h.socket("?sbeSchemaId=1&sbeSchemaVersion=2") as ws:
                for channel, words in (
                    (f"order_book.{SYMBOL}.deltas@15@50ms", "no parameters expected for deltas topic."),
                    (f"order_book.{SYMBOL}.snapshot@15@10ms", "is not known"),
                    ("order_book.DOGE.deltas", "is not known"),
                    ("weather", "is not known"),
                ):
                    answer = await rpc(ws, "subscribe", {"channel": channel})
                    assert answer["error"]["code"] == -32600
                    assert words in answer["error"]["data"]
                deltas, snapshot = f"order_book.{SYMBOL}.deltas", f"order_book.{SYMBOL}.snapshot@15@100ms"
                assert (await rpc(ws, "subscribe", {"channel": deltas}))["result"] == {"channel": deltas}
                second = await rpc(ws, "subscribe", {"channel": snapshot})
                assert "cannot share an SBE session" in second["error"]["data"]
                assert "already" in (await rpc(ws, "subscribe", {"channel": deltas}))["error"]["data"]
                await rpc(ws, "unsubscribe", {"channel": deltas})
                assert "error" in await rpc(ws, "unsubscribe", {"channel": deltas})
                assert "result" in await rpc(ws, "subscribe", {"channel": snapshot})
            async with h.socket() as ws:  # JSON, for those who do not ask for SBE
                assert "result" in await rpc(ws, "subscribe", {"channel": snapshot})
                h.one.play((BID, MID - 30, ONE), (ASK, MID + 30, ONE))
                while True:
                    push = await ws.receive_json(timeout=5)
                    if push["params"]["data"]["seq_no"] == 2:
                        break
                data = push["params"]["data"]
                assert (push["params"]["channel"], data["update_type"]) == (snapshot, "s")
                assert len(data["inserts"]) == 6

    asyncio.run(run())


def test_cancel_on_disconnect_is_of_one_socket() -> None:
    async def run() -> None:
        async with hand() as h:
            await h.ask("POST", "/orders", order("rest"))
            async with h.socket() as keeps, h.socket() as ws:
                for socket in (keeps, ws):
                    await rpc(socket, "auth", {"bearer": h.token})
                await rpc(keeps, "order.create", order("other"))
                await rpc(ws, "order.create", order("before"))
                assert (await rpc(ws, "order.cancel_on_disconnect", {"enabled": True}))["result"] == {"enabled": True}
                await rpc(ws, "order.create_batch", [order("b1"), order("b2")])
                await rpc(keeps, "subscribe", {"channel": "orders.ALL"})
                await ws.close()
                reasons = {}
                while len(reasons) < 3:
                    data = (await keeps.receive_json(timeout=5))["params"]["data"]
                    reasons[data["client_id"]] = data["cancel_reason"]
            assert reasons == dict.fromkeys(("before", "b1", "b2"), "CANCEL_ON_DISCONNECT")
            assert sorted(h.one.account.open) == ["other", "rest"]

    asyncio.run(run())


def test_a_token_that_a_fault_has_shortened_ends_its_socket() -> None:
    async def run() -> None:
        async with hand() as h:
            h.one.face.change_faults({"token_life_s": 0.3})
            h.token = ""
            await h.log_in()
            async with h.socket() as ws:
                await rpc(ws, "auth", {"bearer": h.token})
                said = await ws.receive_json(timeout=5)
                assert (said["error"]["code"], said["id"]) == (40111, None)
                assert (await ws.receive(timeout=5)).type == aiohttp.WSMsgType.CLOSE

    asyncio.run(run())


def test_another_client_library_signs_as_the_face_verifies() -> None:
    """ccxt hashes, signs and logs in by code of its own: nothing of it is shared with ours or with paradex-py."""
    import ccxt.async_support as ccxt

    async def run() -> None:
        async with local() as one:
            account = {"privateKey": KEYS["l2_private_key"], "publicKey": hex(public_key(KEY)), "address": hex(ADDRESS)}
            ex = ccxt.paradex({"enableRateLimit": False, "options": {"paradexAccount": account}})
            ex.urls["api"] = {"v1": one.url + "/v1", "v2": one.url + "/v2"}
            ex.walletAddress, ex.privateKey = "0x" + "1" * 40, "0x" + "2" * 64  # asked for, not used
            try:
                (symbol,) = await ex.load_markets()
                made = await ex.create_order(
                    symbol, "limit", "buy", 0.01, 59_990, {"postOnly": True, "clientOrderId": "c-1"}
                )
                assert [o["id"] for o in await ex.fetch_open_orders(symbol)] == [made["id"]]
                assert list(one.account.open) == ["c-1"]
                await ex.cancel_order(made["id"], symbol)
            finally:
                await ex.close()
            assert one.account.open == {}
            assert (one.face.counts["refused"], one.face.counts["unknown_routes"]) == (0, 0)

    asyncio.run(run())


def test_numbers_of_orders() -> None:
    assert oid_of("1790000000130000000000000042") == 42
    assert oid_of("42") == oid_of("x" * 28) == 0
    with pytest.raises(Refusal):
        Local().face.orders.by_id(Local().account, "1790000000130000000000000042")
    assert BTC.size(1) == Decimal("0.00001")
