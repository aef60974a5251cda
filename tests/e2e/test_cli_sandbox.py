"""`sandbox` as a user runs it: exchanges start, are disturbed from another terminal, and end on Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def run(home: Path, *args: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "RAYMAKER_HOME": str(home)}
    command = [sys.executable, "cli.py", "sandbox", *args]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=120, check=False)


def told(home: Path, *args: str) -> dict:
    done = run(home, *args, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_start_disturb_and_end(tmp_path: Path) -> None:
    env = {k: v for k, v in os.environ.items() if k != "NUMBA_DISABLE_JIT"} | {"RAYMAKER_HOME": str(tmp_path)}
    command = [sys.executable, "cli.py", "sandbox", "--venues", "apex,mexc", "--json"]
    with subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as one:
        try:
            ready = json.loads(one.stdout.readline())
            assert list(ready["venues"]) == ["apex", "mexc"]
            keys = Path(ready["keys"])
            assert (
                stat.S_IMODE(keys.stat().st_mode) == stat.S_IMODE((tmp_path / "sandbox.json").stat().st_mode) == 0o600
            )
            lines = dict(line.split("=", 1) for line in keys.read_text().splitlines())
            assert {"RAYMAKER_APEX_ZK_SEEDS", "RAYMAKER_MEXC_API_KEY"} <= set(lines)
            again = run(tmp_path)
            assert (again.returncode, "runs already" in again.stderr) == (2, True)

            rest = ready["venues"]["mexc"]["rest"]
            assert told(tmp_path, "fault", "mexc", "maintenance=true")["maintenance"] is True
            with pytest.raises(urllib.error.HTTPError):
                urllib.request.urlopen(rest + "/api/v3/time", timeout=5)
            assert told(tmp_path, "fault", "mexc", "maintenance=false", "--drop", "all")["maintenance"] is False
            assert urllib.request.urlopen(rest + "/api/v3/time", timeout=5).status == 200
            wrong = run(tmp_path, "fault", "mexc", "nonsense=1")
            assert (wrong.returncode, "lose_public" in wrong.stderr) == (2, True)

            assert told(tmp_path, "play", "apex", "BTC-USDT", "mark 61000", "sell 59000 0.5") == {"played": 2}
            counters = told(tmp_path, "stats")
            assert set(counters) == {"apex", "mexc"}
            assert all(c["public_messages"] > 0 for c in counters.values())
        finally:
            one.send_signal(signal.SIGINT)
            out, err = one.communicate(timeout=30)
    assert one.returncode == 0, err
    summary = json.loads(out.splitlines()[-1])
    assert summary["gone"] == []
    assert not keys.exists()
    for value in lines.values():
        assert value not in out + err
        assert not any(value in log.read_text() for log in (tmp_path / "logs").iterdir())
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(rest + "/api/v3/time", timeout=5)
