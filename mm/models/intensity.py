"""Estimators of λ(δ) = A·exp(-kδ), the rate at which market orders of one side reach a depth δ (FORMULAS section 3).

Data: ``times`` [s] and ``depths`` [price units from the mid just *before* the trade] of one side's market orders over
``T`` seconds; a sweep over several levels is one order. The maximum-likelihood estimate is the one to use: the others
are noisier (a third and more) or biased, and are here to be compared with it.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Fit(NamedTuple):
    """A [1/s], k [1/price unit]; nan where the data do not say."""

    A: float
    k: float


class MleFit(NamedTuple):
    """Maximum likelihood with standard errors."""

    A: float
    k: float
    se_A: float  # noqa: N815 - the symbols of the formula sheet
    se_k: float


class WaitingFit(NamedTuple):
    """Fit of virtual orders: fills, time at risk and rate by depth."""

    A: float
    k: float
    fills: Ints
    exposure: Floats
    rate: Floats


class IntervalFit(NamedTuple):
    """Fit of the deepest order per interval: share of intervals, naive and corrected rate by depth."""

    A: float
    k: float
    share: Floats
    naive: Floats
    corrected: Floats


def line(x: Floats, y: Floats, weights: Floats | None = None) -> tuple[float, float, float]:
    """(intercept, slope, r²) of weighted least squares; nan below two distinct points."""
    w = np.ones(len(x)) if weights is None else weights
    total = float(w.sum()) if len(w) else 0.0
    if total <= 0.0:
        return math.nan, math.nan, math.nan
    mx, my = float(w @ x) / total, float(w @ y) / total
    sxx, sxy, syy = float(w @ (x - mx) ** 2), float(w @ ((x - mx) * (y - my))), float(w @ (y - my) ** 2)
    if sxx <= 0.0:
        return math.nan, math.nan, math.nan
    slope = sxy / sxx
    return my - slope * mx, slope, sxy * sxy / (sxx * syy) if syy > 0.0 else 1.0


def _fit(delta: Floats, rate: Floats, weights: Floats | None = None) -> tuple[Fit, float]:
    used = (rate > 0.0) & np.isfinite(rate)
    intercept, slope, r2 = line(delta[used], np.log(rate[used]), None if weights is None else weights[used])
    return Fit(math.exp(intercept), -slope), r2


def mle(depths: ArrayLike, T: float) -> MleFit:
    """Marked Poisson: A = N/T, k = 1/mean depth."""
    d = np.asarray(depths, float)
    n = len(d)
    if n == 0:
        return MleFit(0.0, math.nan, math.nan, math.nan)
    mean = float(d.mean())
    A, k = n / T, 1.0 / mean if mean > 0.0 else math.nan
    return MleFit(A, k, A / math.sqrt(n), k / math.sqrt(n))


def mle_from(depths: ArrayLike, T: float, d0: float) -> tuple[Fit, int]:
    """(fit, orders used) from depths of at least ``d0`` only, for a book whose inside is unlike the rest."""
    d = np.asarray(depths, float)
    d = d[d >= d0]
    excess = float(d.mean()) - d0 if len(d) else 0.0
    if excess <= 0.0:
        return Fit(math.nan, math.nan), len(d)
    k = 1.0 / excess
    return Fit(len(d) / T * math.exp(k * d0), k), len(d)


def mle_grouped(depths: ArrayLike, T: float, width: float) -> Fit:
    """For depths known to a tick only: j = ⌊depth/width⌋ is geometric."""
    d = np.asarray(depths, float)
    mean = float(np.floor(d / width).mean()) if len(d) else 0.0
    return Fit(len(d) / T, math.log1p(1.0 / mean) / width if mean > 0.0 else math.nan)


def survival_counts(depths: ArrayLike, grid: ArrayLike) -> Ints:
    """Orders that reached each depth of the grid."""
    d = np.sort(np.asarray(depths, float))
    return np.asarray(len(d) - np.searchsorted(d, np.asarray(grid, float), side="left"), np.int64)


def loglinear(depths: ArrayLike, T: float, grid: ArrayLike, *, weighted: bool) -> tuple[Fit, float]:
    """(fit, r²): line through the logarithm of survival rates. Its points share orders, so it has no honest error."""
    counts = survival_counts(depths, grid)
    return _fit(np.asarray(grid, float), counts / T, counts.astype(float) if weighted else None)


def waiting_time(times: ArrayLike, depths: ArrayLike, T: float, grid: ArrayLike, window_s: float) -> WaitingFit:
    """Virtual orders renewed every window: fills over time at risk (exponential, censored), then a weighted line."""
    g = np.asarray(grid, float)
    t, d, window, n = _windows(times, depths, T, window_s)
    fills, exposure = np.zeros(len(g), np.int64), np.zeros(len(g))
    for i, delta in enumerate(g.tolist()):
        deep = d >= delta
        hit, first = np.unique(window[deep], return_index=True)
        fills[i] = len(hit)
        exposure[i] = float(np.sum(t[deep][first] - hit * window_s)) + (n - len(hit)) * window_s
    rate = np.divide(fills, exposure, out=np.zeros(len(g)), where=exposure > 0.0)
    fit, _ = _fit(g, rate, fills.astype(float))
    return WaitingFit(*fit, fills, exposure, rate)


def interval_max(times: ArrayLike, depths: ArrayLike, T: float, grid: ArrayLike, dt: float) -> IntervalFit:
    """Deepest order per interval: P(max >= δ) = 1 - exp(-λ(δ)·dt). Without the correction rates saturate at 1/dt."""
    g = np.asarray(grid, float)
    _, d, window, n = _windows(times, depths, T, dt)
    deepest = np.full(n, -np.inf)
    np.maximum.at(deepest, window, d)
    share = survival_counts(deepest, g) / n
    with np.errstate(divide="ignore"):
        corrected: Floats = np.asarray(-np.log1p(-share) / dt, float)
    fit, _ = _fit(g, corrected)
    return IntervalFit(*fit, share, share / dt, corrected)


def binned_density(depths: ArrayLike, T: float, width: float) -> tuple[Fit, float]:
    """(the seed's fit, its A corrected): a line through log counts per bin. Biased: empty bins are left out."""
    counts = np.bincount(np.floor(np.asarray(depths, float) / width).astype(np.int64))
    centres = np.asarray((np.arange(len(counts)) + 0.5) * width, np.float64)
    fit, _ = _fit(centres, counts / T)
    return fit, fit.A / (2.0 * math.sinh(0.5 * fit.k * width)) if fit.k else math.nan


def _windows(times: ArrayLike, depths: ArrayLike, T: float, step: float) -> tuple[Floats, Floats, Ints, int]:
    """(times, depths, window of each, number of windows), in order of time; what lies outside whole windows is left."""
    t, d = np.asarray(times, float), np.asarray(depths, float)
    order = np.argsort(t, kind="stable")
    t, d = t[order], d[order]
    n = math.floor(T / step + 1e-9)
    window = np.floor(t / step).astype(np.int64)
    inside = (window >= 0) & (window < n)
    return t[inside], d[inside], window[inside], n


def kappa_from_density(density: float, mean_order: float) -> float:
    """k of a book of ``density`` [base per price unit] hit by orders of exponential size: a deeper book, a larger k."""
    return density / mean_order


def seed_kappa(touch_depth: float, mid: float) -> float:
    """The seed documents' κ = 1/(touch depth × mid): per notional, not per price, so orders of magnitude off."""
    return 1.0 / (touch_depth * mid)
