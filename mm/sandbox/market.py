"""One instrument on the exchange: its matching engine and the public view of it."""

from __future__ import annotations

from typing import Final

from mm.core.instrument import Instrument
from mm.sandbox.rules import MarginRules
from mm.sandbox.spec import FundingSpec
from mm.sim.matching import MatchingEngine, Stp
from mm.venues.native import wire

_HOLE: Final = 50  # a spread of more than 1/25 of the price is a hole


class Market:
    """The public view lags the engine until ``flush``, so snapshots and deltas always fit together."""

    __slots__ = (
        "_mark",
        "_published",
        "_trades",
        "checked",
        "engine",
        "flow_mark",
        "funding",
        "instrument",
        "last",
        "news",
        "next_funding_ns",
        "rules",
        "seq",
        "told_mark",
        "told_mark_ns",
        "trade_id",
        "units",
    )  # fmt: skip

    def __init__(
        self, instrument: Instrument, stp: Stp, rules: MarginRules, funding: FundingSpec | None = None
    ) -> None:
        self.instrument = instrument
        self.units = wire.Units(instrument)
        self.engine = MatchingEngine(stp, remember_ids=False)
        self.rules = rules
        self.funding = funding  # a schedule of its own; None: the flow brings settlements
        self.next_funding_ns = 0  # of the schedule; 0: not known yet
        self.flow_mark: int | None = None  # the newest mark of the flow [ticks]; None: it has none
        self.last: int | None = None  # price of the newest trade
        self.told_mark: int | None = None  # by ``tell_mark``
        self.told_mark_ns = 0
        self.checked: int | None = None  # the mark at which margins were last looked at; None: look again
        self._mark: int | None = None
        self.news: list[wire.Mark | wire.Funding] = []  # since the last flush
        self.seq = 0
        self.trade_id = 0
        self._trades: list[wire.Trade] = []
        self._published: dict[int, dict[int, int]] = {1: {}, -1: {}}  # side -> ticks -> lots

    @property
    def mark(self) -> int | None:
        """Mark price [ticks]: the flow's; without one the mid, or in a book with a hole the newest trade."""
        if self.flow_mark is not None:
            return self.flow_mark
        bid, ask = self.engine.best_bid, self.engine.best_ask
        if bid is None or ask is None:
            return self._mark
        if self.last is not None and (ask - bid) * _HOLE > bid + ask:
            self._mark = min(max(self.last, bid), ask)
        else:
            self._mark = (bid + ask) // 2
        return self._mark

    def tell_mark(self, now_ns: int, every_ns: int) -> None:
        """Publish a mark that changed, no more often than that."""
        mark = self.mark
        if mark is not None and mark != self.told_mark and now_ns - self.told_mark_ns >= every_ns:
            self.told_mark, self.told_mark_ns = mark, now_ns
            self.news.append(wire.Mark(self.instrument.symbol, now_ns, self.units.price(mark)))

    def print_trade(self, side: int, ticks: int, lots: int) -> int:
        """Note a match for the public stream; ``side`` is the aggressor's. Returns its id."""
        self.trade_id += 1
        self.last = ticks
        units = self.units
        self._trades.append(wire.Trade(self.trade_id, wire.SIDE_NAME[side], units.price(ticks), units.size(lots)))
        return self.trade_id

    def flush(self, now_ns: int) -> list[wire.Message]:
        """What the public has not seen yet: marks and funding, trades, then the levels that changed."""
        out: list[wire.Message] = []
        symbol = self.instrument.symbol
        if self.news:
            out.extend(self.news)
            self.news = []
        if self._trades:
            out.append(wire.Trades(symbol, now_ns, self._trades))
            self._trades = []
        bids, asks = self._changes(1), self._changes(-1)
        if bids or asks:
            self.seq += 1
            out.append(wire.Depth(symbol, self.seq, self.seq - 1, now_ns, bids, asks))
        return out

    def snapshot(self, now_ns: int) -> wire.Snapshot:
        """The published book."""
        bids = sorted(self._published[1].items(), reverse=True)
        asks = sorted(self._published[-1].items())
        return wire.Snapshot(self.instrument.symbol, self.seq, now_ns, self._levels(bids), self._levels(asks))

    def _changes(self, side: int) -> list[wire.Level]:
        published, engine = self._published[side], self.engine
        changed = []
        for ticks in engine.take_touched(side):
            lots = engine.level_qty(side, ticks)
            if published.get(ticks, 0) == lots:
                continue
            if lots:
                published[ticks] = lots
            else:
                del published[ticks]
            changed.append((ticks, lots))
        return self._levels(changed)

    def _levels(self, levels: list[tuple[int, int]]) -> list[wire.Level]:
        price, size = self.units.price, self.units.size
        return [(price(ticks), size(lots)) for ticks, lots in levels]
