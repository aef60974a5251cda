"""The typed config: every section, its units and its defaults.

Quantities carry their unit in the text (``mm.core.units``); plain numbers are allowed where the field's name states
the unit (``_usd``, ``_pct``) or the unit system leaves no doubt.
"""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag, field_validator, model_validator

from mm.config.controls import ControlsConfig
from mm.config.quantities import (
    DistanceQ,
    Fee,
    LengthQ,
    PerPriceQ,
    Seconds,
    Section,
    Seed,
    SizeQ,
    VolatilityQ,
    positive,
    unit_text,
)
from mm.core.units import Distance, PerPrice, Size, Volatility


# --- strategy --------------------------------------------------------------------------------------------------------
class GammaFromQmax(Section):
    """Risk aversion solved from a target: at ``q_max`` order sizes of inventory the reducing quote sits on the mid."""

    q_max: float = Field(gt=0)


class EwmaSigma(Section):
    """Sigma estimated in flight from the mid: exponentially weighted with a half-life, sampled at a fixed step."""

    halflife: Seconds = 60.0
    sample: Seconds = 0.1
    initial: VolatilityQ = Volatility(0.7, "bps", "s")
    floor: VolatilityQ = Volatility(0.05, "bps", "s")

    @model_validator(mode="after")
    def _order(self) -> EwmaSigma:
        if not 0 < self.sample <= self.halflife:
            raise ValueError("sigma: need 0 < sample <= halflife")
        return self


def _section_or_quantity(value: Any) -> str:
    return "section" if isinstance(value, (dict, Section)) else "quantity"


_EITHER = Discriminator(_section_or_quantity)
GammaQ = Annotated[Annotated[GammaFromQmax, Tag("section")] | Annotated[PerPriceQ, Tag("quantity")], _EITHER]
SigmaQ = Annotated[Annotated[EwmaSigma, Tag("section")] | Annotated[VolatilityQ, Tag("quantity")], _EITHER]


ModelName = Literal[
    "avellaneda_stoikov",
    "glft_asymptotic",
    "glft_stationary",
    "glft_exact",
    "legacy_percent",
    "legacy_glft",
    "random_control",
]


class ModelConfig(Section):
    """The quote model and its parameters (FORMULAS sections 0-2)."""

    name: ModelName = "glft_asymptotic"
    gamma: GammaQ = GammaFromQmax(q_max=5)
    kappa: Annotated[PerPriceQ, AfterValidator(positive)] = PerPrice(0.7, "bps")
    A: Annotated[float, Field(gt=0)] = 0.8  # fills/s at zero depth, one side
    sigma: SigmaQ = EwmaSigma()
    xi: PerPriceQ | None = None  # execution-risk aversion; default: gamma
    mu: DistanceQ = Distance(0.0, "bps")  # drift, price per second
    impact: DistanceQ = Distance(0.0, "bps")  # adverse move per fill
    fee_aware: bool = False  # quotes that know the maker fee: one fee further out, a rebate closer in (GLFT, A-S)
    horizon: Seconds = 60.0
    horizon_mode: Literal["rolling", "session"] = "rolling"
    n_lots: Annotated[int, Field(ge=1, le=50)] = 10  # inventory grid of the table models, in order sizes


class SpreadBounds(Section):
    """The last overlay: total spread about the reservation price, and the skew, each with its own cap."""

    min: LengthQ = Distance(0.5, "bps")
    max: LengthQ = Distance(50.0, "bps")
    max_skew: LengthQ = Distance(25.0, "bps")


class RequoteConfig(Section):
    """When a resting quote is replaced."""

    threshold: LengthQ = Distance(1.0, "ticks")  # keep a quote whose target moved by less
    min_age: Seconds = 0.1
    max_age: Seconds = 30.0


class CrossReference(Section):
    """Reference price from two venues' mids, see ``mm.strategy.cross``; the other venue's tape is ``data.other``."""

    cross: Literal["volume"] | Annotated[float, Field(gt=0, le=1)]  # weight of the other venue: its volume share, or so
    volume_halflife: Annotated[Seconds, Field(gt=0)] = 60.0
    basis_halflife: Annotated[Seconds, Field(gt=0)] = 60.0  # of the usual gap between the two mids
    stale_after: Annotated[Seconds, Field(gt=0)] = 1.0  # not heard for so long: our own mid alone


class DynamicParams(Section):
    """A and kappa estimated in flight from the market orders seen, for as long as the estimate passes these gates.

    Else, and at the start, the model's own values are used, and why is counted. ``dynamic`` alone: these defaults.
    """

    halflife: Annotated[Seconds, Field(gt=0)] = 120.0  # of an order's weight
    every: Annotated[Seconds, Field(gt=0)] = 1.0  # between fits
    min_arrivals: Annotated[float, Field(gt=0)] = 50.0  # on each side, weighted, of those that are fitted
    max_misfit: Annotated[float, Field(gt=0, le=1)] = 0.25  # Kolmogorov-Smirnov distance
    within: Annotated[float, Field(gt=1)] = 10.0  # an estimate this many times the configured value is not believed


ParamsQ = Annotated[
    Annotated[DynamicParams, Tag("section")] | Annotated[Literal["static", "dynamic"], Tag("quantity")], _EITHER
]


class StrategyConfig(Section):
    """Everything that moves a quote."""

    model: ModelConfig = ModelConfig()
    params: ParamsQ = "static"  # A and kappa as configured, or re-estimated in flight
    reference: Annotated[
        Annotated[CrossReference, Tag("section")] | Annotated[Literal["mid", "microprice"], Tag("quantity")], _EITHER
    ] = "mid"
    order_size: SizeQ = Size(Decimal(100), "usd")
    opening_base: SizeQ | None = None  # spot: held from the start, bought at the first mid
    target_inventory: SizeQ | None = None  # spot: inventory is measured from here; default: none is wanted
    max_inventory: SizeQ | None = None  # the adding side is not quoted beyond it; default: n_lots order sizes
    controls: ControlsConfig | None = None  # each off unless given
    spread: SpreadBounds = SpreadBounds()
    requote: RequoteConfig = RequoteConfig()
    refresh: Seconds = 1.0  # how often the model's policy is recomputed


# --- risk ------------------------------------------------------------------------------------------------------------
class RateLimit(Section):
    """At most ``orders`` messages to the venue in any window; those beyond it are held back."""

    orders: Annotated[int, Field(ge=1, le=10_000)]
    window: Annotated[Seconds, Field(gt=0, le=3600)] = 1.0
    burst: Annotated[int, Field(ge=1)] | None = None  # of them at once; default: half
    cancels: bool = True  # cancels count too

    @model_validator(mode="after")
    def _burst(self) -> RateLimit:
        if self.burst is not None and self.burst > self.orders:
            raise ValueError(f"rate_limit: burst {self.burst} is above orders {self.orders}")
        return self


class MarginTier(Section):
    """Maintenance margin of the part of a position above a value."""

    above_usd: Annotated[float, Field(ge=0)] = 0.0
    rate_pct: Annotated[float, Field(gt=0, lt=100)] = 0.5


class MarginConfig(Section):
    """Isolated margin of a perpetual in a simulation; no tiers: no liquidation, no refusal for want of margin."""

    tiers: Annotated[list[MarginTier], Field(max_length=16)] = [MarginTier()]
    maintenance: Literal["entry_mm", "mark_mm", "mark_mm_fee"] = "mark_mm"  # FORMULAS section 7
    close_at: Literal["bankruptcy", "mark"] = "bankruptcy"  # what a liquidated position is closed at

    @model_validator(mode="after")
    def _rising(self) -> MarginConfig:
        if self.tiers and self.tiers[0].above_usd != 0.0:
            raise ValueError("margin: the first tier starts above_usd: 0")
        for low, high in zip(self.tiers, self.tiers[1:], strict=False):
            if high.above_usd <= low.above_usd or high.rate_pct <= low.rate_pct:
                raise ValueError("margin: tiers must rise, in above_usd and in rate_pct")
        return self


class MonitorConfig(Section):
    """Alerts of a trial, from its sampled equity and position; a figure without a limit is not watched."""

    window: Annotated[Seconds, Field(gt=0)] = 300.0  # looked back over
    step: Annotated[Seconds, Field(gt=0)] = 1.0  # of the equity changes behind VaR and CVaR
    tail_pct: Annotated[float, Field(gt=0, lt=50)] = 5.0
    drawdown_usd: Annotated[float, Field(gt=0)] | None = None  # below the highest equity of the window
    var_usd: Annotated[float, Field(gt=0)] | None = None  # loss per step exceeded in tail_pct of the steps
    cvar_usd: Annotated[float, Field(gt=0)] | None = None  # mean loss of those steps
    inventory_drift: SizeQ | None = None  # |mean position| of the window, away from the opening position

    @model_validator(mode="after")
    def _steps(self) -> MonitorConfig:
        if self.window < 2 * self.step:
            raise ValueError("monitors: the window must hold at least two steps")
        return self


class RiskConfig(Section):
    """Hard limits, held by the executor's gate and by the simulator alike. Working orders count as if filled."""

    max_position: SizeQ = Size(Decimal(2000), "usd")
    max_notional_usd: Annotated[float, Field(gt=0)] = 10_000.0
    max_daily_loss_usd: Annotated[float, Field(gt=0)] = 200.0
    max_drawdown_usd: Annotated[float, Field(gt=0)] = 400.0
    initial_equity_usd: Annotated[float, Field(gt=0)] = 10_000.0
    leverage: Annotated[float, Field(gt=0)] = 1.0
    max_leverage: Annotated[float, Field(gt=0)] = 1.0  # the lock: raising `leverage` needs raising this too
    rate_limit: RateLimit | None = None
    margin: MarginConfig = MarginConfig()
    monitors: MonitorConfig = MonitorConfig()

    @model_validator(mode="after")
    def _leverage(self) -> RiskConfig:
        if self.leverage > self.max_leverage:
            raise ValueError(
                f"leverage {self.leverage:g} is above the lock max_leverage {self.max_leverage:g}; "
                "raise risk.max_leverage too if you mean it"
            )
        if self.margin.tiers and self.leverage * self.margin.tiers[0].rate_pct >= 100.0:
            raise ValueError(
                f"leverage {self.leverage:g} leaves an initial margin of {100.0 / self.leverage:g} %, not above the "
                f"maintenance margin of {self.margin.tiers[0].rate_pct:g} %"
            )
        return self


# --- data and simulation ---------------------------------------------------------------------------------------------
class ListingConfig(Section):
    """The tape's instrument as another venue lists it: that venue's lot and smallest order, on the tape's own ticks."""

    venue: str
    lot_size: Annotated[Decimal, Field(gt=0)]  # base; the tape's lot must be a whole number of it
    min_notional_usd: Annotated[Decimal, Field(ge=0)] = Decimal(0)


class DataConfig(Section):
    """The tape of a simulation: a store directory, or ``synth`` (seeded, made on first use and kept in the cache)."""

    source: str = "synth"
    duration: Seconds = 600.0  # synth only
    seed: Seed = 1  # synth only
    listing: ListingConfig | None = None  # default: as recorded
    other: str | None = None  # store of the same asset on another venue, for strategy.reference: {cross: ...}


class QueueConfig(Section):
    """Queue-position model (FORMULAS section 4); ``touch`` and ``trade_through`` are the two ends of the ladder."""

    model: Literal["risk_averse", "power", "power2", "power3", "log", "log2", "touch", "trade_through"] = "power"
    n: Annotated[float, Field(gt=0)] = 2.0


class LognormalLatency(Section):
    """Random delays, drawn per message from ``seed``: exp of a normal; messages of one connection stay in order."""

    median: Seconds
    sigma: Annotated[float, Field(ge=0, le=3)]  # standard deviation of the logarithm


class MeasuredLatency(Section):
    """Recorded delays: a ``.npy`` of shape (n, 2) or a CSV of ``time,delay`` lines, both in integer nanoseconds.

    A message takes the delay that was measured last before it is sent.
    """

    file: Path
    repeat: bool = False  # true: the series starts with the tape and starts over, whatever its own dates


def _order_latency_kind(value: Any) -> str:
    if isinstance(value, MeasuredLatency) or (isinstance(value, dict) and "file" in value):
        return "measured"
    return "lognormal" if isinstance(value, (dict, Section)) else "constant"


def _feed_latency_kind(value: Any) -> str:
    if isinstance(value, str) and value == "data":
        return "data"
    return "lognormal" if isinstance(value, (dict, Section)) else "constant"


LatencyQ = Annotated[
    Annotated[Seconds, Tag("constant")]
    | Annotated[LognormalLatency, Tag("lognormal")]
    | Annotated[MeasuredLatency, Tag("measured")],
    Discriminator(_order_latency_kind),
]
FeedLatencyQ = Annotated[
    Annotated[Literal["data"], Tag("data")]
    | Annotated[Seconds, Tag("constant")]
    | Annotated[LognormalLatency, Tag("lognormal")],
    Discriminator(_feed_latency_kind),
]


class SimConfig(Section):
    """Latency, fills and fees of the simulator."""

    order_latency: LatencyQ = 0.010  # our order to the exchange
    response_latency: LatencyQ = 0.010  # its answer back to us
    feed_latency: FeedLatencyQ = "data"
    queue: QueueConfig = QueueConfig()
    partial_fills: bool = True  # false: an order whose turn has come fills wholly, whatever the trade's size
    self_trade: Literal["reject", "cancel_resting"] = "reject"  # an order of ours arrives that crosses one of ours
    decide_every: Literal["message"] | Seconds = 0.1
    samples: Annotated[int, Field(ge=2, le=10_000_000)] = 4000  # at most so many of equity, position and quotes
    fee_tier: str | None = None  # 'venue:tier' of mm.core.fees; default: the instrument's fees
    maker_fee: Fee | None = None  # over the tier's
    taker_fee: Fee | None = None


# --- live ------------------------------------------------------------------------------------------------------------
class EmbeddedExchange(Section):
    """The local exchange that `live` starts for a venue whose network is ``local``."""

    flow: str = "synth"  # or a store directory, replayed in a loop
    flow_seed: Seed = 1
    fair_seed: Seed | None = None  # exchanges of a desk with the same one follow one fair price, or one store in step
    basis_bps: Annotated[float, Field(ge=-1000, le=1000)] = 0.0  # of this exchange over that price
    delay: Annotated[Seconds, Field(ge=0, le=60)] = 0.0  # this exchange follows so much later
    speed: Annotated[float, Field(gt=0, le=1000)] = 1.0
    maker_fee: Fee | None = None  # default: those of the venue's spec; of the native exchange 1 and 5 bps
    taker_fee: Fee | None = None
    balance_usd: Annotated[float, Field(gt=0)] = 10_000.0
    inventory_base: Annotated[float, Field(ge=0)] = 0.0  # spot: held from the start, of each instrument
    funding_every: Annotated[Seconds, Field(ge=0.1)] | None = None  # default: the flow's, a synthetic one's the venue's
    funding_rate: Fee = Decimal("0.0001")  # of each of these settlements


class VenueConfig(Section):
    """One exchange account: its own feed, quoter, risk and executor."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,30}$")]
    # ccxt:ID is any exchange of ccxt.pro, by the generic adapter
    kind: (
        Literal["native", "bybit", "mexc", "hyperliquid", "apex", "paradex"]
        | Annotated[str, Field(pattern=r"^ccxt:[a-z0-9]{1,40}$")]
    ) = "native"
    network: Literal["local", "testnet", "mainnet"] = "local"  # not local: real, and `live` wants --real
    instruments: Annotated[list[str], Field(min_length=1)] = ["BTC-USDT"]  # by the venue's own symbols
    exchange: EmbeddedExchange = EmbeddedExchange()
    address: str | None = None  # 127.0.0.1:PORT of a local exchange that is already running
    proxy: str | None = None  # socks5h://host:port
    paper: bool = False  # live market data of the network, orders on paper: filled by the queue model of `sim`
    strategy: StrategyConfig | None = None  # default: the run's
    risk: RiskConfig | None = None

    @property
    def embedded(self) -> bool:
        """`live` starts its exchange."""
        return self.network == "local" and self.address is None

    @property
    def adapter(self) -> str:
        """Its name in ``mm.venues.registry``."""
        return f"paper:{self.kind}" if self.paper else self.kind

    @property
    def real(self) -> bool:
        """Orders leave this machine."""
        return self.network != "local" and not self.paper

    @field_validator("address")
    @classmethod
    def _on_this_machine(cls, value: str | None) -> str | None:
        host, _, port = (value or "").rpartition(":")
        if value is not None and not (port.isdecimal() and host and "/" not in host):
            raise ValueError(f"expected host:port of a local exchange, e.g. 127.0.0.1:8000, got {value!r}")
        if value is not None and host not in ("127.0.0.1", "localhost"):  # keys would leave it unencrypted
            raise ValueError(f"a local exchange is on this machine: 127.0.0.1:{port}, not {value!r}")
        return value

    @model_validator(mode="after")
    def _real(self) -> VenueConfig:
        if self.network != "local" and self.kind == "native":
            raise ValueError(f"network {self.network}: kind native is the local exchange's own; name a venue")
        if self.network != "local" and self.address is not None:
            raise ValueError(f"network {self.network} has its own address; leave address out")
        return self

    @model_validator(mode="after")
    def _unique(self) -> VenueConfig:
        if len(set(self.instruments)) != len(self.instruments):
            raise ValueError(f"instruments must differ, got {', '.join(self.instruments)}")
        return self


class LiveConfig(Section):
    """The desk."""

    venues: Annotated[list[VenueConfig], Field(min_length=1)] = [VenueConfig(name="sandbox")]
    duration: Seconds | None = None  # default: until stopped
    timer: Annotated[Seconds, Field(ge=0.01, le=1.0)] = 0.25  # decide at least this often; also the quoter's heartbeat
    stale_after: Seconds = 2.0  # no market data for this long: quotes are pulled
    transport: Literal["ipc", "tcp"] = "ipc"

    @model_validator(mode="after")
    def _unique(self) -> LiveConfig:
        names = [v.name for v in self.venues]
        if len(set(names)) != len(names):
            raise ValueError(f"venue names must differ, got {', '.join(names)}")
        return self


# --- tune ------------------------------------------------------------------------------------------------------------
class Resources(Section):
    """Of one trial; fractions share a device."""

    cpu: Annotated[float, Field(gt=0)] = 1.0
    gpu: Annotated[float, Field(ge=0)] = 0.0


class TuneConfig(Section):
    """The sweep: axes stand in the other sections, as lists or ``{grid|uniform|loguniform|choice: ...}``."""

    trials: Annotated[int, Field(ge=1)] = 1000
    max_par: Annotated[int, Field(ge=1)] | None = None  # default: as many as the resources allow
    metric: str = "pnl_usd"
    mode: Literal["max", "min"] = "max"
    resources: Resources = Resources()


class DeskLeg(Section):
    """One instrument of a desk simulation; sections left out are the run's."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,30}$")]
    data: DataConfig
    strategy: StrategyConfig | None = None
    sim: SimConfig | None = None


class DeskConfig(Section):
    """Several instruments and venues in one simulation, under one desk-wide risk."""

    legs: list[DeskLeg] = []
    step: Seconds = 0.25  # how often the desk's risk looks

    @model_validator(mode="after")
    def _unique(self) -> DeskConfig:
        names = [leg.name for leg in self.legs]
        if len(set(names)) != len(names):
            raise ValueError(f"leg names must differ, got {', '.join(names)}")
        if self.step <= 0:
            raise ValueError("desk.step must be positive")
        return self


class RunConfig(Section):
    """One complete run."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,60}$")] = "run"
    tag: str = ""
    seed: Seed = 42
    data: DataConfig = DataConfig()
    strategy: StrategyConfig = StrategyConfig()
    risk: RiskConfig = RiskConfig()
    sim: SimConfig = SimConfig()
    desk: DeskConfig = DeskConfig()
    live: LiveConfig = LiveConfig()
    tune: TuneConfig = TuneConfig()

    def of_venue(self, n: int) -> RunConfig:
        """The run as the actors of one venue see it, with the strategy and risk that the venue has of its own."""
        venue = self.live.venues[n]
        own = {"strategy": venue.strategy, "risk": venue.risk}
        return self.model_copy(update={name: section for name, section in own.items() if section is not None})

    @model_validator(mode="after")
    def _orders_fit(self) -> RunConfig:
        size, limit = self.strategy.order_size, self.risk.max_position
        if size.unit == limit.unit and size.value > limit.value:  # other units: known only with the instrument
            raise ValueError(
                f"strategy.order_size {unit_text(size)} is above risk.max_position {unit_text(limit)}: "
                "no order could ever be sent"
            )
        return self
