"""The matching engine against a naive reference: scripts by Hypothesis, and longer ones drawn at random."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm.sim.matching import MatchingEngine
from tests.fuzz_matching import fuzz
from tests.reference.naive_matching import Naive, Op, check_links, joined, merged, play

side = st.sampled_from([1, -1])
px = st.integers(-1, 12)
qty = st.integers(0, 9)
oid = st.integers(1, 25)
ops = st.one_of(
    st.tuples(
        st.just("new"),
        oid,
        st.sampled_from(["a", "b", "c"]),
        side,
        st.one_of(px, px, px, st.none()),
        qty,
        st.sampled_from(["GTC", "GTC", "GTC", "IOC", "FOK"]),
        st.booleans(),
    ),
    st.tuples(st.just("cancel"), oid),
    st.tuples(st.just("modify"), oid, px, qty),
    st.tuples(st.just("level"), side, st.integers(1, 12), st.integers(0, 15)),
    st.tuples(st.just("take"), side, st.integers(1, 12), st.integers(1, 15)),
    st.tuples(st.just("clear"), side, st.integers(1, 12)),
)


@settings(max_examples=300, deadline=None)
@given(stp=st.sampled_from(["cancel_newest", "cancel_oldest", "cancel_both"]), script=st.lists(ops, max_size=40))
def test_engine_equals_naive_reference(stp: Any, script: list[Op]) -> None:
    engine, naive = MatchingEngine(stp), Naive(stp)
    for op in script:
        assert joined(play(engine, op)) == joined(play(naive, op)), op
        check_links(engine)
        assert merged(engine.final_book()) == merged(naive.final_book())


@settings(max_examples=100, deadline=None)
@given(script=st.lists(ops, max_size=40))
def test_touched_levels_replay_the_book(script: list[Op]) -> None:
    """Level totals sent for the touched prices only keep a copy of the book exact."""
    engine = MatchingEngine()
    copy: dict[tuple[int, int], int] = {}
    for op in script:
        play(engine, op)
        for s in (1, -1):
            for price in engine.take_touched(s):
                copy[s, price] = engine.level_qty(s, price)
    assert {k: v for k, v in copy.items() if v} == {(s, p): v for s in (1, -1) for p, v in engine.depth(s)}


def test_long_random_scripts() -> None:
    """What ``python -m tests.fuzz_matching`` does a million times."""
    tally = fuzz(ops=4_000, seed=1)
    assert tally.ops == 4_000
    assert min(tally.reports.values()) >= 5, tally.reports  # every kind of report really happens
    assert set(tally.reports) >= {"accepted", "rested", "trade", "canceled", "rejected", "reduced", "replaced"}


@pytest.mark.slow
def test_many_random_operations() -> None:
    assert fuzz(ops=60_000, seed=2).ops == 60_000


def test_the_fuzz_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that gives size-up orders priority is found out."""
    plain = MatchingEngine.modify

    def lenient(self: MatchingEngine, oid: int, px: int, qty: int) -> Any:
        order = self.orders.get(oid)
        if order is not None and px == order.px and qty > order.qty:
            qty = order.qty
        return plain(self, oid, px, qty)

    monkeypatch.setattr(MatchingEngine, "modify", lenient)
    with pytest.raises(AssertionError, match="operation"):
        fuzz(ops=20_000, seed=1)
