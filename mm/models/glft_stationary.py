"""Model ``glft_stationary``: GLFT 2013 Theorem 2, infinitely far from the horizon. A table over ±n_lots orders."""

from __future__ import annotations

import numpy as np

from mm.core.jit import kernel
from mm.core.types import Rec
from mm.models.base import TABLE, arrivals, fits_table, set_none, xi_of
from mm.models.glft import build, liquidity_term, solvable, table_from_ratios
from mm.models.tridiagonal import ground_state


@kernel
def refresh(pol: Rec, p: Rec, sigma: float, tau_s: float) -> None:  # noqa: ARG001 - one signature for all models
    """Table in ticks and orders. ``tau_s`` has no influence; n_lots above ``MAX_Q`` gives no quotes."""
    xi = xi_of(p)
    n = p.n_lots
    if not (fits_table(n) and solvable(p.gamma, p.kappa, arrivals(p), sigma, 1.0, xi, n)):
        set_none(pol)
        return
    e = np.empty(2 * n + 1)
    eta, _ = build(p.gamma, p.kappa, arrivals(p), sigma, 1.0, xi, p.mu, p.impact, e)
    if eta == 0.0:
        set_none(pol)
        return
    rho = np.empty(2 * n)
    ground_state(e, rho)
    base = liquidity_term(p.kappa, xi, 1.0) + 0.5 * p.impact
    pol.kind = TABLE
    pol.n_lots = n
    table_from_ratios(rho, p.kappa, base, pol.delta_bid, pol.delta_ask)
