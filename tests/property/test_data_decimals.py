"""Decimal parsing against Python's ``decimal``."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mm.data.importers.decimals import NOT_A_NUMBER, OFF_GRID, OK, infer_step, parse, step_parts, to_steps

DECIMALS = st.decimals(0, 10**9, allow_nan=False, allow_infinity=False, places=6).map(lambda d: f"{d:f}")
JUNK = st.text(st.characters(codec="ascii", exclude_characters="\n"), max_size=24)
STEPS = st.sampled_from([Decimal(s) for s in ("0.1", "0.01", "0.5", "1", "0.00001", "25", "100", "1E+2")])


def read(words: list[str]) -> tuple[np.ndarray, np.ndarray]:
    mantissa, places = np.zeros(len(words), np.int64), np.zeros(len(words), np.int64)
    text = np.frombuffer("".join(f"{w}\n" for w in words).encode(), np.uint8)
    assert parse(text, mantissa, places) == len(words)
    return mantissa, places


@given(st.lists(DECIMALS | JUNK, min_size=1, max_size=20))
def test_parse_agrees_with_decimal(words: list[str]) -> None:
    for word, mantissa, places in zip(words, *read(words), strict=True):
        digits = word.replace(".", "", 1)
        if digits.isdigit() and len(digits) <= 18:
            assert Decimal(int(mantissa)).scaleb(-int(places)) == Decimal(word)
            assert places == 0 or mantissa % 10
        else:
            assert places == -1


@given(st.lists(DECIMALS, min_size=1, max_size=20), STEPS)
def test_steps_are_exact_or_say_so(words: list[str], step: Decimal) -> None:
    mantissa, places = read(words)
    out, status = np.zeros(len(words), np.int64), np.full(len(words), 9)
    for first in (0, 1):
        to_steps(mantissa, places, first, *step_parts(step), out, status)
    for word, value, state in zip(words, out, status, strict=True):
        exact = Decimal(word) / step
        if exact == exact.to_integral_value():
            assert (int(state), int(value)) == (OK, int(exact))
        else:
            assert (int(state), int(value)) == (OFF_GRID, max(1, int(exact)))


def test_too_large_for_the_grid_is_not_a_number() -> None:
    mantissa, places = read(["999999999999999999", "1"])
    out, status = np.zeros(2, np.int64), np.zeros(2, np.int64)
    to_steps(mantissa, places, 0, 1, 8, out, status)
    assert status[0] == NOT_A_NUMBER


@given(STEPS, st.lists(st.integers(1, 10**6), min_size=1, max_size=10))
def test_inferred_step_divides_everything_and_is_coarse(step: Decimal, counts: list[int]) -> None:
    found = infer_step(*read([f"{step * n:f}" for n in counts]))
    assert found is not None
    assert found == step * int(np.gcd.reduce(counts))


def test_nothing_to_infer_from() -> None:
    assert infer_step(*read(["0", "x"])) is None
