"""Trials: configs and a tape in, figures out. No Ray, no clock, no files; the same inputs give the same hashes."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mm.config.schema import RunConfig
from mm.errors import ConfigError
from mm.sim.latency import feed_of, receive_ns
from mm.sim.market import MarketView, observations
from mm.sim.one_pass import Pass, SimResult
from mm.sim.state import GROUP
from mm.sim.tape import Tape
from mm.strategy.setup import StrategyRecords, resolve

__all__ = ["SimResult", "decision_times", "market_view", "simulate", "simulate_many"]


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
        jobs.append((market_view(cfg, r, tape, decide_ns), number, cfg, r))
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


def market_view(
    cfg: RunConfig, r: StrategyRecords, tape: Tape, decide_ns: NDArray[np.int64] | None = None
) -> MarketView:
    """What a config sees of a tape: configs with equal views share one pass."""
    p = r.params[0]
    times = decision_times(cfg, tape) if decide_ns is None else decide_ns
    return MarketView(
        times,
        feed_of(cfg.sim.feed_latency, cfg.seed),
        int(p.sigma_sample_ns),
        float(p.sigma_halflife_s),
        float(r.features[0].sigma2),
    )


def _run_pass(group: Sequence[tuple[Any, MarketView, int, RunConfig, StrategyRecords]], tape: Tape) -> list[Any]:
    """One pass over the tape for up to 64 configs of one market view: [(number, result)]."""
    one = Pass([g[3] for g in group], [g[4] for g in group], group[0][1], tape)
    one.advance()
    return list(zip((g[2] for g in group), one.results(), strict=True))
