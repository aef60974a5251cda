"""Pools and bids: constant-product swaps per second and core, exactness of the batched path, cost of a bid.

    python -m benchmarks.amm [--json]

Everything is synthetic and seeded. Times are CPU time of one thread, best of several runs.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import numpy as np

from benchmarks.common import Report, arguments, best_s
from mm.sim import amm, inclusion
from mm.sim.amm_batch import Floats, Pools, arbitrage_steps, lvr_rate, swap_steps

POOLS, STEPS = 1024, 512  # of the speed: reserves in the first-level cache, flow streamed
EXACT_POOLS, EXACT_STEPS = 32, 500
BIDS, SINGLE = 100_000, 20_000


def cpu_s(run: Callable[[], object]) -> float:
    """Best CPU seconds of this thread."""
    return best_s(run, repeats=9, clock=time.thread_time)


def swap_speed(report: Report, *, fee_kept: bool, count: int = POOLS) -> float:
    """Swaps per second of one core: both directions, slippage limits checked, reserves updated."""
    rng = np.random.default_rng(1)
    amounts = rng.normal(0.0, 1.0, (STEPS * POOLS // count, count))
    limits, out = np.zeros_like(amounts), np.empty_like(amounts)
    pools = Pools(np.full(count, 1e4), 1e4, 30, fee_kept=fee_kept)
    seconds = cpu_s(lambda: swap_steps(pools.x, pools.y, pools.keep, fee_kept, amounts, limits, out))
    assert np.isfinite(out).all()
    rate = amounts.size / seconds
    report.case(f"swaps, {'V2' if fee_kept else 'Aerodrome volatile'}, pools: {count}", rate / 1e6, unit="M/s per core")
    return rate


def arbitrage_speed(report: Report) -> None:
    """Arbitrage decisions per second, and the loss against rebalancing that they give without a fee."""
    rng, sigma, dt = np.random.default_rng(2), 0.8, 1.0 / (365 * 24)
    returns = rng.normal(-0.5 * sigma**2 * dt, sigma * np.sqrt(dt), (STEPS, POOLS))
    prices = 2000.0 * np.exp(np.cumsum(returns, axis=0))
    x, y, keep, sums = np.ones(POOLS), np.full(POOLS, 2000.0), np.full(POOLS, 0.997), np.zeros((5, POOLS))
    seconds = cpu_s(lambda: arbitrage_steps(x, y, keep, True, prices, sums))
    report.case("arbitrage decisions, 30 bps", prices.size / seconds / 1e6, unit="M/s per core")
    sums = np.array(Pools(np.ones(POOLS), 2000.0, 0).arbitrage(prices))
    loss = sums[0] / (sums[4] * dt) / lvr_rate(sigma)
    half = 1.96 * loss.std(ddof=1) / np.sqrt(POOLS)
    report.case("LVR without fee over sigma²/8", float(loss.mean()))
    report.notes["lvr_interval"] = [float(loss.mean() - half), float(loss.mean() + half)]


def largest_difference() -> float:
    """Largest relative difference of outputs and reserves from exact integers along the same flow, both fee rules."""
    worst = 0.0
    for fee_kept, exact in ((True, amm.swap_v2), (False, amm.swap_aero_volatile)):
        rng = np.random.default_rng(3)
        x = [int(v) for v in 10.0 ** rng.uniform(20, 26, EXACT_POOLS)]
        y = [int(v) for v in 10.0 ** rng.uniform(20, 26, EXACT_POOLS)]
        fees = [int(v) for v in rng.choice((1, 5, 25, 30, 100), EXACT_POOLS)]
        pools = Pools(x, y, fees, fee_kept=fee_kept)
        share = 10.0 ** rng.uniform(-5, -1, (EXACT_STEPS, EXACT_POOLS)) * rng.choice(
            (-1, 1), (EXACT_STEPS, EXACT_POOLS)
        )
        for row in share:
            amounts = [int(s * (a if s > 0 else b)) for s, a, b in zip(row, x, y, strict=True)]
            out = pools.swap(amounts)
            for i, amount in enumerate(amounts):
                swap = exact(x[i], y[i], amount, fees[i]) if amount >= 0 else exact(y[i], x[i], -amount, fees[i])
                after = (swap.reserve_in, swap.reserve_out)
                x[i], y[i] = after if amount >= 0 else after[::-1]
                worst = max(worst, abs(out[i] / swap.amount_out - 1.0) if swap.amount_out else 0.0)
        worst = max(worst, _apart(pools.x, x), _apart(pools.y, y))
    return worst


def _apart(ours: Floats, exact: list[int]) -> float:
    return float(np.abs(ours / np.array([float(v) for v in exact]) - 1.0).max())


def bids(report: Report) -> float:
    """Seconds per bid of an array; reports also single calls and their 99th percentile."""
    rng = np.random.default_rng(4)
    V, beta0, beta1 = rng.uniform(0, 100, BIDS), rng.uniform(-6, 2, BIDS), 10.0 ** rng.uniform(-2, 1, BIDS)
    each = cpu_s(lambda: inclusion.optimal_bids(V, beta0, beta1, 0.1)) / BIDS
    report.case("optimal bid, array", each * 1e9, unit="ns each")
    report.case(
        "all-pay bid, array", cpu_s(lambda: inclusion.all_pay_bids(V, beta0, beta1)) / BIDS * 1e9, unit="ns each"
    )
    single = np.empty(SINGLE)
    arguments_of = [tuple(float(a[i]) for a in (V, beta0, beta1)) for i in range(SINGLE)]
    for i, given in enumerate(arguments_of):
        start = time.perf_counter()
        inclusion.optimal_bid(*given)
        single[i] = time.perf_counter() - start
    report.case("optimal bid, one call, median", float(np.median(single)) * 1e6, unit="µs")
    p99 = float(np.percentile(single, 99))
    report.case("optimal bid, one call, p99", p99 * 1e6, unit="µs")
    report.check("bribe_single_p99_lt_1ms", p99 < 1e-3)
    return each


def main() -> None:
    """Measure everything."""
    args = arguments(__doc__)
    report = Report("amm", "synthetic flow and prices, seeded")
    slower = min(swap_speed(report, fee_kept=True), swap_speed(report, fee_kept=False))
    swap_speed(report, fee_kept=True, count=1)  # each swap waits for the one before
    report.check("cp_swaps_ge_20m", slower >= 20e6)
    arbitrage_speed(report)
    difference = largest_difference()
    report.case("batched against exact, worst relative", difference)
    report.check("exact_equals_float", difference <= 1e-12)
    report.check("bribe_vector_le_1us", bids(report) <= 1e-6)
    report.notes["load_average"] = os.getloadavg()[0]
    report.print(as_json=args.json)


if __name__ == "__main__":
    main()
