"""What ApeX Omni says, as types: frames of both WebSockets and the answers of REST, whatever else they hold ignored.

Prices and sizes are decimal strings. Times are milliseconds, except ``ts`` of a public frame: microseconds. Markets are
``BTC-USDT`` in orders and ``BTCUSDT`` in topics.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Final

import msgspec

Stamp = Annotated[int, msgspec.Meta(ge=0, le=9_000_000_000_000_000)]
Level = tuple[str, str]  # price, size; size "0" removes the level

SIDE_SIGN: Final = {"BUY": 1, "SELL": -1}
SIDE_NAME: Final = {1: "BUY", -1: "SELL"}
ACCOUNT_TOPIC: Final = "ws_zk_accounts_v3"
BOOK_DEPTH: Final = 200
BOOK_TOPIC: Final = f"orderBook{BOOK_DEPTH}.H."
TRADE_TOPIC: Final = "recentlyTrade.H."
TICKER_TOPIC: Final = "instrumentInfo.H."
_LEAST_MICROSECONDS: Final = 100_000_000_000_000  # a smaller stamp counts milliseconds (1973 against 5138)


class Frame(msgspec.Struct):
    """Any frame: a push has a topic, an answer says whether it succeeded, a ping an operation."""

    topic: str = ""
    type: str = ""
    ts: Stamp = 0
    timestamp: Stamp = 0
    data: msgspec.Raw = msgspec.Raw()
    contents: msgspec.Raw = msgspec.Raw()
    op: str = ""
    success: bool | str | None = None
    ret_msg: str = ""


class Book(msgspec.Struct):
    """A whole book, or the levels that changed: ``u`` goes up by one from push to push."""

    u: Annotated[int, msgspec.Meta(ge=0, le=(1 << 62))]
    s: str = ""
    b: list[Level] = []
    a: list[Level] = []


class Trade(msgspec.Struct):
    """One match; ``S`` is the aggressor's side."""

    p: str
    v: str
    S: str
    i: str
    T: Stamp


class Ticker(msgspec.Struct):
    """Prices and funding of a market; a delta holds what changed."""

    markPrice: str = ""
    oraclePrice: str = ""
    indexPrice: str = ""
    fundingRate: str = ""
    nextFundingTime: str = ""


class Order(msgspec.Struct, rename="camel"):
    """One order as pushes and queries state it. Pushes call our id ``clientId`` or, in the documentation, otherwise."""

    id: str
    symbol: str
    side: str
    price: str
    size: str
    status: str
    client_id: str = ""
    client_order_id: str = ""
    cum_success_fill_size: str = "0"
    cum_match_fill_size: str = "0"
    time_in_force: str | int = ""
    cancel_reason: str = ""
    is_liquidate: bool = False
    updated_at: Stamp = 0
    updated_time: Stamp = 0
    created_at: Stamp = 0

    @property
    def cid(self) -> str:
        """Our own id."""
        return self.client_id or self.client_order_id

    @property
    def filled(self) -> Decimal:
        """What traded; a match counts before it is settled."""
        return max(Decimal(self.cum_success_fill_size or "0"), Decimal(self.cum_match_fill_size or "0"))

    @property
    def ts_ns(self) -> int:
        """When it changed."""
        return (self.updated_at or self.updated_time or self.created_at) * 1_000_000


class Fill(msgspec.Struct, rename="camel"):
    """One execution; a push names the order by the venue's id only."""

    id: str
    symbol: str
    side: str
    price: str
    size: str
    fee: str
    liquidity: str
    order_id: str = ""
    client_id: str = ""
    client_order_id: str = ""
    created_at: Stamp = 0

    @property
    def cid(self) -> str:
        """Our own id, where the venue states it."""
        return self.client_id or self.client_order_id


class Position(msgspec.Struct, rename="camel"):
    """One side of a position. ``funding_fee``: what it received since it was opened."""

    symbol: str
    side: str
    size: str
    entry_price: str = "0"
    funding_fee: str = ""
    net_funding: str = ""
    custom_imr: str = ""
    custom_initial_margin_rate: str = ""
    updated_at: Stamp = 0


class Wallet(msgspec.Struct):
    """What the account holds of a token, without unrealised profit."""

    balance: str
    token: str = ""
    asset: str = ""


class Contents(msgspec.Struct, rename="camel"):
    """The body of a push about the account."""

    orders: list[Order] | None = None
    fills: list[Fill] | None = None
    positions: list[Position] | None = None
    contract_wallets: list[Wallet] | None = None
    wallets: list[Wallet] | None = None


class Answer(msgspec.Struct):
    """The body of a REST answer: ``data``, or a complaint with its number and key."""

    data: msgspec.Raw = msgspec.Raw()
    code: int | str | None = None
    msg: str = ""
    key: str = ""

    @property
    def refused(self) -> bool:
        """The venue says no."""
        return self.code is not None and str(self.code) != "0"

    @property
    def complaint(self) -> str:
        """Why, in the venue's shortest words."""
        return self.key or self.msg or f"code {self.code}"


UNDECIDED_CODES: Final = frozenset({"403", "429", "500", "503", "10003", "10004"})  # the request may have been taken
UNDECIDED_KEYS: Final = frozenset({"UNKNOWN"})
NOT_FOUND: Final = "ORDER_NOT_FOUND"

decode_frame = msgspec.json.Decoder(Frame).decode
decode_book = msgspec.json.Decoder(Book).decode
decode_trades = msgspec.json.Decoder(list[Trade]).decode
decode_ticker = msgspec.json.Decoder(Ticker).decode
decode_contents = msgspec.json.Decoder(Contents).decode
decode_answer = msgspec.json.Decoder(Answer).decode
DECODE_ERRORS: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)  # whatever bytes can cause


def topic_symbol(symbol: str) -> str:
    """``BTC-USDT`` as topics and market data spell it."""
    return symbol.replace("-", "")


def stamp_ns(ts: int) -> int:
    """Nanoseconds of a public frame's stamp."""
    return ts * 1_000 if ts >= _LEAST_MICROSECONDS else ts * 1_000_000


def time_ns(text: str) -> int:
    """Nanoseconds of ``2026-11-20T08:00:00Z``; raises ``ValueError``."""
    when = datetime.fromisoformat(text)
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return round(when.timestamp()) * 1_000_000_000
