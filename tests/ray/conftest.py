"""A live desk under test runs in processes of its own, as a user's would; these fixtures start and ask them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

LIVE = """
import json, sys
from actors.desk import live
from mm.config import load_config
from mm.errors import RaymakerError
path, duration, *overrides = sys.argv[1:]
try:
    out = live(load_config(path, overrides), path, float(duration) if duration != "-" else None)
except RaymakerError as exc:
    out = {"failed": str(exc), "exit_code": exc.exit_code}
print(json.dumps(out))
"""

CALL = """
import json, sys
import actors.desk
name, args = sys.argv[1], json.loads(sys.argv[2])
print(json.dumps(getattr(actors.desk, name)(*args[0], **args[1]), default=str))
"""


class Shell:
    """Runs desk commands as another shell would: own processes, one home, one working directory."""

    def __init__(self, directory: Path, address: str | None = None) -> None:
        self.directory = directory
        self.env = {**os.environ, "RAYMAKER_HOME": str(directory / "home"), "PYTHONPATH": str(ROOT)}
        self.env.pop("RAY_ADDRESS", None)
        if address:
            self.env["RAY_ADDRESS"] = address

    def start(self, *args: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", LIVE, *args],
            cwd=self.directory,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def live(self, *args: str) -> dict:
        process = self.start(*args)
        try:
            out, err = process.communicate(timeout=110)
        finally:
            process.kill()
            process.wait()
        assert process.returncode == 0, err[-3000:]
        return json.loads(out.splitlines()[-1])

    def call(self, name: str, *args: object, **kwargs: object) -> dict:
        done = subprocess.run(
            [sys.executable, "-c", CALL, name, json.dumps([args, kwargs])],
            cwd=self.directory,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout.splitlines()[-1])

    def wait_for(self, what, timeout_s: float = 60.0) -> dict:
        """Until ``what(run)`` holds of what the supervisor writes down twice a second: ``status`` says the same, but
        a process that asks Ray takes seconds."""
        deadline = time.monotonic() + timeout_s
        run: dict = {}
        while time.monotonic() < deadline:
            for path in self.directory.glob("runs/*/status.json"):
                run = json.loads(path.read_text(encoding="utf-8"))
                if what(run):
                    return run
            time.sleep(0.1)
        raise AssertionError(f"waited {timeout_s:g} s in vain; last: {json.dumps(run)[:3000]}")


@pytest.fixture(scope="session")
def make_shell():
    return Shell


@pytest.fixture(scope="module")
def shared_ray(tmp_path_factory):
    """The address of a head that the desks under test did not start (the ``ray start --head`` way)."""
    before = os.environ.get("RAYMAKER_HOME")
    os.environ["RAYMAKER_HOME"] = str(tmp_path_factory.mktemp("ray-home"))
    from actors import ray_head
    from actors.ray_head import start_head, stop_head

    ours = ray_head._head_environment
    with pytest.MonkeyPatch.context() as patch:  # a stranger's Ray knows nothing of this repository
        patch.setattr(ray_head, "_head_environment", lambda: {k: v for k, v in ours().items() if k != "PYTHONPATH"})
        head = start_head()
    if before is None:
        os.environ.pop("RAYMAKER_HOME")
    else:
        os.environ["RAYMAKER_HOME"] = before
    yield head.address
    stop_head(head)
    assert head.processes() == []
