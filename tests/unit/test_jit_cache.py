"""The folder of compiled kernels does not grow with every version."""

import os

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
