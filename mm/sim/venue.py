"""The simulated exchange of one pass before it opens: settings of every strategy, and empty books."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_CEILING
from typing import Any

import numpy as np

from mm.config.schema import RunConfig
from mm.core.instrument import Instrument
from mm.core.types import Rec, RecArray, records, room
from mm.sim.exchange import NEVER_NS
from mm.sim.latency import CONNECTION, ORDERS, RESPONSES, Series, connect
from mm.sim.liquidation import FAR
from mm.sim.queue import MODELS as QUEUE_MODELS
from mm.sim.state import (
    EXCHANGE,
    FILL_ROW,
    FLIGHT_ROWS,
    IN_FLIGHT,
    REFUSALS,
    REPORT,
    REPORT_ROWS,
    SET,
    XORDER,
)  # fmt: skip
from mm.sim.tables import Venue
from mm.sim.tape import Tape
from mm.strategy.margin import MAX_TIERS, RULES, tier_table

FILL_ROWS = 1 << 14  # of one pass before they are moved out


def min_units(instrument: Instrument) -> int:
    """Minimum notional in tick x lot (inverse contracts: in lots), rounded up."""
    unit = instrument.lot_size * instrument.contract_value
    if instrument.kind != "inverse":
        unit *= instrument.tick_size
    return int((instrument.min_notional / unit).to_integral_value(ROUND_CEILING))


def _settings(z: Rec, cfg: RunConfig, instrument: Instrument, ref_price: float, smallest: int) -> None:
    z["queue_model"] = QUEUE_MODELS[cfg.sim.queue.model]
    z["queue_n"] = cfg.sim.queue.n
    z["partial"] = cfg.sim.partial_fills
    z["cancel_resting"] = cfg.sim.self_trade == "cancel_resting"
    z["min_units"] = smallest
    margin = cfg.risk.margin
    z["tiers"] = len(margin.tiers) if instrument.kind != "spot" else 0
    z["maintenance"] = RULES[margin.maintenance]
    z["close_at_mark"] = margin.close_at == "mark"
    z["leverage"] = cfg.risk.leverage
    z["wallet"] = cfg.risk.initial_equity_usd / (ref_price if instrument.kind == "inverse" else 1.0)
    z["entry"] = ref_price / float(instrument.tick_size)
    z["liq_tick"] = np.nan


def open_venue(configs: Sequence[RunConfig], tape: Tape, params: RecArray, states: RecArray) -> Venue:
    """An empty exchange for one strategy per config; ``params`` and opening ``states`` are the kernel's, (n,).

    Raises:
        DataError: a measured latency series that cannot be used.
    """
    n = len(configs)
    base_tick, n_levels = tape.book_window
    sets, connections, series = records(n, SET), records(2 * n, CONNECTION), Series()
    tiers = np.zeros((n * MAX_TIERS, 2))
    unit_usd = tape.ref_price if tape.instrument.kind == "inverse" else 1.0
    smallest = min_units(tape.instrument)
    tables: dict[int, Any] = {}  # most configs of a sweep share one margin section
    for k, (z, cfg) in enumerate(zip(sets, configs, strict=True)):
        connect(connections[2 * k], cfg.sim.order_latency, cfg.seed, ORDERS, series, tape)
        connect(connections[2 * k + 1], cfg.sim.response_latency, cfg.seed, RESPONSES, series, tape)
        _settings(z, cfg, tape.instrument, tape.ref_price, smallest)
        margin = cfg.risk.margin
        if id(margin) not in tables:
            tables[id(margin)] = tier_table(margin, unit_usd)
        tiers[k * MAX_TIERS : (k + 1) * MAX_TIERS] = tables[id(margin)]
    cursor: Any = records(1, EXCHANGE)
    at = cursor[0]
    at.bb, at.ba, at.lowb, at.hia = -1, n_levels, n_levels, -1
    at.own_bid_lo, at.own_bid_hi, at.own_ask_lo, at.own_ask_hi = n_levels, -1, n_levels, -1
    at.liq_lo, at.liq_hi, at.by_mark, at.due_ns = -FAR, FAR, tape.has_marks, NEVER_NS
    return Venue(
        cursor,
        bids=np.zeros(n_levels, tape.lots.dtype),
        asks=np.zeros(n_levels, tape.lots.dtype),
        bid_sets=np.zeros(n_levels, np.int64),
        ask_sets=np.zeros(n_levels, np.int64),
        bid_orders=records(n, XORDER),
        ask_orders=records(n, XORDER),
        sets=sets,
        params=params,
        accounts=states.copy(),
        tiers=tiers,
        refusals=np.zeros((n, len(REFUSALS)), np.int64),
        connections=connections,
        series=series.table(),
        due_ns=np.full(n, NEVER_NS, np.int64),
        flight=room(n * FLIGHT_ROWS, IN_FLIGHT),
        reports=room(n * REPORT_ROWS, REPORT),
        fills=room(FILL_ROWS, FILL_ROW),
        base_tick=base_tick,
    )
