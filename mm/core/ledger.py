"""The exact position ledger: average cost, in rational arithmetic.

The hot path books fills in integers (``mm.strategy``); this is the reference it is tested against, and what reports and
reconciliation use, where a venue's decimal strings must add up to the last digit.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Literal

Number = int | str | Decimal | Fraction
ZERO = Fraction(0)


@dataclass(slots=True)
class PositionLedger:
    """One position from its fills, without fees.

    Adding averages the entry: by size (linear), harmonically (inverse, where a contract is worth 1/price coin).
    Reducing realises PnL and leaves the entry; a flip closes everything and opens the rest at the fill price.
    Quantities: base (linear) or contracts of 1 quote unit (inverse). ``realised``: quote (linear) or coin (inverse).
    """

    kind: Literal["linear", "inverse"] = "linear"
    position: Fraction = ZERO
    entry: Fraction | None = None
    realised: Fraction = ZERO

    def apply(self, signed_quantity: Number, price: Number) -> Fraction:
        """Book one fill; returns what it realised. ``ValueError`` when the price is not positive."""
        quantity, at = Fraction(signed_quantity), Fraction(price)
        if at <= 0:
            raise ValueError(f"fill price must be positive, got {price}")
        if quantity == 0:
            return ZERO
        if self.entry is None or self.position * quantity > 0:
            self.entry = self._average(quantity, at)
            self.position += quantity
            return ZERO
        closed = min(abs(quantity), abs(self.position))
        gain = self._gain(closed if self.position > 0 else -closed, self.entry, at)
        self.realised += gain
        was_long = self.position > 0
        self.position += quantity
        if self.position == 0:
            self.entry = None
        elif (self.position > 0) != was_long:
            self.entry = at
        return gain

    def unrealised(self, mark: Number) -> Fraction:
        """PnL of closing everything at ``mark``."""
        return ZERO if self.entry is None else self._gain(self.position, self.entry, Fraction(mark))

    def _average(self, quantity: Fraction, price: Fraction) -> Fraction:
        if self.entry is None:
            return price
        total = self.position + quantity
        if self.kind == "inverse":
            return total / (self.position / self.entry + quantity / price)
        return (self.position * self.entry + quantity * price) / total

    def _gain(self, quantity: Fraction, entry: Fraction, price: Fraction) -> Fraction:
        if self.kind == "inverse":
            return quantity * (1 / entry - 1 / price)
        return quantity * (price - entry)
