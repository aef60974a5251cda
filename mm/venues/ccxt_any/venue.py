"""``ccxt:ID`` in the registry: an exchange of ccxt.pro by its id (``binanceusdm``, ``okx``, ``kucoinfutures``, ...).

Options: ``rest_url`` and ``ws_url`` of a local exchange (else the addresses that the library knows), ``timeout_s``,
``stall_s``, ``proxy``, ``symbols``, and the credentials that the exchange needs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mm.venues.base import PublicClient, TradingClient
from mm.venues.ccxt_any.codec import CcxtCodec
from mm.venues.registry import Endpoints, Venue


def over(exchange_id: str) -> Venue:
    """The venue of an exchange of ccxt; raises ``ConfigError`` for an unknown one."""
    from mm.venues.ccxt_any.exchange import facts, needed_keys  # the library takes a second and 100 MB

    def public(options: Mapping[str, Any], symbols: Sequence[str]) -> PublicClient:
        from mm.venues.ccxt_any.client import CcxtPublicClient

        return CcxtPublicClient(exchange_id, options, symbols)

    def trading(options: Mapping[str, Any]) -> TradingClient:
        from mm.venues.ccxt_any.client import CcxtTradingClient

        return CcxtTradingClient(exchange_id, options)

    source = "the addresses in ccxt"
    networks = {"mainnet": Endpoints("", "", source)}
    if facts(exchange_id).urls.keys() & {"test", "demo"}:
        networks["testnet"] = Endpoints("", "", source)
    return Venue(f"ccxt:{exchange_id}", CcxtCodec, public, trading, keys=needed_keys(exchange_id), networks=networks)
