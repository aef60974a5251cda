"""ApeX Omni USDT perpetuals."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any, Final

from mm.core.instrument import Instrument
from mm.errors import VenueUnreachable
from mm.venues.spec import Listing, RateRule, VenueSpec

# Per 50,000 USD of position the rate of the whole position rises by 0.1 % (incrementalMaintenanceMarginRate): as rates
# of the part above, which is what a tier is here, 0.2 % a step. Beyond 14 steps the rate of the largest position.
_TIERS: Final = (
    *((50_000.0 * n, round(0.5 + 0.2 * n, 1)) for n in range(15)),
    (750_000.0, 20.3),
)

SPEC: Final = VenueSpec(
    name="apex",
    kind="linear",
    listings=(
        Listing(
            "BTC-USDT", "BTC", "USDT", "0.1", "0.001", "0", 100.0, _TIERS,
            "sample reply of GET /v3/symbols in ccxt 4.5.90", "2026",
            note="Smallest order 0.001 BTC; no minimum notional is listed.",
        ),
        Listing(
            "ETH-USDT", "ETH", "USDT", "0.01", "0.01", "0", 100.0, _TIERS,
            "not found: as BTC", "2026-11-20", verified=False,
        ),
    ),
    fee_tier="standard",
    fees_at="makerFeeRate and takerFeeRate of GET /v3/account, contractAccount",
    post_only="timeInForce=POST_ONLY",
    self_trade="not documented; the dearest assumption: the new order is refused",
    sim_self_trade="reject",
    funding_interval_h=1.0,
    funding_note="every hour by the API documentation; a third party's page says 8 h",
    rates=(
        RateRule("POST", 300, 60.0, (("place", 1), ("amend", 1), ("cancel", 1), ("cancel_all", 1))),
        RateRule("GET", 600, 60.0, (("query", 1),)),
    ),
    rates_source="ApeX API documentation, private requests per account; 600 per address; 200 open orders",
)  # fmt: skip


def instruments_of(config: Any) -> list[Instrument]:
    """The perpetuals in the answer to ``symbols``, with the fees of a new account.

    Raises:
        VenueUnreachable: the answer is something else.
    """
    fees = SPEC.fees()
    try:
        listed = [c for c in config["contractConfig"]["perpetualContract"] if c.get("enableTrade", True)]
        return [
            Instrument(
                symbol=c["symbol"],
                venue=SPEC.name,
                kind="linear",
                tick_size=Decimal(c["tickSize"]),
                lot_size=Decimal(c["stepSize"]),
                base=c["baseTokenId"],
                quote=c["settleAssetId"],
                maker_fee=fees.maker,
                taker_fee=fees.taker,
            )
            for c in listed
        ]
    except (KeyError, TypeError, AttributeError, InvalidOperation) as exc:
        raise VenueUnreachable(f"apex: no list of instruments: {type(exc).__name__}: {exc}") from exc
