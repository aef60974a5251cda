"""A concentrated-liquidity pool with its ticks: swaps across them, positions, fees per liquidity; exact integers.

Follows UniswapV3Pool.sol, and PancakeV3Pool.sol without its protocol fee, down to the steps that a swap makes at the
ends of bitmap words, because every step rounds.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from typing import NamedTuple

from mm.sim.amm_pool import Reverted
from mm.sim.amm_ticks import MAX_SQRT, MAX_TICK, MIN_SQRT, MIN_TICK, sqrt_at, tick_at
from mm.sim.amm_v3 import PIPS, Q96, amount0_delta, amount1_delta, swap_step

_Q128 = 1 << 128
_WRAP = 1 << 256  # the contract's fee growth wraps; differences stay right


@dataclass(slots=True)
class Tick:
    """Liquidity that begins (positive) or ends here when the price rises, and fee growth on the other side."""

    gross: int = 0
    net: int = 0
    outside0: int = 0
    outside1: int = 0


@dataclass(slots=True)
class Position:
    """Liquidity between two ticks, fee growth inside when last counted, and tokens owed."""

    lower: int
    upper: int
    liquidity: int = 0
    inside0: int = 0
    inside1: int = 0
    owed0: int = 0
    owed1: int = 0


class V3Swap(NamedTuple):
    """What was paid (fee included) and received, the fee, and the ticks crossed."""

    amount_in: int
    amount_out: int
    fee: int
    crossed: int


@dataclass(slots=True)
class V3Pool:
    """One pool; ``fee_pips`` in 1e-6, prices in smallest units of token 1 per smallest unit of token 0."""

    fee_pips: int
    spacing: int
    sqrt_x96: int
    tick: int = field(init=False)
    liquidity: int = 0
    growth0: int = 0
    growth1: int = 0
    ticks: dict[int, Tick] = field(default_factory=dict)
    order: list[int] = field(default_factory=list)  # initialised ticks, sorted

    def __post_init__(self) -> None:
        if not 0 <= self.fee_pips < PIPS or self.spacing <= 0:
            raise ValueError(f"no pool with a fee of {self.fee_pips} pips and a spacing of {self.spacing}")
        self.tick = tick_at(self.sqrt_x96)

    @property
    def price(self) -> float:
        """Token 1 per token 0, smallest units, without the fee."""
        return (self.sqrt_x96 / Q96) ** 2

    def swap(
        self, amount: int, zero_for_one: bool, *, limit_x96: int | None = None, min_out: int = 0, max_in: int = 0
    ) -> V3Swap:
        """Sell ``amount`` of the token given, or buy -``amount`` of the other one; stops at ``limit_x96``.

        Raises ``Reverted`` below ``min_out``, above ``max_in`` (where it is not 0), for an amount of 0 and for a limit
        on the wrong side.
        """
        limit = (MIN_SQRT + 1 if zero_for_one else MAX_SQRT - 1) if limit_x96 is None else limit_x96
        on_its_side = MIN_SQRT < limit < self.sqrt_x96 if zero_for_one else self.sqrt_x96 < limit < MAX_SQRT
        if amount == 0 or not on_its_side:
            raise Reverted(f"no swap of {amount} to the limit {limit}")
        price, tick, liquidity, remaining = self.sqrt_x96, self.tick, self.liquidity, amount
        growth = self.growth0 if zero_for_one else self.growth1
        paid = got = fees = 0
        crossings: list[tuple[int, int]] = []
        while remaining != 0 and price != limit:
            start = price
            ahead, initialised = self._next_tick(tick, zero_for_one)
            ahead = min(max(ahead, MIN_TICK), MAX_TICK)
            edge = sqrt_at(ahead)
            target = max(edge, limit) if zero_for_one else min(edge, limit)
            if liquidity:
                step = swap_step(price, target, liquidity, remaining, self.fee_pips)
                price = step.sqrt_next_x96
                paid += step.amount_in + step.fee_amount
                got += step.amount_out
                fees += step.fee_amount
                remaining += -(step.amount_in + step.fee_amount) if amount > 0 else step.amount_out
                growth = (growth + step.fee_amount * _Q128 // liquidity) % _WRAP
            else:
                price = target  # nothing to trade with until the next tick
            if price == edge:
                if initialised:
                    crossings.append((ahead, growth))
                    liquidity += -self.ticks[ahead].net if zero_for_one else self.ticks[ahead].net
                tick = ahead - 1 if zero_for_one else ahead
            elif price != start:
                tick = tick_at(price)
        if got < min_out or (max_in and paid > max_in):
            raise Reverted(f"{paid} in, {got} out: at least {min_out} out, at most {max_in or 'anything'} in wanted")
        for at, growth_then in crossings:
            crossed = self.ticks[at]
            growth0, growth1 = (growth_then, self.growth1) if zero_for_one else (self.growth0, growth_then)
            crossed.outside0 = (growth0 - crossed.outside0) % _WRAP
            crossed.outside1 = (growth1 - crossed.outside1) % _WRAP
        self.sqrt_x96, self.tick, self.liquidity = price, tick, liquidity
        if zero_for_one:
            self.growth0 = growth
        else:
            self.growth1 = growth
        return V3Swap(paid, got, fees, len(crossings))

    def arbitrage(self, price: float) -> V3Swap | None:
        """Trade to the edge of the no-trade band around an external ``price``, None within it."""
        if not price > 0.0:
            raise ValueError(f"a price is positive, got {price}")
        keep = 1.0 - self.fee_pips / PIPS
        if self.price * keep > price:
            limit, sells0 = math.sqrt(price / keep), True
        elif self.price < price * keep:
            limit, sells0 = math.sqrt(price * keep), False
        else:
            return None
        limit_x96 = int(limit * Q96)
        if limit_x96 == self.sqrt_x96:
            return None
        return self.swap(1 << 255, sells0, limit_x96=min(max(limit_x96, MIN_SQRT + 1), MAX_SQRT - 1))

    def mint(self, position: Position, liquidity: int) -> tuple[int, int]:
        """Tokens paid for adding ``liquidity`` to a position, rounded up."""
        if liquidity <= 0:
            raise Reverted("nothing to mint")
        return self._change(position, liquidity)

    def burn(self, position: Position, liquidity: int) -> tuple[int, int]:
        """Tokens returned for ``liquidity`` of a position, rounded down; 0 only counts its fees."""
        if not 0 <= liquidity <= position.liquidity:
            raise Reverted(f"cannot burn {liquidity} of {position.liquidity}")
        return self._change(position, -liquidity)

    def collect(self, position: Position) -> tuple[int, int]:
        """Pay out a position's fees."""
        self.burn(position, 0)
        owed = position.owed0, position.owed1
        position.owed0 = position.owed1 = 0
        return owed

    def _next_tick(self, tick: int, down: bool) -> tuple[int, bool]:
        """``nextInitializedTickWithinOneWord``: the next tick with liquidity, or the end of its 256-tick word."""
        here = tick // self.spacing
        if down:
            end = (here >> 8 << 8) * self.spacing
            i = bisect_right(self.order, here * self.spacing) - 1
            return (self.order[i], True) if i >= 0 and self.order[i] >= end else (end, False)
        here += 1
        end = (here | 255) * self.spacing
        i = bisect_left(self.order, here * self.spacing)
        return (self.order[i], True) if i < len(self.order) and self.order[i] <= end else (end, False)

    def _change(self, p: Position, delta: int) -> tuple[int, int]:
        if not MIN_TICK <= p.lower < p.upper <= MAX_TICK or p.lower % self.spacing or p.upper % self.spacing:
            raise Reverted(f"no position from tick {p.lower} to {p.upper}")
        if delta:
            self._change_tick(p.lower, delta, delta)
            self._change_tick(p.upper, delta, -delta)
        inside0, inside1 = self._inside(p)
        p.owed0 += (inside0 - p.inside0) % _WRAP * p.liquidity // _Q128
        p.owed1 += (inside1 - p.inside1) % _WRAP * p.liquidity // _Q128
        p.inside0, p.inside1 = inside0, inside1
        p.liquidity += delta
        for at in (p.lower, p.upper):
            if delta < 0 and self.ticks[at].gross == 0:
                del self.ticks[at]
                self.order.remove(at)
        low, high, up = sqrt_at(p.lower), sqrt_at(p.upper), delta > 0
        amount0 = amount1 = 0
        if self.tick < p.upper:
            amount0 = amount0_delta(max(self.sqrt_x96, low) if self.tick >= p.lower else low, high, abs(delta), up)
        if self.tick >= p.lower:
            amount1 = amount1_delta(low, self.sqrt_x96 if self.tick < p.upper else high, abs(delta), up)
        if p.lower <= self.tick < p.upper:
            self.liquidity += delta
        return amount0, amount1

    def _change_tick(self, at: int, delta: int, net: int) -> None:
        tick = self.ticks.get(at)
        if tick is None:
            below = at <= self.tick
            tick = self.ticks[at] = Tick(0, 0, self.growth0 if below else 0, self.growth1 if below else 0)
            self.order.insert(bisect_left(self.order, at), at)
        tick.gross += delta
        tick.net += net

    def _inside(self, p: Position) -> tuple[int, int]:
        """Fee growth per liquidity between the ticks of a position (modulo 2^256)."""
        lower, upper = self.ticks.get(p.lower), self.ticks.get(p.upper)
        if lower is None or upper is None:
            return p.inside0, p.inside1  # never had liquidity: nothing to count
        out = []
        for total, low, high in (
            (self.growth0, lower.outside0, upper.outside0),
            (self.growth1, lower.outside1, upper.outside1),
        ):
            below = low if self.tick >= p.lower else total - low
            above = high if self.tick < p.upper else total - high
            out.append((total - below - above) % _WRAP)
        return out[0], out[1]
