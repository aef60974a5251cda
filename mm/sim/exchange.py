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
from mm.core.jit import inline_kernel
from mm.core.types import (
    ACK,
    ASK,
    BID,
    BUY,
    CANCEL_REJECT,
    CANCELED,
    CLEAR_ASK,
    CLEAR_BID,
    FILL,
    PLACE,
    REJECT,
    SELL,
    Rec,
)  # fmt: skip
from mm.sim.latency import arrival_ns
from mm.sim.levels import clear_asks, clear_bids, set_ask, set_bid
from mm.sim.queue import executed_lots, lots_ahead, on_level_change
from mm.sim.state import FLIGHT_ROWS, REPORT_ROWS
from mm.sim.tables import Messages, Venue

NEVER_NS = np.iinfo(np.int64).max


@inline_kernel
def _report(v: Venue, k: int, kind: int, o_id: int, side: int, tick: int, lots: int, ts_ns: int) -> int:
    """An execution report leaves for strategy ``k``; returns when it arrives."""
    z = v.sets[k]
    arrive_ns = arrival_ns(v.connections[2 * k + 1], v.series, ts_ns)
    if z.reports_tail - z.reports_head >= REPORT_ROWS:
        z.overflow += 1
        return arrive_ns
    r = v.reports[k * REPORT_ROWS + z.reports_tail % REPORT_ROWS]
    z.reports_tail += 1
    r.kind = kind
    r.id = o_id
    r.side = side
    r.tick = tick
    r.lots = lots
    r.arrive_ns = arrive_ns
    return arrive_ns


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
    recv_ns = _report(v, k, FILL, o.id, side, tick, lots, ts_ns)
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


@inline_kernel
def _take_command(v: Venue, k: int, c: Rec) -> None:
    """A command of strategy ``k`` arrives: a post-only order rests or is rejected, a cancel finds its order or not."""
    tick = v.base_tick + c.index
    o = v.bid_orders[k] if c.side > 0 else v.ask_orders[k]
    cursor = v.cursor[0]
    if c.op == PLACE:
        crosses = c.index >= cursor.ba if c.side > 0 else c.index <= cursor.bb
        if crosses or o.leaves > 0 or c.index < 0 or c.index >= v.bids.shape[0]:
            v.sets[k].rejects += 1
            _report(v, k, REJECT, c.id, c.side, tick, c.lots, c.arrive_ns)
            return
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
        _report(v, k, ACK, c.id, c.side, tick, c.lots, c.arrive_ns)
    elif o.leaves > 0 and o.id == c.id:
        _report(v, k, CANCELED, c.id, c.side, tick, o.leaves, c.arrive_ns)
        o.leaves = 0
        if c.side > 0:
            v.bid_sets[o.index] &= ~(1 << k)
        else:
            v.ask_sets[o.index] &= ~(1 << k)
    else:
        _report(v, k, CANCEL_REJECT, c.id, c.side, tick, 0, c.arrive_ns)


@inline_kernel
def _take_commands(v: Venue, until_ns: int) -> None:
    """Commands that arrive by ``until_ns``, strategy by strategy (they do not see each other)."""
    for k in range(v.due_ns.shape[0]):
        if v.due_ns[k] > until_ns:
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
def _next_command_ns(v: Venue) -> int:
    next_ns = NEVER_NS
    for k in range(v.due_ns.shape[0]):
        next_ns = min(next_ns, v.due_ns[k])
    return next_ns


@inline_kernel
def advance(v: Venue, t: Messages, now_ns: int) -> None:
    """The exchange up to ``now_ns``: market messages, and commands as they arrive (after a message of equal time)."""
    while True:
        next_ns = _next_command_ns(v)
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
        m += 1
    cursor.bb, cursor.ba, cursor.lowb, cursor.hia = bb, ba, lowb, hia
    cursor.message = m
