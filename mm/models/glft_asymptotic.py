"""Model ``glft_asymptotic``: the closed form of GLFT 2013 sec. 4-5 (2017 eq. 4.6-4.7). Affine, independent of time."""

from __future__ import annotations

from mm.core.jit import hot_kernel
from mm.core.types import Rec
from mm.models.base import arrivals, set_affine, set_none, xi_of
from mm.models.glft import coefficients, solvable, spread_and_skew


@hot_kernel
def refresh(pol: Rec, p: Rec, sigma: float, tau_s: float) -> None:  # noqa: ARG001 - one signature for all models
    """Affine policy in ticks and orders. ``tau_s`` has no influence.

    The coefficients, most of the work, are kept while only the volatility moves.
    """
    xi = xi_of(p)
    if not solvable(p.gamma, p.kappa, p.A, sigma, 1.0, xi, 1):
        set_none(pol)
        return
    kept = pol.of_gamma == p.gamma and pol.of_xi == xi and pol.of_kappa == p.kappa and pol.of_A == p.A
    if not (kept and pol.of_impact == p.impact and pol.of_fee == p.fee):
        pol.of_gamma, pol.of_xi, pol.of_kappa, pol.of_A = p.gamma, xi, p.kappa, p.A
        pol.of_impact, pol.of_fee = p.impact, p.fee
        pol.c1, pol.c2 = coefficients(p.gamma, p.kappa, arrivals(p), 1.0, xi, p.impact)
    half, skew, offset = spread_and_skew(pol.c1, pol.c2, p.gamma, sigma, 1.0, p.mu, p.impact)
    set_affine(pol, half, skew, offset)
