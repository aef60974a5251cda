"""A paper account: orders, money and history over live books, speaking in the local exchange's messages. Pure.

What it says (``outbox``) are ``mm.venues.native.wire`` messages, so that the native codec reads them and a paper run is
recorded and replayed like any other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, Final

from mm.core.account_ledger import Ledger
from mm.core.instrument import Instrument
from mm.core.types import FUNDING, FUNDING_RATE_UNIT, MARK
from mm.venues.native import wire
from mm.venues.paper.market import PaperMarket, PaperOrder

_KEPT_ORDERS: Final = 20_000  # that have ended
_RATE: Final = Decimal(repr(FUNDING_RATE_UNIT))


class PaperAccount:
    """Times are passed in. ``balance``: settlement currency at the start; ``held``: spot inventory by symbol."""

    def __init__(
        self, instruments: Sequence[Instrument], model: int, n: float, balance: Decimal, held: dict[str, Decimal]
    ) -> None:
        self.markets = [PaperMarket(model, n) for _ in instruments]
        self.ledgers = [Ledger(i, i.lots(held.get(i.symbol, Decimal(0)))) for i in instruments]
        self.outbox: list[wire.Message] = []
        self.fills: list[wire.Fill] = []
        self.ended: dict[str, wire.OrderAnswer] = {}
        self.index = {i.symbol: k for k, i in enumerate(instruments)}
        self.instruments = list(instruments)
        self._units = [wire.Units(i) for i in instruments]
        self._sizes: dict[str, int] = {}
        self._balance = balance
        self._entries: dict[int, Decimal] = {}  # of the inventory that spot began with
        self._last_oid = 0

    def restore(self, fills: Iterable[wire.Fill]) -> None:
        """Begin from what an earlier process was filled."""
        for fill in fills:
            i = self.index[fill.symbol]
            instrument, units = self.instruments[i], self._units[i]
            rate = instrument.maker_fee if fill.maker else instrument.taker_fee
            self.ledgers[i].fill(wire.SIDE_SIGN[fill.side], units.ticks(fill.px), units.lots(fill.qty), rate)
            self.fills.append(fill)
            self._last_oid = max(self._last_oid, fill.oid)

    # --- market ------------------------------------------------------------------------------------------------------
    def events(self, rows: Iterable[tuple[int, int, int, int]], now_ns: int) -> None:
        """Rows (instrument, kind, tick, lots) of the live stream."""
        for i, kind, tick, lots in rows:
            if kind == FUNDING:
                self.ledgers[i].settle(tick, lots * _RATE)
            elif kind == MARK:
                self.markets[i].mark = tick
            else:
                for order, at, filled in self.markets[i].event(kind, tick, lots):
                    self._fill(i, order, at, filled, True, now_ns)

    def value_inventory(self) -> None:
        """Take spot inventory as bought at the present mid, once: else all of its value would be profit."""
        for i, (ledger, market) in enumerate(zip(self.ledgers, self.markets, strict=True)):
            if ledger.lots and ledger.entry is None and market.two_sided:
                touch = (self.instruments[i].price(tick) for tick in (market.best_bid, market.best_ask))
                self._entries.setdefault(i, sum(touch, Decimal(0)) / 2)

    def void(self, instruments: Iterable[int]) -> None:
        """Books that are not known any more."""
        for i in instruments:
            self.markets[i].void()

    # --- orders ------------------------------------------------------------------------------------------------------
    def place(
        self, symbol: str, cid: str, side: int, price: Decimal, size: Decimal, now_ns: int, *, ioc: bool = False
    ) -> None:
        """A post-only order, or a reduce-only IOC; the outcome is in ``outbox``."""
        i = self.index.get(symbol, -1)
        reason, tick, lots = self._check(i, cid, side, price, size, ioc)
        if reason:
            self.outbox.append(
                wire.OrderUpdate(
                    symbol, cid, 0, wire.SIDE_NAME[side], format(price, "f"), format(size, "f"), "rejected", reason,
                    now_ns,
                )
            )  # fmt: skip
            self._end(cid, 0, side, format(price, "f"), lots, 0, i, "rejected", reason)
            return
        self._last_oid += 1
        self._sizes[cid] = lots
        if not ioc:
            order = self.markets[i].add(cid, self._last_oid, side, tick, lots)
            self._update(i, order, "open", "", now_ns)
            return
        order = PaperOrder(cid, self._last_oid, side, tick, lots, 0.0)
        for at, got in self.markets[i].take(side, tick, lots):
            order.lots -= got
            self._fill(i, order, at, got, False, now_ns)
        if order.lots:
            self._update(i, order, "canceled", "ioc", now_ns)

    def cancel(self, symbol: str, cid: str, now_ns: int) -> None:
        """Cancel one order, or say why there is nothing to cancel."""
        i = self.index.get(symbol, -1)
        order = self.markets[i].orders.pop(cid, None) if i >= 0 else None
        if order is None:
            known = self.ended.get(cid)
            self.outbox.append(
                wire.CancelReject(symbol, cid, "unknown_order" if known is None else known.status, now_ns)
            )
            return
        self._update(i, order, "canceled", "user", now_ns)

    def cancel_all(self, now_ns: int, reason: str = "user") -> int:
        """Cancel every order; returns how many."""
        n = 0
        for i, market in enumerate(self.markets):
            orders, market.orders = list(market.orders.values()), {}
            for order in orders:
                self._update(i, order, "canceled", reason, now_ns)
            n += len(orders)
        return n

    def _check(self, i: int, cid: str, side: int, price: Decimal, size: Decimal, ioc: bool) -> tuple[str, int, int]:
        """(why it is refused or "", tick, lots)."""
        if i < 0 or cid in self._sizes or cid in self.ended:
            return "unknown_symbol" if i < 0 else "duplicate_cid", 0, 0
        try:
            tick, lots = self.instruments[i].ticks(price), self.instruments[i].lots(size)
        except ValueError:
            return "bad_px", 0, 0
        market, reason = self.markets[i], ""
        if not market.two_sided:
            reason = "no_market"
        elif ioc:
            lots = min(lots, -side * self.ledgers[i].lots)
            reason = "" if lots > 0 else "reduce_only"
        elif market.would_cross(side, tick):
            reason = "post_only_would_cross"
        elif lots <= 0 or self.instruments[i].notional(tick, lots) < self.instruments[i].min_notional:
            reason = "min_notional"
        elif self.instruments[i].kind == "spot" and not self._can_pay(i, side, tick, lots):
            reason = "insufficient_balance"
        return reason, tick, lots

    def _can_pay(self, i: int, side: int, tick: int, lots: int) -> bool:
        """Spot: inventory covers open sales, the balance open purchases."""
        market, instrument = self.markets[i], self.instruments[i]
        if side < 0:
            return sum(o.lots for o in market.orders.values() if o.side < 0) + lots <= self.ledgers[i].lots
        open_buys = sum((instrument.notional(o.tick, o.lots) for o in market.orders.values() if o.side > 0), Decimal(0))
        fee = 1 + max(instrument.maker_fee, Decimal(0))
        return (open_buys + instrument.notional(tick, lots)) * fee <= self.balance(i)

    # --- money -------------------------------------------------------------------------------------------------------
    def balance(self, i: int) -> Decimal:
        """Of the settlement currency, without unrealised profit."""
        currency = _currency(self.instruments[i])
        gains = (b.realised for b in self.ledgers if _currency(b.instrument) == currency)
        return sum(gains, self._balance)

    def position(self, symbol: str, now_ns: int) -> wire.Position:
        """Position and balance in a symbol."""
        i = self.index[symbol]
        ledger = self.ledgers[i]
        price = self._entries.get(i) if ledger.lots and ledger.entry is None else ledger.entry
        entry = None if price is None else format(price, "f")
        balance = format(self.balance(i), "f")
        return wire.Position(symbol, self._units[i].size(ledger.lots), entry, balance, now_ns)

    def open_orders(self) -> list[tuple[int, PaperOrder]]:
        """(instrument, order)."""
        return [(i, o) for i, market in enumerate(self.markets) for o in market.orders.values()]

    def order(self, cid: str) -> wire.OrderAnswer | None:
        """What became of an order."""
        for i, o in self.open_orders():
            if o.cid == cid:
                return self._answer(i, o, "open", "")
        return self.ended.get(cid)

    def _fill(self, i: int, order: PaperOrder, tick: int, lots: int, maker: bool, now_ns: int) -> None:
        instrument, units, ledger = self.instruments[i], self._units[i], self.ledgers[i]
        fee = ledger.fill(order.side, tick, lots, instrument.maker_fee if maker else instrument.taker_fee)
        n = len(self.fills) + 1
        fill = wire.Fill(
            instrument.symbol, order.cid, order.oid, n, n, wire.SIDE_NAME[order.side], units.price(tick),
            units.size(lots), units.size(order.lots), format(fee, "f"), maker, units.size(ledger.lots), now_ns,
        )  # fmt: skip
        self.fills.append(fill)
        self.outbox.append(fill)
        if order.lots == 0:
            self._update(i, order, "filled", "", now_ns)

    def _update(self, i: int, order: PaperOrder, status: Any, reason: str, now_ns: int) -> None:
        units = self._units[i]
        self.outbox.append(
            wire.OrderUpdate(
                self.instruments[i].symbol, order.cid, order.oid, wire.SIDE_NAME[order.side], units.price(order.tick),
                units.size(order.lots), status, reason, now_ns,
            )
        )  # fmt: skip
        if status != "open":
            self._keep(order.cid, self._answer(i, order, status, reason))
            self._sizes.pop(order.cid, None)

    def _answer(self, i: int, o: PaperOrder, status: Any, reason: str) -> wire.OrderAnswer:
        units, size = self._units[i], self._sizes[o.cid]
        return wire.OrderAnswer(
            o.cid, o.oid, wire.SIDE_NAME[o.side], units.price(o.tick), units.size(size), units.size(size - o.lots),
            status, reason,
        )  # fmt: skip

    def _end(
        self, cid: str, oid: int, side: int, px: str, lots: int, filled: int, i: int, status: Any, reason: str
    ) -> None:  # fmt: skip
        if i >= 0 and cid not in self._sizes and cid not in self.ended:
            size = self._units[i].size(max(lots, 0))
            self._keep(cid, wire.OrderAnswer(cid, oid, wire.SIDE_NAME[side], px, size, str(filled), status, reason))

    def _keep(self, cid: str, answer: wire.OrderAnswer) -> None:
        """Remember what became of an order, and forget the oldest."""
        self.ended[cid] = answer
        if len(self.ended) > _KEPT_ORDERS:
            del self.ended[next(iter(self.ended))]


def _currency(instrument: Instrument) -> str:
    return instrument.base if instrument.kind == "inverse" else instrument.quote
