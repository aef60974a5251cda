"""A and kappa of a recorded market, per side, with intervals and a verdict on whether they may be used.

Prices are ticks here. An order that met the touch at distance ``half`` from the mid and went ``excess`` whole ticks
beyond it would have filled a quote up to there; on the tick grid the excess is geometric with ratio exp(-kappa), so
kappa = ln(1 + 1/mean excess) and not 1/mean depth (FORMULAS section 3, tick-grouped). A is the rate at zero depth:
no order can stop inside the spread, so the rate is divided by the time average of exp(-kappa·half).

In real books most orders take just the touch and the rest reaches far: one exponential fits neither. Where the fit of
all orders misses by more than ``HURDLE``, kappa and A are those of the orders that went beyond the touch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mm.models.arrivals import Arrivals
from mm.models.flow import HURDLE
from mm.models.intensity import line, mle_grouped, survival_counts

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

MIN_ORDERS: Final = 100  # ± 20 % at 95 %
MAX_MISFIT: Final = 0.25  # largest distance between the observed and the fitted share of orders that reach a depth
BLOCKS: Final = 40  # of time, for intervals
T_BLOCKS: Final = 2.02  # 97.5 % of Student's t with BLOCKS - 1 degrees of freedom
SPREADS: Final = 2048  # spreads told apart, ticks
RATES: Final = (1e-5, 1e4)  # A below or above is no rate of market orders, per second
DECAYS_BPS: Final = (1e-3, 1e3)  # kappa below or above is no decay, per bp of price


class Gate(StrEnum):
    """Whether an estimate may be used, else why not."""

    OK = "ok"
    TOO_FEW = "too_few_arrivals"
    POOR_FIT = "poor_fit"
    A_AT_BOUND = "A_at_bound"
    KAPPA_AT_BOUND = "kappa_at_bound"


class Estimate(NamedTuple):
    """A value with its 95 % interval; nan where the data do not say."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class SideFit:
    """λ(δ) = A·exp(-kappa·δ) of market orders of one side; ``both`` is their mean, what a symmetric model takes."""

    side: str  # sells (they fill bids), buys (they fill asks) or both
    orders: int
    prints: int
    alpha: Estimate  # orders per second and side
    beyond: bool  # fitted to the orders that went beyond the touch
    used: int  # orders fitted
    A: Estimate  # 1/s, one side
    kappa: Estimate  # 1/tick
    survival_A: Estimate  # noqa: N815 - the symbols of the formula sheet
    survival_kappa: Estimate
    misfit: float  # Kolmogorov-Smirnov distance
    gate: Gate
    depth: Floats  # ticks from the mid
    rate: Floats  # observed orders per second and side that reached it


NOTHING: Final = Estimate(math.nan, math.nan, math.nan)


class _Sample(NamedTuple):
    """Orders of one side (or of both: ``sides`` 2) and the time in which they came, cut into blocks."""

    excess: NDArray[np.int64]
    half: Floats
    block: NDArray[np.int64]
    time: Floats  # (BLOCKS, SPREADS) seconds by spread in ticks
    sides: int


def calibrate(found: Arrivals, bp_ticks: float) -> list[SideFit]:
    """Fits of sells, buys and both. ``bp_ticks``: one basis point of the price, in ticks."""
    edges = np.linspace(_first(found), found.end_ns, BLOCKS + 1)
    time = _time_by_spread(found, edges)
    out = []
    for name, mine, prints in (
        ("sells", ~found.buys, found.prints[0]),
        ("buys", found.buys, found.prints[1]),
        ("both", np.ones(len(found.buys), np.bool_), sum(found.prints)),
    ):
        mine = mine & (found.ts_ns >= edges[0])  # noqa: PLW2901 - the same orders, those within the time observed
        block = np.clip(np.searchsorted(edges, found.ts_ns[mine], side="right") - 1, 0, BLOCKS - 1)
        sample = _Sample(found.excess[mine], found.half[mine], block, time, 2 if name == "both" else 1)
        out.append(_fit(name, prints, sample, bp_ticks))
    return out


def observed_s(found: Arrivals) -> float:
    """Seconds with a valid book."""
    return float(_time_by_spread(found, np.array([_first(found), found.end_ns], float)).sum())


def _first(found: Arrivals) -> int:
    valid = np.flatnonzero(np.isfinite(found.mid))
    return int(found.mid_ns[valid[0]]) if len(valid) else found.end_ns


def _time_by_spread(found: Arrivals, edges: Floats) -> Floats:
    """(blocks, SPREADS) seconds; times without a valid book are nobody's."""
    at = np.union1d(found.mid_ns, edges.astype(np.int64))
    at = at[(at >= edges[0]) & (at <= edges[-1])]
    state = np.searchsorted(found.mid_ns, at[:-1], side="right") - 1
    spread = found.spread[np.maximum(state, 0)]
    shown = (state >= 0) & np.isfinite(spread)
    block = np.clip(np.searchsorted(edges, at[:-1], side="right") - 1, 0, len(edges) - 2)
    out = np.zeros((len(edges) - 1, SPREADS))
    width = np.minimum(np.nan_to_num(spread), SPREADS - 1).astype(np.int64)
    np.add.at(out, (block[shown], width[shown]), np.diff(at)[shown] * 1e-9)
    return out


def _fit(name: str, prints: int, s: _Sample, bp_ticks: float) -> SideFit:
    n = len(s.excess)
    beyond = misfit(s.excess) > HURDLE
    fitted = s.excess[s.excess > 0] - 1 if beyond else s.excess
    every = np.ones(BLOCKS, np.bool_)
    alpha = _jackknife(lambda keep: (_kept(s, keep) / max(_seconds(s, keep), 1e-9),), every)[0]
    enough = len(fitted) >= MIN_ORDERS
    A, kappa = _jackknife(lambda keep: _mle(s, keep, beyond=beyond), every) if enough else (NOTHING, NOTHING)
    survival = _jackknife(lambda keep: _survival(s, keep, beyond=beyond), every) if enough else (NOTHING, NOTHING)
    distance = misfit(fitted)
    gate = Gate.OK
    if not enough:
        gate = Gate.TOO_FEW
    elif not DECAYS_BPS[0] <= kappa.value * bp_ticks <= DECAYS_BPS[1]:
        gate = Gate.KAPPA_AT_BOUND
    elif not RATES[0] <= A.value <= RATES[1]:
        gate = Gate.A_AT_BOUND
    elif distance > MAX_MISFIT:
        gate = Gate.POOR_FIT
    depth = _grid(s, beyond=False)
    rate = survival_counts(s.half + s.excess, depth) / max(_seconds(s, every), 1e-9)
    return SideFit(
        side=name, orders=n, prints=prints, alpha=alpha, beyond=beyond, used=len(fitted), A=A, kappa=kappa,
        survival_A=survival[0], survival_kappa=survival[1], misfit=distance, gate=gate, depth=depth, rate=rate,
    )  # fmt: skip


def misfit(excess: NDArray[np.int64]) -> float:
    """Kolmogorov-Smirnov distance of whole excesses from the geometric law of the same mean; 0 below two orders."""
    n = len(excess)
    total = float(excess.sum())
    if n < 2 or total <= 0.0:
        return 0.0
    ratio = total / (total + n)
    at = np.unique(np.concatenate([excess, excess + 1]))
    return float(np.max(np.abs(survival_counts(excess, at) / n - ratio**at)))


def _seconds(s: _Sample, keep: Bools) -> float:
    """Observed time, of each side."""
    return float(s.time[keep].sum()) * s.sides


def _kept(s: _Sample, keep: Bools) -> int:
    return int(np.count_nonzero(keep[s.block]))


def _mle(s: _Sample, keep: Bools, *, beyond: bool) -> tuple[float, float]:
    excess = s.excess[keep[s.block]]
    first = 1 if beyond else 0
    excess = excess[excess >= first] - first
    if len(excess) == 0:
        return math.nan, math.nan
    rate, kappa = mle_grouped(excess, _seconds(s, keep), 1.0)
    if not math.isfinite(kappa):
        return math.nan, math.inf
    time = s.time[keep].sum(axis=0)
    reach = float(time @ np.exp(-0.5 * kappa * np.arange(SPREADS))) / float(time.sum())
    return rate * math.exp(kappa * first) / reach if reach > 0.0 else math.inf, kappa


def _grid(s: _Sample, *, beyond: bool) -> Floats:
    """Depths at which quotes can lie, from the usual touch (or a tick beyond it) to where ten orders are left."""
    depth = s.half + s.excess
    if len(depth) == 0:
        return np.zeros(0)
    start = float(np.median(s.half)) + (1.0 if beyond else 0.0)
    last = float(np.sort(depth)[max(len(depth) - 10, 0)])
    reach = max(int(last - start), 1)
    return np.asarray(start + np.unique(np.round(np.linspace(0, reach, 60))), np.float64)


def _survival(s: _Sample, keep: Bools, *, beyond: bool) -> tuple[float, float]:
    depth = (s.half + s.excess)[keep[s.block]]
    grid = _grid(s, beyond=beyond)
    counts = survival_counts(depth, grid)
    reached = counts > 0
    intercept, slope, _ = line(
        grid[reached], np.log(counts[reached] / _seconds(s, keep)), counts[reached].astype(float)
    )
    return math.exp(min(intercept, 700.0)) if math.isfinite(intercept) else math.nan, -slope


def _jackknife(fit: Callable[[Bools], tuple[float, ...]], every: Bools) -> tuple[Estimate, ...]:
    """Values with intervals by leaving out a block of time at a time: bursts of orders widen them, as they should.

    On the logarithm, because rates are positive.
    """
    values = fit(every)
    left_out = []
    for k in range(BLOCKS):
        keep = every.copy()
        keep[k] = False
        left_out.append(fit(keep))
    out = []
    for value, column in zip(values, np.array(left_out, float).T, strict=True):
        if not (math.isfinite(value) and value > 0.0 and np.all(np.isfinite(column)) and np.all(column > 0.0)):
            out.append(Estimate(value, math.nan, math.nan))
            continue
        logs = np.log(column)
        se = math.sqrt((BLOCKS - 1) / BLOCKS * float(np.sum((logs - logs.mean()) ** 2)))
        spread = math.exp(min(T_BLOCKS * se, 50.0))
        out.append(Estimate(value, value / spread, value * spread))
    return tuple(out)
