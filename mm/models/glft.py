"""Guéant, Lehalle & Fernandez-Tapia, "Dealing with the inventory risk", Math. and Financial Economics 7(4), 2013.

Order size Δ and a separate execution-risk aversion ξ follow Guéant, arXiv:1605.01862 (2017), eq. (4.6)-(4.7).
Units of every function: gamma, xi 1/quote; k 1/price; A 1/s (one side); sigma price/√s; delta (order size) and q base;
mu price/s; impact price; tau s. ``xi=None`` means ξ = γ. The numbers may as well be scale-free (``mm.models.units``).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mm.core.jit import hot_kernel, kernel
from mm.models.tridiagonal import ground_state, march

Floats = NDArray[np.float64]


class Asymptotic(NamedTuple):
    """Closed form: coefficients, half spread [price], skew [price per base], distances from the mid at each q."""

    c1: float
    c2: float
    half_spread: float
    skew: float
    spread: float
    delta_bid: Any
    delta_ask: Any


class QuoteTable(NamedTuple):
    """Optimal distances from the mid [price] on the inventory grid ``q`` [base]; nan: no quote on that side."""

    q: Floats
    delta_bid: Floats
    delta_ask: Floats
    log_value: Floats  # ln v_q; v_0 gives the certainty equivalent of the PnL from flat, ln(v_0)/k


@hot_kernel
def log1p_ratio(z: float) -> float:
    """ln(1+z)/z, 1 at z = 0."""
    return math.log1p(z) / z if z > 0.0 else 1.0


@hot_kernel
def liquidity_term(k: float, xi: float, delta: float) -> float:
    """c1 = ln(1+ξΔ/k)/(ξΔ): the half spread of a maker without inventory; 1/k at ξ=0."""
    return log1p_ratio(xi * delta / k) / k


@hot_kernel
def coefficients(gamma: float, k: float, A: float, delta: float, xi: float, impact: float) -> tuple[float, float]:
    """(c1, c2): what of the closed form does not depend on the volatility."""
    c1 = liquidity_term(k, xi, delta)
    z = xi * delta / k
    growth = 0.5 * (log1p_ratio(z) + math.log1p(z)) + 0.25 * k * impact  # ½·ln (1+z)^(1/z+1), and the impact
    return c1, math.sqrt(gamma / (2.0 * A * delta * k)) * math.exp(growth)


@hot_kernel
def spread_and_skew(
    c1: float, c2: float, gamma: float, sigma: float, delta: float, mu: float, impact: float
) -> tuple[float, float, float]:
    """(half_spread, skew, offset): delta_bid = half + skew·q + offset, delta_ask = half - skew·q - offset."""
    skew = c2 * sigma
    half = c1 + 0.5 * delta * skew + 0.5 * impact
    offset = 0.0
    if mu != 0.0:
        variance_cost = gamma * sigma * sigma
        offset = -skew * mu / variance_cost if variance_cost > 0.0 else math.nan
    return half, skew, offset


@hot_kernel
def closed_form(
    gamma: float, k: float, A: float, sigma: float, delta: float, xi: float, mu: float, impact: float
) -> tuple[float, float, float, float, float]:
    """(c1, c2, half_spread, skew, offset) of ``coefficients`` and ``spread_and_skew``."""
    c1, c2 = coefficients(gamma, k, A, delta, xi, impact)
    half, skew, offset = spread_and_skew(c1, c2, gamma, sigma, delta, mu, impact)
    return c1, c2, half, skew, offset


@kernel
def build(
    gamma: float, k: float, A: float, sigma: float, delta: float, xi: float, mu: float, impact: float, e: Floats
) -> tuple[float, float]:
    """Fill ``e`` with the diagonal of (M - d)/η for q = -n..n orders; returns (η, d), d the smallest diagonal entry.

    M is the paper's matrix: α q² - β q on the diagonal, -η beside it. η = 0 means that it cannot be represented.
    """
    n = (e.size - 1) // 2
    z = xi * delta / k
    eta = A * math.exp(-log1p_ratio(z) - math.log1p(z) - 0.5 * k * impact)
    alpha = 0.5 * k * gamma * sigma * sigma / delta
    beta = k * mu / delta
    low = math.inf
    for i in range(e.size):
        q = (i - n) * delta
        e[i] = alpha * q * q - beta * q
        low = min(low, e[i])
    high = 0.0
    for i in range(e.size):
        e[i] -= low
        high = max(high, e[i])
    if not (high < 1e300 * eta and eta < math.inf):
        return 0.0, low
    for i in range(e.size):
        e[i] /= eta
    return eta, low


@kernel
def terminal_ratios(k: float, impact: float, rho: Floats) -> None:
    """ln v_i/v_{i+1} at the horizon, v = exp(-k·impact·n²/2) with n the inventory in orders."""
    n = rho.size // 2
    for i in range(rho.size):
        rho[i] = 0.5 * k * impact * (2.0 * (i - n) + 1.0)


@kernel
def finite_ratios(e: Floats, eta: float, tau: float, rho: Floats) -> tuple[bool, float]:
    """Move ``rho`` = ln v_i/v_{i+1} from the horizon to ``tau`` before it; (success, gain of ln v_0 without d·τ)."""
    limit = np.empty(rho.size)
    x = ground_state(e, limit)
    return march(e, rho, limit, x, eta * tau)


@kernel
def table_from_ratios(rho: Floats, k: float, base: float, delta_bid: Floats, delta_ask: Floats) -> None:
    """delta_bid(q) = ln(v_q/v_{q+1})/k + base, delta_ask(q) = ln(v_q/v_{q-1})/k + base (Theorem 1)."""
    n = rho.size
    for i in range(n):
        delta_bid[i] = rho[i] / k + base
        delta_ask[i + 1] = -rho[i] / k + base
    delta_bid[n] = math.nan
    delta_ask[0] = math.nan


@hot_kernel
def solvable(gamma: float, k: float, A: float, sigma: float, delta: float, xi: float, n_lots: int) -> bool:
    """The parameters describe a market maker at all (also false for nan)."""
    return gamma >= 0.0 and k > 0.0 and A > 0.0 and sigma >= 0.0 and delta > 0.0 and xi >= 0.0 and n_lots >= 1


def _check(gamma: float, k: float, A: float, sigma: float, delta: float, xi: float, n_lots: int = 1) -> None:
    if not solvable(gamma, k, A, sigma, delta, xi, n_lots):
        raise ValueError(
            "GLFT needs gamma, sigma, xi >= 0 and k, A, delta > 0 and n_lots >= 1; got "
            f"gamma={gamma} k={k} A={A} sigma={sigma} delta={delta} xi={xi} n_lots={n_lots}"
        )


def asymptotic(
    gamma: float,
    k: float,
    A: float,
    sigma: float,
    delta: float = 1.0,
    xi: float | None = None,
    mu: float = 0.0,
    impact: float = 0.0,
    q: ArrayLike = 0.0,
) -> Asymptotic:
    """Closed-form approximation far from the horizon and the inventory limits (sec. 4-5; 2017 eq. 4.6-4.7).

    Distances are nan when a drift has no finite answer (γσ² = 0). Raises ``ValueError`` on impossible parameters.
    """
    xi = gamma if xi is None else xi
    _check(gamma, k, A, sigma, delta, xi)
    c1, c2, half, skew, offset = closed_form(
        float(gamma), float(k), float(A), float(sigma), float(delta), float(xi), float(mu), float(impact)
    )
    lean = skew * np.asarray(q, dtype=float) + offset
    return Asymptotic(c1, c2, half, skew, 2.0 * half, half + lean, half - lean)


def exact(
    gamma: float,
    k: float,
    A: float,
    sigma: float,
    tau: float,
    n_lots: int,
    delta: float = 1.0,
    xi: float | None = None,
    mu: float = 0.0,
    impact: float = 0.0,
) -> QuoteTable:
    """Optimal quotes ``tau`` seconds before the horizon, inventory within ±n_lots orders (Prop. 1-2, Theorem 1).

    Accurate entry by entry for any tau (no under- or overflow). Raises ``ValueError`` on impossible parameters and
    ``ArithmeticError`` when the matrix is too stiff to integrate.
    """
    xi = gamma if xi is None else xi
    _check(gamma, k, A, sigma, delta, xi, n_lots)
    if not tau >= 0.0:
        raise ValueError(f"tau must be >= 0, got {tau}")
    e, eta, low = _matrix(gamma, k, A, sigma, n_lots, delta, xi, mu, impact)
    rho = np.empty(2 * n_lots)
    terminal_ratios(float(k), float(impact), rho)
    done, gain = finite_ratios(e, eta, float(tau), rho)
    if not done:
        raise ArithmeticError(f"GLFT exact: no solution within the step budget (eta={eta:.3g}, max e={e.max():.3g})")
    base = liquidity_term(float(k), float(xi), float(delta)) + 0.5 * impact
    return _table(rho, float(k), base, delta, gain - low * tau)


def stationary(
    gamma: float,
    k: float,
    A: float,
    sigma: float,
    n_lots: int,
    delta: float = 1.0,
    xi: float | None = None,
    mu: float = 0.0,
    impact: float = 0.0,
) -> QuoteTable:
    """Optimal quotes infinitely far from the horizon (Theorem 2): v is the ground state of M, with v_0 = 1."""
    xi = gamma if xi is None else xi
    _check(gamma, k, A, sigma, delta, xi, n_lots)
    e, _, _ = _matrix(gamma, k, A, sigma, n_lots, delta, xi, mu, impact)
    rho = np.empty(2 * n_lots)
    ground_state(e, rho)
    base = liquidity_term(float(k), float(xi), float(delta)) + 0.5 * impact
    return _table(rho, float(k), base, delta, 0.0)


def _matrix(
    gamma: float, k: float, A: float, sigma: float, n_lots: int, delta: float, xi: float, mu: float, impact: float
) -> tuple[Floats, float, float]:
    """(e, η, d) of ``build``, in plain floats so that the kernel is compiled once."""
    e = np.empty(2 * n_lots + 1)
    eta, low = build(
        float(gamma), float(k), float(A), float(sigma), float(delta), float(xi), float(mu), float(impact), e
    )
    if eta == 0.0:
        raise ArithmeticError(f"GLFT matrix cannot be represented: gamma={gamma} k={k} A={A} sigma={sigma} mu={mu}")
    return e, eta, low


def _table(rho: Floats, k: float, base: float, delta: float, log_v0: float) -> QuoteTable:
    n = rho.size // 2
    delta_bid, delta_ask = np.empty(2 * n + 1), np.empty(2 * n + 1)
    table_from_ratios(rho, k, base, delta_bid, delta_ask)
    log_v = np.zeros(2 * n + 1)
    log_v[1:] = -np.cumsum(rho)
    return QuoteTable(delta * np.arange(-n, n + 1, dtype=np.float64), delta_bid, delta_ask, log_v - log_v[n] + log_v0)
