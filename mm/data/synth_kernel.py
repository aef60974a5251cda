"""The kernel behind ``mm.data.synth``: a limit order book around a latent fair price, one message after the other.

Competing clocks, each with its next firing time in the state (ns): the fair price moves; market orders arrive as a
Hawkes process with exponential kernel, simulated by thinning (Ogata 1981); after a move informed traders and makers
race for the stale quotes; levels are added, resized and cancelled at random. The random state is data like the rest
(``mm.data.rng``), so the stream depends on seed and spec alone.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mm.core.jit import kernel
from mm.core.types import ASK, BID, BUY, CLEAR_ASK, CLEAR_BID, FUNDING, LAST, SELL, SNAPSHOT, Rec, RecArray
from mm.data.rng import expo, lognormal, normal, uniform

Levels = NDArray[np.int64]

RING: Final = 4096  # levels kept per side: index = tick mod RING
REACH: Final = 1500  # ticks from the fair price beyond which levels are dropped
SLACK: Final = 4 * RING  # rows one message may need at most
NEVER: Final = 1 << 62
INT32_MAX: Final = 2**31 - 1


class FlowParams(NamedTuple):
    """``SynthSpec`` in kernel units: times in ns (mean waits) or 1/ns (rates), prices in ticks, sizes in lots."""

    fair_wait: float
    fair_sd: float  # log return of one move
    jump_wait: float
    jump_sd: float
    order_rate: float  # per side
    hawkes_self: float  # branching ratio
    hawkes_cross: float
    hawkes_decay: float
    order_log_mean: float
    order_log_sd: float
    walk_ticks: float
    impact: float  # log return per market order of median size
    informed_share: float
    informed_wait: float
    informed_log_mean: float
    informed_edge: float
    maker_wait: float
    min_edge: float
    mean_edge: float
    density: float
    level_log_mean: float
    level_log_sd: float
    depth_ticks: float
    churn_wait: float
    churn_levels: float
    churn_depth: float
    funding_wait: float
    funding_rate: float  # in FUNDING_RATE_UNIT
    funding_sd: float
    latency: float
    jitter: float
    path_wait: float  # mean wait between moves of the shared fair price; 0: the flow has a walk of its own
    path_jump: float  # probability that such a move is a jump
    path_base: float  # ticks: what the shared path multiplies, basis included
    path_delay: float
    own_decay: float  # 1/ns: how fast the flow's own impact gives way to the shared path


FLOW = np.dtype(
    [
        ("fair", "f8"),  # ticks
        ("path", "f8"),  # log of the shared path
        ("path_ns", "i8"),  # its own time, without the delay
        ("own", "f8"),  # log deviation from it by the impact of own trades
        ("own_ns", "i8"),
        ("now_ns", "i8"),  # time of the newest message
        ("recv_ns", "i8"),
        ("bb", "i8"),  # best bid, lo - 1 when there is none
        ("ba", "i8"),
        ("lo", "i8"),  # no bid below
        ("hi", "i8"),  # no ask above
        ("n_bids", "i8"),
        ("n_asks", "i8"),
        ("heat_buy", "f8"),  # excess intensity at heat_ns, per ns
        ("heat_sell", "f8"),
        ("bound", "f8"),  # intensity that t_order was drawn with
        ("heat_ns", "i8"),
        ("t_fair", "i8"),
        ("t_jump", "i8"),
        ("t_order", "i8"),
        ("t_informed", "i8"),
        ("t_maker", "i8"),
        ("t_churn", "i8"),
        ("t_funding", "i8"),
        ("built", "i8"),
    ]
)


# --- rows ------------------------------------------------------------------------------------------------------------
@kernel
def after(t: int, wait: float) -> int:
    """``t`` plus a drawn wait, at least 1 ns later."""
    return t + 1 + int(min(wait, 4.0e18))


@kernel
def row(s: Rec, out: RecArray, n: int, kind: int, flags: int, tick: int, lots: int) -> int:
    """Write one row of the message now being built; returns the next free index."""
    e = out[n]
    e.ts_exch_ns = s.now_ns
    e.ts_recv_ns = s.recv_ns
    e.kind = kind
    e["flags"] = flags  # not e.flags: plain numpy records have an attribute of that name
    e.tick = tick
    e.lots = lots
    e.instrument = 0
    return n + 1


@kernel
def begin(p: FlowParams, s: Rec, rng: Levels, t: int) -> None:
    """Stamp a new message. Latency = constant + exponential jitter, and the feed never reorders."""
    s.now_ns = t
    s.recv_ns = max(s.recv_ns, t + int(p.latency + expo(rng, p.jitter)))


@kernel
def put_bid(s: Rec, bids: Levels, out: RecArray, n: int, flags: int, tick: int, lots: int) -> int:
    """The bid at ``tick`` becomes ``lots``."""
    i = tick & (RING - 1)
    s.n_bids += min(lots, 1) - min(bids[i], 1)
    bids[i] = lots
    if lots > 0:
        s.bb = max(s.bb, tick)
        s.lo = min(s.lo, tick)
    elif tick == s.bb:
        while s.bb >= s.lo and bids[s.bb & (RING - 1)] == 0:
            s.bb -= 1
    return row(s, out, n, BID, flags, tick, lots)


@kernel
def put_ask(s: Rec, asks: Levels, out: RecArray, n: int, flags: int, tick: int, lots: int) -> int:
    """The ask at ``tick`` becomes ``lots``."""
    i = tick & (RING - 1)
    s.n_asks += min(lots, 1) - min(asks[i], 1)
    asks[i] = lots
    if lots > 0:
        s.ba = min(s.ba, tick)
        s.hi = max(s.hi, tick)
    elif tick == s.ba:
        while s.ba <= s.hi and asks[s.ba & (RING - 1)] == 0:
            s.ba += 1
    return row(s, out, n, ASK, flags, tick, lots)


# --- messages --------------------------------------------------------------------------------------------------------
@kernel
def edge(p: FlowParams, rng: Levels) -> float:
    """Draw the makers' distance from the fair price."""
    return min(p.min_edge + expo(rng, p.mean_edge), REACH / 3)


@kernel
def fill_sides(
    p: FlowParams, s: Rec, rng: Levels, bids: Levels, asks: Levels, out: RecArray, n: int, flags: int
) -> int:
    """Makers quote the empty room up to their best price, and keep the book deep."""
    top = max(1, math.floor(s.fair - edge(p, rng)))
    for tick in range(max(s.bb + 1, top - int(p.depth_ticks), 1), top + 1):
        if tick == top or uniform(rng) < p.density:
            n = put_bid(s, bids, out, n, flags, tick, lognormal(rng, p.level_log_mean, p.level_log_sd))
    while s.lo > max(1, top - int(p.depth_ticks)):
        s.lo -= 1
        if uniform(rng) < p.density:
            n = put_bid(s, bids, out, n, flags, s.lo, lognormal(rng, p.level_log_mean, p.level_log_sd))
    top = max(2, math.ceil(s.fair + edge(p, rng)))
    for tick in range(min(s.ba - 1, top + int(p.depth_ticks)), top - 1, -1):
        if tick == top or uniform(rng) < p.density:
            n = put_ask(s, asks, out, n, flags, tick, lognormal(rng, p.level_log_mean, p.level_log_sd))
    while s.hi < top + int(p.depth_ticks):
        s.hi += 1
        if uniform(rng) < p.density:
            n = put_ask(s, asks, out, n, flags, s.hi, lognormal(rng, p.level_log_mean, p.level_log_sd))
    return n


@kernel
def rebuild(p: FlowParams, s: Rec, rng: Levels, bids: Levels, asks: Levels, out: RecArray, n: int) -> int:
    """Clear and quote the whole book anew: the first message, and after a move beyond the ring."""
    bids[:] = 0
    asks[:] = 0
    s.n_bids = 0
    s.n_asks = 0
    middle = int(s.fair)
    s.lo = middle + REACH
    s.bb = 0
    s.hi = max(0, middle - REACH)
    s.ba = INT32_MAX
    s.built = 1
    n = row(s, out, n, CLEAR_BID, SNAPSHOT, 0, 0)
    n = row(s, out, n, CLEAR_ASK, SNAPSHOT, INT32_MAX, 0)
    return fill_sides(p, s, rng, bids, asks, out, n, SNAPSHOT)


@kernel
def requote(p: FlowParams, s: Rec, rng: Levels, bids: Levels, asks: Levels, out: RecArray, n: int) -> int:
    """Makers pull quotes that the fair price has passed or left far behind, then quote the room that opened."""
    if s.fair - REACH > s.ba or s.fair + REACH < s.bb:
        return rebuild(p, s, rng, bids, asks, out, n)
    while s.bb >= s.lo and s.bb > s.fair - p.min_edge:
        n = put_bid(s, bids, out, n, 0, s.bb, 0)
    while s.ba <= s.hi and s.ba < s.fair + p.min_edge:
        n = put_ask(s, asks, out, n, 0, s.ba, 0)
    while s.lo < s.fair - REACH and s.lo <= s.bb:
        if bids[s.lo & (RING - 1)] > 0:
            n = put_bid(s, bids, out, n, 0, s.lo, 0)
        s.lo += 1
    while s.hi > s.fair + REACH and s.hi >= s.ba:
        if asks[s.hi & (RING - 1)] > 0:
            n = put_ask(s, asks, out, n, 0, s.hi, 0)
        s.hi -= 1
    if s.n_bids == 0:
        s.bb = 0
        s.lo = int(s.fair) + REACH
    if s.n_asks == 0:
        s.ba = INT32_MAX
        s.hi = max(0, int(s.fair) - REACH)
    return fill_sides(p, s, rng, bids, asks, out, n, 0)


@kernel
def churn(p: FlowParams, s: Rec, rng: Levels, bids: Levels, asks: Levels, out: RecArray, n: int) -> int:
    """A few levels near the touch appear, vanish or change size; their density is stationary. Never the last two."""
    for _ in range(int(p.churn_levels)):
        away = int(expo(rng, p.churn_depth))
        keep = uniform(rng) < p.density
        lots = lognormal(rng, p.level_log_mean, p.level_log_sd) if keep else 0
        if uniform(rng) < 0.5:
            tick = min(math.floor(s.fair - p.min_edge), s.ba - 1) - away
            if tick < max(1.0, s.fair - REACH) or max(s.bb, tick) - min(s.lo, tick) >= RING:
                continue
            old = bids[tick & (RING - 1)]
            if old != lots and (lots > 0 or s.n_bids > 2):
                n = put_bid(s, bids, out, n, 0, tick, lots)
        else:
            tick = max(math.ceil(s.fair + p.min_edge), s.bb + 1) + away
            if tick > s.fair + REACH or max(s.hi, tick) - min(s.ba, tick) >= RING:
                continue
            old = asks[tick & (RING - 1)]
            if old != lots and (lots > 0 or s.n_asks > 2):
                n = put_ask(s, asks, out, n, 0, tick, lots)
    return n


@kernel
def take_asks(s: Rec, asks: Levels, out: RecArray, n: int, lots: int, limit: float) -> int:
    """A market buy of ``lots`` up to price ``limit``: each trade row is followed by the level it leaves behind."""
    while lots > 0 and s.n_asks > 2 and s.ba <= limit:
        tick = s.ba
        have = asks[tick & (RING - 1)]
        done = min(have, lots)
        n = row(s, out, n, BUY, 0, tick, done)
        n = put_ask(s, asks, out, n, 0, tick, have - done)
        lots -= done
    return n


@kernel
def take_bids(s: Rec, bids: Levels, out: RecArray, n: int, lots: int, limit: float) -> int:
    """A market sell; mirror image of ``take_asks``."""
    while lots > 0 and s.n_bids > 2 and s.bb >= limit:
        tick = s.bb
        have = bids[tick & (RING - 1)]
        done = min(have, lots)
        n = row(s, out, n, SELL, 0, tick, done)
        n = put_bid(s, bids, out, n, 0, tick, have - done)
        lots -= done
    return n


# --- clocks ----------------------------------------------------------------------------------------------------------
@kernel
def schedule_order(p: FlowParams, s: Rec, rng: Levels, t: int) -> None:
    """Candidate of the thinning: between arrivals the intensity only falls, so today's is a bound."""
    s.bound = 2.0 * p.order_rate + s.heat_buy + s.heat_sell
    s.t_order = after(t, expo(rng, 1.0 / s.bound)) if s.bound > 0.0 else NEVER


@kernel
def market_order(p: FlowParams, s: Rec, rng: Levels, bids: Levels, asks: Levels, out: RecArray, n: int, t: int) -> int:
    """Accept or reject the candidate at ``t``; an accepted order trades, moves the fair price and heats the flow."""
    fade = math.exp(-p.hawkes_decay * (t - s.heat_ns))
    s.heat_buy *= fade
    s.heat_sell *= fade
    s.heat_ns = t
    u = uniform(rng) * s.bound
    buy = p.order_rate + s.heat_buy
    if u < buy + p.order_rate + s.heat_sell:
        lots = lognormal(rng, p.order_log_mean, p.order_log_sd)
        own = p.hawkes_self * p.hawkes_decay
        cross = p.hawkes_cross * p.hawkes_decay
        impact = p.impact * math.sqrt(lots / math.exp(p.order_log_mean))
        begin(p, s, rng, t)
        if u < buy:
            n = take_asks(s, asks, out, n, lots, s.ba + p.walk_ticks)
            s.fair *= math.exp(impact)
            s.own += impact
            s.heat_buy += own
            s.heat_sell += cross
        else:
            n = take_bids(s, bids, out, n, lots, s.bb - p.walk_ticks)
            s.fair = max(10.0, s.fair * math.exp(-impact))
            s.own -= impact
            s.heat_sell += own
            s.heat_buy += cross
        wake_makers(p, s, rng, t)
    schedule_order(p, s, rng, t)
    return n


@kernel
def wake_makers(p: FlowParams, s: Rec, rng: Levels, t: int) -> None:
    """Makers react once, a drawn delay after the first thing that calls for it."""
    if s.t_maker == NEVER:
        s.t_maker = after(t, expo(rng, p.maker_wait))


@kernel
def move_fair(p: FlowParams, s: Rec, rng: Levels, t: int, sd: float) -> None:
    """The fair price moves: makers will follow, and some informed trader may be first."""
    s.fair = max(10.0, s.fair * math.exp(sd * normal(rng)))
    react(p, s, rng, t)


@kernel
def react(p: FlowParams, s: Rec, rng: Levels, t: int) -> None:
    """What follows a move of the fair price."""
    wake_makers(p, s, rng, t)
    if uniform(rng) < p.informed_share and s.t_informed == NEVER:
        s.t_informed = after(t, expo(rng, p.informed_wait))


@kernel
def step_path(p: FlowParams, s: Rec, path_rng: Levels) -> None:
    """The next move of the shared path: every flow of the seed draws the same, whatever else it does."""
    s.path += p.fair_sd * normal(path_rng)
    if uniform(path_rng) < p.path_jump:
        s.path += p.jump_sd * normal(path_rng)
    s.path_ns = after(s.path_ns, expo(path_rng, p.path_wait))
    s.t_fair = s.path_ns + int(p.path_delay)


@kernel
def follow_path(p: FlowParams, s: Rec, t: int) -> None:
    """The fair price is the shared one at its basis, and what is left of the flow's own impact."""
    s.own *= math.exp(-p.own_decay * (t - s.own_ns))
    s.own_ns = t
    s.fair = max(10.0, p.path_base * math.exp(s.path + s.own))


@kernel
def join_path(p: FlowParams, s: Rec, path_rng: Levels, t: int) -> None:
    """Begin at ``t`` with the path as it stands then; ``s.path_ns`` is when it began."""
    s.path_ns = after(s.path_ns, expo(path_rng, p.path_wait))
    s.t_fair = s.path_ns + int(p.path_delay)
    while s.t_fair < t:
        step_path(p, s, path_rng)
    s.own_ns = t
    follow_path(p, s, t)


@kernel
def informed_order(
    p: FlowParams, s: Rec, rng: Levels, bids: Levels, asks: Levels, out: RecArray, n: int, t: int
) -> int:
    """Take every quote that is stale by more than ``informed_edge`` ticks, up to a drawn size."""
    lots = lognormal(rng, p.informed_log_mean, p.order_log_sd)
    begin(p, s, rng, t)
    n = take_asks(s, asks, out, n, lots, s.fair - p.informed_edge)
    return take_bids(s, bids, out, n, lots, s.fair + p.informed_edge)


@kernel
def start_clocks(p: FlowParams, s: Rec, rng: Levels) -> None:
    """First firing times; ``s.now_ns`` and ``s.fair`` are set."""
    t = s.now_ns
    s.heat_ns = t
    if p.path_wait > 0.0:
        s.t_jump = NEVER
    else:
        s.t_fair = after(t, expo(rng, p.fair_wait))
        s.t_jump = after(t, expo(rng, p.jump_wait))
    s.t_churn = after(t, expo(rng, p.churn_wait))
    s.t_funding = after(t, p.funding_wait)
    s.t_informed = NEVER
    s.t_maker = NEVER
    schedule_order(p, s, rng, t)


@kernel
def flow(
    p: FlowParams, s: Rec, rng: Levels, path_rng: Levels, bids: Levels, asks: Levels, out: RecArray, until_ns: int
) -> tuple[int, bool]:
    """Write the messages with exchange time below ``until_ns``: (rows written, whether all of them fitted)."""
    n = 0
    if s.built == 0 and s.now_ns < until_ns:
        begin(p, s, rng, s.now_ns)
        n = rebuild(p, s, rng, bids, asks, out, n)
        out[n - 1]["flags"] |= LAST
        start_clocks(p, s, rng)
    while n + SLACK <= len(out):
        t = min(s.t_fair, s.t_jump, s.t_order, s.t_informed, s.t_maker, s.t_churn, s.t_funding)
        if t >= until_ns:
            return n, True
        start = n
        if t == s.t_churn:
            begin(p, s, rng, t)
            n = churn(p, s, rng, bids, asks, out, n)
            s.t_churn = after(t, expo(rng, p.churn_wait))
        elif t == s.t_maker:
            begin(p, s, rng, t)
            n = requote(p, s, rng, bids, asks, out, n)
            s.t_maker = NEVER
        elif t == s.t_order:
            n = market_order(p, s, rng, bids, asks, out, n, t)
        elif t == s.t_fair and p.path_wait > 0.0:
            step_path(p, s, path_rng)
            follow_path(p, s, t)
            react(p, s, rng, t)
        elif t == s.t_fair:
            move_fair(p, s, rng, t, p.fair_sd)
            s.t_fair = after(t, expo(rng, p.fair_wait))
        elif t == s.t_informed:
            n = informed_order(p, s, rng, bids, asks, out, n, t)
            s.t_informed = NEVER
        elif t == s.t_funding:
            begin(p, s, rng, t)
            n = row(s, out, n, FUNDING, 0, int(s.fair), int(p.funding_rate + p.funding_sd * normal(rng)))
            s.t_funding = after(t, p.funding_wait)
        else:
            move_fair(p, s, rng, t, p.jump_sd)
            s.t_jump = after(t, expo(rng, p.jump_wait))
        if n > start:
            out[n - 1]["flags"] |= LAST
    return n, False
