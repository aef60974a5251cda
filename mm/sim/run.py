"""One trial: a config and a tape in, figures out. No Ray, no clock, no files; the same inputs give the same hash."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mm.config.schema import RunConfig
from mm.core.book import new_book
from mm.core.instrument import Instrument
from mm.core.types import BUY, LAST, SELL, records
from mm.errors import ConfigError
from mm.sim.engine import replay
from mm.sim.metrics import markouts_bps, sharpe_annual, spread_capture_bps
from mm.sim.queue import MODELS as QUEUE_MODELS
from mm.sim.state import FILL_ROW, IN_FLIGHT, REPORT, RING, RUN, SAMPLE, SLOTS, XORDER
from mm.sim.tape import Tape
from mm.strategy.portfolio import equity, fees_paid
from mm.strategy.risk import HALT_REASONS
from mm.strategy.setup import StrategyRecords, resolve

MAX_SAMPLES = 4000
Metric = float | int | str | None


@dataclass(frozen=True, slots=True)
class SimResult:
    """What a run leaves behind. ``fills``: FILL_ROW; ``samples``: SAMPLE (``mm.sim.state``)."""

    instrument: Instrument
    metrics: dict[str, Metric]
    result_hash: str
    events: int
    fills: NDArray[Any]
    samples: NDArray[Any]


def receive_times(cfg: RunConfig, tape: Tape) -> NDArray[np.int64]:
    """When the strategy sees each row: as recorded, or one constant latency after the exchange."""
    if cfg.sim.feed_latency == "data":
        return tape.ts_recv_ns
    ts_recv = tape.ts_exch_ns + round(cfg.sim.feed_latency * 1e9)
    ts_recv.setflags(write=False)  # as the memory maps are: one compiled version of the engine
    return ts_recv


def decision_times(cfg: RunConfig, tape: Tape, ts_recv: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
    """Decision moments: every complete message, or a timer that starts with the tape."""
    ts_recv = receive_times(cfg, tape) if ts_recv is None else ts_recv
    if cfg.sim.decide_every == "message":
        return np.unique(ts_recv[(tape.flags & LAST) != 0])
    step_ns = round(cfg.sim.decide_every * 1e9)
    if step_ns <= 0:
        raise ConfigError("sim.decide_every must be positive, or 'message'")
    first, last = int(ts_recv[0]), int(ts_recv[-1])
    return np.arange(first + step_ns, last + 1, step_ns, dtype=np.int64)


def simulate(cfg: RunConfig, tape: Tape, decide_ns: NDArray[np.int64] | None = None) -> SimResult:
    """Replay ``tape`` under ``cfg``; ``decide_ns`` overrides the decision moments (to repeat a live run's).

    Raises:
        ConfigError: the config does not fit the instrument, or more fills are on their way than can be kept.
    """
    r = resolve(cfg, tape.instrument, tape.ref_price)
    ts_recv = receive_times(cfg, tape)
    times = decision_times(cfg, tape, ts_recv) if decide_ns is None else decide_ns
    base, n = tape.book_window
    xbook, xbids, xasks = new_book(base, n)
    book, bids, asks = new_book(base, n)
    run = records(1, RUN)
    # an order fills in one piece, or in as many as there are trades
    fills = records(2 * len(times) + 2 * int(np.count_nonzero((tape.kind == SELL) | (tape.kind == BUY))) + 64, FILL_ROW)
    stride = max(1, -(-len(times) // MAX_SAMPLES))
    samples = records(len(times) // stride + 1, SAMPLE)
    replay(
        tape.kind, tape.flags, tape.tick, tape.lots, tape.ts_exch_ns, ts_recv, times, xbook, xbids, xasks, book, bids,
        asks, r.params, r.model, r.policy, r.features, r.state, r.orders, r.limits, r.loss, r.target, r.cmds,
        records(SLOTS, XORDER), records(RING, IN_FLIGHT), records(RING, REPORT), run, fills, samples, stride,
        QUEUE_MODELS[cfg.sim.queue.model], float(cfg.sim.queue.n), round(cfg.sim.order_latency * 1e9),
        round(cfg.sim.response_latency * 1e9),
    )  # fmt: skip
    if run[0].lost:
        raise ConfigError(
            f"sim: more than {RING} messages were on their way at once; shorten sim.decide_every or the latencies"
        )
    fills = fills[: int(run[0].fills)].copy()  # the table is larger than what a sweep should keep
    samples = samples[: int(run[0].samples)]
    metrics = _metrics(cfg, r, run[0], fills, samples)
    digest = hashlib.sha256()
    for part in (fills, samples, r.state, r.loss):
        digest.update(np.ascontiguousarray(part).tobytes())
    return SimResult(tape.instrument, metrics, digest.hexdigest(), tape.events, fills, samples)


def _metrics(cfg: RunConfig, r: StrategyRecords, run: Any, fills: Any, samples: Any) -> dict[str, Metric]:
    s, p, loss = r.state[0], r.params[0], r.loss[0]
    mid = float(run.last_mid)
    traded = bool(s.fills)
    pnl = float(equity(s, p, mid)) if traded else 0.0
    volume = float(s.notional_units) * float(p.unit_value)
    span_s = max((int(run.last_ns) - int(run.first_valid_ns)) * 1e-9, 0.0) if run.first_valid_ns else 0.0
    decisions = max(int(s.decision), 1)
    fees = float(fees_paid(s, p, mid)) if traded else 0.0
    risk = cfg.risk.max_drawdown_usd
    out: dict[str, Metric] = {
        "pnl_usd": pnl,
        "equity_usd": cfg.risk.initial_equity_usd + pnl,
        "fees_usd": fees,
        "funding_usd": float(s.funding),
        "max_drawdown_usd": float(loss.drawdown_usd),
        "fills": int(s.fills),
        "taker_fills": int(s.taker_fills),
        "volume_usd": volume,
        "pnl_per_volume_bps": pnl / volume * 1e4 if volume else None,
        "pnl_per_1000_usd_at_risk": pnl / risk * 1000.0,
        "position": float(r.instrument.size(int(s.pos_lots))),
        "max_abs_position": float(r.instrument.size(int(np.max(np.abs(fills["pos_lots"]), initial=0)))),
        "orders": int(run.orders),
        "cancels": int(run.cancels),
        "rejects": int(run.rejects),
        "decisions": int(s.decision),
        "quote_uptime": float(run.both_ns) * 1e-9 / span_s if span_s else 0.0,
        "clamped_share": int(s.clamped) / decisions,
        "pulled_share": int(s.pulled) / decisions,
        "sharpe_annual": sharpe_annual(samples),
        "spread_capture_bps": spread_capture_bps(fills),
        "span_s": span_s,
        "halted": HALT_REASONS[int(s.halted)] or None,
    }
    return out | dict(markouts_bps(fills, samples))
