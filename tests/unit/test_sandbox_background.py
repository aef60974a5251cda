"""Pacing, looping and slipping of the anonymous flow."""

from __future__ import annotations

from decimal import Decimal
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from mm.core.instrument import Instrument
from mm.core.types import ASK, BID, CLEAR_ASK, CLEAR_BID, EVENT
from mm.data.store import Store, StoreWriter
from mm.errors import ConfigError
from mm.sandbox import background
from mm.sandbox.background import Background, make_background, recorded
from mm.sandbox.spec import BackgroundSpec

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
    coarse = Instrument("X", "test", "linear", Decimal("0.5"), Decimal("0.001"))
    with pytest.raises(ConfigError, match=r"has tick_size 0\.1, the exchange lists 0.5"):
        make_background(coarse, BackgroundSpec(kind="store", path=str(store.path)))
    with pytest.raises(ConfigError, match="a path and no params"):
        make_background(X, BackgroundSpec(kind="store"))
    with pytest.raises(ConfigError, match="colours"):
        make_background(X, BackgroundSpec(kind="synth", params={"colours": 3}))
    assert make_background(X, BackgroundSpec(kind="store", path=str(store.path))).next_ns() == 0
