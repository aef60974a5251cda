"""From a config to the kernel's records, once: units are converted at a reference price and never again."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from mm.config.schema import CrossReference, DynamicParams, EwmaSigma, GammaFromQmax, RunConfig
from mm.core.fees import Fees, tier_fees
from mm.core.instrument import Instrument
from mm.core.jit import bare
from mm.core.types import COMMAND, ORDER, ORDER_SLOTS, RecArray, packed, records, unpacked
from mm.core.units import Volatility, to_ns
from mm.errors import ConfigError
from mm.models.base import MODEL_PARAMS, POLICY
from mm.models.flow import FLOW
from mm.models.registry import MODELS, pack_model
from mm.models.risk_aversion import gamma_from_qmax
from mm.strategy.controls.setup import fill_controls
from mm.strategy.controls.signals import WATCH
from mm.strategy.orders import MAX_COMMANDS
from mm.strategy.rate import RATE, fill_rate
from mm.strategy.risk import LIMITS, LOSS
from mm.strategy.state import FEATURES, PARAMS, STATE, TARGET

FOREVER_NS = np.iinfo(np.int64).max
EXACT_FILLS = 10_000  # fees of so many whole orders must fit the ledger's integers
MIN_LOTS_AT = 0.9  # of the reference price: the smallest order in lots holds down to there
MAX_LOTS = 10**12  # so that sums of price times size stay exact in 64 bits


@dataclass(frozen=True, slots=True)
class Settings:
    """What a config says to one strategy on one instrument, in kernel units: the memory of one record each.

    Bytes, because a sweep makes thousands of them, joins those of a pass and needs none of them as an array.
    """

    instrument: Instrument
    ref_price: float
    params: bytes
    model: bytes
    features: bytes
    watch: bytes  # empty without controls
    flow: bytes  # empty while A and kappa are configured
    state: bytes
    limits: bytes
    rate: bytes


@dataclass(slots=True)
class StrategyRecords:
    """Everything one strategy on one instrument owns: record arrays of length 1, ``orders`` and ``cmds`` longer."""

    instrument: Instrument
    ref_price: float
    params: RecArray
    model: RecArray
    policy: RecArray
    features: RecArray
    watch: RecArray
    flow: RecArray  # FLOW (mm.models.flow): the estimator of A and kappa in flight
    state: RecArray
    orders: RecArray
    limits: RecArray
    loss: RecArray
    rate: RecArray
    target: RecArray
    cmds: RecArray

    def bare(self) -> StrategyRecords:
        """The same memory as plain arrays: what a caller that is in a hurry hands to a kernel."""
        return replace(self, **{f.name: bare(getattr(self, f.name)) for f in fields(self)[2:]})


def _fee_e8(fee: Any) -> int:
    return round(float(fee) * 1e8)


def fees_of(cfg: RunConfig, instrument: Instrument) -> Fees:
    """Fees of a simulation: those of the config, else of its tier, else the instrument's."""
    sim = cfg.sim
    base = Fees(instrument.maker_fee, instrument.taker_fee)
    if sim.fee_tier is not None:
        base = tier_fees(sim.fee_tier, instrument.kind)
    maker = base.maker if sim.maker_fee is None else sim.maker_fee
    return Fees(maker, base.taker if sim.taker_fee is None else sim.taker_fee)


def _hold_opening(s: Any, cfg: RunConfig, instrument: Instrument, ref_price: float) -> None:
    """Start with the opening inventory, bought at the reference price: profit counts from its value."""
    if cfg.strategy.opening_base is None:
        return
    if instrument.kind != "spot":
        raise ConfigError(f"strategy.opening_base: {instrument.symbol} is {instrument.kind}; only spot is held")
    lots = _lots(cfg.strategy.opening_base, instrument, ref_price, "strategy.opening_base")
    s["pos_lots"] = lots
    s["cash_units"] = -round(lots * (ref_price / float(instrument.tick_size)))


def _target(cfg: RunConfig, instrument: Instrument, ref_price: float) -> int:
    if instrument.kind != "spot":
        raise ConfigError(f"strategy.target_inventory: {instrument.symbol} is {instrument.kind}; a target is for spot")
    return _lots(cfg.strategy.target_inventory, instrument, ref_price, "strategy.target_inventory")


def order_lots(cfg: RunConfig, instrument: Instrument, ref_price: float) -> tuple[int, int]:
    """(order size, smallest order) in lots; a size that rounds to nothing is an error, not a silent minimum."""
    size = cfg.strategy.order_size
    lots = _lots(size, instrument, ref_price, "strategy.order_size")
    smallest = instrument.min_lots(round(ref_price / float(instrument.tick_size)))
    if lots < smallest:
        raise ConfigError(
            f"strategy.order_size: {size.value} {size.unit} is {lots} lots of {instrument.symbol}, below the smallest "
            f"order of {smallest} lots (lot {instrument.lot_size}, min notional {instrument.min_notional}, "
            f"price {ref_price:g})"
        )
    return lots, smallest


def base_of_lots(instrument: Instrument, lots: int, ref_price: float) -> float:
    """Base currency in a number of lots (inverse contracts: at the reference price)."""
    units = float(instrument.size(lots) * instrument.contract_value)
    return units / ref_price if instrument.kind == "inverse" else units


def resolve(cfg: RunConfig, instrument: Instrument, ref_price: float, *, own_in_feed: bool = False) -> StrategyRecords:
    """Kernel records for one instrument: ``settings_of`` and room for what a strategy that runs alone writes."""
    s = settings_of(cfg, instrument, ref_price, own_in_feed=own_in_feed)
    return StrategyRecords(
        instrument,
        ref_price,
        params=unpacked([s.params], PARAMS),
        model=unpacked([s.model], MODEL_PARAMS),
        policy=records(1, POLICY),
        features=unpacked([s.features], FEATURES),
        watch=unpacked([s.watch], WATCH) if s.watch else records(1, WATCH),
        flow=unpacked([s.flow], FLOW) if s.flow else records(1, FLOW),
        state=unpacked([s.state], STATE),
        orders=records(ORDER_SLOTS, ORDER),
        limits=unpacked([s.limits], LIMITS),
        loss=records(1, LOSS),
        rate=unpacked([s.rate], RATE),
        target=records(1, TARGET),
        cmds=records(MAX_COMMANDS, COMMAND),
    )


def settings_of(cfg: RunConfig, instrument: Instrument, ref_price: float, *, own_in_feed: bool = False) -> Settings:
    """What the config means for one instrument.

    Args:
        cfg: the run.
        instrument: what is quoted.
        ref_price: quote per base; converts bps and notional sizes into ticks and lots.
        own_in_feed: the public book will contain our own orders.

    Raises:
        ConfigError: a size below the venue's minimum, a unit of another instrument, gamma without a solution.
    """
    tick = float(instrument.tick_size)
    if not (math.isfinite(ref_price) and ref_price >= tick):
        raise ConfigError(f"{instrument.symbol}: the reference price must be at least one tick, got {ref_price}")
    st, m = cfg.strategy, cfg.strategy.model
    lots, smallest = order_lots(cfg, instrument, ref_price)
    static = isinstance(m.sigma, Volatility)
    initial = m.sigma if isinstance(m.sigma, Volatility) else m.sigma.initial
    sigma = initial.ticks_per_sqrt_s(instrument, ref_price)
    kappa = m.kappa.per_tick(instrument, ref_price)
    order_base = base_of_lots(instrument, lots, ref_price)
    xi = None if m.xi is None else m.xi.per_tick(instrument, ref_price) * order_base
    fees = fees_of(cfg, instrument)
    fee = float(fees.maker) * ref_price / tick if m.fee_aware else 0.0
    if isinstance(m.gamma, GammaFromQmax):
        gamma = gamma_from_qmax(kappa, m.A * math.exp(-kappa * fee), sigma, m.gamma.q_max, xi)
    else:
        gamma = m.gamma.per_tick(instrument, ref_price) * order_base
    min_spread, max_spread, max_skew = (
        d.ticks(instrument, ref_price) for d in (st.spread.min, st.spread.max, st.spread.max_skew)
    )
    if not 0 <= min_spread <= max_spread:
        raise ConfigError(f"strategy.spread: min {min_spread:g} ticks is above max {max_spread:g} ticks")
    ref_ticks = ref_price / tick
    model = pack_model(
        m.name,
        gamma=gamma,
        kappa=kappa,
        A=m.A,
        sigma=sigma,
        n_lots=m.n_lots,
        xi=xi,
        mu=m.mu.ticks(instrument, ref_price),
        impact=m.impact.ticks(instrument, ref_price),
        fee=fee,
        horizon_s=m.horizon,
        mid_ticks=ref_ticks,
        min_fraction=0.5 * min_spread / ref_ticks,
        max_fraction=0.5 * max_spread / ref_ticks,
        seed=cfg.seed,
    )
    p: dict[str, float] = {}
    p["order_lots"] = lots
    # what a control shrinks an order to must still be worth the smallest order after the price has fallen
    p["min_lots"] = max(smallest, min(lots, instrument.min_lots(round(MIN_LOTS_AT * ref_price / tick))))
    p["max_inventory_lots"] = lots * m.n_lots
    if st.max_inventory is not None:
        p["max_inventory_lots"] = _lots(st.max_inventory, instrument, ref_price, "strategy.max_inventory")
    if st.target_inventory is not None:
        p["target_lots"] = _target(cfg, instrument, ref_price)
    p["spot"] = instrument.kind == "spot"
    p["inverse"] = instrument.kind == "inverse"
    per_lot = float(instrument.lot_size * instrument.contract_value)
    p["unit_value"] = per_lot if instrument.kind == "inverse" else instrument.unit_value()
    p["tick_size"] = tick
    p["maker_fee_e8"], p["taker_fee_e8"] = _fee_e8(fees.maker), _fee_e8(fees.taker)
    dearest = max(abs(_fee_e8(fees.maker)), abs(_fee_e8(fees.taker)), 1)
    if instrument.kind != "inverse" and lots * round(ref_price / tick) * dearest * EXACT_FILLS > FOREVER_NS:
        raise ConfigError(
            f"{instrument.symbol}: lot {instrument.lot_size} at tick {tick:g} is too fine for an exact ledger: fees of "
            f"{EXACT_FILLS} orders of {lots} lots do not fit 64 bits; use a coarser lot or a smaller order"
        )
    p["microprice"] = st.reference == "microprice"
    p["cross"] = isinstance(st.reference, CrossReference)
    p["own_in_feed"] = own_in_feed
    p["static_sigma"] = sigma if static else -1.0
    if isinstance(m.sigma, Volatility):
        p["sigma_halflife_s"], p["sigma_sample_ns"] = 60.0, to_ns(0.1)
    else:
        p["sigma_sample_ns"], p["sigma_halflife_s"], _ = volatility_estimate(m.sigma, instrument, ref_price)
        p["sigma_floor"] = m.sigma.floor.ticks_per_sqrt_s(instrument, ref_price)
    p["horizon_s"] = m.horizon
    p["session"] = m.horizon_mode == "session"
    p["refresh_ns"] = to_ns(st.refresh)
    p["timeless"] = not (MODELS[m.name].uses_tau or MODELS[m.name].blind)
    p["min_spread"], p["max_spread"], p["max_skew"] = min_spread, max_spread, max_skew
    p["threshold"] = st.requote.threshold.ticks(instrument, ref_price)
    p["min_age_ns"], p["max_age_ns"] = to_ns(st.requote.min_age), to_ns(st.requote.max_age)
    opening: dict[str, float] = {"next_order": 1}
    limits: dict[str, float] = {}
    rate: dict[str, float] = {}
    _hold_opening(opening, cfg, instrument, ref_price)
    fill_limits(limits, cfg, instrument, ref_price)
    fill_rate(rate, cfg.risk.rate_limit)
    params, state, watch, flow = packed(PARAMS, p), packed(STATE, opening), b"", b""
    if (dynamic := dynamic_of(cfg)) is not None:
        m_rows, f_rows = unpacked([model], MODEL_PARAMS), records(1, FLOW)
        fill_dynamic(m_rows[0], f_rows[0], dynamic)
        model, flow = m_rows.tobytes(), f_rows.tobytes()
    if st.controls is not None:
        own, s, w = unpacked([params], PARAMS), unpacked([state], STATE), records(1, WATCH)
        fill_controls(own[0], s[0], w[0], st.controls, cfg.risk, instrument, ref_price)
        params, state, watch = own.tobytes(), s.tobytes(), w.tobytes()
    return Settings(
        instrument,
        ref_price,
        params=params,
        model=model,
        features=packed(FEATURES, {"sigma2": sigma * sigma}),
        watch=watch,
        flow=flow,
        state=state,
        limits=packed(LIMITS, limits),
        rate=packed(RATE, rate),
    )


def volatility_estimate(sigma: EwmaSigma, instrument: Instrument, ref_price: float) -> tuple[int, float, float]:
    """(sampling step [ns], half-life [s], first value [ticks^2/s]) of the estimate in flight."""
    first = sigma.initial.ticks_per_sqrt_s(instrument, ref_price)
    return max(to_ns(sigma.sample), 1), sigma.halflife, first * first


def dynamic_of(cfg: RunConfig) -> DynamicParams | None:
    """How A and kappa are estimated in flight; None when they are configured."""
    params = cfg.strategy.params
    if params == "static":
        return None
    return params if isinstance(params, DynamicParams) else DynamicParams()


def fit_every_ns(params: DynamicParams) -> int:
    """Time between fits."""
    return max(to_ns(params.every), 1)


def fill_dynamic(model: Any, flow: Any, params: DynamicParams) -> None:
    """Let A and kappa be estimated in flight: the gates into MODEL_PARAMS, the estimator's settings into FLOW."""
    flow["halflife_s"], flow["every_ns"] = params.halflife, fit_every_ns(params)
    model["dynamic"], model["static_A"], model["static_kappa"] = 1, model["A"], model["kappa"]
    model["min_orders"], model["max_misfit"] = params.min_arrivals, params.max_misfit
    model["within"] = params.within


def fill_limits(lim: Any, cfg: RunConfig, instrument: Instrument, ref_price: float) -> None:
    """Hard limits into a LIMITS record, with a lease that never ends (the live desk shortens it)."""
    risk = cfg.risk
    lim["max_pos_lots"] = _lots(risk.max_position, instrument, ref_price, "risk.max_position")
    lim["max_notional_usd"] = min(risk.max_notional_usd, risk.initial_equity_usd * risk.leverage)
    lim["max_daily_loss_usd"] = risk.max_daily_loss_usd
    lim["max_drawdown_usd"] = risk.max_drawdown_usd
    lim["initial_equity_usd"] = risk.initial_equity_usd
    lim["valid_until_ns"] = FOREVER_NS


def _lots(size: Any, instrument: Instrument, ref_price: float, what: str) -> int:
    try:
        lots = int(size.lots(instrument, ref_price))
    except ValueError as exc:
        raise ConfigError(f"{what}: {exc}") from exc
    if lots > MAX_LOTS:
        raise ConfigError(f"{what}: {size.value} {size.unit} of {instrument.symbol} is more than {MAX_LOTS} lots")
    return lots
