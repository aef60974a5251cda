"""One desk on five exchanges through their real libraries; and nobody but the executor ever sees a key."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from mm.config import load_config

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "configs" / "five_venues.yaml"
VENUES = [v.name for v in load_config(CONFIG).live.venues]
LOOK = """
from actors import ray_head, remote
connection = ray_head.find_ray()
ray_head.prepare_environment(connection)
remote.connect(connection.address)
from ray.util.state import list_actors
print(list_actors(detail=True, limit=200))
"""
pytestmark = [pytest.mark.ray, pytest.mark.timeout(400)]


class Watch(threading.Thread):
    """Reads the keys of the run while it is on, and what Ray's state shows of its actors."""

    def __init__(self, home: Path) -> None:
        super().__init__(daemon=True)
        self.home = home
        self.keys: dict[str, dict[str, str]] = {}
        self.modes: set[int] = set()
        self.shown = ""
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.wait(0.2):
            for path in (self.home / "keys").glob("*.json"):
                with contextlib.suppress(FileNotFoundError):  # the run has just ended
                    self.modes |= {path.stat().st_mode & 0o077, path.parent.stat().st_mode & 0o077}
                    self.keys[path.name.split(".")[1]] = json.loads(path.read_text())
            if len(self.keys) == len(VENUES) and "executor" not in self.shown:
                done = subprocess.run(
                    [sys.executable, "-c", LOOK], cwd=ROOT, env=self.env, capture_output=True, text=True, timeout=90,
                    check=False,
                )  # fmt: skip
                self.shown = done.stdout + done.stderr

    env: dict[str, str]


@pytest.fixture(scope="module")
def run():
    place = Path(tempfile.mkdtemp(prefix="r5-"))  # short: the sockets of Ray's session are below it
    yield from _run(place)
    shutil.rmtree(place, ignore_errors=True)


def _run(place):
    home = place / "home"
    env = os.environ | {"RAYMAKER_HOME": str(home), "TMPDIR": str(place)}
    for name in [n for n in env if n == "RAY_ADDRESS" or n.startswith("COV")]:  # thirty measured processes take minutes
        del env[name]
    watch = Watch(home)
    watch.env = env
    watch.start()
    command = [sys.executable, str(ROOT / "cli.py"), "live", "--config", str(CONFIG), "--duration", "25s", "--json"]
    begun = time.monotonic()
    done = subprocess.run(command, cwd=place, env=env, capture_output=True, text=True, timeout=380, check=False)
    watch.over.set()
    watch.join(100)
    assert done.returncode == 0, done.stderr[-3000:]
    summary = json.loads(done.stdout.splitlines()[-1])
    yield place, summary, watch, done.stdout + done.stderr, time.monotonic() - begun


@pytest.mark.parametrize("name", VENUES)
def test_it_makes_markets_on(name, run):
    venue = run[1]["venues"][name]
    assert venue["fills"] > 0
    assert venue["taker_fills"] == 0
    assert venue["open_orders_left"] == 0
    assert venue["bad_frames"] == 0
    assert venue["fee_audit"]["mismatches"] == 0
    assert venue["fee_audit"]["fills"] == venue["fills"]  # what we booked is what the exchange knows


def test_the_keys_are_nowhere(run):
    place, _, watch, said, _ = run
    assert set(watch.keys) == set(VENUES)
    assert watch.modes == {0}
    assert not list((place / "home" / "keys").iterdir())
    material = [value for keys in watch.keys.values() for value in keys.values() if len(value) >= 8]
    assert len(material) >= len(VENUES)
    assert "bybit/executor" in watch.shown  # the look at Ray's state was one
    texts = {"stdout and stderr": said.encode(), "Ray's state": watch.shown.encode()}
    for path in place.rglob("*"):
        if path.is_file() and path.stat().st_size < 64 << 20:
            texts[str(path)] = path.read_bytes()
    assert len(texts) > 50
    public = {keys.get("wallet_address") for keys in watch.keys.values()}  # an address is no secret: requests carry it
    found = [(where, value[:6]) for value in material if value not in public for where, text in texts.items()
             if value.encode() in text]  # fmt: skip
    assert found == []
