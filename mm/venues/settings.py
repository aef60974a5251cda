"""What the options of a venue say, the same way for all: credentials, addresses, proxy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from mm.errors import ConfigError

_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where a venue listens: base addresses without a trailing slash; paths are the library's."""

    rest: str
    ws: str

    @property
    def local(self) -> bool:
        """On this machine: nothing of it goes through a proxy."""
        return urlsplit(self.rest).hostname in _LOOPBACK and urlsplit(self.ws).hostname in _LOOPBACK


def endpoints(venue: str, options: Mapping[str, Any], known: Mapping[str, Endpoints]) -> Endpoints:
    """Addresses by ``network`` (default local); ``rest_url`` and ``ws_url`` come before the known ones.

    Raises:
        ConfigError: an unknown network, or a local one without addresses.
    """
    network = str(options.get("network", "local"))
    rest, ws = str(options.get("rest_url", "")), str(options.get("ws_url", ""))
    if network != "local" and network not in known:
        raise ConfigError(f"venue {venue}: network must be local or one of {', '.join(known)}, got {network!r}")
    if network in known:
        rest, ws = rest or known[network].rest, ws or known[network].ws
    if not rest or not ws:
        raise ConfigError(f"venue {venue}: a local network needs the options rest_url and ws_url")
    return Endpoints(rest.rstrip("/"), ws.rstrip("/"))


def credentials(venue: str, options: Mapping[str, Any], names: Sequence[str]) -> dict[str, str]:
    """The named credentials; raises ``ConfigError`` that says which environment variable would hold a missing one."""
    missing = [name for name in names if not options.get(name)]
    if missing:
        variables = ", ".join(f"RAYMAKER_{venue.upper()}_{name.upper()}" for name in missing)
        raise ConfigError(f"venue {venue}: no {', '.join(missing)}; set {variables} in the environment or in .env")
    return {name: str(options[name]) for name in names}


def proxy(options: Mapping[str, Any], where: Endpoints) -> str:
    """The SOCKS5 proxy of the options (``socks5h://host:port``), "" for none and for anything on this machine."""
    return "" if where.local else str(options.get("proxy", ""))
