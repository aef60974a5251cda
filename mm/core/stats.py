"""Statistics of equity curves and returns: drawdown, Sharpe, tail risk, the test of a VaR, bootstrap intervals.

Returns and equity are float arrays of shape (n,). A figure that is not defined is None (or nan inside a tuple of
floats), never a made-up zero. FORMULAS section 6; papers are cited at each function.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
DAYS_PER_YEAR = 365  # a market that never closes
SECONDS_PER_YEAR = DAYS_PER_YEAR * 86_400
_NORMAL = NormalDist()


class Drawdown(NamedTuple):
    """Largest relative fall of an equity curve, by index into the curve."""

    max_dd: float  # fraction of the peak
    peak: int  # first index of that running maximum
    trough: int  # first index at which the fall is largest
    abs_dd: float  # money, of the largest relative fall
    duration: int  # trough - peak
    recovery: int | None  # first index from the trough on that is back at the peak
    longest_underwater: int  # consecutive indices below the running maximum
    pnl_max_dd_abs: float  # largest fall in money


def drawdown(equity: ArrayLike) -> Drawdown:
    """Drawdown of a curve that *includes* the starting equity. ``ValueError`` without points or a positive start."""
    e = np.asarray(equity, float)
    if e.ndim != 1 or len(e) == 0 or not e[0] > 0.0:
        raise ValueError("drawdown needs an equity curve that starts with a positive equity")
    top = np.maximum.accumulate(e)
    fall = 1.0 - e / top
    trough = int(np.argmax(fall))
    peak = int(np.argmax(e == top[trough]))
    back = np.flatnonzero(e[trough:] >= top[trough])
    dry = np.flatnonzero(np.concatenate([[True], e >= top, [True]]))  # borders of the runs under water
    return Drawdown(
        max_dd=float(fall[trough]),
        peak=peak,
        trough=trough,
        abs_dd=float(top[trough] - e[trough]),
        duration=trough - peak,
        recovery=trough + int(back[0]) if len(back) else None,
        longest_underwater=int(np.max(np.diff(dry))) - 1,
        pnl_max_dd_abs=float(np.max(top - e)),
    )


# --- Sharpe ----------------------------------------------------------------------------------------------------------
def sharpe(returns: ArrayLike) -> float | None:
    """Mean over standard deviation (ddof 1) per period; None below two returns or without variation."""
    r = np.asarray(returns, float)
    if len(r) < 2:
        return None
    sd = float(np.std(r, ddof=1))
    # a constant series has a standard deviation of rounding errors
    return float(np.mean(r)) / sd if sd > 1e-14 * float(np.max(np.abs(r))) else None


def lo_factor(periods: float, rho: Sequence[float] = ()) -> float | None:
    """η(q) that annualises a Sharpe ratio of q periods under autocorrelations rho_1.. (the rest zero).

    Lo, "The statistics of Sharpe ratios", 2002, eq. (20). None when the implied variance is not positive.
    """
    q = float(periods)
    variance = q + 2.0 * sum((q - k) * r for k, r in enumerate(rho, 1) if k < q)
    return q / math.sqrt(variance) if variance > 0.0 else None


def autocorrelations(returns: ArrayLike, lags: int) -> Floats:
    """Sample autocorrelations rho_1..rho_lags; zeros without variation."""
    r = np.asarray(returns, float)
    d = r - r.mean() if len(r) else r
    total = float(d @ d)
    out = np.zeros(lags)
    for k in range(1, min(lags, len(d) - 1) + 1):
        out[k - 1] = float(d[k:] @ d[:-k]) / total if total > 0.0 else 0.0
    return out


# --- tails -----------------------------------------------------------------------------------------------------------
class TailRisk(NamedTuple):
    """Value at risk and expected shortfall of returns at one tail probability; losses are positive."""

    mean: float
    std: float
    skew: float
    excess_kurt: float
    hist_var: float
    hist_cvar: float
    gauss_var: float
    gauss_cvar: float
    z_cf: float
    cf_var: float
    cvar_cf_integrated: float
    es_modified: float
    cf_monotone: bool  # the Cornish-Fisher quantile function rises everywhere: its figures mean something


def historical_tail(returns: ArrayLike, alpha: float) -> tuple[float, float]:
    """(VaR, CVaR) of the sample itself: type-7 quantile, mean of what lies at or below it."""
    r = np.asarray(returns, float)
    q = float(np.quantile(r, alpha))
    return -q, -float(np.mean(r[r <= q]))


def cornish_fisher_z(z: float, skew: float, kurt: float) -> float:
    """Normal quantile ``z`` corrected for skewness and excess kurtosis (Favre & Galeano 2002)."""
    s2 = skew * skew
    return z + (z * z - 1.0) * skew / 6.0 + (z**3 - 3.0 * z) * kurt / 24.0 - (2.0 * z**3 - 5.0 * z) * s2 / 36.0


def cornish_fisher_monotone(skew: float, kurt: float) -> bool:
    """The corrected quantile never falls: its derivative, a quadratic in z, has no two roots (Maillard 2012)."""
    a = kurt / 8.0 - skew * skew / 6.0
    b = skew / 3.0
    c = 1.0 - kurt / 8.0 + 5.0 * skew * skew / 36.0
    return a >= 0.0 and b * b <= 4.0 * a * c if a != 0.0 else b == 0.0 and c >= 0.0


def tail_risk(returns: ArrayLike, alpha: float) -> TailRisk:
    """Historical, Gaussian and Cornish-Fisher VaR and CVaR at tail probability ``alpha``.

    ``es_modified`` is Boudt, Peterson & Croux 2008: the tail mean of the Edgeworth density, truncated at ``z_cf``.
    Raises ``ValueError`` below two returns or for ``alpha`` outside (0, 1).
    """
    r = np.asarray(returns, float)
    if len(r) < 2 or not 0.0 < alpha < 1.0:
        raise ValueError("tail risk needs two returns and 0 < alpha < 1")
    mu, sd = float(r.mean()), float(r.std(ddof=1))
    d = r - mu
    m2 = float(np.mean(d * d))
    s = float(np.mean(d**3)) / m2**1.5 if m2 > 0.0 else math.nan
    k = float(np.mean(d**4)) / (m2 * m2) - 3.0 if m2 > 0.0 else math.nan
    z = _NORMAL.inv_cdf(alpha)
    tail = sd * _NORMAL.pdf(z) / alpha
    var, cvar = historical_tail(r, alpha)
    g = cornish_fisher_z(z, s, k)
    g2 = g * g
    edgeworth = (
        1.0
        + s / 6.0 * g * g2
        + k / 24.0 * (g2 * g2 - 2.0 * g2 - 1.0)
        + s * s / 72.0 * (g2**3 - 9.0 * g2 * g2 + 9.0 * g2 + 3.0)
    )
    density = math.exp(-0.5 * g2) / math.sqrt(2.0 * math.pi) if math.isfinite(g) else math.nan
    return TailRisk(
        mean=mu,
        std=sd,
        skew=s,
        excess_kurt=k,
        hist_var=var,
        hist_cvar=cvar,
        gauss_var=-(mu + z * sd),
        gauss_cvar=-mu + tail,
        z_cf=g,
        cf_var=-(mu + g * sd),
        cvar_cf_integrated=-mu
        + tail * (1.0 + s * z / 6.0 + k * (z * z - 1.0) / 24.0 - s * s * (2.0 * z * z - 1.0) / 36.0),
        es_modified=-mu + sd * density / alpha * edgeworth,
        cf_monotone=cornish_fisher_monotone(s, k),
    )


def kupiec_pof(n: int, x: int, p: float) -> tuple[float, float]:
    """(LR, p-value) of ``x`` losses beyond a VaR of tail ``p`` in ``n`` periods; Kupiec 1995, chi-squared with 1 df."""
    if not (n > 0 and 0 <= x <= n and 0.0 <= p <= 1.0):
        raise ValueError(f"kupiec_pof needs 0 <= x <= n, n > 0, 0 <= p <= 1; got n={n} x={x} p={p}")

    def log_likelihood(q: float) -> float:
        hit = x * math.log(q) if q > 0.0 else 0.0 if x == 0 else -math.inf
        miss = (n - x) * math.log1p(-q) if q < 1.0 else 0.0 if x == n else -math.inf
        return hit + miss

    lr = max(2.0 * (log_likelihood(x / n) - log_likelihood(p)), 0.0)
    return lr, math.erfc(math.sqrt(0.5 * lr))


# --- bootstrap -------------------------------------------------------------------------------------------------------
class Interval(NamedTuple):
    """Percentile interval."""

    low: float
    high: float


class Bootstrap(NamedTuple):
    """Intervals of the mean and of the Sharpe ratio per period."""

    mean: Interval
    sharpe: Interval | None  # None: no variation


def block_starts(n: int, block: int, resamples: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """(resamples, blocks) first indices of the blocks of a moving-block bootstrap of ``n`` values."""
    return rng.integers(0, n - block + 1, size=(resamples, -(-n // block)))


def block_bootstrap(
    returns: ArrayLike,
    rng: np.random.Generator,
    *,
    block: int | None = None,
    resamples: int = 1000,
    level: float = 0.95,
) -> Bootstrap:
    """Moving-block bootstrap (Künsch 1989) intervals that survive autocorrelation up to about a block.

    Args:
        returns: (n,), n >= 4.
        rng: where the resampling comes from.
        block: length of a block; default √n.
        resamples: number of resampled series.
        level: coverage of the intervals.
    """
    r = np.asarray(returns, float)
    if len(r) < 4:
        raise ValueError("a bootstrap of fewer than four returns says nothing")
    block = round(math.sqrt(len(r))) if block is None else block
    if not 1 <= block <= len(r):
        raise ValueError(f"block must be 1 to {len(r)}, got {block}")
    starts = block_starts(len(r), block, resamples, rng)
    return Bootstrap(mean_interval(r, block, starts, level), sharpe_interval(r, block, starts, level))


def resampled(returns: Floats, block: int, starts: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """(mean, variance with ddof 1) of each resampled series: sums per block are enough, no series is ever built."""
    first, second = (_block_sums(v, block) for v in (returns, returns * returns))
    count = starts.shape[1] * block
    mean = np.take(first, starts).sum(axis=1) / count
    return mean, (np.take(second, starts).sum(axis=1) / count - mean * mean) * count / (count - 1)


def _block_sums(values: Floats, block: int) -> Floats:
    ends = np.concatenate([[0.0], np.cumsum(values)])
    return np.asarray(ends[block:] - ends[:-block])


def _percentiles(values: Floats, level: float) -> Interval:
    tail = 0.5 * (1.0 - level)
    low, high = np.quantile(values, [tail, 1.0 - tail])
    return Interval(float(low), float(high))


def sharpe_interval(returns: Floats, block: int, starts: NDArray[np.int64], level: float = 0.95) -> Interval | None:
    """Interval of the Sharpe ratio per period for given blocks; None without variation."""
    scale = float(np.max(np.abs(returns))) or 1.0
    mean, variance = resampled(returns / scale, block, starts)
    moves = variance > 1e-20
    return _percentiles(mean[moves] / np.sqrt(variance[moves]), level) if moves.any() else None


def mean_interval(returns: Floats, block: int, starts: NDArray[np.int64], level: float = 0.95) -> Interval:
    """Interval of the mean for given blocks."""
    return _percentiles(np.take(_block_sums(returns, block), starts).sum(axis=1) / (starts.shape[1] * block), level)


@lru_cache(maxsize=8)
def shared_starts(n: int, block: int, resamples: int, seed: int) -> NDArray[np.int64]:
    """``block_starts`` from a seed, kept: trials of equal length are resampled alike, which pairs them."""
    starts = block_starts(n, block, resamples, np.random.default_rng(seed))
    starts.setflags(write=False)
    return starts
