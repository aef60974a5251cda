"""The command line without processes: help of every command, refusals before any work is done."""

import io
import json
import re
from pathlib import Path

import click
import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

import cli
from mm.core.first_run import NOTE, SIMULATION, first_run
from mm.errors import ConfigError, DataError, RaymakerError
from mm.report import tables

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
    (tmp_path / "arms.yaml").write_text("data: {duration: 2s}\narms: {a: {}, b: {strategy.model.A: 2}}\n")
    return tmp_path


@pytest.mark.parametrize(
    ("args", "error", "message"),
    [
        ("backtest missing.yaml", ConfigError, "does not exist; there are: arms.yaml, run.yaml"),
        ("backtest run.yaml --set seed", ConfigError, "expected KEY=VALUE"),
        ("backtest run.yaml --leverage 3", ConfigError, "above the lock"),
        ("backtest run.yaml --order-size 5", ConfigError, "has no unit"),
        ("backtest run.yaml --data file", DataError, "not a store"),
        ("backtest run.yaml --set data.duration=0s", RaymakerError, ""),
        ("backtest run.yaml --set data.seed=-1", RaymakerError, ""),
        ("backtest run.yaml --out file", RaymakerError, "file"),
        ("compare run.yaml", ConfigError, "needs two arms"),
        ("compare run.yaml run.yaml", ConfigError, "is also in run.yaml"),
        ("compare arms.yaml --data nothing", DataError, "nothing"),
        ("compare arms.yaml --level 2", ConfigError, "--level"),
        ("compare arms.yaml --set arms.b.strategy.order_size=3usd", ConfigError, "arm 'b': strategy.order_size"),
        ("data info missing", DataError, "no such store"),
        ("data plot file", DataError, "not a store"),
        ("data synth --out s --duration 5", ConfigError, "--duration: duration: "),
        ("data synth --out s --duration 0s", RaymakerError, ""),
        ("data synth --out file --duration 1s", DataError, "refusing to overwrite"),
        ("data import missing.gz --out s", RaymakerError, "missing.gz"),
        ("data import file --out s --tick-size abc", ConfigError, "--tick-size: expected a decimal number"),
        ("data import file --out s --lot-size 0", ConfigError, "--lot-size: expected a positive number"),
        ("data import file --out s --format csv", RaymakerError, "csv"),
        ("data import file --out s --format binance-collector --market moon", RaymakerError, "moon"),
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


def test_arms_side_by_side(here):
    done = runner.invoke(cli.app, ["compare", "arms.yaml", "--json", "--out", "out"])
    assert done.exit_code == 0, done.exception
    found = json.loads(done.stdout.splitlines()[-1])
    assert [arm["name"] for arm in found["arms"]] == ["a", "b"]
    assert "too little data" in found["verdict"][0] or "same" in found["verdict"][0]
    assert (Path(found["path"]) / "compare.png").exists()


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
    assert "profit after fees" in done.output
    assert str(Path("out") / "backtest-run-") in done.output.replace("\n", "")


def test_defaults_are_found_from_any_folder(here):
    done = runner.invoke(cli.app, ["backtest", "--json", "--set", "data.duration=2s"])
    assert done.exit_code == 0, done.exception
    assert json.loads(done.stdout)["path"].startswith(str(Path("results") / "backtest-live-"))


@pytest.mark.parametrize("option", ["gamma", "kappa", "order-size", "leverage"])
def test_an_empty_shorthand_is_not_ignored(here, option):
    done = runner.invoke(cli.app, ["backtest", "run.yaml", f"--{option}", ""])
    assert isinstance(done.exception, ConfigError)


def test_version():
    done = runner.invoke(cli.app, ["--version"])
    assert done.exit_code == 0
    assert re.fullmatch(r"raymaker \d+\.\d+\.\d+", done.stdout.strip())


def test_completion_is_for_the_installed_command(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["cli.py", "--show-completion", "bash"])
    monkeypatch.setattr("shellingham.detect_shell", lambda: ("bash", "/bin/bash"))  # whoever started the tests
    with pytest.raises(SystemExit):
        cli.main()
    assert "_RAYMAKER_COMPLETE=complete_bash" in capsys.readouterr().out


METRICS = {"pnl_usd": -1.5, "fills": 1200, "win_rate": 0.25, "position": -0.003, "halted": "drawdown"}


def shown(table):
    console = Console(width=100, file=io.StringIO())
    console.print(table)
    return console.file.getvalue()


def test_tables_carry_units_and_the_way_to_the_rest():
    out = shown(tables.backtest({"metrics": METRICS, "result_hash": "ab" * 32, "path": "results/x"}, "BTC"))
    for said in ("-1.5000 usd", "1,200", "25.0%", "-0.003 BTC", "drawdown", "results/x"):
        assert said in out
    best = {"index": 7, "params": {"strategy.model.kappa": "1/bp"}, "metrics": METRICS}
    summary = {"experiment": "e", "trials": 50, "failed": 1, "wall_s": 2.0, "table_hash": "cd" * 32, "path": "r/e"}
    out = shown(tables.sweep(summary | {"metric": "pnl_usd", "best": best}))
    for said in ("-1.5 (trial 7)", "strategy.model.kappa", "r/e/index.html", "luckiest", "1 failed"):
        assert said in out
    assert "best" not in shown(tables.sweep(summary | {"metric": "pnl_usd", "best": None}))
    account = {"fills": 3, "taker_fills": 0, "orders_sent": 1200, "rejects": 1, "open_orders_left": 0}
    run = {"run_id": "r", "duration_s": 10.2, "tick_to_order_us": {"p50": 970.5, "p99": 5220.8}, "halted": None}
    run |= {"rss_mb": {"cli": 200.0, "ray.raylet": 34.0}, "path": "runs/r"}
    account["position"] = 0.001
    out = shown(tables.live(run | {"venues": {"east": account | {"quote_uptime": 0.93, "pnl_usd": -0.02}}}))
    for said in ("1,200 sent, 1 rejected", "93.0% of the time", "-0.0200 usd", "970 µs median", "200 MB and 34 MB"):
        assert said in out
    out = shown(tables.live({**run, "venues": {"e": account | {"quote_uptime": None}}, "tick_to_order_us": {}}))
    assert "tick to order" not in out
    assert list(tables.rows({"a": {"b": {"c": None}}, "d": [{"e": 1.5}], "f": {}})) == [
        ("a.b.c", "-"), ("d.0.e", "1.5"), ("f", "{}"),
    ]  # fmt: skip


def test_the_first_run_says_that_it_compiles_and_the_next_does_not(tmp_path, monkeypatch):
    monkeypatch.setattr("numba.config.CACHE_DIR", str(tmp_path))
    monkeypatch.setattr("numba.config.DISABLE_JIT", 0)
    said = []
    with pytest.raises(ValueError, match="boom"), first_run(SIMULATION, said.append):
        raise ValueError("boom")
    for _ in range(2):
        with first_run(SIMULATION, said.append):
            pass
    assert said == [NOTE, NOTE]  # a run that failed does not count
