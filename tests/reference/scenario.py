"""A tiny market and scripted commands for the simulated exchange alone: what is reported, filled and booked.

Times are milliseconds after ``T0``, prices ticks, sizes lots.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import NamedTuple

from mm.config.schema import RunConfig
from mm.core.types import ASK, BID, BUY, CANCEL, EVENT, EXEC_NAMES, LAST, PLACE, SELL, records
from mm.data.store import StoreWriter
from mm.sim.exchange import advance
from mm.sim.latency import arrival_ns
from mm.sim.state import FLIGHT_ROWS, FUNDED, LIQUIDATED, REPORT_ROWS
from mm.sim.tables import Messages
from mm.sim.tape import from_store
from mm.sim.venue import open_venue
from mm.strategy.setup import resolve

T0 = 1_704_067_200_000_000_000
MS = 1_000_000
BOOK = [(0, BID, 600_000, 5), (0, BID, 599_999, 7), (0, ASK, 600_002, 4), (0, ASK, 600_003, 6)]
NAMES = dict(enumerate(EXEC_NAMES)) | {FUNDED: "funded", LIQUIDATED: "liquidated"}


class Told(NamedTuple):
    """One report as it reaches the strategy."""

    ms: float
    kind: str
    id: int
    side: int
    tick: int
    lots: int


class Outcome(NamedTuple):
    """Of one strategy: reports, fills as (ms, id, side, tick, lots), its account and SET record, refusals."""

    told: list[Told]
    fills: list[tuple[float, int, int, int, int]]
    account: object
    settings: object
    refusals: object


def tape(rows, instrument):
    """Rows of (ms, kind, tick, lots); rows of one time are one message.

    Two trades before there is a book tell the store how far prices will go.
    """
    ticks = [row[2] for row in rows]
    rows = [(-2, SELL, min(ticks), 1), (-1, BUY, max(ticks), 1), *rows]
    ev = records(len(rows), EVENT)
    for k, (ms, kind, tick, lots) in enumerate(rows):
        ev[k].ts_exch_ns = ev[k].ts_recv_ns = T0 + round(ms * MS)
        ev[k].kind, ev[k].tick, ev[k].lots = kind, tick, lots
        ev[k]["flags"] = LAST if k + 1 == len(rows) or rows[k + 1][0] != ms else 0
    with tempfile.TemporaryDirectory() as folder, StoreWriter(Path(folder) / "s", instrument, "test") as writer:
        writer.append(ev)
        return from_store(writer.finish({}))


def config(sim=None, risk=None, strategy=None):
    """10 ms each way, risk-averse queue (the script sends orders of any size)."""
    base = {"order_latency": "10ms", "response_latency": "10ms", "queue": {"model": "risk_averse"}}
    size = {"order_size": "1000 usd"}
    return RunConfig.model_validate(
        {"sim": base | (sim or {}), "risk": risk or {}, "strategy": size | (strategy or {})}
    )


def place(ms, number, side, tick, lots):
    return ms, PLACE, number, side, tick, lots


def cancel(ms, number, side):
    return ms, CANCEL, number, side, 600_000, 0


def play(rows, scripts, configs, instrument):
    """One Outcome a strategy: ``scripts`` hold the commands that each sends, in order of time."""
    market = tape(BOOK + rows, instrument)
    parts = [resolve(cfg, instrument, market.ref_price) for cfg in configs]
    params, states = records(len(parts), parts[0].params.dtype), records(len(parts), parts[0].state.dtype)
    for k, part in enumerate(parts):
        params[k], states[k] = part.params[0], part.state[0]
    v = open_venue(configs, market, params, states)
    for k, script in enumerate(scripts):
        for ms, op, number, side, tick, lots in script:
            row = k * FLIGHT_ROWS + int(v.sets[k].flight_tail)
            arrive_ns = arrival_ns(v.connections[2 * k], v.series, T0 + round(ms * MS))
            v.flight[row] = (arrive_ns, number, lots, tick - v.base_tick, side, op)
            v.sets[k].flight_tail += 1
        v.due_ns[k] = v.flight[k * FLIGHT_ROWS].arrive_ns if script else v.due_ns[k]
    v.cursor[0].due_ns = v.due_ns.min()
    stream = Messages(
        market.words, market.lots, market.msg_exch_ns, market.msg_start, market.msg_whole, market.book_window[0]
    )
    advance(v, stream, T0 + 3_600_000 * MS)
    fills = v.fills[: int(v.cursor[0].fills)]
    out = []
    for k in range(len(configs)):
        told = [
            Told((int(r.arrive_ns) - T0) / MS, NAMES[int(r.kind)], int(r.id), int(r.side), int(r.tick), int(r.lots))
            for r in v.reports[k * REPORT_ROWS : k * REPORT_ROWS + int(v.sets[k].reports_tail)]
        ]
        mine = [
            ((int(f.ts_exch_ns) - T0) / MS, int(f.order_id), int(f.side), int(f.tick), int(f.lots))
            for f in fills
            if f.set == k
        ]
        out.append(Outcome(told, mine, v.accounts[k], v.sets[k], v.refusals[k]))
    return out
