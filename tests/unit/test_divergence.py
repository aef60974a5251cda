"""Live and simulated fills side by side: pairing, causes, and a recorded run that the simulator repeats."""

import csv
import json
import shutil

import numpy as np
import pytest
from typer.testing import CliRunner

import cli
from actors.recorder import read_decisions
from actors.replay_job import judged, replay_run
from actors.run_record import make_tape
from mm.core.types import ACK, CANCELED, FILL
from mm.data.own_orders import Report
from mm.sim.divergence import CAUSES, FILL_PAIR, Fill, Standing, _explain, live_standing, match, merged
from tests.reference.small_run import SYMBOL, SmallRun, quick_config

MS = 1_000_000
pytestmark = [pytest.mark.timeout(300), pytest.mark.slow]  # kernels compile first; hopeless as plain Python


def fill(ms, side=1, tick=100, lots=3):
    return Fill(ms * MS, side, tick, lots, 100.0)


def test_fills_pair_with_the_nearest_of_their_kind():
    live = [fill(0), fill(50), fill(1000), fill(2000, -1)]
    sim = [fill(49), fill(20), fill(1101), fill(2000, 1), fill(2000, -1, 101)]
    assert match(live, sim) == [(0, 1), (1, 0)]  # 101 ms apart, another side, another price: not the same
    assert match([], sim) == match(live, []) == []


def test_pieces_of_one_moment_are_one_fill():
    assert merged([fill(1, lots=1), fill(1, lots=2), fill(2, lots=1)]) == [fill(1, lots=3), fill(2, lots=1)]


def test_our_recorded_orders_just_before_a_time():
    reports = [
        Report(10, ACK, 1, 1, 99, 3), Report(11, ACK, 2, -1, 103, 3), Report(20, FILL, 1, 1, 99, 2),
        Report(30, CANCELED, 2, -1, 103, 3), Report(40, FILL, 1, 1, 99, 1),
    ]  # fmt: skip
    found = live_standing(reports, [10, 20, 21, 40, 41], opening_lots=-1)
    assert [(s.bid_tick, s.ask_tick, s.pos_lots) for s in found] == [
        (0, 0, -1), (99, 103, -1), (99, 103, 1), (99, 0, 1), (0, 0, 2)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("live_ns", "sim_ns", "in_sim", "in_live", "cause"),
    [
        (5, 0, Standing(100, 7.0, 0, 0.0, 0), Standing(100, 0.0, 0, 0.0, 0), "queue_position"),
        (5, 0, Standing(0, 0.0, 0, 0.0, 0), Standing(100, 0.0, 0, 0.0, 0), "latency"),
        (5, 0, Standing(99, 0.0, 0, 0.0, 0), Standing(100, 0.0, 0, 0.0, 0), "other_price"),
        (5, 0, Standing(99, 0.0, 0, 0.0, 3), Standing(100, 0.0, 0, 0.0, 0), "follows"),
        (0, 5, Standing(100, 0.0, 0, 0.0, 0), Standing(100, 0.0, 0, 0.0, 0), "queue_position"),
        (0, 5, Standing(100, 0.0, 0, 0.0, 0), Standing(0, 0.0, 0, 0.0, 0), "latency"),
    ],
)
def test_causes(live_ns, sim_ns, in_sim, in_live, cause):
    pairs = np.zeros(1, FILL_PAIR)
    pairs[0] = (live_ns, sim_ns, 1, 100, 3, 0, 0, 0, 0, 0.0)
    _explain(pairs[0], in_sim, in_live, pairs)
    assert CAUSES[pairs[0]["cause"]] == cause


def test_an_aggressor_that_met_us_elsewhere_is_our_footprint():
    pairs = np.zeros(2, FILL_PAIR)
    pairs[0] = (5, 0, 1, 101, 3, 0, 0, 0, 0, 0.0)
    pairs[1] = (0, 5, 1, 100, 3, 0, 0, 0, 0, 0.0)
    _explain(pairs[1], Standing(100, 0.0, 0, 0.0, 0), Standing(100, 0.0, 0, 0.0, 0), pairs)
    assert CAUSES[pairs[1]["cause"]] == "own_footprint"


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "one"
    run = SmallRun(path, quick_config(), seed=3)
    run.play(12.0)
    run.close()
    return path, replay_run(path)


@pytest.mark.slow
def test_the_simulator_repeats_a_recorded_run(done):
    _, found = done
    assert found["identical"]
    sim = found["venues"]["sandbox"]["simulated"][SYMBOL]
    assert sim["fills_live"] > 25
    assert abs(sim["fills_sim"] - sim["fills_live"]) <= 0.05 * sim["fills_live"]
    assert sim["fills_same"] >= 0.9 * sim["fills_live"]
    assert sim["pnl_diff_pct_of_capture"] < 10.0
    assert sim["pnl_within_10_pct"]
    assert sim["fills_within_5_pct"]
    assert sim["market_same_pct"] > 99.0
    assert sim["queue"] == "risk_averse"
    assert 0.5 < sim["order_latency_ms"]["p50"] < 2.0
    assert sim["netting"]["short"] == 0


@pytest.mark.slow
def test_the_report_is_kept_with_the_run(done):
    path, found = done
    kept = json.loads((path / "replay" / "report.json").read_text())
    assert kept["venues"]["sandbox"]["quotes"]["identical"] == found["venues"]["sandbox"]["quotes"]["identical"]
    folder = path / "replay" / f"sandbox_{SYMBOL}"
    rows = list(csv.DictReader((folder / "fills.csv").read_text().splitlines()))
    sim = found["venues"]["sandbox"]["simulated"][SYMBOL]
    assert sum(r["cause"] == "same" for r in rows) == sim["fills_same"]
    assert sum(bool(r["live_ns"]) for r in rows) == sim["fills_live"]
    assert sum(bool(r["sim_ns"]) for r in rows) == sim["fills_sim"]
    assert (folder / "divergence.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.slow
def test_a_wrong_latency_is_seen(done, tmp_path, monkeypatch):
    """The same record with orders that arrive 150 ms later than they did: fills differ, and the report says so."""
    path, found = done
    import actors.replay_job as job

    def late(*args):
        tape = make_tape(*args)
        tape.orders[:, 1] += 150 * MS
        return tape

    monkeypatch.setattr(job, "make_tape", late)
    sim = job.replay_run(path)["venues"]["sandbox"]["simulated"][SYMBOL]
    before = found["venues"]["sandbox"]["simulated"][SYMBOL]
    assert sim["fills_same"] < 0.7 * before["fills_same"]
    assert sum(sim["causes"].values()) > 10


@pytest.mark.slow
def test_the_command(done):
    path, found = done
    said = CliRunner().invoke(cli.app, ["replay", str(path), "--json"])
    assert said.exit_code == 0, said.output
    again = json.loads(said.output.splitlines()[-1])
    fills = [x["venues"]["sandbox"]["simulated"][SYMBOL]["fills_same"] for x in (found, again)]
    assert fills[0] == fills[1] > 0
    table = CliRunner().invoke(cli.app, ["replay", str(path)]).output
    assert "decisions identical, bit by bit" in " ".join(table.split())


def test_overrides_compare_quotes_only(done):
    path, _ = done
    said = CliRunner().invoke(cli.app, ["replay", str(path), "--json", "--set", "strategy.model.A=3.03"])
    assert said.exit_code == 0, said.output
    found = json.loads(said.output.splitlines()[-1])
    assert not found["identical"]
    assert "simulated" not in found["venues"]["sandbox"]


def test_quotes_that_do_not_come_out_again_are_an_exit_code(done, tmp_path):
    path = shutil.copytree(done[0], tmp_path / "copy", ignore=shutil.ignore_patterns("replay", "raw"))
    shutil.copytree(done[0] / "raw", path / "raw")
    file = path / "decisions" / "sandbox.bin"
    rows = read_decisions(file).copy()
    rows["bid_tick"][7] += 1
    file.write_bytes(rows.tobytes())
    said = CliRunner().invoke(cli.app, ["replay", str(path), "--json"])
    assert said.exit_code == 1
    assert json.loads(said.output.splitlines()[-1])["venues"]["sandbox"]["quotes"]["mismatches"][0]["bid_tick"]


def test_a_run_that_cannot_be_simulated_is_an_exit_code(done, tmp_path):
    """Its quotes come out again all the same."""
    path = shutil.copytree(done[0], tmp_path / "copy", ignore=shutil.ignore_patterns("replay"))
    journal = path / "journal" / "sandbox.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join([*lines[:5], b"00000000 {}\n", *lines[5:]]))
    said = CliRunner().invoke(cli.app, ["replay", str(path), "--json"])
    assert said.exit_code == 1
    found = json.loads(said.output.splitlines()[-1])
    assert found["identical"]
    assert "damaged journal record" in found["venues"]["sandbox"]["simulated"][SYMBOL]["error"]


@pytest.mark.parametrize(
    ("live", "sim", "same", "share", "expected"),
    [
        (100, 100, 95, 9.9, (True, True)),
        (100, 106, 100, 10.1, (False, False)),
        (0, 0, 0, None, (None, None)),
        (0, 3, 0, None, (False, None)),
    ],
)
def test_the_bounds_are_judged(live, sim, same, share, expected):
    found = judged({"fills_live": live, "fills_sim": sim, "fills_same": same, "pnl_diff_pct_of_capture": share})
    assert (found["fills_within_5_pct"], found["pnl_within_10_pct"]) == expected
