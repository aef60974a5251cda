"""A and kappa in flight: an exponentially weighted estimate from the market events themselves, live and simulated.

The estimator of ``mm.models.calibrate`` with weights that halve every half-life, O(1) per event: sums over orders, and
the time-weighted moments of the half spread. Weights run on the receive clock, orders are told apart by the exchange
clock (``mm.models.arrivals``). Both shells feed the same kernels, so they hold the same numbers.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from mm.core.jit import hot_kernel
from mm.core.types import Rec
from mm.models.arrivals import DEEPER, NEW, TRACKER, track_touch, track_trade

BINS: Final = 20  # of excess: 0, 1, 2-3, 4-7, ...
HURDLE: Final = 0.15  # a fit of all orders that misses by more leaves out those that took the touch alone
_GROWTH: Final = 48.0  # half-lives after which the weights start again at one
_LN2: Final = math.log(2.0)

_OWN = np.dtype(
    [
        ("halflife_s", "f8"),  # of a weight
        ("every_ns", "i8"),  # between fits; 0: nobody wants an estimate
        ("moved", "i8"),  # 1: the message that is being read has touched the book
        ("zero_ns", "i8"),  # when the weight was one; 0: not started
        ("since_ns", "i8"),  # the half spread has held since then
        ("fit_ns", "i8"),  # of the last fit
        ("half_now", "f8"),  # half spread now, ticks; 0: no valid book
        ("time", "f8"),  # weighted seconds with a valid book
        ("half1", "f8"),  # weighted integral of the half spread
        ("half2", "f8"),  # and of its square
        ("excess_sum", "f8"),  # weighted ticks beyond the touch
        ("orders", "f8", (2,)),  # weighted, sells and buys
        ("deep", "f8", (2,)),  # of them, beyond the touch
        ("open_weight", "f8", (2,)),  # of each side's newest order
        ("reach", "f8", (BINS,)),  # weighted orders by bin of excess
    ]
)
FLOW = np.dtype(_OWN.descr + TRACKER.descr)  # not the other way round: numba would take a FLOW for a TRACKER
"""The estimator's state."""


@hot_kernel
def _bin(excess: int) -> int:
    k = 0
    while excess > 0 and k < BINS - 1:
        excess >>= 1
        k += 1
    return k


@hot_kernel
def _weight(f: Rec, ts_ns: int) -> float:
    """Weight of now: 2 ** half-lives since ``zero_ns``. Starts again at one before it grows out of hand."""
    age = (ts_ns - f.zero_ns) * 1e-9 / f.halflife_s
    if age < _GROWTH:
        return float(2.0**age)
    scale = 2.0**-age
    f.zero_ns = ts_ns
    f.time *= scale
    f.half1 *= scale
    f.half2 *= scale
    f.excess_sum *= scale
    for side in range(2):
        f.orders[side] *= scale
        f.deep[side] *= scale
        f.open_weight[side] *= scale
    for k in range(BINS):
        f.reach[k] *= scale
    return 1.0


@hot_kernel
def flow_trade(f: Rec, buys: bool, tick: int, ts_exch_ns: int, ts_ns: int) -> None:
    """Take a trade: a new order, or the next print of one."""
    if f.zero_ns == 0:
        return
    did = track_trade(f, buys, tick, ts_exch_ns)
    side = 1 if buys else 0
    if did == NEW:
        w = _weight(f, ts_ns)
        f.open_weight[side] = w
        f.orders[side] += w
        f.excess_sum += w * f.excess
        f.reach[_bin(f.excess)] += w
        if f.excess > 0:
            f.deep[side] += w
    elif did == DEEPER:
        w = f.open_weight[side]
        f.excess_sum += w * (f.excess - f.before)
        f.reach[_bin(f.before)] -= w
        f.reach[_bin(f.excess)] += w
        if f.before == 0:
            f.deep[side] += w


@hot_kernel
def _spend(f: Rec, ts_ns: int) -> float:
    """Book the time since the half spread changed last; returns the weight of now."""
    w = _weight(f, ts_ns)
    if f.half_now > 0.0 and ts_ns > f.since_ns:
        spent = f.halflife_s / _LN2 * w * (1.0 - 2.0 ** (-(ts_ns - f.since_ns) * 1e-9 / f.halflife_s))
        f.time += spent
        f.half1 += f.half_now * spent
        f.half2 += f.half_now * f.half_now * spent
    f.since_ns = ts_ns
    return w


@hot_kernel
def flow_touch(f: Rec, out: Rec, ts_exch_ns: int, ts_ns: int) -> None:
    """After a whole message, whose touch is in the features ``out``; now and then a new fit into them."""
    if f.zero_ns == 0:
        if out.valid == 0:
            return
        f.zero_ns = ts_ns
        f.since_ns = ts_ns
        f.fit_ns = ts_ns
        f.moved = 1
    if f.moved:
        bid = out.bid_tick if out.valid else 0
        ask = out.ask_tick if out.valid else 0
        f.moved = 0
        if track_touch(f, ts_exch_ns, bid, ask):
            _spend(f, ts_ns)
            f.half_now = 0.5 * (ask - bid)
    if ts_ns - f.fit_ns >= f.every_ns:
        f.fit_ns = ts_ns
        fit_flow(f, out, _spend(f, ts_ns))


@hot_kernel
def _distance(f: Rec, first: int, n: float, kappa: float) -> float:
    """Largest gap between the share of orders that reach the edge of a bin and exp(-kappa·ticks)."""
    left, worst = n, 0.0
    for k in range(first, BINS - 1):
        left -= f.reach[k]
        worst = max(worst, abs(left / n - math.exp(-kappa * ((1 << k) - first))))
    return worst


@hot_kernel
def fit_flow(f: Rec, out: Rec, weight: float) -> None:
    """Write ``flow_A`` [1/s], ``flow_kappa`` [1/tick], ``flow_orders`` (of the rarer side) and ``flow_misfit``.

    kappa is inf while no order was seen deeper than another, and ``flow_orders`` 0 before there are any.
    """
    n = f.orders[0] + f.orders[1]
    rarer = min(f.orders[0], f.orders[1])
    total = f.excess_sum
    first = 0
    kappa = math.log1p(n / total) if total > 1e-9 * n else math.inf
    out.flow_misfit = _distance(f, 0, n, kappa) if n > 0.0 else 0.0
    if out.flow_misfit > HURDLE:
        first = 1
        n = f.deep[0] + f.deep[1]
        rarer = min(f.deep[0], f.deep[1])
        total -= n
        kappa = math.log1p(n / total) if total > 1e-9 * n else math.inf
        out.flow_misfit = _distance(f, 1, n, kappa) if n > 0.0 else 0.0
    out.flow_orders = rarer / weight
    out.flow_kappa = kappa
    out.flow_A = math.nan
    if f.time > 0.0 and kappa < math.inf:
        mean = f.half1 / f.time
        variance = max(f.half2 / f.time - mean * mean, 0.0)
        # time average of exp(-kappa·half spread), to second order; the spread is never below a tick
        log_reach = min(kappa * (0.5 * kappa * variance - mean), -0.5 * kappa)
        out.flow_A = 0.5 * n / f.time * math.exp(min(kappa * first - log_reach, 700.0))
