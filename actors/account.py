"""One account as the quoter and risk see it: books from the feed, position and orders from the executor.

Books begin with a snapshot and end with a gap; position and orders begin with a ``SYNC`` and go on with numbered
reports. Whatever has a hole is asked for again from the beginning. Both actors drive a ``mm.strategy.quoter.Quoter``;
risk never lets it decide.
"""

from __future__ import annotations

import logging
from typing import Any, Final

import numpy as np

from actors import transport
from actors.base import DeskSpec
from actors.recorder import decision_row
from actors.transport import HELLO, RESYNC, Message, Outbox
from actors.wire import unpack_execs
from mm.core.types import EVENT, REJECT, SNAPSHOT
from mm.strategy.executor_core import adopt, read_sync
from mm.strategy.quoter import Quoter

_ASK_AGAIN_NS: Final = 1_000_000_000


class Account:
    """See the module. ``me`` is what we call ourselves in HELLO (transport.QUOTER or RISK)."""

    def __init__(self, spec: DeskSpec, me: int, feed: Outbox, executor: Outbox, *, own_in_feed: bool) -> None:
        self.n = len(spec.instruments)
        self.q = Quoter(spec.cfg, spec.parsed_instruments, own_in_feed=own_in_feed)
        self.synced = False
        self.epoch = 0
        self.halted = 0
        self.feed_void = False
        self.last_event_ns = 0
        self.frames = self.batches = self.conflated = self.holes = 0
        self._stale_after_ns = round(spec.cfg.live.stale_after * 1e9)
        self.news = False  # the last batch said more than that orders were refused
        self._seeded = [False] * self.n
        self._me = me
        self._feed, self._executor = feed, executor
        self._feed_seq = self._exec_seq = -1
        self._asked_ns = self._snapshot_ns = 0
        self._log = logging.getLogger(f"{spec.desk}.{spec.venue_config.name}")

    # --- state -------------------------------------------------------------------------------------------------------
    def books_ready(self) -> bool:
        """Every book is whole and has had a valid touch."""
        return all(self._seeded) and all(self.q.records_of(i) is not None for i in range(self.n))

    def stale(self, now_ns: int) -> bool:
        """Market data cannot be trusted now."""
        return self.feed_void or not all(self._seeded) or now_ns - self.last_event_ns > self._stale_after_ns

    def decision_rows(self, now_ns: int, messages: int, commands: int) -> list[bytes]:
        """What a decision came to, a DECISION record an instrument (``actors.recorder``)."""
        stale = self.stale(now_ns)
        rows = []
        for i in range(self.n):
            r = self.q.records_of(i)
            if r is None:
                continue
            target, mid, pos = r.target.tolist()[0], float(r.features["mid"][0]), int(r.state["pos_lots"][0])
            rows.append(decision_row(now_ns, messages, i, stale, commands, pos, mid, target))
        return rows

    def ask_for_what_is_missing(self, now_ns: int) -> None:
        """A snapshot, a sync: at most once a second each."""
        if not all(self._seeded) and not self.feed_void and now_ns - self._snapshot_ns > _ASK_AGAIN_NS:
            self._snapshot_ns = now_ns
            self._feed.send(RESYNC)
        if not self.synced and self.books_ready() and now_ns - self._asked_ns > _ASK_AGAIN_NS:
            self._asked_ns = now_ns
            self._executor.send(HELLO, a=self._me)

    # --- messages ----------------------------------------------------------------------------------------------------
    def take(self, batch: list[Message]) -> int:
        """Apply messages in order; returns when the oldest frame among them was read (monotonic), 0 without one."""
        oldest = frames = 0
        self.news = False
        for m in batch:
            self.news |= m.kind != transport.EXECS
            match m.kind:
                case transport.EVENTS:
                    frames += 1
                    oldest = oldest or m.t_mono_ns
                    self._events(m)
                case transport.EXECS:
                    self._reports(m)
                case transport.SYNC:
                    self._sync(m)
                case transport.FEED_STATE:
                    self._count_feed(m)
                    self.feed_void = bool(m.a)
                    if m.a:
                        self._seeded = [False] * self.n
                case transport.HALT:
                    self._count_executor(m)
                    self.halted = m.a
                    self.q.set_halted(m.a)
                case _:
                    self.holes += 1
        if frames:
            self.batches += 1
            self.conflated += frames - 1
        return oldest

    def _count_feed(self, m: Message) -> None:
        if m.seq not in (self._feed_seq + 1, 1) and self._feed_seq >= 0:
            self.holes += 1
            self._seeded = [False] * self.n
        self._feed_seq = m.seq

    def _count_executor(self, m: Message) -> None:
        if m.seq != self._exec_seq + 1 and self._exec_seq >= 0:
            self.holes += 1
            self.synced = False
        self._exec_seq = m.seq

    def _events(self, m: Message) -> None:
        self._count_feed(m)
        events = np.frombuffer(m.payload, EVENT)
        self.frames += 1
        self.last_event_ns = m.t_wall_ns
        if not all(self._seeded):
            for i in np.unique(events["instrument"][events["flags"] & SNAPSHOT != 0]):
                self._seeded[i] = True
            events = events[np.array(self._seeded)[events["instrument"]]]
        if len(events):
            self.q.on_events(events)

    def _reports(self, m: Message) -> None:
        self._count_executor(m)
        if self.synced:  # else: the sync that we have asked for contains it
            execs, fees = unpack_execs(m.payload)
            self.news |= bool(np.any(execs["kind"] != REJECT))
            self.q.on_execs(execs, fees)

    def _sync(self, m: Message) -> None:
        self._exec_seq = m.seq
        if not self.books_ready():  # an executor that (re)started tells everybody; we ask when we are ready
            self.synced = False
            return
        truth = read_sync(m.payload, self.n)
        for i in range(self.n):
            r: Any = self.q.records_of(i)
            adopt(truth, i, r.state, r.orders)
        self.q.next_order = max(self.q.next_order, truth.next_order)
        self.halted = truth.halted
        self.epoch = m.b
        self.synced = True
        self._log.info("position and orders taken from the executor (epoch %d)", m.b)
