"""Venues by name: one line each. A venue's libraries are imported when it is first asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

from mm.core.instrument import Instrument
from mm.errors import ConfigError
from mm.venues.base import Codec, PublicClient, TradingClient

VENUES: Final = {
    "native": "mm.venues.native.venue",
}


@dataclass(frozen=True, slots=True)
class Venue:
    """How to make the parts of a venue. ``options`` are the venue's own (address, credentials)."""

    name: str
    make_codec: Callable[[Sequence[Instrument], str], Codec]  # instruments, prefix of our client order ids
    make_public: Callable[[Mapping[str, Any], Sequence[str]], PublicClient]  # options, symbols
    make_trading: Callable[[Mapping[str, Any]], TradingClient]  # options


def get_venue(name: str) -> Venue:
    """A venue by name; raises ``ConfigError`` that lists the known ones."""
    try:
        module = VENUES[name]
    except KeyError:
        raise ConfigError(f"unknown venue {name!r}; known: {', '.join(sorted(VENUES))}") from None
    venue = import_module(module).VENUE
    if not isinstance(venue, Venue):
        raise TypeError(f"{module}.VENUE is not a Venue")
    return venue
