"""Frames of MEXC spot to event and execution records. Pure: no socket, no clock.

Frames are the venue's protobuf pushes, its short notes in JSON, the REST snapshot of a book (``snapshot_frame``) and
the answers to our own requests (``mm.venues.replies``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
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
    REJECT,
    SELL,
    SNAPSHOT,
)
from mm.venues import replies
from mm.venues.base import AccountNews, Decoded, ExecDetail
from mm.venues.mexc.book import BookVersions, Push, Verdict
from mm.venues.mexc.protobuf import FIRST_BYTE, parse_push
from mm.venues.native.wire import DECODE_ERRORS, MAX_REMEMBERED, Units, decimal
from mm.venues.rows import Row, cleared, events_of, execs_of, number_in

NEW, FILLED, PARTLY_FILLED, CANCELED_ALL, CANCELED_REST = 1, 2, 3, 4, 5  # an order's status in pushes
LIMIT_MAKER: Final = 2  # an order's type in pushes
UNKNOWN_ORDER: Final = "-2011"
POST_ONLY: Final = "post-only order would cross"

_KEPT_ORDERS: Final = 20_000  # order ids whose client id and state are remembered
_SIDE: Final = {1: 1, 2: -1}  # tradeType
_SNAPSHOT: Final = b'{"snapshot":'


class _Depth(msgspec.Struct):
    """The REST snapshot of a book."""

    lastUpdateId: int  # noqa: N815  the venue's name
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]
    timestamp: int = 0


class _Snapshot(msgspec.Struct):
    snapshot: str
    depth: _Depth


class _Note(msgspec.Struct):
    """What the venue says in words: subscriptions and pongs."""

    code: int = 0
    msg: str = ""


_decode_snapshot: Final = msgspec.json.Decoder(_Snapshot).decode
_decode_note: Final = msgspec.json.Decoder(_Note).decode


def snapshot_frame(symbol: str, body: bytes) -> bytes:
    """The answer to a depth query as a frame; ``body`` is the venue's JSON untouched."""
    return _SNAPSHOT + msgspec.json.encode(symbol) + b',"depth":' + body + b"}"


class MexcCodec:
    """``instruments``: their order gives the instrument index of the records.

    Client order ids look like ``PREFIX-123``: the number becomes ``EXEC.id``; others get -1.
    """

    def __init__(self, instruments: Sequence[Instrument], prefix: str = "") -> None:
        self._units = [Units(instrument) for instrument in instruments]
        self._instruments = list(instruments)
        self._index = {instrument.symbol: i for i, instrument in enumerate(instruments)}
        self._prefix = prefix
        self._books = [BookVersions() for _ in instruments]
        self._last_deals = [b""] * len(instruments)
        self._sizes: list[dict[str, int]] = [{} for _ in instruments]
        self._cid_of: dict[str, str] = {}  # by the venue's order id: not every push repeats the client's
        self._heard_since_ns = 0  # our clock: when this private connection said its first word; 0 before it
        self._rests: dict[str, bool] = {}  # by the venue's order id: in the book, or ended

    def reset(self) -> None:
        """A new connection: the next book frame that counts is a snapshot."""
        self._heard_since_ns = 0
        self._last_deals = [b""] * len(self._books)
        for book in self._books:
            book.reset()

    # --- public ------------------------------------------------------------------------------------------------------
    def decode_public(self, raw: bytes, ts_recv_ns: int) -> Decoded:
        """Market events of one frame. After a gap an instrument is silent until its next snapshot."""
        try:
            if raw.startswith(FIRST_BYTE):
                return self._public(parse_push(raw), raw, ts_recv_ns)
            if raw.startswith(_SNAPSHOT):
                return self._snapshot(raw, ts_recv_ns)
            return _note(raw)
        except (*DECODE_ERRORS, ValueError) as exc:
            return Decoded(error=f"undecodable frame: {exc}")

    def _public(self, push: Any, raw: bytes, ts_recv_ns: int) -> Decoded:
        match push.WhichOneof("body"):
            case "publicAggreDepths":
                return self._depth(push, ts_recv_ns)
            case "publicAggreDeals":
                return self._deals(push, raw, ts_recv_ns)
            case body:
                return Decoded(error=f"unexpected push {body} on {push.channel[:80]!r}")

    def _deals(self, push: Any, raw: bytes, ts_recv_ns: int) -> Decoded:
        """Public trades have no ids; the same bytes again are the same push, for each says when it was sent."""
        i = self._find(push.symbol)
        if self._books[i].version is None or raw == self._last_deals[i]:
            return Decoded()
        ticks, rows = self._units[i].ticks, []
        for deal in push.publicAggreDeals.deals:
            kind = BUY if _side(deal.tradeType) > 0 else SELL
            rows.append((_ns(deal.time), ts_recv_ns, self._lots(i, deal.quantity), ticks(deal.price), i, kind, 0))
        self._last_deals[i] = raw
        return Decoded(events=events_of(rows))

    def _depth(self, push: Any, ts_recv_ns: int) -> Decoded:
        i, body = self._find(push.symbol), push.publicAggreDepths
        first, last = _whole(body.fromVersion), _whole(body.toVersion)
        if last < first:
            raise ValueError(f"versions {first} to {last}")
        bids = [(level.price, level.quantity) for level in body.bids]
        asks = [(level.price, level.quantity) for level in body.asks]
        change = Push(first, last, _ns(push.sendTime) or ts_recv_ns, bids, asks)
        match self._books[i].push(change):
            case Verdict.APPLY:
                return self._book(i, [change], [], ts_recv_ns, 0)
            case Verdict.GAP:
                return Decoded(gap=[i])
            case _:
                return Decoded()

    def _snapshot(self, raw: bytes, ts_recv_ns: int) -> Decoded:
        try:
            frame = _decode_snapshot(raw)
        except DECODE_ERRORS as exc:
            i = self._index.get(_snapshot_symbol(raw), -1)
            return Decoded(gap=[i] if i >= 0 else [], error=f"undecodable snapshot: {exc}")
        i, depth = self._find(frame.snapshot), frame.depth
        later = self._books[i].snapshot(depth.lastUpdateId)
        if later is None:
            return Decoded(gap=[i])
        ts = _ns(depth.timestamp) or ts_recv_ns
        clear = cleared(ts, ts_recv_ns, i)
        whole = Push(0, depth.lastUpdateId, ts, depth.bids, depth.asks)
        return self._book(i, [whole, *later], clear, ts_recv_ns, SNAPSHOT)

    def _book(self, i: int, changes: Iterable[Push], rows: list[Row], ts_recv_ns: int, flags: int) -> Decoded:
        """Level rows after ``rows``. A bad number makes the book unknown, as a gap does."""
        ticks = self._units[i].ticks
        try:
            for change in changes:
                for kind, levels in ((BID, change.bids), (ASK, change.asks)):
                    rows += [
                        (change.ts_ns, ts_recv_ns, self._lots(i, qty), ticks(px), i, kind, flags) for px, qty in levels
                    ]
        except ValueError as exc:
            self._books[i].lost()
            return Decoded(gap=[i], error=f"bad level: {exc}")
        return Decoded(events=events_of(rows))

    def _lots(self, i: int, text: str) -> int:
        """Public size in lots, rounded down but never to nothing: others may trade finer than our lot."""
        known = self._sizes[i].get(text)
        if known is None:
            size = decimal(text)
            known = max(self._instruments[i].lots_floor(size), 1) if size else 0
            if size < 0 or known >= 1 << 62:
                raise ValueError(f"size {text} is out of range")
            if len(self._sizes[i]) >= MAX_REMEMBERED:
                self._sizes[i].clear()
            self._sizes[i][text] = known
        return known

    # --- private -----------------------------------------------------------------------------------------------------
    def decode_private(self, raw: bytes, ts_recv_ns: int) -> Decoded:
        """Execution reports of one frame."""
        self._heard_since_ns = self._heard_since_ns or ts_recv_ns
        try:
            if raw.startswith(FIRST_BYTE):
                return self._private(parse_push(raw), ts_recv_ns)
            reply = replies.parse(raw)
            return _note(raw) if reply is None else self._reply(reply, ts_recv_ns)
        except (*DECODE_ERRORS, ValueError) as exc:
            return Decoded(error=f"undecodable frame: {exc}")

    def _private(self, push: Any, ts_recv_ns: int) -> Decoded:
        match push.WhichOneof("body"):
            case "privateOrders":
                return self._order(push, ts_recv_ns)
            case "privateDeals":
                return self._deal(push, ts_recv_ns)
            case "privateAccount":
                return self._balance(push.privateAccount)
            case body:
                return Decoded(error=f"unexpected push {body} on {push.channel[:80]!r}")

    def _order(self, push: Any, ts_recv_ns: int) -> Decoded:
        i, order = self._find(push.symbol), push.privateOrders
        if order.clientId:
            _keep(self._cid_of, order.id, order.clientId)
        side, tick = _side(order.tradeType), self._units[i].ticks(order.price)
        left = decimal(order.quantity) - decimal(order.cumulativeQuantity or "0")
        if left < 0:
            raise ValueError(f"order {order.id[:40]} is filled beyond its size")
        before = self._rests.get(order.id)
        if order.status in (NEW, PARTLY_FILLED):
            if before is not None:
                return Decoded()
            kind, reason = ACK, ""
        elif order.status in (CANCELED_ALL, CANCELED_REST):
            if before is False:
                return Decoded()
            never = before is None and _ns(order.createTime) >= self._heard_since_ns  # else it may have rested unheard
            refused = never and order.orderType == LIMIT_MAKER and order.status == CANCELED_ALL
            kind, reason = (REJECT, POST_ONLY) if refused else (CANCELED, "canceled")
        elif order.status == FILLED:  # its deals say so
            _keep(self._rests, order.id, False)
            return Decoded()
        else:
            raise ValueError(f"order status {order.status}")
        _keep(self._rests, order.id, kind == ACK)
        detail = ExecDetail(self._cid(order.id, order.clientId), order.id, reason=reason)
        lots = 0 if kind == REJECT else self._units[i].lots(format(left, "f"))
        return self._exec(detail, (_ns(push.sendTime), ts_recv_ns), (lots, tick), i, side, kind)

    def _deal(self, push: Any, ts_recv_ns: int) -> Decoded:
        i, deal = self._find(push.symbol), push.privateDeals
        units = self._units[i]
        numbers = (units.lots(deal.quantity), units.ticks(deal.price))
        fee, complaint = self._fee(i, deal)
        detail = ExecDetail(self._cid(deal.orderId, deal.clientOrderId), deal.orderId, deal.tradeId, fee)
        side = _side(deal.tradeType)
        out = self._exec(detail, (_ns(deal.time), ts_recv_ns), numbers, i, side, FILL, maker=deal.isMaker)
        out.error = complaint
        return out

    def _fee(self, i: int, deal: Any) -> tuple[Decimal, str]:
        """(fee in quote currency, what is wrong with it)."""
        return quote_fee(self._instruments[i], decimal(deal.feeAmount or "0"), deal.feeCurrency, decimal(deal.price))

    def _balance(self, body: Any) -> Decoded:
        """Free and frozen together: money as a balance, a coin as the position of the instruments it is the base of."""
        coin, ts = body.vcoinName, _ns(body.time)
        total = decimal(body.balanceAmount) + decimal(body.frozenAmount)
        news = [AccountNews("position", i.symbol, total, ts) for i in self._instruments if i.base == coin]
        if any(i.quote == coin for i in self._instruments):
            news.append(AccountNews("balance", coin, total, ts))
        return Decoded(news=news)

    def _reply(self, reply: replies.Reply, ts_recv_ns: int) -> Decoded:
        """What the venue answered: "taken" and "canceled" are said by the private stream, refusals only here."""
        if reply.raymaker == "unknown":
            words = f"{reply.op} {reply.cid[:64]}: outcome unknown: {reply.code[:20]} {reply.text[:300]}"
            return Decoded(unknown=[reply.cid], error=words)
        if reply.raymaker == "ok":
            taken = reply.body.get("orderId") if isinstance(reply.body, dict) else None
            if reply.op != "cancel" and isinstance(taken, str):
                _keep(self._cid_of, taken, reply.cid)
            return Decoded()
        kind = CANCEL_REJECT if reply.op == "cancel" else REJECT
        if reply.side not in (-1, 0, 1):
            raise ValueError(f"side {reply.side}")
        detail = ExecDetail(reply.cid, reason=f"{reply.code[:20]}: {reply.text[:300]}")
        i = self._index.get(reply.symbol, 0)
        return self._exec(detail, (ts_recv_ns, ts_recv_ns), (0, 0), i, reply.side, kind)

    def _exec(
        self, detail: ExecDetail, times: tuple[int, int], numbers: tuple[int, int], i: int, side: int, kind: int,
        *, maker: bool = False,
    ) -> Decoded:  # fmt: skip
        order = self.own_id(detail.client_order_id)
        row = (*times, order, *numbers, i, side, kind, int(maker))
        return Decoded(execs=execs_of([row]), exec_detail=[detail])

    def own_id(self, client_order_id: str) -> int:
        """The number in a client order id, -1 when it is not one of ours."""
        return number_in(client_order_id, self._prefix)

    def _cid(self, order_id: str, client_order_id: str) -> str:
        """The client's id, for want of one the venue's."""
        return client_order_id or self._cid_of.get(order_id, order_id)

    def _find(self, symbol: str) -> int:
        try:
            return self._index[symbol]
        except KeyError:
            raise ValueError(f"unknown symbol {symbol[:40]!r}") from None


def quote_fee(instrument: Instrument, fee: Decimal, coin: str, price: Decimal) -> tuple[Decimal, str]:
    """(a fee in quote currency, what is wrong with it): fees come in quote, in base or in a coin of no known worth."""
    if coin == instrument.quote or not fee:
        return fee, ""
    if coin == instrument.base:
        return fee * price, ""
    return Decimal(0), f"a fee of {fee} {coin[:12]} is left out: its worth in {instrument.quote} is not known"


def _note(raw: bytes) -> Decoded:
    """Words of the venue: only complaints are of interest."""
    if not raw.startswith(b"{"):
        return Decoded(error=f"undecodable frame: {raw[:80]!r}")
    note = _decode_note(raw)
    refused = note.code != 0 or note.msg.startswith(("Not Subscribed", "invalid"))
    return Decoded(error=f"the venue says: {note.code} {note.msg[:200]}" if refused else "")


def _ns(ms: int) -> int:
    """Milliseconds of the venue to nanoseconds; raises ``ValueError``."""
    if not 0 <= ms < 1 << 43:
        raise ValueError(f"time {ms} is out of range")
    return ms * 1_000_000


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise ValueError(f"version {text[:40]!r} is not a number")
    return int(text)


def _side(trade_type: int) -> int:
    try:
        return _SIDE[trade_type]
    except KeyError:
        raise ValueError(f"trade type {trade_type}") from None


def _snapshot_symbol(raw: bytes) -> str:
    """The symbol of a snapshot frame whose body cannot be read."""
    found = re.match(rb'\{"snapshot":"([A-Z0-9_]{1,40})"', raw)
    return found[1].decode() if found else ""


def _keep(memory: dict[str, Any], key: str, value: Any) -> None:
    """Remember, and forget the oldest."""
    memory[key] = value
    if len(memory) > _KEPT_ORDERS:
        del memory[next(iter(memory))]
