"""Trials: configs and a tape in, figures out. No Ray, no clock, no files; the same inputs give the same hashes."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mm.config.schema import RunConfig
from mm.core.units import Volatility
from mm.errors import ConfigError
from mm.sim.cross import cross_of
from mm.sim.latency import feed_of, receive_ns
from mm.sim.market import MarketView, prepare
from mm.sim.one_pass import Pass, SimResult
from mm.sim.state import GROUP
from mm.sim.tape import Tape
from mm.strategy.controls.signals import WATCH
from mm.strategy.setup import dynamic_of, fit_every_ns, settings_of, volatility_estimate

__all__ = ["SimResult", "decision_times", "market_view", "simulate", "simulate_many"]


_CONFIGURED = (1_000_000_000, 60.0, -1.0)  # stands for the volatility estimate of those who have none: none is negative
MAX_DECISIONS = 1_000_000_000
WORTH_A_THREAD = 16  # strategies: with fewer, replaying the book once more costs what the thread gains
_STATIC = (0.0, 0)  # for the estimate of A and kappa


def decision_times(cfg: RunConfig, tape: Tape) -> NDArray[np.int64]:
    """Decision moments: every complete message, or a timer that starts with the tape."""
    recv = receive_ns(tape, feed_of(cfg.sim.feed_latency, cfg.seed))
    if cfg.sim.decide_every == "message":
        return np.unique(recv[tape.msg_whole != 0])
    step_ns = round(cfg.sim.decide_every * 1e9)
    if step_ns <= 0:
        raise ConfigError("sim.decide_every must be positive, or 'message'")
    first, last = int(recv[0]), int(recv[-1])
    if (last - first) // step_ns > MAX_DECISIONS:
        raise ConfigError(
            f"sim.decide_every: {cfg.sim.decide_every:g} s is more than {MAX_DECISIONS:,} decisions in the "
            f"{tape.span_s:g} s of the tape; 'message' decides whenever something is new"
        )
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
    views: dict[Any, tuple[MarketView, list[int]]] = {}
    for number, cfg in enumerate(configs):
        clock = (cfg.sim.decide_every, feed_of(cfg.sim.feed_latency, cfg.seed))
        if clock not in times:
            times[clock] = decision_times(cfg, tape) if decide_ns is None else decide_ns
        key = ((clock, cfg.sim.samples, cross_of(cfg, tape), _signals(cfg, tape)), _volatility(cfg, tape), _flow(cfg))
        if key not in views:
            views[key] = (market_view(cfg, tape, times[clock]), [])
        views[key][1].append(number)
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
    for view, numbers in views.values():
        size = min(GROUP, max(-(-len(numbers) // threads), WORTH_A_THREAD))
        observing = Lock()  # passes of one view wait for its observations rather than make them again
        passes += [(view, numbers[k : k + size], observing) for k in range(0, len(numbers), size)]

    def run(one: tuple[MarketView, list[int], Lock]) -> list[tuple[int, SimResult]]:
        view, numbers, observing = one
        mine = [configs[k] for k in numbers]
        parts = [settings_of(cfg, tape.instrument, tape.ref_price) for cfg in mine]
        made = Pass(mine, parts, view, tape)
        with observing:
            prepare(tape, view)
        made.advance()
        return list(zip(numbers, made.results(), strict=True))

    if threads > 1 and len(passes) > 1:
        with _short_turns(), ThreadPoolExecutor(threads) as pool:
            done = list(pool.map(run, passes))
    else:
        done = [run(one) for one in passes]
    results = dict(chain.from_iterable(done))
    return [results[number] for number in range(len(configs))]


@contextmanager
def _short_turns() -> Iterator[None]:
    """A thread whose replay is over waits at most so long for the Python of another (by default ten times as long)."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.0005)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def _volatility(cfg: RunConfig, tape: Tape) -> tuple[int, float, float]:
    """(sampling step, half-life, first value [ticks^2/s]) of the estimate."""
    sigma = cfg.strategy.model.sigma
    if isinstance(sigma, Volatility):
        return _CONFIGURED
    return volatility_estimate(sigma, tape.instrument, tape.ref_price)


def _signals(cfg: RunConfig, tape: Tape) -> bytes:
    """Settings of the signals that the controls need; nothing when they need none."""
    if cfg.strategy.controls is None:
        return b""
    settings = np.frombuffer(settings_of(cfg, tape.instrument, tape.ref_price).watch, WATCH)["settings"][0]
    return bytes(settings.tobytes()) if settings["on"] else b""


def _flow(cfg: RunConfig) -> tuple[float, int]:
    """(half-life, time between fits) of the estimate of A and kappa."""
    dynamic = dynamic_of(cfg)
    return _STATIC if dynamic is None else (dynamic.halflife, fit_every_ns(dynamic))


def market_view(cfg: RunConfig, tape: Tape, decide_ns: NDArray[np.int64] | None = None) -> MarketView:
    """What a config sees of a tape: configs with equal views share one pass."""
    times = decision_times(cfg, tape) if decide_ns is None else decide_ns
    feed, cross = feed_of(cfg.sim.feed_latency, cfg.seed), cross_of(cfg, tape)
    return MarketView(times, feed, *_volatility(cfg, tape), flow=_flow(cfg), cross=cross, signals=_signals(cfg, tape))
