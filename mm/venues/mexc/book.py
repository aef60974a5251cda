"""Versions of one MEXC order book: when a push may be applied, and how a REST snapshot joins the pushes.

The rule of the venue ("How to properly maintain a local copy of the order book"): pushes carry the range of versions
``[first, last]`` they cover and are kept while no book is known; a snapshot of version v drops those with
``last <= v``, the first of the rest must begin at v + 1 or before, and from then on every push must begin right after
the one before it. Quantities are absolute, so a push that overlaps what is known is harmless. Pure.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import Final, NamedTuple

KEPT_PUSHES: Final = 2_000  # per book, for the next snapshot: twenty seconds at the stream's fastest rate


class Push(NamedTuple):
    """One push of the depth stream: decimal strings as they came."""

    first: int
    last: int
    ts_ns: int
    bids: list[tuple[str, str]]  # price, quantity; quantity 0 removes the level
    asks: list[tuple[str, str]]


class Verdict(Enum):
    """What to do with a push."""

    APPLY = "apply"
    IGNORE = "ignore"  # known already, or kept until a snapshot comes
    GAP = "gap"  # something is missing: a snapshot is needed


class BookVersions:
    """The version a book stands at; None while it is unknown."""

    __slots__ = ("_recent", "version")

    def __init__(self) -> None:
        self.version: int | None = None
        self._recent: deque[Push] = deque(maxlen=KEPT_PUSHES)

    def reset(self) -> None:
        """A new connection: nothing is known."""
        self.version = None
        self._recent.clear()

    def lost(self) -> None:
        """The book became unknown; the pushes stay good for the next snapshot."""
        self.version = None

    def push(self, push: Push) -> Verdict:
        """Take one push of the stream."""
        self._recent.append(push)
        if self.version is None or push.last <= self.version:
            return Verdict.IGNORE
        if push.first > self.version + 1:
            self.version = None
            return Verdict.GAP
        self.version = push.last
        return Verdict.APPLY

    def snapshot(self, version: int) -> list[Push] | None:
        """Pushes to apply on top of a snapshot, in order; None when it is too old to join them."""
        later = sorted((p for p in self._recent if p.last > version), key=lambda p: p.first)
        for push in later:
            if push.first > version + 1:
                self.version = None
                return None
            version = max(version, push.last)
        self.version = version
        return later
