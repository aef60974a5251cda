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


def venue_spec(name: str) -> VenueSpec:
    """A spec by name; raises ``ConfigError`` that lists the known ones."""
    if name not in SPECS:
        raise ConfigError(f"no spec of venue {name!r}; known: {', '.join(SPECS)}")
    return SPECS[name]
