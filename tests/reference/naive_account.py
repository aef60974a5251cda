"""The exchange's side of a strategy's money, slowly: exact fractions, the tested ledger, textbook definitions."""

from __future__ import annotations

import math
from fractions import Fraction

from mm.core.ledger import PositionLedger
from mm.core.types import CANCEL, FREE, LIVE

SLACK = Fraction(1, 10**9)  # the engine counts in floats


class NaiveAccount:
    """Position, wallet and isolated margin. Quantities in base (linear, spot) or quote contracts (inverse)."""

    def __init__(self, cfg, instrument, ref_price, maker, taker):
        self.i, self.cfg, self.maker, self.taker = instrument, cfg, Fraction(maker), Fraction(taker)
        self.inverse = instrument.kind == "inverse"
        self.ledger = PositionLedger("inverse" if self.inverse else "linear")
        self.unit = Fraction(instrument.lot_size) * Fraction(instrument.contract_value)
        self.in_usd = 1 / Fraction(ref_price) if self.inverse else Fraction(1)  # margin currency per quote
        self.wallet0 = Fraction(cfg.risk.initial_equity_usd) * self.in_usd
        self.paid = self.funding = Fraction(0)
        self.lots = 0
        self.liquidated = False
        self.loss_usd = Fraction(0)

    def price(self, tick):
        return Fraction(tick) * Fraction(self.i.tick_size)

    def value(self, lots, price):
        """In margin currency."""
        return lots * self.unit / price if self.inverse else lots * self.unit * price

    def fill(self, side, tick, lots, fee=None):
        price = self.price(tick)
        self.ledger.apply(side * lots * self.unit, price)
        self.lots += side * lots
        self.paid += self.value(lots, price) * self.maker if fee is None else fee

    def settle(self, tick, rate_e9):
        if self.i.kind == "spot":
            return Fraction(0)
        flow = -self.value(self.lots, self.price(tick)) * Fraction(int(rate_e9), 10**9)
        self.funding += flow
        return flow

    def margin(self):
        entry = self.ledger.entry
        initial = self.value(abs(self.lots), entry) / Fraction(self.cfg.risk.leverage)
        return max(min(initial, self.wallet0 + self.ledger.realised - self.paid + self.funding), Fraction(0))

    def affords(self, side, tick, lots):
        """The money for this order is there, were it filled wholly; isolated margin, spot without credit."""
        price, held = self.price(tick), self.lots * side
        if self.i.kind == "spot":
            cash = self.wallet0 - self.paid + self.ledger.realised
            cash -= self.value(self.lots, self.ledger.entry) if self.lots else 0
            cost = self.value(lots, price) * (1 + max(self.maker, self.taker, 0))
            return side < 0 or cost <= cash * (1 + SLACK)
        if not self.cfg.risk.margin.tiers or held + lots <= 0:
            return True
        wallet = self.wallet0 + self.ledger.realised - self.paid + self.funding
        if held < 0:  # closed first, at this price
            wallet += self.ledger.unrealised(price)
            value = self.value(lots + held, price)
        else:
            value = self.value(lots, price) + (self.value(held, self.ledger.entry) if held else 0)
        return value / Fraction(self.cfg.risk.leverage) <= wallet * (1 + SLACK)

    def maintenance(self, price):
        rules = self.cfg.risk.margin
        value = self.value(abs(self.lots), self.ledger.entry if rules.maintenance == "entry_mm" else price)
        need = last = Fraction(0)
        for tier in rules.tiers:  # each rate on the part of the value above its threshold
            rate = Fraction(tier.rate_pct) / 100
            need += max(value - Fraction(tier.above_usd) * self.in_usd, Fraction(0)) * (rate - last)
            last = rate
        return need + (value * self.taker if rules.maintenance == "mark_mm_fee" else 0)

    def due(self, mark_tick):
        """The position must go at this mark."""
        if self.lots == 0 or self.i.kind == "spot" or not self.cfg.risk.margin.tiers:
            return False
        price = self.price(mark_tick)
        return self.margin() + self.ledger.unrealised(price) <= self.maintenance(price)

    def take_over(self, mark_tick):
        """Close the position: (side, tick, lots, fee in margin currency)."""
        side, lots, entry, margin = (1 if self.lots > 0 else -1), abs(self.lots), self.ledger.entry, self.margin()
        if self.inverse:
            coins = self.value(lots, entry) + side * margin
            bankruptcy = lots * self.unit / coins if coins > 0 else self.price(mark_tick)
        else:
            bankruptcy = entry - side * margin / (lots * self.unit)
        bankruptcy /= Fraction(self.i.tick_size)
        tick = math.ceil(bankruptcy) if side > 0 else math.floor(bankruptcy)
        if self.cfg.risk.margin.close_at == "mark":
            at_mark = math.floor(mark_tick) if side > 0 else math.ceil(mark_tick)
            tick = max(tick, at_mark) if side > 0 else min(tick, at_mark)
        tick = max(tick, 1)
        lost = -self.ledger.unrealised(self.price(tick))
        fee = min(self.value(lots, self.price(tick)) * self.taker, max(margin - lost, Fraction(0)))
        assert lost + fee <= margin
        self.loss_usd = (lost + fee) * (self.price(tick) if self.inverse else 1)
        self.fill(-side, tick, lots, fee)
        self.liquidated = True
        return -side, tick, lots, fee


class NaiveBudget:
    """Tokens that come back steadily; a window holds no more messages than the limit."""

    def __init__(self, limit):
        self.limit = limit
        self.sent, self.held, self.last = [], 0, None
        if limit:
            self.burst = limit.burst or max(limit.orders // 2, 1)
            self.tokens = Fraction(self.burst)
            self.window = round(limit.window * 1e9)

    def allow(self, commands, orders, now):
        if not self.limit or len(commands) == 0:
            return commands
        if self.last is not None:
            back = Fraction((now - self.last) * (self.limit.orders + 1 - self.burst), self.window)
            self.tokens = min(Fraction(self.burst), self.tokens + back)
        self.last = now
        keep, waits = [], False
        for c in commands:
            costs = c.op != CANCEL or self.limit.cancels
            if costs and (waits or self.tokens < 1):
                waits = True
                self.held += 1
                for o in orders:
                    if o.id == c.id and o.state != FREE:
                        o.state = LIVE if c.op == CANCEL else FREE
                continue
            if costs:
                self.tokens -= 1
                self.sent.append(now)
            keep.append(c)
        return keep
