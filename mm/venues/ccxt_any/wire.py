"""Frames that the generic client makes of what ccxt parsed: JSON, numbers as strings, symbols the venue's own."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

Ms = Annotated[int, msgspec.Meta(ge=0, le=9_000_000_000_000)]
Level = tuple[str, str]


class Frame(msgspec.Struct, tag_field="ccxt", kw_only=True, omit_defaults=True):
    """What one ``watch_*`` call returned."""


class Book(Frame, tag="book", kw_only=True, omit_defaults=True):
    """The best levels of both sides, whole every time, best first. ``fresh``: the exchange's book began anew."""

    symbol: str
    ts: Ms = 0
    fresh: bool = False
    bids: list[Level] = []
    asks: list[Level] = []


class Trade(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A public trade; ``side`` is the aggressor's."""

    id: str = ""
    ts: Ms = 0
    side: str
    px: str
    qty: str


class Trades(Frame, tag="trades", kw_only=True, omit_defaults=True):
    """Public trades of a symbol, oldest first."""

    symbol: str
    rows: list[Trade]


class Mark(Frame, tag="mark", kw_only=True, omit_defaults=True):
    """A mark price."""

    symbol: str
    ts: Ms = 0
    px: str


class Order(msgspec.Struct, kw_only=True, omit_defaults=True):
    """An order of the account as ccxt sees it: ``status`` open, closed, canceled, expired or rejected."""

    id: str
    cid: str = ""
    symbol: str
    side: str
    px: str = "0"
    qty: str
    filled: str = "0"
    status: str
    ts: Ms = 0


class Orders(Frame, tag="orders", kw_only=True, omit_defaults=True):
    """``watch_orders``."""

    rows: list[Order]


class OwnTrade(msgspec.Struct, kw_only=True, omit_defaults=True):
    """An execution. ``maker``: the unified field, which some exchanges of ccxt fill wrongly; None: it says nothing."""

    id: str
    order: str = ""
    symbol: str
    side: str
    px: str
    qty: str
    maker: bool | None = None
    fee: str = "0"
    currency: str = ""
    ts: Ms = 0


class OwnTrades(Frame, tag="fills", kw_only=True, omit_defaults=True):
    """``watch_my_trades``."""

    rows: list[OwnTrade]


class Amount(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A position (``name`` is a symbol) or a balance (a currency)."""

    name: str
    amount: str = "0"
    ts: Ms = 0


class Positions(Frame, tag="positions", kw_only=True, omit_defaults=True):
    """``watch_positions``: signed sizes."""

    rows: list[Amount]


class Balances(Frame, tag="balances", kw_only=True, omit_defaults=True):
    """``watch_balance``: totals."""

    rows: list[Amount]


class Liquidations(Frame, tag="liquidations", kw_only=True, omit_defaults=True):
    """``watch_my_liquidations``."""

    rows: list[Amount]


Public = Book | Trades | Mark
Private = Orders | OwnTrades | Positions | Balances | Liquidations
SIDE_SIGN: Final = {"buy": 1, "sell": -1}
SIDE_NAME: Final = {1: "buy", -1: "sell"}
encode: Final = msgspec.json.Encoder().encode
