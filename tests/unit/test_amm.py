"""Pools against fractions, bisection and invariants that hold for every pool."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize

from mm.sim import amm, amm_v3

RESERVE = st.integers(10**3, 10**24)
FEE = st.integers(0, 100)


@given(RESERVE, RESERVE, st.integers(0, 10**24), FEE)
def test_the_product_never_falls(x, y, amount, fee):
    for swap in (amm.swap_v2(x, y, amount, fee), amm.swap_aero_volatile(x, y, amount, fee)):
        assert swap.reserve_in * swap.reserve_out >= x * y
        assert 0 <= swap.amount_out < y
        assert swap.reserve_in + swap.fee == x + amount
    assert amm.swap_aero_volatile(x, y, amount, 0).amount_out == amm.swap_v2(x, y, amount, 0).amount_out


@given(RESERVE, RESERVE, st.integers(1, 10**24), FEE)
def test_the_price_of_an_amount_buys_it_and_no_less_does(x, y, amount, fee):
    out = amm.swap_v2(x, y, amount, fee).amount_out
    need = amm.amount_in_v2(x, y, out, fee)
    if out:
        assert need <= amount + 1
        assert amm.swap_v2(x, y, need, fee).amount_out >= out
        if need > 2:
            assert amm.swap_v2(x, y, need - 2, fee).amount_out < out
    else:
        assert need == 0


def test_refusals():
    with pytest.raises(ValueError, match="holds"):
        amm.amount_in_v2(10, 10, 10, 30)
    for bad in ((0, 1, 1, 30), (1, 0, 1, 30), (1, 1, -1, 30), (1, 1, 1, 10_000)):
        with pytest.raises(ValueError, match="no swap"):
            amm.swap_v2(*bad)
    with pytest.raises(ValueError, match="too small"):
        amm.mint(0, 0, 0, 30, 30)
    with pytest.raises(ValueError, match="burn"):
        amm.burn(5, 5, 5, 6)
    with pytest.raises(ValueError, match="ratio"):
        amm.impermanent_loss(0.0)
    with pytest.raises(ValueError, match="no pool"):
        amm.arbitrage(1.0, 0.0, 0.003, 1.0)
    with pytest.raises(ValueError, match="no position"):
        amm_v3.position_amounts(1.0, 2.0, 2.0, 1.0)
    with pytest.raises(ValueError, match="no step"):
        amm_v3.swap_step(1, 2, 0, 1, 0)


@given(st.integers(2 * 10**3, 10**20), st.integers(2 * 10**3, 10**20), st.integers(1, 10**20), st.integers(1, 10**20))
def test_nobody_gains_by_minting_and_burning(r0, r1, a0, a1):
    try:
        first, supply = amm.mint(0, 0, 0, r0, r1)
        more, after = amm.mint(r0, r1, supply, a0, a1)
    except ValueError:
        return
    back0, back1 = amm.burn(r0 + a0, r1 + a1, after, more)
    assert back0 <= a0
    assert back1 <= a1
    assert first + amm.MIN_LIQUIDITY == supply


@given(st.fractions(Fraction(1, 1000), 1000))
def test_impermanent_loss_is_never_a_gain(r):
    squared = r * r
    exact = amm.impermanent_loss_exact(squared)
    assert exact is not None
    assert exact <= 0
    assert amm.impermanent_loss(float(squared)) == pytest.approx(float(exact), rel=1e-9, abs=1e-15)
    assert amm.impermanent_loss_exact(Fraction(2)) is None


@given(st.floats(1, 1e6), st.floats(0.1, 10), st.floats(0, 0.02), st.floats(0.2, 5))
def test_no_trade_beats_the_arbitrage(x, spot, fee, ratio):
    y, price = x * spot, spot * ratio
    best = amm.arbitrage(x, y, fee, price)

    def profit(direction, amount):
        net = amount * (1 - fee)
        if direction == "sell_x":
            return net * y / (x + net) - amount * price
        return net * x / (y + net) * price - amount

    for direction, unit in (("sell_x", x), ("buy_x", y)):
        for share in (1e-4, 0.01, 0.1, 0.5, 2.0):
            assert profit(direction, share * unit) <= best.profit_y + 1e-9 * y
    assert best.profit_y >= 0.0


@given(st.integers(10**6, 10**12), st.integers(10**6, 10**12), st.floats(1e-6, 0.5), st.booleans())
def test_stable_curve_by_bisection(r0, r1, share, way):
    pool = amm.StablePool(r0 * 10**12, r1, 10**18, 10**6, 5)
    x, y = pool._tokens(way)
    amount = int((pool.reserve0 if way else pool.reserve1) * share)
    if amount == 0 or not 0.02 < x / y < 50:
        return
    d_in, d_out = (10**18, 10**6) if way else (10**6, 10**18)
    x1 = x + amount / d_in * 0.9995
    k = x**3 * y + x * y**3
    want = y - optimize.brentq(lambda v: x1**3 * v + x1 * v**3 - k, 0.0, y, xtol=1e-15, rtol=1e-14)
    real = pool.amount_out_real(amount, way)
    assert real == pytest.approx(want, rel=1e-6, abs=1e-11 * y)
    _, out = pool.amount_out(amount, way)
    if pool.decimals0 == 10**18:
        assert out / d_out == pytest.approx(real, rel=1e-6, abs=max(4e-6, 1e-9 * y))  # units of 1e-6: rounded thrice


PRICE = st.integers(1 << 80, 1 << 110)


@given(PRICE, PRICE, st.integers(10**9, 10**25), st.integers(-(10**24), 10**24), st.integers(0, 10_000))
def test_a_step_of_v3(price, target, liquidity, remaining, fee):
    try:
        step = amm_v3.swap_step(price, target, liquidity, remaining, fee)
    except ValueError:
        with pytest.raises(ValueError, match="not enough"):
            amm_v3.swap_step(price, target, liquidity, remaining, fee)
        return
    low, high = sorted((price, target))
    assert low <= step.sqrt_next_x96 <= high
    assert min(step.amount_in, step.amount_out, step.fee_amount) >= 0
    if remaining >= 0:
        assert step.amount_in + step.fee_amount <= remaining or step.sqrt_next_x96 == target
        assert step.sqrt_next_x96 == target or step.amount_in + step.fee_amount == remaining
    else:
        assert step.amount_out <= -remaining
    # never better than the curve: exact amounts between the two prices
    moved = Fraction(abs(step.sqrt_next_x96 - price))
    amount1 = liquidity * moved / amm_v3.Q96
    amount0 = liquidity * amm_v3.Q96 * moved / (Fraction(step.sqrt_next_x96) * price)
    paid, got = (amount0, amount1) if price >= target else (amount1, amount0)
    assert step.amount_in >= paid
    assert step.amount_out <= got


def test_position_is_all_of_one_token_outside_its_range():
    assert amm_v3.position_amounts(0.5, 1.0, 4.0, 10.0) == (5.0, 0.0)
    assert amm_v3.position_amounts(9.0, 1.0, 4.0, 10.0) == (0.0, 10.0)
    values = [np.dot(amm_v3.position_amounts(p, 1.0, 4.0, 10.0), (p, 1.0)) for p in np.linspace(0.5, 5, 40)]
    assert np.all(np.diff(values) >= 0)
