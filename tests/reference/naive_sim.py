"""A slow, plain-Python exchange around the live ``Quoter``: the reference for the replay engine.

It shares the decision kernel (through the object that the live actor drives) and nothing else: books are dicts, the
queue is a list of orders, messages in flight are lists sorted by time. If the engine and this agree on every fill and
every quote, then the simulated and the live shell decide alike.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from mm.core.fees import tier_fees
from mm.core.types import (
    ACK,
    ASK,
    BID,
    BUY,
    CANCEL_REJECT,
    CANCELED,
    CANCELING,
    CLEAR_ASK,
    CLEAR_BID,
    EXEC,
    FILL,
    FUNDING,
    LIVE,
    MARK,
    PLACE,
    REJECT,
    SELL,
)
from mm.data.store import Store
from mm.strategy.quoter import Quoter
from mm.strategy.risk import HALT_LIQUIDATION
from tests.reference.naive_account import NaiveAccount, NaiveBudget
from tests.reference.naive_flow import NaiveFlow

FUNDED, LIQUIDATED = "funded", "liquidated"


def _log(x):
    return math.log(x) if x > 0 else math.nan


@dataclass
class Order:
    id: int
    side: int
    tick: int
    leaves: int
    front: float
    traded: float = 0.0


@dataclass
class NaiveExchange:
    model: str
    n: float
    partial: bool
    account: NaiveAccount
    self_trade: str = "reject"
    by_mark: bool = False
    refusals: Counter = field(default_factory=Counter)
    bids: dict[int, int] = field(default_factory=dict)
    asks: dict[int, int] = field(default_factory=dict)
    orders: list[Order] = field(default_factory=list)
    fills: list[tuple[int, int, int, int, int]] = field(default_factory=list)  # ts, id, side, tick, lots

    def best_bid(self):
        return max(self.bids, default=-(1 << 40))

    def best_ask(self):
        return min(self.asks, default=1 << 40)

    def _fill(self, order, lots, ts, out):
        order.leaves -= lots
        self.fills.append((ts, order.id, order.side, order.tick, lots))
        self.account.fill(order.side, order.tick, lots)
        out.append((ts, FILL, order.id, order.side, order.tick, lots))

    def _behind(self, front, back):
        f, b, n = front, back, self.n
        match self.model:
            case "power":
                return b**n / (b**n + f**n)
            case "power2":
                return b**n / (b + f) ** n
            case "power3":
                return 1 - (f / (f + b)) ** n
            case "log":
                return _log(1 + b) / (_log(1 + b) + _log(1 + f))
            case "log2":
                return _log(1 + b) / _log(1 + b + f)

    def _ahead(self, level):
        return {"touch": 0.0, "trade_through": math.inf}.get(self.model, float(level))

    def _requeue(self, order, prev, new):
        if self.model in ("touch", "trade_through"):
            return
        if self.model == "risk_averse":
            order.front = min(order.front, new)
            return
        change = prev - new - order.traded
        if change < 0:
            order.front = min(order.front, new)
            return
        back = prev - order.front
        if order.front == 0 and back == 0:
            order.front = new
            return
        p = self._behind(order.front, back)
        if math.isnan(p):  # the estimate has run past the front of the queue: nothing is known
            order.front = new
            return
        order.front = min(order.front - (1 - p) * change + min(back - p * change, 0), new)

    def market(self, kind, tick, lots, ts, out, whole=True):
        if kind in (SELL, BUY):
            side = 1 if kind == SELL else -1
            for o in self.orders:
                if o.side != side:
                    continue
                if o.tick * side > tick * side:
                    self._fill(o, o.leaves, ts, out)
                elif o.tick == tick:
                    o.front -= lots
                    o.traded += lots
                    if o.front < 0:
                        done = min(math.floor(0.5 - o.front), o.leaves)
                        if done > 0 and not self.partial:
                            done = o.leaves
                        if done > 0:
                            o.front = 0.0
                            self._fill(o, done, ts, out)
        elif kind in (BID, ASK):
            book, other = (self.bids, self.asks) if kind == BID else (self.asks, self.bids)
            prev = book.get(tick, 0)
            if lots:
                book[tick] = lots
                # a new level at or through the other side is newer: the other side gives way
                for t in [t for t in other if (t <= tick if kind == BID else t >= tick)]:
                    del other[t]
            else:
                book.pop(tick, None)
            for o in self.orders:
                if o.side == (1 if kind == BID else -1):
                    if o.tick == tick:
                        self._requeue(o, prev, lots)
                        o.traded = 0.0
                elif lots and (
                    (kind == BID and self.best_bid() >= o.tick) or (kind == ASK and self.best_ask() <= o.tick)
                ):
                    self._fill(o, o.leaves, ts, out)
        elif kind == CLEAR_BID:
            self.bids = {t: q for t, q in self.bids.items() if t < tick}
        elif kind == CLEAR_ASK:
            self.asks = {t: q for t, q in self.asks.items() if t > tick}
        elif kind == FUNDING and self.account.lots:
            out.append((ts, FUNDED, 0, 0, tick, 0, self.account.settle(tick, lots)))
        self.orders = [o for o in self.orders if o.leaves > 0]

        if kind == MARK:
            self.margin_call(tick, ts, out)
        elif whole and not self.by_mark and self.bids and self.asks:
            self.margin_call(Fraction(self.best_bid() + self.best_ask(), 2), ts, out)

    def margin_call(self, mark, ts, out):
        if not self.account.due(mark):
            return
        for o in sorted(self.orders, key=lambda o: -o.side):
            out.append((ts, CANCELED, o.id, o.side, o.tick, o.leaves))
        self.orders = []
        side, tick, lots, fee = self.account.take_over(mark)
        self.fills.append((ts, 0, side, tick, lots))
        out.append((ts, LIQUIDATED, 0, side, tick, lots, fee))

    def _refuses(self, c):
        mine = [o for o in self.orders if o.side == c.side]
        meets = any(o.side != c.side and (c.tick - o.tick) * c.side >= 0 for o in self.orders)
        if self.account.liquidated:
            return "liquidated"
        if (c.side > 0 and c.tick >= self.best_ask()) or (c.side < 0 and c.tick <= self.best_bid()):
            return "post_only"
        if mine:
            return "busy"
        if self.account.i.notional(int(c.tick), int(c.lots)) < self.account.i.min_notional:
            return "min_notional"
        if self.account.i.kind == "spot" and c.side < 0 and c.lots > self.account.lots:
            return "no_base"
        if not self.account.affords(int(c.side), int(c.tick), int(c.lots)):
            return "no_quote" if self.account.i.kind == "spot" else "insufficient_margin"
        return "self_trade" if meets and self.self_trade == "reject" else ""

    def command(self, c, ts, out):
        if c.op == PLACE:
            if reason := self._refuses(c):
                self.refusals[reason] += 1
                out.append((ts, REJECT, c.id, c.side, c.tick, c.lots))
                return
            for o in [o for o in self.orders if o.side != c.side and (c.tick - o.tick) * c.side >= 0]:
                self.orders.remove(o)
                out.append((ts, CANCELED, o.id, o.side, o.tick, o.leaves))
            book = self.bids if c.side > 0 else self.asks
            self.orders.append(
                Order(int(c.id), int(c.side), int(c.tick), int(c.lots), self._ahead(book.get(int(c.tick), 0)))
            )
            out.append((ts, ACK, c.id, c.side, c.tick, c.lots))
            return
        for o in self.orders:
            if o.id == c.id:
                self.orders.remove(o)
                out.append((ts, CANCELED, o.id, o.side, o.tick, o.leaves))
                return
        out.append((ts, CANCEL_REJECT, c.id, 0, 0, 0))


def _hash32(x):
    """lowbias32, of any integer."""
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        x &= 0xFFFFFFFF
        x = (x ^ (x >> shift)) * factor
    x &= 0xFFFFFFFF
    return x ^ (x >> 16)


class Wire:
    """One direction of a connection: a delay per message, in the order they were sent."""

    def __init__(self, latency, seed, connection, start_ns=0):
        self.latency, self.start_ns, self.number, self.last = latency, start_ns, 0, 0
        self.key = _hash32(_hash32(seed) + connection)
        if hasattr(latency, "file"):
            self.series = [(int(t), int(d)) for t, d in np.loadtxt(latency.file, np.int64, delimiter=",", ndmin=2)]

    def delay(self, ts):
        if hasattr(self.latency, "file"):
            first = self.series[0][0]
            if self.latency.repeat:
                ts = first + (ts - self.start_ns) % (self.series[-1][0] - first)
            return [d for t, d in self.series if t <= ts or t == first][-1]
        if hasattr(self.latency, "median"):
            u, w = ((_hash32(_hash32(2 * self.number + i) ^ self.key) + 0.5) / 2**32 for i in (0, 1))
            z = math.sqrt(-2 * math.log(u)) * math.cos(2 * math.pi * w)
            return int(round(self.latency.median * 1e9) * math.exp(self.latency.sigma * z) + 0.5)
        return round(self.latency * 1e9)

    def arrival(self, ts):
        self.last = max(self.last, int(ts) + self.delay(int(ts)))
        self.number += 1
        return self.last


def receive_times(cfg, events):
    """When the strategy sees each event: one delay a message; a message ends with its LAST row or with its times."""
    latency = cfg.sim.feed_latency
    if latency == "data":
        return events["ts_recv_ns"].copy()
    wire, out = Wire(latency, cfg.seed, 3), []
    for k, e in enumerate(events):
        if k == 0 or events[k - 1]["flags"] & 1 or any(events[k - 1][n] != e[n] for n in ("ts_exch_ns", "ts_recv_ns")):
            at = wire.arrival(e["ts_exch_ns"])
        out.append(at)
    return np.array(out)


def fees(cfg, instrument):
    """(maker, taker): what the config says, else its tier, else the instrument's."""
    base = instrument.maker_fee, instrument.taker_fee
    if cfg.sim.fee_tier:
        base = tier_fees(cfg.sim.fee_tier, instrument.kind)
    own = cfg.sim.maker_fee, cfg.sim.taker_fee
    return [b if o is None else o for o, b in zip(own, base, strict=True)]


def _money_report(quoter, kind, side, tick, lots, amount):
    r = quoter.records_of(0)
    s = r.state[0]
    if kind == FUNDED:
        s.funding += float(amount)
        return
    row = np.zeros(1, EXEC)
    row["kind"], row["side"], row["tick"], row["lots"] = FILL, side, tick, lots
    coin = s.fee_coin + float(amount)
    quoter.on_execs(row, [Decimal(amount.numerator) / Decimal(amount.denominator)])
    if r.params[0].inverse:
        s.fee_coin = coin
    quoter.set_halted(HALT_LIQUIDATION)


class Naive(NamedTuple):
    fills: list
    quotes: list
    quoter: Quoter
    exchange: NaiveExchange
    budget: NaiveBudget
    estimates: list  # at every decision: (A, kappa, orders, misfit) of the live quoter, the same the naive way


def resting(quoter):
    """(bid tick, ask tick, position) of the live quoter, 0 for no acknowledged order on a side."""
    r = quoter.records_of(0)
    if r is None:
        return 0, 0, 0
    ticks = {int(o.side): int(o.tick) for o in r.orders if o.state in (LIVE, CANCELING)}
    return ticks.get(1, 0), ticks.get(-1, 0), int(r.state[0].pos_lots)


def run(cfg, tape, times):
    """Every fill, and at every decision what rests: (bid tick, ask tick, position in lots)."""
    unlimited = cfg.model_copy(update={"risk": cfg.risk.model_copy(update={"rate_limit": None})})
    quoter = Quoter(unlimited, [tape.instrument], own_in_feed=False)  # the budget below is the naive one
    maker, taker = fees(cfg, tape.instrument)
    account = NaiveAccount(cfg, tape.instrument, tape.ref_price, maker, taker)
    if cfg.strategy.opening_base is not None:
        opening = cfg.strategy.opening_base.lots(tape.instrument, tape.ref_price)
        quoter.set_position(0, opening, tape.ref_price / float(tape.instrument.tick_size))
        account.fill(1, Fraction(tape.ref_price) / Fraction(tape.instrument.tick_size), opening, Fraction(0))
    budget = NaiveBudget(cfg.risk.rate_limit)
    events = Store.open(tape.path).events()
    orders_wire = Wire(cfg.sim.order_latency, cfg.seed, 1, int(events["ts_recv_ns"][0]))
    reports_wire = Wire(cfg.sim.response_latency, cfg.seed, 2, int(events["ts_recv_ns"][0]))
    events["ts_exch_ns"] = np.maximum.accumulate(events["ts_exch_ns"])
    events["ts_recv_ns"] = receive_times(cfg, events)
    exchange = NaiveExchange(
        cfg.sim.queue.model,
        cfg.sim.queue.n,
        cfg.sim.partial_fills,
        account,
        cfg.sim.self_trade,
        bool(np.any(events["kind"] == MARK)),
    )
    commands, reports, quotes, estimates = [], [], [], []
    params = cfg.strategy.params
    flow = None if params == "static" else NaiveFlow(params.halflife, params.every)
    xi = li = 0
    for now in times:
        while True:
            due = commands[0][0] if commands and commands[0][0] <= now else None
            until = due if due is not None else now
            while xi < len(events) and events[xi].ts_exch_ns <= until:
                e = events[xi]
                out = []
                exchange.market(int(e.kind), int(e.tick), int(e.lots), int(e.ts_exch_ns), out, bool(e["flags"] & 1))
                reports += [(reports_wire.arrival(r[0]), r) for r in out]
                xi += 1
            if due is None:
                break
            out = []
            exchange.command(commands.pop(0)[1], due, out)
            reports += [(reports_wire.arrival(r[0]), r) for r in out]
        while True:
            next_event = int(events[li].ts_recv_ns) if li < len(events) and events[li].ts_recv_ns <= now else None
            next_report = reports[0][0] if reports and reports[0][0] <= now else None
            if next_event is None and next_report is None:
                break
            if next_report is not None and (next_event is None or next_report <= next_event):
                _, (_ts, kind, oid, side, tick, lots, *money) = reports.pop(0)
                if kind in (FUNDED, LIQUIDATED):
                    _money_report(quoter, kind, side, tick, lots, money[0])
                    continue
                row = np.zeros(1, EXEC)
                row["kind"], row["id"], row["side"], row["tick"], row["lots"], row["maker"] = (
                    kind,
                    oid,
                    side,
                    tick,
                    lots,
                    1,
                )
                paid = maker * tape.instrument.notional(int(tick), int(lots)) if kind == FILL else Decimal(0)
                quoter.on_execs(row, [paid])
            else:
                seen = events[li : li + 1].copy()
                seen["kind"][seen["kind"] == FUNDING] = MARK  # the exchange's report books it, not the feed
                quoter.on_events(seen)
                if flow:
                    flow.on_event(seen.view(np.recarray)[0])
                li += 1
        quotes.append(resting(quoter))
        wanted = quoter.decide(int(now)).view(np.recarray)
        r = quoter.records_of(0)
        if r and flow:
            f = r.features[0]
            live = (float(f.flow_A), float(f.flow_kappa), float(f.flow_orders), float(f.flow_misfit))
            estimates.append((live, flow.last))
        sent = budget.allow(wanted, r.orders if r else [], int(now))
        commands += [(orders_wire.arrival(now), c) for c in sent]
    return Naive(exchange.fills, quotes, quoter, exchange, budget, estimates)
