"""Displacement guard and momentum asymmetry: what a move of the mid away from its recent average does to quotes.

Both read a move in standard deviations (``drift.sigmas``) over a window of their own. The displacement guard widens
both sides after a jump; momentum asymmetry widens the side that the move runs over. Both fade as the average catches
up. Momentum is not the inventory skew: that one is the model's.
"""

from __future__ import annotations

import numpy as np

from mm.core.jit import hot_kernel
from mm.core.types import Rec
from mm.strategy.controls.draft import widen
from mm.strategy.controls.drift import sigmas
from mm.strategy.controls.names import DISPLACEMENT, MOMENTUM

MOVE = np.dtype([("window_s", "f8"), ("start", "f8"), ("full", "f8"), ("extra", "f8")])
"""No effect up to ``start`` sigmas, ``extra`` half-spreads from ``full`` sigmas on, in between a straight line."""


@hot_kernel
def effect(g: Rec, strength: float) -> float:
    """Extra half-spreads at a move of so many sigmas (not negative)."""
    return float(g.extra * min(max((strength - g.start) / (g.full - g.start), 0.0), 1.0))


@hot_kernel
def displacement(g: Rec, t: Rec, move: float, sigma: float) -> None:
    """Widen both sides."""
    widen(t, 0, effect(g, abs(sigmas(move, sigma, g.window_s))), DISPLACEMENT)


@hot_kernel
def momentum(g: Rec, t: Rec, move: float, sigma: float) -> None:
    """Widen the ask when the mid rises, the bid when it falls."""
    strength = sigmas(move, sigma, g.window_s)
    widen(t, -1 if strength > 0.0 else 1, effect(g, abs(strength)), MOMENTUM)
