"""Bybit's trading client against the local exchange that speaks its wire, over real sockets."""

import asyncio
import contextlib
import time
from decimal import Decimal

import pytest
from aiohttp import web

from mm.core.types import BUY, SELL
from mm.errors import ConfigError, VenueUnreachable
from mm.sandbox.faces.bybit_account import Desk
from mm.sandbox.faces.bybit_wire import Denied
from mm.venues.base import OrderRequest
from mm.venues.registry import get_venue
from tests.contract.bybit_local import MID, Heard, local_bybit, price
from tests.contract.conformance.wait import until

pytest.importorskip("ccxt.pro")

SIZE = Decimal("0.010")
BYBIT = get_venue("bybit")


@contextlib.asynccontextmanager
async def desk(**options):
    """(local exchange, connected client, what it heard)."""
    async with local_bybit() as local:
        client = BYBIT.make_trading({**local.options, **options})
        heard = Heard()
        try:
            await client.connect(heard)
            yield local, client, heard
        finally:
            await client.close()


def run(scenario, **options):
    async def main():
        async with desk(**options) as parts:
            await scenario(*parts)

    asyncio.run(main())


def place(client, number, offset=-50, size=SIZE, side=1):
    return client.place("BTCUSDT", f"t1-{number}", side, price(offset), size)


# --- the life of an order --------------------------------------------------------------------------------------------
def test_an_order_rests_fills_in_part_and_in_full():
    async def scenario(local, client, heard):
        await place(client, 1)
        await until(lambda: heard.execs == [("ack", 1, 10, MID - 50)])
        assert [o.size for o in await client.open_orders()] == [SIZE]
        local.play((SELL, MID - 50, 4))
        await until(lambda: len(heard.execs) == 2)
        state = await client.order("BTCUSDT", "t1-1")
        assert (state.status, state.filled, state.size) == ("open", Decimal("0.004"), SIZE)
        local.play((SELL, MID - 50, 6))
        await until(lambda: heard.execs[1:] == [("fill", 1, 4, MID - 50), ("fill", 1, 6, MID - 50)])
        position = await client.position("BTCUSDT")
        assert (position.size, position.entry_price) == (SIZE, price(-50))
        fee = price(-50) * SIZE * Decimal("0.0002")
        assert position.balance == 100_000 - fee
        fills = await client.fills(time.time_ns() - 10**10)
        assert [(f.client_order_id, f.size, f.maker) for f in fills] == [
            ("t1-1", Decimal("0.004"), True),
            ("t1-1", Decimal("0.006"), True),
        ]
        assert sum(f.fee for f in fills) == fee
        details = [x for d in heard.decoded for x in d.exec_detail if x.trade_id]
        assert [x.trade_id for x in details] == [f.trade_id for f in fills]
        assert (await client.order("BTCUSDT", "t1-1")).status == "filled"
        await until(lambda: [n.amount for n in heard.news if n.kind == "position"][-1:] == [SIZE])
        assert [n.amount for n in heard.news if n.kind == "balance"][-1] == position.balance
        assert not heard.errors

    run(scenario)


def test_a_post_only_order_that_would_cross_ends_without_a_fill():
    async def scenario(local, client, heard):
        await place(client, 1, offset=150)
        await until(lambda: heard.kinds(1) == ["reject"])
        assert heard.reasons == ["EC_PostOnlyWillTakeLiquidity"]
        assert (await client.order("BTCUSDT", "t1-1")).status == "rejected"
        assert not await client.fills(time.time_ns() - 10**10)

    run(scenario)


@pytest.mark.parametrize(
    ("symbol", "px", "size", "code"),
    [
        ("BTCUSDT", "99995.05", "0.010", "10001"),
        ("BTCUSDT", "99995", "0.0005", "10001"),
        ("BTCUSDT", "4000", "0.001", "110094"),
        ("XRPUSDT", "99995", "0.010", "10001"),
    ],
)
def test_what_the_venue_does_not_take_is_refused_with_its_code(symbol, px, size, code):
    async def scenario(local, client, heard):
        await client.place(symbol, "t1-1", 1, Decimal(px), Decimal(size))
        await until(lambda: heard.kinds(1) == ["reject"])
        assert heard.reasons[0].startswith(code)

    run(scenario)


def test_a_client_order_id_is_good_for_one_order():
    async def scenario(local, client, heard):
        for _ in range(2):
            await place(client, 1)
        await until(lambda: sorted(heard.kinds(1)) == ["ack", "reject"])
        assert any("110072" in reason for reason in heard.reasons)
        assert len(await client.open_orders()) == 1

    run(scenario)


def test_every_leg_of_a_batch_has_its_own_outcome():
    async def scenario(local, client, heard):
        orders = [OrderRequest("BTCUSDT", f"t1-{n}", 1, price(-50 - n), SIZE) for n in range(1, 23)]  # two requests
        orders[2] = OrderRequest("BTCUSDT", "t1-3", 1, Decimal("99995.05"), SIZE)
        local.face.rates = ()
        await client.place_batch(orders)
        await until(lambda: len(heard.execs) == 22)
        assert {n for kind, n, *_ in heard.execs if kind == "reject"} == {3}
        assert len(await client.open_orders()) == 21

    run(scenario)


def test_an_amended_order_keeps_its_id_and_what_was_filled():
    async def scenario(local, client, heard):
        await place(client, 1)
        await until(lambda: heard.kinds(1) == ["ack"])
        before = (await client.open_orders())[0].venue_order_id
        local.play((SELL, MID - 50, 4))
        await until(lambda: "fill" in heard.kinds(1))
        await client.amend("BTCUSDT", "t1-1", price(-40), Decimal("0.020"))
        await until(lambda: heard.execs[-1] == ("ack", 1, 20, MID - 40))
        order = (await client.open_orders())[0]
        assert (order.venue_order_id, order.price, order.size) == (before, price(-40), Decimal("0.020"))
        await client.amend("BTCUSDT", "t1-1", Decimal("99995.05"), SIZE)
        await until(lambda: heard.kinds(1)[-1] == "cancel_reject")
        await client.amend("BTCUSDT", "t1-9", price(-40), SIZE)
        await until(lambda: heard.kinds(9) == ["cancel_reject"])
        await client.amend("BTCUSDT", "t1-1", price(150), SIZE)  # would cross: the venue cancels it
        await until(lambda: heard.kinds(1)[-1] == "canceled")
        assert len(await client.fills(time.time_ns() - 10**10)) == 1

    run(scenario)


def test_cancels_and_what_cannot_be_cancelled():
    async def scenario(local, client, heard):
        await place(client, 1)
        await until(lambda: heard.kinds(1) == ["ack"])
        await client.cancel("BTCUSDT", "t1-1")
        await until(lambda: heard.kinds(1) == ["ack", "canceled"])
        await place(client, 2)
        await until(lambda: heard.kinds(2) == ["ack"])
        local.play((SELL, MID - 50, 10))
        await until(lambda: heard.kinds(2) == ["ack", "fill"])
        for number in (2, 7):
            await client.cancel("BTCUSDT", f"t1-{number}")
            await until(lambda n=number: heard.kinds(n)[-1:] == ["cancel_reject"])
        assert heard.reasons[-1].startswith("110001")
        assert (await client.order("BTCUSDT", "t1-1")).status == "canceled"
        assert await client.order("BTCUSDT", "t1-7") is None

    run(scenario)


def test_cancel_all_works_twice_within_its_second():
    async def scenario(local, client, heard):
        for round_ in range(2):
            for number in (1, 2, 3):
                await place(client, 10 * round_ + number, offset=-50 - number)
            await until(lambda n=round_: len(heard.execs) == 6 * n + 3)
            assert await client.cancel_all() == 3
            assert not await client.open_orders()
            await until(lambda n=round_: len(heard.execs) == 6 * n + 6)
        assert await client.cancel_all() == 0

    run(scenario)


def test_reduce_only_takes_and_never_turns_a_position():
    async def scenario(local, client, heard):
        reduce = client.place_reduce_only_ioc
        await reduce("BTCUSDT", "t1-1", -1, price(-200), SIZE)
        await until(lambda: heard.kinds(1) == ["reject"])
        await place(client, 2)
        await until(lambda: heard.kinds(2) == ["ack"])
        local.play((SELL, MID - 50, 10))
        await until(lambda: "fill" in heard.kinds(2))
        await reduce("BTCUSDT", "t1-3", -1, price(-200), Decimal("0.050"))
        await until(lambda: heard.kinds(3)[-1:] == ["fill"])
        assert (await client.position("BTCUSDT")).size == 0
        assert [f.maker for f in await client.fills(time.time_ns() - 10**10)] == [True, False]

    run(scenario)


# --- outcomes that nobody told ---------------------------------------------------------------------------------------
def test_an_answer_that_is_lost_leaves_an_unknown_outcome_and_one_order(monkeypatch):
    monkeypatch.setattr("mm.venues.bybit.client.ORDER_TIMEOUT_S", 0.2)

    async def scenario(local, client, heard):
        local.face.change_faults({"ack_lost": 1, "lose_private": 1})
        await place(client, 1)
        await until(lambda: heard.unknown == ["t1-1"])
        assert not heard.execs
        assert (await client.order("BTCUSDT", "t1-1")).status == "open"
        assert len(await client.open_orders()) == 1

    run(scenario)


def test_an_error_after_the_order_was_taken_is_unknown_too():
    async def scenario(local, client, heard):
        local.face.change_faults({"error_after_accept": 1, "lose_private": 1})
        await place(client, 1)
        await until(lambda: heard.unknown == ["t1-1"])
        assert (await client.order("BTCUSDT", "t1-1")).status == "open"

    run(scenario)


def test_pushes_may_come_before_the_answer():
    async def scenario(local, client, heard):
        local.face.change_faults({"ack_delay_s": 0.3})
        await place(client, 1)
        await until(lambda: heard.kinds(1) == ["ack"])
        local.play((SELL, MID - 50, 10))
        await until(lambda: heard.kinds(1) == ["ack", "fill"])
        assert not any(b'"raymaker"' in raw for raw in heard.frames)
        await until(lambda: any(b'"raymaker":"ok"' in raw for raw in heard.frames))
        assert heard.kinds(1) == ["ack", "fill"]

    run(scenario)


def test_too_many_is_a_refusal():
    async def scenario(local, client, heard):
        local.face.change_faults({"rate_limited": 1})
        await place(client, 1)
        await until(lambda: heard.kinds(1) == ["reject"])
        assert heard.reasons[0].startswith("10006")
        local.face.change_faults({"rate_limited": 1})
        with pytest.raises(VenueUnreachable, match="10006"):
            await client.open_orders()
        assert await client.open_orders() == []

    run(scenario)


def test_the_venues_own_limit_of_new_orders():
    async def scenario(local, client, heard):
        for number in range(30):
            await place(client, number + 1, offset=-60 - number)
        await until(lambda: len(heard.execs) == 30)
        assert sum(kind == "reject" for kind, *_ in heard.execs) == 10

    run(scenario)


def test_every_request_asks_the_budget():
    class Budget:
        def __init__(self):
            self.taken = []

        async def take(self, kind):
            self.taken.append(kind)

        def note(self, kind):
            self.taken.append(f"note {kind}")

    budget = Budget()

    async def scenario(local, client, heard):
        budget.taken.clear()
        await place(client, 1)
        await client.place_batch([OrderRequest("BTCUSDT", f"t1-{n}", 1, price(-60), SIZE) for n in (2, 3)])
        await client.cancel("BTCUSDT", "t1-1")
        await until(lambda: heard.kinds(1) == ["ack", "canceled"])
        await client.cancel_all()
        await client.fees("BTCUSDT")
        assert budget.taken == ["place", "place", "place", "cancel", "note cancel_all", "query"]

    run(scenario, budget=budget)


def test_what_waits_for_its_turn_is_not_sent_after_everything_was_cancelled():
    class Budget:
        def __init__(self):
            self.gate = asyncio.Event()

        async def take(self, kind):
            if kind == "place":
                await self.gate.wait()

        def note(self, kind):
            pass

    budget = Budget()

    async def scenario(local, client, heard):
        for number in (1, 2):
            await place(client, number)
        assert await client.cancel_all() == 0
        await place(client, 3)
        budget.gate.set()
        await until(lambda: heard.kinds(3) == ["ack"])
        assert (heard.kinds(1), heard.kinds(2)) == (["reject"], ["reject"])
        assert local.server.exchange.stats()["orders"] == 1
        budget.gate.clear()
        await place(client, 4)
        await client.connect(heard)  # a new session: what the old one decided is void
        budget.gate.set()
        await until(lambda: heard.kinds(4) == ["reject"])
        assert local.server.exchange.stats()["orders"] == 1

    run(scenario, budget=budget)


@pytest.mark.parametrize("raw", ["{}", "[]", "x", '{"result":{"list":[7]}}', '{"result":{"list":[{"symbol":1}]}}'])
def test_answers_that_make_no_sense_are_no_answers(raw):
    answer = raw if raw == "x" else raw.replace("{}", '{"retCode":0}').replace('{"result"', '{"retCode":0,"result"')

    async def scenario(local, client, heard):
        async def serve(request):
            return web.Response(text=answer, content_type="application/json")

        for route in local.face._runner.app.router.routes():
            if route.method == "GET":
                route._handler = serve
        since_ns = time.time_ns() - 10**10
        for query in (client.open_orders(), client.order("BTCUSDT", "t1-1"), client.position("BTCUSDT"),
                      client.fills(since_ns), client.funding(since_ns), client.fees("BTCUSDT"),
                      client.server_time_ns()):  # fmt: skip
            with pytest.raises(VenueUnreachable):
                await query

    run(scenario)


# --- clock and keys --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("skew_s", [-30.0, 30.0])
def test_a_clock_that_is_off_is_corrected(skew_s):
    async def main():
        async with local_bybit() as local:
            local.face.change_faults({"clock_skew_s": skew_s})
            client, heard = BYBIT.make_trading(local.options), Heard()
            await client.connect(heard)
            await place(client, 1)
            await until(lambda: heard.kinds(1) == ["ack"])
            local.face.change_faults({"clock_skew_s": -skew_s})  # it jumps: one refusal, then it is right again
            await place(client, 2)
            await until(lambda: heard.kinds(2) == ["reject"])
            assert heard.reasons[-1].startswith("10002")
            await asyncio.sleep(0.1)
            await place(client, 3)
            await until(lambda: heard.kinds(3) == ["ack"])
            assert abs(await client.server_time_ns() - local.face.now_ns()) < 10**9
            await client.close()

    asyncio.run(main())


@pytest.mark.parametrize("wrong", ["api_key", "api_secret"])
def test_wrong_keys_do_not_log_in_and_are_not_shown(wrong):
    async def main():
        async with local_bybit() as local:
            client = BYBIT.make_trading({**local.options, wrong: "not-the-right-one"})
            with pytest.raises(VenueUnreachable, match="log-in") as caught:
                await client.connect(lambda raw, ts: None)
            with pytest.raises(VenueUnreachable) as also:
                await client.open_orders()
            for text in (str(caught.value), str(also.value), repr(client)):
                for name in ("api_key", "api_secret"):
                    assert {**local.options, wrong: "not-the-right-one"}[name] not in text
            assert local.face.counts["refused"] >= 2
            await client.close()

    asyncio.run(main())


def test_missing_keys_name_their_variables():
    with pytest.raises(ConfigError, match="RAYMAKER_BYBIT_API_KEY"):
        BYBIT.make_trading({"rest_url": "http://127.0.0.1:1", "ws_url": "ws://127.0.0.1:1"})


# --- connections -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("hard", [False, True])
def test_a_dropped_stream_ends_the_session_and_history_tells_the_rest(hard):
    async def scenario(local, client, heard):
        await place(client, 1)
        await until(lambda: heard.kinds(1) == ["ack"])
        closed = asyncio.create_task(client.closed())
        await asyncio.sleep(0.05)
        assert not closed.done()
        local.face.drop("private", hard=hard)
        local.play((SELL, MID - 50, 10))
        await asyncio.wait_for(closed, 1)
        with pytest.raises(VenueUnreachable):
            await place(client, 2)
        again = Heard()
        await client.connect(again)
        assert [f.client_order_id for f in await client.fills(time.time_ns() - 10**10)] == ["t1-1"]
        await place(client, 3)
        await until(lambda: again.kinds(3) == ["ack"])

    run(scenario)


def test_what_was_under_way_when_the_sockets_went_is_unknown():
    async def scenario(local, client, heard):
        local.face.change_faults({"ack_delay_s": 1.0, "stall_private": True})
        await place(client, 1)
        await until(lambda: local.server.exchange.stats()["orders"] == 1)
        local.face.drop("private", hard=True)
        await until(lambda: heard.unknown == ["t1-1"], 0.5)

    run(scenario)


def test_closing_while_connecting_is_not_a_crash():
    async def scenario(local, client, heard):
        for wait_s in (0.0, 0.001, 0.003, 0.01, 0.03):
            connecting = asyncio.create_task(client.connect(heard))
            await asyncio.sleep(wait_s)
            queries = [asyncio.create_task(client.open_orders()) for _ in range(3)]
            await client.close()
            for outcome in await asyncio.gather(connecting, *queries, return_exceptions=True):
                assert outcome in (None, []) or isinstance(outcome, VenueUnreachable)
        await client.connect(heard)
        await place(client, 1)
        await until(lambda: heard.kinds(1) == ["ack"])

    run(scenario)


@pytest.mark.parametrize("what", [b'"raymaker"', b'"topic":"order"'])
def test_a_listener_that_fails_ends_the_session(what):
    async def scenario(local, client, heard):
        def fail(raw, ts):
            if what in raw:
                raise OSError("no space left")
            heard(raw, ts)

        await client.connect(fail)
        await place(client, 1)
        await asyncio.wait_for(client.closed(), 2)
        await client.connect(heard)
        assert len(await client.open_orders()) == 1

    run(scenario)


def test_a_silent_stall_ends_the_session():
    async def scenario(local, client, heard):
        await asyncio.sleep(0.8)  # quiet, but it answers pings
        await place(client, 1)
        await until(lambda: heard.kinds(1) == ["ack"])
        local.face.change_faults({"no_pong": True, "stall_private": True})
        await asyncio.wait_for(client.closed(), 2)

    run(scenario, stall_s=0.4)


def test_rest_or_sockets_alone_down_and_maintenance():
    async def scenario(local, client, heard):
        local.face.change_faults({"rest_down": True})
        with pytest.raises(VenueUnreachable):
            await client.open_orders()
        with pytest.raises(VenueUnreachable):
            await client.cancel_all()
        await place(client, 1)
        await until(lambda: heard.kinds(1) == ["ack"])
        local.face.change_faults({"rest_down": False, "maintenance": True})
        with pytest.raises(VenueUnreachable, match="503"):
            await client.open_orders()
        local.face.change_faults({"maintenance": False, "ws_down": True})
        await asyncio.wait_for(client.closed(), 1)
        with pytest.raises(VenueUnreachable):
            await client.connect(heard)
        assert await client.cancel_all() == 1

    run(scenario, timeout_s=1.0)


def test_a_log_in_that_ends_ends_the_session():
    async def scenario(local, client, heard):
        local.face.change_faults({"token_life_s": 0.1})
        await asyncio.wait_for(client.closed(), 1)
        local.face.change_faults({"token_life_s": 0})
        await client.connect(heard)

    run(scenario)


# --- the account -----------------------------------------------------------------------------------------------------
def test_the_dead_man_fires_when_the_stream_is_gone_and_not_before():
    async def scenario(local, client, heard):
        await client.arm_dead_man(1.0)  # the shortest the venue has is 3 s
        own = local.face.desk.settings(next(iter(local.server.exchange.accounts.values())))
        assert own.window_s == 3
        own.window_s = 0.3
        await place(client, 1)
        await until(lambda: heard.kinds(1) == ["ack"])
        await asyncio.sleep(0.5)
        assert len(await client.open_orders()) == 1
        local.face.drop("private", hard=True)
        await asyncio.sleep(0.1)
        await client.connect(heard)  # back in time
        await asyncio.sleep(0.4)
        assert len(await client.open_orders()) == 1
        local.face.drop("private", hard=True)
        await asyncio.sleep(0.5)
        assert await client.open_orders() == []
        assert (await client.order("BTCUSDT", "t1-1")).status == "canceled"

    run(scenario)


def test_an_account_without_a_dead_man_is_said_to_have_none(monkeypatch, caplog):
    def refuse(desk, account, params):
        raise Denied(10005, "Permission denied, please check your API key permissions.")

    monkeypatch.setattr(Desk, "arm", refuse)

    async def scenario(local, client, heard):
        asked = local.face.counts["requests"]
        for _ in range(3):
            with pytest.raises(NotImplementedError, match="10005"):
                await client.arm_dead_man(10)
        assert local.face.counts["requests"] == asked + 1  # it is not asked again and again
        assert "no dead man" in caplog.text

    run(scenario)


def test_leverage_and_margin_are_set_once_and_harmless_again():
    async def scenario(local, client, heard):
        for _ in range(2):
            await client.set_leverage("BTCUSDT", 5)
        account = next(iter(local.server.exchange.accounts.values()))
        assert local.face.desk.settings(account).margin_mode == "ISOLATED_MARGIN"
        assert account.leverage["BTCUSDT"] == 5
        with pytest.raises(VenueUnreachable, match="110013"):
            await client.set_leverage("BTCUSDT", 1_000)
        assert await client.fees("BTCUSDT") == (Decimal("0.0002"), Decimal("0.00055"))

    run(scenario)


def test_long_histories_come_in_pages():
    async def scenario(local, client, heard):
        local.face.rates = ()
        for number in range(1, 131):
            await client.place("BTCUSDT", f"t1-{number}", 1, price(-50), Decimal("0.001"))
        await until(lambda: len(heard.execs) == 130)
        assert len(await client.open_orders()) == 130
        local.play((SELL, MID - 50, 130))
        await until(lambda: len(heard.execs) == 260)
        fills = await client.fills(time.time_ns() - 10**10)
        assert [f.client_order_id for f in fills] == [f"t1-{n}" for n in range(1, 131)]
        assert {f.side for f in fills} == {1}
        assert len({f.trade_id for f in fills}) == 130
        local.play((BUY, MID + 100, 1))
        assert len(await client.fills(time.time_ns() + 10**9)) == 0

    run(scenario)
