"""Concentrated liquidity: one step of a Uniswap V3 swap in exact integers, and a position in real arithmetic."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

PIPS: Final = 1_000_000
Q96: Final = 1 << 96
_UINT256: Final = 1 << 256


class Step(NamedTuple):
    """Result of ``SwapMath.computeSwapStep``."""

    sqrt_next_x96: int
    amount_in: int
    amount_out: int
    fee_amount: int


def _up(numerator: int, denominator: int) -> int:
    return -(-numerator // denominator)


def amount0_delta(a: int, b: int, liquidity: int, round_up: bool) -> int:
    """Token 0 between two sqrt prices (x96)."""
    a, b = min(a, b), max(a, b)
    if a <= 0:
        raise ValueError("a sqrt price is positive")
    top = (liquidity << 96) * (b - a)
    return _up(_up(top, b), a) if round_up else top // b // a


def amount1_delta(a: int, b: int, liquidity: int, round_up: bool) -> int:
    """Token 1 between two sqrt prices (x96)."""
    top = liquidity * abs(b - a)
    return _up(top, Q96) if round_up else top // Q96


def next_price_from_input(sqrt_x96: int, liquidity: int, amount: int, zero_for_one: bool) -> int:
    """Where ``amount`` of the token sold moves the price; rounds so that the price never goes too far."""
    if not zero_for_one:
        return sqrt_x96 + (amount << 96) // liquidity
    if amount == 0:
        return sqrt_x96
    top = liquidity << 96
    product = amount * sqrt_x96
    if product < _UINT256 and top + product < _UINT256:
        return _up(top * sqrt_x96, top + product)
    return _up(top, top // sqrt_x96 + amount)


def next_price_from_output(sqrt_x96: int, liquidity: int, amount: int, zero_for_one: bool) -> int:
    """Where taking ``amount`` out moves the price. ``ValueError`` when there is not that much."""
    if zero_for_one:
        down = _up(amount << 96, liquidity)
        if sqrt_x96 <= down:
            raise ValueError("not enough token 1 in range")
        return sqrt_x96 - down
    if amount == 0:
        return sqrt_x96
    top = liquidity << 96
    product = amount * sqrt_x96
    if top <= product or product >= _UINT256:
        raise ValueError("not enough token 0 in range")
    return _up(top * sqrt_x96, top - product)


def swap_step(sqrt_x96: int, target_x96: int, liquidity: int, remaining: int, fee_pips: int) -> Step:
    """One step towards ``target_x96``: ``remaining`` to sell when positive, to buy when negative."""
    if liquidity <= 0 or not 0 <= fee_pips < PIPS:
        raise ValueError(f"no step with liquidity {liquidity} and a fee of {fee_pips} pips")
    down = sqrt_x96 >= target_x96  # token 0 is sold
    exact_in = remaining >= 0
    delta_in, delta_out = (amount0_delta, amount1_delta) if down else (amount1_delta, amount0_delta)
    amount_in = delta_in(target_x96, sqrt_x96, liquidity, True)
    amount_out = delta_out(target_x96, sqrt_x96, liquidity, False)
    if exact_in:
        net = remaining * (PIPS - fee_pips) // PIPS
        reached = net >= amount_in
        nxt = target_x96 if reached else next_price_from_input(sqrt_x96, liquidity, net, down)
    else:
        reached = -remaining >= amount_out
        nxt = target_x96 if reached else next_price_from_output(sqrt_x96, liquidity, -remaining, down)
    if nxt != target_x96:
        amount_in = delta_in(nxt, sqrt_x96, liquidity, True)
        amount_out = delta_out(nxt, sqrt_x96, liquidity, False)
    if not exact_in:
        amount_out = min(amount_out, -remaining)
    partial = exact_in and nxt != target_x96
    fee = remaining - amount_in if partial else _up(amount_in * fee_pips, PIPS - fee_pips)
    return Step(nxt, amount_in, amount_out, fee)


def position_amounts(price: float, low: float, high: float, liquidity: float) -> tuple[float, float]:
    """(token 0, token 1) of a position between two prices."""
    if not (price > 0.0 and 0.0 < low < high):
        raise ValueError(f"no position: price {price}, range {low} to {high}")
    root_low, root_high = math.sqrt(low), math.sqrt(high)
    root = min(max(math.sqrt(price), root_low), root_high)
    return liquidity * (1.0 / root - 1.0 / root_high), liquidity * (root - root_low)
