"""Time as a value that is passed in: the core never asks the machine what time it is."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """Nanoseconds since the epoch (UTC)."""

    def now_ns(self) -> int: ...


class ManualClock:
    """A clock that a test or a simulation moves by hand."""

    def __init__(self, now_ns: int = 0) -> None:
        self._now_ns = now_ns

    def now_ns(self) -> int:
        return self._now_ns

    def advance(self, delta_ns: int) -> None:
        if delta_ns < 0:
            raise ValueError(f"a clock does not go back: {delta_ns}")
        self._now_ns += delta_ns
