"""Record layouts of the decision kernel: parameters, features, position and quoting state of one strategy on one book.

Kernel units throughout: prices in ticks, sizes in lots, one tick times one lot = one unit of integer cash.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from mm.strategy.controls.layout import CONTROL, CONTROL_STATE
from mm.strategy.controls.names import ACTS, FIRST_ACT

PARAMS = np.dtype(
    [
        ("order_lots", "i8"),
        ("min_lots", "i8"),  # smallest order the venue takes
        ("max_inventory_lots", "i8"),  # away from the target: the adding side is not quoted beyond it
        ("target_lots", "i8"),  # inventory is measured from here
        ("spot", "i8"),  # 1: no short position
        ("inverse", "i8"),  # 1: PnL in base, 1/price
        ("unit_value", "f8"),  # quote value of one tick x lot (linear, spot); of one lot's contracts (inverse)
        ("tick_size", "f8"),
        ("maker_fee_e8", "i8"),  # fee fraction x 1e8
        ("taker_fee_e8", "i8"),
        ("microprice", "i8"),  # 1: the reference is the microprice, 0: the mid
        ("cross", "i8"),  # 1: the reference is the cross-venue price where there is one
        ("own_in_feed", "i8"),  # 1: the public book contains our orders and they are netted out
        ("static_sigma", "f8"),  # ticks/sqrt(s); negative: estimated
        ("sigma_floor", "f8"),
        ("sigma_halflife_s", "f8"),
        ("sigma_sample_ns", "i8"),
        ("horizon_s", "f8"),
        ("session", "i8"),  # 1: the horizon counts down and restarts, 0: it rolls
        ("refresh_ns", "i8"),
        ("timeless", "i8"),  # 1: the policy follows from the volatility alone
        ("min_spread", "f8"),  # ticks, total
        ("max_spread", "f8"),
        ("max_skew", "f8"),
        ("threshold", "f8"),  # ticks: a smaller move keeps the quote
        ("min_age_ns", "i8"),
        ("max_age_ns", "i8"),
        ("controls", "i8"),  # which are on, a bit each (mm.strategy.controls.names); 0: none
        ("control", CONTROL),
    ]
)

FEATURES = np.dtype(
    [
        ("bid_tick", "i8"),  # touch without our own orders; valid when `valid` is 1
        ("ask_tick", "i8"),
        ("bid_lots", "i8"),
        ("ask_lots", "i8"),
        ("valid", "i8"),
        ("mid", "f8"),  # ticks
        ("microprice", "f8"),
        ("cross", "f8"),  # reference from two venues, ticks; 0: none (mm.strategy.cross)
        ("imbalance", "f8"),  # bid share of the touch size, 0..1
        ("sigma2", "f8"),  # ticks^2/s
        ("sample_mid", "f8"),  # mid at the last volatility sample
        ("sample_ns", "i8"),  # 0 before the first
        ("trades", "i8"),
        ("events", "i8"),
        ("mark", "f8"),  # ticks, the venue's mark price; 0: it has told none
        # signals of the controls (mm.strategy.controls.signals); only those that are asked for
        ("suspect", "i8"),  # ±1: the tick filter does not believe the mid, above or below
        ("good_mid", "f8"),  # last believed
        ("good_microprice", "f8"),
        ("displacement", "f8"),  # ticks away from the recent average
        ("momentum", "f8"),  # the same over its own window
        ("adx", "f8"),  # 0..100, nan: warming up
        ("fast_sigma", "f8"),  # ticks/sqrt(s), the volatility guard's own
        ("depth_bid_lots", "i8"),  # near the touch
        ("depth_ask_lots", "i8"),
        ("flow_A", "f8"),  # newest estimate in flight (mm.models.flow): 1/s on one side
        ("flow_kappa", "f8"),  # 1/tick
        ("flow_orders", "f8"),  # weighted, on the rarer side; 0: no estimate
        ("flow_misfit", "f8"),
    ]
)

STATE = np.dtype(
    [
        # position and cash: changed only by mm.strategy.portfolio
        ("pos_lots", "i8"),
        ("cash_units", "i8"),  # tick x lot
        ("cash_coin", "f8"),  # inverse contracts: base currency
        ("fee_units_e8", "i8"),  # paid, tick x lot x 1e-8
        ("fee_coin", "f8"),
        ("funding", "f8"),  # received, quote (base for inverse)
        ("fills", "i8"),
        ("taker_fills", "i8"),
        ("bought_lots", "i8"),
        ("sold_lots", "i8"),
        ("notional_units", "i8"),  # traded, tick x lot (contracts for inverse)
        # decisions
        ("start_ns", "i8"),
        ("next_refresh_ns", "i8"),
        ("sigma", "f8"),  # ticks/sqrt(s) used by the policy
        ("decision", "i8"),  # number of decisions so far
        ("next_order", "i8"),  # number of the next order
        ("clamped", "i8"),  # decisions in which a spread bound moved a quote
        ("pulled", "i8"),  # decisions without any quote
        ("halted", "i8"),  # a HALT_* reason
        ("control", CONTROL_STATE),
    ]
)

TARGET = np.dtype(
    [
        ("bid_tick", "i8"),
        ("ask_tick", "i8"),
        ("bid_lots", "i8"),  # 0: no bid wanted
        ("ask_lots", "i8"),
        ("reason", "i8"),  # why a side is missing, a REASON_* code
        ("reservation_price", "f8"),  # ticks
        ("raw_bid", "f8"),  # ticks, before the overlays; nan: no quote
        ("raw_ask", "f8"),
        ("acting", "i8"),  # controls that acted on this decision, a bit each
        # the controls' draft (mm.strategy.controls.draft); without controls it is not written
        ("pulled", "i8"),  # 1: the bid, 2: the ask
        ("reduce_only", "i8"),
        ("widen_bid", "f8"),  # half-spreads
        ("widen_ask", "f8"),
        ("scale_bid", "f8"),  # of the order size
        ("scale_ask", "f8"),
    ]
)

QUOTING: Final = 0
NO_BOOK: Final = 1
NO_POLICY: Final = 2
INVENTORY: Final = 3
HALTED: Final = 4
STALE: Final = 5
CROSSED_SELF: Final = 6
REASONS: Final = ("quoting", "no_book", "no_policy", "inventory_limit", "halted", "stale_feed", "crossed_self", *ACTS)
assert REASONS[FIRST_ACT] == ACTS[0]
