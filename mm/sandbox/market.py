"""One instrument on the exchange: its matching engine and the public view of it."""

from __future__ import annotations

from mm.core.instrument import Instrument
from mm.sim.matching import MatchingEngine, Stp
from mm.venues.native import wire


class Market:
    """The public view lags the engine until ``flush``, so snapshots and deltas always fit together."""

    __slots__ = ("_published", "_trades", "engine", "instrument", "mark", "news", "seq", "trade_id", "units")

    def __init__(self, instrument: Instrument, stp: Stp) -> None:
        self.instrument = instrument
        self.units = wire.Units(instrument)
        self.engine = MatchingEngine(stp, remember_ids=False)
        self.mark: int | None = None  # ticks
        self.news: list[wire.Mark | wire.Funding] = []  # since the last flush
        self.seq = 0
        self.trade_id = 0
        self._trades: list[wire.Trade] = []
        self._published: dict[int, dict[int, int]] = {1: {}, -1: {}}  # side -> ticks -> lots

    def print_trade(self, side: int, ticks: int, lots: int) -> int:
        """Note a match for the public stream; ``side`` is the aggressor's. Returns its id."""
        self.trade_id += 1
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
