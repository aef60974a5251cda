"""The contract that every venue fulfils: a spec, a pure codec, a client that does the I/O.

A *codec* turns raw frames into event and execution records and holds the sequence check; it never touches a socket or
a clock. A *client* moves raw frames and requests over the real wire and knows nothing of quotes. An actor owns one
public client (feed) or one trading client (executor) per account.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from mm.core.instrument import Instrument
from mm.core.types import EVENT, EXEC

OnFrame = Callable[[bytes, int], None]  # (raw frame, ts_recv_ns): called in the client's event loop, must not block


_NO_EVENTS: Final = np.zeros(0, EVENT)  # nothing in them can change: one for all
_NO_EXECS: Final = np.zeros(0, EXEC)


@dataclass(slots=True)
class Decoded:
    """What one raw frame said. Arrays may be empty; ``gap`` asks the feed for a new snapshot of that instrument."""

    events: NDArray[np.void] = field(default_factory=lambda: _NO_EVENTS)
    execs: NDArray[np.void] = field(default_factory=lambda: _NO_EXECS)
    exec_detail: list[ExecDetail] = field(default_factory=list)  # parallel to ``execs``
    gap: list[int] = field(default_factory=list)  # instrument indices whose sequence broke
    news: list[AccountNews] = field(default_factory=list)  # what else the venue said of the account
    unknown: list[str] = field(default_factory=list)  # client order ids of requests whose outcome must be asked for
    error: str = ""  # a frame that could not be decoded, or the venue's own complaint: counted and logged


@dataclass(frozen=True, slots=True)
class ExecDetail:
    """The exact and textual part of an execution report."""

    client_order_id: str
    venue_order_id: str = ""
    trade_id: str = ""
    fee: Decimal = Decimal(0)  # quote currency (linear, spot) or base (inverse); negative is a rebate
    reason: str = ""


@dataclass(frozen=True, slots=True)
class AccountNews:
    """Something about the account that is no order and no fill."""

    kind: Literal["position", "balance", "funding", "liquidation", "maintenance"]
    symbol: str = ""  # balance: the currency
    amount: Decimal = Decimal(0)  # position: signed size; balance: without unrealised PnL; funding: received
    ts_exch_ns: int = 0
    text: str = ""


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """One post-only limit order to be sent."""

    symbol: str
    client_order_id: str
    side: int
    price: Decimal
    size: Decimal


@dataclass(frozen=True, slots=True)
class OrderState:
    """One order, working or ended, as the venue answers for a client order id."""

    client_order_id: str
    venue_order_id: str
    symbol: str
    side: int
    price: Decimal
    size: Decimal  # as accepted
    filled: Decimal
    status: Literal["open", "filled", "canceled", "rejected"]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class FundingPayment:
    """One funding settlement of the account."""

    symbol: str
    amount: Decimal  # received; negative was paid
    ts_exch_ns: int


@dataclass(frozen=True, slots=True)
class Permissions:
    """What the venue says a key may do."""

    trade: bool
    withdraw: bool | None  # None: it does not say
    text: str  # in the venue's words


@dataclass(frozen=True, slots=True)
class Caps:
    """What a venue and its library can do. What it cannot raises ``NotImplementedError``."""

    batch: int = 0  # orders in one ``place_batch``; 0: none
    amend: bool = False
    dead_man_s: tuple[float, float] | None = None  # shortest and longest timeout; None: no dead-man switch
    dead_man_on_disconnect: bool = False  # it fires when the private socket is gone, not when a timer is not renewed
    leverage: bool = False  # leverage and isolated margin can be set
    funding: bool = False
    post_only_sync: bool = False  # a post-only order that would cross is refused in the answer itself
    short: bool = True  # False: spot


@dataclass(frozen=True, slots=True)
class OpenOrder:
    """One working order as the venue knows it."""

    client_order_id: str
    venue_order_id: str
    symbol: str
    side: int
    price: Decimal
    size: Decimal  # still open


@dataclass(frozen=True, slots=True)
class Position:
    """What an account holds in one symbol."""

    symbol: str
    size: Decimal  # signed, base or contracts
    entry_price: Decimal | None
    balance: Decimal  # account balance in the settlement currency, without unrealised PnL


@dataclass(frozen=True, slots=True)
class FillRecord:
    """One execution as the venue's history tells it."""

    client_order_id: str
    trade_id: str
    symbol: str
    side: int
    price: Decimal
    size: Decimal
    fee: Decimal
    maker: bool
    ts_exch_ns: int


class Budget(Protocol):
    """The rate budget of an account, shared by all its processes. Kinds: place, amend, cancel, cancel_all, query."""

    async def take(self, kind: str) -> None:
        """Wait until one request of that kind may be sent."""

    def note(self, kind: str) -> None:
        """Count one that goes in any case."""


class Codec(Protocol):
    """Pure: same frames, same result."""

    def decode_public(self, raw: bytes, ts_recv_ns: int) -> Decoded: ...
    def decode_private(self, raw: bytes, ts_recv_ns: int) -> Decoded: ...
    def reset(self) -> None:
        """A new connection: forget sequence numbers; the next book frame must be a snapshot."""


class PublicClient(Protocol):
    """Market data over the real wire."""

    async def instruments(self) -> list[Instrument]: ...
    async def run(self, on_frame: OnFrame) -> None:
        """Connect, subscribe and deliver frames until the connection ends (raises ``VenueUnreachable``)."""

    async def resync(self, symbol: str) -> None:
        """Ask for a fresh snapshot of one book."""

    async def close(self) -> None: ...


class NotOffered:
    """What few venues have: a client inherits the refusals and overrides what its venue does offer."""

    caps: Caps = Caps()

    async def place_batch(self, orders: Sequence[OrderRequest]) -> None:
        """Several orders in one request."""
        raise NotImplementedError("this venue takes no batches")

    async def amend(self, symbol: str, client_order_id: str, price: Decimal, size: Decimal) -> None:
        """Change an order."""
        raise NotImplementedError("this venue cannot amend an order")

    async def arm_dead_man(self, timeout_s: float) -> None:
        """Dead-man switch."""
        raise NotImplementedError("this venue has no dead-man switch")

    async def set_leverage(self, symbol: str, leverage: int) -> None:
        """Leverage and isolated margin."""
        raise NotImplementedError("this venue has no leverage")

    async def funding(self, since_ns: int) -> list[FundingPayment]:
        """Funding settlements."""
        raise NotImplementedError("this venue pays no funding")

    async def permissions(self) -> Permissions:
        """What the key may do."""
        raise NotImplementedError("this venue does not say what a key may do")


class TradingClient(Protocol):
    """Orders of one account over the real wire.

    Orders: a call returns once the request is under way; what became of it arrives as a private frame, the venue's
    answer to the request included (``mm.venues.replies``). Queries: raise ``VenueUnreachable`` without an answer.
    """

    caps: Caps

    async def connect(self, on_frame: OnFrame) -> None:
        """Authenticate; from now on private frames (acks, fills, cancels) arrive at ``on_frame``."""

    async def place(self, symbol: str, client_order_id: str, side: int, price: Decimal, size: Decimal) -> None:
        """Send one post-only limit order."""

    async def place_batch(self, orders: Sequence[OrderRequest]) -> None:
        """Send several post-only limit orders in one request (``caps.batch``)."""

    async def place_reduce_only_ioc(
        self, symbol: str, client_order_id: str, side: int, price: Decimal, size: Decimal
    ) -> None:
        """The one taker order of the desk: flatten or liquidation protection."""

    async def amend(self, symbol: str, client_order_id: str, price: Decimal, size: Decimal) -> None:
        """Change price and open size of an order under the same id (``caps.amend``).

        Taken: an ACK with the new price and size. Refused: CANCEL_REJECT, the order stays as it was or is gone.
        """

    async def cancel(self, symbol: str, client_order_id: str) -> None: ...
    async def cancel_all(self) -> int:
        """Cancel every open order of this account on the venue; returns how many were open. Past every throttle."""

    async def arm_dead_man(self, timeout_s: float) -> None:
        """Cancel everything unless called again within ``timeout_s`` (0 disarms); ``caps.dead_man_s``."""

    async def set_leverage(self, symbol: str, leverage: int) -> None:
        """Isolated margin and leverage (``caps.leverage``); harmless when it is so already."""

    async def open_orders(self) -> list[OpenOrder]: ...
    async def order(self, symbol: str, client_order_id: str) -> OrderState | None:
        """What became of an order; None: the venue answers that it does not know it."""

    async def position(self, symbol: str) -> Position: ...
    async def fills(self, since_ns: int) -> list[FillRecord]: ...
    async def funding(self, since_ns: int) -> list[FundingPayment]:
        """Funding settlements, oldest first (``caps.funding``)."""

    async def fees(self, symbol: str) -> tuple[Decimal, Decimal]:
        """Maker and taker fee of this account, signed fractions."""

    async def permissions(self) -> Permissions:
        """What the venue says this key may do; ``NotImplementedError`` where it does not."""

    async def server_time_ns(self) -> int: ...
    async def closed(self) -> None:
        """Return when the private connection has ended, for whatever reason; a silent stall ends it too."""

    async def close(self) -> None: ...
