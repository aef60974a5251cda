"""The simulated exchange on markets of a few events: every fill, report and cent is known beforehand."""

import dataclasses
import math
from decimal import Decimal

import pytest

from mm.core import perps
from mm.core.types import ASK, BID, BUY, FUNDING, SELL
from mm.sim.state import BUSY, MIN_NOTIONAL, NO_BASE, POST_ONLY, SELF_TRADE
from tests.reference.kernel_box import instrument
from tests.reference.scenario import Told, cancel, config, place, play

B, A = 600_000, 600_002  # the touch


def one(rows, script, cfg=None, kind="linear", **facts):
    return play(rows, [script], [cfg or config()], dataclasses.replace(instrument(), kind=kind, **facts))[0]


def test_the_queue_is_eaten_first_then_we_in_parts():
    rows = [(50, SELL, B, 3), (60, SELL, B, 3), (61, SELL, B, 2), (70, SELL, B, 9)]
    out = one(rows, [place(0, 1, 1, B, 10)])
    assert out.fills == [(60, 1, 1, B, 1), (61, 1, 1, B, 2), (70, 1, 1, B, 7)]
    assert out.told == [
        Told(20, "ack", 1, 1, B, 10), Told(70, "fill", 1, 1, B, 1), Told(71, "fill", 1, 1, B, 2),
        Told(80, "fill", 1, 1, B, 7),
    ]  # fmt: skip


def test_whole_fills_where_partial_ones_are_off():
    out = one([(60, SELL, B, 6)], [place(0, 1, 1, B, 10)], config({"partial_fills": False}))
    assert out.fills == [(60, 1, 1, B, 10)]


def test_a_trade_through_fills_us_wholly_at_our_price():
    out = one([(50, SELL, B - 1, 1)], [place(0, 1, 1, B, 10)])
    assert out.fills == [(50, 1, 1, B, 10)]
    out = one([(50, BUY, A + 1, 1)], [place(0, 1, -1, A, 10)])
    assert out.fills == [(50, 1, -1, A, 10)]


def test_the_other_side_at_our_price_fills_us():
    assert one([(50, ASK, B, 1)], [place(0, 1, 1, B, 10)]).fills == [(50, 1, 1, B, 10)]
    assert one([(50, BID, A, 1)], [place(0, 1, -1, A, 10)]).fills == [(50, 1, -1, A, 10)]
    assert one([(50, ASK, B + 1, 1)], [place(0, 1, 1, B, 10)]).fills == []


def test_a_fill_while_the_cancel_is_in_flight():
    out = one([(35, SELL, B - 1, 1)], [place(0, 1, 1, B, 10), cancel(30, 1, 1)])
    assert out.told == [
        Told(20, "ack", 1, 1, B, 10), Told(45, "fill", 1, 1, B, 10), Told(50, "cancel_reject", 1, 1, B, 0),
    ]  # fmt: skip
    late = one([(41, SELL, B - 1, 1)], [place(0, 1, 1, B, 10), cancel(30, 1, 1)])
    assert late.fills == []
    assert late.told[-1] == Told(50, "canceled", 1, 1, B, 10)
    tie = one([(40, SELL, B - 1, 1)], [place(0, 1, 1, B, 10), cancel(30, 1, 1)])
    assert tie.fills == [(40, 1, 1, B, 10)]  # the market's message is first


def test_a_replace_that_a_partial_fill_overtakes():
    script = [place(0, 1, 1, B, 10), cancel(30, 1, 1), place(30, 2, 1, B - 1, 10)]
    out = one([(35, SELL, B, 7), (50, SELL, B - 2, 1)], script)
    assert out.fills == [(35, 1, 1, B, 2), (50, 2, 1, B - 1, 10)]
    assert [(t.kind, t.id, t.lots) for t in out.told] == [
        ("ack", 1, 10), ("fill", 1, 2), ("canceled", 1, 8), ("ack", 2, 10), ("fill", 2, 10),
    ]  # fmt: skip
    assert out.account.pos_lots == 12


def test_post_only_looks_at_the_book_when_the_order_arrives():
    assert one([], [place(0, 1, 1, A, 1)]).told == [Told(20, "reject", 1, 1, A, 1)]
    out = one([(5, ASK, B + 1, 1)], [place(0, 1, 1, B + 1, 1)])
    assert out.told == [Told(20, "reject", 1, 1, B + 1, 1)]
    assert out.refusals[POST_ONLY] == 1
    assert one([(15, ASK, B + 1, 1)], [place(0, 1, 1, B + 1, 1)]).fills == [(15, 1, 1, B + 1, 1)]


def test_orders_of_our_own_do_not_meet():
    script = [place(0, 1, 1, B + 1, 4), place(20, 2, -1, B + 1, 3)]
    out = one([], script)
    assert [t.kind for t in out.told] == ["ack", "reject"]
    assert out.refusals[SELF_TRADE] == 1
    out = one([], script, config({"self_trade": "cancel_resting"}))
    assert [(t.kind, t.id, t.lots) for t in out.told] == [("ack", 1, 4), ("canceled", 1, 4), ("ack", 2, 3)]
    assert out.settings.rejects == 0
    apart = one([], [place(0, 1, 1, B, 4), place(20, 2, -1, B + 1, 3)])
    assert [t.kind for t in apart.told] == ["ack", "ack"]


def test_refusals_are_counted_by_reason():
    out = one([], [place(0, 1, 1, B, 1), place(1, 2, 1, B, 1)], min_notional=Decimal(0))
    assert out.refusals[BUSY] == 1
    for lots, refused in ((9, 1), (10, 0)):  # 600 usd a lot: 60_000 * 0.01
        out = one([], [place(0, 1, 1, B, lots)], min_notional=Decimal("599.95"))
        assert out.refusals[MIN_NOTIONAL] == refused
    out = one([], [place(0, 1, 1, B - 1, 10)], min_notional=Decimal("600.0"))
    assert out.refusals[MIN_NOTIONAL] == 1  # the same size, a tick lower


def test_spot_sells_what_it_holds_and_no_more():
    cfg = config(strategy={"opening_base": "0.003 base"})
    script = [place(0, 1, -1, A, 4), place(20, 2, -1, A, 3), cancel(30, 2, -1), place(60, 3, -1, A, 1)]
    out = one([(40, BUY, A + 1, 9), (100, BUY, A + 1, 9)], script, cfg, "spot", min_notional=Decimal(0))
    assert out.refusals[NO_BASE] == 2  # one lot too many, and one when nothing is left
    assert out.account.cash_units == 3 * A - 3 * 600_001  # bought at the first mid
    assert out.fills == [(40, 2, -1, A, 3)]
    assert out.account.pos_lots == 0


def test_a_larger_order_is_filled_later_and_less():
    """The same trades, 2 lots against 40: the trades' sizes decide."""
    rows = [(50 + k, SELL, B, 4) for k in range(10)]
    small, large = play(rows, [[place(0, 1, 1, B, 2)], [place(0, 1, 1, B, 40)]], [config(), config()], instrument())
    assert sum(f[4] for f in small.fills) == 2
    assert sum(f[4] for f in large.fills) == 35  # 40 traded, 5 were ahead
    mean_ms = [sum(f[0] * f[4] for f in o.fills) / sum(f[4] for f in o.fills) for o in (small, large)]
    assert mean_ms[0] < mean_ms[1]


def test_a_round_trip_to_the_cent():
    cfg = config({"maker_fee": "-1 bps"})
    script = [place(0, 1, 1, B, 10), place(60, 2, -1, A, 10)]
    a = one([(50, SELL, B - 1, 1), (90, BUY, A + 1, 1)], script, cfg).account
    assert (a.pos_lots, a.cash_units) == (0, 10 * (A - B))
    assert a.fee_units_e8 == -10 * (A + B) * 10_000  # a rebate of 1 bp on both


def test_funding_falls_on_what_is_held_at_its_time():
    rows = [(50, SELL, B - 1, 1), (60, FUNDING, B, 100_000), (90, BUY, A + 1, 1), (100, FUNDING, B, 100_000)]
    script = [place(0, 1, 1, B, 10), place(65, 2, -1, A, 10)]
    out = one(rows, script)
    assert [t.ms for t in out.told if t.kind == "funded"] == [70.0]
    assert out.account.funding == pytest.approx(perps.funding_linear(0.01, 60_000.0, 1e-4), rel=1e-12)


@pytest.mark.parametrize("side", [1, -1])
def test_liquidation_to_the_cent(side):
    """10 lots at ten times leverage: margin 60 usd, maintenance 0.5 % of the value at the mark."""
    cfg = config({"maker_fee": 0}, {"leverage": 10, "max_leverage": 10})
    entry = B if side > 0 else A
    liq = perps.liquidation_linear(side, 0.01, entry * 0.1, 10, 0.005)
    near = math.floor(liq.liq_price * 10)
    if side > 0:  # the bids leave, then the asks come down: the mid stops above the price, and then below it
        safe, due, low = near + 1, near, 540_000
        rows = [(50, SELL, B - 1, 1), (60, BID, low, 3), (60, BID, B, 0), (60, BID, B - 1, 0)]
        rows += [(70, ASK, 2 * safe - low, 1), (80, ASK, 2 * due - low, 1)]
        bankrupt = 540_000
    else:
        safe, due, high = near, near + 1, 661_000
        rows = [(50, BUY, A + 1, 1), (60, ASK, high, 3), (60, ASK, A, 0), (60, ASK, A + 1, 0)]
        rows += [(70, BID, 2 * safe - high, 1), (80, BID, 2 * due - high, 1)]
        bankrupt = 660_002  # 660 002.2, on the grid towards the entry
    own = place(30, 2, -side, 605_000 if side > 0 else 599_000, 5)
    out = one(rows, [place(0, 1, side, entry, 10), own, place(100, 3, side, entry, 1)], cfg)
    assert out.settings.liquidated_ns > 0
    assert out.fills[-1] == (80, 0, -side, bankrupt, 10)
    assert out.settings.liquidation_loss_usd == pytest.approx(liq.initial_margin, abs=0.011)
    assert out.settings.liquidation_loss_usd <= liq.initial_margin + 1e-9
    assert [t.kind for t in out.told] == ["ack", "ack", "fill", "canceled", "liquidated", "reject"]
    assert out.account.pos_lots == 0


def test_a_gap_beyond_bankruptcy_is_not_our_loss():
    cfg = config({"maker_fee": 0}, {"leverage": 10, "max_leverage": 10, "margin": {"close_at": "mark"}})
    rows = [(50, SELL, B - 1, 1), (60, BID, 300_000, 1), (60, BID, B, 0), (60, BID, B - 1, 0), (60, ASK, 300_010, 1)]
    out = one(rows, [place(0, 1, 1, B, 10)], cfg)
    assert out.fills[-1] == (60, 0, -1, 540_000, 10)
    assert out.settings.liquidation_loss_usd == pytest.approx(60.0)
    assert out.account.fee_units_e8 == 0  # nothing is left for a fee
