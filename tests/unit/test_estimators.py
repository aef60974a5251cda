"""Estimators recover what generated the data, and say so when data do not say."""

import math

import numpy as np
import pytest

from mm.models import intensity as it
from mm.models import volatility as vol

A, K, T = 2.0, 0.4, 4000.0
RNG = np.random.default_rng(7)
N = RNG.poisson(A * T)
TIMES, DEPTHS = np.sort(RNG.uniform(0, T, N)), RNG.exponential(1 / K, N)
GRID = np.arange(0.0, 6.0, 0.5)


def test_intensity_is_recovered():
    m = it.mle(DEPTHS, T)
    assert abs(m.A - A) < 4 * m.se_A
    assert abs(m.k - K) < 4 * m.se_k
    fits = [
        it.loglinear(DEPTHS, T, GRID, weighted=False)[0],
        it.loglinear(DEPTHS, T, GRID, weighted=True)[0],
        it.mle_from(DEPTHS, T, 1.0)[0],
        it.mle_grouped(DEPTHS, T, 0.5),
        it.waiting_time(TIMES, DEPTHS, T, GRID, 1.0)[:2],
        it.interval_max(TIMES, DEPTHS, T, GRID, 1.0)[:2],
    ]
    for fit in fits:
        assert fit[0] == pytest.approx(A, rel=0.12)
        assert fit[1] == pytest.approx(K, rel=0.08)
    naive = it.interval_max(TIMES, DEPTHS, T, GRID, 1.0).naive
    assert naive[0] < 0.6 * A, "the uncorrected rate saturates at one per interval"


def test_order_of_trades_does_not_matter():
    back = slice(None, None, -1)
    one, two = it.waiting_time(TIMES, DEPTHS, T, GRID, 1.0), it.waiting_time(TIMES[back], DEPTHS[back], T, GRID, 1.0)
    assert np.array_equal(one.fills, two.fills)
    assert one.exposure == pytest.approx(two.exposure)


def test_nothing_known_is_nan():
    assert it.mle([], T).A == 0.0
    assert math.isnan(it.mle([], T).k)
    assert math.isnan(it.mle_from([0.1], T, 1.0)[0].k)
    assert math.isnan(it.mle_grouped([0.1], T, 1.0).k)
    assert math.isnan(it.loglinear([0.1], T, [0.0], weighted=True)[0].k)
    assert math.isnan(it.waiting_time([], [], T, GRID, 1.0).k)
    assert it.kappa_from_density(6.0, 3.0) > it.kappa_from_density(3.0, 3.0), "a deeper book, a larger k"


def bars(n=2000, steps=400, sigma=0.001, drift=0.0, seed=3):
    path = np.cumsum(np.random.default_rng(seed).normal(drift / steps, sigma / math.sqrt(steps), (n, steps)).ravel())
    path = 100 * np.exp(path).reshape(n, steps)
    open_ = np.concatenate([[100.0], path[:-1, -1]])
    whole = np.column_stack([open_, path])
    return vol.as_bars(open_, whole.max(axis=1), whole.min(axis=1), path[:, -1])


def test_volatility_is_recovered():
    b = bars()
    for estimate in (vol.realised(b.close), vol.realised_zero_mean(b.close)):
        assert estimate == pytest.approx(0.001, rel=0.05)
    assert vol.ewma(b.close, 0.99) == pytest.approx(0.001, rel=0.2)
    for estimate in (vol.parkinson(b), vol.garman_klass(b), vol.rogers_satchell(b), vol.yang_zhang(b)):
        assert 0.88e-3 < estimate < 1.02e-3, "ranges of sampled paths are a little low"
    rate = vol.price_per_sqrt_s(b.close, 60.0)
    assert rate == pytest.approx(np.mean(b.close) * 0.001 / math.sqrt(60), rel=0.05)


def test_drift_fools_parkinson_not_rogers_satchell():
    b = bars(drift=0.002)
    assert vol.parkinson(b) > 1.3e-3
    assert vol.rogers_satchell(b) == pytest.approx(0.001, rel=0.1)


def test_bars_are_checked():
    with pytest.raises(ValueError, match="three bars"):
        vol.as_bars([1, 1], [1, 1], [1, 1], [1, 1])
    with pytest.raises(ValueError, match="positive"):
        vol.as_bars([1, 1, 1], [1, 1, 1], [0, 1, 1], [1, 1, 1])
