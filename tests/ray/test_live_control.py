"""A desk that outlives its command line, steered from other processes; crashes of its actors."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from pathlib import Path

import pytest

from actors.replay import recorded_config, replay_venue

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(240)]
CONFIGS = Path(__file__).resolve().parents[2] / "configs"
QUICK = ("strategy.model.kappa=5/bps", "strategy.spread.min=0.2 bps")


def _port_is_taken(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def venue_of(run, name="sandbox"):
    return run["venues"][name]


def running(run):
    return run["state"] == "running" and venue_of(run)["executor"].get("working", 0) > 0


@pytest.fixture(scope="module")
def desk(tmp_path_factory, make_shell, shared_ray):
    """A desk whose command line was killed with SIGKILL."""
    shell = make_shell(tmp_path_factory.mktemp("desk"), shared_ray)
    cli = shell.start(str(CONFIGS / "live.yaml"), "-", *QUICK)
    shell.wait_for(running)
    cli.kill()
    cli.communicate()
    yield shell
    shell.call("stop")


def test_the_desk_trades_on_without_its_command_line(desk):
    before = desk.wait_for(running)
    time.sleep(2.0)
    after = desk.wait_for(running)
    assert venue_of(after)["executor"]["orders_sent"] > venue_of(before)["executor"]["orders_sent"]
    assert venue_of(after)["quoter"]["decisions"] > venue_of(before)["quoter"]["decisions"]
    (seen,) = desk.call("status")["runs"]
    assert seen["run_id"] == after["run_id"]
    assert running(seen)
    assert venue_of(seen)["executor"]["orders_sent"] > venue_of(before)["executor"]["orders_sent"]


@pytest.mark.parametrize("role", ["executor", "quoter", "risk", "feed"])
def test_a_killed_actor_comes_back_and_quoting_goes_on(desk, role):
    before = desk.wait_for(running)
    pid = venue_of(before)[role]["pid"]
    os.kill(pid, signal.SIGKILL)

    def again(run):
        me = venue_of(run)[role]
        return running(run) and me["pid"] != pid and me["phase"] == "running"

    after = desk.wait_for(again)
    sent = venue_of(after)["executor"]["orders_sent"]
    run = desk.wait_for(lambda r: running(r) and venue_of(r)["executor"]["orders_sent"] > sent)
    executor = venue_of(run)["executor"]
    assert executor["halted"] is None  # positions were found to agree
    assert executor["working"] <= 4
    assert venue_of(run)["quoter"]["unbooked"] == 0


def test_halt_cancels_everything_and_rearm_quotes_again(desk):
    desk.wait_for(running)
    answer = desk.call("halt", None, "test")
    assert [list(r.values()) for r in answer["runs"].values()] == [[0]]  # nothing is open on the exchange
    halted = desk.wait_for(lambda r: r["state"] == "halted")
    sent = venue_of(halted)["executor"]["orders_sent"]
    time.sleep(1.0)
    still = desk.wait_for(lambda r: r["state"] == "halted")
    assert venue_of(still)["executor"]["orders_sent"] == sent
    assert venue_of(still)["executor"]["working"] == 0
    assert desk.call("status")["latches"][0]["reason"] == "operator"
    desk.call("rearm")
    desk.wait_for(lambda r: running(r) and venue_of(r)["executor"]["orders_sent"] > sent)
    assert desk.call("status")["latches"] == []


def test_stop_leaves_no_order(desk):
    desk.wait_for(running)
    (summary,) = desk.call("stop")["runs"]
    venue = summary["venues"]["sandbox"]
    assert venue["open_orders_left"] == 0
    assert venue["taker_fills"] == 0
    assert venue["fills"] > 0
    assert venue["restarts"]["executor"] >= 1
    assert summary["halted"] is None
    assert desk.call("status")["runs"] == []
    # all that the killed actors and the halt left on record gives the same quotes again
    path = Path(summary["path"])
    replayed = replay_venue(path, "sandbox", recorded_config(path))
    assert replayed.lives >= 2
    assert replayed.identical == replayed.decisions > 100


def test_a_broken_limit_halts_and_stays_latched(tmp_path, make_shell, shared_ray):
    shell = make_shell(tmp_path, shared_ray)
    config = str(CONFIGS / "live.yaml")
    loss = (*QUICK, "risk.max_drawdown_usd=0.01", "live.venues.0.exchange.maker_fee=0.5%")
    out = shell.live(config, "60", *loss)
    assert out["halted"] == "drawdown"
    assert out["exit_code"] == 3
    assert out["venues"]["sandbox"]["open_orders_left"] == 0
    refused = shell.live(config, "5", *QUICK)
    assert refused["exit_code"] == 3
    assert "drawdown" in refused["failed"]
    shell.call("rearm")
    assert shell.call("status")["latches"] == []


def test_two_exchanges_at_once(tmp_path, make_shell, shared_ray):
    shell = make_shell(tmp_path, shared_ray)
    out = shell.live(str(CONFIGS / "paper_two_venues.yaml"), "6", *QUICK, "live.transport=tcp")
    assert set(out["venues"]) == {"east", "west"}
    for venue in out["venues"].values():
        assert venue["fills"] > 0
        assert venue["taker_fills"] == 0
        assert venue["open_orders_left"] == 0
        assert venue["quote_uptime"] > 0.5


@pytest.mark.skipif(_port_is_taken(6379), reason="a Ray listens on the default port: it would be used")
def test_a_killed_supervisor_goes_on_and_a_forgotten_desk_cleans_up_behind_itself(tmp_path, make_shell):
    shell = make_shell(tmp_path)  # a Ray of its own
    cli = shell.start(str(CONFIGS / "live.yaml"), "14", *QUICK)
    run = shell.wait_for(running)
    cli.kill()
    cli.communicate()
    os.kill(run["pid"], signal.SIGKILL)
    again = shell.wait_for(lambda r: running(r) and r["pid"] != run["pid"])
    assert again["run_id"] == run["run_id"]
    assert venue_of(again)["executor"]["pid"] == venue_of(run)["executor"]["pid"]  # nothing else was touched
    state = tmp_path / "home" / "ray.json"
    deadline = time.monotonic() + 60
    while state.exists() and time.monotonic() < deadline:
        time.sleep(0.5)
    assert not state.exists()  # the desk ended with its duration, and its Ray with it
    summary = json.loads((tmp_path / "runs" / run["run_id"] / "summary.json").read_text())
    assert summary["ended"] == "duration"
    assert summary["venues"]["sandbox"]["open_orders_left"] == 0
    assert shell.call("status")["runs"] == []
