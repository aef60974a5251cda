"""Replay: the recorded market on two clocks, our orders in its queues, the decision kernel in between.

The exchange sees events at ``ts_exch_ns`` and our commands one order latency after they are sent; the strategy sees
events at ``ts_recv_ns`` and execution reports one response latency after they happen. An order that arrives at the
same nanosecond as a market event sees that event first.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from mm.core.book import Levels
from mm.core.jit import hot_kernel, kernel
from mm.core.types import BUY_SIDE, CANCELING, FILL, LAST, LIVE, PLACE, SELL_SIDE, Rec, RecArray
from mm.sim.exchange import on_cancel, on_market_event, on_place
from mm.sim.state import RING
from mm.strategy.kernel import decide, on_event
from mm.strategy.orders import diff_orders, on_exec, simulated_fee
from mm.strategy.portfolio import equity
from mm.strategy.risk import mark_loss

Column = NDArray[Any]  # one column of a tape


@hot_kernel
def _resting_tick(orders: RecArray, side: int) -> int:
    for k in range(orders.shape[0]):
        if orders[k].side == side and (orders[k].state == LIVE or orders[k].state == CANCELING):
            return int(orders[k].tick)
    return 0


@hot_kernel
def _advance_exchange(
    kind: Column, tick: Column, lots: Column, ts_exch: Column, now_ns: int, book: RecArray, bids: Levels,
    asks: Levels, x: RecArray, flight: RecArray, reports: RecArray, run: Rec, fills: RecArray, queue_model: int,
    queue_n: float, response_ns: int,
) -> None:  # fmt: skip
    """The exchange up to ``now_ns``: market events and our commands in order of time."""
    b = book[0]
    n = kind.shape[0]
    xi = run.exch_events
    tail = run.reports_tail
    while True:
        more = run.flight_head < run.flight_tail and flight[run.flight_head % RING].arrive_ns <= now_ns
        until_ns = flight[run.flight_head % RING].arrive_ns if more else now_ns
        while xi < n and ts_exch[xi] <= until_ns:
            tail = on_market_event(
                b, bids, asks, x, kind[xi], tick[xi], lots[xi], ts_exch[xi], queue_model, queue_n, response_ns,
                reports, tail, run, fills,
            )  # fmt: skip
            xi += 1
        if not more:
            break
        c = flight[run.flight_head % RING]
        run.flight_head += 1
        if c.op == PLACE:
            tail = on_place(
                b, bids, asks, x, c.id, c.side, c.tick, c.lots, c.arrive_ns, response_ns, reports, tail, run
            )
        else:
            tail = on_cancel(x, c.id, c.arrive_ns, response_ns, reports, tail)
    run.exch_events = xi
    run.reports_tail = tail
    if tail - run.reports_head > RING:
        run.lost += 1


@hot_kernel
def _deliver_reports(
    reports: RecArray, until_ns: int, s: Rec, p: Rec, orders: RecArray, run: Rec, fills: RecArray
) -> None:
    """Hand over reports that have arrived by ``until_ns``."""
    while run.reports_head < run.reports_tail:
        r = reports[run.reports_head % RING]
        if r.arrive_ns > until_ns:
            break
        run.reports_head += 1
        on_exec(s, p, orders, r.kind, r.id, r.side, r.tick, r.lots, True, simulated_fee(p, r.tick, r.lots, True))
        if r.kind == FILL:
            if run.fills_seen < fills.shape[0]:
                fills[run.fills_seen].pos_lots = s.pos_lots
            run.fills_seen += 1


@hot_kernel
def _mark(s: Rec, p: Rec, f: Rec, loss: Rec, lim: Rec, now_ns: int) -> None:
    """Equity, drawdown and daily loss at the current mid; a breach halts."""
    halt = mark_loss(loss, lim, equity(s, p, f.mid), now_ns)
    if halt != 0 and s.halted == 0:
        s.halted = halt


@hot_kernel
def _advance_strategy(
    kind: Column, flags: Column, tick: Column, lots: Column, ts_exch: Column, ts_recv: Column, now_ns: int,
    books: RecArray, bids: Levels, asks: Levels, f: Rec, p: Rec, s: Rec, orders: RecArray, lim: Rec, loss: Rec,
    reports: RecArray, run: Rec, fills: RecArray,
) -> None:  # fmt: skip
    """The strategy's view up to ``now_ns``: reports and market events in order of arrival, equity at every new mid."""
    n = kind.shape[0]
    li = run.local_events
    while li < n and ts_recv[li] <= now_ns:
        _deliver_reports(reports, ts_recv[li], s, p, orders, run, fills)
        on_event(
            books, 0, bids, asks, f, p, s, orders, kind[li], flags[li], tick[li], lots[li], ts_exch[li], ts_recv[li]
        )
        if flags[li] & LAST and f.valid and f.mid != run.last_mid:
            run.last_mid = f.mid
            if s.fills > 0:
                _mark(s, p, f, loss, lim, ts_recv[li])
        li += 1
    run.local_events = li
    _deliver_reports(reports, now_ns, s, p, orders, run, fills)
    if f.valid and s.fills > 0:
        _mark(s, p, f, loss, lim, now_ns)


@hot_kernel
def _send(cmds: RecArray, n_cmds: int, flight: RecArray, arrive_ns: int, run: Rec) -> None:
    """Commands leave for the exchange."""
    for k in range(n_cmds):
        c = flight[run.flight_tail % RING]
        run.flight_tail += 1
        c.arrive_ns = arrive_ns
        c.id = cmds[k].id
        c.lots = cmds[k].lots
        c.tick = cmds[k].tick
        c.side = cmds[k].side
        c.op = cmds[k].op
        if c.op == PLACE:
            run.orders += 1
        else:
            run.cancels += 1


@hot_kernel
def _account(f: Rec, run: Rec, now_ns: int, bid_tick: int, ask_tick: int) -> None:
    """Time with both sides resting, since the first valid book."""
    if run.first_valid_ns == 0 and f.valid:
        run.first_valid_ns = now_ns
    elif run.first_valid_ns != 0 and bid_tick != 0 and ask_tick != 0:
        run.both_ns += now_ns - run.last_ns
    run.last_ns = now_ns


@kernel
def replay(
    kind: Column, flags: Column, tick: Column, lots: Column, ts_exch: Column, ts_recv: Column, decide_ns: Column,
    xbook: RecArray, xbids: Levels, xasks: Levels, books: RecArray, bids: Levels, asks: Levels,
    params: RecArray, models: RecArray, policies: RecArray, features: RecArray, states: RecArray, orders: RecArray,
    limits: RecArray, losses: RecArray, targets: RecArray, cmds: RecArray, x: RecArray, flight: RecArray,
    reports: RecArray, runs: RecArray, fills: RecArray, samples: RecArray, stride: int,
    queue_model: int, queue_n: float, order_ns: int, response_ns: int,
) -> None:  # fmt: skip
    """Run one strategy over a tape; results are left in ``states``, ``losses``, ``runs``, ``fills``, ``samples``.

    ``ts_exch`` must not decrease; ``decide_ns`` are the decision moments; a sample is kept every ``stride`` decisions.
    """
    p, s, f = params[0], states[0], features[0]
    lim, loss, run = limits[0], losses[0], runs[0]
    for d in range(decide_ns.shape[0]):
        now_ns = decide_ns[d]
        _advance_exchange(
            kind, tick, lots, ts_exch, now_ns, xbook, xbids, xasks, x, flight, reports, run, fills, queue_model,
            queue_n, response_ns,
        )  # fmt: skip
        _advance_strategy(
            kind, flags, tick, lots, ts_exch, ts_recv, now_ns, books, bids, asks, f, p, s, orders, lim, loss, reports,
            run, fills,
        )  # fmt: skip
        bid_tick = _resting_tick(orders, BUY_SIDE)
        ask_tick = _resting_tick(orders, SELL_SIDE)
        _account(f, run, now_ns, bid_tick, ask_tick)
        decide(books, 0, bids, asks, f, models[0], policies[0], p, s, orders, now_ns, False, targets[0])
        _send(cmds, diff_orders(p, s, lim, orders, targets[0], 0, now_ns, cmds), flight, now_ns + order_ns, run)
        if d % stride == 0 and run.samples < samples.shape[0]:
            row = samples[run.samples]
            row.ts_ns = now_ns
            row.mid = f.mid if f.valid else run.last_mid
            row.equity_usd = equity(s, p, row.mid) if s.fills > 0 else 0.0
            row.pos_lots = s.pos_lots
            row.bid_tick = bid_tick
            row.ask_tick = ask_tick
            run.samples += 1
