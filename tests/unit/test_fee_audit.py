"""Fees against the schedule, prices against the order."""

from __future__ import annotations

import logging
from decimal import Decimal

from actors.fee_audit import FeeAudit
from mm.core.instrument import Instrument

BTC = Instrument("BTC-USDT", "v", "linear", Decimal("0.1"), Decimal("0.001"), base="BTC", quote="USDT")
INVERSE = Instrument(
    "I", "v", "inverse", Decimal("0.5"), Decimal(1), contract_value=Decimal(100), base="BTC", quote="USD"
)
RATES = [(Decimal("-0.0001"), Decimal("0.0005")), (Decimal("0.0001"), Decimal("0.0005"))]


def test_what_is_charged_is_what_was_said(caplog):
    audit = FeeAudit([BTC, INVERSE], RATES)
    audit.fill(0, 1, 600_000, 2, True, Decimal("-0.012"), 600_000)  # 60,000 * 0.002 * -0.0001
    audit.fill(1, -1, 100_000, 5, True, Decimal("0.000001"), 100_000)  # 500 USD at 50,000: 0.01 BTC * 0.0001
    assert (audit.fills, audit.mismatches, audit.slippage) == (2, 0, 0)
    with caplog.at_level(logging.WARNING):
        audit.fill(0, 1, 600_000, 2, True, Decimal("0.06"), 600_000)  # charged as a taker
    assert audit.mismatches == 1
    assert "charged 0.06, expected -0.012" in caplog.text


def test_a_worse_price_than_asked_for():
    audit = FeeAudit([BTC], RATES)
    audit.fill(0, 1, 600_010, 2, False, Decimal("0.060001"), 600_000)  # bought ten ticks higher
    audit.fill(0, -1, 600_010, 2, False, Decimal("0.060001"), 600_000)  # sold ten ticks higher: better
    audit.fill(0, -1, 600_010, 2, False, Decimal("0.060001"), None)  # the order is gone: no verdict
    assert audit.worse_prices == 1
    assert audit.slippage == 0  # a dollar worse and a dollar better, two thousandths each
    assert audit.report(10, 1)["placement_success"] == 0.9
    assert audit.report(0, 0)["placement_success"] is None


def test_without_a_schedule_nothing_is_judged():
    audit = FeeAudit([BTC])
    audit.fill(0, 1, 600_000, 1, True, Decimal(9), 600_000)
    assert (audit.fills, audit.mismatches, str(audit.charged)) == (1, 0, "9")
