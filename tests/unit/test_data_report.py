"""Reports of tapes that were not imported, and the picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mm.core.types import ASK
from mm.data.quality import info, render
from mm.data.store import Store
from mm.data.synth import SynthSpec, write_synth
from mm.errors import DataError
from mm.report.data_plots import plot_store, sample

KEYS = {
    "rows",
    "events",
    "trades",
    "depth_messages",
    "gaps",
    "bad_lines",
    "span_s",
    "first_ts_ns",
    "last_ts_ns",
    "path",
}


@pytest.fixture(scope="module")
def tape(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return write_synth(tmp_path_factory.mktemp("synth") / "s", SynthSpec(), 1, 30.0)


def test_info_of_a_synthetic_tape(tape: Store) -> None:
    figures = info(tape.path)
    assert figures.keys() >= KEYS
    assert figures["events"] == len(tape)
    assert figures["gaps"] == 0
    assert figures["depth_messages"] + figures["trades"] > 0
    assert figures["feed_latency_ms"]["min"] >= 2.0
    assert render(figures).row_count == len(figures) - 1


def test_sampled_touch_and_depth_match_a_naive_replay(tape: Store) -> None:
    edges, touch, depth, bin_ticks = sample(tape, columns=20)
    for at in (0, 7, 19):
        sides: tuple[dict[int, int], dict[int, int]] = ({}, {})
        for k in range(int(np.searchsorted(tape.ts_recv_ns, edges[at], side="right"))):
            if tape.kind[k] <= ASK:
                sides[int(tape.kind[k])][int(tape.tick[k])] = int(tape.lots[k])
        bids, asks = ({t: q for t, q in side.items() if q} for side in sides)
        assert tuple(touch[at]) == (max(bids), min(asks))
        mid = (max(bids) + min(asks)) / 2
        reach = bin_ticks * depth.shape[1] / 2
        assert depth[at].sum() == sum(q for t, q in (bids | asks).items() if abs(t - mid) < reach)


def test_picture(tape: Store, tmp_path: Path) -> None:
    out = plot_store(tape.path, tmp_path / "new" / "tape.png")
    assert out.read_bytes().startswith(b"\x89PNG")
    assert out.stat().st_size > 20_000
    with pytest.raises(DataError, match="no such store"):
        plot_store(tmp_path / "nowhere", tmp_path / "x.png")
