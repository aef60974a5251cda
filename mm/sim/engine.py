"""Replay: many strategies in one pass over the recorded market, the decision kernel in between.

The exchange sees messages at their exchange time and our commands one order latency after they are sent; strategies
see messages at their receive time (``mm.sim.observe``) and reports one response latency after they happen. One
strategy alone is the same code, and no result depends on who else is in the pass.
"""

from __future__ import annotations

from mm.core.bits import lowest_bit
from mm.core.jit import hot_kernel, inline_kernel, kernel
from mm.core.types import CANCELING, LIVE, PLACE, Rec, RecArray
from mm.sim.exchange import advance
from mm.sim.latency import arrival_ns
from mm.sim.liquidation import floored_equity
from mm.sim.settle import catch_up, everyone, has_traded, is_news, keep, settle, wake
from mm.sim.state import FLIGHT_ROWS, FUNDED, LIQUIDATED, REPORT_ROWS
from mm.sim.tables import Messages, Observed, Strategies, Venue
from mm.strategy.kernel import policy_due, quote, refresh_affine_policy, refresh_policy
from mm.strategy.orders import diff_orders, on_exec, simulated_fee
from mm.strategy.portfolio import apply_liquidation
from mm.strategy.rate import hold_back
from mm.strategy.risk import HALT_LIQUIDATION, mark_loss


@inline_kernel
def _resting(orders: RecArray) -> tuple[int, int]:
    """Ticks of our acknowledged bid and ask, 0 for none."""
    bid_tick = 0
    ask_tick = 0
    for k in range(orders.shape[0]):
        o = orders[k]
        if o.state == LIVE or o.state == CANCELING:
            if o.side > 0:
                bid_tick = o.tick
            else:
                ask_tick = o.tick
    return bid_tick, ask_tick


@inline_kernel
def _deliver(v: Venue, g: Strategies, k: int, until_ns: int) -> None:
    """Strategy ``k`` receives the reports that have arrived by ``until_ns``."""
    z, s, p = v.sets[k], g.state[k], g.params[k]
    while z.reports_head < z.reports_tail:
        r = v.reports[k * REPORT_ROWS + z.reports_head % REPORT_ROWS]
        if r.arrive_ns > until_ns:
            return
        z.reports_head += 1
        if r.kind == FUNDED:
            s.funding += r.amount
        elif r.kind == LIQUIDATED:
            apply_liquidation(s, p, r.side, r.tick, r.lots, r.fee_units_e8, r.amount)
            s.halted = HALT_LIQUIDATION
        else:
            fee = simulated_fee(p, r.tick, r.lots, True)
            on_exec(s, p, g.orders[k].slots, r.kind, r.id, r.side, r.tick, r.lots, True, fee)
    z.reports_head = 0
    z.reports_tail = 0


@inline_kernel
def _mark(v: Venue, g: Strategies, k: int, mid: float, now_ns: int) -> None:
    """Equity, drawdown and daily loss of strategy ``k`` at a new mid; a breach halts it."""
    s = g.state[k]
    halt = mark_loss(g.loss[k], g.limits[k], floored_equity(s, g.params[k], v.sets[k], mid), now_ns)
    if halt != 0 and s.halted == 0:
        s.halted = halt


@inline_kernel
def _take_marks(v: Venue, g: Strategies, marks: RecArray, first: int, last: int) -> None:
    """Every new mid since the last decision: reports that came before it, then equity at it."""
    for m in range(first, last):
        mark = marks[m]
        for k in range(v.sets.shape[0]):
            if v.sets[k].reports_head < v.sets[k].reports_tail:
                _deliver(v, g, k, mark.ts_ns)
            if has_traded(g.state[k]):
                _mark(v, g, k, mark.mid, mark.ts_ns)


@inline_kernel
def _send(v: Venue, k: int, cmds: RecArray, n_cmds: int, now_ns: int) -> None:
    """Commands of strategy ``k`` leave for the exchange and arrive in the order they were sent."""
    z = v.sets[k]
    for i in range(n_cmds):
        if z.flight_tail - z.flight_head >= FLIGHT_ROWS:
            z.overflow += 1
            return
        c = v.flight[k * FLIGHT_ROWS + z.flight_tail % FLIGHT_ROWS]
        c.arrive_ns = arrival_ns(v.connections[2 * k], v.series, now_ns)
        c.id = cmds[i].id
        c.lots = cmds[i].lots
        c.index = cmds[i].tick - v.base_tick
        c.side = cmds[i].side
        c.op = cmds[i].op
        if c.op == PLACE:
            z.orders += 1
        else:
            z.cancels += 1
        if z.flight_tail == 0:
            v.due_ns[k] = c.arrive_ns
            v.cursor[0].due_ns = min(v.cursor[0].due_ns, c.arrive_ns)
        z.flight_tail += 1


@inline_kernel
def _account(z: Rec, valid: int, both: bool, now_ns: int) -> None:
    """Time with both sides resting, since the first valid book."""
    if z.first_valid_ns == 0:
        if valid:
            z.first_valid_ns = now_ns
    elif both:
        z.both_ns += now_ns - z.last_ns
    z.last_ns = now_ns


@inline_kernel
def _listen(v: Venue, g: Strategies, f: Rec, now_ns: int, news: bool) -> int:
    """Those awake hear their reports and mark their equity; fresh policies; returns whose table is due, a bit each."""
    due = 0
    cursor = v.cursor[0]
    awake = cursor.awake
    while awake != 0:
        k = lowest_bit(awake)
        awake &= awake - 1
        z, s = v.sets[k], g.state[k]
        told = z.reports_head < z.reports_tail
        if told:
            _deliver(v, g, k, now_ns)
            if z.reports_head == z.reports_tail:
                cursor.heard &= ~(1 << k)
        if told or news:  # else orders rest where they did, and profit at the same mid is the same
            z.bid_tick, z.ask_tick = _resting(g.orders[k].slots)
        _account(z, f.valid, z.bid_tick != 0 and z.ask_tick != 0, now_ns)
        if f.valid and (told or news) and has_traded(s):
            _mark(v, g, k, f.mid, now_ns)
        if policy_due(f, s, now_ns, False):
            if g.model[k].table:
                due |= 1 << k
            else:
                refresh_affine_policy(f, g.model[k], g.policy[k], g.params[k], s, now_ns)
    return due


@inline_kernel
def _act(v: Venue, g: Strategies, f: Rec, now_ns: int, samples: RecArray, row: int) -> None:
    """Those awake quote and send what their targets ask for; ``row`` of the samples is written, none if negative."""
    t = g.target[0]
    awake = v.cursor[0].awake
    while awake != 0:
        k = lowest_bit(awake)
        awake &= awake - 1
        z, s, p, own = v.sets[k], g.state[k], g.params[k], g.orders[k].slots
        clamped, pulled = s.clamped, s.pulled
        quote(f, g.policy[k], p, s, now_ns, False, t)
        z.clamping, z.pulling = s.clamped - clamped, s.pulled - pulled
        z.decided += 1
        n_cmds = diff_orders(p, s, g.limits[k], own, t, 0, now_ns, g.cmds)
        settle(v, g, k, n_cmds, f.valid, now_ns)
        if n_cmds > 0:
            n_cmds = hold_back(g.rate[k], own, g.cmds, n_cmds, now_ns)
            _send(v, k, g.cmds, n_cmds, now_ns)
        if row >= 0:
            pnl_usd = 0.0
            if has_traded(s):
                pnl_usd = g.loss[k].pnl_usd if f.valid else floored_equity(s, p, z, f.mid)
            keep(samples[k, row], z, s, pnl_usd)


@inline_kernel
def _catch_up_all(
    v: Venue, g: Strategies, seen: Observed, who: int, d: int, done: int, samples: RecArray, stride: int
) -> None:
    while who != 0:
        k = lowest_bit(who)
        who &= who - 1
        catch_up(v, g, seen, k, d, done, samples, stride)


@hot_kernel
def _decide_all(
    t: Messages, seen: Observed, v: Venue, g: Strategies, d: int, resumed: bool, done: int, samples: RecArray,
    stride: int,
) -> tuple[int, int]:  # fmt: skip
    """Decisions from ``d`` on: (the one that waits, whose policies it waits for), or (the next one, 0) at a stop.

    ``resumed``: the policies that decision ``d`` waited for are fresh now.
    """
    cursor = v.cursor[0]
    while d < seen.decide_ns.shape[0]:
        now_ns = seen.decide_ns[d]
        f = seen.features[d]
        if not resumed:
            if 2 * cursor.fills > v.fills.shape[0]:  # the other half is for what this step fills
                break
            advance(v, t, now_ns)
            news = is_news(seen, d)
            if news:
                cursor.awake = everyone(v)
            else:
                wake(v, now_ns)
            _catch_up_all(v, g, seen, cursor.awake, d, done, samples, stride)
            if news:
                _take_marks(v, g, seen.marks, seen.mark_end[d - 1] if d > 0 else 0, seen.mark_end[d])
            due = _listen(v, g, f, now_ns, news)
            if due != 0:
                return d, due
        resumed = False
        number = done + d
        _act(v, g, f, now_ns, samples, number // stride if number % stride == 0 else -1)
        d += 1
    _catch_up_all(v, g, seen, everyone(v), d, done, samples, stride)
    return d, 0


@kernel
def replay(
    t: Messages, seen: Observed, v: Venue, g: Strategies, first: int, done: int, samples: RecArray, stride: int
) -> int:
    """Decisions ``first..`` of one chunk for all strategies; returns how many were made.

    Stops early when the fill table is half full. ``done`` decisions of the run lie behind, which places the
    samples: (n, rows) KEPT, one row a strategy every ``stride`` decisions.
    """
    v.cursor[0].awake = everyone(v)  # a caller may have halted them
    d, due = first, 0
    while True:  # one call in the text: the compiler makes a copy for every constant argument
        d, due = _decide_all(t, seen, v, g, d, due != 0, done - first, samples, stride)
        if due == 0:
            return int(d - first)
        waiting = due
        while waiting != 0:  # the one step that may allocate, hence outside
            k = lowest_bit(waiting)
            waiting &= waiting - 1
            refresh_policy(seen.features[d], g.model[k], g.policy[k], g.params[k], g.state[k], seen.decide_ns[d])
