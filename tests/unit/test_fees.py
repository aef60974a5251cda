"""Fee tiers: fractions, falling with the tier, sourced, and refused by name."""

from decimal import Decimal

import pytest

from mm.core.fees import SCHEDULES, tier_fees
from mm.errors import ConfigError


def test_fees_are_fractions():
    assert tier_fees("bybit:vip0", "linear") == (Decimal("0.0002"), Decimal("0.00055"))
    assert tier_fees("bybit:vip0", "spot") == (Decimal("0.001"), Decimal("0.001"))


@pytest.mark.parametrize("schedule", [s for venue in SCHEDULES.values() for s in venue])
def test_every_schedule_falls_and_says_where_it_is_from(schedule):
    for column in (1, 2):
        rates = [Decimal(row[column]) for row in schedule.rows]
        assert rates == sorted(rates, reverse=True)
    assert all(Decimal(maker) <= Decimal(taker) for _, maker, taker in schedule.rows)
    assert Decimal(schedule.rows[0][1]) >= 0 or "rebate" in schedule.rows[0][0]  # no rebate but by name
    assert schedule.source
    assert schedule.as_of


def test_no_tier_is_there_twice():
    for venue, schedules in SCHEDULES.items():
        for kind in ("linear", "inverse", "spot"):
            names = [row[0] for s in schedules if kind in s.kinds for row in s.rows]
            assert len(names) == len(set(names)), (venue, kind)


def test_an_unknown_tier():
    with pytest.raises(ConfigError, match="did you mean 'bybit:vip1'"):
        tier_fees("bybit:vip11", "linear")
    with pytest.raises(ConfigError, match=r"known: bybit:vip0.*mexc:standard"):
        tier_fees("nowhere", "spot")
