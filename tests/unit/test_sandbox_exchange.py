"""The exchange's core: accounts, checks, private messages, public stream. No sockets, time by hand."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from mm.core.types import ASK, BID, BUY, CLEAR_ASK, CLEAR_BID, FUNDING, MARK, SELL
from mm.errors import ConfigError
from mm.sandbox import account as account_module
from mm.sandbox import exchange as exchange_module
from mm.sandbox import state as state_module
from mm.sandbox.account import Account
from mm.sandbox.exchange import Exchange, Refused
from mm.sandbox.spec import parse_spec
from mm.venues.native import wire

LINEAR = {"symbol": "L", "venue": "native", "kind": "linear", "tick_size": "0.5", "lot_size": "0.01", "quote": "USD"}
INVERSE = {
    "symbol": "I", "venue": "native", "kind": "inverse", "tick_size": "0.5", "lot_size": "1",
    "contract_value": "100", "base": "BTC", "quote": "USD",
}  # fmt: skip
SPOT = {"symbol": "S", "venue": "native", "kind": "spot", "tick_size": "0.5", "lot_size": "0.01", "quote": "USD"}
TOP = (1 << 31) - 1


def spec(**changes: Any) -> Any:
    raw = {
        "control_token": "control-token",
        "instruments": [{**LINEAR, "min_notional": "1"}, INVERSE, SPOT],
        "accounts": [
            {"name": "a", "token": "token-of-a", "balance": "1000", "positions": {"S": "1"}, "maker_fee": "-0.0001"},
            {"name": "b", "token": "token-of-b", "balances": {"BTC": "2"}},
        ],
        **changes,
    }
    return parse_spec(wire.msgspec.json.encode(raw), "spec.json")


class Venue:
    """An exchange with a clock that ticks once per call, and what each account was told."""

    def __init__(self, **changes: Any) -> None:
        self.exchange = Exchange(spec(**changes))
        self.a = self.exchange.accounts["token-of-a"]
        self.b = self.exchange.accounts["token-of-b"]
        self.now = 1_000

    def place(self, account: Account, cid: str, side: Any, px: str, qty: str, symbol: str = "L", **more: Any) -> str:
        self.now += 1
        request = wire.Place(symbol=symbol, cid=cid, side=side, px=px, qty=qty, **more)
        return self.exchange.place(account, request, self.now).status

    def told(self, account: Account) -> list[Any]:
        out = [message for to, message in self.exchange.outbox if to is account]
        self.exchange.outbox = [pair for pair in self.exchange.outbox if pair[0] is not account]
        return out

    def play(self, *rows: tuple[int, int, int], symbol: str = "L") -> None:
        self.now += 1
        self.exchange.background(symbol, rows, self.now)


def test_two_accounts_trade_and_are_told_exactly_once() -> None:
    v = Venue()
    assert v.place(v.a, "A-1", "sell", "100", "1.00") == "open"
    assert v.place(v.b, "B-1", "buy", "100.5", "0.40") == "filled"
    opened, fill = v.told(v.a)
    assert (opened.status, opened.qty) == ("open", "1.00")
    assert (fill.cid, fill.px, fill.qty, fill.remaining, fill.maker, fill.pos) == (
        "A-1",
        "100.0",
        "0.40",
        "0.60",
        True,
        "-0.40",
    )
    assert Decimal(fill.fee) == Decimal("-0.004")
    fill_b, done = v.told(v.b)
    assert (fill_b.maker, fill_b.trade_id, fill_b.fee) == (False, fill.trade_id, "0.0200000")
    assert (done.status, done.qty) == ("filled", "0.00")
    v.exchange.flush(v.now)
    assert [type(m).__name__ for m in v.told(v.a) + v.told(v.b)] == ["Position", "Position"]
    v.exchange.flush(v.now)
    assert v.exchange.outbox == []
    position = v.exchange.position(v.a, "L", v.now)
    assert (position.size, position.entry, position.balance) == ("-0.40", "100", "1000.0040000")
    assert v.exchange.fills(v.a, 0, 0) == [fill]
    assert v.exchange.fills(v.a, 0, 1) == []
    assert v.exchange.fills(v.a, v.now + 1, 0) == []
    stats = v.exchange.stats()
    assert stats["accounts"]["b"]["taker_fills"] == 1
    assert stats["accounts"]["a"] == {
        "orders": 1, "rejects": 0, "fills": 1, "taker_fills": 0, "open_orders": 1,
        "positions": {"L": "-0.40", "I": "0", "S": "1.00"},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"symbol": "NO"}, "unknown_symbol"),
        ({"cid": ""}, "bad_cid"),
        ({"cid": "x" * 65}, "bad_cid"),
        ({"px": "100.3"}, "bad_px"),
        ({"px": "NaN"}, "bad_px"),
        ({"px": "Infinity"}, "bad_px"),
        ({"px": "1e999999"}, "bad_px"),
        ({"px": "-1"}, "bad_px"),
        ({"px": "0"}, "bad_px"),
        ({"px": "1" * 100}, "bad_px"),
        ({"px": "hello"}, "bad_px"),
        ({"qty": "0"}, "bad_qty"),
        ({"qty": "-1"}, "bad_qty"),
        ({"qty": "0.001"}, "bad_qty"),
        ({"qty": "1e17"}, "bad_qty"),
        ({"px": "1", "qty": "0.99"}, "min_notional"),
        ({"reduce_only": True}, "reduce_only"),
        ({"reduce_only": True, "tif": "IOC"}, "reduce_only"),
        ({"px": "101", "post_only": True}, "post_only_would_cross"),
        ({"symbol": "S", "side": "sell", "qty": "1.01"}, "insufficient_balance"),
        ({"symbol": "S", "qty": "10"}, "insufficient_balance"),
    ],
)
def test_rejects(changes: dict[str, Any], reason: str) -> None:
    v = Venue()
    v.play((ASK, 202, 5))
    order = {"symbol": "L", "cid": "A-1", "side": "buy", "px": "100", "qty": "1", **changes}
    assert v.exchange.place(v.a, wire.Place(**order), v.now).status == "rejected"
    (message,) = v.told(v.a)
    assert (message.status, message.reason, message.cid) == ("rejected", reason, order["cid"])
    assert v.a.n_rejects == 1
    assert not v.a.open
    assert not v.exchange._orders


def test_duplicate_ids_are_refused_and_do_not_touch_the_first() -> None:
    v = Venue()
    v.place(v.a, "A-1", "buy", "100", "1")
    assert v.place(v.a, "A-1", "buy", "99", "1") == "rejected"
    assert v.told(v.a)[-1].reason == "duplicate_cid"
    assert list(v.a.open) == ["A-1"]
    assert v.place(v.b, "A-1", "buy", "99", "1") == "open"  # another account's ids are its own
    assert v.exchange.cancel(v.a, "A-1", v.now).status == "canceled"
    assert v.place(v.a, "A-1", "buy", "100", "1") == "rejected"


def test_closed_ids_are_forgotten_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(account_module, "KEPT_ORDERS", 3)
    v = Venue()
    for n in range(5):
        v.place(v.a, f"A-{n}", "buy", "100", "1")
        v.exchange.cancel(v.a, f"A-{n}", v.now)
    assert list(v.a.orders) == ["A-2", "A-3", "A-4"]
    assert [v.a.by_oid(oid).cid for oid in v.a.cid_of] == ["A-2", "A-3", "A-4"]


def test_cancel_of_unknown_filled_and_canceled_orders() -> None:
    v = Venue()
    v.place(v.a, "A-1", "buy", "100", "1")
    v.place(v.b, "B-1", "sell", "100", "1")
    v.place(v.a, "A-2", "buy", "100", "1")
    for cid in ("A-2", "A-2", "A-1", "A-9"):
        v.exchange.cancel(v.a, cid, v.now, "L")
    answers = v.told(v.a)[-4:]
    assert [m.reason for m in answers] == ["user", "canceled", "filled", "unknown_order"]
    assert [type(m).__name__ for m in answers] == ["OrderUpdate", "CancelReject", "CancelReject", "CancelReject"]


def amend(v: Venue, account: Account, cid: str, px: str | None, qty: str | None, **more: Any) -> Any:
    v.now += 1
    return v.exchange.amend(account, cid, px, qty, v.now, "L", **more)


def test_an_amendment_keeps_its_place_only_when_it_shrinks() -> None:
    v = Venue()
    for cid in ("A-1", "A-2", "A-3"):
        v.place(v.a, cid, "buy", "100", "1")
    v.told(v.a)
    assert amend(v, v.a, "A-1", "100", "0.5").status == "open"
    assert amend(v, v.a, "A-2", "100", "1.5").status == "open"
    assert amend(v, v.a, "A-3", None, "0.8").lots == 80
    assert [(m.cid, m.status, m.px, m.qty) for m in v.told(v.a)] == [
        ("A-1", "open", "100.0", "0.50"), ("A-2", "open", "100.0", "1.50"), ("A-3", "open", "100.0", "0.80"),
    ]  # fmt: skip
    assert v.exchange.market("L").engine.final_book()["bids"] == [[200, [[1, 50], [3, 80], [2, 150]]]]
    amend(v, v.a, "A-1", "99.5", None)
    v.place(v.b, "B-1", "sell", "99.5", "2.5")
    assert [(f.cid, f.px, f.qty) for f in v.a.fills] == [
        ("A-3", "100.0", "0.80"), ("A-2", "100.0", "1.50"), ("A-1", "99.5", "0.20"),
    ]  # fmt: skip
    order = v.a.open["A-1"]
    assert (order.lots, order.size_lots, order.request.qty) == (30, 50, "1")
    assert v.exchange.open_orders(v.a, v.now)[0].qty == "0.30"


def test_an_amendment_through_the_market() -> None:
    v = Venue()
    v.play((ASK, 202, 50))
    v.place(v.a, "A-1", "buy", "100", "1")
    v.place(v.a, "A-2", "buy", "100", "1", post_only=True)
    v.place(v.a, "A-3", "buy", "100", "1", post_only=True)
    assert amend(v, v.a, "A-2", "101", "1") is None
    assert (v.told(v.a)[-1].reason, v.a.refusal) == ("post_only_would_cross", "post_only_would_cross")
    assert v.a.open["A-2"].ticks == 200
    assert amend(v, v.a, "A-3", "101", "1", if_crossing="cancel").status == "canceled"
    assert (v.told(v.a)[-1].reason, list(v.a.open)) == ("post_only_would_cross", ["A-1", "A-2"])
    assert amend(v, v.a, "A-1", "101.5", "2").lots == 150
    assert [(f.px, f.qty, f.maker) for f in v.a.fills] == [("101.0", "0.50", False)]
    assert [(m.status, m.px, m.qty) for m in v.told(v.a)[1:]] == [("open", "101.5", "1.50")]


@pytest.mark.parametrize(
    ("cid", "px", "qty", "reason"),
    [
        ("A-9", "100", "1", "unknown_order"), ("A-0", "100", "1", "canceled"), ("A-1", "100.3", "1", "bad_px"),
        ("A-1", "100", "0", "bad_qty"), ("A-1", "1", "0.5", "min_notional"), ("A-1", "hello", None, "bad_px"),
        ("S-1", None, "100", "insufficient_balance"),
    ],
)  # fmt: skip
def test_a_refused_amendment_leaves_the_order(cid: str, px: str | None, qty: str | None, reason: str) -> None:
    v = Venue()
    v.place(v.a, "A-0", "buy", "100", "1")
    v.exchange.cancel(v.a, "A-0", v.now)
    v.place(v.a, "A-1", "buy", "100", "1")
    v.place(v.a, "S-1", "buy", "100", "5", "S")
    before = v.exchange.open_orders(v.a, 0)
    v.told(v.a)
    assert amend(v, v.a, cid, px, qty) is None
    (told,) = v.told(v.a)
    assert (type(told), told.cid, told.reason) == (wire.AmendReject, cid, reason)
    assert v.exchange.open_orders(v.a, 0) == before


def test_resting_reduce_only_orders_are_cut_to_the_position() -> None:
    v = Venue()
    v.place(v.b, "B-1", "sell", "100", "3")
    v.place(v.a, "A-1", "buy", "100", "3")
    reduce = {"post_only": True, "reduce_only": True}
    assert v.place(v.a, "A-2", "sell", "101", "2", **reduce) == "open"
    assert v.place(v.a, "A-3", "sell", "102", "2", **reduce) == "open"
    assert v.place(v.a, "A-4", "sell", "103", "1", **reduce) == "rejected"
    assert v.a.open["A-3"].lots == 100  # cut down when it came
    assert v.place(v.a, "A-5", "sell", "103", "1", post_only=True) == "open"
    v.told(v.a)
    v.play((BID, 199, 1_000))
    assert v.place(v.a, "A-6", "sell", "99.5", "0.5", tif="IOC", reduce_only=True) == "filled"
    assert [(m.cid, m.qty, m.reason) for m in v.told(v.a) if isinstance(m, wire.OrderUpdate)] == [
        ("A-6", "0.00", ""), ("A-3", "0.50", "reduce_only"),
    ]  # fmt: skip
    assert amend(v, v.a, "A-3", "102", "5").lots == 50
    v.place(v.a, "A-7", "sell", "99.5", "0.5", tif="IOC")
    assert [(m.cid, m.status, m.reason) for m in v.told(v.a)[-1:]] == [("A-3", "canceled", "reduce_only")]
    v.play((BUY, 202, 200))
    assert v.a.ledgers["L"].lots == 0
    assert list(v.a.open) == ["A-5"]


def test_background_fills_us_and_the_book_heals() -> None:
    v = Venue()
    v.play((BID, 199, 100), (ASK, 201, 100), (MARK, 200, 0))
    v.place(v.a, "A-1", "buy", "99.5", "1", post_only=True)  # behind 1.00 of the background
    v.play((SELL, 199, 150), (BID, 199, 40))
    fill = v.told(v.a)[1]
    assert (fill.qty, fill.remaining, fill.maker) == ("0.50", "0.50", True)
    market = v.exchange.market("L")
    assert market.engine.final_book()["bids"] == [[199, [[1, 50], [0, 40]]]]
    public = [m for _, m in v.exchange.flush(v.now)]
    assert [type(m).__name__ for m in public] == ["Mark", "Trades", "Depth"]
    assert [(t.side, t.qty) for t in public[1].trades] == [("sell", "1.00"), ("sell", "0.50")]
    assert public[2].bids == [("99.5", "0.90")]
    v.play((ASK, 199, 30))  # the background's ask comes through our bid
    assert v.told(v.a)[-1].qty == "0.30"
    assert market.engine.best_ask == 201
    v.play((BUY, 201, 10), (CLEAR_BID, 0, 0), (CLEAR_ASK, TOP, 0))
    assert market.engine.final_book() == {"bids": [[199, [[1, 20]]]], "asks": []}


def test_snapshot_and_deltas_tell_one_story() -> None:
    v = Venue()
    v.play((BID, 199, 100), (ASK, 201, 100))
    assert v.exchange.market("L").snapshot(v.now).seq == 0  # nothing published yet
    v.exchange.flush(v.now)
    v.place(v.a, "A-1", "buy", "99.5", "1")
    before = v.exchange.market("L").snapshot(v.now)
    assert (before.seq, before.bids, before.asks) == (1, [("99.5", "1.00")], [("100.5", "1.00")])
    ((_, depth),) = v.exchange.flush(v.now)
    assert (depth.prev_seq, depth.seq, depth.bids, depth.asks) == (1, 2, [("99.5", "2.00")], [])
    v.play((BID, 199, 50), (BID, 199, 100))
    assert v.exchange.flush(v.now) == []  # nothing changed in the end


def test_ioc_reduce_only_is_cut_to_the_position() -> None:
    v = Venue()
    v.place(v.a, "A-1", "buy", "100", "1")
    v.place(v.b, "B-1", "sell", "100", "1")
    v.place(v.a, "A-2", "buy", "99", "5")
    v.told(v.b)
    assert v.place(v.a, "A-3", "sell", "99", "3", tif="IOC", reduce_only=True) == "canceled"  # our own bid: stp
    v.exchange.cancel_all(v.a, v.now)
    v.place(v.b, "B-2", "buy", "99", "5")
    assert v.place(v.a, "A-4", "sell", "99", "3", tif="IOC", reduce_only=True) == "filled"
    assert v.a.ledgers["L"].lots == 0
    assert v.place(v.a, "A-5", "sell", "98", "9", tif="FOK") == "canceled"
    assert v.told(v.a)[-1].reason == "fok"
    assert v.place(v.a, "A-6", "sell", "98", "9", tif="IOC") == "canceled"
    assert (v.told(v.a)[-1].reason, v.a.ledgers["L"].lots) == ("ioc", -400)


def test_stp_cancel_oldest_tells_the_maker() -> None:
    v = Venue(stp="cancel_oldest")
    v.place(v.a, "A-1", "buy", "100", "1")
    v.place(v.a, "A-2", "sell", "100", "1")
    assert [(m.cid, m.status, m.reason) for m in v.told(v.a)] == [
        ("A-1", "open", ""), ("A-1", "canceled", "stp"), ("A-2", "open", ""),
    ]  # fmt: skip


def test_dead_man() -> None:
    v = Venue()
    v.place(v.a, "A-1", "buy", "100", "1")
    v.place(v.b, "B-1", "buy", "100", "1")
    v.exchange.arm(v.a, 1.0, 0)
    v.exchange.expire(999_999_999)
    assert v.a.open
    v.exchange.expire(1_000_000_000)
    assert not v.a.open
    assert v.b.open
    assert v.told(v.a)[-1].reason == "dead_man"
    v.exchange.arm(v.b, 1.0, 0)
    v.exchange.arm(v.b, 0, 0)
    v.exchange.expire(10**18)
    assert v.b.open


def test_funding_and_balances_by_currency() -> None:
    v = Venue()
    v.place(v.a, "A-1", "buy", "100", "1")
    v.place(v.b, "B-1", "sell", "100", "1")
    v.play((FUNDING, 220, 1_000_000))  # 0.001 of 110
    assert Decimal(v.exchange.position(v.a, "L", 0).balance) == Decimal(1000) + Decimal("0.01") - Decimal("0.11")
    assert v.exchange.balance(v.b, "L") == 100_000 - Decimal("0.05") + Decimal("0.11")
    assert v.exchange.balance(v.b, "I") == 2  # untouched, another currency
    funding = v.exchange.flush(v.now)[0][1]
    assert (funding.rate, funding.mark) == ("0.001000000", "110.0")
    assert v.a.moved == set()
    with pytest.raises(Refused, match="no instrument"):
        v.exchange.position(v.a, "NO", 0)


def test_spot_counts_open_orders() -> None:
    v = Venue()
    assert v.place(v.a, "A-1", "sell", "100", "0.6", "S") == "open"
    assert v.place(v.a, "A-2", "sell", "100", "0.6", "S") == "rejected"
    assert v.place(v.a, "A-3", "buy", "90", "6", "S") == "open"
    assert v.place(v.a, "A-4", "buy", "90", "6", "S") == "rejected"
    v.place(v.b, "B-1", "buy", "100", "0.6", "S")
    assert v.exchange.balance(v.a, "S") == 1000 + 60 + Decimal("0.006")
    assert v.exchange.position(v.a, "S", 0).entry is None


def test_fill_history_is_bounded_and_paged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange_module, "KEPT_FILLS", 6)
    monkeypatch.setattr(state_module, "FILLS_PAGE", 4)
    v = Venue()
    for n in range(11):
        v.place(v.a, f"A-{n}", "buy", "100", "1")
        v.place(v.b, f"B-{n}", "sell", "100", "1")
    assert [f.n for f in v.a.fills] == [6, 7, 8, 9, 10, 11]
    assert [f.n for f in v.exchange.fills(v.a, 0, 0)] == [6, 7, 8, 9]
    assert [f.n for f in v.exchange.fills(v.a, 0, 9)] == [10, 11]
    assert [f.n for f in v.exchange.fills(v.a, v.a.fills[-1].ts, 0)] == [11]
    assert v.exchange.fills(v.b, 10**18, 0) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"accounts": [{"name": "a"}]}, "token"),
        ({"colour": "red"}, "colour"),
        ({"instruments": []}, "instruments"),
        ({"instruments": [LINEAR, LINEAR]}, "listed once"),
        ({"background": {"NO": {"kind": "synth"}}}, "'NO' must be listed once"),
        ({"accounts": [{"name": "a", "token": "same-token"}, {"name": "b", "token": "same-token"}]}, "of their own"),
        ({"accounts": [{"name": "a", "token": "same-token", "balance": "many"}]}, "'many'"),
        ({"accounts": [{"name": "a", "token": "same-token", "balance": "Infinity"}]}, "not finite"),
        ({"accounts": [{"name": "a", "token": "same-token", "positions": {"L": "1"}}]}, "L is none"),
        ({"funding": {"L": {"rate": "much"}}}, "'much'"),
        ({"funding": {"NO": {}}}, "'NO' must be listed once"),
    ],
)
def test_bad_specs_say_what_is_wrong(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Exchange(spec(**changes))
