"""A paper account of a long run: orders that have ended are forgotten, an id is still used once."""

from __future__ import annotations

from decimal import Decimal

from mm.core.instrument import Instrument
from mm.core.types import ASK, BID
from mm.venues.paper import account as module
from mm.venues.paper.account import PaperAccount

BTC = Instrument("BTC-USDT", "sandbox", "linear", Decimal("0.1"), Decimal("0.001"), base="BTC", quote="USDT")


def test_orders_that_ended_are_forgotten(monkeypatch):
    monkeypatch.setattr(module, "_KEPT_ORDERS", 10)
    account = PaperAccount([BTC], 0, 1.0, Decimal(100_000), {})
    account.events([(0, BID, 600_000, 100), (0, ASK, 600_010, 100)], 1)
    for n in range(50):
        account.place("BTC-USDT", f"p-{n}", 1, Decimal(60_000), Decimal("0.001"), n)
        if n:
            account.cancel("BTC-USDT", f"p-{n}", n)
    assert [o.cid for _, o in account.open_orders()] == ["p-0"]
    assert account.order("p-0").status == "open"
    assert account.order("p-49").status == "canceled"
    assert account.order("p-1") is None
    assert len(account.ended) == 10
    assert set(account._sizes) == {"p-0"}
    account.outbox.clear()
    for used in ("p-0", "p-49"):
        account.place("BTC-USDT", used, 1, Decimal(60_000), Decimal("0.001"), 60)
    assert [(m.status, m.reason) for m in account.outbox] == [("rejected", "duplicate_cid")] * 2
    assert account.order("p-49").status == "canceled"
