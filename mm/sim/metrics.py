"""Figures of merit of one run, each with its unit in the name."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

MARKOUT_S = (1, 5, 30, 60)


def markouts_bps(fills: NDArray[Any], samples: NDArray[Any]) -> dict[str, float | None]:
    """Size-weighted ``side * (mid at +h - fill price) / fill price`` in bps; None without a fill that old.

    Negative: the price moved against us after the fill (adverse selection). Mids are the sampled ones.
    """
    out: dict[str, float | None] = {}
    for horizon_s in MARKOUT_S:
        name = f"markout_{horizon_s}s_bps"
        out[name] = None
        if len(fills) == 0 or len(samples) == 0:
            continue
        at = np.searchsorted(samples["ts_ns"], fills["ts_exch_ns"] + horizon_s * 1_000_000_000)
        known = at < len(samples)
        if not known.any():
            continue
        f = fills[known]
        move = f["side"] * (samples["mid"][at[known]] - f["tick"]) / f["tick"] * 1e4
        out[name] = float(np.average(move, weights=f["lots"]))
    return out


def spread_capture_bps(fills: NDArray[Any]) -> float | None:
    """Size-weighted distance of our fills from the mid just before them, in bps: the gross edge.

    A fill while the book had one side only (a snapshot was on its way) has no mid and does not count.
    """
    fills = fills[np.isfinite(fills["mid"])]
    if len(fills) == 0:
        return None
    edge = fills["side"] * (fills["mid"] - fills["tick"]) / fills["tick"] * 1e4
    return float(np.average(edge, weights=fills["lots"]))


def sharpe_annual(samples: NDArray[Any]) -> float | None:
    """Annualised Sharpe ratio of equity changes over the sampled steps (365 days, step from the timestamps)."""
    if len(samples) < 3:
        return None
    change = np.diff(samples["equity_usd"])
    step_s = float(samples["ts_ns"][-1] - samples["ts_ns"][0]) * 1e-9 / len(change)
    sd = float(np.std(change, ddof=1))
    if sd == 0.0 or step_s <= 0.0:
        return None
    return float(np.mean(change)) / sd * math.sqrt(365 * 86_400 / step_s)
