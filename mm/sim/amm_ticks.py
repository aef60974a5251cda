"""Ticks of Uniswap V3 and PancakeSwap V3: a tick t is the price 1.0001^t, its root in 96 fractional bits exact."""

from __future__ import annotations

import math
from typing import Final

MIN_TICK: Final = -887272
MAX_TICK: Final = 887272
MIN_SQRT: Final = 4295128739
MAX_SQRT: Final = 1461446703485210103287273052203988822378723970342

# sqrt(1.0001)^-(2^i) in 128 fractional bits, as TickMath.sol has them
_POWERS: Final = (
    0xFFFCB933BD6FAD37AA2D162D1A594001, 0xFFF97272373D413259A46990580E213A, 0xFFF2E50F5F656932EF12357CF3C7FDCC,
    0xFFE5CACA7E10E4E61C3624EAA0941CD0, 0xFFCB9843D60F6159C9DB58835C926644, 0xFF973B41FA98C081472E6896DFB254C0,
    0xFF2EA16466C96A3843EC78B326B52861, 0xFE5DEE046A99A2A811C461F1969C3053, 0xFCBE86C7900A88AEDCFFC83B479AA3A4,
    0xF987A7253AC413176F2B074CF7815E54, 0xF3392B0822B70005940C7A398E4B70F3, 0xE7159475A2C29B7443B29C7FA6E889D9,
    0xD097F3BDFD2022B8845AD8F792AA5825, 0xA9F746462D870FDF8A65DC1F90E061E5, 0x70D869A156D2A1B890BB3DF62BAF32F7,
    0x31BE135F97D08FD981231505542FCFA6, 0x9AA508B5B7A84E1C677DE54F3E99BC9, 0x5D6AF8DEDB81196699C329225EE604,
    0x2216E584F5FA1EA926041BEDFE98, 0x48A170391F7DC42444E8FA2,
)  # fmt: skip


def sqrt_at(tick: int) -> int:
    """Root of the price at a tick, x96 (``getSqrtRatioAtTick``). ``ValueError`` beyond the last ticks."""
    if not MIN_TICK <= tick <= MAX_TICK:
        raise ValueError(f"no tick {tick}")
    ratio = 1 << 128
    for bit, power in enumerate(_POWERS):
        if abs(tick) >> bit & 1:
            ratio = ratio * power >> 128
    if tick > 0:
        ratio = ((1 << 256) - 1) // ratio
    return -(-ratio >> 32)


def tick_at(sqrt_x96: int) -> int:
    """The greatest tick whose root does not exceed ``sqrt_x96`` (``getTickAtSqrtRatio``)."""
    if not MIN_SQRT <= sqrt_x96 < MAX_SQRT:
        raise ValueError(f"no tick has the root {sqrt_x96}")
    tick = math.floor(2.0 * math.log(sqrt_x96 / (1 << 96)) / math.log(1.0001))
    tick = min(max(tick, MIN_TICK), MAX_TICK - 1)
    while sqrt_at(tick) > sqrt_x96:
        tick -= 1
    while sqrt_at(tick + 1) <= sqrt_x96:
        tick += 1
    return tick
