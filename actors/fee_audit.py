"""What every fill cost against what it should have: the fee by the account's schedule, the price by the order.

A desk lives on fractions of a basis point: a fee tier that is not what the venue said, or a maker order charged as
taker, is seen at the first fill and not on the statement.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from mm.core.instrument import Instrument

_TOLERANCE: Final = Decimal("0.001")  # of the expected fee: venues round
_SMALLEST: Final = Decimal("0.000001")  # in the fee's currency

log = logging.getLogger(__name__)


@dataclass(slots=True)
class FeeAudit:
    """Counts of one account. ``rates``: (maker, taker) by instrument index, signed fractions, as the venue told."""

    instruments: list[Instrument]
    rates: list[tuple[Decimal, Decimal] | None] = field(default_factory=list)
    fills: int = 0
    mismatches: int = 0
    worse_prices: int = 0
    expected: Decimal = Decimal(0)
    charged: Decimal = Decimal(0)
    slippage: Decimal = Decimal(0)  # quote currency; positive is worse than the order's price
    last: str = ""

    def fill(self, i: int, side: int, tick: int, lots: int, maker: bool, fee: Decimal, order_tick: int | None) -> None:
        """One execution. ``order_tick``: the price we asked for; None when the order is not in our table any more."""
        instrument = self.instruments[i]
        value = instrument.notional(tick, lots)
        if instrument.kind == "inverse":
            value /= instrument.price(tick)
        self.fills += 1
        self.charged += fee
        rates = self.rates[i] if i < len(self.rates) else None
        if rates is not None:
            expected = value * rates[0 if maker else 1]
            self.expected += expected
            if abs(fee - expected) > max(abs(expected) * _TOLERANCE, _SMALLEST):
                self.mismatches += 1
                self.last = f"{instrument.symbol}: charged {fee}, expected {expected} ({'maker' if maker else 'taker'})"
                if self.mismatches <= 10:
                    log.warning("fee differs from the schedule: %s", self.last)
        if order_tick is not None:
            worse = side * (tick - order_tick)
            self.slippage += worse * instrument.tick_size * instrument.size(lots) * instrument.contract_value
            self.worse_prices += worse > 0

    def report(self, placed: int, rejected: int) -> dict[str, Any]:
        """For status and summary."""
        return {
            "fills": self.fills,
            "mismatches": self.mismatches,
            "expected": str(self.expected),
            "charged": str(self.charged),
            "slippage": str(self.slippage),
            "worse_prices": self.worse_prices,
            "placement_success": None if not placed else round(1 - rejected / placed, 4),
            "last_mismatch": self.last,
        }
