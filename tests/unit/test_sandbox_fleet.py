"""Several exchanges of one market, and the words of `sandbox fault` and `sandbox play`."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from actors import sandbox
from actors.exchanges import exchange_spec
from mm.config.schema import VenueConfig
from mm.core.instrument import Instrument
from mm.core.types import ASK, BID, FUNDING, MARK, SELL
from mm.data.synth import SynthSpec, write_synth
from mm.errors import ConfigError, VenueUnreachable
from mm.sandbox.background import make_background
from mm.sandbox.exchange import Exchange
from mm.sandbox.fleet import PERSONALITY, fleet
from mm.sandbox.spec import parse_spec
from mm.venues.specs import venue_spec

VENUES = list(PERSONALITY)
TOKENS = {venue: (f"control-{venue}", f"account-{venue}") for venue in VENUES}


def test_five_venues_share_a_price_and_differ_in_the_rest() -> None:
    specs = fleet(VENUES, ["BTC", "ETH"], "synth", 2.0, 77, TOKENS)
    flows = {venue: specs[venue].background[venue_spec(venue).listing("BTC").symbol] for venue in VENUES}
    assert len({flow.fair_seed for flow in flows.values()}) == 1
    assert len({flow.seed for flow in flows.values()}) == 5
    assert len({(flow.basis_bps, flow.delay_ms) for flow in flows.values()}) == 5
    assert {(flow.epoch_ns, flow.speed) for flow in flows.values()} == {(77, 2.0)}
    eth = specs["bybit"].background["ETHUSDT"]
    assert eth.fair_seed != flows["bybit"].fair_seed
    for venue, spec in specs.items():
        again = parse_spec(msgspec.json.encode(spec), venue)
        again.face = ""
        exchange = Exchange(again)
        assert exchange.markets[venue_spec(venue).listing("BTC").symbol].rules.tiers or venue == "mexc"
    held = specs["mexc"].accounts[0].positions
    assert (held["BTCUSDT"], held["ETHUSDT"]) == ("0.833300", "16.66670")
    assert specs["bybit"].accounts[0].positions == {}


def test_funding_at_the_venues_hours_or_as_told(tmp_path: Path) -> None:
    specs = fleet(VENUES, ["BTC"], "synth", 1.0, 77, TOKENS)
    every = {venue: [f.interval_s / 3600 for f in spec.funding.values()] for venue, spec in specs.items()}
    assert every == {"bybit": [8], "mexc": [], "hyperliquid": [1], "apex": [1], "paradex": [8]}
    told = fleet(["bybit"], ["BTC"], "synth", 1.0, 77, TOKENS, funding_every_s=60.0)
    assert told["bybit"].funding["BTCUSDT"].interval_s == 60
    own = {"name": "bybit", "kind": "bybit", "instruments": ["BTCUSDT"], "exchange": {"funding_every": "60s"}}
    (mine,) = exchange_spec(VenueConfig.model_validate(own), "token-of-the-desk").funding.values()
    assert (mine.interval_s, mine.rate) == (60, "0.0001")
    path = str(write_synth(tmp_path / "tape", SynthSpec(), 1, 2.0).path)
    assert fleet(["bybit"], ["BTC"], path, 1.0, 77, TOKENS)["bybit"].funding == {}  # as recorded


def test_a_store_is_played_where_its_currency_trades(tmp_path: Path) -> None:
    path = str(write_synth(tmp_path / "tape", SynthSpec(), 1, 2.0).path)
    specs = fleet(["hyperliquid"], ["BTC", "ETH"], path, 1.0, 77, TOKENS)
    flows = specs["hyperliquid"].background
    assert (flows["BTC"].kind, flows["ETH"].kind) == ("store", "synth")
    btc = make_background(Exchange(_plain(specs["hyperliquid"])).instruments[0], flows["BTC"])
    assert btc.due(77 + 3_000_000_000, 100)[2][1] < 70_000  # in dollars, not in the store's ticks of 0.1
    with pytest.raises(ConfigError, match="holds BTC, not ETH"):
        fleet(["hyperliquid"], ["ETH"], path, 1.0, 77, TOKENS)
    with pytest.raises(ConfigError, match="no XRP"):
        fleet(["hyperliquid"], ["XRP"], "synth", 1.0, 77, TOKENS)


def _plain(spec):
    return msgspec.structs.replace(spec, face="")


def test_a_desks_own_exchanges_share_a_price_or_a_store(tmp_path: Path) -> None:
    path = str(write_synth(tmp_path / "tape", SynthSpec(), 1, 2.0).path)
    for flow in ("synth", path):
        specs = []
        for kind, symbol in (("bybit", "BTCUSDT"), ("hyperliquid", "BTC")):
            own = {"flow": flow, "fair_seed": 7, "basis_bps": -1.5, "delay": "80ms"}
            venue = VenueConfig.model_validate({"name": kind, "kind": kind, "instruments": [symbol], "exchange": own})
            specs.append(exchange_spec(venue, "token-of-the-desk", epoch_ns=77))
        one, two = (spec.background[spec.instruments[0]["symbol"]] for spec in specs)
        assert one.fair_seed == two.fair_seed
        assert (one.fair_seed is None, one.epoch_ns, two.basis_bps, two.delay_ms) == (flow != "synth", 77, -1.5, 80)
        assert [spec.instruments[0]["tick_size"] for spec in specs] == ["0.1", "1"]  # the venue's, not the store's
        make_background(Exchange(_plain(specs[1])).instruments[0], two)
    alone = VenueConfig.model_validate({"name": "v", "instruments": ["BTC-USDT"]})
    assert exchange_spec(alone, "token-of-the-desk", epoch_ns=77).background["BTC-USDT"].epoch_ns is None


def test_rows_and_faults_as_words() -> None:
    bybit = venue_spec("bybit").instrument("BTC")
    words = ("sell 60000.5 0.25", "ask 60001", "mark 59000", "funding 60000 -0.0001")
    assert [sandbox._row(bybit, text) for text in words] == [
        (SELL, 600_005, 250), (ASK, 600_010, 0), (MARK, 590_000, 0), (FUNDING, 600_000, -100_000),
    ]  # fmt: skip
    for text in ("", "buy 60000.55", "shout 1", "buy 1 2 3", "buy x"):
        with pytest.raises(ConfigError):
            sandbox._row(bybit, text)
    assert sandbox._parsed("ack_lost=2") == ("ack_lost", 2)
    assert sandbox._parsed("stall_public=True") == ("stall_public", True)
    for text in ("ack_lost", "ack_lost=", "ack_lost=[1]", "x=yes"):
        with pytest.raises(ConfigError, match="key=value"):
            sandbox._parsed(text)


def test_nothing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYMAKER_HOME", str(tmp_path))
    assert sandbox.stats() == {}
    with pytest.raises(ConfigError, match="start one"):
        sandbox.fault("bybit", [], "", hard=False)
    handle = {"port": 1, "pid": 1, "started": 0.0, "control_token": "control-token"}
    (tmp_path / "sandbox.json").write_text(msgspec.json.encode({"apex": handle}).decode())
    with pytest.raises(ConfigError, match="it has apex"):
        sandbox.fault("bybit", [], "", hard=False)
    with pytest.raises(VenueUnreachable):
        sandbox.stats(["apex"])
    with pytest.raises(ConfigError, match="the wire of 'nyse'"):
        sandbox.run(sandbox.Options(venues=["nyse"]), lambda _: None, lambda _: None)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("sell -5 2", "positive"), ("sell 60000", "positive size"), ("bid 60000 -1", "positive size"),
        ("mark", "expected KIND"), ("sel 1 1", "expected KIND"), ("mark nan", "multiple"),
    ],
)  # fmt: skip
def test_rows_that_would_do_nothing_are_refused(text, why):
    listed = Instrument("BTCUSDT", "v", "linear", Decimal("0.1"), Decimal("0.001"), base="BTC", quote="USDT")
    with pytest.raises(ConfigError, match=why):
        sandbox._row(listed, text)
    assert sandbox._row(listed, "bid 60000 0") == (BID, 600_000, 0)
    assert sandbox._row(listed, "sell 60000 0.5") == (SELL, 600_000, 500)
    assert sandbox._row(listed, "funding 60000 0.0001")[1] == 600_000
