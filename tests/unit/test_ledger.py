"""The exact ledger and perpetual arithmetic."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm.core import perps
from mm.core.ledger import PositionLedger

FILLS = st.lists(
    st.tuples(st.integers(-50, 50), st.integers(1, 10_000).map(lambda p: Decimal(p) / 100)), min_size=1, max_size=30
)


@given(FILLS, st.integers(1, 10_000))
def test_linear_money_is_conserved(fills, mark):
    ledger, cash, position = PositionLedger(), Fraction(0), 0
    for quantity, price in fills:
        ledger.apply(quantity, price)
        cash -= quantity * Fraction(price)
        position += quantity
    assert ledger.position == position
    assert (ledger.entry is None) == (position == 0)
    assert ledger.realised + ledger.unrealised(mark) == cash + position * mark


@given(FILLS, st.integers(1, 10_000))
def test_inverse_coin_is_conserved(fills, mark):
    ledger, coin, contracts = PositionLedger("inverse"), Fraction(0), 0
    for quantity, price in fills:
        ledger.apply(quantity, price)
        coin += quantity / Fraction(price)
        contracts += quantity
    assert ledger.realised + ledger.unrealised(mark) == coin - Fraction(contracts, mark)


def test_flip_reopens_at_the_fill_price():
    ledger = PositionLedger()
    assert ledger.apply(1, "100") == 0
    assert ledger.apply(Decimal(-3), "110") == 10
    assert (ledger.position, ledger.entry, ledger.realised) == (-2, 110, 10)
    assert ledger.apply(0, "5") == 0
    assert ledger.apply(2, "105") == 10
    assert (ledger.position, ledger.entry, ledger.realised) == (0, None, 20)
    with pytest.raises(ValueError, match="positive"):
        ledger.apply(1, 0)


def test_liquidation_leaves_exactly_the_maintenance():
    for side in (1, -1):
        x = perps.liquidation_linear(side, 2.0, 3000.0, 10, 0.01, 20.0, 50.0, 0.0005, "mark_mm_fee")
        left = x.initial_margin + 50.0 + side * 2.0 * (x.liq_price - 3000.0)
        assert left == pytest.approx(2.0 * x.liq_price * (0.01 + 0.0005) - 20.0)
        y = perps.liquidation_inverse(side, 60_000, 50_000.0, 10, 0.005, 0.001, 0.01)
        left = y.initial_margin_coin + 0.01 + side * 60_000 * (1 / 50_000 - 1 / y.liq_price_mark_mm)
        assert left == pytest.approx(60_000 / y.liq_price_mark_mm * 0.005 - 0.001)
    assert perps.liquidation_inverse(-1, 100, 100.0, 1, 0.005).bankruptcy_price is None, "a 1x short cannot go bankrupt"


def test_breakeven_and_funding():
    x = perps.pnl_linear(-1, 2.0, 3000.0, 2990.0, 0.0002, 0.0005)
    assert perps.pnl_linear(-1, 2.0, 3000.0, x.breakeven_exit, 0.0002, 0.0005).net == pytest.approx(0.0, abs=1e-9)
    assert perps.funding_flows("linear", [(1.0, 100.0, 0.01)]) == [-1.0]
    assert perps.funding_flows("inverse", [(-100.0, 50.0, 0.01)]) == [0.02]
    with pytest.raises(ValueError, match="kind"):
        perps.funding_flows("spot", [])
    with pytest.raises(ValueError, match="maintenance model"):
        perps.liquidation_linear(1, 1.0, 1.0, 1, 0.1, model="guess")
