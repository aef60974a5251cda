"""Monitors of a trial: rolling figures against plain loops, and alerts as excursions."""

import numpy as np
import pytest

from mm.config.schema import MonitorConfig
from mm.core.stats import historical_tail
from mm.sim.monitors import excursions, rolling_drawdown, rolling_mean, rolling_tail, watch
from mm.sim.state import SAMPLE
from tests.reference.kernel_box import instrument

S = 1_000_000_000


@pytest.mark.parametrize("rows", [1, 2, 7, 60])
def test_rolling_figures_are_those_of_each_window(rows):
    x = np.random.default_rng(3).normal(size=50).cumsum()
    naive = [max(x[max(0, k - rows + 1) : k + 1]) - x[k] for k in range(len(x))]
    assert rolling_drawdown(x, rows) == pytest.approx(naive)
    windows = [x[k : k + rows] for k in range(len(x) - rows + 1)]
    assert rolling_mean(x, rows) == pytest.approx([w.mean() for w in windows])
    tails = [historical_tail(w, 0.1) for w in windows]
    var, cvar = rolling_tail(x, rows, 0.1)
    assert var == pytest.approx([t[0] for t in tails])
    assert cvar == pytest.approx([t[1] for t in tails])


def test_an_alert_is_one_excursion():
    times = np.arange(8) * S
    alerts = excursions("m", times, np.array([0, 3, 4, 1, 0, 5.0]), 2.0)
    assert [(a.first_ns // S, a.last_ns // S, a.worst) for a in alerts] == [(3, 4, 4.0), (7, 7, 5.0)]
    assert "4 beyond 2 for 1 s" in str(alerts[0])


def run(equity, position=None):
    out = np.zeros(len(equity), SAMPLE)
    out["ts_ns"] = np.arange(len(equity)) * S
    out["pnl_usd"] = equity
    out["pos_lots"] = 0 if position is None else position
    return out


def test_a_fall_and_a_drift_raise_their_alerts():
    equity = np.concatenate([np.linspace(0, 10, 50), np.linspace(10, 4, 20), np.full(60, 4.0)])
    position = np.concatenate([np.full(60, 100), np.full(70, 190)])
    cfg = {"window": "30s", "step": "1s", "drawdown_usd": 2, "cvar_usd": 0.31, "inventory_drift": "50 lots"}
    alerts = watch(MonitorConfig.model_validate(cfg), run(equity, position), instrument(), 60_000.0)
    assert [a.monitor for a in alerts] == ["cvar_usd", "drawdown_usd", "inventory_drift_lots"]
    tail, fall, drift = alerts
    assert fall.worst == pytest.approx(6.0)
    assert 55 <= fall.first_ns // S <= 57
    assert fall.last_ns // S == 62 + 29  # the last moment whose 30 values reach back to one above 6
    assert tail.worst == pytest.approx(6 / 19, rel=0.05)
    assert drift.worst == pytest.approx(90.0)
    assert watch(MonitorConfig(), run(equity), instrument(), 60_000.0) == ()


def test_coarse_samples_are_not_looked_at_more_often_than_they_were_taken():
    samples = run(np.arange(100.0))
    samples["ts_ns"] *= 10
    cfg = MonitorConfig.model_validate({"window": "100s", "step": "1s", "var_usd": 1e-9})
    assert watch(cfg, samples, instrument(), 60_000.0) == ()  # it only ever rises
