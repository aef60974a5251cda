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
    rates=(RateRule("weight of requests", 300, 10.0, (("place", 1), ("cancel", 1), ("cancel_all", 1), ("query", 10))),),
    rates_source=(
        "copies of the venue's documentation, read 2026-11-20, disagree: 500 in 10 s for each endpoint, or 300 of "
        "weight in 10 s for an address; the stricter is taken, every query at the weight of the dearest"
    ),
)  # fmt: skip
