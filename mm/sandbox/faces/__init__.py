"""Faces by venue: one line each. A face's module is imported when it is first asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Final

from mm.errors import ConfigError

if TYPE_CHECKING:  # aiohttp is half of a small process's memory: only who speaks a venue's wire loads it
    from mm.sandbox.face import Core, Face

FACES: Final[Mapping[str, str]] = {
    "apex": "mm.sandbox.faces.apex",
    "hyperliquid": "mm.sandbox.faces.hyperliquid",
    "bybit": "mm.sandbox.faces.bybit",
    "mexc": "mm.sandbox.faces.mexc",
    "paradex": "mm.sandbox.faces.paradex",
    "ccxt:binanceusdm": "mm.sandbox.faces.binanceusdm",
}


def face_class(venue: str) -> type[Face]:
    """The face of a venue; raises ``ConfigError`` that lists the known ones."""
    return _module_of(venue)[0]


def local_keys(venue: str, token: str) -> dict[str, str]:
    """The credentials of a local account as the venue's client takes them, derived from the account's token."""
    return _module_of(venue)[1](token)


def make_face(venue: str, core: Core) -> Face:
    """A face over an exchange."""
    return face_class(venue)(core)


def _module_of(venue: str) -> tuple[type[Face], Callable[[str], dict[str, str]]]:
    if venue not in FACES:
        raise ConfigError(f"the local exchange has no face for {venue!r}; it has {', '.join(FACES) or 'none yet'}")
    module = import_module(FACES[venue])
    return module.FACE, module.local_keys
