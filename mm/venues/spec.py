"""What is known of a venue without asking it: used in simulations, by checks before a start, and by profiles.

A live desk takes instruments and fees from the venue itself; these are what it is compared with.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from mm.core.fees import SCHEDULES, Fees, Schedule, tier_fees
from mm.core.instrument import ContractKind, Instrument
from mm.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Listing:
    """One instrument of a venue. ``tiers``: (position value in USD above which, maintenance rate in percent)."""

    symbol: str
    base: str
    quote: str
    tick_size: str
    lot_size: str
    min_notional: str
    max_leverage: float
    tiers: tuple[tuple[float, float], ...]
    source: str
    as_of: str
    verified: bool = True  # read from the venue or its own documentation
    note: str = ""


@dataclass(frozen=True, slots=True)
class RateRule:
    """At most ``count`` of ``what`` in ``window_s`` seconds.

    ``weights``: what one request of a kind (place, amend, cancel, cancel_all, query) counts; () counts every kind as 1.
    """

    what: str
    count: int
    window_s: float
    weights: tuple[tuple[str, int], ...] = ()

    def weight(self, kind: str) -> int:
        """How much a request of a kind counts, 0: the rule is not about it."""
        return dict(self.weights).get(kind, 0) if self.weights else 1


@dataclass(frozen=True, slots=True)
class VenueSpec:
    """Static facts of one venue and kind of contract."""

    name: str
    kind: ContractKind
    listings: tuple[Listing, ...]
    fee_tier: str  # the one a new account has, in ``mm.core.fees``
    fees_at: str  # where the venue tells an account its own fees
    post_only: str  # the name of the post-only order on the wire
    self_trade: str  # what happens when an order of ours meets one of ours
    sim_self_trade: Literal["reject", "cancel_resting"]  # the simulator's nearest rule
    funding_interval_h: float | None  # None: no funding
    rates: tuple[RateRule, ...]
    rates_source: str
    funding_note: str = ""

    def listing(self, base: str) -> Listing:
        """The listing of a base currency; raises ``ConfigError`` naming what there is."""
        for one in self.listings:
            if one.base == base.upper():
                return one
        raise ConfigError(f"{self.name}: no {base} in its spec; there are {', '.join(x.base for x in self.listings)}")

    def fees(self, tier: str | None = None) -> Fees:
        """Fees of a tier, default the one of a new account."""
        return tier_fees(f"{self.name}:{tier or self.fee_tier}", self.kind)

    def schedules(self) -> tuple[Schedule, ...]:
        """The venue's fee tables for this kind of contract."""
        return tuple(s for s in SCHEDULES[self.name] if self.kind in s.kinds)

    def instrument(self, base: str) -> Instrument:
        """The instrument as a simulation wants it, with the fees of a new account."""
        one, fees = self.listing(base), self.fees()
        return Instrument(
            symbol=one.symbol,
            venue=self.name,
            kind=self.kind,
            tick_size=Decimal(one.tick_size),
            lot_size=Decimal(one.lot_size),
            min_notional=Decimal(one.min_notional),
            base=one.base,
            quote=one.quote,
            maker_fee=fees.maker,
            taker_fee=fees.taker,
        )
