"""Statistics against brute force, quadrature and known coverage."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate
from scipy import stats as sp

from mm.core import stats

CURVES = st.lists(st.integers(1, 40), min_size=1, max_size=25)


@given(CURVES)
def test_drawdown_is_that_of_all_pairs(curve):
    e = [float(v) for v in curve]
    got = stats.drawdown(e)
    pairs = [(1.0 - e[j] / e[i], j, i) for j in range(len(e)) for i in range(j + 1)]
    worst = max(p[0] for p in pairs)
    assert got.max_dd == worst
    assert got.trough == min(j for d, j, _ in pairs if d == worst)
    assert e[got.peak] == max(e[: got.trough + 1])
    assert got.peak == e.index(e[got.peak])
    assert got.abs_dd == e[got.peak] - e[got.trough]
    assert got.duration == got.trough - got.peak >= 0
    later = [j for j in range(got.trough, len(e)) if e[j] >= e[got.peak]]
    assert got.recovery == (later[0] if later else None)
    longest = run = 0
    for j, v in enumerate(e):
        run = run + 1 if v < max(e[: j + 1]) else 0
        longest = max(longest, run)
    assert got.longest_underwater == longest
    assert got.pnl_max_dd_abs == max(e[i] - e[j] for _, j, i in pairs)


def test_a_first_loss_counts_and_nonsense_is_refused():
    assert stats.drawdown([100.0, 80.0]).max_dd == pytest.approx(0.2)
    for bad in ([], [0.0, 1.0], [-5.0], [[1.0]]):
        with pytest.raises(ValueError, match="equity"):
            stats.drawdown(bad)


def test_sharpe_needs_variation():
    assert stats.sharpe([1.0]) is None
    assert stats.sharpe([0.1] * 7) is None  # numpy's standard deviation of this is not zero
    assert stats.sharpe([1.0, 3.0]) == pytest.approx(2.0 / math.sqrt(2.0))


def test_lo_factor():
    assert stats.lo_factor(365) == pytest.approx(math.sqrt(365))
    assert stats.lo_factor(3, [0.5, 0.25, 0.9]) == pytest.approx(3 / math.sqrt(3 + 2 * (2 * 0.5 + 1 * 0.25)))
    assert stats.lo_factor(2, [-1.0]) is None  # perfect reversal: no variance left
    x = np.random.default_rng(4).normal(size=20_000)
    assert stats.autocorrelations(x[1:] + x[:-1], 2) == pytest.approx([0.5, 0.0], abs=0.03)
    assert list(stats.autocorrelations([1.0, 1.0], 3)) == [0, 0, 0]


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.1])
def test_tails_by_quadrature(alpha):
    r = np.random.default_rng(8).standard_t(9, 400) * 0.01 + 0.001
    t = stats.tail_risk(r, alpha)
    assert (t.skew, t.excess_kurt) == pytest.approx((sp.skew(r), sp.kurtosis(r)))
    z = sp.norm.ppf(alpha)
    tail_mean = sp.norm.expect(lambda x: x, loc=t.mean, scale=t.std, ub=t.mean + z * t.std) / alpha
    assert t.gauss_cvar == pytest.approx(-tail_mean)

    def cf(u):
        return t.mean + t.std * stats.cornish_fisher_z(float(sp.norm.ppf(u)), t.skew, t.excess_kurt)

    assert t.cvar_cf_integrated == pytest.approx(-integrate.quad(cf, 0, alpha, limit=200)[0] / alpha, rel=1e-6)

    def edgeworth(x):
        s, k = t.skew, t.excess_kurt
        more = s / 6 * (x**3 - 3 * x) + k / 24 * (x**4 - 6 * x**2 + 3)
        return x * sp.norm.pdf(x) * (1 + more + s * s / 72 * (x**6 - 15 * x**4 + 45 * x**2 - 15))

    tail = integrate.quad(edgeworth, -np.inf, t.z_cf)[0]
    assert t.es_modified == pytest.approx(-t.mean - t.std * tail / alpha, rel=1e-9)
    assert t.hist_var == pytest.approx(-np.quantile(r, alpha))
    assert t.hist_cvar >= t.hist_var


@given(st.floats(-1.5, 1.5), st.floats(-1, 9))
def test_the_domain_of_cornish_fisher(skew, kurt):
    z = np.linspace(-30, 30, 6001)
    rises = bool(np.all(np.diff(stats.cornish_fisher_z(z, skew, kurt)) >= 0))
    if stats.cornish_fisher_monotone(skew, kurt):
        assert rises
    else:  # it falls somewhere, perhaps between two points of the grid or far out
        a, b, c = kurt / 8 - skew**2 / 6, skew / 3, 1 - kurt / 8 + 5 * skew**2 / 36
        assert not rises or b * b - 4 * a * c < 1e-3 or abs(a) < 1e-3


def test_tails_without_variation_or_sense():
    flat = stats.tail_risk([0.5, 0.5], 0.05)
    assert (flat.hist_var, flat.gauss_var) == (-0.5, -0.5)
    assert math.isnan(flat.cf_var)
    assert not flat.cf_monotone
    for r, alpha in (([1.0], 0.05), ([1.0, 2.0], 0.0), ([1.0, 2.0], 1.0)):
        with pytest.raises(ValueError, match="tail risk"):
            stats.tail_risk(r, alpha)


@given(st.integers(1, 400), st.data())
def test_kupiec_is_a_likelihood_ratio(n, data):
    x = data.draw(st.integers(0, n))
    p = data.draw(st.floats(0.001, 0.999))
    lr, p_value = stats.kupiec_pof(n, x, p)
    assert lr == pytest.approx(max(2 * (sp.binom.logpmf(x, n, x / n) - sp.binom.logpmf(x, n, p)), 0), abs=1e-6)
    assert p_value == pytest.approx(sp.chi2.sf(lr, 1), abs=1e-12)


def test_kupiec_at_the_ends():
    assert stats.kupiec_pof(10, 0, 0.0) == (0.0, 1.0)
    assert stats.kupiec_pof(10, 10, 1.0) == (0.0, 1.0)
    assert stats.kupiec_pof(10, 3, 0.0) == (math.inf, 0.0)
    for n, x, p in ((0, 0, 0.1), (5, 6, 0.1), (5, -1, 0.1), (5, 1, 1.5)):
        with pytest.raises(ValueError, match="kupiec"):
            stats.kupiec_pof(n, x, p)


def test_block_sums_are_the_resampled_series():
    r = np.random.default_rng(1).normal(0.1, 1.0, 37)
    starts = stats.block_starts(37, 5, 200, np.random.default_rng(2))
    got = stats.Bootstrap(stats.mean_interval(r, 5, starts), stats.sharpe_interval(r, 5, starts))
    series = np.array([np.concatenate([r[s : s + 5] for s in row]) for row in starts])
    assert got.mean == pytest.approx(np.quantile(series.mean(axis=1), [0.025, 0.975]))
    assert got.sharpe == pytest.approx(np.quantile(series.mean(axis=1) / series.std(axis=1, ddof=1), [0.025, 0.975]))
    assert got == stats.block_bootstrap(r, np.random.default_rng(2), block=5, resamples=200)
    assert np.array_equal(stats.shared_starts(37, 5, 200, 2), starts)


def test_coverage_under_autocorrelation():
    """95 % intervals of an AR(1) mean: with blocks they cover it mostly, without (block 1) far too rarely."""
    rng = np.random.default_rng(6)
    hits = {1: 0, None: 0}
    for _ in range(200):
        x = np.zeros(600)
        for t in range(1, 600):
            x[t] = 0.6 * x[t - 1] + rng.normal()
        for block in hits:
            low, high = stats.block_bootstrap(x, rng, block=block, resamples=200).mean
            hits[block] += low <= 0.0 <= high
    assert hits[None] >= 170
    assert hits[1] <= 150


def test_bootstrap_refuses_what_says_nothing():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="four"):
        stats.block_bootstrap([1.0, 2.0, 3.0], rng)
    with pytest.raises(ValueError, match="block"):
        stats.block_bootstrap([1.0] * 9, rng, block=10)
    assert stats.block_bootstrap([0.0] * 9, rng).sharpe is None
    assert stats.block_bootstrap([2.0] * 9, rng) == ((2.0, 2.0), None)
