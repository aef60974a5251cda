"""The rate limit: no window ever sees more than its messages, cancels go first, nothing is lost."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm.config.schema import RateLimit
from mm.core.types import CANCEL, CANCELING, COMMAND, FREE, LIVE, ORDER, ORDER_SLOTS, PLACE, SENT, records
from mm.strategy.rate import RATE, fill_rate, hold_back

S = 1_000_000_000


def budget(**limit):
    rate = records(1, RATE)
    fill_rate(rate[0], RateLimit.model_validate(limit))
    return rate[0]


def commands(*ops):
    """A decision's commands and the order table that goes with them."""
    cmds, orders = records(8, COMMAND), records(ORDER_SLOTS, ORDER)
    for k, op in enumerate(ops):
        cmds[k].op, cmds[k].id = op, k + 1
        orders[k].id, orders[k].state = k + 1, CANCELING if op == CANCEL else SENT
    return cmds, orders


@settings(max_examples=200, deadline=None)
@given(
    orders=st.integers(1, 12),
    burst=st.integers(1, 12),
    window_ms=st.integers(1, 5000),
    waits=st.lists(st.tuples(st.integers(0, 10**10), st.integers(1, 8)), min_size=1, max_size=60),
)
def test_no_window_sees_more(orders, burst, window_ms, waits):
    rate = budget(orders=orders, burst=min(burst, orders), window=f"{window_ms}ms")
    now, sent = 1_704_067_200 * S, []
    for wait_ns, n in waits:
        now += wait_ns
        cmds, table = commands(*[PLACE] * n)
        sent += [now] * hold_back(rate, table, cmds, n, now)
    window_ns = window_ms * 1_000_000
    for k, start in enumerate(sent):
        assert sum(t < start + window_ns for t in sent[k:]) <= orders
    assert rate.held + len(sent) == sum(n for _, n in waits)


def test_the_budget_comes_back():
    rate = budget(orders=5, burst=2, window="1s")
    counts = []
    for now in (10 * S, 10 * S, 10 * S + S // 4, 10 * S + S // 4 + 1, 20 * S):
        cmds, table = commands(PLACE, PLACE, PLACE)
        counts.append(hold_back(rate, table, cmds, 3, now))
    assert counts == [2, 0, 1, 0, 2]  # two at once, then one a quarter second


def test_cancels_first_and_a_waiting_cancel_stays_wanted():
    rate = budget(orders=1, window="1s")
    cmds, table = commands(CANCEL, CANCEL, PLACE)
    assert hold_back(rate, table, cmds, 3, S) == 1
    assert (cmds[0].op, cmds[0].id) == (CANCEL, 1)
    assert [int(o.state) for o in table[:3]] == [CANCELING, LIVE, FREE]
    assert rate.held == 2


@pytest.mark.parametrize("cancels", [True, False])
def test_cancels_may_be_free(cancels):
    rate = budget(orders=1, window="1s", cancels=cancels)
    cmds, table = commands(CANCEL, CANCEL, PLACE)
    kept = hold_back(rate, table, cmds, 3, S)
    assert kept == (1 if cancels else 3)
    assert [int(c.op) for c in cmds[:kept]] == ([CANCEL] if cancels else [CANCEL, CANCEL, PLACE])


def test_without_a_limit_everything_goes():
    rate = records(1, RATE)[0]
    fill_rate(rate, None)
    cmds, table = commands(*[PLACE] * 8)
    assert hold_back(rate, table, cmds, 8, S) == 8
    assert rate.held == 0


def test_a_burst_above_the_limit_is_refused():
    with pytest.raises(ValueError, match="burst 4 is above orders 3"):
        RateLimit.model_validate({"orders": 3, "burst": 4})


def test_the_live_quoter_keeps_the_same_budget():
    from mm.config.schema import RunConfig
    from mm.data.synth import SynthFlow, SynthSpec
    from mm.strategy.quoter import Quoter

    def placed(limit):
        cfg = RunConfig.model_validate({"strategy": {"order_size": "200 usd"}, "risk": {"rate_limit": limit}})
        spec = SynthSpec()
        quoter = Quoter(cfg, [spec.instrument], own_in_feed=False)
        events = SynthFlow(spec, 1).next_chunk(2_000_000_000)
        quoter.on_events(events)
        return len(quoter.decide(int(events["ts_recv_ns"][-1])))

    assert placed(None) == 2
    assert placed({"orders": 1, "window": "10s", "burst": 1}) == 1
