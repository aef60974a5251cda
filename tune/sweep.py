"""Run a sweep, or go on with one that was killed: plan, Ray Tune, table, summary, page.

``results/<name>[-<tag>]-<UTC>-<4 hex>/`` holds ``config.yaml`` (as run, overrides included), ``rows/`` (one durable
JSON line per finished trial), ``errors/``, ``trials.parquet``, ``summary.json``, ``best.yaml``, ``index.html`` and
``tune/`` (Ray Tune's snapshots). On several nodes that folder must be on storage that all of them see.
"""

from __future__ import annotations

import contextlib
import copy
import fcntl
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from mm.config import RawConfig, RunConfig, load_raw, validate
from mm.core.first_run import SIMULATION, first_run
from mm.errors import ConfigError, RaymakerError
from tune.cluster import ray_session, slots
from tune.outcome import finish
from tune.plan import Candidate, candidates, tape_of
from tune.progress import OnProgress, Progress
from tune.results import CONFIG, ROWS, TUNE, find, write_table
from tune.rows import LOST, Row, RowWriter, read_rows, write_atomic
from tune.space import Space
from tune.trial import Evaluate, Job, SweepTrial, evaluate, trial_name, tune_config
from tune.watch import Watch

_SETTINGS = ("name", "tag", "seed", "tune")
_PROBES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to run, as opposed to what: none of it moves a result."""

    max_par: int | None = None
    address: str | None = None  # a Ray cluster to join; default: RAY_ADDRESS, else a local Ray of our own
    declare_gpus: int | None = None  # GPUs that the local Ray claims to have (for tests without one)
    stall_s: float = 600.0
    on_progress: OnProgress | None = None
    evaluate: Evaluate = evaluate


def sweep(
    raw: RawConfig,
    *,
    trials: int | None = None,
    out_root: str | Path = "results",
    options: Options | None = None,
) -> dict[str, Any]:
    """Run the sweep that ``raw`` describes; ``trials`` overrides ``tune.trials``.

    Returns the object that ``tune --json`` prints.

    Raises:
        ConfigError: no configuration of the sweep is valid, or an axis makes no sense (before anything is started).
        RaymakerError: interrupted, stalled, or every trial failed; what finished is on the disk.
    """
    options = options or Options()
    began = time.monotonic()
    raw = _as_run(raw, trials, options.max_par)
    cfg = _settings(raw)
    space = Space.of(raw, cfg.seed, cfg.tune.trials)
    progress = Progress(cfg.tune.metric, cfg.tune.mode, options.on_progress)
    progress.note(space.describe())
    plan = _plan(space, progress)
    with first_run(SIMULATION, progress.note):
        _probe(space, plan, cfg, options)
    folder = _new_folder(Path(out_root), cfg)
    header = f"# {folder.name}: as run, overrides included\n"
    write_atomic(folder / CONFIG, (header + yaml.safe_dump(raw.data, sort_keys=False)).encode())
    with _locked(folder):
        return _run(folder, space, cfg, plan, progress, options, began)


def resume(
    experiment: str | Path, *, out_root: str | Path = "results", options: Options | None = None
) -> dict[str, Any]:
    """Go on with an experiment (path or name); finished configurations do not run again.

    Raises:
        ConfigError: no such experiment, it is still running, or its data are not what they were.
        RaymakerError: as for ``sweep``.
    """
    options = options or Options()
    began = time.monotonic()
    folder = find(experiment, out_root)
    with _locked(folder):
        raw = load_raw(folder / CONFIG)
        cfg = _settings(raw)
        space = Space.of(raw, cfg.seed, cfg.tune.trials)
        progress = Progress(cfg.tune.metric, cfg.tune.mode, options.on_progress)
        plan = _plan(space, progress)
        strangers = {row["config_hash"] for row in read_rows(folder / ROWS)} - {one.config_hash for one in plan}
        if strangers:
            raise ConfigError(
                f"{folder.name}: {len(strangers)} finished configurations are not in its plan any more: config.yaml or "
                "the data behind it changed; start a new sweep"
            )
        return _run(folder, space, cfg, plan, progress, options, began)


def _as_run(raw: RawConfig, trials: int | None, max_par: int | None) -> RawConfig:
    """A copy with the options written in and the data path made absolute, so that a resume sees the same sweep."""
    raw = RawConfig(copy.deepcopy(raw.data), raw.path, raw.lines, dict(raw.overrides))
    for name, value in (("trials", trials), ("max_par", max_par)):
        if value is not None:
            raw.data["tune"] = dict(raw.data.get("tune") or {}) | {name: value}
            raw.overrides["tune", name] = f"tune.{name}={value}"
    data = raw.data.get("data")
    if isinstance(data, dict):
        source = data.get("source")
        if isinstance(source, str) and source != "synth":
            data["source"] = str(Path(source).absolute())
        elif isinstance(source, list):
            data["source"] = [s if s == "synth" or not isinstance(s, str) else str(Path(s).absolute()) for s in source]
    return raw


def _settings(raw: RawConfig) -> RunConfig:
    """The part of the config that has no axes: name, tag, seed and the ``tune`` section."""
    return validate(RawConfig({k: raw.data[k] for k in _SETTINGS if k in raw.data}, raw.path, raw.lines, raw.overrides))


def _plan(space: Space, progress: Progress) -> list[Candidate]:
    """Every configuration once.

    Raises:
        ConfigError: none of them is valid.
    """
    plan = list(candidates(space))
    bad = [one for one in plan if one.config is None]
    if len(bad) == len(plan):
        raise ConfigError(str(bad[0].error))
    if len(plan) < space.size:
        progress.note(f"{space.size - len(plan)} repeated configurations are left out")
    if bad:
        progress.note(f"{len(bad)} of {len(plan)} configurations are invalid and will count as failed: {bad[0].error}")
    return plan


def _probe(space: Space, plan: list[Candidate], cfg: RunConfig, options: Options) -> None:
    """Simulate one configuration here: fills the kernel cache for the workers and knows the metric's name."""
    if options.evaluate is not evaluate:
        return
    valid = [one.config for one in plan if one.config is not None]
    for config in valid[:_PROBES]:
        with contextlib.suppress(Exception):  # it will fail as a trial, with its message
            metrics = evaluate(config, tape_of(config.data)).metrics
            break
    else:
        return
    if not isinstance(metrics.get(cfg.tune.metric, ""), (int, float, type(None))):
        known = ", ".join(k for k, v in metrics.items() if isinstance(v, (int, float)))
        where = space.raw.where(("tune", "metric"))
        raise ConfigError(f"{where}: tune.metric: no metric {cfg.tune.metric!r}; known: {known}")


def _new_folder(root: Path, cfg: RunConfig) -> Path:
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    name = "-".join(part for part in (cfg.name, cfg.tag, stamp, uuid.uuid4().hex[:4]) if part)
    folder = (root / name).absolute()
    (folder / ROWS).mkdir(parents=True)
    return folder


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One process per experiment; the lock goes with the process, even a killed one."""
    fd = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise ConfigError(f"{folder.name}: another process is running this experiment") from exc
        yield
    finally:
        os.close(fd)


def _run(
    folder: Path,
    space: Space,
    cfg: RunConfig,
    plan: list[Candidate],
    progress: Progress,
    options: Options,
    began: float,
) -> dict[str, Any]:
    done = [row for row in read_rows(folder / ROWS) if row["status"] != LOST]
    finished = {row["config_hash"] for row in done}
    todo = [one for one in plan if one.config_hash not in finished]
    for path in folder.glob(".workers-*"):  # of a run that was killed
        shutil.rmtree(path, ignore_errors=True)
    progress.note(f"{folder}: {len(todo)} trials to run" + (f", {len(done)} already finished" if done else ""))
    times = {"fit_s": 0.0, "workers": 0.0}
    stopped: RaymakerError | None = None
    if todo:
        try:
            times = _fit(folder, space, cfg, todo, done, progress, options)
        except ConfigError:
            raise
        except RaymakerError as exc:
            stopped = exc
        finally:
            progress.close()
    result = finish(folder, space, cfg, len(plan), {one.config_hash for one in todo}, times, began)
    if stopped:
        raise stopped
    if result["trials"] < len(plan):
        raise RaymakerError(
            f"interrupted after {result['trials']} of {len(plan)} trials; continue with: resume {folder.name}"
        )
    if result["failed"] == result["trials"]:
        raise RaymakerError(f"all {result['failed']} trials failed; see {folder}/errors")
    return result


def _fit(
    folder: Path,
    space: Space,
    cfg: RunConfig,
    todo: list[Candidate],
    done: list[Row],
    progress: Progress,
    options: Options,
) -> dict[str, float]:
    """Give ``todo`` to Ray Tune; returns the time it took and the number of workers.

    Raises:
        RaymakerError: stalled, or Ray failed.
    """
    max_par = options.max_par or cfg.tune.max_par
    per_trial = cfg.tune.resources
    with ray_session(options.address, options.declare_gpus) as own:
        from ray import tune as ray_tune

        workers = slots(per_trial, max_par, len(todo), own=own)
        part = f"part-{1 + sum(1 for _ in (folder / TUNE).glob('part-*')):03d}"
        job = Job(space, folder, part, workers, cfg.tune.metric, options.evaluate)
        lost = RowWriter(folder / ROWS)
        watch = Watch(progress, lost, lambda: write_table(folder), options.stall_s)
        trainable = ray_tune.with_resources(
            ray_tune.with_parameters(SweepTrial, job=job),
            {"cpu": per_trial.cpu} | ({"gpu": per_trial.gpu} if per_trial.gpu else {}),
        )
        tuner = ray_tune.Tuner(
            trainable,
            param_space={"trial": ray_tune.grid_search([tune_config(one) for one in todo])},
            tune_config=ray_tune.TuneConfig(
                metric=cfg.tune.metric,
                mode=cfg.tune.mode,
                reuse_actors=True,
                max_concurrent_trials=max_par,
                trial_name_creator=trial_name,
                trial_dirname_creator=trial_name,
            ),
            run_config=ray_tune.RunConfig(
                name=part,
                storage_path=str(folder / TUNE),
                callbacks=[watch],
                verbose=0,
                failure_config=ray_tune.FailureConfig(max_failures=1),  # a worker that died, once more
                checkpoint_config=ray_tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        )
        progress.start(len(todo) + len(done), done)
        began = time.monotonic()
        try:
            tuner.fit()
        except Exception as exc:
            if watch.problem is not None:
                raise watch.problem from exc
            raise RaymakerError(f"Ray Tune failed: {exc}; continue with: resume {folder.name}") from exc
        finally:
            lost.close()
            shutil.rmtree(folder / f".workers-{part}", ignore_errors=True)
        return {"fit_s": time.monotonic() - began, "workers": float(workers)}
