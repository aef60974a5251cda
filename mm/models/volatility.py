"""Volatility of returns per bar from OHLC bars, and its conversion to price per √s (FORMULAS section 3).

Range estimators assume continuous trading and no drift; none survives bid-ask bounce on bars of seconds.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


class Bars(NamedTuple):
    """Columns of shape (n,), prices."""

    open: Floats
    high: Floats
    low: Floats
    close: Floats


def as_bars(open_: ArrayLike, high: ArrayLike, low: ArrayLike, close: ArrayLike) -> Bars:
    """Checked columns. ``ValueError`` below three bars or for prices that are not positive."""
    bars = Bars(*(np.asarray(x, float) for x in (open_, high, low, close)))
    if len(bars.close) < 3 or any(len(x) != len(bars.close) or not (x > 0.0).all() for x in bars):
        raise ValueError("volatility needs at least three bars of positive prices, columns of one length")
    return bars


def log_returns(close: Floats) -> Floats:
    """ln(C_i / C_{i-1}), one fewer than bars."""
    return np.diff(np.log(close))


def realised(close: Floats) -> float:
    """Standard deviation (ddof 1) of close-to-close returns."""
    return float(np.std(log_returns(close), ddof=1))


def realised_zero_mean(close: Floats) -> float:
    """Root mean square of close-to-close returns."""
    return float(np.sqrt(np.mean(log_returns(close) ** 2)))


def parkinson(b: Bars) -> float:
    """Parkinson 1980."""
    return float(np.sqrt(np.mean(np.log(b.high / b.low) ** 2) / (4.0 * math.log(2.0))))


def garman_klass(b: Bars) -> float:
    """Garman & Klass 1980; nan where the estimate of the variance is negative."""
    spread, body = np.log(b.high / b.low) ** 2, np.log(b.close / b.open) ** 2
    return _root(float(np.mean(0.5 * spread - (2.0 * math.log(2.0) - 1.0) * body)))


def _rogers_satchell_terms(b: Bars) -> Floats:
    up = np.log(b.high / b.close) * np.log(b.high / b.open)
    return np.asarray(up + np.log(b.low / b.close) * np.log(b.low / b.open))


def rogers_satchell(b: Bars) -> float:
    """Rogers & Satchell 1991: any drift."""
    return _root(float(np.mean(_rogers_satchell_terms(b))))


def yang_zhang(b: Bars) -> float:
    """Yang & Zhang 2000: any drift, opening jumps."""
    over = np.log(b.open[1:] / b.close[:-1])
    body = np.log(b.close[1:] / b.open[1:])
    n = len(over)
    k = 0.34 / (1.34 + (n + 1) / (n - 1))
    inside = float(np.mean(_rogers_satchell_terms(b)[1:]))
    return _root(float(np.var(over, ddof=1)) + k * float(np.var(body, ddof=1)) + (1.0 - k) * inside)


def ewma(close: Floats, decay: float) -> float:
    """Root of v_t = decay·v_{t-1} + (1 - decay)·r_t², started with the first squared return."""
    squared = log_returns(close) ** 2
    v = float(squared[0])
    for x in squared[1:].tolist():
        v = decay * v + (1.0 - decay) * x
    return math.sqrt(v)


def price_per_sqrt_s(close: Floats, bar_s: float) -> float:
    """Root mean square of price changes, quote per base per √s."""
    return float(np.sqrt(np.mean(np.diff(close) ** 2) / bar_s))


def _root(variance: float) -> float:
    return math.sqrt(variance) if variance >= 0.0 else math.nan
