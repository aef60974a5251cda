"""The generic ccxt adapter: its codec, what its client makes of ccxt's structures, and what its face refuses."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import aiohttp
import msgspec
import pytest
from pydantic import ValidationError

from mm.config.schema import VenueConfig
from mm.core.instrument import Instrument
from mm.core.types import ACK, ASK, BID, CANCEL_REJECT, CANCELED, CLEAR_ASK, CLEAR_BID, FILL, REJECT, SELL, SNAPSHOT
from mm.errors import ConfigError
from mm.sandbox.faces.binanceusdm import local_keys
from mm.venues import replies
from mm.venues.base import Decoded, OrderRequest
from mm.venues.ccxt_any import says, wire
from mm.venues.ccxt_any.codec import CcxtCodec
from mm.venues.ccxt_any.exchange import Markets
from mm.venues.registry import get_venue
from mm.venues.specs import find_spec
from tests.contract.conformance.rig import Rig

BTC = Instrument("BTCUSDT", "x", "linear", Decimal("0.1"), Decimal("0.001"), base="BTC", quote="USDT")
ORDER = wire.Order(id="77", cid="pre-5", symbol="BTCUSDT", side="buy", px="60000.0", qty="0.05", status="open", ts=9)
TRADE = wire.OwnTrade(
    id="t1", order="77", symbol="BTCUSDT", side="buy", px="60000.0", qty="0.02", maker=True, fee="0.24",
    currency="USDT", ts=10,
)  # fmt: skip


@pytest.fixture
def codec() -> CcxtCodec:
    return CcxtCodec([BTC], "pre")


def book(bids: list[wire.Level], asks: list[wire.Level], *, fresh: bool = False) -> bytes:
    return wire.encode(wire.Book(symbol="BTCUSDT", ts=5, fresh=fresh, bids=bids, asks=asks))


def rows(decoded: Decoded) -> list[tuple[int, int, int]]:
    return [(int(e["kind"]), int(e["tick"]), int(e["lots"])) for e in decoded.events]


def orders(codec: CcxtCodec, *changes: dict[str, Any]) -> list[tuple[int, int, int]]:
    frame = wire.Orders(rows=[msgspec.structs.replace(ORDER, **change) for change in changes])
    return execs(codec.decode_private(wire.encode(frame), 1))


def fills(codec: CcxtCodec, *changes: dict[str, Any]) -> Decoded:
    frame = wire.OwnTrades(rows=[msgspec.structs.replace(TRADE, **change) for change in changes])
    return codec.decode_private(wire.encode(frame), 1)


def execs(decoded: Decoded) -> list[tuple[int, int, int]]:
    return [(int(e["kind"]), int(e["id"]), int(e["lots"])) for e in decoded.execs]


# --- market data -----------------------------------------------------------------------------------------------------
def test_a_book_is_a_snapshot_and_then_what_differs(codec: CcxtCodec) -> None:
    first = codec.decode_public(book([("60000.0", "1.0"), ("59999.9", "2")], [("60000.1", "3")]), 7)
    assert [kind for kind, *_ in rows(first)] == [CLEAR_BID, CLEAR_ASK, BID, BID, ASK]
    assert all(int(e["flags"]) & SNAPSHOT for e in first.events)
    then = codec.decode_public(book([("60000.0", "0.5"), ("59999.8", "4")], [("60000.1", "3")]), 8)
    assert rows(then) == [(BID, 599_999, 0), (BID, 600_000, 500), (BID, 599_998, 4_000)]
    assert not rows(codec.decode_public(book([("60000.0", "0.5"), ("59999.8", "4")], [("60000.1", "3")]), 9))
    fresh = codec.decode_public(book([("60000.0", "0.5")], [], fresh=True), 10)
    assert rows(fresh)[2:] == [(BID, 600_000, 500)]


def test_a_level_off_the_grid_makes_the_book_unknown(codec: CcxtCodec) -> None:
    codec.decode_public(book([("60000.0", "1")], []), 1)
    bad = codec.decode_public(book([("60000.05", "1")], []), 2)
    assert (bad.gap, len(bad.events)) == ([0], 0)
    assert rows(codec.decode_public(book([("60000.0", "1")], []), 3))[0][0] == CLEAR_BID


def test_a_trade_counts_once_and_not_before_the_book(codec: CcxtCodec) -> None:
    trade = wire.Trade(id="a", ts=5, side="sell", px="60000.0", qty="0.25")
    frame = wire.encode(wire.Trades(symbol="BTCUSDT", rows=[trade, trade]))
    assert not rows(codec.decode_public(frame, 1))
    codec.decode_public(book([("60000.0", "1")], []), 1)
    assert rows(codec.decode_public(frame, 1)) == [(SELL, 600_000, 250)]
    assert not rows(codec.decode_public(frame, 1))


# --- orders ----------------------------------------------------------------------------------------------------------
def test_an_order_is_acknowledged_once_and_ends_once(codec: CcxtCodec) -> None:
    assert orders(codec, {}, {}) == [(ACK, 5, 50)]
    assert orders(codec, {"status": "canceled", "filled": "0.02"}, {"status": "canceled"}) == [(CANCELED, 5, 30)]
    assert orders(codec, {}) == []


def test_a_fill_waits_for_the_order_that_says_whose_it_is(codec: CcxtCodec) -> None:
    assert execs(fills(codec, {})) == []
    assert orders(codec, {"status": "closed", "filled": "0.05"}) == [(FILL, 5, 20)]
    assert execs(fills(codec, {})) == [], "the same execution twice"
    (one,) = fills(codec, {"id": "t2", "maker": False}).exec_detail
    assert (one.client_order_id, one.trade_id, one.fee) == ("pre-5", "t2", Decimal("0.24"))
    assert orders(codec, {}) == [], "an order that ended is not acknowledged"


def test_fees_in_the_base_currency_are_counted_and_others_told(codec: CcxtCodec) -> None:
    orders(codec, {})
    assert fills(codec, {"fee": "0.00001", "currency": "BTC"}).exec_detail[0].fee == Decimal("0.6")
    other = fills(codec, {"id": "t2", "currency": "BNB"})
    assert other.exec_detail[0].fee == 0
    assert "BNB" in other.error


def test_answers_to_requests(codec: CcxtCodec) -> None:
    def reply(raymaker: Any, op: Any, **more: Any) -> Decoded:
        frame = replies.frame(replies.Reply(raymaker=raymaker, op=op, symbol="BTCUSDT", cid="pre-5", side=1, **more))
        return codec.decode_private(frame, 1)

    assert reply("unknown", "place").unknown == ["pre-5"]
    assert execs(reply("no", "place", code="InvalidOrder", text="would cross")) == [(REJECT, 5, 0)]
    assert execs(reply("no", "cancel")) == [(CANCEL_REJECT, 5, 0)]
    assert execs(reply("ok", "place", body=msgspec.to_builtins(ORDER))) == [(ACK, 5, 50)]
    assert execs(reply("ok", "cancel")) == []


# --- ccxt's structures -----------------------------------------------------------------------------------------------
def _market(symbol: str, market_id: str, **more: Any) -> dict[str, Any]:
    base = {"symbol": symbol, "id": market_id, "base": "BTC", "quote": "USDT", "active": True, "limits": {}}
    return {**base, "precision": {"price": 0.1, "amount": 1.0}, **more}


EXCHANGE = SimpleNamespace(
    id="some",
    precisionMode=4,
    markets={
        "BTC/USDT": _market("BTC/USDT", "BTCUSDT", spot=True),
        "BTC/USDT:USDT": _market("BTC/USDT:USDT", "BTCUSDT", swap=True, linear=True, contractSize=0.001),
        "BTC/USD:BTC": _market("BTC/USD:BTC", "BTCUSD", swap=True, inverse=True, contractSize=10, quote="USD"),
    },
)


def test_contracts_become_base_and_the_swap_wins_a_shared_id() -> None:
    markets = Markets(EXCHANGE)
    one = markets.instruments["BTCUSDT"]
    assert (one.kind, one.lot_size, markets.unified("BTCUSDT")) == ("linear", Decimal("0.001"), "BTC/USDT:USDT")
    assert (markets.size("BTC/USDT:USDT", 20.0), markets.amount("BTCUSDT", Decimal("0.02"))) == ("0.02", 20.0)
    assert (markets.symbol("BTC/USDT:USDT"), markets.symbol("BTC/USDT")) == ("BTCUSDT", "")
    inverse = markets.instruments["BTCUSD"]
    assert (inverse.kind, inverse.lot_size, inverse.contract_value) == ("inverse", Decimal(1), Decimal(10))
    assert says.off_grid(markets, OrderRequest("BTCUSDT", "c", 1, Decimal("1.05"), Decimal("0.02")))
    assert not says.off_grid(markets, OrderRequest("BTCUSDT", "c", 1, Decimal("1.1"), Decimal("0.02")))


def test_the_registry_makes_a_venue_of_any_id() -> None:
    venue = get_venue("ccxt:binanceusdm")
    assert (venue.name, venue.keys) == ("ccxt:binanceusdm", ("api_key", "api_secret"))
    assert set(venue.networks) == {"mainnet", "testnet"}
    assert "password" in get_venue("ccxt:okx").keys
    with pytest.raises(ConfigError, match="no exchange 'nowhere'"):
        get_venue("ccxt:nowhere")
    assert get_venue("paper:ccxt:binanceusdm").name == "paper:ccxt:binanceusdm"
    spec = find_spec("ccxt:binanceusdm")
    assert spec is not None
    assert spec.name == "binance"
    assert find_spec("ccxt:okx") is None


def test_a_config_takes_any_id() -> None:
    assert VenueConfig(name="a", kind="ccxt:okx", network="mainnet").adapter == "ccxt:okx"
    with pytest.raises(ValidationError, match="kind"):
        VenueConfig(name="a", kind="ccxt:../x")


# --- the face --------------------------------------------------------------------------------------------------------
@pytest.mark.slow
def test_the_face_refuses_as_the_venue_does() -> None:
    async def run() -> None:
        rig = Rig("ccxt:binanceusdm")
        await rig.start()
        await rig.begin()
        account = next(rig.unused)
        keys = local_keys(account.spec.token)
        url = f"http://127.0.0.1:{rig.face_port}/fapi/v1/order"

        async def send(
            method: str, secret: str = keys["api_secret"], late_ms: int = 0, **params: str
        ) -> tuple[int, int]:
            query = "&".join(f"{k}={v}" for k, v in params.items())
            query += f"&timestamp={time.time_ns() // 1_000_000 - late_ms}"
            signature = hmac.new((secret or keys["api_secret"]).encode(), query.encode(), hashlib.sha256).hexdigest()
            headers = {"X-MBX-APIKEY": keys["api_key"]}
            where = f"{url}?{query}&signature={signature}"
            async with aiohttp.ClientSession() as http, http.request(method, where, headers=headers) as answer:
                return answer.status, (await answer.json()).get("code", 0)

        order = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTX", "quantity": "0.02"}
        gone = {"symbol": "BTCUSDT", "origClientOrderId": "none"}
        try:
            assert await send("POST", "wrong", **order, price="59000") == (400, -1022)
            assert await send("POST", late_ms=9_000, **order, price="59000") == (400, -1021)
            assert await send("POST", **order, price="60001") == (400, -5022)
            assert await send("POST", **order, price="59000.05") == (400, -4014)
            assert await send("POST", **{**order, "symbol": "NO"}, price="59000") == (400, -1121)
            assert await send("DELETE", **gone) == (400, -2011)
            assert await send("GET", **gone) == (400, -2013)
            assert await send("POST", **order, price="59000", newClientOrderId="a") == (200, 0)
            assert await send("POST", **order, price="59000", newClientOrderId="a") == (400, -4116)
            assert len(account.open) == 1
        finally:
            await rig.end()
            await rig.stop()

    asyncio.run(run())
