"""The edges of a desk's life without Ray: restarted after its end, halts that fail, folders that cannot be written."""

from __future__ import annotations

import os
import signal
import socket
import threading
from dataclasses import asdict
from types import SimpleNamespace

import psutil
import pytest

from actors import desk, home, ray_head, remote
from actors.base import DeskSpec
from actors.home import Latch, latches, read_latch, write_json, write_latch
from actors.supervisor import Supervisor, _Member
from mm.config.schema import RunConfig
from mm.errors import ConfigError, RaymakerError


@pytest.fixture
def spec(tmp_path, monkeypatch):
    monkeypatch.setenv("RAYMAKER_HOME", str(tmp_path / "home"))
    return DeskSpec(
        run_id="r", desk="desk", run_dir=str(tmp_path / "run"), log_dir=str(tmp_path / "logs"),
        home=str(tmp_path / "home"), config=RunConfig().model_dump(mode="json"), prefix="p", cli_pid=os.getpid(),
    )  # fmt: skip


@pytest.fixture
def no_ray(monkeypatch):
    """Whoever is ended or looked for is noted here."""
    calls = []
    monkeypatch.setattr(remote, "spawn", lambda *_a, **_k: pytest.fail("nothing may be started"))
    monkeypatch.setattr(remote, "find", lambda name: calls.append(("find", name)))
    monkeypatch.setattr(remote, "end", lambda handles: calls.extend(("end", h) for h in handles))
    return calls


@pytest.mark.parametrize("left", [False, True])
def test_a_supervisor_restarted_after_the_end_starts_nothing(spec, no_ray, left):
    write_json(spec.path("summary.json"), {"run_id": "r", "exit_code": 0})
    if left:
        member = {"name": "raymaker/desk/risk", "cls": "x:Y", "spec": asdict(spec)}
        known = {"members": {"risk": member}, "exchanges": {}, "running_since": 1.0}
        write_json(spec.path("state", "desk.json"), known)
    me = Supervisor(spec, 60.0)
    assert me.wait(10.0) == {"run_id": "r", "exit_code": 0}
    assert me.status()["state"] == "ended"
    assert not spec.path("state", "desk.json").exists()
    assert [c for c in no_ray if c[0] == "find"] == ([("find", "raymaker/desk/risk")] if left else [])


def quiet(spec, members=()) -> Supervisor:
    me = Supervisor.__new__(Supervisor)
    me.spec = spec
    me._members = {key: _Member(f"raymaker/desk/{key}", "", spec) for key in members}
    return me


def test_a_halt_is_on_disk_before_an_executor_is_asked(spec, monkeypatch):
    me = quiet(spec, ["sandbox/executor"])
    monkeypatch.setattr(remote, "gather", lambda calls, _s: dict.fromkeys(calls, remote.Failed("restarting", False)))
    assert me.halt("why") == {"sandbox": "restarting"}
    assert read_latch("desk", "sandbox").note == "why"


def test_a_rearm_that_may_not_lift_leaves_the_loss_limits_alone(spec, monkeypatch):
    write_latch(Latch("desk", "sandbox", "daily_loss", 10**18 * 5))
    monkeypatch.setattr(home.Latch, "holds", lambda _latch, _now: True)
    monkeypatch.setattr(remote, "ask", lambda *_a, **_k: pytest.fail("risk must not forget the loss"))
    assert quiet(spec, ["sandbox/risk", "sandbox/executor"]).rearm() == {"sandbox": False}
    assert len(latches()) == 1


def test_a_halt_that_did_not_cancel_is_an_error():
    assert desk._checked_halt({"run": {"sandbox": 0}}) == {"runs": {"run": {"sandbox": 0}}}
    with pytest.raises(RaymakerError, match="2 orders are still open"):
        desk._checked_halt({"run": {"sandbox": 2}})
    with pytest.raises(RaymakerError, match="no answer"):
        desk._checked_halt({"run": {"sandbox": "no answer in 20 s"}})


@pytest.mark.parametrize("what", ["runs", "logs"])
def test_a_folder_that_cannot_be_written_is_said_before_anything_starts(spec, tmp_path, monkeypatch, what):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ray_head, "ensure_ray", lambda: pytest.fail("it must not even look for Ray"))
    (tmp_path / what).write_text("a file where the folder should be")
    with pytest.raises(ConfigError, match=what):
        desk.Desk(RunConfig()).start(1.0)


def test_a_home_that_cannot_be_made_is_said(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RAYMAKER_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(ConfigError, match="RAYMAKER_HOME"):
        desk.status()


def test_what_listens_on_rays_port_need_not_be_ray(spec, monkeypatch):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        monkeypatch.setattr(ray_head, "_DEFAULT_GCS_PORT", port)
        monkeypatch.delenv("RAY_ADDRESS", raising=False)
        assert ray_head._listens("127.0.0.1", port)
        assert ray_head.find_ray() is None


@pytest.mark.parametrize("stranger", [False, True])
def test_a_gcs_of_ours_on_the_port_is_ray(monkeypatch, stranger):
    class Gcs:
        def uids(self):
            return SimpleNamespace(real=os.getuid() + stranger)

        def name(self):
            return "gcs_server"

        def cmdline(self):
            return ["gcs_server", "--gcs_server_port=6379"]

    monkeypatch.setattr(psutil, "process_iter", lambda: [Gcs()])
    assert ray_head._is_ray(6379) is not stranger
    assert not ray_head._is_ray(6380)


@pytest.mark.parametrize(("given", "seconds"), [(None, None), ("1m", 60.0), (5.0, 5.0), (5, 5)])
def test_a_duration_is_text_or_seconds(spec, monkeypatch, given, seconds):
    d = desk.Desk(RunConfig())
    seen = []
    monkeypatch.setattr(d, "start", seen.append)
    monkeypatch.setattr(d, "follow", lambda _on_status, _asked: {})
    d.run(given)
    assert seen == [seconds]


def test_a_signal_while_the_desk_starts_stops_it_properly(spec, monkeypatch):
    d = desk.Desk(RunConfig())
    seen = {}
    monkeypatch.setattr(d, "start", lambda _duration: os.kill(os.getpid(), signal.SIGTERM))
    monkeypatch.setattr(d, "follow", lambda _on_status, asked: seen.setdefault("asked", asked))
    assert threading.current_thread() is threading.main_thread()
    d.run()
    assert seen["asked"].wait(5.0)


def test_a_signal_is_heard_although_joining_ray_took_it_away(spec, monkeypatch):
    d = desk.Desk(RunConfig())
    asked = []

    def ask(_handle, method, *_args, **_more):
        asked.append(method)
        if asked == ["status"]:
            os.kill(os.getpid(), signal.SIGTERM)
        return {"run_id": "r"} if method != "wait" or "stop" in asked else None

    monkeypatch.setattr(d, "start", lambda _duration: signal.signal(signal.SIGTERM, lambda *_: pytest.fail("Ray's")))
    monkeypatch.setattr(remote, "ask", ask)
    monkeypatch.setattr(d, "_conclude", lambda summary: summary)
    assert d.run() == {"run_id": "r"}
    assert "stop" in asked
