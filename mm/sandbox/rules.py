"""Leverage and maintenance margin of an instrument, as its venue has them."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from mm.core.instrument import Instrument
from mm.venues.specs import find_spec

_ZERO: Final = Decimal(0)
_UNLISTED: Final[tuple[int, tuple[tuple[float, float], ...]]] = (100, ((0.0, 0.5),))  # where no venue spec tells


@dataclass(frozen=True, slots=True)
class MarginRules:
    """Of one instrument. ``tiers``: (rate, deduction in quote currency), the deductions make it continuous."""

    max_leverage: int
    tiers: tuple[tuple[Decimal, Decimal], ...]

    def maintenance(self, value: Decimal) -> Decimal:
        """Maintenance margin of a position value, both in quote currency."""
        return max((value * rate - deduction for rate, deduction in self.tiers), default=_ZERO)


def rules_of(instrument: Instrument, venue_name: str = "") -> MarginRules:
    """The rules of a venue (default: the instrument's), else those of an ordinary contract."""
    top, raw = _UNLISTED
    venue = find_spec(venue_name or instrument.venue)
    if venue is not None and venue.kind == instrument.kind:
        for listing in venue.listings:
            if instrument.symbol == listing.symbol or instrument.base == listing.base:
                top, raw = int(listing.max_leverage), listing.tiers
                break
    tiers = []
    rate = deduction = _ZERO
    for above, percent in raw:
        new = Decimal(repr(percent)) / 100
        deduction += Decimal(repr(above)) * (new - rate)
        rate = new
        tiers.append((rate, deduction))
    return MarginRules(top, tuple(tiers))
