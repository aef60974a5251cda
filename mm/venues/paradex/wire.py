"""Paradex's JSON: control frames, private frames, and the REST answers that are read. Numbers are decimal strings.

Source: docs.paradex.trade, REST and WebSocket references; paradex-py 0.8.2, ``api/generated/responses.py``. Unknown
fields are ignored, because the venue adds some without notice.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

SIDE_SIGN: Final = {"BUY": 1, "SELL": -1}
BOOK: Final = "order_book.{}.deltas"  # the whole book, then every change; the bare name is the one SBE sockets take
PUBLIC: Final = (BOOK, "trades.{}", "markets_summary.{}", "funding_data.{}")
PRIVATE: Final = ("orders.ALL", "fills.ALL", "positions", "account", "funding_payments.ALL")

Side = Literal["BUY", "SELL"]


class RpcError(msgspec.Struct):
    """What the venue complains about."""

    code: int = 0
    message: str = ""
    data: Any = None

    def __str__(self) -> str:
        return f"{self.code} {self.message}" + (f" ({self.data})" if self.data else "")


class Params(msgspec.Struct):
    """Payload of a channel."""

    channel: str
    data: msgspec.Raw


class Frame(msgspec.Struct):
    """A message on a socket: of a channel (``params``), or the answer to a request."""

    params: Params | None = None
    error: RpcError | None = None


# --- public ----------------------------------------------------------------------------------------------------------
class BookLevel(msgspec.Struct):
    """A level; its size in ``deletes`` does not count."""

    side: Side
    price: str
    size: str = "0"


class Book(msgspec.Struct):
    """A whole book (s) or changes (d)."""

    market: str
    seq_no: int
    last_updated_at: int  # ms
    update_type: Literal["s", "d"]
    inserts: list[BookLevel] = []
    updates: list[BookLevel] = []
    deletes: list[BookLevel] = []


class Trade(msgspec.Struct):
    """One match; ``side`` is the aggressor's."""

    id: str
    market: str
    side: Side
    size: str
    price: str
    created_at: int
    trade_type: str = "FILL"


class Summary(msgspec.Struct):
    """Mark price."""

    symbol: str
    mark_price: str
    created_at: int


class Funding(msgspec.Struct):
    """Accrued funding of one unit."""

    market: str
    funding_index: str
    created_at: int


# --- private ---------------------------------------------------------------------------------------------------------
class Order(msgspec.Struct):
    """An order as it stands."""

    id: str
    market: str
    side: Side
    size: str
    price: str
    remaining_size: str
    status: Literal["NEW", "UNTRIGGERED", "OPEN", "CLOSED"]
    client_id: str = ""
    cancel_reason: str = ""
    avg_fill_price: str = ""
    last_updated_at: int = 0


class Fill(msgspec.Struct):
    """One execution of ours."""

    id: str
    market: str
    side: Side
    liquidity: Literal["MAKER", "TAKER"]
    price: str
    size: str
    fee: str
    created_at: int
    client_id: str = ""
    order_id: str = ""
    fill_type: str = "FILL"


class Position(msgspec.Struct):
    """What we hold; ``size`` is signed."""

    market: str
    size: str
    side: str = ""
    average_entry_price: str = ""
    last_updated_at: int = 0


class Account(msgspec.Struct):
    """Money of the account; ``total_collateral`` is without unrealised profit."""

    total_collateral: str
    status: str = ""
    updated_at: int = 0


class Payment(msgspec.Struct):
    """A funding payment that was settled."""

    market: str
    payment: str
    created_at: int


class Page(msgspec.Struct):
    """One page of a REST list."""

    results: list[Any] = []
    next: str | None = None
