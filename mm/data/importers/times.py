"""Times in files: epoch numbers of any unit, ISO texts."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

_EPOCH_NS: Final = ((10**11, 10**9), (10**14, 10**6), (10**17, 10**3), (10**20, 1))  # below: nanoseconds per unit
EARLIEST_NS: Final = 10**18  # 2001
LATEST_NS: Final = 4 * 10**18  # 2096


def parse_time(text: str) -> int:
    """Nanoseconds of an epoch number (s, ms, µs or ns by its size, s also with a fraction) or of an ISO text, exactly.

    ISO texts are UTC unless they say otherwise. ``ValueError`` for anything else.
    """
    text = text.strip().strip('"')
    whole, _, fraction = text.partition(".")
    if whole.lstrip("-").isdecimal():
        value = int(whole)
        for below, unit_ns in _EPOCH_NS:
            if 0 < value < below:
                return value * unit_ns + (_part(fraction, unit_ns) if fraction else 0)
        raise ValueError(f"time {text!r} is no epoch time")
    zone = fraction.lstrip("0123456789")
    at = datetime.fromisoformat(whole + zone)
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at
    return round(at.timestamp()) * 1_000_000_000 + _part(fraction.removesuffix(zone) if zone else fraction, 10**9)


def _part(digits: str, unit_ns: int) -> int:
    """The decimals of a number of a unit, in nanoseconds."""
    if digits and not digits.isdecimal():
        raise ValueError(f"{digits!r} are not decimals of a time")
    return int(f"{digits:0<9}"[:9]) * unit_ns // 10**9


def plausible_ns(text: str) -> int:
    """``parse_time``, ``ValueError`` also outside 2001 to 2096."""
    at = parse_time(text)
    if not EARLIEST_NS <= at < LATEST_NS:
        raise ValueError(f"time {text!r} is not between 2001 and 2096")
    return at
