"""One simulation job from config to disk: a tape, a desk, a ladder; what does not fit is an error with a name."""

import json
from pathlib import Path

import pytest

from mm.config.schema import RunConfig
from mm.data.synth import SynthSpec, write_synth
from mm.errors import ConfigError, DataError
from mm.report import job


@pytest.fixture
def store(tmp_path):
    return write_synth(tmp_path / "store", SynthSpec(), 1, 15.0)


def config(store, **extra):
    raw = {"data": {"source": str(store.path)}, "strategy": {"order_size": "200 usd"}, "tag": "a/b", **extra}
    return RunConfig.model_validate(raw)


def test_one_tape(store, tmp_path):
    summary, table = job.run(config(store), tmp_path / "out")
    assert (tmp_path / "out").joinpath(summary["path"].rsplit("/", 1)[1], "picture.png").exists()
    assert "a_b" in summary["path"]
    json.dumps(summary)
    assert table() is not None


def test_alerts_are_kept_with_the_run(store, tmp_path):
    cfg = config(store, risk={"monitors": {"drawdown_usd": 1e-4, "window": "4s"}}, sim={"queue": {"model": "touch"}})
    summary, _ = job.run(cfg, tmp_path)
    out = Path(summary["path"])
    kept = json.loads((out / "metrics.json").read_text())["alerts"]
    assert len(kept) == summary["metrics"]["alerts"] == len(summary["alerts"]) > 0
    assert {a["monitor"] for a in kept} == {"drawdown_usd"}
    assert (out / "trial.log").read_text().splitlines() == [f"alert {a}" for a in summary["alerts"]]


def test_a_desk(store, tmp_path):
    cfg = config(store, desk={"legs": [{"name": n, "data": {"source": str(store.path)}} for n in ("one", "two")]})
    summary, table = job.run(cfg, tmp_path / "out")
    assert set(summary["legs"]) == set(summary["position"]) == {"one", "two"}
    assert table() is not None
    with pytest.raises(ConfigError, match="fill-ladder"):
        job.run(cfg, tmp_path / "out", fill_ladder=True)


@pytest.mark.slow
def test_a_ladder(store, tmp_path):
    summary, table = job.run(config(store), tmp_path / "out", fill_ladder=True)
    assert (tmp_path / "out" / summary["path"].rsplit("/", 1)[1] / "ladder.json").exists()
    assert table() is not None


def test_where_nothing_can_be_written(store, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigError, match="--out"):
        job.run(config(store), tmp_path / "file")


def test_no_such_store(tmp_path):
    with pytest.raises(DataError):
        job.run(RunConfig.model_validate({"data": {"source": str(tmp_path / "nothing")}}), tmp_path)
