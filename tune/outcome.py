"""The end of a run: table, summary, the best configuration, the page."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
import yaml

from mm.config import RunConfig
from mm.errors import RaymakerError
from mm.report.sweep_html import Series, render
from mm.sim.run import simulate
from tune.plan import candidate, tape_of
from tune.provenance import environment
from tune.results import SUMMARY, best_row, cell, table_hash, write_table
from tune.rows import OK, Row, write_atomic
from tune.space import Space, fill
from tune.trial import LOGS

LUCK: Final = (
    "The best of {n} trials is also the luckiest of {n}, on the very data it was chosen on: "
    "expect less elsewhere. This version has no held-out evaluation."
)
_POINTS: Final = 1500  # of the best trial's curves on the page


def finish(
    folder: Path, space: Space, cfg: RunConfig, planned: int, ran: set[str], times: dict[str, float], began: float
) -> dict[str, Any]:
    """Write everything below ``folder`` that is made from its rows; returns the JSON object of the run.

    ``ran``: hashes of the configurations that this run was to do; ``times``: fit_s and workers of Ray Tune.
    """
    rows = write_table(folder)
    metric, mode = cfg.tune.metric, cfg.tune.mode
    best = best_row(rows, metric, mode)
    here = [row for row in rows if row["config_hash"] in ran]
    sim_s = sum(row["sim_s"] for row in here)
    fit_s, workers = times["fit_s"], int(times["workers"])
    series, reproduced = _best_again(folder, space, best)
    result: dict[str, Any] = {
        "experiment": folder.name,
        "trials": len(rows),
        "failed": sum(row["status"] != OK for row in rows),
        "wall_s": round(time.monotonic() - began, 3),
        "table_hash": table_hash(rows),
        "best": _best(best),
        "path": str(folder),
        "planned": planned,
        "ran_now": len(here),
        "metric": metric,
        "mode": mode,
        "fit_s": round(fit_s, 3),
        "sim_s_total": round(sim_s, 3),
        "workers": workers,
        "overhead_ms_per_trial": round((fit_s - sim_s / workers) / len(here) * 1e3, 3) if here and workers else None,
    }
    summary = result | {
        "note": LUCK.format(n=len(rows)),
        "space": space.describe(),
        "seed": cfg.seed,
        "data": _tapes(space),
        "best_reproduced": reproduced,
        "alerts": _alerts(rows),
        "environment": environment(),
    }
    write_atomic(folder / SUMMARY, json.dumps(summary, indent=2).encode())
    page = render(folder.name, [_page_row(row) for row in rows], _axes(rows), summary, series)
    write_atomic(folder / "index.html", page.encode())
    result["wall_s"] = round(time.monotonic() - began, 3)
    return result


def _best(row: Row | None) -> dict[str, Any]:
    if row is None:
        return {}
    return {k: row.get(k) for k in ("index", "config_hash", "seed", "params", "metrics", "alerts", "result_hash")}


def _alerts(rows: list[Row]) -> dict[str, Any]:
    """What the risk monitors said over the sweep: how much in how many trials, the loudest trial, where the rest is."""
    counts = {row["index"]: int(row["metrics"].get("alerts") or 0) for row in rows}
    loudest = max(counts, key=lambda k: counts[k], default=None)
    total = sum(counts.values())
    return {
        "total": total,
        "trials": sum(n > 0 for n in counts.values()),
        "most": {"index": loudest, "alerts": counts[loudest]} if total and loudest is not None else None,
        "logs": LOGS if total else None,
    }


def _axes(rows: list[Row]) -> list[str]:
    return list(dict.fromkeys(k for row in rows for k in row["params"]))


def _page_row(row: Row) -> dict[str, Any]:
    params = {k: cell(v) for k, v in row["params"].items()}
    head = {"index": row["index"], "config_hash": row["config_hash"], "status": row["status"], "error": row["error"]}
    return head | {"params": params, "metrics": row["metrics"]}


def _tapes(space: Space) -> list[dict[str, Any]]:
    """The tapes of the sweep: one, unless the data are an axis."""
    several = any(axis.key[0] == "data" for axis in space.axes)
    tapes = {}
    for k in range(space.size):
        one = candidate(space, k)
        if one.config is not None:
            tape = tape_of(one.config.data)
            tapes[tape.data_hash] = {"hash": tape.data_hash, "events": tape.events, "span_s": tape.span_s}
            if not several:
                break
    return list(tapes.values())


def _best_again(folder: Path, space: Space, best: Row | None) -> tuple[Series | None, bool | None]:
    """Simulate the best configuration once more for its curves; says whether the result hash came out the same."""
    if best is None:
        return None, None
    again = space.config(best["index"])
    config = fill(again, {("seed",): best["seed"]}).data
    config.pop("tune", None)
    head = f"# configuration {best['index']} of {folder.name}, the best of its sweep\n"
    write_atomic(folder / "best.yaml", (head + yaml.safe_dump(config, sort_keys=False)).encode())
    one = candidate(space, best["index"])
    if one.config is None:
        return None, False
    try:
        run = simulate(one.config, tape_of(one.config.data))
    except RaymakerError:  # a trial that was evaluated by something else than the simulator
        return None, False
    s = run.samples[run.samples["mid"] > 0]  # 0: no book yet
    s = s[:: max(1, -(-len(s) // _POINTS))]
    if len(s) == 0:
        return None, run.result_hash == best["result_hash"]
    size = np.array([run.instrument.size(int(n)) for n in s["pos_lots"]], dtype=np.float64)
    series = Series((s["ts_ns"] - s["ts_ns"][0]) * 1e-9, s["mid"] * float(run.instrument.tick_size), s["pnl_usd"], size)
    return series, run.result_hash == best["result_hash"]
