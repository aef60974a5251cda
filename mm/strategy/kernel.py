"""THE decision kernel: the same two functions quote in a simulated trial, on paper and with real money.

``on_event`` sees every market event, ``decide`` turns what is known into targets at a decision moment, and
``mm.strategy.orders.diff_orders`` turns targets into commands. All state lives in the records that are passed in; no
function here reads a clock, draws a random number or allocates.

``books`` holds the book record of every instrument of every venue the strategy may look at, ``i`` is the one it quotes.
"""

from __future__ import annotations

import math

from mm.core.book import Levels, apply
from mm.core.jit import hot_kernel, kernel
from mm.core.types import (
    ASK,
    BUY,
    BUY_SIDE,
    CLEAR_ASK,
    CLEAR_BID,
    FUNDING,
    LAST,
    MARK,
    SELL,
    SELL_SIDE,
    Rec,
    RecArray,
)  # fmt: skip
from mm.models.base import deltas
from mm.models.dispatch import refresh, refresh_affine
from mm.models.flow import flow_touch, flow_trade
from mm.strategy.controls.chain import allowed, count, priced, reducing, reference, run_chain
from mm.strategy.controls.signals import look, look_deep, see, without_own
from mm.strategy.dynamic import choose_params
from mm.strategy.features import sigma, update_touch
from mm.strategy.orders import NEVER_NS
from mm.strategy.overlays import bound_spread, inventory_lots
from mm.strategy.portfolio import apply_funding
from mm.strategy.rounding import round_quotes
from mm.strategy.state import CROSSED_SELF, HALTED, INVENTORY, NO_BOOK, NO_POLICY, QUOTING, STALE


@hot_kernel
def on_event(
    books: RecArray, i: int, bids: Levels, asks: Levels, f: Rec, w: Rec, flow: Rec, p: Rec, s: Rec,
    orders: RecArray, kind: int, flags: int, tick: int, lots: int, ts_exch_ns: int, ts_recv_ns: int,
) -> None:  # fmt: skip
    """Take one market event into the book and the features (features move at the end of a message)."""
    b = books[i]
    apply(b, bids, asks, kind, tick, lots)
    b.ts_exch_ns = ts_exch_ns
    b.ts_recv_ns = ts_recv_ns
    f.events += 1
    if kind == SELL or kind == BUY:
        f.trades += 1
    elif kind == FUNDING:
        apply_funding(s, p, tick, lots)
        f.mark = tick
    elif kind == MARK:
        f.mark = tick
    if flow.every_ns > 0:
        flow.clock_ns = max(flow.clock_ns, ts_exch_ns)
        if kind == SELL or kind == BUY:
            flow_trade(flow, kind == BUY, tick, ts_exch_ns, ts_recv_ns)
        elif kind <= ASK or kind == CLEAR_BID or kind == CLEAR_ASK:
            flow.moved = 1
    if flags & LAST:
        update_touch(f, b, bids, asks, orders, p.own_in_feed)
        if f.valid:
            see(w, f, p.sigma_sample_ns, p.sigma_halflife_s, ts_recv_ns)
        if flow.every_ns > 0:
            flow_touch(flow, f, ts_exch_ns, ts_recv_ns)


@hot_kernel
def policy_due(f: Rec, s: Rec, now_ns: int, stale: bool) -> bool:
    """The next quotes need a fresh policy first (``refresh_policy``)."""
    return bool(s.halted == 0 and not stale and f.valid != 0 and now_ns >= s.next_refresh_ns)


@hot_kernel
def renew(f: Rec, model: Rec, p: Rec, s: Rec, now_ns: int) -> float:
    """Take volatility, A and kappa of now for a policy that is due: its horizon [s], nan when the one at hand holds."""
    if s.start_ns == 0:
        s.start_ns = now_ns
    before = s.sigma
    s.sigma = p.static_sigma if p.static_sigma >= 0.0 else sigma(f, p.sigma_floor)
    changed = choose_params(f, model)
    holds = p.timeless and not changed and s.sigma == before and s.next_refresh_ns != 0
    # what is configured never changes, and a policy that follows from it alone lasts
    lasts = p.timeless and p.static_sigma >= 0.0 and model.dynamic == 0
    s.next_refresh_ns = NEVER_NS if lasts else now_ns + p.refresh_ns
    if holds:
        return math.nan
    if not p.session:
        return float(p.horizon_s)
    horizon_ns = max(int(p.horizon_s * 1e9), 1)
    return float((horizon_ns - (now_ns - s.start_ns) % horizon_ns) * 1e-9)


@hot_kernel
def refresh_affine_policy(f: Rec, model: Rec, policy: Rec, p: Rec, s: Rec, now_ns: int) -> None:
    """``refresh_policy`` of a model without a table."""
    tau_s = renew(f, model, p, s, now_ns)
    if not math.isnan(tau_s):
        refresh_affine(policy, model, s.sigma, tau_s)


@kernel
def refresh_policy(f: Rec, model: Rec, policy: Rec, p: Rec, s: Rec, now_ns: int) -> None:
    """The model's policy at the volatility of now. Table models allocate; nothing else in a decision does."""
    tau_s = renew(f, model, p, s, now_ns)
    if not math.isnan(tau_s):
        refresh(policy, model, s.sigma, tau_s)


@kernel
def decide(
    books: RecArray, i: int, bids: Levels, asks: Levels, f: Rec, w: Rec, model: Rec, policy: Rec, p: Rec, s: Rec,
    orders: RecArray, now_ns: int, stale: bool, t: Rec,
) -> None:  # fmt: skip
    """Targets for one instrument into ``t`` (a TARGET record): features -> model -> controls -> bounds -> rounding.

    No quote on a side is ``*_lots == 0``, with ``reason`` saying why. ``stale`` is the feed watchdog's verdict.
    """
    update_touch(f, books[i], bids, asks, orders, p.own_in_feed)
    if w.settings.on and f.valid:
        look(w, f, now_ns)
        if w.settings.depth_ticks >= 0:
            look_deep(w, f, bids, asks, books[i].base_tick)
            if p.own_in_feed:
                without_own(w, f, orders)
    decide_on(f, model, policy, p, s, now_ns, stale, t)


@kernel
def decide_on(f: Rec, model: Rec, policy: Rec, p: Rec, s: Rec, now_ns: int, stale: bool, t: Rec) -> None:
    """``decide`` on features that are up to date."""
    if policy_due(f, s, now_ns, stale):
        refresh_policy(f, model, policy, p, s, now_ns)
    quote(f, policy, p, s, now_ns, stale, t)


@hot_kernel
def quote(f: Rec, policy: Rec, p: Rec, s: Rec, now_ns: int, stale: bool, t: Rec) -> None:
    """``decide_on`` with a policy that is not due (a simulation refreshes those of all its strategies first)."""
    s.decision += 1
    t.acting = 0
    t.bid_lots = 0
    t.ask_lots = 0
    t.raw_bid = math.nan
    t.raw_ask = math.nan
    t.reservation_price = math.nan
    if s.halted != 0:
        t.reason = HALTED
    elif stale:
        t.reason = STALE
    elif f.valid == 0:
        t.reason = NO_BOOK
    else:
        _quote(f, policy, p, s, now_ns, t)
    if t.bid_lots == 0 and t.ask_lots == 0:
        s.pulled += 1


@hot_kernel
def _quote(f: Rec, policy: Rec, p: Rec, s: Rec, now_ns: int, t: Rec) -> None:
    on = p.controls != 0  # the plain path pays this branch for them, and no more
    ref = f.cross if p.cross and f.cross > 0.0 else f.microprice if p.microprice else f.mid
    q = (s.pos_lots - p.target_lots) / p.order_lots
    t.reason = QUOTING
    if on:
        run_chain(f, p, s, now_ns, t)
        ref, q = reference(f, p, ref, q)
    delta_bid, delta_ask = deltas(policy, q)
    t.raw_bid = ref - delta_bid
    t.raw_ask = ref + delta_ask
    if math.isnan(delta_bid) and math.isnan(delta_ask):
        t.reason = NO_POLICY
        return
    bid_lots = inventory_lots(p, s.pos_lots, BUY_SIDE)
    ask_lots = inventory_lots(p, s.pos_lots, SELL_SIDE)
    raw_bid, raw_ask = t.raw_bid, t.raw_ask
    if on:
        bid_lots = allowed(p, s, t, BUY_SIDE, bid_lots)
        ask_lots = allowed(p, s, t, SELL_SIDE, ask_lots)
        raw_bid, raw_ask = priced(f, policy, p, t, raw_bid, raw_ask)
        count(s, t)
    if (bid_lots == 0 or ask_lots == 0) and t.reason == QUOTING:
        t.reason = INVENTORY
    raw_bid, raw_ask, moved = bound_spread(p, ref, raw_bid, raw_ask)
    if on:
        raw_bid, raw_ask, pressed = reducing(f, p, t, ref, raw_bid, raw_ask)
        moved = moved or pressed
    if moved:
        s.clamped += 1
    t.reservation_price = ref + 0.5 * (delta_ask - delta_bid)
    bid, ask, has_bid, has_ask = round_quotes(raw_bid, raw_ask, f.bid_tick, f.ask_tick, q)
    if (not has_bid or not has_ask) and t.reason == QUOTING:
        t.reason = CROSSED_SELF if math.isfinite(raw_bid) and math.isfinite(raw_ask) else INVENTORY
    t.bid_tick = bid
    t.ask_tick = ask
    t.bid_lots = bid_lots if has_bid and bid > 0 else 0
    t.ask_lots = ask_lots if has_ask else 0
