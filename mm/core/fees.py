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
    """A venue's tiers for some kinds of contract: rows of (tier, maker, taker) in percent, the dearest first."""

    kinds: tuple[ContractKind, ...]
    as_of: str  # date of the source, or when an undated one was read
    source: str
    rows: tuple[tuple[str, str, str], ...]
    verified: bool = True  # read from the venue itself
    note: str = ""


_READ: Final = "undated, read 2026-11-20"
_PERP: Final[tuple[ContractKind, ...]] = ("linear", "inverse")
_BYBIT: Final = "Bybit help centre, article 000001634 'Trading Fee Structure'"
SCHEDULES: Final[dict[str, tuple[Schedule, ...]]] = {
    "apex": (
        Schedule(
            ("linear",),
            "2024-07-18",
            "ApeX blog, 'ApeX Omni: Fee Structure Updates': standard rates after 2024-09-15",
            (("standard", "0.0200", "0.0500"),),
            note="ccxt 4.5.90 has the same. Lower tiers and maker programmes could not be verified: not used. "
            "The grid-bot rebate is a feature of the web page, not of the API.",
        ),
    ),
    "paradex": (
        Schedule(
            ("linear",),
            _READ,
            "docs.paradex.trade, 'Trading fees', profile 'API - Standard'",
            (("api", "0.0030", "0.0200"),),
            note="An older page of the same site says 0 / 0.02-0.03 %. What an account pays is in its market's "
            "fee_config.api_fee. Free trading is for orders of the web page.",
        ),
        Schedule(
            ("linear",),
            "2025",
            "docs.paradex.trade, 'Free trading' and 'Trading fees' of 2025",
            (("rebate-2025", "-0.0050", "0.0300"),),
            verified=False,
            note="The rebate of the past, for comparison. The current page no longer offers it.",
        ),
    ),
    "bybit": (
        Schedule(
            _PERP,
            "2025",
            _BYBIT,
            (
                ("vip0", "0.0200", "0.0550"), ("vip1", "0.0180", "0.0400"), ("vip2", "0.0160", "0.0375"),
                ("vip3", "0.0140", "0.0350"), ("vip4", "0.0120", "0.0320"), ("vip5", "0.0100", "0.0320"),
                ("supreme", "0.0000", "0.0300"),
            ),
            note="Rates differ by region: the account's own page or /v5/account/fee-rate decides.",
        ),
        Schedule(
            ("spot",),
            "2025",
            _BYBIT,
            (
                ("vip0", "0.1000", "0.1000"), ("vip1", "0.0675", "0.0800"), ("vip2", "0.0650", "0.0775"),
                ("vip3", "0.0625", "0.0750"), ("vip4", "0.0500", "0.0600"), ("vip5", "0.0400", "0.0500"),
                ("supreme", "0.0300", "0.0450"),
            ),
        ),
    ),
    "mexc": (
        Schedule(
            ("spot",),
            "2025-07-16",
            "MEXC Learn, 'Calculation of fees in spot trading'",
            (("standard", "0.0000", "0.0500"),),
            note="A page of 2024-01-13 says 0 / 0.10 %. Discounts for holding or paying in MX not counted; pairs and "
            "regions differ: /api/v3/tradeFee decides.",
        ),
    ),
    "hyperliquid": (
        Schedule(
            ("linear",),
            _READ,
            "Hyperliquid docs, 'Fees', perps",
            (
                ("tier0", "0.0150", "0.0450"), ("tier1", "0.0120", "0.0400"), ("tier2", "0.0080", "0.0350"),
                ("tier3", "0.0040", "0.0300"), ("tier4", "0.0000", "0.0280"), ("tier5", "0.0000", "0.0260"),
                ("tier6", "0.0000", "0.0240"),
            ),
            note="Tiers by 14-day volume above 5 M, 25 M, 100 M, 500 M, 2 B and 7 B USDC. Rebates for shares of maker "
            "volume above 0.5 %, staking and referral discounts are not counted, nor a builder's fee.",
        ),
    ),
    "binance": (
        Schedule(
            ("linear",),
            "2025",
            "USDⓈ-M schedule as quoted by third parties; the venue's own table could not be read",
            (
                ("regular", "0.0200", "0.0500"), ("vip1", "0.0160", "0.0400"), ("vip2", "0.0140", "0.0350"),
                ("vip3", "0.0120", "0.0320"), ("vip4", "0.0100", "0.0300"), ("vip5", "0.0080", "0.0270"),
                ("vip6", "0.0060", "0.0250"),
            ),
            verified=False,
            note="Without the 10 % discount for paying in BNB.",
        ),
        Schedule(
            ("inverse",),
            "2026",
            "COIN-M: the dearest of what third parties quote (ccxt 4.5.90: 0.01 / 0.05 %)",
            (("regular", "0.0200", "0.0500"),),
            verified=False,
        ),
        Schedule(
            ("spot",),
            "2026",
            "defaults of ccxt 4.5.90; the venue's own table could not be read",
            (("regular", "0.1000", "0.1000"),),
            verified=False,
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
