"""What the options of a venue say, the same way for all: credentials, addresses, proxy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import hexdigits
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


def endpoints(venue: str, options: Mapping[str, Any]) -> Endpoints:
    """The addresses in the options ``rest_url`` and ``ws_url``; raises ``ConfigError`` when there are none."""
    missing = [name for name in ("rest_url", "ws_url") if not options.get(name)]
    if missing:
        raise ConfigError(f"venue {venue}: option {missing[0]} is missing")
    return Endpoints(str(options["rest_url"]).rstrip("/"), str(options["ws_url"]).rstrip("/"))


def credentials(venue: str, options: Mapping[str, Any], names: Sequence[str]) -> dict[str, str]:
    """The named credentials; raises ``ConfigError`` that says which environment variable would hold a missing one."""
    missing = [name for name in names if not options.get(name)]
    if missing:
        variables = ", ".join(f"RAYMAKER_{venue.upper()}_{name.upper()}" for name in missing)
        raise ConfigError(f"venue {venue}: no {', '.join(missing)}; set {variables} in the environment or in .env")
    return {name: str(options[name]) for name in names}


def hexadecimal(venue: str, name: str, text: str, size: int) -> str:
    """A credential of ``size`` bytes in hexadecimal, with or without ``0x``; raises ``ConfigError``, never shows it."""
    digits = text.removeprefix("0x")
    if len(digits) != 2 * size or not all(c in hexdigits for c in digits):
        raise ConfigError(f"venue {venue}: {name} is not {2 * size} hexadecimal digits (with or without 0x)")
    return text


def proxy(options: Mapping[str, Any], where: Endpoints) -> str:
    """The SOCKS5 proxy of the options (``socks5h://host:port``), "" for none and for anything on this machine."""
    return "" if where.local else str(options.get("proxy", ""))
