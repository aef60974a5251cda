"""The estimate of A and kappa in flight, the slow way: every order and every spread is kept, every sum done afresh."""

from __future__ import annotations

import math

from mm.core.types import ASK, BID, BUY, CLEAR_ASK, CLEAR_BID, LAST, SELL
from mm.models.arrivals import MIN_EVIDENCE
from mm.models.flow import BINS, HURDLE


class NaiveFlow:
    """Feed it market events as the strategy receives them; ``last`` is (A, kappa, orders of the rarer side, misfit)."""

    def __init__(self, halflife_s, every_s):
        self.halflife_s, self.every_ns = halflife_s, round(every_s * 1e9)
        self.bids, self.asks = {}, {}
        self.touches = []  # (exchange time, bid, ask); None without a valid book
        self.spans = []  # [from, to, half spread], receive clock
        self.orders = []  # dicts
        self.newest = {SELL: None, BUY: None}
        self.pending = {}
        self.beyond = self.confirmed = self.sweeps = 0
        self.clock = self.fit_ns = 0
        self.moved = self.started = False
        self.last = (0.0, 0.0, 0.0, 0.0)

    def on_event(self, e):
        kind, tick, lots, now = int(e.kind), int(e.tick), int(e.lots), int(e.ts_recv_ns)
        self.clock = max(self.clock, int(e.ts_exch_ns))
        if kind in (SELL, BUY):
            if self.started:
                self._trade(kind, tick, now)
        elif kind in (BID, ASK, CLEAR_BID, CLEAR_ASK):
            self.moved = True
            self._book(kind, tick, lots)
        if e["flags"] & LAST:
            self._message(now)

    def _book(self, kind, tick, lots):
        if kind == CLEAR_BID:
            self.bids = {t: q for t, q in self.bids.items() if t < tick}
        elif kind == CLEAR_ASK:
            self.asks = {t: q for t, q in self.asks.items() if t > tick}
        else:
            book, other = (self.bids, self.asks) if kind == BID else (self.asks, self.bids)
            if not lots:
                book.pop(tick, None)
                return
            book[tick] = lots
            for t in [t for t in other if (t <= tick if kind == BID else t >= tick)]:
                del other[t]

    def touch(self):
        return (max(self.bids), min(self.asks)) if self.bids and self.asks else None

    def _prints_lead(self):
        return (
            self.beyond >= MIN_EVIDENCE and self.confirmed >= 0.75 * self.beyond and 4 * self.sweeps >= self.confirmed
        )

    def _trade(self, kind, tick, now):
        sign = 1 if kind == BUY else -1
        order = self.newest[kind]
        if order and order["ts"] == self.clock:
            excess = sign * (tick - order["touch"])
            if excess > order["excess"]:
                self.sweeps += not order["swept"]
                order["swept"], order["excess"] = True, excess
            return
        earlier = [touch for touch in self.touches if touch[0] < self.clock] or self.touches[:1]
        if not earlier or earlier[-1][1] is None:
            return
        touch = earlier[-1][1][1 if kind == BUY else 0]
        away = sign * (tick - touch)
        self.pending.pop(kind, None)
        if away > 0:
            self.pending[kind] = tick
        if away < 0 or (away != 0 and self._prints_lead()):
            touch = tick
        self.newest[kind] = {"ts": self.clock, "at": now, "kind": kind, "touch": touch, "swept": False}
        self.newest[kind]["excess"] = sign * (tick - touch)
        self.orders.append(self.newest[kind])

    def _message(self, now):
        touch = self.touch()
        if not self.started:
            if touch is None:
                return
            self.started = self.moved = True
            self.fit_ns = now
        if self.moved:
            self.moved = False
            for kind, first in self.pending.items():
                self.beyond += 1
                self.confirmed += touch is not None and (touch[1] >= first if kind == BUY else touch[0] <= first)
            self.pending = {}
            if not self.touches or self.touches[-1][1] != touch:
                if self.touches and self.touches[-1][0] == self.clock:
                    self.touches.pop()
                self.touches.append((self.clock, touch))
                if self.spans:
                    self.spans[-1][1] = now
                self.spans.append([now, now, 0.5 * (touch[1] - touch[0]) if touch else None])
        if now - self.fit_ns >= self.every_ns:
            self.fit_ns = self.spans[-1][1] = now
            self.last = self._fit(now)

    def _fit(self, now):
        def weight(ts):
            return 2.0 ** ((ts - now) * 1e-9 / self.halflife_s)

        for first in (0, 1):
            mine = [o for o in self.orders if o["excess"] >= first]
            sides = [sum(weight(o["at"]) for o in mine if o["kind"] == k) for k in (SELL, BUY)]
            n = sum(sides)
            if n == 0:
                return math.nan, math.inf, 0.0, 0.0
            total = sum(weight(o["at"]) * (o["excess"] - first) for o in mine)
            kappa = math.log(1 + n / total) if total > 1e-9 * n else math.inf
            misfit = 0.0
            for edge in (1 << k for k in range(first, BINS - 1)):
                share = sum(weight(o["at"]) for o in mine if o["excess"] >= edge) / n
                misfit = max(misfit, abs(share - math.exp(-kappa * (edge - first))))
            if misfit <= HURDLE:
                break
        if kappa == math.inf:
            return math.nan, kappa, min(sides), misfit
        spent = [(self._spent(a, b, now), half) for a, b, half in self.spans if half is not None]
        seconds = sum(w for w, _ in spent)
        mean = sum(w * half for w, half in spent) / seconds
        variance = sum(w * half * half for w, half in spent) / seconds - mean * mean
        log_reach = min(-kappa * mean + kappa * kappa * variance / 2, -kappa / 2)
        return n / 2 / seconds * math.exp(kappa * first - log_reach), kappa, min(sides), misfit

    def _spent(self, a, b, now):
        h = self.halflife_s / math.log(2)
        return h * (2.0 ** ((b - now) * 1e-9 / self.halflife_s) - 2.0 ** ((a - now) * 1e-9 / self.halflife_s))
