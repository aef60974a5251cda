"""The linear algebra of GLFT: ground state and exponential of T = diag(e) - (ones beside it), e convex, min(e) = 0.

A general eigensolver gives small components of the ground state an absolute error of 1e-16 of the largest, which is
useless here: quotes are *ratios* of neighbouring components that may span hundreds of orders of magnitude. So both
kernels work on rho_i = ln(v_i/v_{i+1}) and only ever add positive numbers (or subtract stably towards the minimum),
which keeps every ratio accurate and cannot under- or overflow.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mm.core.jit import kernel

Floats = NDArray[np.float64]

BLOCK: Final = 30.0  # largest exponent that one block of the Taylor series covers
MAX_BLOCKS: Final = 20_000  # step budget: about a second for the largest table, milliseconds in practice
CONVERGED: Final = 1e-12  # distance from the stationary ratios at which time no longer matters


@kernel
def lowest_site(e: Floats) -> int:
    """Index of the smallest entry; the middle one when the middle is as small as any."""
    best = e.size // 2
    for i in range(e.size):
        if e[i] < e[best]:
            best = i
    return best


@kernel
def is_positive(e: Floats, x: float, m: int) -> bool:
    """T + x is positive definite: every pivot is, eliminating from both ends towards ``m``."""
    right = math.inf
    for i in range(e.size - 1, m, -1):
        right = e[i] + x - 1.0 / right
        if right <= 0.0:
            return False
    left = math.inf
    for i in range(m):
        left = e[i] + x - 1.0 / left
        if left <= 0.0:
            return False
    return bool(e[m] + x - 1.0 / right - 1.0 / left > 0.0)


@kernel
def ground_state(e: Floats, rho: Floats) -> float:
    """Smallest eigenvalue -x of T by bisection; returns x and fills ``rho`` with ln(v_i/v_{i+1}) of its eigenvector.

    0 <= x <= 2 because min(e) = 0. The eigenvector is the minimal solution of the three-term recurrence from either
    end, so the recurrence in ratios is stable towards the lowest site.
    """
    m = lowest_site(e)
    low, high = 0.0, 2.0
    while True:
        mid = 0.5 * (low + high)
        if mid <= low or mid >= high:
            break
        if is_positive(e, mid, m):
            high = mid
        else:
            low = mid
    ratio = math.inf
    for i in range(e.size - 1, m, -1):
        ratio = e[i] + high - 1.0 / ratio  # v_{i-1}/v_i
        rho[i - 1] = math.log(ratio)
    ratio = math.inf
    for i in range(m):
        ratio = e[i] + high - 1.0 / ratio  # v_{i+1}/v_i
        rho[i] = -math.log(ratio)
    return high


@kernel
def march(e: Floats, rho: Floats, limit: Floats, x: float, s: float) -> tuple[bool, float]:
    """Apply exp(-T·s) to v: ``rho`` in and out is ln(v_i/v_{i+1}); returns (success, ln of the growth of the middle v).

    exp(-T s) = exp(-c s)·exp((c - T) s) with c = max(e): a series of positive terms. Before each block v is scaled to
    ones, which puts the neighbours' ratios beside the diagonal. Stops early once ``rho`` has reached ``limit``, the
    ratios of the ground state -x: from there on v only grows by exp(x s).
    """
    n = e.size
    c = e[0]
    for i in range(n):
        c = max(c, e[i])
    up, down, diag = np.empty(n), np.empty(n), np.empty(n)
    total, term, new = np.empty(n), np.empty(n), np.empty(n)
    mid = n // 2
    gain = 0.0
    for _ in range(MAX_BLOCKS):
        gap = 0.0
        for i in range(n - 1):
            gap = max(gap, abs(rho[i] - limit[i]))
        if s <= 0.0 or gap < CONVERGED:
            return math.isfinite(gap), gain + x * max(s, 0.0)
        rows = 0.0
        for i in range(n):
            diag[i] = c - e[i]
            up[i] = math.exp(-rho[i]) if i < n - 1 else 0.0
            down[i] = math.exp(rho[i - 1]) if i > 0 else 0.0
            rows = max(rows, diag[i] + up[i] + down[i])
        if not math.isfinite(rows):
            return False, gain
        h = min(s, BLOCK / rows)
        if s - h < 1e-14 * s:
            h = s
        total[:] = 1.0
        term[:] = 1.0
        j = 0
        largest = 1.0
        while largest > 1e-17:
            j += 1
            w = h / j
            new[0] = w * (diag[0] * term[0] + up[0] * term[1])
            new[n - 1] = w * (diag[n - 1] * term[n - 1] + down[n - 1] * term[n - 2])
            for i in range(1, n - 1):
                new[i] = w * (diag[i] * term[i] + up[i] * term[i + 1] + down[i] * term[i - 1])
            largest = 0.0
            for i in range(n):
                total[i] += new[i]
                largest = max(largest, new[i])
            term, new = new, term
        for i in range(n - 1):
            rho[i] += math.log(total[i] / total[i + 1])
        gain += math.log(total[mid]) - c * h
        s -= h
    return False, gain
