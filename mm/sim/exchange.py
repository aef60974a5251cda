"""The simulated exchange's side of a replay: queue fills of our orders against the recorded book and tape."""

from __future__ import annotations

import math

from mm.core.book import Levels, apply, is_valid
from mm.core.jit import hot_kernel
from mm.core.types import ACK, ASK, BID, BUY, CANCEL_REJECT, CANCELED, FILL, REJECT, SELL, Rec, RecArray
from mm.sim.queue import executed_lots, on_level_change
from mm.sim.state import RING


@hot_kernel
def report(
    reports: RecArray, tail: int, kind: int, o_id: int, side: int, tick: int, lots: int, ts_ns: int, response_ns: int
) -> int:
    """Send an execution report back; returns the new tail of the ring."""
    r = reports[tail % RING]
    r.kind = kind
    r.id = o_id
    r.side = side
    r.tick = tick
    r.lots = lots
    r.ts_exch_ns = ts_ns
    r.arrive_ns = ts_ns + response_ns
    return tail + 1


@hot_kernel
def _mid(b: Rec) -> float:
    return float(b.base_tick + 0.5 * (b.bb + b.ba)) if is_valid(b) else math.nan


@hot_kernel
def _fill(
    x: RecArray, k: int, lots: int, ts_ns: int, mid: float, response_ns: int, reports: RecArray, tail: int, run: Rec,
    fills: RecArray,
) -> int:  # fmt: skip
    o = x[k]
    if run.fills < fills.shape[0]:
        row = fills[run.fills]
        row.ts_exch_ns = ts_ns
        row.ts_recv_ns = ts_ns + response_ns
        row.order_id = o.id
        row.side = o.side
        row.tick = o.tick
        row.lots = lots
        row.mid = mid
        run.fills += 1
    else:
        run.lost += 1
    tail = report(reports, tail, FILL, o.id, o.side, o.tick, lots, ts_ns, response_ns)
    o.leaves -= lots
    if o.leaves <= 0:
        o.side = 0
    return tail


@hot_kernel
def on_market_event(
    b: Rec, bids: Levels, asks: Levels, x: RecArray, kind: int, tick: int, lots: int, ts_ns: int, queue_model: int,
    queue_n: float, response_ns: int, reports: RecArray, tail: int, run: Rec, fills: RecArray,
) -> int:  # fmt: skip
    """Apply one recorded event to the exchange's book and to our orders in its queues; returns the reports' tail.

    A trade at a worse price for us, or a touch that reaches our price, fills us at our price (FORMULAS section 4).
    """
    if kind > BUY:
        apply(b, bids, asks, kind, tick, lots)
        return tail
    mid = _mid(b)
    if kind == SELL or kind == BUY:
        ours = 1 if kind == SELL else -1  # the side that this aggressor hits
        for k in range(x.shape[0]):
            o = x[k]
            if o.side != ours:
                continue
            if (o.tick - tick) * ours > 0:
                tail = _fill(x, k, o.leaves, ts_ns, mid, response_ns, reports, tail, run, fills)
            elif o.tick == tick:
                o.front -= lots
                o.traded += lots
                done = executed_lots(o.front, o.leaves)
                if done > 0:
                    o.front = 0.0
                    tail = _fill(x, k, done, ts_ns, mid, response_ns, reports, tail, run, fills)
        apply(b, bids, asks, kind, tick, lots)
        return tail
    i = tick - b.base_tick
    inside = 0 <= i < b.n
    prev = 0
    if inside:
        prev = bids[i] if kind == BID else asks[i]
    apply(b, bids, asks, kind, tick, lots)
    same = 1 if kind == BID else -1
    for k in range(x.shape[0]):
        o = x[k]
        if o.side == 0:
            continue
        if o.side == same:
            if o.tick == tick and inside:
                # cancels ahead are bounded by what is ahead: a negative front would fill us beyond the next trade
                ahead = max(o.front, 0.0)
                o.front = max(on_level_change(queue_model, queue_n, ahead, o.traded, float(prev), float(lots)), 0.0)
                o.traded = 0.0
        elif lots > 0:
            crossed = (kind == BID and b.bb >= 0 and b.base_tick + b.bb >= o.tick) or (
                kind == ASK and b.ba < b.n and b.base_tick + b.ba <= o.tick
            )
            if crossed:
                tail = _fill(x, k, o.leaves, ts_ns, mid, response_ns, reports, tail, run, fills)
    return tail


@hot_kernel
def on_place(
    b: Rec, bids: Levels, asks: Levels, x: RecArray, o_id: int, side: int, tick: int, lots: int, ts_ns: int,
    response_ns: int, reports: RecArray, tail: int, run: Rec,
) -> int:  # fmt: skip
    """A post-only order arrives: it rests at the back of its level, or is rejected when it would cross."""
    i = tick - b.base_tick
    crosses = (side > 0 and i >= b.ba) or (side < 0 and i <= b.bb)
    slot = -1
    for k in range(x.shape[0]):
        if x[k].side == 0:
            slot = k
            break
    if crosses or slot < 0 or i < 0 or i >= b.n:
        run.rejects += 1
        return report(reports, tail, REJECT, o_id, side, tick, lots, ts_ns, response_ns)
    o = x[slot]
    o.id = o_id
    o.side = side
    o.tick = tick
    o.leaves = lots
    o.front = float(bids[i] if side > 0 else asks[i])
    o.traded = 0.0
    return report(reports, tail, ACK, o_id, side, tick, lots, ts_ns, response_ns)


@hot_kernel
def on_cancel(x: RecArray, o_id: int, ts_ns: int, response_ns: int, reports: RecArray, tail: int) -> int:
    """A cancel arrives; an order that is gone answers CANCEL_REJECT."""
    for k in range(x.shape[0]):
        o = x[k]
        if o.side != 0 and o.id == o_id:
            side = o.side
            o.side = 0
            return report(reports, tail, CANCELED, o_id, side, o.tick, o.leaves, ts_ns, response_ns)
    return report(reports, tail, CANCEL_REJECT, o_id, 0, 0, 0, ts_ns, response_ns)
