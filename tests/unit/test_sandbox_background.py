"""Pacing, looping and slipping of the anonymous flow."""

from __future__ import annotations

from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mm.core.instrument import Instrument
from mm.core.types import ASK, BID, BUY, CLEAR_ASK, CLEAR_BID, EVENT, FUNDING, MARK, SELL
from mm.data.store import Store, StoreWriter
from mm.errors import ConfigError
from mm.sandbox import background
from mm.sandbox.background import Background, make_background, recorded
from mm.sandbox.regrid import Regrid
from mm.sandbox.spec import BackgroundSpec
from mm.sim.matching import MatchingEngine

X = Instrument("X", "test", "linear", Decimal("0.1"), Decimal("0.001"))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Ten levels, 100 ns apart."""
    events = np.zeros(10, EVENT)
    events["ts_exch_ns"] = events["ts_recv_ns"] = 5_000 + 100 * np.arange(10)
    events["kind"] = [BID, ASK] * 5
    events["tick"] = [100, 101] * 5
    events["lots"] = np.arange(1, 11)
    with StoreWriter(tmp_path / "store", X, "test") as writer:
        writer.append(events.view(np.recarray))
        return writer.finish()


def test_recorded_flow_loops_with_an_empty_book_and_times_that_go_on(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "_CHUNK_ROWS", 4)
    times, rows = [], []
    for part_times, part_rows in islice(recorded(store), 8):  # two rounds of clear, 4, 4, 2
        assert len(part_times) == len(part_rows)
        times += part_times
        rows += part_rows
    assert times == sorted(times)
    assert [kind for kind, _, _ in rows[:3]] == [CLEAR_BID, CLEAR_ASK, BID]
    assert rows[:12] == rows[12:]
    assert (times[0], times[11], times[12]) == (5_000, 5_900, 5_901)


def test_rows_come_when_due_and_never_twice(store: Store) -> None:
    flow = Background(recorded(store), 2.0)
    flow.begin(1_000_000)
    assert [len(flow.due(1_000_000 + dt, 100)) for dt in (0, 0, 49, 50, 450, 450)] == [3, 0, 0, 1, 8, 0]
    assert flow.next_ns() == 1_000_450
    assert len(flow.due(1_000_451, 100)) == 3  # the next round has begun
    assert flow.slipped_ns == 0


def test_a_limit_leaves_the_rest_for_later(store: Store) -> None:
    flow = Background(recorded(store), 1.0)
    flow.begin(0)
    seen = [flow.due(1_800, 5) for _ in range(4)]
    assert [len(part) for part in seen] == [12, 11, 0, 0]
    assert flow.next_ns() > 1_800


def test_far_behind_it_slips(store: Store) -> None:
    flow = Background(recorded(store), 1.0)
    flow.begin(0)
    assert len(flow.due(3_000_000_000, 100)) == 3  # as if it were the beginning
    assert flow.slipped_ns == 3_000_000_000


def test_synthetic_flow_is_seeded_and_begins_with_a_book() -> None:
    spec = BackgroundSpec(kind="synth", seed=3, params={"mid0": 1_000.0, "depth_ticks": 20})
    flows = [make_background(X, spec) for _ in range(2)]
    for flow in flows:
        flow.begin(0)
    a, b = ([row for step in range(20) for row in flow.due(step * 100_000_000, 1_000)] for flow in flows)
    assert a == b
    assert {BID, ASK} <= {kind for kind, _, _ in a}
    assert len(a) > 100


def test_bad_backgrounds_say_why(store: Store) -> None:
    contracts = Instrument("X", "test", "inverse", Decimal("0.5"), Decimal(1))
    with pytest.raises(ConfigError, match="counts in contracts"):
        make_background(contracts, BackgroundSpec(kind="store", path=str(store.path)))
    with pytest.raises(ConfigError, match="takes a path"):
        make_background(X, BackgroundSpec(kind="store"))
    with pytest.raises(ConfigError, match="colours"):
        make_background(X, BackgroundSpec(kind="synth", params={"colours": 3}))
    assert make_background(X, BackgroundSpec(kind="store", path=str(store.path))).next_ns() == 0


# --- several venues, one price ---------------------------------------------------------------------------------------
S = 1_000_000_000
EPOCH = 50 * S


def mids(instrument: Instrument, spec: BackgroundSpec, seconds: int, start_s: int = 0) -> np.ndarray[Any, Any]:
    """Mid prices every 20 ms as an exchange process shows them that starts ``start_s`` after the epoch."""
    begin = EPOCH + start_s * S
    flow = make_background(instrument, spec, begin)
    flow.begin(begin)
    engine = MatchingEngine(remember_ids=False)
    out = np.full(seconds * 50, np.nan)
    for step in range(start_s * 50, seconds * 50):
        for kind, tick, lots in flow.due(EPOCH + step * S // 50, 1 << 40):
            if kind in (BID, ASK):
                engine.set_background_level(1 if kind == BID else -1, tick, lots)
            elif kind in (CLEAR_BID, CLEAR_ASK):
                engine.clear_background(1 if kind == CLEAR_BID else -1, tick)
        if engine.best_bid is not None and engine.best_ask is not None:
            out[step] = float(instrument.tick_size) * (engine.best_bid + engine.best_ask) / 2
    return out


def lag_of(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> tuple[int, float]:
    """(steps by which b comes after a, correlation of half-second returns there)."""
    best = (0, -1.0)
    for lag in range(50):
        x, y = np.log(a[: len(a) - lag]), np.log(b[lag:])
        r = float(np.corrcoef(x[25:] - x[:-25], y[25:] - y[:-25])[0, 1])
        best = max(best, (lag, r), key=lambda pair: pair[1])
    return best


SHARED = {"kind": "synth", "fair_seed": 5, "epoch_ns": EPOCH}
WIDE = Instrument("W", "test", "linear", Decimal(1), Decimal("0.00001"))


@pytest.mark.slow
def test_venues_follow_one_fair_price_at_their_basis_and_delay() -> None:
    params = {"sigma_bps_per_sqrt_s": 3.0}
    one = mids(X, BackgroundSpec(**SHARED, seed=1, params=params), 60)
    two = mids(WIDE, BackgroundSpec(**SHARED, seed=2, basis_bps=8.0, delay_ms=300.0, params=params), 60)
    alone = mids(X, BackgroundSpec(kind="synth", seed=2, epoch_ns=EPOCH, params=params), 60)
    lag, r = lag_of(one, two)
    assert 13 <= lag <= 17
    assert r > 0.85
    assert np.mean(two[15:] / one[:-15] - 1) * 1e4 == pytest.approx(8.0, abs=0.5)
    assert lag_of(one, alone)[1] < 0.5
    late = mids(X, BackgroundSpec(**SHARED, seed=3, params=params), 60, start_s=40)
    assert np.isnan(late[:1999]).all()
    assert np.abs(late[2_100:] / one[2_100:] - 1).max() * 1e4 < 5


def test_a_store_is_played_on_another_grid_with_basis_and_delay(tmp_path: Path) -> None:
    events = np.zeros(200, EVENT)
    events["ts_exch_ns"] = events["ts_recv_ns"] = 7 * S + np.arange(200) * S // 10
    events["kind"] = [BID, ASK] * 100
    events["tick"] = 600_005 + np.repeat(np.arange(100), 2) * 7 + np.array([0, 3] * 100)
    events["lots"] = 5
    with StoreWriter(tmp_path / "moving", X, "test") as writer:
        writer.append(events.view(np.recarray))
        path = str(writer.finish().path)
    spec = {"kind": "store", "path": path, "epoch_ns": EPOCH}
    plain, later = (mids(X, BackgroundSpec(**spec, **more), 20) for more in ({}, {"delay_ms": 500.0}))
    assert np.nanmax(plain) > np.nanmin(plain) + 10
    np.testing.assert_array_equal(plain[6:-25], later[31:])
    again = mids(X, BackgroundSpec(**spec), 45, start_s=30)  # the second round, as if it had been there all along
    np.testing.assert_array_equal(again[1510:1900], mids(X, BackgroundSpec(**spec), 45)[1510:1900])
    wide = mids(WIDE, BackgroundSpec(**spec, basis_bps=10.0), 20)
    shift = round((60_000.5 + 60_069.8) / 2 * 1e-3)
    assert np.nanmax(np.abs(wide - plain - shift)) <= 1.0


def test_levels_that_meet_on_a_coarser_grid_are_added_up() -> None:
    grid = Regrid(X, WIDE, 0.0, 100.0)
    rows = [row for raw in (
        (BID, 1_009, 2), (BID, 1_001, 3), (ASK, 1_011, 4), (BUY, 1_011, 1), (SELL, 1_009, 1), (BID, 1_009, 0),
        (ASK, 1_019, 1), (CLEAR_BID, 1_005, 0), (CLEAR_ASK, 1_011, 0), (CLEAR_BID, 0, 0), (MARK, 1_015, 0),
        (FUNDING, 1_015, 77),
    ) for row in grid.row(raw)]  # fmt: skip
    assert rows == [
        (BID, 100, 200), (BID, 100, 500), (ASK, 102, 400), (BUY, 102, 100), (SELL, 100, 100), (BID, 100, 300),
        (ASK, 102, 500), (CLEAR_BID, 100, 0), (BID, 100, 300), (CLEAR_ASK, 102, 0), (ASK, 102, 100),
        (CLEAR_BID, 0, 0), (MARK, 101, 0),
        (FUNDING, 101, 77),
    ]  # fmt: skip


def test_the_same_grid_changes_nothing() -> None:
    assert Regrid(X, X, 0.0, 100.0).same
    fine = Instrument("F", "test", "spot", Decimal("0.01"), Decimal("0.000001"))
    grid = Regrid(X, fine, 0.0, 100.0)
    assert grid.row((BID, 1_009, 2)) == [(BID, 10_090, 2_000)]
    assert grid.row((CLEAR_ASK, (1 << 31) - 1, 0)) == [(CLEAR_ASK, (1 << 31) - 1, 0)]
