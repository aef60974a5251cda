"""Paying for inclusion: the bid that maximises profit under a logistic probability, and simpler rules (synthetic).

P(b) = 1/(1 + exp(-(beta0 + beta1·b))); beta1 is in 1/(unit of the bid). FORMULAS section 5.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike


class Bid(NamedTuple):
    """Best bid, its inclusion probability and expected profit; ``unclamped`` before its bounds."""

    bid: float
    probability: float
    value: float
    unclamped: float


def probability(bid: float, beta0: float, beta1: float) -> float:
    """Inclusion probability of a bid, safe for any argument."""
    z = beta0 + beta1 * bid
    return 1.0 / (1.0 + math.exp(-z)) if z >= 0.0 else math.exp(z) / (1.0 + math.exp(z))


def logit(p: float) -> float:
    """ln(p/(1-p)); ``ValueError`` outside (0, 1)."""
    if not 0.0 < p < 1.0:
        raise ValueError(f"a probability strictly between 0 and 1 is needed, got {p}")
    return math.log(p) - math.log1p(-p)


def omega(z: float) -> float:
    """Wright's omega of a real number: w + ln w = z, that is Lambert's W(e^z) without its overflow."""
    w = math.exp(z) if z < -2.0 else z - math.log(z) if z > 2.0 else 0.5671432904097838 * math.exp(0.35 * z)
    for _ in range(50):  # Newton on w + ln w - z, Fritsch's third-order correction is not needed
        step = w * (z - w - math.log(w)) / (1.0 + w) if w > 0.0 else 0.0
        w = w + step if w + step > 0.0 else 0.5 * w
        if abs(step) <= 4e-16 * w:
            break
    return w


def optimal_bid(
    V: float, beta0: float, beta1: float, cost_if_not_included: float = 0.0, b_max: float | None = None
) -> Bid | None:
    """arg max over [0, b_max] of (V - b)·P(b) - cost·(1 - P(b)), in closed form; None: better not to submit.

    The first-order condition is y·e^y = e^(beta0 + beta1·V - 1) with y = beta1·(V - b) - 1, V including the cost. The
    objective is log-concave, so clamping the bid is right. ``ValueError`` unless beta1 > 0.
    """
    if not beta1 > 0.0:
        raise ValueError(f"beta1 must be positive, got {beta1}")
    worth = V + cost_if_not_included
    if worth <= 0.0:
        return None
    unclamped = worth - (1.0 + omega(beta0 + beta1 * worth - 1.0)) / beta1
    bid = max(unclamped, 0.0) if b_max is None else min(max(unclamped, 0.0), b_max)
    p = probability(bid, beta0, beta1)
    value = (worth - bid) * p - cost_if_not_included
    return Bid(bid, p, value, unclamped) if value > 0.0 else None


def all_pay_bid(V: float, beta0: float, beta1: float) -> Bid:
    """arg max of V·P(b) - b over b >= 0: the bid is burned either way. Interior only when V·beta1 > 4."""
    idle = Bid(0.0, probability(0.0, beta0, beta1), V * probability(0.0, beta0, beta1), 0.0)
    if not V * beta1 > 4.0:
        return idle
    p = 0.5 * (1.0 + math.sqrt(1.0 - 4.0 / (V * beta1)))
    bid = (logit(p) - beta0) / beta1
    if bid < 0.0 or V * p - bid <= idle.value:
        return idle
    return Bid(bid, p, V * p - bid, bid)


def percentile_bid(bids: ArrayLike, percentile: float) -> float:
    """A percentile (type 7) of recent winning bids. ``ValueError`` without any."""
    values = np.asarray(bids, float)
    if len(values) == 0:
        raise ValueError("no winning bids to take a percentile of")
    return float(np.percentile(values, percentile))


def target_bid(p: float, beta0: float, beta1: float) -> float:
    """Smallest bid >= 0 that is included with probability ``p``."""
    return max(0.0, (logit(p) - beta0) / beta1)


class LogisticFit(NamedTuple):
    """Maximum-likelihood fit with standard errors."""

    beta0: float
    beta1: float
    se0: float
    se1: float
    loglik: float


def fit_logistic(bid: ArrayLike, included: ArrayLike) -> LogisticFit:
    """Logistic regression of inclusion on the bid by Newton's method, unregularised.

    Raises ``ValueError`` when there is no finite maximum: one outcome only, or bids that separate the outcomes.
    """
    x, y = np.asarray(bid, float), np.asarray(included, float)
    if len(x) != len(y) or len(x) == 0 or not 0.0 < y.mean() < 1.0:
        raise ValueError("both outcomes are needed to fit inclusion")
    centre, scale = float(x.mean()), float(x.std()) or 1.0
    X = np.column_stack([np.ones(len(x)), (x - centre) / scale])
    beta = np.array([logit(float(y.mean())), 0.0])
    best = _loglik(X, y, beta)
    for _ in range(100):
        p = _sigmoid(X @ beta)
        weight = p * (1.0 - p)
        hessian = X.T @ (X * weight[:, None])
        if np.linalg.cond(hessian) > 1e14 or np.abs(beta).max() > 1e3:
            raise ValueError("the bids separate the outcomes: no finite fit")
        step = np.linalg.solve(hessian, X.T @ (y - p))
        while _loglik(X, y, beta + step) < best - 1e-12 and np.abs(step).max() > 1e-14:
            step *= 0.5
        beta += step
        best = _loglik(X, y, beta)
        if np.abs(step).max() < 1e-12:
            break
    p = _sigmoid(X @ beta)
    back = np.array([[1.0, -centre / scale], [0.0, 1.0 / scale]])
    covariance = back @ np.linalg.inv(X.T @ (X * (p * (1.0 - p))[:, None])) @ back.T
    beta0, beta1 = back @ beta
    se0, se1 = np.sqrt(np.diag(covariance))
    return LogisticFit(float(beta0), float(beta1), float(se0), float(se1), best)


def _sigmoid(z: np.ndarray) -> np.ndarray:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * z)))


def _loglik(X: np.ndarray, y: np.ndarray, beta: np.ndarray) -> float:
    z = X @ beta
    return float(np.sum(y * z - np.logaddexp(0.0, z)))
