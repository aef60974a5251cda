"""The registry entry. Options: ``rest_url``, ``ws_url``, ``api_key``, ``api_secret``, ``timeout_s``, ``proxy``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from mm.venues.base import PublicClient, TradingClient
from mm.venues.bybit.codec import BybitCodec
from mm.venues.bybit.spec import SPEC
from mm.venues.registry import Endpoints, Venue

_SOURCE: Final = "https://bybit-exchange.github.io/docs/v5/guide and /ws/connect, read 2026-11-20"


def _public(options: Mapping[str, Any], symbols: Sequence[str]) -> PublicClient:
    from mm.venues.bybit.client import BybitPublicClient  # the library takes a second and 100 MB

    return BybitPublicClient(options, symbols)


def _trading(options: Mapping[str, Any]) -> TradingClient:
    from mm.venues.bybit.client import BybitTradingClient

    return BybitTradingClient(options)


VENUE: Final = Venue(
    SPEC.name,
    BybitCodec,
    _public,
    _trading,
    keys=("api_key", "api_secret"),
    networks={
        "mainnet": Endpoints("https://api.bybit.com", "wss://stream.bybit.com", _SOURCE),
        "testnet": Endpoints("https://api-testnet.bybit.com", "wss://stream-testnet.bybit.com", _SOURCE),
    },
)
