"""A desk simulation on disk: every leg as a backtest of its own, the desk's equity and exposure beside them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mm.config.schema import RunConfig
from mm.report.backtest import save as save_leg
from mm.sim.desk import DeskResult, Leg, legs_of, simulate_desk
from mm.sim.tape import open_tape


def run_desk(cfg: RunConfig, progress: Callable[[float], None] | None = None) -> tuple[DeskResult, list[Leg]]:
    """Open the legs' tapes and simulate them together."""
    tapes = {leg.name: open_tape(leg.data, progress) for leg in cfg.desk.legs}
    legs = legs_of(cfg, tapes)
    return simulate_desk(cfg, legs), legs


def save(result: DeskResult, legs: list[Leg], out: Path) -> dict[str, Any]:
    """Write ``desk.json``, ``desk.parquet``, ``picture.png`` and one folder a leg; returns the CLI's JSON object."""
    out.mkdir(parents=True, exist_ok=True)
    names = result.samples.dtype.names or ()
    pq.write_table(pa.table({n: np.ascontiguousarray(result.samples[n]) for n in names}), out / "desk.parquet")
    for leg in legs:
        save_leg(result.legs[leg.name], leg.config, out / leg.name, data_hash=leg.tape.data_hash)
    m = result.metrics
    summary = {
        "result_hash": result.result_hash,
        "events": sum(r.events for r in result.legs.values()),
        "fills": m["fills"],
        "taker_fills": m["taker_fills"],
        "position": {name: r.metrics["position"] for name, r in result.legs.items()},
        "equity": m["equity_usd"],
        "fees": m["fees_usd"],
        "metrics": m,
        "legs": {name: r.metrics for name, r in result.legs.items()},
        "path": str(out),
    }
    (out / "desk.json").write_text(json.dumps(summary, indent=2) + "\n")
    _picture(result, out / "picture.png")
    return summary


def _picture(result: DeskResult, path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    fig, (top, bottom) = plt.subplots(2, 1, figsize=(12, 7), sharex=True, layout="constrained")
    start = int(result.samples["ts_ns"][0])
    top.plot((result.samples["ts_ns"] - start) * 1e-9, result.samples["pnl_usd"], color="#222222", label="desk")
    for name, r in result.legs.items():
        top.plot((r.samples["ts_ns"] - start) * 1e-9, r.samples["pnl_usd"], lw=0.8, label=name)
    top.set_ylabel("profit [quote]\nfees inside")
    top.legend(loc="upper left", fontsize=8)
    t = (result.samples["ts_ns"] - start) * 1e-9
    bottom.plot(t, result.samples["gross_usd"], lw=0.8, label="gross")
    bottom.plot(t, result.samples["net_usd"], lw=0.8, label="net")
    bottom.set_ylabel("exposure [quote]")
    bottom.set_xlabel("seconds")
    bottom.legend(loc="upper left", fontsize=8)
    fig.savefig(path, dpi=110)
    plt.close(fig)
