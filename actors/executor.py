"""The executor of one account: the only process that holds its keys and sends its orders.

For every command: epoch, latch, lease and risk gate (``mm.strategy.executor_core``), the intent to the journal, then
the venue. Reports come back on the private connection, go to the journal, and on to the quoter and risk. The connection
itself is in ``executor_session``, cancelling everything and the latch in ``executor_halt``.
"""

from __future__ import annotations

import asyncio
import time
from array import array
from typing import Any, ClassVar, Final

import numpy as np
import zmq

from actors import exchanges, keys
from actors.budget import ForClient, SharedBudget
from actors.executor_book import Book
from actors.executor_session import DEAD_MAN_S, SessionActor
from actors.home import read_latch
from actors.outcomes import Outcomes
from actors.transport import COMMANDS, EXECS, HALT, HELLO, LEASE, QUOTER, RISK, Curve, Inbox, Message, Outbox
from actors.wire import pack_execs
from mm.core.types import PLACE, REJECT
from mm.errors import DataError, RaymakerError, VenueUnreachable
from mm.strategy.executor_core import RATE_BUDGET, Command
from mm.strategy.orders import client_order_id
from mm.venues.base import AccountNews
from mm.venues.registry import get_venue

_ACK_TIMEOUT_NS: Final = 2_000_000_000
_QUOTER_TIMEOUT_NS: Final = 2_000_000_000
_TICK_S: Final = 0.1
_RECONCILE_S: Final = 2.0
_SWEEP_S: Final = 600.0  # between two looks at the venue's history for fills that nobody reported
_MAX_LATENCIES: Final = 1 << 18


class ExecutorActor(SessionActor):
    """See the module."""

    role: ClassVar[str] = "executor"
    ready = False
    bad_frames = sent = venue_rejects = 0
    _budget: SharedBudget | None = None

    # --- life --------------------------------------------------------------------------------------------------------
    async def main(self) -> None:
        from actors.warm import warm_kernels
        from mm.strategy.risk import HALT_REASONS

        warm_kernels()
        self._halt_reasons = HALT_REASONS
        spec = self.spec
        self._symbols = list(spec.venue_config.instruments)
        venue = get_venue(spec.venue_config.adapter)
        account = keys.read(spec.run_id, spec.venue_config.name)
        self._budget = exchanges.budget(spec.venue_config, account)
        own: dict[str, Any] = {"symbols": self._symbols} | ({"budget": ForClient(self._budget)} if self._budget else {})
        if spec.venue_config.paper:
            fills_path = spec.path("paper", f"{spec.venue_config.name}.jsonl")
            own |= exchanges.paper_options(spec.cfg) | {"fills_path": fills_path}
        self._client = venue.make_trading(spec.options | account | own)
        try:
            self.book = Book(spec, _ACK_TIMEOUT_NS, _QUOTER_TIMEOUT_NS)
        except (DataError, OSError):
            await self._cancel_blindly()
            raise
        self.core = self.book.core
        latch = read_latch(spec.desk, spec.venue_config.name)
        if latch is not None:
            self.core.halt(HALT_REASONS.index(latch.reason))
        self._codec = venue.make_codec(spec.parsed_instruments, spec.prefix)
        self._outcomes = Outcomes(self._client, self.book, spec.prefix, time.time_ns, self._publish)
        self._latencies = array("q")
        self._stop = asyncio.Event()
        context: zmq.Context[Any] = zmq.Context()
        curve = Curve(**spec.curve) if spec.curve else None
        self._inbox = Inbox(context, spec.inboxes["executor"], curve)
        self._out = {QUOTER: Outbox(context, spec.inboxes["quoter"], curve)}
        self._out[RISK] = Outbox(context, spec.inboxes["risk"], curve)
        self.ready = True
        if self.stopping:  # asked while the kernels were loaded
            self._stop.set()
        self.final: dict[str, Any] = {}
        tasks = [asyncio.create_task(t) for t in (self._sessions(), self._serve(), self._watch(), self._stop.wait())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            self.core.ready = False
            for task in tasks:
                if task not in done:
                    task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self.final = await self._finish()
            for task in done:
                task.result()
        finally:
            await self._outcomes.close()
            await self._client.close()
            self.book.close()
            self._inbox.close()
            for out in self._out.values():
                out.close()
            context.term()

    def wake(self) -> None:
        if self.loop is not None and self.ready:
            self.loop.call_soon_threadsafe(self._stop.set)

    # --- commands ----------------------------------------------------------------------------------------------------
    async def _serve(self) -> None:
        while True:
            await self._inbox.wait(1.0)
            for m in self._inbox.drain():
                if m.kind == COMMANDS:
                    await self._commands(m)
                elif m.kind == LEASE:
                    self.book.lease(m.payload, m.t_wall_ns)
                elif m.kind == HELLO:
                    if m.a == QUOTER:
                        self._quoter_waits = True
                    elif self.core.ready:
                        self._publish_sync(RISK)
                elif m.kind == HALT:
                    self._latch(m.a, "risk")
            if self._quoter_waits and self.core.may_trade(time.time_ns()):
                self._quoter_waits = False  # not earlier: without a lease every order of its would be refused
                self._publish_sync(QUOTER)

    async def _commands(self, m: Message) -> None:
        """Gate all, write all intents with one write, then send."""
        now_ns = time.time_ns()
        self.core.quoter_seen_ns = now_ns
        if not m.payload:
            return
        passed: list[Command] = []
        for c in self.book.commands(m.payload):
            if c.op != PLACE:
                if self.core.cancel(c.instrument, c.id, now_ns):  # else it has ended; the report is on its way
                    passed.append(c)
            elif verdict := self._verdict(c, m.b, now_ns):
                self.book.refused(c, verdict)
                if m.b == self.core.epoch:
                    self._publish(self.core.rejection(c, now_ns), [])
            else:
                passed.append(c)
        if not passed:
            return
        self.book.intents(passed, now_ns)  # raises: then nothing is sent
        try:
            for c in passed:
                if c.op == PLACE and (self.core.halted or not self.core.ready):
                    continue  # since the gate: not sent, and freed when the venue has been asked
                await self._send(c)
        except VenueUnreachable as exc:  # perhaps on their way: the next session finds out
            self.log.warning("orders not sent: %s", exc)
            return
        if m.t_mono_ns:  # the loop writes its sockets at the end of the turn: take the time in the next one
            asyncio.get_running_loop().call_soon(self._note_latency, m.t_mono_ns)

    def _verdict(self, c: Command, epoch: int, now_ns: int) -> int:
        """Budget first: an order that waited for it would be in the table and not on its way."""
        if self._budget is not None and self._budget.try_take("place"):
            return self.core.refuse(RATE_BUDGET)
        return self.core.place(c, epoch, now_ns)

    def _note_latency(self, read_mono_ns: int) -> None:
        if len(self._latencies) < _MAX_LATENCIES:
            self._latencies.append(time.monotonic_ns() - read_mono_ns)

    async def _send(self, c: Command) -> None:
        instrument = self.book.instruments[c.instrument]
        cid = client_order_id(self.spec.prefix, c.id)
        if c.op == PLACE:
            self.sent += 1
            price, size = instrument.price(c.tick), instrument.size(c.lots)
            await self._client.place(instrument.symbol, cid, c.side, price, size)
        else:
            await self._client.cancel(instrument.symbol, cid)

    # --- reports -----------------------------------------------------------------------------------------------------
    def _on_frame(self, raw: bytes, ts_recv_ns: int) -> None:
        decoded = self._codec.decode_private(raw, ts_recv_ns)
        if decoded.error:
            self.bad_frames += 1
            self.last_error = decoded.error
            self.log.warning("private frame: %s", decoded.error)
        for news in decoded.news:
            self._on_news(news)
        if len(decoded.execs):
            execs = decoded.execs.view(np.recarray)
            booked = [self.book.execution(e, d) for e, d in zip(execs, decoded.exec_detail, strict=True)]
            self.venue_rejects += int(np.count_nonzero(execs["kind"] == REJECT))
            if self.core.ready and any(booked):
                fees = [d.fee for d, b in zip(decoded.exec_detail, booked, strict=True) if b]
                self._publish(execs[np.array(booked)], fees)
        if decoded.unknown:
            self._outcomes.ask(decoded.unknown)

    def _on_news(self, news: AccountNews) -> None:
        """Positions and balances are compared by question; a liquidation is not something to trade on from."""
        if news.kind in ("position", "balance"):
            return
        self.log.warning("the venue says: %s %s %s %s", news.kind, news.symbol, news.amount, news.text)
        self._try_to_note({"t": news.kind, "symbol": news.symbol, "amount": str(news.amount), "text": news.text})
        if news.kind == "liquidation":
            self._latch(self._halt_reasons.index("liquidation"), news.text or "the venue liquidated a position")

    def _publish(self, execs: Any, fees: list[Any]) -> None:
        payload = pack_execs(execs, fees or [0] * len(execs))
        for out in self._out.values():
            out.send(EXECS, payload, t_wall_ns=time.time_ns())

    # --- watching ----------------------------------------------------------------------------------------------------
    async def _watch(self) -> None:
        turn = 0
        while True:
            await asyncio.sleep(_TICK_S)
            turn += 1
            if turn % 10 == 0:
                await asyncio.to_thread(self.book.sync)
                self._keep_latch()
            if not self.core.ready:
                continue
            now_ns = time.time_ns()
            self.phase = "halted" if self.core.halted else "running"
            try:
                reason = self.core.must_pull(now_ns)
                if reason:
                    if reason != self.pull_reason:
                        self.log.warning("pulling every order: %s", reason)
                    await self._pull(reason)
                if turn % round(_RECONCILE_S / _TICK_S) == 0 or self.core.overdue(now_ns):
                    await self._reconcile()
                if self._dead_man and turn % round(DEAD_MAN_S / 4 / _TICK_S) == 0:
                    await self._arm_dead_man()
                if turn % round(_SWEEP_S / _TICK_S) == 0 and await self._book_history():
                    self._publish_sync(QUOTER, RISK)
            except VenueUnreachable as exc:  # unknown is not flat: a new session starts from the venue's truth
                self.last_error = str(exc)
                self.log.warning("the venue does not answer: %s", exc)
                await self._client.close()

    # --- called by Ray -----------------------------------------------------------------------------------------------
    def stop(self) -> dict[str, Any]:
        """Cancel everything, verify, report. ``latencies`` are nanoseconds."""
        out = super().stop()
        if self._thread.is_alive():
            raise RaymakerError(f"{self.label()} did not stop in time")
        latencies = getattr(self, "_latencies", array("q"))
        return out | {"final": getattr(self, "final", {}), "latencies": latencies.tobytes()}

    def report(self) -> dict[str, Any]:
        if not self.ready:
            return {}
        core = self.core
        recent = np.frombuffer(self._latencies[-2_000:].tobytes(), np.int64)
        return {
            "halted": self._halt_reasons[core.halted] or None,
            "sessions": self.book.sessions,
            "reconnects": self.reconnects,
            "orders_sent": self.book.placed,
            "rejects": self.venue_rejects,
            "refused": core.refusals(),
            "fills": sum(int(s[0].fills) for s in core.states),
            "taker_fills": sum(int(s[0].taker_fills) for s in core.states),
            "working": sum(core.working(i) for i in range(len(core.orders))),
            "positions": {
                i.symbol: float(i.size(int(s[0].pos_lots)))
                for i, s in zip(self.book.instruments, core.states, strict=True)
            },
            "unknown_outcomes": self._outcomes.asked,
            "fee_audit": self.book.audit.report(self.book.placed, self.venue_rejects),
            "pulls": self.pulls,
            "pull_reason": self.pull_reason,
            "bad_frames": self.bad_frames,
            "bad_messages": self._inbox.bad,
            "last_error": self.last_error,
            "dropped": sum(out.dropped for out in self._out.values()),
            "tick_to_order_us": {
                "p50": round(float(np.percentile(recent, 50)) / 1e3, 1) if len(recent) else None,
                "p99": round(float(np.percentile(recent, 99)) / 1e3, 1) if len(recent) else None,
            },
        }
