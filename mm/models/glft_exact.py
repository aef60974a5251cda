"""Model ``glft_exact``: GLFT 2013 Theorem 1, ``tau`` seconds before the horizon. A table over ±n_lots orders."""

from __future__ import annotations

import numpy as np

from mm.core.jit import kernel
from mm.core.types import Rec
from mm.models.base import TABLE, arrivals, fits_table, set_none, xi_of
from mm.models.glft import build, finite_ratios, liquidity_term, solvable, table_from_ratios, terminal_ratios


@kernel
def refresh(pol: Rec, p: Rec, sigma: float, tau_s: float) -> None:
    """Table in ticks and orders for the remaining horizon ``tau_s``; n_lots above ``MAX_Q`` gives no quotes."""
    xi = xi_of(p)
    n = p.n_lots
    if not (tau_s >= 0.0 and fits_table(n) and solvable(p.gamma, p.kappa, arrivals(p), sigma, 1.0, xi, n)):
        set_none(pol)
        return
    e = np.empty(2 * n + 1)
    eta, _ = build(p.gamma, p.kappa, arrivals(p), sigma, 1.0, xi, p.mu, p.impact, e)
    rho = np.empty(2 * n)
    terminal_ratios(p.kappa, p.impact, rho)
    if eta == 0.0 or not finite_ratios(e, eta, tau_s, rho)[0]:
        set_none(pol)
        return
    base = liquidity_term(p.kappa, xi, 1.0) + 0.5 * p.impact
    pol.kind = TABLE
    pol.n_lots = n
    table_from_ratios(rho, p.kappa, base, pol.delta_bid, pol.delta_ask)
