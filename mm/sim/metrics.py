"""Figures of merit of one run, each with its unit in the name."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mm.config.schema import RunConfig
from mm.core.instrument import Instrument
from mm.sim.fill_metrics import imbalance_ratio, inventory_over_time, realised_spread, round_trips, sharpe_interval
from mm.sim.liquidation import floored_equity
from mm.sim.state import REFUSALS
from mm.strategy.controls.names import ACTS
from mm.strategy.dynamic import ESTIMATED, PARAMS_REASONS, TOO_FEW
from mm.strategy.portfolio import fees_paid
from mm.strategy.risk import HALT_REASONS

MARKOUT_S = (1, 5, 30, 60)
MIN_SHARPE_S = 3600.0  # a yearly ratio from minutes of tape says nothing: below, it is not given
MIN_SHARPE_FILLS = 30
Metric = float | int | str | None


def markouts_bps(fills: NDArray[Any], mids: NDArray[Any]) -> dict[str, float | None]:
    """Size-weighted ``side * (mid at +h - fill price) / fill price`` in bps; None without a fill that old.

    Negative: the price moved against us after the fill (adverse selection). ``mids``: rows with ``ts_ns`` and
    ``mid``; the first one at or after the horizon counts.
    """
    out: dict[str, float | None] = {}
    for horizon_s in MARKOUT_S:
        name = f"markout_{horizon_s}s_bps"
        out[name] = None
        if len(fills) == 0 or len(mids) == 0:
            continue
        at = np.searchsorted(mids["ts_ns"], fills["ts_exch_ns"] + horizon_s * 1_000_000_000)
        known = at < len(mids)
        if not known.any():
            continue
        f = fills[known]
        move = f["side"] * (mids["mid"][at[known]] - f["tick"]) / f["tick"] * 1e4
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
    change = np.diff(samples["pnl_usd"])
    step_s = float(samples["ts_ns"][-1] - samples["ts_ns"][0]) * 1e-9 / len(change)
    sd = float(np.std(change, ddof=1))
    if sd == 0.0 or step_s <= 0.0:
        return None
    return float(np.mean(change)) / sd * math.sqrt(365 * 86_400 / step_s)


def summarise(
    cfg: RunConfig,
    instrument: Instrument,
    own: dict[str, Any],
    z: Any,
    fills: NDArray[Any],
    samples: NDArray[Any],
    mids: NDArray[Any],
    mid: float,
    refusals: NDArray[np.int64],
) -> dict[str, Metric]:
    """Every figure of one trial.

    ``own`` its kernel records, ``z`` its SET record, ``mids`` (``ts_ns``, ``mid``) dense enough for the markouts,
    ``mid`` the last one in ticks, ``refusals`` counts by reason.
    """
    s, p, loss = own["state"][0], own["params"][0], own["loss"][0]
    traded = bool(s.fills) or int(s.pos_lots) != 0
    pnl = float(floored_equity(s, p, z, mid)) if traded else 0.0
    quoted = fills[fills["order_id"] != 0]  # a liquidation is no quote of ours
    volume = float(s.notional_units) * float(p.unit_value)
    span_s = max((int(z.last_ns) - int(z.first_valid_ns)) * 1e-9, 0.0) if z.first_valid_ns else 0.0
    decisions = max(int(s.decision), 1)
    enough = span_s >= MIN_SHARPE_S and int(s.fills) >= MIN_SHARPE_FILLS
    out: dict[str, Metric] = {
        "pnl_usd": pnl,
        "equity_usd": cfg.risk.initial_equity_usd + pnl,
        "fees_usd": float(fees_paid(s, p, mid)) if traded else 0.0,
        "funding_usd": float(s.funding) * (mid * float(p.tick_size) if p.inverse else 1.0),
        "max_drawdown_usd": float(loss.drawdown_usd),
        "fills": int(s.fills),
        "taker_fills": int(s.taker_fills),
        "volume_usd": volume,
        "pnl_per_volume_bps": pnl / volume * 1e4 if volume else None,
        "pnl_per_1000_usd_at_risk": pnl / cfg.risk.max_drawdown_usd * 1000.0,
        "position": float(instrument.size(int(s.pos_lots))),
        "turnover": volume / cfg.risk.initial_equity_usd,
        "imbalance_ratio": imbalance_ratio(int(s.bought_lots), int(s.sold_lots)),
        "max_abs_position": float(
            instrument.size(int(np.max(np.abs(np.cumsum(fills["side"] * fills["lots"])), initial=0)))
        ),
        "orders": int(z.orders),
        "cancels": int(z.cancels),
        "rejects": int(z.rejects),
        "decisions": int(s.decision),
        "quote_uptime": float(z.both_ns) * 1e-9 / span_s if span_s else 0.0,
        "clamped_share": int(s.clamped) / decisions,
        "pulled_share": int(s.pulled) / decisions,
        "paused_share": int(s.control.paused) / decisions,
        "sharpe_annual": sharpe_annual(samples) if enough else None,
        "spread_capture_bps": spread_capture_bps(quoted),
        "span_s": span_s,
        "halted": HALT_REASONS[int(s.halted)] or None,
        "held_back": int(own["rate"][0].held),
        "liquidated": bool(z.liquidated_ns),
        "liquidation_loss_usd": float(z.liquidation_loss_usd),
    }
    lot = float(instrument.lot_size)
    return (
        out
        | _dynamic(own, float(p.tick_size))
        | {f"acted_{name}": int(n) for name, n in zip(ACTS, s.control.acted, strict=True)}
        | {f"rejects_{reason}": int(count) for reason, count in zip(REFUSALS, refusals, strict=True)}
        | markouts_bps(quoted, mids)
        | realised_spread(quoted, mids)
        | round_trips(fills, p)
        | inventory_over_time(fills, int(z.first_valid_ns), int(z.last_ns), lot)
        | (sharpe_interval(samples, cfg.seed) if enough else {"sharpe_ci_low": None, "sharpe_ci_high": None})
    )


def _dynamic(own: dict[str, Any], tick: float) -> dict[str, Metric]:
    """Of a strategy with dynamic parameters: how often the policy stood on estimates, else why not, and the last."""
    model = own["model"][0]
    if not model.dynamic:
        return {}
    total = max(int(model.refreshes.sum()), 1)
    out: dict[str, Metric] = {
        "params_last": PARAMS_REASONS[int(model.params_reason)],
        "params_estimated_share": int(model.refreshes[ESTIMATED]) / total,
        "A_last_per_s": float(model.A),
        "kappa_last_per_quote": float(model.kappa) / tick,
    }
    return out | {
        f"fallback_{reason}": int(count)
        for reason, count in zip(PARAMS_REASONS[TOO_FEW:], model.refreshes[TOO_FEW:], strict=True)
    }
