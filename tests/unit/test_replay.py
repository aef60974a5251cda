"""A recorded run gives the same quotes again, and only the same run does."""

import json

import pytest

from actors.recorder import DECISION, INBOX_HEADER, read_decisions, read_lives, read_raw
from actors.replay import recorded_config, replay_venue
from actors.transport import EVENTS, SYNC
from mm.config.schema import RunConfig
from mm.errors import ConfigError, DataError
from tests.reference.small_run import SmallRun, quick_config, small_run

pytestmark = pytest.mark.slow  # hopeless as plain Python

SECONDS = 4.0


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "one"
    small_run(path, quick_config(), SECONDS)
    return path


@pytest.fixture
def copy(run_dir, tmp_path):
    """The same folder, to be damaged."""
    import shutil

    return shutil.copytree(run_dir, tmp_path / "copy")


def replay(path, *overrides):
    return replay_venue(path, "sandbox", recorded_config(path, list(overrides)))


def test_every_quote_comes_out_again(run_dir):
    out = replay(run_dir)
    assert out.decisions > 300
    assert out.quotes > 300
    assert out.commands > 20
    assert out.identical == out.decisions
    assert (out.unreached, out.notes, out.mismatches) == (0, [], [])


@pytest.mark.parametrize(
    "item",
    [
        "strategy.model.kappa=5.05/bps",
        "strategy.model.A=3.03",
        "strategy.model.gamma={q_max: 5.05}",
        "strategy.model.sigma={halflife: 60.6s, sample: 100ms}",
        "strategy.spread.min=0.202 bps",
    ],
)
def test_one_percent_of_one_parameter_is_noticed(run_dir, item):
    out = replay(run_dir, item)
    if "spread" in item:  # the bound never acts here: nothing changes, and nothing is made up
        assert out.identical == out.decisions
        return
    assert out.identical < 0.5 * out.decisions
    assert out.mismatches[0]["raw_bid"][0] != out.mismatches[0]["raw_bid"][1]


def test_what_quotes_depend_on_in_flight_comes_out_again(tmp_path):
    """Controls and parameters estimated from the market orders seen: state that only the run has."""
    plain = quick_config().model_dump(mode="json")
    plain["strategy"]["params"] = {"min_arrivals": 2, "every": "500ms", "max_misfit": 1.0}
    plain["strategy"]["controls"] = {
        "inventory": {"soft_usd": 390, "hard_usd": 1000}, "cooldown": {}, "displacement": {}, "volatility": {},
        "rebalance": {"limit": "1000 usd"},
    }  # fmt: skip
    run = small_run(tmp_path, RunConfig.model_validate(plain), SECONDS)
    seen = run.quoter.q.view(0)
    assert seen["params"] == "estimated"
    assert seen["acted"]
    out = replay(tmp_path)
    assert out.identical == out.decisions > 300


def test_recorded_quotes_are_no_input(copy):
    """Other quotes on record change the verdict, not the replay."""
    file = copy / "decisions" / "sandbox.bin"
    rows = read_decisions(file).copy()
    rows["bid_tick"] += 1
    file.write_bytes(rows.tobytes())
    out = replay(copy)
    assert (out.identical, out.decisions) == (0, len(rows))
    assert out.mismatches[0]["bid_tick"][0] == out.mismatches[0]["bid_tick"][1] + 1


@pytest.mark.parametrize("name", ["raw", "inbox", "commands", "decisions"])
def test_a_torn_record_replays_as_far_as_it_goes(copy, name):
    file = copy / name / "sandbox.bin"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) * 2 // 3 + 3])
    out = replay(copy)
    assert 50 < out.decisions == out.identical
    assert out.decisions + out.unreached == len(read_decisions(copy / "decisions" / "sandbox.bin"))
    if name != "decisions":
        assert out.unreached > 50
        assert "beyond the record" in out.notes[0]


def test_a_life_without_decisions_says_so(copy):
    """Killed within its first second, or its file is lost."""
    (copy / "decisions" / "sandbox.bin").unlink()
    out = replay(copy)
    assert (out.decisions, out.unreached) == (0, 0)
    assert "no decision is on record" in out.notes[0]


def test_a_frame_that_is_missing_in_the_middle_ends_the_replay(copy):
    file = copy / "raw" / "sandbox.bin"
    frames = list(read_raw(file))
    assert frames[0].number == 0
    lost = len(frames) // 2
    before = sum(12 + len(f.raw) for f in frames[:lost])
    whole = file.read_bytes()
    file.write_bytes(whole[:before] + whole[before + 12 + len(frames[lost].raw) :])
    out = replay(copy)
    assert 0 < out.identical == out.decisions
    assert "is not among the raw frames" in out.notes[0]


def test_a_restarted_quoter_and_a_restarted_feed(tmp_path):
    run = SmallRun(tmp_path, quick_config())
    run.play(1.5)
    run.record.flush()
    run.raw.flush()
    run.quoter_life()
    run.feed_life()
    run.play(1.5)
    run.close()
    out = replay(tmp_path)
    assert out.lives == 2
    assert (tmp_path / "raw" / "sandbox.1.bin").exists()
    assert out.identical == out.decisions > 100
    assert all(len(life.decisions) > 50 for life in read_lives(tmp_path, "sandbox"))


def test_a_killed_feed_takes_its_last_frames_with_it(tmp_path):
    """The quoter saw them: its decisions after them cannot be replayed, those of its next life can."""
    run = SmallRun(tmp_path, quick_config())
    run.play(1.0)
    run.raw.flush()
    run.play(0.2)
    run.feed_life()
    run.play(0.5)
    run.raw.flush()
    run.record.flush()
    run.quoter_life()
    run.feed_life()
    run.play(1.0)
    run.close()
    out = replay(tmp_path)
    first, second = (len(life.decisions) for life in read_lives(tmp_path, "sandbox"))
    assert out.identical == out.decisions > second
    assert first > out.unreached > 20
    assert "is not among the raw frames" in out.notes[0]


def test_records_of_another_version_end_the_replay(copy):
    """The state in a sync has grown by eight bytes since: it cannot be read, and that is said."""
    file = copy / "inbox" / "sandbox.bin"
    out, data, at = b"", file.read_bytes(), 0
    while at < len(data):
        kind, a, b, seq, t, size = INBOX_HEADER.unpack_from(data, at)
        at += INBOX_HEADER.size
        payload = b"" if kind == EVENTS else data[at : at + size]
        at += len(payload)
        if kind == SYNC:
            payload, size = payload[:-8], size - 8
        out += INBOX_HEADER.pack(kind, a, b, seq, t, size) + payload
    file.write_bytes(out)
    replayed = replay(copy)
    assert (replayed.decisions, replayed.unreached) == (0, len(read_decisions(copy / "decisions" / "sandbox.bin")))
    assert "not of this version" in replayed.notes[0]


def test_a_folder_that_is_no_run(tmp_path):
    with pytest.raises(DataError, match="not a run"):
        recorded_config(tmp_path)
    for text, says in (('{"config": {"se', "cannot be read"), ('{"seed": 1}', "not the config of a live run")):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(DataError, match=says):
            recorded_config(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"config": quick_config().model_dump(mode="json")}))
    with pytest.raises(DataError, match="no record of the quoter"):
        replay(tmp_path)
    with pytest.raises(ConfigError, match="kapa"):
        recorded_config(tmp_path, ["strategy.model.kapa=1"])


def test_rows_have_one_size():
    assert DECISION.itemsize == 120
