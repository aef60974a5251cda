"""The executor's brain without I/O and without a clock: order map, gate, lease, latch, and what is true on the venue.

The actor around it sends, journals and publishes; this object only says what may be sent and what the reports mean.
Three guards stop everything: a *halt* (latched until someone lifts it), an expired risk *lease*, a silent quoter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, NamedTuple

import numpy as np

from mm.core.instrument import Instrument
from mm.core.jit import bare, kernel
from mm.core.types import (
    CANCELING,
    COMMAND,
    EXEC,
    FILL,
    FREE,
    LIVE,
    ORDER,
    ORDER_SLOTS,
    REJECT,
    SENT,
    Rec,
    RecArray,
    records,
)  # fmt: skip
from mm.strategy.orders import add, find
from mm.strategy.quoter import apply_exec, fee_units
from mm.strategy.risk import GATE_REASONS, LIMITS, NOT_HALTED, PASS, gate
from mm.strategy.state import PARAMS, STATE

# verdicts of `place`, after those of the gate
NOT_READY: Final = len(GATE_REASONS)
OLD_EPOCH: Final = NOT_READY + 1
USED_ID: Final = NOT_READY + 2
SIDE_UNKNOWN: Final = NOT_READY + 3
NO_SLOT: Final = NOT_READY + 4
RATE_BUDGET: Final = NOT_READY + 5
VERDICTS: Final = (
    *GATE_REASONS, "executor_not_ready", "decided_before_resync", "order_id_used", "side_outcome_unknown",
    "no_order_slot", "rate_budget",
)  # fmt: skip

PORTFOLIO: Final = (
    "pos_lots", "cash_units", "cash_coin", "fee_units_e8", "fee_coin", "fills", "taker_fills", "bought_lots",
    "sold_lots", "notional_units",
)  # fmt: skip
_HEAD = np.dtype([("next_order", "i8"), ("halted", "i8")])


class Command(NamedTuple):
    """One COMMAND record as plain numbers: reading a numpy record field by field costs more than the gate."""

    id: int
    lots: int
    tick: int
    instrument: int
    side: int
    op: int


def read_commands(payload: bytes) -> list[Command]:
    """Commands from the bytes of a COMMAND array; raises ``ValueError`` when the size is wrong."""
    return [Command(*row) for row in np.frombuffer(payload, COMMAND).tolist()]


@kernel
def try_place(
    limits: RecArray, params: RecArray, states: RecArray, orders: RecArray, order_id: int, side: int, tick: int,
    lots: int, now_ns: int,
) -> int:  # fmt: skip
    """Gate a new order and put it into the table; returns PASS or an index into ``VERDICTS``."""
    for k in range(orders.shape[0]):
        if orders[k].state == SENT and orders[k].side == side:
            return SIDE_UNKNOWN
    verdict = gate(limits[0], params[0], states[0], orders, side, tick, lots, now_ns)
    if verdict != PASS:
        return verdict
    if add(orders, order_id, side, tick, lots, now_ns) < 0:
        return NO_SLOT
    return PASS


@dataclass(frozen=True, slots=True)
class OrderKey:
    """One of our orders."""

    instrument: int
    id: int


class Differences(NamedTuple):
    """What the venue's open orders say that our table did not."""

    gone: list[OrderKey]  # ours that are not there any more
    unknown: list[OrderKey]  # theirs that we do not know: to be cancelled
    found: list[OrderKey]  # ours that rest although nobody told us
    again: list[OrderKey]  # ours whose cancel had no effect: to be cancelled again


class ExecutorCore:
    """State of one account. Times are nanoseconds since the epoch, passed in.

    Args:
        instruments: their order gives the instrument index.
        ack_timeout_ns: an order or cancel without an answer for longer has an unknown outcome.
        quoter_timeout_ns: the quoter must be heard from at least this often, or its orders are pulled.
    """

    def __init__(self, instruments: Sequence[Instrument], ack_timeout_ns: int, quoter_timeout_ns: int) -> None:
        self.instruments = list(instruments)
        n = len(self.instruments)
        self.params = [_booking_params(i) for i in self.instruments]
        self.limits = [records(1, LIMITS) for _ in range(n)]  # all zero: nothing passes before the first lease
        self.states = [records(1, STATE) for _ in range(n)]
        self.orders = [records(ORDER_SLOTS, ORDER) for _ in range(n)]
        rows = zip(self.limits, self.params, self.states, self.orders, strict=True)
        self._bare = [tuple(bare(r) for r in row) for row in rows]  # the same memory, for kernels
        self.ack_timeout_ns = ack_timeout_ns
        self.quoter_timeout_ns = quoter_timeout_ns
        self.ready = False
        self.epoch = 0
        self.next_order = 1
        self.halted = NOT_HALTED
        self.quoter_seen_ns = 0
        self.trades: set[str] = set()
        self.verdicts = [0] * len(VERDICTS)
        self._missing: dict[OrderKey, int] = {}
        self._strangers: set[OrderKey] = set()
        self._mismatch: dict[int, int] = {}

    # --- what may be sent --------------------------------------------------------------------------------------------
    def place(self, c: Command, epoch: int, now_ns: int) -> int:
        """May this PLACE command go out? PASS puts it into the table (state SENT); else an index into ``VERDICTS``."""
        i = c.instrument
        if not self.ready:
            verdict = NOT_READY
        elif epoch != self.epoch:
            verdict = OLD_EPOCH
        elif c.id < self.next_order:
            verdict = USED_ID
        else:
            limits, params, states, orders = self._bare[i]
            verdict = try_place(limits, params, states, orders, c.id, c.side, c.tick, c.lots, now_ns)
        if verdict == PASS:
            self.next_order = c.id + 1
        self.verdicts[verdict] += 1
        return verdict

    def refuse(self, verdict: int) -> int:
        """Count a refusal that was decided elsewhere; returns it."""
        self.verdicts[verdict] += 1
        return verdict

    def cancel(self, instrument: int, order_id: int, now_ns: int) -> bool:
        """Mark an order as being cancelled; False when it is not working (any more)."""
        k = find(self.orders[instrument], order_id)
        if k < 0:
            return False
        self.orders[instrument][k].state = CANCELING
        self.orders[instrument][k].ts_sent_ns = now_ns
        return True

    def must_pull(self, now_ns: int) -> str:
        """Why every working order has to go now, or an empty string."""
        if not any(self.working(i) for i in range(len(self.orders))):
            return ""
        if self.halted:
            return "halted"
        if any(int(lim[0].valid_until_ns) < now_ns for lim in self.limits):
            return "risk_lease_expired"
        if now_ns - self.quoter_seen_ns > self.quoter_timeout_ns:
            return "quoter_silent"
        return ""

    def may_trade(self, now_ns: int) -> bool:
        """Connected, and risk's lease runs (a halted account too: its quoter then quotes nothing)."""
        return self.ready and all(int(lim[0].valid_until_ns) >= now_ns for lim in self.limits)

    # --- risk --------------------------------------------------------------------------------------------------------
    def lease(self, limits: RecArray, params: RecArray, until_ns: int) -> None:
        """Take limits (and the parameters the gate reads), valid until a time. One record per instrument."""
        for i in range(len(self.instruments)):
            self.limits[i][0] = limits[i]
            self.limits[i][0].valid_until_ns = until_ns
            self.params[i][0] = params[i]

    def halt(self, code: int) -> bool:
        """Latch: no new order until ``rearm``. False when already latched (the first reason stays)."""
        if self.halted != NOT_HALTED:
            return False
        self.halted = code
        for s in self.states:
            s[0].halted = code
        return True

    def rearm(self) -> None:
        """Lift the latch."""
        self.halted = NOT_HALTED
        for s in self.states:
            s[0].halted = NOT_HALTED

    # --- what the venue said -----------------------------------------------------------------------------------------
    def execution(self, e: Rec, fee: Decimal, trade: str) -> bool:
        """Book one report. ``trade`` identifies a fill; a fill that was booked before is ignored (False)."""
        i = int(e.instrument)
        units = 0
        if e.kind == FILL:
            if trade in self.trades:
                return False
            self.trades.add(trade)
            units = fee_units(self.instruments[i], fee)
        _, params, state, orders = self._bare[i]
        apply_exec(
            params, state, orders, int(e.kind), int(e.id), int(e.side), int(e.tick),
            int(e.lots), bool(e.maker), units,
        )  # fmt: skip
        return True

    def overdue(self, now_ns: int) -> list[OrderKey]:
        """Orders whose placing or cancelling has not been answered in time: their outcome must be asked for."""
        return [
            OrderKey(i, int(o.id))
            for i, orders in enumerate(self.orders)
            for o in orders
            if o.state in (SENT, CANCELING) and now_ns - o.ts_sent_ns > self.ack_timeout_ns
        ]

    def reconcile(self, on_venue: set[OrderKey], asked_ns: int) -> Differences:
        """Compare with the venue's open orders, asked for at ``asked_ns``.

        A verdict needs two answers in a row, because a report may be on its way; only orders sent before the question
        are judged. The gone are freed here, as if rejected; those whose acknowledgement was lost become live. A cancel
        that has not been answered in time wants sending again (it can only cancel).
        """
        gone: list[OrderKey] = []
        found: list[OrderKey] = []
        again: list[OrderKey] = []
        missing: dict[OrderKey, int] = {}
        known: set[OrderKey] = set()
        for i, orders in enumerate(self.orders):
            for o in orders:
                if o.state == FREE:
                    continue
                key = OrderKey(i, int(o.id))
                known.add(key)
                if key in on_venue:
                    if o.state == SENT and asked_ns - o.ts_sent_ns > self.ack_timeout_ns:
                        o.state = LIVE
                        found.append(key)
                    elif o.state == CANCELING and asked_ns - o.ts_sent_ns > self.ack_timeout_ns:
                        o.ts_sent_ns = asked_ns
                        again.append(key)
                elif o.ts_sent_ns < asked_ns:
                    missing[key] = self._missing.get(key, 0) + 1
                    if missing[key] >= 2:
                        gone.append(key)
                        o.state = FREE
        self._missing = missing
        strangers = on_venue - known
        unknown = sorted(strangers & self._strangers, key=lambda k: (k.instrument, k.id))
        self._strangers = strangers
        return Differences(gone, unknown, found, again)

    def fills(self, instrument: int) -> int:
        """Number of fills booked."""
        return int(self.states[instrument][0].fills)

    def position_differs(self, instrument: int, venue_lots: int, fills_before: int) -> bool:
        """True when the venue's position has differed from ours by the same amount twice in a row.

        ``fills_before`` is ``fills`` when the question was asked: an answer that a fill has overtaken says nothing.
        """
        if self.fills(instrument) != fills_before:
            return False
        difference = venue_lots - int(self.states[instrument][0].pos_lots)
        before = self._mismatch.get(instrument, 0)
        self._mismatch[instrument] = difference
        return difference != 0 and difference == before

    # --- starting over -----------------------------------------------------------------------------------------------
    def open_position(self, instrument: int, lots: int, avg_tick: float) -> None:
        """Start from a position bought at its average entry, so that profit starts at its unrealised part."""
        s, p = self.states[instrument][0], self.params[instrument][0]
        s.pos_lots = lots
        if p.inverse:
            s.cash_coin = lots * p.unit_value / (avg_tick * p.tick_size) if lots else 0.0
        else:
            s.cash_units = -round(lots * avg_tick)

    def forget_orders(self) -> None:
        """Nothing is open on the venue (it has been asked)."""
        for orders in self.orders:
            orders["state"] = FREE
        self._missing = {}

    def working(self, instrument: int) -> int:
        """Number of orders that may be live."""
        return int(np.count_nonzero(self.orders[instrument]["state"] != FREE))

    def refusals(self) -> dict[str, int]:
        """Commands that did not pass, by reason."""
        return {name: n for name, n in zip(VERDICTS, self.verdicts, strict=True) if n and name != VERDICTS[PASS]}

    def rejection(self, c: Command, now_ns: int) -> RecArray:
        """The report that frees a refused order at the quoter."""
        out = records(1, EXEC)
        e = out[0]
        e.ts_exch_ns = e.ts_recv_ns = now_ns
        e.id, e.lots, e.tick, e.instrument, e.side, e.kind = c.id, c.lots, c.tick, c.instrument, c.side, REJECT
        return out

    def sync(self) -> bytes:
        """Everything that the quoter and risk must know to go on from here."""
        head = np.zeros(1, _HEAD)
        head["next_order"], head["halted"] = self.next_order, self.halted
        parts = [head.tobytes()]
        for s, o in zip(self.states, self.orders, strict=True):
            parts += [s.tobytes(), o.tobytes()]
        return b"".join(parts)


@dataclass(frozen=True, slots=True)
class Truth:
    """A decoded ``ExecutorCore.sync``."""

    next_order: int
    halted: int
    states: list[RecArray]
    orders: list[RecArray]


def read_sync(payload: bytes, n_instruments: int) -> Truth:
    """The other end of ``ExecutorCore.sync``; raises ``ValueError`` when the size is wrong."""
    size = _HEAD.itemsize + n_instruments * (STATE.itemsize + ORDER_SLOTS * ORDER.itemsize)
    if len(payload) != size:
        raise ValueError(f"a sync of {len(payload)} bytes, expected {size}")
    head = np.frombuffer(payload, _HEAD, 1)
    states: list[RecArray] = []
    orders: list[RecArray] = []
    at = _HEAD.itemsize
    for _ in range(n_instruments):
        states.append(np.frombuffer(payload, STATE, 1, at).view(np.recarray))
        at += STATE.itemsize
        orders.append(np.frombuffer(payload, ORDER, ORDER_SLOTS, at).view(np.recarray))
        at += ORDER_SLOTS * ORDER.itemsize
    return Truth(int(head["next_order"][0]), int(head["halted"][0]), states, orders)


def adopt(truth: Truth, i: int, state: RecArray, orders: RecArray | None = None) -> None:
    """Take over position, cash and working orders; what only the receiver knows (funding, policy clocks) stays."""
    for name in PORTFOLIO:
        state[name] = truth.states[i][name]
    state["halted"] = truth.halted
    if orders is not None:
        orders[:] = truth.orders[i]


def _booking_params(instrument: Instrument) -> Any:
    """What booking a fill needs, before the first lease brings the rest."""
    out = records(1, PARAMS)
    p = out[0]
    p.inverse = instrument.kind == "inverse"
    p.spot = instrument.kind == "spot"
    p.unit_value = float(instrument.lot_size * instrument.contract_value) if p.inverse else instrument.unit_value()
    p.tick_size = float(instrument.tick_size)
    return out
