"""REST answers of MEXC spot, read strictly. Pure."""

from __future__ import annotations

import contextlib
from decimal import Decimal
from typing import Any, Final, Literal

import msgspec

from mm.core.instrument import Instrument
from mm.errors import ConfigError, VenueUnreachable
from mm.venues.base import FillRecord, OpenOrder, OrderState
from mm.venues.mexc.codec import quote_fee
from mm.venues.native.wire import decimal

ORDER_ID_HEAD: Final = "C02__"  # of the venue's own order ids
STALE_CLOCK: Final = "700003"
UNKNOWN_ORDER: Final = ("-2011", "-2013")
UNKNOWN_CODES: Final = ("500", "501", "503", "504", "730000")  # the venue failed: it may have done it

SIDE: Final = {"BUY": 1, "SELL": -1}
SIDE_NAME: Final = {1: "BUY", -1: "SELL"}
_STATUS: Final[dict[str, Literal["open", "filled", "canceled"]]] = {
    "NEW": "open", "PARTIALLY_FILLED": "open", "FILLED": "filled", "CANCELED": "canceled",
    "PARTIALLY_CANCELED": "canceled",
}  # fmt: skip

Text = str | int | float  # the venue writes numbers either way


class Market(msgspec.Struct, rename="camel"):
    """One symbol of ``exchangeInfo``."""

    symbol: str
    status: Text
    base_asset: str
    quote_asset: str
    base_asset_precision: Text
    quote_asset_precision: Text
    quote_amount_precision: Text
    maker_commission: Text
    taker_commission: Text
    is_spot_trading_allowed: bool = True
    order_types: list[str] = []

    @property
    def trades(self) -> bool:
        """A maker can trade it."""
        return str(self.status) == "1" and self.is_spot_trading_allowed and "LIMIT_MAKER" in self.order_types

    def instrument(self) -> Instrument:
        """Steps are powers of ten; fees are those that the venue lists for everybody."""
        return Instrument(
            symbol=self.symbol,
            venue="mexc",
            kind="spot",
            tick_size=Decimal(1).scaleb(-int(self.quote_asset_precision)),
            lot_size=Decimal(1).scaleb(-int(self.base_asset_precision)),
            min_notional=number(self.quote_amount_precision),
            base=self.base_asset,
            quote=self.quote_asset,
            maker_fee=number(self.maker_commission),
            taker_fee=number(self.taker_commission),
        )


def instruments(rows: Any) -> list[Instrument]:
    """The markets that a maker can trade; one that cannot be read hides no other. Raises ``VenueUnreachable``."""
    out = []
    for row in read(rows, list[Any]):
        with contextlib.suppress(msgspec.ValidationError, VenueUnreachable, ConfigError, ValueError):
            market = msgspec.convert(row, Market)
            if market.trades:
                out.append(market.instrument())
    return out


class Order(msgspec.Struct, rename="camel"):
    """One order of a query."""

    symbol: str
    order_id: str
    side: str
    price: Text
    orig_qty: Text
    executed_qty: Text
    status: str
    client_order_id: str | None = None

    def open_order(self, cid: str) -> OpenOrder:
        """As a working order."""
        left = number(self.orig_qty) - number(self.executed_qty)
        return OpenOrder(cid, self.order_id, self.symbol, side(self.side), number(self.price), left)

    def state(self, cid: str) -> OrderState:
        """As an answer about one order."""
        if self.status not in _STATUS:
            raise VenueUnreachable(f"mexc: order status {self.status[:40]!r} in an answer")
        return OrderState(
            cid,
            self.order_id,
            self.symbol,
            side(self.side),
            number(self.price),
            number(self.orig_qty),
            number(self.executed_qty),
            _STATUS[self.status],
        )


class OwnTrade(msgspec.Struct, rename="camel"):
    """One row of ``myTrades``."""

    symbol: str
    id: str
    order_id: str
    price: Text
    qty: Text
    commission: Text | None
    commission_asset: str | None
    time: int
    is_buyer: bool
    is_maker: bool
    client_order_id: str | None = None

    def fill(self, instrument: Instrument, cid: str) -> FillRecord:
        """As a fill, its fee in quote currency."""
        price = number(self.price)
        fee, _ = quote_fee(instrument, number(self.commission or 0), self.commission_asset or "", price)
        return FillRecord(
            cid,
            self.id,
            self.symbol,
            1 if self.is_buyer else -1,
            price,
            number(self.qty),
            fee,
            self.is_maker,
            self.time * 1_000_000,
        )


class Depth(msgspec.Struct):
    """The best levels of a book: price, quantity."""

    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]


class Balance(msgspec.Struct):
    """One coin of an account."""

    asset: str
    free: Text
    locked: Text

    @property
    def total(self) -> Decimal:
        """Free and frozen."""
        return number(self.free) + number(self.locked)


class Account(msgspec.Struct, rename="camel"):
    """``GET /api/v3/account``."""

    balances: list[Balance]
    can_trade: bool = True
    permissions: list[str] = []


def read(data: Any, kind: Any) -> Any:
    """An answer as a type; raises ``VenueUnreachable``: what cannot be read is no answer."""
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as exc:
        raise VenueUnreachable(f"mexc: an answer that cannot be read: {exc}") from exc


def number(value: Text) -> Decimal:
    """A number of an answer; raises ``VenueUnreachable``."""
    try:
        return decimal(str(value))
    except ValueError as exc:
        raise VenueUnreachable(f"mexc: {exc} in an answer") from exc


def side(name: str) -> int:
    """+1 or -1; raises ``VenueUnreachable``."""
    if name not in SIDE:
        raise VenueUnreachable(f"mexc: side {name[:40]!r} in an answer")
    return SIDE[name]


def complaint(body: str) -> tuple[str, str]:
    """(code, message) of a refusal, both empty when the body is none."""
    try:
        said = msgspec.json.decode(body, type=_Complaint)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return "", ""
    return str(said.code), said.msg or said.message


class _Complaint(msgspec.Struct):
    code: int | str
    msg: str | None = ""
    message: str = ""
