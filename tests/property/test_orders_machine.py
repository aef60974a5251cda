"""Our order table against a venue that acks, rejects, fills, cancels and refuses cancels in any order, with repeats."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from mm.core.types import (
    ACK,
    CANCEL,
    CANCEL_REJECT,
    CANCELED,
    FILL,
    FREE,
    LIVE,
    PLACE,
    REJECT,
    SENT,
)
from mm.strategy.orders import diff_orders
from mm.strategy.risk import worst_position
from tests.reference.kernel_box import START_NS, Box

MS = 1_000_000
_BOX = []
picks = st.integers(0, 1000)


@dataclass
class VenueOrder:
    side: int
    tick: int
    leaves: int
    state: str = "on its way"  # then open, gone
    cancels: int = 0  # requests not yet answered
    reports: list = field(default_factory=list)  # (kind, lots) not yet delivered, in order


class Orders(RuleBasedStateMachine):
    """Reports of one order arrive in order (an acknowledgement may be late); those of different orders do not."""

    def __init__(self):
        super().__init__()
        if not _BOX:
            _BOX.append(
                Box({"strategy": {"order_size": "10 lots"}, "risk": {"max_position": "25 lots"}})
            )  # its kernels are compiled once
        r = self.r = _BOX[0].r
        r.orders["state"] = FREE
        for name in r.state.dtype.names:
            r.state[name] = 0
        r.state[0].next_order = 1
        self.now_ns = START_NS
        self.venue = {}
        self.late_acks = []
        self.repeats = []
        self.position = 0  # the venue's: every fill counts when it happens
        self.seen = 0

    # --- the strategy ------------------------------------------------------------------------------------------------
    @rule(
        bid=st.integers(90, 110), width=st.integers(1, 8), bid_lots=st.sampled_from([0, 0, 3, 10, 10]),
        ask_lots=st.sampled_from([0, 0, 3, 10, 10]), wait_ms=st.sampled_from([0, 50, 200, 40_000]),
        halted=st.sampled_from([0, 0, 0, 0, 1]), lease=st.sampled_from([True, True, True, False]),
    )  # fmt: skip
    def decide(self, bid, width, bid_lots, ask_lots, wait_ms, halted, lease):
        r, t = self.r, self.r.target[0]
        self.now_ns += wait_ms * MS
        t.bid_tick, t.ask_tick = bid, bid + width
        t.bid_lots, t.ask_lots = (0, 0) if halted else (bid_lots, ask_lots)
        r.state[0].halted = halted
        r.limits[0].valid_until_ns = self.now_ns if lease else self.now_ns - 1
        before = r.orders.copy()
        n = diff_orders(r.params[0], r.state[0], r.limits[0], r.orders, t, 0, self.now_ns, r.cmds)
        cmds = [tuple(int(c[k]) for k in ("op", "id", "side", "tick", "lots")) for c in r.cmds[:n]]
        ops = [c[0] for c in cmds]
        assert ops == sorted(ops, reverse=True)  # cancels first
        for op, oid, side, tick, lots in cmds:
            if op == CANCEL:
                old = before[(before["state"] != FREE) & (before["id"] == oid)]
                assert len(old) == 1
                assert old[0].state == LIVE
                self.venue[oid].cancels += 1
                continue
            assert op == PLACE
            assert lease
            assert not halted
            assert oid == self.seen + 1
            self.seen = oid
            assert (tick, lots) == ((bid, bid_lots) if side > 0 else (bid + width, ask_lots))
            for o in r.orders:
                if o.side == -side and o.state in (SENT, LIVE):
                    assert (tick - o.tick) * side < 0  # never through an order of ours that stays
            self.venue[oid] = VenueOrder(side, tick, lots)
            worst = worst_position(r.state[0].pos_lots, r.orders, side)
            pos = int(r.state[0].pos_lots)
            assert abs(worst) <= 25 or (abs(worst) <= abs(pos) and worst * pos >= 0)
        for side in (-1, 1):
            mine = r.orders[r.orders["side"] == side]
            assert np.count_nonzero((mine["state"] == SENT) | (mine["state"] == LIVE)) <= 1
        if not t.bid_lots and not t.ask_lots:
            assert not np.any(r.orders["state"] == LIVE)

    # --- the venue ---------------------------------------------------------------------------------------------------
    def _pick(self, pick, *states):
        ids = [i for i, o in self.venue.items() if o.state in states]
        return self.venue[ids[pick % len(ids)]] if ids else None

    @rule(pick=picks, accept=st.sampled_from([True, True, True, False]))
    def answer_new(self, pick, accept):
        if (o := self._pick(pick, "on its way")) is not None:
            o.state = "open" if accept else "gone"
            o.reports.append((ACK if accept else REJECT, o.leaves))

    @rule(pick=picks, lots=st.integers(1, 12))
    def fill(self, pick, lots):
        if (o := self._pick(pick, "open")) is not None:
            lots = min(lots, o.leaves)
            o.leaves -= lots
            self.position += o.side * lots
            o.reports.append((FILL, lots))
            if o.leaves == 0:
                o.state = "gone"

    @rule(pick=picks, obey=st.sampled_from([True, True, True, False]))
    def answer_cancel(self, pick, obey):
        waiting = [o for o in self.venue.values() if o.cancels and o.state != "on its way"]
        if waiting:
            o = waiting[pick % len(waiting)]
            o.cancels -= 1
            if obey and o.state == "open":
                o.state = "gone"
                o.reports.append((CANCELED, o.leaves))
            else:
                o.reports.append((CANCEL_REJECT, o.leaves))

    # --- the wire ----------------------------------------------------------------------------------------------------
    def _deliver(self, oid):
        o = self.venue[oid]
        kind, lots = o.reports.pop(0)
        _BOX[0].report(kind, oid, o.side, o.tick, lots)
        if kind != FILL:  # the executor drops repeated fills by their trade id
            self.repeats.append((kind, oid, o.side, o.tick, lots))

    @rule(pick=picks)
    def deliver(self, pick):
        if ids := [i for i, o in self.venue.items() if o.reports]:
            self._deliver(ids[pick % len(ids)])

    @rule(pick=picks)
    def delay_an_ack(self, pick):
        if ids := [i for i, o in self.venue.items() if o.reports and o.reports[0][0] == ACK]:
            oid = ids[pick % len(ids)]
            self.late_acks.append((oid, self.venue[oid].reports.pop(0)))

    @precondition(lambda self: self.late_acks)
    @rule()
    def deliver_late_ack(self):
        oid, (kind, lots) = self.late_acks.pop(0)
        _BOX[0].report(kind, oid, self.venue[oid].side, self.venue[oid].tick, lots)

    @precondition(lambda self: any(r[0] in (ACK, REJECT, CANCELED) for r in self.repeats))
    @rule(pick=picks)
    def repeat(self, pick):
        again = [r for r in self.repeats if r[0] in (ACK, REJECT, CANCELED)]
        _BOX[0].report(*again[pick % len(again)])

    @rule(kind=st.sampled_from([ACK, REJECT, CANCELED, CANCEL_REJECT]))
    def report_of_a_stranger(self, kind):
        before = self.r.orders.copy()
        _BOX[0].report(kind, 10**9, 1, 100, 5)
        assert (before == self.r.orders).all()

    # --- what holds at any time --------------------------------------------------------------------------------------
    @invariant()
    def nothing_is_forgotten(self):
        table = {int(o.id): o for o in self.r.orders if o.state != FREE}
        for oid, o in self.venue.items():
            unseen = sum(lots for kind, lots in o.reports if kind == FILL)
            if o.state != "gone" or unseen:
                assert oid in table
                assert table[oid].lots == o.leaves + unseen  # what may still change our position
                assert (table[oid].side, table[oid].tick) == (o.side, o.tick)
        assert len(table) == np.count_nonzero(self.r.orders["state"])

    @invariant()
    def position_stays_inside(self):
        unseen = sum(o.side * lots for o in self.venue.values() for kind, lots in o.reports if kind == FILL)
        assert self.r.state[0].pos_lots + unseen == self.position
        for side in (-1, 1):
            left = sum(o.leaves for o in self.venue.values() if o.side == side and o.state != "gone")
            assert abs(self.position + side * left) <= 25

    @invariant()
    def fills_are_booked_once(self):
        s = self.r.state[0]
        assert s.bought_lots - s.sold_lots == s.pos_lots

    def teardown(self):
        """When everyone answers and we want nothing, nothing is left."""
        for _ in range(4):
            for oid, o in self.venue.items():
                if o.state == "on its way":
                    o.state = "open"
                    o.reports.append((ACK, o.leaves))
                while o.reports:
                    self._deliver(oid)
            while self.late_acks:
                self.deliver_late_ack()
            self.decide(100, 1, 0, 0, 0, 0, lease=True)
            for oid, o in self.venue.items():
                if o.cancels and o.state == "open":
                    o.state = "gone"
                    o.reports.append((CANCELED, o.leaves))
                o.cancels = 0
                while o.reports:
                    self._deliver(oid)
        assert not self.r.orders["state"].any()
        assert all(o.state == "gone" for o in self.venue.values())
        assert self.r.state[0].pos_lots == self.position


class SpotOrders(Orders):
    """As above, and the position never goes below zero."""

    def __init__(self):
        super().__init__()
        self.r.params[0].spot = 1

    @invariant()
    def never_short(self):
        sells = sum(o.leaves for o in self.venue.values() if o.side < 0 and o.state != "gone")
        assert self.position - sells >= 0

    def teardown(self):
        try:
            super().teardown()
        finally:
            self.r.params[0].spot = 0


Orders.TestCase.settings = SpotOrders.TestCase.settings = settings(stateful_step_count=60)
TestOrders = Orders.TestCase
TestSpotOrders = SpotOrders.TestCase


@pytest.mark.parametrize("machine", [Orders, SpotOrders])
@pytest.mark.parametrize("seed", range(3))
def test_a_long_life(machine, seed):
    """The same rules for thousands of steps: Hypothesis keeps its lives short."""
    rng = np.random.default_rng(seed)
    m = machine()
    for _ in range(2500):
        pick = int(rng.integers(1000))
        match int(rng.integers(11)):
            case 0 | 1:
                bid_lots, ask_lots = (int(rng.choice([0, 3, 10, 10])) for _ in range(2))
                wait_ms, halted, lease = int(rng.choice([0, 50, 200, 40_000])), rng.random() < 0.1, rng.random() < 0.9
                m.decide(90 + pick % 21, 1 + pick % 8, bid_lots, ask_lots, wait_ms, int(halted), lease)
            case 2 | 3:
                m.answer_new(pick, accept=rng.random() < 0.8)
            case 4:
                m.fill(pick, 1 + pick % 12)
            case 5:
                m.answer_cancel(pick, obey=rng.random() < 0.7)
            case 6:
                m.delay_an_ack(pick)
            case 7 if m.late_acks:
                m.deliver_late_ack()
            case 8 if any(r[0] != CANCEL_REJECT for r in m.repeats):
                m.repeat(pick)
            case _:
                m.deliver(pick)
        m.nothing_is_forgotten()
        m.position_stays_inside()
        m.fills_are_booked_once()
        if machine is SpotOrders:
            m.never_short()
    assert m.seen > 100
    assert m.r.state[0].fills > 50
    m.teardown()
