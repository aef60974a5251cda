"""Figures of merit on rows made by hand."""

import math

import numpy as np
import pytest

from mm.core.types import records
from mm.sim.metrics import markouts_bps, sharpe_annual, spread_capture_bps
from mm.sim.state import FILL_ROW, SAMPLE

S = 1_000_000_000


def fills(*rows):
    out = records(len(rows), FILL_ROW)
    for k, (at_s, side, tick, lots, mid) in enumerate(rows):
        out[k].ts_exch_ns, out[k].side, out[k].tick, out[k].lots, out[k].mid = round(at_s * S), side, tick, lots, mid
    return out


def samples(step_s, mids, equity=None):
    out = records(len(mids), SAMPLE)
    out["ts_ns"] = np.arange(len(mids)) * round(step_s * S)
    out["mid"] = mids
    out["pnl_usd"] = 0.0 if equity is None else equity
    return out


def test_markouts():
    mids = samples(1, [1000.0, 1000, 990, 980, 970, 960, 950])
    got = markouts_bps(fills((0, 1, 1000, 3, 1001.0), (1, -1, 1000, 1, 999.0)), mids)
    # after 1 s: bought at 1000, mid 1000; sold at 1000, mid 990
    assert got["markout_1s_bps"] == pytest.approx((0 * 3 + 100 * 1) / 4)
    assert got["markout_5s_bps"] == pytest.approx((-400 * 3 + 500 * 1) / 4)
    assert got["markout_30s_bps"] is None  # nobody knows yet
    late = markouts_bps(fills((0, 1, 1000, 3, 1001.0), (6, 1, 1000, 99, 1001.0)), mids)
    assert late["markout_1s_bps"] == 0.0  # the young one does not count


def test_nothing_is_none():
    none = fills()
    assert set(markouts_bps(none, samples(1, [1.0])).values()) == {None}
    assert set(markouts_bps(fills((0, 1, 10, 1, 10.0)), samples(1, [])).values()) == {None}
    assert spread_capture_bps(none) is None
    assert sharpe_annual(samples(1, [1.0, 2.0])) is None
    assert sharpe_annual(samples(1, [1.0] * 5)) is None  # no change, no ratio


def test_spread_capture():
    rows = fills((0, 1, 1000, 1, 1002.0), (0, -1, 1000, 3, 999.0), (0, 1, 1000, 5, math.nan))
    assert spread_capture_bps(rows) == pytest.approx((20 * 1 + 10 * 3) / 4)
    assert spread_capture_bps(rows[2:]) is None  # a one-sided book has no mid


def test_sharpe():
    rng = np.random.default_rng(3)
    change = rng.normal(0.1, 1.0, 50)
    rows = samples(60, np.ones(51), np.concatenate([[0], np.cumsum(change)]))
    expected = change.mean() / change.std(ddof=1) * math.sqrt(365 * 24 * 60)
    assert sharpe_annual(rows) == pytest.approx(expected)
    rows["pnl_usd"] *= -1
    assert sharpe_annual(rows) == pytest.approx(-expected)
