"""A pool with its state: swaps that revert, liquidity shares, fees per share, arbitrage; exact integers of contracts.

Uniswap V2 and PancakeSwap V2 keep the fee in the reserves, so a share's fees are the growth of the root of k per
share. Aerodrome's pools put it aside and count it per share (``Pool.sol``: ``index0``, ``index1``, in 1e-18).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

from mm.sim import amm
from mm.sim.amm import BPS, WAD, StablePool, Swap

Rule = Literal["v2", "aero_volatile", "aero_stable"]
MINIMUM_K = 10**10


class Reverted(ValueError):  # an outcome of a transaction, which a simulation counts
    """A transaction that the contract refuses; nothing changed but the gas."""


@dataclass(slots=True)
class Share:
    """Liquidity of one holder; ``owed``: fees of an Aerodrome pool counted so far and not yet claimed."""

    liquidity: int = 0
    index0: int = 0
    index1: int = 0
    owed0: int = 0
    owed1: int = 0


@dataclass(slots=True)
class Pool:
    """Reserves, supply and fees of one pool in smallest units; decimals are powers of ten, as in ``StablePool``."""

    rule: Rule
    fee_bps: int
    decimals0: int = WAD
    decimals1: int = WAD
    reserve0: int = 0
    reserve1: int = 0
    supply: int = 0
    index0: int = 0
    index1: int = 0
    fees0: int = 0
    fees1: int = 0

    @property
    def k(self) -> int:
        """The invariant of the curve; no swap lowers it."""
        return self._k(self.reserve0, self.reserve1)

    @property
    def price(self) -> float:
        """Marginal price in whole tokens 1 per token 0, without the fee."""
        if self.rule == "aero_stable":
            return self._stable().marginal_price(zero_for_one=True)
        return (self.reserve1 / self.decimals1) / (self.reserve0 / self.decimals0)

    def quote(self, amount_in: int, zero_for_one: bool) -> Swap:
        """The swap that would happen now. ``ValueError`` without reserves, ``Reverted`` without a price."""
        r_in, r_out = (self.reserve0, self.reserve1) if zero_for_one else (self.reserve1, self.reserve0)
        if self.rule == "v2":
            return amm.swap_v2(r_in, r_out, amount_in, self.fee_bps)
        if self.rule == "aero_volatile":
            return amm.swap_aero_volatile(r_in, r_out, amount_in, self.fee_bps)
        amm.check_pool(r_in, r_out, amount_in, self.fee_bps)
        try:
            fee, out = self._stable().amount_out(amount_in, zero_for_one)
        except ValueError as exc:  # the contract reverts where its search does not end
            raise Reverted(str(exc)) from exc
        return Swap(amount_in, out, fee, r_in + amount_in - fee, r_out - out)

    def swap(self, amount_in: int, zero_for_one: bool, min_out: int = 0) -> Swap:
        """Swap; raises ``Reverted`` below ``min_out``, for nothing, or when the curve's k would fall."""
        swap = self.quote(amount_in, zero_for_one)
        if swap.amount_out < max(min_out, 1):
            raise Reverted(f"{swap.amount_out} out, at least {max(min_out, 1)} wanted")
        after = (swap.reserve_in, swap.reserve_out) if zero_for_one else (swap.reserve_out, swap.reserve_in)
        if swap.reserve_out <= 0 or self._k(*after) < self.k:
            raise Reverted("the swap would lower k")
        self.reserve0, self.reserve1 = after
        self._accrue(swap.fee if zero_for_one else 0, 0 if zero_for_one else swap.fee)
        return swap

    def swap_for_exact(self, amount_out: int, zero_for_one: bool, max_in: int) -> Swap:
        """Buy ``amount_out`` for at most ``max_in`` (V2 pools only); raises ``Reverted`` when it costs more."""
        if self.rule != "v2":
            raise ValueError("Aerodrome's router has no exact-output swap")
        r_in, r_out = (self.reserve0, self.reserve1) if zero_for_one else (self.reserve1, self.reserve0)
        if amount_out >= r_out:
            raise Reverted("the pool does not hold that much")
        need = amm.amount_in_v2(r_in, r_out, amount_out, self.fee_bps)
        if need > max_in:
            raise Reverted(f"{need} needed, at most {max_in} allowed")
        return self.swap(need, zero_for_one, amount_out)

    def mint(self, amount0: int, amount1: int, share: Share | None = None) -> Share:
        """Deposit into ``share`` (a new one by default). Raises ``Reverted`` when it is too small or unequal."""
        first_stable = self.supply == 0 and self.rule == "aero_stable"
        if first_stable and amount0 * WAD // self.decimals0 != amount1 * WAD // self.decimals1:
            raise Reverted("the first deposit of a stable pool is equal in both tokens")
        if first_stable and self._k(amount0, amount1) <= MINIMUM_K:
            raise Reverted("the first deposit of a stable pool is too small")
        try:
            liquidity, supply = amm.mint(self.reserve0, self.reserve1, self.supply, amount0, amount1)
        except ValueError as e:
            raise Reverted(str(e)) from e
        share = Share(0, self.index0, self.index1) if share is None else share
        self._count(share)
        share.liquidity += liquidity
        self.supply = supply
        self.reserve0 += amount0
        self.reserve1 += amount1
        return share

    def burn(self, share: Share, liquidity: int) -> tuple[int, int]:
        """Withdraw both tokens. Raises ``Reverted`` for more than the share has, or for nothing."""
        if not 0 < liquidity <= share.liquidity:
            raise Reverted(f"cannot burn {liquidity} of {share.liquidity}")
        amounts = amm.burn(self.reserve0, self.reserve1, self.supply, liquidity)
        if min(amounts) <= 0:
            raise Reverted("too little liquidity to withdraw anything")
        self._count(share)
        share.liquidity -= liquidity
        self.supply -= liquidity
        self.reserve0 -= amounts[0]
        self.reserve1 -= amounts[1]
        return amounts

    def claim(self, share: Share) -> tuple[int, int]:
        """Pay out the fees that an Aerodrome pool put aside for ``share``; nothing in a V2 pool."""
        self._count(share)
        owed = share.owed0, share.owed1
        share.owed0 = share.owed1 = 0
        self.fees0 -= owed[0]
        self.fees1 -= owed[1]
        return owed

    def arbitrage(self, price: float) -> tuple[int, bool] | None:
        """(amount in, sells token 0) that brings the pool to its no-trade band around ``price``, None within it.

        ``price`` is external, in whole tokens 1 per token 0. Constant product in closed form, stable by bisection.
        """
        if not price > 0.0:
            raise ValueError(f"a price is positive, got {price}")
        keep = 1.0 - self.fee_bps / BPS
        sells0 = self.price * keep > price
        if not sells0 and self.price >= price * keep:
            return None
        d_in = self.decimals0 if sells0 else self.decimals1
        if self.rule != "aero_stable":
            x, y = self.reserve0 / self.decimals0, self.reserve1 / self.decimals1
            amount = int(amm.arbitrage(x, y, self.fee_bps / BPS, price).amount_in * d_in)
        else:
            amount = self._stable_amount(price if sells0 else 1.0 / price, sells0, keep)
        return (amount, sells0) if amount > 0 else None

    def _stable_amount(self, price: float, sells0: bool, keep: float) -> int:
        """Amount after which the stable curve pays ``price`` (out per in) for one more, net of the fee."""
        low, high = 0, 1
        while self._after(high, sells0).marginal_price(sells0) * keep > price:
            low, high = high, 2 * high
        while high - low > max(1, high >> 40):
            middle = (low + high) // 2
            if self._after(middle, sells0).marginal_price(sells0) * keep > price:
                low = middle
            else:
                high = middle
        return low

    def _after(self, amount: int, sells0: bool) -> StablePool:
        s = self.quote(amount, sells0)
        r0, r1 = (s.reserve_in, s.reserve_out) if sells0 else (s.reserve_out, s.reserve_in)
        return StablePool(r0, r1, self.decimals0, self.decimals1, self.fee_bps)

    def _k(self, reserve0: int, reserve1: int) -> int:
        return self._stable().k(reserve0, reserve1) if self.rule == "aero_stable" else reserve0 * reserve1

    def _stable(self) -> StablePool:
        return StablePool(self.reserve0, self.reserve1, self.decimals0, self.decimals1, self.fee_bps)

    def _accrue(self, fee0: int, fee1: int) -> None:
        if self.supply:
            self.index0 += fee0 * WAD // self.supply
            self.index1 += fee1 * WAD // self.supply
        self.fees0 += fee0
        self.fees1 += fee1

    def _count(self, share: Share) -> None:
        share.owed0 += share.liquidity * (self.index0 - share.index0) // WAD
        share.owed1 += share.liquidity * (self.index1 - share.index1) // WAD
        share.index0, share.index1 = self.index0, self.index1


class PositionResult(NamedTuple):
    """A constant-product position against holding, all in token 1; value = hold + divergence + fees."""

    value: float
    hold: float
    divergence: float  # impermanent loss in money, never positive
    fees: float


def position_result(
    deposit: tuple[float, float], now: tuple[float, float], claimed: tuple[float, float], price: float
) -> PositionResult:
    """Split what a position made: ``deposit`` and ``now`` are its tokens then and now, ``price`` the pool's now.

    The root of x·y grows by fees only, so the position without fees would be worth 2·sqrt(x·y of the deposit·price).
    """
    if not (price > 0.0 and min(deposit) > 0.0 and min(now) >= 0.0):
        raise ValueError(f"no position: {deposit} then, {now} now, price {price}")
    value = (now[0] + claimed[0]) * price + now[1] + claimed[1]
    hold = deposit[0] * price + deposit[1]
    bare = 2.0 * math.sqrt(deposit[0] * deposit[1] * price)
    return PositionResult(value, hold, bare - hold, value - bare)
