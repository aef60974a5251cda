"""MEXC spot."""

from __future__ import annotations

from typing import Final

from mm.venues.spec import Listing, RateRule, VenueSpec

SPEC: Final = VenueSpec(
    name="mexc",
    kind="spot",
    listings=(
        Listing(
            "BTCUSDT", "BTC", "USDT", "0.01", "0.000001", "5", 1.0, (),
            "exchangeInfo as recorded by several clients", "2026-11-20",
            note="Minimum amounts of 1 and of 5 USDT are on record; the larger is taken.",
        ),
        Listing(
            "ETHUSDT", "ETH", "USDT", "0.01", "0.00001", "5", 1.0, (),
            "not found: as BTC, one decimal coarser", "2026-11-20", verified=False,
        ),
    ),
    fee_tier="standard",
    fees_at="GET /api/v3/tradeFee",
    post_only="type=LIMIT_MAKER",
    self_trade="not documented; the dearest assumption: the new order is refused",
    sim_self_trade="reject",
    funding_interval_h=None,
    rates=(RateRule("requests", 20, 1.0),),
    rates_source="ccxt 4.5.90: 50 ms between requests; the venue's own figure could not be read",
)  # fmt: skip
