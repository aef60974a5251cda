"""One rate budget per account, shared by every process that uses it, kept below the venue's by a margin.

Each rule is a ring of the times of its last requests in a small memory-mapped file under a file lock: a request may go
when the one ``count`` before it is older than the window. So no window, wherever it starts, sees more than the rule
allows, whoever sends. A fifth of every rule that cancels share is theirs alone; a halt (``note``) never waits.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import mmap
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from actors.home import home, make_writable
from mm.venues.spec import RateRule

MARGIN: Final = 0.05  # of every rule is left unused: clocks and networks are not exact
CANCEL_SHARE: Final = 0.2
_SLACK_NS: Final = 1_000_000


class SharedBudget:
    """``mm.venues.ccxt_calls.Budget`` over a file. Kinds: place, amend, cancel, cancel_all, query."""

    def __init__(self, path: Path, rules: Sequence[RateRule], now_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self.waited_s = 0.0
        self._rules = list(rules)
        self._sizes = [max(1, int(r.count * (1 - MARGIN))) for r in self._rules]
        self._now_ns = now_ns
        self._lock = threading.Lock()
        make_writable(path.parent)
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        length = 8 * sum(1 + n for n in self._sizes)
        with self._locked():
            if os.fstat(self._fd).st_size != length:  # new, or of other rules
                os.ftruncate(self._fd, 0)
                os.ftruncate(self._fd, length)
        self._memory = mmap.mmap(self._fd, length) if length else None
        self._rings: list[Any] = []
        at = 0
        for n in self._sizes:
            self._rings.append(np.frombuffer(self._memory, np.int64, 1 + n, at))  # type: ignore[arg-type]
            at += 8 * (1 + n)

    async def take(self, kind: str) -> None:
        """Wait until one request of that kind may be sent, and count it."""
        while (wait_ns := self.try_take(kind)) > 0:
            self.waited_s += wait_ns * 1e-9
            await asyncio.sleep(wait_ns * 1e-9)

    def try_take(self, kind: str) -> int:
        """Count a request if it may go now (0), else say in how many nanoseconds to ask again."""
        with self._locked():
            now_ns = self._now_ns()
            wait_ns = 0
            for rule, ring in zip(self._rules, self._rings, strict=True):
                weight = rule.weight(kind)
                if weight:
                    wait_ns = max(wait_ns, self._wait(rule, ring, kind, weight, now_ns))
            if not wait_ns:
                self._count(kind, now_ns)
            return wait_ns

    def note(self, kind: str) -> None:
        """Count a request that goes in any case."""
        with self._locked():
            self._count(kind, self._now_ns())

    def close(self) -> None:
        """Let go of the file."""
        self._rings = []
        if self._memory is not None:
            self._memory.close()
        os.close(self._fd)

    @staticmethod
    def _wait(rule: RateRule, ring: Any, kind: str, weight: int, now_ns: int) -> int:
        """How long until ``weight`` of the ring's oldest slots (past the share of cancels) are out of the window."""
        n = len(ring) - 1
        kept = 0 if kind.startswith("cancel") or not rule.weight("cancel") else int(n * CANCEL_SHARE)
        slot = 1 + (int(ring[0]) + min(kept + weight, n) - 1) % n
        used_ns = int(ring[slot])
        if not used_ns or used_ns > now_ns:  # never used, or from before a reboot
            return 0
        window_s = rule.window_s * (1 + MARGIN if n == rule.count else 1)  # of one request nothing can be left unused
        return max(0, used_ns + round(window_s * 1e9) + _SLACK_NS - now_ns)

    def _count(self, kind: str, now_ns: int) -> None:
        for rule, ring in zip(self._rules, self._rings, strict=True):
            n = len(ring) - 1
            for _ in range(min(rule.weight(kind), n)):
                ring[1 + int(ring[0])] = now_ns
                ring[0] = (int(ring[0]) + 1) % n

    def _locked(self) -> _Locked:
        return _Locked(self._lock, self._fd)


class _Locked:
    """Of this process's threads and of all processes."""

    def __init__(self, lock: threading.Lock, fd: int) -> None:
        self._lock, self._fd = lock, fd

    def __enter__(self) -> None:
        self._lock.acquire()
        fcntl.flock(self._fd, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        fcntl.flock(self._fd, fcntl.LOCK_UN)
        self._lock.release()


class ForClient:
    """The budget as a venue's client sees it: the executor takes for new and changed orders before it accepts them."""

    def __init__(self, shared: SharedBudget) -> None:
        self._shared = shared

    async def take(self, kind: str) -> None:
        """Wait until a cancel or a question may be sent."""
        if kind not in ("place", "amend"):
            await self._shared.take(kind)

    def note(self, kind: str) -> None:
        """Count one that goes in any case."""
        self._shared.note(kind)


def account_budget(kind: str, network: str, keys: Mapping[str, str], rules: Sequence[RateRule]) -> SharedBudget:
    """The budget of an account (``keys`` empty: of this machine's public requests), by a name that shows no key."""
    account = hashlib.sha256(repr(sorted(keys.items())).encode()).hexdigest()[:16] if keys else "public"
    return SharedBudget(home() / "rates" / f"{kind.replace(':', '-')}-{network}-{account}", rules)
