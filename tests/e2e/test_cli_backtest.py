"""`backtest` and `data` as a user runs them: processes, exit codes, the one JSON line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.e2e

CONFIG = """
name: small
data: {source: synth, duration: 5s, seed: 2}
strategy: {order_size: 600 usd, model: {kappa: 4/bp}}
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A place of its own for tapes, results and stores; compiled kernels are shared with everyone."""
    path = tmp_path_factory.mktemp("home")
    (path / "run.yaml").write_text(CONFIG)
    return path


def cli(home, *args):
    import numba

    env = os.environ | {"XDG_CACHE_HOME": str(home / "cache"), "NUMBA_CACHE_DIR": numba.config.CACHE_DIR}
    return subprocess.run(
        [sys.executable, str(ROOT / "cli.py"), *args], cwd=home, env=env, capture_output=True, text=True, timeout=110,
        check=False,
    )  # fmt: skip


def last_json(done):
    assert done.returncode == 0, done.stderr

    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    return json.loads(done.stdout.splitlines()[-1], parse_constant=refuse)


def test_backtest_twice(home):
    done = cli(home, "backtest", "run.yaml", "--json")
    assert len(done.stdout.splitlines()) == 1
    got = last_json(done)
    promised = {"result_hash", "events", "fills", "taker_fills", "position", "equity", "fees", "metrics", "path"}
    assert promised <= got.keys()
    assert got["events"] > 500
    assert got["metrics"]["decisions"] >= 49
    kept = home / got["path"]
    assert {p.name for p in kept.iterdir()} == {
        "metrics.json", "config.json", "fills.parquet", "samples.parquet", "picture.png", "trial.log",
    }  # fmt: skip
    assert json.loads((kept / "metrics.json").read_text())["result_hash"] == got["result_hash"]
    again = last_json(cli(home, "run", "--config", "run.yaml", "--json"))
    assert again["result_hash"] == got["result_hash"]
    # what was kept is itself a config of the same run
    assert last_json(cli(home, "backtest", str(kept / "config.json"), "--json"))["result_hash"] == got["result_hash"]
    moved = last_json(cli(home, "backtest", "run.yaml", "--json", "--kappa", "5/bp", "--tag", "../we ird/x"))
    assert moved["result_hash"] != got["result_hash"]
    assert (home / moved["path"]).parent == home / "results"


def test_mistakes_exit_2(home):
    for args, message in [
        (("backtest", "run.yaml", "--gamma", "1 x"), "raymaker: --set strategy.model.gamma=1 x: strategy.model.gamma"),
        (("backtest", "nowhere.yaml"), "raymaker: config file nowhere.yaml does not exist; there are: run.yaml"),
        (("backtest", "run.yaml", "--data", "nowhere"), "raymaker: nowhere: no such store"),
    ]:  # fmt: skip
        done = cli(home, *args)
        assert done.returncode == 2, done.stderr
        assert message in done.stderr
        assert "Traceback" not in done.stderr
        assert done.stdout == ""


def test_a_store_from_synth_to_picture(home):
    report = last_json(cli(home, "data", "synth", "--out", "store", "--duration", "3s", "--seed", "5", "--json"))
    assert last_json(cli(home, "data", "info", "store", "--json")) == report
    done = cli(home, "data", "plot", "store")
    assert done.returncode == 0, done.stderr
    assert (home / done.stdout.strip()).read_bytes().startswith(b"\x89PNG")
    got = last_json(cli(home, "backtest", "run.yaml", "--data", "store", "--json"))
    assert got["events"] == report["events"]
