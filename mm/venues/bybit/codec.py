"""Bybit v5 frames to event and execution records. Pure: no socket, no clock.

``u`` of ``orderbook.50`` must go up by one: a hole silences an instrument until its next snapshot; what is not newer
is dropped, and so are the trades of a message that comes again. A snapshot always counts, also ``u`` 1 after a restart
of the venue's service. Mark prices may lie off the tick grid: the nearest tick is taken. A funding settlement is seen
when ``nextFundingTime`` moves on: the rate that was announced before then was charged.

An order that is answered "OK" is not resting yet: only the ``order`` topic says so. Fills come from ``execution``
alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import ROUND_HALF_EVEN
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
    FUNDING,
    FUNDING_RATE_UNIT,
    MARK,
    REJECT,
    SELL,
    SNAPSHOT,
)
from mm.venues import replies
from mm.venues.base import AccountNews, Decoded, ExecDetail
from mm.venues.bybit import wire
from mm.venues.native.wire import DECODE_ERRORS, Units, decimal
from mm.venues.rows import TOP_TICK, ExecRow, Row, cleared, events_of, execs_of, number_in

_RATE_STEPS: Final = round(1 / FUNDING_RATE_UNIT)
_FILLED_BY_FORCE: Final = ("BustTrade", "AdlTrade")  # liquidation, auto-deleveraging
_OPEN: Final = ("New", "PartiallyFilled")
_ENDED: Final = ("Cancelled", "PartiallyFilledCanceled", "Deactivated")


class BybitCodec:
    """``instruments``: their order gives the instrument index of the records.

    Client order ids look like ``PREFIX-123``: the number becomes ``EXEC.id``; ids that are not ours get -1. Pushes for
    symbols that are not ours say nothing.
    """

    def __init__(self, instruments: Sequence[Instrument], prefix: str = "") -> None:
        self._units = [Units(instrument) for instrument in instruments]
        self._index = {instrument.symbol: i for i, instrument in enumerate(instruments)}
        self._prefix = prefix
        self._u: list[int | None] = [None] * len(instruments)  # None: withheld until the next snapshot
        self._printed: list[set[str]] = [set() for _ in instruments]  # trade ids of the last message
        self._rate = [0] * len(instruments)  # announced, in 1e-9
        self._next_funding = [""] * len(instruments)
        self._mark = [0] * len(instruments)  # ticks
        self._terms: dict[str, tuple[str, str]] = {}  # price and size of every order that rests, by its venue id
        self._push: Callable[[bytes], wire.Push] = msgspec.json.Decoder(wire.Push).decode
        self._book: Callable[[Any], wire.Book] = msgspec.json.Decoder(wire.Book).decode
        self._trades: Callable[[Any], list[wire.Trade]] = msgspec.json.Decoder(list[wire.Trade]).decode
        self._ticker: Callable[[Any], wire.Ticker] = msgspec.json.Decoder(wire.Ticker).decode
        self._orders: Callable[[Any], list[wire.Order]] = msgspec.json.Decoder(list[wire.Order]).decode
        self._executions: Callable[[Any], list[wire.Execution]] = msgspec.json.Decoder(list[wire.Execution]).decode
        self._positions: Callable[[Any], list[wire.Position]] = msgspec.json.Decoder(list[wire.Position]).decode
        self._wallets: Callable[[Any], list[wire.Wallet]] = msgspec.json.Decoder(list[wire.Wallet]).decode

    def reset(self) -> None:
        """A new connection: the next book frame must be a snapshot."""
        self._u = [None] * len(self._u)
        self._terms.clear()

    # --- public ------------------------------------------------------------------------------------------------------
    def decode_public(self, raw: bytes, ts_recv_ns: int) -> Decoded:
        """Market events of one frame. After a gap an instrument is silent until its next snapshot."""
        try:
            push = self._push(raw)
            kind = push.topic.partition(".")[0]
            if kind == "orderbook":
                return self._on_book(push, ts_recv_ns)
            if kind == "publicTrade":
                return self._on_trades(push, ts_recv_ns)
            if kind == "tickers":
                return self._on_ticker(push, ts_recv_ns)
            return _control(push)
        except DECODE_ERRORS as exc:
            return Decoded(error=f"undecodable frame: {exc}")
        except ValueError as exc:
            return Decoded(error=f"bad value in frame: {exc}")

    def _on_book(self, push: wire.Push, ts_recv_ns: int) -> Decoded:
        book = self._book(push.data)
        i = self._index.get(book.s)
        if i is None:
            return Decoded()
        ts = (push.cts or push.ts) * 1_000_000
        rows: list[Row] = []
        flags = 0
        if push.type == "snapshot":
            flags = SNAPSHOT
            rows += cleared(ts, ts_recv_ns, i)
        else:
            last = self._u[i]
            if last is None or book.u <= last:  # withheld, or seen before
                return Decoded()
            if book.u != last + 1:
                self._u[i] = None
                return Decoded(gap=[i])
        units = self._units[i]
        try:
            rows += [(ts, ts_recv_ns, units.lots(v), units.ticks(p), i, BID, flags) for p, v in book.b]
            rows += [(ts, ts_recv_ns, units.lots(v), units.ticks(p), i, ASK, flags) for p, v in book.a]
        except ValueError as exc:  # a level that cannot be read makes the book unknown, as a gap does
            self._u[i] = None
            return Decoded(gap=[i], error=f"bad level: {exc}")
        self._u[i] = book.u
        return Decoded(events=events_of(rows))

    def _on_trades(self, push: wire.Push, ts_recv_ns: int) -> Decoded:
        rows: list[Row] = []
        printed: dict[int, set[str]] = {}
        for trade in self._trades(push.data):
            i = self._index.get(trade.s)
            if i is None or self._u[i] is None or (trade.i and trade.i in self._printed[i]):
                continue
            if trade.S not in wire.SIDE_SIGN:
                raise ValueError(f"side {trade.S!r}")
            units, kind = self._units[i], BUY if trade.S == "Buy" else SELL
            rows.append((trade.T * 1_000_000, ts_recv_ns, units.lots(trade.v), units.ticks(trade.p), i, kind, 0))
            printed.setdefault(i, set()).add(trade.i)
        for i, ids in printed.items():
            self._printed[i] = ids
        return Decoded(events=events_of(rows))

    def _on_ticker(self, push: wire.Push, ts_recv_ns: int) -> Decoded:
        ticker = self._ticker(push.data)
        i = self._index.get(ticker.symbol)
        if i is None:
            return Decoded()
        ts = push.ts * 1_000_000
        rows: list[Row] = []
        if ticker.markPrice:
            mark = self._nearest_tick(i, ticker.markPrice)
            if mark != self._mark[i]:
                self._mark[i] = mark
                rows.append((ts, ts_recv_ns, 0, mark, i, MARK, 0))
        due = ticker.nextFundingTime
        if due and due != self._next_funding[i]:
            if self._next_funding[i] and wire.time_ns(due) > wire.time_ns(self._next_funding[i]) and self._mark[i]:
                rows.append((ts, ts_recv_ns, self._rate[i], self._mark[i], i, FUNDING, 0))
            wire.time_ns(due)
            self._next_funding[i] = due
        if ticker.fundingRate:
            rate = round(decimal(ticker.fundingRate) * _RATE_STEPS)
            if abs(rate) > _RATE_STEPS * 100:
                raise ValueError(f"funding rate {ticker.fundingRate} is out of range")
            self._rate[i] = rate
        return Decoded(events=events_of(rows))

    def _nearest_tick(self, i: int, text: str) -> int:
        tick_size = self._units[i].instrument.tick_size
        tick = int((decimal(text) / tick_size).to_integral_value(ROUND_HALF_EVEN))
        if not 0 < tick < TOP_TICK:
            raise ValueError(f"mark price {text} is out of range")
        return tick

    # --- private -----------------------------------------------------------------------------------------------------
    def decode_private(self, raw: bytes, ts_recv_ns: int) -> Decoded:
        """Execution reports and news of one frame: the venue's pushes, or an answer to one of our requests."""
        try:
            reply = replies.parse(raw)
            if reply is not None:
                return self._on_reply(reply, ts_recv_ns)
            push = self._push(raw)
            out = _Reports()
            if push.topic == "execution":
                out.each(self._executions(push.data), self._on_execution, ts_recv_ns)
            elif push.topic == "order":
                out.each(self._orders(push.data), self._on_order, ts_recv_ns)
            elif push.topic == "position":
                out.news += [self._on_position(p) for p in self._positions(push.data) if p.symbol in self._index]
            elif push.topic == "wallet":
                out.news += [
                    AccountNews("balance", coin.coin, wire.number(coin.walletBalance))
                    for wallet in self._wallets(push.data)
                    for coin in wallet.coin
                ]
            else:
                return _control(push)
            return out.decoded()
        except DECODE_ERRORS as exc:
            return Decoded(error=f"undecodable frame: {exc}")
        except ValueError as exc:
            return Decoded(error=f"bad value in frame: {exc}")

    def _on_execution(self, e: wire.Execution, ts_recv_ns: int, out: _Reports) -> None:
        i = self._index.get(e.symbol)
        if i is None or e.category != wire.CATEGORY:
            return
        ts = wire.time_ns(e.execTime)
        fee = wire.number(e.execFee)
        if e.execType == "Funding":
            out.news.append(AccountNews("funding", e.symbol, -fee, ts, e.execId))
            return
        forced = e.execType in _FILLED_BY_FORCE
        if e.execType != "Trade" and not forced:
            return
        if e.side not in wire.SIDE_SIGN:
            raise ValueError(f"side {e.side!r}")
        units, side = self._units[i], wire.SIDE_SIGN[e.side]
        lots = units.lots(e.execQty)
        if forced:
            out.news.append(AccountNews("liquidation", e.symbol, side * units.instrument.size(lots), ts, e.execType))
        detail = ExecDetail(e.orderLinkId, e.orderId, e.execId, fee)
        row = (ts, ts_recv_ns, self.own_id(e.orderLinkId), lots, units.ticks(e.execPrice), i, side, FILL)
        out.add((*row, int(e.isMaker)), detail)

    def _on_order(self, o: wire.Order, ts_recv_ns: int, out: _Reports) -> None:
        i = self._index.get(o.symbol)
        if i is None or o.category != wire.CATEGORY:
            return
        if o.side not in wire.SIDE_SIGN:
            raise ValueError(f"side {o.side!r}")
        units = self._units[i]
        reason = "" if o.rejectReason in {"", "EC_NoError"} else o.rejectReason
        filled = wire.number(o.cumExecQty)
        known = self._terms.get(o.orderId)
        if o.orderStatus in _OPEN:
            self._terms[o.orderId] = (o.price, o.qty)
            if o.orderStatus != "New" and known in {None, (o.price, o.qty)}:
                return  # a fill, and the executions have said so; other terms: it was amended
            kind = ACK
        else:
            self._terms.pop(o.orderId, None)
            if o.orderStatus == "Rejected" or (o.orderStatus in _ENDED and reason == wire.POST_ONLY_CROSSED):
                kind = CANCELED if filled or known else REJECT
            elif o.orderStatus in _ENDED:
                kind, reason = CANCELED, reason or o.cancelType
            else:
                return
        lots = tick = 0
        if kind != REJECT:
            lots, tick = units.lots(str(wire.number(o.qty) - filled)), units.ticks(o.price or "0")
        row = (wire.time_ns(o.updatedTime), ts_recv_ns, self.own_id(o.orderLinkId), lots, tick, i)
        detail = ExecDetail(o.orderLinkId, o.orderId, reason=reason)
        out.add((*row, wire.SIDE_SIGN[o.side], kind, 0), detail)
        if o.createType == "CreateByLiq":
            out.news.append(AccountNews("liquidation", o.symbol, ts_exch_ns=wire.time_ns(o.updatedTime)))

    def _on_position(self, p: wire.Position) -> AccountNews:
        size = wire.number(p.size) * wire.SIDE_SIGN.get(p.side, 0)
        text = "" if p.positionStatus in {"", "Normal"} else p.positionStatus  # Liq, Adl: it is being taken over
        return AccountNews("position", p.symbol, size, wire.time_ns(p.updatedTime), text)

    def _on_reply(self, reply: replies.Reply, ts_recv_ns: int) -> Decoded:
        """Yes says nothing, no ends an order or its cancel, anything else must be asked for."""
        if reply.raymaker == "unknown":
            return Decoded(unknown=[reply.cid], error=f"{reply.op} {reply.cid}: {reply.text or 'no answer'}")
        if reply.raymaker == "ok":
            return Decoded()
        kind = REJECT if reply.op in {"place", "reduce"} else CANCEL_REJECT
        out = _Reports()
        row = (ts_recv_ns, ts_recv_ns, self.own_id(reply.cid), 0, 0, self._index.get(reply.symbol, 0), reply.side)
        detail = ExecDetail(reply.cid, reason=f"{reply.code} {reply.text}".strip())
        out.add((*row, kind, 0), detail)
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

    def each(self, items: Sequence[Any], take: Callable[[Any, int, _Reports], None], ts_recv_ns: int) -> None:
        """One item that cannot be read does not hide the others."""
        for item in items:
            try:
                take(item, ts_recv_ns, self)
            except ValueError as exc:
                self.error = f"bad value in frame: {exc}"

    def add(self, row: ExecRow, detail: ExecDetail) -> None:
        self.rows.append(row)
        self.details.append(detail)

    def decoded(self) -> Decoded:
        if not self.rows:
            return Decoded(news=self.news, error=self.error)
        return Decoded(execs=execs_of(self.rows), exec_detail=self.details, news=self.news, error=self.error)


def _control(push: wire.Push) -> Decoded:
    """Log-in, subscription, pong: nothing, or the venue's complaint."""
    if not push.success or push.retCode:
        return Decoded(error=f"{push.op or push.topic}: {push.retCode or ''} {push.ret_msg or push.retMsg}".strip())
    return Decoded()
