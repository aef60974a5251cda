"""Record layouts of the replay engine: orders at the exchange, messages in flight, what a run leaves behind."""

from __future__ import annotations

from typing import Final

import numpy as np

XORDER = np.dtype(
    [
        ("id", "i8"),
        ("index", "i8"),  # level
        ("leaves", "i8"),  # 0: no order
        ("front", "f8"),  # lots ahead in the queue
        ("traded", "f8"),  # traded at the level since its quantity last changed
    ]
)
"""An order resting at the exchange; a strategy has one a side."""

IN_FLIGHT = np.dtype([("arrive_ns", "i8"), ("id", "i8"), ("lots", "i8"), ("index", "i8"), ("side", "i8"), ("op", "i8")])
"""A command on its way to the exchange."""

REPORT = np.dtype([("arrive_ns", "i8"), ("id", "i8"), ("lots", "i8"), ("tick", "i8"), ("side", "i8"), ("kind", "i8")])
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
        ("set", "i8"),  # which strategy of the pass
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

SET = np.dtype(
    [
        # settings
        ("queue_model", "i8"),
        ("queue_n", "f8"),
        ("partial", "i8"),  # 0: an order whose turn has come fills wholly, whatever the trade's size
        # messages in flight: rows of this strategy's part of the tables; both start again at 0 when they run empty
        ("flight_head", "i8"),
        ("flight_tail", "i8"),
        ("reports_head", "i8"),
        ("reports_tail", "i8"),
        # counts
        ("fills", "i8"),
        ("rejects", "i8"),
        ("orders", "i8"),
        ("cancels", "i8"),
        ("overflow", "i8"),  # messages that found no room: always 0 in a good run
        ("first_valid_ns", "i8"),
        ("last_ns", "i8"),
        ("both_ns", "i8"),  # both sides resting
    ]
)
"""One strategy of a pass, apart from the decision kernel's own records."""

EXCHANGE = np.dtype(
    [
        ("bb", "i8"), ("ba", "i8"), ("lowb", "i8"), ("hia", "i8"),  # touch (mm.sim.levels)
        ("own_bid_lo", "i8"), ("own_bid_hi", "i8"), ("own_ask_lo", "i8"), ("own_ask_hi", "i8"),  # where strategies rest
        ("message", "i8"),  # next message of the tape
        ("fills", "i8"),  # rows used of the fill table
    ]
)  # fmt: skip
"""The exchange's cursor through the tape."""

OBSERVER = np.dtype([("message", "i8"), ("last_mid", "f8"), ("marks", "i8")])
"""The strategy's clock's cursor through the tape."""

MARK = np.dtype([("ts_ns", "i8"), ("mid", "f8"), ("funding_e9", "i8"), ("tick", "i8")])
"""A new mid (``mid`` > 0), or a funding settlement at ``tick``, as the strategy learns of it."""

FLIGHT_ROWS: Final = 64  # rings, per strategy
REPORT_ROWS: Final = 4096  # a big order is filled in many pieces between two decisions
GROUP: Final = 64  # strategies in one pass: one bit each
