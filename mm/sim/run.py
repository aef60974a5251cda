"""Trials: configs and a tape in, figures out. No Ray, no clock, no files; the same inputs give the same hashes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mm.config.schema import RunConfig
from mm.core.instrument import Instrument
from mm.core.types import COMMAND, RecArray, records
from mm.errors import ConfigError, RaymakerError
from mm.models.base import MODEL_PARAMS, POLICY
from mm.sim.engine import replay
from mm.sim.latency import feed_of, receive_ns
from mm.sim.market import MarketView, observations
from mm.sim.metrics import Metric, summarise
from mm.sim.state import FILL_ROW, GROUP, SAMPLE, WORKING
from mm.sim.tables import Messages, Strategies
from mm.sim.tape import Tape
from mm.sim.venue import open_venue
from mm.strategy.orders import MAX_COMMANDS
from mm.strategy.rate import RATE
from mm.strategy.risk import LIMITS, LOSS
from mm.strategy.setup import StrategyRecords, resolve
from mm.strategy.state import PARAMS, STATE, TARGET

MAX_SAMPLES = 4000
_RECORDS = {
    "params": PARAMS, "model": MODEL_PARAMS, "policy": POLICY, "state": STATE, "limits": LIMITS, "loss": LOSS,
    "rate": RATE,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class SimResult:
    """What a trial leaves behind. ``fills``: FILL_ROW; ``samples``: SAMPLE (``mm.sim.state``)."""

    instrument: Instrument
    metrics: dict[str, Metric]
    result_hash: str
    events: int
    fills: NDArray[Any]
    samples: NDArray[Any]


def decision_times(cfg: RunConfig, tape: Tape) -> NDArray[np.int64]:
    """Decision moments: every complete message, or a timer that starts with the tape."""
    recv = receive_ns(tape, feed_of(cfg.sim.feed_latency, cfg.seed))
    if cfg.sim.decide_every == "message":
        return np.unique(recv[tape.msg_whole != 0])
    step_ns = round(cfg.sim.decide_every * 1e9)
    if step_ns <= 0:
        raise ConfigError("sim.decide_every must be positive, or 'message'")
    first, last = int(recv[0]), int(recv[-1])
    times = np.arange(first + step_ns, last + 1, step_ns, dtype=np.int64)
    if len(times) == 0:
        raise ConfigError(f"sim.decide_every: the tape lasts {tape.span_s:g} s, shorter than one step")
    return times


def simulate(cfg: RunConfig, tape: Tape, decide_ns: NDArray[np.int64] | None = None) -> SimResult:
    """One trial; ``decide_ns`` overrides the decision moments (to repeat a live run's).

    Raises:
        ConfigError: the config does not fit the instrument.
    """
    return simulate_many([cfg], tape, decide_ns=decide_ns)[0]


def simulate_many(
    configs: Sequence[RunConfig], tape: Tape, *, threads: int = 1, decide_ns: NDArray[np.int64] | None = None
) -> list[SimResult]:
    """Trials of many configs on one tape, up to 64 in one pass; results in the order of ``configs``.

    Configs that see the market alike (decision moments, feed latency, volatility settings) share a pass; everything
    else may differ. No result depends on the grouping or on ``threads``.

    Raises:
        ConfigError: a config does not fit the instrument.
    """
    jobs = []
    for number, cfg in enumerate(configs):
        r = resolve(cfg, tape.instrument, tape.ref_price)
        jobs.append((_view(cfg, r, tape, decide_ns), number, cfg, r))
    keyed = sorted(((view.key(), view, number, cfg, r) for view, number, cfg, r in jobs), key=lambda j: (j[0], j[2]))
    passes = []
    for _, members in groupby(keyed, key=lambda j: j[0]):
        group = list(members)
        size = min(GROUP, -(-len(group) // threads)) if threads > 1 else GROUP
        passes += [group[k : k + size] for k in range(0, len(group), size)]
    if threads > 1 and len(passes) > 1:
        list(observations(tape, passes[0][0][1]))  # computed once, before the threads ask for it
        with ThreadPoolExecutor(threads) as pool:
            done = list(pool.map(lambda group: _run_pass(group, tape), passes))
    else:
        done = [_run_pass(group, tape) for group in passes]
    results: list[SimResult | None] = [None] * len(configs)
    for part in done:
        for number, result in part:
            results[number] = result
    return [r for r in results if r is not None]


def _view(cfg: RunConfig, r: StrategyRecords, tape: Tape, decide_ns: NDArray[np.int64] | None) -> MarketView:
    p = r.params[0]
    times = decision_times(cfg, tape) if decide_ns is None else decide_ns
    return MarketView(
        times,
        feed_of(cfg.sim.feed_latency, cfg.seed),
        int(p.sigma_sample_ns),
        float(p.sigma_halflife_s),
        float(r.features[0].sigma2),
    )


def _stack(parts: Sequence[StrategyRecords], name: str) -> RecArray:
    out = records(len(parts), _RECORDS[name])
    for k, part in enumerate(parts):
        out[k] = getattr(part, name)[0]
    return out


def _run_pass(group: Sequence[tuple[Any, MarketView, int, RunConfig, StrategyRecords]], tape: Tape) -> list[Any]:
    """One pass over the tape for up to 64 configs of one market view: [(number, result)]."""
    view = group[0][1]
    parts = [g[4] for g in group]
    configs = [g[3] for g in group]
    n = len(group)
    stacked = {name: _stack(parts, name) for name in _RECORDS}
    venue = open_venue(configs, tape, stacked["params"], stacked["state"])
    orders = records(n, WORKING)
    strategies = Strategies(**stacked, orders=orders, target=records(1, TARGET), cmds=records(MAX_COMMANDS, COMMAND))
    messages = Messages(tape.words, tape.lots, tape.msg_exch_ns, tape.msg_start, tape.msg_whole, tape.book_window[0])
    stride = max(1, -(-len(view.decide_ns) // MAX_SAMPLES))
    samples = np.zeros((n, -(-len(view.decide_ns) // stride)), SAMPLE).view(np.recarray)
    log = []
    done = 0
    last_mid = 0.0
    for seen in observations(tape, view):
        last_mid = float(seen.features[-1].mid)
        d = 0
        while d < len(seen.decide_ns):
            made = replay(messages, seen, venue, strategies, d, done, samples, stride)
            d += made
            done += made
            log.append(venue.fills[: int(venue.cursor[0].fills)].copy())
            venue.cursor[0].fills = 0
    if int(np.sum(venue.sets.overflow)):
        raise RaymakerError("the simulated exchange ran out of room for messages or fills; please report this config")
    all_fills = np.concatenate([venue.fills[:0], *log])
    out = []
    for k, (_, _, number, cfg, part) in enumerate(group):
        mine = all_fills[all_fills["set"] == k]
        own = {name: stacked[name][k : k + 1] for name in _RECORDS}
        metrics = summarise(cfg, part.instrument, own, venue.sets[k], mine, samples[k], last_mid, venue.refusals[k])
        out.append((number, SimResult(tape.instrument, metrics, _hash(mine, samples[k], own), tape.events, mine,
                                      samples[k])))  # fmt: skip
    return out


def _hash(fills: NDArray[Any], samples: NDArray[Any], own: dict[str, Any]) -> str:
    digest = hashlib.sha256()
    columns = [name for name in FILL_ROW.names or () if name != "set"]
    for part in (*(fills[name] for name in columns), samples, own["state"], own["loss"]):
        digest.update(np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()
