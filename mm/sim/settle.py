"""Which strategies of a pass decide: those to whom something is new.

A decision follows from the market's touch, the policy, the position, the own orders and, through their ages, the time.
While none of them has changed since a decision that sent nothing, the next one would be the same: the strategy is
settled. Its decisions are booked when it wakes, as if it had made them; ``tests/property/test_engine_against_naive.py``
compares with a reference that makes every one.
"""

from __future__ import annotations

from mm.core.bits import lowest_bit
from mm.core.jit import inline_kernel
from mm.core.types import Rec, RecArray
from mm.sim.state import REPORT_ROWS
from mm.sim.tables import Observed, Strategies, Venue
from mm.strategy.orders import NEVER_NS, kept_until_ns


@inline_kernel
def has_traded(s: Rec) -> bool:
    """There is a profit to speak of: fills, or inventory from the start."""
    return bool(s.fills > 0 or s.pos_lots != 0)


@inline_kernel
def everyone(v: Venue) -> int:
    """All strategies of the pass, a bit each."""
    n = v.sets.shape[0]
    return -1 if n == 64 else (1 << n) - 1


@inline_kernel
def is_news(seen: Observed, d: int) -> bool:
    """The touch has moved, there and back included, since the decision before; the first of a chunk counts as news."""
    if d == 0:
        return True
    f, before = seen.features[d], seen.features[d - 1]
    return bool(
        f.bid_tick != before.bid_tick
        or f.ask_tick != before.ask_tick
        or f.valid != before.valid
        or seen.mark_end[d] != seen.mark_end[d - 1]
    )


@inline_kernel
def wake(v: Venue, now_ns: int) -> None:
    """Add to those awake who has heard something by now, or whose time has come."""
    cursor = v.cursor[0]
    waiting = cursor.heard & ~cursor.awake
    while waiting != 0:
        k = lowest_bit(waiting)
        waiting &= waiting - 1
        z = v.sets[k]
        if (
            z.reports_head < z.reports_tail
            and v.reports[k * REPORT_ROWS + z.reports_head % REPORT_ROWS].arrive_ns <= now_ns
        ):
            cursor.awake |= 1 << k
    if now_ns >= cursor.wake_ns:
        wake_ns = NEVER_NS
        for k in range(v.sets.shape[0]):
            if v.sets[k].settled_until_ns <= now_ns:
                cursor.awake |= 1 << k
            else:
                wake_ns = min(wake_ns, v.sets[k].settled_until_ns)
        cursor.wake_ns = wake_ns


@inline_kernel
def settle(v: Venue, g: Strategies, k: int, n_cmds: int, valid: int, now_ns: int) -> None:
    """After a decision of strategy ``k``: it rests until something is new or its time has come."""
    z, s, p = v.sets[k], g.state[k], g.params[k]
    z.settled_until_ns = 0
    if n_cmds != 0 or not valid or p.microprice or p.cross:  # these references move while the touch stands still
        return
    if p.controls:  # they look deeper than the touch, and at the clock
        return
    until_ns = kept_until_ns(p, g.orders[k].slots, g.target[0], now_ns)
    if s.halted == 0:
        until_ns = min(until_ns, s.next_refresh_ns)
    if until_ns > now_ns:
        z.settled_until_ns = until_ns
        cursor = v.cursor[0]
        cursor.awake &= ~(1 << k)
        cursor.wake_ns = min(cursor.wake_ns, until_ns)


@inline_kernel
def keep(kept: Rec, z: Rec, s: Rec, pnl_usd: float) -> None:
    """A strategy's own part of a SAMPLE row."""
    kept.pnl_usd = pnl_usd
    kept.pos_lots = s.pos_lots
    kept.bid_tick = z.bid_tick
    kept.ask_tick = z.ask_tick


@inline_kernel
def catch_up(
    v: Venue, g: Strategies, seen: Observed, k: int, d: int, done: int, samples: RecArray, stride: int
) -> None:
    """Book the decisions of strategy ``k`` before decision ``d`` of the chunk that went as its last one did."""
    z, s = v.sets[k], g.state[k]
    missed = done + d - z.decided
    if missed <= 0:
        return
    s.decision += missed
    s.clamped += missed * z.clamping
    s.pulled += missed * z.pulling
    last_ns = seen.decide_ns[d - 1]
    if z.bid_tick != 0 and z.ask_tick != 0:
        z.both_ns += last_ns - z.last_ns
    z.last_ns = last_ns
    pnl_usd = g.loss[k].pnl_usd if has_traded(s) else 0.0
    row = -(-z.decided // stride)
    while row * stride < done + d:
        keep(samples[k, row], z, s, pnl_usd)
        row += 1
    z.decided = done + d
