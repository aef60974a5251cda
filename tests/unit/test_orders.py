"""The order table and the diff, case by case (tests/property/test_orders_machine.py has the lives)."""

import pytest

from mm.core.types import (
    ACK,
    BUY_SIDE,
    CANCEL,
    CANCEL_REJECT,
    CANCELED,
    CANCELING,
    FILL,
    FREE,
    LIVE,
    PLACE,
    REJECT,
    SELL_SIDE,
    SENT,
)
from mm.strategy.orders import client_order_id, diff_orders, find
from tests.reference.kernel_box import START_NS, Box

MS = 1_000_000


@pytest.fixture
def box():
    requote = {"threshold": "3 ticks", "min_age": "100ms", "max_age": "10s"}
    return Box({"strategy": {"order_size": "10 lots", "requote": requote}, "risk": {"max_position": "35 lots"}})


def diff(box, bid=None, ask=None, age_ms=200, lots=10):
    """Commands for targets at these ticks, ``age_ms`` after the orders were sent."""
    r, t = box.r, box.r.target[0]
    t.bid_tick, t.bid_lots = (bid, lots) if bid else (0, 0)
    t.ask_tick, t.ask_lots = (ask, lots) if ask else (0, 0)
    n = diff_orders(r.params[0], r.state[0], r.limits[0], r.orders, t, 0, START_NS + age_ms * MS, r.cmds)
    return [(int(c.op), int(c.side), int(c.tick), int(c.lots)) for c in r.cmds[:n]]


def states(box):
    return sorted(int(s) for s in box.r.orders["state"] if s != FREE)


def test_an_empty_table_gets_both_quotes(box):
    assert diff(box, 100, 110) == [(PLACE, BUY_SIDE, 100, 10), (PLACE, SELL_SIDE, 110, 10)]
    assert states(box) == [SENT, SENT]
    assert [int(i) for i in box.r.orders["id"][:2]] == [1, 2]
    assert box.r.state[0].next_order == 3


@pytest.mark.parametrize(
    ("move", "age_ms", "kept"),
    [
        (0, 60_000, True),  # the price is right: its place in the queue is worth keeping, however old
        (2, 200, True),  # less than the threshold
        (3, 200, False),
        (50, 99, True),  # too young to move
        (50, 100, False),
        (2, 10_000, False),  # too old to be off by anything
    ],
)
def test_when_a_quote_is_replaced(box, move, age_ms, kept):
    box.own(BUY_SIDE, 100, 10)
    box.own(SELL_SIDE, 200, 10)
    expected = [] if kept else [(CANCEL, 1, 100, 10), (CANCEL, -1, 200, 10), (PLACE, 1, 100 - move, 10)]
    got = diff(box, 100 - move, 200 + move, age_ms)
    assert got == ([] if kept else [*expected, (PLACE, -1, 200 + move, 10)])


def test_an_order_larger_than_wanted_goes_at_any_age(box):
    box.own(BUY_SIDE, 100, 10)
    assert diff(box, 100, None, age_ms=0, lots=4) == [(CANCEL, 1, 100, 10), (PLACE, 1, 100, 4)]


def test_a_partly_filled_order_keeps_its_place(box):
    box.own(BUY_SIDE, 100, 3)
    assert diff(box, 100, None) == []


def test_an_unacknowledged_order_holds_its_side(box):
    box.own(BUY_SIDE, 100, 10, SENT)
    assert diff(box, 90, None) == []
    assert diff(box, None, None) == []
    assert diff(box, 90, 100) == []  # and the other side waits rather than cross it
    assert diff(box, 90, 101) == [(PLACE, -1, 101, 10)]


def test_a_live_order_that_the_new_price_crosses_goes_first(box):
    box.own(SELL_SIDE, 105, 10)
    assert diff(box, 105, 108, age_ms=0) == [(CANCEL, -1, 105, 10), (PLACE, 1, 105, 10), (PLACE, -1, 108, 10)]
    box.r.orders["state"] = FREE
    box.own(BUY_SIDE, 105, 10)
    assert diff(box, 100, 105, age_ms=0) == [(CANCEL, 1, 105, 10), (PLACE, 1, 100, 10), (PLACE, -1, 105, 10)]


def test_no_target_pulls_what_is_live(box):
    box.own(BUY_SIDE, 100, 10)
    box.own(SELL_SIDE, 110, 10)
    assert diff(box, age_ms=0) == [(CANCEL, 1, 100, 10), (CANCEL, -1, 110, 10)]
    assert diff(box, age_ms=0) == []  # asked once


def test_a_full_table_takes_no_new_order(box):
    for k in range(8):
        box.own(BUY_SIDE, 100 - k, 1, CANCELING)
    assert diff(box, 100, 110) == []


def test_orders_being_cancelled_count_for_the_gate(box):
    for _ in range(3):
        box.own(BUY_SIDE, 100, 10, CANCELING)
    assert diff(box, 99, 110) == [(PLACE, -1, 110, 10)]  # 40 lots long would be too much


@pytest.mark.parametrize("state", [SENT, LIVE, CANCELING])
@pytest.mark.parametrize(
    ("kind", "after"),
    [
        (ACK, {SENT: LIVE, LIVE: LIVE, CANCELING: CANCELING}),  # a late one does not undo a cancel
        (REJECT, dict.fromkeys((SENT, LIVE, CANCELING), FREE)),
        (CANCELED, dict.fromkeys((SENT, LIVE, CANCELING), FREE)),
        (CANCEL_REJECT, {SENT: SENT, LIVE: LIVE, CANCELING: LIVE}),
    ],
)
def test_what_a_report_does(box, state, kind, after):
    oid = box.own(BUY_SIDE, 100, 10, state)
    box.report(kind, oid, BUY_SIDE, 100, 10)
    assert int(box.r.orders[0].state) == after[state]
    assert box.r.state[0].pos_lots == 0


def test_fills(box):
    oid = box.own(BUY_SIDE, 100, 10)
    box.report(FILL, oid, BUY_SIDE, 99, 4)
    assert (int(box.r.orders[0].lots), int(box.r.orders[0].state)) == (6, LIVE)
    box.report(FILL, oid, BUY_SIDE, 100, 6)
    assert find(box.r.orders, oid) == -1
    box.report(FILL, 777, SELL_SIDE, 101, 3)  # unknown here, true all the same
    assert box.r.state[0].pos_lots == 7
    assert box.r.state[0].cash_units == -99 * 4 - 600 + 303


def test_an_id_names_the_run_and_the_number():
    assert client_order_id("run-a1", 12) == "run-a1-12"
