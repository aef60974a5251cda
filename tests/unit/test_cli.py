"""The command line without processes: help of every command, refusals before any work is done."""

import json

import click
import pytest
import typer
from typer.testing import CliRunner

import cli
from mm.errors import ConfigError, DataError, RaymakerError

runner = CliRunner()


def commands(command, path=()):
    yield path
    for name, sub in getattr(command, "commands", {}).items():
        yield from commands(sub, (*path, name))


@pytest.mark.parametrize("path", list(commands(typer.main.get_command(cli.app))), ids=" ".join)
def test_every_command_has_help(path):
    done = runner.invoke(cli.app, [*path, "--help"])
    assert done.exit_code == 0
    assert "Usage:" in click.unstyle(done.output)


def test_no_command_shows_help():
    done = runner.invoke(cli.app, [])
    assert "Exit codes" in done.output


@pytest.mark.parametrize(
    "args", [["fly"], ["backtest", "--fly"], ["data", "plot"], ["tune", "x.yaml", "--trials", "0"]]
)
def test_usage_errors_exit_2(args):
    assert runner.invoke(cli.app, args).exit_code == 2


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "run.yaml").write_text("data: {duration: 2s}\n")
    (tmp_path / "file").write_text("x")
    return tmp_path


@pytest.mark.parametrize(
    ("args", "error", "message"),
    [
        ("backtest missing.yaml", ConfigError, "does not exist; there are: run.yaml"),
        ("backtest run.yaml --set seed", ConfigError, "expected KEY=VALUE"),
        ("backtest run.yaml --leverage 3", ConfigError, "above the lock"),
        ("backtest run.yaml --order-size 5", ConfigError, "has no unit"),
        ("backtest run.yaml --data file", DataError, "not a store"),
        ("backtest run.yaml --set data.duration=0s", RaymakerError, ""),
        ("backtest run.yaml --set data.seed=-1", RaymakerError, ""),
        ("backtest run.yaml --out file", RaymakerError, "file"),
        ("data info missing", DataError, "no such store"),
        ("data plot file", DataError, "not a store"),
        ("data synth --out s --duration 5", ConfigError, "--duration: duration: "),
        ("data synth --out s --duration 0s", RaymakerError, ""),
        ("data synth --out file --duration 1s", DataError, "refusing to overwrite"),
        ("data import missing.gz --out s", RaymakerError, "missing.gz"),
        ("data import file --out s --tick-size abc", ConfigError, "--tick-size: expected a decimal number"),
        ("data import file --out s --lot-size 0", ConfigError, "--lot-size: expected a positive number"),
        ("data import file --out s --format csv", RaymakerError, "csv"),
        ("data import file --out s --market moon", RaymakerError, "moon"),
        ("data import file --out s", RaymakerError, ""),
    ],
)
def test_mistakes_are_typed_errors(here, args, error, message):
    """``main`` turns these into one line and the exit code of their class."""
    done = runner.invoke(cli.app, args.split())
    assert isinstance(done.exception, error), (done.exception, done.output)
    assert message in str(done.exception)
    assert "\n  File" not in str(done.exception)


def test_main_prints_one_line_and_exits_with_the_code(here, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["raymaker", "data", "info", "missing"])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("raymaker: missing: no such store")
    assert len(err.splitlines()) == 1


def test_a_tape_from_synth_to_backtest(here):
    done = runner.invoke(cli.app, ["data", "synth", "--out", "s", "--duration", "2s", "--json"])
    assert done.exit_code == 0
    report = json.loads(done.stdout.splitlines()[-1])
    done = runner.invoke(cli.app, ["data", "info", "s"])
    assert done.exit_code == 0
    done = runner.invoke(cli.app, ["backtest", "run.yaml", "--data", "s", "--json", "--out", "out"])
    assert done.exit_code == 0, done.exception
    assert json.loads(done.stdout)["events"] == report["events"]
    done = runner.invoke(cli.app, ["backtest", "run.yaml", "--data", "s", "--out", "out"])
    assert "metrics.pnl_usd" in done.output
