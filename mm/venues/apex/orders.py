"""What ApeX Omni says of one account to execution reports and news. Pure: no socket, no clock.

An order is PENDING until the matching engine has it, then OPEN, and ends FILLED or CANCELED; a post-only order that
would cross goes from PENDING to CANCELED, which is a rejection. Fills name the order by the venue's id only, so the
decoder remembers which of ours that is, and holds back a fill that arrives before anything named its order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, Final

import msgspec
import numpy as np

from mm.core.instrument import Instrument
from mm.core.types import ACK, CANCEL_REJECT, CANCELED, EXEC, FILL, REJECT
from mm.venues.apex import wire
from mm.venues.base import AccountNews, Decoded, ExecDetail
from mm.venues.native.wire import Units, decimal
from mm.venues.replies import Reply

_KEPT: Final = 20_000  # orders and fills that are remembered

Report = tuple[tuple[int, ...], ExecDetail]


class _Known:
    """One order of the account, by the venue's id."""

    __slots__ = ("cid", "ended", "filled", "opened", "pending")

    def __init__(self) -> None:
        self.cid = ""
        self.pending = False  # seen before it was open
        self.opened = False
        self.ended = False  # its end was reported
        self.filled = 0  # lots


class AccountDecoder:
    """``own_id``: the number in a client order id. State belongs to the account, so it outlives a connection."""

    def __init__(self, instruments: Sequence[Instrument], own_id: Callable[[str], int]) -> None:
        self._units = [Units(instrument) for instrument in instruments]
        self._index = {instrument.symbol: i for i, instrument in enumerate(instruments)}
        self._own_id = own_id
        self._orders: dict[str, _Known] = {}
        self._fills: dict[str, None] = {}  # order and fill ids of what was reported
        self._held: dict[str, list[wire.Fill]] = {}  # by the venue's order id: fills of orders nothing has named yet
        self._sides: dict[tuple[str, str], Decimal] = {}
        self._paid: dict[tuple[str, str], Decimal] = {}

    # --- pushes ------------------------------------------------------------------------------------------------------
    def push(self, contents: wire.Contents, kind: str, ts_ns: int, ts_recv_ns: int) -> Decoded:
        """One push. A snapshot tells what is, not what happened: its orders and fills are nobody's news."""
        reports: list[Report] = []
        snapshot = kind == "snapshot"
        orders, fills = contents.orders or (), contents.fills or ()
        errors: list[str] = []
        for order in orders:
            self._name(order)
            if snapshot:
                self._order(order.id).opened = order.status != "PENDING"
        if not snapshot:
            self._each(orders, self._opening, reports, errors, ts_recv_ns)
            self._each(fills, self._fill, reports, errors, ts_recv_ns)
            self._each(orders, self._ending, reports, errors, ts_recv_ns)
        news: list[AccountNews] = []
        try:
            self._news(contents, ts_ns, news, snapshot=snapshot)
        except ValueError as exc:
            errors.append(str(exc))
        return _decoded(reports, news, "; ".join(errors[:3]))

    def _each(
        self,
        items: Sequence[Any],
        take: Callable[[Any, int], list[Report]],
        reports: list[Report],
        errors: list[str],
        ts_recv_ns: int,
    ) -> None:
        """One item that cannot be read does not hide the others."""
        for item in items:
            try:
                reports += take(item, ts_recv_ns)
            except ValueError as exc:
                errors.append(str(exc))

    def _opening(self, order: wire.Order, ts_recv_ns: int) -> list[Report]:
        known = self._order(order.id)
        if order.status == "PENDING":
            known.pending = True
        elif order.status in ("OPEN", "PARTIALLY_FILLED") and not known.opened and not known.ended:
            known.opened = True
            return [self._report(order, known, ACK, "", ts_recv_ns)]
        return []

    def _ending(self, order: wire.Order, ts_recv_ns: int) -> list[Report]:
        """A canceled order, and the fills that waited for its name."""
        reports: list[Report] = []
        for fill in self._held.pop(order.id, ()):
            reports += self._fill(fill, ts_recv_ns)
        known = self._order(order.id)
        if order.status in ("CANCELED", "EXPIRED") and not known.ended:
            known.ended = True
            never_open = known.pending and not known.opened and not known.filled
            by_rule = order.time_in_force != "IMMEDIATE_OR_CANCEL" and "USER" not in order.cancel_reason
            kind = REJECT if never_open and by_rule else CANCELED
            reports.append(self._report(order, known, kind, order.cancel_reason, ts_recv_ns))
        return reports

    def _fill(self, fill: wire.Fill, ts_recv_ns: int) -> list[Report]:
        known = self._orders.get(fill.order_id)
        cid = fill.cid or (known.cid if known else "")
        if not cid:
            self._held.setdefault(fill.order_id, []).append(fill)
            _trim(self._held)
            return []
        seen = f"{fill.order_id}:{fill.id}"
        if seen in self._fills:
            return []
        i, units = self._find(fill.symbol)
        lots, tick, side = units.lots(fill.size), units.ticks(fill.price), _side(fill.side)
        if fill.liquidity not in ("MAKER", "TAKER"):
            raise ValueError(f"fill {fill.id}: liquidity {fill.liquidity[:20]!r}")
        detail = ExecDetail(cid, fill.order_id, fill.id, fee=decimal(fill.fee))
        ts = fill.created_at * 1_000_000
        row = (ts, ts_recv_ns, self._own_id(cid), lots, tick, i, side, FILL, int(fill.liquidity == "MAKER"))
        self._fills[seen] = None
        _trim(self._fills)
        if known is not None:
            known.filled += lots
        return [(row, detail)]

    def _report(self, order: wire.Order, known: _Known, kind: int, reason: str, ts_recv_ns: int) -> Report:
        i, units = self._find(order.symbol)
        lots = max(0, units.lots(order.size) - known.filled)
        detail = ExecDetail(known.cid, order.id, reason=reason)
        tick, side = units.ticks(order.price), _side(order.side)
        return (order.ts_ns, ts_recv_ns, self._own_id(known.cid), lots, tick, i, side, kind, 0), detail

    def _news(self, contents: wire.Contents, ts_ns: int, news: list[AccountNews], *, snapshot: bool) -> None:
        """Positions are stated by side: the net is what they come to."""
        for symbol in self._positions(contents.positions or (), ts_ns, news, snapshot=snapshot):
            net = self._sides.get((symbol, "LONG"), Decimal(0)) - self._sides.get((symbol, "SHORT"), Decimal(0))
            news.append(AccountNews("position", symbol, net, ts_ns))
        wallets = contents.contract_wallets or contents.wallets or ()
        news += [AccountNews("balance", w.token or w.asset, decimal(w.balance), ts_ns) for w in wallets]
        forced = [o for o in contents.orders or () if o.is_liquidate and not snapshot]
        news += [AccountNews("liquidation", o.symbol, Decimal(0), ts_ns, o.status) for o in forced]

    def _positions(
        self, positions: Sequence[wire.Position], ts_ns: int, news: list[AccountNews], *, snapshot: bool
    ) -> dict[str, None]:
        changed: dict[str, None] = {}
        for p in positions:
            if p.side not in ("LONG", "SHORT"):
                raise ValueError(f"a position of side {p.side[:20]!r}")
            key = (p.symbol, p.side)
            size = abs(decimal(p.size))
            if self._sides.get(key) != size:
                self._sides[key] = size
                changed[p.symbol] = None
            stated = p.funding_fee or p.net_funding
            if stated:
                paid = decimal(stated)
                before = self._paid.get(key)
                self._paid[key] = paid
                if before is not None and paid not in (before, 0) and not snapshot:  # 0: a new position
                    news.append(AccountNews("funding", p.symbol, paid - before, ts_ns))
        return changed

    # --- answers to our own requests ---------------------------------------------------------------------------------
    def reply(self, reply: Reply, ts_recv_ns: int) -> Decoded:
        """The answer to place, reduce or cancel."""
        if reply.raymaker == "unknown":
            return Decoded(unknown=[reply.cid], error=f"{reply.op} {reply.cid}: outcome unknown: {reply.text}"[:300])
        if reply.raymaker == "ok":
            return self._taken(reply, ts_recv_ns)
        i = self._index.get(reply.symbol, 0)
        kind = CANCEL_REJECT if reply.op == "cancel" else REJECT
        row = (ts_recv_ns, ts_recv_ns, self._own_id(reply.cid), 0, 0, i, reply.side, kind, 0)
        return _decoded([(row, ExecDetail(reply.cid, reason=reply.text or reply.code))], [], "")

    def _taken(self, reply: Reply, ts_recv_ns: int) -> Decoded:
        """The order in the answer is one push more: it may come before or after the others."""
        if reply.op == "cancel" or not isinstance(reply.body, dict):
            return Decoded()
        order = msgspec.convert(reply.body, wire.Order)
        if not order.cid:
            order.client_id = reply.cid
        self._name(order)
        reports = self._opening(order, ts_recv_ns)
        for fill in self._held.pop(order.id, ()):
            reports += self._fill(fill, ts_recv_ns)
        return _decoded(reports, [], "")

    # --- memory ------------------------------------------------------------------------------------------------------
    def _order(self, oid: str) -> _Known:
        known = self._orders.get(oid)
        if known is None:
            known = self._orders[oid] = _Known()
            _trim(self._orders)
        return known

    def _name(self, order: wire.Order) -> None:
        """An order without an id of ours (a liquidation) gets one that is nobody's."""
        self._order(order.id).cid = order.cid or f"apex:{order.id}"

    def _find(self, symbol: str) -> tuple[int, Units]:
        try:
            i = self._index[symbol]
        except KeyError:
            raise ValueError(f"unknown symbol {symbol[:40]!r}") from None
        return i, self._units[i]


def _side(name: str) -> int:
    try:
        return wire.SIDE_SIGN[name]
    except KeyError:
        raise ValueError(f"side {name[:20]!r}") from None


def _trim(table: dict[str, Any]) -> None:
    """Forget the oldest."""
    if len(table) > _KEPT:
        del table[next(iter(table))]


def _decoded(reports: list[Report], news: list[AccountNews], error: str) -> Decoded:
    if not reports:
        return Decoded(news=news, error=error)
    rows, details = zip(*reports, strict=True)
    return Decoded(execs=np.array(list(rows), EXEC), exec_detail=list(details), news=news, error=error)
