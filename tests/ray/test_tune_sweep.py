"""Sweeps on a real Ray: same table for any number of workers, kill and resume, fractional GPUs, workers that die."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from mm.config import RawConfig
from mm.errors import RaymakerError
from mm.sim.run import simulate
from tune import load
from tune.cluster import ray_session
from tune.results import table_hash
from tune.rows import FAILED, LOST, OK, read_rows
from tune.sweep import Options, resume, sweep

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300), pytest.mark.filterwarnings("default")]

SILENT = {"on_progress": lambda _state: None}


@pytest.fixture(scope="module", autouse=True)
def session():
    """One Ray for the module, which claims to have a GPU."""
    with ray_session(None, declare_gpus=1) as own:
        assert own
        yield


def config(**more):
    data = {
        "name": "t",
        "data": {"duration": "20s"},
        "strategy": {"model": {"gamma": {"q_max": [2, 4, 8]}, "kappa": ["1/bp", "4/bp"]}},
        "risk": {"leverage": [1.0, 2.0]},  # 2 is above the lock: an invalid combination, half of the sweep
    }
    return RawConfig(data | more)


def overlap(rows):
    """Most trials running at one moment."""
    edges = [(r["started_ns"], 1) for r in rows] + [(r["started_ns"] + round(r["total_s"] * 1e9), -1) for r in rows]
    running = most = 0
    for _, step in sorted(edges):
        running += step
        most = max(most, running)
    return most


def test_one_and_two_workers_make_the_same_table(tmp_path):
    states = []
    one = sweep(config(), out_root=tmp_path, options=Options(max_par=1, on_progress=states.append))
    two = sweep(config(), out_root=tmp_path, options=Options(max_par=2, **SILENT))
    assert one["table_hash"] == two["table_hash"]
    assert (one["trials"], one["failed"], one["workers"], two["workers"]) == (12, 6, 1, 2)
    assert one["experiment"] != two["experiment"]
    assert states[-1]["done"] == states[-1]["total"] == 12

    result = load(two["experiment"], tmp_path)
    df = result.df
    assert len({r["worker"] for r in result.rows}) == 2  # the barrier: not all to the first one
    assert list(df["index"]) == list(range(12))
    assert set(df[df["status"] == FAILED]["risk.leverage"]) == {2.0}
    assert df[df["status"] == FAILED]["error"].str.contains("max_leverage").all()
    assert len(list((result.path / "errors").iterdir())) == 6
    best = df.loc[df[df["status"] == OK]["pnl_usd"].idxmax()]
    assert two["best"]["index"] == best["index"]
    assert two["best"]["metrics"]["pnl_usd"] == best["pnl_usd"]
    assert result.summary["best_reproduced"] is True
    assert result.summary["table_hash"] == two["table_hash"]
    assert result.summary["data"][0]["events"] > 0
    assert "luckiest" in (result.path / "index.html").read_text()

    grid = result.result_grid
    assert len(grid) == 12
    assert grid.num_errors == 0
    assert grid.get_best_result().metrics["pnl_usd"] == best["pnl_usd"]
    assert len(grid.get_dataframe()) == 12
    assert resume(two["experiment"], out_root=tmp_path, options=Options(**SILENT))["table_hash"] == two["table_hash"]


def test_a_gpu_shared_by_five(tmp_path):
    def evaluate(_cfg, _tape):
        time.sleep(0.5)
        return {"pnl_usd": 0.0}, "same"

    raw = RawConfig({
        "data": {"duration": "20s"},
        "strategy": {"model": {"A": list(range(1, 16))}},
        "tune": {"resources": {"cpu": 0.05, "gpu": 0.2}},
    })  # fmt: skip
    result = sweep(raw, out_root=tmp_path, options=Options(evaluate=evaluate, **SILENT))
    rows = load(result["path"]).rows
    assert (result["trials"], result["workers"]) == (15, 5)
    assert len({r["worker"] for r in rows}) == 5
    assert 3 <= overlap(rows) <= 5


def test_a_worker_that_dies_costs_its_trial_and_a_resume_tries_again(tmp_path):
    flag = tmp_path / "poison"
    flag.touch()
    path = str(flag)

    def evaluate(cfg, _tape):
        if cfg.strategy.model.A == 3 and Path(path).exists():
            os.kill(os.getpid(), signal.SIGKILL)
        if cfg.strategy.model.A == 4:
            raise ValueError("never works")
        return {"pnl_usd": cfg.strategy.model.A}, "h"

    raw = RawConfig({"data": {"duration": "20s"}, "strategy": {"model": {"A": [1, 2, 3, 4, 5]}}})
    options = Options(evaluate=evaluate, **SILENT)
    result = sweep(raw, out_root=tmp_path, options=options)
    assert (result["trials"], result["failed"], result["best"]["metrics"]["pnl_usd"]) == (5, 2, 5)
    assert [r["status"] for r in load(result["path"]).rows] == [OK, OK, LOST, FAILED, OK]
    flag.unlink()
    again = resume(result["path"], options=options)
    assert (again["trials"], again["failed"], again["ran_now"]) == (5, 1, 1)
    assert len(load(result["path"]).result_grid) == 5


def test_all_failed_is_an_error_after_the_results_are_written(tmp_path):
    def evaluate(_cfg, _tape):
        raise ValueError("always")

    raw = RawConfig({"data": {"duration": "20s"}, "strategy": {"model": {"A": [1, 2]}}})
    with pytest.raises(RaymakerError, match="all 2 trials failed"):
        sweep(raw, out_root=tmp_path, options=Options(evaluate=evaluate, **SILENT))
    (folder,) = tmp_path.iterdir()
    assert load(folder).summary["failed"] == 2
    assert (folder / "index.html").exists()


def test_a_sweep_that_gets_no_resources_ends_with_an_error(tmp_path):
    raw = RawConfig({"data": {"duration": "20s"}, "tune": {"resources": {"gpu": 3}}})
    with pytest.raises(RaymakerError, match="does not give the sweep the resources"):
        sweep(raw, out_root=tmp_path, options=Options(stall_s=3.0, evaluate=lambda *_: ({}, ""), **SILENT))


KILLED = """
import sys, time
from mm.config import RawConfig
from tune.sweep import Options, sweep
from tune.trial import evaluate

def slowly(cfg, tape):
    time.sleep(0.05)
    return evaluate(cfg, tape)

import json
sweep(RawConfig(json.loads(sys.argv[1])), out_root=sys.argv[2], options=Options(evaluate=slowly, max_par=2))
"""


def test_kill_9_and_resume_give_the_table_of_an_undisturbed_sweep(tmp_path, request):
    raw = {
        "data": {"duration": "20s"},
        "strategy": {"model": {"A": {"uniform": [0.5, 2]}, "gamma": {"q_max": [2, 4, 8]}}},
        "tune": {"trials": 100},
    }
    env = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, json.dumps(raw), str(tmp_path / "killed")],
            cwd=request.config.rootpath, env=env, stdout=log, stderr=log,
        )  # fmt: skip
        try:
            until = time.monotonic() + 120
            while sum(len(read_rows(p)) for p in tmp_path.glob("killed/*/rows")) < 20:
                assert process.poll() is None, (tmp_path / "log").read_text()
                assert time.monotonic() < until, (tmp_path / "log").read_text()
                time.sleep(0.05)
            family = psutil.Process(process.pid).children(recursive=True)
            workers = [p for p in family if "SweepTrial" in p.name() or "ResourceTrainable" in p.name()]
        finally:
            process.kill()
            process.wait()
    psutil.wait_procs(workers, timeout=20)
    (folder,) = (tmp_path / "killed").iterdir()
    before = {r["config_hash"]: r for r in read_rows(folder / "rows")}
    assert 20 <= len(before) < 100

    result = resume(folder, options=Options(max_par=2, **SILENT))
    after = load(folder).rows
    assert (result["trials"], result["failed"], result["ran_now"]) == (100, 0, 100 - len(before))
    assert {r["config_hash"]: r for r in after if r["config_hash"] in before} == before  # none ran again
    assert sum(p.read_bytes().count(b"\n") for p in (folder / "rows").iterdir()) == 100
    assert len(load(folder).result_grid) == 100

    from tune.plan import candidate, tape_of
    from tune.space import Space

    space = Space.of(RawConfig(raw), 42, 100)
    plain = []
    for k in range(100):
        one = candidate(space, k)
        run = simulate(one.config, tape_of(one.config.data))
        metrics = json.loads(json.dumps(run.metrics))
        plain.append({
            "index": k, "config_hash": one.config_hash, "seed": one.seed, "status": OK,
            "result_hash": run.result_hash, "metrics": metrics,
        })  # fmt: skip
    assert result["table_hash"] == table_hash(plain)


JOIN = """
import json, sys
from mm.config import RawConfig
from tune.sweep import sweep

raw = {"data": {"duration": "20s"}, "strategy": {"model": {"A": [1, 2, 3]}}}
print(json.dumps(sweep(RawConfig(raw), out_root=sys.argv[1])))
"""


def test_a_running_cluster_is_joined_and_left_alone(tmp_path, request):
    import ray

    env = os.environ | {"RAY_ADDRESS": ray.get_runtime_context().gcs_address}
    done = subprocess.run(
        [sys.executable, "-c", JOIN, str(tmp_path)],
        cwd=request.config.rootpath, env=env, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert (result["trials"], result["failed"]) == (3, 0)
    assert set(result) >= {"experiment", "trials", "failed", "wall_s", "table_hash", "best", "path"}
    assert ray.cluster_resources()["GPU"] == 1
