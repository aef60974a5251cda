"""Binance USDⓈ-M perpetuals: tapes are recorded there; no adapter."""

from __future__ import annotations

from typing import Final

from mm.venues.spec import Listing, RateRule, VenueSpec

_BTC: Final = (
    (0.0, 0.4), (50e3, 0.5), (250e3, 1.0), (1e6, 2.5), (10e6, 5.0), (20e6, 10.0), (50e6, 12.5), (100e6, 15.0),
    (200e6, 25.0), (300e6, 50.0),
)  # fmt: skip

SPEC: Final = VenueSpec(
    name="binance",
    kind="linear",
    listings=(
        Listing(
            "BTCUSDT", "BTC", "USDT", "0.1", "0.001", "100", 125.0, _BTC,
            "Binance announcement 'Updates to leverage and margin tiers'", "2021-03-18",
            note="Levels have been widened since: these are the stricter.",
        ),
        Listing(
            "ETHUSDT", "ETH", "USDT", "0.01", "0.001", "20", 100.0, ((0.0, 0.5), (10e3, 1.0), (500e3, 5.0)),
            "initial margins of Binance FAQ 360033162192, half of them, coarsened upwards", "2026-11-20",
            verified=False,
        ),
    ),
    fee_tier="regular",
    fees_at="GET /fapi/v1/commissionRate",
    post_only="timeInForce=GTX",
    self_trade="selfTradePreventionMode of the order, none unless given",
    sim_self_trade="reject",
    funding_interval_h=8.0,
    rates=(RateRule("new orders", 300, 10.0, (("place", 1),)), RateRule("new orders", 1200, 60.0, (("place", 1),))),
    rates_source="usual exchangeInfo rateLimits; not verified",
)  # fmt: skip
