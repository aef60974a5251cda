"""The section ``strategy.controls``: what may stand between the model's quote and an order. Each is off unless given.

``displacement: {}`` switches a control on with its defaults. ``widen`` factors are of the half-spread that the model
quotes with an empty inventory: 2 doubles it. What each does, and when it lets go: docs/controls.md.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainSerializer, model_validator

from mm.config.quantities import LengthQ, Seconds, Section, SizeQ, VolatilityQ
from mm.core.units import Distance, Size, Volatility

Widen = Annotated[float, Field(ge=1, le=100)]
Share = Annotated[float, Field(gt=0, le=1)]
Window = Annotated[Seconds, Field(gt=0)]


def _minutes(value: Any) -> Any:
    """``21:30`` as minutes of the UTC day. YAML 1.1 reads an unquoted 21:30 as 21 * 60 + 30: the same number."""
    if isinstance(value, str):
        if not (match := re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)", value.strip())):
            raise ValueError(f"time of day: cannot read {value!r}; write it like '21:30' (UTC)")
        return int(match[1]) * 60 + int(match[2])
    return value


TimeOfDay = Annotated[
    int,
    BeforeValidator(_minutes),
    PlainSerializer(lambda m: f"{m // 60:02d}:{m % 60:02d}", return_type=str),
    Field(ge=0, lt=1440),
]


class TickFilterConfig(Section):
    """Outliers of the mid are not believed until the market repeats them."""

    window: Annotated[int, Field(ge=5, le=31)] = 15  # believed mids looked back on
    mads: Annotated[float, Field(gt=0)] = 8.0  # robust standard deviations around their median
    floor: LengthQ = Distance(5.0, "bps")  # never an outlier closer than this
    confirm: Annotated[int, Field(ge=2, le=1000)] = 5  # suspect ticks in a row that agree: the new level is believed


class InventoryControl(Section):
    """Limits of |inventory - target|; those in quote currency count at the current mid, the tighter one counts."""

    soft: SizeQ | None = None  # from here on the adding side shrinks, to nothing at the hard limit
    hard: SizeQ | None = None  # also if every working order fills; default: max_inventory
    soft_usd: Annotated[float, Field(gt=0)] | None = None
    hard_usd: Annotated[float, Field(gt=0)] | None = None
    skew: Annotated[float, Field(ge=0, le=10)] = 1.0  # times the model's inventory skew

    @model_validator(mode="after")
    def _order(self) -> InventoryControl:
        if self.soft_usd is not None and self.hard_usd is not None and self.soft_usd >= self.hard_usd:
            raise ValueError(f"inventory: soft_usd {self.soft_usd:g} must be below hard_usd {self.hard_usd:g}")
        return self


class CooldownConfig(Section):
    """A side that is filled one-sidedly, or badly, rests. Heat is counted in order sizes."""

    halflife: Window = 10.0  # of the heat, wall-clock
    widen_at: Annotated[float, Field(gt=0)] = 2.0
    pause_at: Annotated[float, Field(gt=0)] = 4.0
    resume_at: Annotated[float, Field(gt=0)] = 1.0
    widen: Widen = 2.0
    markout: Seconds = 5.0  # when a fill is judged
    adverse: LengthQ = Distance(1.0, "bps")  # a markout worse than this heats its side again
    weight: Annotated[float, Field(ge=0)] = 1.0  # by so many times the fill's size

    @model_validator(mode="after")
    def _order(self) -> CooldownConfig:
        if not self.resume_at <= self.widen_at <= self.pause_at or self.resume_at == self.pause_at:
            raise ValueError("cooldown: need resume_at <= widen_at <= pause_at, and resume_at < pause_at")
        return self


class MoveConfig(Section):
    """A move of the mid from its average over a window, in standard deviations of what sigma explains."""

    window: Window
    start: Annotated[float, Field(ge=0)]  # sigmas: no effect up to here
    full: Annotated[float, Field(gt=0)]  # sigmas: the whole effect from here on
    widen: Widen = 2.0

    @model_validator(mode="after")
    def _order(self) -> MoveConfig:
        if self.full <= self.start:
            raise ValueError(f"full {self.full:g} sigmas must be above start {self.start:g} sigmas")
        return self


class DisplacementConfig(MoveConfig):
    """After a jump both sides are wider."""

    window: Window = 2.0
    start: Annotated[float, Field(ge=0)] = 3.0
    full: Annotated[float, Field(gt=0)] = 6.0
    widen: Widen = 3.0


class MomentumConfig(MoveConfig):
    """The side that a trend runs over is wider."""

    window: Window = 15.0
    start: Annotated[float, Field(ge=0)] = 1.0
    full: Annotated[float, Field(gt=0)] = 3.0


class RegimeConfig(Section):
    """Wilder's ADX on closed bars of the mid: smaller and wider from ``soften``, nothing from ``pull``."""

    bar: Annotated[Seconds, Field(ge=1, le=86_400)] = 60.0
    period: Annotated[int, Field(ge=2, le=200)] = 14  # warm-up: 2 * period bars without quotes
    soften: Annotated[float, Field(ge=0, le=100)] = 25.0
    pull: Annotated[float, Field(ge=0, le=100)] = 30.0
    resume: Annotated[float, Field(gt=0, le=100)] = 22.0  # below it for `dwell`: normal again
    dwell: Seconds = 120.0
    size: Share = 0.5
    widen: Widen = 1.5

    @model_validator(mode="after")
    def _order(self) -> RegimeConfig:
        if not self.resume <= self.soften <= self.pull:
            raise ValueError("regime: need resume <= soften <= pull")
        return self


class VolatilityGuardConfig(Section):
    """Extreme volatility of the mid, by an estimate of its own."""

    halflife: Window = 30.0
    sample: Window = 1.0
    soften: VolatilityQ = Volatility(100.0, "bps", "hour")  # 1 % in an hour, about 5 % in a day
    pull: VolatilityQ = Volatility(200.0, "bps", "hour")
    resume: VolatilityQ = Volatility(80.0, "bps", "hour")
    dwell: Seconds = 30.0
    size: Share = 0.5
    widen: Widen = 2.0

    @model_validator(mode="after")
    def _step(self) -> VolatilityGuardConfig:
        if self.sample > self.halflife:
            raise ValueError("volatility: need sample <= halflife")
        return self


class MarketSpreadConfig(Section):
    """No quotes while the others' touch is wider."""

    max: LengthQ = Distance(20.0, "bps")


class ThinBookConfig(Section):
    """No quotes while a side holds less near its touch."""

    min: SizeQ = Size(Decimal(1000), "usd")
    within: LengthQ = Distance(5.0, "bps")


class FeeFloorConfig(Section):
    """The spread earns the fees of a maker-maker round trip."""

    margin_bps: Annotated[float, Field(ge=-100, le=1000)] = 0.0  # over them


class SessionConfig(Section):
    """A trading day, UTC: widen into its end, flatten, stay out until the next opening."""

    end: TimeOfDay
    start: TimeOfDay | None = None  # the next opening; default: at the end
    flatten: Seconds = 600.0  # before the end: reducing side only
    widening: Seconds = 0.0  # before that: wider and wider
    widen: Widen = 2.0  # up to this

    @model_validator(mode="after")
    def _day(self) -> SessionConfig:
        closed = 0 if self.start is None else (self.start - self.end) % 1440
        if self.flatten + self.widening >= 86_400.0 - 60.0 * closed:
            raise ValueError("session: flatten and widening must leave some of the day between start and end")
        return self


class RebalanceConfig(Section):
    """Beyond ``limit`` only the reducing side is quoted, up to the touch, until back at ``resume``."""

    limit: SizeQ
    resume: SizeQ | None = None  # default: half the limit


class LiquidationConfig(Section):
    """Reduce before the venue does: shares of the distance from entry to liquidation that are left."""

    below: Annotated[float, Field(gt=0, lt=1)] = 0.2
    resume: Annotated[float, Field(gt=0, lt=1)] = 0.4

    @model_validator(mode="after")
    def _order(self) -> LiquidationConfig:
        if self.resume < self.below:
            raise ValueError("liquidation: need below <= resume")
        return self


class ControlsConfig(Section):
    """Every control of a strategy."""

    tick_filter: TickFilterConfig | None = None
    inventory: InventoryControl | None = None
    cooldown: CooldownConfig | None = None
    displacement: DisplacementConfig | None = None
    momentum: MomentumConfig | None = None
    regime: RegimeConfig | None = None
    volatility: VolatilityGuardConfig | None = None
    market_spread: MarketSpreadConfig | None = None
    thin_book: ThinBookConfig | None = None
    fee_floor: FeeFloorConfig | None = None
    session: SessionConfig | None = None
    rebalance: RebalanceConfig | None = None
    liquidation: LiquidationConfig | None = None
