"""`venues check` against the real local exchange: asks everything, changes nothing."""

from __future__ import annotations

import asyncio
import os

import msgspec
import pytest

from actors import venue_check
from actors.exchanges import exchange_spec
from actors.keys import variable
from actors.venue_check import check
from mm.config.schema import VenueConfig
from mm.errors import ConfigError
from mm.sandbox.faces import local_keys
from mm.sandbox.process import exchange_stats, start_exchange, stop_exchange
from mm.venues.base import Permissions

SPEC = {
    "control_token": "control-token",
    "instruments": [{
        "symbol": "BTC-USDT", "venue": "native", "kind": "linear", "tick_size": "0.1", "lot_size": "0.001",
        "quote": "USDT", "maker_fee": "0.0002", "taker_fee": "0.0005",
    }],
    "accounts": [{"name": "a", "token": "token-of-a", "balance": "1234"}],
}  # fmt: skip
pytestmark = pytest.mark.slow  # a process and sockets


@pytest.fixture(scope="module")
def exchange(tmp_path_factory):
    handle = start_exchange(SPEC, tmp_path_factory.mktemp("exchange") / "log", watch_pid=os.getpid())
    yield handle
    stop_exchange(handle)


def test_an_account_that_is_ready(exchange, monkeypatch):
    monkeypatch.setenv("RAYMAKER_NATIVE_TOKEN", "token-of-a")
    found = check("native", "local", f"127.0.0.1:{exchange.port}", None)
    assert found["ok"]
    told = {f["what"]: (f["verdict"], f["detail"]) for f in found["findings"]}
    assert list(told) == ["instruments", "keys", "clock", "permissions", "fees", "balance", "open orders"]
    assert told["fees"][1] == "BTC-USDT: maker 2.0000 bps, taker 5.0000 bps"
    assert "balance 1234" in told["balance"][1]
    assert exchange_stats(exchange)["orders"] == 0


def test_what_is_wrong_is_said_without_the_key(exchange, monkeypatch):
    monkeypatch.setenv("RAYMAKER_NATIVE_TOKEN", "a-wrong-token-0123")
    found = check("native", "local", f"127.0.0.1:{exchange.port}", ["ETH-USDT"])
    assert not found["ok"]
    told = {f["what"]: f["detail"] for f in found["findings"]}
    assert "no instrument ETH-USDT; there are BTC-USDT" in told["instruments"]
    assert "no account has this token" in told["keys"]
    assert "a-wrong-token" not in str(found)


def test_what_this_venue_does_not_list_is_not_asked_for(exchange, monkeypatch):
    monkeypatch.setenv("RAYMAKER_NATIVE_TOKEN", "token-of-a")
    found = check("native", "local", f"127.0.0.1:{exchange.port}", ["BTC-USDT", "ETH-USDT"])
    told = {f["what"]: (f["verdict"], f["detail"]) for f in found["findings"]}
    assert told["instruments"] == ("failed", "no instrument ETH-USDT; there are BTC-USDT")
    assert (told["fees"][0], told["balance"][0]) == ("ok", "ok")
    for kind, network, address, why in (
        ("okx", "testnet", None, "unknown venue 'okx'; known: apex, bybit"),
        ("bybit", "local", None, "no address"),
        ("bybit", "testnet", "127.0.0.1:1", "leave address out"),
        ("bybit", "local", "http://127.0.0.1:1", "^--address: expected host:port"),
        ("mexc", "testnet", None, "no network 'testnet'"),
    ):
        with pytest.raises(ConfigError, match=why):
            check(kind, network, address, None)


def test_no_keys_and_no_such_network(exchange, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RAYMAKER_NATIVE_TOKEN", raising=False)
    with pytest.raises(ConfigError, match="RAYMAKER_NATIVE_TOKEN"):
        check("native", "local", f"127.0.0.1:{exchange.port}", None)
    with pytest.raises(ConfigError, match="network"):
        check("native", "marsnet", None, None)


@pytest.mark.parametrize(("venue", "symbol"), [("bybit", "BTCUSDT"), ("mexc", "BTCUSDT")])
def test_what_a_key_may_do(venue, symbol, monkeypatch, tmp_path):
    config = VenueConfig.model_validate({"name": venue, "kind": venue, "instruments": [symbol]})
    spec = msgspec.to_builtins(exchange_spec(config, "token-of-a-desk"))
    handle = start_exchange(spec | {"background": {}}, tmp_path / "log", watch_pid=os.getpid())
    try:
        for name, value in local_keys(venue, "token-of-a-desk").items():
            monkeypatch.setenv(variable(venue, name), value)
        found = check(venue, "local", f"127.0.0.1:{handle.face_port}", [symbol])
    finally:
        stop_exchange(handle)
    told = {f["what"]: (f["verdict"], f["detail"]) for f in found["findings"]}
    assert told["permissions"][0] == "ok", told
    assert "may trade" in told["permissions"][1]
    assert found["ok"], told


def test_a_key_that_may_too_little_or_too_much():
    class Client:
        def __init__(self, trade, withdraw):
            self.may = Permissions(trade, withdraw, "words")

        async def permissions(self):
            return self.may

    def verdict(*may):
        return asyncio.run(venue_check._permissions(Client(*may), None))[0]

    assert [verdict(False, False), verdict(True, True), verdict(True, None), verdict(True, False)] == [
        "failed", "warning", "ok", "ok",
    ]  # fmt: skip
