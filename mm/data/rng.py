"""Random numbers inside kernels: MRG32k3a with its state in an array of six integers.

L'Ecuyer 1999, "Good parameters and implementations for combined multiple recursive random number generators": period
2^191, and every product fits in a signed 64-bit integer, so compiled and plain Python draw the same numbers. State in
an array (and not numba's hidden global generator) makes a stream that depends on its seed alone.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from mm.core.jit import kernel

State = NDArray[np.int64]


def seed_rng(seed: int) -> State:
    """Six valid state integers from any non-negative seed."""
    words = np.random.SeedSequence(seed).generate_state(6, np.uint32).astype(np.int64)
    return np.asarray(words % 4294944442 + 1, np.int64)


@kernel
def uniform(rng: State) -> float:
    """One MRG32k3a draw in (0, 1); ``rng`` holds its six integers."""
    a = (1403580 * rng[1] - 810728 * rng[0]) % 4294967087
    rng[0], rng[1], rng[2] = rng[1], rng[2], a
    b = (527612 * rng[5] - 1370589 * rng[3]) % 4294944443
    rng[3], rng[4], rng[5] = rng[4], rng[5], b
    d = (a - b) % 4294967087
    return (d if d > 0 else 4294967087) * 2.328306549295727688e-10


@kernel
def expo(rng: State, mean: float) -> float:
    """Draw an exponential with this mean."""
    return -math.log(uniform(rng)) * mean


@kernel
def normal(rng: State) -> float:
    """Draw a standard normal (Box-Muller)."""
    return math.sqrt(-2.0 * math.log(uniform(rng))) * math.cos(2.0 * math.pi * uniform(rng))


@kernel
def lognormal(rng: State, log_mean: float, log_sd: float) -> int:
    """Draw a lognormal rounded down to whole lots, at least one."""
    return max(1, int(math.exp(log_mean + log_sd * normal(rng))))
