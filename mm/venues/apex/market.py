"""Public frames of ApeX Omni to market events. Pure: no socket, no clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from mm.core.instrument import Instrument
from mm.core.types import (
    ASK,
    BID,
    BUY,
    FUNDING,
    FUNDING_RATE_UNIT,
    MARK,
    SELL,
    SNAPSHOT,
)
from mm.venues.apex import wire
from mm.venues.base import Decoded
from mm.venues.native.wire import Units, decimal
from mm.venues.rows import TOP_TICK, Row, cleared, events_of

_RATE_STEPS: Final = round(1 / FUNDING_RATE_UNIT)
_KNOWN_TRADES: Final = 1_000  # ids per market that are remembered: pushes may repeat trades of the backfill
_TRADE_KIND: Final = {"Buy": BUY, "Sell": SELL}


class _Market:
    """What one market said so far."""

    __slots__ = (
        "backfilled", "known", "known_in_order", "mark", "mark_tick", "next_funding_ns", "rate", "seq", "units",
    )  # fmt: skip

    def __init__(self, instrument: Instrument) -> None:
        self.units = Units(instrument)
        self.reset()

    def reset(self) -> None:
        """A new connection."""
        self.known: set[str] = set()
        self.known_in_order: deque[str] = deque()
        self.seq: int | None = None  # None: withheld until the next snapshot
        self.backfilled = False  # the first snapshot of trades is history
        self.mark = ""
        self.mark_tick = 0
        self.rate = ""
        self.next_funding_ns = 0

    def is_new(self, trade_id: str) -> bool:
        """Note a trade; False when it was seen before."""
        if trade_id in self.known:
            return False
        self.known.add(trade_id)
        self.known_in_order.append(trade_id)
        if len(self.known_in_order) > _KNOWN_TRADES:
            self.known.discard(self.known_in_order.popleft())
        return True


class MarketDecoder:
    """``instruments``: their order gives the instrument index of the events."""

    def __init__(self, instruments: Sequence[Instrument]) -> None:
        self._markets = [_Market(instrument) for instrument in instruments]
        self._topics = {}
        for i, instrument in enumerate(instruments):
            symbol = wire.topic_symbol(instrument.symbol)
            self._topics[wire.BOOK_TOPIC + symbol] = (i, self._book)
            self._topics[wire.TRADE_TOPIC + symbol] = (i, self._trades)
            self._topics[wire.TICKER_TOPIC + symbol] = (i, self._ticker)

    def reset(self) -> None:
        """A new connection: the next book frame must be a snapshot."""
        for market in self._markets:
            market.reset()

    def decode(self, frame: wire.Frame, ts_recv_ns: int) -> Decoded:
        """One push; raises ``ValueError`` or what msgspec raises for a broken one."""
        found = self._topics.get(frame.topic)
        if found is None:
            return Decoded(error=f"a push of an unknown topic {frame.topic[:60]!r}")
        i, decode = found
        return decode(i, self._markets[i], frame, ts_recv_ns)

    def _book(self, i: int, market: _Market, frame: wire.Frame, ts_recv_ns: int) -> Decoded:
        """A bad number or sequence makes the book unknown until the next snapshot."""
        try:
            book = wire.decode_book(frame.data)
        except wire.DECODE_ERRORS as exc:
            market.seq = None
            return Decoded(gap=[i], error=f"undecodable book: {exc}")
        ts = wire.stamp_ns(frame.ts)
        rows: list[Row] = []
        if frame.type == "snapshot":
            flags = SNAPSHOT
            rows = cleared(ts, ts_recv_ns, i)
        elif market.seq is None or book.u <= market.seq:  # withheld, or older than what is known
            return Decoded()
        elif frame.type != "delta" or book.u != market.seq + 1:
            market.seq = None
            return Decoded(gap=[i])
        else:
            flags = 0
        units = market.units
        try:
            for kind, levels in ((BID, book.b), (ASK, book.a)):
                rows += [(ts, ts_recv_ns, units.lots(size), units.ticks(px), i, kind, flags) for px, size in levels]
        except ValueError as exc:
            market.seq = None
            return Decoded(gap=[i], error=f"bad level: {exc}")
        market.seq = book.u
        return Decoded(events=events_of(rows))

    def _trades(self, i: int, market: _Market, frame: wire.Frame, ts_recv_ns: int) -> Decoded:
        trades = [t for t in wire.decode_trades(frame.data) if market.is_new(t.i)]
        history = frame.type == "snapshot" and not market.backfilled
        market.backfilled = market.backfilled or history
        if history or market.seq is None:
            return Decoded()
        units = market.units
        trades.reverse()  # the newest comes first on the wire
        trades.sort(key=lambda t: t.T)
        rows: list[Row] = [
            (t.T * 1_000_000, ts_recv_ns, units.lots(t.v), units.ticks(t.p), i, _trade_kind(t.S), 0) for t in trades
        ]
        return Decoded(events=events_of(rows))

    def _ticker(self, i: int, market: _Market, frame: wire.Frame, ts_recv_ns: int) -> Decoded:
        """A mark where it moved by a tick, and a settlement when the time of the next one is put forward.

        ApeX reckons margin and funding at its oracle price; a mark price of its own is taken where the frame has one.
        """
        said = wire.decode_ticker(frame.data)
        ts = wire.stamp_ns(frame.ts)
        rows: list[Row] = []
        mark = said.markPrice or said.oraclePrice
        if mark and mark != market.mark:
            tick = _nearest_tick(market.units.instrument, mark)
            market.mark = mark
            if tick != market.mark_tick:
                market.mark_tick = tick
                rows.append((ts, ts_recv_ns, 0, tick, i, MARK, 0))
        if said.nextFundingTime:
            next_ns = wire.time_ns(said.nextFundingTime)
            if market.next_funding_ns and next_ns > market.next_funding_ns and market.rate and market.mark_tick:
                rows.append((ts, ts_recv_ns, _rate(market.rate), market.mark_tick, i, FUNDING, 0))
            market.next_funding_ns = max(market.next_funding_ns, next_ns)
        market.rate = said.fundingRate or market.rate
        return Decoded(events=events_of(rows))


def _trade_kind(side: str) -> int:
    try:
        return _TRADE_KIND[side]
    except KeyError:
        raise ValueError(f"a trade of side {side[:20]!r}") from None


def _nearest_tick(instrument: Instrument, text: str) -> int:
    """Mark prices are off the grid of orders."""
    tick = round(decimal(text) / instrument.tick_size)
    if not 0 < tick < TOP_TICK:
        raise ValueError(f"mark price {text[:40]} is out of range")
    return tick


def _rate(text: str) -> int:
    rate = decimal(text)
    if abs(rate) > Decimal(100):
        raise ValueError(f"funding rate {text[:40]} is out of range")
    return round(rate * _RATE_STEPS)
