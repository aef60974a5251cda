"""Reports of our orders and the public book come on two lines: whichever is first, our own quote is nobody else's."""

from decimal import Decimal

import numpy as np
import pytest

from mm.core.types import ACK, ASK, BID, CANCELED, CLEAR_ASK, CLEAR_BID, EVENT, EXEC, FILL, LAST, PLACE, SNAPSHOT
from mm.data.synth import SynthSpec
from mm.strategy.quoter import Quoter
from tests.reference.small_run import quick_config

T = 1_800_000_000_000_000_000
BTC = SynthSpec().instrument
SIDE = {BID: 1, ASK: -1}


def frame(ms, *rows, flags=0):
    out = np.zeros(len(rows), EVENT)
    for e, (kind, tick, lots) in zip(out, rows, strict=True):
        e["ts_exch_ns"] = e["ts_recv_ns"] = T + ms * 1_000_000
        e["kind"], e["tick"], e["lots"], e["flags"] = kind, tick, lots, flags
    out["flags"][-1] |= LAST
    return out


def report(ms, kind, order, lots=None):
    out = np.zeros(1, EXEC)
    out["ts_exch_ns"], out["kind"], out["maker"] = T + ms * 1_000_000, kind, 1
    for name in ("id", "side", "tick", "lots"):
        out[name] = order[name]
    if lots is not None:
        out["lots"] = lots
    return out


class Desk:
    """A quoter with one bid of its own, placed at the only decision it makes."""

    def __init__(self):
        self.q = Quoter(quick_config(), [BTC])
        levels = [(BID, 599_970 - k, 50) for k in range(40)] + [(ASK, 600_030 + k, 50) for k in range(40)]
        self.q.on_events(frame(0, (CLEAR_BID, 0, 0), (CLEAR_ASK, (1 << 31) - 1, 0), *levels, flags=SNAPSHOT))
        commands = self.q.decide(T + 1)
        (self.order,) = [c for c in commands if c["op"] == PLACE and c["side"] == 1]
        assert self.order["tick"] > 599_970  # alone inside the spread: the best bid when it rests
        self.lots = int(self.order["lots"])

    def public(self, ms, lots):
        """The public quantity at our price."""
        self.q.on_events(frame(ms, (BID, int(self.order["tick"]), lots)))

    def told(self, ms, kind, lots=None):
        self.q.on_execs(report(ms, kind, self.order, lots), [Decimal(0)])

    def others_bid(self, ms):
        self.q.decide(T + ms * 1_000_000)
        return int(self.q.records_of(0).features[0].bid_tick)


@pytest.mark.parametrize("end", [CANCELED, FILL])
@pytest.mark.parametrize("first", ["report", "book"])
def test_an_order_that_ended_is_nobody_elses_quote(first, end):
    desk = Desk()
    desk.told(1, ACK)
    desk.public(2, desk.lots)
    assert desk.others_bid(3) == 599_970
    steps = [lambda: desk.told(4, end), lambda: desk.public(5, 0)]
    for step in steps if first == "report" else reversed(steps):
        step()
        assert desk.others_bid(6) == 599_970
    desk.public(7, 20)  # now it is somebody else's
    assert desk.others_bid(8) == int(desk.order["tick"])


def test_a_fill_in_part_leaves_the_rest():
    desk = Desk()
    desk.told(1, ACK)
    desk.public(2, desk.lots + 20)
    assert desk.others_bid(3) == int(desk.order["tick"])
    desk.told(4, FILL, 1)
    assert int(desk.q.records_of(0).orders["lots"][0]) == desk.lots - 1
    desk.others_bid(5)
    assert int(desk.q.records_of(0).features[0].bid_lots) == 20


def test_an_acknowledgement_ahead_of_the_book_hides_nobody():
    """Others stand at our price with less than we do: until the book has us, theirs is still a quote."""
    desk = Desk()
    desk.public(1, 1)
    desk.told(2, ACK)
    assert desk.others_bid(3) == int(desk.order["tick"])
    desk.public(4, 1 + desk.lots)
    assert desk.others_bid(5) == int(desk.order["tick"])
    assert int(desk.q.records_of(0).features[0].bid_lots) == 1
