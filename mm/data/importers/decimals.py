"""Decimal strings to whole ticks and lots without floats, thousands at a time."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mm.core.jit import kernel

Ints = NDArray[np.int64]

OK: Final = 0
NOT_A_NUMBER: Final = 1
OFF_GRID: Final = 2  # the value is then rounded down, but never to zero
_DIGITS: Final = 18  # a signed 64-bit integer holds all of these


@kernel
def parse(text: NDArray[np.uint8], mantissa: Ints, decimals: Ints) -> int:
    """Read newline-ended decimals (digits, at most one point) into mantissa · 10^-decimals, trailing zeros dropped.

    Returns how many were read; ``decimals`` is -1 for what is not a plain non-negative decimal of at most 18 digits.
    """
    n = 0
    value = 0
    places = -1  # digits after the point, -1 before it
    digits = 0
    good = True
    for k in range(len(text)):
        c = int(text[k])
        if 48 <= c <= 57:
            digits += 1
            if digits <= _DIGITS:
                value = value * 10 + (c - 48)
            else:
                good = False
            if places >= 0:
                places += 1
        elif c == 46 and places < 0:
            places = 0
        elif c == 10:
            while places > 0 and value % 10 == 0:
                value //= 10
                places -= 1
            mantissa[n] = value
            decimals[n] = max(places, 0) if good and digits > 0 else -1
            n += 1
            value = 0
            places = -1
            digits = 0
            good = True
        else:
            good = False
    return n


@kernel
def to_steps(mantissa: Ints, decimals: Ints, first: int, unit: int, places: int, out: Ints, status: Ints) -> None:
    """Every second number from ``first`` on as a multiple of the step unit · 10^-places."""
    for k in range(first, len(mantissa), 2):
        value = mantissa[k]
        left = 0
        shift = places - decimals[k]
        status[k] = NOT_A_NUMBER if decimals[k] < 0 else OK
        while shift > 0:
            if value > 1 << 59:
                status[k] = NOT_A_NUMBER
                break
            value *= 10
            shift -= 1
        while shift < 0:
            left += value % 10
            value //= 10
            shift += 1
        left += value % unit
        out[k] = value // unit
        if left > 0 and status[k] == OK:
            status[k] = OFF_GRID
            out[k] = max(1, out[k])


def step_parts(step: Decimal) -> tuple[int, int]:
    """(unit, places) with step = unit · 10^-places."""
    places = max(0, -int(step.normalize().as_tuple().exponent))
    return int(step.scaleb(places)), places


def infer_step(mantissa: Ints, decimals: Ints) -> Decimal | None:
    """The coarsest step that all the (parsed) numbers are multiples of; ``None`` when there is none."""
    good = (decimals >= 0) & (mantissa > 0)
    if not good.any():
        return None
    places = int(decimals[good].max())
    shift = 10 ** (places - decimals[good])
    if float(mantissa[good].max()) * 10**places >= 2**62:
        return None
    return Decimal(int(np.gcd.reduce(mantissa[good] * shift))).scaleb(-places)


def numbers(text: Sequence[object]) -> tuple[list[str], Ints, Ints]:
    """(the texts, mantissas, decimals) of whatever should be decimals; what is no string is no number."""
    out: list[str] = list(text)  # type: ignore[arg-type]  # nearly always
    try:
        joined = "\n".join(out)
    except TypeError:  # JSON may hold anything
        out = [x if isinstance(x, str) else f"?{x!r}" for x in text]
        joined = "\n".join(out)
    if joined.count("\n") != max(len(out) - 1, 0):
        out = [x.replace("\n", "?") for x in out]
        joined = "\n".join(out)
    if "e" in joined or "E" in joined:
        out = [_plain(x) if "e" in x or "E" in x else x for x in out]
        joined = "\n".join(out)
    mantissa, decimals = np.zeros(len(out), np.int64), np.zeros(len(out), np.int64)
    parse(np.frombuffer(f"{joined}\n".encode() if out else b"", np.uint8), mantissa, decimals)
    return out, mantissa, decimals


def _plain(text: str) -> str:
    """1e-7 as 0.0000001; anything that is not such a number as it is."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        return text
    return format(value, "f") if value.is_finite() and abs(value.adjusted()) < _DIGITS else text


def on_grid(
    mantissa: Ints, decimals: Ints, steps: tuple[tuple[int, int], tuple[int, int]]
) -> tuple[Ints, Ints, list[tuple[int, str]], int]:
    """Prices and sizes, in turn, as (ticks, lots, [(index of a wrong one, why)], sizes rounded down to a lot).

    ``steps``: ``step_parts`` of the tick and of the lot size. A size is never rounded to zero.
    """
    values, status = np.zeros(len(mantissa), np.int64), np.zeros(len(mantissa), np.int64)
    for first, (unit, places) in enumerate(steps):
        to_steps(mantissa, decimals, first, unit, places, values, status)
    ticks, lots = values[::2], values[1::2]
    status[::2] = np.where((status[::2] == OK) & ((ticks <= 0) | (ticks >= 2**31)), NOT_A_NUMBER, status[::2])
    rounded = int((status[1::2] == OFF_GRID).sum())
    status[1::2] = np.where(status[1::2] == OFF_GRID, OK, status[1::2])
    why = {NOT_A_NUMBER: "is not a number in range", OFF_GRID: "is off the tick size grid"}
    return ticks, lots, [(int(k), why[int(status[k])]) for k in np.flatnonzero(status != OK)], rounded
