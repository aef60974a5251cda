"""Where a user's desks keep what outlives a run: the Ray that ``live`` started, latches, runs that are on."""

from __future__ import annotations

import json
import os
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from mm.errors import ConfigError

DAILY_LOSS: Final = "daily_loss"  # as in mm.strategy.risk.HALT_REASONS, which would load numba into every command
_LONGEST_SCRATCH: Final = 32  # characters: 107 less Ray's own "/ray-…/session_…/sockets/plasma_store"
_DAY_NS: Final = 86_400_000_000_000


def home() -> Path:
    """``$RAYMAKER_HOME``, else ``$XDG_STATE_HOME/raymaker``, else ``~/.local/state/raymaker``; made when missing."""
    given = os.environ.get("RAYMAKER_HOME")
    if given:
        path = Path(given).expanduser().absolute()
    else:
        path = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "raymaker"
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be made ({exc.strerror}); set RAYMAKER_HOME to a folder of yours") from exc
    return path


def make_writable(path: Path) -> None:
    """Make a folder, and be sure that files can be made in it; raises ``ConfigError``."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as exc:
        raise ConfigError(f"{path}: nothing can be written there ({exc.strerror})") from exc


def scratch() -> Path:
    """A short private directory for sockets and Ray's session (Unix socket paths are limited to 107 bytes)."""
    path = Path(tempfile.gettempdir()) / f"raymaker-{os.getuid()}"
    if len(str(path)) > _LONGEST_SCRATCH:
        raise ConfigError(f"{path} is too long for the sockets below it; set TMPDIR to a shorter folder, such as /tmp")
    make_writable(path)
    if path.stat().st_uid != os.getuid():
        raise ConfigError(f"{path} belongs to another user; set TMPDIR")
    return path


def write_json(path: Path, value: Any, *, sync: bool = False) -> None:
    """Replace a file by a new one at once, readable by its owner only; readers see the old or the new, never a part.

    ``sync`` waits for the disk first, so that a power cut cannot leave an empty file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump(value, file, indent=1, default=str)
        if sync:
            file.flush()
            os.fsync(file.fileno())
    part.replace(path)


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in a file, None when there is none."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return value if isinstance(value, dict) else None


# --- latches ---------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Latch:
    """A halt that outlives processes: of one account (``venue``), until it clears."""

    desk: str
    venue: str
    reason: str  # one of mm.strategy.risk.HALT_REASONS
    ts_ns: int
    run_id: str = ""
    note: str = ""

    def holds(self, now_ns: int) -> bool:
        """A daily loss clears at the UTC day roll, every other halt only by ``rearm``."""
        return self.reason != DAILY_LOSS or now_ns // _DAY_NS == self.ts_ns // _DAY_NS


def _latch_path(desk: str, venue: str, root: Path | None) -> Path:
    return (root or home()) / "latches" / f"{desk}.{venue}.json"


def write_latch(latch: Latch, root: Path | None = None) -> None:
    """Latch an account."""
    write_json(_latch_path(latch.desk, latch.venue, root), asdict(latch), sync=True)


def read_latch(desk: str, venue: str, now_ns: int | None = None, root: Path | None = None) -> Latch | None:
    """The latch of an account while it holds."""
    raw = read_json(_latch_path(desk, venue, root))
    if raw is None:
        return None
    latch = Latch(**raw)
    return latch if latch.holds(time.time_ns() if now_ns is None else now_ns) else None


def latches(root: Path | None = None) -> list[Latch]:
    """All latches that hold."""
    found = [read_json(p) for p in sorted(((root or home()) / "latches").glob("*.json"))]
    held = [Latch(**raw) for raw in found if raw is not None]
    return [latch for latch in held if latch.holds(time.time_ns())]


def clear_latch(latch: Latch, *, force: bool = False, root: Path | None = None) -> bool:
    """Lift a latch. A daily loss stays until the UTC day roll unless forced: False."""
    if latch.reason == DAILY_LOSS and latch.holds(time.time_ns()) and not force:
        return False
    _latch_path(latch.desk, latch.venue, root).unlink(missing_ok=True)
    return True
