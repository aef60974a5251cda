"""Bybit linear USDT perpetuals, isolated margin."""

from __future__ import annotations

from typing import Final

from mm.venues.spec import Listing, RateRule, VenueSpec

_BTC: Final = (
    (0.0, 0.5), (2e6, 0.56), (2.6e6, 0.63), (3.2e6, 0.67), (3.8e6, 0.71), (4.4e6, 0.77), (5e6, 0.91), (5.6e6, 1.0),
    (8.5e6, 1.3), (10e6, 1.5), (14e6, 1.6), (20e6, 2.0), (28e6, 2.5), (38e6, 2.9), (50e6, 4.5),
)  # fmt: skip

SPEC: Final = VenueSpec(
    name="bybit",
    kind="linear",
    listings=(
        Listing(
            "BTCUSDT", "BTC", "USDT", "0.1", "0.001", "5", 100.0, _BTC,
            "instruments-info as recorded by several clients; Bybit 'Margin parameters', BTCUSDT", "2026-11-20",
            note="The six levels above 50 M USD are one, at the dearest rate.",
        ),
        Listing(
            "ETHUSDT", "ETH", "USDT", "0.01", "0.01", "5", 100.0, ((0.0, 0.5), (2e6, 4.5)),
            "first level as BTC; higher levels not found: the dearest of BTC", "2026-11-20", verified=False,
        ),
    ),
    fee_tier="vip0",
    fees_at="GET /v5/account/fee-rate",
    post_only="timeInForce=PostOnly",
    self_trade="smpType of the order, none unless given; orders of one account can meet",
    sim_self_trade="reject",
    funding_interval_h=8.0,
    rates=(
        RateRule("new orders", 20, 1.0, (("place", 1),)),
        RateRule("amendments", 10, 1.0, (("amend", 1),)),
        RateRule("cancels", 20, 1.0, (("cancel", 1),)),
        RateRule("cancel-alls", 1, 1.0, (("cancel_all", 1),)),
        RateRule("queries", 50, 1.0, (("query", 1),)),
    ),
    rates_source="Bybit v5 documentation, per account, undated, read 2026-11-20",
)  # fmt: skip
