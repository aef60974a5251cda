"""Frames of the generic client to event and execution records. Pure: no socket, no clock.

What is lost against an adapter of a venue's own: ccxt has checked the sequence of the book and tells no number, so each
frame is the whole window of best levels, and what differs from the last one are the events (a level that left the
window is told as gone); several changes of an order between two looks are one. An order's end may be told before its
last fill.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, Final

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
    MARK,
    REJECT,
    SELL,
    SNAPSHOT,
)
from mm.venues import replies
from mm.venues.base import AccountNews, Decoded, ExecDetail
from mm.venues.ccxt_any import wire
from mm.venues.native.wire import DECODE_ERRORS, Units, decimal
from mm.venues.rows import TOP_TICK, ExecRow, Row, cleared, events_of, execs_of, number_in

_KEPT: Final = 20_000  # orders and trades that are remembered
_KEPT_TRADES: Final = 1_000
_ENDED: Final = ("canceled", "expired", "rejected")


class CcxtCodec:
    """``instruments``: their order gives the instrument index of the records.

    Client order ids look like ``PREFIX-123``: the number becomes ``EXEC.id``; ids that are not ours get -1.
    """

    def __init__(self, instruments: Sequence[Instrument], prefix: str = "") -> None:
        self._units = [Units(instrument) for instrument in instruments]
        self._index = {instrument.symbol: i for i, instrument in enumerate(instruments)}
        self._prefix = prefix
        self._books: list[tuple[dict[int, int], dict[int, int]] | None] = [None] * len(instruments)  # tick -> lots
        self._printed: list[dict[str, None]] = [{} for _ in instruments]  # trade ids
        self._mark = [0] * len(instruments)
        self._cids: dict[str, str] = {}  # by the exchange's order id
        self._waiting: dict[str, list[wire.OwnTrade]] = {}  # executions of orders not seen yet, by order id
        self._told: dict[str, str] = {}  # by client order id: "open" or "ended"
        self._filled: dict[str, None] = {}  # executions told
        self._public = msgspec.json.Decoder(wire.Public).decode
        self._private = msgspec.json.Decoder(wire.Private).decode

    def reset(self) -> None:
        """A new connection: the next book is a snapshot."""
        self._books = [None] * len(self._books)
        self._mark = [0] * len(self._mark)
        self._printed = [{} for _ in self._printed]

    # --- public ------------------------------------------------------------------------------------------------------
    def decode_public(self, raw: bytes, ts_recv_ns: int) -> Decoded:
        """Market events of one frame."""
        try:
            frame = self._public(raw)
            i = self._index.get(frame.symbol)
            if i is None:
                return Decoded()
            if isinstance(frame, wire.Book):
                return self._on_book(i, frame, ts_recv_ns)
            if isinstance(frame, wire.Trades):
                return self._on_trades(i, frame, ts_recv_ns)
            return self._on_mark(i, frame, ts_recv_ns)
        except DECODE_ERRORS as exc:
            return Decoded(error=f"undecodable frame: {exc}")
        except ValueError as exc:
            return Decoded(error=f"bad value in frame: {exc}")

    def _on_book(self, i: int, book: wire.Book, ts_recv_ns: int) -> Decoded:
        units = self._units[i]
        try:
            now = tuple({units.ticks(p): units.lots(q) for p, q in side} for side in (book.bids, book.asks))
        except ValueError as exc:
            self._books[i] = None
            return Decoded(gap=[i], error=f"bad level: {exc}")
        ts = book.ts * 1_000_000
        rows: list[Row] = []
        flags = 0
        shown = self._books[i]
        if shown is None or book.fresh:
            flags, shown = SNAPSHOT, ({}, {})
            rows += cleared(ts, ts_recv_ns, i)
        for kind, old, new in ((BID, shown[0], now[0]), (ASK, shown[1], now[1])):
            rows += [(ts, ts_recv_ns, 0, tick, i, kind, flags) for tick in old if tick not in new]
            rows += [(ts, ts_recv_ns, n, tick, i, kind, flags) for tick, n in new.items() if old.get(tick) != n]
        self._books[i] = (now[0], now[1])
        return Decoded(events=events_of(rows))

    def _on_trades(self, i: int, trades: wire.Trades, ts_recv_ns: int) -> Decoded:
        if self._books[i] is None:
            return Decoded()
        units, rows, ids = self._units[i], [], []
        for trade in trades.rows:
            if trade.id and (trade.id in self._printed[i] or trade.id in ids):
                continue
            if trade.side not in wire.SIDE_SIGN:
                raise ValueError(f"side {trade.side[:20]!r}")
            kind = BUY if trade.side == "buy" else SELL
            ts = trade.ts * 1_000_000
            rows.append((ts, ts_recv_ns, units.lots(trade.qty), units.ticks(trade.px), i, kind, 0))
            ids.append(trade.id)
        for one in ids:
            _keep(self._printed[i], one, None, _KEPT_TRADES)
        return Decoded(events=events_of(rows))

    def _on_mark(self, i: int, mark: wire.Mark, ts_recv_ns: int) -> Decoded:
        tick_size = self._units[i].instrument.tick_size
        tick = int((decimal(mark.px) / tick_size).to_integral_value(ROUND_HALF_EVEN))
        if not 0 < tick < TOP_TICK:
            raise ValueError(f"mark price {mark.px} is out of range")
        if tick == self._mark[i]:
            return Decoded()
        self._mark[i] = tick
        return Decoded(events=events_of([(mark.ts * 1_000_000, ts_recv_ns, 0, tick, i, MARK, 0)]))

    # --- private -----------------------------------------------------------------------------------------------------
    def decode_private(self, raw: bytes, ts_recv_ns: int) -> Decoded:
        """Execution reports and news of one frame."""
        out = _Reports()
        try:
            reply = replies.parse(raw)
            if reply is not None:
                return self._on_reply(reply, ts_recv_ns, out)
            frame = self._private(raw)
            if isinstance(frame, wire.Orders):
                for order in frame.rows:
                    self._on_order(order, ts_recv_ns, out)
            elif isinstance(frame, wire.OwnTrades):
                for trade in frame.rows:
                    self._on_own_trade(trade, ts_recv_ns, out)
            elif isinstance(frame, wire.Balances):
                out.news += [AccountNews("balance", r.name, decimal(r.amount), r.ts * 1_000_000) for r in frame.rows]
            else:
                kind: Any = "position" if isinstance(frame, wire.Positions) else "liquidation"
                rows = [row for row in frame.rows if row.name in self._index]
                out.news += [AccountNews(kind, r.name, decimal(r.amount), r.ts * 1_000_000) for r in rows]
        except DECODE_ERRORS as exc:
            out.error = f"undecodable frame: {exc}"
        except (ValueError, OverflowError) as exc:
            out.error = f"bad value in frame: {exc}"
        return out.decoded()

    def _on_order(self, o: wire.Order, ts_recv_ns: int, out: _Reports) -> None:
        i = self._index.get(o.symbol)
        if i is None:
            return
        if o.side not in wire.SIDE_SIGN:
            raise ValueError(f"side {o.side[:20]!r}")
        units, side, ts = self._units[i], wire.SIDE_SIGN[o.side], o.ts * 1_000_000
        left, tick = units.lots(o.qty) - units.lots(o.filled), units.ticks(o.px)
        if left < 0:
            raise ValueError(f"{o.filled} filled of {o.qty}")
        cid = self._know(o.id, o.cid, ts_recv_ns, out)
        told = self._told.get(cid, "")
        if o.status == "open" and not told:
            kind = ACK
        elif o.status in _ENDED and told != "ended":
            kind = REJECT if o.status == "rejected" and not told else CANCELED
        else:
            if o.status == "closed":
                _keep(self._told, cid, "ended")
            return
        _keep(self._told, cid, "open" if kind == ACK else "ended")
        row = (ts, ts_recv_ns, self.own_id(cid), 0 if kind == REJECT else left, tick, i, side, kind, 0)
        out.add(row, ExecDetail(cid, o.id, reason="" if kind == ACK else o.status))

    def _know(self, order_id: str, cid: str, ts_recv_ns: int, out: _Reports) -> str:
        """The client order id of an order, learnt now or before; what waited for it is told."""
        cid = cid or self._cids.get(order_id, order_id)
        if order_id:
            _keep(self._cids, order_id, cid)
            for trade in self._waiting.pop(order_id, ()):
                self._on_own_trade(trade, ts_recv_ns, out)
        return cid

    def _on_own_trade(self, t: wire.OwnTrade, ts_recv_ns: int, out: _Reports) -> None:
        i = self._index.get(t.symbol)
        if i is None or t.id in self._filled:
            return
        cid = self._cids.get(t.order)
        if cid is None and t.order:  # whose it is comes with the order
            self._waiting.setdefault(t.order, []).append(t)
            if len(self._waiting) > _KEPT:
                del self._waiting[next(iter(self._waiting))]
            return
        if t.side not in wire.SIDE_SIGN:
            raise ValueError(f"side {t.side[:20]!r}")
        units = self._units[i]
        lots, tick, fee = units.lots(t.qty), units.ticks(t.px), decimal(t.fee)
        settle = units.instrument.base if units.instrument.kind == "inverse" else units.instrument.quote
        if fee and t.currency and t.currency != settle:
            if t.currency == units.instrument.base:
                fee = decimal(format(fee * decimal(t.px), "f"))
            else:
                out.error, fee = f"execution {t.id}: fee of {t.fee} {t.currency} is not counted", Decimal(0)
        _keep(self._filled, t.id, None)
        row = (t.ts * 1_000_000, ts_recv_ns, self.own_id(cid or ""), lots, tick, i, wire.SIDE_SIGN[t.side], FILL)
        out.add((*row, int(t.maker is not False)), ExecDetail(cid or "", t.order, t.id, fee))

    def _on_reply(self, reply: replies.Reply, ts_recv_ns: int, out: _Reports) -> Decoded:
        """Yes to a new order names it and may say that it rests; no ends it, or its cancel; else it must be asked."""
        if reply.raymaker == "unknown":
            return Decoded(unknown=[reply.cid], error=f"{reply.op} {reply.cid}: {reply.text or 'no answer'}")
        if reply.raymaker == "ok":
            if reply.op in {"place", "reduce"} and reply.body:
                order = msgspec.convert(reply.body, wire.Order)
                if order.status == "open":
                    self._on_order(order, ts_recv_ns, out)
                else:
                    self._know(order.id, order.cid, ts_recv_ns, out)
            return out.decoded()
        kind = REJECT if reply.op in {"place", "reduce"} else CANCEL_REJECT
        row = (ts_recv_ns, ts_recv_ns, self.own_id(reply.cid), 0, 0, self._index.get(reply.symbol, 0), reply.side)
        out.add((*row, kind, 0), ExecDetail(reply.cid, reason=f"{reply.code} {reply.text}".strip()))
        return out.decoded()

    def own_id(self, client_order_id: str) -> int:
        """The number in a client order id, -1 when it is not one of ours."""
        return number_in(client_order_id, self._prefix)


class _Reports:
    """What one private frame says, growing."""

    def __init__(self) -> None:
        self.rows: list[ExecRow] = []
        self.details: list[ExecDetail] = []
        self.news: list[AccountNews] = []
        self.error = ""

    def add(self, row: ExecRow, detail: ExecDetail) -> None:
        self.rows.append(row)
        self.details.append(detail)

    def decoded(self) -> Decoded:
        if not self.rows:
            return Decoded(news=self.news, error=self.error)
        return Decoded(execs=execs_of(self.rows), exec_detail=self.details, news=self.news, error=self.error)


def _keep(known: dict[str, Any], key: str, value: Any, most: int = _KEPT) -> None:
    """Remember, and forget the oldest of too many."""
    known.pop(key, None)
    known[key] = value
    if len(known) > most:
        del known[next(iter(known))]
