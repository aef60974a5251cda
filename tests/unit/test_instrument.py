"""Exact conversion between an exchange's strings and our integers."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm.core.instrument import Instrument
from mm.errors import ConfigError
from tests.reference.kernel_box import instrument

BTC = instrument()
INVERSE = instrument(kind="inverse", lot_size=Decimal(1), contract_value=Decimal(100))


@given(st.integers(-(10**12), 10**12), st.sampled_from(["0.1", "0.00000001", "0.25", "5", "0.0005"]))
def test_round_trip(n, step):
    inst = instrument(tick_size=Decimal(step), lot_size=Decimal(step))
    assert inst.ticks(str(inst.price(n))) == n
    assert inst.lots(str(inst.size(n))) == n


@pytest.mark.parametrize("price", ["0.05", "60000.01", "1e-9", "nan", "inf", "abc", "", "sNaN"])
def test_off_the_grid(price):
    with pytest.raises(ValueError):
        BTC.ticks(price)


def test_rounding_down():
    assert BTC.lots_floor("0.0019999") == 1
    assert BTC.lots_floor(Decimal("-0.0001")) == -1
    assert BTC.lots_of_notional(Decimal("119.99"), 600_000) == 1
    assert INVERSE.lots_of_notional(Decimal(299), 600_000) == 2


def test_money():
    assert BTC.notional(600_000, 3) == Decimal("180.0000")
    assert INVERSE.notional(600_000, 3) == 300
    assert BTC.unit_value() == pytest.approx(1e-4)


@given(st.integers(1, 10**7), st.integers(0, 1000))
def test_the_smallest_order_is_worth_enough_and_no_more(ticks, need):
    inst = instrument(min_notional=Decimal(need))
    lots = inst.min_lots(ticks)
    assert inst.notional(ticks, lots) >= need
    assert lots == 1 or inst.notional(ticks, lots - 1) < need


def test_storage():
    for inst in (BTC, INVERSE):
        assert Instrument.from_dict(inst.to_dict()) == inst


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tick_size": "0"}, "tick_size must be positive"),
        ({"lot_size": "-1"}, "lot_size must be positive"),
        ({"lot_size": "many"}, "BTC-USDT"),
        ({"tick_size": "nan"}, "BTC-USDT"),
        ({"kind": "future"}, "linear, inverse or spot"),
        ({"ticksize": "1"}, "unknown field 'ticksize'; known: symbol"),
    ],
)
def test_bad_instruments_are_config_errors(change, message):
    with pytest.raises(ConfigError, match=message):
        Instrument.from_dict(BTC.to_dict() | change)


def test_a_missing_field():
    with pytest.raises(ConfigError, match="tick_size"):
        Instrument.from_dict({"symbol": "X", "venue": "v", "kind": "spot"})
