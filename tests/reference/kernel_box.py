"""One strategy on one small book, driven by hand: what the tests of the decision kernel share."""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

import numpy as np

from mm.config.schema import RunConfig
from mm.core.book import new_book
from mm.core.instrument import Instrument
from mm.core.types import ASK, BID, CLEAR_ASK, CLEAR_BID, EVENT, LAST, LIVE, records
from mm.strategy.quoter import apply_exec, run_decide, run_events
from mm.strategy.setup import resolve
from mm.strategy.state import REASONS

START_NS = 1_704_067_200_000_000_000
MODELS = ("avellaneda_stoikov", "glft_asymptotic", "glft_stationary", "glft_exact")


def instrument(**changes):
    base = {
        "symbol": "BTC-USDT", "venue": "test", "kind": "linear", "tick_size": Decimal("0.1"),
        "lot_size": Decimal("0.001"), "min_notional": Decimal(5), "base": "BTC", "quote": "USDT",
    }  # fmt: skip
    return Instrument(**(base | changes))


class Quote(NamedTuple):
    bid: int
    ask: int
    bid_lots: int
    ask_lots: int
    reason: str
    raw_bid: float
    raw_ask: float
    reservation: float


class Box:
    """``config``: sections as in a file. The reference price is ``ref_ticks``; the window reaches 40,000 ticks."""

    def __init__(self, config=None, ref_ticks=600_000, inst=None, own_in_feed=False, half=20_000):
        self.instrument = inst or instrument()
        self.cfg = RunConfig.model_validate(config or {})
        price = ref_ticks * float(self.instrument.tick_size)
        self.r = resolve(self.cfg, self.instrument, price, own_in_feed=own_in_feed)
        self.mid = ref_ticks
        self.base = max(ref_ticks - half, 0)
        self.books, self.bids, self.asks = new_book(self.base, 2 * half)

    def feed(self, rows, ts_ns=START_NS):
        """One message of (kind, tick, lots) rows."""
        r, ev = self.r, records(len(rows), EVENT)
        for k, (kind, tick, lots) in enumerate(rows):
            ev[k].kind, ev[k].tick, ev[k].lots = kind, tick, lots
        ev["ts_exch_ns"] = ev["ts_recv_ns"] = ts_ns
        ev[-1]["flags"] = LAST
        run_events(ev, self.books, 0, self.bids, self.asks, r.features, r.watch, r.flow, r.params, r.state, r.orders)
        return self

    def book(self, bids, asks, ts_ns=START_NS):
        """Replace the book; ``bids`` and ``asks`` are {tick: lots}."""
        rows = [(CLEAR_BID, 0, 0), (CLEAR_ASK, np.iinfo(np.int32).max, 0)]
        rows += [(BID, t, n) for t, n in bids.items()] + [(ASK, t, n) for t, n in asks.items()]
        return self.feed(rows, ts_ns)

    def touch(self, bid=None, ask=None, lots=100):
        bid = self.mid - 5 if bid is None else bid
        ask = self.mid + 5 if ask is None else ask
        return self.book({bid: lots}, {ask: lots})

    def own(self, side, tick, lots, state=LIVE, order_id=None):
        """Put a working order of ours into the table."""
        k = int(np.flatnonzero(self.r.orders["state"] == 0)[0])
        o = self.r.orders[k]
        o.id = 1000 + k if order_id is None else order_id
        o.side, o.tick, o.lots, o.state, o.ts_sent_ns = side, tick, lots, state, START_NS
        return int(o.id)

    def step(self, now_ns=START_NS, stale=False):
        """One decision: (Quote, commands)."""
        r = self.r
        n = run_decide(
            self.books, 0, self.bids, self.asks, r.features, r.watch, r.model, r.policy, r.params, r.state,
            r.limits, r.rate, r.orders, now_ns, stale, r.target, r.cmds,
        )  # fmt: skip
        t = r.target[0]
        quote = Quote(
            int(t.bid_tick), int(t.ask_tick), int(t.bid_lots), int(t.ask_lots), REASONS[int(t.reason)],
            float(t.raw_bid), float(t.raw_ask), float(t.reservation_price),
        )  # fmt: skip
        return quote, r.cmds[:n].copy()

    def quote(self, pos_lots=0, **kw):
        """Targets at a position, without leaving orders behind."""
        self.r.state[0].pos_lots = pos_lots
        kept = self.r.orders.copy()
        out, _ = self.step(**kw)
        self.r.orders[:] = kept
        return out

    def report(self, kind, order_id, side=0, tick=0, lots=0, maker=True, fee=0):
        apply_exec(self.r.params, self.r.state, self.r.orders, kind, order_id, side, tick, lots, maker, fee)
