"""``refresh``: from a model's parameters and the current estimates to its quote policy. One line per model.

A chain of comparisons, because numba caches neither functions passed as arguments nor closures. A conformance test
walks the registry and fails when a model is missing here.
"""

from __future__ import annotations

from mm.core.jit import hot_kernel, kernel
from mm.core.types import Rec
from mm.models.avellaneda_stoikov import refresh as avellaneda_stoikov
from mm.models.base import set_none, step_out
from mm.models.glft_asymptotic import refresh as glft_asymptotic
from mm.models.glft_exact import refresh as glft_exact
from mm.models.glft_stationary import refresh as glft_stationary
from mm.models.legacy_glft import refresh as legacy_glft
from mm.models.legacy_percent import refresh as legacy_percent
from mm.models.random_control import refresh as random_control


@hot_kernel
def refresh_affine(pol: Rec, p: Rec, sigma: float, tau_s: float) -> None:
    """``refresh`` of the models whose policy is affine: no allocation, so a replay calls it where it stands."""
    if p.model_id == 1:
        avellaneda_stoikov(pol, p, sigma, tau_s)
    elif p.model_id == 2:
        glft_asymptotic(pol, p, sigma, tau_s)
    elif p.model_id == 5:
        legacy_percent(pol, p, sigma, tau_s)
    elif p.model_id == 6:
        legacy_glft(pol, p, sigma, tau_s)
    elif p.model_id == 7:
        random_control(pol, p, sigma, tau_s)
    else:
        set_none(pol)
    if p.fee != 0.0:
        step_out(pol, p.fee)


@kernel
def refresh(pol: Rec, p: Rec, sigma: float, tau_s: float) -> None:
    """Write the policy of model ``p.model_id`` for volatility ``sigma`` [ticks/√s] and horizon ``tau_s`` into ``pol``.

    Never raises: degenerate parameters and unknown models give a policy without quotes.
    """
    if p.model_id == 3:
        glft_stationary(pol, p, sigma, tau_s)
    elif p.model_id == 4:
        glft_exact(pol, p, sigma, tau_s)
    else:
        refresh_affine(pol, p, sigma, tau_s)
        return
    if p.fee != 0.0:
        step_out(pol, p.fee)
