"""Risk monitors of a trial: what a risk desk would have been told, from the sampled equity and position.

They run after the pass, on a regular grid of ``risk.monitors.step`` (or of the samples, where those are coarser), and
look back over ``risk.monitors.window``; an alert is one excursion beyond a limit, from its first to its last moment.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from mm.config.schema import MonitorConfig
from mm.core.instrument import Instrument
from mm.core.stats import historical_tail
from mm.strategy.overlays import CLAMPED_LIMIT

Floats = NDArray[np.float64]

CLAMPED: Final = "clamped_share"


@dataclass(frozen=True, slots=True)
class Alert:
    """One excursion of a monitor beyond its limit, times in ns; ``worst`` and ``limit`` in the monitor's unit."""

    monitor: str  # drawdown_usd, var_usd, cvar_usd, inventory_drift_lots or clamped_share
    first_ns: int
    last_ns: int
    worst: float
    limit: float

    def __str__(self) -> str:
        lasted_s = (self.last_ns - self.first_ns) * 1e-9
        return f"{self.monitor} {self.worst:.6g} beyond {self.limit:.6g} for {lasted_s:g} s from {self.first_ns}"


def rolling_drawdown(equity: Floats, rows: int) -> Floats:
    """Fall below the highest of the last ``rows`` values, the current one included: (n,), never negative."""
    padded = np.concatenate([np.full(rows - 1, -np.inf), equity])
    return np.asarray(sliding_window_view(padded, rows).max(axis=1) - equity)


def rolling_tail(changes: Floats, rows: int, alpha: float) -> tuple[Floats, Floats]:
    """(VaR, CVaR) of every full window of ``rows`` changes, as ``mm.core.stats.historical_tail``: (n - rows + 1,)."""
    if len(changes) < rows:
        return np.zeros(0), np.zeros(0)
    windows = sliding_window_view(changes, rows)
    if len(windows) == 1:
        var, cvar = historical_tail(changes, alpha)
        return np.array([var]), np.array([cvar])
    quantile = np.quantile(windows, alpha, axis=1)
    beyond = windows <= quantile[:, None]
    return -quantile, -np.sum(windows * beyond, axis=1) / np.sum(beyond, axis=1)


def rolling_mean(values: Floats, rows: int) -> Floats:
    """Mean of every full window: (n - rows + 1,), or nothing for fewer values."""
    if len(values) < rows:
        return np.zeros(0)
    total = np.concatenate([[0.0], np.cumsum(values)])
    return np.asarray((total[rows:] - total[:-rows]) / rows)


def excursions(monitor: str, times: NDArray[np.int64], values: Floats, limit: float) -> list[Alert]:
    """Runs of ``values`` above ``limit``; the last value belongs to the last time."""
    times = times[len(times) - len(values) :]
    above = np.concatenate([[False], values > limit, [False]])
    edges = np.flatnonzero(above[1:] != above[:-1])
    return [
        Alert(monitor, int(times[a]), int(times[b - 1]), float(np.max(values[a:b])), limit)
        for a, b in zip(edges[::2], edges[1::2], strict=True)
    ]


def watch(cfg: MonitorConfig, samples: NDArray[Any], instrument: Instrument, ref_price: float) -> tuple[Alert, ...]:
    """Every alert of a trial, in order of time. ``samples``: SAMPLE, in order."""
    limits = (cfg.drawdown_usd, cfg.var_usd, cfg.cvar_usd, cfg.inventory_drift)
    if len(samples) < 3 or all(limit is None for limit in limits):
        return ()
    ts = samples["ts_ns"]
    step_ns = max(round(cfg.step * 1e9), -(-int(ts[-1] - ts[0]) // (len(ts) - 1)))
    times = int(ts[0]) + step_ns * np.arange(int(ts[-1] - ts[0]) // step_ns + 1, dtype=np.int64)
    at = np.searchsorted(ts, times, side="right") - 1
    rows = max(round(cfg.window * 1e9 / step_ns), 2)
    equity = np.asarray(samples["pnl_usd"][at], float)
    out: list[Alert] = []
    if cfg.drawdown_usd is not None:
        out += excursions("drawdown_usd", times, rolling_drawdown(equity, rows), cfg.drawdown_usd)
    if cfg.var_usd is not None or cfg.cvar_usd is not None:
        var, cvar = rolling_tail(np.diff(equity), rows, cfg.tail_pct * 0.01)
        if cfg.var_usd is not None:
            out += excursions("var_usd", times, var, cfg.var_usd)
        if cfg.cvar_usd is not None:
            out += excursions("cvar_usd", times, cvar, cfg.cvar_usd)
    if cfg.inventory_drift is not None:
        moved = np.asarray(samples["pos_lots"][at] - samples["pos_lots"][0], float)
        limit = float(cfg.inventory_drift.lots(instrument, ref_price))
        out += excursions("inventory_drift_lots", times, np.abs(rolling_mean(moved, rows)), limit)
    return tuple(sorted(out, key=lambda a: (a.first_ns, a.monitor)))


def watch_bounds(clamped_share: float, samples: NDArray[Any]) -> tuple[Alert, ...]:
    """An alert over the whole trial when too many of its decisions were moved by a spread bound."""
    if clamped_share <= CLAMPED_LIMIT or len(samples) == 0:
        return ()
    first_ns, last_ns = int(samples["ts_ns"][0]), int(samples["ts_ns"][-1])
    return (Alert(CLAMPED, first_ns, last_ns, clamped_share, CLAMPED_LIMIT),)
