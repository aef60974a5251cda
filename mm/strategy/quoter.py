"""The quoter of one account as a pure object: events and executions in, commands out. No I/O, no clock.

It owns the books and the kernel's records of every instrument of the account. The records of an instrument are made
at its first valid touch, because units are converted at that reference price. The live actor and the tests that
compare live with simulated both drive this object; it calls the same kernels as ``mm.sim.engine``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mm.config.schema import RunConfig
from mm.core.book import BOOK, Levels, apply, clear, is_valid, window
from mm.core.instrument import Instrument
from mm.core.jit import bare, hot_kernel, kernel
from mm.core.types import (
    ACK,
    ASK,
    BID,
    BUY_SIDE,
    CANCELED,
    CANCELING,
    CLEAR_ASK,
    CLEAR_BID,
    COMMAND,
    FILL,
    FREE,
    LAST,
    LIVE,
    SELL_SIDE,
    SENT,
    RecArray,
    records,
)  # fmt: skip
from mm.strategy.controls.names import ACTS, names_of
from mm.strategy.dynamic import PARAMS_REASONS
from mm.strategy.kernel import decide, on_event
from mm.strategy.orders import diff_orders, on_exec
from mm.strategy.overlays import CLAMPED_LIMIT
from mm.strategy.portfolio import equity
from mm.strategy.rate import hold_back
from mm.strategy.setup import StrategyRecords, resolve
from mm.strategy.state import REASONS

_MOVES: Final = {ACK: 1, FILL: -1, CANCELED: -1}  # what a report does to the public quantity at its price
_ENOUGH: Final = 500  # decisions, before a share of them says something


@hot_kernel
def run_events(
    ev: RecArray, books: RecArray, i: int, bids: Levels, asks: Levels, features: RecArray, watches: RecArray,
    flows: RecArray, params: RecArray, states: RecArray, orders: RecArray,
) -> None:  # fmt: skip
    """``on_event`` over a batch: one call from Python per batch instead of one per event."""
    for k in range(ev.shape[0]):
        e = ev[k]
        if e.instrument == i:
            on_event(
                books, i, bids, asks, features[0], watches[0], flows[0], params[0], states[0], orders, e.kind,
                e["flags"], e.tick, e.lots, e.ts_exch_ns, e.ts_recv_ns,
            )  # fmt: skip


@kernel
def run_decide(
    books: RecArray, i: int, bids: Levels, asks: Levels, features: RecArray, watches: RecArray, models: RecArray,
    policies: RecArray, params: RecArray, states: RecArray, limits: RecArray, rates: RecArray, orders: RecArray,
    now_ns: int, stale: bool, targets: RecArray, cmds: RecArray,
) -> int:  # fmt: skip
    """``decide``, ``diff_orders`` and the rate budget; returns the number of commands."""
    decide(
        books, i, bids, asks, features[0], watches[0], models[0], policies[0], params[0], states[0], orders, now_ns,
        stale, targets[0],
    )  # fmt: skip
    n = diff_orders(params[0], states[0], limits[0], orders, targets[0], i, now_ns, cmds)
    return hold_back(rates[0], orders, cmds, n, now_ns) if n > 0 else n


@kernel
def apply_exec(
    params: RecArray, states: RecArray, orders: RecArray, kind: int, order_id: int, side: int, tick: int, lots: int,
    maker: bool, fee_units_e8: int,
) -> None:  # fmt: skip
    """``on_exec`` on record arrays."""
    on_exec(states[0], params[0], orders, kind, order_id, side, tick, lots, maker, fee_units_e8)


@hot_kernel
def move_own(books: RecArray, i: int, bids: Levels, asks: Levels, side: int, tick: int, lots: int, ts_ns: int) -> None:
    """A report of ours that is newer than our copy of the public book: its level changes by ``lots`` before it says so.

    Without this an order that has just ended stands in the copy as somebody else's, until the next message.
    """
    b = books[i]
    k = tick - b.base_tick
    if ts_ns <= b.ts_exch_ns or k < 0 or k >= b.n:
        return
    if side > 0:
        apply(b, bids, asks, BID, tick, max(bids[k] + lots, 0))
    else:
        apply(b, bids, asks, ASK, tick, max(asks[k] + lots, 0))


def fee_units(instrument: Instrument, fee: Decimal) -> int:
    """A charged fee in the ledger's unit (tick x lot x 1e-8), rounded to it."""
    return round(fee / (instrument.tick_size * instrument.lot_size * instrument.contract_value) * 10**8)


class _Slot:
    """One instrument: its book window and, once a price is known, its strategy records."""

    def __init__(self, instrument: Instrument) -> None:
        self.instrument = instrument
        self.bids: Levels = np.zeros(0, np.int64)
        self.asks: Levels = np.zeros(0, np.int64)
        self.records: StrategyRecords | None = None
        self.bare: StrategyRecords | None = None  # the same memory, for kernels
        self.pending_pos_lots = 0
        self.pending_avg_tick = 0.0


class Quoter:
    """See the module. ``next_order`` numbers the next order: set it so that ids stay unique after a restart."""

    def __init__(self, cfg: RunConfig, instruments: Sequence[Instrument], *, own_in_feed: bool = True) -> None:
        self.cfg = cfg
        self.own_in_feed = own_in_feed
        self.books: RecArray = records(len(instruments), BOOK)
        self._books = bare(self.books)
        self._slots = [_Slot(i) for i in instruments]
        self.next_order = 1
        self.unbooked = 0  # executions of an instrument we do not know

    # --- input -------------------------------------------------------------------------------------------------------
    def set_position(self, i: int, pos_lots: int, avg_tick: float) -> None:
        """The venue's position before the first quote, at its average entry."""
        slot = self._slots[i]
        slot.pending_pos_lots, slot.pending_avg_tick = pos_lots, avg_tick
        if slot.records is not None:
            self._open_position(slot, slot.records)

    def on_events(self, events: NDArray[Any]) -> None:
        """Market events (EVENT array) of any of the instruments, in order of arrival."""
        events = bare(events)
        for i, slot in enumerate(self._slots):
            mine = events if len(self._slots) == 1 else events[events["instrument"] == i]
            if len(mine) == 0:
                continue
            r = slot.bare
            if r is None:
                self._warm_up(i, slot, mine.view(np.recarray))
            else:
                run_events(
                    mine, self._books, i, slot.bids, slot.asks, r.features, r.watch, r.flow, r.params, r.state, r.orders
                )

    def on_execs(self, execs: NDArray[Any], fees: Sequence[Decimal]) -> None:
        """Execution reports (EXEC array) with the fee that the venue charged for each."""
        for e, fee in zip(execs.view(np.recarray), fees, strict=True):
            r = self._slots[e.instrument].bare if e.instrument < len(self._slots) else None
            if r is None:
                self.unbooked += 1
                continue
            units = fee_units(r.instrument, fee) if e.kind == FILL else 0
            apply_exec(
                r.params, r.state, r.orders, int(e.kind), int(e.id), int(e.side), int(e.tick), int(e.lots),
                bool(e.maker), units,
            )  # fmt: skip
            if self.own_in_feed and e.kind in _MOVES:
                slot = self._slots[e.instrument]
                move_own(
                    self._books, int(e.instrument), slot.bids, slot.asks, int(e.side), int(e.tick),
                    _MOVES[e.kind] * int(e.lots), int(e.ts_exch_ns),
                )  # fmt: skip

    def set_halted(self, reason: int) -> None:
        """Halt (a HALT_* code) or resume (0): halted, every decision pulls the quotes."""
        for slot in self._slots:
            if slot.records is not None:
                slot.records.state[0].halted = reason

    def forget_order(self, order_id: int) -> None:
        """The executor did not send it, or the venue never knew it: free its slot."""
        for slot in self._slots:
            if slot.records is not None:
                for o in slot.records.orders:
                    if o.state != FREE and o.id == order_id:
                        o.state = FREE

    # --- output ------------------------------------------------------------------------------------------------------
    def decide(self, now_ns: int, stale: bool = False) -> NDArray[Any]:
        """Commands (COMMAND array) of one decision over all instruments."""
        out = []
        for i, slot in enumerate(self._slots):
            r = slot.bare
            if r is None:
                continue
            r.state["next_order"][0] = self.next_order
            n = run_decide(
                self._books, i, slot.bids, slot.asks, r.features, r.watch, r.model, r.policy, r.params, r.state,
                r.limits, r.rate, r.orders, now_ns, stale, r.target, r.cmds,
            )  # fmt: skip
            self.next_order = int(r.state["next_order"][0])
            if n:
                out.append(r.cmds[:n].copy())
        if not out:
            return np.zeros(0, COMMAND)
        return np.concatenate(out) if len(out) > 1 else out[0]

    def records_of(self, i: int) -> StrategyRecords | None:
        """Kernel records of an instrument, None before its first valid touch."""
        return self._slots[i].records

    def both_resting(self, i: int) -> bool:
        """We have a resting order on both sides."""
        r = self._slots[i].records
        if r is None:
            return False
        resting = {int(o.side) for o in r.orders if o.state in (LIVE, CANCELING)}
        return resting == {BUY_SIDE, SELL_SIDE}

    def params_of(self, i: int) -> tuple[str, float, float]:
        """(where A and kappa come from, A [1/s], kappa [1/quote]); an instrument without a price yet is ``static``."""
        r = self._slots[i].records
        if r is None:
            return PARAMS_REASONS[0], math.nan, math.nan
        m = r.model[0]
        return PARAMS_REASONS[int(m.params_reason)], float(m.A), float(m.kappa) / float(r.instrument.tick_size)

    def too_clamped(self) -> float:
        """Largest share of an instrument's decisions that a spread bound moved, 0 when it is no cause for worry."""
        worst = 0.0
        for slot in self._slots:
            if slot.records is not None and (n := int(slot.records.state[0].decision)) >= _ENOUGH:
                worst = max(worst, int(slot.records.state[0].clamped) / n)
        return worst if worst > CLAMPED_LIMIT else 0.0

    def view(self, i: int) -> dict[str, Any]:
        """What a person wants to see of one instrument."""
        slot = self._slots[i]
        r = slot.records
        out: dict[str, Any] = {"symbol": slot.instrument.symbol, "ready": r is not None}
        if r is None:
            return out
        s, f, t = r.state[0], r.features[0], r.target[0]
        tick = float(slot.instrument.tick_size)
        quotes = {}
        for o in r.orders:
            if o.state in (LIVE, CANCELING, SENT):
                quotes["bid" if o.side == BUY_SIDE else "ask"] = round(int(o.tick) * tick, 10)
        valid = bool(f.valid)
        return out | {
            "mid": float(f.mid) * tick if valid else None,
            "position": float(slot.instrument.size(int(s.pos_lots))),
            "pnl_usd": float(equity(s, r.params[0], float(f.mid))) if valid else None,
            "bid": quotes.get("bid"),
            "ask": quotes.get("ask"),
            "sigma_per_sqrt_s": float(s.sigma) * tick,
            **dict(zip(("params", "A_per_s", "kappa_per_quote"), self.params_of(i), strict=True)),
            "reason": REASONS[int(t.reason)],
            "acting": names_of(int(t.acting)),
            "acted": {name: int(n) for name, n in zip(ACTS, s.control.acted, strict=True) if n},
            "fills": int(s.fills),
            "decisions": int(s.decision),
            "clamped": int(s.clamped),
            "clamped_share": int(s.clamped) / max(int(s.decision), 1),
            "pulled": int(s.pulled),
            "reservation_price": float(t.reservation_price) * tick if math.isfinite(t.reservation_price) else None,
        }

    # --- first price -------------------------------------------------------------------------------------------------
    def _warm_up(self, i: int, slot: _Slot, events: RecArray) -> None:
        """Build the book until its first valid touch, then convert the config at that mid and go on."""
        b = self.books[i]
        if len(slot.bids) == 0:
            ticks = events["tick"][(events["kind"] <= ASK) & (events["lots"] > 0)]
            if len(ticks) == 0:
                return
            b.base_tick, b.n = window(int(np.median(ticks)) // 2, int(np.median(ticks)) * 3 // 2, 0.0)
            clear(b)
            slot.bids, slot.asks = np.zeros(b.n, np.int64), np.zeros(b.n, np.int64)
        for k, e in enumerate(events):
            if e.kind in (BID, ASK, CLEAR_BID, CLEAR_ASK):
                apply(b, slot.bids, slot.asks, int(e.kind), int(e.tick), int(e.lots))
            if int(e["flags"]) & LAST and is_valid(b):
                mid = (int(b.base_tick) * 2 + int(b.bb) + int(b.ba)) * 0.5
                r = resolve(
                    self.cfg, slot.instrument, mid * float(slot.instrument.tick_size), own_in_feed=self.own_in_feed
                )
                slot.records, slot.bare = r, r.bare()
                self._open_position(slot, r)
                # the message that made the book valid is its own first sample: its last event is taken again
                p = slot.bare
                run_events(
                    bare(events[k:]),
                    self._books,
                    i,
                    slot.bids,
                    slot.asks,
                    p.features,
                    p.watch,
                    p.flow,
                    p.params,
                    p.state,
                    p.orders,
                )
                return

    def _open_position(self, slot: _Slot, r: StrategyRecords) -> None:
        """Start from the venue's position, bought at its average entry so that equity starts at its unrealised PnL."""
        lots = slot.pending_pos_lots
        s, p = r.state[0], r.params[0]
        s.pos_lots = lots
        if lots:
            s.control.protection.margin.entry = slot.pending_avg_tick
        if p.inverse:
            entry = slot.pending_avg_tick * p.tick_size
            s.cash_coin = lots * p.unit_value / entry if lots else 0.0
        else:
            s.cash_units = -round(lots * slot.pending_avg_tick)
