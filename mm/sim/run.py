"""Trials: configs and a tape in, figures out. No Ray, no clock, no files; the same inputs give the same hashes."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mm.config.schema import RunConfig
from mm.errors import ConfigError
from mm.sim.cross import cross_of
from mm.sim.latency import feed_of, receive_ns
from mm.sim.market import MarketView, observations
from mm.sim.one_pass import Pass, SimResult
from mm.sim.state import GROUP
from mm.sim.tape import Tape
from mm.strategy.setup import StrategyRecords, resolve

__all__ = ["SimResult", "decision_times", "market_view", "simulate", "simulate_many"]


_CONFIGURED = (1_000_000_000, 60.0, 0.0)  # stands for the volatility estimate of those who have none
_STATIC = (0.0, 0)  # for the estimate of A and kappa


class _Job(NamedTuple):
    number: int  # place in the caller's list
    cfg: RunConfig
    records: StrategyRecords


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

    Configs that see the market alike (decision moments, feed latency, settings of volatility and of the controls'
    signals, the other venue) share a pass; everything else may differ. No result depends on the grouping or on
    ``threads``.

    Raises:
        ConfigError: a config does not fit the instrument.
    """
    times: dict[Any, NDArray[np.int64]] = {}
    views: dict[Any, tuple[MarketView, list[_Job]]] = {}
    for number, cfg in enumerate(configs):
        r = resolve(cfg, tape.instrument, tape.ref_price)
        clock = (cfg.sim.decide_every, feed_of(cfg.sim.feed_latency, cfg.seed))
        if clock not in times:
            times[clock] = decision_times(cfg, tape) if decide_ns is None else decide_ns
        key = ((clock, cross_of(cfg, tape), _signals(r)), _volatility(r), _flow(r))
        if key not in views:
            views[key] = (market_view(cfg, r, tape, times[clock]), [])
        views[key][1].append(_Job(number, cfg, r))
    for key in list(views):  # who reads no estimate joins others who see, besides, all that it needs
        sight, volatility, flow = key
        for other in views:
            if (
                other != key
                and other[0] == sight
                and volatility in (_CONFIGURED, other[1])
                and flow in (_STATIC, other[2])
            ):
                views[other][1].extend(views.pop(key)[1])
                break
    passes = []
    for view, jobs in views.values():
        size = min(GROUP, -(-len(jobs) // threads))
        passes += [(view, jobs[k : k + size]) for k in range(0, len(jobs), size)]
    if threads > 1 and len(passes) > 1:
        with ThreadPoolExecutor(threads) as pool:
            shared = [view for view, jobs in views.values() if len(jobs) > 1]
            list(pool.map(lambda view: sum(1 for _ in observations(tape, view)), shared))  # once each, kept by the tape
            done = list(pool.map(lambda one: _run_pass(one[0], one[1], tape), passes))
    else:
        done = [_run_pass(view, jobs, tape) for view, jobs in passes]
    results = dict(chain.from_iterable(done))
    return [results[number] for number in range(len(configs))]


def _volatility(r: StrategyRecords) -> tuple[int, float, float]:
    """(sampling step, half-life, first value) of the estimate."""
    p = r.params[0]
    if p.static_sigma >= 0.0:
        return _CONFIGURED
    return int(p.sigma_sample_ns), float(p.sigma_halflife_s), float(r.features[0].sigma2)


def _signals(r: StrategyRecords) -> bytes:
    """Settings of the signals that the controls need; nothing when they need none."""
    settings = r.watch["settings"][0]
    return settings.tobytes() if settings["on"] else b""


def _flow(r: StrategyRecords) -> tuple[float, int]:
    """(half-life, time between fits) of the estimate of A and kappa."""
    return float(r.flow[0].halflife_s), int(r.flow[0].every_ns)


def market_view(
    cfg: RunConfig, r: StrategyRecords, tape: Tape, decide_ns: NDArray[np.int64] | None = None
) -> MarketView:
    """What a config sees of a tape: configs with equal views share one pass."""
    times = decision_times(cfg, tape) if decide_ns is None else decide_ns
    feed, cross = feed_of(cfg.sim.feed_latency, cfg.seed), cross_of(cfg, tape)
    return MarketView(times, feed, *_volatility(r), flow=_flow(r), cross=cross, signals=_signals(r))


def _run_pass(view: MarketView, jobs: Sequence[_Job], tape: Tape) -> list[tuple[int, SimResult]]:
    """One pass over the tape for up to 64 configs of one market view: (number, result) of each."""
    one = Pass([job.cfg for job in jobs], [job.records for job in jobs], view, tape)
    one.advance()
    return list(zip((job.number for job in jobs), one.results(), strict=True))
