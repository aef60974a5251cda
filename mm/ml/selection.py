"""Choosing among many trials without fooling oneself: purged folds, deflated Sharpe ratio, PBO."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from statistics import NormalDist
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

EULER_GAMMA: Final = 0.5772156649015329
_NORMAL: Final = NormalDist()


class Fold(NamedTuple):
    """One test fold ``first..last`` (inclusive), the latest label end in it, and the samples to train on."""

    first: int
    last: int
    label_end: int
    train: NDArray[np.int64]


def purged_kfold(t1: Sequence[int], k: int, embargo_pct: float = 0.0, *, strict: bool = True) -> list[Fold]:
    """Contiguous folds; sample i spans [i, t1[i]]. Train labels must not overlap the test span, then an embargo.

    ``strict``: a label that ends on the test's first bar, or starts where the embargo ends, is out; otherwise as AFML
    snippet 7.3, which keeps both. Embargo: ⌊n·pct⌋ samples after the last test label's end.
    """
    ends = np.asarray(t1, np.int64)
    n = len(ends)
    if not 2 <= k <= n:
        raise ValueError(f"k must be 2 to {n}, got {k}")
    at = np.arange(n)
    embargo = embargo_samples(n, embargo_pct)
    folds = []
    for test in np.array_split(at, k):
        a, b = int(test[0]), int(test[-1])
        last_end = int(ends[a : b + 1].max())
        if strict:
            keep = ((at < a) & (ends < a)) | ((at > b) & (at > last_end + embargo))
        else:
            keep = ((at < a) & (ends <= a)) | ((at > b) & (at >= last_end + embargo))
        folds.append(Fold(a, b, last_end, at[keep]))
    return folds


def embargo_samples(n: int, pct: float) -> int:
    """⌊n·pct⌋, forgiving the rounding of ``pct``."""
    return math.floor(n * pct + 1e-9)


class Deflated(NamedTuple):
    """Sharpe ratio against the luck of many trials; all ratios per observation, not annualised."""

    sr0: float  # expected best of n trials without skill
    psr0: float  # P(true SR > 0)
    dsr: float  # P(true SR > sr0)
    min_trl: float | None  # observations for PSR(0) >= 95 % (of the opposite bet, for a negative ratio)


def probabilistic_sharpe(sr: float, benchmark: float, T: int, skew: float, kurt: float) -> float:
    """P(true Sharpe ratio > benchmark), Bailey & López de Prado 2012; ``kurt`` is not excess."""
    return _NORMAL.cdf((sr - benchmark) * math.sqrt(T - 1) / math.sqrt(_sr_variance(sr, skew, kurt)))


def deflated_sharpe(sr: float, T: int, skew: float, kurt: float, n_trials: int, var_trials: float) -> Deflated:
    """Deflated Sharpe ratio, Bailey & López de Prado 2014; ``var_trials``: variance of the trials' Sharpe ratios."""
    sr0 = 0.0
    if n_trials > 1:
        high = _NORMAL.inv_cdf(1.0 - 1.0 / n_trials)
        higher = _NORMAL.inv_cdf(1.0 - 1.0 / (n_trials * math.e))
        sr0 = math.sqrt(var_trials) * ((1.0 - EULER_GAMMA) * high + EULER_GAMMA * higher)
    enough = None
    if sr != 0.0:
        enough = 1.0 + _sr_variance(sr, skew, kurt) * (_NORMAL.inv_cdf(0.95) / sr) ** 2
    return Deflated(
        sr0,
        probabilistic_sharpe(sr, 0.0, T, skew, kurt),
        probabilistic_sharpe(sr, sr0, T, skew, kurt),
        enough,
    )


def _sr_variance(sr: float, skew: float, kurt: float) -> float:
    return 1.0 - skew * sr + 0.25 * (kurt - 1.0) * sr * sr


def pbo_logits(returns: ArrayLike, blocks: int) -> NDArray[np.float64]:
    """Logits of the out-of-sample rank of the in-sample best, one per split (CSCV, Bailey et al. 2017).

    ``returns``: (T, trials), T divisible by ``blocks`` (even). PBO is the share of logits at or below 0.
    """
    r = np.asarray(returns, float)
    if r.ndim != 2 or r.shape[1] < 2 or blocks < 2 or blocks % 2 or len(r) % blocks:
        raise ValueError(f"CSCV needs (T, N >= 2) returns and an even number of blocks that divides T; got {blocks}")
    rows = np.arange(len(r)).reshape(blocks, -1)
    out = []
    for chosen in combinations(range(blocks), blocks // 2):
        inside = np.zeros(blocks, bool)
        inside[list(chosen)] = True
        best = int(np.argmax(_scores(r[rows[inside].ravel()])))
        outside = _scores(r[rows[~inside].ravel()])
        below, equal = float(np.sum(outside < outside[best])), float(np.sum(outside == outside[best]))
        w = (below + 0.5 * (equal + 1.0)) / (r.shape[1] + 1)
        out.append(math.log(w / (1.0 - w)))
    return np.array(out)


def _scores(r: NDArray[Any]) -> NDArray[np.float64]:
    sd = r.std(axis=0, ddof=1)
    return np.where(sd > 0.0, r.mean(axis=0) / np.where(sd > 0.0, sd, 1.0), 0.0)
