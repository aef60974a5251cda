"""Live and simulated fills of one run side by side: which are the same, which differ, and why.

A fill is the same when side, price and size agree and the times lie within ``SAME_NS``; pieces of one order at one
time are one fill. What is left is explained by the other world's order just before: it had none there (its order was
still under way, or already taken back), stood at another price, stood at the same price but it was not its turn, or
held another position, so that an earlier difference speaks.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mm.config.schema import RunConfig
from mm.core.types import ACK, CANCELED, FILL
from mm.data.own_orders import Report
from mm.data.touch import Walker
from mm.sim.market import observations
from mm.sim.one_pass import Pass
from mm.sim.run import market_view
from mm.sim.tape import Tape
from mm.strategy.setup import settings_of
from mm.strategy.state import STATE

SAME_NS: Final = 100_000_000
_SHOWN: Final = 4_000  # mids that are kept
_FILL: Final = ("ts_exch_ns", "side", "tick", "lots", "mid")  # of FILL_ROW

FILL_PAIR = np.dtype(
    [
        ("live_ns", "i8"),  # 0: there is none
        ("sim_ns", "i8"),
        ("side", "i8"),
        ("tick", "i8"),
        ("lots", "i8"),
        ("cause", "i8"),  # index into CAUSES
        ("live_pos", "i8"),  # before it, lots
        ("sim_pos", "i8"),
        ("other_tick", "i8"),  # where the other world's order stood, 0: nowhere
        ("other_front", "f8"),  # simulated: lots ahead of it
    ]
)
CAUSES: Final = ("same", "queue_position", "latency", "other_price", "follows", "own_footprint")
SAME, QUEUE, LATENCY, PRICE, FOLLOWS, FOOTPRINT = range(len(CAUSES))


class Fill(NamedTuple):
    """One fill of either world; ``mid`` just before it, ticks."""

    ts_ns: int
    side: int
    tick: int
    lots: int
    mid: float


class Standing(NamedTuple):
    """Our orders at the exchange just before a time: tick (0: none) and lots ahead, and our position."""

    bid_tick: int
    bid_front: float
    ask_tick: int
    ask_front: float
    pos_lots: int

    def side(self, side: int) -> tuple[int, float]:
        return (self.bid_tick, self.bid_front) if side > 0 else (self.ask_tick, self.ask_front)


@dataclass(frozen=True)
class Divergence:
    """Fills of both worlds, paired, and the figures that the promise is about (``figures``)."""

    pairs: NDArray[Any]  # FILL_PAIR in order of time
    live: list[Fill]
    sim: list[Fill]
    figures: dict[str, Any]
    mids: NDArray[np.float64]  # (n, 2) time in ns, mid in ticks, thinned for a picture


def merged(fills: list[Fill]) -> list[Fill]:
    """Pieces of equal time, side and price as one."""
    out: list[Fill] = []
    for f in fills:
        if out and out[-1][:3] == f[:3]:
            out[-1] = out[-1]._replace(lots=out[-1].lots + f.lots)
        else:
            out.append(f)
    return out


def match(live: list[Fill], sim: list[Fill]) -> list[tuple[int, int]]:
    """(index in ``live``, index in ``sim``) of fills that are the same: each with the nearest in time, once."""
    near: list[tuple[int, int, int]] = []
    by_key: dict[tuple[int, int, int], list[int]] = {}
    for k, f in enumerate(sim):
        by_key.setdefault(f[1:4], []).append(k)
    for k, f in enumerate(live):
        near += [
            (abs(sim[j].ts_ns - f.ts_ns), k, j)
            for j in by_key.get(f[1:4], [])
            if abs(sim[j].ts_ns - f.ts_ns) <= SAME_NS
        ]
    used_live: set[int] = set()
    used_sim: set[int] = set()
    out = []
    for _, k, j in sorted(near):
        if k not in used_live and j not in used_sim:
            used_live.add(k)
            used_sim.add(j)
            out.append((k, j))
    return sorted(out)


def with_mids(fills: list[Fill], tape: Tape, mids: NDArray[np.float64]) -> list[Fill]:
    """Fills with the mid of the exchange's book before the message that brought them, pieces put together."""
    out = []
    for f in fills:
        at = int(np.searchsorted(tape.msg_exch_ns, f.ts_ns))
        out.append(f._replace(mid=float(mids[at - 1]) if at > 0 else np.nan))
    return merged(out)


def exchange_mids(tape: Tape) -> NDArray[np.float64]:
    """Mid after each message of the tape, ticks; nan while a side is empty."""
    base_tick, _ = tape.book_window
    bid, ask = Walker(tape.book_window).feed(
        (tape.words >> 28).astype(np.uint8), (tape.words & 0xFFFFFFF).astype(np.int64) + base_tick, tape.lots
    )
    last = np.maximum(tape.msg_start[1:] - 1, 0)
    return np.where(bid[last] > 0, 0.5 * (bid[last] + ask[last]), np.nan)


def as_published(reports: list[Report], tape: Tape) -> list[Report]:
    """Our fills at the time of the market message that tells of them; everything else at its own."""
    out = []
    for r in reports:
        at = int(np.searchsorted(tape.msg_exch_ns, r.ts_exch_ns))
        late = r.kind == FILL and at < len(tape.msg_exch_ns)
        out.append(r._replace(ts_exch_ns=int(tape.msg_exch_ns[at])) if late else r)
    return sorted(out, key=lambda r: r.ts_exch_ns)


def live_standing(reports: list[Report], times: list[int], opening_lots: int) -> list[Standing]:
    """Our recorded orders just before each of the (rising) times; fills count when they are published."""
    out: list[Standing] = []
    orders: dict[int, list[int]] = {}
    pos, at = opening_lots, 0
    for t in times:
        while at < len(reports) and reports[at].ts_exch_ns < t:
            r = reports[at]
            at += 1
            if r.kind == ACK:
                orders[r.id] = [r.side, r.tick, r.lots]
            elif r.kind == FILL:
                pos += r.side * r.lots
                if r.id in orders:
                    orders[r.id][2] -= r.lots
                    if orders[r.id][2] <= 0:
                        del orders[r.id]
            elif r.kind == CANCELED:
                orders.pop(r.id, None)
        bid = max((o[1] for o in orders.values() if o[0] > 0), default=0)
        ask = min((o[1] for o in orders.values() if o[0] < 0), default=0)
        out.append(Standing(bid, np.nan, ask, np.nan, pos))
    return out


def sim_standing(one: Pass, times: list[int]) -> list[Standing]:
    """The simulated orders at the last decision before each of the (rising) times; ``one`` is advanced."""
    base = one.tape.book_window[0]
    out = []
    for t in times:
        one.advance(t - 1)
        bid, ask, account = one.venue.bid_orders[0], one.venue.ask_orders[0], one.venue.accounts[0]
        bid_tick = base + int(bid.index) if bid.leaves > 0 else 0
        ask_tick = base + int(ask.index) if ask.leaves > 0 else 0
        out.append(Standing(bid_tick, float(bid.front), ask_tick, float(ask.front), int(account.pos_lots)))
    return out


def _one_pass(cfg: RunConfig, tape: Tape, decide_ns: NDArray[np.int64], opening_lots: int) -> Pass:
    settings = settings_of(cfg, tape.instrument, tape.ref_price)
    state = np.frombuffer(bytearray(settings.state), STATE)
    state["pos_lots"] = opening_lots
    state["cash_units"] = -round(opening_lots * tape.ref_price / float(tape.instrument.tick_size))
    return Pass([cfg], [replace(settings, state=state.tobytes())], market_view(cfg, tape, decide_ns), tape)


def same_market(
    cfg: RunConfig, tape: Tape, decide_ns: NDArray[np.int64], live_mid: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """At which decisions the simulated strategy sees the mid that the live one saw."""
    view = market_view(cfg, tape, decide_ns)
    mids = np.concatenate([np.asarray(chunk.features["mid"]) for chunk in observations(tape, view)])
    return np.asarray(mids == live_mid)


def diverge(
    cfg: RunConfig, tape: Tape, decide_ns: NDArray[np.int64], reports: list[Report], opening_lots: int = 0
) -> Divergence:
    """Simulate ``cfg`` on a run's tape at its decision moments and compare with what the run did.

    ``reports``: ours in the exchange's order. Profit is before fees, positions at the last mid.
    """
    whole = _one_pass(cfg, tape, decide_ns, opening_lots)
    whole.advance()
    rows = whole.results()[0].fills
    mids = exchange_mids(tape)
    sim = with_mids([Fill(*row) for row in rows[list(_FILL)].tolist()], tape, mids)
    reports = as_published(reports, tape)
    ours = [r for r in reports if r.kind == FILL and r.ts_exch_ns <= decide_ns[-1]]
    live = with_mids([Fill(r.ts_exch_ns, r.side, r.tick, r.lots, np.nan) for r in ours], tape, mids)
    same = match(live, sim)
    pairs = _pairs(live, sim, same)
    times = [int(max(p["live_ns"], p["sim_ns"])) for p in pairs]
    in_sim = sim_standing(_one_pass(cfg, tape, decide_ns, opening_lots), times)
    in_live = live_standing(reports, times, opening_lots)
    for p, s, v in zip(pairs, in_sim, in_live, strict=True):
        _explain(p, s, v, pairs)
    shown = np.unique(np.linspace(0, len(mids) - 1, _SHOWN).astype(int))
    return Divergence(
        pairs, live, sim, _figures(pairs, live, sim, same, whole.last_mid, tape),
        np.column_stack([tape.msg_exch_ns[shown], mids[shown]]).astype(np.float64),
    )  # fmt: skip


def _pairs(live: list[Fill], sim: list[Fill], same: list[tuple[int, int]]) -> NDArray[Any]:
    found = {"live": {k for k, _ in same}, "sim": {j for _, j in same}}
    rows = [(live[k].ts_ns, sim[j].ts_ns, *live[k][1:4], SAME, 0, 0, 0, 0.0) for k, j in same]
    rows += [(f.ts_ns, 0, *f[1:4], 0, 0, 0, 0, 0.0) for k, f in enumerate(live) if k not in found["live"]]
    rows += [(0, f.ts_ns, *f[1:4], 0, 0, 0, 0, 0.0) for j, f in enumerate(sim) if j not in found["sim"]]
    return np.array(sorted(rows, key=lambda r: max(r[0], r[1])), FILL_PAIR)


def _explain(p: Any, in_sim: Standing, in_live: Standing, pairs: NDArray[Any]) -> None:
    """Fill the rest of a pair: what the other world had standing there, and so the cause."""
    p["live_pos"], p["sim_pos"] = in_live.pos_lots, in_sim.pos_lots
    if p["live_ns"] and p["sim_ns"]:
        return
    other = in_sim if p["live_ns"] else in_live
    tick, front = other.side(int(p["side"]))
    p["other_tick"], p["other_front"] = tick, 0.0 if np.isnan(front) else front
    if tick == p["tick"]:
        p["cause"] = FOOTPRINT if p["sim_ns"] and _we_took_it(p, pairs) else QUEUE
    elif in_sim.pos_lots != in_live.pos_lots:
        p["cause"] = FOLLOWS
    else:
        p["cause"] = PRICE if tick else LATENCY


def _we_took_it(p: Any, pairs: NDArray[Any]) -> bool:
    """A live fill of ours on that side in the same message: the aggressor had met us elsewhere."""
    return bool(np.any((pairs["live_ns"] == p["sim_ns"]) & (pairs["side"] == p["side"])))


def _profit(fills: list[Fill], mid: float, unit_value: float) -> float:
    return float(sum(f.side * f.lots * (mid - f.tick) for f in fills)) * unit_value


def _capture(fills: list[Fill], unit_value: float) -> float:
    """Distance from the mid just before each fill times its size: the gross spread capture, quote currency."""
    return float(sum(f.side * f.lots * (f.mid - f.tick) for f in fills if np.isfinite(f.mid))) * unit_value


def _figures(
    pairs: NDArray[Any], live: list[Fill], sim: list[Fill], same: list[tuple[int, int]], mid: float, tape: Tape
) -> dict[str, Any]:
    unit = tape.instrument.unit_value()
    pnl_live, pnl_sim = _profit(live, mid, unit), _profit(sim, mid, unit)
    capture = _capture(live, unit)
    n = max(len(live), 1)
    counts = Counter(CAUSES[c] for c in pairs["cause"].tolist())
    return {
        "fills_live": len(live),
        "fills_sim": len(sim),
        "fills_same": len(same),
        "fills_diff_pct": 100.0 * abs(len(sim) - len(live)) / n,
        "lots_live": sum(f.lots for f in live),
        "lots_sim": sum(f.lots for f in sim),
        "pnl_live_usd": pnl_live,
        "pnl_sim_usd": pnl_sim,
        "capture_live_usd": capture,
        "capture_sim_usd": _capture(sim, unit),
        "pnl_diff_pct_of_capture": 100.0 * abs(pnl_sim - pnl_live) / abs(capture) if capture else None,
        "causes": {name: counts.get(name, 0) for name in CAUSES if name != "same"},
    }
