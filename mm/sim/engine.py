"""Replay: the recorded market on two clocks, our orders in its queues, the decision kernel in between.

The exchange sees events at ``ts_exch_ns`` and our commands one order latency after they are sent; the strategy sees
events at ``ts_recv_ns`` and execution reports one response latency after they happen. An order that arrives at the
same nanosecond as a market event sees that event first.
"""

from __future__ import annotations

from mm.core.book import Levels
from mm.core.jit import kernel
from mm.core.types import BUY_SIDE, CANCELING, FILL, LAST, LIVE, PLACE, SELL_SIDE, Rec, RecArray
from mm.sim.exchange import on_cancel, on_market_event, on_place
from mm.sim.state import RING
from mm.strategy.kernel import decide, on_event
from mm.strategy.orders import diff_orders, on_exec, simulated_fee
from mm.strategy.portfolio import equity
from mm.strategy.risk import mark_loss


@kernel
def _resting_tick(orders: RecArray, side: int) -> int:
    for k in range(orders.shape[0]):
        if orders[k].side == side and (orders[k].state == LIVE or orders[k].state == CANCELING):
            return orders[k].tick
    return 0


@kernel
def _deliver_reports(
    reports: RecArray, head: int, tail: int, until_ns: int, s: Rec, p: Rec, orders: RecArray, run: Rec,
    fills: RecArray, seen: int,
) -> tuple[int, int]:  # fmt: skip
    """Hand over reports that have arrived; ``seen`` counts fills the strategy knows of."""
    while head < tail:
        r = reports[head % RING]
        if r.arrive_ns > until_ns:
            break
        on_exec(s, p, orders, r.kind, r.id, r.side, r.tick, r.lots, True, simulated_fee(p, r.tick, r.lots, True))
        if r.kind == FILL:
            if seen < fills.shape[0]:
                fills[seen].pos_lots = s.pos_lots
            seen += 1
        head += 1
    return head, seen


@kernel
def replay(
    kind: Levels, flags: Levels, tick: Levels, lots: Levels, ts_exch: Levels, ts_recv: Levels, decide_ns: Levels,
    xbook: RecArray, xbids: Levels, xasks: Levels, books: RecArray, bids: Levels, asks: Levels,
    params: RecArray, models: RecArray, policies: RecArray, features: RecArray, states: RecArray, orders: RecArray,
    limits: RecArray, losses: RecArray, targets: RecArray, cmds: RecArray, x: RecArray, flight: RecArray,
    reports: RecArray, runs: RecArray, fills: RecArray, samples: RecArray, stride: int,
    queue_model: int, queue_n: float, order_ns: int, response_ns: int,
) -> None:  # fmt: skip
    """Run one strategy over a tape; results are left in ``states``, ``losses``, ``runs``, ``fills``, ``samples``.

    ``ts_exch`` must not decrease; ``decide_ns`` are the decision moments; a sample is kept every ``stride`` decisions.
    """
    p = params[0]
    s = states[0]
    f = features[0]
    run = runs[0]
    loss = losses[0]
    n = kind.shape[0]
    xi = 0
    li = 0
    flight_head = 0
    flight_tail = 0
    head = 0
    tail = 0
    seen = 0
    last_mid = 0.0
    last_ns = 0
    for d in range(decide_ns.shape[0]):
        now_ns = decide_ns[d]
        while True:  # the exchange, up to now: market events and our commands in order of time
            more = flight_head < flight_tail and flight[flight_head % RING].arrive_ns <= now_ns
            until_ns = flight[flight_head % RING].arrive_ns if more else now_ns
            while xi < n and ts_exch[xi] <= until_ns:
                tail = on_market_event(
                    xbook[0], xbids, xasks, x, kind[xi], tick[xi], lots[xi], ts_exch[xi], queue_model, queue_n,
                    response_ns, reports, tail, run, fills,
                )  # fmt: skip
                xi += 1
            if not more:
                break
            c = flight[flight_head % RING]
            flight_head += 1
            if c.op == PLACE:
                tail = on_place(
                    xbook[0], xbids, xasks, x, c.id, c.side, c.tick, c.lots, c.arrive_ns, response_ns, reports, tail,
                    run,
                )  # fmt: skip
            else:
                tail = on_cancel(x, c.id, c.arrive_ns, response_ns, reports, tail)
        while li < n and ts_recv[li] <= now_ns:  # the strategy's view, up to now
            head, seen = _deliver_reports(reports, head, tail, ts_recv[li], s, p, orders, run, fills, seen)
            on_event(
                books, 0, bids, asks, f, p, s, orders, kind[li], flags[li], tick[li], lots[li], ts_exch[li],
                ts_recv[li],
            )  # fmt: skip
            if flags[li] & LAST and f.valid and (f.mid != last_mid):
                last_mid = f.mid
                if s.fills > 0:
                    halt = mark_loss(loss, limits[0], equity(s, p, f.mid), ts_recv[li])
                    if halt != 0 and s.halted == 0:
                        s.halted = halt
            li += 1
        head, seen = _deliver_reports(reports, head, tail, now_ns, s, p, orders, run, fills, seen)
        bid_tick = _resting_tick(orders, BUY_SIDE)
        ask_tick = _resting_tick(orders, SELL_SIDE)
        if run.first_valid_ns == 0 and f.valid:
            run.first_valid_ns = now_ns
        elif run.first_valid_ns != 0 and bid_tick != 0 and ask_tick != 0:
            run.both_ns += now_ns - last_ns
        last_ns = now_ns
        if f.valid and s.fills > 0:
            halt = mark_loss(loss, limits[0], equity(s, p, f.mid), now_ns)
            if halt != 0 and s.halted == 0:
                s.halted = halt
        decide(books, 0, bids, asks, f, models[0], policies[0], p, s, orders, now_ns, False, targets[0])
        n_cmds = diff_orders(p, s, limits[0], orders, targets[0], 0, now_ns, cmds)
        for k in range(n_cmds):
            c = flight[flight_tail % RING]
            flight_tail += 1
            c.arrive_ns = now_ns + order_ns
            c.id = cmds[k].id
            c.lots = cmds[k].lots
            c.tick = cmds[k].tick
            c.side = cmds[k].side
            c.op = cmds[k].op
            if c.op == PLACE:
                run.orders += 1
            else:
                run.cancels += 1
        if d % stride == 0 and run.samples < samples.shape[0]:
            row = samples[run.samples]
            row.ts_ns = now_ns
            row.mid = f.mid if f.valid else last_mid
            row.equity_usd = equity(s, p, row.mid) if s.fills > 0 else 0.0
            row.pos_lots = s.pos_lots
            row.bid_tick = bid_tick
            row.ask_tick = ask_tick
            run.samples += 1
    run.last_ns = last_ns
    run.exch_events = xi
    run.local_events = li
