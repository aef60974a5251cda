"""Delays of messages: constant, lognormal, or a measured series; one connection never reorders its messages.

A random delay is a hash of (seed, connection, number of the message), not a draw from a shared stream: it does not
depend on who else is simulated, in which order, or in how many threads.
"""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mm.config.schema import LognormalLatency, MeasuredLatency
from mm.core.jit import hot_kernel
from mm.core.types import Rec, RecArray
from mm.errors import DataError
from mm.sim.tape import Tape

CONSTANT: Final = 0
LOGNORMAL: Final = 1
MEASURED: Final = 2

ORDERS: Final = 1  # connections, so that each draws its own delays
RESPONSES: Final = 2
FEED: Final = 3

_KEEPING = Lock()  # passes of several feeds share a tape

CONNECTION = np.dtype(
    [
        ("model", "i8"),
        ("base_ns", "i8"),  # constant delay, or the median
        ("sigma", "f8"),  # of the logarithm
        ("key", "i8"),  # of the random numbers, 32 bits
        ("first", "i8"),  # rows of the measured series
        ("rows", "i8"),
        ("start_ns", "i8"),  # a repeated series: time of the tape at its first row
        ("repeat_ns", "i8"),  # and its length, 0: not repeated
        ("number", "i8"),  # messages so far
        ("last_ns", "i8"),  # latest arrival
    ]
)
"""One direction of one strategy's connection."""


@hot_kernel
def _times(x: int, factor: int) -> int:
    """Product of two 32-bit numbers modulo 2^32, in halves: nothing overflows 64 bits, compiled or not."""
    return ((x & 0xFFFF) * factor + (((x >> 16) * factor & 0xFFFF) << 16)) & 0xFFFFFFFF


@hot_kernel
def mix(x: int) -> int:
    """A 32-bit hash of 32 bits (Ellis, "lowbias32", 2018)."""
    x = _times(x ^ (x >> 16), 0x7FEB352D)
    x = _times(x ^ (x >> 15), 0x846CA68B)
    return x ^ (x >> 16)


def random_key(seed: int, connection: int) -> int:
    """What tells one connection's delays from another's."""
    return int(mix((mix(seed & 0xFFFFFFFF) + connection) & 0xFFFFFFFF))


@hot_kernel
def lognormal_ns(median_ns: int, sigma: float, key: int, number: int) -> int:
    """Delay of message ``number``: Box-Muller on two hashes."""
    u = (mix(mix(2 * number & 0xFFFFFFFF) ^ key) + 0.5) * 2.0**-32
    w = (mix(mix((2 * number + 1) & 0xFFFFFFFF) ^ key) + 0.5) * 2.0**-32
    z = math.sqrt(-2.0 * math.log(u)) * math.cos(2.0 * math.pi * w)
    return int(median_ns * math.exp(sigma * z) + 0.5)


@hot_kernel
def measured_ns(c: Rec, series: Any, ts_ns: int) -> int:
    """The delay measured last before ``ts_ns``; the first one before there is any. ``series``: (n, 2) ns."""
    if c.repeat_ns > 0:
        ts_ns = series[c.first, 0] + (ts_ns - c.start_ns) % c.repeat_ns
    low, high = c.first, c.first + c.rows - 1
    while low < high:
        middle = (low + high + 1) // 2
        if series[middle, 0] <= ts_ns:
            low = middle
        else:
            high = middle - 1
    return int(series[low, 1])


@hot_kernel
def arrival_ns(c: Rec, series: Any, ts_ns: int) -> int:
    """When a message sent at ``ts_ns`` arrives: after its delay, and not before an earlier one of its connection."""
    if c.model == CONSTANT:
        return int(ts_ns + c.base_ns)
    if c.model == LOGNORMAL:
        delay_ns = lognormal_ns(c.base_ns, c.sigma, c.key, c.number)
    else:
        delay_ns = measured_ns(c, series, ts_ns)
    c.number += 1
    c.last_ns = max(c.last_ns, ts_ns + delay_ns)
    return int(c.last_ns)


# --- from the config -------------------------------------------------------------------------------------------------
class Series:
    """The measured series of one pass, end to end; a file that several connections name is held once."""

    def __init__(self) -> None:
        self._parts: list[NDArray[np.int64]] = []
        self._first: dict[Path, tuple[int, int]] = {}
        self._rows = 0

    def rows_of(self, path: Path) -> tuple[int, int]:
        """(first row, rows) of a file's series in ``table``."""
        if path not in self._first:
            part = read_series(path)
            self._first[path] = (self._rows, len(part))
            self._rows += len(part)
            self._parts.append(part)
        return self._first[path]

    def row(self, k: int) -> tuple[int, int]:
        """(time, delay) of a row, ns."""
        table = self.table()
        return int(table[k, 0]), int(table[k, 1])

    def table(self) -> NDArray[np.int64]:
        return np.concatenate([np.zeros((0, 2), np.int64), *self._parts])


def read_series(path: Path) -> NDArray[np.int64]:
    """(n, 2) time and delay in ns, read-only; raises ``DataError`` for a file that is none."""
    try:
        return _read_series(path.resolve(), path.stat().st_mtime_ns)
    except (OSError, ValueError) as exc:
        raise DataError(f"latency series {path}: {exc}") from exc


@lru_cache(maxsize=16)
def _read_series(path: Path, _changed_ns: int) -> NDArray[np.int64]:
    raw = np.load(path) if path.suffix == ".npy" else np.loadtxt(path, np.int64, delimiter=",", ndmin=2, comments="#")
    if raw.ndim != 2 or raw.shape[1] != 2 or len(raw) == 0 or not np.issubdtype(raw.dtype, np.integer):
        raise ValueError(f"expected integers of shape (n, 2): time and delay in ns; got {raw.dtype} {raw.shape}")
    series = raw.astype(np.int64)
    if np.any(np.diff(series[:, 0]) < 0) or np.any(series[:, 1] < 0):
        raise ValueError("times must not fall and delays must not be negative")
    series.setflags(write=False)
    return series


def connect(
    c: Rec, latency: float | LognormalLatency | MeasuredLatency, seed: int, connection: int, series: Series, tape: Tape
) -> None:
    """Fill a CONNECTION record from its setting; ``connection`` is ORDERS or RESPONSES.

    Raises:
        DataError: a measured series that cannot be read, or that says nothing about the time of the tape.
    """
    if isinstance(latency, LognormalLatency):
        c.model, c.base_ns, c.sigma = LOGNORMAL, round(latency.median * 1e9), latency.sigma
        c.key = random_key(seed, connection)
    elif isinstance(latency, MeasuredLatency):
        c.model = MEASURED
        c.first, c.rows = series.rows_of(latency.file)
        first, last = series.row(int(c.first))[0], series.row(int(c.first + c.rows) - 1)[0]
        begin, end = int(tape.msg_recv_ns[0]), int(tape.msg_recv_ns[-1])
        if latency.repeat:
            c.start_ns, c.repeat_ns = begin, max(last - first, 1)
        elif first > end or last < begin:
            raise DataError(f"latency series {latency.file}: not of the tape's time; say repeat: true to use it anyway")
    else:
        c["model"], c["base_ns"] = CONSTANT, round(latency * 1e9)


# --- the feed --------------------------------------------------------------------------------------------------------
class Feed(NamedTuple):
    """Feed latency: as recorded (``base_ns`` -1), constant (``sigma`` 0), or lognormal with that median."""

    base_ns: int
    sigma: float = 0.0
    key: int = 0


def feed_of(latency: str | float | LognormalLatency, seed: int) -> Feed:
    """The feed of a config's ``sim.feed_latency``."""
    if isinstance(latency, str):
        return Feed(-1)
    if isinstance(latency, LognormalLatency):
        median_ns = round(latency.median * 1e9)
        return Feed(median_ns, latency.sigma, random_key(seed, FEED)) if latency.sigma else Feed(median_ns)
    return Feed(round(latency * 1e9))


@hot_kernel
def _draw_feed(exch_ns: Any, median_ns: int, sigma: float, key: int, out: RecArray) -> None:
    last_ns = 0
    for m in range(exch_ns.shape[0]):
        last_ns = max(last_ns, exch_ns[m] + lognormal_ns(median_ns, sigma, key, m))
        out[m] = last_ns


def receive_ns(tape: Tape, feed: Feed) -> NDArray[np.int64]:
    """When strategies with this feed see each message of the tape, (messages,)."""
    if feed.sigma == 0.0:
        return tape.receive_ns(feed.base_ns)
    if (known := tape.clocks.get(feed)) is not None:
        return np.asarray(known)
    out = np.empty(len(tape.msg_exch_ns), np.int64)
    _draw_feed(tape.msg_exch_ns, feed.base_ns, feed.sigma, feed.key, out)
    with _KEEPING:
        while len(tape.clocks) >= 4:
            del tape.clocks[next(iter(tape.clocks))]
        tape.clocks[feed] = out
    return out
