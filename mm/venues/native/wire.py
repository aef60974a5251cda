"""The local exchange's own protocol: loopback TCP, a 4-byte big-endian length, then one JSON message.

Prices and sizes travel as decimal strings, times as integer nanoseconds since the epoch (UTC). A client sends requests
(field ``op``); a request that carries a ``req_id`` gets exactly one ``reply`` or ``error`` with that number. The server
sends messages (field ``type``). The exchange and the venue adapter share this file.
"""

from __future__ import annotations

import struct
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Final, Literal

import msgspec

from mm.core.instrument import Instrument

MAX_REQUEST: Final = 4 << 20  # bytes; a longer request ends its connection
MAX_MESSAGE: Final = 64 << 20  # bytes; a longer message from the exchange is a fault
LENGTH: Final = struct.Struct(">I")
MAX_REMEMBERED: Final = 100_000  # strings per table of ``Units``
_MAX_TEXT: Final = 40  # characters of a decimal
_MAX_DIGITS: Final = 18  # before the point: everything fits 64 bits

Whole = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
Side = Literal["buy", "sell"]
SIDE_SIGN: Final[dict[str, int]] = {"buy": 1, "sell": -1}
SIDE_NAME: Final[dict[int, Side]] = {1: "buy", -1: "sell"}
Level = tuple[str, str]  # price, quantity; quantity "0" removes the level


# --- requests --------------------------------------------------------------------------------------------------------
class Request(msgspec.Struct, tag_field="op", kw_only=True, omit_defaults=True):
    """Base of every request."""

    req_id: Whole | None = None


class Instruments(Request, tag="instruments"):
    """All instruments."""


class Time(Request, tag="time"):
    """The exchange's clock."""


class Subscribe(Request, tag="subscribe"):
    """The public stream of these symbols, each beginning with a snapshot."""

    symbols: list[str]


class Resync(Request, tag="snapshot"):
    """A fresh snapshot of one book on this connection."""

    symbol: str


class Login(Request, tag="login"):
    """This connection speaks for an account from now on."""

    token: str


class Place(Request, tag="place"):
    """A limit order; its outcome arrives as ``order`` and ``fill`` messages."""

    symbol: str
    cid: str
    side: Side
    px: str
    qty: str
    post_only: bool = False
    tif: Literal["GTC", "IOC", "FOK"] = "GTC"
    reduce_only: bool = False


class Cancel(Request, tag="cancel"):
    """Cancel by client order id; answered by ``order`` (canceled) or ``cancel_reject``, which repeats ``symbol``."""

    cid: str
    symbol: str = ""


class Amend(Request, tag="amend"):
    """New price and open size; answered by ``order`` (open) or ``amend_reject``, which repeats ``symbol``."""

    cid: str
    px: str
    qty: str
    symbol: str = ""


class CancelAll(Request, tag="cancel_all"):
    """Cancel every open order of the account."""


class DeadMan(Request, tag="dead_man"):
    """Cancel everything unless renewed within ``timeout_s``; 0 disarms."""

    timeout_s: Annotated[float, msgspec.Meta(ge=0, le=86_400)]


class OpenOrders(Request, tag="open_orders"):
    """Open orders of the account."""


class OrderQuery(Request, tag="order"):
    """One order of the account, working or ended; the answer is ``OrderAnswer`` or null."""

    cid: str


class FeesQuery(Request, tag="fees"):
    """Maker and taker fee of the account in a symbol."""

    symbol: str


class PositionQuery(Request, tag="position"):
    """Position and balance in one symbol."""

    symbol: str


class Fills(Request, tag="fills"):
    """Executions since a time, oldest first, in pages: ``after`` is the last ``n`` already known."""

    since: Whole = 0
    after: Whole = 0


class SetLeverage(Request, tag="set_leverage"):
    """Leverage of the account in a contract, margin is isolated; the answer repeats it."""

    symbol: str
    leverage: Annotated[int, msgspec.Meta(ge=1, le=1000)]


class AccountQuery(Request, tag="account"):
    """Money of the account in the settlement currency of a symbol; the answer is ``AccountView``."""

    symbol: str


class FundingQuery(Request, tag="funding_paid"):
    """Funding settlements of the account since a time, oldest first; the answer is a list of ``FundingPaid``."""

    since: Whole = 0


class Shutdown(Request, tag="shutdown"):
    """End the exchange (control token)."""

    token: str


class Stats(Request, tag="stats"):
    """Counters of the exchange (control token)."""

    token: str


class Play(Request, tag="play"):
    """Anonymous flow by hand, (kind, tick, lots) of ``mm.core.types`` (control token)."""

    token: str
    symbol: str
    rows: list[tuple[int, int, int]]


class Fault(Request, tag="fault"):
    """Faults of the venue's wire (``mm.sandbox.faults``); ``drop`` ends sockets now (control token)."""

    token: str
    set: dict[str, bool | int | float] = {}
    drop: Literal["", "public", "private", "all"] = ""
    hard: bool = False  # abort without a closing handshake


AnyRequest = (
    Instruments
    | Time
    | Subscribe
    | Resync
    | Login
    | Place
    | Amend
    | Cancel
    | CancelAll
    | DeadMan
    | OpenOrders
    | OrderQuery
    | FeesQuery
    | PositionQuery
    | Fills
    | SetLeverage
    | AccountQuery
    | FundingQuery
    | Shutdown
    | Stats
    | Play
    | Fault
)


# --- messages --------------------------------------------------------------------------------------------------------
class Message(msgspec.Struct, tag_field="type"):
    """Base of every message from the exchange; ``type`` comes first on the wire."""


class Snapshot(Message, tag="snapshot"):
    """A whole book, best first; deltas go on from ``seq``."""

    symbol: str
    seq: Whole
    ts: Whole
    bids: list[Level]
    asks: list[Level]


class Depth(Message, tag="depth"):
    """Levels that changed; ``prev_seq`` is the ``seq`` of the message before it."""

    symbol: str
    seq: Whole
    prev_seq: Whole
    ts: Whole
    bids: list[Level]
    asks: list[Level]


class Trade(msgspec.Struct):
    """One match; ``side`` is the aggressor's."""

    id: Whole
    side: Side
    px: str
    qty: str


class Trades(Message, tag="trades"):
    """Matches in order."""

    symbol: str
    ts: Whole
    trades: list[Trade]


class Mark(Message, tag="mark"):
    """A new mark price."""

    symbol: str
    ts: Whole
    px: str


class Funding(Message, tag="funding"):
    """A settlement: the holder of a long position pays ``rate`` of its value at ``mark``."""

    symbol: str
    ts: Whole
    rate: str
    mark: str


class OrderUpdate(Message, tag="order"):
    """State of an order; ``qty`` is still open (canceled: what was)."""

    symbol: str
    cid: str
    oid: Whole
    side: Side
    px: str
    qty: str
    status: Literal["open", "rejected", "canceled", "filled"]
    reason: str
    ts: Whole


class OrderAnswer(msgspec.Struct):
    """The answer to ``OrderQuery``; ``qty`` is what was accepted."""

    cid: str
    oid: Whole
    side: Side
    px: str
    qty: str
    filled: str
    status: Literal["open", "filled", "canceled", "rejected"]
    reason: str


class CancelReject(Message, tag="cancel_reject"):
    """Nothing to cancel: the order is unknown, filled, canceled or was rejected."""

    symbol: str
    cid: str
    reason: str
    ts: Whole


class AmendReject(Message, tag="amend_reject"):
    """The order stays as it was, or there is none (see ``CancelReject``)."""

    symbol: str
    cid: str
    reason: str
    ts: Whole


class Fill(Message, tag="fill"):
    """One execution of an order; ``n`` numbers the account's fills, ``fee`` is negative for a rebate."""

    symbol: str
    cid: str
    oid: Whole
    n: Whole
    trade_id: Whole
    side: Side
    px: str
    qty: str
    remaining: str
    fee: str
    maker: bool
    pos: str
    ts: Whole


class Position(Message, tag="position"):
    """Position after fills, funding or a change of leverage; ``balance`` is without unrealised profit.

    The rest is of contracts: at ``mark``, in the settlement currency; ``liquidation`` is a price, null: none.
    """

    symbol: str
    size: str
    entry: str | None
    balance: str
    ts: Whole
    mark: str | None = None
    leverage: int = 1
    margin: str = "0"
    maintenance: str = "0"
    unrealised: str = "0"
    liquidation: str | None = None


class FundingPaid(Message, tag="funding_paid"):
    """What the holder of a position received at a settlement (negative: paid)."""

    symbol: str
    amount: str
    rate: str
    mark: str
    size: str
    ts: Whole


class Liquidation(Message, tag="liquidation"):
    """A position was taken over: ``size`` (signed) closed at ``px``; a ``fill`` without an order follows.

    ``loss`` counts from entry, the fee with it.
    """

    symbol: str
    size: str
    px: str
    mark: str
    loss: str
    ts: Whole


class AccountView(msgspec.Struct):
    """The answer to ``AccountQuery``: ``equity`` is balance and unrealised profit, ``initial`` counts open orders."""

    currency: str
    balance: str
    equity: str
    available: str
    initial: str
    maintenance: str
    unrealised: str


class Reply(Message, tag="reply"):
    """The answer to one request."""

    req_id: Whole
    data: Any


class Error(Message, tag="error"):
    """A request that could not be served, or a frame that could not be read (``req_id`` null)."""

    req_id: Whole | None
    code: str
    message: str


AnyMessage = (
    Snapshot
    | Depth
    | Trades
    | Mark
    | Funding
    | OrderUpdate
    | CancelReject
    | AmendReject
    | Fill
    | Position
    | FundingPaid
    | Liquidation
    | Reply
    | Error
)
DECODE_ERRORS: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)  # whatever bytes can cause


def frame(message: msgspec.Struct) -> bytes:
    """A message or request with its length before it."""
    body = msgspec.json.encode(message)
    return LENGTH.pack(len(body)) + body


class FrameTooLong(ValueError):
    """A length prefix above the limit: the stream cannot be followed any more."""


class Splitter:
    """Cuts a byte stream into frames."""

    __slots__ = ("_buffer", "_limit")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The frames that ``data`` completes; raises ``FrameTooLong``."""
        if self._buffer:
            data = self._buffer + data
        frames = []
        at, end = 0, len(data)
        while end - at >= 4:
            size = LENGTH.unpack_from(data, at)[0]
            if size > self._limit:
                raise FrameTooLong(f"frame of {size} bytes, the limit is {self._limit}")
            if end - at - 4 < size:
                break
            frames.append(data[at + 4 : at + 4 + size])
            at += 4 + size
        self._buffer = data[at:]
        return frames


class Units:
    """Decimal strings of one instrument to ticks and lots and back, remembering the common ones."""

    __slots__ = ("_lots", "_price", "_size", "_ticks", "instrument")

    def __init__(self, instrument: Instrument) -> None:
        self.instrument = instrument
        self._ticks: dict[str, int] = {}
        self._lots: dict[str, int] = {}
        self._price: dict[int, str] = {}
        self._size: dict[int, str] = {}

    def ticks(self, text: str) -> int:
        """Exact ticks of a price string; raises ``ValueError``."""
        known = self._ticks.get(text)
        if known is None:
            known = self.instrument.ticks(decimal(text))
            if not 0 <= known < 1 << 31:
                raise ValueError(f"price {text} is out of range")
            _remember(self._ticks, text, known)
        return known

    def lots(self, text: str) -> int:
        """Exact lots of a size string; raises ``ValueError``."""
        known = self._lots.get(text)
        if known is None:
            known = self.instrument.lots(decimal(text))
            if not 0 <= known < 1 << 62:
                raise ValueError(f"size {text} is out of range")
            _remember(self._lots, text, known)
        return known

    def price(self, ticks: int) -> str:
        """The string of a price in ticks."""
        known = self._price.get(ticks)
        if known is None:
            known = format(self.instrument.price(ticks), "f")
            _remember(self._price, ticks, known)
        return known

    def size(self, lots: int) -> str:
        """The string of a size in lots."""
        known = self._size.get(lots)
        if known is None:
            known = format(self.instrument.size(lots), "f")
            _remember(self._size, lots, known)
        return known


def decimal(text: str) -> Decimal:
    """A decimal string of sane length and size; raises ``ValueError``."""
    if len(text) > _MAX_TEXT:
        raise ValueError("a number of too many characters")
    try:
        value = Decimal(text)
    except InvalidOperation as exc:
        raise ValueError(f"{text!r} is not a decimal number") from exc
    if not value.is_finite() or abs(value.adjusted()) > _MAX_DIGITS:
        raise ValueError(f"{text!r} is not a usable number")
    return value


def _remember(cache: dict[Any, Any], key: Any, value: Any) -> None:
    if len(cache) >= MAX_REMEMBERED:
        cache.clear()
    cache[key] = value
