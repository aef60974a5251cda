"""Leverage, margin, liquidation and funding of the exchange, against amounts worked out by hand."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm.core.types import ASK, BID, FUNDING, MARK
from mm.sandbox.account import Account
from mm.sandbox.exchange import Exchange, Refused
from mm.sandbox.rules import rules_of
from mm.sandbox.spec import parse_spec
from mm.venues.native import wire

LINEAR = {
    "symbol": "BTCUSDT", "venue": "bybit", "kind": "linear", "tick_size": "0.5", "lot_size": "0.01", "base": "BTC",
    "quote": "USDT", "maker_fee": "0", "taker_fee": "0.001",
}  # fmt: skip
INVERSE = {
    "symbol": "I", "venue": "native", "kind": "inverse", "tick_size": "0.5", "lot_size": "1", "contract_value": "100",
    "base": "BTC", "quote": "USD", "maker_fee": "0", "taker_fee": "0.001",
}  # fmt: skip
OTHER = {**LINEAR, "symbol": "OTHER", "base": "OTHER", "venue": "native"}
SPOT = {**LINEAR, "symbol": "S", "kind": "spot", "venue": "native"}
S = 1_000_000_000


class Desk:
    """Account a against a rich counterparty; prices of 100 are tick 200."""

    def __init__(self, balance: str = "1000", leverage: int = 10, **changes: Any) -> None:
        raw = {
            "control_token": "control-token",
            "instruments": [LINEAR, INVERSE, OTHER, SPOT],
            "accounts": [
                {"name": "a", "token": "token-of-a", "balance": balance, "leverage": leverage},
                {"name": "b", "token": "token-of-b", "balance": "1e12", "leverage": 1},
            ],
            **changes,
        }
        self.exchange = Exchange(parse_spec(msgspec.json.encode(raw), "spec"))
        self.a, self.b = self.exchange.accounts.values()
        self.now, self.n = 1_000 * S, 0

    def place(self, account: Account, side: Any, px: str, qty: str, symbol: str = "BTCUSDT", **more: Any) -> Any:
        self.n += 1
        request = wire.Place(symbol=symbol, cid=f"{account.name}-{self.n}", side=side, px=px, qty=qty, **more)
        return self.exchange.place(account, request, self.now)

    def hold(self, side: str, px: str, qty: str, symbol: str = "BTCUSDT") -> None:
        """Give ``a`` a position as a maker."""
        assert self.place(self.a, side, px, qty, symbol).status == "open"
        assert self.place(self.b, "sell" if side == "buy" else "buy", px, qty, symbol).status == "filled"
        self.told()

    def mark(self, ticks: int, symbol: str = "BTCUSDT") -> None:
        self.exchange.background(symbol, [(MARK, ticks, 0)], self.now)

    def told(self) -> list[Any]:
        out, self.exchange.outbox = self.exchange.outbox, []
        return [message for account, message in out if account is self.a]

    def view(self, symbol: str = "BTCUSDT") -> dict[str, Decimal]:
        raw = msgspec.to_builtins(self.exchange.account_view(self.a, symbol))
        return {name: Decimal(value) for name, value in raw.items() if name != "currency"}


def test_rules_come_from_the_venue() -> None:
    d = Desk()
    bybit, other = d.exchange.markets["BTCUSDT"].rules, d.exchange.markets["OTHER"].rules
    assert (bybit.max_leverage, len(bybit.tiers)) == (100, 15)
    assert bybit.maintenance(Decimal(1_000_000)) == 5_000
    assert bybit.maintenance(Decimal(2_100_000)) == 10_000 + Decimal(100_000) * Decimal("0.0056")
    assert (other.max_leverage, other.maintenance(Decimal(1_000))) == (100, 5)
    assert rules_of(d.exchange.markets["S"].instrument).maintenance(Decimal(0)) == 0


def test_orders_need_initial_margin_and_the_larger_side_counts() -> None:
    d = Desk()
    assert d.place(d.a, "buy", "100", "60").status == "open"  # 600 of 1,000
    assert d.place(d.a, "sell", "101", "99").status == "open"  # 999.9: the larger side
    assert d.view()["available"] == Decimal("0.1")
    assert d.place(d.a, "buy", "100", "40.01").status == "rejected"
    assert d.told()[-1].reason == "insufficient_margin"
    assert d.place(d.a, "buy", "100", "39").status == "open"
    assert d.place(d.a, "sell", "101", "0.01").status == "rejected"
    assert d.place(d.a, "buy", "100", "0.02", "OTHER").status == "rejected"  # one balance for both
    d.exchange.cancel_all(d.a, d.now)
    assert d.place(d.a, "buy", "100", "0.02", "OTHER").status == "open"


def test_what_closes_needs_nothing() -> None:
    d = Desk()
    d.hold("buy", "100", "90")
    assert d.view()["initial"] == 900
    assert d.place(d.a, "sell", "101", "90").status == "open"
    assert d.view()["initial"] == 900
    assert d.place(d.a, "sell", "101", "95").status == "open"  # 95 beyond the position: 959.5
    assert d.view()["initial"] == Decimal("959.5")
    assert d.place(d.a, "buy", "99", "11").status == "rejected"


def test_an_amendment_is_checked_like_an_order() -> None:
    d = Desk()
    order = d.place(d.a, "buy", "100", "90")
    assert d.exchange.amend(d.a, order.cid, None, "101", d.now) is None
    assert d.a.refusal == "insufficient_margin"
    assert d.exchange.amend(d.a, order.cid, None, "100", d.now) is order
    assert d.exchange.amend(d.a, order.cid, None, "10", d.now) is order


def test_leverage() -> None:
    d = Desk()
    d.place(d.a, "buy", "100", "90")
    for leverage, code in ((0, "bad_leverage"), (101, "bad_leverage"), (8, "insufficient_margin")):
        with pytest.raises(Refused) as refused:
            d.exchange.set_leverage(d.a, "BTCUSDT", leverage)
        assert (refused.value.code, d.a.leverage["BTCUSDT"]) == (code, 10)
    with pytest.raises(Refused, match="spot"):
        d.exchange.set_leverage(d.a, "S", 2)
    d.exchange.set_leverage(d.a, "BTCUSDT", 20)
    assert d.view()["available"] == 550
    assert Desk(leverage=500).a.leverage == {"BTCUSDT": 100, "I": 100, "OTHER": 100}


def test_a_position_at_its_mark() -> None:
    d = Desk()
    d.hold("sell", "100", "10")
    d.mark(210)
    position = d.exchange.position(d.a, "BTCUSDT", d.now)
    told = (position.mark, position.leverage, position.margin, position.maintenance, position.unrealised)
    assert told == ("105.0", 10, "100.000", "5.250000", "-50.000")
    # 100 margin, entry 100: 10 * (p - 100) + 0.05 p = 100 -> p = 1100 / 10.05 = 109.45
    assert position.liquidation == "109.5"
    view = d.view()
    assert (view["equity"], view["balance"], view["available"], view["maintenance"]) == (
        950,
        1000,
        900,
        Decimal("5.25"),
    )


@pytest.mark.parametrize(
    ("side", "mark", "px", "loss"),
    [
        ("buy", 180, "90.0", "100"),  # nothing left for a fee
        ("buy", 20, "90.0", "100"),  # a gap: the loss ends at the margin
        ("sell", 219, "109.5", "96.095"),  # 95 at the mark and a fee of 1.095
        ("sell", 900, "110.0", "100"),
    ],
)
def test_liquidation_at_the_mark_with_a_floor(side: str, mark: int, px: str, loss: str) -> None:
    d = Desk()
    d.hold(side, "100", "10")
    d.place(d.a, side, "50" if side == "buy" else "150", "1")
    d.place(d.a, "buy", "100", "1", "OTHER")
    d.told()
    d.mark(182 if side == "buy" else 218)  # 10 of margin are left, maintenance is 4.55 and 5.45
    assert d.told() == []
    d.mark(mark)
    canceled, taken, fill = d.told()
    assert (canceled.status, canceled.reason) == ("canceled", "liquidation")
    assert (type(taken), taken.px, Decimal(taken.loss)) == (wire.Liquidation, px, Decimal(loss))
    assert Decimal(taken.size) == (10 if side == "buy" else -10)
    assert (fill.cid, fill.px, fill.pos, fill.maker) == ("liquidation", px, "0.00", False)
    assert d.view()["balance"] == 1000 - Decimal(loss)
    assert [o.request.symbol for o in d.a.open.values()] == ["OTHER"]
    d.mark(mark)
    assert d.told() == []


def test_an_inverse_position_loses_coins_within_its_margin() -> None:
    d = Desk(balance="1")
    d.hold("buy", "100", "5", "I")  # 500 quote = 5 BTC, margin 0.5
    d.mark(190, "I")
    position = d.exchange.position(d.a, "I", d.now)
    assert abs(Decimal(position.unrealised) - (5 - Decimal(500) / 95)) < Decimal("1e-12")
    d.mark(100, "I")
    taken = next(m for m in d.told() if isinstance(m, wire.Liquidation))
    assert taken.px == "91.0"  # bankrupt at 500 / 5.5 = 90.909, rounded towards the entry
    assert Decimal("0.49") < Decimal(taken.loss) <= Decimal("0.5")
    assert d.view("I")["balance"] >= Decimal("0.5")


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["BTCUSDT", "I"]), st.sampled_from(["buy", "sell"]), st.integers(1, 60), st.integers(150, 400),
    st.integers(1, 200),
)  # fmt: skip
def test_the_price_that_is_told_is_the_price_that_liquidates(
    symbol: str, side: str, leverage: int, entry: int, lots: int
) -> None:
    d = Desk(balance="1000000", leverage=leverage)
    d.hold(side, str(Decimal(entry) / 2), str(lots), symbol)
    told = d.exchange.position(d.a, symbol, d.now).liquidation
    sign = 1 if side == "buy" else -1
    if told is None:
        d.mark(1 if sign > 0 else 1 << 30, symbol)
        assert d.a.ledgers[symbol].lots
        return
    at = int(Decimal(told) * 2)
    d.mark(at + sign, symbol)  # one tick short of it: told is rounded
    assert d.a.ledgers[symbol].lots, (told, at)
    d.mark(max(at - sign, 1), symbol)
    assert not d.a.ledgers[symbol].lots or at == 1
    assert d.exchange.account_view(d.a, symbol).equity[0] != "-"


def test_the_mark_without_a_mark() -> None:
    d = Desk()
    market = d.exchange.markets["BTCUSDT"]
    assert market.mark is None
    d.exchange.background("BTCUSDT", [(BID, 198, 5)], d.now)
    assert market.mark is None
    d.exchange.background("BTCUSDT", [(ASK, 203, 5)], d.now)
    assert market.mark == 200
    d.exchange.background("BTCUSDT", [(ASK, 203, 0), (ASK, 400, 5)], d.now)
    assert market.mark == 299  # nothing better is known
    d.hold("buy", "100", "1")
    assert market.mark == 200  # a hole in the book: the newest trade
    d.exchange.background("BTCUSDT", [(BID, 220, 5)], d.now)
    assert market.mark == 220
    d.mark(250)
    assert market.mark == 250


def test_the_mark_is_published_once_a_second() -> None:
    d = Desk()
    for step in range(30):
        d.exchange.background("BTCUSDT", [(BID, 198 + step, 5), (ASK, 240, 5)], d.now)
        d.now += S // 10
        d.exchange.tick(d.now)
    marks = [m.px for _, m in d.exchange.flush(d.now) if isinstance(m, wire.Mark)]
    assert marks == ["109.5", "112.0", "114.5"]


def test_funding_is_told_and_kept() -> None:
    d = Desk()
    d.hold("buy", "100", "10")
    d.exchange.background("BTCUSDT", [(FUNDING, 220, 1_000_000)], d.now)  # 0.001 of 1,100
    (paid,) = d.told()
    assert (type(paid), Decimal(paid.amount), paid.rate, paid.mark) == (
        wire.FundingPaid, Decimal("-1.1"), "0.001000000", "110.0",
    )  # fmt: skip
    assert d.exchange.funding(d.a, 0) == [paid]
    assert d.exchange.funding(d.a, d.now + 1) == []
    assert Decimal(d.exchange.funding(d.b, 0)[0].amount) == Decimal("1.1")
    assert d.exchange.markets["BTCUSDT"].mark is None  # a settlement is not the mark from then on


def test_funding_by_schedule_takes_the_place_of_the_flow() -> None:
    d = Desk(funding={"BTCUSDT": {"interval_s": 60, "rate": "-0.0005"}})
    d.hold("buy", "100", "10")
    d.mark(200)
    d.exchange.background("BTCUSDT", [(FUNDING, 220, 1_000_000)], d.now)
    d.exchange.tick(d.now)
    assert d.told() == []
    d.now = 1_019 * S
    d.exchange.tick(d.now)
    assert d.told() == []
    for d.now in (1_020 * S, 1_021 * S, 1_085 * S):  # 17 and 18 minutes
        d.exchange.tick(d.now)
    assert [(Decimal(m.amount), m.ts) for m in d.told()] == [(Decimal("0.5"), 1_020 * S), (Decimal("0.5"), 1_085 * S)]
