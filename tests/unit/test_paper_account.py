"""What a paper account says of what it began with."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from mm.core.instrument import Instrument
from mm.core.types import ASK, BID
from mm.venues.paper.account import PaperAccount

SPOT = Instrument("BTCUSDT", "v", "spot", Decimal("0.5"), Decimal("0.001"), base="BTC", quote="USDT")


def test_spot_inventory_counts_as_bought_at_the_first_mid_and_not_for_nothing():
    other = replace(SPOT, symbol="ETHUSDT")
    account = PaperAccount([SPOT, other], 0, 1.0, Decimal(100), {"BTCUSDT": Decimal("0.05")})
    account.value_inventory()  # no book yet
    assert account.position("BTCUSDT", 1).entry is None
    account.events([(0, BID, 200, 10), (0, ASK, 203, 10)], 1)
    account.value_inventory()
    account.events([(0, BID, 202, 10)], 2)
    account.value_inventory()  # the first one stands
    account.void([0])
    held = account.position("BTCUSDT", 3)
    assert (held.size, Decimal(held.entry or 0)) == ("0.050", Decimal("100.75"))
    assert account.position("ETHUSDT", 3).entry is None
