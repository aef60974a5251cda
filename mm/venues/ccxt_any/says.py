"""From what ccxt parsed to frames, and from what came back from a request to what became of it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

import msgspec
from ccxt.base.errors import ExchangeError, InvalidNonce

from mm.errors import VenueUnreachable
from mm.venues import replies
from mm.venues.base import OrderRequest
from mm.venues.ccxt_any import wire
from mm.venues.ccxt_any.exchange import Markets, number
from mm.venues.ccxt_calls import Answer

LEVELS: Final = 50  # of a side in a frame

Rows = Iterable[Mapping[str, Any]]


def book(symbol: str, markets: Markets, found: Mapping[str, Any], *, fresh: bool) -> bytes:
    """The best levels of a book."""
    unified = markets.unified(symbol)
    bids, asks = (
        [(number(row[0]), markets.size(unified, row[1])) for row in found[side][:LEVELS]] for side in ("bids", "asks")
    )
    return wire.encode(wire.Book(symbol=symbol, ts=found.get("timestamp") or 0, fresh=fresh, bids=bids, asks=asks))


def trades(symbol: str, markets: Markets, rows: Rows) -> bytes:
    """Public trades."""
    out = [
        wire.Trade(
            id=row.get("id") or "", ts=row.get("timestamp") or 0, side=str(row.get("side")), px=number(row["price"]),
            qty=markets.size(row["symbol"], row["amount"]),
        )
        for row in rows
    ]  # fmt: skip
    return wire.encode(wire.Trades(symbol=symbol, rows=out))


def mark(symbol: str, ticker: Mapping[str, Any]) -> bytes:
    """A mark price, b"" when there is none."""
    if ticker.get("markPrice") is None:
        return b""
    return wire.encode(wire.Mark(symbol=symbol, ts=ticker.get("timestamp") or 0, px=number(ticker["markPrice"])))


def order(markets: Markets, row: Mapping[str, Any]) -> wire.Order:
    """An order of the account."""
    unified = row.get("symbol")
    return wire.Order(
        id=str(row.get("id") or ""), cid=str(row.get("clientOrderId") or ""), symbol=markets.symbol(unified),
        side=str(row.get("side")), px=number(row.get("price") or 0), qty=markets.size(unified, row.get("amount") or 0),
        filled=markets.size(unified, row.get("filled") or 0), status=str(row.get("status") or "open"),
        ts=row.get("lastUpdateTimestamp") or row.get("timestamp") or 0,
    )  # fmt: skip


def orders(markets: Markets, rows: Rows) -> bytes:
    """``watch_orders``."""
    return wire.encode(wire.Orders(rows=[order(markets, row) for row in rows if markets.symbol(row.get("symbol"))]))


def own_trade(markets: Markets, row: Mapping[str, Any]) -> wire.OwnTrade:
    """An execution."""
    fee, role = row.get("fee") or {}, row.get("takerOrMaker")
    return wire.OwnTrade(
        id=str(row["id"]), order=str(row.get("order") or ""), symbol=markets.symbol(row["symbol"]),
        side=str(row.get("side")), px=number(row["price"]), qty=markets.size(row["symbol"], row["amount"]),
        maker=None if role is None else role == "maker", fee=number(fee.get("cost") or 0),
        currency=str(fee.get("currency") or ""), ts=row.get("timestamp") or 0,
    )  # fmt: skip


def own_trades(markets: Markets, rows: Rows) -> bytes:
    """``watch_my_trades``."""
    found = [own_trade(markets, row) for row in rows if markets.symbol(row.get("symbol"))]
    return wire.encode(wire.OwnTrades(rows=found))


def signed_size(markets: Markets, row: Mapping[str, Any]) -> str:
    """A position's size: ccxt tells it without sign."""
    size = Decimal(markets.size(row.get("symbol"), row.get("contracts") or 0))
    return format(-size if row.get("side") == "short" else size, "f")


def positions(markets: Markets, rows: Rows) -> bytes:
    """``watch_positions``."""
    out = [
        wire.Amount(name=markets.symbol(r.get("symbol")), amount=signed_size(markets, r), ts=r.get("timestamp") or 0)
        for r in rows
    ]
    return wire.encode(wire.Positions(rows=out))


def balances(found: Mapping[str, Any]) -> bytes:
    """``watch_balance``."""
    totals = found.get("total") or {}
    rows = [wire.Amount(name=str(k), amount=number(v)) for k, v in totals.items() if v is not None]
    return wire.encode(wire.Balances(rows=rows))


def liquidations(markets: Markets, rows: Rows) -> bytes:
    """``watch_my_liquidations``."""
    out = []
    for row in rows:
        unified = row.get("symbol")
        size = markets.size(unified, row.get("contracts") or 0)
        out.append(wire.Amount(name=markets.symbol(unified), amount=size, ts=row.get("timestamp") or 0))
    return wire.encode(wire.Liquidations(rows=out))


# --- requests --------------------------------------------------------------------------------------------------------
def off_grid(markets: Markets, asked: OrderRequest) -> str:
    """Why an order must not be sent: ccxt would round it; "" for a good one."""
    one = markets.instruments[asked.symbol]
    try:
        one.ticks(asked.price), one.lots(asked.size)
    except ValueError as exc:
        return str(exc)
    return ""


def judge(answer: Answer, reply: replies.Reply, markets: Markets) -> None:
    """Write into a request what became of it."""
    if answer.ok:
        reply.raymaker, reply.body = "ok", _body(answer.data, reply, markets)
        return
    reply.code, reply.text = type(answer.fault).__name__, answer.error or "an answer that cannot be read"
    if answer.end == "unsent" or (not answer.status and isinstance(answer.fault, ExchangeError)):
        reply.raymaker, reply.code = "no", "not sent"  # ccxt's own objection
    elif answer.end == "certain":
        reply.raymaker = "no"


def _body(data: Any, reply: replies.Reply, markets: Markets) -> Any:
    """The order in an answer; an exchange may tell its id alone, the rest is what was asked."""
    if not isinstance(data, dict) or reply.op not in {"place", "reduce"} or not data.get("id"):
        return None
    status = str(data.get("status") or "open")
    filled = data.get("filled")
    done = markets.size(markets.unified(reply.symbol), filled) if filled else "0"
    told = wire.Order(
        id=str(data["id"]), cid=reply.cid, symbol=reply.symbol, side=wire.SIDE_NAME[reply.side], px=reply.px,
        qty=reply.qty, filled=done, status=status, ts=data.get("timestamp") or 0,
    )  # fmt: skip
    return msgspec.to_builtins(told)


def stale_clock(answer: Answer) -> bool:
    """The exchange says that our time is wrong."""
    return isinstance(answer.fault, InvalidNonce)


def read(what: str, make: Any) -> Any:
    """``make()``; raises ``VenueUnreachable``: what cannot be read is no answer."""
    try:
        return make()
    except (ValueError, LookupError, TypeError, ArithmeticError) as exc:
        raise VenueUnreachable(f"ccxt: {what} that cannot be read: {exc!r}") from exc
