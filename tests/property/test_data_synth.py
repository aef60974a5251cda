"""The synthetic flow: a valid book after every message, one stream per seed, and adverse selection."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mm.core.book import window
from mm.core.types import ASK, BID, BUY, CLEAR_ASK, CLEAR_BID, FUNDING, LAST, SELL, SNAPSHOT, RecArray
from mm.data.synth import SynthFlow, SynthSpec, write_synth
from mm.data.touch import Walker
from mm.errors import ConfigError
from tests.reference.plain import examples

S = 1_000_000_000
SEEDS = st.integers(0, 2**63)


def naive_touches(events: RecArray) -> list[tuple[int, int]]:
    """Best bid and ask after each message, from dicts; raises when a row contradicts the book."""
    bids: dict[int, int] = {}
    asks: dict[int, int] = {}
    out = []
    for event in events:
        kind, tick, lots = int(event["kind"]), int(event["tick"]), int(event["lots"])
        if kind in (BID, ASK):
            book = bids if kind == BID else asks
            assert lots >= 0
            if lots:
                book[tick] = lots
            else:
                assert book.pop(tick, 0) > 0, "a removal removes something"
        elif kind in (BUY, SELL):
            side = asks if kind == BUY else bids
            best = min(asks) if kind == BUY else max(bids)
            assert tick == best, "a trade happens at the touch"
            assert 0 < lots <= side[tick]
        elif kind == CLEAR_BID:
            bids = {t: q for t, q in bids.items() if t < tick}
        elif kind == CLEAR_ASK:
            asks = {t: q for t, q in asks.items() if t > tick}
        if event["flags"] & LAST:
            assert bids
            assert asks
            out.append((max(bids), min(asks)))
    return out


SPECS = st.builds(
    SynthSpec,
    sigma_bps_per_sqrt_s=st.floats(0, 20),
    fair_moves_per_s=st.floats(0, 30),
    jumps_per_hour=st.floats(0, 7200),
    jump_bps=st.floats(0, 600),
    market_orders_per_s=st.floats(0, 50),
    order_median_lots=st.floats(1, 2000),
    informed_share=st.floats(0, 1),
    maker_delay_ms=st.floats(0, 500),
    min_edge_ticks=st.floats(0, 5),
    mean_edge_ticks=st.floats(0, 5),
    level_density=st.floats(0.02, 1),
    depth_ticks=st.integers(1, 500),
    mid0=st.floats(20, 100_000),
    churn_per_s=st.floats(0, 100),
    funding_interval_s=st.floats(0.1, 2),
    impact_bps=st.floats(0, 3),
)


@settings(max_examples=30, deadline=None)
@given(spec=SPECS, seed=SEEDS)
def test_book_is_valid_after_every_message(spec: SynthSpec, seed: int) -> None:
    events = SynthFlow(spec, seed).next_chunk(S)
    assert events["flags"][-1] & LAST
    assert all(bid < ask for bid, ask in naive_touches(events))
    assert np.all(events["tick"][events["kind"] <= ASK] > 0)
    assert np.all(np.diff(events["ts_recv_ns"]) >= 0)
    assert np.all(np.diff(events["ts_exch_ns"]) >= 0)
    assert np.all(events["ts_recv_ns"] > events["ts_exch_ns"])


@settings(max_examples=examples(20, 4), deadline=None)
@given(seed=SEEDS, cuts=st.lists(st.integers(0, 3 * S), max_size=6))
def test_stream_does_not_depend_on_chunks(seed: int, cuts: list[int]) -> None:
    whole = SynthFlow(SynthSpec(), seed).next_chunk(3 * S)
    flow = SynthFlow(SynthSpec(), seed)
    edges = [0, *sorted(cuts), 3 * S]
    parts = [flow.next_chunk(b - a) for a, b in itertools.pairwise(edges)]
    assert np.array_equal(np.concatenate(parts), whole)
    start = SynthSpec().start_ts_ns
    for part, a, b in zip(parts, edges, edges[1:], strict=False):
        assert np.all((part["ts_exch_ns"] >= start + a) & (part["ts_exch_ns"] < start + b))


@pytest.mark.slow
def test_long_chunk_spans_many_buffers() -> None:
    whole = SynthFlow(SynthSpec(), 5).next_chunk(400 * S)
    flow = SynthFlow(SynthSpec(), 5)
    assert np.array_equal(np.concatenate([flow.next_chunk(40 * S) for _ in range(10)]), whole)


def test_starts_with_a_snapshot_and_seeds_differ() -> None:
    events = SynthFlow(SynthSpec(), 1).next_chunk(S)
    first = events[: int(np.argmax(events["flags"] & LAST)) + 1]
    assert np.all(first["flags"] & SNAPSHOT)
    assert list(first["kind"][:2]) == [CLEAR_BID, CLEAR_ASK]
    assert not np.array_equal(events, SynthFlow(SynthSpec(), 2).next_chunk(S))


@pytest.mark.slow
def test_store_hash_is_that_of_the_seed(tmp_path: Path) -> None:
    seen: list[float] = []
    first = write_synth(tmp_path / "a", SynthSpec(), 3, 130.0, seen.append)
    assert seen == [pytest.approx(60 / 130), pytest.approx(120 / 130), 1.0]
    assert write_synth(tmp_path / "b", SynthSpec(), 3, 130.0).data_hash == first.data_hash
    assert write_synth(tmp_path / "c", SynthSpec(), 4, 130.0).data_hash != first.data_hash
    assert first.instrument.symbol == "BTC-USDT"


def mids(events: RecArray) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(time, mid in ticks) after each message."""
    levels = events["tick"][events["kind"] <= ASK]
    walker = Walker(window(int(levels.min()), int(levels.max()), 0.01))
    bid, ask = walker.feed(events["kind"], events["tick"], events["lots"])
    last = (events["flags"] & LAST) > 0
    assert np.all(bid[last] > 0)
    return events["ts_exch_ns"][last], (bid[last] + ask[last]) / 2


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_quoting_at_the_touch_is_adversely_selected(seed: int) -> None:
    """A control that always rests at the touch is the passive side of the first trade of every market order."""
    events = SynthFlow(SynthSpec(), seed).next_chunk(3600 * S)
    ts, mid = mids(events)
    is_trade = (events["kind"] == BUY) | (events["kind"] == SELL)
    starts = np.flatnonzero(np.concatenate([[True], (events["flags"][:-1] & LAST) > 0]))
    first = starts[is_trade[starts]]
    first = first[events["ts_exch_ns"][first] < ts[-1] - 5 * S]
    trade = events[first]
    later = mid[np.searchsorted(ts, trade["ts_exch_ns"] + 5 * S, side="right") - 1]
    passive = np.where(trade["kind"] == BUY, -1, 1)
    markout = passive * (later - trade["tick"])
    standard_error = float(np.std(markout)) / np.sqrt(len(markout))
    assert float(np.mean(markout)) < -2 * standard_error


@pytest.mark.slow
def test_looks_like_a_liquid_perpetual() -> None:
    events = SynthFlow(SynthSpec(), 11).next_chunk(600 * S)
    ts, mid = mids(events)
    assert 300 < len(events) / 600 < 1000
    trades = np.count_nonzero((events["kind"] == BUY) | (events["kind"] == SELL)) / 600
    assert 5 < trades < 60
    each_second = mid[np.searchsorted(ts, np.arange(ts[0] + S, ts[-1], S), side="right") - 1]
    sigma_bps = float(np.std(np.diff(np.log(each_second)))) * 1e4
    assert 0.5 < sigma_bps < 1.1


def test_funding_comes_at_its_interval() -> None:
    spec = SynthSpec(funding_interval_s=1.0, funding_rate=-2e-5, funding_sd=0.0)
    events = SynthFlow(spec, 1).next_chunk(10 * S)
    funding = events[events["kind"] == FUNDING]
    assert len(funding) == 9
    assert np.all(funding["lots"] == -20_000)


@pytest.mark.parametrize(
    "bad",
    [
        {"hawkes_self": 0.7, "hawkes_cross": 0.3},
        {"sigma_bps_per_sqrt_s": -1.0},
        {"sigma_bps_per_sqrt_s": float("nan")},
        {"depth_ticks": 0},
        {"level_density": 0.0},
        {"mid0": 0.5},
        {"funding_interval_s": 1e-9},
        {"min_edge_ticks": 1e6},
    ],
)
def test_impossible_specs_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="synthetic flow"):
        SynthSpec(**bad)  # type: ignore[arg-type]
