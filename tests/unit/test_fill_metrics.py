"""Figures about fills, against loops over the same rows."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm.core.types import records
from mm.sim import fill_metrics as fm
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


def test_realised_spread_is_capture_and_adverse_selection():
    mids = samples(1, [1000.0] * 4 + [990.0] * 10)
    rows = fills((0, 1, 1000, 3, 1001.0), (1, -1, 1000, 1, 999.0), (4, 1, 990, 5, math.nan), (13, 1, 990, 9, 995.0))
    got = fm.realised_spread(rows, mids)
    assert got["realised_spread_5s_bps"] == pytest.approx((-100 * 3 + 100) / 4)
    assert got["adverse_selection_5s_bps"] == pytest.approx((-110 * 3 + 90) / 4)
    both = rows[:2]
    assert got["realised_spread_5s_bps"] == pytest.approx(markouts_bps(both, mids)["markout_5s_bps"])
    capture = spread_capture_bps(both)
    assert got["realised_spread_5s_bps"] - got["adverse_selection_5s_bps"] == pytest.approx(capture)
    for nothing in (fm.realised_spread(rows[2:], mids), fm.realised_spread(rows[:0], mids)):
        assert set(nothing.values()) == {None}


TRADES = st.lists(st.tuples(st.sampled_from([1, -1]), st.integers(90, 110), st.integers(1, 3)), max_size=30)


@pytest.mark.parametrize("inverse", [0, 1])
@given(trades=TRADES, fee_e8=st.sampled_from([0, 20_000, -10_000]))
def test_round_trips_one_by_one(inverse, trades, fee_e8):
    rows = fills(*((k, side, tick, lots, 100.0) for k, (side, tick, lots) in enumerate(trades)))
    worth = (lambda tick: -1.0 / tick) if inverse else float
    pos, gain, trips, close = 0, 0.0, [], []
    for side, tick, lots in trades:
        closing = min(lots, abs(pos)) if pos * side < 0 else 0
        value = (1.0 / tick) if inverse else tick
        gain -= side * closing * worth(tick) + lots * value * fee_e8 * 1e-8
        pos += side * closing
        if closing and pos == 0:
            trips.append(gain > 0)
            close.append(abs(gain) < 1e-9)
            gain = 0.0
        pos += side * (lots - closing)
        gain -= side * (lots - closing) * worth(tick)
    got = fm.round_trips(rows, SimpleNamespace(inverse=inverse, maker_fee_e8=fee_e8))
    assert got["round_trips"] == len(trips)
    if not any(close):  # a trip that ends at zero may round either way
        assert got["win_rate"] == (pytest.approx(np.mean(trips)) if trips else None)


def test_inventory_over_time():
    rows = fills((2, 1, 100, 4, 100.0), (4, -1, 100, 6, 100.0), (9, 1, 100, 2, 100.0))
    got = fm.inventory_over_time(rows, 0, 10 * S, 0.5)
    assert got["position_mean"] == pytest.approx((4 * 2 - 2 * 5) / 10 * 0.5)
    assert got["position_mean_abs"] == pytest.approx((4 * 2 + 2 * 5) / 10 * 0.5)
    assert fm.inventory_over_time(rows[:0], 0, S, 1.0) == {"position_mean": 0.0, "position_mean_abs": 0.0}
    assert fm.inventory_over_time(rows, 5, 5, 1.0)["position_mean"] == 0.0


def test_imbalance():
    assert fm.imbalance_ratio(3, 1) == 0.5
    assert fm.imbalance_ratio(0, 7) == -1.0
    assert fm.imbalance_ratio(0, 0) is None


def test_sharpe_interval():
    change = np.random.default_rng(5).normal(0.2, 1.0, 400)
    rows = samples(60, np.ones(401), np.concatenate([[0], np.cumsum(change)]))
    got = fm.sharpe_interval(rows, 1)
    point = sharpe_annual(rows)
    assert got["sharpe_ci_low"] < point < got["sharpe_ci_high"]
    theory = math.sqrt(365 * 1440 * (1 + 0.5 * 0.04) / 400)  # standard error of a Sharpe ratio, annualised
    assert got["sharpe_ci_high"] - got["sharpe_ci_low"] == pytest.approx(2 * 1.96 * theory, rel=0.3)
    assert got == fm.sharpe_interval(rows, 1) != fm.sharpe_interval(rows, 2)
    for few in (rows[:100], samples(60, np.ones(300)), samples(0, np.ones(300), np.arange(300.0)), rows[:0]):
        assert fm.sharpe_interval(few, 1) == {"sharpe_ci_low": None, "sharpe_ci_high": None}
