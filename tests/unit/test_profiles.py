"""The shipped profiles: they load, nothing in them is dead, and on recorded order books they quote and are filled."""

from decimal import Decimal

import pytest

from benchmarks import profiles
from mm.core.instrument import Instrument
from mm.errors import ConfigError, DataError
from mm.venues.specs import venue_spec
from tests.reference.kernel_box import Box

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


def box(name):
    """The profile at $61,700, on its tape's instrument, without the filter that must warm up."""
    cfg = profiles.load(name, ("strategy.controls.regime=null",))
    spot = profiles.market_of(cfg) == "spot"
    lot, least = ("0.00001", "5") if spot else ("0.001", "100")
    if cfg.data.listing is not None:
        lot, least = str(cfg.data.listing.lot_size), str(cfg.data.listing.min_notional_usd)
    inst = Instrument(
        "BTCUSDT", cfg.name, "spot" if spot else "linear", Decimal("0.01" if spot else "0.1"), Decimal(lot),
        Decimal(least), base="BTC", quote="USDT",
    )  # fmt: skip
    return Box(cfg, ref_ticks=6_170_000 if spot else 617_000, inst=inst)


def final(name, change, orders=1):
    """Quotes that would be sent, so many orders above the profile's own inventory."""
    b = box(name)
    change(b.r)
    b.r.state[0].pos_lots += orders * b.r.params[0].order_lots
    ten = b.instrument.lots("10")  # nothing that a guard would call thin
    quote = b.touch(b.mid - 1, b.mid + 1, ten).quote(int(b.r.state[0].pos_lots))
    assert quote.reason == "quoting"
    assert b.r.state[0].clamped == 0
    return quote.bid, quote.ask


def times(array, field, factor):
    def change(r):
        getattr(r, array)[0][field] *= factor

    return change


CHANGES = {
    "gamma": times("model", "gamma", 2.0),
    "kappa": times("model", "kappa", 0.7),
    "A": times("model", "A", 2.0),
    "sigma": times("features", "sigma2", 2.0),
}


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_moves_the_final_quote(name):
    bid, ask = final(name, lambda _: None)
    for what, change in CHANGES.items():
        changed = final(name, change)
        assert changed[0] != bid, what
        assert changed[1] != ask, what
    lower = final(name, lambda _: None, orders=2)
    assert lower[0] < bid
    assert lower[1] < ask


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
