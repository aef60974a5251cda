"""The contract that every venue fulfils: a spec, a pure codec, a client that does the I/O.

A *codec* turns raw frames into event and execution records and holds the sequence check; it never touches a socket or
a clock. A *client* moves raw frames and requests over the real wire and knows nothing of quotes. An actor owns one
public client (feed) or one trading client (executor) per account.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, Protocol

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


class TradingClient(Protocol):
    """Orders of one account over the real wire."""

    async def connect(self, on_frame: OnFrame) -> None:
        """Authenticate; from now on private frames (acks, fills, cancels) arrive at ``on_frame``."""

    async def place(self, symbol: str, client_order_id: str, side: int, price: Decimal, size: Decimal) -> None:
        """Send one post-only limit order. Returns when it is written; the outcome arrives as a private frame."""

    async def place_reduce_only_ioc(
        self, symbol: str, client_order_id: str, side: int, price: Decimal, size: Decimal
    ) -> None:
        """The one taker order of the desk: flatten or liquidation protection."""

    async def cancel(self, symbol: str, client_order_id: str) -> None: ...
    async def cancel_all(self) -> int:
        """Cancel every open order of this account on the venue; returns how many were open."""

    async def arm_dead_man(self, timeout_s: float) -> None:
        """Cancel everything unless called again within ``timeout_s`` (0 disarms)."""

    async def open_orders(self) -> list[OpenOrder]: ...
    async def position(self, symbol: str) -> Position: ...
    async def fills(self, since_ns: int) -> list[FillRecord]: ...
    async def closed(self) -> None:
        """Return when the private connection has ended, for whatever reason."""

    async def close(self) -> None: ...
