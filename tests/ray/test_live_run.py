"""A desk on a machine without Ray: it starts a head of its own, trades, and leaves nothing behind."""

from __future__ import annotations

import json
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest

from actors.recorder import read_raw
from actors.replay import recorded_config, replay_venue
from mm.strategy.journal import read_journal

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(180)]
CONFIG = str(Path(__file__).resolve().parents[2] / "configs" / "live.yaml")
QUICK = ("strategy.model.kappa=5/bps", "strategy.spread.min=0.2 bps")  # quotes near the touch: fills within seconds


@pytest.fixture(scope="module")
def run(tmp_path_factory, make_shell):
    before = {p.pid for p in psutil.process_iter()}
    shell = make_shell(tmp_path_factory.mktemp("alone"))
    out = shell.live(CONFIG, "8", *QUICK)
    out["new_processes"] = [
        p.info for p in psutil.process_iter(["pid", "cmdline", "environ"])
        if p.pid not in before and str(shell.directory) in str((p.info["environ"] or {}).get("RAYMAKER_HOME"))
    ]  # fmt: skip
    out["home"] = str(shell.directory / "home")
    return out


def test_it_makes_markets(run):
    venue = run["venues"]["sandbox"]
    assert venue["fills"] > 0
    assert venue["taker_fills"] == 0
    assert venue["open_orders_left"] == 0
    assert venue["orders_sent"] > 10
    assert 0.5 < venue["quote_uptime"] <= 1.0
    assert run["halted"] is None
    assert 8.0 <= run["duration_s"] < 12.0
    assert 0 < run["tick_to_order_us"]["p50"] <= run["tick_to_order_us"]["p99"]
    assert all(0 < mb < 500 for name, mb in run["rss_mb"].items() if not name.startswith("ray."))
    assert {"sandbox.feed", "sandbox.quoter", "sandbox.risk", "sandbox.executor", "supervisor", "risk", "cli"} <= set(
        run["rss_mb"]
    )


def test_it_leaves_no_process_and_no_secret(run):
    assert run["new_processes"] == []
    assert not Path(run["home"], "ray.json").exists()
    assert not Path(run["path"], "state", "desk.json").exists()


def test_the_journal_tells_the_same_as_the_exchange(run):
    records = list(read_journal(Path(run["path"], "journal", "sandbox.jsonl")))
    venue = run["venues"]["sandbox"]
    placed = [r["id"] for r in records if r["t"] == "place"]
    assert len(placed) == venue["orders_sent"]
    assert len(set(placed)) == len(placed)
    fills = [r for r in records if r["t"] == "exec" and r["kind"] == "fill"]
    assert len(fills) == venue["fills"]
    assert sum(r["side"] * r["lots"] for r in fills) * 0.001 == pytest.approx(venue["position"])
    at = {r["id"]: n for n, r in enumerate(records) if r["t"] == "place"}
    assert all(at[r["id"]] < n for n, r in enumerate(records) if r["t"] == "exec")  # the intent comes first


def test_the_run_can_be_replayed_from_its_folder(run):
    path = Path(run["path"])
    venue = run["venues"]["sandbox"]
    assert sum(f.number > 0 for f in read_raw(path / "raw" / "sandbox.bin")) == venue["frames"] > 100
    out = replay_venue(path, "sandbox", recorded_config(path))
    assert out.identical == out.decisions == venue["decisions"]
    assert out.commands > venue["orders_sent"] > 10
    assert (out.unreached, out.notes) == (0, [])
    other = replay_venue(path, "sandbox", recorded_config(path, ["strategy.model.kappa=5.05/bps"]))
    assert other.identical < other.decisions  # one percent


def test_the_folder_is_complete(run):
    path = Path(run["path"])
    assert pq.read_table(path / "fills.parquet").num_rows == run["venues"]["sandbox"]["fills"]
    assert pq.read_table(path / "metrics.parquet").num_rows > 5
    assert pq.read_table(path / "decisions" / "sandbox.parquet").num_rows > 100
    assert (path / "picture.png").read_bytes()[:4] == b"\x89PNG"
    assert json.loads((path / "summary.json").read_text())["run_id"] == run["run_id"]
    assert list(Path(path.parents[1], "logs").glob("raymaker-*.log"))
