"""Wilder's RSI and ADX: smoothing factor 1/n, seeded with a simple mean (New Concepts in Technical Trading, 1978).

Values that are not defined yet are nan. Every value depends on its own and earlier bars only.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mm.core.jit import kernel

Floats = NDArray[np.float64]


@kernel
def wilder_mean(x: Floats, first: int, n: int) -> Floats:
    """Mean of ``x[first : first + n]`` at ``first + n - 1``, then ``(previous·(n-1) + x)/n``; nan before."""
    out = np.full(x.shape[0], np.nan)
    if first + n > x.shape[0]:
        return out
    total = 0.0
    for i in range(first, first + n):
        total += x[i]
    value = total / n
    out[first + n - 1] = value
    for i in range(first + n, x.shape[0]):
        value = (value * (n - 1) + x[i]) / n
        out[i] = value
    return out


def rsi(close: ArrayLike, n: int = 14) -> Floats:
    """Relative strength index, 0..100, from index ``n``; 50 without any movement. Shape (bars,)."""
    c = np.asarray(close, float)
    _check(n)
    change = np.diff(c, prepend=c[:1])
    gain = wilder_mean(np.maximum(change, 0.0), 1, n)
    loss = wilder_mean(np.maximum(-change, 0.0), 1, n)
    both = gain + loss
    out = np.where(both > 0.0, 100.0 * gain / np.where(both > 0.0, both, 1.0), 50.0)
    return np.where(np.isnan(gain), np.nan, out)


class Adx(NamedTuple):
    """Average true range, directional indices and ADX, each of shape (bars,)."""

    atr: Floats
    plus_di: Floats
    minus_di: Floats
    dx: Floats
    adx: Floats


def adx(high: ArrayLike, low: ArrayLike, close: ArrayLike, n: int = 14) -> Adx:
    """Directional movement: ATR, DI and DX from index ``n``, ADX from ``2n - 1``."""
    h, lo, c = np.asarray(high, float), np.asarray(low, float), np.asarray(close, float)
    _check(n)
    before = np.concatenate([c[:1], c[:-1]])
    true_range = np.maximum(h - lo, np.maximum(np.abs(h - before), np.abs(lo - before)))
    up, down = np.diff(h, prepend=h[:1]), -np.diff(lo, prepend=lo[:1])
    plus = np.where((up > down) & (up > 0.0), up, 0.0)
    minus = np.where((down > up) & (down > 0.0), down, 0.0)
    atr, plus_s, minus_s = (wilder_mean(x, 1, n) for x in (true_range, plus, minus))
    moved = np.where(atr > 0.0, atr, 1.0)
    plus_di, minus_di = (np.where(np.isnan(atr), np.nan, 100.0 * x / moved) for x in (plus_s, minus_s))
    both = plus_di + minus_di
    dx = np.where(both > 0.0, 100.0 * np.abs(plus_di - minus_di) / np.where(both > 0.0, both, 1.0), 0.0)
    dx = np.where(np.isnan(both), np.nan, dx)
    return Adx(atr, plus_di, minus_di, dx, wilder_mean(dx, n, n))


def _check(n: int) -> None:
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
