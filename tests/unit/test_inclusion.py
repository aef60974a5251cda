"""Bids against a grid, Wright's omega against scipy, the fit against its own score."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from mm.sim import inclusion as inc


@given(st.floats(-700, 1e6))
def test_omega(z):
    assert inc.omega(z) == pytest.approx(float(special.wrightomega(z).real), rel=1e-12, abs=1e-300)


PARAMETERS = st.tuples(st.floats(0.1, 1e4), st.floats(-8, 3), st.floats(1e-3, 5), st.floats(0, 10))


@given(PARAMETERS, st.none() | st.floats(0, 100))
def test_no_bid_is_better(parameters, b_max):
    V, beta0, beta1, cost = parameters
    best = inc.optimal_bid(V, beta0, beta1, cost, b_max)
    top = V + cost if b_max is None else b_max
    grid = np.linspace(0.0, top, 2001)
    p = special.expit(beta0 + beta1 * grid)
    values = (V - grid) * p - cost * (1 - p)
    if best is None:
        assert values.max() <= 1e-9 * (V + cost)
        return
    assert 0.0 <= best.bid <= top
    assert best.value >= values.max() - 1e-9 * (V + cost)
    assert best.value == pytest.approx((V - best.bid) * best.probability - cost * (1 - best.probability), rel=1e-9,
                                       abs=1e-9 * (V + cost))  # fmt: skip


def test_nothing_worth_having():
    assert inc.optimal_bid(0.0, -1.0, 1.0) is None
    assert inc.optimal_bid(1.0, -9.0, 0.1, cost_if_not_included=50.0) is None
    with pytest.raises(ValueError, match="beta1"):
        inc.optimal_bid(1.0, 0.0, 0.0)
    with pytest.raises(ValueError, match="percentile"):
        inc.percentile_bid([], 50)
    with pytest.raises(ValueError, match="probability"):
        inc.target_bid(1.0, 0.0, 1.0)
    assert inc.probability(-1e9, 0.0, 1.0) == 0.0
    assert inc.probability(1e9, 0.0, 1.0) == 1.0


@given(st.floats(0.1, 1e3), st.floats(-6, 3), st.floats(1e-2, 3))
def test_no_burnt_bid_is_better(V, beta0, beta1):
    best = inc.all_pay_bid(V, beta0, beta1)
    grid = np.linspace(0.0, V, 4001)
    assert best.value >= (V * special.expit(beta0 + beta1 * grid) - grid).max() - 1e-9 * V
    assert inc.probability(inc.target_bid(0.9, beta0, beta1), beta0, beta1) >= 0.9 - 1e-12


def test_fit_recovers_and_its_score_is_zero():
    rng = np.random.default_rng(3)
    bid = rng.gamma(2.0, 1e-6, 4000)
    included = rng.random(4000) < special.expit(-2.0 + 1.2e6 * bid)
    fit = inc.fit_logistic(bid, included)
    assert abs(fit.beta0 + 2.0) < 4 * fit.se0
    assert abs(fit.beta1 - 1.2e6) < 4 * fit.se1
    residual = included - special.expit(fit.beta0 + fit.beta1 * bid)
    assert abs(residual.sum()) < 1e-6
    assert abs((residual * bid).sum()) < 1e-11
    p = special.expit(fit.beta0 + fit.beta1 * bid)
    assert fit.loglik == pytest.approx(np.sum(np.log(np.where(included, p, 1 - p))))
    assert math.isfinite(fit.se1)


@pytest.mark.parametrize(("bid", "included"), [([1.0, 2.0], [1, 1]), ([1, 2, 3, 4], [0, 0, 1, 1]), ([], [])])
def test_fit_without_a_maximum(bid, included):
    with pytest.raises(ValueError):
        inc.fit_logistic(bid, included)
