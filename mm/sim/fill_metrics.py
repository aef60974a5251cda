"""What the fills of one trial say: edge against adverse selection, round trips, inventory over time.

Vectorised over FILL_ROW rows (``mm.sim.state``), in order of time; a few microseconds a figure. None: not defined.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mm.core import stats

REALISED_S = 5
MIN_CHANGES = 100  # of equity, before an interval of its Sharpe ratio is worth stating
RESAMPLES = 400
Rows = NDArray[Any]
Figures = dict[str, float | int | None]


def realised_spread(fills: Rows, mids: Rows, horizon_s: float = REALISED_S) -> Figures:
    """What is left of the edge after ``horizon_s``: realised spread = capture + adverse selection, in bps.

    Capture is the distance of the fill from the mid just before it, adverse selection the move of the mid from there
    to the horizon, in our favour when positive. Size-weighted, over the fills for which both mids are known.
    """
    names = f"realised_spread_{horizon_s:g}s_bps", f"adverse_selection_{horizon_s:g}s_bps"
    none: Figures = dict.fromkeys(names)
    if len(fills) == 0 or len(mids) == 0:
        return none
    at = np.searchsorted(mids["ts_ns"], fills["ts_exch_ns"] + round(horizon_s * 1e9))
    later = mids["mid"][np.minimum(at, len(mids) - 1)]
    weight = fills["lots"] * ((at < len(mids)) & np.isfinite(fills["mid"]) & (later > 0.0))
    total = float(weight.sum())
    if total == 0.0:
        return none
    per_tick = weight * fills["side"] / fills["tick"] * (1e4 / total)
    known = weight > 0
    capture = float(per_tick[known] @ (fills["mid"] - fills["tick"])[known])
    adverse = float(per_tick[known] @ (later - fills["mid"])[known])
    return {names[0]: capture + adverse, names[1]: adverse}


def round_trips(fills: Rows, p: Any) -> Figures:
    """Trips from flat to flat (a fill that flips the position ends one and starts the next) and the share that won.

    A trip's profit is its cash flow with the maker fees of its fills, the fill that ends it included.
    """
    if len(fills) == 0:
        return {"round_trips": 0, "win_rate": None}
    size = fills["side"] * fills["lots"]
    pos = np.cumsum(size)
    before = pos - size
    ends = np.flatnonzero((before != 0) & (pos * before <= 0))
    if len(ends) == 0:
        return {"round_trips": 0, "win_rate": None}
    # equity marked at the fill's own price: what a flip opens there is worth nothing yet
    fee = int(p.maker_fee_e8) * 1e-8
    if p.inverse:
        coins = 1.0 / fills["tick"]
        wealth = np.cumsum(size * coins - fills["lots"] * coins * fee) - pos * coins
    else:
        wealth = pos * fills["tick"] - np.cumsum(size * fills["tick"] + fills["lots"] * fills["tick"] * fee)
    gains = np.diff(wealth[ends], prepend=0.0)
    return {"round_trips": len(ends), "win_rate": float(np.mean(gains > 0.0))}


def inventory_over_time(fills: Rows, first_ns: int, last_ns: int, lot: float) -> Figures:
    """Time averages of the position and of its size, in base (contracts for inverse), over ``first_ns..last_ns``."""
    if len(fills) == 0 or last_ns <= first_ns:
        return {"position_mean": 0.0, "position_mean_abs": 0.0}
    pos = np.cumsum(fills["side"] * fills["lots"])
    since = np.minimum(fills["ts_exch_ns"], last_ns)
    held = np.diff(since, append=last_ns)
    scale = lot / (last_ns - first_ns)
    return {"position_mean": float(pos @ held) * scale, "position_mean_abs": float(np.abs(pos) @ held) * scale}


def imbalance_ratio(bought: int, sold: int) -> float | None:
    """(bought - sold) / traded: ±1 when only one side was ever filled."""
    return (bought - sold) / (bought + sold) if bought + sold else None


def sharpe_interval(samples: Rows, seed: int) -> Figures:
    """95 % moving-block bootstrap interval of the annualised Sharpe ratio of the sampled equity changes.

    None below ``MIN_CHANGES`` changes. The resampling depends on ``seed`` and the number of samples only.
    """
    out: Figures = {"sharpe_ci_low": None, "sharpe_ci_high": None}
    n = len(samples) - 1
    span_s = float(samples["ts_ns"][-1] - samples["ts_ns"][0]) * 1e-9 if n > 0 else 0.0
    if n < MIN_CHANGES or span_s <= 0.0:
        return out
    change = np.diff(samples["pnl_usd"])
    if stats.sharpe(change) is None:
        return out
    block = round(n**0.5)
    found = stats.sharpe_interval(change, block, stats.shared_starts(n, block, RESAMPLES, seed))
    if found is not None:
        annual = (stats.SECONDS_PER_YEAR * n / span_s) ** 0.5
        out["sharpe_ci_low"], out["sharpe_ci_high"] = found.low * annual, found.high * annual
    return out
