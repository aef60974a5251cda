"""The registry entry. Options: ``rest_url``, ``ws_url``, ``wallet_address``, ``private_key``, ``timeout_s``, ``proxy``.

``wallet_address`` is the account, ``private_key`` that of an API wallet (agent) that the account has approved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from mm.venues.base import PublicClient, TradingClient
from mm.venues.hyperliquid.codec import HyperliquidCodec
from mm.venues.hyperliquid.spec import SPEC
from mm.venues.registry import Endpoints, Venue

_SOURCE: Final = "Hyperliquid docs, 'API', 'Websocket', and ccxt 4.5.90's urls; read 2026-11-20"


def _public(options: Mapping[str, Any], symbols: Sequence[str]) -> PublicClient:
    from mm.venues.hyperliquid.client import HyperliquidPublicClient  # the library takes a second and 100 MB

    return HyperliquidPublicClient(options, symbols)


def _trading(options: Mapping[str, Any]) -> TradingClient:
    from mm.venues.hyperliquid.client import HyperliquidTradingClient

    return HyperliquidTradingClient(options)


VENUE: Final = Venue(
    SPEC.name,
    HyperliquidCodec,
    _public,
    _trading,
    keys=("wallet_address", "private_key"),
    networks={
        "mainnet": Endpoints("https://api.hyperliquid.xyz", "wss://api.hyperliquid.xyz", _SOURCE),
        "testnet": Endpoints("https://api.hyperliquid-testnet.xyz", "wss://api.hyperliquid-testnet.xyz", _SOURCE),
    },
)
