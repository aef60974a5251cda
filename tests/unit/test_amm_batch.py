"""Batched pools against the exact ones, and what arbitrage costs liquidity providers."""

import numpy as np
import pytest

from mm.sim import amm
from mm.sim.amm_batch import Pools, lvr_rate

pytestmark = pytest.mark.slow  # hopeless as plain Python


def flow(steps, pools, seed=1):
    rng = np.random.default_rng(seed)
    x = [int(v) for v in 10.0 ** rng.uniform(20, 24, pools)]
    y = [int(v) for v in 10.0 ** rng.uniform(20, 24, pools)]
    share = 10.0 ** rng.uniform(-5, -0.5, (steps, pools)) * rng.choice((-1.0, 1.0), (steps, pools))
    amounts = [[int(s * (a if s > 0 else b)) for s, a, b in zip(row, x, y, strict=True)] for row in share]
    return x, y, amounts


@pytest.mark.parametrize(("kept", "exact"), [(True, amm.swap_v2), (False, amm.swap_aero_volatile)])
def test_batched_swaps_equal_the_exact_ones(kept, exact):
    x, y, amounts = flow(60, 7)
    fees = [1, 5, 25, 30, 100, 0, 30]
    pools = Pools(x, y, fees, fee_kept=kept)
    out = pools.swap(amounts)
    want = np.empty_like(out)
    for s, row in enumerate(amounts):
        for i, amount in enumerate(row):
            if amount >= 0:
                swap = exact(x[i], y[i], amount, fees[i])
                x[i], y[i] = swap.reserve_in, swap.reserve_out
            else:
                swap = exact(y[i], x[i], -amount, fees[i])
                y[i], x[i] = swap.reserve_in, swap.reserve_out
            want[s, i] = swap.amount_out
    np.testing.assert_allclose(out, want, rtol=1e-12)
    np.testing.assert_allclose(pools.x, [float(v) for v in x], rtol=1e-12)
    np.testing.assert_allclose(pools.y, [float(v) for v in y], rtol=1e-12)


def test_a_missed_limit_reverts_one_pool_only():
    pools = Pools([100.0, 100.0, 100.0], 100.0, 30)
    good = Pools(100.0, 100.0, 30).swap([10.0])[0]
    out = pools.swap([10.0, 10.0, -10.0], [good, np.nextafter(good, np.inf), good])
    assert out[0] == out[2] == good
    assert np.isnan(out[1])
    assert pools.x.tolist() == [110.0, 100.0, pytest.approx(100.0 - good)]
    assert pools.y.tolist() == [pytest.approx(100.0 - good), 100.0, 110.0]


@pytest.mark.parametrize("bad", [(0.0, 1.0, 30), (1.0, -1.0, 30), (1.0, 1.0, 10_000), (np.nan, 1.0, 30), ([[1]], 1, 1)])
def test_no_such_pools(bad):
    with pytest.raises(ValueError, match="pools need"):
        Pools(*bad)


def test_prices_of_another_shape_are_refused():
    for bad in ([1.0], [[1.0, 2.0]], [[0.0]]):
        with pytest.raises(ValueError, match="prices of shape"):
            Pools(1.0, 1.0, 30).arbitrage(bad)


@pytest.mark.parametrize("kept", [True, False])
def test_arbitrage_along_a_path_equals_one_trade_at_a_time(kept):
    rng = np.random.default_rng(5)
    prices = 3.0 * np.exp(np.cumsum(rng.normal(0, 0.01, (200, 3)), axis=0))
    pools = Pools(1000.0, 3000.0 * np.ones(3), [0, 30, 100], fee_kept=kept)
    sums = pools.arbitrage(prices)
    for i, fee in enumerate((0.0, 0.003, 0.01)):
        x, y, profit, trades = 1000.0, 3000.0, 0.0, 0
        for price in prices[:, i]:
            best = amm.arbitrage(x, y, fee, price)
            into = best.amount_in if kept else best.amount_in * (1 - fee)
            if best.direction == "sell_x":
                x, y = x + into, y - best.amount_out
            elif best.direction == "buy_x":
                x, y = x - best.amount_out, y + into
            profit += best.profit_y
            trades += best.direction != "none"
            assert (1 - fee) * y / x * (1 - 1e-12) <= price <= y / x / (1 - fee) * (1 + 1e-12)
        assert (pools.x[i], pools.y[i]) == (pytest.approx(x, rel=1e-10), pytest.approx(y, rel=1e-10))
        assert sums.profit[i] == pytest.approx(profit, rel=1e-8)
        assert sums.trades[i] == trades
    assert sums.fees[0] == 0.0
    assert sums.trades[0] > sums.trades[1] > sums.trades[2] > 0
    assert np.all(sums.profit > 0)


def losses(sigma, dt, steps, paths, fee_bps=0.0, seed=11):
    """LVR per path and unit of time, as a share of the value, on a martingale price."""
    rng = np.random.default_rng(seed)
    returns = rng.normal(-0.5 * sigma**2 * dt, sigma * np.sqrt(dt), (steps, paths))
    prices = 2000.0 * np.exp(np.cumsum(returns, axis=0))
    sums = Pools(np.ones(paths), 2000.0, fee_bps).arbitrage(prices)
    return sums.profit / (sums.value * dt), (sums.profit + sums.fees) / (sums.value * dt)


def test_a_pool_without_fee_loses_an_eighth_of_the_variance():
    sigma, dt = 0.8, 1 / (365 * 24)  # 80 % a year, hourly
    loss, _ = losses(sigma, dt, 2000, 200)
    mean, error = loss.mean(), loss.std(ddof=1) / np.sqrt(len(loss))
    assert abs(mean - lvr_rate(sigma)) < 1.96 * error
    assert error < 0.005 * lvr_rate(sigma)  # sharp enough to tell 1/8 from any other simple fraction


def test_a_fee_gives_part_of_the_loss_back_and_its_arbitrage_leaves_less():
    bare, _ = losses(0.8, 1 / (365 * 24), 2000, 50)
    kept, gross = losses(0.8, 1 / (365 * 24), 2000, 50, fee_bps=30)
    assert 0.0 < kept.mean() < 0.75 * bare.mean()
    assert gross.mean() > kept.mean()
