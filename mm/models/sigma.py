"""Volatility of a recorded mid by several estimators, ticks/√s, with intervals.

They should agree; where they do not the data say why: a bouncing mid makes short steps and ranges too large, and
ranges see too little of a feed that moves in jumps.

Zhang, Mykland & Aït-Sahalia 2005 for subsampling and two scales; the bar estimators are ``mm.models.volatility``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mm.models import volatility as vol
from mm.models.calibrate import NOTHING, Estimate

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

STEP_NS: Final = 100_000_000  # the grid on which the mid is looked at, as in flight
SLOW: Final = 50  # grid steps of one return of the subsampled estimators: 5 s
BARS_S: Final = (60, 30, 10, 5, 2, 1)  # lengths of bars; the longest of which there are at least MIN_BARS
MIN_BARS: Final = 50
RESAMPLES: Final = 400
BLOCK: Final = 5  # bars, of the bootstrap
MIN_S: Final = 30.0  # of mids; below, nothing is said


class Sigma(NamedTuple):
    """One estimator's answer, ticks/√s."""

    name: str
    sigma: Estimate
    says: str


def on_grid(mid_ns: Ints, mid: Floats, end_ns: int, step_ns: int = STEP_NS) -> Floats:
    """The mid every ``step_ns`` from its first valid value on, each the newest one known then. Gaps keep the last."""
    known = np.isfinite(mid)
    mid_ns, mid = mid_ns[known], mid[known]
    if len(mid) == 0:
        return np.zeros(0)
    at = np.arange(mid_ns[0], end_ns + 1, step_ns)
    return np.asarray(mid[np.searchsorted(mid_ns, at, side="right") - 1], np.float64)


def signature(grid: Floats, steps: Ints, step_s: float = STEP_NS * 1e-9) -> Floats:
    """Realised volatility, ticks/√s, by sampling step (in grid steps): flat where neither noise nor trend rule."""
    return np.array([math.sqrt(float(np.mean((grid[k:] - grid[:-k]) ** 2)) / (k * step_s)) for k in steps.tolist()])


def volatilities(mid_ns: Ints, mid: Floats, end_ns: int, rng: np.random.Generator, halflife_s: float) -> list[Sigma]:
    """Every estimator, empty below ``MIN_S`` seconds. ``rng`` resamples; ``halflife_s`` of the EWMA."""
    grid = on_grid(mid_ns, mid, end_ns)
    step_s = STEP_NS * 1e-9
    if (len(grid) - 1) * step_s < MIN_S:
        return []
    out = [
        Sigma("realised, 1 s", _blocked((grid[10:] - grid[:-10]) ** 2), "of all 1 s changes"),
        Sigma("subsampled, 5 s", _blocked((grid[SLOW:] - grid[:-SLOW]) ** 2 / (SLOW * step_s)), "of all 5 s changes"),
        Sigma("two scales", _two_scales(grid, step_s), "5 s less what 0.1 s bounces"),
        Sigma("EWMA at the end", _ewma(grid, step_s, halflife_s), f"as in flight, half-life {halflife_s:g} s"),
    ]
    bars, bar_s = _bars(mid_ns, mid, end_ns)
    level = float(np.mean(grid))
    for name, estimate in (
        ("close to close", lambda b: vol.realised_zero_mean(b.close)),
        ("Parkinson", vol.parkinson),
        ("Garman-Klass", vol.garman_klass),
        ("Rogers-Satchell", vol.rogers_satchell),
        ("Yang-Zhang", vol.yang_zhang),
    ):
        out.append(Sigma(name, _of_bars(bars, estimate, level / math.sqrt(bar_s), rng), f"bars of {bar_s:g} s"))
    return out


def _blocked(variance: Floats) -> Estimate:
    """Root of a mean with an interval from the means of 20 stretches of time."""
    value = float(np.mean(variance))
    means = np.array([float(part.mean()) for part in np.array_split(variance, 20) if len(part)])
    if value <= 0.0 or len(means) < 2:
        return Estimate(math.sqrt(max(value, 0.0)), math.nan, math.nan)
    half = 2.09 * float(means.std(ddof=1)) / math.sqrt(len(means)) / (2.0 * value)
    root = math.sqrt(value)
    return Estimate(root, root * math.exp(-half), root * math.exp(half))


def _two_scales(grid: Floats, step_s: float) -> Estimate:
    """ZMA 2005 eq. 55, small-sample adjusted: the slow variance less the bounce that the fast one shows."""
    n = len(grid) - 1
    slow = (grid[SLOW:] - grid[:-SLOW]) ** 2 / SLOW
    fast = (grid[1:] - grid[:-1]) ** 2
    share = (n - SLOW + 1) / SLOW / n
    m = min(len(slow), len(fast))
    return _blocked(np.asarray((slow[:m] - share * fast[:m]) / (1.0 - share) / step_s))


def _ewma(grid: Floats, step_s: float, halflife_s: float) -> Estimate:
    change = (grid[1:] - grid[:-1]) ** 2 / step_s
    weight = 2.0 ** (-np.arange(len(change))[::-1] * step_s / halflife_s)
    return Estimate(math.sqrt(float(weight @ change) / float(weight.sum())), math.nan, math.nan)


def _bars(mid_ns: Ints, mid: Floats, end_ns: int) -> tuple[vol.Bars, float]:
    """Bars of every mid, not of a grid: a range must see the extremes."""
    known = np.isfinite(mid)
    at, price = mid_ns[known], mid[known]
    span_s = (end_ns - at[0]) * 1e-9
    bar_s = next((b for b in BARS_S if span_s / b >= MIN_BARS), BARS_S[-1])
    edges = at[0] + np.arange(int(span_s / bar_s) + 1) * (bar_s * 1_000_000_000)
    first = price[np.searchsorted(at, edges, side="right") - 1]  # what a bar starts from
    high, low = first[:-1].copy(), first[:-1].copy()
    bar = np.searchsorted(edges, at, side="right") - 1
    inside = bar < len(high)
    np.maximum.at(high, bar[inside], price[inside])
    np.minimum.at(low, bar[inside], price[inside])
    close = price[np.searchsorted(at, edges[1:], side="left") - 1]
    return vol.as_bars(first[:-1], high, low, close), float(bar_s)


def _of_bars(bars: vol.Bars, estimate: Callable[[vol.Bars], float], scale: float, rng: np.random.Generator) -> Estimate:
    """An estimator of return volatility per bar, times ``scale``, with a moving-block bootstrap interval."""
    value = estimate(bars)
    n = len(bars.close)
    if n < 4 * BLOCK or not value > 0.0:
        return Estimate(value * scale, math.nan, math.nan)
    logs = [np.log(column) for column in bars]
    jump = np.concatenate([[0.0], logs[0][1:] - logs[3][:-1]])  # from the last close to this open
    shape = [column - logs[0] for column in logs]
    found = []
    for starts in rng.integers(0, n - BLOCK + 1, size=(RESAMPLES, -(-n // BLOCK))):
        pick = (starts[:, None] + np.arange(BLOCK)).ravel()[:n]
        start = np.cumsum(jump[pick] + np.concatenate([[0.0], shape[3][pick][:-1]]))
        found.append(estimate(vol.Bars(*(np.exp(start + column[pick]) for column in shape))))
    low, high = np.nanquantile(found, [0.025, 0.975])
    return Estimate(value * scale, float(low) * scale, float(high) * scale)


def best_of(found: list[Sigma]) -> Estimate:
    """The one to start from: subsampled at 5 s."""
    return next((s.sigma for s in found if s.name.startswith("subsampled")), NOTHING)
