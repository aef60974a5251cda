"""What a quote model produces: a *policy*, refreshed now and then, evaluated at every decision.

Everything here is scale-free: the price unit is one tick, the size unit one order. gamma [1/(tick·order)], kappa
[1/tick], A [1/s, one side], sigma [ticks/√s], mu [ticks/s], impact [ticks], q [orders, may be fractional], tau [s].
A policy is affine in q (``half_spread``, ``skew``, ``offset``) or a table over q = -n_lots..n_lots.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from mm.core.jit import hot_kernel
from mm.core.types import Rec

MAX_Q: Final = 50  # largest inventory limit of a table, in orders

NO_QUOTE: Final = 0  # also what a zeroed record means
AFFINE: Final = 1
TABLE: Final = 2

POLICY = np.dtype(
    [
        ("kind", "i8"),
        ("half_spread", "f8"),  # ticks
        ("skew", "f8"),  # ticks per order of inventory
        ("offset", "f8"),  # ticks added to the bid's distance and taken from the ask's (drift)
        ("n_lots", "i8"),  # TABLE: inventory limit
        ("draw", "i8"),  # random_control: where its sequence is
        ("c1", "f8"), ("c2", "f8"),  # glft_asymptotic: what does not depend on the volatility, and of what it is
        ("of_gamma", "f8"), ("of_xi", "f8"), ("of_kappa", "f8"), ("of_A", "f8"), ("of_impact", "f8"), ("of_fee", "f8"),
        ("delta_bid", "f8", (2 * MAX_Q + 1,)),  # TABLE: ticks below the reference price at q = i - n_lots
        ("delta_ask", "f8", (2 * MAX_Q + 1,)),
    ]
)  # fmt: skip

MODEL_PARAMS = np.dtype(
    [
        ("model_id", "i8"),
        ("table", "i8"),  # 1: the policy is a table, and making one allocates
        ("n_lots", "i8"),  # inventory limit in orders (tables, legacy_percent)
        ("gamma", "f8"),
        ("kappa", "f8"),
        ("A", "f8"),
        ("sigma", "f8"),  # configured value; refresh() takes the estimate in use as an argument
        ("xi", "f8"),  # execution-risk aversion; negative means "equal to gamma"
        ("mu", "f8"),  # drift
        ("impact", "f8"),  # price move against us per fill
        ("fee", "f8"),  # ticks that every fill pays, when the quotes are to know
        ("horizon_s", "f8"),  # read by the caller, who turns it into tau
        ("mid_ticks", "f8"),  # legacy_percent: the price that its fractions refer to
        ("min_fraction", "f8"),  # legacy_percent: bounds of the spread as fractions of price
        ("max_fraction", "f8"),
        ("seed", "i8"),  # random_control
        # A and kappa estimated in flight: written and read by mm.strategy.dynamic
        ("dynamic", "i8"),  # 1: they are
        ("static_A", "f8"),  # the config's
        ("static_kappa", "f8"),
        ("min_orders", "f8"),  # the gates
        ("max_misfit", "f8"),
        ("within", "f8"),  # an estimate this many times above or below the config's is not believed
        ("params_reason", "i8"),  # where A and kappa come from now, a code of mm.strategy.dynamic
        ("refreshes", "i8", (6,)),  # by that code
    ]
)


@hot_kernel
def xi_of(p: Rec) -> float:
    """Execution-risk aversion: ``xi``, or ``gamma`` when it is negative."""
    return float(p.gamma if p.xi < 0.0 else p.xi)


@hot_kernel
def arrivals(p: Rec) -> float:
    """Fill rate at one fee from the reference price: what A is to quotes that start there (``step_out``)."""
    return float(p.A * math.exp(-p.kappa * p.fee))


@hot_kernel
def step_out(pol: Rec, fee: float) -> None:
    """Move both sides out by a fee [ticks].

    A fill at depth δ earns δ - fee. With δ' = δ - fee that is the problem without a fee, at the fill rate
    A·exp(-kappa·fee)·exp(-kappa·δ'): its quotes, one fee further out, are the optimal ones.
    """
    if pol.kind == AFFINE:
        pol.half_spread += fee
    elif pol.kind == TABLE:
        for i in range(2 * pol.n_lots + 1):
            pol.delta_bid[i] += fee
            pol.delta_ask[i] += fee


@hot_kernel
def set_none(pol: Rec) -> None:
    """The policy quotes nothing: parameters are degenerate."""
    pol.kind = NO_QUOTE
    pol.half_spread = math.nan
    pol.skew = math.nan
    pol.offset = math.nan


@hot_kernel
def set_affine(pol: Rec, half_spread: float, skew: float, offset: float) -> None:
    """delta_bid = half_spread + skew·q + offset, delta_ask = half_spread - skew·q - offset (ticks)."""
    if not (math.isfinite(half_spread) and math.isfinite(skew) and math.isfinite(offset)):
        set_none(pol)
        return
    pol.kind = AFFINE
    pol.half_spread = half_spread
    pol.skew = skew
    pol.offset = offset


@hot_kernel
def fits_table(n_lots: int) -> bool:
    """A table policy can hold this inventory limit."""
    return 1 <= n_lots <= MAX_Q


@hot_kernel
def interpolate(table: np.ndarray, n_lots: int, q: float) -> float:
    """Linear interpolation of a table at inventory q; beyond the limits the value at the limit. nan spreads."""
    x = min(max(q + n_lots, 0.0), 2.0 * n_lots)
    i = int(x)
    w = x - i
    if w == 0.0:
        return float(table[i])
    return float(table[i] * (1.0 - w) + table[i + 1] * w)


@hot_kernel
def deltas(pol: Rec, q: float) -> tuple[float, float]:
    """(delta_bid, delta_ask) in ticks from the reference price at inventory q [orders]; nan: no quote on that side.

    A table has no bid at q = n_lots, hence none for q > n_lots - 1 either (one more order would pass the limit), and
    mirrored for the ask. Beyond the limit the reducing side keeps its value at the limit.
    """
    if pol.kind == AFFINE:
        lean = pol.skew * q + pol.offset
        return pol.half_spread + lean, pol.half_spread - lean
    if pol.kind == TABLE:
        return interpolate(pol.delta_bid, pol.n_lots, q), interpolate(pol.delta_ask, pol.n_lots, q)
    return math.nan, math.nan
