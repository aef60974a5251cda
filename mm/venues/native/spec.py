"""Instrument discovery on the local exchange."""

from __future__ import annotations

from typing import Any

from mm.core.instrument import Instrument
from mm.errors import ConfigError

NAME = "native"


def instruments_from_reply(data: Any) -> list[Instrument]:
    """The instruments in the reply to ``instruments``; raises ``ConfigError`` when it is something else."""
    if not isinstance(data, list) or not all(isinstance(raw, dict) for raw in data):
        raise ConfigError(f"native: expected a list of instruments, got {str(data)[:80]!r}")
    return [Instrument.from_dict(raw) for raw in data]
