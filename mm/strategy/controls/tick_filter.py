"""Tick filter: a mid far from the median of the last ones is not believed until the market repeats it.

Tolerance is ``mads`` robust standard deviations (1.4826 times the median absolute deviation, Hampel's identifier), at
least ``floor``. While a tick is suspect, the reference stays at the last believed mid and the side that the suspect
tick would run over is pulled; features do not take it. ``confirm`` suspect ticks in a row that agree with each other
re-anchor the filter. It judges prices only: fills, reports and risk never pass through it.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from mm.core.jit import hot_kernel
from mm.core.types import Rec
from mm.strategy.controls.draft import pull
from mm.strategy.controls.names import TICK_FILTER

MAX_WINDOW: Final = 31
MAD_TO_SD: Final = 1.4826

FILTER = np.dtype(
    [
        ("window", "i8"),  # believed mids looked back on; 0: off
        ("mads", "f8"),
        ("floor", "f8"),  # ticks
        ("confirm", "i8"),
    ]
)
"""Settings."""

FILTER_STATE = np.dtype(
    [
        ("n", "i8"),
        ("at", "i8"),  # next place of the ring
        ("suspects", "i8"),  # in a row
        ("last", "f8"),  # believed mid
        ("suspect", "f8"),  # mid of the last suspect tick
        ("median", "f8"),
        ("tolerance", "f8"),
        ("rejected", "i8"),  # ticks so far
        ("mids", "f8", (MAX_WINDOW,)),
        ("sorted", "f8", (MAX_WINDOW,)),
    ]
)


@hot_kernel
def _sort_in(c: Rec, n: int, x: float) -> None:
    """Insert ``x`` into the first ``n`` sorted values."""
    k = n
    while k > 0 and c.sorted[k - 1] > x:
        c.sorted[k] = c.sorted[k - 1]
        k -= 1
    c.sorted[k] = x


@hot_kernel
def _middle(c: Rec) -> float:
    half = c.n // 2
    if c.n % 2:
        return float(c.sorted[half])
    return float(0.5 * (c.sorted[half - 1] + c.sorted[half]))


@hot_kernel
def _believe(g: Rec, c: Rec, mid: float) -> None:
    c.suspects = 0
    if c.n > 0 and mid == c.last:
        return
    c.last = mid
    c.mids[c.at] = mid
    c.at = (c.at + 1) % g.window
    c.n = min(c.n + 1, g.window)
    for k in range(c.n):
        _sort_in(c, k, c.mids[k])
    c.median = _middle(c)
    for k in range(c.n):
        _sort_in(c, k, abs(c.mids[k] - c.median))
    c.tolerance = max(g.mads * MAD_TO_SD * _middle(c), g.floor)


@hot_kernel
def judge(g: Rec, c: Rec, mid: float) -> int:
    """0: believed; ±1: suspect, above or below. The first half window is believed."""
    if 2 * c.n < g.window or abs(mid - c.median) <= c.tolerance:
        _believe(g, c, mid)
        return 0
    c.rejected += 1
    agrees = c.suspects > 0 and abs(mid - c.suspect) <= c.tolerance
    c.suspects = c.suspects + 1 if agrees else 1
    c.suspect = mid
    if c.suspects >= g.confirm:
        c.n = 0
        c.at = 0
        _believe(g, c, mid)
        return 0
    return 1 if mid > c.median else -1


@hot_kernel
def tick_filter(f: Rec, t: Rec) -> None:
    """Pull the side that a suspect tick would run over: the ask of a jump up, the bid of a jump down."""
    if f.suspect != 0:
        pull(t, -f.suspect, TICK_FILTER)
