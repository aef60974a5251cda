"""Fitting the inclusion probability to outcomes, and how well it is calibrated on others. FORMULAS section 5."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from mm.sim.inclusion import logit


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


class Bin(NamedTuple):
    """Predictions in one bin: their mean, the share included with its Wilson interval, how many."""

    predicted: float
    observed: float
    low: float
    high: float
    n: int


class Calibration(NamedTuple):
    """How forecast probabilities did; Brier = reliability - resolution + uncertainty up to the spread within bins."""

    brier: float
    brier_base: float  # of always forecasting the share included; the uncertainty term
    skill: float  # 1 - brier/brier_base
    log_loss: float
    reliability: float  # weighted mean square distance of a bin's forecast from its outcome
    resolution: float
    worst_z: float  # greatest distance of a bin in its standard errors under the forecast
    bins: tuple[Bin, ...]


def calibration(p: ArrayLike, included: ArrayLike, bins: int = 10, z: float = 1.959963984540054) -> Calibration:
    """Calibration report of forecasts ``p`` against outcomes (0/1), in ``bins`` bins of nearly equal counts.

    Use outcomes that the fit has not seen. Raises ``ValueError`` without both outcomes or for no probabilities.
    Brier 1950; decomposition of Murphy 1973; intervals of Wilson 1927 with the normal quantile ``z``.
    """
    forecast, y = np.asarray(p, float), np.asarray(included, float)
    if forecast.ndim != 1 or forecast.shape != y.shape or not 1 <= bins <= len(y):
        raise ValueError(f"{forecast.shape} forecasts, {y.shape} outcomes and {bins} bins do not fit together")
    base = float(y.mean())
    if not ((forecast >= 0.0) & (forecast <= 1.0)).all() or not 0.0 < base < 1.0:
        raise ValueError("probabilities and both outcomes are needed")
    order = np.argsort(forecast, kind="stable")
    table, reliability, resolution, worst = [], 0.0, 0.0, 0.0
    for part in np.array_split(order, bins):
        n, predicted, observed = len(part), float(forecast[part].mean()), float(y[part].mean())
        middle = (observed + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * math.sqrt(observed * (1 - observed) / n + z * z / (4 * n * n))
        table.append(Bin(predicted, observed, middle - half, middle + half, n))
        reliability += n * (predicted - observed) ** 2 / len(y)
        resolution += n * (observed - base) ** 2 / len(y)
        error = math.sqrt(float(np.sum(forecast[part] * (1.0 - forecast[part])))) / n
        gap = abs(predicted - observed)
        worst = max(worst, gap / error if error > 0.0 else math.inf if gap > 0.0 else 0.0)
    brier = float(np.mean((forecast - y) ** 2))
    hit = np.where(y > 0.0, forecast, 1.0 - forecast)
    log_loss = float(-np.mean(np.log(np.maximum(hit, 1e-300))))
    spread = base * (1.0 - base)
    return Calibration(brier, spread, 1.0 - brier / spread, log_loss, reliability, resolution, worst, tuple(table))
