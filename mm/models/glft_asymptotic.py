"""Model ``glft_asymptotic``: the closed form of GLFT 2013 sec. 4-5 (2017 eq. 4.6-4.7). Affine, independent of time."""

from __future__ import annotations

from mm.core.jit import hot_kernel
from mm.core.types import Rec
from mm.models.base import arrivals, set_affine, set_none, xi_of
from mm.models.glft import closed_form, solvable


@hot_kernel
def refresh(pol: Rec, p: Rec, sigma: float, tau_s: float) -> None:  # noqa: ARG001 - one signature for all models
    """Affine policy in ticks and orders. ``tau_s`` has no influence."""
    xi = xi_of(p)
    if not solvable(p.gamma, p.kappa, arrivals(p), sigma, 1.0, xi, 1):
        set_none(pol)
        return
    _, _, half, skew, offset = closed_form(p.gamma, p.kappa, arrivals(p), sigma, 1.0, xi, p.mu, p.impact)
    set_affine(pol, half, skew, offset)
