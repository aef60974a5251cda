"""The registry entry. Options: ``rest_url``, ``ws_url``, ``proxy``, ``timeout_s``, ``stall_s``, keys.

Keys: ``l2_address`` and ``l2_private_key`` (a Paradex key; a subkey cannot withdraw), or ``l1_address`` and
``l1_private_key`` (the Ethereum wallet, from which the Paradex key is derived).

Documented or read in the library, and not established on the real venue: codes of refusals over the WebSocket and
names of cancel reasons beside NOT_ENOUGH_MARGIN, POST_ONLY_WOULD_CROSS and USER_CANCELED (the codec goes by whether an
order had rested or traded); whether a closing handshake counts for cancel on disconnect; whether a second log-in on a
socket is taken (a refusal is ignored); the books of several markets over one SBE socket; how far a signature may be
dated ahead; batches above 10 (one page says 10, another 50; the desk sends at most 8); that a fill's ``side`` is ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mm.venues.paradex.client import STALL_S, TIMEOUT_S, ParadexPublicClient, ParadexTradingClient
from mm.venues.paradex.codec import ParadexCodec
from mm.venues.paradex.spec import KEYS, NAME, NETWORKS, WALLET_KEYS
from mm.venues.registry import Venue
from mm.venues.settings import credentials, endpoints, proxy


def _times(options: Mapping[str, Any]) -> tuple[float, float]:
    return float(options.get("timeout_s", TIMEOUT_S)), float(options.get("stall_s", STALL_S))


def _public(options: Mapping[str, Any], symbols: Sequence[str]) -> ParadexPublicClient:
    where = endpoints(NAME, options)
    return ParadexPublicClient(where, symbols, proxy(options, where), *_times(options))


def _trading(options: Mapping[str, Any]) -> ParadexTradingClient:
    where = endpoints(NAME, options)
    wallet = options.get("l1_private_key") and not options.get("l2_private_key")
    keys = credentials(NAME, options, WALLET_KEYS if wallet else KEYS)
    return ParadexTradingClient(where, keys, proxy(options, where), *_times(options), options.get("budget"))


VENUE = Venue(NAME, ParadexCodec, _public, _trading, keys=(), optional_keys=(*KEYS, *WALLET_KEYS), networks=NETWORKS)
