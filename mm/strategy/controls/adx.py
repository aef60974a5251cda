"""Wilder's ADX on bars of the mid, bar by bar: the same numbers as ``mm.features.wilder.adx`` on the whole series.

Bars are cut by the clock (UTC multiples of ``bar_ns``) and count when they have closed, which the first tick after
them shows. The mid stands still between ticks: bars without one are flat. After a silence longer than the warm-up
everything starts anew.
"""

from __future__ import annotations

import math

import numpy as np

from mm.core.jit import hot_kernel
from mm.core.types import Rec

ADX = np.dtype([("bar_ns", "i8"), ("n", "i8")])
"""Settings; ``n`` 0: off."""

ADX_STATE = np.dtype(
    [
        ("started", "i8"),
        ("bar", "i8"),  # number of the open bar
        ("bars", "i8"),  # closed
        ("high", "f8"),
        ("low", "f8"),
        ("close", "f8"),
        ("last_high", "f8"),  # of the bar before
        ("last_low", "f8"),
        ("last_close", "f8"),
        ("range", "f8"),  # sums until n bars have moved, Wilder means from then on
        ("plus", "f8"),
        ("minus", "f8"),
        ("dx", "f8"),
    ]
)


@hot_kernel
def _wilder(kept: float, x: float, k: int, n: int) -> float:
    """Sum of the first ``n`` values (k = 1..n), their mean at k = n, then ``(kept·(n-1) + x)/n``."""
    if k > n:
        return (kept * (n - 1) + x) / n
    total = kept + x
    return total / n if k == n else total


@hot_kernel
def close_bar(c: Rec, n: int) -> None:
    """The open bar is whole."""
    k = c.bars
    if k > 0:
        high, low, before = c.high, c.low, c.last_close
        true_range = max(high - low, abs(high - before), abs(low - before))
        up, down = high - c.last_high, c.last_low - low
        c.range = _wilder(c.range, true_range, k, n)
        c.plus = _wilder(c.plus, up if up > down and up > 0.0 else 0.0, k, n)
        c.minus = _wilder(c.minus, down if down > up and down > 0.0 else 0.0, k, n)
        if k >= n:
            moved = c.range if c.range > 0.0 else 1.0
            plus, minus = 100.0 * c.plus / moved, 100.0 * c.minus / moved
            dx = 100.0 * abs(plus - minus) / (plus + minus) if plus + minus > 0.0 else 0.0
            c.dx = _wilder(c.dx, dx, k - n + 1, n)
    c.last_high, c.last_low, c.last_close = c.high, c.low, c.close
    c.bars = k + 1


@hot_kernel
def value(c: Rec, n: int) -> float:
    """ADX of the closed bars, 0..100; nan while they are fewer than ``2 n``."""
    return float(c.dx) if c.bars >= 2 * n else math.nan


@hot_kernel
def _restart(c: Rec) -> None:
    c.bars = 0
    c.range = 0.0
    c.plus = 0.0
    c.minus = 0.0
    c.dx = 0.0


@hot_kernel
def take(g: Rec, c: Rec, mid: float, ts_ns: int) -> None:
    """Take a mid: into the open bar, or closing it and starting the next."""
    bar = ts_ns // g.bar_ns
    if c.started and bar <= c.bar:
        c.high = max(c.high, mid)
        c.low = min(c.low, mid)
        c.close = mid
        return
    if c.started:
        close_bar(c, g.n)
        silent = bar - c.bar - 1
        if silent > 2 * g.n:
            _restart(c)
            silent = 0
        for _ in range(silent):
            c.high = c.close
            c.low = c.close
            close_bar(c, g.n)
    c.started = 1
    c.bar = bar
    c.high = mid
    c.low = mid
    c.close = mid
