"""Record layouts of the replay engine: orders at the exchange, messages in flight, what a run leaves behind."""

from __future__ import annotations

from typing import Final

import numpy as np

from mm.core.types import ORDER, ORDER_SLOTS

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

WORKING = np.dtype([("slots", ORDER, (ORDER_SLOTS,))])
"""A strategy's own table of its working orders (nested: a slice of a 2-d array would be reference-counted)."""

IN_FLIGHT = np.dtype([("arrive_ns", "i8"), ("id", "i8"), ("lots", "i8"), ("index", "i8"), ("side", "i8"), ("op", "i8")])
"""A command on its way to the exchange."""

REPORT = np.dtype(
    [
        ("arrive_ns", "i8"),
        ("id", "i8"),
        ("lots", "i8"),
        ("tick", "i8"),
        ("side", "i8"),
        ("kind", "i8"),  # of EXEC, or one of the two below
        ("fee_units_e8", "i8"),  # LIQUIDATED, linear: tick x lot x 1e-8
        ("amount", "f8"),  # FUNDED: received, quote or coin; LIQUIDATED, inverse: fee in coin
    ]
)
"""A report on its way back to us."""

FUNDED: Final = 8  # a funding settlement on the position at the exchange
LIQUIDATED: Final = 9  # the venue has closed the position at `tick`

REFUSALS: Final = (
    "post_only", "self_trade", "min_notional", "no_base", "liquidated", "busy", "off_grid", "insufficient_margin",
    "no_quote",
)  # fmt: skip
"""Why the exchange rejects an order: it would take, it meets our own, it is too small at its price, spot that is not
held, after a liquidation, that side has an order already, a price outside the tape's window, the wallet does not cover
the margin of the position it leads to (``mm.strategy.margin.covered``), spot that cannot be paid."""
(
    POST_ONLY, SELF_TRADE, MIN_NOTIONAL, NO_BASE, AFTER_LIQUIDATION, BUSY, OFF_GRID, INSUFFICIENT_MARGIN, NO_QUOTE,
) = range(len(REFUSALS))  # fmt: skip

FILL_ROW = np.dtype(
    [
        ("ts_exch_ns", "i8"),
        ("ts_recv_ns", "i8"),
        ("order_id", "i8"),  # 0: closed by the venue in a liquidation
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
        ("pnl_usd", "f8"),
        ("pos_lots", "i8"),
        ("bid_tick", "i8"),  # our resting quotes, 0: none
        ("ask_tick", "i8"),
    ]
)

KEPT = np.dtype([("pnl_usd", "f8"), ("pos_lots", "i8"), ("bid_tick", "i4"), ("ask_tick", "i4")])
"""What differs between the SAMPLE rows of a pass's strategies: a third of the memory that a pass writes."""

SET = np.dtype(
    [
        # settings
        ("queue_model", "i8"),
        ("queue_n", "f8"),
        ("partial", "i8"),  # 0: an order whose turn has come fills wholly, whatever the trade's size
        ("cancel_resting", "i8"),  # 1: self-trade prevention cancels the older order, 0: it rejects the newer
        ("min_units", "i8"),  # min notional in tick x lot (inverse: lots), rounded up
        ("tiers", "i8"),  # of maintenance margin, 0: never liquidated
        ("maintenance", "i8"),  # mm.strategy.margin.RULES
        ("close_at_mark", "i8"),
        ("leverage", "f8"),
        ("wallet", "f8"),  # at the start, quote (inverse: coin)
        # the account at the exchange, beside its STATE record
        ("entry", "f8"),  # average entry of the position, ticks
        ("liq_tick", "f8"),  # mark at which it is liquidated, nan: none
        ("liquidated_ns", "i8"),  # 0: not
        ("liquidation_loss_usd", "f8"),
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
        ("bid_tick", "i8"),  # our acknowledged quotes at the decision, 0: none
        ("ask_tick", "i8"),
        # while nothing is new a strategy's decisions are its last one again (mm.sim.settle)
        ("settled_until_ns", "i8"),  # 0: the next decision must be made
        ("decided", "i8"),  # decisions of the run that are booked
        ("clamping", "i8"),  # 1: a spread bound moved a quote at the last decision
        ("pulling", "i8"),  # 1: no quote at the last decision
    ]
)
"""One strategy of a pass, apart from the decision kernel's own records."""

EXCHANGE = np.dtype(
    [
        ("bb", "i8"), ("ba", "i8"), ("lowb", "i8"), ("hia", "i8"),  # touch (mm.core.levels)
        ("own_bid_lo", "i8"), ("own_bid_hi", "i8"), ("own_ask_lo", "i8"), ("own_ask_hi", "i8"),  # where strategies rest
        ("liq_lo", "i8"), ("liq_hi", "i8"),  # bb + ba at or beyond which margins are looked at
        ("by_mark", "i8"),  # 1: margins are checked at MARK events, not at mids
        ("message", "i8"),  # next message of the tape
        ("fills", "i8"),  # rows used of the fill table
        ("due_ns", "i8"),  # arrival of the next command of any strategy
        ("heard", "i8"),  # strategies with a report on its way or arrived, a bit each
        ("awake", "i8"),  # strategies that decide now, a bit each
        ("wake_ns", "i8"),  # when the first of the settled ones must decide again
    ]
)  # fmt: skip
"""The exchange's cursor through the tape."""

OBSERVER = np.dtype([("message", "i8"), ("last_mid", "f8"), ("marks", "i8")])
"""The strategy's clock's cursor through the tape."""

MARK = np.dtype([("ts_ns", "i8"), ("mid", "f8")])
"""A new mid [ticks], as the strategy learns of it."""

FLIGHT_ROWS: Final = 64  # rings, per strategy
# a big order is filled in many pieces between two decisions; not a power of two, or all rings would start in the same
# set of the cache
REPORT_ROWS: Final = 4095
GROUP: Final = 64  # strategies in one pass: one bit each
