"""One simulation job from config to disk: a tape, candles, a fill ladder or a desk of several instruments."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mm.config.schema import RunConfig
from mm.data.candles import Candles, open_candles, read_meta
from mm.errors import ConfigError
from mm.report import backtest, desk, ladder, tables
from mm.sim.candles import simulate_candles
from mm.sim.run import SimResult, simulate
from mm.sim.tape import open_tape

Progress = Callable[[float], None]
Job = tuple[dict[str, Any], Callable[[], Any]]  # the JSON object, and how to draw it as a table


def run(cfg: RunConfig, out: Path, *, fill_ladder: bool = False, progress: Progress | None = None) -> Job:
    """Simulate what ``cfg`` describes and keep everything below ``out``.

    Raises:
        ConfigError: the config does not fit the data, or ``out`` cannot be written.
        DataError: there is no such store.
    """
    label = re.sub(r"[^A-Za-z0-9_.-]+", "_", f"{cfg.name}-{cfg.tag}" if cfg.tag else cfg.name)
    try:
        if fill_ladder:
            return _ladder(cfg, out, label, progress)
        if cfg.desk.legs:
            return _desk(cfg, out, label, progress)
        return _one(cfg, out, label, progress)
    except OSError as exc:
        raise ConfigError(f"--out {out}: results cannot be written there: {exc}") from exc


def _candles(cfg: RunConfig) -> Candles | None:
    return open_candles(cfg.data.source) if read_meta(Path(cfg.data.source)) else None


def _ladder(cfg: RunConfig, out: Path, label: str, progress: Progress | None) -> Job:
    if cfg.desk.legs or _candles(cfg) is not None:
        raise ConfigError("--fill-ladder needs one order-book tape: candles have no queue, a desk has several tapes")
    tape = open_tape(cfg.data, progress)
    found = ladder.run_ladder(cfg, tape)
    path = ladder.save(found, out / f"ladder-{label}-{tape.data_hash[:8]}")
    return found | {"path": str(path)}, lambda: ladder.render(found)


def _desk(cfg: RunConfig, out: Path, label: str, progress: Progress | None) -> Job:
    result, legs = desk.run_desk(cfg, progress)
    summary = desk.save(result, legs, out / f"desk-{label}-{result.result_hash[:8]}")
    return summary, lambda: tables.plain(summary)


def _one(cfg: RunConfig, out: Path, label: str, progress: Progress | None) -> Job:
    candles = _candles(cfg)
    result: SimResult
    if candles is not None:
        result, data_hash = simulate_candles(cfg, candles), candles.data_hash
    else:
        tape = open_tape(cfg.data, progress)
        result, data_hash = simulate(cfg, tape), tape.data_hash
    path = backtest.save(result, cfg, out / f"backtest-{label}-{result.result_hash[:8]}", data_hash=data_hash)
    m = result.metrics
    summary = {
        "result_hash": result.result_hash, "events": result.events, "fills": m["fills"],
        "taker_fills": m["taker_fills"], "position": m["position"], "equity": m["equity_usd"], "fees": m["fees_usd"],
        "metrics": m, "alerts": [str(alert) for alert in result.alerts], "path": str(path),
    }  # fmt: skip
    instrument = result.instrument
    unit = "contracts" if instrument.kind == "inverse" else str(instrument.base)
    return summary, lambda: tables.backtest(summary, unit)
