"""The lock is one environment: every library that matters imports in one process, the two rivals included."""

from __future__ import annotations

import importlib
import importlib.metadata
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOGETHER = [
    "aiohttp_socks", "ccxt", "ccxt.pro", "fastapi", "matplotlib", "msgspec", "numba", "numpy", "optuna", "orjson",
    "pandas", "paradex_py", "plotly", "polars", "google.protobuf", "psutil", "pyarrow", "pyarrow.parquet", "pydantic",
    "pytest", "ray", "ray.tune", "rich", "scipy", "sklearn", "starknet_crypto_py", "typer", "uvicorn", "uvloop",
    "xgboost", "xgboost_ray", "yaml", "zmq",
]  # fmt: skip


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(name: str) -> dict[str, str]:
    lines = (ROOT / name).read_text().splitlines()
    return dict(line.split("==") for line in lines if "==" in line and not line.startswith("#"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # other people's deprecations are not what this test is about
def test_everything_imports_together() -> None:
    for name in TOGETHER:
        importlib.import_module(name)
    # apexomni asks for sympy 1.6, whose igcdex later moved; the lock carries the sympy that paradex-py needs.
    numbers, intfunc = importlib.import_module("sympy.core.numbers"), importlib.import_module("sympy.core.intfunc")
    numbers.igcdex = intfunc.igcdex
    sign = importlib.import_module("apexomni.http_private_sign")
    assert sign.HttpPrivateSign


def test_the_lock_covers_every_declared_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    runtime, tools = pins("requirements.lock"), pins("requirements-dev.lock")
    head = re.compile(r"[A-Za-z0-9._-]+")
    named = lambda requirements: {canonical(head.match(r)[0]) for r in requirements}  # noqa: E731
    assert named([*project["dependencies"], *extras["apex"], *extras["paradex"]]) <= runtime.keys()
    assert named(extras["dev"]) <= runtime.keys() | tools.keys()
    assert not runtime.keys() & tools.keys()


def test_what_the_locked_packages_require_is_in_the_lock() -> None:
    """``--no-deps`` checks nothing, so this does: no requirement is left out, and only apexomni's are overridden."""
    requirements = pytest.importorskip("packaging.requirements")
    locked = pins("requirements.lock") | pins("requirements-dev.lock") | {"starknet-crypto-py": "0.2.0"}
    missing, broken = [], set()
    for project in locked:
        for line in importlib.metadata.requires(project) or []:
            need = requirements.Requirement(line)
            if need.marker and not need.marker.evaluate({"extra": ""}):
                continue
            version = locked.get(canonical(need.name))
            if version is None:
                missing.append(f"{project} needs {line}")
            elif not need.specifier.contains(version, prereleases=True):
                broken.add(project)
    assert missing == []
    assert broken == {"apexomni"}


def test_the_installed_versions_are_the_locked_ones() -> None:
    locked = pins("requirements.lock")
    names = ("ray", "xgboost", "xgboost-ray", "numpy", "numba", "pyarrow", "ccxt", "apexomni", "paradex-py", "pydantic")
    assert {name: importlib.metadata.version(name) for name in names} == {name: locked[name] for name in names}
