"""Any orders, amendments, marks and settlements: what the exchange tells, keeps and matches stays one story."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from mm.core.types import ASK, BID, BUY, FUNDING, MARK, SELL
from mm.sandbox.account import Account
from mm.sandbox.exchange import Exchange, Refused
from mm.sandbox.spec import parse_spec
from mm.venues.native import wire

COMMON = {"venue": "native", "tick_size": "1", "lot_size": "1", "base": "B", "quote": "Q", "taker_fee": "0.001"}
SPEC = {
    "control_token": "control-token",
    "instruments": [
        {**COMMON, "symbol": "L", "kind": "linear"},
        {**COMMON, "symbol": "I", "kind": "inverse", "contract_value": "100"},
    ],
    "accounts": [{"name": n, "token": f"token-of-{n}", "balance": "2000", "leverage": 5} for n in "ab"],
}
RARELY = st.sampled_from([False, False, False, True])
TICKS, LOTS = st.integers(80, 120), st.integers(1, 40)
STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("place"), st.booleans(), st.sampled_from("LI"), st.booleans(), TICKS, LOTS,
            st.sampled_from(["GTC", "GTC", "GTC", "IOC", "FOK"]), RARELY, RARELY,
        ),
        st.tuples(st.just("amend"), st.booleans(), st.integers(0, 60), TICKS, LOTS, st.booleans()),
        st.tuples(st.just("cancel"), st.booleans(), st.integers(0, 60)),
        st.tuples(st.just("leverage"), st.booleans(), st.sampled_from("LI"), st.integers(1, 20)),
        st.tuples(
            st.just("flow"), st.sampled_from("LI"), st.sampled_from([BID, ASK, BUY, SELL, MARK, FUNDING]), TICKS,
            st.integers(0, 60),
        ),
    ),
    min_size=20,
    max_size=80,
)  # fmt: skip


def some(account: Account, n: int) -> str:
    """An open order, now and then one that is none."""
    known = list(account.open)
    return known[n % len(known)] if known and n % 9 else f"A-{n}"


def act(exchange: Exchange, step: Any, number: int) -> None:
    accounts = list(exchange.accounts.values())
    match step:
        case ("place", who, symbol, buy, ticks, lots, tif, post_only, reduce_only):
            request = wire.Place(
                symbol=symbol, cid=f"A-{number}", side="buy" if buy else "sell", px=str(ticks), qty=str(lots), tif=tif,
                post_only=post_only, reduce_only=reduce_only,
            )  # fmt: skip
            exchange.place(accounts[who], request, number)
        case ("amend", who, n, ticks, lots, cancel):
            how: Any = "cancel" if cancel else "refuse"
            exchange.amend(accounts[who], some(accounts[who], n), str(ticks), str(lots), number, if_crossing=how)
        case ("cancel", who, n):
            exchange.cancel(accounts[who], some(accounts[who], n), number)
        case ("leverage", who, symbol, leverage):
            try:
                exchange.set_leverage(accounts[who], symbol, leverage)
            except Refused as refused:
                assert refused.code == "insufficient_margin"  # noqa: PT017  it may be refused or not
        case ("flow", symbol, kind, ticks, lots):
            exchange.background(symbol, [(kind, ticks, lots * 100_000 if kind == FUNDING else lots)], number)


def check(exchange: Exchange, told: dict[tuple[str, str], tuple[str, str, str]]) -> None:
    for account, message in exchange.outbox:
        if isinstance(message, wire.OrderUpdate):
            told[account.name, message.cid] = (message.status, message.px, message.qty)
        elif isinstance(message, wire.Fill) and message.oid:
            _, px, _ = told.get((account.name, message.cid), ("open", "", ""))
            told[account.name, message.cid] = ("open", px, message.remaining)
    exchange.outbox.clear()
    resting = {oid: o for market in exchange.markets.values() for oid, o in market.engine.orders.items()}
    for account in exchange.accounts.values():
        for order in account.open.values():
            in_book = resting.pop(order.oid)
            assert (in_book.px, in_book.qty, in_book.side) == (order.ticks, order.lots, order.side)
            assert told[account.name, order.cid][0] == "open"
            assert told[account.name, order.cid][2] == str(order.lots)
        for symbol, market in exchange.markets.items():
            covered(account, symbol, market)
            position = exchange.position(account, symbol, 0)
            assert Decimal(position.size) == account.ledgers[symbol].lots
        for (name, cid), (status, _, _) in told.items():
            if name == account.name and cid in account.orders:
                assert account.orders[cid].status == status
    assert not resting
    assert all(
        amount[0] != "-" for a in exchange.accounts.values() for amount in [exchange.account_view(a, "L").available]
    )


def covered(account: Account, symbol: str, market: Any) -> None:
    """Reduce-only orders never exceed the position."""
    held = account.ledgers[symbol].lots
    for side in (1, -1):
        mine = [o for o in account.open.values() if o.market is market and o.side == side and o.request.reduce_only]
        assert sum(o.lots for o in mine) <= max(-side * held, 0)


@settings(max_examples=150, deadline=None)
@given(STEPS)
def test_one_story(steps: list[Any]) -> None:
    exchange = Exchange(parse_spec(msgspec.json.encode(SPEC), "spec"))
    told: dict[tuple[str, str], tuple[str, str, str]] = {}
    for symbol in "LI":
        exchange.background(symbol, [(BID, 99, 50), (ASK, 101, 50)], 0)
    for n, buy in ((1001, True), (1002, False)):  # positions to reduce
        act(exchange, ("place", not buy, "L", buy, 100, 40, "GTC", False, False), n)
    for number, step in enumerate(steps):
        act(exchange, step, number)
        check(exchange, told)
    for account in exchange.accounts.values():
        assert [fill.n for fill in account.fills] == list(range(1, len(account.fills) + 1))
        for symbol in "LI":
            ledger, fills = account.ledgers[symbol], [f for f in account.fills if f.symbol == symbol]
            assert ledger.lots == sum(wire.SIDE_SIGN[f.side] * int(f.qty) for f in fills)
            assert abs(ledger.fees - sum((Decimal(f.fee) for f in fills), Decimal(0))) < Decimal("1e-20")
            paid = sum((Decimal(p.amount) for p in account.funding if p.symbol == symbol), Decimal(0))
            assert abs(ledger.funding - paid) < Decimal("1e-20")
