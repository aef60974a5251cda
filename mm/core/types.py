"""Events, orders and executions: the record layouts that every room of the project shares.

Inside, prices are integer ticks, sizes integer lots, times integer nanoseconds since the epoch (UTC). Decimal strings
exist only at a venue's boundary (``mm.core.instrument``).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

import numpy as np

Rec = Any  # one element of a record array: numba sees the record type, mypy cannot
RecArray = Any  # np.recarray of one of the dtypes below

# --- market events ---------------------------------------------------------------------------------------------------
BID: Final = 0  # the quantity at a bid level becomes `lots` (0 removes the level)
ASK: Final = 1
SELL: Final = 2  # a trade whose aggressor sold: it hit a bid
BUY: Final = 3  # a trade whose aggressor bought: it lifted an ask
CLEAR_BID: Final = 4  # every bid at or above `tick` is void (a snapshot or a gap follows)
CLEAR_ASK: Final = 5  # every ask at or below `tick` is void
FUNDING: Final = 6  # a funding settlement: `lots` is the rate in 1e-9, `tick` the mark price
MARK: Final = 7  # a new mark price in `tick`
KIND_NAMES: Final = ("bid", "ask", "sell", "buy", "clear_bid", "clear_ask", "funding", "mark")

LAST: Final = 1  # flag: last event of its message; decisions happen only after it
SNAPSHOT: Final = 2  # flag: part of a snapshot

FUNDING_RATE_UNIT: Final = 1e-9

EVENT = np.dtype(
    [
        ("ts_exch_ns", "i8"),
        ("ts_recv_ns", "i8"),
        ("lots", "i8"),
        ("tick", "i4"),
        ("instrument", "u2"),
        ("kind", "u1"),
        ("flags", "u1"),
    ]
)
assert EVENT.itemsize == 32

# --- sides and order states ------------------------------------------------------------------------------------------
BUY_SIDE: Final = 1
SELL_SIDE: Final = -1

FREE: Final = 0  # the slot holds no order
SENT: Final = 1  # sent, not acknowledged: it may be live
LIVE: Final = 2
CANCELING: Final = 3  # cancel sent: it may still fill
STATE_NAMES: Final = ("free", "sent", "live", "canceling")

ORDER_SLOTS: Final = 8  # working orders per instrument that the kernel can hold, both sides together

ORDER = np.dtype(
    [
        ("id", "i8"),  # our own order number, see mm.strategy.orders.client_order_id
        ("ts_sent_ns", "i8"),
        ("lots", "i8"),  # still open
        ("tick", "i4"),
        ("side", "i1"),
        ("state", "u1"),
        ("pad", "u2"),
    ],
    align=True,
)

# --- commands that the diff emits ------------------------------------------------------------------------------------
PLACE: Final = 0  # post-only limit order
CANCEL: Final = 1
COMMAND_NAMES: Final = ("place", "cancel")

COMMAND = np.dtype(
    [
        ("id", "i8"),
        ("lots", "i8"),
        ("tick", "i4"),
        ("instrument", "u2"),
        ("side", "i1"),
        ("op", "u1"),
    ],
    align=True,
)

# --- what the venue said about one of our orders ---------------------------------------------------------------------
ACK: Final = 0  # resting
REJECT: Final = 1
FILL: Final = 2
CANCELED: Final = 3
CANCEL_REJECT: Final = 4
EXEC_NAMES: Final = ("ack", "reject", "fill", "canceled", "cancel_reject")

EXEC = np.dtype(
    [
        ("ts_exch_ns", "i8"),
        ("ts_recv_ns", "i8"),
        ("id", "i8"),
        ("lots", "i8"),  # filled now (FILL), else what remains
        ("tick", "i4"),  # trade price (FILL)
        ("instrument", "u2"),
        ("side", "i1"),
        ("kind", "u1"),
        ("maker", "u1"),  # FILL: 1 maker, 0 taker
    ],
    align=True,
)


def records(n: int, dtype: np.dtype[Any]) -> RecArray:
    """``n`` zeroed records as a recarray: attribute access in plain Python and the same type under numba."""
    return np.zeros(n, _record_dtype(dtype)).view(np.recarray)


def room(n: int, dtype: np.dtype[Any]) -> RecArray:
    """As ``records`` with whatever was in memory: for large tables whose rows are written before they are read."""
    return np.empty(n, _record_dtype(dtype)).view(np.recarray)


def packed(dtype: np.dtype[Any], values: Mapping[str, float]) -> bytes:
    """The memory of one record of those values, 0 for fields without: a tenth of the time of filling an array.

    Raises:
        struct.error: a fraction for an integer field.
    """
    layout, names = _layout(dtype)
    return layout.pack(*[values.get(name, 0) for name in names])


def unpacked(parts: Iterable[bytes], dtype: np.dtype[Any]) -> RecArray:
    """Records of ``packed`` memory, end to end."""
    return np.frombuffer(bytearray().join(parts), _record_dtype(dtype)).view(np.recarray)


@lru_cache(maxsize=256)
def _record_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """What a recarray makes of a dtype; remembered, because making it costs more than the array."""
    return np.dtype((np.record, dtype))


@lru_cache(maxsize=256)
def _layout(dtype: np.dtype[Any]) -> tuple[struct.Struct, tuple[str, ...]]:
    """How ``struct`` writes a record, and the names of its numbers; other fields (records in it) stay 0."""
    codes, names, at = ["<"], [], 0
    fields: Mapping[str, Any] = dtype.fields or {}
    for name in dtype.names or ():
        kind, offset = fields[name][:2]
        number = kind.kind in "iuf"
        codes.append(f"{offset - at}x{kind.char if number else f'{kind.itemsize}x'}".replace("l", "q"))
        names += [name] if number else []
        at = offset + kind.itemsize
    codes.append(f"{dtype.itemsize - at}x")
    return struct.Struct("".join(codes)), tuple(names)
