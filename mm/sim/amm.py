"""Automated market makers, exact: the contracts' integer arithmetic, and real arithmetic where a simulator needs it.

Uniswap V2 and PancakeSwap V2 (fee kept in the reserves), Aerodrome volatile and stable pools (fee leaves the pool),
one step of a Uniswap V3 swap, liquidity positions, arbitrage to an external price. Amounts are integers in a token's
smallest unit unless a function says otherwise; FORMULAS section 4 has the sources.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Final, Literal, NamedTuple

BPS: Final = 10_000
WAD: Final = 10**18
MIN_LIQUIDITY: Final = 1000


# --- constant product ------------------------------------------------------------------------------------------------
class Swap(NamedTuple):
    """One exact swap and the reserves after it."""

    amount_in: int
    amount_out: int
    fee: int  # 0 where it stays in the reserves
    reserve_in: int
    reserve_out: int


def check_pool(reserve_in: int, reserve_out: int, amount: int, fee_bps: int) -> None:
    """Raise ``ValueError`` for a pool or an amount that cannot be."""
    if reserve_in <= 0 or reserve_out <= 0 or amount < 0 or not 0 <= fee_bps < BPS:
        raise ValueError(f"no swap of {amount} in a pool of {reserve_in}, {reserve_out} with a fee of {fee_bps} bps")


def swap_v2(reserve_in: int, reserve_out: int, amount_in: int, fee_bps: int) -> Swap:
    """Constant product, fee kept in the reserves (Uniswap V2 30 bps, PancakeSwap V2 25 bps)."""
    check_pool(reserve_in, reserve_out, amount_in, fee_bps)
    net = amount_in * (BPS - fee_bps)
    out = net * reserve_out // (reserve_in * BPS + net)
    return Swap(amount_in, out, 0, reserve_in + amount_in, reserve_out - out)


def amount_in_v2(reserve_in: int, reserve_out: int, amount_out: int, fee_bps: int) -> int:
    """What ``amount_out`` costs; nothing costs nothing. ``ValueError`` when the pool does not hold it."""
    check_pool(reserve_in, reserve_out, amount_out, fee_bps)
    if amount_out >= reserve_out:
        raise ValueError(f"the pool holds {reserve_out}, not more than {amount_out}")
    if amount_out == 0:
        return 0
    return reserve_in * amount_out * BPS // ((reserve_out - amount_out) * (BPS - fee_bps)) + 1


def swap_aero_volatile(reserve_in: int, reserve_out: int, amount_in: int, fee_bps: int) -> Swap:
    """Constant product of Aerodrome and Velodrome V2: the fee is taken out of the pool first."""
    check_pool(reserve_in, reserve_out, amount_in, fee_bps)
    fee = amount_in * fee_bps // BPS
    net = amount_in - fee
    out = net * reserve_out // (reserve_in + net)
    return Swap(amount_in, out, fee, reserve_in + net, reserve_out - out)


class Prices(NamedTuple):
    """Exact prices around a swap, out per in."""

    execution: Fraction
    spot_before: Fraction
    spot_after: Fraction
    impact: float  # 1 - execution / spot_before
    impact_ex_fee: float  # of the amount net of the fee, in real arithmetic
    k_growth: float


def swap_prices(reserve_in: int, reserve_out: int, swap: Swap, fee_bps: int) -> Prices:
    """Prices of a swap; an empty one executes at 0."""
    execution = Fraction(swap.amount_out, swap.amount_in) if swap.amount_in else Fraction(0)
    before = Fraction(reserve_out, reserve_in)
    net = Fraction(swap.amount_in * (BPS - fee_bps), BPS)
    return Prices(
        execution,
        before,
        Fraction(swap.reserve_out, swap.reserve_in),
        float(1 - execution / before),
        float(net / (reserve_in + net)),
        float(Fraction(swap.reserve_in * swap.reserve_out, reserve_in * reserve_out) - 1),
    )


def mint(reserve0: int, reserve1: int, supply: int, amount0: int, amount1: int) -> tuple[int, int]:
    """(liquidity, supply after): the first deposit locks ``MIN_LIQUIDITY``. ``ValueError`` when it is too small."""
    if supply == 0:
        liquidity = math.isqrt(amount0 * amount1) - MIN_LIQUIDITY
        supply = MIN_LIQUIDITY
    else:
        liquidity = min(amount0 * supply // reserve0, amount1 * supply // reserve1)
    if liquidity <= 0:
        raise ValueError("the deposit is too small to mint anything")
    return liquidity, supply + liquidity


def burn(reserve0: int, reserve1: int, supply: int, liquidity: int) -> tuple[int, int]:
    """Both amounts for ``liquidity`` of a pool with ``supply``, without protocol fee."""
    if not 0 <= liquidity <= supply or supply <= 0:
        raise ValueError(f"cannot burn {liquidity} of {supply}")
    return liquidity * reserve0 // supply, liquidity * reserve1 // supply


def impermanent_loss(price_ratio: float) -> float:
    """Value of a 50/50 constant-product position over holding, minus 1, after the price moved by a factor."""
    if not price_ratio > 0.0:
        raise ValueError(f"a price ratio is positive, got {price_ratio}")
    root = math.sqrt(price_ratio)
    return -((root - 1.0) ** 2) / (1.0 + price_ratio)


def impermanent_loss_exact(price_ratio: Fraction) -> Fraction | None:
    """The same as a fraction, None when the root of the ratio is not rational."""
    top, bottom = math.isqrt(price_ratio.numerator), math.isqrt(price_ratio.denominator)
    if top * top != price_ratio.numerator or bottom * bottom != price_ratio.denominator:
        return None
    return 2 * Fraction(top, bottom) / (1 + price_ratio) - 1


class Arbitrage(NamedTuple):
    """The trade that brings a pool to the edge of its no-trade band; profit in y at the external price."""

    direction: Literal["sell_x", "buy_x", "none"]
    amount_in: float
    amount_out: float
    profit_y: float


def arbitrage(x: float, y: float, fee: float, price: float) -> Arbitrage:
    """Best trade of a constant-product pool (real amounts, fee kept) against an external price in y per x."""
    if not (x > 0.0 and y > 0.0 and price > 0.0 and 0.0 <= fee < 1.0):
        raise ValueError(f"no pool: x={x} y={y} fee={fee} price={price}")
    keep = 1.0 - fee
    if y / x * keep > price:
        dx = (math.sqrt(keep * x * y / price) - x) / keep
        out = dx * keep * y / (x + dx * keep)
        return Arbitrage("sell_x", dx, out, out - dx * price)
    if y / x < price * keep:
        dy = (math.sqrt(keep * x * y * price) - y) / keep
        out = dy * keep * x / (y + dy * keep)
        return Arbitrage("buy_x", dy, out, out * price - dy)
    return Arbitrage("none", 0.0, 0.0, 0.0)


# --- stable curve ----------------------------------------------------------------------------------------------------
class StablePool(NamedTuple):
    """An Aerodrome stable pool x³y + xy³ = k; decimals are powers of ten (10**6 for USDC)."""

    reserve0: int
    reserve1: int
    decimals0: int
    decimals1: int
    fee_bps: int = 5

    def k(self, x: int, y: int) -> int:
        """``_k`` of Pool.sol: normalises by decimals first, whatever it is given."""
        x, y = x * WAD // self.decimals0, y * WAD // self.decimals1
        return (x * y // WAD) * (x * x // WAD + y * y // WAD) // WAD

    def amount_out(self, amount_in: int, zero_for_one: bool) -> tuple[int, int]:
        """(fee, amount out) in the contract's integers, its quirks included. ``ValueError`` without a solution."""
        fee = amount_in * self.fee_bps // BPS
        xy = self.k(self.reserve0, self.reserve1)
        r0, r1 = self.reserve0 * WAD // self.decimals0, self.reserve1 * WAD // self.decimals1
        d_in, d_out = (self.decimals0, self.decimals1) if zero_for_one else (self.decimals1, self.decimals0)
        a, b = (r0, r1) if zero_for_one else (r1, r0)
        y = b - self._get_y((amount_in - fee) * WAD // d_in + a, xy, b)
        return fee, y * d_out // WAD

    def _get_y(self, x0: int, xy: int, y: int) -> int:
        for _ in range(255):
            k = _f(x0, y)
            slope = 3 * x0 * (y * y // WAD) // WAD + (x0 * x0 // WAD) * x0 // WAD
            dy = abs(xy - k) * WAD // slope
            if k < xy:
                if dy == 0:
                    if self.k(x0, y + 1) > xy:  # the contract normalises its own units once more here
                        return y + 1
                    dy = 1
                y += dy
            else:
                if dy == 0:
                    if k == xy or _f(x0, y - 1) < xy:
                        return y
                    dy = 1
                y -= dy
        raise ValueError("the stable curve did not converge")

    def amount_out_real(self, amount_in: int, zero_for_one: bool) -> float:
        """The same in real arithmetic and whole tokens: root of a cubic in the amount itself, without cancellation."""
        x, y = self._tokens(zero_for_one)
        d_in = self.decimals0 if zero_for_one else self.decimals1
        a = amount_in / d_in * (1.0 - self.fee_bps / BPS)
        x1 = x + a
        need = a * ((x1 * x1 + x1 * x + x * x) * y + y**3)
        out = need / (x1**3 + 3.0 * x1 * y * y)
        for _ in range(100):
            value = x1**3 * out + x1 * out * (3.0 * y * y - 3.0 * y * out + out * out) - need
            step = value / (x1**3 + 3.0 * x1 * (y - out) ** 2)
            out -= step
            if abs(step) <= 1e-16 * abs(out):
                break
        return out

    def marginal_price(self, zero_for_one: bool) -> float:
        """Out per in of an infinitesimal swap, without the fee."""
        x, y = self._tokens(zero_for_one)
        return (3.0 * x * x * y + y**3) / (x**3 + 3.0 * x * y * y)

    def _tokens(self, zero_for_one: bool) -> tuple[float, float]:
        x, y = self.reserve0 / self.decimals0, self.reserve1 / self.decimals1
        return (x, y) if zero_for_one else (y, x)


def _f(x0: int, y: int) -> int:
    return (x0 * y // WAD) * (x0 * x0 // WAD + y * y // WAD) // WAD
