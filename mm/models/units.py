"""Between dollars and the scale-free form: price unit u, size unit Δ (one order).

σ̂ = σ/u [1/√s], k̂ = k·u, γ̂ = γ·u·Δ, Â = A, q̂ = q/Δ, δ̂ = δ/u. Any quote computed with the hatted numbers and order
size 1, times u, equals the quote computed in dollars.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

DAY_S: Final = 86_400.0
BPS: Final = 1e-4


class ScaleFree(NamedTuple):
    """Parameters in units of one price unit and one order."""

    gamma: float  # 1/(unit·order)
    kappa: float  # 1/unit
    A: float  # 1/s
    sigma: float  # units/√s


def sigma_from_daily(mid: float, sigma_daily: float) -> float:
    """Price volatility [price/√s] from a daily return volatility (0.02 = 2 %/day)."""
    return mid * sigma_daily / math.sqrt(DAY_S)


def to_scale_free(gamma: float, kappa: float, A: float, sigma: float, unit: float, lot: float) -> ScaleFree:
    """From gamma [1/quote], kappa [1/price], sigma [price/√s] to price unit ``unit`` and order size ``lot`` [base]."""
    return ScaleFree(gamma * unit * lot, kappa * unit, A, sigma / unit)


def from_scale_free(params: ScaleFree, unit: float, lot: float) -> ScaleFree:
    """The inverse of ``to_scale_free``: numbers in quote and base currency."""
    return ScaleFree(params.gamma / (unit * lot), params.kappa / unit, params.A, params.sigma * unit)


def to_bps(price_difference: float, mid: float) -> float:
    """A price difference in basis points of the mid."""
    return price_difference / (mid * BPS)
