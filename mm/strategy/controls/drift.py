"""How far the mid has moved from its own recent average: the measure behind displacement guard and momentum.

The average is exponential in wall-clock time over a piecewise constant mid, so it does not depend on how often it is
looked at: ``mean(t) = mid + (mean(s) - mid) * exp(-(t - s) / window)``. Of a Brownian mid, ``mid - mean`` is normal
with variance ``sigma^2 * window / 2`` (Ornstein-Uhlenbeck): ``sigmas`` states it in those standard deviations.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from mm.core.jit import hot_kernel
from mm.core.types import Rec

GRID: Final = 1.0  # ticks: a smaller move is the grid, not the market

DRIFT_STATE = np.dtype([("ns", "i8"), ("mid", "f8"), ("average", "f8")])


@hot_kernel
def follow(c: Rec, window_s: float, mid: float, ts_ns: int) -> None:
    """Take a mid."""
    if c.ns == 0:
        c.average = mid
    elif mid == c.mid:
        return
    else:
        c.average = c.mid + (c.average - c.mid) * math.exp(-max(ts_ns - c.ns, 0) * 1e-9 / window_s)
    c.mid = mid
    c.ns = max(ts_ns, c.ns)


@hot_kernel
def moved(c: Rec, window_s: float, now_ns: int) -> float:
    """``mid - mean`` [ticks] at ``now_ns``; 0 before the first mid."""
    if c.ns == 0:
        return 0.0
    return float((c.mid - c.average) * math.exp(-max(now_ns - c.ns, 0) * 1e-9 / window_s))


@hot_kernel
def sigmas(move: float, sigma: float, window_s: float) -> float:
    """A move [ticks] in standard deviations of what ``sigma`` [ticks/sqrt(s)] explains over the window."""
    return move / max(sigma * math.sqrt(0.5 * window_s), GRID)
