"""Fee tiers of venues, for simulations: dated, from the venues' own pages where they could be read.

A table here is a snapshot, and regions and promotions differ: what an account pays is what its venue says at login.
No rebate is in any base tier. Fractions of notional, negative: a rebate.
"""

from __future__ import annotations

import difflib
from decimal import Decimal
from typing import Final, NamedTuple

from mm.core.instrument import ContractKind
from mm.errors import ConfigError


class Fees(NamedTuple):
    """Fractions of notional."""

    maker: Decimal
    taker: Decimal


class Schedule(NamedTuple):
    """A venue's tiers for some kinds of contract: rows of (tier, maker, taker) in percent."""

    kinds: tuple[ContractKind, ...]
    as_of: str
    source: str
    rows: tuple[tuple[str, str, str], ...]


_PERP: Final[tuple[ContractKind, ...]] = ("linear", "inverse")
SCHEDULES: Final[dict[str, tuple[Schedule, ...]]] = {
    "bybit": (
        Schedule(
            _PERP,
            "2025",
            "Bybit help centre, article 000001634 'Trading Fee Structure'",
            (
                ("vip0", "0.0200", "0.0550"), ("vip1", "0.0180", "0.0400"), ("vip2", "0.0160", "0.0375"),
                ("vip3", "0.0140", "0.0350"), ("vip4", "0.0120", "0.0320"), ("vip5", "0.0100", "0.0320"),
                ("supreme", "0.0000", "0.0300"),
            ),
        ),
        Schedule(
            ("spot",),
            "2025",
            "Bybit help centre, article 000001634 'Trading Fee Structure'",
            (
                ("vip0", "0.1000", "0.1000"), ("vip1", "0.0675", "0.0800"), ("vip2", "0.0650", "0.0775"),
                ("vip3", "0.0625", "0.0750"), ("vip4", "0.0500", "0.0600"), ("vip5", "0.0400", "0.0500"),
                ("supreme", "0.0300", "0.0450"),
            ),
        ),
    ),
    "binance": (
        Schedule(
            ("linear",),
            "2025",
            "USDⓈ-M schedule as quoted by third parties, the venue's page could not be read: verify",
            (
                ("regular", "0.0200", "0.0500"), ("vip1", "0.0160", "0.0400"), ("vip2", "0.0140", "0.0350"),
                ("vip3", "0.0120", "0.0320"), ("vip4", "0.0100", "0.0300"), ("vip5", "0.0080", "0.0270"),
                ("vip6", "0.0060", "0.0250"),
            ),
        ),
    ),
}  # fmt: skip


def tier_fees(tier: str, kind: ContractKind) -> Fees:
    """Fees of ``venue:tier``; raises ``ConfigError`` naming what there is."""
    known = {
        f"{venue}:{name}": Fees(Decimal(maker) / 100, Decimal(taker) / 100)
        for venue, schedules in SCHEDULES.items()
        for schedule in schedules
        if kind in schedule.kinds
        for name, maker, taker in schedule.rows
    }
    if tier not in known:
        close = difflib.get_close_matches(tier, known, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"
        raise ConfigError(f"sim.fee_tier: no tier {tier!r} for {kind} contracts; {hint}")
    return known[tier]
