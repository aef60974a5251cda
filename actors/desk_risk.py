"""Risk of the whole desk: sums what the accounts report, and halts all of them when the sum breaks a limit."""

from __future__ import annotations

import time
from typing import Any, ClassVar, Final

import numpy as np
import zmq

from actors.base import LoopActor
from actors.home import read_json, write_json
from actors.transport import EXPOSURE as EXPOSURE_MESSAGE
from actors.transport import HALT, Curve, Inbox, Outbox
from actors.wire import EXPOSURE

_SAVE_NS: Final = 1_000_000_000
_KEPT: Final = ("pnl_usd", "peak_usd", "drawdown_usd", "day", "day_start_usd")


class DeskRiskActor(LoopActor):
    """In this version the limits of ``config.risk`` hold for the sum too."""

    role: ClassVar[str] = "risk"
    ready = False
    breach = ""
    _rearm = False

    def label(self) -> str:
        return "risk"

    async def main(self) -> None:
        from mm.strategy.risk import HALT_REASONS, LIMITS, LOSS, mark_loss

        spec = self.spec
        risk = spec.cfg.risk
        self._limits = np.zeros(1, LIMITS).view(np.recarray)
        self._limits[0].max_daily_loss_usd = risk.max_daily_loss_usd
        self._limits[0].max_drawdown_usd = risk.max_drawdown_usd
        self._loss = np.zeros(1, LOSS).view(np.recarray)
        self._file = spec.path("state", "desk.risk.json")
        for name, value in (read_json(self._file) or {}).items():
            if name in _KEPT:
                self._loss[name] = value
        self._accounts: dict[int, tuple[float, float, float, float]] = {}
        context: zmq.Context[Any] = zmq.Context()
        curve = Curve(**spec.curve) if spec.curve else None
        self._inbox = Inbox(context, spec.inboxes["desk_risk"], curve)
        executors = [Outbox(context, address, curve) for address in spec.executors]
        self.ready = True
        save_ns = halt_ns = 0
        sent = 0
        try:
            while not self.stopping:
                await self._inbox.wait(0.5)
                for m in self._inbox.drain():
                    if m.kind == EXPOSURE_MESSAGE:
                        self._accounts[m.b] = EXPOSURE.unpack(m.payload)
                now_ns = time.time_ns()
                if self._rearm:
                    self._rearm, self.breach, sent = False, "", 0
                    self._loss[0].peak_usd = self._loss[0].pnl_usd
                    self._loss[0].day_start_usd = self._loss[0].pnl_usd
                if len(self._accounts) == len(executors):
                    self.phase = "running"
                    equity = self.total()[0]
                    code = int(mark_loss(self._loss[0], self._limits[0], equity, now_ns))
                    if code and code != sent:
                        sent, halt_ns = code, 0
                        self.breach = HALT_REASONS[code]
                        self.log.error("the desk breaks %s at equity %.2f: halting all", self.breach, equity)
                    if code and now_ns >= halt_ns:  # again and again: an executor may just have died
                        halt_ns = now_ns + _SAVE_NS
                        for out in executors:
                            out.send(HALT, a=code)
                if now_ns >= save_ns:
                    save_ns = now_ns + _SAVE_NS
                    self._save()
        finally:
            self._save()
            self._inbox.close()
            for out in executors:
                out.close()
            context.term()

    def wake(self) -> None:
        if self.loop is not None and self.ready:
            self.loop.call_soon_threadsafe(self._inbox.poke)

    def rearm(self) -> None:
        """A lifted halt starts the loss limits afresh from the present equity (called by Ray)."""
        self._rearm = True
        self.wake()

    def total(self) -> tuple[float, float, float, float]:
        """Equity, net, gross, fees over the accounts."""
        rows = list(self._accounts.values())
        equity, net, gross, fees = (sum(column) for column in zip(*rows, strict=True)) if rows else (0.0,) * 4
        return equity, net, gross, fees

    def _save(self) -> None:
        write_json(self._file, {name: self._loss[0][name].item() for name in _KEPT})

    def report(self) -> dict[str, Any]:
        if not self.ready:
            return {}
        equity, net, gross, fees = self.total()
        return {
            "pnl_usd": equity,
            "net_usd": net,
            "gross_usd": gross,
            "fees_usd": fees,
            "drawdown_usd": float(self._loss[0].drawdown_usd),
            "breach": self.breach,
        }
