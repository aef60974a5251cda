"""Regime filter and volatility guard: a level that rises at once and falls only after a calm of some length.

Level 1 (softened) from ``soften``: smaller size, wider quotes. Level 2 (pulled) from ``pull``: no quotes. Back to 0
when the value has been below ``resume`` for ``dwell``; between ``resume`` and ``soften`` nothing changes.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from mm.core.jit import hot_kernel
from mm.core.types import Rec
from mm.strategy.controls.draft import pull, shrink, widen
from mm.strategy.controls.names import REGIME, REGIME_WARM_UP, VOLATILITY

SOFTENED: Final = 1
PULLED: Final = 2

LATCH = np.dtype(
    [
        ("soften", "f8"),
        ("pull", "f8"),
        ("resume", "f8"),
        ("dwell_ns", "i8"),
        ("scale", "f8"),  # size while softened, of the order size
        ("extra", "f8"),  # half-spreads while softened
    ]
)
LATCH_STATE = np.dtype([("level", "i8"), ("calm_ns", "i8")])


@hot_kernel
def latch(g: Rec, c: Rec, x: float, now_ns: int) -> int:
    """The level at a new value."""
    if x >= g.pull:
        c.level = PULLED
    elif x >= g.soften:
        c.level = max(c.level, SOFTENED)
    if x >= g.resume:
        c.calm_ns = 0
    elif c.calm_ns == 0:
        c.calm_ns = now_ns
    if c.calm_ns != 0 and now_ns - c.calm_ns >= g.dwell_ns:
        c.level = 0
    return int(c.level)


@hot_kernel
def _apply(g: Rec, t: Rec, level: int, act: int) -> None:
    if level == PULLED:
        pull(t, 0, act)
    elif level == SOFTENED:
        shrink(t, 0, g.scale, act)
        widen(t, 0, g.extra, act)


@hot_kernel
def regime(g: Rec, c: Rec, t: Rec, adx: float, now_ns: int) -> None:
    """Quote ranges, not trends: by the ADX of closed bars. No ADX yet, no quotes."""
    if math.isnan(adx):
        pull(t, 0, REGIME_WARM_UP)
        return
    _apply(g, t, latch(g, c, adx, now_ns), REGIME)


@hot_kernel
def volatility(g: Rec, c: Rec, t: Rec, fast_sigma: float, now_ns: int) -> None:
    """Widen, then pause, in extreme volatility [ticks/sqrt(s)]."""
    _apply(g, t, latch(g, c, fast_sigma, now_ns), VOLATILITY)
