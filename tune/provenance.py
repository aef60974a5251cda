"""Where a result comes from: code, versions, machine."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from mm.core.jit import source_hash

_ROOT = Path(__file__).resolve().parents[1]


def git_commit() -> str | None:
    """Commit of the checkout that runs, ``+`` when files differ from it; None outside git."""
    try:
        commit = _git("rev-parse", "HEAD")
        return commit + ("+" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def environment() -> dict[str, Any]:
    """Code version, library versions and machine of this process."""
    return {
        "git": git_commit(),
        "source_hash": source_hash(),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        **{name: _version(name) for name in ("raymaker", "ray", "numpy", "numba", "pyarrow", "pydantic")},
    }


def _git(*args: str) -> str:
    done = subprocess.run(  # noqa: S603 - fixed arguments
        ["git", "-C", str(_ROOT), *args],  # noqa: S607 - the user's git
        capture_output=True,
        text=True,
        check=True,
        timeout=10,
    )
    return done.stdout.strip()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
