"""MEXC's protobuf pushes, parsed with the classes that ccxt generated from the venue's definitions.

Only data classes come from ccxt here, and only once the first push arrives: importing them loads the whole package.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Final

FIRST_BYTE: Final = b"\x0a"  # a push begins with its field 1, the channel; everything else on the socket is text


@cache
def _parser() -> tuple[Callable[[bytes], Any], type[Exception]]:
    from ccxt.protobuf.mexc.PushDataV3ApiWrapper_pb2 import PushDataV3ApiWrapper
    from google.protobuf.message import DecodeError

    return PushDataV3ApiWrapper.FromString, DecodeError


def parse_push(raw: bytes) -> Any:
    """A ``PushDataV3ApiWrapper``; raises ``ValueError`` for anything else."""
    parse, fault = _parser()
    try:
        return parse(raw)
    except fault as exc:
        raise ValueError(f"not a push: {exc}") from exc
