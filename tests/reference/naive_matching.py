"""The matching engine in one flat list of orders, searched from the start every time: slow and plainly right."""

from __future__ import annotations

from typing import Any

from mm.sim.matching import BACKGROUND, MatchingEngine, Reports

Op = tuple[Any, ...]


class Naive:
    """Orders as dicts in one list in arrival order; every question is a scan."""

    def __init__(self, stp: str) -> None:
        self.stp = stp
        self.book: list[dict[str, Any]] = []
        self.used: set[int] = set()

    def opposite(self, side: int, px: int | None) -> list[dict[str, Any]]:
        """Orders that an incoming order meets, best price first, then arrival order (the sort is stable)."""
        hit = [o for o in self.book if o["side"] == -side and (px is None or side * o["px"] <= side * px)]
        return sorted(hit, key=lambda o: side * o["px"])

    def find(self, oid: int) -> dict[str, Any] | None:
        return next((o for o in self.book if o["id"] == oid), None) if oid != BACKGROUND else None

    def match(self, oid: int, acct: str | None, side: int, px: int | None, qty: int, out: Reports) -> tuple[int, bool]:
        for maker in self.opposite(side, px):
            if qty == 0:
                break
            if acct is not None and maker["acct"] == acct:
                if self.stp in ("cancel_oldest", "cancel_both"):
                    out.append(["canceled", maker["id"], maker["qty"], "stp"])
                    self.book.remove(maker)
                if self.stp in ("cancel_newest", "cancel_both"):
                    return qty, True
                continue
            traded = min(qty, maker["qty"])
            out.append(["trade", maker["id"], oid, maker["px"], traded])
            qty -= traded
            maker["qty"] -= traded
            if maker["qty"] == 0:
                self.book = [o for o in self.book if o is not maker]
        return qty, False

    def enter(self, order: dict[str, Any], out: Reports) -> None:
        left, stopped = self.match(order["id"], order["acct"], order["side"], order["px"], order["qty"], out)
        if stopped:
            out.append(["canceled", order["id"], left, "stp"])
        elif left:
            out.append(["rested", order["id"], left])
            self.book.append({**order, "qty": left})

    def new(self, oid: int, acct: str, side: int, px: int | None, qty: int, tif: str, post_only: bool) -> Reports:
        if oid in self.used:
            return [["rejected", oid, "dup_id"]]
        if qty <= 0:
            return [["rejected", oid, "bad_qty"]]
        if px is not None and px <= 0:
            return [["rejected", oid, "bad_px"]]
        self.used.add(oid)
        if post_only and px is not None and self.opposite(side, px):
            return [["rejected", oid, "post_only_would_cross"]]
        out: Reports = [["accepted", oid]]
        if px is not None and tif == "GTC":
            self.enter({"id": oid, "acct": acct, "side": side, "px": px, "qty": qty, "post_only": post_only}, out)
            return out
        if px is not None and tif == "FOK":
            reach = 0
            for maker in self.opposite(side, px):
                if maker["acct"] == acct:
                    if self.stp == "cancel_oldest":
                        continue
                    break
                reach += maker["qty"]
            if reach < qty:
                return [*out, ["canceled", oid, qty, "fok"]]
        left, stopped = self.match(oid, acct, side, px, qty, out)
        if left:
            out.append(["canceled", oid, left, "stp" if stopped else "market" if px is None else "ioc"])
        return out

    def cancel(self, oid: int) -> Reports:
        order = self.find(oid)
        if order is None:
            return [["rejected", oid, "unknown_id"]]
        self.book.remove(order)
        return [["canceled", oid, order["qty"], "user"]]

    def modify(self, oid: int, px: int, qty: int) -> Reports:
        order = self.find(oid)
        if order is None:
            return [["rejected", oid, "unknown_id"]]
        if qty <= 0 or px <= 0:
            return [["rejected", oid, "bad_qty" if qty <= 0 else "bad_px"]]
        if px == order["px"] and qty <= order["qty"]:
            order["qty"] = qty
            return [["reduced", oid, qty]]
        if order["post_only"] and self.opposite(order["side"], px):
            return [["rejected", oid, "post_only_would_cross"]]
        self.book.remove(order)
        out: Reports = [["replaced", oid]]
        self.enter({**order, "px": px, "qty": qty}, out)
        return out

    def set_background_level(self, side: int, px: int, qty: int) -> Reports:
        out: Reports = []
        mine = [o for o in self.book if o["acct"] is None and o["side"] == side and o["px"] == px]
        more = qty - sum(o["qty"] for o in mine)
        for order in reversed(mine):
            taken = min(order["qty"], max(0, -more))
            order["qty"] -= taken
            more += taken
        self.book = [o for o in self.book if o["qty"]]
        if more > 0:
            self.clear_background(-side, px)
            more = self.match(BACKGROUND, None, side, px, more, out)[0]
        if more > 0:
            self.book.append({"id": BACKGROUND, "acct": None, "side": side, "px": px, "qty": more, "post_only": False})
        return out

    def clear_background(self, side: int, px: int) -> None:
        self.book = [
            o for o in self.book if not (o["acct"] is None and o["side"] == side and side * o["px"] >= side * px)
        ]

    def take_background(self, side: int, px: int, qty: int) -> Reports:
        out: Reports = []
        self.match(BACKGROUND, None, side, px, qty, out)
        return out

    def final_book(self) -> dict[str, list[list[Any]]]:
        out: dict[str, list[list[Any]]] = {}
        for name, side in (("bids", 1), ("asks", -1)):
            prices = sorted({o["px"] for o in self.book if o["side"] == side}, key=lambda px: -side * px)
            out[name] = [
                [px, [[o["id"], o["qty"]] for o in self.book if o["side"] == side and o["px"] == px]] for px in prices
            ]
        return out


def merged(book: dict[str, list[list[Any]]]) -> dict[str, list[list[Any]]]:
    """Neighbouring background entries of a queue as one."""
    for levels in book.values():
        for level in levels:
            queue: list[list[int]] = []
            for oid, qty in level[1]:
                if oid == BACKGROUND and queue and queue[-1][0] == BACKGROUND:
                    queue[-1][1] += qty
                else:
                    queue.append([oid, qty])
            level[1] = queue
    return book


def joined(reports: Reports) -> Reports:
    """Neighbouring trades with the background at one price as one."""
    out: Reports = []
    for report in reports:
        if report[0] == "trade" and report[1] == BACKGROUND and out and out[-1][:4] == report[:4]:
            out[-1][4] += report[4]
        else:
            out.append(list(report))
    return out


def play(engine: MatchingEngine | Naive, op: Op) -> Reports:
    name, *args = op
    if name == "new":
        *head, tif, post_only = args
        if isinstance(engine, Naive):
            return engine.new(*head, tif, post_only)
        return engine.new(*head, tif=tif, post_only=post_only)
    if name == "cancel":
        return engine.cancel(*args)
    if name == "modify":
        return engine.modify(*args)
    if name == "level":
        return engine.set_background_level(*args)
    if name == "take":
        return engine.take_background(*args)
    engine.clear_background(*args)
    return []


def check_links(engine: MatchingEngine) -> None:
    """Totals, background totals and the index of open orders agree with the queues; the book is not crossed."""
    open_ids = set()
    for book in (engine._bids, engine._asks):
        assert book.keys == sorted(book.levels)
        for level in book.levels.values():
            order, total, background, last = level.head, 0, 0, None
            assert order is not None
            while order is not None:
                assert order.qty > 0
                assert order.prev is last
                total += order.qty
                if order.acct is None:
                    background += order.qty
                else:
                    open_ids.add(order.id)
                order, last = order.next, order
            assert level.tail is last
            assert (level.qty, level.background) == (total, background)
    assert open_ids == set(engine.orders)
    bid, ask = engine.best_bid, engine.best_ask
    assert bid is None or ask is None or bid < ask
