"""The README runs: its commands parse, its Python blocks execute, its config errors are what the CLI says."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer

import cli
from mm.config import load_config
from mm.errors import ConfigError

README = Path(__file__).resolve().parents[2] / "README.md"


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


def commands():
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    lines = [line for full in lines for line in full.split("&&")]
    found = [line.split("cli.py", 1)[1].split("#")[0] for line in lines if "cli.py" in line]
    assert len(found) > 8
    return found


@pytest.mark.parametrize("line", commands())
def test_every_command_of_the_readme_parses(line):
    command = typer.main.get_command(cli.app)
    args = shlex.split(line)
    context = command.make_context("cli.py", args, resilient_parsing=False) if args[0].startswith("--") else None
    while args and not args[0].startswith("--") and hasattr(command, "commands"):
        command = command.commands[args.pop(0)]
    if context is None:
        assert command.make_context(command.name, args).params is not None


def test_the_config_errors_are_real(tmp_path):
    (example,) = [b for b in blocks("text") if "live.yaml:" in b]
    text = Path("configs/live.yaml").read_text(encoding="utf-8")
    bad = tmp_path / "live.yaml"
    bad.write_text(re.sub("order_size: .*", "order_size: 100", text.replace("kappa:", "kapa:", 1)), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_config(bad)
    shown = {re.sub(r"^configs/live.yaml:\d+: ", "", line) for line in example.strip().splitlines()}
    said = {re.sub(r"^.*live.yaml:\d+: ", "", line) for line in str(caught.value).splitlines()}
    assert shown == said


@pytest.mark.ray
@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_python_blocks_run(tmp_path):
    """As two scripts of a user's, outside the project's folder."""
    desk, search = blocks("python")
    root = README.parent
    (tmp_path / "configs").symlink_to(root / "configs")
    env = os.environ | {"PYTHONPATH": str(root), "RAYMAKER_HOME": str(tmp_path / "home")}
    command = [sys.executable, str(root / "cli.py"), "tune", "configs/grid.yaml", "--trials", "3", "--json"]
    out = subprocess.run(
        [*command, "--set", "data.duration=60s"], cwd=tmp_path, env=env, stdout=subprocess.PIPE, check=True
    )
    experiment = json.loads(out.stdout.splitlines()[-1])["experiment"]
    for code, expected in ((search.replace("EXPERIMENT", experiment), "pnl_usd"), (desk, "p50")):
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, stdout=subprocess.PIPE, check=True)
        assert expected in done.stdout.decode()
