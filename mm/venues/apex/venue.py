"""The registry entry.

Options: ``rest_url``, ``ws_url``, ``proxy``, ``timeout_s``, ``stall_s``, ``budget`` of the account, and credentials.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from mm.venues import settings
from mm.venues.apex.codec import ApexCodec
from mm.venues.base import PublicClient, TradingClient
from mm.venues.registry import Endpoints, Venue

if TYPE_CHECKING:
    from mm.venues.apex.rest import Tuning

NAME: Final = "apex"
KEYS: Final = ("api_key", "api_secret", "passphrase", "zk_seeds")
_SOURCE: Final = "API documentation, general (apexomni's constants name another host for the testnet's REST)"


def _public(options: Mapping[str, Any], symbols: Sequence[str]) -> PublicClient:
    from mm.venues.apex.client import ApexPublicClient

    where = settings.endpoints(NAME, options)
    return ApexPublicClient(where, symbols, _tuning(options, where))


def _trading(options: Mapping[str, Any]) -> TradingClient:
    from mm.venues.apex.client import ApexTradingClient
    from mm.venues.apex.rest import Keys

    where = settings.endpoints(NAME, options)
    keys = Keys(**settings.credentials(NAME, options, KEYS))
    return ApexTradingClient(where, keys, _tuning(options, where))


def _tuning(options: Mapping[str, Any], where: settings.Endpoints) -> Tuning:
    from mm.venues.apex.rest import Tuning

    given = {name: float(options[name]) for name in ("timeout_s", "stall_s") if name in options}
    return Tuning(proxy=settings.proxy(options, where), budget=options.get("budget"), **given)


VENUE = Venue(
    NAME,
    ApexCodec,
    _public,
    _trading,
    keys=KEYS,
    networks={
        "testnet": Endpoints("https://testnet.omni.apex.exchange", "wss://qa-quote.omni.apex.exchange", _SOURCE),
        "mainnet": Endpoints("https://omni.apex.exchange", "wss://quote.omni.apex.exchange", _SOURCE),
    },
)
