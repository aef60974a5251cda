"""The paper venue fills as the simulator's slow reference does, event by event, for every queue model."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm.core.types import ASK, BID, BUY, CLEAR_ASK, CLEAR_BID, FILL, SELL
from mm.sim.queue import MODELS
from mm.venues.paper.market import PaperMarket
from tests.reference.naive_sim import NaiveExchange, Order

EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("event"), st.sampled_from([BID, ASK]), st.integers(95, 105), st.integers(0, 9)),
        st.tuples(st.just("event"), st.sampled_from([SELL, BUY]), st.integers(95, 105), st.integers(1, 9)),
        st.tuples(st.just("event"), st.sampled_from([CLEAR_BID, CLEAR_ASK]), st.integers(95, 105), st.just(0)),
        st.tuples(st.just("place"), st.sampled_from([1, -1]), st.integers(95, 105), st.integers(1, 9)),
        st.tuples(st.just("cancel"), st.just(0), st.integers(0, 9), st.just(0)),
    ),
    max_size=60,
)


class Account:
    """What the reference books into; money is not the subject here."""

    lots = 0

    def fill(self, *_args):
        pass

    def due(self, _mark):
        return False


@pytest.mark.parametrize("model", sorted(MODELS))
@settings(max_examples=60)
@given(steps=EVENTS, n=st.sampled_from([1.0, 2.0, 3.0]))
def test_fills_are_those_of_the_simulator(model, steps, n):
    naive = NaiveExchange(model, n, True, Account())
    paper = PaperMarket(MODELS[model], n)
    number = 0
    for op, kind, tick, lots in steps:
        if op == "event":
            out = []
            naive.market(kind, tick, lots, 0, out)
            got = [(f.order.oid, f.order.side, f.tick, f.lots) for f in paper.event(kind, tick, lots)]
            assert got == [(i, side, t, q) for _, what, i, side, t, q in out if what == FILL]
        elif op == "place":
            crosses = (tick >= naive.best_ask()) if kind > 0 else (tick <= naive.best_bid())
            assert paper.would_cross(kind, tick) == crosses
            if not crosses:
                number += 1
                book = naive.bids if kind > 0 else naive.asks
                naive.orders.append(Order(number, kind, tick, lots, naive._ahead(book.get(tick, 0))))
                paper.add(str(number), number, kind, tick, lots)
        elif tick and str(tick) in paper.orders:
            del paper.orders[str(tick)]
            naive.orders = [o for o in naive.orders if o.id != tick]
        assert paper.bids == naive.bids
        assert paper.asks == naive.asks
        left = {o.oid: SimpleNamespace(lots=o.lots, front=o.front) for o in paper.orders.values()}
        assert {i: (o.lots, o.front) for i, o in left.items()} == {o.id: (o.leaves, o.front) for o in naive.orders}


def test_an_ioc_takes_what_is_shown():
    paper = PaperMarket(MODELS["risk_averse"], 1.0)
    for tick, lots in ((101, 2), (102, 3), (104, 9)):
        paper.event(ASK, tick, lots)
    assert paper.take(1, 103, 9) == [(101, 2), (102, 3)]
    assert paper.take(1, 101, 1) == [(101, 1)]
    assert paper.take(-1, 90, 5) == []


def test_a_book_that_is_not_known_fills_nobody():
    paper = PaperMarket(MODELS["touch"], 1.0)
    paper.event(BID, 99, 5)
    paper.event(ASK, 101, 5)
    paper.add("a", 1, 1, 99, 4)
    paper.void()
    assert not paper.two_sided
    assert [f.lots for f in paper.event(SELL, 99, 2)] == [2]  # a trade is a fact even without a book
    assert [f.lots for f in paper.event(SELL, 98, 1)] == [2]
    assert not paper.orders
