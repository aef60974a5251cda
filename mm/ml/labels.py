"""Triple-barrier labels and bet sizes (López de Prado, AFML chapters 3 and 10)."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mm.core.jit import kernel

TOUCHES: Final = ("t1", "pt", "sl")

LABEL = np.dtype(
    [
        ("t0", "i8"),
        ("touch", "i8"),  # index into TOUCHES
        ("t1", "i8"),  # bar of the touch, or of the vertical barrier
        ("ret", "f8"),  # side-adjusted simple return there
        ("complete", "?"),  # the whole horizon is inside the data; drop the others from training
    ]
)


@kernel
def _touch(
    close: NDArray[np.float64], t0: int, side: float, upper: float, lower: float, horizon: int
) -> tuple[int, int, float]:
    last = min(t0 + horizon, close.shape[0] - 1)
    r = 0.0
    for j in range(t0 + 1, last + 1):
        r = side * (close[j] / close[t0] - 1.0)
        if r >= upper:
            return 1, j, r
        if r <= -lower:
            return 2, j, r
    return 0, last, r


def triple_barrier(
    close: ArrayLike,
    t0: ArrayLike,
    target: ArrayLike,
    horizon: int,
    *,
    side: ArrayLike = 1,
    pt: ArrayLike = 1.0,
    sl: ArrayLike = 1.0,
) -> NDArray[np.void]:
    """Labels (LABEL) of events at ``t0``: first close at or beyond ``pt``·target or -``sl``·target, or the horizon.

    A multiplier of 0 takes its barrier away. ``target``: return; ``side``: ±1, the direction of the bet.
    """
    c = np.asarray(close, float)
    events = np.broadcast_arrays(*(np.asarray(a) for a in (t0, target, side, pt, sl)))
    out = np.zeros(len(events[0]), LABEL)
    for k, (start, goal, way, up, down) in enumerate(zip(*events, strict=True)):
        upper = float(up * goal) if up > 0 else math.inf
        lower = float(down * goal) if down > 0 else math.inf
        touch, at, r = _touch(c, int(start), float(way), upper, lower, horizon)
        out[k] = (start, touch, at, r, start + horizon <= len(c) - 1)
    return out


def triple_barrier_ohlc(
    close: ArrayLike,
    high: ArrayLike,
    low: ArrayLike,
    t0: ArrayLike,
    target: float,
    horizon: int,
    *,
    side: int = 1,
    pt: float = 1.0,
    sl: float = 1.0,
) -> NDArray[np.void]:
    """The same with the highs and lows inside bars; the exit is at the barrier, and both in one bar count as ``sl``."""
    c, h, lo = (np.asarray(a, float) for a in (close, high, low))
    best, worst = (h, lo) if side > 0 else (lo, h)
    events = np.asarray(t0, np.int64)
    out = np.zeros(len(events), LABEL)
    for k, start in enumerate(events.tolist()):
        last = min(start + horizon, len(c) - 1)
        touch, at, r = 0, last, side * (c[last] / c[start] - 1.0)
        for j in range(start + 1, last + 1):
            if sl > 0.0 and side * (worst[j] / c[start] - 1.0) <= -sl * target:
                touch, at, r = 2, j, -sl * target
                break
            if pt > 0.0 and side * (best[j] / c[start] - 1.0) >= pt * target:
                touch, at, r = 1, j, pt * target
                break
        out[k] = (start, touch, at, r, start + horizon <= len(c) - 1)
    return out


def bet_size(p: float) -> tuple[float, float]:
    """(z, m) with z = (p - ½)/√(p(1-p)) and m = 2Φ(z) - 1 for the probability of the chosen side; ±1 at certainty."""
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"a probability is needed, got {p}")
    spread = math.sqrt(p * (1.0 - p))
    z = (p - 0.5) / spread if spread > 0.0 else math.copysign(math.inf, p - 0.5)
    return z, math.erf(z / math.sqrt(2.0))


def discretise(m: float, step: float) -> float:
    """Nearest multiple of ``step`` within ±1."""
    return min(max(round(m / step) * step, -1.0), 1.0)
