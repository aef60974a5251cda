"""Bybit v5 as it stands on the wire: the fields we read, names as the venue writes them.

Source: https://bybit-exchange.github.io/docs/v5 (websocket/public, websocket/private, websocket/trade, order).
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Final

import msgspec

from mm.venues.native.wire import decimal

Ms = Annotated[int, msgspec.Meta(ge=0, le=9_000_000_000_000)]  # in nanoseconds it fits 64 bits
Count = Annotated[int, msgspec.Meta(ge=0, le=(1 << 62))]
Level = tuple[str, str]  # price, size; size "0" removes the level

SIDE_SIGN: Final = {"Buy": 1, "Sell": -1}
SIDE_NAME: Final = {1: "Buy", -1: "Sell"}
CATEGORY: Final = "linear"
POST_ONLY_CROSSED: Final = "EC_PostOnlyWillTakeLiquidity"
UNKNOWN_CODES: Final = frozenset({10000, 10016})  # server timeout, internal error: it may have been done
TOO_LATE: Final = 110001  # order not exists or too late to cancel or amend
NOT_MODIFIED: Final = frozenset({110043, 110026, 10032, 34040})  # leverage, margin mode, position: so already
STALE_CLOCK: Final = 10002


class Push(msgspec.Struct):
    """What any message may hold; ``data`` waits for its topic."""

    topic: str = ""
    type: str = ""
    ts: Ms = 0
    cts: Ms = 0
    data: msgspec.Raw = msgspec.Raw(b"null")
    op: str = ""
    success: bool = True
    ret_msg: str = ""
    retCode: int = 0
    retMsg: str = ""


class Book(msgspec.Struct):
    """``orderbook.50.X``: snapshot or delta; ``u`` goes up by one with each message."""

    s: str
    b: list[Level]
    a: list[Level]
    u: Count


class Trade(msgspec.Struct):
    """``publicTrade.X``: ``S`` is the taker's side."""

    T: Ms
    s: str
    S: str
    v: str
    p: str
    i: str = ""


class Ticker(msgspec.Struct):
    """``tickers.X``: a delta holds only what changed."""

    symbol: str
    markPrice: str = ""
    fundingRate: str = ""
    nextFundingTime: str = ""


class Order(msgspec.Struct):
    """``order``, and the rows of ``/v5/order/realtime`` and ``/v5/order/history``."""

    symbol: str
    orderId: str
    side: str
    orderStatus: str
    orderLinkId: str = ""
    category: str = CATEGORY
    price: str = ""
    qty: str = ""
    leavesQty: str = ""
    cumExecQty: str = ""
    rejectReason: str = ""
    cancelType: str = ""
    createType: str = ""
    updatedTime: str = "0"


class Execution(msgspec.Struct):
    """``execution``, and the rows of ``/v5/execution/list``."""

    symbol: str
    execId: str
    execType: str
    side: str = ""
    orderId: str = ""
    orderLinkId: str = ""
    category: str = CATEGORY
    execPrice: str = ""
    execQty: str = ""
    execFee: str = ""
    isMaker: bool = False
    execTime: str = "0"


class Position(msgspec.Struct):
    """``position``, and the rows of ``/v5/position/list``; side "" is flat."""

    symbol: str
    side: str = ""
    size: str = ""
    category: str = CATEGORY
    avgPrice: str = ""  # of the list
    entryPrice: str = ""  # of the stream
    positionStatus: str = ""
    updatedTime: str = "0"


class Coin(msgspec.Struct):
    """A currency of a wallet."""

    coin: str
    walletBalance: str = ""


class Wallet(msgspec.Struct):
    """``wallet``, and the rows of ``/v5/account/wallet-balance``."""

    coin: list[Coin] = []


class TradeAnswer(msgspec.Struct):
    """What the order socket says; anything else it may hold is not looked at."""

    reqId: str = ""
    retCode: int = 0
    retMsg: str = ""
    op: str = ""
    data: Any = None
    retExtInfo: Any = None


def number(text: str) -> Decimal:
    """A number that the venue may leave empty; raises ``ValueError``."""
    return decimal(text) if text else Decimal(0)


def time_ns(text: str) -> int:
    """Milliseconds as text to nanoseconds; raises ``ValueError``."""
    if not text.isascii() or not text.isdigit() or len(text) > 13:
        raise ValueError(f"{text!r} is not a time in ms")
    return int(text) * 1_000_000
