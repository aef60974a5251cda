"""The executor's brain: what may be sent, what a report changes, what is true on the venue."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from mm.core.instrument import Instrument
from mm.core.types import (
    ACK,
    CANCEL,
    CANCEL_REJECT,
    CANCELED,
    CANCELING,
    EXEC,
    FILL,
    FREE,
    LIVE,
    ORDER_SLOTS,
    PLACE,
    REJECT,
    SENT,
    records,
)  # fmt: skip
from mm.strategy.executor_core import (
    NO_SLOT,
    NOT_READY,
    OLD_EPOCH,
    SIDE_UNKNOWN,
    USED_ID,
    VERDICTS,
    Command,
    Differences,
    ExecutorCore,
    OrderKey,
    adopt,
    read_commands,
    read_sync,
)  # fmt: skip
from mm.strategy.risk import (
    GATE_HALTED,
    HALT_DRAWDOWN,
    HALT_OPERATOR,
    LEASE_EXPIRED,
    LIMITS,
    OVER_NOTIONAL,
    OVER_POSITION,
    PASS,
)  # fmt: skip
from mm.strategy.state import PARAMS

BTC = Instrument("BTC-USDT", "x", "linear", Decimal("0.1"), Decimal("0.001"), base="BTC", quote="USDT")
COIN = Instrument("BTC-USD", "x", "inverse", Decimal("0.5"), Decimal(1), contract_value=Decimal(100), base="BTC")
S = 1_000_000_000
NOW = 10**18
NOTHING = Differences([], [], [], [])


def make(max_pos=10, lease_s=1.0, instruments=(BTC,)) -> ExecutorCore:
    core = ExecutorCore(instruments, ack_timeout_ns=2 * S, quoter_timeout_ns=2 * S)
    grant(core, max_pos, NOW + round(lease_s * S))
    core.ready = True
    core.epoch = 7
    core.quoter_seen_ns = NOW
    return core


def grant(core, max_pos, until_ns, max_notional=1e9):
    n = len(core.instruments)
    limits, params = records(n, LIMITS), records(n, PARAMS)
    limits["max_pos_lots"], limits["max_notional_usd"] = max_pos, max_notional
    params["min_lots"], params["unit_value"], params["tick_size"] = 1, 0.0001, 0.1
    core.lease(limits, params, until_ns)


def place(number, side=1, lots=1, tick=600_000, instrument=0):
    return Command(number, lots, tick, instrument, side, PLACE)


def report(kind, number, side=1, lots=1, tick=600_000, maker=1, instrument=0):
    e = records(1, EXEC)
    e[0] = (NOW, NOW, number, lots, tick, instrument, side, kind, maker)
    return e[0]


def states(core, i=0):
    return {int(o.id): int(o.state) for o in core.orders[i] if o.state != FREE}


def test_verdicts_in_order_of_severity():
    core = ExecutorCore([BTC], 2 * S, 2 * S)
    assert core.place(place(1), 7, NOW) == NOT_READY
    core.ready, core.epoch = True, 7
    assert core.place(place(1), 6, NOW) == OLD_EPOCH
    assert core.place(place(1), 7, NOW) == LEASE_EXPIRED  # nothing passes before the first lease
    grant(core, 2, NOW + S)
    assert core.place(place(1), 7, NOW + S + 1) == LEASE_EXPIRED
    assert core.place(place(1), 7, NOW) == PASS
    assert core.place(place(1), 7, NOW) == USED_ID
    assert core.place(place(2), 7, NOW) == SIDE_UNKNOWN  # the first buy has not been answered
    core.execution(report(ACK, 1), Decimal(0), "")
    assert core.place(place(2, lots=2), 7, NOW) == OVER_POSITION  # the resting lot counts
    assert core.place(place(2, lots=1), 7, NOW) == PASS
    grant(core, 1000, NOW + S, max_notional=100.0)
    assert core.place(place(3, side=-1, lots=2), 7, NOW) == OVER_NOTIONAL
    core.halt(HALT_OPERATOR)
    assert core.place(place(3, side=-1), 7, NOW) == GATE_HALTED
    core.rearm()
    assert core.place(place(3, side=-1), 7, NOW) == PASS
    assert core.refusals() == {VERDICTS[k]: core.verdicts[k] for k in range(1, len(VERDICTS)) if core.verdicts[k]}
    assert core.place(place(4, lots=1), 7, NOW) == SIDE_UNKNOWN


def test_no_more_orders_than_slots():
    core = make(max_pos=1000)
    for n in range(1, ORDER_SLOTS + 1):
        assert core.place(place(n), 7, NOW) == PASS
        core.execution(report(ACK, n), Decimal(0), "")
    assert core.place(place(99), 7, NOW) == NO_SLOT
    assert core.working(0) == ORDER_SLOTS


def test_a_fill_is_booked_once_and_moves_money():
    core = make()
    core.place(place(1, lots=3), 7, NOW)
    core.execution(report(ACK, 1, lots=3), Decimal(0), "")
    assert core.execution(report(FILL, 1, lots=2), Decimal("0.012"), "t1")
    assert not core.execution(report(FILL, 1, lots=2), Decimal("0.012"), "t1")
    s = core.states[0][0]
    assert (s.pos_lots, s.fills, s.cash_units) == (2, 1, -2 * 600_000)
    assert s.fee_units_e8 == round(Decimal("0.012") / Decimal("0.0001") * 10**8)
    assert core.execution(report(FILL, -1, side=-1, lots=5), Decimal(0), "t2")  # not our order, but our position
    assert s.pos_lots == -3


def test_cancel_of_what_has_ended_is_not_sent():
    core = make()
    assert not core.cancel(0, 1, NOW)
    core.place(place(1), 7, NOW)
    core.execution(report(ACK, 1), Decimal(0), "")
    assert core.cancel(0, 1, NOW)
    assert states(core) == {1: CANCELING}
    core.execution(report(CANCEL_REJECT, 1), Decimal(0), "")
    assert states(core) == {1: LIVE}
    core.execution(report(CANCELED, 1), Decimal(0), "")
    assert states(core) == {}


@pytest.mark.parametrize(
    ("why", "change"),
    [
        ("halted", lambda c: c.halt(HALT_DRAWDOWN)),
        ("risk_lease_expired", lambda c: grant(c, 10, NOW - 1)),
        ("quoter_silent", lambda c: setattr(c, "quoter_seen_ns", NOW - 3 * S)),
    ],
)
def test_what_pulls_every_order(why, change):
    core = make()
    change(core)
    assert core.must_pull(NOW) == ""  # nothing is open
    core = make()
    core.place(place(1), 7, NOW)
    assert core.must_pull(NOW) == ""
    change(core)
    assert core.must_pull(NOW) == why
    core.execution(report(CANCELED, 1), Decimal(0), "")
    assert core.must_pull(NOW) == ""


def test_the_first_halt_stays():
    core = make()
    assert core.halt(HALT_DRAWDOWN)
    assert not core.halt(HALT_OPERATOR)
    assert core.halted == HALT_DRAWDOWN


def test_an_unanswered_order_is_asked_for_and_never_sent_again():
    core = make()
    core.place(place(1), 7, NOW)
    assert core.overdue(NOW + S) == []
    assert core.overdue(NOW + 3 * S) == [OrderKey(0, 1)]
    assert core.reconcile(set(), NOW + 3 * S) == NOTHING  # its report may be on the way
    assert states(core) == {1: SENT}
    assert core.reconcile(set(), NOW + 4 * S).gone == [OrderKey(0, 1)]
    assert states(core) == {}
    assert core.place(place(1), 7, NOW) == USED_ID


def test_an_order_that_shows_again_in_between_is_kept():
    core = make()
    core.place(place(1), 7, NOW)
    core.reconcile(set(), NOW + S)
    assert core.reconcile({OrderKey(0, 1)}, NOW + 2 * S) == NOTHING
    assert core.reconcile(set(), NOW + 3 * S) == NOTHING
    assert core.reconcile(set(), NOW + 4 * S).gone == [OrderKey(0, 1)]


def test_a_lost_acknowledgement_is_found_and_told():
    core = make()
    core.place(place(1), 7, NOW)
    there = {OrderKey(0, 1)}
    assert core.reconcile(there, NOW + S) == NOTHING  # it may be on its way
    assert core.reconcile(there, NOW + 3 * S).found == [OrderKey(0, 1)]  # the quoter must hear of it, or holds the side
    assert states(core) == {1: LIVE}
    assert core.reconcile(there, NOW + 4 * S) == NOTHING


def test_a_lost_cancel_is_sent_again_and_not_too_often():
    core = make()
    core.place(place(1), 7, NOW)
    core.execution(report(ACK, 1), Decimal(0), "")
    core.cancel(0, 1, NOW)
    there = {OrderKey(0, 1)}
    assert core.reconcile(there, NOW + S) == NOTHING
    assert core.reconcile(there, NOW + 3 * S).again == [OrderKey(0, 1)]
    assert core.overdue(NOW + 4 * S) == []
    assert core.reconcile(there, NOW + 4 * S) == NOTHING
    assert core.reconcile(there, NOW + 6 * S).again == [OrderKey(0, 1)]
    assert states(core) == {1: CANCELING}


def test_an_answer_older_than_the_order_says_nothing_about_it():
    core = make()
    core.place(place(1), 7, NOW)
    for _ in range(3):
        assert core.reconcile(set(), NOW - S) == NOTHING
    assert states(core) == {1: SENT}


def test_orders_we_do_not_know_are_named():
    core = make()
    assert core.reconcile({OrderKey(0, 9), OrderKey(0, 4)}, NOW) == NOTHING  # they may just have ended
    assert core.reconcile({OrderKey(0, 9), OrderKey(0, 5)}, NOW).unknown == [OrderKey(0, 9)]


def test_a_position_differs_only_when_it_stays():
    core = make()
    assert not core.position_differs(0, 1, 0)
    core.execution(report(FILL, 5), Decimal(0), "t")  # the report was on its way
    assert not core.position_differs(0, 1, 1)
    assert not core.position_differs(0, 3, 1)
    assert core.position_differs(0, 3, 1)


def test_an_answer_that_a_fill_has_overtaken_says_nothing():
    core = make()
    for n in range(4):  # each time one lot is filled between the venue's answer and our look at it
        core.execution(report(FILL, n), Decimal(0), f"t{n}")
        assert not core.position_differs(0, n, n)


def test_the_quoter_may_begin_when_the_lease_runs():
    core = make(lease_s=1.0)
    assert core.may_trade(NOW)
    assert not core.may_trade(NOW + 2 * S)
    core.ready = False
    assert not core.may_trade(NOW)


@pytest.mark.parametrize("instrument", [BTC, COIN])
def test_a_starting_position_has_no_profit_at_its_entry(instrument):
    from mm.strategy.portfolio import equity

    core = ExecutorCore([instrument], S, S)
    core.open_position(0, -4, 600_000.0)
    assert core.states[0][0].pos_lots == -4
    assert equity(core.states[0][0], core.params[0][0], 600_000.0) == pytest.approx(0.0, abs=1e-9)


def test_a_sync_carries_everything():
    core = make(instruments=(BTC, BTC))
    core.place(place(3, instrument=1), 7, NOW)
    core.execution(report(ACK, 3, instrument=1), Decimal(0), "")
    core.execution(report(FILL, -1, lots=2, instrument=0), Decimal("0.5"), "x")
    core.halt(HALT_OPERATOR)
    truth = read_sync(core.sync(), 2)
    assert (truth.next_order, truth.halted) == (4, HALT_OPERATOR)
    other = make(instruments=(BTC, BTC))
    other.states[0][0].funding = 1.5
    for i in range(2):
        adopt(truth, i, other.states[i], other.orders[i])
    assert [int(s[0].pos_lots) for s in other.states] == [2, 0]
    assert states(other, 1) == {3: LIVE}
    assert other.states[0][0].funding == 1.5  # only the receiver knows it
    with pytest.raises(ValueError, match="expected"):
        read_sync(core.sync()[:-1], 2)


def test_a_refusal_frees_the_order_at_the_quoter():
    e = make().rejection(place(5, side=-1, lots=3, tick=9), NOW)[0]
    assert (e.id, e.side, e.lots, e.tick, e.kind) == (5, -1, 3, 9, REJECT)


def test_commands_travel_as_bytes():
    from mm.core.types import COMMAND

    raw = np.zeros(2, COMMAND)
    raw["id"], raw["op"], raw["side"] = (1, 2), (PLACE, CANCEL), (1, -1)
    assert read_commands(raw.tobytes()) == [Command(1, 0, 0, 0, 1, PLACE), Command(2, 0, 0, 0, -1, CANCEL)]
    with pytest.raises(ValueError, match="size"):
        read_commands(b"xyz")


class Machine(RuleBasedStateMachine):
    """Any order of commands and reports: never more risk than allowed, never two unknown orders a side."""

    def __init__(self):
        super().__init__()
        self.core = make(max_pos=5, lease_s=1e6)
        self.number = 0

    @rule(side=st.sampled_from([1, -1]), lots=st.integers(1, 4))
    def place(self, side, lots):
        self.number += 1
        self.core.place(place(self.number, side, lots), 7, NOW)

    @precondition(lambda self: states(self.core))
    @rule(data=st.data(), kind=st.sampled_from([ACK, REJECT, CANCELED, CANCEL_REJECT]))
    def answer(self, data, kind):
        number = data.draw(st.sampled_from(sorted(states(self.core))))
        self.core.execution(report(kind, number), Decimal(0), "")

    @precondition(lambda self: states(self.core))
    @rule(data=st.data())
    def fill(self, data):
        o = data.draw(st.sampled_from([o for o in self.core.orders[0] if o.state != FREE]))
        lots = data.draw(st.integers(1, int(o.lots)))
        key = f"{self.number}-{o.id}-{lots}-{o.lots}"
        self.core.execution(report(FILL, int(o.id), int(o.side), lots), Decimal(0), key)

    @precondition(lambda self: states(self.core))
    @rule(data=st.data())
    def cancel(self, data):
        number = data.draw(st.sampled_from(sorted(states(self.core))))
        assert self.core.cancel(0, number, NOW)

    @invariant()
    def within_limits(self):
        orders = self.core.orders[0]
        for side in (1, -1):
            mine = orders[(orders["side"] == side) & (orders["state"] != FREE)]
            worst = int(self.core.states[0][0].pos_lots) + side * int(mine["lots"].sum())
            assert abs(worst) <= 5 or abs(worst) <= abs(int(self.core.states[0][0].pos_lots))
            assert np.count_nonzero(mine["state"] == SENT) <= 1


Machine.TestCase.settings = settings(max_examples=30, stateful_step_count=40)
TestMachine = Machine.TestCase


@given(st.integers(0, 10**6))
def test_order_numbers_only_grow(start):
    core = make(max_pos=10**9)
    core.next_order = start + 1
    assert core.place(place(start), 7, NOW) == USED_ID
    assert core.place(place(start + 1), 7, NOW) == PASS
    assert core.next_order == start + 2
