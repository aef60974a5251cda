"""The matching engine: golden scripts, and what the background adds to them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from mm.sim.matching import BACKGROUND, MatchingEngine

GOLDEN = Path(os.environ.get("MM_GOLDEN", Path(__file__).parents[3] / "shared" / "golden" / "golden.json"))


def _golden() -> list[dict[str, Any]]:
    if not GOLDEN.exists():
        return []
    cases: list[dict[str, Any]] = json.loads(GOLDEN.read_text())["lob_script"]["cases"]
    return cases


@pytest.mark.parametrize("case", _golden(), ids=lambda c: str(c["id"]))
def test_golden_script(case: dict[str, Any]) -> None:
    engine = MatchingEngine(case["inputs"]["stp"])
    assert [engine.handle(event) for event in case["inputs"]["events"]] == case["outputs"]["reports"]
    assert engine.final_book() == case["outputs"]["final_book"]


def test_fifo_partial_fill_and_price_improvement() -> None:
    engine = MatchingEngine()
    engine.new(1, "a", -1, 101, 5)
    engine.new(2, "b", -1, 100, 5)
    engine.new(3, "c", -1, 100, 5)
    assert engine.new(4, "t", 1, 101, 12) == [
        ["accepted", 4],
        ["trade", 2, 4, 100, 5],
        ["trade", 3, 4, 100, 5],
        ["trade", 1, 4, 101, 2],
    ]
    assert (engine.best_bid, engine.best_ask, engine.level_qty(-1, 101)) == (None, 101, 3)


def test_unknown_stp_and_op_are_errors() -> None:
    with pytest.raises(ValueError, match="cancel_newest"):
        MatchingEngine("sometimes")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="unknown op"):
        MatchingEngine().handle({"op": "amend"})


def test_ids_are_forgotten_when_told_so() -> None:
    engine = MatchingEngine(remember_ids=False)
    engine.new(1, "a", 1, 100, 5)
    assert engine.new(1, "a", 1, 100, 5) == [["rejected", 1, "dup_id"]]
    engine.cancel(1)
    assert engine.new(1, "a", 1, 100, 5)[0] == ["accepted", 1]


def test_background_increase_joins_the_back_and_decrease_leaves_from_the_back() -> None:
    engine = MatchingEngine()
    engine.set_background_level(1, 100, 10)
    engine.new(1, "us", 1, 100, 4)
    engine.set_background_level(1, 100, 16)
    assert engine.final_book()["bids"] == [[100, [[BACKGROUND, 10], [1, 4], [BACKGROUND, 6]]]]
    engine.set_background_level(1, 100, 7)  # the 6 behind us and 3 of those before us
    assert engine.final_book()["bids"] == [[100, [[BACKGROUND, 7], [1, 4]]]]
    assert engine.level_qty(1, 100) == 11
    assert engine.take_background(-1, 100, 8) == [["trade", BACKGROUND, BACKGROUND, 100, 7], ["trade", 1, 0, 100, 1]]
    engine.set_background_level(1, 100, 5)  # the book heals behind us
    assert engine.final_book()["bids"] == [[100, [[1, 3], [BACKGROUND, 5]]]]
    assert engine.set_background_level(1, 100, 0) == []
    assert engine.depth(1) == [(100, 3)]


def test_background_through_our_order_fills_us_as_maker() -> None:
    engine = MatchingEngine()
    engine.set_background_level(-1, 101, 50)
    engine.new(1, "us", -1, 101, 4)
    engine.new(2, "us", -1, 102, 4)
    assert engine.set_background_level(1, 102, 6) == [["trade", 1, 0, 101, 4], ["trade", 2, 0, 102, 2]]
    assert engine.final_book() == {"bids": [], "asks": [[102, [[2, 2]]]]}  # nothing left of the 6, the 50 gave way
    assert engine.set_background_level(1, 102, 6) == [["trade", 2, 0, 102, 2]]
    assert engine.final_book() == {"bids": [[102, [[0, 4]]]], "asks": []}


def test_clear_voids_the_background_only() -> None:
    engine = MatchingEngine()
    for px in (98, 99, 100):
        engine.set_background_level(1, px, 3)
    engine.new(1, "us", 1, 99, 1)
    engine.clear_background(1, 99)
    assert engine.depth(1) == [(99, 1), (98, 3)]
    engine.set_background_level(-1, 105, 3)
    engine.clear_background(-1, 104)
    assert engine.best_ask == 105
    engine.clear_background(-1, 1 << 31)
    assert engine.best_ask is None


def test_touched_prices_are_told_once() -> None:
    engine = MatchingEngine()
    engine.set_background_level(-1, 101, 5)
    engine.new(1, "us", 1, 101, 2)
    engine.new(2, "us", 1, 100, 2)
    assert engine.take_touched(-1) == {101}
    assert engine.take_touched(1) == {100}
    assert engine.take_touched(1) == set()
