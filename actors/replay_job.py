"""``replay``: a recorded run through the kernel again, and what came of it as plain data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from actors.replay import recorded_config, replay_venue


def find_run(run: str | Path) -> Path:
    """The folder of a run: as given, or below ``runs/``."""
    path = Path(run)
    return path if path.exists() or path.is_absolute() else Path("runs") / path


def replay_run(
    run: str | Path, overrides: list[str] | None = None, progress: Callable[[float], None] | None = None
) -> dict[str, Any]:
    """Replay every venue of a run.

    Returns ``{"run", "identical", "venues": {name: {"quotes": ...}}}``; ``identical`` says that every decision on
    record came out again.

    Raises:
        DataError: not a run, or one without a record.
        ConfigError: an override that is none.
    """
    run_dir = find_run(run)
    cfg = recorded_config(run_dir, overrides)
    venues = {}
    for venue in cfg.live.venues:
        replayed = replay_venue(run_dir, venue.name, cfg, progress)
        venues[venue.name] = {"quotes": replayed.to_dict()}
    same = all(v["quotes"]["identical"] == v["quotes"]["decisions"] > 0 for v in venues.values())
    return {"run": str(run_dir), "identical": same, "venues": venues}
