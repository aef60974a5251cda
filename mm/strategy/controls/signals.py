"""What the controls know of the market: the same for every strategy that looks at it with the same settings.

``take`` sees every complete message, ``look`` puts the values of a decision moment into the FEATURES record. A
simulation does both once per market view, for up to 64 strategies.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from mm.core.jit import hot_kernel
from mm.core.types import FREE, Rec, RecArray
from mm.strategy.controls import adx, drift
from mm.strategy.controls.tick_filter import FILTER, FILTER_STATE, judge
from mm.strategy.features import sample_volatility

VOLATILITY = np.dtype([("mid", "f8"), ("sigma2", "f8"), ("sample_mid", "f8"), ("sample_ns", "i8")])
"""An estimate of its own: the names ``sample_volatility`` works on."""

SIGNALS = np.dtype(
    [
        ("on", "i8"),  # 0: nothing below is asked for
        ("filter", FILTER),
        ("adx", adx.ADX),
        ("displacement_s", "f8"),  # windows, 0: off
        ("momentum_s", "f8"),
        ("sample_ns", "i8"),  # of the volatility guard's own estimate, 0: off
        ("halflife_s", "f8"),
        ("depth_ticks", "i8"),  # levels behind the touch that count as depth; -1: off
    ]
)
"""Settings of the market signals: equal ones share a simulation's view of the market."""

WATCH = np.dtype(
    [
        ("settings", SIGNALS),
        ("filter", FILTER_STATE),
        ("adx", adx.ADX_STATE),
        ("displacement", drift.DRIFT_STATE),
        ("momentum", drift.DRIFT_STATE),
        ("volatility", VOLATILITY),
    ]
)
"""Settings and state."""


@hot_kernel
def take(w: Rec, f: Rec, ts_ns: int) -> None:
    """Take the touch in ``f`` (valid): judge it, and if it is believed, follow it."""
    g = w.settings
    f.suspect = judge(g.filter, w.filter, f.mid) if g.filter.window > 0 else 0
    if f.suspect != 0:
        return
    f.good_mid = f.mid
    f.good_microprice = f.microprice
    if g.displacement_s > 0.0:
        drift.follow(w.displacement, g.displacement_s, f.mid, ts_ns)
    if g.momentum_s > 0.0:
        drift.follow(w.momentum, g.momentum_s, f.mid, ts_ns)
    if g.adx.n > 0:
        adx.take(g.adx, w.adx, f.mid, ts_ns)
    if g.sample_ns > 0:
        w.volatility.mid = f.mid
        sample_volatility(w.volatility, g.sample_ns, g.halflife_s, ts_ns)


@hot_kernel
def see(w: Rec, f: Rec, sample_ns: int, halflife_s: float, ts_ns: int) -> None:
    """A complete message with a valid touch: signals and volatility; neither takes a tick that is not believed."""
    if w.settings.on:
        take(w, f, ts_ns)
        if f.suspect != 0:
            return
    sample_volatility(f, sample_ns, halflife_s, ts_ns)


@hot_kernel
def look(w: Rec, f: Rec, now_ns: int) -> None:
    """Values at a decision moment. Changes nothing in ``w``: how often one looks does not matter."""
    g = w.settings
    if g.displacement_s > 0.0:
        f.displacement = drift.moved(w.displacement, g.displacement_s, now_ns)
    if g.momentum_s > 0.0:
        f.momentum = drift.moved(w.momentum, g.momentum_s, now_ns)
    if g.adx.n > 0:
        f.adx = adx.value(w.adx, g.adx.n)
    if g.sample_ns > 0:
        f.fast_sigma = math.sqrt(w.volatility.sigma2)


@hot_kernel
def look_deep(w: Rec, f: Rec, bids: Any, asks: Any, base_tick: int) -> None:
    """Depth [lots] from the touch over ``depth_ticks`` levels a side; needs a valid touch."""
    i, j, n = f.bid_tick - base_tick, f.ask_tick - base_tick, w.settings.depth_ticks
    bid_lots = 0
    for k in range(max(i - n, 0), i + 1):
        bid_lots += bids[k]
    ask_lots = 0
    for k in range(j, min(j + n, asks.shape[0] - 1) + 1):
        ask_lots += asks[k]
    f.depth_bid_lots = bid_lots
    f.depth_ask_lots = ask_lots


@hot_kernel
def without_own(w: Rec, f: Rec, orders: RecArray) -> None:
    """Take our own working orders out of the depth, where the public book contains them."""
    n = w.settings.depth_ticks
    for k in range(orders.shape[0]):
        o = orders[k]
        if o.state == FREE:
            continue
        if o.side > 0 and f.bid_tick - n <= o.tick <= f.bid_tick:
            f.depth_bid_lots -= o.lots
        elif o.side < 0 and f.ask_tick <= o.tick <= f.ask_tick + n:
            f.depth_ask_lots -= o.lots
