"""Risk of one account: marks the portfolio at every change, and renews the executor's right to trade.

The right is a lease of one second, renewed every 200 ms while everything is known and within limits. When this process
dies, hangs or loses sight of the market, the lease runs out and the executor pulls every order. A broken loss limit is
a halt: latched in the executor, recorded on disk.
"""

from __future__ import annotations

import time
from typing import Any, ClassVar, Final

import numpy as np
import zmq

from actors.base import LoopActor
from actors.home import read_json, write_json
from actors.transport import EXPOSURE, HALT, LEASE, RISK, Curve, Inbox, Outbox
from actors.wire import EXPOSURE as EXPOSURE_PAYLOAD
from actors.wire import pack_records

_LEASE_NS: Final = 1_000_000_000
_RENEW_NS: Final = 200_000_000
_SAVE_NS: Final = 1_000_000_000
_KEPT: Final = ("pnl_usd", "peak_usd", "drawdown_usd", "day", "day_start_usd")


class RiskActor(LoopActor):
    """Portfolio, loss limits and lease of one account."""

    role: ClassVar[str] = "risk"
    ready = False
    net_usd = gross_usd = fees_usd = 0.0
    breach = 0  # the last one that was logged
    broken = 0  # now
    _halt_ns = 0
    leases = 0
    _rearm = False

    async def main(self) -> None:
        from actors.account import Account
        from actors.warm import warm_kernels
        from mm.strategy.risk import LOSS

        warm_kernels()
        spec = self.spec
        self._loss = np.zeros(1, LOSS).view(np.recarray)
        self._loss_file = spec.path("state", f"{spec.venue_config.name}.risk.json")
        for name, value in (read_json(self._loss_file) or {}).items():
            if name in _KEPT:
                self._loss[name] = value
        context: zmq.Context[Any] = zmq.Context()
        curve = Curve(**spec.curve) if spec.curve else None
        self._inbox = Inbox(context, spec.inboxes["risk"], curve)
        self._executor = Outbox(context, spec.inboxes["executor"], curve)
        self._desk = Outbox(context, spec.inboxes["desk_risk"], curve)
        feed = Outbox(context, spec.inboxes["feed"], curve)
        self._account = Account(spec, RISK, feed, self._executor, own_in_feed=False)
        self.ready = True
        try:
            await self._loop()
        finally:
            self._save()
            self._inbox.close()
            for out in (self._executor, self._desk, feed):
                out.close()
            context.term()

    def wake(self) -> None:
        if self.loop is not None and self.ready:
            self.loop.call_soon_threadsafe(self._inbox.poke)

    async def _loop(self) -> None:
        account = self._account
        renew_ns = save_ns = 0
        while not self.stopping:
            await self._inbox.wait(max(0.0, (renew_ns - time.time_ns()) * 1e-9))
            account.take(self._inbox.drain())
            now_ns = time.time_ns()
            account.ask_for_what_is_missing(now_ns)
            known = account.synced and account.books_ready()
            self.phase = "running" if known else "waiting"
            if self._rearm:
                self._rearm, self.breach = False, 0
                self._loss[0].peak_usd = self._loss[0].pnl_usd
                self._loss[0].day_start_usd = self._loss[0].pnl_usd
            if known:
                self._mark(now_ns)
            if now_ns >= renew_ns:
                renew_ns = now_ns + _RENEW_NS
                if known:
                    self._renew(now_ns)
            if now_ns >= save_ns:
                save_ns = now_ns + _SAVE_NS
                self._save()

    def _mark(self, now_ns: int) -> None:
        """Mark every position at its mid; halt when a loss limit is broken."""
        from mm.strategy.portfolio import equity, fees_paid
        from mm.strategy.risk import HALT_REASONS, mark_loss

        account = self._account
        total = net = gross = fees = 0.0
        for i in range(account.n):
            r: Any = account.q.records_of(i)
            s, p, mid = r.state[0], r.params[0], float(r.features[0].mid)
            total += equity(s, p, mid)
            fees += fees_paid(s, p, mid)
            value = float(s.pos_lots) * p.unit_value * (1.0 if p.inverse else mid)
            net += value
            gross += abs(value)
        self.net_usd, self.gross_usd, self.fees_usd = net, gross, fees
        limits: Any = account.q.records_of(0)
        self.broken = int(mark_loss(self._loss[0], limits.limits[0], total, now_ns))
        if not self.broken or account.halted:
            return
        if self.broken != self.breach:
            self.breach = self.broken
            self.log.error("%s limit broken at equity %.2f: halting", HALT_REASONS[self.broken], total)
            self._save()
            self._halt_ns = 0
        if now_ns >= self._halt_ns:  # until the executor says that it is halted: it may just have died
            self._halt_ns = now_ns + _RENEW_NS
            self._executor.send(HALT, a=self.broken)

    def _renew(self, now_ns: int) -> None:
        account = self._account
        loss = self._loss[0]
        self._desk.send(
            EXPOSURE,
            EXPOSURE_PAYLOAD.pack(float(loss.pnl_usd), self.net_usd, self.gross_usd, self.fees_usd),
            b=self.spec.venue,
            t_wall_ns=now_ns,
        )
        if account.stale(now_ns) or self.broken:
            return  # the market cannot be seen, or a limit is broken: no right to trade in it
        records: list[Any] = [account.q.records_of(i) for i in range(account.n)]
        limits = np.concatenate([r.limits for r in records])
        params = np.concatenate([r.params for r in records])
        self._executor.send(LEASE, pack_records(limits, params), t_wall_ns=now_ns + _LEASE_NS)
        self.leases += 1

    def _save(self) -> None:
        write_json(self._loss_file, {name: self._loss[0][name].item() for name in _KEPT})

    def rearm(self) -> None:
        """A lifted halt starts the loss limits afresh from the present equity (called by Ray)."""
        self._rearm = True
        self.wake()

    def report(self) -> dict[str, Any]:
        if not self.ready:
            return {}
        loss = self._loss[0]
        return {
            "pnl_usd": float(loss.pnl_usd),
            "drawdown_usd": float(loss.drawdown_usd),
            "day_loss_usd": float(loss.day_start_usd - loss.pnl_usd),
            "net_usd": self.net_usd,
            "gross_usd": self.gross_usd,
            "fees_usd": self.fees_usd,
            "leases": self.leases,
            "holes": self._account.holes,
            "bad_messages": self._inbox.bad,
        }
