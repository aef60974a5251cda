"""Paired comparison of two series of increments: is their mean difference told from zero, and what could have been.

Differences of two strategies on the same tape are resampled in blocks, because neighbouring increments hang together.
Blocks wrap around within a tape, so that every moment weighs the same, and never cross from one tape to another
(circular block bootstrap: Politis & Romano 1992). All randomness is in the generator that is passed in.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
MIN_BLOCKS: Final = 20  # fewer independent stretches say nothing about how far a mean may stray
POWER: Final = 0.8
_NORMAL = NormalDist()
_CHUNK = 1 << 22  # numbers resampled at once


def block_length(x: Floats) -> int:
    """Length of the blocks for a series (n,): 1 where increments are independent, longer the longer they remember.

    Politis & White 2004 with the correction of Patton, Politis & White 2009, for circular blocks; at least the cube
    root of n, since memory too weak to show in one sample widens an interval all the same. Memory that on the whole
    takes back what it gave needs no longer ones: blocks that cut it make the interval wider, not narrower.
    """
    n = len(x)
    least = max(1, round(math.cbrt(n)))
    d = x - np.mean(x)
    if n < 8 or not float(d @ d) > 0.0:
        return min(least, max(n, 1))
    run = max(5, int(math.log10(n)))  # so many insignificant autocorrelations end the memory
    longest = math.ceil(math.sqrt(n)) + run
    most = math.ceil(min(3.0 * math.sqrt(n), n / 3.0))
    lags = min(longest, n - 1)
    cov = np.array([float(d[k:] @ d[: n - k]) for k in range(lags + 1)]) / n
    small = np.abs(cov) / cov[0] < 2.0 * math.sqrt(math.log10(n) / n)
    ends = (k - 1 for k in range(1, lags - run + 2) if small[k : k + run].all())
    memory = next(ends, longest)
    m = min(2 * max(memory, 1), lags)
    k = np.arange(1, m + 1)
    window = np.minimum(1.0, 2.0 * (1.0 - k / m))  # flat top, then falling
    spectrum = cov[0] + 2.0 * float(window @ cov[1 : m + 1])
    slope = 2.0 * float((window * k) @ cov[1 : m + 1])
    if spectrum <= cov[0]:
        return least
    best = math.cbrt(1.5 * slope * slope / (spectrum * spectrum) * n)
    return int(max(least, min(math.ceil(best), most)))


def bootstrap_means(parts: Sequence[Floats], block: int, resamples: int, rng: np.random.Generator) -> Floats:
    """Means of resampled series, (resamples,). ``parts``: one a tape, none shorter than ``block``."""
    if min(len(part) for part in parts) < block:
        raise ValueError("a part is shorter than a block")
    sums = np.concatenate([_block_sums(part, block) for part in parts])
    count = -(-len(sums) // block)
    out = np.empty(resamples)
    rows = max(1, _CHUNK // count)
    for start in range(0, resamples, rows):
        starts = rng.integers(0, len(sums), size=(min(rows, resamples - start), count))
        out[start : start + rows] = np.take(sums, starts).sum(axis=1)
    return np.asarray(out / (count * block))


def _block_sums(x: Floats, block: int) -> Floats:
    ends = np.concatenate([[0.0], np.cumsum(np.concatenate([x, x[: block - 1]]))])
    return np.asarray(ends[block:] - ends[:-block])


def memory_stretch(parts: Sequence[Floats], block: int) -> float:
    """How much wider an interval from blocks of this length must be for the memory that the blocks cut, at least 1.

    Blocks of length b understate the variance of a mean by a part of order 1/b, so 2·V(b) - V(b/2) does not
    (the jackknifed bandwidth of Vats & Flegal 2022, "lugsail").
    """
    half = max(1, block // 2)
    full, less = (_spread(parts, b) for b in (block, half))
    if not full > 0.0 or half == block:
        return 1.0
    return math.sqrt(max(1.0, 1.0 + (1.0 - less / full) * half / (block - half)))


def _spread(parts: Sequence[Floats], block: int) -> float:
    """Variance of the mean that blocks of this length see, times the number of increments."""
    sums = np.concatenate([_block_sums(part, block) for part in parts])
    return float(np.var(sums)) / block


class Estimate(NamedTuple):
    """A mean difference per increment. Without an interval (too few blocks) all but the mean are nan."""

    mean: float
    se: float
    low: float
    high: float
    p: float  # two-sided, of a mean of zero; not adjusted for other comparisons
    mde: float  # smallest true mean that POWER of such samples would tell from zero at this level


def estimate(mean: float, means: Floats, blocks: float, level: float, stretch: float = 1.0) -> Estimate:
    """Interval of a mean at ``level`` from its resampled ``means``; ``blocks``: independent stretches in the sample.

    Deviations are stretched by what ``blocks`` of them underestimate: each is measured from its own sample's mean,
    which costs one, and their spread is itself estimated, which makes the law Student's (its quantile expanded in 1/ν,
    Abramowitz & Stegun 26.7.5). ``stretch``: ``memory_stretch``.
    """
    if blocks < MIN_BLOCKS:
        return Estimate(mean, math.nan, math.nan, math.nan, math.nan, math.nan)
    z = _NORMAL.inv_cdf(0.5 + 0.5 * level)
    stretch *= math.sqrt(blocks / (blocks - 1.0)) * (1.0 + (z * z + 1.0) / (4.0 * (blocks - 1.0)))
    off = (means - mean) * stretch
    tail = 0.5 * (1.0 - level)
    low, high = np.quantile(off, [tail, 1.0 - tail])
    se = float(np.std(off))
    p = (1.0 + float(np.sum(np.abs(off) >= abs(mean)))) / (1.0 + len(off))
    return Estimate(mean, se, mean + float(low), mean + float(high), p, (z + _NORMAL.inv_cdf(POWER)) * se)
