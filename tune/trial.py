"""One configuration = one trial: derive it from its index, simulate, leave a durable row. And its face for Ray Tune."""

from __future__ import annotations

import math
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml
from ray import tune as ray_tune

from mm.config import RunConfig
from mm.sim.run import simulate
from mm.sim.tape import Tape
from tune.plan import Candidate, candidate, tape_of
from tune.rows import FAILED, OK, Row, RowWriter
from tune.space import Space

Metrics = dict[str, float | int | str | None]


class Evaluated(NamedTuple):
    """What the simulation of a trial says."""

    metrics: Metrics
    result_hash: str
    alerts: tuple[str, ...] = ()  # of its risk monitors


Evaluate = Callable[[RunConfig, Tape], Evaluated | tuple[Metrics, str]]

ROWS: Final = "rows"
ERRORS: Final = "errors"
LOGS: Final = "logs"
ROW_ALERTS: Final = 10  # kept in a row; its log has them all
_BARRIER_S: Final = 20.0  # without another worker: a busy cluster may never give all of them
_POLL_S: Final = 0.01


def evaluate(cfg: RunConfig, tape: Tape) -> Evaluated:
    """One simulation."""
    result = simulate(cfg, tape)
    return Evaluated(result.metrics, result.result_hash, tuple(str(alert) for alert in result.alerts))


@dataclass(frozen=True, slots=True)
class Job:
    """What every worker of a sweep gets once."""

    space: Space
    folder: Path  # results/<experiment>, absolute
    part: str  # this run of the experiment: first, or a resume
    workers: int  # expected at the start
    metric: str
    evaluate: Evaluate = evaluate


def run_one(job: Job, k: int, worker: str) -> Row:
    """Row of configuration ``k``; an exception becomes a row with status ``failed`` and a file below ``errors/``."""
    started_ns = time.time_ns()
    began = time.perf_counter()
    one = candidate(job.space, k)
    row: Row = {
        "index": k,
        "config_hash": one.config_hash,
        "status": OK,
        "error": None,
        "seed": one.seed,
        "params": one.params,
        "metrics": {},
        "alerts": [],
        "result_hash": None,
        "sim_s": 0.0,
    }
    sim_began = time.perf_counter()
    if one.config is None:
        row |= {"status": FAILED, "error": one.error}
        log_error(job.folder, one, str(one.error))
    else:
        try:
            found = Evaluated(*job.evaluate(one.config, tape_of(one.config.data)))
            row |= {"metrics": found.metrics, "result_hash": found.result_hash}
            row["alerts"] = list(found.alerts[:ROW_ALERTS])
            log_alerts(job.folder, one, found.alerts)
        except Exception as exc:  # noqa: BLE001 - any failure of a trial is its row's content, never the sweep's end
            row |= {"status": FAILED, "error": f"{type(exc).__name__}: {exc}"}
            log_error(job.folder, one, traceback.format_exc())
    done = time.perf_counter()
    return row | {"sim_s": done - sim_began, "total_s": done - began, "started_ns": started_ns, "worker": worker}


def log_error(folder: Path, one: Candidate, text: str) -> None:
    """Everything needed to see the failure again: traceback, seed, config."""
    config = one.params if one.config is None else one.config.model_dump(mode="json")
    head = f"configuration {one.index}, hash {one.config_hash}, seed {one.seed}\n\n"
    path = folder / ERRORS / f"{one.index:06d}-{one.config_hash}.txt"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"{head}{text.rstrip()}\n\n{yaml.safe_dump(config, sort_keys=False)}", encoding="utf-8")


def log_alerts(folder: Path, one: Candidate, alerts: tuple[str, ...]) -> None:
    """The trial's log: a line for each alert of its risk monitors; no file without one."""
    if not alerts:
        return
    path = folder / LOGS / f"{one.index:06d}-{one.config_hash}.log"
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(f"alert {alert}\n" for alert in alerts), encoding="utf-8")


class SweepTrial(ray_tune.Trainable):
    """Ray Tune's view of a trial; the actor is reused for one trial after the other.

    The first step of each actor waits until all workers of the sweep are in theirs: trials shorter than a worker's
    start would otherwise all go to the first one, because Tune cancels actors it believes it does not need.
    """

    def setup(self, config: dict[str, Any], job: Job | None = None) -> None:
        if job is None:
            raise TypeError("SweepTrial needs its job: wrap it with ray.tune.with_parameters(SweepTrial, job=...)")
        self._job = job
        self._index: int = config["trial"]["index"]
        self._writer = RowWriter(job.folder / ROWS)
        self._first = True

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._index = new_config["trial"]["index"]
        return True

    def step(self) -> dict[str, Any]:
        if self._first:
            self._first = False
            self._wait_for_others()
        row = run_one(self._job, self._index, self._writer.worker)
        self._writer.write(row)
        return report(row, self._job.metric)

    def _wait_for_others(self) -> None:
        barrier = self._job.folder / f".workers-{self._job.part}"
        barrier.mkdir(exist_ok=True)
        (barrier / self._writer.worker).touch()
        there, until = 0, time.monotonic() + _BARRIER_S
        while there < self._job.workers and time.monotonic() < until:
            time.sleep(_POLL_S)
            now = sum(1 for _ in barrier.iterdir())
            if now > there:
                there, until = now, time.monotonic() + _BARRIER_S

    def cleanup(self) -> None:
        self._writer.close()


def report(row: Row, metric: str) -> dict[str, Any]:
    """The row as Tune sees it: flat, finished, with a number for the metric even where there is none."""
    value = row["metrics"].get(metric)
    keys = ("index", "config_hash", "status", "error", "seed", "sim_s")
    out: dict[str, Any] = row["metrics"] | {k: row[k] for k in keys} | {"done": True}
    return out | {metric: value if isinstance(value, (int, float)) else math.nan}


def tune_config(one: Candidate) -> dict[str, Any]:
    """What Tune knows of a configuration: enough to derive it, and its axes for people to read."""
    return {"index": one.index, "config_hash": one.config_hash, "seed": one.seed, **one.params}


def trial_name(trial: Any) -> str:
    """Name and folder of a trial in Ray Tune."""
    return f"trial-{trial.config['trial']['index']:06d}"
