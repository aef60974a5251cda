"""Price-time matching of one instrument, in integer ticks and lots: the one engine of the project.

Best price first, then arrival order; a trade happens at the maker's price. Every method returns the list of reports it
caused, in order: ``["accepted", id]``, ``["rejected", id, reason]``, ``["trade", maker_id, taker_id, px, qty]``,
``["canceled", id, remaining, reason]`` (user, ioc, fok, market, stp), ``["rested", id, qty]``, ``["reduced", id, qty]``
(a modify in place) and ``["replaced", id]`` (a modify that lost its priority; trades and rested follow).

A price level is a doubly linked list of orders, a side is a dict of levels plus its sorted keys. A key is ``px`` for
bids and ``-px`` for asks, so that on both sides the best level has the largest key and both sides share their code.

The *background* is liquidity without an account: absolute quantities per level, driven by a recorded or synthetic flow.
Its orders have no id of their own; trades name them ``BACKGROUND``.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import Any, Final, Literal

Report = list[Any]
Reports = list[Report]
Stp = Literal["cancel_newest", "cancel_oldest", "cancel_both"]
Tif = Literal["GTC", "IOC", "FOK"]

BACKGROUND: Final = 0  # the id of background orders in trade reports

_NO_LIMIT: Final = -(1 << 62)  # below every key
_SIDE: Final = {"B": 1, "S": -1}


class Order:
    """One resting order, a node of its level's queue. ``acct`` is None for background liquidity."""

    __slots__ = ("acct", "id", "next", "post_only", "prev", "px", "qty", "side")

    def __init__(self, oid: int, acct: str | None, side: int, px: int, qty: int, post_only: bool) -> None:
        self.id = oid
        self.acct = acct
        self.side = side
        self.px = px
        self.qty = qty
        self.post_only = post_only
        self.prev: Order | None = None
        self.next: Order | None = None


class _Level:
    """The queue at one price; ``qty`` is its total, ``background`` the part without an account."""

    __slots__ = ("background", "head", "px", "qty", "tail")

    def __init__(self, px: int) -> None:
        self.px = px
        self.qty = 0
        self.background = 0
        self.head: Order | None = None
        self.tail: Order | None = None

    def append(self, order: Order) -> None:
        tail = self.tail
        order.prev = tail
        order.next = None
        if tail is None:
            self.head = order
        else:
            tail.next = order
        self.tail = order
        self.qty += order.qty

    def unlink(self, order: Order) -> None:
        """Take an order out of the queue, with whatever quantity it still has."""
        before, after = order.prev, order.next
        if before is None:
            self.head = after
        else:
            before.next = after
        if after is None:
            self.tail = before
        else:
            after.prev = before
        self.qty -= order.qty


class _Side:
    """The levels of one side. ``touched`` collects the prices that changed since somebody emptied it."""

    __slots__ = ("keys", "levels", "sign", "touched")

    def __init__(self, sign: int) -> None:
        self.sign = sign
        self.keys: list[int] = []
        self.levels: dict[int, _Level] = {}
        self.touched: set[int] = set()

    def level(self, px: int) -> _Level:
        """The level at a price, created when absent."""
        key = self.sign * px
        level = self.levels.get(key)
        if level is None:
            level = self.levels[key] = _Level(px)
            insort(self.keys, key)
        return level

    def drop(self, px: int) -> None:
        """Forget an empty level."""
        key = self.sign * px
        del self.levels[key]
        keys = self.keys
        if keys[-1] == key:
            keys.pop()
        else:
            del keys[bisect_left(keys, key)]

    def best(self) -> int | None:
        return self.sign * self.keys[-1] if self.keys else None

    def queues(self) -> list[list[Any]]:
        """``[px, [[id, remaining], ...]]`` per level, best first."""
        out = []
        for key in reversed(self.keys):
            queue = []
            order = self.levels[key].head
            while order is not None:
                queue.append([order.id, order.qty])
                order = order.next
            out.append([self.sign * key, queue])
        return out


class MatchingEngine:
    """One book with FIFO matching and self-trade prevention.

    ``remember_ids``: reject every id that was ever accepted or post-only-rejected. Callers that issue their own ids
    switch it off, so that memory stays bounded; ids of open orders are rejected in any case.
    """

    __slots__ = ("_asks", "_bids", "_used", "orders", "stp")

    def __init__(self, stp: Stp = "cancel_newest", *, remember_ids: bool = True) -> None:
        if stp not in ("cancel_newest", "cancel_oldest", "cancel_both"):
            raise ValueError(f"stp must be cancel_newest, cancel_oldest or cancel_both, got {stp!r}")
        self.stp: Stp = stp
        self.orders: dict[int, Order] = {}
        self._used: set[int] | None = set() if remember_ids else None
        self._bids = _Side(1)
        self._asks = _Side(-1)

    # --- what the book looks like ------------------------------------------------------------------------------------
    @property
    def best_bid(self) -> int | None:
        """Best bid in ticks, None when there is none."""
        return self._bids.best()

    @property
    def best_ask(self) -> int | None:
        """Best ask in ticks, None when there is none."""
        return self._asks.best()

    def level_qty(self, side: int, px: int) -> int:
        """Total quantity at a price, background and accounts together."""
        level = self._side(side).levels.get(side * px)
        return 0 if level is None else level.qty

    def depth(self, side: int) -> list[tuple[int, int]]:
        """(px, qty) of every level of a side, best first."""
        book = self._side(side)
        return [(side * key, book.levels[key].qty) for key in reversed(book.keys)]

    def take_touched(self, side: int) -> set[int]:
        """Prices of a side whose quantity may have changed since the last call."""
        book = self._side(side)
        touched, book.touched = book.touched, set()
        return touched

    def final_book(self) -> dict[str, list[list[Any]]]:
        """Every queue, in the shape of the golden kind ``lob_script``."""
        return {"bids": self._bids.queues(), "asks": self._asks.queues()}

    # --- orders ------------------------------------------------------------------------------------------------------
    def handle(self, event: dict[str, Any]) -> Reports:
        """One scripted operation (golden kind ``lob_script``): new, cancel or modify."""
        op = event["op"]
        if op == "new":
            return self.new(
                event["id"],
                event["acct"],
                _SIDE[event["side"]],
                None if event["type"] == "market" else event["px"],
                event["qty"],
                tif=event["tif"],
                post_only=event["post_only"],
            )
        if op == "cancel":
            return self.cancel(event["id"])
        if op == "modify":
            return self.modify(event["id"], event["px"], event["qty"])
        raise ValueError(f"unknown op {op!r}")

    def new(
        self,
        oid: int,
        acct: str,
        side: int,
        px: int | None,
        qty: int,
        *,
        tif: Tif = "GTC",
        post_only: bool = False,
    ) -> Reports:
        """A new order; ``px`` None is a market order (an IOC without a limit, whatever its ``tif``)."""
        if oid in self.orders or (self._used is not None and oid in self._used):
            return [["rejected", oid, "dup_id"]]
        if qty <= 0:
            return [["rejected", oid, "bad_qty"]]
        if px is not None and px <= 0:
            return [["rejected", oid, "bad_px"]]
        if self._used is not None:
            self._used.add(oid)
        if post_only and px is not None and self.would_cross(side, px):
            return [["rejected", oid, "post_only_would_cross"]]
        out: Reports = [["accepted", oid]]
        if px is None:
            self._execute(oid, acct, side, None, qty, out, "market")
        elif tif == "GTC":
            self._rest(oid, acct, side, px, qty, post_only, out)
        elif tif == "FOK" and not self._can_fill(acct, side, px, qty):
            out.append(["canceled", oid, qty, "fok"])
        else:
            self._execute(oid, acct, side, px, qty, out, "ioc")
        return out

    def cancel(self, oid: int) -> Reports:
        """Cancel an open order."""
        order = self.orders.get(oid)
        if order is None:
            return [["rejected", oid, "unknown_id"]]
        self._remove(order)
        return [["canceled", oid, order.qty, "user"]]

    def modify(self, oid: int, px: int, qty: int) -> Reports:
        """New price and new open quantity; only a smaller quantity at the same price keeps its place."""
        order = self.orders.get(oid)
        if order is None:
            return [["rejected", oid, "unknown_id"]]
        if qty <= 0:
            return [["rejected", oid, "bad_qty"]]
        if px <= 0:
            return [["rejected", oid, "bad_px"]]
        if px == order.px and qty <= order.qty:
            book = self._side(order.side)
            book.levels[book.sign * px].qty -= order.qty - qty
            book.touched.add(px)
            order.qty = qty
            return [["reduced", oid, qty]]
        if order.post_only and self.would_cross(order.side, px):
            return [["rejected", oid, "post_only_would_cross"]]
        self._remove(order)
        out: Reports = [["replaced", oid]]
        self._rest(oid, order.acct, order.side, px, qty, order.post_only, out)
        return out

    def would_cross(self, side: int, px: int) -> bool:
        """True when a limit order would trade at once."""
        keys = self._side(-side).keys
        return bool(keys) and keys[-1] >= -side * px

    # --- background --------------------------------------------------------------------------------------------------
    def set_background_level(self, side: int, px: int, qty: int) -> Reports:
        """The background's quantity at a level becomes ``qty``.

        An increase joins the back of the queue. A decrease leaves from the back of the background's part of the queue:
        real cancellations are spread over it, so an order of ours waits longer here than it would there. A level at or
        through the other side is the newer truth: the background of the other side gives way, and orders of accounts
        there are filled (as makers) before the rest of the quantity rests.
        """
        book, other = (self._bids, self._asks) if side > 0 else (self._asks, self._bids)
        level = book.levels.get(side * px)
        out: Reports = []
        more = qty if level is None else qty - level.background
        if more > 0:
            keys = other.keys
            if keys and keys[-1] >= -side * px:
                self.clear_background(-side, px)
                more = self._match(BACKGROUND, None, side, px, more, out)[0]
            if more:
                self._add_background(book, book.level(px) if level is None else level, more)
        elif level is not None and more < 0:
            self._trim_background(book, level, -more)
        return out

    def clear_background(self, side: int, px: int) -> None:
        """Every background bid at or above ``px`` (ask at or below it) is void."""
        book = self._side(side)
        bound = side * px
        for key in book.keys[bisect_left(book.keys, bound) :]:
            level = book.levels[key]
            if level.background:
                self._trim_background(book, level, level.background)

    def take_background(self, side: int, px: int, qty: int) -> Reports:
        """The background takes: an immediate-or-cancel limit order against everybody, its own resting part included."""
        out: Reports = []
        self._match(BACKGROUND, None, side, px, qty, out)
        return out

    def _add_background(self, book: _Side, level: _Level, qty: int) -> None:
        level.background += qty
        tail = level.tail
        if tail is not None and tail.acct is None:  # neighbours without an account are one node
            tail.qty += qty
            level.qty += qty
        else:
            level.append(Order(BACKGROUND, None, book.sign, level.px, qty, post_only=False))
        book.touched.add(level.px)

    def _trim_background(self, book: _Side, level: _Level, qty: int) -> None:
        level.background -= qty
        order = level.tail
        while qty and order is not None:
            before = order.prev
            if order.acct is None:
                if order.qty > qty:
                    order.qty -= qty
                    level.qty -= qty
                    break
                qty -= order.qty
                level.unlink(order)
            order = before
        book.touched.add(level.px)
        if level.head is None:
            book.drop(level.px)

    # --- inside ------------------------------------------------------------------------------------------------------
    def _side(self, side: int) -> _Side:
        return self._bids if side > 0 else self._asks

    def _remove(self, order: Order) -> None:
        book = self._side(order.side)
        level = book.levels[book.sign * order.px]
        level.unlink(order)
        del self.orders[order.id]
        book.touched.add(order.px)
        if level.head is None:
            book.drop(order.px)

    def _rest(self, oid: int, acct: str | None, side: int, px: int, qty: int, post_only: bool, out: Reports) -> None:
        """Trade what crosses, then rest."""
        left, stopped = self._match(oid, acct, side, px, qty, out)
        if stopped:
            out.append(["canceled", oid, left, "stp"])
        elif left:
            book = self._side(side)
            order = self.orders[oid] = Order(oid, acct, side, px, left, post_only)
            book.level(px).append(order)
            book.touched.add(px)
            out.append(["rested", oid, left])

    def _execute(self, oid: int, acct: str, side: int, px: int | None, qty: int, out: Reports, reason: str) -> None:
        """Trade what crosses, cancel the rest."""
        left, stopped = self._match(oid, acct, side, px, qty, out)
        if left:
            out.append(["canceled", oid, left, "stp" if stopped else reason])

    def _can_fill(self, acct: str, side: int, px: int, qty: int) -> bool:
        """True when the whole quantity of a fill-or-kill order is reachable before self-trade prevention stops it."""
        book = self._side(-side)
        bound = book.sign * px
        for key in reversed(book.keys):
            if key < bound:
                return False
            order = book.levels[key].head
            while order is not None:
                if order.acct != acct:
                    qty -= order.qty
                    if qty <= 0:
                        return True
                elif self.stp != "cancel_oldest":
                    return False
                order = order.next
        return False

    def _match(self, oid: int, acct: str | None, side: int, px: int | None, qty: int, out: Reports) -> tuple[int, bool]:
        """Trade an incoming order against the other side: (quantity left, stopped by self-trade prevention)."""
        book = self._side(-side)
        keys = book.keys
        bound = _NO_LIMIT if px is None else book.sign * px
        while qty and keys and keys[-1] >= bound:
            level = book.levels[keys[-1]]
            book.touched.add(level.px)
            maker = level.head
            while qty and maker is not None:
                if maker.acct is None:
                    level.background -= min(qty, maker.qty)
                elif maker.acct == acct:
                    if self.stp != "cancel_newest":
                        out.append(["canceled", maker.id, maker.qty, "stp"])
                        level.unlink(maker)
                        del self.orders[maker.id]
                    if self.stp != "cancel_oldest":
                        if level.head is None:
                            book.drop(level.px)
                        return qty, True
                    maker = maker.next
                    continue
                if maker.qty > qty:
                    out.append(["trade", maker.id, oid, level.px, qty])
                    maker.qty -= qty
                    level.qty -= qty
                    return 0, False
                out.append(["trade", maker.id, oid, level.px, maker.qty])
                qty -= maker.qty
                level.unlink(maker)
                if maker.acct is not None:
                    del self.orders[maker.id]
                maker = maker.next
            if level.head is None:
                book.drop(level.px)
        return qty, False
