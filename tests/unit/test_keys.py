"""Credentials: where they come from, where they lie, and that no log shows them."""

from __future__ import annotations

import logging

import pytest

from actors import home, keys
from actors.logs import DailyFile
from mm.errors import ConfigError
from mm.venues.registry import VENUES, get_venue


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("RAYMAKER_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_environment_wins_over_the_file(place, monkeypatch):
    (place / ".env").write_text('export RAYMAKER_BYBIT_API_KEY=abc\n\n# note\nRAYMAKER_BYBIT_SECRET="x=y"\n')
    assert keys.collect("bybit", ["api_key", "secret"]) == {"api_key": "abc", "secret": "x=y"}
    monkeypatch.setenv("RAYMAKER_BYBIT_SECRET", "other")
    assert keys.collect("bybit", ["api_key"], ["secret", "absent"]) == {"api_key": "abc", "secret": "other"}


def test_what_is_missing_is_named_and_what_is_there_is_not(place):
    (place / ".env").write_text("RAYMAKER_BYBIT_API_KEY=very-secret\n")
    with pytest.raises(ConfigError, match="RAYMAKER_BYBIT_SECRET") as caught:
        keys.collect("bybit", ["api_key", "secret"])
    assert "very-secret" not in str(caught.value)
    (place / ".env").write_text("RAYMAKER_OK=1\nvery-secret\n")
    with pytest.raises(ConfigError, match=r"\.env:2: expected NAME=value") as caught:
        keys.collect("bybit", ["api_key"])
    assert "very-secret" not in str(caught.value)


def test_the_file_of_a_run_is_private_and_goes():
    keys.keep("run-1", "bybit", {"secret": "abcdefgh-1"})
    keys.keep("run-2", "bybit", {"secret": "abcdefgh-2"})
    path = home.home() / "keys" / "run-1.bybit.json"
    assert path.stat().st_mode & 0o077 == 0
    assert path.parent.stat().st_mode & 0o077 == 0
    assert keys.read("run-1", "bybit") == {"secret": "abcdefgh-1"}
    keys.forget("run-1")
    assert keys.read("run-1", "bybit") == {}
    assert keys.read("run-2", "bybit") == {"secret": "abcdefgh-2"}


def test_a_key_that_was_read_is_in_no_log(place):
    keys.keep("run", "bybit", {"secret": "s3cr3t-material", "passphrase": "s3cr3t-material-longer"})
    found = keys.read("run", "bybit")
    log = logging.getLogger("test_keys")
    handler = DailyFile(place / "logs")
    log.addHandler(handler)
    try:
        log.warning("arguments %s", found)
        try:
            raise ValueError(f"the library said {found['secret']}")  # noqa: TRY301
        except ValueError:
            log.exception("failed")
    finally:
        log.removeHandler(handler)
        handler.close()
    (file,) = (place / "logs").iterdir()
    text = file.read_text()
    assert "the library said ***" in text
    assert "s3cr3t" not in text


def test_the_example_names_what_the_venues_ask_for(request):
    example = keys.read_env_file(request.config.rootpath / ".env.example")
    venues = [get_venue(name) for name in VENUES if name != "native"]
    wanted = {keys.variable(v.name, key) for v in venues for key in (*v.keys, *v.optional_keys)}
    assert wanted == set(example) - {"MM_DATA_DIR"}
    assert not any(example.values())
