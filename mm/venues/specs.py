"""Static specs by venue: one line each."""

from __future__ import annotations

from typing import Final

from mm.errors import ConfigError
from mm.venues.apex.spec import SPEC as APEX
from mm.venues.binance.spec import SPEC as BINANCE
from mm.venues.bybit.spec import SPEC as BYBIT
from mm.venues.hyperliquid.spec import SPEC as HYPERLIQUID
from mm.venues.mexc.spec import SPEC as MEXC
from mm.venues.paradex.spec import SPEC as PARADEX
from mm.venues.spec import VenueSpec

SPECS: Final[dict[str, VenueSpec]] = {s.name: s for s in (APEX, PARADEX, BYBIT, MEXC, HYPERLIQUID, BINANCE)}
_BY_CCXT: Final = {"ccxt:binanceusdm": "binance"}  # exchanges of the generic adapter whose facts we have


def find_spec(name: str) -> VenueSpec | None:
    """A spec by name, None where nothing is known but what the venue itself says."""
    return SPECS.get(_BY_CCXT.get(name, name))


def venue_spec(name: str) -> VenueSpec:
    """A spec by name; raises ``ConfigError`` that lists the known ones."""
    found = find_spec(name)
    if found is None:
        raise ConfigError(f"no spec of venue {name!r}; known: {', '.join((*SPECS, *_BY_CCXT))}")
    return found
