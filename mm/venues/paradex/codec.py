"""Frames of Paradex to event and execution records: SBE and JSON. Pure: no socket, no clock.

Book: ``order_book.M.deltas``, a snapshot, then changes whose ``seq_no`` is the last one plus one. An order is not
resting before its channel says OPEN: the answer to the request only says NEW. Fills come from ``fills`` alone. Funding
accrues continuously on Paradex; the growth of its index becomes a FUNDING event whenever it has reached a millionth of
the mark price, the rest is carried over.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, Final, Literal

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
    MARK,
    REJECT,
    SELL,
    SNAPSHOT,
)
from mm.venues import replies
from mm.venues.base import AccountNews, Decoded, ExecDetail
from mm.venues.native.wire import Units, decimal
from mm.venues.paradex import sbe, wire
from mm.venues.rows import TOP_TICK, Row, cleared, events_of, execs_of, number_in

_TOP_LOTS: Final = 1 << 62
_RATE_STEPS: Final = 1_000_000_000
_FUNDING_STEP: Final = 1_000  # of 1e-9: a millionth of the mark price
_TOP_RATE: Final = _RATE_STEPS * 100
_BOOK_TRADES: Final = ("FILL", "LIQUIDATION")  # RPI and block trades, transfers and settlements did not hit the book
_KEPT_IDS: Final = 4_096
_KEPT_TRADES: Final = 512
_ERRORS: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, struct.error, IndexError, ValueError)
_PULLED: Final = ("USER_", "CANCEL_ON", "LIQUIDATION", "EXPIRED")  # an order that ended so had been resting


def _json(kind: type[Any]) -> Callable[[bytes | msgspec.Raw], Any]:
    return msgspec.json.Decoder(kind).decode


class ParadexCodec:
    """``instruments``: their order gives the instrument index of the records; see ``NativeCodec`` for ``prefix``."""

    def __init__(self, instruments: Sequence[Instrument], prefix: str = "") -> None:
        self._units = [Units(instrument) for instrument in instruments]
        self._steps = [(_e8(i.tick_size), _e8(i.lot_size)) for i in instruments]
        self._index = {instrument.symbol: i for i, instrument in enumerate(instruments)}
        self._currency = instruments[0].quote if instruments else ""  # USD: markets are quoted in it, settled in USDC
        self._prefix = prefix
        self._seq: list[int | None] = [None] * len(instruments)  # None: withheld until the next snapshot
        self._trades: list[dict[int | str, None]] = [{} for _ in instruments]  # numbers of the newest
        self._mark: list[int] = [0] * len(instruments)  # 1e-8; 0: not known
        self._mark_tick: list[int] = [-1] * len(instruments)
        self._funding: list[int | None] = [None] * len(instruments)  # index in 1e-8 that events have accounted for
        self._rested: dict[str, tuple[str, str]] = {}  # price and size of orders that were seen open, the newest
        self._frame = _json(wire.Frame)
        self._channels: dict[str, tuple[Callable[[bytes | msgspec.Raw], Any], Callable[[Any, int], Decoded]]] = {
            "order_book": (_json(wire.Book), self._json_book),
            "trades": (_json(wire.Trade), self._json_trade),
            "markets_summary": (_json(wire.Summary), self._json_summary),
            "funding_data": (_json(wire.Funding), self._json_funding),
            "orders": (_json(wire.Order), self._order),
            "fills": (_json(wire.Fill), self._fill),
            "positions": (_json(wire.Position), self._position),
            "account": (_json(wire.Account), self._account),
            "funding_payments": (_json(wire.Payment), self._payment),
        }

    def reset(self) -> None:
        """A new connection: the next book frame must be a snapshot."""
        self._seq = [None] * len(self._seq)
        self._mark_tick = [-1] * len(self._mark_tick)
        self._rested = {}

    # --- public ------------------------------------------------------------------------------------------------------
    def decode_public(self, raw: bytes, ts_recv_ns: int) -> Decoded:
        """Market events of one frame. After a gap an instrument is silent until its next snapshot."""
        try:
            if raw[4:6] == sbe.SCHEMA:
                return self._binary(raw, ts_recv_ns)
            return self._text(raw, ts_recv_ns)
        except _ERRORS as exc:
            return Decoded(error=f"undecodable frame: {exc}")

    def _binary(self, raw: bytes, ts_recv_ns: int) -> Decoded:
        template, length = sbe.block_of(raw)
        if template == sbe.BOOK:
            book = sbe.book(raw, length)
            if book.is_delta not in (0, 1):
                raise ValueError(f"book of unknown kind {book.is_delta}")
            i = self._find(book.market)
            return self._book(i, book.seq, not book.is_delta, book.ts_us * 1_000, ts_recv_ns, book.bids, book.asks)
        if template == sbe.TRADE:
            t = sbe.trade(raw, length)
            if t.kind not in (1, 2):
                return Decoded()
            i = self._find(t.market)
            return self._trade(i, t.number, t.ts_us * 1_000, ts_recv_ns, t.side == 1, t.price, t.size)
        if template == sbe.SUMMARY:
            s = sbe.summary(raw, length)
            return self._summary(s.market, s.ts_us * 1_000, ts_recv_ns, s.mark)
        if template == sbe.FUNDING:
            f = sbe.funding(raw, length)
            return self._accrued(f.market, f.ts_us * 1_000, ts_recv_ns, f.accrued)
        return Decoded()  # what was not subscribed, or is newer than this file

    def _book(
        self, i: int, seq: int, whole: bool, ts: int, ts_recv_ns: int, bids: Sequence[sbe.Level],
        asks: Sequence[sbe.Level],
    ) -> Decoded:  # fmt: skip
        """Levels in 1e-8. A bad number makes the book unknown, as a gap does."""
        last = self._seq[i]
        if not whole:
            if last is None or seq <= last:  # withheld, or known already
                return Decoded()
            if seq != last + 1:
                self._seq[i] = None
                return Decoded(gap=[i])
        rows: list[Row] = []
        flags = 0
        if whole:
            flags = SNAPSHOT
            rows = cleared(ts, ts_recv_ns, i)
        try:
            for kind, levels in ((BID, bids), (ASK, asks)):
                for price, size in levels:
                    tick, lots = self._ticks(i, price), self._lots(i, size)
                    rows.append((ts, ts_recv_ns, lots, tick, i, kind, flags))
        except ValueError as exc:
            self._seq[i] = None
            return Decoded(gap=[i], error=f"bad level: {exc}")
        self._seq[i] = seq
        return Decoded(events=events_of(rows))

    def _trade(
        self, i: int, number: int | str, ts: int, ts_recv_ns: int, bought: bool, price: int, size: int
    ) -> Decoded:  # fmt: skip
        seen = self._trades[i]
        if self._seq[i] is None or number in seen:
            return Decoded()
        row = (ts, ts_recv_ns, self._lots(i, size), self._ticks(i, price), i, BUY if bought else SELL, 0)
        seen[number] = None
        if len(seen) > _KEPT_TRADES:
            del seen[next(iter(seen))]
        return Decoded(events=events_of([row]))

    def _summary(self, symbol: str, ts: int, ts_recv_ns: int, mark: int) -> Decoded:
        i = self._index.get(symbol)
        if i is None or mark <= 0:  # of a market that we do not follow, or without a mark price
            return Decoded()
        self._mark[i] = mark
        step = self._steps[i][0]
        tick = (mark + step // 2) // step
        if tick == self._mark_tick[i]:
            return Decoded()
        if tick > TOP_TICK:
            raise ValueError(f"mark price {mark} is out of range")
        self._mark_tick[i] = tick
        return Decoded(events=events_of([(ts, ts_recv_ns, 0, tick, i, MARK, 0)]))

    def _accrued(self, symbol: str, ts: int, ts_recv_ns: int, index: int) -> Decoded:
        """The funding index grew: what the holder of one unit has to pay since the last event."""
        i = self._index.get(symbol)
        if i is None:
            return Decoded()
        before, mark = self._funding[i], self._mark[i]
        if before is None or not mark:
            self._funding[i] = index if before is None else before
            return Decoded()
        rate = round((index - before) * _RATE_STEPS / mark)
        if abs(rate) > _TOP_RATE:
            raise ValueError(f"funding index {index} is out of range")
        if abs(rate) < _FUNDING_STEP:
            return Decoded()
        self._funding[i] = index
        step = self._steps[i][0]
        return Decoded(events=events_of([(ts, ts_recv_ns, rate, (mark + step // 2) // step, i, FUNDING, 0)]))

    # --- public, as JSON ---------------------------------------------------------------------------------------------
    def _text(self, raw: bytes, ts_recv_ns: int) -> Decoded:
        frame = self._frame(raw)
        if frame.error is not None:
            return Decoded(error=str(frame.error))
        if frame.params is None:
            return Decoded()
        known = self._channels.get(frame.params.channel.partition(".")[0])
        if known is None:
            return Decoded()
        decode, use = known
        return use(decode(frame.params.data), ts_recv_ns)

    def _json_book(self, m: wire.Book, ts_recv_ns: int) -> Decoded:
        bids: list[sbe.Level] = []
        asks: list[sbe.Level] = []
        for levels, there in ((m.inserts, True), (m.updates, True), (m.deletes, False)):
            for level in levels:
                row = (_e8(decimal(level.price)), _e8(decimal(level.size)) if there else 0)
                (bids if level.side == "BUY" else asks).append(row)
        ts = m.last_updated_at * 1_000_000
        return self._book(self._find(m.market), m.seq_no, m.update_type == "s", ts, ts_recv_ns, bids, asks)

    def _json_trade(self, m: wire.Trade, ts_recv_ns: int) -> Decoded:
        if m.trade_type not in _BOOK_TRADES:
            return Decoded()
        i, ts = self._find(m.market), m.created_at * 1_000_000
        return self._trade(i, m.id, ts, ts_recv_ns, m.side == "BUY", _e8(decimal(m.price)), _e8(decimal(m.size)))

    def _json_summary(self, m: wire.Summary, ts_recv_ns: int) -> Decoded:
        return self._summary(m.symbol, m.created_at * 1_000_000, ts_recv_ns, _e8(decimal(m.mark_price)))

    def _json_funding(self, m: wire.Funding, ts_recv_ns: int) -> Decoded:
        return self._accrued(m.market, m.created_at * 1_000_000, ts_recv_ns, _e8(decimal(m.funding_index)))

    # --- private -----------------------------------------------------------------------------------------------------
    def decode_private(self, raw: bytes, ts_recv_ns: int) -> Decoded:
        """Execution reports and news of one frame."""
        try:
            reply = replies.parse(raw)
            if reply is None:
                return self._text(raw, ts_recv_ns)
            return self._reply(reply, ts_recv_ns)
        except _ERRORS as exc:
            return Decoded(error=f"undecodable frame: {exc}")

    def _reply(self, r: replies.Reply, ts_recv_ns: int) -> Decoded:
        """Taken: the order's channel tells the rest. Refused: it never was, or there was nothing to cancel."""
        if r.raymaker == "unknown":
            return Decoded(unknown=[r.cid], error=f"{r.op} {r.cid}: outcome unknown: {r.text}")
        if r.raymaker == "ok":
            return Decoded()
        i = self._index.get(r.symbol, 0)
        kind = REJECT if r.op in ("place", "reduce") else CANCEL_REJECT
        detail = ExecDetail(r.cid, reason=f"{r.code} {r.text}".strip())
        return self._exec(detail, ts_recv_ns, ts_recv_ns, 0, 0, i, r.side, kind)

    def _order(self, m: wire.Order, ts_recv_ns: int) -> Decoded:
        if m.status not in ("OPEN", "CLOSED"):
            return Decoded()
        i, ts = self._find(m.market), m.last_updated_at * 1_000_000
        units = self._units[i]
        left = units.lots(m.remaining_size)
        if m.status == "OPEN":
            kind, terms = ACK, (m.price, m.size)
            if self._rested.get(m.client_id) == terms:  # a fill, which tells itself
                return Decoded()
            self._rested[m.client_id] = terms
            if len(self._rested) > _KEPT_IDS:
                del self._rested[next(iter(self._rested))]
        else:
            rested = self._rested.pop(m.client_id, None)
            end = end_of(m)
            if end == "filled":  # the fills have said so
                return Decoded()
            kind = CANCELED if rested or end == "canceled" else REJECT
        detail = ExecDetail(m.client_id, m.id, reason=m.cancel_reason)
        return self._exec(detail, ts, ts_recv_ns, left, units.ticks(m.price), i, wire.SIDE_SIGN[m.side], kind)

    def _fill(self, m: wire.Fill, ts_recv_ns: int) -> Decoded:
        i, ts = self._find(m.market), m.created_at * 1_000_000
        units = self._units[i]
        detail = ExecDetail(m.client_id, m.order_id, m.id, fee=decimal(m.fee))
        lots, tick = units.lots(m.size), units.ticks(m.price)
        side, maker = wire.SIDE_SIGN[m.side], m.liquidity == "MAKER"
        out = self._exec(detail, ts, ts_recv_ns, lots, tick, i, side, FILL, maker=maker)
        if m.fill_type == "LIQUIDATION":
            out.news.append(AccountNews("liquidation", m.market, decimal(m.size) * side, ts, m.order_id))
        return out

    def _position(self, m: wire.Position, ts_recv_ns: int) -> Decoded:  # noqa: ARG002  all of one shape
        ts = m.last_updated_at * 1_000_000
        return Decoded(news=[AccountNews("position", m.market, signed_size(m), ts)])

    def _account(self, m: wire.Account, ts_recv_ns: int) -> Decoded:  # noqa: ARG002
        ts = m.updated_at * 1_000_000
        news = [AccountNews("balance", self._currency, decimal(m.total_collateral), ts)]
        if m.status == "LIQUIDATION":
            news.append(AccountNews("liquidation", ts_exch_ns=ts, text=m.status))
        return Decoded(news=news)

    def _payment(self, m: wire.Payment, ts_recv_ns: int) -> Decoded:  # noqa: ARG002
        return Decoded(news=[AccountNews("funding", m.market, decimal(m.payment), m.created_at * 1_000_000)])

    def _exec(
        self, detail: ExecDetail, ts: int, ts_recv_ns: int, lots: int, tick: int, i: int, side: int, kind: int,
        *, maker: bool = False,
    ) -> Decoded:  # fmt: skip
        order = self.own_id(detail.client_order_id)
        row = (ts, ts_recv_ns, order, lots, tick, i, side, kind, int(maker))
        return Decoded(execs=execs_of([row]), exec_detail=[detail])

    def own_id(self, client_order_id: str) -> int:
        """The number in a client order id, -1 when it is not one of ours."""
        return number_in(client_order_id, self._prefix)

    # --- numbers -----------------------------------------------------------------------------------------------------
    def _find(self, symbol: str) -> int:
        try:
            return self._index[symbol]
        except KeyError:
            raise ValueError(f"unknown symbol {symbol!r}") from None

    def _ticks(self, i: int, price: int) -> int:
        tick, rest = divmod(price, self._steps[i][0])
        if rest or not 0 <= tick <= TOP_TICK:
            raise ValueError(f"price {price}e-8 is off the grid or out of range")
        return tick

    def _lots(self, i: int, size: int) -> int:
        lots, rest = divmod(size, self._steps[i][1])
        if rest or not 0 <= lots < _TOP_LOTS:
            raise ValueError(f"size {size}e-8 is off the grid or out of range")
        return lots


def end_of(m: wire.Order) -> Literal["filled", "canceled", "rejected"]:
    """How a closed order ended: what was not filled has a reason, and what never rested was rejected."""
    size, left = decimal(m.size), decimal(m.remaining_size)
    if left == 0 and not m.cancel_reason:
        return "filled"
    traded = 0 < left < size or m.avg_fill_price not in ("", "0")
    return "canceled" if traded or not m.cancel_reason or m.cancel_reason.startswith(_PULLED) else "rejected"


def signed_size(m: wire.Position) -> Decimal:
    """The size of a position: the sign stands in the number, and the word for the side agrees or is obeyed."""
    size = decimal(m.size)
    return -abs(size) if m.side == "SHORT" else size


def _e8(value: Decimal) -> int:
    """Exact integer of 1e-8; raises ``ValueError`` for something finer."""
    scaled = value.scaleb(8)
    whole = int(scaled)
    if whole != scaled:
        raise ValueError(f"{value} is finer than 1e-8")
    return whole
