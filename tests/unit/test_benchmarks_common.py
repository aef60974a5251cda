"""What the benchmarks print, and what they hand to the peer. No peer is needed here."""

import json

import numpy as np
import pytest

from benchmarks import common, peer_kinds, sim, vs_hftbacktest
from mm.config.schema import DataConfig
from mm.core.types import ASK, BID, BUY, CLEAR_ASK, CLEAR_BID, FUNDING, SELL
from mm.data.store import Store
from mm.sim.run import simulate_many
from mm.sim.tape import open_tape


@pytest.fixture(scope="module")
def tape(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield open_tape(DataConfig.model_validate({"source": "synth", "duration": "8s"}))


def test_ratio_above_one_means_ours_is_better():
    report = common.Report("x")
    assert report.case("time", 2.0, 10.0, "ms") == 5.0
    assert report.case("rate", 2.0, 10.0, "1/s", higher_is_better=True) == 0.2
    assert report.case("alone", 3.0, unit="ms") is None
    assert report.cases["alone"] == {"ours": 3.0, "peer": None, "ratio": None, "unit": "ms"}


def test_the_last_line_is_one_object(capsys):
    report = common.Report("x", "synthetic")
    report.case("time", 2.0, 10.0, "ms")
    report.check("fast", True)
    report.print(as_json=True)
    lines = capsys.readouterr().out.strip().splitlines()
    got = json.loads(lines[-1])
    assert {"name", "machine", "cases", "checks"} <= got.keys()
    assert got["data"] == "synthetic"
    assert got["checks"] == {"fast": True}
    report.print(as_json=False)
    assert not capsys.readouterr().out.strip().splitlines()[-1].startswith("{")


def test_best_is_the_fastest_run():
    ticks = iter([0.0, 5.0, 5.0, 7.0, 7.0, 10.0])
    assert common.best_s(lambda: None, repeats=3, clock=lambda: next(ticks)) == 2.0


def test_without_recorded_data_the_tape_is_synthetic_and_said_so(monkeypatch, tmp_path, tape):
    monkeypatch.setenv("MM_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(common, "open_tape", lambda data: tape)
    assert common.raw_tape() is None
    assert "synthetic" in common.open_data(None)[1]


def test_parameter_sets_differ_and_repeat():
    sets = vs_hftbacktest.parameter_sets(30)
    assert len({c.model_dump_json() for c in sets}) == 30
    assert [c.model_dump_json() for c in sets] == [c.model_dump_json() for c in vs_hftbacktest.parameter_sets(30)]


def test_the_peer_gets_every_row_of_the_store(tape):
    store = Store.open(tape.path)
    rows = vs_hftbacktest.peer_rows(store, tape)
    kept = np.asarray(store.kind) != FUNDING
    assert len(rows) == kept.sum()
    assert np.all(np.diff(rows["exch_ts"]) >= 0)
    assert np.array_equal(rows["local_ts"], store.ts_recv_ns[kept])
    both, buy, sell = 3 << 30, 1 << 29, 1 << 28
    flags = {BID: 1 | buy, ASK: 1 | sell, BUY: 2 | buy, SELL: 2 | sell, CLEAR_BID: 3 | buy, CLEAR_ASK: 3 | sell}
    for kind, flag in flags.items():
        assert set(rows["ev"][store.kind[kept] == kind].tolist()) == {both | flag}
    trades = store.kind[kept] == BUY
    assert np.allclose(rows["px"][trades] / 0.1, store.tick[kept][trades])


@pytest.mark.parametrize(("kind", "value"), [("spot", 1.0), ("inverse", 100.0)])
def test_the_peer_is_told_what_kind_of_contract_it_trades(monkeypatch, tmp_path, kind, value):
    monkeypatch.setattr(peer_kinds, "SECONDS", 3.0)
    monkeypatch.setattr(peer_kinds, "raw_tape", lambda name: None)
    (other,) = peer_kinds.tapes(kind, tmp_path).values()
    assert other.instrument.kind == kind
    vs_hftbacktest.write_job(tmp_path, vs_hftbacktest.parameter_sets(2, unit=50), other)
    sets = np.load(tmp_path / "sets.npy")
    assert sets["spot"].tolist() == [kind == "spot"] * 2
    assert sets["inverse"].tolist() == [kind == "inverse"] * 2
    assert sets["contract_value"].tolist() == [value] * 2
    assert sets["order_lots"][0] == 250


def test_a_difference_is_found(tape):
    configs = vs_hftbacktest.parameter_sets(2)
    ours = simulate_many(configs, tape)
    end_ns = int(tape.msg_recv_ns[-1]) + 10**9
    names = ["ts_exch_ns", "order_id", "side", "tick", "lots"]
    peer = {
        "fills": np.concatenate([r.fills[names] for r in ours]),
        "counts": np.array([len(r.fills) for r in ours]),
        "position": np.array([r.samples["pos_lots"] for r in ours]),
        "equity": np.array([r.samples["pnl_usd"] for r in ours]),
    }
    assert len(peer["fills"]) > 0
    assert vs_hftbacktest.differences(ours, peer, end_ns) == []
    for name, column in (("fills", "tick"), ("fills", "ts_exch_ns"), ("equity", None), ("position", None)):
        changed = {key: value.copy() for key, value in peer.items()}
        rows = changed[name]
        (rows[column] if column else rows.reshape(-1))[-1] += 1
        wrong = vs_hftbacktest.differences(ours, changed, end_ns)
        assert len(wrong) == 1
        assert wrong[0]["fills_equal"] == (name != "fills")
        assert wrong[0]["equity_equal"] == (name == "fills")


@pytest.mark.slow
def test_the_kernel_benchmark_runs_what_trials_run(tape):
    configs = [sim.config(k) for k in range(3)]
    assert sim.pass_s(configs, tape, repeats=1) > 0.0
    assert sim.single_s(configs[0], tape, repeats=1) > 0.0
    assert sim.thread_scale(tape, n=4, repeats=1) > 0.0
