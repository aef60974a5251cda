"""What outlives a run: latches, the state of a Ray head, credentials; and the pieces of the supervisor without Ray."""

from __future__ import annotations

import logging
import os
import time

import pytest
from pydantic import ValidationError

from actors import desk, exchanges, home, ray_head
from actors.home import Latch, clear_latch, latches, read_latch, write_latch
from actors.logs import DailyFile
from actors.recorder import DECISION, AppendFile, RawRecorder, read_decisions, read_raw, segments
from actors.run_dir import new_run_id
from mm.config.schema import RunConfig, VenueConfig
from mm.errors import ConfigError, RaymakerError, RiskHalt

DAY = 86_400_000_000_000


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("RAYMAKER_HOME", str(tmp_path / "home"))


def test_a_daily_loss_clears_at_the_day_roll_and_not_before():
    now = 20_000 * DAY + DAY // 2
    latch = Latch("desk", "venue", "daily_loss", now)
    write_latch(latch)
    assert read_latch("desk", "venue", now) == latch
    assert read_latch("desk", "venue", 20_001 * DAY - 1) == latch
    assert read_latch("desk", "venue", 20_001 * DAY) is None
    assert read_latch("desk", "other", now) is None


@pytest.mark.parametrize("reason", ["drawdown", "operator", "position_mismatch"])
def test_other_halts_stay_until_they_are_lifted(reason):
    latch = Latch("desk", "venue", reason, 1)
    write_latch(latch)
    assert latches() == [latch]
    assert clear_latch(latch)
    assert latches() == []


def test_todays_loss_is_lifted_by_force_only():
    latch = Latch("desk", "venue", "daily_loss", time.time_ns())
    write_latch(latch)
    assert not clear_latch(latch)
    assert latches() == [latch]
    assert clear_latch(latch, force=True)
    assert latches() == []


def test_a_latched_desk_does_not_start(tmp_path, monkeypatch):
    from actors.desk import Desk
    from mm.config.schema import RunConfig

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ray_head, "ensure_ray", lambda: pytest.fail("it must not even look for Ray"))
    write_latch(Latch("run", "sandbox", "drawdown", 1, "some-run"))
    with pytest.raises(RiskHalt, match="some-run") as caught:
        Desk(RunConfig()).run(duration="5s")
    assert caught.value.exit_code == 3
    assert not (tmp_path / "runs").exists()


def test_state_files_are_replaced_whole(tmp_path):
    path = tmp_path / "deep" / "x.json"
    assert home.read_json(path) is None
    home.write_json(path, {"a": 1})
    home.write_json(path, {"a": 2})
    assert home.read_json(path) == {"a": 2}
    assert [p.name for p in path.parent.iterdir()] == ["x.json"]


def test_the_home_is_private():
    assert home.home().stat().st_mode & 0o077 == 0
    assert home.scratch().stat().st_mode & 0o077 == 0


def test_a_dead_head_is_not_found(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    state = {"address": "127.0.0.1:1", "dashboard": "", "session": 0, "temp_dir": "", "started": 0.0}
    home.write_json(home.home() / "ray.json", state)
    assert ray_head.own_head() is None
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert ray_head.find_ray() == ray_head.RayConnection("10.0.0.1:6379", started=False)


def test_stopping_a_head_that_has_gone_is_harmless(tmp_path):
    temp = tmp_path / "ray"
    temp.mkdir()
    ray_head.stop_head(ray_head.RayHead("127.0.0.1:1", "", 2**22 + 1, str(temp), time.time()))
    assert not temp.exists()


def test_a_head_knows_only_processes_of_its_session():
    mine = ray_head.RayHead("", "", os.getsid(0), "", 0.0)
    assert os.getpid() in [p.pid for p in mine.processes()]
    later = ray_head.RayHead("", "", os.getsid(0), "", time.time() + 3600)
    assert later.processes() == []  # the number of a session can come again


def test_an_exchange_that_runs_already_needs_its_token(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    venue = VenueConfig(name="my-desk", address="127.0.0.1:5000")
    with pytest.raises(ConfigError, match="RAYMAKER_MY_DESK_TOKEN"):
        exchanges.account_keys(venue)
    (tmp_path / ".env").write_text("# mine\nRAYMAKER_MY_DESK_TOKEN='from a file'\n")
    assert exchanges.account_keys(venue) == {"token": "from a file"}
    monkeypatch.setenv("RAYMAKER_MY_DESK_TOKEN", "from outside")
    assert exchanges.account_keys(venue) == {"token": "from outside"}
    assert exchanges.external_options(venue) == {"host": "127.0.0.1", "port": 5000}
    with pytest.raises(ConfigError, match="address"):
        exchanges.external_options(VenueConfig(name="x"))
    for wrong, why in (
        ("nowhere", "host:port"),
        ("http://127.0.0.1:5000", "host:port"),
        ("8.8.8.8:80", "this machine"),
    ):
        with pytest.raises(ValidationError, match=why):
            VenueConfig(name="x", address=wrong)


def test_keys_in_the_environment_do_not_reach_every_process_of_ray(monkeypatch, tmp_path):
    monkeypatch.setenv("RAYMAKER_BYBIT_API_SECRET", "a-secret")
    monkeypatch.setenv("RAYMAKER_HOME", str(tmp_path))
    env = ray_head._head_environment()
    assert "a-secret" not in env.values()
    assert env["RAYMAKER_HOME"] == str(tmp_path)


def test_what_cannot_be_is_said_before_anything_starts(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    bybit = {"name": "b", "kind": "bybit", "instruments": ["BTCUSDT"]}
    exchanges.check(VenueConfig.model_validate(bybit))
    for changes, why in (
        ({"instruments": ["BTCUSD"]}, "no 'BTCUSD' in its spec"),
        ({"exchange": {"flow": "data/none"}}, "data/none: no such store"),
        ({"kind": "mexc", "network": "testnet"}, "no network 'testnet'"),
    ):
        with pytest.raises(ConfigError, match=why):
            exchanges.check(VenueConfig.model_validate(bybit | changes))
    cfg = RunConfig.model_validate({"live": {"venues": [bybit | {"exchange": {"flow": "data/btc"}}, {"name": "n"}]}})
    flows = [venue["exchange"]["flow"] for venue in desk._portable(cfg)["live"]["venues"]]
    assert flows == [str(tmp_path / "data/btc"), "synth"]


def test_the_embedded_exchange_lists_the_configured_instruments():
    spec = exchanges.exchange_spec(VenueConfig(name="v", instruments=["BTC-USDT", "ETH-USDT"]), "some-token")
    assert [i.symbol for i in spec.parsed_instruments()] == ["BTC-USDT", "ETH-USDT"]
    assert {b.seed for b in spec.background.values()} == {1, 2}  # two markets, not one twice


def test_raw_frames_come_back_without_a_torn_one(tmp_path):
    path = tmp_path / "raw" / "v.bin"
    recorder = RawRecorder(path)
    recorder.connection(1)
    recorder.frame(b"one", 2)
    assert path.read_bytes() == b""  # collected
    recorder.flush()
    recorder.frame(b"two", 3)
    recorder.connection(4)
    recorder.frame(b"three", 5)
    recorder.close()
    assert list(read_raw(path)) == [(1, 0, b""), (2, 1, b"one"), (3, 2, b"two"), (4, 0, b""), (5, 1, b"three")]
    path.write_bytes(path.read_bytes()[:-1])
    assert list(read_raw(path))[-1] == (4, 0, b"")


def test_every_life_has_a_file_of_its_own(tmp_path):
    path = tmp_path / "d.bin"
    for n in range(3):
        file = AppendFile(path)
        file.add(b"\0" * ((n + 1) * DECISION.itemsize + 5))  # each torn at its end
        file.close()
    assert [p.name for p in segments(path)] == ["d.bin", "d.1.bin", "d.2.bin"]
    assert len(read_decisions(path)) == 6
    assert len(read_decisions(tmp_path / "none.bin")) == 0


def test_run_ids_sort_by_time_and_name_the_desk():
    first = new_run_id("live")
    assert "-live-" in first
    assert first != new_run_id("live")


def test_log_files_are_daily(tmp_path):
    handler = DailyFile(tmp_path)
    handler.setFormatter(logging.Formatter("%(message)s"))
    for day, text in ((86_400 * 20_000, "one"), (86_400 * 20_001, "two")):
        record = logging.LogRecord("x", logging.DEBUG, "", 0, text, None, None)
        record.created = day
        handler.emit(record)
    handler.close()
    assert {p.name: p.read_text() for p in tmp_path.iterdir() if p.is_file()} == {
        "raymaker-20241004.log": "one\n",
        "raymaker-20241005.log": "two\n",
    }


@pytest.mark.parametrize("times", [1, 2])
def test_a_port_that_somebody_took_first_is_tried_once_more(times, tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    script = tmp_path / "ray"
    script.write_text(
        f"#!/bin/sh\necho x >>{tmp_path}/starts\n"
        f"[ $(wc -l <{tmp_path}/starts) -gt {times} ] || {{ echo 'bind: Address already in use'; exit 1; }}\n"
    )
    monkeypatch.setattr(ray_head, "_ray_command", lambda: ["/bin/sh", str(script)])
    if times > 1:
        with pytest.raises(RaymakerError, match="already in use"):
            ray_head.start_head()
    else:
        ray_head.stop_head(ray_head.start_head())
    assert (tmp_path / "starts").read_text() == "x\nx\n"
    assert not (home.home() / "ray.json").exists()


def test_a_folder_too_long_for_sockets_is_said(monkeypatch, tmp_path):
    monkeypatch.setattr(home.tempfile, "gettempdir", lambda: str(tmp_path / ("x" * 40)))
    with pytest.raises(ConfigError, match="set TMPDIR to a shorter folder"):
        home.scratch()
