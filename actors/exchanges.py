"""The embedded exchanges of a desk: from config to a running process and the options to reach it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import msgspec

from actors import keys
from actors.budget import SharedBudget, account_budget
from mm.config.schema import RunConfig, VenueConfig
from mm.core.instrument import Instrument
from mm.data.store import Store
from mm.data.synth import SynthSpec
from mm.data.synth_like import market_params
from mm.errors import ConfigError, DataError
from mm.sandbox.faces import local_keys
from mm.sandbox.fleet import schedule, seed_of
from mm.sandbox.process import ExchangeHandle, start_exchange
from mm.sandbox.spec import HOST, AccountSpec, BackgroundSpec, ExchangeSpec, FundingSpec
from mm.venues.registry import get_venue
from mm.venues.specs import find_spec, venue_spec

ACCOUNT: Final = "desk"
_NATIVE_MAKER: Final = Decimal("0.0001")
_NATIVE_TAKER: Final = Decimal("0.0005")


def exchange_spec(venue: VenueConfig, token: str, control_token: str = "", epoch_ns: int = 0) -> ExchangeSpec:
    """What the embedded exchange of a venue is; ``epoch_ns``: when a shared price began. Raises ``ConfigError``."""
    ex = venue.exchange
    instruments: list[Instrument] = []
    background: dict[str, BackgroundSpec] = {}
    funding: dict[str, FundingSpec] = {}
    for n, symbol in enumerate(venue.instruments):
        instrument = _listed(venue, symbol)
        flow = BackgroundSpec(
            kind="synth", seed=ex.flow_seed + n, speed=ex.speed, basis_bps=ex.basis_bps, delay_ms=ex.delay * 1e3,
            epoch_ns=None if ex.fair_seed is None else epoch_ns,
        )  # fmt: skip
        if ex.flow == "synth":
            flow.params = {} if venue.kind == "native" else market_params(instrument)
            flow.fair_seed = None if ex.fair_seed is None else seed_of(ex.fair_seed, instrument.base)
        else:
            path = Path(ex.flow).absolute()
            flow.kind, flow.path = "store", str(path)
            if venue.kind == "native":
                instrument = replace(Store.open(path).instrument, symbol=symbol)
        maker = instrument.maker_fee if ex.maker_fee is None else ex.maker_fee
        taker = instrument.taker_fee if ex.taker_fee is None else ex.taker_fee
        instruments.append(replace(instrument, venue=venue.name, maker_fee=maker, taker_fee=taker))
        background[symbol] = flow
        settlements = schedule(instrument, venue.kind, flow, ex.funding_every, format(ex.funding_rate, "f"))
        if settlements is not None:
            funding[symbol] = settlements
    held = {i.symbol: format(ex.inventory_base, "f") for i in instruments if i.kind == "spot"}
    account = AccountSpec(name=ACCOUNT, token=token, balance=format(ex.balance_usd, "f"), positions=held)
    return ExchangeSpec(
        control_token=control_token or secrets.token_hex(16), instruments=[i.to_dict() for i in instruments],
        accounts=[account], background=background, funding=funding, name=venue.name,
        face="" if venue.kind == "native" else venue.kind,
    )  # fmt: skip


def _listed(venue: VenueConfig, symbol: str) -> Instrument:
    """The instrument as the venue lists it; on the native exchange the one of the synthetic flow."""
    if venue.kind == "native":
        instrument = replace(SynthSpec().instrument, symbol=symbol, base=symbol.partition("-")[0])
        return replace(instrument, maker_fee=_NATIVE_MAKER, taker_fee=_NATIVE_TAKER)
    spec = venue_spec(venue.kind)
    for listing in spec.listings:
        if listing.symbol == symbol:
            return spec.instrument(listing.base)
    known = ", ".join(x.symbol for x in spec.listings)
    raise ConfigError(f"live.venues: {venue.name}: {venue.kind} has no {symbol!r} in its spec; it has {known}")


def start(
    venue: VenueConfig, log_path: Path, watch_pid: int, epoch_ns: int = 0
) -> tuple[ExchangeHandle, dict[str, Any], dict[str, str]]:
    """Start the embedded exchange of a venue: (handle, options for its clients, credentials of its account)."""
    token = secrets.token_hex(16)
    spec = msgspec.to_builtins(exchange_spec(venue, token, epoch_ns=epoch_ns))
    handle = start_exchange(spec, log_path, watch_pid)
    if venue.kind == "native":
        return handle, {"host": HOST, "port": handle.port} | _paper(venue), {"token": token}
    where = f"{HOST}:{handle.face_port}"
    options = {"network": "local", "rest_url": f"http://{where}", "ws_url": f"ws://{where}"}
    return handle, options | _connection(venue), local_keys(venue.kind, token)


def external_options(venue: VenueConfig) -> dict[str, Any]:
    """Options to reach an exchange that runs already, without its keys; raises ``ConfigError``."""
    if venue.kind == "native":
        host, _, port = (venue.address or "").rpartition(":")
        if not host or not port.isdigit():
            raise ConfigError(f"live.venues: {venue.name}: no address (host:port) of a local exchange")
        return {"host": host, "port": int(port)} | _paper(venue)
    if venue.network == "local":
        if not venue.address:
            raise ConfigError(f"venue {venue.name}: no address of a local exchange; start one with `sandbox`")
        where = {"rest_url": f"http://{venue.address}", "ws_url": f"ws://{venue.address}"}
    else:
        there = get_venue(venue.kind).endpoints(venue.network)
        where = {"rest_url": there.rest_url, "ws_url": there.ws_url}
    return {"network": venue.network, **where} | _connection(venue)


def _connection(venue: VenueConfig) -> dict[str, Any]:
    return ({"proxy": venue.proxy} if venue.proxy else {}) | _paper(venue)


def _paper(venue: VenueConfig) -> dict[str, Any]:
    """What a paper account begins with: the money of the config's exchange, the latency and queue of ``sim``."""
    if not venue.paper:
        return {}
    ex = venue.exchange
    held = dict.fromkeys(venue.instruments, ex.inventory_base) if ex.inventory_base else {}
    return {"symbols": list(venue.instruments), "balance": ex.balance_usd, "held": held}


def paper_options(cfg: RunConfig) -> dict[str, Any]:
    """Queue model and latency of a paper account, those of the simulator."""
    latency = cfg.sim.order_latency
    if not isinstance(latency, float):
        latency = getattr(latency, "median", 0.010)
    return {"queue_model": cfg.sim.queue.model, "queue_n": cfg.sim.queue.n, "latency_s": latency}


def check(venue: VenueConfig) -> None:
    """What can be known to be wrong with a venue before anything starts; raises ``ConfigError``."""
    if not venue.embedded:
        external_options(venue)
        return
    exchange_spec(venue, "")
    if venue.exchange.flow != "synth":
        try:
            Store.open(Path(venue.exchange.flow))
        except DataError as exc:
            raise ConfigError(f"live.venues: {venue.name}: exchange.flow: {exc}") from exc


def budget(venue: VenueConfig, account: Mapping[str, str]) -> SharedBudget | None:
    """The rate budget of an account at its venue; None: the local exchange's own wire has no limit.

    An exchange of the generic adapter without a spec has none either: ``risk.rate_limit`` is all that holds it back.
    """
    if venue.kind == "native" or venue.paper:
        return None
    spec = find_spec(venue.kind)
    return None if spec is None else account_budget(venue.kind, venue.network, account, spec.rates)


def account_keys(venue: VenueConfig) -> dict[str, str]:
    """Credentials of an exchange that is not embedded, from the environment or ``.env``; raises ``ConfigError``."""
    made_by = get_venue(venue.adapter)
    found = keys.collect(venue.name, made_by.keys, made_by.optional_keys)
    if made_by.optional_keys and not found:
        some = ", ".join(keys.variable(venue.name, key) for key in made_by.optional_keys)
        raise ConfigError(f"venue {venue.name}: set some of {some} in the environment or in .env")
    return found


def ask_instruments(venue: VenueConfig, options: dict[str, Any]) -> list[dict[str, str]]:
    """Facts of the configured instruments, in the config's order; raises ``ConfigError``, ``VenueUnreachable``."""

    async def ask() -> list[Instrument]:
        client = get_venue(venue.adapter).make_public(options, venue.instruments)
        try:
            return await client.instruments()
        finally:
            await client.close()

    known = {i.symbol: i for i in asyncio.run(ask())}
    for symbol in venue.instruments:
        if symbol not in known:
            raise ConfigError(f"venue {venue.name} has no instrument {symbol!r}; it has {', '.join(sorted(known))}")
    return [known[symbol].to_dict() for symbol in venue.instruments]
