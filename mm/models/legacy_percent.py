"""Model ``legacy_percent``: the percent formula of the seed document D0, kept for comparison only. Do not trade it.

What is wrong with it: γσ²τ + (2/γ)·ln(1+γ/k) is a *price*; D0 puts in σ as a daily fraction and reads the result as a
fraction of price. With its defaults that is 129 % of price, of which the inventory term is 0.003 %, so the clamp
[min, max] always decides and γ, σ and k move nothing (``clamp_binds``). The skew multiplies the spread by
(1 ± q/q_max), which equals Avellaneda-Stoikov for no choice of parameters; its ``time_factor`` is left out (1).
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from mm.core.jit import hot_kernel
from mm.core.types import Rec
from mm.models.base import set_affine, set_none
from mm.models.glft import log1p_ratio

DAY_S: Final = 86_400.0


class PercentSpread(NamedTuple):
    """The formula's parts, all taken for fractions of price."""

    raw: float
    inventory_term: float
    liquidity_term: float
    share_of_inventory_term: float
    after_clamp: float
    clamp_binds: bool


def spread_fraction(
    gamma: float, k: float, sigma_fraction: float, tau: float, min_spread: float, max_spread: float
) -> PercentSpread:
    """The seed's spread before skew: ``sigma_fraction`` per √day, ``tau`` in days, the bounds as fractions of price."""
    inventory = gamma * sigma_fraction * sigma_fraction * tau
    liquidity = 2.0 / k * log1p_ratio(gamma / k)
    raw = inventory + liquidity
    clamped = min(max(raw, min_spread), max_spread)
    return PercentSpread(raw, inventory, liquidity, inventory / raw, clamped, clamped != raw)


def equivalent_skew(q: float, gamma: float, sigma: float, tau: float, spread: float) -> float:
    """The multiplier s with which bid half·(1+s), ask half·(1-s) would equal Avellaneda-Stoikov."""
    return q * gamma * sigma * sigma * tau / (0.5 * spread)


@hot_kernel
def refresh(pol: Rec, p: Rec, sigma: float, tau_s: float) -> None:
    """Affine policy: each side a clamped fraction of ``mid_ticks``, times (1 ± q/n_lots); gamma, kappa as they come."""
    if not (p.kappa > 0.0 and p.gamma >= 0.0 and sigma >= 0.0 and tau_s >= 0.0 and p.mid_ticks > 0.0 and p.n_lots >= 1):
        set_none(pol)
        return
    sigma_fraction = sigma / p.mid_ticks * math.sqrt(DAY_S)
    raw = p.gamma * sigma_fraction * sigma_fraction * tau_s / DAY_S + 2.0 / p.kappa * log1p_ratio(p.gamma / p.kappa)
    each_side = min(max(raw, p.min_fraction), p.max_fraction) * p.mid_ticks
    set_affine(pol, each_side, each_side / p.n_lots, 0.0)
