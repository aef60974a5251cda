"""The peer's own environment: hftbacktest pins an older numpy than ours, so it gets a venv under the user's cache."""

from __future__ import annotations

import json
import os
import subprocess
import venv
from pathlib import Path
from typing import Any

from benchmarks.common import cache_dir

PEER = "hftbacktest==2.4.4"
SCRIPT = Path(__file__).with_name("hft_peer.py")


def peer_python() -> Path:
    """The interpreter of the peer's environment, made on first use (about a minute)."""
    folder = cache_dir() / "env-hftbacktest-2.4.4"
    python = folder / "bin" / "python"
    ready = folder / "ready"
    if not ready.exists():
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", PEER], check=True, env=_environment())
        ready.touch()
    return python


def run_peer(action: str, where: Path) -> dict[str, Any]:
    """One action of ``hft_peer.py``; what it printed as its last line, empty when that is no JSON object."""
    done = subprocess.run(
        [peer_python(), SCRIPT, action, str(where)], check=False, env=_environment(), capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"the peer failed ({action}):\n{done.stderr[-3000:]}")
    last = (done.stdout.strip().splitlines() or [""])[-1]
    return dict(json.loads(last)) if last.startswith("{") else {}


def _environment() -> dict[str, str]:
    """Ours without what would lead the peer's interpreter back to our packages."""
    drop = {"PYTHONPATH", "PYTHONHOME", "NUMBA_CACHE_DIR", "NUMBA_DISABLE_JIT", "VIRTUAL_ENV"}
    return {k: v for k, v in os.environ.items() if k not in drop} | {"PYTHONNOUSERSITE": "1"}
