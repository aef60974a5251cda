"""The shipped profiles: they load, nothing in them is dead, and on recorded order books they quote and are filled."""

from decimal import Decimal

import pytest

from benchmarks import profiles
from mm.core.instrument import Instrument
from mm.errors import ConfigError, DataError
from mm.strategy.sensitivity import sensitivity
from mm.venues.specs import venue_spec

pytestmark = pytest.mark.slow  # hopeless as plain Python

NAMES = profiles.names()


def test_all_that_were_asked_for_are_there():
    assert set(NAMES) == {
        "base", "hft", "optimized", "conservative", "aggressive", "apex-volume-farming", "paradex-rebate",
        "bybit-futures-10x", "mexc-zero-fee", "hyperliquid",
    }  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_profile_is_called_like_its_file_and_takes_no_leverage_unasked(name):
    cfg = profiles.load(name)
    assert cfg.name == name
    assert cfg.risk.leverage == (10.0 if name == "bybit-futures-10x" else 1.0)
    assert cfg.strategy.model.fee_aware


@pytest.mark.parametrize("leverage", [25, 50])
def test_more_leverage_is_locked_until_it_is_unlocked(leverage):
    with pytest.raises(ConfigError, match=f"leverage {leverage} is above the lock max_leverage 10"):
        profiles.load("bybit-futures-10x", (f"risk.leverage={leverage}",))
    unlocked = profiles.load("bybit-futures-10x", (f"risk.leverage={leverage}", f"risk.max_leverage={leverage}"))
    assert unlocked.risk.leverage == leverage


@pytest.mark.parametrize("name", NAMES)
def test_the_venue_would_grant_the_leverage(name):
    cfg = profiles.load(name)
    listing = cfg.data.listing
    if listing is not None:
        assert cfg.risk.max_leverage <= venue_spec(listing.venue).listing("BTC").max_leverage


def test_no_rebate_but_by_name():
    for name in NAMES:
        cfg = profiles.load(name)
        assert cfg.sim.maker_fee is None
        assert cfg.sim.fee_tier is None or "rebate" not in cfg.sim.fee_tier


def market(name):
    """(config, instrument of its tape, price) of a profile at $61,700."""
    cfg = profiles.load(name)
    spot = profiles.market_of(cfg) == "spot"
    lot, least = ("0.00001", "5") if spot else ("0.001", "100")
    if cfg.data.listing is not None:
        lot, least = str(cfg.data.listing.lot_size), str(cfg.data.listing.min_notional_usd)
    inst = Instrument(
        "BTCUSDT", cfg.name, "spot" if spot else "linear", Decimal("0.01" if spot else "0.1"), Decimal(lot),
        Decimal(least), base="BTC", quote="USDT",
    )  # fmt: skip
    return cfg, inst, 61_700.0


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_moves_the_final_quote(name):
    found = sensitivity(*market(name))
    assert set(found) == {"gamma", "sigma", "kappa", "A", "q"}
    for what, s in found.items():
        plain, changed = s.base[1], s.changed[1]  # one order held, as a maker does most of the time
        assert changed.bid_tick != plain.bid_tick, what
        assert changed.ask_tick != plain.ask_tick, what
        assert not plain.clamped
        assert plain.bid_lots
        assert plain.ask_lots
    lower = found["q"]
    assert lower.changed[0].bid_tick < lower.base[0].bid_tick
    assert lower.changed[0].ask_tick < lower.base[0].ask_tick


def test_the_table_goes_between_its_marks(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{profiles.BEGIN}\nold\n{profiles.END}\nafter\n")
    figures = dict.fromkeys(
        ["markout_1s_bps", "markout_5s_bps", "markout_30s_bps", "pnl_per_volume_bps", "spread_capture_bps"]
    ) | dict.fromkeys(
        ["uptime", "paused_share", "clamped_share", "pnl_usd", "pnl_low", "pnl_high", "fees_usd", "volume_usd"], 0.0
    )
    profiles.write(page, [profiles.Row("base", "", "usdm", figures | {"fills": 7})])
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert "| usdm | 7 |" in text
    page.write_text("no marks")
    with pytest.raises(ConfigError, match="needs the lines"):
        profiles.write(page, [])


def test_what_a_profile_does_not_keep_is_said():
    good = {"uptime": 0.99, "clamped_share": 0.0, "fills": 3, "halted": None}
    bad = {"uptime": 0.5, "clamped_share": 0.2, "fills": 0, "halted": "drawdown"}
    assert profiles.Row("base", "", "usdm", good).failed == []
    assert profiles.Row("base", "", "usdm", bad).failed == [
        "both sides quoted 50.0% of the time", "20.0% of its quotes clamped", "no fill", "halted: drawdown",
    ]  # fmt: skip
    assert profiles.Row("base", "", "usdm", good | {"uptime": None}).failed == ["paused all the time"]
    assert profiles.Row("base", "a step", "usdm", bad).failed == []


def test_without_the_files_it_says_what_is_missing(tmp_path):
    with pytest.raises(DataError, match=r"usdm_btcusdt_20240808\.gz is not there"):
        profiles.store("usdm", tmp_path, tmp_path)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("stores")


@pytest.mark.slow
@pytest.mark.real_data
@pytest.mark.parametrize("name", NAMES)
def test_a_profile_keeps_its_promises_on_recorded_order_books(name, real_data_dir, cache):
    """Both sides quoted at least 95 % of the time, at most 10 % of quotes clamped, fills, no halt."""
    assert profiles.run(name, real_data_dir, cache).failed == []
