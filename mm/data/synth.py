"""Seeded synthetic order flow: the data that the project runs on when there is none, and the embedded background.

The model, in one paragraph: a latent fair price moves in small steps (and rare jumps). Makers quote around it and pull
or move their quotes only after a short delay; in that delay informed traders, who know the fair price, take the stale
ones. Uninformed market orders arrive as a two-sided Hawkes process and walk the book. So whoever rests at the touch is
filled mostly when it hurts: mean 5 s markouts of the passive side are negative (a test holds this), while orders
deeper in the book are also reached by large uninformed orders.

Rows of a stream: first ``CLEAR`` + ``SNAPSHOT`` levels; then level rows with absolute quantities of the background
liquidity, and trades, each followed in its message by the level it leaves behind. The stream does not depend on how it
is cut into chunks.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from decimal import Decimal
from typing import Final

import numpy as np

from mm.core.instrument import Instrument
from mm.core.types import EVENT, FUNDING_RATE_UNIT, RecArray, records
from mm.data.rng import seed_rng
from mm.data.store import Store, StoreWriter
from mm.data.synth_kernel import FLOW, RING, SLACK, FlowParams, flow, join_path
from mm.errors import ConfigError

_S: Final = 1e9
_BP: Final = 1e-4


def _btc_usdt() -> Instrument:
    return Instrument(
        symbol="BTC-USDT",
        venue="synthetic",
        kind="linear",
        tick_size=Decimal("0.1"),
        lot_size=Decimal("0.001"),
        min_notional=Decimal(5),
        base="BTC",
        quote="USDT",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SynthSpec:
    """What the flow looks like. Defaults resemble a large BTC perpetual, at a modest 500 events/s."""

    instrument: Instrument = field(default_factory=_btc_usdt)
    mid0: float = 60_000.0  # quote per base
    start_ts_ns: int = 1_704_067_200_000_000_000  # 2024-01-01 UTC

    sigma_bps_per_sqrt_s: float = 0.7  # of the fair price, jumps and trade impact apart
    fair_moves_per_s: float = 8.0
    jumps_per_hour: float = 4.0
    jump_bps: float = 5.0  # standard deviation

    market_orders_per_s: float = 5.0  # uninformed, both sides, without their Hawkes offspring
    hawkes_self: float = 0.4  # offspring on the same side per order
    hawkes_cross: float = 0.1
    hawkes_decay_per_s: float = 5.0
    order_median_lots: float = 30.0
    order_log_sd: float = 1.6
    walk_ticks: int = 200  # how far one market order may walk
    impact_bps: float = 0.03  # fair price move per uninformed order of median size; grows with the root of the size

    informed_share: float = 0.5  # of fair moves that an informed trader races for
    informed_delay_ms: float = 5.0
    informed_median_lots: float = 100.0
    informed_edge_ticks: float = 1.0  # stale by at least this much

    maker_delay_ms: float = 15.0
    min_edge_ticks: float = 0.3  # makers' distance from fair: at least this, plus an exponential
    mean_edge_ticks: float = 0.6
    level_density: float = 0.5  # share of ticks that hold a level
    level_median_lots: float = 80.0
    level_log_sd: float = 1.0
    depth_ticks: int = 400  # quoted per side in a new book

    churn_per_s: float = 75.0  # messages
    churn_levels: int = 6  # per message, at most
    churn_depth_ticks: float = 25.0  # mean distance from the best price

    funding_interval_s: float = 28_800.0
    funding_rate: float = 1e-5
    funding_sd: float = 1e-5

    fair_seed: int | None = None  # flows of one seed share a fair price that begins at start_ts_ns; None: one's own
    basis_bps: float = 0.0  # of this flow's fair price over the shared one
    delay_ms: float = 0.0  # this flow follows the shared one so much later
    impact_half_life_s: float = 2.0  # own trades move the fair price off the shared one for a while

    feed_latency_ms: float = 2.0
    feed_jitter_ms: float = 0.5

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if (
                isinstance(value, (int, float))
                and f.name not in ("funding_rate", "basis_bps")
                and not (math.isfinite(value) and value >= 0)
            ):
                raise ConfigError(f"synthetic flow: {f.name} must be finite and not negative, got {value}")
        if self.hawkes_self + self.hawkes_cross >= 1:
            raise ConfigError("synthetic flow: hawkes_self + hawkes_cross must be below 1, or the flow explodes")
        if not 1 <= self.depth_ticks < RING // 4:
            raise ConfigError(f"synthetic flow: depth_ticks must be in 1..{RING // 4 - 1}, got {self.depth_ticks}")
        if 0 < self.funding_interval_s < 0.01:
            raise ConfigError(
                f"synthetic flow: funding_interval_s must be 0 (never) or at least 0.01, got {self.funding_interval_s}"
            )
        if self.fair_seed is not None and not (self.fair_moves_per_s > 0 and self.impact_half_life_s > 0):
            raise ConfigError(
                "synthetic flow: a shared fair price needs fair_moves_per_s and impact_half_life_s above 0"
            )
        if abs(self.basis_bps) > 1_000:
            raise ConfigError(f"synthetic flow: basis_bps must be in -1000..1000, got {self.basis_bps}")
        if self.min_edge_ticks > 100:
            raise ConfigError(f"synthetic flow: min_edge_ticks must be at most 100, got {self.min_edge_ticks}")
        if not 0 < self.level_density <= 1:
            raise ConfigError(f"synthetic flow: level_density must be in (0, 1], got {self.level_density}")
        if not 10 <= self.mid0_ticks < 2**30:
            raise ConfigError(f"synthetic flow: mid0 {self.mid0} is {self.mid0_ticks:g} ticks, expected 10 to 2^30")

    @property
    def mid0_ticks(self) -> float:
        """The first fair price in ticks."""
        return self.mid0 / float(self.instrument.tick_size)

    def params(self) -> FlowParams:
        """The spec in kernel units."""
        return FlowParams(
            fair_wait=_wait(self.fair_moves_per_s),
            fair_sd=self.sigma_bps_per_sqrt_s * _BP / math.sqrt(self.fair_moves_per_s)
            if self.fair_moves_per_s
            else 0.0,
            jump_wait=_wait(self.jumps_per_hour / 3600),
            jump_sd=self.jump_bps * _BP,
            order_rate=self.market_orders_per_s / 2 / _S,
            hawkes_self=float(self.hawkes_self),
            hawkes_cross=float(self.hawkes_cross),
            hawkes_decay=self.hawkes_decay_per_s / _S,
            order_log_mean=math.log(max(self.order_median_lots, 1.0)),
            order_log_sd=float(self.order_log_sd),
            walk_ticks=float(self.walk_ticks),
            impact=self.impact_bps * _BP,
            informed_share=float(self.informed_share),
            informed_wait=self.informed_delay_ms * 1e6,
            informed_log_mean=math.log(max(self.informed_median_lots, 1.0)),
            informed_edge=float(self.informed_edge_ticks),
            maker_wait=self.maker_delay_ms * 1e6,
            min_edge=max(float(self.min_edge_ticks), 1e-6),
            mean_edge=float(self.mean_edge_ticks),
            density=float(self.level_density),
            level_log_mean=math.log(max(self.level_median_lots, 1.0)),
            level_log_sd=float(self.level_log_sd),
            depth_ticks=float(self.depth_ticks),
            churn_wait=_wait(self.churn_per_s),
            churn_levels=float(self.churn_levels),
            churn_depth=float(self.churn_depth_ticks),
            funding_wait=self.funding_interval_s * _S if self.funding_interval_s else _wait(0.0),
            funding_rate=self.funding_rate / FUNDING_RATE_UNIT,
            funding_sd=self.funding_sd / FUNDING_RATE_UNIT,
            latency=self.feed_latency_ms * 1e6,
            jitter=self.feed_jitter_ms * 1e6,
            path_wait=0.0 if self.fair_seed is None else _wait(self.fair_moves_per_s),
            path_jump=min(self.jumps_per_hour / 3600 / self.fair_moves_per_s, 1.0) if self.fair_moves_per_s else 0.0,
            path_base=self.mid0_ticks * (1.0 + self.basis_bps * _BP),
            path_delay=self.delay_ms * 1e6,
            own_decay=math.log(2.0) / (self.impact_half_life_s * _S) if self.impact_half_life_s else 0.0,
        )


class SynthFlow:
    """An endless stream of events: ``next_chunk`` again and again. Same spec and seed, same rows.

    ``late_ns``: join a shared fair price so long after it began.
    """

    def __init__(self, spec: SynthSpec, seed: int, late_ns: int = 0) -> None:
        self.spec = spec
        self.until_ns = spec.start_ts_ns + late_ns  # exchange time up to which rows were handed out
        self._params = spec.params()
        self._rng = seed_rng(seed)
        self._state = records(1, FLOW)
        self._state[0].now_ns = self.until_ns
        self._state[0].fair = spec.mid0_ticks
        self._path_rng = seed_rng(spec.fair_seed or 0)
        if spec.fair_seed is not None:
            self._state[0].path_ns = spec.start_ts_ns
            join_path(self._params, self._state[0], self._path_rng, self.until_ns)
        self._bids = np.zeros(RING, np.int64)
        self._asks = np.zeros(RING, np.int64)
        self._buffer = records(4 * SLACK, EVENT)

    def next_chunk(self, duration_ns: int) -> RecArray:
        """EVENT rows of the next ``duration_ns`` of exchange time (possibly none); the array is the caller's."""
        self.until_ns += duration_ns
        parts = []
        done = False
        while not done:
            n, done = flow(
                self._params, self._state[0], self._rng, self._path_rng, self._bids, self._asks, self._buffer,
                self.until_ns,
            )  # fmt: skip
            parts.append(self._buffer[:n].copy())
        return parts[0] if len(parts) == 1 else np.concatenate(parts).view(np.recarray)


def write_synth(
    path: str | os.PathLike[str],
    spec: SynthSpec,
    seed: int,
    duration_s: float,
    progress: Callable[[float], None] | None = None,
) -> Store:
    """Generate ``duration_s`` seconds into a store; ``progress`` is called with the share done."""
    if duration_s <= 0:
        raise ConfigError(f"synthetic flow: the duration must be positive, got {duration_s} s")
    source = SynthFlow(spec, seed)
    total_ns = int(duration_s * _S)
    left_ns = total_ns
    with StoreWriter(path, spec.instrument, f"synth seed={seed}") as writer:
        while left_ns > 0:
            step_ns = min(left_ns, 60_000_000_000)
            events = source.next_chunk(step_ns)
            if left_ns == total_ns:
                writer.make_room(len(events) * total_ns / step_ns)
            writer.append(events)
            left_ns -= step_ns
            if progress:
                progress(1 - left_ns / total_ns)
        return writer.finish({"format": "synth", "seed": seed, "duration_s": duration_s})


def _wait(rate_per_s: float) -> float:
    """Mean wait in ns; a rate of zero never fires."""
    return _S / rate_per_s if rate_per_s > 0 else 1e30
