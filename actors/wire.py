"""Payloads of messages that carry more than one array."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mm.core.types import EXEC

_COUNT: Final = struct.Struct("<I")
EXPOSURE: Final = struct.Struct("<4d")  # equity, net, gross, fees: quote currency


def pack_execs(execs: NDArray[Any], fees: Sequence[Decimal]) -> bytes:
    """Execution reports and, exact, the fee charged for each."""
    return _COUNT.pack(len(execs)) + execs.tobytes() + ",".join(map(str, fees)).encode()


def unpack_execs(payload: bytes) -> tuple[NDArray[Any], list[Decimal]]:
    """The other end of ``pack_execs``."""
    (n,) = _COUNT.unpack_from(payload)
    execs = np.frombuffer(payload, EXEC, n, _COUNT.size)
    text = payload[_COUNT.size + n * EXEC.itemsize :].decode()
    return execs, [Decimal(part) for part in text.split(",")] if n else []


def pack_records(*arrays: NDArray[Any]) -> bytes:
    """Record arrays of known types and lengths, one behind the other."""
    return b"".join(a.tobytes() for a in arrays)
