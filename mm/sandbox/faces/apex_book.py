"""The best levels of a book as ApeX publishes them: a window of so many a side, with numbers of its own."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable
from decimal import Decimal

from mm.venues.native.wire import Level


class Window:
    """The best ``depth`` levels of both sides. ``u`` goes up by one with every change that can be seen in it."""

    def __init__(self, depth: int, bids: Iterable[Level], asks: Iterable[Level]) -> None:
        self.u = 1
        self._sides = (_Side(depth, -1), _Side(depth, 1))
        self.change(bids, asks)
        self.u = 1

    def change(self, bids: Iterable[Level], asks: Iterable[Level]) -> tuple[list[Level], list[Level]] | None:
        """Take new levels (size "0" removes); returns what changed in the window, None when nothing did."""
        changed_bids, changed_asks = self._sides[0].change(bids), self._sides[1].change(asks)
        if not changed_bids and not changed_asks:
            return None
        self.u += 1
        return changed_bids, changed_asks

    def levels(self) -> tuple[list[Level], list[Level]]:
        """What the window shows: bids and asks, each from the lowest price up."""
        return self._sides[0].shown()[::-1], self._sides[1].shown()


class _Side:
    """One side, best first by ``sign * price``."""

    def __init__(self, depth: int, sign: int) -> None:
        self._depth = depth
        self._sign = sign
        self._keys: list[Decimal] = []  # ordered
        self._level: dict[Decimal, Level] = {}
        self._window: dict[str, str] = {}  # what readers know

    def shown(self) -> list[Level]:
        return [self._level[key] for key in self._keys[: self._depth]]

    def change(self, levels: Iterable[Level]) -> list[Level]:
        """What changes in the window, removals first where levels fell out of it."""
        whole = len(self._keys) <= self._depth
        said = list(levels)
        for level in said:
            self._set(level)
        if whole and len(self._keys) <= self._depth:
            for price, size in said:
                self._window[price] = size
                if Decimal(size) == 0:
                    del self._window[price]
            return said
        before, self._window = self._window, dict(self.shown())
        gone = [(price, "0") for price in before if price not in self._window]
        return gone + [(price, size) for price, size in self._window.items() if before.get(price) != size]

    def _set(self, level: Level) -> None:
        key = Decimal(level[0]) * self._sign
        known = key in self._level
        if Decimal(level[1]) == 0:
            if known:
                del self._level[key]
                del self._keys[bisect_left(self._keys, key)]
            return
        if not known:
            insort(self._keys, key)
        self._level[key] = level
