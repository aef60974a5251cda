"""Money: exact integers against rational arithmetic, inverse contracts, funding."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm.core.ledger import PositionLedger
from mm.core.types import FUNDING, records
from mm.strategy.portfolio import apply_fill, apply_funding, equity, fee_e8, fees_paid
from mm.strategy.quoter import fee_units
from mm.strategy.state import PARAMS, STATE
from tests.reference.kernel_box import Box, instrument

fills = st.lists(
    st.tuples(st.sampled_from([-1, 1]), st.integers(1, 10**6), st.integers(1, 10**5), st.booleans()), max_size=20
)


def params(inverse=False, maker=20_000, taker=50_000, unit=1e-4, tick=0.1):
    p = records(1, PARAMS)
    p[0].inverse, p[0].unit_value, p[0].tick_size = inverse, unit, tick
    p[0].maker_fee_e8, p[0].taker_fee_e8 = maker, taker
    return p[0]


@given(fills, st.integers(1, 10**6), st.sampled_from([-5000, 0, 20_000]))
def test_linear_money_is_exact(trades, mark, maker):
    p, s = params(maker=maker), records(1, STATE)[0]
    ledger, fees = PositionLedger(), Fraction(0)
    for side, tick, lots, is_maker in trades:
        fee = fee_e8(p, tick, lots, is_maker)
        assert fee == tick * lots * (maker if is_maker else 50_000)
        apply_fill(s, p, side, tick, lots, is_maker, fee)
        ledger.apply(side * lots, tick)
        fees += Fraction(fee, 10**8)
    assert s.pos_lots == ledger.position
    assert s.cash_units + s.pos_lots * mark == ledger.realised + ledger.unrealised(mark)
    assert Fraction(int(s.fee_units_e8), 10**8) == fees
    exact = (ledger.realised + ledger.unrealised(mark) - fees) * Fraction("0.0001")
    assert equity(s, p, float(mark)) == pytest.approx(float(exact), rel=1e-9, abs=1e-3)
    assert fees_paid(s, p, float(mark)) == pytest.approx(float(fees * Fraction("0.0001")), rel=1e-12)
    assert (s.fills, s.taker_fills) == (len(trades), sum(not t[3] for t in trades))
    assert s.bought_lots - s.sold_lots == s.pos_lots
    assert s.notional_units == sum(t[1] * t[2] for t in trades)


@given(fills, st.integers(10**5, 10**6))
def test_inverse_money_matches_the_ledger(trades, mark):
    unit, tick = 100.0, 0.1  # one lot is 100 USD
    p, s = params(inverse=True, unit=unit, tick=tick), records(1, STATE)[0]
    ledger, fees = PositionLedger("inverse"), Fraction(0)
    for side, price, lots, is_maker in trades:
        price += 10**5  # noqa: PLW2901 - no contract trades near zero
        apply_fill(s, p, side, price, lots, is_maker, 0)
        ledger.apply(side * lots * 100, Fraction(price, 10))
        fees += Fraction(lots * 1000, price) * Fraction(20_000 if is_maker else 50_000, 10**8)
    at = Fraction(mark, 10)
    coins = ledger.realised + ledger.unrealised(at) - fees
    scale = float(sum(Fraction(1000 * lots, price + 10**5) for _, price, lots, _ in trades)) * mark * tick
    assert equity(s, p, float(mark)) == pytest.approx(float(coins * at), rel=1e-9, abs=1e-12 * scale + 1e-9)
    assert fees_paid(s, p, float(mark)) == pytest.approx(float(fees * at), rel=1e-9)
    assert s.notional_units == sum(t[2] for t in trades)


def test_money_is_neither_made_nor_lost_between_two_traders():
    p, a, b = params(maker=0, taker=0), records(1, STATE)[0], records(1, STATE)[0]
    for side, tick, lots in ((1, 100, 7), (-1, 130, 20), (1, 90, 13)):
        apply_fill(a, p, side, tick, lots, True, 0)
        apply_fill(b, p, -side, tick, lots, False, 0)
    for mark in (1.0, 77.5, 1e6):
        assert equity(a, p, mark) == -equity(b, p, mark)


def test_funding_a_long_pays_a_positive_rate():
    p, s = params(), records(1, STATE)[0]
    apply_fill(s, p, 1, 600_000, 1000, True, 0)  # 1 BTC at 60,000
    apply_funding(s, p, 600_000, 100_000)  # 1e-4
    assert s.funding == pytest.approx(-6.0)
    apply_fill(s, p, -1, 600_000, 3000, True, 0)
    apply_funding(s, p, 600_000, 100_000)
    assert s.funding == pytest.approx(-6.0 + 12.0)
    assert equity(s, p, 600_000.0) == pytest.approx(6.0)


def test_inverse_funding_is_in_coin():
    p, s = params(inverse=True, unit=100.0), records(1, STATE)[0]
    apply_fill(s, p, 1, 500_000, 50, True, 0)  # 5,000 USD at 50,000: 0.1 BTC
    apply_funding(s, p, 500_000, -1_000_000)  # -0.1 %
    assert s.funding == pytest.approx(0.1 * 0.001)


def test_a_funding_event_reaches_the_account():
    box = Box({"strategy": {"order_size": "10 lots"}}).touch()
    box.r.state[0].pos_lots = 1000
    box.feed([(FUNDING, 600_000, 100_000)])
    assert box.r.state[0].funding == pytest.approx(-6.0)


def test_a_charged_fee_in_ledger_units():
    inst = instrument()  # one unit is 0.1 * 0.001 = 0.0001 USDT
    assert fee_units(inst, Decimal("0.0001")) == 10**8
    assert fee_units(inst, Decimal("-0.00000000000051")) == -1


def test_a_lot_too_fine_for_the_exact_ledger_is_refused_not_wrapped():
    from decimal import Decimal

    from mm.config.schema import RunConfig
    from mm.core.instrument import Instrument
    from mm.errors import ConfigError
    from mm.strategy.setup import resolve

    cfg = RunConfig.model_validate({"strategy": {"order_size": "300 usd"}})

    def instrument(lot):
        return Instrument("ETH-USDT", "x", "linear", Decimal("0.01"), Decimal(lot), base="ETH", quote="USDT")

    assert resolve(cfg, instrument("0.0001"), 3000.0).params[0].order_lots == 1000
    with pytest.raises(ConfigError, match="too fine"):
        resolve(cfg, instrument("0.00000001"), 3000.0)
