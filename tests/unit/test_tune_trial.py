"""One configuration to one row, and the pieces around it that need no Ray."""

import json
import math
import os

import pytest

from mm.config import RawConfig
from mm.errors import ConfigError, RaymakerError
from mm.report.sweep_html import render
from tune import cluster
from tune.outcome import _alerts
from tune.plan import candidate, candidates
from tune.progress import Progress
from tune.rows import FAILED, LOST, OK, RowWriter, read_rows
from tune.space import Space
from tune.sweep import Options, resume, sweep
from tune.trial import Job, evaluate, report, run_one
from tune.watch import Watch

DATA = {"duration": "10s"}


def space(data, trials=100):
    return Space.of(RawConfig({"data": DATA} | data), 42, trials)


def job(tmp_path, data, evaluate):
    return Job(space(data), tmp_path, "part-001", 1, "pnl_usd", evaluate)


def good(cfg, _tape):
    return {"pnl_usd": cfg.strategy.model.A, "halted": None}, "hash"


def test_a_trial_is_seeded_by_its_configuration(tmp_path):
    seen = []

    def evaluate(cfg, tape):
        seen.append((cfg.seed, cfg.strategy.model.A, tape.events > 0))
        return good(cfg, tape)

    work = job(tmp_path, {"strategy": {"model": {"A": [1, 2]}}}, evaluate)
    rows = [run_one(work, k, "w") for k in (1, 0, 1)]
    assert [r["metrics"]["pnl_usd"] for r in rows] == [2, 1, 2]
    assert rows[0]["seed"] == rows[2]["seed"] != rows[1]["seed"]
    assert seen[0] == (rows[0]["seed"], 2, True)
    assert rows[0]["config_hash"] == rows[2]["config_hash"] != rows[1]["config_hash"]
    assert not (tmp_path / "errors").exists()


def test_an_exception_is_a_row_with_traceback_seed_and_config(tmp_path):
    def evaluate(_cfg, _tape):
        raise ZeroDivisionError("no volume")

    row = run_one(job(tmp_path, {"strategy": {"model": {"A": [1.5]}}}, evaluate), 0, "w")
    assert (row["status"], row["error"], row["metrics"]) == (FAILED, "ZeroDivisionError: no volume", {})
    text = next((tmp_path / "errors").iterdir()).read_text()
    assert "Traceback" in text
    assert f"seed {row['seed']}" in text
    assert "A: 1.5" in text


def test_alerts_of_the_risk_monitors_are_in_the_row_and_in_the_trials_log(tmp_path):
    watched = {"risk": {"monitors": {"drawdown_usd": 0.01, "window": "4s"}}, "strategy": {"order_size": "200 usd"}}
    watched["sim"] = {"queue": {"model": "touch"}, "maker_fee": "5 bps"}
    work = job(tmp_path, watched | {"data": {"duration": "60s"}}, evaluate)
    row = run_one(work, 0, "w")
    assert row["metrics"]["alerts"] > 0
    lines = next((tmp_path / "logs").iterdir()).read_text().splitlines()
    assert len(lines) == row["metrics"]["alerts"]
    assert [line.removeprefix("alert ") for line in lines][:10] == row["alerts"]
    assert row["alerts"][0].startswith("drawdown_usd ")
    loud = _alerts([row, row | {"index": 1, "metrics": {}}])
    assert loud == {"total": len(lines), "trials": 1, "most": {"index": 0, "alerts": len(lines)}, "logs": "logs"}
    assert _alerts([])["most"] is None
    quiet = job(tmp_path / "quiet", {}, good)
    assert run_one(quiet, 0, "w")["alerts"] == []
    assert not (tmp_path / "quiet" / "logs").exists()


def test_an_invalid_combination_is_a_failed_row(tmp_path):
    work = job(tmp_path, {"risk": {"leverage": [1, 3]}}, good)
    assert run_one(work, 0, "w")["status"] == OK
    row = run_one(work, 1, "w")
    assert row["status"] == FAILED
    assert "max_leverage" in row["error"]


def test_data_that_are_not_there_are_a_failed_row(tmp_path):
    one = candidate(space({"data": DATA | {"source": str(tmp_path / "nothing")}}), 0)
    assert one.config is None
    assert "nothing" in one.error


def test_equal_configurations_are_one():
    s = space({"strategy": {"model": {"kappa": ["1/bp", "1/bps", "1.0 / bp", "2/bp"]}}})
    assert [one.index for one in candidates(s)] == [0, 3]


def test_what_does_not_move_a_result_does_not_move_the_hash():
    one = candidate(space({"name": "a", "tag": "x", "live": {"timer": "1s"}}), 0)
    other = candidate(space({"name": "b", "tune": {"max_par": 3}}), 0)
    assert one.config_hash == other.config_hash
    assert one.config_hash != candidate(space({"data": DATA | {"seed": 2}}), 0).config_hash
    assert one.config_hash != candidate(Space.of(RawConfig({"data": DATA}), 43, 1), 0).config_hash


def test_tune_sees_a_number_even_where_there_is_none(tmp_path):
    row = run_one(job(tmp_path, {}, lambda *_: ({"pnl_usd": None}, "h")), 0, "w")
    assert math.isnan(report(row, "pnl_usd")["pnl_usd"])
    assert report(row, "pnl_usd")["done"] is True


def test_nothing_starts_when_no_configuration_is_valid(tmp_path):
    with pytest.raises(ConfigError, match="kappa"):
        sweep(RawConfig({"strategy": {"model": {"kappa": ["x", "y"]}}}), out_root=tmp_path)
    with pytest.raises(ConfigError, match=r"tune\.trials"):
        sweep(RawConfig({}), trials=0, out_root=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_does_not_fit_the_instrument_is_found_before_anything_starts(tmp_path):
    sizes = {"strategy": {"order_size": ["1 usd", "100 usd", "5 eth"]}}
    plan = list(candidates(space(sizes)))
    assert [one.config is None for one in plan] == [True, False, True]
    assert [one.config_hash for one in plan] == [candidate(space(sizes), k).config_hash for k in range(3)]
    with pytest.raises(ConfigError, match="smallest order"):
        sweep(RawConfig({"data": DATA, "strategy": {"order_size": ["1 usd", "2 usd"]}}), out_root=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_metric_that_does_not_exist_is_told_before_anything_starts(tmp_path):
    raw = RawConfig({"data": DATA, "tune": {"metric": "pnl"}})
    with pytest.raises(ConfigError, match=r"no metric 'pnl'; known: .*pnl_usd"):
        sweep(raw, out_root=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_experiment_in_use_is_refused(tmp_path):
    import fcntl

    folder = tmp_path / "exp"
    folder.mkdir()
    (folder / "config.yaml").write_text("name: x\n")
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ConfigError, match="another process is running"):
            resume("exp", out_root=tmp_path)


def test_a_plan_that_changed_is_refused(tmp_path):
    folder = tmp_path / "exp"
    (folder / "rows").mkdir(parents=True)
    (folder / "config.yaml").write_text("data: {duration: 10s}\n")
    writer = RowWriter(folder / "rows")
    writer.write({"index": 0, "config_hash": "stranger", "status": OK})
    writer.close()
    with pytest.raises(ConfigError, match="not in its plan any more"):
        resume(folder)


def test_progress_counts_and_estimates(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("tune.progress.time.monotonic", lambda: now[0])
    seen = []
    progress = Progress("pnl_usd", "min", seen.append)
    progress.start(10, [{"status": OK, "metrics": {"pnl_usd": 4.0}}])
    for status, value in ((OK, 5.0), (FAILED, None), (OK, math.nan), (OK, 3.0)):
        now[0] += 1.0
        progress.update(status, value)
    assert seen[-1] == {"done": 5, "total": 10, "failed": 1, "rate": 1.0, "eta_s": 5.0, "best": 3.0}
    assert progress.text(now[0]) == "trials, 1.0/s, 5 s left, 1 failed, best pnl_usd 3"


def test_progress_prints_lines_to_stderr_where_there_is_no_terminal(capfd, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("tune.progress.time.monotonic", lambda: now[0])
    progress = Progress("pnl_usd", "max")
    progress.start(3, [])
    for step in (1.0, 10.0, 1.0):
        now[0] += step
        progress.update(OK, 1.0)
    progress.close()
    out, err = capfd.readouterr()
    assert out == ""
    assert [line.split()[0] for line in err.splitlines()] == ["2/3", "3/3"]


def test_progress_draws_a_bar_on_a_terminal(monkeypatch, capfd):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    progress = Progress("pnl_usd", "max")
    progress.start(2, [])
    progress.update(OK, 1.0)
    progress.update(OK, 2.0)
    progress.close()
    assert "2/2" in capfd.readouterr().err


class FakeTrial:
    def __init__(self, status):
        self.status = status
        self.config = {"trial": {"index": 4, "config_hash": "h", "seed": 9, "a.b": 1}}

    def get_error(self):
        return "ActorDiedError: line one\nkilled by the kernel\n"


def watch(tmp_path, clock, monkeypatch, seen):
    monkeypatch.setattr("tune.watch.time.monotonic", lambda: clock[0])
    progress = Progress("pnl_usd", "max", seen.append)
    progress.start(5, [])
    return Watch(progress, RowWriter(tmp_path), lambda: seen.append("compact"), stall_s=600.0)


def test_the_watchdog_stops_a_sweep_that_gets_no_resources(tmp_path, monkeypatch):
    clock, seen = [0.0], []
    w = watch(tmp_path, clock, monkeypatch, seen)
    clock[0] = 599.0
    w.on_step_begin(1, [FakeTrial("PENDING")])
    clock[0] = 601.0
    w.on_step_begin(1, [FakeTrial("RUNNING")])  # long trials are no stall
    assert "1 running" in seen[-1]["note"]
    clock[0] = 1202.0
    with pytest.raises(RaymakerError, match="none is running"):
        w.on_step_begin(1, [FakeTrial("PENDING")])
    assert w.problem is not None
    assert "compact" in seen


def test_a_trial_whose_worker_died_leaves_a_row(tmp_path, monkeypatch):
    seen = []
    w = watch(tmp_path, [0.0], monkeypatch, seen)
    w.on_trial_error(1, [], FakeTrial("ERROR"))
    (row,) = read_rows(tmp_path)
    assert (row["status"], row["error"], row["params"]) == (LOST, "its worker died: killed by the kernel", {"a.b": 1})
    assert seen[-1]["failed"] == 1


def test_leftovers_of_killed_sweeps_are_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(cluster.tempfile, "gettempdir", lambda: str(tmp_path))
    ours = tmp_path / f"raymaker-tune-{os.getuid()}-{os.getpid()}-abc"
    dead = tmp_path / f"raymaker-tune-{os.getuid()}-{2**22 + 1}-abc"  # beyond the largest pid
    for path in (ours, dead):
        path.mkdir()
    cluster.remove_leftovers()
    assert list(tmp_path.iterdir()) == [ours]


def test_slots_follow_resources_and_caps(monkeypatch):
    import ray

    from mm.config.schema import Resources

    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 4.0, "GPU": 1.0})
    assert cluster.slots(Resources(), None, 100, own=True) == 4
    assert cluster.slots(Resources(), 3, 100, own=True) == 3
    assert cluster.slots(Resources(), None, 2, own=True) == 2
    assert cluster.slots(Resources(cpu=0.1, gpu=0.1), None, 100, own=True) == 10
    assert cluster.slots(Resources(cpu=8), None, 100, own=False) == 1
    with pytest.raises(ConfigError, match="asks for 1 CPU and 2 GPU, this machine has 4 CPU and 1 GPU"):
        cluster.slots(Resources(gpu=2), None, 100, own=True)


def test_the_page_needs_no_network_and_survives_hostile_text():
    rows = [
        {"index": 0, "config_hash": "h", "status": FAILED, "error": "</script><b>", "params": {"a": "1/bp"},
         "metrics": {"pnl_usd": math.nan}},
    ]  # fmt: skip
    page = render("x", rows, ["a"], {"metric": "pnl_usd", "mode": "max", "note": "n"}, None)
    assert "http://" not in page
    assert "https://" not in page
    assert page.count("</script>") == 1
    data = page.split("const D = ")[1].split(";\n")[0]
    assert json.loads(data)["rows"] == [[0, "h", FAILED, "</script><b>", ["1/bp"], [None]]]
    assert Options().stall_s > 0
