"""The gate and the loss limits against their definitions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm.core.types import BUY_SIDE, ORDER, ORDER_SLOTS, records
from mm.strategy import risk
from mm.strategy.risk import DAY_NS, HALT_DAILY_LOSS, HALT_DRAWDOWN, LIMITS, LOSS, NOT_HALTED, gate, mark_loss
from mm.strategy.state import PARAMS, STATE

NOON = 20_000 * DAY_NS + DAY_NS // 2


def limits(**kw):
    lim = records(1, LIMITS)
    values = {"max_pos_lots": 30, "max_notional_usd": 1e9, "max_daily_loss_usd": 50, "max_drawdown_usd": 100}
    for name, value in ({"valid_until_ns": 2**62} | values | kw).items():
        lim[name] = value
    return lim[0]


working = st.lists(st.tuples(st.sampled_from([-1, 1]), st.integers(1, 20), st.integers(0, 3)), max_size=ORDER_SLOTS)


@given(
    st.integers(-60, 60), working, st.sampled_from([-1, 1]), st.integers(0, 40), st.booleans(),
    st.sampled_from([1e9, 150.0]), st.sampled_from([0, 0, 0, 2]), st.booleans(),
)  # fmt: skip
def test_the_gate(pos, table, side, lots, spot, notional, halted, lease):
    lim, p, s = limits(max_notional_usd=notional), records(1, PARAMS)[0], records(1, STATE)[0]
    p.min_lots, p.spot, p.unit_value, s.pos_lots, s.halted = 2, spot, 0.1, pos, halted
    orders = records(ORDER_SLOTS, ORDER)
    for k, (o_side, o_lots, state) in enumerate(table):
        orders[k].side, orders[k].lots, orders[k].state = o_side, o_lots, state
    same = sum(n for o_side, n, state in table if o_side == side and state)
    worst = pos + side * (same + lots)
    now = 10 if lease else 2**62 + 1
    got = risk.GATE_REASONS[gate(lim, p, s, orders, side, 100, lots, now)]
    if halted:
        assert got == "halted"
    elif not lease:
        assert got == "risk_lease_expired"
    elif lots < 2:
        assert got == "below_min_lots"
    elif spot and side < 0 and worst < 0:
        assert got == "spot_cannot_short"
    elif worst * pos >= 0 and abs(worst) <= abs(pos):
        assert got == "pass"  # reducing, even when all of it fills: always allowed
    elif abs(worst) > 30:
        assert got == "max_position"
    else:
        assert got == ("max_notional" if abs(worst) * 100 * 0.1 > notional else "pass")


def test_two_reducing_orders_cannot_flip_the_position_together():
    lim, p, s = limits(max_pos_lots=5), records(1, PARAMS)[0], records(1, STATE)[0]
    s.pos_lots = 40  # far over the limit
    orders = records(ORDER_SLOTS, ORDER)
    assert gate(lim, p, s, orders, -1, 100, 40, 0) == risk.PASS
    orders[0].side, orders[0].lots, orders[0].state = -1, 40, 2
    assert gate(lim, p, s, orders, -1, 100, 5, 0) == risk.PASS  # to -5: inside the limit
    assert gate(lim, p, s, orders, -1, 100, 6, 0) == risk.OVER_POSITION
    assert gate(lim, p, s, orders, BUY_SIDE, 100, 1, 0) == risk.OVER_POSITION


def test_inverse_notional_does_not_depend_on_the_price():
    lim, p, s = limits(max_notional_usd=1000), records(1, PARAMS)[0], records(1, STATE)[0]
    p.inverse, p.unit_value = 1, 100.0
    orders = records(ORDER_SLOTS, ORDER)
    assert gate(lim, p, s, orders, 1, 10**6, 10, 0) == risk.PASS
    assert gate(lim, p, s, orders, 1, 10**6, 11, 0) == risk.OVER_NOTIONAL


def run(marks, **kw):
    loss, lim = records(1, LOSS)[0], limits(**kw)
    return [mark_loss(loss, lim, float(usd), ns) for usd, ns in marks], loss


def test_the_first_day_starts_at_the_starting_equity():
    codes, _ = run([(-49, NOON), (-51, NOON + 1)])
    assert codes == [NOT_HALTED, HALT_DAILY_LOSS]
    assert run([(-60, NOON)])[0] == [HALT_DAILY_LOSS]  # already the first mark


def test_a_new_day_forgives_yesterdays_loss():
    codes, loss = run([(-40, NOON), (-45, NOON + DAY_NS), (-89, NOON + DAY_NS), (-91, NOON + DAY_NS)])
    assert codes == [NOT_HALTED, NOT_HALTED, NOT_HALTED, HALT_DAILY_LOSS]
    assert loss.day_start_usd == -40


def test_a_jump_over_midnight_is_a_loss_of_the_new_day():
    codes, _ = run([(10, NOON), (-45, NOON + DAY_NS)])
    assert codes == [NOT_HALTED, HALT_DAILY_LOSS]
    assert run([(0, NOON), (-51, NOON + DAY_NS)])[0][-1] == HALT_DAILY_LOSS


def test_drawdown_is_measured_from_the_peak_and_the_peak_starts_at_zero():
    assert run([(-99, NOON), (-101, NOON)], max_daily_loss_usd=1e9)[0] == [NOT_HALTED, HALT_DRAWDOWN]
    codes, loss = run([(500, NOON), (401, NOON), (399, NOON), (450, NOON)], max_daily_loss_usd=1e9)
    assert codes == [NOT_HALTED, NOT_HALTED, HALT_DRAWDOWN, NOT_HALTED]
    assert loss.drawdown_usd == 101
    assert loss.peak_usd == 500


days = st.lists(st.tuples(st.integers(-300, 300), st.integers(0, DAY_NS)), max_size=30)


@given(days)
def test_losses_against_a_naive_diary(marks):
    now, seen = NOON, []
    loss, lim = records(1, LOSS)[0], limits()
    for usd, step in marks:
        now += step
        code = mark_loss(loss, lim, float(usd), now)
        before = [u for u, t in seen if t // DAY_NS < now // DAY_NS]
        start = before[-1] if before else 0
        seen.append((usd, now))
        peak = max(0, *(u for u, _ in seen))
        expected = HALT_DRAWDOWN if peak - usd > 100 else HALT_DAILY_LOSS if start - usd > 50 else NOT_HALTED
        assert code == expected


@pytest.mark.parametrize("name", ["GATE_REASONS", "HALT_REASONS"])
def test_every_code_has_a_name(name):
    names = getattr(risk, name)
    assert len(set(names)) == len(names)
