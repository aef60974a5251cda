"""A simulated run on disk: metrics, alerts, fills, samples and one picture of equity, inventory and quotes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mm.config.schema import RunConfig
from mm.sim.monitors import CLAMPED, Alert
from mm.sim.run import SimResult

_OUR_BID, _OUR_ASK, _MID = "#2a7f62", "#b23a48", "#444444"


def save(result: SimResult, cfg: RunConfig, out: Path, *, data_hash: str) -> Path:
    """Write ``metrics.json``, ``config.json``, ``fills.parquet``, ``samples.parquet``, ``picture.png`` into ``out``.

    Alerts of the risk monitors are in ``metrics.json``, a line each in ``trial.log``, and shaded in the picture.
    """
    out.mkdir(parents=True, exist_ok=True)
    manifest = {"result_hash": result.result_hash, "data_hash": data_hash, "metrics": result.metrics,
                "alerts": [asdict(alert) for alert in result.alerts]}  # fmt: skip
    (out / "metrics.json").write_text(json.dumps(manifest, indent=2) + "\n")
    (out / "config.json").write_text(cfg.model_dump_json(indent=2) + "\n")
    (out / "trial.log").write_text("".join(f"alert {alert}\n" for alert in result.alerts))
    tick = float(result.instrument.tick_size)
    fills = {name: np.ascontiguousarray(result.fills[name]) for name in result.fills.dtype.names or ()}
    fills["price"] = fills["tick"] * tick
    pq.write_table(pa.table(fills), out / "fills.parquet")
    samples = {name: np.ascontiguousarray(result.samples[name]) for name in result.samples.dtype.names or ()}
    pq.write_table(pa.table(samples), out / "samples.parquet")
    title = str(result.instrument.symbol)
    if result.metrics.get("bias"):  # an approximation says so on every picture
        title += f" ({result.metrics['mode']}: biased, see metrics.json)"
    picture(result.samples, result.fills, tick, title, out / "picture.png", result.alerts)
    return out


def picture(
    samples: NDArray[Any], fills: NDArray[Any], tick: float, symbol: str, path: Path, alerts: Sequence[Alert] = ()
) -> None:
    """Three panels over time: mid with our quotes and fills, inventory, profit with the alerts shaded."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(3, 1, figsize=(12, 9), sharex=True, height_ratios=[3, 1, 1], layout="constrained")
    if len(samples) == 0:
        axes[0].set_title(f"{symbol}: nothing happened")
    else:
        start = int(samples["ts_ns"][0])
        t = (samples["ts_ns"] - start) * 1e-9
        mid = np.where(samples["mid"] > 0, samples["mid"] * tick, np.nan)  # 0: no book yet
        axes[0].plot(t, mid, color=_MID, lw=0.8, label="mid")
        for name, color, label in (("bid_tick", _OUR_BID, "our bid"), ("ask_tick", _OUR_ASK, "our ask")):
            quote = np.where(samples[name] > 0, samples[name] * tick, np.nan)
            axes[0].plot(t, quote, color=color, lw=0.6, alpha=0.8, label=label)
        for side, color, marker, label in ((1, _OUR_BID, "^", "we bought"), (-1, _OUR_ASK, "v", "we sold")):
            f = fills[fills["side"] == side]
            at = (f["ts_exch_ns"] - start) * 1e-9
            axes[0].scatter(at, f["tick"] * tick, color=color, marker=marker, s=18, zorder=3, label=label)
        axes[0].set_title(f"{symbol}: {len(fills)} fills")
        axes[0].legend(loc="upper left", ncols=5, fontsize=8)
        axes[1].step(t, samples["pos_lots"], color=_MID, lw=0.9, where="post")
        axes[1].axhline(0, color="#bbbbbb", lw=0.6)
        axes[2].plot(t, samples["pnl_usd"], color="#1f4e79", lw=0.9)
        axes[2].axhline(0, color="#bbbbbb", lw=0.6)
        alerts = [alert for alert in alerts if alert.monitor != CLAMPED]  # the whole run would be shaded
        for alert in alerts:
            axes[2].axvspan((alert.first_ns - start) * 1e-9, (alert.last_ns - start) * 1e-9, color=_OUR_ASK, alpha=0.12)
        if alerts:
            axes[2].set_title(f"{len(alerts)} alerts of the risk monitors (shaded)", fontsize=9)
    axes[0].set_ylabel("price")
    axes[1].set_ylabel("inventory [lots]")
    axes[2].set_ylabel("profit [quote]\nfees inside")
    axes[2].set_xlabel("seconds")
    fig.savefig(path, dpi=110)
    plt.close(fig)
