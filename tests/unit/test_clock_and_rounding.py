"""Time is passed in; quotes round away from the touch, exactly and in the kernel alike."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm.core.clock import Clock, ManualClock
from mm.strategy.rounding import round_quotes, round_quotes_exact


def test_a_manual_clock_moves_forward_only():
    clock: Clock = ManualClock(5)
    clock.advance(10)
    assert clock.now_ns() == 15
    with pytest.raises(ValueError, match="back"):
        clock.advance(-1)
    assert clock.now_ns() == 15


@given(
    bid=st.decimals("90", "110", places=3),
    width=st.decimals("-1", "5", places=3),
    best_bid=st.integers(900, 1090),
    touch=st.integers(1, 20),
    q=st.sampled_from([-1, 0, 2]),
)
def test_the_exact_rule_and_the_kernel_agree(bid, width, best_bid, touch, q):
    tick = Decimal("0.1")
    exact = round_quotes_exact(bid, bid + width, tick, best_bid * tick, (best_bid + touch) * tick, q)
    # a binary fraction off the grid is the same side of every tick as the decimal; on the grid both are exact
    ticks = [x / tick for x in (bid, bid + width)]
    got = round_quotes(float(ticks[0]), float(ticks[1]), best_bid, best_bid + touch, q)
    kernel = tuple(price * tick if has else None for price, has in zip(got[:2], got[2:], strict=True))
    assert kernel == exact
    if exact[0] is not None and exact[1] is not None:
        assert exact[0] < exact[1]
