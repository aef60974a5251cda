"""The best 50 levels of one symbol as the venue pushes them: gathered over 20 ms, numbered by ``u``."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable
from typing import Any, Final

from mm.venues.native import wire

LEVELS: Final = 50
_FIRST_U: Final = 1_000  # 1 would say that the service was restarted


class Half:
    """One side: every level, and the window that was shown last."""

    def __init__(self, side: int, units: wire.Units) -> None:
        self._side = side
        self._units = units
        self._keys: list[int] = []  # side * ticks, worst first
        self._size: dict[int, str] = {}  # by ticks
        self._shown: dict[int, str] = {}

    def apply(self, levels: Iterable[wire.Level]) -> None:
        """Levels that changed."""
        for price, size in levels:
            ticks = self._units.ticks(price)
            key = self._side * ticks
            if self._units.lots(size):
                if ticks not in self._size:
                    insort(self._keys, key)
                self._size[ticks] = size
            elif ticks in self._size:
                del self._size[ticks]
                del self._keys[bisect_left(self._keys, key)]

    def changes(self) -> list[wire.Level]:
        """What differs from the window shown last, which this call replaces."""
        now = {(ticks := self._side * key): self._size[ticks] for key in self._keys[-LEVELS:]}
        shown, self._shown = self._shown, now
        gone = [(self._units.price(ticks), "0") for ticks in shown if ticks not in now]
        return gone + [(self._units.price(t), size) for t, size in now.items() if shown.get(t) != size]

    def window(self) -> list[wire.Level]:
        """The window shown last, best first."""
        ticks = sorted(self._shown, key=lambda t: -self._side * t)
        return [(self._units.price(t), self._shown[t]) for t in ticks]

    def best(self) -> tuple[str, str]:
        """Price and size of the best level, "" for an empty side."""
        if not self._keys:
            return "", ""
        ticks = self._side * self._keys[-1]
        return self._units.price(ticks), self._size[ticks]


class Window:
    """Both sides of a symbol."""

    def __init__(self, symbol: str, units: wire.Units) -> None:
        self.topic = f"orderbook.{LEVELS}.{symbol}"
        self.bids, self.asks = Half(1, units), Half(-1, units)
        self.u = _FIRST_U
        self.due = False  # a push is on its way
        self._symbol = symbol

    def apply(self, message: wire.Depth) -> None:
        """A change of the book, not shown yet."""
        self.bids.apply(message.bids)
        self.asks.apply(message.asks)

    def delta(self, now_ms: int) -> dict[str, Any] | None:
        """The next push, None when nothing in the window moved."""
        bids, asks = self.bids.changes(), self.asks.changes()
        if not bids and not asks:
            return None
        self.u += 1
        return self._message("delta", bids, asks, now_ms)

    def snapshot(self, now_ms: int) -> dict[str, Any]:
        """What was shown last; deltas go on from its ``u``."""
        return self._message("snapshot", self.bids.window(), self.asks.window(), now_ms)

    def _message(self, kind: str, bids: list[wire.Level], asks: list[wire.Level], now_ms: int) -> dict[str, Any]:
        data = {"s": self._symbol, "b": bids, "a": asks, "u": self.u, "seq": self.u * 7}
        return {"topic": self.topic, "type": kind, "ts": now_ms, "data": data, "cts": now_ms}
