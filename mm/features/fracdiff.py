"""Fixed-width fractional differentiation (López de Prado, AFML snippet 5.3)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
MAX_WEIGHTS = 1_000_000


def ffd_weights(d: float, threshold: float) -> Floats:
    """w_0 = 1, w_k = -w_{k-1}(d - k + 1)/k, kept while |w_k| >= threshold. ``ValueError`` when they never get there."""
    if not threshold > 0.0:
        raise ValueError(f"the threshold must be positive, got {threshold}")
    weights = [1.0]
    while len(weights) < MAX_WEIGHTS:
        k = len(weights)
        w = -weights[-1] * (d - k + 1) / k
        if abs(w) < threshold:
            return np.array(weights)
        weights.append(w)
    raise ValueError(f"d={d}: more than {MAX_WEIGHTS} weights above {threshold}")


def ffd(x: ArrayLike, d: float, threshold: float) -> Floats:
    """y_t = Σ w_k x_{t-k} from t = len(weights) - 1 on, nan before; shape of ``x``."""
    values = np.asarray(x, float)
    w = ffd_weights(d, threshold)
    out = np.full(len(values), np.nan)
    if len(values) >= len(w):
        out[len(w) - 1 :] = np.convolve(values, w, mode="valid")
    return out
