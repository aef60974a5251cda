"""Hyperliquid's wire of the local exchange, spoken by hand."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from typing import Any

import ccxt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mm.core.types import BID, FUNDING, SELL
from mm.sandbox.faces import face_class
from mm.sandbox.faces.hyperliquid import HyperliquidFace
from mm.sandbox.faces.hyperliquid_auth import local_keys
from mm.sandbox.faces.hyperliquid_info import Unknown
from mm.venues.hyperliquid.rules import to_cloid
from tests.contract.hyperliquid_local import IOC, TOKEN, exchange, make_server, order


def test_orders_and_what_is_said_of_them() -> None:
    async def run() -> None:
        async with exchange() as w:
            user = {"user": w.user}
            streams = [{"type": kind, **user} for kind in ("orderUpdates", "userFills", "clearinghouseState")]
            async with w.socket(*streams):
                (resting,) = await w.place(order("R-1", "99000"))
                oid = resting["resting"]["oid"]
                assert resting == {"resting": {"oid": oid, "cloid": to_cloid("R-1")}}
                ((update,),) = await w.heard(lambda: w.of("orderUpdates"))
                assert update["status"] == "open"
                assert update["order"] == {
                    "coin": "BTC", "side": "B", "limitPx": "99000.0", "sz": "0.01", "origSz": "0.01", "oid": oid,
                    "cloid": to_cloid("R-1"), "timestamp": update["order"]["timestamp"],
                }  # fmt: skip
                w.play((BID, 99_990, 0), (SELL, 99_000, 400))
                fills = await w.heard(lambda: w.of("userFills")[1:])
                assert w.of("userFills")[0] == {"isSnapshot": True, "user": w.user, "fills": []}
                (fill,) = fills[0]["fills"]
                names = ("px", "sz", "side", "crossed", "startPosition", "dir", "cloid", "oid")
                assert {k: fill[k] for k in names} == {
                    "px": "99000.0", "sz": "0.004", "side": "B", "crossed": False, "startPosition": "0.0",
                    "dir": "Open Long", "cloid": to_cloid("R-1"), "oid": oid,
                }  # fmt: skip
                assert float(fill["fee"]) == pytest.approx(99_000 * 0.004 * 0.00015)
                state = (await w.heard(lambda: w.of("clearinghouseState")[1:]))[-1]["clearinghouseState"]
                assert state["assetPositions"][0]["position"]["szi"] == "0.004"
                (row,) = await w.info("frontendOpenOrders")
                assert (row["sz"], row["origSz"], row["tif"], row["oid"]) == ("0.006", "0.01", "Alo", oid)
                answer = await w.act({"type": "cancel", "cancels": [{"a": 0, "o": oid}]})
                assert answer["response"] == {"type": "cancel", "data": {"statuses": ["success"]}}
                await w.heard(lambda: [u for rows in w.of("orderUpdates") for u in rows if u["status"] == "canceled"])
                again = {"type": "cancelByCloid", "cancels": [{"asset": 0, "cloid": to_cloid("R-1")}]}
                (status,) = (await w.act(again))["response"]["data"]["statuses"]
                assert status == {"error": "Order was never placed, already canceled, or filled. asset=0"}
                found = await w.info("orderStatus", oid=to_cloid("R-1"))
                assert (found["status"], found["order"]["status"], found["order"]["order"]["oid"]) == (
                    "order", "canceled", oid,
                )  # fmt: skip
                assert await w.info("orderStatus", oid=to_cloid("R-9")) == {"status": "unknownOid"}
                assert [f["tid"] for f in await w.info("userFills")] == [fill["tid"]]
                assert await w.info("userFillsByTime", startTime=fill["time"] + 1) == []

    asyncio.run(run())


def test_a_batch_with_one_leg_that_would_cross() -> None:
    async def run() -> None:
        async with exchange() as w:
            statuses = await w.place(order("R-1", "99000"), order("R-2", "100010"), order("R-3", "99001"))
            assert [next(iter(s)) for s in statuses] == ["resting", "error", "resting"]
            bbo = "bbo was 99990@100010. asset=0"
            assert statuses[1]["error"] == f"Post only order would have immediately matched, {bbo}"
            assert [o["limitPx"] for o in await w.info("openOrders")] == ["99000.0", "99001.0"]
            assert (await w.info("orderStatus", oid=to_cloid("R-2")))["order"]["status"] == "badAloPxRejected"

    asyncio.run(run())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"p": "99000.5"}, "Price must be divisible by tick size. asset=0"),
        ({"s": "0.00000001"}, "Order has invalid size. asset=0"),
        ({"s": "0"}, "Order has zero size. asset=0"),
        ({"s": "0.0001"}, "Order must have minimum value of $10. asset=0"),
        ({"r": True, "t": IOC}, "Reduce only order would increase position. asset=0"),
        ({"t": IOC}, "Order could not immediately match against any resting orders. asset=0"),
        ({"a": 7}, "Unknown asset. asset=7"),
    ],
)
def test_refused_orders(changes: dict[str, Any], words: str) -> None:
    async def run() -> None:
        async with exchange() as w:
            assert await w.place({**order("R-1", "99000"), **changes}) == [{"error": words}]
            assert not w.account.open

    asyncio.run(run())


def test_taker_fills_and_prices_of_the_grid() -> None:
    async def run() -> None:
        async with exchange() as w:
            (status,) = await w.place(order("R-1", "100010", "0.5", tif=IOC))
            oid = w.account.orders[to_cloid("R-1")].oid
            assert status == {"filled": {"totalSz": "0.5", "avgPx": "100010.0", "oid": oid, "cloid": to_cloid("R-1")}}
            (fill,) = await w.info("userFills")
            assert fill["crossed"] is True
            (status,) = await w.place({**order("R-2", "3000.1", "0.1"), "a": 1})
            assert "resting" in status
            assert await w.place({**order("R-3", "12345.6", "0.1"), "a": 1}) == [
                {"error": "Price must be divisible by tick size. asset=1"}
            ]

    asyncio.run(run())


def test_signatures_nonces_and_expiry() -> None:
    async def run() -> None:
        async with exchange() as w:
            good = w.signed({"type": "order", "orders": [order("R-1", "99000")], "grouping": "na"})
            forged = json.loads(json.dumps(good))
            forged["action"]["orders"][0]["s"] = "0.02"
            _, answer = await w.post("/exchange", forged)
            assert answer["response"].startswith("User or API Wallet 0x")
            assert answer["response"].endswith(" does not exist.")
            broken = {**good, "signature": {"r": "0x0", "s": "0x0", "v": 27}}
            assert (await w.post("/exchange", broken))[1]["response"] == "Unable to recover signer."
            trailing = json.loads(json.dumps(good))  # the venue hashes numbers without trailing zeros
            trailing["action"]["orders"][0]["p"] = "99000.00"
            assert (await w.post("/exchange", trailing))[1]["status"] == "ok"
            assert await w.post("/exchange", good) == (
                200, {"status": "err", "response": f"Invalid nonce: duplicate nonce {good['nonce']}"},
            )  # fmt: skip
            noop = {"type": "noop"}
            now = int(time.time() * 1e3)
            for nonce, words in ((now - 3 * 86_400_000, "too low"), (now + 2 * 86_400_000, "too high")):
                assert f"nonce {words} {nonce}" in (await w.act(noop, nonce=nonce))["response"]
            late = await w.act(noop, expiresAfter=now - 1)
            assert late == {"status": "err", "response": "Action already expired"}
            for n in range(100):
                assert (await w.act(noop, nonce=now + 1000 + n))["status"] == "ok"
            assert "nonce too low" in (await w.act(noop, nonce=now + 999))["response"]
            other = local_keys(TOKEN, agent=1)  # another process: another agent, nonces of its own
            w.signer = ccxt.hyperliquid({"privateKey": other["private_key"], "walletAddress": w.user})
            assert (await w.act(noop, nonce=now + 1000))["status"] == "ok"
            assert await w.info("userRole", user=w.user) == {"role": "user"}
            agent = ccxt.hyperliquid.eth_get_address_from_private_key(other["private_key"])
            assert await w.info("userRole", user=agent) == {"role": "agent", "data": {"user": w.user}}
            assert w.face.counts["bad_signatures"] == 2

    asyncio.run(run())


def test_what_cannot_be_read() -> None:
    async def run() -> None:
        async with exchange() as w:
            for path, body in (("/exchange", {"action": {"type": "fly"}}), ("/info", {"type": "sky"}), ("/info", 7)):
                status, answer = await w.post(path, body)
                assert (status, answer) == (422, "Failed to deserialize the JSON body into the target type")
            assert (await w.post("/nowhere", {}))[0] == 404
            assert w.face.counts["unknown_routes"] == 1
            async with w.socket({"type": "l2Book", "coin": "BTC"}) as ws:
                await ws.send_str("{")
                await ws.send_json({"method": "subscribe", "subscription": {"type": "l2Book", "coin": "DOGE"}})
                await ws.send_json({"method": "subscribe", "subscription": {"type": "l2Book", "coin": "BTC"}})
                parsing, invalid, twice = await w.heard(lambda: w.of("error")[2:] and w.of("error"))
                assert parsing.startswith("Error parsing JSON")
                assert invalid.startswith("Invalid subscription")
                assert twice.startswith("Already subscribed")

    asyncio.run(run())


def test_modify_is_a_new_order_under_the_same_cloid() -> None:
    async def run() -> None:
        async with exchange() as w, w.socket({"type": "orderUpdates", "user": w.user}):
            (first,) = await w.place(order("R-1", "99000"))
            change = {"oid": to_cloid("R-1"), "order": order("R-1", "99005", "0.02")}
            answer = await w.act({"type": "batchModify", "modifies": [change]})
            (status,) = answer["response"]["data"]["statuses"]
            assert status["resting"]["oid"] != first["resting"]["oid"]
            updates = await w.heard(lambda: w.of("orderUpdates")[1:])
            assert [(u["status"], u["order"]["oid"]) for u in updates[0]] == [
                ("canceled", first["resting"]["oid"]), ("open", status["resting"]["oid"]),
            ]  # fmt: skip
            (row,) = await w.info("openOrders")
            assert (row["cloid"], row["limitPx"], row["sz"]) == (to_cloid("R-1"), "99005.0", "0.02")
            cross = {"type": "modify", "oid": row["oid"], "order": order("R-1", "100010")}
            answer = await w.act(cross)
            assert answer["response"].startswith("Error placing new order during modify: Post only order would")
            assert await w.info("openOrders") == []
            answer = await w.act(cross)
            assert answer == {"status": "err", "response": "Cannot modify canceled or filled order"}

    asyncio.run(run())


def test_dead_man() -> None:
    async def run() -> None:
        async with exchange() as w:
            await w.place(order("R-1", "99000"))
            now = int(time.time() * 1e3)
            near = await w.act({"type": "scheduleCancel", "time": now + 4_900})
            assert near["response"].startswith("Scheduled cancel time too early")
            assert (await w.act({"type": "scheduleCancel", "time": now + 6_000}))["status"] == "ok"
            assert w.account.deadline_ns == pytest.approx((now + 6_000) * 1_000_000, abs=50_000_000)
            await w.act({"type": "scheduleCancel"})
            assert w.account.deadline_ns == 0
            await w.act({"type": "scheduleCancel", "time": now + 6_000})
            w.account.deadline_ns = time.time_ns() + 50_000_000  # do not wait for five seconds
            await w.heard(lambda: not w.account.open)
            assert (await w.info("orderStatus", oid=to_cloid("R-1")))["order"]["status"] == "scheduledCancel"
            w.face.actions.required_volume_usd = 1_000_000
            answer = await w.act({"type": "scheduleCancel", "time": now + 60_000})
            assert answer["response"].startswith("Cannot set scheduled cancel time until enough volume traded.")

    asyncio.run(run())


def test_leverage_funding_and_the_account() -> None:
    async def run() -> None:
        async with exchange() as w:
            async with w.socket({"type": "userEvents", "user": w.user}):
                too_much = {"type": "updateLeverage", "asset": 0, "isCross": False, "leverage": 41}
                assert (await w.act(too_much))["response"] == "Invalid leverage value"
                assert (await w.act({**too_much, "leverage": 5}))["status"] == "ok"
                await w.place(order("R-1", "100010", "0.5", tif=IOC))
                switched = await w.act({**too_much, "leverage": 5, "isCross": True})
                assert switched["response"] == "Cannot switch leverage type with open position."
                w.play((FUNDING, 100_000, 10_000))  # 0.00001
                (event,) = await w.heard(lambda: w.of("user"))
                assert event["funding"]["usdc"] == "-0.5"
                (row,) = await w.info("userFunding", startTime=0)
                assert (row["delta"]["usdc"], row["delta"]["szi"]) == ("-0.5", "0.5")
                state = await w.info("clearinghouseState")
                (position,) = [p["position"] for p in state["assetPositions"]]
                assert (position["leverage"]["type"], position["leverage"]["value"]) == ("isolated", 5)
                assert float(position["marginUsed"]) == pytest.approx(100_010 * 0.5 / 5)
                fee = 100_010 * 0.5 * 0.00045
                assert float(state["marginSummary"]["accountValue"]) == pytest.approx(100_000 - fee - 0.5 - 5)
            fees = await w.info("userFees")
            assert (fees["userAddRate"], fees["userCrossRate"]) == ("0.00015", "0.00045")

    asyncio.run(run())


def test_market_data() -> None:
    async def run() -> None:
        async with exchange() as w:
            kinds = ("l2Book", "bbo", "trades", "activeAssetCtx")
            async with w.socket(*({"type": kind, "coin": "BTC"} for kind in kinds)) as ws:
                (first,) = await w.heard(lambda: w.of("l2Book"))
                assert [[(level["px"], level["sz"]) for level in side] for side in first["levels"]] == [
                    [("99990.0", "2.0")], [("100010.0", "1.0")],
                ]  # fmt: skip
                assert w.of("activeAssetCtx")[0]["ctx"]["markPx"] == "100000.0"
                w.play((BID, 99_995, 5))
                touch = (await w.heard(lambda: w.of("bbo")[1:]))[0]
                assert [level["px"] for level in touch["bbo"]] == ["99995.0", "100010.0"]
                assert touch["time"] > first["time"]
                w.play((BID, 99_900, 5))  # not the touch: told with the next book
                w.play((SELL, 99_995, 5))
                ((trade,),) = await w.heard(lambda: w.of("trades"))
                assert (trade["side"], trade["px"], trade["sz"]) == ("A", "99995.0", "0.00005")
                book = (await w.heard(lambda: w.of("l2Book")[1:]))[0]
                assert [level["px"] for level in book["levels"][0]] == ["99990.0", "99900.0"]
                w.play(*((BID, 90_000 + k, 7) for k in range(40)))
                await w.heard(lambda: len(w.of("l2Book")[-1]["levels"][0]) == 20)
                await ws.send_json({"method": "ping"})
                await w.heard(lambda: [m for m in w.told if m == {"channel": "pong"}])
                w.face.change_faults({"no_pong": True})
                await ws.send_json({"method": "unsubscribe", "subscription": {"type": "bbo", "coin": "BTC"}})
                await w.heard(lambda: w.of("subscriptionResponse")[4:])
            times = [d["time"] for d in w.of("l2Book") + w.of("bbo")]
            assert len(times) == len(w.of("l2Book")) + len(w.of("bbo"))

    asyncio.run(run())


def test_rate_limits() -> None:
    async def run() -> None:
        async with exchange() as w:
            for _ in range(60):
                await w.info("openOrders")
            assert await w.post("/info", {"type": "openOrders", "user": w.user}) == (429, None)
            assert (await w.post("/exchange", w.signed({"type": "noop"})))[0] == 429
            w.face._used.clear()
            w.face.actions.used["a"] = 10_000
            (words,) = [(await w.act({"type": "noop"}))["response"]]
            assert words.startswith("Too many cumulative requests sent (10001 > 10000)")
            cancel = {"type": "cancel", "cancels": [{"a": 0, "o": 1}]}
            assert (await w.act(cancel))["status"] == "ok"  # cancels have more room

    asyncio.run(run())


def test_the_library_pays_itself_and_is_seen() -> None:
    """What stock ccxt does, so that the test of our client (no builder) could fail."""

    async def run() -> None:
        async with exchange() as w:
            paid = await w.act({
                "type": "order", "orders": [order("R-1", "99000")], "grouping": "na",
                "builder": {"b": "0x6530512a6c89c7cfcebc3ba7fcd9ada5f30827a6", "f": 10},
            })  # fmt: skip
            assert paid["status"] == "err"
            assert w.face.counts["builder_fees"] == 1
            await w.act({"type": "setReferrer", "code": "CCXT1"})
            assert w.face.counts["referrers"] == 1

    asyncio.run(run())


def test_a_request_by_websocket() -> None:
    async def run() -> None:
        async with exchange() as w, w.socket({"type": "orderUpdates", "user": w.user}) as ws:
            action = {"type": "order", "orders": [order("R-1", "99000")], "grouping": "na"}
            request = {"type": "action", "payload": w.signed(action)}
            await ws.send_json({"method": "post", "id": 5, "request": request})
            question = {"type": "info", "payload": {"type": "l2Book", "coin": "BTC"}}
            await ws.send_json({"method": "post", "id": 6, "request": question})
            placed, book = await w.heard(lambda: w.of("post")[1:] and w.of("post"))
            assert placed["id"] == 5
            assert "resting" in placed["response"]["payload"]["response"]["data"]["statuses"][0]
            assert book["response"]["payload"]["data"]["coin"] == "BTC"

    asyncio.run(run())


def test_the_registry_names_it() -> None:
    assert face_class("hyperliquid") is HyperliquidFace


class Listener:
    """A session that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.topics: set[str] = set()
        self.state: dict[str, Any] = {}
        self.account = None
        self.private = False

    def send(self, data: str) -> None:
        self.told.append(data)


SERVER = make_server()
USER = local_keys(TOKEN)["wallet_address"]
words = st.sampled_from([
    "type", "method", "subscription", "coin", "BTC", "user", USER, "subscribe", "unsubscribe", "post", "id", "request",
    "payload", "action", "info", "l2Book", "bbo", "orderUpdates", "userFills", "orderStatus", "oid", "userFillsByTime",
    "startTime", "endTime", "openOrders", "clearinghouseState", "fundingHistory", "userRole", "0x", "noop", "nonce",
])  # fmt: skip
leaves = st.one_of(st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), words, st.text(max_size=5))
values = st.recursive(
    leaves,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(words, inner, max_size=5)),
    max_leaves=12,
)
messages = st.fixed_dictionaries(
    {"method": words}, optional={"subscription": values, "id": leaves, "request": values, "type": words}
)
questions = st.fixed_dictionaries(
    {"type": words}, optional=dict.fromkeys(("user", "coin", "oid", "startTime", "endTime"), values)
)


@given(st.one_of(messages, values))
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])  # of a busy machine
def test_no_message_breaks_the_face(message: Any) -> None:
    session: Any = Listener()
    face = SERVER.face
    assert isinstance(face, HyperliquidFace)
    face._message(session, json.dumps(message))
    assert session.told


@given(st.one_of(questions, values))
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])  # of a busy machine
def test_no_question_breaks_the_face(question: Any) -> None:
    face = SERVER.face
    assert isinstance(face, HyperliquidFace)
    with contextlib.suppress(Unknown):
        json.dumps(face.info.answer(question))
