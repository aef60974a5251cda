"""Position and money of the local exchange against exact fractions, and against the golden ledger."""

from __future__ import annotations

import json
import os
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm.core.account_ledger import Ledger
from mm.core.instrument import Instrument

GOLDEN = Path(os.environ.get("MM_GOLDEN", Path(__file__).parents[3] / "shared" / "golden" / "golden.json"))


def golden(kind: str) -> list[dict[str, Any]]:
    if not GOLDEN.exists():
        return []
    cases: list[dict[str, Any]] = json.loads(GOLDEN.read_text())[kind]["cases"]
    return cases


def instrument(kind: str = "linear", tick: str = "0.1", lot: str = "0.001", value: str = "1") -> Instrument:
    return Instrument("X", "native", kind, Decimal(tick), Decimal(lot), contract_value=Decimal(value))  # type: ignore[arg-type]


fills = st.lists(
    st.tuples(st.sampled_from([1, -1]), st.integers(1, 2_000_000), st.integers(1, 50)), min_size=1, max_size=30
)


def fractions(kind: str, script: list[tuple[int, int, int]]) -> tuple[int, Fraction | None, Fraction]:
    """(lots, entry price, realised) by the definition: average entry, profit on what is closed."""
    lots, entry, realised = 0, Fraction(0), Fraction(0)
    tick, lot, value = Fraction(1, 10), Fraction(1, 1000), Fraction(100 if kind == "inverse" else 1)
    for side, ticks, n in script:
        px, signed = ticks * tick, side * n
        closed = min(n, abs(lots)) if lots * side < 0 else 0
        sign = 1 if lots > 0 else -1
        if kind == "inverse":
            realised += sign * closed * lot * value * (1 / entry - 1 / px) if closed else 0
        else:
            realised += sign * closed * lot * value * (px - entry)
        opened = n - closed
        if opened:
            old = abs(lots) if lots * side > 0 else 0
            if kind == "inverse":
                entry = (old + opened) / ((old / entry if old else 0) + opened / px)
            else:
                entry = (old * entry + opened * px) / (old + opened)
        lots += signed
    return lots, entry if lots else None, realised


@pytest.mark.parametrize("kind", ["linear", "inverse"])
@settings(max_examples=150, deadline=None)
@given(script=fills)
def test_ledger_equals_definition(kind: str, script: list[tuple[int, int, int]]) -> None:
    ledger = Ledger(instrument(kind, value="100" if kind == "inverse" else "1"))
    for side, ticks, lots in script:
        ledger.fill(side, ticks, lots, Decimal(0))
    lots, entry, realised = fractions(kind, script)
    assert ledger.lots == lots
    assert abs(Fraction(ledger.realised) - realised) <= Fraction(1, 10**25)
    if entry is None:
        assert ledger.entry is None
        assert ledger.cost == 0
    else:
        assert ledger.entry is not None
        assert abs(Fraction(ledger.entry) / entry - 1) < Fraction(1, 10**20)


@settings(max_examples=100, deadline=None)
@given(script=fills)
def test_linear_money_never_rounds(script: list[tuple[int, int, int]]) -> None:
    ledger = Ledger(instrument())
    rate = Decimal("0.0002")
    for side, ticks, lots in script:
        ledger.fill(side, ticks, lots, rate)
    unit = Fraction(1, 10_000)
    assert Fraction(ledger.cash) == -sum(side * ticks * lots for side, ticks, lots in script) * unit
    assert Fraction(ledger.fees) == sum(ticks * lots for _, ticks, lots in script) * unit * Fraction(2, 10_000)


LINEAR = [case for case in golden("position_ledger") if "states" in case["outputs"]]


@pytest.mark.parametrize("case", LINEAR, ids=lambda c: str(c["id"]))
def test_golden_position_ledger(case: dict[str, Any]) -> None:
    ledger = Ledger(instrument(tick="0.000001", lot="0.0001"))
    for (size, price), (pos, entry, realised) in zip(case["inputs"]["fills"], case["outputs"]["states"], strict=True):
        ledger.fill(1 if size > 0 else -1, round(price * 1e6), round(abs(size) * 1e4), Decimal(0))
        assert float(ledger.lots) * 1e-4 == pytest.approx(pos, abs=1e-10)
        assert (ledger.entry is None) == (entry is None)
        if entry is not None:
            assert ledger.entry is not None
            assert float(ledger.entry) == pytest.approx(entry, rel=1e-10)
        assert float(ledger.realised) == pytest.approx(realised, rel=1e-9, abs=1e-9)


def test_rebate_funding_and_spot() -> None:
    ledger = Ledger(instrument())
    assert ledger.fill(1, 1_000_000, 500, Decimal("-0.0001")) == Decimal(-5)  # 0.5 at 100,000: 50,000
    assert ledger.settle(1_000_000, Decimal("0.0001")) == -5  # a long position pays
    assert ledger.realised == 0
    inverse = Ledger(instrument("inverse", lot="1", value="100"))
    inverse.fill(-1, 500_000, 10, Decimal(0))  # short 10 contracts of 100 at 50,000
    assert inverse.settle(500_000, Decimal("0.001")) == Decimal(1000) / 50_000 / 1000
    assert inverse.entry == 50_000
    spot = Ledger(instrument("spot"), 2_000)
    assert spot.settle(1_000_000, Decimal("0.0001")) == 0
    spot.fill(-1, 1_000_000, 1_000, Decimal(0))
    assert (spot.lots, spot.realised, spot.entry) == (1_000, 100_000, None)
