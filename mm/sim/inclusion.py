"""Paying for inclusion: the bid that maximises profit under a logistic probability, and simpler rules (synthetic).

One bid at a time, or arrays of them (``optimal_bids``, ``all_pay_bids``, ``target_bids``) by the same kernels.
P(b) = 1/(1 + exp(-(beta0 + beta1·b))); beta1 is in 1/(unit of the bid). FORMULAS section 5.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mm.core.jit import kernel

Floats = NDArray[np.float64]


class Bid(NamedTuple):
    """Best bid, its inclusion probability and expected profit; ``unclamped`` before its bounds."""

    bid: float
    probability: float
    value: float
    unclamped: float


def probability(bid: float, beta0: float, beta1: float) -> float:
    """Inclusion probability of a bid, safe for any argument."""
    return float(_probability(float(bid), float(beta0), float(beta1)))


def logit(p: float) -> float:
    """ln(p/(1-p)); ``ValueError`` outside (0, 1)."""
    if not 0.0 < p < 1.0:
        raise ValueError(f"a probability strictly between 0 and 1 is needed, got {p}")
    return math.log(p) - math.log1p(-p)


def omega(z: float) -> float:
    """Wright's omega of a real number: w + ln w = z, that is Lambert's W(e^z) without its overflow."""
    return float(_omega(float(z)))


def optimal_bid(
    V: float, beta0: float, beta1: float, cost_if_not_included: float = 0.0, b_max: float | None = None
) -> Bid | None:
    """arg max over [0, b_max] of (V - b)·P(b) - cost·(1 - P(b)), in closed form; None: better not to submit.

    The first-order condition is y·e^y = e^(beta0 + beta1·V - 1) with y = beta1·(V - b) - 1, V including the cost. The
    objective is log-concave, so clamping the bid is right. ``ValueError`` unless beta1 > 0.
    """
    if not beta1 > 0.0:
        raise ValueError(f"beta1 must be positive, got {beta1}")
    top = math.inf if b_max is None else float(b_max)
    best = _best(float(V), float(beta0), float(beta1), float(cost_if_not_included), top)
    return Bid(*best) if best[2] > 0.0 else None


def all_pay_bid(V: float, beta0: float, beta1: float) -> Bid:
    """arg max of V·P(b) - b over b >= 0: the bid is burned either way. Interior only when V·beta1 > 4."""
    return Bid(*_best_all_pay(float(V), float(beta0), float(beta1)))


def percentile_bid(bids: ArrayLike, percentile: float) -> float:
    """A percentile (type 7) of recent winning bids. ``ValueError`` without any."""
    values = np.asarray(bids, float)
    if len(values) == 0:
        raise ValueError("no winning bids to take a percentile of")
    return float(np.percentile(values, percentile))


def target_bid(p: float, beta0: float, beta1: float) -> float:
    """Smallest bid >= 0 that is included with probability ``p``."""
    return max(0.0, (logit(p) - beta0) / beta1)


class BidWindow:
    """The latest ``capacity`` winning bids, kept sorted: percentile bids and the empirical inclusion probability."""

    def __init__(self, capacity: int, bids: Iterable[float] = ()) -> None:
        if capacity <= 0:
            raise ValueError(f"a window holds at least one bid, got {capacity}")
        self._recent: deque[float] = deque()
        self._sorted: list[float] = []
        self.capacity = capacity
        for bid in bids:
            self.add(bid)

    def __len__(self) -> int:
        return len(self._recent)

    def add(self, bid: float) -> None:
        """Take in a winning bid and forget the oldest one when full. ``ValueError`` unless it is finite."""
        if not math.isfinite(bid):
            raise ValueError(f"a bid is a number, got {bid}")
        if len(self._recent) == self.capacity:
            del self._sorted[bisect_left(self._sorted, self._recent.popleft())]
        self._recent.append(bid)
        insort(self._sorted, bid)

    def bid(self, percentile: float) -> float:
        """``percentile_bid`` of the window. ``ValueError`` while it is empty or for no percentile."""
        if not self._sorted or not 0.0 <= percentile <= 100.0:
            raise ValueError(f"no percentile {percentile} of {len(self)} winning bids")
        at = (len(self._sorted) - 1) * percentile / 100.0
        low = self._sorted[int(at)]
        return low + (self._sorted[min(int(at) + 1, len(self) - 1)] - low) * (at - int(at))

    def probability(self, bid: float) -> float:
        """Share of recent winning bids that ``bid`` reaches. ``ValueError`` while the window is empty."""
        if not self._sorted:
            raise ValueError("no winning bids yet")
        return bisect_right(self._sorted, bid) / len(self)


def draw_included(p: ArrayLike, rng: np.random.Generator) -> NDArray[np.bool_]:
    """One draw per probability, in order; NaN (nothing submitted) is not included and still uses its draw."""
    chance = np.asarray(p, float)
    if ((chance < 0.0) | (chance > 1.0)).any():
        raise ValueError("a probability lies between 0 and 1")
    return np.asarray(rng.random(chance.shape) < chance)


class Bids(NamedTuple):
    """Bids of an array, of its shape; NaN where nothing is worth submitting (then the value is 0)."""

    bid: Floats
    probability: Floats
    value: Floats


def optimal_bids(
    V: ArrayLike, beta0: ArrayLike, beta1: ArrayLike, cost_if_not_included: ArrayLike = 0.0, b_max: ArrayLike = math.inf
) -> Bids:
    """``optimal_bid`` of arrays that broadcast against each other. Raises ``ValueError`` unless beta1 > 0."""
    return _bids(_fill_optimal, beta1, V, beta0, beta1, cost_if_not_included, b_max)


def all_pay_bids(V: ArrayLike, beta0: ArrayLike, beta1: ArrayLike) -> Bids:
    """``all_pay_bid`` of arrays that broadcast against each other."""
    return _bids(_fill_all_pay, beta1, V, beta0, beta1)


def target_bids(p: ArrayLike, beta0: ArrayLike, beta1: ArrayLike) -> Floats:
    """``target_bid`` of arrays that broadcast against each other."""
    chance = np.asarray(p, float)
    if not ((chance > 0.0) & (chance < 1.0)).all() or not (np.asarray(beta1) > 0.0).all():
        raise ValueError("probabilities strictly between 0 and 1 and a positive beta1 are needed")
    odds = np.log(chance) - np.log1p(-chance)
    return np.asarray(np.maximum(0.0, (odds - np.asarray(beta0, float)) / np.asarray(beta1, float)))


def _bids(fill: Callable[..., None], beta1: ArrayLike, *inputs: ArrayLike) -> Bids:
    if not (np.asarray(beta1) > 0.0).all():
        raise ValueError("beta1 must be positive")
    arrays = np.broadcast_arrays(*(np.asarray(a, float) for a in inputs))
    out = np.empty((3, arrays[0].size))
    fill(*(np.ascontiguousarray(a).reshape(-1) for a in arrays), out)
    return Bids(*(row.reshape(arrays[0].shape) for row in out))


@kernel
def _probability(bid: float, beta0: float, beta1: float) -> float:
    z = beta0 + beta1 * bid
    return 1.0 / (1.0 + math.exp(-z)) if z >= 0.0 else math.exp(z) / (1.0 + math.exp(z))


@kernel
def _omega(z: float) -> float:
    w = math.exp(z) if z < -2.0 else z - math.log(z) if z > 2.0 else 0.5671432904097838 * math.exp(0.35 * z)
    for _ in range(50):  # Newton on w + ln w - z, Fritsch's third-order correction is not needed
        step = w * (z - w - math.log(w)) / (1.0 + w) if w > 0.0 else 0.0
        w = w + step if w + step > 0.0 else 0.5 * w
        if abs(step) <= 4e-16 * w:
            break
    return w


@kernel
def _best(V: float, beta0: float, beta1: float, cost: float, b_max: float) -> tuple[float, float, float, float]:
    """Bid, probability, value, unclamped bid; a value of 0 or less says not to submit."""
    worth = V + cost
    if worth <= 0.0:
        return 0.0, 0.0, 0.0, 0.0
    unclamped = worth - (1.0 + _omega(beta0 + beta1 * worth - 1.0)) / beta1
    bid = min(max(unclamped, 0.0), b_max)
    p = _probability(bid, beta0, beta1)
    return bid, p, (worth - bid) * p - cost, unclamped


@kernel
def _best_all_pay(V: float, beta0: float, beta1: float) -> tuple[float, float, float, float]:
    p0 = _probability(0.0, beta0, beta1)
    if V * beta1 > 4.0:
        p = 0.5 * (1.0 + math.sqrt(1.0 - 4.0 / (V * beta1)))
        # beyond V·beta1 = 1e16 the optimum rounds to certainty; its logit is ln(V·beta1)
        odds = math.log(p) - math.log1p(-p) if p < 1.0 else math.log(V * beta1)
        bid = (odds - beta0) / beta1
        if bid >= 0.0 and V * p - bid > V * p0:
            return bid, p, V * p - bid, bid
    return 0.0, p0, V * p0, 0.0


@kernel
def _fill_optimal(V: Floats, beta0: Floats, beta1: Floats, cost: Floats, b_max: Floats, out: Floats) -> None:
    for i in range(len(V)):
        bid, p, value, _ = _best(V[i], beta0[i], beta1[i], cost[i], b_max[i])
        out[0, i], out[1, i], out[2, i] = (bid, p, value) if value > 0.0 else (np.nan, np.nan, 0.0)


@kernel
def _fill_all_pay(V: Floats, beta0: Floats, beta1: Floats, out: Floats) -> None:
    for i in range(len(V)):
        out[0, i], out[1, i], out[2, i], _ = _best_all_pay(V[i], beta0[i], beta1[i])
