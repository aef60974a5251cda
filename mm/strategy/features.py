"""Market features of one book: the touch without our own orders, microprice, imbalance, volatility of the mid.

Volatility is an exponentially weighted mean of squared mid changes over a fixed sampling step, in event time:
``sigma2 <- sigma2 + (1 - 2^(-dt/halflife)) * (dmid^2/dt - sigma2)``. Sampling the mid, not trades, keeps the bid-ask
bounce out (FORMULAS section 3).
"""

from __future__ import annotations

import math

from mm.core.book import Levels
from mm.core.jit import hot_kernel
from mm.core.types import BUY_SIDE, FREE, Rec, RecArray

_MAX_STEPS = 256  # levels looked at behind our own orders before the side counts as empty


@hot_kernel
def own_at(orders: RecArray, side: int, tick: int) -> int:
    """Lots of our own working orders at a price."""
    lots = 0
    for k in range(orders.shape[0]):
        if orders[k].state != FREE and orders[k].side == side and orders[k].tick == tick:
            lots += orders[k].lots
    return lots


@hot_kernel
def update_touch(f: Rec, b: Rec, bids: Levels, asks: Levels, orders: RecArray, own_in_feed: int) -> None:
    """Touch, microprice and imbalance of the others' book; ``valid`` is 0 when a side is missing or it is crossed."""
    f.valid = 0
    if b.bb < 0 or b.ba >= b.n or b.bb >= b.ba:
        return
    i = b.bb
    bid_lots = bids[i]
    j = b.ba
    ask_lots = asks[j]
    if own_in_feed:
        bid_lots -= own_at(orders, BUY_SIDE, b.base_tick + i)
        stop = max(b.lowb, i - _MAX_STEPS)
        while bid_lots <= 0 and i > stop:
            i -= 1
            if bids[i] > 0:
                bid_lots = bids[i] - own_at(orders, BUY_SIDE, b.base_tick + i)
        ask_lots -= own_at(orders, -BUY_SIDE, b.base_tick + j)
        stop = min(b.hia, j + _MAX_STEPS)
        while ask_lots <= 0 and j < stop:
            j += 1
            if asks[j] > 0:
                ask_lots = asks[j] - own_at(orders, -BUY_SIDE, b.base_tick + j)
        if bid_lots <= 0 or ask_lots <= 0:
            return
    set_touch(f, b.base_tick + i, b.base_tick + j, bid_lots, ask_lots)


@hot_kernel
def set_touch(f: Rec, bid_tick: int, ask_tick: int, bid_lots: int, ask_lots: int) -> None:
    """Features of a valid touch."""
    f.bid_tick = bid_tick
    f.ask_tick = ask_tick
    f.bid_lots = bid_lots
    f.ask_lots = ask_lots
    f.mid = 0.5 * (bid_tick + ask_tick)
    f.imbalance = bid_lots / (bid_lots + ask_lots)
    f.microprice = bid_tick + (ask_tick - bid_tick) * f.imbalance
    f.valid = 1


@hot_kernel
def sample_volatility(f: Rec, sample_ns: int, halflife_s: float, ts_ns: int) -> None:
    """Take a volatility sample when the sampling step has passed; needs a fresh ``update_touch``."""
    if f.sample_ns == 0:
        f.sample_ns = ts_ns
        f.sample_mid = f.mid
        return
    dt_s = (ts_ns - f.sample_ns) * 1e-9
    if ts_ns - f.sample_ns < sample_ns:
        return
    dmid = f.mid - f.sample_mid
    f.sigma2 += (1.0 - 2.0 ** (-dt_s / halflife_s)) * (dmid * dmid / dt_s - f.sigma2)
    f.sample_ns = ts_ns
    f.sample_mid = f.mid


@hot_kernel
def sigma(f: Rec, floor: float) -> float:
    """Current volatility, ticks/sqrt(s)."""
    return max(math.sqrt(f.sigma2), floor)
