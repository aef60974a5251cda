"""``params: dynamic``: the model quotes on A and kappa as estimated in flight while they can be trusted.

The estimate itself is a feature of the market (``mm.models.flow``), the same for every strategy that looks at it; here
is the verdict of one strategy. What fails a gate falls back to the config's values, and says why.
"""

from __future__ import annotations

from typing import Final

from mm.core.jit import hot_kernel
from mm.core.types import Rec

STATIC: Final = 0
ESTIMATED: Final = 1
TOO_FEW: Final = 2
POOR_FIT: Final = 3
KAPPA_AT_BOUND: Final = 4
A_AT_BOUND: Final = 5
PARAMS_REASONS: Final = (
    "static", "estimated", "too_few_arrivals", "poor_fit", "kappa_at_bound", "A_at_bound",
)  # fmt: skip
"""Where A and kappa of the policy come from; all but ``estimated`` are the config's values."""


@hot_kernel
def verdict(f: Rec, m: Rec) -> int:
    """One of ``PARAMS_REASONS`` for the estimate in the features, under the gates of model parameters ``m``."""
    if not f.flow_orders >= m.min_orders:
        return TOO_FEW
    if not f.flow_misfit <= m.max_misfit:
        return POOR_FIT
    if not m.static_kappa / m.within <= f.flow_kappa <= m.static_kappa * m.within:
        return KAPPA_AT_BOUND
    if not m.static_A / m.within <= f.flow_A <= m.static_A * m.within:
        return A_AT_BOUND
    return ESTIMATED


@hot_kernel
def choose_params(f: Rec, m: Rec) -> bool:
    """Put the A and kappa to quote on into ``m``, with the reason; returns whether they changed."""
    if m.dynamic == 0:
        return False
    reason = verdict(f, m)
    m.params_reason = reason
    m.refreshes[reason] += 1
    A, kappa = m.static_A, m.static_kappa
    if reason == ESTIMATED:
        A, kappa = f.flow_A, f.flow_kappa
    changed = bool(m.A != A or m.kappa != kappa)
    m.A = A
    m.kappa = kappa
    return changed
