"""Frames of the local exchange to event and execution records. Pure: no socket, no clock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from mm.core.instrument import Instrument
from mm.core.types import (
    ACK,
    ASK,
    BID,
    BUY,
    CANCEL_REJECT,
    CANCELED,
    FILL,
    FUNDING,
    FUNDING_RATE_UNIT,
    MARK,
    REJECT,
    SELL,
    SNAPSHOT,
)
from mm.venues.base import AccountNews, Decoded, ExecDetail
from mm.venues.native import wire
from mm.venues.rows import Row, cleared, events_of, execs_of, number_in

_RATE_STEPS: Final = round(1 / FUNDING_RATE_UNIT)
_STATUS_KIND: Final = {"open": ACK, "rejected": REJECT, "canceled": CANCELED}
_TRADE_KIND: Final = {"buy": BUY, "sell": SELL}


class NativeCodec:
    """``instruments``: their order gives the instrument index of the records.

    Client order ids look like ``PREFIX-123``: the number becomes ``EXEC.id``. Ids of another shape, or of another
    prefix when ``prefix`` is given, are not ours and get -1.
    """

    def __init__(self, instruments: Sequence[Instrument], prefix: str = "") -> None:
        self._units = [wire.Units(instrument) for instrument in instruments]
        self._currency = [i.base if i.kind == "inverse" else i.quote for i in instruments]
        self._index = {instrument.symbol: i for i, instrument in enumerate(instruments)}
        self._prefix = prefix
        self._seq: list[int | None] = [None] * len(instruments)  # None: withheld until the next snapshot
        self._decode: Callable[[bytes], wire.AnyMessage] = msgspec.json.Decoder(wire.AnyMessage).decode

    def reset(self) -> None:
        """A new connection: the next book frame must be a snapshot."""
        self._seq = [None] * len(self._seq)

    # --- public ------------------------------------------------------------------------------------------------------
    def decode_public(self, raw: bytes, ts_recv_ns: int) -> Decoded:
        """Market events of one frame. After a gap an instrument is silent until its next snapshot."""
        try:
            message = self._decode(raw)
            return self._public(message, ts_recv_ns)
        except wire.DECODE_ERRORS as exc:
            return Decoded(error=f"undecodable frame: {exc}")
        except ValueError as exc:
            return Decoded(error=f"bad value in frame: {exc}")

    def _public(self, message: wire.AnyMessage, ts_recv_ns: int) -> Decoded:
        match message:
            case wire.Depth():
                return self._depth(message, ts_recv_ns)
            case wire.Trades():
                i = self._find(message.symbol)
                if self._seq[i] is None:
                    return Decoded()
                units, ts = self._units[i], message.ts
                rows = [
                    (ts, ts_recv_ns, units.lots(t.qty), units.ticks(t.px), i, _TRADE_KIND[t.side], 0)
                    for t in message.trades
                ]
                return Decoded(events=events_of(rows))
            case wire.Snapshot():
                return self._snapshot(message, ts_recv_ns)
            case wire.Mark():
                i = self._find(message.symbol)
                tick = self._units[i].ticks(message.px)
                return Decoded(events=events_of([(message.ts, ts_recv_ns, 0, tick, i, MARK, 0)]))
            case wire.Funding():
                i = self._find(message.symbol)
                rate = round(wire.decimal(message.rate) * _RATE_STEPS)
                if abs(rate) > _RATE_STEPS * 100:
                    raise ValueError(f"funding rate {message.rate} is out of range")
                tick = self._units[i].ticks(message.mark)
                return Decoded(events=events_of([(message.ts, ts_recv_ns, rate, tick, i, FUNDING, 0)]))
            case _:
                return _other(message)

    def _depth(self, message: wire.Depth, ts_recv_ns: int) -> Decoded:
        i = self._find(message.symbol)
        seq = self._seq[i]
        if seq is None or message.seq <= seq:  # withheld, or older than the snapshot
            return Decoded()
        if message.prev_seq != seq:
            self._seq[i] = None
            return Decoded(gap=[i])
        return self._book(i, message, [], ts_recv_ns, 0)

    def _snapshot(self, message: wire.Snapshot, ts_recv_ns: int) -> Decoded:
        i = self._find(message.symbol)
        clear = cleared(message.ts, ts_recv_ns, i)
        return self._book(i, message, clear, ts_recv_ns, SNAPSHOT)

    def _book(
        self, i: int, message: wire.Depth | wire.Snapshot, rows: list[Row], ts_recv_ns: int, flags: int
    ) -> Decoded:
        """Level rows after ``rows``. A bad number makes the book unknown, as a gap does."""
        units, ts = self._units[i], message.ts
        try:
            for kind, levels in ((BID, message.bids), (ASK, message.asks)):
                rows += [(ts, ts_recv_ns, units.lots(qty), units.ticks(px), i, kind, flags) for px, qty in levels]
        except ValueError as exc:
            self._seq[i] = None
            return Decoded(gap=[i], error=f"bad level: {exc}")
        self._seq[i] = message.seq
        return Decoded(events=events_of(rows))

    # --- private -----------------------------------------------------------------------------------------------------
    def decode_private(self, raw: bytes, ts_recv_ns: int) -> Decoded:
        """Execution reports of one frame."""
        try:
            message = self._decode(raw)
            return self._private(message, ts_recv_ns)
        except wire.DECODE_ERRORS as exc:
            return Decoded(error=f"undecodable frame: {exc}")
        except ValueError as exc:
            return Decoded(error=f"bad value in frame: {exc}")

    def _private(self, message: wire.AnyMessage, ts_recv_ns: int) -> Decoded:
        match message:
            case wire.Fill():
                i = self._find(message.symbol)
                units = self._units[i]
                detail = ExecDetail(message.cid, str(message.oid), str(message.trade_id), fee=wire.decimal(message.fee))
                lots, tick = units.lots(message.qty), units.ticks(message.px)
                side = wire.SIDE_SIGN[message.side]
                return self._exec(detail, message.ts, ts_recv_ns, lots, tick, i, side, FILL, message.maker)
            case wire.OrderUpdate():
                kind = _STATUS_KIND.get(message.status)
                if kind is None:  # filled: the fills have said so
                    return Decoded()
                detail = ExecDetail(message.cid, str(message.oid), reason=message.reason)
                if kind == REJECT:  # the exchange echoes whatever it was sent, off the grid or for an unknown symbol
                    i = self._index.get(message.symbol, 0)
                    lots = tick = 0
                else:
                    i = self._find(message.symbol)
                    lots, tick = self._units[i].lots(message.qty), self._units[i].ticks(message.px)
                side = wire.SIDE_SIGN[message.side]
                return self._exec(detail, message.ts, ts_recv_ns, lots, tick, i, side, kind, maker=False)
            case wire.CancelReject() | wire.AmendReject():
                i = self._index.get(message.symbol, 0)
                detail = ExecDetail(message.cid, reason=message.reason)
                return self._exec(detail, message.ts, ts_recv_ns, 0, 0, i, 0, CANCEL_REJECT, maker=False)
            case wire.Position():
                currency = self._currency[self._find(message.symbol)]
                news = [
                    AccountNews("position", message.symbol, wire.decimal(message.size), message.ts),
                    AccountNews("balance", currency, wire.decimal(message.balance), message.ts),
                ]
                return Decoded(news=news)
            case wire.FundingPaid():
                amount, text = wire.decimal(message.amount), f"rate {message.rate} at {message.mark}"
                return Decoded(news=[AccountNews("funding", message.symbol, amount, message.ts, text)])
            case wire.Liquidation():
                text = f"closed at {message.px}, lost {message.loss}"
                size = wire.decimal(message.size)
                return Decoded(news=[AccountNews("liquidation", message.symbol, size, message.ts, text)])
            case _:
                return _other(message)

    def _exec(
        self,
        detail: ExecDetail,
        ts: int,
        ts_recv_ns: int,
        lots: int,
        tick: int,
        instrument: int,
        side: int,
        kind: int,
        maker: bool,
    ) -> Decoded:
        order = self.own_id(detail.client_order_id)
        row = (ts, ts_recv_ns, order, lots, tick, instrument, side, kind, int(maker))
        return Decoded(execs=execs_of([row]), exec_detail=[detail])

    def own_id(self, client_order_id: str) -> int:
        """The number in a client order id, -1 when it is not one of ours."""
        return number_in(client_order_id, self._prefix)

    def _find(self, symbol: str) -> int:
        try:
            return self._index[symbol]
        except KeyError:
            raise ValueError(f"unknown symbol {symbol!r}") from None


def _other(message: wire.AnyMessage) -> Decoded:
    """A message that carries no record; the venue's complaint becomes the frame's error."""
    if isinstance(message, wire.Error):
        return Decoded(error=f"{message.code}: {message.message}")
    return Decoded()
