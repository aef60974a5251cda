"""The quoter of one account: drains what has arrived, decides once, sends commands. See ``mm.strategy.quoter``.

Conflation, not queues: however many frames are waiting, one decision follows the last of them. Until books, position
and orders are whole (``actors.account``), and whenever one is not, it quotes nothing. An empty batch of commands is
its heartbeat to the executor.
"""

from __future__ import annotations

import time
from typing import Any, ClassVar

import numpy as np
import zmq
from numpy.typing import NDArray

from actors.base import LoopActor
from actors.recorder import QuoterRecorder
from actors.transport import COMMANDS, QUOTER, Curve, Inbox, Outbox
from mm.core.types import PLACE


class QuoterActor(LoopActor):
    """Shell of ``mm.strategy.quoter.Quoter``."""

    role: ClassVar[str] = "quoter"
    ready = False
    decisions = orders = 0
    _warned = False
    _measured_ns = _since_ns = _both_ns = _resting = 0

    async def main(self) -> None:
        from actors.account import Account
        from actors.warm import warm_kernels
        from mm.core.jit import source_hash

        warm_kernels()
        spec = self.spec
        head = {"code": source_hash(without="report"), "instruments": spec.instruments}
        self._record = QuoterRecorder(spec.path(), spec.venue_config.name, head)
        context: zmq.Context[Any] = zmq.Context()
        curve = Curve(**spec.curve) if spec.curve else None
        self._inbox = Inbox(context, spec.inboxes["quoter"], curve)
        self._executor = Outbox(context, spec.inboxes["executor"], curve)
        feed = Outbox(context, spec.inboxes["feed"], curve)
        self._account = Account(spec, QUOTER, feed, self._executor, own_in_feed=True)
        self._params: dict[int, str] = {}  # where A and kappa of an instrument came from when last looked
        self.ready = True
        try:
            await self._loop()
        finally:
            self._record.close()
            self._inbox.close()
            self._executor.close()
            feed.close()
            context.term()

    def wake(self) -> None:
        if self.loop is not None and self.ready:
            self.loop.call_soon_threadsafe(self._inbox.poke)

    async def _loop(self) -> None:
        account = self._account
        timer_ns = round(self.spec.cfg.live.timer * 1e9)
        next_timer_ns = next_flush_ns = 0
        while not self.stopping:
            await self._inbox.wait(max(0.0, (next_timer_ns - time.time_ns()) * 1e-9))
            batch = self._inbox.drain()
            read_mono_ns = account.take(batch)
            now_ns = time.time_ns()
            due = account.news or now_ns >= next_timer_ns  # a refusal alone is no reason to try again at once
            commands = self._decide(now_ns, read_mono_ns) if due else None
            if due:
                next_timer_ns = now_ns + timer_ns
            self._record.take(batch)
            if commands is not None:
                self._note(now_ns, commands)
            self._measure(now_ns)
            account.ask_for_what_is_missing(now_ns)
            self.phase = "running" if account.synced and account.books_ready() else "waiting"
            if now_ns >= next_flush_ns:
                self._record.flush()
                self._say_params()
                self._warn_of_bounds()
                next_flush_ns = now_ns + 1_000_000_000

    def _decide(self, now_ns: int, read_mono_ns: int) -> NDArray[Any] | None:
        """Decide and send; None without a right to trade."""
        account = self._account
        if not account.synced:
            self._executor.send(COMMANDS, b=account.epoch)  # alive
            return None
        commands = account.q.decide(now_ns, account.stale(now_ns))
        self._executor.send(COMMANDS, commands.tobytes(), b=account.epoch, t_mono_ns=read_mono_ns, t_wall_ns=now_ns)
        return commands

    def _note(self, now_ns: int, commands: NDArray[Any]) -> None:
        """Record a decision, once its commands are on their way."""
        account = self._account
        self.decisions += 1
        self.orders += int(np.count_nonzero(commands["op"] == PLACE))
        self._record.decide(account.decision_rows(now_ns, self._record.messages, len(commands)), commands.tobytes())

    def _say_params(self) -> None:
        """A line whenever A and kappa of the quotes come from somewhere else: estimates, or the config and why."""
        for i, instrument in enumerate(self.spec.parsed_instruments):
            reason, A, kappa = self._account.q.params_of(i)
            if reason != self._params.setdefault(i, "static"):
                self._params[i] = reason
                source = "estimated in flight" if reason == "estimated" else f"the config's, because of {reason}"
                self.log.info("%s: A %.4g/s and kappa %.4g per quote, %s", instrument.symbol, A, kappa, source)

    def _warn_of_bounds(self) -> None:
        """Say once that the spread bounds quote, not the model."""
        if not self._warned and (share := self._account.q.too_clamped()):
            self._warned = True
            self.log.warning(
                "%.0f %% of the quotes are moved by strategy.spread: it quotes, not the model", 100 * share
            )

    def _measure(self, now_ns: int) -> None:
        """Both sides resting over time, from the first valid book on (mean over the instruments)."""
        account = self._account
        if self._since_ns == 0:
            if not account.books_ready():
                return
            self._since_ns = self._measured_ns = now_ns
        self._both_ns += (now_ns - self._measured_ns) * self._resting
        self._measured_ns = now_ns
        self._resting = sum(account.q.both_resting(i) for i in range(account.n))

    def report(self) -> dict[str, Any]:
        if not self.ready:
            return {}
        account = self._account
        span_ns = (self._measured_ns - self._since_ns) * account.n
        return {
            "uptime": self._both_ns / span_ns if span_ns > 0 else 0.0,
            "quoting_s": (self._measured_ns - self._since_ns) / 1e9,
            "synced": account.synced,
            "frames": account.frames,
            "batches": account.batches,
            "conflated": account.conflated,
            "holes": account.holes,
            "decisions": self.decisions,
            "orders": self.orders,
            "unbooked": account.q.unbooked,
            "bad_messages": self._inbox.bad,
            "instruments": [account.q.view(i) for i in range(account.n)],
        }
