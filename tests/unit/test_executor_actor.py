"""The executor's shell without Ray and without sockets: what it does when the disk, the venue or the reports fail."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from decimal import Decimal

import numpy as np
import pytest

from actors import executor as module
from actors import home, transport
from actors.base import DeskSpec
from actors.executor import ExecutorActor
from actors.executor_book import Book
from mm.config.schema import RunConfig
from mm.core.instrument import Instrument
from mm.core.types import COMMAND, FREE, LIVE, records
from mm.errors import DataError, VenueUnreachable
from mm.strategy.journal import Journal, read_journal
from mm.strategy.risk import HALT_DRAWDOWN, HALT_REASONS, LIMITS
from mm.strategy.state import PARAMS
from mm.venues.base import Caps, FillRecord, OpenOrder, Position

BTC = Instrument("BTC-USDT", "sandbox", "linear", Decimal("0.1"), Decimal("0.001"), base="BTC", quote="USDT")
S = 1_000_000_000
NOW = 10**18


class Venue:
    """A trading client that remembers what it was asked."""

    def __init__(self):
        self.calls: list[str] = []
        self.orders: dict[str, OpenOrder] = {}
        self.lots = 0
        self.history: list[FillRecord] = []
        self.on_place = lambda: None

    async def connect(self, on_frame):
        self.calls.append("connect")

    async def place(self, symbol, cid, side, price, size):
        self.calls.append(f"place {cid}")
        self.orders[cid] = OpenOrder(cid, "1", symbol, side, price, size)
        self.on_place()

    async def cancel(self, symbol, cid):
        self.calls.append(f"cancel {cid}")

    async def cancel_all(self):
        self.calls.append("cancel_all")
        n = len(self.orders)
        self.orders = {}
        return n

    async def open_orders(self):
        return list(self.orders.values())

    async def position(self, symbol):
        return Position(symbol, BTC.size(self.lots), Decimal(60_000), Decimal(0))

    async def fills(self, since_ns):
        return self.history

    async def close(self):
        self.calls.append("close")


class Out:
    """An outbox that keeps kinds and codes."""

    def __init__(self):
        self.sent: list[tuple[int, int]] = []

    def send(self, kind, payload=b"", *, a=0, b=0, t_mono_ns=0, t_wall_ns=0):
        self.sent.append((kind, a))
        return True

    def kinds(self):
        return [kind for kind, _ in self.sent]


@pytest.fixture
def spec(tmp_path, monkeypatch):
    monkeypatch.setenv("RAYMAKER_HOME", str(tmp_path / "home"))
    return DeskSpec(
        run_id="r", desk="desk", run_dir=str(tmp_path / "run"), log_dir=str(tmp_path), home=str(tmp_path / "home"),
        config=RunConfig().model_dump(mode="json"), prefix="p", instruments=[BTC.to_dict()],
    )  # fmt: skip


def shell(spec, venue) -> ExecutorActor:
    """An executor after its first session, with a lease, outside any thread."""
    me = ExecutorActor.__new__(ExecutorActor)
    me.spec = spec
    me.log = logging.getLogger("test")
    me.loop, me.stopping, me._symbols = None, False, [BTC.symbol]
    me._halt_reasons = HALT_REASONS
    me._client = venue
    me._out = {transport.QUOTER: Out(), transport.RISK: Out()}
    me.book = Book(spec, 2 * S, 2 * S)
    me.core = me.book.core
    me.book.open_session([], [Position(BTC.symbol, Decimal(0), None, Decimal(0))], NOW)
    limits, params = records(1, LIMITS), records(1, PARAMS)
    limits["max_pos_lots"], limits["max_notional_usd"] = 10, 1e9
    params["min_lots"], params["unit_value"], params["tick_size"] = 1, 0.0001, 0.1
    me.core.lease(limits, params, 2 * NOW)
    me.core.ready, me.core.epoch = True, 7
    return me


def orders(*rows):
    """A message of PLACE commands (id, side)."""
    cmds = np.zeros(len(rows), COMMAND)
    cmds["id"], cmds["side"] = [r[0] for r in rows], [r[1] for r in rows]
    cmds["lots"], cmds["tick"] = 1, 600_000
    return transport.Message(transport.COMMANDS, 0, 7, 1, 0, 0, cmds.tobytes())


def test_nothing_leaves_after_a_halt_that_comes_between_two_sends(spec):
    venue = Venue()
    me = shell(spec, venue)
    venue.on_place = lambda: me._latch(HALT_DRAWDOWN, "in between")
    asyncio.run(me._commands(orders((1, 1), (2, -1))))
    assert venue.calls == ["place p-1"]
    assert me.core.working(0) == 2  # the second one's fate is asked for, like that of any unanswered order


def test_a_halt_holds_while_the_disk_refuses_and_is_kept_as_soon_as_it_can_be(spec, monkeypatch):
    me = shell(spec, Venue())

    def full(*_args, **_more):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(home, "write_json", full)
        patch.setattr(me.book._journal, "append_all", full)
        me._latch(HALT_DRAWDOWN, "test")
        me._keep_latch()
    assert me.core.halted == HALT_DRAWDOWN
    assert all(out.sent == [(transport.HALT, HALT_DRAWDOWN)] for out in me._out.values())
    assert home.read_latch("desk", "sandbox") is None
    me._keep_latch()
    assert home.read_latch("desk", "sandbox").reason == "drawdown"


def test_an_intent_that_cannot_be_written_is_not_sent(spec, monkeypatch):
    venue = Venue()
    me = shell(spec, venue)

    def full(_records):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(me.book._journal, "append_all", full)
    with pytest.raises(OSError, match="space"):
        asyncio.run(me._commands(orders((1, 1))))
    assert venue.calls == []
    venue.orders["p-9"] = OpenOrder("p-9", "9", BTC.symbol, 1, Decimal(1), Decimal(1))
    assert asyncio.run(me._pull("test")) == []  # and what is open goes nevertheless
    assert venue.calls == ["cancel_all"]


def test_without_its_journal_it_cancels_and_fails(spec, monkeypatch):
    path = spec.path("journal", "sandbox.jsonl")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"00000000 {}\n")
    venue = Venue()
    monkeypatch.setattr(module, "get_venue", lambda _kind: type("V", (), {"make_trading": lambda _s, _o: venue})())
    monkeypatch.setattr("actors.warm.warm_kernels", lambda: None)
    me = ExecutorActor.__new__(ExecutorActor)
    me.spec, me.log = spec, logging.getLogger("test")
    with pytest.raises(DataError, match="damaged"):
        asyncio.run(me.main())
    assert venue.calls == ["connect", "cancel_all", "close"]


def test_a_fill_that_nobody_reported_is_booked_and_not_a_halt(spec):
    venue = Venue()
    me = shell(spec, venue)
    venue.lots = 1
    venue.history = [FillRecord("p-3", "t1", BTC.symbol, 1, Decimal(60_000), Decimal("0.001"), Decimal(0), True, NOW)]
    for _ in range(3):
        asyncio.run(me._reconcile())
    assert int(me.core.states[0][0].pos_lots) == 1
    assert me.core.halted == 0
    assert me._out[transport.RISK].kinds() == [transport.SYNC]
    assert [r["lots"] for r in read_journal(spec.path("journal", "sandbox.jsonl")) if r["t"] == "exec"] == [1]


def test_a_position_that_no_fill_explains_is_a_halt(spec):
    venue = Venue()
    me = shell(spec, venue)
    venue.lots = 1
    asyncio.run(me._reconcile())
    assert me.core.halted == 0
    asyncio.run(me._reconcile())
    assert HALT_REASONS[me.core.halted] == "position_mismatch"


def test_the_quoter_hears_of_an_order_whose_acknowledgement_was_lost(spec):
    venue = Venue()
    me = shell(spec, venue)
    asyncio.run(me._commands(orders((1, 1))))
    me.core.orders[0]["ts_sent_ns"] -= 3 * S
    asyncio.run(me._reconcile())
    assert transport.SYNC in me._out[transport.QUOTER].kinds()
    assert [int(o.state) for o in me.core.orders[0] if o.state != FREE] == [LIVE]
    assert venue.calls == ["place p-1"]  # never sent again


def test_a_torn_write_does_not_spoil_what_follows(tmp_path, monkeypatch):
    journal = Journal(tmp_path / "j.jsonl")
    journal.append({"t": "a"})
    write = os.write
    monkeypatch.setattr("mm.strategy.journal.os.write", lambda fd, data: write(fd, data[:7]))
    with pytest.raises(OSError, match="only 7"):
        journal.append({"t": "b"})
    monkeypatch.undo()
    journal.append({"t": "c"})
    assert [r["t"] for r in read_journal(journal.path)] == ["a", "c"]


def test_an_order_beyond_the_budget_is_refused_and_never_waits(spec):
    class Spent:
        def try_take(self, kind):
            assert kind == "place"
            return 10**9

    venue = Venue()
    me = shell(spec, venue)
    me._budget = Spent()
    asyncio.run(me._commands(orders((1, 1))))
    assert venue.calls == []
    assert me.core.working(0) == 0
    assert me.core.refusals() == {"rate_budget": 1}
    assert transport.EXECS in me._out[transport.QUOTER].kinds()  # the quoter hears of it


def open_session(me, venue, caps=Caps()):  # noqa: B008  nothing in it can change
    venue.caps = caps
    me._codec = type("C", (), {"reset": lambda _s: None})()

    async def fees(_symbol):
        return Decimal(0), Decimal(0)

    venue.fees = fees
    return me._open_session()


def no_dead_man(venue, says="none here"):
    async def arm(_timeout_s):
        venue.calls.append("arm")
        raise NotImplementedError(says)

    venue.arm_dead_man = arm


def test_orders_are_cancelled_while_no_session_can_be_opened(spec):
    venue = Venue()
    me = shell(spec, venue)

    async def connect(_on_frame):
        raise VenueUnreachable("the private stream is down")

    venue.connect = connect
    venue.orders["p-9"] = OpenOrder("p-9", "9", BTC.symbol, 1, Decimal(1), Decimal(1))
    with pytest.raises(VenueUnreachable, match="stream"):
        asyncio.run(open_session(me, venue))
    assert venue.orders == {}
    assert not me.core.ready


def test_at_the_end_an_order_that_its_cancel_overtook_is_cancelled_too(spec):
    venue = Venue()
    me = shell(spec, venue)

    async def place(symbol, cid, side, price, size):
        async def arrive():
            await asyncio.sleep(0.1)
            venue.orders[cid] = OpenOrder(cid, "1", symbol, side, price, size)
            await asyncio.sleep(0.05)
            me.core.orders[0]["state"] = LIVE

        venue.task = asyncio.create_task(arrive())

    venue.place = place
    no_dead_man(venue)

    async def run():
        await me._commands(orders((1, 1)))
        return await me._finish()

    final = asyncio.run(run())
    assert venue.orders == {}
    assert final["open_orders_left"] == 0


def test_what_is_left_open_keeps_its_dead_man(spec, monkeypatch):
    venue = Venue()
    me = shell(spec, venue)
    no_dead_man(venue)

    async def at_once(_s):
        return None

    monkeypatch.setattr(module.asyncio, "sleep", at_once)

    async def stuck():
        return [OpenOrder("p-9", "9", BTC.symbol, 1, Decimal(1), Decimal(1))]

    venue.open_orders = stuck
    assert asyncio.run(me._finish())["open_orders_left"] == 1
    assert "arm" not in venue.calls


def test_a_dead_man_that_is_not_granted_is_said_and_not_asked_for_again(spec, caplog):
    venue = Venue()
    me = shell(spec, venue)
    no_dead_man(venue, "too little traded")
    asyncio.run(open_session(me, venue))
    assert me.core.ready
    assert not me._dead_man
    assert "too little traded" in caplog.text


def test_a_position_that_the_history_does_not_explain_yet_is_no_halt(spec):
    venue = Venue()
    me = shell(spec, venue)
    no_dead_man(venue)
    venue.lots = 1
    with pytest.raises(VenueUnreachable, match="not yet"):
        asyncio.run(open_session(me, venue))
    venue.history = [FillRecord("p-3", "t1", BTC.symbol, 1, Decimal(60_000), Decimal("0.001"), Decimal(0), True, NOW)]
    asyncio.run(open_session(me, venue))
    assert (me.core.ready, me.core.halted, int(me.core.states[0][0].pos_lots)) == (True, 0, 1)
    venue.lots = 2
    for _ in range(2):
        with pytest.raises(VenueUnreachable, match="not yet"):
            asyncio.run(open_session(me, venue))
    asyncio.run(open_session(me, venue))
    assert HALT_REASONS[me.core.halted] == "position_mismatch"


def test_the_history_is_read_from_where_it_was_booked_also_by_the_next_process(spec):
    venue = Venue()
    me = shell(spec, venue)
    asked: list[int] = []

    async def fills(since_ns):
        asked.append(since_ns)
        return venue.history

    venue.fills = fills
    me.book.history_ns = me.book.run_started_ns - 10**15  # as after a day
    began = me.book.history_ns
    for _ in range(2):
        asyncio.run(me._book_history())
    assert asked[0] == began
    assert 0 < time.time_ns() - asked[1] < 301 * S
    me.book.close()
    assert Book(spec, 2 * S, 2 * S).history_ns >= asked[1]


def test_values_that_make_no_sense_are_no_answer_and_a_finer_price_is_booked(spec):
    me = shell(spec, Venue())
    with pytest.raises(VenueUnreachable, match="multiple"):
        me.book.position_differs(Position(BTC.symbol, Decimal("0.0005"), None, Decimal(0)), 0)
    odd = [FillRecord("p-3", f"t{s}", BTC.symbol, s, Decimal("60000.04"), Decimal("0.001"), Decimal(0), True, NOW)
           for s in (1, -1)]  # fmt: skip
    assert [int(e[0].tick) for e, _ in me.book.missed_reports(odd, NOW)] == [600_001, 600_000]


def test_an_order_by_hand_without_an_id_is_cancelled(spec):
    venue = Venue()
    me = shell(spec, venue)
    venue.orders[""] = OpenOrder("", "9", BTC.symbol, 1, Decimal(1), Decimal(1))
    asyncio.run(me._reconcile())
    assert venue.orders == {}
