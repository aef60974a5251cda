"""Ray Tune's ``ResultGrid`` of an experiment, complete even where Tune's snapshots are not."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from ray.tune import ExperimentAnalysis, ResultGrid
from ray.tune.experiment import Trial

from mm.errors import ConfigError
from tune.results import CONFIG, TUNE
from tune.rows import LOST, Row
from tune.trial import report, trial_name


class _Analysis(ExperimentAnalysis):
    """Takes a trial's one result from the snapshot: Tune's log files per trial are switched off."""

    def _fetch_trial_dataframe(self, trial: Any) -> Any:
        return pd.json_normalize(trial.last_result or {}, sep="/")


def restore_grid(folder: Path, rows: list[Row]) -> Any:
    """The grid over the trials of all parts (a resume adds one), in the order of their index.

    Tune's snapshots are periodic, so a killed part misses its last trials: these are rebuilt from their rows.

    Raises:
        ConfigError: Tune has written no snapshot yet.
    """
    parts = [p for p in sorted((folder / TUNE).glob("part-*")) if any(p.glob("experiment_state-*.json"))]
    trials: dict[str, Any] = {}
    like = None
    for part in parts:
        for trial in _Analysis(str(part)).trials:
            like = trial
            if trial.status in (Trial.TERMINATED, Trial.ERROR):
                trials[trial.config["trial"]["config_hash"]] = trial
    if like is None:
        raise ConfigError(f"{folder.name}: Ray Tune has written no snapshot yet; the table (.df) is there")
    tune = yaml.safe_load((folder / CONFIG).read_text(encoding="utf-8")).get("tune") or {}
    metric = tune.get("metric", "pnl_usd")
    for row in rows:
        if row["config_hash"] not in trials and row["status"] != LOST:
            trials[row["config_hash"]] = _rebuilt(row, like, metric)
    ordered = sorted(trials.values(), key=lambda t: int(t.config["trial"]["index"]))
    return ResultGrid(
        _Analysis(str(parts[-1]), trials=ordered, default_metric=metric, default_mode=tune.get("mode", "max"))
    )


def _rebuilt(row: Row, like: Any, metric: str) -> Any:
    head = {k: row[k] for k in ("index", "config_hash", "seed")}
    storage = copy.copy(like.storage)
    trial = Trial(
        like.trainable_name,
        config={"trial": head | row["params"]},
        trial_id=row["config_hash"],
        storage=storage,
        trial_name_creator=trial_name,
        trial_dirname_creator=trial_name,
        stub=True,
    )
    trial.set_status(Trial.TERMINATED)  # type: ignore[no-untyped-call]
    storage.trial_dir_name = trial_name(trial)
    told = {"trial_id": row["config_hash"], "training_iteration": 1, "config": trial.config}
    trial.update_last_result(report(row, metric) | told)  # type: ignore[no-untyped-call]
    return trial
