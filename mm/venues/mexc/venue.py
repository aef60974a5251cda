"""The registry entry. Options: ``rest_url``, ``ws_url``, ``api_key``, ``api_secret``, ``timeout_s``, ``proxy``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from mm.venues.base import PublicClient, TradingClient
from mm.venues.mexc.codec import MexcCodec
from mm.venues.mexc.spec import SPEC
from mm.venues.registry import Endpoints, Venue


def _public(options: Mapping[str, Any], symbols: Sequence[str]) -> PublicClient:
    from mm.venues.mexc.client import MexcPublicClient  # the library takes a second and 100 MB

    return MexcPublicClient(options, symbols)


def _trading(options: Mapping[str, Any]) -> TradingClient:
    from mm.venues.mexc.client import MexcTradingClient

    return MexcTradingClient(options)


VENUE: Final = Venue(
    SPEC.name,
    MexcCodec,
    _public,
    _trading,
    keys=("api_key", "api_secret"),
    networks={  # MEXC has no public testnet
        "mainnet": Endpoints(
            "https://api.mexc.com", "wss://wbs-api.mexc.com",
            "https://www.mexc.com/api-docs/spot-v3/general-info and /websocket-market-streams, read 2026-11-20",
        ),
    },
)  # fmt: skip
