"""The book kernel equals a dict: crossing updates, clears at any tick, levels outside the window."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mm.core.book import apply, is_valid, new_book, window
from mm.core.types import ASK, BID, BUY, CLEAR_ASK, CLEAR_BID, FUNDING, MARK, SELL

BASE, N = 1000, 24


class DictBook:
    def __init__(self):
        self.bids, self.asks, self.outside, self.last_trade = {}, {}, 0, 0

    def apply(self, kind, tick, lots):
        if kind in (BID, ASK):
            if not BASE <= tick < BASE + N:
                self.outside += 1
                return
            mine, other = (self.bids, self.asks) if kind == BID else (self.asks, self.bids)
            mine.pop(tick, None)
            if lots:
                mine[tick] = lots
                for t in [t for t in other if (t <= tick if kind == BID else t >= tick)]:
                    del other[t]
        elif kind == CLEAR_BID:
            self.bids = {t: q for t, q in self.bids.items() if t < tick}
        elif kind == CLEAR_ASK:
            self.asks = {t: q for t, q in self.asks.items() if t > tick}
        elif kind in (SELL, BUY):
            self.last_trade = tick


ticks = st.integers(BASE - 3, BASE + N + 2)
far = st.sampled_from([0, 1, BASE - 1, BASE + N, 2**31 - 1])
ops = st.one_of(
    st.tuples(st.sampled_from([BID, ASK]), ticks, st.integers(0, 3)),
    st.tuples(st.sampled_from([BID, ASK]), st.integers(BASE + 8, BASE + 14), st.integers(0, 3)),
    st.tuples(st.sampled_from([CLEAR_BID, CLEAR_ASK]), ticks | far, st.just(0)),
    st.tuples(st.sampled_from([SELL, BUY, FUNDING, MARK]), ticks, st.integers(1, 3)),
)


@given(st.lists(ops, max_size=60))
def test_equals_a_dict(events):
    books, bids, asks = new_book(BASE, N)
    b, naive = books[0], DictBook()
    for event in events:
        apply(b, bids, asks, *event)
        naive.apply(*event)
        assert {int(i) + BASE: int(bids[i]) for i in np.flatnonzero(bids)} == naive.bids
        assert {int(i) + BASE: int(asks[i]) for i in np.flatnonzero(asks)} == naive.asks
        assert b.bb + BASE == max(naive.bids, default=BASE - 1)
        assert b.ba + BASE == min(naive.asks, default=BASE + N)
        assert b.outside == naive.outside
        assert b.last_trade_tick == naive.last_trade
        assert bool(is_valid(b)) == bool(naive.bids and naive.asks)


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.floats(0, 0.5))
def test_a_window_covers_its_range(low, width, margin):
    base, n = window(low, low + width, margin)
    assert base >= 0
    assert base <= low
    assert base + n > low + width
    assert low - base >= min(low, 1024)
