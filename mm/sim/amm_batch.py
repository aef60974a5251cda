"""Constant product in float64 for many pools at once: swaps with slippage limits, arbitrage along price paths, LVR.

One column is one pool. Reserves, amounts and outputs are floats in whole tokens or in smallest units, as the caller
likes; they agree with ``amm.swap_v2`` and ``amm.swap_aero_volatile`` within 1e-12 relative as long as an output is
worth more than 1e12 smallest units (the contracts round down to one).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mm.core.jit import kernel
from mm.sim.amm import BPS

Floats = NDArray[np.float64]


class Pools:
    """Constant-product pools with reserves ``x``, ``y`` of shape (pools,), changed in place by swaps.

    ``fee_bps`` is one number or one per pool. ``fee_kept``: the fee stays in the reserves (Uniswap V2, PancakeSwap
    V2); otherwise it leaves the pool (Aerodrome volatile). Raises ``ValueError`` for reserves or a fee that cannot be.
    """

    def __init__(self, x: ArrayLike, y: ArrayLike, fee_bps: ArrayLike, *, fee_kept: bool = True) -> None:
        self.x, self.y, fee = (np.array(a, float) for a in np.broadcast_arrays(np.atleast_1d(x), y, fee_bps))
        good = np.isfinite(self.x) & np.isfinite(self.y) & (self.x > 0.0) & (self.y > 0.0) & (fee >= 0.0) & (fee < BPS)
        if self.x.ndim != 1 or not good.all():
            raise ValueError("pools need positive reserves and fees from 0 to 9,999 bps, in one dimension")
        self.keep = (BPS - fee) / BPS
        self.fee_kept = fee_kept

    def swap(self, amounts: ArrayLike, min_out: ArrayLike = 0.0) -> Floats:
        """Amounts out, of the shape of ``amounts``: (steps, pools) in that order, or (pools,) for one step.

        A positive amount sells x, a negative one sells y. Where less than ``min_out`` would come out the swap reverts:
        the reserves stay and the output is NaN.
        """
        given = np.asarray(amounts, float)
        table = np.ascontiguousarray(np.broadcast_to(given, (*given.shape[:-1], len(self.x))))
        limits = np.ascontiguousarray(np.broadcast_to(np.asarray(min_out, float), table.shape))
        steps = table.reshape(-1, len(self.x))
        out = np.empty_like(steps)
        swap_steps(self.x, self.y, self.keep, self.fee_kept, steps, limits.reshape(steps.shape), out)
        return out.reshape(table.shape)

    def arbitrage(self, prices: ArrayLike) -> ArbitrageSums:
        """Trade every pool to the edge of its no-trade band at each row of ``prices`` (steps, pools), in y per x."""
        rows = np.ascontiguousarray(np.asarray(prices, float))
        if rows.ndim != 2 or rows.shape[1] != len(self.x) or not (rows > 0.0).all():
            raise ValueError(f"positive prices of shape (steps, {len(self.x)}) are needed, got {rows.shape}")
        sums = np.zeros((5, len(self.x)))
        arbitrage_steps(self.x, self.y, self.keep, self.fee_kept, rows, sums)
        return ArbitrageSums(*sums)


class ArbitrageSums(NamedTuple):
    """Per pool, in y: what arbitrageurs earned, the fees they paid, the volume, trades, and value at each row's start.

    The profit is what liquidity providers lose against rebalancing (LVR) net of the fees; without a fee it is the LVR.
    ``value`` sums the pool's value before each trade, at the price of the previous row: profit/(value·dt) is a rate.
    """

    profit: Floats
    fees: Floats
    volume: Floats
    trades: Floats
    value: Floats


def lvr_rate(sigma: float) -> float:
    """Loss versus rebalancing of a constant-product pool per unit of time, as a share of its value: sigma²/8.

    ``sigma`` is the volatility of returns per root of that time; Milionis, Moallemi, Roughgarden, Zhang 2022.
    """
    return sigma * sigma / 8.0


@kernel
def swap_steps(
    x: Floats, y: Floats, keep: Floats, fee_kept: bool, amounts: Floats, min_out: Floats, out: Floats
) -> None:
    """``Pools.swap`` on arrays: (pools,) for the first three, (steps, pools) for the last three."""
    for s in range(amounts.shape[0]):
        for i in range(amounts.shape[1]):
            amount = amounts[s, i]
            sells_x = amount >= 0.0
            paid = abs(amount)
            net = paid * keep[i]
            into, other = (x[i], y[i]) if sells_x else (y[i], x[i])
            share = other / (into + net)
            got = net * share
            fills = got >= min_out[s, i]
            out[s, i] = got if fills else np.nan
            into_after = into + (paid if fee_kept else net)
            other_after = into * share  # no cancellation, unlike other - got
            x_after, y_after = (into_after, other_after) if sells_x else (other_after, into_after)
            x[i] = x_after if fills else x[i]
            y[i] = y_after if fills else y[i]


@kernel
def arbitrage_steps(x: Floats, y: Floats, keep: Floats, fee_kept: bool, prices: Floats, sums: Floats) -> None:
    """``Pools.arbitrage`` on arrays; ``sums`` (5, pools) is added to."""
    for s in range(prices.shape[0]):
        for i in range(prices.shape[1]):
            price, k = prices[s, i], x[i] * y[i]
            held = prices[s - 1, i] if s else y[i] / x[i]
            sums[4, i] += x[i] * held + y[i]
            if y[i] * keep[i] > price * x[i]:  # x is too dear in the pool: sell it there
                after = np.sqrt(keep[i] * k / price)
                net = after - x[i]
                paid = net / keep[i]
                got = net * y[i] / after
                y[i] = k / after
                x[i] = x[i] + paid if fee_kept else after
                sums[0, i] += got - paid * price
                sums[1, i] += (paid - net) * price
                sums[2, i] += paid * price
                sums[3, i] += 1.0
            elif y[i] < price * keep[i] * x[i]:
                after = np.sqrt(keep[i] * k * price)
                net = after - y[i]
                paid = net / keep[i]
                got = net * x[i] / after
                x[i] = k / after
                y[i] = y[i] + paid if fee_kept else after
                sums[0, i] += got * price - paid
                sums[1, i] += paid - net
                sums[2, i] += paid
                sums[3, i] += 1.0
