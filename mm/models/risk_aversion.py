"""Choosing gamma from something a person can state: the inventory at which one would sell at the mid."""

from __future__ import annotations

import math

from mm.core.jit import kernel
from mm.errors import ConfigError
from mm.models.glft import closed_form


def gamma_from_qmax(
    k: float, A: float, sigma: float, q_max: float, xi: float | None = None, delta: float = 1.0
) -> float:
    """The gamma at which the closed-form ask sits on the mid at inventory ``q_max``: half_spread = skew·q_max.

    Units as in ``mm.models.glft`` (or scale-free, with delta = 1 and q_max in orders). half_spread - skew·q_max falls
    from 1/k at gamma = 0 without bound, so there is one root when q_max > delta/2. Raises ``ConfigError`` when there
    is none.
    """
    if not (k > 0.0 and A > 0.0 and sigma > 0.0 and delta > 0.0 and q_max > 0.5 * delta):
        raise ConfigError(
            "gamma from q_max needs k, A, sigma > 0 and q_max above half an order; "
            f"got k={k} A={A} sigma={sigma} q_max={q_max} order={delta}"
        )

    gamma = _root(float(k), float(A), float(sigma), float(q_max), -1.0 if xi is None else float(xi), float(delta))
    if math.isnan(gamma):
        raise ConfigError(
            f"gamma from q_max: no gamma reaches the mid at q_max={q_max} with k={k:g}, A={A:g}, sigma={sigma:g}; "
            "is one of them in another unit?"
        )
    return float(gamma)


@kernel
def _ask_offset(log_gamma: float, k: float, A: float, sigma: float, q_max: float, xi: float, delta: float) -> float:
    gamma = math.exp(log_gamma)
    _, _, half, skew, _ = closed_form(gamma, k, A, sigma, delta, gamma if xi < 0.0 else xi, 0.0, 0.0)
    return float(half - skew * q_max)


@kernel
def _root(k: float, A: float, sigma: float, q_max: float, xi: float, delta: float) -> float:
    """The root by bisection down to the last bit; nan when there is none, ``xi`` negative for "equal to gamma"."""
    low = math.log(k / delta)
    high = low
    while _ask_offset(low, k, A, sigma, q_max, xi, delta) <= 0.0:
        low -= 4.0
    while _ask_offset(high, k, A, sigma, q_max, xi, delta) > 0.0:
        high += 4.0
        if high > 600.0:
            return math.nan
    while True:
        mid = 0.5 * (low + high)
        if mid <= low or mid >= high:
            return math.exp(mid)
        if _ask_offset(mid, k, A, sigma, q_max, xi, delta) > 0.0:
            low = mid
        else:
            high = mid
