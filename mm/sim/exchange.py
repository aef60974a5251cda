"""The simulated exchange of one pass: the recorded market, and the orders of up to 64 strategies in its queues.

Strategies do not see each other: each rests in the recorded book as if alone. A level knows which of them rest there
(a bit each), so that an event costs nothing to those who are elsewhere.

A trade at a worse price for us, or a touch that reaches our price, fills us wholly at our price; a trade at our price
eats the queue ahead first (FORMULAS section 4).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from mm.core.bits import lowest_bit
from mm.core.jit import hot_kernel, inline_kernel
from mm.core.levels import clear_asks, clear_bids, set_ask, set_bid
from mm.core.types import (
    ACK,
    ASK,
    BID,
    BUY,
    CANCEL_REJECT,
    CLEAR_ASK,
    CLEAR_BID,
    FILL,
    FUNDING,
    MARK,
    PLACE,
    REJECT,
    SELL,
    Rec,
)  # fmt: skip
from mm.sim.liquidation import book_fill, margin_call, watch
from mm.sim.queue import executed_lots, lots_ahead, on_level_change
from mm.sim.reports import report, report_money, withdraw
from mm.sim.state import (
    AFTER_LIQUIDATION,
    BUSY,
    FLIGHT_ROWS,
    FUNDED,
    INSUFFICIENT_MARGIN,
    MIN_NOTIONAL,
    NO_BASE,
    NO_QUOTE,
    OFF_GRID,
    POST_ONLY,
    SELF_TRADE,
)
from mm.sim.tables import Messages, Venue
from mm.strategy.margin import MAX_TIERS, covered, liquidation_tick
from mm.strategy.portfolio import funding_flow

NEVER_NS = np.iinfo(np.int64).max


@inline_kernel
def _mid(v: Venue, bb: int, ba: int) -> float:
    """Mid of the exchange's book in ticks, nan while a side is empty."""
    return v.base_tick + 0.5 * (bb + ba) if bb >= 0 and ba < v.bids.shape[0] else math.nan


@inline_kernel
def _fill(v: Venue, k: int, side: int, lots: int, ts_ns: int, mid: float) -> None:
    """Strategy ``k``'s order of that side trades ``lots`` at its own price."""
    o = v.bid_orders[k] if side > 0 else v.ask_orders[k]
    z = v.sets[k]
    tick = v.base_tick + o.index
    cursor = v.cursor[0]
    recv_ns = report(v, k, FILL, o.id, side, tick, lots, ts_ns)
    if cursor.fills < v.fills.shape[0]:
        row = v.fills[cursor.fills]
        row.ts_exch_ns = ts_ns
        row.ts_recv_ns = recv_ns
        row.order_id = o.id
        row.side = side
        row.tick = tick
        row.lots = lots
        row.mid = mid
        row.set = k
        cursor.fills += 1
    else:
        z.overflow += 1
    o.leaves -= lots
    if o.leaves == 0:
        if side > 0:
            v.bid_sets[o.index] &= ~(1 << k)
        else:
            v.ask_sets[o.index] &= ~(1 << k)
    book_fill(v.accounts[k], v.params[k], z, v.tiers, k * MAX_TIERS, side, tick, lots)
    watch(cursor, z, v.accounts[k].pos_lots, v.base_tick)


@hot_kernel
def _settle_funding(v: Venue, tick: int, rate_e9: int, ts_ns: int) -> None:
    """Funding on the positions held at the exchange now."""
    for k in range(v.sets.shape[0]):
        a, p = v.accounts[k], v.params[k]
        if a.pos_lots != 0:
            amount = funding_flow(p, a.pos_lots, tick, rate_e9)
            a.funding += amount
            report_money(v, k, FUNDED, 0, tick, 0, ts_ns, 0, amount)
            z = v.sets[k]
            z.liq_tick = liquidation_tick(a, p, z, v.tiers, k * MAX_TIERS)
            watch(v.cursor[0], z, a.pos_lots, v.base_tick)


@inline_kernel
def _fill_levels(v: Venue, side: int, first: int, last: int, ts_ns: int, mid: float) -> None:
    """Everyone on that side at levels ``first..last`` is filled wholly."""
    for i in range(first, last + 1):
        mask = v.bid_sets[i] if side > 0 else v.ask_sets[i]
        while mask != 0:
            k = lowest_bit(mask)
            mask &= mask - 1
            leaves = v.bid_orders[k].leaves if side > 0 else v.ask_orders[k].leaves
            _fill(v, k, side, leaves, ts_ns, mid)


@inline_kernel
def _requeue(v: Venue, side: int, i: int, new: int) -> None:
    """The quantity at level ``i`` becomes ``new``: everyone there moves in its queue."""
    mask = v.bid_sets[i] if side > 0 else v.ask_sets[i]
    prev = float(v.bids[i] if side > 0 else v.asks[i])
    while mask != 0:
        k = lowest_bit(mask)
        mask &= mask - 1
        o = v.bid_orders[k] if side > 0 else v.ask_orders[k]
        z = v.sets[k]
        # the estimate may fall below zero: we are first, and the next trade fills us by so much (golden queue_model)
        o.front = on_level_change(z.queue_model, z.queue_n, o.front, o.traded, prev, float(new))
        o.traded = 0.0


@inline_kernel
def _trade(v: Venue, side: int, i: int, lots: int, ts_ns: int, mid: float) -> None:
    """A trade at level ``i`` eats what is ahead of everyone there, then them."""
    mask = v.bid_sets[i] if side > 0 else v.ask_sets[i]
    while mask != 0:
        k = lowest_bit(mask)
        mask &= mask - 1
        o = v.bid_orders[k] if side > 0 else v.ask_orders[k]
        o.front -= lots
        o.traded += lots
        done = executed_lots(o.front, o.leaves)
        if done > 0:
            o.front = 0.0
            _fill(v, k, side, done if v.sets[k].partial else o.leaves, ts_ns, mid)


@hot_kernel
def _meets_own(v: Venue, k: int, c: Rec) -> bool:
    """A new order would trade with the strategy's own order of the other side."""
    if c.side > 0:
        return bool(v.ask_orders[k].leaves > 0 and c.index >= v.ask_orders[k].index)
    return bool(v.bid_orders[k].leaves > 0 and c.index <= v.bid_orders[k].index)


@hot_kernel
def _unpaid(v: Venue, k: int, c: Rec) -> int:
    """What a new order lacks in money or inventory, an index into REFUSALS; -1: nothing."""
    a, p = v.accounts[k], v.params[k]
    if p.spot and c.side < 0 and c.lots > a.pos_lots:
        return NO_BASE
    if covered(a, p, v.sets[k], c.side, v.base_tick + c.index, c.lots):
        return -1
    return NO_QUOTE if p.spot else INSUFFICIENT_MARGIN


@hot_kernel
def _refusal(v: Venue, k: int, c: Rec) -> int:
    """Why a new order is rejected, an index into REFUSALS; -1: it is not."""
    z, cursor = v.sets[k], v.cursor[0]
    o = v.bid_orders[k] if c.side > 0 else v.ask_orders[k]
    if z.liquidated_ns != 0:
        return AFTER_LIQUIDATION
    if c.index < 0 or c.index >= v.bids.shape[0]:
        return OFF_GRID
    if c.index >= cursor.ba if c.side > 0 else c.index <= cursor.bb:
        return POST_ONLY
    if o.leaves > 0:
        return BUSY
    if c.lots * (1 if v.params[k].inverse else v.base_tick + c.index) < z.min_units:
        return MIN_NOTIONAL
    unpaid = _unpaid(v, k, c)
    if unpaid >= 0:
        return unpaid
    if not z.cancel_resting and _meets_own(v, k, c):
        return SELF_TRADE
    return -1


@inline_kernel
def _take_command(v: Venue, k: int, c: Rec) -> None:
    """A command of strategy ``k`` arrives: a post-only order rests or is rejected, a cancel finds its order or not."""
    tick = v.base_tick + c.index
    o = v.bid_orders[k] if c.side > 0 else v.ask_orders[k]
    if c.op == PLACE:
        refusal = _refusal(v, k, c)
        if refusal >= 0:
            v.refusals[k, refusal] += 1
            v.sets[k].rejects += 1
            report(v, k, REJECT, c.id, c.side, tick, c.lots, c.arrive_ns)
            return
        if _meets_own(v, k, c):
            withdraw(v, k, -c.side, c.arrive_ns)
        o.id = c.id
        o.index = c.index
        o.leaves = c.lots
        level = float(v.bids[c.index] if c.side > 0 else v.asks[c.index])
        o.front = lots_ahead(v.sets[k].queue_model, level)
        o.traded = 0.0
        if c.side > 0:
            v.bid_sets[c.index] |= 1 << k
        else:
            v.ask_sets[c.index] |= 1 << k
        report(v, k, ACK, c.id, c.side, tick, c.lots, c.arrive_ns)
    elif o.leaves > 0 and o.id == c.id:
        withdraw(v, k, c.side, c.arrive_ns)
    else:
        report(v, k, CANCEL_REJECT, c.id, c.side, tick, 0, c.arrive_ns)


@inline_kernel
def _take_commands(v: Venue, until_ns: int) -> None:
    """Commands that arrive by ``until_ns``, strategy by strategy (they do not see each other)."""
    next_ns = NEVER_NS
    for k in range(v.due_ns.shape[0]):
        if v.due_ns[k] > until_ns:
            next_ns = min(next_ns, v.due_ns[k])
            continue
        z = v.sets[k]
        base = k * FLIGHT_ROWS
        while z.flight_head < z.flight_tail and v.flight[base + z.flight_head % FLIGHT_ROWS].arrive_ns <= until_ns:
            _take_command(v, k, v.flight[base + z.flight_head % FLIGHT_ROWS])
            z.flight_head += 1
        if z.flight_head == z.flight_tail:
            z.flight_head = 0
            z.flight_tail = 0
            v.due_ns[k] = NEVER_NS
        else:
            v.due_ns[k] = v.flight[base + z.flight_head % FLIGHT_ROWS].arrive_ns
            next_ns = min(next_ns, v.due_ns[k])
    v.cursor[0].due_ns = next_ns
    _find_own_range(v)


@inline_kernel
def _find_own_range(v: Venue) -> None:
    """Between which levels any strategy rests: events elsewhere need not ask who is there."""
    n_levels = v.bids.shape[0]
    bid_lo, bid_hi, ask_lo, ask_hi = n_levels, -1, n_levels, -1
    for k in range(v.sets.shape[0]):
        if v.bid_orders[k].leaves > 0:
            bid_lo = min(bid_lo, v.bid_orders[k].index)
            bid_hi = max(bid_hi, v.bid_orders[k].index)
        if v.ask_orders[k].leaves > 0:
            ask_lo = min(ask_lo, v.ask_orders[k].index)
            ask_hi = max(ask_hi, v.ask_orders[k].index)
    cursor = v.cursor[0]
    cursor.own_bid_lo, cursor.own_bid_hi = bid_lo, bid_hi
    cursor.own_ask_lo, cursor.own_ask_hi = ask_lo, ask_hi


@inline_kernel
def advance(v: Venue, t: Messages, now_ns: int) -> None:
    """The exchange up to ``now_ns``: market messages, and commands as they arrive (after a message of equal time)."""
    while True:
        next_ns = v.cursor[0].due_ns
        _take_messages(v, t, min(next_ns, now_ns))
        if next_ns > now_ns:
            return
        _take_commands(v, next_ns)


@inline_kernel
def _take_messages(v: Venue, t: Messages, until_ns: int) -> None:
    cursor = v.cursor[0]
    bb, ba, lowb, hia = cursor.bb, cursor.ba, cursor.lowb, cursor.hia
    bid_lo, bid_hi = cursor.own_bid_lo, cursor.own_bid_hi
    ask_lo, ask_hi = cursor.own_ask_lo, cursor.own_ask_hi
    m = cursor.message
    while m < t.ts_ns.shape[0] and t.ts_ns[m] <= until_ns:
        ts_ns = t.ts_ns[m]
        for e in range(t.start[m], t.start[m + 1]):
            word: Any = np.int64(t.words[e])  # unsigned words would turn sums into floats
            kind = word >> 28
            i = word & 0xFFFFFFF
            lots = t.lots[e]
            if kind == BID:
                if bid_lo <= i <= bid_hi and v.bid_sets[i] != 0:
                    _requeue(v, 1, i, lots)
                before_bb, before_ba = bb, ba
                bb, ba, lowb, hia = set_bid(v.bids, v.asks, i, lots, bb, ba, lowb, hia)
                if bb > before_bb and bb >= ask_lo:
                    mid = _mid(v, before_bb, before_ba)
                    _fill_levels(v, -1, max(before_bb + 1, ask_lo), min(bb, ask_hi), ts_ns, mid)
            elif kind == ASK:
                if ask_lo <= i <= ask_hi and v.ask_sets[i] != 0:
                    _requeue(v, -1, i, lots)
                before_bb, before_ba = bb, ba
                bb, ba, lowb, hia = set_ask(v.bids, v.asks, i, lots, bb, ba, lowb, hia)
                if ba < before_ba and ba <= bid_hi:
                    mid = _mid(v, before_bb, before_ba)
                    _fill_levels(v, 1, max(ba, bid_lo), min(before_ba - 1, bid_hi), ts_ns, mid)
            elif kind == SELL:
                if i <= bid_hi:
                    mid = _mid(v, bb, ba)
                    _fill_levels(v, 1, max(i + 1, bid_lo), bid_hi, ts_ns, mid)
                    _trade(v, 1, i, lots, ts_ns, mid)
            elif kind == BUY:
                if i >= ask_lo:
                    mid = _mid(v, bb, ba)
                    _fill_levels(v, -1, ask_lo, min(i - 1, ask_hi), ts_ns, mid)
                    _trade(v, -1, i, lots, ts_ns, mid)
            elif kind == CLEAR_BID:
                bb, lowb = clear_bids(v.bids, i, bb, lowb)
            elif kind == CLEAR_ASK:
                ba, hia = clear_asks(v.asks, i, ba, hia)
            elif kind == FUNDING:
                _settle_funding(v, v.base_tick + i, t.lots[e], ts_ns)
            elif kind == MARK and cursor.by_mark:
                margin_call(v, float(v.base_tick + i), ts_ns)
        if (bb + ba <= cursor.liq_lo or bb + ba >= cursor.liq_hi) and t.whole[m]:
            mid = _mid(v, bb, ba)
            if not math.isnan(mid):
                margin_call(v, mid, ts_ns)
        m += 1
    cursor.bb, cursor.ba, cursor.lowb, cursor.hia = bb, ba, lowb, hia
    cursor.message = m
