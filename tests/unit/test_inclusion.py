"""Bids against a grid, Wright's omega against scipy, the fit against its own score."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from mm.sim import inclusion as inc
from mm.sim import inclusion_fit


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


def test_nothing_is_burnt_where_inclusion_is_nearly_certain():
    best = inc.all_pay_bid(100.0, 6.0, 1.0)
    assert (best.bid, best.probability) == (0.0, inc.probability(0.0, 6.0, 1.0))


def test_fit_recovers_and_its_score_is_zero():
    rng = np.random.default_rng(3)
    bid = rng.gamma(2.0, 1e-6, 4000)
    included = rng.random(4000) < special.expit(-2.0 + 1.2e6 * bid)
    fit = inclusion_fit.fit_logistic(bid, included)
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
        inclusion_fit.fit_logistic(bid, included)


@given(st.integers(0, 2**32 - 1))
def test_arrays_equal_one_at_a_time(seed):
    rng = np.random.default_rng(seed)
    V, beta0, beta1 = rng.uniform(-1, 100, (4, 5)), rng.uniform(-6, 3, 5), 10.0 ** rng.uniform(-2, 1)
    cost, b_max = rng.uniform(0, 5, (4, 1)), rng.choice([1.0, 30.0, np.inf])
    many, burnt = inc.optimal_bids(V, beta0, beta1, cost, b_max), inc.all_pay_bids(np.abs(V), beta0, beta1)
    for at in np.ndindex(V.shape):
        one = inc.optimal_bid(V[at], beta0[at[1]], beta1, cost[at[0], 0], b_max)
        if one is None:
            assert np.isnan(many.bid[at])
            assert many.value[at] == 0.0
        else:
            assert (many.bid[at], many.probability[at], many.value[at]) == one[:3]
        assert (burnt.bid[at], burnt.probability[at], burnt.value[at]) == inc.all_pay_bid(
            abs(V[at]), beta0[at[1]], beta1
        )[:3]
    p = rng.uniform(0.01, 0.99, 5)
    want = [inc.target_bid(a, b, beta1) for a, b in zip(p, beta0, strict=True)]
    np.testing.assert_allclose(inc.target_bids(p, beta0, beta1), want, rtol=1e-14, atol=1e-14)


def test_arrays_that_make_no_sense():
    for call in (lambda: inc.optimal_bids([1.0], 0.0, [0.0]), lambda: inc.all_pay_bids(1.0, 0.0, -1.0)):
        with pytest.raises(ValueError, match="beta1"):
            call()
    with pytest.raises(ValueError, match="beta1"):
        inc.target_bids([0.5, 1.0], 0.0, 1.0)


def test_a_bid_burnt_for_certainty_stays_finite():
    best = inc.all_pay_bid(1e20, 0.0, 1.0)
    assert best.bid == pytest.approx(math.log(1e20))
    assert best.probability == 1.0


@given(st.lists(st.floats(0, 10) | st.sampled_from([1.0, 2.0]), min_size=1, max_size=40), st.integers(1, 12),
       st.floats(0, 100), st.floats(0, 10))  # fmt: skip
def test_a_window_is_its_latest_bids(bids, capacity, percentile, bid):
    window = inc.BidWindow(capacity, bids)
    latest = bids[-capacity:]
    assert len(window) == len(latest)
    assert window.bid(percentile) == pytest.approx(inc.percentile_bid(latest, percentile), rel=1e-12, abs=1e-300)
    assert window.probability(bid) == np.mean(np.array(latest) <= bid)


def test_a_window_refuses():
    with pytest.raises(ValueError, match="at least one"):
        inc.BidWindow(0)
    empty = inc.BidWindow(3)
    for call in (lambda: empty.bid(50), lambda: inc.BidWindow(3, [1.0]).bid(101), lambda: empty.probability(1.0)):
        with pytest.raises(ValueError, match="winning bids"):
            call()
    with pytest.raises(ValueError, match="number"):
        empty.add(math.nan)


def test_draws_are_seeded_and_as_likely_as_said():
    p = np.linspace(0, 1, 11).repeat(2000).reshape(11, 2000)
    p[3, :] = np.nan
    draws = inc.draw_included(p, np.random.default_rng(4))
    assert draws.shape == p.shape
    assert np.array_equal(draws, inc.draw_included(p, np.random.default_rng(4)))
    assert not draws[3].any()
    share = draws.mean(axis=1)
    known = np.arange(11) != 3
    assert share[0] == 0.0
    assert share[10] == 1.0
    assert np.all(np.abs(share - np.linspace(0, 1, 11))[known] < 4 * np.sqrt(0.25 / 2000))
    with pytest.raises(ValueError, match="between 0 and 1"):
        inc.draw_included([1.1], np.random.default_rng(4))


def test_calibration_tells_a_good_forecast_from_a_bad_one():
    rng = np.random.default_rng(8)
    bid = rng.gamma(2.0, 2.0, 20_000)
    truth = special.expit(-2.0 + 0.6 * bid)
    included = inc.draw_included(truth, rng)
    fit = inclusion_fit.fit_logistic(bid[:10_000], included[:10_000])
    unseen, outcome = bid[10_000:], included[10_000:]
    p = special.expit(fit.beta0 + fit.beta1 * unseen)
    good = inclusion_fit.calibration(p, outcome)
    assert good.brier == pytest.approx(np.mean((p - outcome) ** 2))
    assert good.log_loss == pytest.approx(-np.mean(np.log(np.where(outcome, p, 1 - p))))
    assert good.worst_z < 3.5
    assert good.skill > 0.1
    assert sum(b.n for b in good.bins) == 10_000
    assert sum(b.low <= b.predicted <= b.high for b in good.bins) >= 8
    assert all(0.0 <= b.low <= b.observed <= b.high <= 1.0 for b in good.bins)
    bad = inclusion_fit.calibration(np.sqrt(p), outcome)
    assert bad.worst_z > 10
    assert bad.brier > good.brier
    assert bad.reliability > 20 * good.reliability
    assert bad.resolution == pytest.approx(good.resolution)  # the order is the same, only the level is wrong


def test_brier_is_reliability_less_resolution_and_uncertainty():
    p, y = np.repeat([0.1, 0.4, 0.9], 10), np.array([1] + [0] * 9 + [1] * 5 + [0] * 5 + [1] * 8 + [0] * 2)
    report = inclusion_fit.calibration(p, y, bins=3)
    assert [b.observed for b in report.bins] == [0.1, 0.5, 0.8]
    assert report.brier == pytest.approx(report.reliability - report.resolution + report.brier_base)
    assert report.reliability == pytest.approx((0.0 + 0.01 + 0.01) / 3)
    assert inclusion_fit.calibration([0.0, 1.0], [0, 1], bins=2).worst_z == 0.0
    assert inclusion_fit.calibration([0.0, 1.0], [1, 0], bins=2).worst_z == math.inf


@pytest.mark.parametrize(("p", "y", "bins"), [([0.5], [1], 2), ([0.5, 0.5], [1], 1), ([0.5, 1.5], [0, 1], 1),
                                              ([0.5, 0.5], [1, 1], 1), ([0.5, 0.5], [0, 1], 0)])  # fmt: skip
def test_no_calibration_of_nonsense(p, y, bins):
    with pytest.raises(ValueError):
        inclusion_fit.calibration(p, y, bins)
