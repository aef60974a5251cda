"""Avellaneda & Stoikov, "High-frequency trading in a limit order book", Quantitative Finance 8(3), 2008.

Finite horizon. The caller chooses what tau is: T - t of a session, or a constant for a rolling horizon. The quotes
are the first-order expansion of the exact solution (``mm.models.glft``) for small tau; at long horizons they overstate
skew and spread.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from mm.core.jit import hot_kernel
from mm.core.types import Rec
from mm.models.base import set_affine
from mm.models.glft import log1p_ratio


class ASQuotes(NamedTuple):
    """Prices and distances in the unit of ``s``; ``delta_*`` are distances from the mid and may be negative."""

    reservation_price: float
    reservation_ask: float
    reservation_bid: float
    spread: float
    spread_inventory_term: float
    spread_liquidity_term: float
    bid: float
    ask: float
    delta_bid: float
    delta_ask: float


@hot_kernel
def terms(gamma: float, sigma: float, tau: float, k: float, delta: float) -> tuple[float, float]:
    """(inventory term γσ²τΔ, liquidity term (2/γΔ)·ln(1+γΔ/k)) of the total spread, eq. (30); γ=0 gives (0, 2/k)."""
    return gamma * sigma * sigma * tau * delta, 2.0 / k * log1p_ratio(gamma * delta / k)


def quotes(
    s: float, q: float, gamma: float, sigma: float, tau: float, k: float, delta: float = 1.0, mu: float = 0.0
) -> ASQuotes:
    """Optimal quotes, eq. (6)-(8), (29), (30), with order size ``delta`` and drift ``mu`` (r = s + μτ - qγσ²τ).

    Units: s price; q base; gamma 1/quote; sigma price/√s; tau s; k 1/price; delta base; mu price/s.
    """
    inventory, liquidity = terms(gamma, sigma, tau, k, delta)
    lean = q * gamma * sigma * sigma * tau - mu * tau
    half = 0.5 * (inventory + liquidity)
    r = s - lean
    delta_bid, delta_ask = half + lean, half - lean
    return ASQuotes(
        reservation_price=r,
        reservation_ask=r + 0.5 * inventory,
        reservation_bid=r - 0.5 * inventory,
        spread=inventory + liquidity,
        spread_inventory_term=inventory,
        spread_liquidity_term=liquidity,
        bid=s - delta_bid,
        ask=s + delta_ask,
        delta_bid=delta_bid,
        delta_ask=delta_ask,
    )


@hot_kernel
def refresh(pol: Rec, p: Rec, sigma: float, tau_s: float) -> None:
    """Affine policy in ticks and orders for the remaining horizon ``tau_s``."""
    if not (p.kappa > 0.0 and p.gamma >= 0.0 and sigma >= 0.0 and tau_s >= 0.0):
        set_affine(pol, math.nan, math.nan, math.nan)
        return
    inventory, liquidity = terms(p.gamma, sigma, tau_s, p.kappa, 1.0)
    set_affine(pol, 0.5 * (inventory + liquidity), inventory, -p.mu * tau_s)
