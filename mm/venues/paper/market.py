"""One instrument's live book with paper orders in it: the simulator's fill rules, one event at a time. Pure.

An order rests behind what the level showed when it arrived; trades eat the queue ahead of it, cancels are shared out
by a queue model (``mm.sim.queue``). A trade beyond its price, or the other side's touch reaching it, fills it at its
price.
Paper orders are not in the public book and move nobody: fills are those of a small order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from mm.core.types import ASK, BID, BUY, CLEAR_ASK, CLEAR_BID, SELL
from mm.sim.queue import executed_lots, lots_ahead, on_level_change

_NO_BID = -(1 << 40)
_NO_ASK = 1 << 40


@dataclass(slots=True)
class PaperOrder:
    """A resting order. ``front`` is the estimated quantity ahead of it, ``traded`` what traded since the last level."""

    cid: str
    oid: int
    side: int
    tick: int
    lots: int
    front: float
    traded: float = 0.0


class PaperFill(NamedTuple):
    """Of a resting order, as maker."""

    order: PaperOrder
    tick: int
    lots: int


class PaperMarket:
    """``model`` and ``n`` are of ``mm.sim.queue``."""

    def __init__(self, model: int, n: float) -> None:
        self.orders: dict[str, PaperOrder] = {}
        self.bids: dict[int, int] = {}
        self.asks: dict[int, int] = {}
        self.mark = 0  # tick; 0 until one came
        self._model, self._n = model, n

    @property
    def best_bid(self) -> int:
        """Far below everything when there is none."""
        return max(self.bids, default=_NO_BID)

    @property
    def best_ask(self) -> int:
        """Far above everything when there is none."""
        return min(self.asks, default=_NO_ASK)

    @property
    def two_sided(self) -> bool:
        """A book to trade in: after a gap there is none until the next snapshot."""
        return bool(self.bids and self.asks)

    def void(self) -> None:
        """The book is not known (gap, lost connection): nothing fills from here until a snapshot."""
        self.bids, self.asks = {}, {}

    def would_cross(self, side: int, tick: int) -> bool:
        """Whether a limit order at a price would trade at once."""
        return tick >= self.best_ask if side > 0 else tick <= self.best_bid

    def add(self, cid: str, oid: int, side: int, tick: int, lots: int) -> PaperOrder:
        """A post-only order comes to rest at the end of its level's queue."""
        level = (self.bids if side > 0 else self.asks).get(tick, 0)
        order = self.orders[cid] = PaperOrder(cid, oid, side, tick, lots, lots_ahead(self._model, float(level)))
        return order

    def take(self, side: int, tick: int, lots: int) -> list[tuple[int, int]]:
        """What an IOC order would get now, (tick, lots) best first; the public book keeps its quantities."""
        book = self.asks if side > 0 else self.bids
        out: list[tuple[int, int]] = []
        for price in sorted(book, reverse=side < 0):
            if (price - tick) * side > 0 or lots <= 0:
                break
            out.append((price, min(lots, book[price])))
            lots -= out[-1][1]
        return out

    def event(self, kind: int, tick: int, lots: int) -> list[PaperFill]:
        """Apply one market event; returns the fills it causes. Orders without open lots are gone from ``orders``."""
        out: list[PaperFill] = []
        if kind in (SELL, BUY):
            self._trade(1 if kind == SELL else -1, tick, lots, out)
        elif kind in (BID, ASK):
            self._level(kind, tick, lots, out)
        elif kind == CLEAR_BID:
            self.bids = {t: q for t, q in self.bids.items() if t < tick}
        elif kind == CLEAR_ASK:
            self.asks = {t: q for t, q in self.asks.items() if t > tick}
        return out

    def _trade(self, side: int, tick: int, lots: int, out: list[PaperFill]) -> None:
        for order in list(self.orders.values()):
            if order.side != side:
                continue
            if (order.tick - tick) * side > 0:
                self._fill(order, order.lots, out)
            elif order.tick == tick:
                order.front -= lots
                order.traded += lots
                done = executed_lots(order.front, order.lots) if math.isfinite(order.front) else 0
                if done > 0:
                    order.front = 0.0
                    self._fill(order, done, out)

    def _level(self, kind: int, tick: int, lots: int, out: list[PaperFill]) -> None:
        bid = kind == BID
        book, other = (self.bids, self.asks) if bid else (self.asks, self.bids)
        before = book.get(tick, 0)
        if lots:
            book[tick] = lots
            for t in [t for t in other if (t <= tick if bid else t >= tick)]:  # the newer level is right
                del other[t]
        else:
            book.pop(tick, None)
        side = 1 if bid else -1
        for order in list(self.orders.values()):
            if order.side == side:
                if order.tick == tick:
                    order.front = on_level_change(
                        self._model, self._n, order.front, order.traded, float(before), float(lots)
                    )
                    order.traded = 0.0
            elif lots and (self.best_bid >= order.tick if bid else self.best_ask <= order.tick):
                self._fill(order, order.lots, out)

    def _fill(self, order: PaperOrder, lots: int, out: list[PaperFill]) -> None:
        order.lots -= lots
        if order.lots == 0:
            del self.orders[order.cid]
        out.append(PaperFill(order, order.tick, lots))
