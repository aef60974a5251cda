"""The sweep's ear inside Ray Tune: progress, rows of trials whose worker died, compaction, and a watchdog."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from ray import tune as ray_tune

from mm.errors import RaymakerError
from tune.progress import Progress
from tune.rows import LOST, RowWriter

_COMPACT_EVERY_S: Final = 60.0
_COMPACT_SHARE: Final = 50.0  # compaction may cost one part in so many


class Watch(ray_tune.Callback):
    """Tune callback. ``problem`` is what it stopped the sweep for."""

    def __init__(self, progress: Progress, lost: RowWriter, compact: Callable[[], Any], stall_s: float) -> None:
        self.problem: RaymakerError | None = None
        self._progress = progress
        self._lost = lost
        self._compact = compact
        self._stall_s = stall_s
        self._finished = self._warned = time.monotonic()
        self._next_compact = time.monotonic() + _COMPACT_EVERY_S

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its callbacks into its snapshot; of this one nothing is worth keeping."""
        return {}

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:  # noqa: ARG002
        self._finished = time.monotonic()
        result = trial.last_result or {}
        self._progress.update(str(result.get("status", LOST)), result.get(self._progress.metric))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:  # noqa: ARG002
        """A trial whose worker died twice; exceptions inside a trial end as rows and do not come here."""
        self._finished = time.monotonic()
        what = trial.config["trial"]
        params = {k: v for k, v in what.items() if k not in ("index", "config_hash", "seed")}
        self._lost.write(
            {
                "index": what["index"],
                "config_hash": what["config_hash"],
                "status": LOST,
                "error": f"its worker died: {str(trial.get_error()).strip().splitlines()[-1]}",
                "seed": what["seed"],
                "params": params,
                "metrics": {},
                "result_hash": None,
                "sim_s": 0.0,
                "total_s": 0.0,
                "started_ns": time.time_ns(),
                "worker": self._lost.worker,
            }
        )
        self._progress.update(LOST, None)

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:  # noqa: ARG002
        """Called in every turn of Tune's loop, also while nothing happens.

        Raises:
            RaymakerError: nothing finished for the stall time and nothing is running.
        """
        now = time.monotonic()
        if now >= self._next_compact:
            self._compact()
            self._next_compact = now + max(_COMPACT_EVERY_S, _COMPACT_SHARE * (time.monotonic() - now))
        if now - max(self._finished, self._warned) < self._stall_s:
            return
        running = sum(1 for t in trials if t.status == "RUNNING")
        idle = f"no trial finished for {now - self._finished:.0f} s"
        if running == 0:
            self.problem = RaymakerError(
                f"{idle} and none is running: Ray does not give the sweep the resources of one trial "
                "(tune.resources); the finished ones are kept, continue with `resume`"
            )
            raise self.problem
        self._progress.note(f"{idle}; {running} running")
        self._warned = now
