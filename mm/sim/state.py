"""Record layouts of the replay engine: orders at the exchange, messages in flight, what a run leaves behind."""

from __future__ import annotations

from typing import Final

import numpy as np

XORDER = np.dtype(
    [
        ("id", "i8"),
        ("tick", "i8"),
        ("leaves", "i8"),
        ("front", "f8"),  # lots ahead in the queue
        ("traded", "f8"),  # traded at the level since its quantity last changed
        ("side", "i8"),  # 0: the slot is free
    ]
)

IN_FLIGHT = np.dtype([("arrive_ns", "i8"), ("id", "i8"), ("lots", "i8"), ("tick", "i8"), ("side", "i8"), ("op", "i8")])
"""A command on its way to the exchange."""

REPORT = np.dtype(
    [
        ("arrive_ns", "i8"), ("ts_exch_ns", "i8"), ("id", "i8"), ("lots", "i8"), ("tick", "i8"), ("side", "i8"),
        ("kind", "i8"),
    ]
)  # fmt: skip
"""An execution report on its way back to us."""

FILL_ROW = np.dtype(
    [
        ("ts_exch_ns", "i8"),
        ("ts_recv_ns", "i8"),
        ("order_id", "i8"),
        ("side", "i8"),
        ("tick", "i8"),
        ("lots", "i8"),
        ("mid", "f8"),  # ticks, of the exchange's book just before the event that filled us
        ("pos_lots", "i8"),  # after the fill, as the strategy learns it
    ]
)

SAMPLE = np.dtype(
    [
        ("ts_ns", "i8"),
        ("mid", "f8"),  # ticks
        ("equity_usd", "f8"),
        ("pos_lots", "i8"),
        ("bid_tick", "i8"),  # our resting quotes, 0: none
        ("ask_tick", "i8"),
    ]
)

RUN = np.dtype(
    [
        ("fills", "i8"),
        ("lost", "i8"),  # fills beyond the table and messages beyond the rings; a run with any is refused
        ("rejects", "i8"),
        ("orders", "i8"),
        ("cancels", "i8"),
        ("samples", "i8"),
        ("first_valid_ns", "i8"),
        ("last_ns", "i8"),
        ("both_ns", "i8"),  # both sides resting
        ("last_mid", "f8"),
        # cursors: rows of the tape consumed on either clock, messages in flight
        ("exch_events", "i8"),
        ("local_events", "i8"),
        ("flight_head", "i8"),
        ("flight_tail", "i8"),
        ("reports_head", "i8"),
        ("reports_tail", "i8"),
        ("fills_seen", "i8"),  # fills that the strategy knows of
    ]
)

SLOTS: Final = 16  # orders at the exchange
RING: Final = 4096  # messages in flight either way (a power of two)
