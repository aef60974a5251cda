"""What a recorded run says about the market and the line to it: a tape without our orders, and measured latencies.

Times are taken as the quoter lived them. A frame that had arrived but still lay in a queue when a decision was made is
seen after that decision; a report likewise. So a simulation that decides at the recorded moments knows at each of
them exactly what the quoter knew.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from actors.recorder import BEGIN, Life, read_inbox, read_lives
from actors.replay import Frames, instruments_of
from actors.transport import EVENTS, EXECS
from actors.wire import unpack_execs
from mm.config.schema import VenueConfig
from mm.core.instrument import Instrument
from mm.core.types import CANCEL_REJECT, CANCELED, EVENT, EXEC_NAMES, FILL, PLACE
from mm.data.own_orders import Netting, Report, publications
from mm.data.store import Store, StoreWriter
from mm.errors import DataError
from mm.strategy.journal import read_journal
from mm.venues.registry import get_venue

_KINDS: Final = {name: kind for kind, name in enumerate(EXEC_NAMES)}


@dataclass(frozen=True, slots=True)
class RunTape:
    """One instrument of a run, ready to be simulated."""

    store: Store
    instrument: Instrument
    index: int  # of the instrument in its venue
    decide_ns: NDArray[np.int64]
    live_mid: NDArray[np.float64]  # what the quoter saw at each decision, ticks
    stale: int  # decisions on market data that could not be trusted
    orders: NDArray[np.int64]  # (n, 2) sent, delay
    responses: NDArray[np.int64]  # (n, 2) left the exchange, delay
    reports: list[Report]  # of our orders, in the exchange's order
    opening_lots: int
    netting: dict[str, int]


def own_reports(run_dir: Path, venue: str, instrument: int) -> list[Report]:
    """What the exchange said about our orders in one instrument, in its order."""
    rows = [
        Report(r["ts_exch"], _KINDS[r["kind"]], r["id"], r["side"], r["tick"], r["lots"])
        for r in read_journal(run_dir / "journal" / f"{venue}.jsonl")
        if r["t"] == "exec" and r["i"] == instrument
    ]
    return sorted(rows, key=lambda r: r.ts_exch_ns)


def _opening(run_dir: Path, venue: str, instrument: int) -> int:
    for r in read_journal(run_dir / "journal" / f"{venue}.jsonl"):
        if r["t"] == "position" and r["i"] == instrument:
            return int(r["lots"])
    return 0


def _seen(life: Life) -> Iterator[tuple[Any, int, int]]:
    """(message, time just after the last decision that did not know it, time of the first that did)."""
    rows = life.decisions
    messages, now_ns = rows["messages"], rows["now_ns"]
    n = 0
    for m, _ in read_inbox(life.inbox):
        if m.kind == BEGIN:
            continue
        n += 1
        first = int(np.searchsorted(messages, n))  # the first decision with it
        since = int(now_ns[first - 1]) + 1 if first > 0 else 0
        yield m, since, int(now_ns[first]) if first < len(rows) else m.t_wall_ns


def make_tape(run_dir: Path, venue: VenueConfig, index: int, out: Path) -> RunTape:
    """Write the store of one instrument of a venue to ``out``.

    Raises:
        DataError: nothing on record, or no book in it.
    """
    lives = read_lives(run_dir, venue.name)
    instruments = instruments_of(lives)
    reports = own_reports(run_dir, venue.name, index)
    frames = Frames(run_dir, venue.name, get_venue(venue.kind).make_codec(instruments, ""))
    netting = Netting(reports)
    published: list[int] = []
    last_recv = 0
    with StoreWriter(out, instruments[index], f"run {run_dir.name}, {venue.name}") as writer:
        for group in publications(_as_seen(lives, frames, index)):
            published.append(int(group[0]["ts_exch_ns"][0]))
            for rows in netting.message(group):
                np.maximum(rows["ts_recv_ns"], last_recv, out=rows["ts_recv_ns"])
                last_recv = int(rows["ts_recv_ns"][-1])
                rows["instrument"] = 0
                writer.append(rows)
        store = writer.finish()
    rows = np.concatenate([life.decisions for life in lives])
    rows = rows[rows["instrument"] == index]
    if len(rows) == 0:
        raise DataError(f"{run_dir}: no decision of {instruments[index].symbol} is on record")
    return RunTape(
        store, instruments[index], index, rows["now_ns"].astype(np.int64), rows["mid"].astype(np.float64),
        int(np.count_nonzero(rows["stale"])), _order_latency(lives, reports, index),
        _response_latency(lives, index, np.array(published, np.int64)), reports,
        _opening(run_dir, venue.name, index),
        {"quiet": netting.quiet, "crossed": netting.crossed, "short": netting.short},
    )  # fmt: skip


def _as_seen(lives: list[Life], frames: Frames, index: int) -> Iterator[NDArray[Any]]:
    """Events of one instrument, a frame at a time, received when the quoter could first know them."""
    taken = ((m, since) for life in lives for m, since, _ in _seen(life) if m.kind == EVENTS)
    m, since = next(taken, (None, 0))
    for frame, events in frames.decoded():
        if len(events) == 0:
            continue
        recv_ns = frame.ts_recv_ns
        if m is not None and m.t_wall_ns == frame.ts_recv_ns and m.b == frame.number & 0xFFFF:
            recv_ns = max(recv_ns, since)
            m, since = next(taken, (None, 0))
        mine = events[events["instrument"] == index]
        if len(mine):
            mine = mine.astype(EVENT)  # a copy: decoded arrays may be shared
            mine["ts_recv_ns"] = recv_ns
            yield mine


def _order_latency(lives: list[Life], reports: list[Report], index: int) -> NDArray[np.int64]:
    """From the decision to the exchange, of every decision that sent something the exchange answered."""
    placed: dict[int, int] = {}
    ended: dict[int, int] = {}
    for r in reports:
        if r.kind in (CANCELED, CANCEL_REJECT):
            ended.setdefault(r.id, r.ts_exch_ns)
        elif r.kind != FILL:
            placed.setdefault(r.id, r.ts_exch_ns)
    rows: list[tuple[int, int]] = []
    for life in lives:
        first = np.flatnonzero(np.diff(life.decisions["now_ns"], prepend=-1))  # one row an instrument
        ends = np.cumsum(life.decisions["commands"][first])
        for d, end in zip(first, ends, strict=True):
            now_ns, n = int(life.decisions["now_ns"][d]), int(life.decisions["commands"][d])
            arrived = [
                (placed if c["op"] == PLACE else ended).get(int(c["id"]), 0)
                for c in life.commands[end - n : end]
                if c["instrument"] == index
            ]
            delays = [at - now_ns for at in arrived if at >= now_ns]
            if delays:
                rows.append((now_ns, max(delays)))
    return np.array(sorted(rows), np.int64).reshape(-1, 2)


def _response_latency(lives: list[Life], index: int, published: NDArray[np.int64]) -> NDArray[np.int64]:
    """From the exchange to the decision that knew it. A simulated fill happens when the market is published."""
    rows: list[tuple[int, int]] = []
    for life in lives:
        for m, _, taken in _seen(life):
            if m.kind != EXECS:
                continue
            execs, _ = unpack_execs(m.payload)
            for e in execs[execs["instrument"] == index]:
                left = int(e["ts_exch_ns"])
                if e["kind"] == FILL:
                    at = int(np.searchsorted(published, left))
                    left = int(published[at]) if at < len(published) else left
                rows.append((left, max(taken - left, 0)))
    return np.array(sorted(rows, key=lambda r: r[0]), np.int64).reshape(-1, 2)
