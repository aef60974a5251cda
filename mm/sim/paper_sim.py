"""The papers' own simulation (A-S 2008 sec. 3.3): a model check in seconds, sampled and exact.

N = T/dt steps. In each, quotes at distances from the mid that depend on (q, t) only; the bid and the ask fill
independently, one unit each, at the mid *before* the move; then the mid moves ±σ√dt. Profit = cash + q_T·S_T. Because
quotes depend on (q, t) only, q is a Markov chain and every moment follows exactly by backward recursion.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mm.core.jit import kernel
from mm.models import glft, legacy_glft

Floats = NDArray[np.float64]
FillRule = Literal["min(1,lambda*dt)", "1-exp(-lambda*dt)"]
SpreadMode = Literal["full", "avg", "const"]
CHUNK: Final = 4096  # paths that advance together
POLICIES: Final = ("glft_asymptotic", "glft_exact", "as2008", "symmetric", "seed")


@dataclass(frozen=True, slots=True)
class World:
    """Parameters of the simulated market; price units, seconds (or any one time unit), orders of size 1."""

    gamma: float
    k: float
    A: float
    sigma: float
    T: float
    dt: float
    s0: float = 100.0
    q0: int = 0
    fill_rule: FillRule = "1-exp(-lambda*dt)"

    def __post_init__(self) -> None:
        if self.fill_rule not in {"min(1,lambda*dt)", "1-exp(-lambda*dt)"}:
            raise ValueError(f"unknown fill rule {self.fill_rule!r}")
        if not (self.k > 0 and self.A >= 0 and self.sigma >= 0 and self.gamma >= 0 and self.T >= self.dt > 0):
            raise ValueError("simulation needs k, dt > 0, A, sigma, gamma >= 0, T >= dt")

    @property
    def steps(self) -> int:
        return round(self.T / self.dt)

    @property
    def tau(self) -> Floats:
        """Time left at each step: T, T-dt, …, dt."""
        return self.T - self.dt * np.arange(self.steps, dtype=np.float64)


class Offsets(NamedTuple):
    """Distances from the mid, shape (steps, 2·q_limit+1), column j is q = j - q_limit; nan: no quote."""

    bid: Floats
    ask: Floats


class Moments(NamedTuple):
    """Exact mean, standard deviation, and standard error of a sampled standard deviation times √paths."""

    mean: float
    std: float
    se_std: float


class ExactResult(NamedTuple):
    """Exact law of a policy: profit, final inventory, number of fills, certainty equivalent of the profit."""

    pnl: Moments
    q: Moments
    fills: Moments
    certainty_equivalent: float


class SampledResult(NamedTuple):
    """The same from a finite number of paths."""

    paths: int
    pnl_mean: float
    pnl_std: float
    q_mean: float
    q_std: float
    fills_mean: float


# --- policies --------------------------------------------------------------------------------------------------------
def inventory_limit(w: World) -> int:
    """A limit that an unrestricted inventory reaches with no probability worth counting: 10 standard deviations."""
    return abs(w.q0) + min(w.steps, math.ceil(10.0 * math.sqrt(w.steps)) + 20)


def affine_offsets(half: Floats, skew: Floats, q_limit: int) -> Offsets:
    """bid = half + skew·q, ask = half - skew·q at each step; nothing on the adding side at ±q_limit."""
    lean = np.outer(skew, np.arange(-q_limit, q_limit + 1, dtype=float))
    bid, ask = half[:, None] + lean, half[:, None] - lean
    bid[:, -1] = math.nan
    ask[:, 0] = math.nan
    return Offsets(bid, ask)


def paper_spread(w: World, mode: SpreadMode) -> Floats:
    """Total spread at each step: eq. (30), its average over time (published benchmark), or without σ (preprint)."""
    liquidity = 2.0 / w.k * glft.log1p_ratio(w.gamma / w.k)
    variance_cost = w.gamma * w.sigma * w.sigma
    if mode == "full":
        return np.asarray(liquidity + variance_cost * w.tau)
    if mode == "avg":
        return np.full(w.steps, liquidity + 0.5 * variance_cost * w.T)
    if mode == "const":
        return np.full(w.steps, liquidity)
    raise ValueError(f"unknown spread mode {mode!r}")


def paper_offsets(w: World, strategy: str, mode: SpreadMode) -> Offsets:
    """The paper's two strategies: ``inventory`` centres on the reservation price, ``symmetric`` on the mid."""
    if strategy not in {"inventory", "symmetric"}:
        raise ValueError(f"unknown strategy {strategy!r}")
    skew = w.gamma * w.sigma * w.sigma * w.tau if strategy == "inventory" else np.zeros(w.steps)
    return affine_offsets(0.5 * paper_spread(w, mode), skew, inventory_limit(w))


def policy_offsets(w: World, policy: str, q_limit: int) -> Offsets:
    """One of ``POLICIES`` with inventory within ±q_limit."""
    ones = np.ones(w.steps)
    if policy == "glft_asymptotic":
        closed = glft.asymptotic(w.gamma, w.k, w.A, w.sigma)
        return affine_offsets(closed.half_spread * ones, closed.skew * ones, q_limit)
    if policy == "glft_exact":
        tables = [glft.exact(w.gamma, w.k, w.A, w.sigma, float(tau), q_limit) for tau in w.tau]
        return Offsets(np.array([t.delta_bid for t in tables]), np.array([t.delta_ask for t in tables]))
    if policy == "as2008":
        return affine_offsets(0.5 * paper_spread(w, "full"), w.gamma * w.sigma * w.sigma * w.tau, q_limit)
    if policy == "symmetric":
        return affine_offsets(0.5 * paper_spread(w, "avg"), 0.0 * ones, q_limit)
    if policy == "seed":
        seed = legacy_glft.seed_formula(w.gamma, w.k, w.A, w.sigma)
        return affine_offsets(seed.half_spread * ones, seed.skew * ones, q_limit)
    raise ValueError(f"unknown policy {policy!r}; known: {', '.join(POLICIES)}")


def continuous_optimum(w: World, q_limit: int) -> float:
    """Certainty equivalent of the optimal continuous-time policy from flat: ln(v_0(0))/k."""
    table = glft.exact(w.gamma, w.k, w.A, w.sigma, w.T, q_limit)
    return float(table.log_value[q_limit]) / w.k


def fill_probability(w: World, offsets: Floats) -> Floats:
    """Probability that a quote at these distances fills in one step; 0 where there is no quote."""
    with np.errstate(over="ignore"):
        expected = w.A * w.dt * np.exp(-w.k * offsets)
    p = np.minimum(1.0, expected) if w.fill_rule == "min(1,lambda*dt)" else -np.expm1(-expected)
    return np.where(np.isnan(offsets), 0.0, p)


# --- exact law -------------------------------------------------------------------------------------------------------
@kernel
def _central_moments(
    p_bid: Floats, p_ask: Floats, gain_bid: Floats, gain_ask: Floats, move: float, start: int
) -> tuple[float, float, float, float]:
    """(mean, central moments 2-4) of the summed gains plus ``move``·(±1)·q after the fills, from column ``start``.

    Works on central moments of the sum still to come, so nothing cancels.
    """
    steps, width = p_bid.shape
    limit = (width - 1) // 2
    m, c2, c3, c4 = np.zeros(width), np.zeros(width), np.zeros(width), np.zeros(width)
    # the same quantities *before* the price move, at inventory after the fills
    n2, n3, n4 = np.zeros(width), np.zeros(width), np.zeros(width)
    new_m, new2, new3, new4 = np.zeros(width), np.zeros(width), np.zeros(width), np.zeros(width)
    for j in range(steps - 1, -1, -1):
        for i in range(width):
            v = (move * (i - limit)) ** 2
            n2[i] = c2[i] + v
            n3[i] = c3[i]
            n4[i] = c4[i] + 6.0 * c2[i] * v + v * v
        for i in range(width):
            pb, pa = p_bid[j, i], p_ask[j, i]
            mean = 0.0
            for side in range(4):
                bid, ask = side & 1, side >> 1
                w = (pb if bid else 1.0 - pb) * (pa if ask else 1.0 - pa)
                if w > 0.0:
                    g = (gain_bid[j, i] if bid else 0.0) + (gain_ask[j, i] if ask else 0.0)
                    mean += w * (g + m[i + bid - ask])
            x2 = x3 = x4 = 0.0
            for side in range(4):
                bid, ask = side & 1, side >> 1
                w = (pb if bid else 1.0 - pb) * (pa if ask else 1.0 - pa)
                if w > 0.0:
                    t = i + bid - ask
                    d = (gain_bid[j, i] if bid else 0.0) + (gain_ask[j, i] if ask else 0.0) + m[t] - mean
                    x2 += w * (n2[t] + d * d)
                    x3 += w * (n3[t] + 3.0 * d * n2[t] + d * d * d)
                    x4 += w * (n4[t] + 4.0 * d * n3[t] + 6.0 * d * d * n2[t] + d * d * d * d)
            new_m[i], new2[i], new3[i], new4[i] = mean, x2, x3, x4
        m[:], c2[:], c3[:], c4[:] = new_m, new2, new3, new4
    return m[start], c2[start], c3[start], c4[start]


@kernel
def _log_exponential(
    p_bid: Floats, p_ask: Floats, gain_bid: Floats, gain_ask: Floats, move: float, gamma: float, start: int
) -> float:
    """ln E[exp(-gamma·profit)] by backward recursion in logarithms."""
    steps, width = p_bid.shape
    limit = (width - 1) // 2
    log_w, after = np.zeros(width), np.zeros(width)
    terms = np.zeros(4)
    for j in range(steps - 1, -1, -1):
        for i in range(width):
            x = abs(gamma * move * (i - limit))
            after[i] = log_w[i] + x + math.log1p(math.exp(-2.0 * x)) - math.log(2.0)  # ln cosh x
        for i in range(width):
            pb, pa = p_bid[j, i], p_ask[j, i]
            largest = -math.inf
            for side in range(4):
                bid, ask = side & 1, side >> 1
                w = (pb if bid else 1.0 - pb) * (pa if ask else 1.0 - pa)
                terms[side] = -math.inf
                if w > 0.0:
                    g = (gain_bid[j, i] if bid else 0.0) + (gain_ask[j, i] if ask else 0.0)
                    terms[side] = math.log(w) - gamma * g + after[i + bid - ask]
                largest = max(largest, terms[side])
            total = 0.0
            for side in range(4):
                total += math.exp(terms[side] - largest)
            log_w[i] = largest + math.log(total)
    return float(log_w[start])


def _moments(raw: tuple[float, float, float, float], shift: float = 0.0) -> Moments:
    mean, var, _, fourth = raw
    std = math.sqrt(var)
    se = math.sqrt(max(fourth - var * var, 0.0)) / (2.0 * std) if std > 0.0 else 0.0
    return Moments(mean + shift, std, se)


def exact_law(w: World, offsets: Offsets) -> ExactResult:
    """Exact moments of profit, final inventory and fills under ``offsets``, by dynamic programming over (q, t)."""
    p_bid, p_ask = fill_probability(w, offsets.bid), fill_probability(w, offsets.ask)
    gain_bid, gain_ask = np.nan_to_num(offsets.bid), np.nan_to_num(offsets.ask)
    ones = np.ones_like(p_bid)
    start = (p_bid.shape[1] - 1) // 2 + w.q0
    move = w.sigma * math.sqrt(w.dt)
    pnl = _moments(_central_moments(p_bid, p_ask, gain_bid, gain_ask, move, start), w.q0 * w.s0)
    ce = pnl.mean
    if w.gamma > 0.0:
        ce = w.q0 * w.s0 - _log_exponential(p_bid, p_ask, gain_bid, gain_ask, move, w.gamma, start) / w.gamma
    return ExactResult(
        pnl=pnl,
        q=_moments(_central_moments(p_bid, p_ask, ones, -ones, 0.0, start), float(w.q0)),
        fills=_moments(_central_moments(p_bid, p_ask, ones, ones, 0.0, start)),
        certainty_equivalent=ce,
    )


# --- Monte Carlo -----------------------------------------------------------------------------------------------------
@kernel
def _sample(
    rng: np.random.Generator,
    p_bid: Floats,
    p_ask: Floats,
    gain_bid: Floats,
    gain_ask: Floats,
    move: float,
    start: int,
    out: Floats,
) -> None:
    """Fill the rows of ``out``: profit (without q0·S0), final inventory, fills.

    One uniform a step gives 26 bits for either fill and one for the direction: probabilities are off by 2e-8 at most.
    """
    steps, width = p_bid.shape
    limit = (width - 1) // 2
    scale = float(1 << 26)
    profit = out[:, 0]
    state = np.full(out.shape[0], start)
    fills = np.zeros(out.shape[0], np.int64)
    for first in range(0, out.shape[0], CHUNK):  # steps outside, paths inside: a step's table rows stay in the cache
        last = min(first + CHUNK, out.shape[0])
        for j in range(steps):
            for n in range(first, last):
                x = rng.random() * scale
                high = math.floor(x)
                y = (x - high) * scale
                low = math.floor(y)
                i = state[n]
                bid = 1 if high < p_bid[j, i] * scale else 0  # arithmetic, no branches: they would be coin tosses
                ask = 1 if low < p_ask[j, i] * scale else 0
                gain = bid * gain_bid[j, i] + ask * gain_ask[j, i]
                i += bid - ask
                sign = 1.0 if y - low < 0.5 else -1.0
                profit[n] += gain + sign * move * (i - limit)
                fills[n] += bid + ask
                state[n] = i
    out[:, 1] = state - limit
    out[:, 2] = fills


def sample(w: World, offsets: Offsets, paths: int, rng: np.random.Generator) -> SampledResult:
    """Monte Carlo of ``paths`` paths; about 1e8 path-steps a second."""
    p_bid, p_ask = fill_probability(w, offsets.bid), fill_probability(w, offsets.ask)
    start = (p_bid.shape[1] - 1) // 2 + w.q0
    out = np.zeros((paths, 3))
    move = w.sigma * math.sqrt(w.dt)
    _sample(rng, p_bid, p_ask, np.nan_to_num(offsets.bid), np.nan_to_num(offsets.ask), move, start, out)
    mean, std = out.mean(axis=0), out.std(axis=0, ddof=1)
    return SampledResult(
        paths, float(mean[0]) + w.q0 * w.s0, float(std[0]), float(mean[1]), float(std[1]), float(mean[2])
    )
