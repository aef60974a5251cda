"""The best levels of a book as ApeX publishes them: a window of so many a side, with numbers of its own."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

from mm.venues.native.wire import Level, Units


class Window:
    """The best ``depth`` levels of both sides. ``u`` goes up by one with every change that can be seen in it."""

    def __init__(self, units: Units, depth: int, bids: Iterable[Level], asks: Iterable[Level]) -> None:
        self.u = 1
        self._sides = (_Side(units, depth, -1), _Side(units, depth, 1))
        self.change(bids, asks)
        self.u = 1

    def change(self, bids: Iterable[Level], asks: Iterable[Level]) -> tuple[list[Level], list[Level]] | None:
        """Take new levels (size 0 removes); returns what changed in the window, None when nothing did."""
        changed_bids, changed_asks = self._sides[0].change(bids), self._sides[1].change(asks)
        if not changed_bids and not changed_asks:
            return None
        self.u += 1
        return changed_bids, changed_asks

    def levels(self) -> tuple[list[Level], list[Level]]:
        """What the window shows: bids and asks, each from the lowest price up."""
        return self._sides[0].shown()[::-1], self._sides[1].shown()


class _Side:
    """One side, best first by ``sign * ticks``."""

    def __init__(self, units: Units, depth: int, sign: int) -> None:
        self._units = units
        self._depth = depth
        self._sign = sign
        self._keys: list[int] = []  # ordered
        self._level: dict[int, Level] = {}

    def shown(self) -> list[Level]:
        return [self._level[key] for key in self._keys[: self._depth]]

    def change(self, levels: Iterable[Level]) -> list[Level]:
        """What readers of the window must be told: a level that leaves it makes room, one that comes takes it."""
        told: dict[str, str] = {}
        keys, known, depth = self._keys, self._level, self._depth
        for level in levels:
            price, size = level
            key = self._units.ticks(price) * self._sign
            at = bisect_left(keys, key)
            if not self._units.lots(size):
                if known.pop(key, None) is None:
                    continue
                del keys[at]
                if at < depth:
                    told[price] = "0"
                    if len(keys) >= depth:
                        told.update([known[keys[depth - 1]]])
                continue
            if key not in known:
                keys.insert(at, key)
                if at < depth < len(keys):
                    told[known[keys[depth]][0]] = "0"
            known[key] = level
            if at < depth:
                told[price] = size
        return list(told.items())
