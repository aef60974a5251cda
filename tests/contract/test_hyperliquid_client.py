"""What is Hyperliquid's own in the clients: no builder, statuses of a batch, nonces, the price rule, the dead man."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import ccxt
import msgspec
import pytest

from mm.core.types import ASK, BID, EXEC_NAMES, FILL, MARK, SELL
from mm.errors import ConfigError, VenueUnreachable
from mm.sandbox.faces import hyperliquid_info
from mm.sandbox.faces.hyperliquid_auth import local_keys
from mm.venues import replies
from mm.venues.base import Decoded, FillRecord, OrderRequest
from mm.venues.ccxt_calls import Answer
from mm.venues.hyperliquid import account as account_module
from mm.venues.hyperliquid import client as client_module
from mm.venues.hyperliquid.client import HyperliquidPublicClient, HyperliquidTradingClient
from mm.venues.hyperliquid.codec import HyperliquidCodec
from mm.venues.hyperliquid.exchange import make_hyperliquid
from mm.venues.hyperliquid.spec import SPEC
from mm.venues.registry import get_venue
from tests.contract.hyperliquid_local import TOKEN, Wire, exchange, order

BTC, ETH = SPEC.instrument("BTC"), SPEC.instrument("ETH")


class Desk:
    """A trading client, what the codec made of its frames, and every action that it sent."""

    def __init__(self, w: Wire, **more: Any) -> None:
        self.w = w
        self.options = options(w.port, w.keys, **more)
        self.client = HyperliquidTradingClient(self.options)
        self.codec = HyperliquidCodec([BTC, ETH], "RM")
        self.all: list[Decoded] = []
        self.actions: list[dict[str, Any]] = []
        self.nonces: list[int] = []
        self.questions: list[Any] = []

    def on_frame(self, raw: bytes, ts_recv_ns: int) -> None:
        self.all.append(self.codec.decode_private(raw, ts_recv_ns))

    def told(self, n: int) -> list[str]:
        return [EXEC_NAMES[int(e["kind"])] for d in self.all for e in d.execs if e["id"] == n]

    def reasons(self, n: int) -> list[str]:
        return [x.reason for d in self.all for e, x in zip(d.execs, d.exec_detail, strict=True) if e["id"] == n]

    @property
    def unknown(self) -> list[str]:
        return [cid for d in self.all for cid in d.unknown]

    async def place(self, n: int, price: str, side: int = 1, size: str = "0.01") -> None:
        await self.client.place("BTC", f"RM-{n}", side, Decimal(price), Decimal(size))

    async def heard(self, n: int, *kinds: str) -> None:
        await self.w.heard(lambda: self.told(n) == list(kinds))


def options(port: int, keys: dict[str, str], **more: Any) -> dict[str, Any]:
    return {
        "rest_url": f"http://127.0.0.1:{port}",
        "ws_url": f"ws://127.0.0.1:{port}",
        "timeout_s": 2.0,
        **keys,
        **more,
    }


@asynccontextmanager
async def desk(**more: Any) -> AsyncIterator[Desk]:
    async with exchange() as w:
        d = Desk(w, **more)
        spy(w, d)
        await d.client.connect(d.on_frame)
        yield d
        await d.client.close()


def spy(w: Wire, d: Desk) -> None:
    """Keep every action and question that reaches the venue."""
    actions, info = w.face.actions, w.face.info
    identify, answer = actions.identify, info.answer

    def signed(request: Any) -> Any:
        d.actions.append(msgspec.to_builtins(request.action))
        d.nonces.append(request.nonce)
        return identify(request)

    def asked(question: Any) -> Any:
        d.questions.append(question)
        return answer(question)

    actions.identify, info.answer = signed, asked  # type: ignore[method-assign]


# --- no fee for anybody ----------------------------------------------------------------------------------------------
def test_no_order_ever_carries_a_builder() -> None:
    async def run() -> None:
        async with desk() as d:
            await d.place(1, "99000")
            await d.client.place_batch(
                [OrderRequest("BTC", f"RM-{n}", 1, Decimal(98_000 + n), Decimal("0.01")) for n in (2, 3)]
            )
            for n in (1, 2, 3):
                await d.heard(n, "ack")
            await d.client.amend("BTC", "RM-1", Decimal(97_000), Decimal("0.02"))
            await d.client.place_reduce_only_ioc("BTC", "RM-4", 1, Decimal(100_010), Decimal("0.01"))
            await d.heard(4, "reject")
            await d.client.set_leverage("BTC", 3)
            await d.client.arm_dead_man(30)
            await d.client.cancel("BTC", "RM-2")
            assert await d.client.cancel_all() >= 2
            kinds = [a["type"] for a in d.actions]
            assert set(kinds) == {
                "order",
                "batchModify",
                "updateLeverage",
                "scheduleCancel",
                "cancelByCloid",
                "cancel",
            }  # fmt: skip  no setReferrer, no approveBuilderFee
            assert kinds.count("order") == 3
            for action in d.actions:
                assert "builder" not in json.dumps(action)
            for action in d.actions[:2]:
                assert set(action) == {"type", "orders", "grouping"}
                assert all(set(leg) == {"a", "b", "p", "s", "r", "t", "c"} for leg in action["orders"])
                assert all(leg["t"] == {"limit": {"tif": "Alo"}} for leg in action["orders"])
            assert (d.w.face.counts["builder_fees"], d.w.face.counts["referrers"]) == (0, 0)
            assert "userAbstraction" not in {q["type"] for q in d.questions}

    asyncio.run(run())


def test_nor_one_that_the_library_builds_itself() -> None:
    """Whoever uses ccxt's own order call on our exchange pays nobody either."""

    async def run() -> None:
        async with desk() as d:
            ex = d.client._ex
            ex.options["fetchMarkets"]["types"] = ["swap"]
            await ex.load_markets()
            await ex.create_order("BTC/USDC:USDC", "limit", "buy", 0.01, 99_000, {"postOnly": True})
            (action,) = d.actions
            assert "builder" not in action
            assert d.w.face.counts["builder_fees"] == 0

    asyncio.run(run())


# --- orders ----------------------------------------------------------------------------------------------------------
def test_one_leg_of_a_batch_crosses_and_the_others_rest() -> None:
    async def run() -> None:
        async with desk() as d:
            prices = {1: "99000", 2: "100010", 3: "99001.5", 4: "99002"}
            legs = [OrderRequest("BTC", f"RM-{n}", 1, Decimal(px), Decimal("0.01")) for n, px in prices.items()]
            await d.client.place_batch(legs)
            await d.heard(1, "ack")
            await d.heard(4, "ack")
            await d.heard(2, "reject")
            await d.heard(3, "reject")
            assert d.reasons(2)[0].startswith("Post only order would have immediately matched, bbo was 99990@100010")
            assert d.reasons(3) == ["Price must be divisible by tick size. (not sent)"]
            assert len(d.actions[0]["orders"]) == 3
            assert [o.client_order_id for o in await d.client.open_orders()] == ["RM-1", "RM-4"]

    asyncio.run(run())


def test_forty_legs_are_one_request() -> None:
    async def run() -> None:
        async with desk() as d:
            legs = [OrderRequest("BTC", f"RM-{n}", 1, Decimal(90_000 + n), Decimal("0.001")) for n in range(45)]
            await d.client.place_batch(legs)
            await d.w.heard(lambda: len(d.w.account.open) == 45)
            assert [len(a["orders"]) for a in d.actions] == [40, 5]
            assert await d.client.cancel_all() == 45
            assert [len(a["cancels"]) for a in d.actions[2:]] == [40, 5]

    asyncio.run(run())


def test_a_refused_action_refuses_every_leg() -> None:
    async def run() -> None:
        async with desk() as d:
            d.w.face.actions.used["a"] = 20_000
            await d.place(1, "99000")
            await d.heard(1, "reject")
            assert d.reasons(1)[0].startswith("Too many cumulative requests sent")
            await d.client.cancel("BTC", "RM-1")
            await d.heard(1, "reject", "cancel_reject")

    asyncio.run(run())


def test_amend_is_a_new_order_under_the_same_id() -> None:
    async def run() -> None:
        async with desk() as d:
            await d.place(1, "99000", side=1)
            await d.heard(1, "ack")
            await d.client.amend("BTC", "RM-1", Decimal(99_005), Decimal("0.03"))
            await d.heard(1, "ack", "ack")
            (shown,) = await d.client.open_orders()
            assert (shown.client_order_id, shown.price, shown.size) == ("RM-1", Decimal(99_005), Decimal("0.03"))
            assert shown.venue_order_id == "2"
            d.client._sides.clear()  # another process does not know its side
            await d.client.amend("BTC", "RM-1", Decimal(100_010), Decimal("0.03"))
            await d.heard(1, "ack", "ack", "canceled")
            await d.w.heard(lambda: [x for x in d.all if "during modify" in x.error])
            await d.client.amend("BTC", "RM-1", Decimal(99_005), Decimal("0.03"))
            await d.heard(1, "ack", "ack", "canceled", "cancel_reject")
            state = await d.client.order("BTC", "RM-1")
            assert state is not None
            assert (state.status, state.reason) == ("rejected", "badAloPxRejected")  # the one that should replace it

    asyncio.run(run())


def test_orders_of_others_are_seen_and_can_be_cancelled() -> None:
    async def run() -> None:
        async with desk() as d:
            foreign = "0x" + "17" * 16
            await d.w.place(order(None, "98000"), {**order("RM-1", "98001"), "c": foreign})
            shown = await d.client.open_orders()
            assert [o.client_order_id for o in shown] == ["oid:1", foreign]
            for o in shown:
                await d.client.cancel("BTC", o.client_order_id)
            await d.w.heard(lambda: not d.w.account.open)
            assert [a["type"] for a in d.actions[1:]] == ["cancel", "cancelByCloid"]
            state = await d.client.order("BTC", "oid:1")
            assert state is not None
            assert state.status == "canceled"
            assert await d.client.order("ETH", "oid:1") is None
            assert await d.client.order("BTC", "RM-77") is None

    asyncio.run(run())


def test_orders_in_spot_are_left_alone() -> None:
    async def run() -> None:
        async with desk() as d:
            await d.place(1, "99000")
            await d.heard(1, "ack")
            shown = d.w.face.info.answer

            def with_spot(question: Any) -> Any:
                rows = shown(question)
                if question["type"] == "openOrders":
                    rows = [{**rows[0], "coin": "@107", "oid": 77}, *rows] if rows else []
                return rows

            d.w.face.info.answer = with_spot  # type: ignore[method-assign]
            assert [o.client_order_id for o in await d.client.open_orders()] == ["RM-1"]
            assert await d.client.cancel_all() == 1
            assert d.actions[-1] == {"type": "cancel", "cancels": [{"a": 0, "o": 1}]}

    asyncio.run(run())


def test_nonces_never_repeat_whoever_sends() -> None:
    async def run() -> None:
        async with desk() as d:
            for n in range(20):
                await d.place(n, str(90_000 + n))
            await asyncio.gather(d.client.arm_dead_man(20), d.client.cancel_all(), d.client.set_leverage("BTC", 2))
            await d.w.heard(lambda: len(d.nonces) >= 22)
            assert len(set(d.nonces)) == len(d.nonces)
            assert not [x for x in d.all if "nonce" in x.error]
            one, other = d.client._ex, d.client._halting
            nonces = [ex.incrementing_nonce() for _ in range(50) for ex in (one, other)]
            assert nonces == sorted(set(nonces))

    asyncio.run(run())


def test_what_was_not_answered_when_the_socket_ended_is_unknown() -> None:
    async def run() -> None:
        async with desk() as d:
            d.w.face.change_faults({"ack_lost": 2})
            await d.place(1, "99000")
            await d.client.cancel("BTC", "RM-2")
            await d.w.heard(lambda: len(d.actions) == 2)
            assert d.unknown == []
            d.w.face.drop("private", hard=True)
            await asyncio.wait_for(d.client.closed(), 1)
            await d.w.heard(lambda: d.unknown == ["RM-1", "RM-2"])
            assert len(d.w.account.open) == 1
            with pytest.raises(VenueUnreachable, match="not connected"):
                await d.place(3, "99000")
            assert await d.client.cancel_all() == 1  # over REST
            await d.client.connect(d.on_frame)
            await d.place(4, "99000")
            await d.heard(4, "ack")

    asyncio.run(run())


def test_an_action_that_the_venue_cannot_read_is_refused() -> None:
    async def run() -> None:
        async with desk() as d:
            answer = await d.client._ex.act_by_socket({"type": "fly"}, 1.0)
            assert client_module._refusal(answer).startswith("Failed to deserialize")
            d.w.face.change_faults({"rate_limited": 1})
            answer = await d.client._ex.act_by_socket({"type": "noop"}, 1.0)
            assert (answer.end, answer.error) == ("unknown", '"Too many messages"')

    asyncio.run(run())


def test_what_cannot_be_sent() -> None:
    async def run() -> None:
        async with desk() as d:
            for price in ("99000.5", "123456.7", "0"):
                await d.place(1, price)
            assert d.told(1) == ["reject"]
            await d.client.place("DOGE", "RM-2", 1, Decimal(1), Decimal(100))
            assert d.reasons(2) == ["hyperliquid has no perpetual 'DOGE'"]
            with pytest.raises(ConfigError, match="does not fit into 128 bits"):
                await d.client.place("BTC", "a-prefix-too-long-1", 1, Decimal(99_000), Decimal("0.01"))
            assert d.actions == []
            await d.client.close()
            with pytest.raises(VenueUnreachable, match="not connected"):
                await d.place(3, "99000")

    asyncio.run(run())


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ('{"status":"ok","response":{"type":"order","data":{"statuses":[{"error":"x"}]}}}', "no, both"),
        ('{"status":"ok","response":{"type":"order","data":{"statuses":[{"resting":{"oid":1}}]}}}', "unknown"),
        ('{"status":"ok","response":{"type":"order","data":{"statuses":[]}}}', "unknown"),
        ('{"status":"err","response":"Must deposit before performing actions. User: 0x1"}', "no"),
        ("<html>", "unknown"),
        ("[]", "unknown"),
        ('{"status":"ok","response":null}', "unknown"),
    ],
)
def test_strange_answers_to_a_batch(body: str, kind: str) -> None:
    asked = [replies.request("place", OrderRequest("BTC", f"RM-{n}", 1, Decimal(1), Decimal(1))) for n in (1, 2)]
    client_module._judge(Answer(end="certain", status=200, body=body), asked)
    if kind == "no, both":
        assert [(r.raymaker, r.body) for r in asked] == [("ok", {"error": "x"})] * 2
    else:
        assert [r.raymaker for r in asked] == [kind] * 2
        assert all(r.text for r in asked)


# --- the account -----------------------------------------------------------------------------------------------------
def test_dead_man_leads_by_the_venues_clock() -> None:
    async def run() -> None:
        async with exchange() as w:
            w.face.change_faults({"clock_skew_s": -30.0})
            d = Desk(w)
            await d.client.connect(d.on_frame)
            await d.place(1, "99000")
            await d.heard(1, "ack")
            await d.client.arm_dead_man(5.0)  # the shortest: never refused as too near
            assert 4.9 < (w.account.deadline_ns - time.time_ns()) * 1e-9 < 5.8
            await d.client.arm_dead_man(60.0)
            assert 59 < (w.account.deadline_ns - time.time_ns()) * 1e-9 < 60.5
            await d.client.arm_dead_man(0)
            assert w.account.deadline_ns == 0
            w.face.actions.required_volume_usd = Decimal(1_000_000)
            with pytest.raises(NotImplementedError, match="enough volume traded"):
                await d.client.arm_dead_man(10)
            await d.client.close()

    asyncio.run(run())


def test_fills_by_pages_maker_and_rebate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hyperliquid_info, "PAGE", 3)
    monkeypatch.setattr(account_module, "_PAGE", 3)

    async def run() -> None:
        async with desk() as d:
            d.w.account.fees["BTC"] = (Decimal("-0.00003"), Decimal("0.00045"))
            for n in range(8):
                await d.place(n, "99995")
                await d.heard(n, "ack")
                d.w.play((SELL, 99_995, 1_000))
                await d.heard(n, "ack", "fill")
            await d.client.place_reduce_only_ioc("BTC", "RM-9", -1, Decimal(99_990), Decimal("0.01"))
            await d.heard(9, "fill")
            fills = await d.client.fills(0)
            assert [f.client_order_id for f in fills] == [*(f"RM-{n}" for n in range(8)), "RM-9"]
            assert [f.maker for f in fills] == [True] * 8 + [False]
            assert fills[0] == FillRecord(
                "RM-0", fills[0].trade_id, "BTC", 1, Decimal(99_995), Decimal("0.01"), Decimal("-0.0299985"), True,
                fills[0].ts_exch_ns,
            )  # fmt: skip
            pushed = [x for x in d.all for e in x.execs if e["kind"] == FILL]
            assert [x.exec_detail[0].trade_id for x in pushed] == [f.trade_id for f in fills]
            assert [q["type"] for q in d.questions].count("userFillsByTime") >= 4
            assert await d.client.fills(fills[-1].ts_exch_ns + 1_000_000_000) == []

    asyncio.run(run())


def test_the_key_must_be_an_agents_of_the_account() -> None:
    async def run() -> None:
        async with exchange() as w:
            stranger = {**w.keys, "private_key": "0x" + "5" * 64}
            client = HyperliquidTradingClient(options(w.port, stranger))
            with pytest.raises(VenueUnreachable, match="belongs to no API wallet of this account"):
                await client.connect(lambda _raw, _ts: None)
            await client.close()
            for name, wrong in (("private_key", "hello"), ("private_key", "0x1234"), ("wallet_address", "0xzz")):
                with pytest.raises(ConfigError, match=f"{name} is not") as caught:
                    HyperliquidTradingClient(options(w.port, {**w.keys, name: wrong}))
                assert wrong not in str(caught.value)
            other = HyperliquidTradingClient(options(w.port, local_keys(TOKEN, agent=2)))
            await other.connect(lambda _raw, _ts: None)
            await other.set_leverage("BTC", 4)
            assert w.account.leverage["BTC"] == 4
            with pytest.raises(VenueUnreachable, match="Invalid leverage value"):
                await other.set_leverage("BTC", 50)
            await other.close()

    asyncio.run(run())


def test_options() -> None:
    with pytest.raises(ConfigError, match="RAYMAKER_HYPERLIQUID_PRIVATE_KEY"):
        get_venue("hyperliquid").make_trading({"rest_url": "http://h", "ws_url": "ws://h", "wallet_address": "0x1"})
    keys = local_keys(TOKEN)

    async def run() -> None:
        for network, source in (("mainnet", "a"), ("testnet", "b")):
            ex = make_hyperliquid(
                {"rest_url": "http://h", "ws_url": "ws://h", "network": network, **keys}, private=True
            )
            agent = ex.construct_phantom_agent(b"", ex.options["sandboxMode"])
            assert agent["source"] == source
            assert (ex.url, ex.urls["api"]["private"]) == ("ws://h/ws", "http://h")
            assert ex.agent == ex.agent.lower()
            await ex.close()

    asyncio.run(run())


def test_signatures_are_the_librarys() -> None:
    """Ours are made with a native keccak: the same as stock ccxt's, on both networks, with a vault and an expiry."""
    keys = local_keys(TOKEN)
    actions: list[dict[str, Any]] = [
        {"type": "order", "orders": [order("RM-1", "99000")], "grouping": "na"},
        {"type": "cancelByCloid", "cancels": [{"asset": 3, "cloid": "0x" + "ab" * 16}]},
        {"type": "scheduleCancel"},
    ]

    async def run() -> None:
        for network in ("mainnet", "testnet"):
            where = {"rest_url": "http://h", "ws_url": "ws://h", "network": network}
            ours = make_hyperliquid({**where, **keys}, private=True)
            stock = ccxt.hyperliquid({"privateKey": keys["private_key"], "walletAddress": keys["wallet_address"]})
            stock.options["sandboxMode"] = network == "testnet"
            for n, action in enumerate(actions):
                for vault, expiry in ((None, None), ("cd" * 20, None), (None, 1_800_000_000_000)):
                    asked = (action, 1_790_000_000_000 + n, vault, expiry)
                    assert ours.sign_l1_action(*asked) == stock.sign_l1_action(*asked)
            assert ours.hash(b"x", "sha256") == stock.hash(b"x", "sha256")
            await ours.close()

    asyncio.run(run())


# --- market data -----------------------------------------------------------------------------------------------------
def test_ticks_follow_the_price_level() -> None:
    async def run() -> None:
        async with exchange() as w:
            w.play((BID, 99_000, 1), (ASK, 99_010, 1), (MARK, 99_005, 0), coin="ETH")  # 9,900.5 dollars
            client = HyperliquidPublicClient(options(w.port, {}), ["BTC"])
            found = {i.symbol: i for i in await client.instruments()}
            assert (found["BTC"].tick_size, found["ETH"].tick_size) == (Decimal(1), Decimal("0.1"))
            assert (found["BTC"].lot_size, found["BTC"].min_notional) == (Decimal("0.00001"), Decimal(10))
            w.play((BID, 99_000, 0), (ASK, 99_010, 0), (MARK, 100_005, 0), coin="ETH")  # 10,000.5 dollars
            assert {i.symbol: i.tick_size for i in await client.instruments()}["ETH"] == Decimal(1)
            await client.close()

    asyncio.run(run())


def test_a_stream_that_does_not_begin() -> None:
    async def run() -> None:
        async with exchange() as w:
            client = HyperliquidPublicClient({**options(w.port, {}), "timeout_s": 0.4}, ["DOGE"])
            with pytest.raises(VenueUnreachable, match="no subscription"):
                await client.run(lambda _raw, _ts: None)
            with pytest.raises(VenueUnreachable, match="not connected"):
                await client.resync("BTC")
            await client.close()

    asyncio.run(run())


def test_pongs_do_not_hide_a_stall(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HyperliquidPublicClient, "quiet_s", 0.8)

    async def run() -> None:
        async with exchange() as w:
            client = HyperliquidPublicClient(options(w.port, {}, stall_s=0.3), ["BTC"])
            frames: list[bytes] = []
            task = asyncio.create_task(client.run(lambda raw, _ts: frames.append(raw)))
            await asyncio.sleep(1.2)
            assert not task.done()
            w.face.change_faults({"stall_public": True})
            with pytest.raises(VenueUnreachable, match="no market data for"):
                await asyncio.wait_for(task, 3)
            assert any(b"pong" in raw for raw in frames[-5:])
            await client.close()

    asyncio.run(run())
