"""Liquidation prices of the simulated account are those of ``mm.core.perps`` (golden kinds liq_linear, liq_inverse)."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm.config.schema import MarginConfig
from mm.core import perps
from mm.core.types import records
from mm.sim.state import SET
from mm.strategy.margin import RULES, isolated_margin, liquidation_tick, price_at_loss, tier_table
from mm.strategy.state import PARAMS, STATE

TICK, UNIT = 0.1, 1e-4  # a lot of 0.001 base at a tick of 0.1


def position(side, lots, entry, leverage, margin, inverse=False, wallet=1e12, unit_usd=1.0):
    a, p, z = records(1, STATE)[0], records(1, PARAMS)[0], records(1, SET)[0]
    p.inverse, p.tick_size, p.unit_value = inverse, TICK, 10.0 if inverse else UNIT
    p.taker_fee_e8 = 50_000
    z.entry, z.leverage, z.wallet = entry, leverage, wallet
    z.tiers, z.maintenance = len(margin.tiers), RULES[margin.maintenance]
    a.pos_lots = side * lots
    if inverse:
        a.cash_coin = side * lots * p.unit_value / (entry * TICK)
    else:
        a.cash_units = -side * lots * entry
    return a, p, z, tier_table(margin, unit_usd)


def none(x):
    return x is None or x <= 0 or math.isnan(x)


@settings(max_examples=200, deadline=None)
@given(
    side=st.sampled_from([1, -1]),
    lots=st.integers(1, 10**6),
    entry=st.integers(1000, 2_000_000),
    leverage=st.sampled_from([1.0, 2.0, 10.0, 50.0, 100.0]),
    rate_pct=st.sampled_from([0.1, 0.4, 0.9]),
    rule=st.sampled_from(["entry_mm", "mark_mm", "mark_mm_fee"]),
)
def test_one_tier_is_the_textbook(side, lots, entry, leverage, rate_pct, rule):
    margin = MarginConfig.model_validate({"tiers": [{"rate_pct": rate_pct}], "maintenance": rule})
    a, p, z, tiers = position(side, lots, entry, leverage, margin)
    size, price = lots * 0.001, entry * TICK
    golden = perps.liquidation_linear(side, size, price, leverage, rate_pct / 100, fee_rate=5e-4, model=rule)
    assert isolated_margin(a, p, z) == pytest.approx(golden.initial_margin, rel=1e-9)
    ours = liquidation_tick(a, p, z, tiers, 0)
    if golden.liq_price is None or golden.liq_price < 1e-6 * price:
        assert none(ours) or ours < 1e-5 * entry
    else:
        assert ours * TICK == pytest.approx(golden.liq_price, rel=1e-9)
    if golden.bankruptcy_price is not None and golden.bankruptcy_price > 1e-6 * price:
        at = price_at_loss(p, side, lots, z.entry, golden.initial_margin)
        assert at * TICK == pytest.approx(golden.bankruptcy_price, rel=1e-9)


@settings(max_examples=200, deadline=None)
@given(
    side=st.sampled_from([1, -1]),
    lots=st.integers(1, 10**6),
    entry=st.integers(1000, 2_000_000),
    leverage=st.sampled_from([2.0, 10.0, 50.0]),
    rule=st.sampled_from(["entry_mm", "mark_mm"]),
)
def test_inverse_contracts_are_the_textbook(side, lots, entry, leverage, rule):
    margin = MarginConfig.model_validate({"tiers": [{"rate_pct": 0.5}], "maintenance": rule})
    a, p, z, tiers = position(side, lots, entry, leverage, margin, inverse=True)
    golden = perps.liquidation_inverse(side, lots * 10.0, entry * TICK, leverage, 0.005)
    assert isolated_margin(a, p, z) == pytest.approx(golden.initial_margin_coin, rel=1e-9)
    expected = golden.liq_price_entry_mm if rule == "entry_mm" else golden.liq_price_mark_mm
    assert liquidation_tick(a, p, z, tiers, 0) * TICK == pytest.approx(expected, rel=1e-9)
    at = price_at_loss(p, side, lots, z.entry, golden.initial_margin_coin)
    assert at * TICK == pytest.approx(golden.bankruptcy_price, rel=1e-9)


TIERS = [{"rate_pct": 0.4}, {"above_usd": 50_000, "rate_pct": 1.0}, {"above_usd": 250_000, "rate_pct": 2.5}]


def test_deductions_join_the_tiers():
    table = tier_table(MarginConfig.model_validate({"tiers": TIERS}))
    assert table[:3, 0] == pytest.approx([0.004, 0.01, 0.025])
    assert table[:3, 1] == pytest.approx([0.0, 300.0, 4050.0])
    for k, border in ((1, 50_000.0), (2, 250_000.0)):
        below, above = (border * table[j, 0] - table[j, 1] for j in (k - 1, k))
        assert below == pytest.approx(above)


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize("size", [0.1, 1.0, 4.0, 20.0])
def test_tiers_are_the_one_that_holds_at_the_price(side, size):
    """The tier with the value at its own liquidation price is the one that decides."""
    margin = MarginConfig.model_validate({"tiers": TIERS})
    a, p, z, tiers = position(side, round(size * 1000), 600_000, 10.0, margin)
    ours = liquidation_tick(a, p, z, tiers, 0) * TICK
    value = size * ours
    tier = max(k for k in range(3) if TIERS[k].get("above_usd", 0) <= value)
    rate, deduction = tiers[tier]
    golden = perps.liquidation_linear(side, size, 60_000.0, 10.0, rate, mm_deduction=deduction)
    assert ours == pytest.approx(golden.liq_price, rel=1e-12)


def test_a_poor_wallet_is_liquidated_earlier():
    margin = MarginConfig()
    rich = position(1, 1000, 600_000, 10.0, margin)
    poor = position(1, 1000, 600_000, 10.0, margin, wallet=1500.0)
    assert isolated_margin(*rich[:3]) == pytest.approx(6000.0)
    assert isolated_margin(*poor[:3]) == pytest.approx(1500.0)
    assert liquidation_tick(*poor, 0) > liquidation_tick(*rich, 0)
    broke = position(1, 1000, 600_000, 10.0, margin, wallet=-5.0)
    assert isolated_margin(*broke[:3]) == 0.0


def test_without_tiers_there_is_no_liquidation():
    a, p, z, tiers = position(1, 1000, 600_000, 10.0, MarginConfig(tiers=[]))
    assert math.isnan(liquidation_tick(a, p, z, tiers, 0))
    assert np.all(tiers == 0.0)
