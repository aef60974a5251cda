"""The registry entry. Options: ``host`` (default 127.0.0.1), ``port``, ``token``, ``timeout_s``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mm.errors import ConfigError
from mm.venues.native.client import TIMEOUT_S, NativePublicClient, NativeTradingClient
from mm.venues.native.codec import NativeCodec
from mm.venues.native.spec import NAME
from mm.venues.registry import Venue


def _address(options: Mapping[str, Any]) -> tuple[str, int, float]:
    if "port" not in options:
        raise ConfigError("venue native: option port is missing")
    host = str(options.get("host", "127.0.0.1"))
    return host, int(options["port"]), float(options.get("timeout_s", TIMEOUT_S))


def _public(options: Mapping[str, Any], symbols: Sequence[str]) -> NativePublicClient:
    host, port, timeout_s = _address(options)
    return NativePublicClient(host, port, symbols, timeout_s)


def _trading(options: Mapping[str, Any]) -> NativeTradingClient:
    if "token" not in options:
        raise ConfigError("venue native: option token is missing")
    host, port, timeout_s = _address(options)
    return NativeTradingClient(host, port, str(options["token"]), timeout_s)


VENUE = Venue(NAME, NativeCodec, _public, _trading, keys=("token",))
