"""What the simulated exchange tells a strategy, one response latency later."""

from __future__ import annotations

from mm.core.book import Levels
from mm.core.jit import hot_kernel, inline_kernel
from mm.core.types import CANCELED, Rec, RecArray
from mm.sim.latency import arrival_ns
from mm.sim.state import REPORT_ROWS
from mm.sim.tables import Venue


@hot_kernel
def _write(
    z: Rec, c: Rec, series: Levels, reports: RecArray, first: int, kind: int, o_id: int, side: int, tick: int,
    lots: int, ts_ns: int,
) -> int:  # fmt: skip
    arrive_ns = arrival_ns(c, series, ts_ns)
    if z.reports_tail - z.reports_head >= REPORT_ROWS:
        z.overflow += 1
        return int(arrive_ns)
    r = reports[first + z.reports_tail % REPORT_ROWS]
    z.reports_tail += 1
    r.kind = kind
    r.id = o_id
    r.side = side
    r.tick = tick
    r.lots = lots
    r.arrive_ns = arrive_ns
    return int(arrive_ns)


@inline_kernel
def report(v: Venue, k: int, kind: int, o_id: int, side: int, tick: int, lots: int, ts_ns: int) -> int:
    """An execution report leaves for strategy ``k``; returns when it arrives.

    Constants pass through ``int``: the compiler would make a copy of ``_write`` for each of them.
    """
    v.cursor[0].heard |= 1 << k
    return _write(
        v.sets[k], v.connections[2 * k + 1], v.series, v.reports, k * REPORT_ROWS, int(kind), int(o_id), int(side),
        tick, int(lots), ts_ns,
    )  # fmt: skip


@hot_kernel
def report_money(
    v: Venue, k: int, kind: int, side: int, tick: int, lots: int, ts_ns: int, fee_units_e8: int, amount: float
) -> int:
    """A settlement or liquidation: not about an order; returns when it arrives."""
    z = v.sets[k]
    if z.reports_tail - z.reports_head < REPORT_ROWS:
        r = v.reports[k * REPORT_ROWS + z.reports_tail % REPORT_ROWS]
        r.fee_units_e8 = fee_units_e8
        r.amount = amount
    return int(report(v, k, kind, 0, side, tick, lots, ts_ns))


@hot_kernel
def withdraw(v: Venue, k: int, side: int, ts_ns: int) -> None:
    """Strategy ``k``'s order of that side leaves the book, if there is one, and the strategy is told."""
    o = v.bid_orders[k] if side > 0 else v.ask_orders[k]
    if o.leaves == 0:
        return
    report(v, k, CANCELED, o.id, side, v.base_tick + o.index, o.leaves, ts_ns)
    o.leaves = 0
    if side > 0:
        v.bid_sets[o.index] &= ~(1 << k)
    else:
        v.ask_sets[o.index] &= ~(1 << k)
