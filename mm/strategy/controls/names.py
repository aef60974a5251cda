"""Names and numbers of the controls: which are on (a bit each in ``PARAMS.controls``) and why they acted."""

from __future__ import annotations

from typing import Final

ACTS: Final = (
    "tick_filter", "soft_limit", "cooldown", "displacement", "momentum", "regime", "regime_warm_up", "volatility",
    "market_spread", "thin_book", "fee_floor", "session", "rebalance", "liquidation",
)  # fmt: skip
"""What a control does to a quote and why it is missing: reasons of a TARGET, bits of its ``acting``."""
(
    TICK_FILTER, SOFT_LIMIT, COOLDOWN, DISPLACEMENT, MOMENTUM, REGIME, REGIME_WARM_UP, VOLATILITY,
    MARKET_SPREAD, THIN_BOOK, FEE_FLOOR, SESSION, REBALANCE, LIQUIDATION,
) = range(len(ACTS))  # fmt: skip

FIRST_ACT: Final = 7  # reason code of the first act: the kernel's own reasons come before


def bit(act: int) -> int:
    """The bit of an act in ``PARAMS.controls`` and ``TARGET.acting``."""
    return 1 << act


def names_of(mask: int) -> list[str]:
    """The acts of a mask, in order."""
    return [name for k, name in enumerate(ACTS) if mask >> k & 1]
