"""Observations of a tape, in chunks of decisions, kept on the tape while they are small enough to be worth it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mm.core.types import records
from mm.models.flow import FLOW
from mm.sim.cross import Cross, blended
from mm.sim.latency import Feed, receive_ns
from mm.sim.observe import observe
from mm.sim.state import EXCHANGE, MARK, OBSERVER
from mm.sim.tables import Messages, Observed
from mm.sim.tape import Tape
from mm.strategy.controls.signals import SIGNALS, WATCH
from mm.strategy.state import FEATURES

CHUNK = 1 << 15  # decisions observed and replayed at a time
KEEP_DECISIONS = 1 << 18  # longer runs stream: nothing is kept
_KEEPING = Lock()  # passes of several views share a tape


@dataclass(frozen=True, slots=True)
class MarketView:
    """What strategies that share it see: decision moments, feed latency, settings of volatility and signals."""

    decide_ns: NDArray[np.int64]
    feed: Feed
    sample_ns: int
    halflife_s: float
    sigma2: float  # before the first sample
    flow: tuple[float, int] = (0.0, 0)  # estimates of A and kappa: half-life [s], time between fits [ns], 0 for none
    cross: Cross | None = None  # the other venue in the reference price
    signals: bytes = b""  # SIGNALS record of the controls, nothing when they need none

    def key(self) -> tuple[Any, ...]:
        ends = (len(self.decide_ns), int(self.decide_ns[0]), int(self.decide_ns[-1]), hash(self.decide_ns.tobytes()))
        return (*ends, self.feed, self.sample_ns, self.halflife_s, self.sigma2, self.flow, self.cross, self.signals)


def prepare(tape: Tape, view: MarketView) -> None:
    """Make a view's observations if they are short enough to be kept."""
    if len(view.decide_ns) <= KEEP_DECISIONS and view.key() not in tape.features:
        for _ in observations(tape, view):
            pass


def observations(tape: Tape, view: MarketView) -> Iterator[Observed]:
    """Chunks of a view, computed once per tape and process where they fit."""
    key = view.key()
    if (known := tape.features.get(key)) is not None:
        yield from known
        return
    kept: list[Observed] | None = [] if len(view.decide_ns) <= KEEP_DECISIONS else None
    chunks = _observe(tape, view)
    if view.cross is not None and tape.other is not None:  # of the other venue only the book is read
        theirs = observations(tape.other, MarketView(view.decide_ns, view.feed, 1_000_000_000, 60.0, 0.0))
        chunks = blended(tape, view.feed, view.cross, chunks, theirs)
    for chunk in chunks:
        if kept is not None:
            kept.append(chunk)
        yield chunk
    if kept is not None:
        with _KEEPING:
            while sum(sum(len(c.decide_ns) for c in v) for v in tape.features.values()) > 4 * KEEP_DECISIONS:
                del tape.features[next(iter(tape.features))]
            tape.features[key] = kept


def _observe(tape: Tape, view: MarketView) -> Iterator[Observed]:
    base_tick, n_levels = tape.book_window
    bids, asks = np.zeros(n_levels, tape.lots.dtype), np.zeros(n_levels, tape.lots.dtype)
    touch = records(1, EXCHANGE)
    touch[0].bb, touch[0].ba, touch[0].lowb, touch[0].hia = -1, n_levels, n_levels, -1
    observer, feature, flow = records(1, OBSERVER), records(1, FEATURES), records(1, FLOW)
    flow[0].halflife_s, flow[0].every_ns = view.flow
    feature[0].sigma2 = view.sigma2
    watch = records(1, WATCH)
    if view.signals:
        watch[0]["settings"] = np.frombuffer(view.signals, SIGNALS)[0]
    recv = receive_ns(tape, view.feed)
    stream = Messages(tape.words, tape.lots, recv, tape.msg_start, tape.msg_whole, base_tick)
    for start in range(0, len(view.decide_ns), CHUNK):
        decide_ns = view.decide_ns[start : start + CHUNK]
        first = int(observer[0].message)
        messages = int(np.searchsorted(recv, decide_ns[-1], side="right")) - first
        seen = Observed(
            decide_ns,
            records(len(decide_ns), FEATURES),
            records(messages, MARK),
            np.zeros(len(decide_ns), np.int64),
        )
        observer[0].marks = 0
        observe(
            stream, tape.msg_exch_ns, bids, asks, touch[0], observer[0], feature[0], watch[0], flow[0],
            view.sample_ns, view.halflife_s, seen,
        )  # fmt: skip
        yield seen._replace(marks=seen.marks[: int(observer[0].marks)].copy())
