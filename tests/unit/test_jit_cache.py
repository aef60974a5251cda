"""The folder of compiled kernels does not grow with every version."""

import os
import subprocess
import sys
from pathlib import Path

from mm.core.jit import forget_old


def test_caches_of_old_versions_are_removed_and_others_kept(tmp_path):
    for name, age_s in (("old", 100.0), ("fresh", 1.0)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "kernel.nbi").write_bytes(b"x")
        os.utime(tmp_path / name, (1e9 - age_s, 1e9 - age_s))
    (tmp_path / "a file").write_text("not a cache")
    os.utime(tmp_path / "a file", (0, 0))
    forget_old(tmp_path, 1e9 - 50.0)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a file", "fresh"]


def test_the_first_import_of_a_new_version_makes_its_cache_and_forgets(tmp_path):
    """In a process of its own: here the module is long imported."""
    old = tmp_path / "raymaker" / "numba" / "0123456789abcdef"
    old.mkdir(parents=True)
    os.utime(old, (0, 0))
    env = {k: v for k, v in os.environ.items() if k != "NUMBA_CACHE_DIR"} | {"XDG_CACHE_HOME": str(tmp_path)}
    where = "import numba, mm.core.jit; print(numba.config.CACHE_DIR)"
    made = subprocess.run([sys.executable, "-c", where], env=env, capture_output=True, text=True, check=True).stdout
    assert list(old.parent.iterdir()) == [Path(made.strip())]
