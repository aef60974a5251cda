"""Paradex perpetuals."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from mm.core.instrument import Instrument
from mm.venues.registry import Endpoints
from mm.venues.spec import Listing, RateRule, VenueSpec

NAME: Final = "paradex"
KEYS: Final = ("l2_address", "l2_private_key")  # a Paradex key, best a subkey: it cannot withdraw
WALLET_KEYS: Final = ("l1_address", "l1_private_key")  # or the Ethereum wallet that the account was made with
_LIBRARY: Final = "paradex-py 0.8.2 (api_client, ws_client); docs.paradex.trade, 'Server URLs'"
NETWORKS: Final = {
    "testnet": Endpoints("https://api.testnet.paradex.trade", "wss://ws.api.testnet.paradex.trade", _LIBRARY),
    "mainnet": Endpoints("https://api.prod.paradex.trade", "wss://ws.api.prod.paradex.trade", _LIBRARY),
}

_ENTRY: Final = (("place", 1), ("amend", 1), ("cancel", 1), ("cancel_all", 1))  # a batch counts as one

SPEC: Final = VenueSpec(
    name="paradex",
    kind="linear",
    listings=(
        Listing(
            "BTC-USD-PERP", "BTC", "USD", "0.1", "0.00001", "100", 50.0, ((0.0, 1.0),),
            "lot: changelog 2025-07-09; margins: GET /v1/markets as recorded 2026-04-22", "2026-04-22",
            note="Minimum notional: the market page of ETH says 100, markets of 2026 show 10 to 100; larger taken.",
        ),
        Listing(
            "ETH-USD-PERP", "ETH", "USD", "0.01", "0.0001", "100", 50.0, ((0.0, 1.0),),
            "docs.paradex.trade, ETH-USD-PERP; lot: changelog 2025-07-09", "2025-07-09",
        ),
    ),
    fee_tier="api",
    fees_at="fee_config.api_fee of GET /v1/markets",
    post_only="instruction=POST_ONLY",
    self_trade="stp of the order: EXPIRE_TAKER unless given, EXPIRE_MAKER or EXPIRE_BOTH",
    sim_self_trade="reject",
    funding_interval_h=8.0,
    rates=(
        RateRule("orders and cancels", 800, 1.0, _ENTRY),
        RateRule("orders and cancels", 17_250, 60.0, _ENTRY),
        RateRule("private reads", 120, 1.0, (("query", 1),)),
        RateRule("private reads", 600, 60.0, (("query", 1),)),
    ),
    rates_source="docs.paradex.trade, 'API best practices' and 'Trader profiles', undated, read 2026-11-20",
)  # fmt: skip


def instrument_of(market: dict[str, Any]) -> Instrument:
    """One of GET /v1/markets; raises ``KeyError`` or ``ArithmeticError`` for something else."""
    fees = market["fee_config"]["api_fee"]
    return Instrument(
        symbol=market["symbol"],
        venue=NAME,
        kind="linear",
        tick_size=Decimal(market["price_tick_size"]),
        lot_size=Decimal(market["order_size_increment"]),
        min_notional=Decimal(market["min_notional"]),
        base=market["base_currency"],
        quote=market["quote_currency"],
        maker_fee=Decimal(fees["maker_fee"]["fee"]),
        taker_fee=Decimal(fees["taker_fee"]["fee"]),
    )
