"""Frames of Hyperliquid to event and execution records. Pure: no socket, no clock.

The public side is in ``book``, the ids and the price rule in ``rules``. Fills come from ``userFills`` only (its first
message, the recent past, is left to the client's queries); acks, cancels and rejections from the answer to the request
or from ``orderUpdates``, whichever is first: both may say the same. What the account does in other coins is not ours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from mm.core.instrument import Instrument
from mm.core.types import (
    ACK,
    BUY,
    CANCEL_REJECT,
    CANCELED,
    FILL,
    FUNDING_RATE_UNIT,
    MARK,
    REJECT,
    SELL,
)
from mm.venues import replies
from mm.venues.base import AccountNews, Decoded, ExecDetail
from mm.venues.hyperliquid import messages as m
from mm.venues.hyperliquid.book import Visible
from mm.venues.hyperliquid.rules import from_cloid
from mm.venues.native.wire import DECODE_ERRORS, decimal
from mm.venues.rows import ExecRow, Row, events_of, execs_of, number_in

_TRADE_KIND: Final = {"B": BUY, "A": SELL}
_RATE_STEPS: Final = round(1 / FUNDING_RATE_UNIT)
_KEPT_CIDS: Final = 4_096
_WORKING: Final = frozenset({"open", "triggered", "accepted"})
ORDER_GONE: Final = "Error placing new order during modify"  # the order that was to be modified is cancelled


def order_kind(status: str) -> int | None:
    """What an order status means: ACK, CANCELED, REJECT, or FILL for filled; None for a word that we do not know."""
    if status in _WORKING:
        return ACK
    if status == "filled":
        return FILL
    if status == "rejected" or status.endswith("Rejected"):
        return REJECT
    if status in {"canceled", "scheduledCancel"} or status.endswith("Canceled"):
        return CANCELED
    return None


class HyperliquidCodec:
    """``instruments``: their order gives the instrument index of the records; ``prefix`` of our client order ids."""

    def __init__(self, instruments: Sequence[Instrument], prefix: str = "") -> None:
        self._books = [Visible(i, instrument) for i, instrument in enumerate(instruments)]
        self._index = {instrument.symbol: i for i, instrument in enumerate(instruments)}
        self._prefix = prefix
        self._cids: dict[int, str] = {}  # the venue's number -> client order id, for fills that do not say it
        self._told: dict[tuple[int, int | str], None] = {}  # (kind, the venue's number or our id): reported
        self._decode: Callable[[bytes], m.AnyFrame] = msgspec.json.Decoder(m.AnyFrame).decode

    def reset(self) -> None:
        """A new connection: the next book frame counts as a snapshot."""
        for book in self._books:
            book.reset()

    def own_id(self, client_order_id: str) -> int:
        """The number in a client order id, -1 when it is not one of ours."""
        return number_in(client_order_id, self._prefix)

    # --- public ------------------------------------------------------------------------------------------------------
    def decode_public(self, raw: bytes, ts_recv_ns: int) -> Decoded:
        """Market events of one frame. After a bad book an instrument is silent until its next one."""
        try:
            return self._public(self._decode(raw), ts_recv_ns)
        except DECODE_ERRORS as exc:
            return Decoded(error=f"undecodable frame: {exc}")
        except (ValueError, ArithmeticError) as exc:
            return Decoded(error=f"bad value in frame: {exc}")

    def _public(self, frame: m.AnyFrame, ts_recv_ns: int) -> Decoded:
        match frame:
            case m.L2BookFrame(data):
                return self._levels(self._find(data.coin), data, ts_recv_ns)
            case m.BboFrame(data):
                return self._levels(self._find(data.coin), data, ts_recv_ns)
            case m.TradesFrame(data):
                return Decoded(events=events_of([row for t in data for row in self._trade(t, ts_recv_ns)]))
            case m.AssetCtxFrame(data):
                book = self._find(data.coin)
                book.rate = _rate(data.ctx.funding)
                mark = book.grid.near(data.ctx.markPx)
                if mark == book.mark:
                    return Decoded()
                book.mark = mark
                return Decoded(events=events_of([(ts_recv_ns, ts_recv_ns, 0, mark, book.i, MARK, 0)]))
            case m.SubscriptionFrame(data):
                asked = data.subscription
                if asked.type == "l2Book" and data.method == "subscribe" and asked.coin in self._index:
                    self._find(asked.coin).reset()  # the book that follows is whole and starts anew
                return Decoded()
            case _:
                return _other(frame)

    def _levels(self, book: Visible, data: m.Book | m.Bbo, ts_recv_ns: int) -> Decoded:
        """A bad number makes the book unknown, as a gap does."""
        was_valid = book.valid
        try:
            if isinstance(data, m.Book):
                rows = book.book(data.time, data.levels[0], data.levels[1], ts_recv_ns)
            else:
                rows = book.touch(data.time, data.bbo[0], data.bbo[1], ts_recv_ns)
        except ValueError as exc:
            book.reset()
            return Decoded(gap=[book.i] if was_valid else [], error=f"bad level: {exc}")
        return Decoded(events=events_of(rows))

    def _trade(self, trade: m.Trade, ts_recv_ns: int) -> list[Row]:
        book = self._find(trade.coin)
        tick, lots = book.grid.near(trade.px), book.grid.units.lots(trade.sz)
        if not book.new_trade(trade.tid, trade.time):
            return []
        return [(trade.time * 1_000_000, ts_recv_ns, lots, tick, book.i, _TRADE_KIND[trade.side], 0)]

    # --- private -----------------------------------------------------------------------------------------------------
    def decode_private(self, raw: bytes, ts_recv_ns: int) -> Decoded:
        """Execution reports of one frame, the answer to a request of ours included."""
        try:
            reply = replies.parse(raw)
            if reply is not None:
                return self._reply(reply, ts_recv_ns)
            return self._private(self._decode(raw), ts_recv_ns)
        except DECODE_ERRORS as exc:
            return Decoded(error=f"undecodable frame: {exc}")
        except (ValueError, ArithmeticError) as exc:
            return Decoded(error=f"bad value in frame: {exc}")

    def _private(self, frame: m.AnyFrame, ts_recv_ns: int) -> Decoded:
        out = Decoded()
        match frame:
            case m.OrderUpdatesFrame(data):
                out = self._updates(data, ts_recv_ns)
            case m.UserFillsFrame(data):
                if not data.isSnapshot:
                    out = self._fills(data.fills, ts_recv_ns)
            case m.UserEventFrame(data):
                out = Decoded(news=_event_news(data))
            case m.ClearinghouseFrame(data):
                state = data.clearinghouseState
                ts, rows = state.time * 1_000_000, [p.position for p in state.assetPositions]
                out.news = [AccountNews("position", p.coin, decimal(p.szi), ts) for p in rows]
                out.news.append(AccountNews("balance", "USDC", m.balance_of(state), ts))
            case _:
                out = _other(frame)
        return out

    def _updates(self, updates: list[m.OrderUpdate], ts_recv_ns: int) -> Decoded:
        """A modified order has a new number: told in one message, its cancel is no cancel."""
        last = {u.order.cloid: u.order.oid for u in updates if u.order.cloid}
        rows: list[ExecRow] = []
        details: list[ExecDetail] = []
        error = ""
        for u in updates:
            order = u.order
            if order.coin not in self._index:
                continue
            cid = from_cloid(order.cloid, order.oid)
            kind = order_kind(u.status)
            if kind is None:
                error = f"unknown order status {u.status!r}"
                continue
            self._remember(order.oid, cid)
            replaced = kind == CANCELED and last.get(order.cloid or "", order.oid) != order.oid
            if kind == FILL or replaced:
                self._first(ACK, order.oid)  # an answer that comes now is late
                continue
            if not self._first(kind, cid if kind == REJECT else order.oid):
                continue
            if kind == CANCELED:
                self._first(ACK, order.oid)
            book, side = self._find(order.coin), m.SIDE_SIGN[order.side]
            lots, tick = book.grid.units.lots(order.sz), book.grid.tick(order.limitPx, up=side < 0)
            reason = "" if kind == ACK else u.status
            details.append(ExecDetail(cid, str(order.oid), reason=reason))
            ts = u.statusTimestamp * 1_000_000
            rows.append((ts, ts_recv_ns, self.own_id(cid), lots, tick, book.i, side, kind, 0))
        return Decoded(execs=execs_of(rows), exec_detail=details, error=error)

    def _fills(self, fills: list[m.Fill], ts_recv_ns: int) -> Decoded:
        rows: list[ExecRow] = []
        details: list[ExecDetail] = []
        error = ""
        for f in fills:
            if f.coin not in self._index:
                continue
            book, side = self._find(f.coin), m.SIDE_SIGN[f.side]
            cid = from_cloid(f.cloid, f.oid) if f.cloid else self._cids.get(f.oid, from_cloid(None, f.oid))
            if not book.grid.on_grid(f.px):  # the venue's grid has become finer than ours: book the worse tick
                error = f"fill at {f.px}, between two ticks of {f.coin}: load the instrument again"
            lots, tick = book.grid.units.lots(f.sz), book.grid.tick(f.px, up=side > 0)
            details.append(ExecDetail(cid, str(f.oid), str(f.tid), fee=decimal(f.fee)))
            ts = f.time * 1_000_000
            rows.append((ts, ts_recv_ns, self.own_id(cid), lots, tick, book.i, side, FILL, int(not f.crossed)))
        return Decoded(execs=execs_of(rows), exec_detail=details, error=error)

    # --- answers to our requests -------------------------------------------------------------------------------------
    def _reply(self, r: replies.Reply, ts_recv_ns: int) -> Decoded:
        if r.raymaker == "unknown":
            return Decoded(unknown=[r.cid], error=f"{r.op} {r.cid}: {r.text or 'no answer'}")
        if r.raymaker == "no":
            return self._refused(r, r.text or r.code, ts_recv_ns)
        if isinstance(r.body, str):  # a cancel: "success"; orderUpdates says what was left
            return Decoded()
        status = msgspec.convert(r.body, m.Status)
        if status.error is not None:
            return self._refused(r, status.error, ts_recv_ns)
        if status.filled is not None:
            self._remember(status.filled.oid, r.cid)
        if status.resting is None:
            return Decoded()
        oid = status.resting.oid
        self._remember(oid, r.cid)
        if not self._first(ACK, oid):
            return Decoded()
        return self._answer(r, ExecDetail(r.cid, str(oid)), ACK, ts_recv_ns)

    def _refused(self, r: replies.Reply, reason: str, ts_recv_ns: int) -> Decoded:
        if r.op in {"cancel", "amend"}:
            if reason.startswith(ORDER_GONE):  # its cancel is told by orderUpdates
                return Decoded(error=f"amend {r.cid}: {reason}")
            return self._answer(r, ExecDetail(r.cid, reason=reason), CANCEL_REJECT, ts_recv_ns)
        if not self._first(REJECT, r.cid):
            return Decoded()
        return self._answer(r, ExecDetail(r.cid, reason=reason), REJECT, ts_recv_ns)

    def _answer(self, r: replies.Reply, detail: ExecDetail, kind: int, ts_recv_ns: int) -> Decoded:
        i = self._index.get(r.symbol, 0)
        lots = tick = 0
        if kind == ACK:
            grid = self._books[i].grid
            lots, tick = grid.units.lots(r.qty), grid.units.ticks(r.px)
        row = (ts_recv_ns, ts_recv_ns, self.own_id(r.cid), lots, tick, i, r.side, kind, 0)
        return Decoded(execs=execs_of([row]), exec_detail=[detail])

    def _remember(self, oid: int, cid: str) -> None:
        if len(self._cids) >= _KEPT_CIDS and oid not in self._cids:
            del self._cids[next(iter(self._cids))]
        self._cids[oid] = cid

    def _first(self, kind: int, which: int | str) -> bool:
        """Whether a report of an order is the first of its kind: answer and update say the same."""
        if (kind, which) in self._told:
            return False
        if len(self._told) >= _KEPT_CIDS:
            del self._told[next(iter(self._told))]
        self._told[kind, which] = None
        return True

    def _find(self, coin: str) -> Visible:
        try:
            return self._books[self._index[coin]]
        except KeyError:
            raise ValueError(f"unknown coin {coin!r}") from None


def _rate(text: str) -> int:
    rate = round(decimal(text) * _RATE_STEPS)
    if abs(rate) > _RATE_STEPS:
        raise ValueError(f"funding rate {text} is out of range")
    return rate


def _event_news(event: m.UserEvent) -> list[AccountNews]:
    out: list[AccountNews] = []
    if event.funding is not None:
        f = event.funding
        out.append(AccountNews("funding", f.coin, decimal(f.usdc), f.time * 1_000_000))
    if event.liquidation is not None:
        lost = event.liquidation
        text = f"liquidated {lost.liquidated_user} ({lost.liquidated_ntl_pos} USD) by {lost.liquidator}"
        out.append(AccountNews("liquidation", amount=decimal(lost.liquidated_ntl_pos), text=text))
    return out


def _other(frame: m.AnyFrame) -> Decoded:
    """A frame that carries no record; the venue's complaint becomes the frame's error."""
    if isinstance(frame, m.ErrorFrame) and not frame.data.startswith("Already subscribed"):
        return Decoded(error=frame.data)
    return Decoded()
