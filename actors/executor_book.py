"""The executor's brain and its journal, kept in step: what is booked is written, what was written is booked again."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any, Final

import numpy as np

from actors.base import DeskSpec
from actors.fee_audit import FeeAudit
from mm.core.types import COMMAND_NAMES, EXEC, EXEC_NAMES, FILL, PLACE, RecArray, records
from mm.errors import VenueUnreachable
from mm.strategy.executor_core import VERDICTS, Command, Differences, ExecutorCore, OrderKey, read_commands
from mm.strategy.journal import Journal, read_journal
from mm.strategy.orders import find
from mm.strategy.risk import LIMITS
from mm.strategy.state import PARAMS
from mm.venues.base import ExecDetail, FillRecord, OpenOrder, Position

_HISTORY_MARGIN_NS: Final = 300_000_000_000  # clocks differ, and a history may lag
_LOGGED_REFUSALS: Final = 20  # a refusal repeats with every decision


class Book:
    """One account's ``ExecutorCore`` with its journal at ``RUN/journal/VENUE.jsonl``."""

    def __init__(self, spec: DeskSpec, ack_timeout_ns: int, quoter_timeout_ns: int) -> None:
        self.instruments = spec.parsed_instruments
        self.core = ExecutorCore(self.instruments, ack_timeout_ns, quoter_timeout_ns)
        self.audit = FeeAudit(self.instruments)
        self.sessions = 0
        self.placed = 0
        self.run_started_ns = 0
        self.history_ns = 0  # every fill of the venue's before then has been booked
        self._prefix = spec.prefix
        self._index = {i.symbol: k for k, i in enumerate(self.instruments)}
        self._log = logging.getLogger(f"{spec.desk}.{spec.venue_config.name}.executor")
        path = spec.path("journal", f"{spec.venue_config.name}.jsonl")
        for record in read_journal(path):
            self._replay(record)
        self._journal = Journal(path)
        if not self.run_started_ns:
            self.run_started_ns = time.time_ns()
            self.note({"t": "begin", "ts": self.run_started_ns, "run": spec.run_id, "instruments": spec.instruments})
        self.history_ns = self.history_ns or self.run_started_ns - _HISTORY_MARGIN_NS
        self.core.epoch = time.time_ns() // 1_000_000 & 0xFFFF

    # --- journal -----------------------------------------------------------------------------------------------------
    def note(self, record: dict[str, Any]) -> None:
        """One record, stamped."""
        self._journal.append({"ts": time.time_ns()} | record)

    def history_read(self, asked_ns: int) -> None:
        """The venue's history, asked for then, has been booked: the next question need not begin before."""
        self.history_ns = max(self.history_ns, asked_ns - _HISTORY_MARGIN_NS)
        self.note({"t": "history", "since": self.history_ns})

    def commands(self, payload: bytes) -> list[Command]:
        """Commands of a message; raises ``ValueError`` when it is not one."""
        return read_commands(payload)

    def intents(self, commands: Sequence[Command], now_ns: int) -> None:
        """What is about to be sent."""
        self._journal.append_all(
            {
                "ts": now_ns, "t": COMMAND_NAMES[c.op], "id": c.id, "i": c.instrument, "side": c.side, "tick": c.tick,
                "lots": c.lots,
            }
            for c in commands
        )  # fmt: skip
        self.placed += sum(c.op == PLACE for c in commands)

    def refused(self, c: Command, verdict: int) -> None:
        """A command that did not pass."""
        if self.core.verdicts[verdict] <= _LOGGED_REFUSALS:
            self._log.info("order %d refused: %s", c.id, VERDICTS[verdict])
            self.note({"t": "refused", "id": c.id, "why": VERDICTS[verdict]})

    def sync(self) -> None:
        self._journal.sync()

    def close(self) -> None:
        self._journal.close()

    def _replay(self, record: dict[str, Any]) -> None:
        kind = record["t"]
        if kind == "begin":
            self.run_started_ns = int(record["ts"])
        elif kind == "history":
            self.history_ns = int(record["since"])
        elif kind == "position":
            self.sessions = 1
            self.core.open_position(record["i"], record["lots"], record["avg_tick"])
            self.core.trades.update(record["seen"])
        elif kind == "place":
            self.placed += 1
            self.core.next_order = max(self.core.next_order, record["id"] + 1)
        elif kind == "exec" and record["kind"] == EXEC_NAMES[FILL]:
            row = (record["ts_exch"], record["ts"], record["id"], record["lots"], record["tick"], record["i"])
            e = records(1, EXEC)
            e[0] = (*row, record["side"], FILL, record["maker"])
            self.core.execution(e[0], Decimal(record["fee"]), record["trade"])

    # --- reports -----------------------------------------------------------------------------------------------------
    def execution(self, e: Any, detail: ExecDetail) -> bool:
        """Book and write one report; False for a fill that was booked before."""
        i = int(e.instrument)
        trade = f"{i}:{detail.trade_id}:{detail.client_order_id}"
        k = find(self.core.orders[i], int(e.id))
        asked = int(self.core.orders[i][k].tick) if k >= 0 else None
        if not self.core.execution(e, detail.fee, trade):
            return False
        if e.kind == FILL:
            self.audit.fill(i, int(e.side), int(e.tick), int(e.lots), bool(e.maker), detail.fee, asked)
        self.note({
            "t": "exec", "kind": EXEC_NAMES[int(e.kind)], "ts_exch": int(e.ts_exch_ns), "id": int(e.id),
            "i": int(e.instrument), "side": int(e.side), "tick": int(e.tick), "lots": int(e.lots),
            "maker": int(e.maker), "fee": str(detail.fee), "trade": trade, "reason": detail.reason,
        })  # fmt: skip
        return True

    def open_session(self, fills: Sequence[FillRecord], positions: Sequence[Position], now_ns: int) -> bool:
        """Nothing is open on the venue; book what we missed. False: its position is not what our fills add up to."""
        self.core.forget_orders()
        first = self.sessions == 0
        self.sessions += 1
        if first:
            seen: list[list[str]] = [[] for _ in self.instruments]
            for f in fills:
                if f.symbol in self._index:
                    seen[self._index[f.symbol]].append(self._trade(f))
            for p in positions:
                i = self._index[p.symbol]
                avg = 0.0 if p.entry_price is None else float(p.entry_price / self.instruments[i].tick_size)
                lots = self._lots(i, p.size)
                self.core.open_position(i, lots, avg)
                self.core.trades.update(seen[i])
                self.note({"t": "position", "i": i, "lots": lots, "avg_tick": avg, "seen": seen[i]})
            return True
        self.missed(fills, now_ns)
        ours = [int(s[0].pos_lots) for s in self.core.states]
        theirs = {self._index[p.symbol]: self._lots(self._index[p.symbol], p.size) for p in positions}
        return all(ours[i] == lots for i, lots in theirs.items())

    def reconcile(self, open_orders: Sequence[OpenOrder], asked_ns: int) -> tuple[Differences, list[tuple[int, str]]]:
        """(what differs, orders to cancel as (instrument, client order id)): see ``ExecutorCore.reconcile``."""
        on_venue: dict[OrderKey, str] = {}
        foreign: list[tuple[int, str]] = []
        for o in open_orders:
            if o.symbol not in self._index:
                continue
            head, _, number = o.client_order_id.rpartition("-")
            if head == self._prefix and number.isdigit():
                on_venue[OrderKey(self._index[o.symbol], int(number))] = o.client_order_id
            else:
                foreign.append((self._index[o.symbol], o.client_order_id))
        found = self.core.reconcile(set(on_venue), asked_ns)
        return found, foreign + [(k.instrument, on_venue[k]) for k in found.unknown + found.again]

    def position_differs(self, p: Position, fills_before: int) -> bool:
        """True when a position has differed by the same amount twice: see ``ExecutorCore.position_differs``."""
        i = self._index[p.symbol]
        return self.core.position_differs(i, self._lots(i, p.size), fills_before)

    def missed(self, fills: Sequence[FillRecord], now_ns: int) -> int:
        """Book what the venue's history knows and we do not; returns how many fills that were."""
        return len(self.missed_reports(fills, now_ns))

    def missed_reports(self, fills: Sequence[FillRecord], now_ns: int) -> list[tuple[RecArray, list[Decimal]]]:
        """As ``missed``; returns the reports that were booked, each with its fee."""
        out = []
        for f in fills:
            if f.symbol in self._index:
                e, detail = self._as_report(f, now_ns)
                if self.execution(e[0], detail):
                    out.append((e, [detail.fee]))
                    self._log.warning("a fill that was not reported to us: %s %s @ %s", f.side, f.size, f.price)
        return out

    def lease(self, payload: bytes, until_ns: int) -> None:
        """Limits and parameters from risk."""
        n = len(self.instruments)
        limits: RecArray = np.frombuffer(payload, LIMITS, n).view(np.recarray)
        params: RecArray = np.frombuffer(payload, PARAMS, n, n * LIMITS.itemsize).view(np.recarray)
        self.core.lease(limits, params, until_ns)

    def _trade(self, f: FillRecord) -> str:
        return f"{self._index[f.symbol]}:{f.trade_id}:{f.client_order_id}"

    def _as_report(self, f: FillRecord, now_ns: int) -> tuple[RecArray, ExecDetail]:
        i = self._index[f.symbol]
        head, _, number = f.client_order_id.rpartition("-")
        e = records(1, EXEC)
        e[0] = (
            f.ts_exch_ns, now_ns, int(number) if head == self._prefix and number.isdigit() else -1,
            self._lots(i, f.size), self._tick(i, f), i, f.side, FILL, int(f.maker),
        )  # fmt: skip
        return e, ExecDetail(f.client_order_id, trade_id=f.trade_id, fee=f.fee)

    def _lots(self, i: int, size: Decimal) -> int:
        """Whole lots; raises ``VenueUnreachable``: an answer that makes no sense is none."""
        try:
            return self.instruments[i].lots(size)
        except ValueError as exc:
            raise VenueUnreachable(f"{self.instruments[i].symbol}: {exc}") from exc

    def _tick(self, i: int, f: FillRecord) -> int:
        """The tick of a fill; where the venue's grid is finer than the one we know, the worse of two."""
        ticks = f.price / self.instruments[i].tick_size
        return int(ticks.to_integral_value(ROUND_CEILING if f.side > 0 else ROUND_FLOOR))
