"""Our working orders: the table, what the venue's reports do to it, and the diff of targets against it."""

from __future__ import annotations

from mm.core.bits import lowest_bit
from mm.core.jit import hot_kernel
from mm.core.types import (
    ACK,
    BUY_SIDE,
    CANCEL,
    CANCEL_REJECT,
    CANCELED,
    CANCELING,
    FILL,
    FREE,
    LIVE,
    PLACE,
    REJECT,
    SELL_SIDE,
    SENT,
    Rec,
    RecArray,
)  # fmt: skip
from mm.strategy.controls.chain import note
from mm.strategy.controls.inventory import room_beside_working
from mm.strategy.portfolio import apply_fill, fee_e8
from mm.strategy.risk import gate

NEVER_NS = (1 << 63) - 1
MAX_COMMANDS = 8  # of one diff: every slot can be cancelled, at most one new order a side


def client_order_id(prefix: str, number: int) -> str:
    """The id sent to a venue: a function of the run and of the order's number in it, so a resend is recognisable."""
    return f"{prefix}-{number}"


@hot_kernel
def find(orders: RecArray, order_id: int) -> int:
    """Slot of an order, -1 when it is not working."""
    for k in range(orders.shape[0]):
        if orders[k].state != FREE and orders[k].id == order_id:
            return k
    return -1


@hot_kernel
def add(orders: RecArray, order_id: int, side: int, tick: int, lots: int, now_ns: int) -> int:
    """Put a new order (state SENT) into a free slot; -1 when there is none."""
    for k in range(orders.shape[0]):
        if orders[k].state == FREE:
            o = orders[k]
            o.id = order_id
            o.side = side
            o.tick = tick
            o.lots = lots
            o.ts_sent_ns = now_ns
            o.state = SENT
            return k
    return -1


@hot_kernel
def on_exec(
    s: Rec, p: Rec, orders: RecArray, kind: int, order_id: int, side: int, tick: int, lots: int, maker: bool,
    fee_units_e8: int,
) -> None:  # fmt: skip
    """Take one execution report, in whatever order reports arrive.

    A fill is booked even when its order is unknown here (it may have been dropped by a restart): position truth does
    not depend on the order table. ``fee_units_e8`` is the charged fee, or ``fee_e8(...)`` in a simulation.
    """
    k = find(orders, order_id)
    if kind == FILL:
        if p.controls:
            note(s, p, side, tick, lots)
        apply_fill(s, p, side, tick, lots, maker, fee_units_e8)
        if k >= 0:
            orders[k].lots -= lots
            if orders[k].lots <= 0:
                orders[k].state = FREE
        return
    if k < 0:
        return
    if kind == ACK:
        if orders[k].state == SENT:
            orders[k].state = LIVE
    elif kind == REJECT or kind == CANCELED:
        orders[k].state = FREE
    elif kind == CANCEL_REJECT and orders[k].state == CANCELING:
        orders[k].state = LIVE  # still open: the next diff cancels it again; a filled one is freed by its fill


@hot_kernel
def simulated_fee(p: Rec, tick: int, lots: int, maker: bool) -> int:
    """Fee argument of ``on_exec`` when no venue states one."""
    return fee_e8(p, tick, lots, maker)


@hot_kernel
def _keeps(o: Rec, p: Rec, tick: int, lots: int, now_ns: int) -> bool:
    """Whether a resting order still serves its target."""
    if lots == 0 or o.lots > lots:
        return False
    moved = abs(o.tick - tick)
    if moved == 0:
        return True
    age_ns = now_ns - o.ts_sent_ns
    if age_ns < p.min_age_ns:
        return True
    return bool(moved < p.threshold and age_ns < p.max_age_ns)


@hot_kernel
def kept_until_ns(p: Rec, orders: RecArray, t: Rec, now_ns: int) -> int:
    """Until when a diff that sent nothing would send nothing again, if only time passes: no order grows too old."""
    until_ns = NEVER_NS
    for k in range(orders.shape[0]):
        o = orders[k]
        if o.state == LIVE and o.tick != (t.bid_tick if o.side == BUY_SIDE else t.ask_tick):
            age_ns = p.min_age_ns if now_ns - o.ts_sent_ns < p.min_age_ns else p.max_age_ns
            until_ns = min(until_ns, o.ts_sent_ns + age_ns)
    return until_ns


@hot_kernel
def _emit(cmds: RecArray, n: int, op: int, instrument: int, order_id: int, side: int, tick: int, lots: int) -> int:
    c = cmds[n]
    c.op = op
    c.instrument = instrument
    c.id = order_id
    c.side = side
    c.tick = tick
    c.lots = lots
    return n + 1


@hot_kernel
def _cancel(cmds: RecArray, n: int, instrument: int, o: Rec) -> int:
    o.state = CANCELING
    return _emit(cmds, n, CANCEL, instrument, o.id, o.side, o.tick, o.lots)


@hot_kernel
def diff_orders(
    p: Rec, s: Rec, lim: Rec, orders: RecArray, t: Rec, instrument: int, now_ns: int, cmds: RecArray
) -> int:
    """Commands that turn the working orders into the targets; updates the table; returns how many were written.

    One resting order a side. Cancels come first. A side whose order is sent but not acknowledged is held as it is
    (its outcome is unknown), and a new price that would cross it waits for the next decision. A live order of ours
    that the other side's new price would cross is cancelled first. Every new order passes the risk gate
    (``mm.strategy.risk.gate``), with orders being cancelled counted as open.
    """
    n = 0
    kept_bid = -1
    kept_ask = -1
    live = 0  # slots, a bit each
    for k in range(orders.shape[0]):
        o = orders[k]
        if o.state == LIVE:
            live |= 1 << k
        elif o.state == SENT:
            if o.side == BUY_SIDE:
                kept_bid = max(kept_bid, o.tick) if kept_bid >= 0 else o.tick
            else:
                kept_ask = min(kept_ask, o.tick) if kept_ask >= 0 else o.tick
    while live != 0:
        o = orders[lowest_bit(live)]
        live &= live - 1
        if o.side == BUY_SIDE:
            if (
                kept_bid < 0
                and _keeps(o, p, t.bid_tick, t.bid_lots, now_ns)
                and not (t.ask_lots > 0 and o.tick >= t.ask_tick)
            ):
                kept_bid = o.tick
            else:
                n = _cancel(cmds, n, instrument, o)
        elif (
            kept_ask < 0
            and _keeps(o, p, t.ask_tick, t.ask_lots, now_ns)
            and not (t.bid_lots > 0 and o.tick <= t.bid_tick)
        ):
            kept_ask = o.tick
        else:
            n = _cancel(cmds, n, instrument, o)
    if t.bid_lots > 0 and kept_bid < 0 and not (kept_ask >= 0 and t.bid_tick >= kept_ask):
        n = _place(p, s, lim, orders, instrument, BUY_SIDE, t.bid_tick, t.bid_lots, now_ns, cmds, n)
        kept_bid = t.bid_tick
    if t.ask_lots > 0 and kept_ask < 0 and not (kept_bid >= 0 and t.ask_tick <= kept_bid):
        n = _place(p, s, lim, orders, instrument, SELL_SIDE, t.ask_tick, t.ask_lots, now_ns, cmds, n)
    return n


@hot_kernel
def _place(
    p: Rec, s: Rec, lim: Rec, orders: RecArray, instrument: int, side: int, tick: int, lots: int, now_ns: int,
    cmds: RecArray, n: int,
) -> int:  # fmt: skip
    if p.controls:
        lots = room_beside_working(p, s, orders, side, lots)
    if n >= cmds.shape[0] or lots == 0 or gate(lim, p, s, orders, side, tick, lots, now_ns) != 0:
        return n
    order_id = s.next_order
    if add(orders, order_id, side, tick, lots, now_ns) < 0:
        return n
    s.next_order += 1
    return _emit(cmds, n, PLACE, instrument, order_id, side, tick, lots)
