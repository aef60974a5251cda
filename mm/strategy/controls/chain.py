"""The chain of controls: the one list of what stands between a model's quote and an order.

Every control writes into a draft (``draft``) how much wider, how much smaller, which side not at all; ``priced`` then
moves the model's prices. The spread bounds come after it, last (``mm.strategy.kernel``).
"""

from __future__ import annotations

import math

from mm.core.jit import hot_kernel
from mm.core.types import BUY_SIDE, SELL_SIDE, Rec
from mm.models.base import deltas
from mm.strategy.controls.cooldown import cooldown, note_fill
from mm.strategy.controls.draft import is_pulled, open_draft, sized, up_to_touch
from mm.strategy.controls.fee_floor import fee_floor
from mm.strategy.controls.inventory import hard_room, inventory
from mm.strategy.controls.latch import regime, volatility
from mm.strategy.controls.market import market_spread, thin_book
from mm.strategy.controls.moves import displacement, momentum
from mm.strategy.controls.names import (
    ACTS,
    COOLDOWN,
    DISPLACEMENT,
    FEE_FLOOR,
    LIQUIDATION,
    MARKET_SPREAD,
    MOMENTUM,
    REBALANCE,
    REGIME,
    SESSION,
    SOFT_LIMIT,
    THIN_BOOK,
    TICK_FILTER,
    VOLATILITY,
)
from mm.strategy.controls.reduce import note_entry, protect, rebalance
from mm.strategy.controls.session import session
from mm.strategy.controls.tick_filter import tick_filter
from mm.strategy.overlays import bound_spread


@hot_kernel
def run_chain(f: Rec, p: Rec, s: Rec, now_ns: int, t: Rec) -> None:
    """Every control that is on, in order; the first that pulls a side names the reason."""
    on, g, c = p.controls, p.control, s.control
    excess = s.pos_lots - p.target_lots
    open_draft(t)
    if on & (1 << TICK_FILTER):
        tick_filter(f, t)
    if on & (1 << SOFT_LIMIT):
        inventory(p, g.inventory, c.inventory, t, excess, f.mid)
    if on & (1 << COOLDOWN):
        cooldown(g.cooldown, c.cooldown, t, p.order_lots, now_ns, f.mid)
    if on & (1 << DISPLACEMENT):
        displacement(g.displacement, t, f.displacement, s.sigma)
    if on & (1 << MOMENTUM):
        momentum(g.momentum, t, f.momentum, s.sigma)
    if on & (1 << REGIME):
        regime(g.regime, c.regime, t, f.adx, now_ns)
    if on & (1 << VOLATILITY):
        volatility(g.volatility, c.volatility, t, f.fast_sigma, now_ns)
    if on & (1 << MARKET_SPREAD):
        market_spread(g.market, f, t)
    if on & (1 << THIN_BOOK):
        thin_book(g.market, f, t)
    if on & (1 << SESSION):
        session(g.session, t, excess, now_ns)
    if on & (1 << REBALANCE):
        c.rebalance = rebalance(g.rebalance, c.rebalance, t, excess)
    if on & (1 << LIQUIDATION):
        protect(g.protection, c.protection, p, s, t, f.mark if f.mark > 0.0 else f.mid)
    c.inventory.reduce_only = t.reduce_only


@hot_kernel
def priced(f: Rec, policy: Rec, p: Rec, t: Rec, raw_bid: float, raw_ask: float) -> tuple[float, float]:
    """The model's prices [ticks] after the controls: wider, and no narrower than the fees."""
    below, above = deltas(policy, 0.0)
    half = max(0.5 * (below + above), 0.0)
    if t.widen_bid > 0.0:
        raw_bid -= t.widen_bid * half
    if t.widen_ask > 0.0:
        raw_ask += t.widen_ask * half
    if p.controls & (1 << FEE_FLOOR):
        return fee_floor(p.control.fee_floor * f.mid, p.max_spread, t, raw_bid, raw_ask)
    return raw_bid, raw_ask


@hot_kernel
def reference(f: Rec, p: Rec, ref: float, q: float) -> tuple[float, float]:
    """Reference price and inventory [orders] that the model is asked at."""
    if f.suspect != 0:
        ref = f.good_microprice if p.microprice else f.good_mid
    if p.controls & (1 << SOFT_LIMIT):
        q *= p.control.inventory.skew
    return ref, q


@hot_kernel
def reducing(f: Rec, p: Rec, t: Rec, ref: float, raw_bid: float, raw_ask: float) -> tuple[float, float, bool]:
    """Prices of what is left to quote: a pulled side has none, a reducing one goes up to the touch, in its bounds."""
    if is_pulled(t, BUY_SIDE):
        raw_bid = math.nan
    if is_pulled(t, SELL_SIDE):
        raw_ask = math.nan
    if t.reduce_only == 0:
        return raw_bid, raw_ask, False
    raw_bid, raw_ask = up_to_touch(f, raw_bid, raw_ask)
    return bound_spread(p, ref, raw_bid, raw_ask)


@hot_kernel
def allowed(p: Rec, s: Rec, t: Rec, side: int, room_lots: int) -> int:
    """Size of a side [lots], of the ``room_lots`` that the plain limit leaves."""
    excess = s.pos_lots - p.target_lots
    if p.controls & (1 << SOFT_LIMIT):
        room_lots = min(room_lots, hard_room(s.control.inventory, excess, side))
    return sized(p, t, side, room_lots, excess)


@hot_kernel
def count(s: Rec, t: Rec) -> None:
    """Remember who acted on this decision."""
    for k in range(len(ACTS)):
        if t.acting >> k & 1:
            s.control.acted[k] += 1
    if t.pulled != 0:
        s.control.paused += 1


@hot_kernel
def note(s: Rec, p: Rec, side: int, tick: int, lots: int) -> None:
    """One of our orders traded; called before the position changes."""
    note_fill(s.control.cooldown, side, tick, lots)
    note_entry(s.control.protection, p, s.pos_lots, side, tick, lots)
