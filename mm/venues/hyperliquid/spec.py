"""Hyperliquid perpetuals."""

from __future__ import annotations

from typing import Final

from mm.venues.spec import Listing, RateRule, VenueSpec

_DOCS: Final = "Hyperliquid docs, 'Margin tiers', 'Tick and lot size'; meta of 2026-09-27"
_TICK: Final = "A price has five significant figures, whole dollars always allowed: the tick follows the price."

SPEC: Final = VenueSpec(
    name="hyperliquid",
    kind="linear",
    listings=(
        Listing("BTC", "BTC", "USDC", "1", "0.00001", "10", 40.0, ((0.0, 1.25), (150e6, 2.5)), _DOCS, "2026-09-27",
                note=_TICK),
        Listing("ETH", "ETH", "USDC", "0.1", "0.0001", "10", 25.0, ((0.0, 2.0), (100e6, 10.0 / 3.0)), _DOCS,
                "2026-09-27", note=_TICK),
    ),
    fee_tier="tier0",
    fees_at="POST /info userFees",
    post_only="tif=Alo",
    self_trade="the resting order is cancelled, the new one goes on",
    sim_self_trade="cancel_resting",
    funding_interval_h=1.0,
    rates=(
        RateRule("weight of REST requests", 1200, 60.0, (("cancel_all", 1), ("query", 2))),
        RateRule("WebSocket messages", 2000, 60.0, (("place", 1), ("amend", 1), ("cancel", 1))),
    ),
    rates_source="Hyperliquid docs, 'Rate limits'; also one action per USDC ever traded, after the first 10,000",
)  # fmt: skip
