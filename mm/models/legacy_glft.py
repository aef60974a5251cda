"""Model ``legacy_glft``: the formula of the seed document D4, kept for comparison only. Do not trade it.

What is wrong with it:
- the first term (1/κ)·ln(1+κ/γ) has γ and κ swapped; it grows without bound as γ → 0, where (1/γ)·ln(1+γ/κ) → 1/κ;
- sqrt(e·σ²γ/(2Aκ)) is the small-γ limit of the skew *per order*; as a half spread it is twice too large;
- the skew γσ²/(2Aκ) has the unit price² instead of price: a square root (and e) is missing.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from mm.core.jit import hot_kernel
from mm.core.types import Rec
from mm.models.base import set_affine, set_none


class LegacyGlft(NamedTuple):
    """The seed's numbers for order size 1, with its own two terms of the half spread."""

    half_spread: float
    skew: float
    first_term: float
    second_term: float


@hot_kernel
def coefficients(gamma: float, k: float, A: float, sigma: float) -> tuple[float, float, float]:
    """(first term, second term, skew) for order size 1; the half spread is the sum of the terms. Needs gamma > 0."""
    variance_cost = gamma * sigma * sigma / (2.0 * A * k)
    return math.log1p(k / gamma) / k, math.sqrt(math.e * variance_cost), variance_cost


def seed_formula(gamma: float, k: float, A: float, sigma: float) -> LegacyGlft:
    """The formula as the seed document has it; the first term is infinite at gamma = 0."""
    if not gamma > 0.0:
        return LegacyGlft(math.inf, 0.0, math.inf, 0.0)
    first, second, skew = coefficients(float(gamma), float(k), float(A), float(sigma))
    return LegacyGlft(first + second, skew, first, second)


def small_gamma_limit(gamma: float, k: float, A: float, sigma: float) -> tuple[float, float]:
    """(half spread, skew) of the *right* closed form for γ ≪ κ: what the seed formula was meant to be."""
    skew = math.sqrt(math.e * sigma * sigma * gamma / (2.0 * k * A))
    return 1.0 / k + 0.5 * skew, skew


@hot_kernel
def refresh(pol: Rec, p: Rec, sigma: float, tau_s: float) -> None:  # noqa: ARG001 - one signature for all models
    """Affine policy in ticks and orders, as wrong as the document has it."""
    if not (p.gamma > 0.0 and p.kappa > 0.0 and p.A > 0.0 and sigma >= 0.0):
        set_none(pol)
        return
    first, second, skew = coefficients(p.gamma, p.kappa, p.A, sigma)
    set_affine(pol, first + second, skew, 0.0)
