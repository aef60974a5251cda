"""What stands between a config and real money."""

from __future__ import annotations

import pytest

from actors.real import allow, sentence
from mm.config.schema import RunConfig
from mm.errors import ConfigError

TESTNET = RunConfig.model_validate({
    "risk": {"max_daily_loss_usd": 50},
    "live": {"venues": [{"name": "by", "kind": "bybit", "network": "testnet", "instruments": ["BTCUSDT"]}]},
})  # fmt: skip


def never(_text: str) -> str:
    raise AssertionError("nothing was to be asked")


@pytest.fixture
def keys(monkeypatch, tmp_path):
    from mm.venues.registry import Endpoints, Venue

    monkeypatch.chdir(tmp_path)
    there = {"testnet": Endpoints("https://x", "wss://x")}
    fake = Venue("bybit", None, None, None, keys=("api_key",), networks=there)  # type: ignore[arg-type]
    monkeypatch.setattr("actors.exchanges.get_venue", lambda _name: fake)
    monkeypatch.setenv("RAYMAKER_BY_API_KEY", "a-key")


def test_paper_needs_nothing():
    allow(RunConfig(), real=False, ask=never)
    with pytest.raises(ConfigError, match="every venue of this config is local or paper"):
        allow(RunConfig(), real=True, ask=never)


def test_paper_over_a_real_market_needs_no_flag():
    raw = TESTNET.model_dump(mode="json")
    raw["live"]["venues"][0]["paper"] = True
    allow(RunConfig.model_validate(raw), real=False, ask=never)


def test_the_flag(keys):
    with pytest.raises(ConfigError, match=r"by \(testnet\); say --real"):
        allow(TESTNET, real=False, ask=never)


def test_the_keys(keys, monkeypatch):
    monkeypatch.delenv("RAYMAKER_BY_API_KEY")
    with pytest.raises(ConfigError, match="RAYMAKER_BY_API_KEY"):
        allow(TESTNET, real=True, ask=never)


def test_the_sentence(keys):
    assert sentence(TESTNET) == "trade by lose 50 usd"
    allow(TESTNET, real=True, ask=lambda _: "  trade by  lose 50 usd\n")
    for typed in ("", "yes", "trade by lose 500 usd"):
        with pytest.raises(ConfigError, match="nothing was started"):
            allow(TESTNET, real=True, ask=lambda _, typed=typed: typed)


def test_a_network_that_cannot_be():
    for changes, message in (
        ({"kind": "native", "network": "testnet"}, "name a venue"),
        ({"kind": "bybit", "network": "testnet", "address": "127.0.0.1:1"}, "leave address out"),
    ):
        with pytest.raises(ValueError, match=message):
            RunConfig.model_validate({"live": {"venues": [{"name": "x", **changes}]}})
