"""A Ray for the sweep: one of its own on this machine, gone afterwards, or the cluster that is named."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from mm.config.schema import Resources
from mm.errors import ConfigError

_PREFIX: Final = "raymaker-tune-"
_ROOT: Final = Path(__file__).resolve().parents[1]
_OBJECT_STORE: Final = 256 * 1024 * 1024  # bytes; tapes are memory-mapped files, little goes through the store
_QUIET: Final = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # its coming default; silences a warning
    "OMP_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # our rows are the log; CSV, JSON and TensorBoard cost 5-7 ms a trial
    "TUNE_GLOBAL_CHECKPOINT_S": "15",  # snapshots for ResultGrid; resume does not need them
    "TUNE_WARN_THRESHOLD_S": "60",
}


@contextlib.contextmanager
def environment(variables: dict[str, str]) -> Iterator[None]:
    """Set environment variables where the user has not, and take them away again."""
    mine = {name: value for name, value in variables.items() if name not in os.environ}
    os.environ.update(mine)
    try:
        yield
    finally:
        for name in mine:
            os.environ.pop(name, None)


@contextlib.contextmanager
def ray_session(address: str | None, declare_gpus: int | None) -> Iterator[bool]:
    """A connected Ray for the length of the block; yields whether it is our own.

    ``address`` or RAY_ADDRESS joins a cluster, and a Ray that this process is already connected to is kept as it is;
    otherwise a local one is started: no dashboard, its files in a temporary folder that is removed afterwards.
    """
    with environment(_QUIET):
        import ray

        remove_leftovers()
        if ray.is_initialized():
            yield False
            return
        address = address or os.environ.get("RAY_ADDRESS")
        if address:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
            try:
                yield False
            finally:
                ray.shutdown()
            return
        # workers import this project wherever the sweep was started from, installed or not
        path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
        folder = tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getuid()}-{os.getpid()}-")
        before = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = path
        try:
            ray.init(
                address="local",
                include_dashboard=False,
                num_gpus=declare_gpus,
                object_store_memory=_OBJECT_STORE,
                log_to_driver=False,
                logging_level=logging.ERROR,
                _temp_dir=folder,
            )
            yield True
        finally:
            ray.shutdown()
            shutil.rmtree(folder, ignore_errors=True)
            if before is None:
                del os.environ["PYTHONPATH"]
            else:
                os.environ["PYTHONPATH"] = before


def remove_leftovers() -> None:
    """Delete the session folders of our own sweeps that were killed (Ray's processes follow within a minute)."""
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}{os.getuid()}-*-*"):
        pid = path.name.removeprefix(_PREFIX).split("-")[1]
        if pid.isdigit() and not _alive(int(pid)):
            shutil.rmtree(path, ignore_errors=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def slots(per_trial: Resources, max_par: int | None, trials: int, *, own: bool) -> int:
    """How many trials run at once.

    Raises:
        ConfigError: not one fits into our own Ray (a cluster may still grow).
    """
    import ray

    have: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    fits = have.get("CPU", 0.0) / per_trial.cpu
    if per_trial.gpu > 0:
        fits = min(fits, have.get("GPU", 0.0) / per_trial.gpu)
    if fits < 1 and own:
        raise ConfigError(
            f"tune.resources: a trial asks for {per_trial.cpu:g} CPU and {per_trial.gpu:g} GPU, "
            f"this machine has {have.get('CPU', 0.0):g} CPU and {have.get('GPU', 0.0):g} GPU"
        )
    return max(1, min(int(fits + 1e-9), max_par or trials, trials))
