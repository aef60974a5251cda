"""Venues by name: one line each. A venue's libraries are imported when it is first asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Final

from mm.core.instrument import Instrument
from mm.errors import ConfigError
from mm.venues.base import Codec, PublicClient, TradingClient

CCXT: Final = "ccxt:"  # before the id of an exchange that has no adapter of its own
VENUES: Final = {
    "hyperliquid": "mm.venues.hyperliquid.venue",
    "apex": "mm.venues.apex.venue",
    "bybit": "mm.venues.bybit.venue",
    "native": "mm.venues.native.venue",
    "paradex": "mm.venues.paradex.venue",
    "mexc": "mm.venues.mexc.venue",
}


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Addresses of one network of a venue, without a trailing slash. They reach its client as options."""

    rest_url: str
    ws_url: str
    source: str = ""  # where they stand in the venue's documentation or library


@dataclass(frozen=True, slots=True)
class Venue:
    """How to make the parts of a venue. ``options`` are the venue's own (address, credentials)."""

    name: str
    make_codec: Callable[[Sequence[Instrument], str], Codec]  # instruments, prefix of our client order ids
    make_public: Callable[[Mapping[str, Any], Sequence[str]], PublicClient]  # options, symbols
    make_trading: Callable[[Mapping[str, Any]], TradingClient]  # options
    keys: tuple[str, ...] = ()  # options that are credentials: RAYMAKER_<VENUE>_<KEY> in the environment or .env
    optional_keys: tuple[str, ...] = ()
    networks: Mapping[str, Endpoints] = field(default_factory=dict)  # "testnet", "mainnet"; a local one has its own

    def endpoints(self, network: str) -> Endpoints:
        """Where a network of the venue is; raises ``ConfigError`` that lists the known ones."""
        if network not in self.networks:
            raise ConfigError(
                f"venue {self.name}: no network {network!r}; known: {', '.join(self.networks) or 'local'}"
            )
        return self.networks[network]


def get_venue(name: str) -> Venue:
    """A venue by name; raises ``ConfigError`` that lists the known ones.

    ``paper:NAME``: paper orders over it; ``ccxt:ID``: any exchange of ccxt.pro by its unified API.
    """
    source = name.removeprefix("paper:")
    if source != name:
        from mm.venues.paper.venue import over

        return over(get_venue(source))
    if name.startswith(CCXT):
        from mm.venues.ccxt_any.venue import over as by_ccxt

        return by_ccxt(name.removeprefix(CCXT))
    try:
        module = VENUES[name]
    except KeyError:
        raise ConfigError(f"unknown venue {name!r}; known: {', '.join(sorted(VENUES))}, {CCXT}ID") from None
    venue = import_module(module).VENUE
    if not isinstance(venue, Venue):
        raise TypeError(f"{module}.VENUE is not a Venue")
    return venue
