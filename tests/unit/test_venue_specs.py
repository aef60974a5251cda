"""Static venue specs: complete, sourced, conservative where unverified, and equal to the configs that repeat them."""

from decimal import Decimal

import pytest

from mm.config import load_config
from mm.config.schema import MarginConfig
from mm.core.fees import SCHEDULES, tier_fees
from mm.errors import ConfigError
from mm.report.venue_tables import markdown
from mm.venues.specs import SPECS, venue_spec


@pytest.mark.parametrize("spec", SPECS.values(), ids=list(SPECS))
def test_a_spec_is_complete(spec):
    assert {x.base for x in spec.listings} == {"BTC", "ETH"}
    fees = spec.fees()
    assert fees.maker >= 0  # nobody is paid a rebate without having configured it
    assert fees.maker == max(tier_fees(f"{spec.name}:{row[0]}", spec.kind).maker for row in spec.schedules()[0].rows)
    assert spec.fees_at
    assert spec.post_only
    assert spec.self_trade
    assert spec.rates
    assert spec.rates_source
    assert (spec.funding_interval_h is None) == (spec.kind == "spot")
    for one in spec.listings:
        assert one.source
        assert one.as_of
        assert one.max_leverage >= 1
        instrument = spec.instrument(one.base)
        assert instrument.taker_fee == fees.taker
        assert instrument.lots(Decimal(one.lot_size)) == 1


@pytest.mark.parametrize("spec", [s for s in SPECS.values() if s.kind != "spot"], ids=lambda s: s.name)
def test_maintenance_leaves_room_below_the_leverage_cap(spec):
    for one in spec.listings:
        margin = MarginConfig.model_validate(
            {"tiers": [{"above_usd": a, "rate_pct": r} for a, r in one.tiers]}
        )  # rising, first from 0, at most 16
        assert one.max_leverage * margin.tiers[0].rate_pct <= 50.0  # half the initial margin at the cap


def test_what_is_not_there_is_named():
    with pytest.raises(ConfigError, match="known: apex, paradex"):
        venue_spec("nowhere")
    with pytest.raises(ConfigError, match="bybit: no doge in its spec; there are BTC, ETH"):
        venue_spec("bybit").listing("doge")


def test_every_venue_with_fees_has_a_spec():
    assert set(SCHEDULES) == set(SPECS)


@pytest.mark.parametrize("name", [n for n in SPECS if n != "binance"])
def test_the_config_of_a_venue_says_what_its_spec_says(name, request):
    """``configs/venues``: what profiles stand on."""
    spec, cfg = SPECS[name], load_config(request.config.rootpath / "configs" / "venues" / f"{name}.yaml")
    one = spec.listing("BTC")
    assert cfg.data.listing is not None
    assert cfg.data.listing.venue == name
    assert cfg.data.listing.lot_size == Decimal(one.lot_size)
    assert cfg.data.listing.min_notional_usd == Decimal(one.min_notional)
    assert cfg.sim.fee_tier == f"{name}:{spec.fee_tier}"
    assert cfg.sim.self_trade == spec.sim_self_trade
    assert [(t.above_usd, t.rate_pct) for t in cfg.risk.margin.tiers] == [pytest.approx(t) for t in one.tiers]
    limit = cfg.risk.rate_limit
    assert limit is not None
    assert limit.orders / limit.window <= min(r.count / r.window_s for r in spec.rates[:1])
    assert cfg.risk.leverage == 1.0


def test_the_page_of_fees_is_current(request):
    page = request.config.rootpath / "docs" / "fees.md"
    assert page.read_text(encoding="utf-8") == markdown(), "run: python cli.py venues --write docs/fees.md"
