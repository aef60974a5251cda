"""From ``strategy.controls`` to the kernel's records: units are converted once, at the reference price."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from mm.config.controls import (
    ControlsConfig,
    InventoryControl,
    LiquidationConfig,
    MoveConfig,
    RegimeConfig,
    VolatilityGuardConfig,
)
from mm.config.schema import RiskConfig
from mm.core.instrument import Instrument
from mm.core.units import to_ns
from mm.errors import ConfigError
from mm.strategy.controls import names
from mm.strategy.controls.inventory import in_lots
from mm.strategy.controls.names import bit
from mm.strategy.margin import RULES, tier_table

UNLIMITED = 10**15  # lots


class _At(NamedTuple):
    """What converts units."""

    instrument: Instrument
    ref_price: float

    def lots(self, size: Any, what: str) -> int:
        try:
            lots = int(size.lots(self.instrument, self.ref_price))
        except ValueError as exc:
            raise ConfigError(f"strategy.controls.{what}: {exc}") from exc
        if lots > UNLIMITED:
            raise ConfigError(f"strategy.controls.{what}: {size.value} {size.unit} is more than {UNLIMITED} lots")
        return lots

    def ticks(self, distance: Any) -> float:
        return float(distance.ticks(self.instrument, self.ref_price))

    def sigma(self, volatility: Any) -> float:
        return float(volatility.ticks_per_sqrt_s(self.instrument, self.ref_price))


def fill_controls(
    p: Any, s: Any, watch: Any, c: ControlsConfig, risk: RiskConfig, instrument: Instrument, ref_price: float
) -> None:
    """The controls of a config into PARAMS, STATE and WATCH records whose other fields are filled.

    Raises:
        ConfigError: limits that contradict each other once their units are known.
    """
    at = _At(instrument, ref_price)
    p["controls"] = sum(bit(act) for section, act in _ACTS.items() if getattr(c, section) is not None)
    _watch(watch["settings"], c, at)
    g = p["control"]
    if c.inventory is not None:
        _inventory(g["inventory"], p, c.inventory, at)
    if c.cooldown is not None:
        cool, k = g["cooldown"], c.cooldown
        cool["halflife_s"], cool["markout_ns"] = k.halflife, to_ns(k.markout)
        cool["widen_at"], cool["pause_at"], cool["resume_at"] = k.widen_at, k.pause_at, k.resume_at
        cool["extra"], cool["adverse"], cool["weight"] = k.widen - 1.0, at.ticks(k.adverse), k.weight
    for name in ("displacement", "momentum"):
        if (move := getattr(c, name)) is not None:
            _move(g[name], move)
    if c.regime is not None:
        _latch(g["regime"], c.regime, c.regime.soften, c.regime.pull, c.regime.resume)
    if c.volatility is not None:
        soften, pull, resume = (at.sigma(v) for v in (c.volatility.soften, c.volatility.pull, c.volatility.resume))
        if not resume <= soften <= pull:
            raise ConfigError("strategy.controls.volatility: need resume <= soften <= pull")
        _latch(g["volatility"], c.volatility, soften, pull, resume)
    if c.market_spread is not None:
        g["market"]["max_spread"] = at.ticks(c.market_spread.max)
    if c.thin_book is not None:
        g["market"]["min_depth_lots"] = at.lots(c.thin_book.min, "thin_book.min")
    if c.fee_floor is not None:
        _fee_floor(p, c.fee_floor.margin_bps, at)
    if c.session is not None:
        day = g["session"]
        day["end_ns"] = c.session.end * 60 * 10**9
        start = c.session.end if c.session.start is None else c.session.start
        day["closed_ns"] = (start - c.session.end) % 1440 * 60 * 10**9
        day["flatten_ns"], day["widen_ns"] = to_ns(c.session.flatten), to_ns(c.session.widening)
        day["extra"] = c.session.widen - 1.0
    if c.rebalance is not None:
        limit = at.lots(c.rebalance.limit, "rebalance.limit")
        resume = limit // 2 if c.rebalance.resume is None else at.lots(c.rebalance.resume, "rebalance.resume")
        if resume > limit:
            raise ConfigError(f"strategy.controls.rebalance: resume {resume} lots is above limit {limit} lots")
        dust = int(p["min_lots"]) - 1  # too little for an order of its own: whoever waits for it to go waits forever
        if limit < dust:
            raise ConfigError(
                f"strategy.controls.rebalance: limit {limit} lots is below the smallest order of {dust + 1} lots: what "
                "is beyond it could not be sold"
            )
        g["rebalance"]["limit_lots"], g["rebalance"]["resume_lots"] = limit, max(resume, dust)
    if c.liquidation is not None:
        _protection(g["protection"], s["control"]["protection"]["margin"], c.liquidation, risk, at)


_ACTS = {
    "tick_filter": names.TICK_FILTER, "inventory": names.SOFT_LIMIT, "cooldown": names.COOLDOWN,
    "displacement": names.DISPLACEMENT, "momentum": names.MOMENTUM, "regime": names.REGIME,
    "volatility": names.VOLATILITY, "market_spread": names.MARKET_SPREAD, "thin_book": names.THIN_BOOK,
    "fee_floor": names.FEE_FLOOR, "session": names.SESSION, "rebalance": names.REBALANCE,
    "liquidation": names.LIQUIDATION,
}  # fmt: skip


def _watch(w: Any, c: ControlsConfig, at: _At) -> None:
    """Settings of the market signals that the controls need."""
    w["depth_ticks"] = -1
    if c.tick_filter is not None:
        k = w["filter"]
        k["window"], k["mads"], k["confirm"] = c.tick_filter.window, c.tick_filter.mads, c.tick_filter.confirm
        k["floor"] = at.ticks(c.tick_filter.floor)
    if c.displacement is not None:
        w["displacement_s"] = c.displacement.window
    if c.momentum is not None:
        w["momentum_s"] = c.momentum.window
    if c.regime is not None:
        w["adx"]["bar_ns"], w["adx"]["n"] = to_ns(c.regime.bar), c.regime.period
    if c.volatility is not None:
        w["sample_ns"], w["halflife_s"] = to_ns(c.volatility.sample), c.volatility.halflife
    if c.thin_book is not None:
        w["depth_ticks"] = math.floor(min(at.ticks(c.thin_book.within), float(UNLIMITED)) + 1e-9)
    w["on"] = any(
        x is not None for x in (c.tick_filter, c.displacement, c.momentum, c.regime, c.volatility, c.thin_book)
    )


def _inventory(g: Any, p: Any, k: InventoryControl, at: _At) -> None:
    hard = int(p["max_inventory_lots"])
    if k.hard is not None:
        hard = min(hard, at.lots(k.hard, "inventory.hard"))
    soft = UNLIMITED if k.soft is None else at.lots(k.soft, "inventory.soft")
    if k.soft is not None and soft >= hard:
        raise ConfigError(f"strategy.controls.inventory: soft {soft} lots must be below the hard limit of {hard} lots")
    if hard < p["min_lots"]:
        raise ConfigError(f"strategy.controls.inventory: the hard limit of {hard} lots holds no order at all")
    g["soft_lots"], g["hard_lots"], g["skew"] = soft, hard, k.skew
    g["soft_usd"] = math.inf if k.soft_usd is None else k.soft_usd
    g["hard_usd"] = math.inf if k.hard_usd is None else k.hard_usd
    mid = at.ref_price / float(at.instrument.tick_size)
    most = min(hard, in_lots(p, g["hard_usd"], mid))
    if most < p["min_lots"]:
        raise ConfigError(
            f"strategy.controls.inventory: hard_usd {k.hard_usd:g} is {most} lots at {at.ref_price:g}, below the "
            f"smallest order of {int(p['min_lots'])} lots: nothing could be quoted"
        )
    least = min(soft, in_lots(p, g["soft_usd"], mid))
    if least >= most and (k.soft is not None or k.soft_usd is not None):
        raise ConfigError(
            f"strategy.controls.inventory: the soft limit of {least} lots (at {at.ref_price:g}) must be below the hard "
            f"limit of {most} lots: it would never act"
        )


def _move(g: Any, k: MoveConfig) -> None:
    g["window_s"], g["start"], g["full"], g["extra"] = k.window, k.start, k.full, k.widen - 1.0


def _latch(g: Any, k: RegimeConfig | VolatilityGuardConfig, soften: float, pull: float, resume: float) -> None:
    g["soften"], g["pull"], g["resume"], g["dwell_ns"] = soften, pull, resume, to_ns(k.dwell)
    g["scale"], g["extra"] = k.size, k.widen - 1.0


def _fee_floor(p: Any, margin_bps: float, at: _At) -> None:
    floor = max(2.0 * float(p["maker_fee_e8"]) * 1e-8 + margin_bps * 1e-4, 0.0)
    p["control"]["fee_floor"] = floor
    ticks = floor * at.ref_price / float(at.instrument.tick_size)
    if ticks > p["max_spread"]:
        raise ConfigError(
            f"strategy.controls.fee_floor: a round trip needs a spread of {floor * 1e4:g} bps ({ticks:g} ticks), more "
            f"than strategy.spread.max of {float(p['max_spread']):g} ticks: no quote could earn its fees"
        )


def _protection(g: Any, margin: Any, k: LiquidationConfig, risk: RiskConfig, at: _At) -> None:
    if at.instrument.kind == "spot":
        raise ConfigError(f"strategy.controls.liquidation: {at.instrument.symbol} is spot; nothing liquidates it")
    if not risk.margin.tiers:
        raise ConfigError("strategy.controls.liquidation: risk.margin.tiers is empty, so nothing is ever liquidated")
    g["below"], g["resume"] = k.below, k.resume
    unit_usd = at.ref_price if at.instrument.kind == "inverse" else 1.0
    g["tiers"] = tier_table(risk.margin, unit_usd)
    margin["tiers"] = len(risk.margin.tiers)
    margin["maintenance"] = RULES[risk.margin.maintenance]
    margin["leverage"] = risk.leverage
    margin["wallet"] = risk.initial_equity_usd / unit_usd
    margin["entry"] = at.ref_price / float(at.instrument.tick_size)
