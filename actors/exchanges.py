"""The embedded exchanges of a desk: from config to a running process and the options to reach it."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from mm.config.schema import VenueConfig
from mm.core.instrument import Instrument
from mm.data.store import Store
from mm.data.synth import SynthSpec
from mm.errors import ConfigError
from mm.sandbox.process import ExchangeHandle, start_exchange
from mm.sandbox.spec import AccountSpec, BackgroundSpec, ExchangeSpec
from mm.venues.registry import get_venue

ACCOUNT = "desk"


def exchange_spec(venue: VenueConfig, token: str) -> ExchangeSpec:
    """What the embedded exchange of a venue is; raises ``ConfigError``."""
    ex = venue.exchange
    instruments: list[Instrument] = []
    background: dict[str, BackgroundSpec] = {}
    for n, symbol in enumerate(venue.instruments):
        if ex.flow == "synth":
            instrument = replace(SynthSpec().instrument, symbol=symbol, base=symbol.partition("-")[0])
            flow = BackgroundSpec(kind="synth", seed=ex.flow_seed + n, speed=ex.speed)
        else:
            path = Path(ex.flow).absolute()
            instrument = replace(Store.open(path).instrument, symbol=symbol)
            flow = BackgroundSpec(kind="store", path=str(path), seed=ex.flow_seed, speed=ex.speed)
        instruments.append(replace(instrument, venue=venue.name, maker_fee=ex.maker_fee, taker_fee=ex.taker_fee))
        background[symbol] = flow
    account = AccountSpec(
        name=ACCOUNT, token=token, balance=format(ex.balance_usd, "f"), maker_fee=str(ex.maker_fee),
        taker_fee=str(ex.taker_fee),
    )  # fmt: skip
    return ExchangeSpec(
        control_token=secrets.token_hex(16), instruments=[i.to_dict() for i in instruments], accounts=[account],
        background=background, name=venue.name,
    )  # fmt: skip


def start(venue: VenueConfig, log_path: Path, watch_pid: int) -> tuple[ExchangeHandle, dict[str, Any]]:
    """Start the embedded exchange of a venue: (handle, options for its clients)."""
    token = secrets.token_hex(16)
    spec = msgspec.to_builtins(exchange_spec(venue, token))
    handle = start_exchange(spec, log_path, watch_pid)
    return handle, {"host": "127.0.0.1", "port": handle.port, "token": token}


def token_variable(venue: str) -> str:
    """The environment variable with the credential of an exchange that runs already."""
    return f"RAYMAKER_{venue.upper().replace('-', '_')}_TOKEN"


def external_options(venue: VenueConfig, tokens: dict[str, str]) -> dict[str, Any]:
    """Options for a local exchange that runs already (``address: host:port``); raises ``ConfigError``."""
    host, _, port = (venue.address or "").rpartition(":")
    if not host or not port.isdigit():
        raise ConfigError(f"live.venues: {venue.name}: address must be host:port, got {venue.address!r}")
    if venue.name not in tokens:
        raise ConfigError(f"live.venues: {venue.name}: set {token_variable(venue.name)} to the account's token")
    return {"host": host, "port": int(port), "token": tokens[venue.name]}


def ask_instruments(venue: VenueConfig, options: dict[str, Any]) -> list[dict[str, str]]:
    """Facts of the configured instruments, in the config's order; raises ``ConfigError``, ``VenueUnreachable``."""

    async def ask() -> list[Instrument]:
        client = get_venue(venue.kind).make_public(options, venue.instruments)
        try:
            return await client.instruments()
        finally:
            await client.close()

    known = {i.symbol: i for i in asyncio.run(ask())}
    for symbol in venue.instruments:
        if symbol not in known:
            raise ConfigError(f"venue {venue.name} has no instrument {symbol!r}; it has {', '.join(sorted(known))}")
    return [known[symbol].to_dict() for symbol in venue.instruments]
