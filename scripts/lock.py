"""Regenerate requirements.lock and requirements-dev.lock with plain pip.

    python scripts/lock.py              keep present pins where the dependencies of pyproject.toml still allow it
    python scripts/lock.py --upgrade    newest versions

Run it with the oldest supported Python (3.11) on Linux x86-64: that is what the locks are for. It downloads whatever
pip has not cached (gigabytes, minutes) and installs nothing.

No resolver can install apexomni beside paradex-py: both pin exact versions of the same packages. Those of apexomni
are too tight (the newer versions work, tests/unit/test_environment.py imports everything together), so its
requirements are replaced by ``APEX_OVERRIDES`` and the rest is left to pip's resolver. That is also why the locks are
installed with ``--no-deps``.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
DROP_IN = "./third_party/starknet-crypto-py"
APEX_OVERRIDES = {
    "dateparser": "dateparser>=1.0",
    "ecdsa": "ecdsa>=0.19",
    "mpmath": "mpmath>=1.3",
    "setuptools": "setuptools>=77",
    "sympy": "sympy>=1.14",
    "web3": "web3>=7",
}
HEADER = """\
# {what}
# Made by `python scripts/lock.py` on Python {python}, Linux x86-64. From the root of the repository:
#     python -m pip install --no-deps -r {name}
# --no-deps, because apexomni and paradex-py pin different versions of the same packages (see scripts/lock.py).
"""


def canonical(requirement: str) -> str:
    """Normalised project name (PEP 503) at the start of a requirement."""
    name = re.match(r"[A-Za-z0-9._-]+", requirement)
    if name is None:
        raise SystemExit(f"not a requirement: {requirement!r}")
    return re.sub(r"[-_.]+", "-", name[0]).lower()


def report(requirements: list[str], pins: dict[str, str], *, deps: bool = True) -> list[dict[str, Any]]:
    """What pip would install for ``requirements``: its installation report, one dictionary per distribution."""
    with tempfile.TemporaryDirectory() as folder:
        constraints, out = Path(folder, "constraints.txt"), Path(folder, "report.json")
        constraints.write_text("".join(f"{name}=={version}\n" for name, version in pins.items()))
        command = [
            sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed",
            "--report", str(out), "--constraint", str(constraints), *([] if deps else ["--no-deps"]), *requirements,
        ]  # fmt: skip
        subprocess.run(command, cwd=ROOT, check=True)
        return list(json.loads(out.read_text())["install"])


def versions(installs: list[dict[str, Any]]) -> dict[str, str]:
    """Project name -> version, without what comes from this repository."""
    found = {canonical(item["metadata"]["name"]): str(item["metadata"]["version"]) for item in installs}
    found.pop("starknet-crypto-py", None)
    return found


def read_pins(path: Path) -> dict[str, str]:
    """Pins of an existing lock, empty where there is none."""
    lines = path.read_text().splitlines() if path.exists() else []
    return dict(line.split("==") for line in lines if "==" in line)


def apex_requirements(apex: str, pins: dict[str, str]) -> tuple[dict[str, str], list[str]]:
    """The pin of apexomni, and its requirements with the overrides in place."""
    installs = report([apex], pins, deps=False)
    declared = [r for r in installs[0]["metadata"].get("requires_dist", []) if "extra ==" not in r]
    return versions(installs), [APEX_OVERRIDES.get(canonical(r), r) for r in declared]


def write(name: str, what: str, head: list[str], pins: dict[str, str]) -> None:
    """One lock file, sorted by name."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    lines = [*head, *(f"{project}=={version}" for project, version in sorted(pins.items()))]
    (ROOT / name).write_text(HEADER.format(what=what, python=python, name=name) + "\n".join(lines) + "\n")
    print(f"{name}: {len(pins)} pins")


def main() -> None:
    """Resolve the runtime first, then the developer tools on top of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--upgrade", action="store_true", help="ignore the present pins")
    upgrade = parser.parse_args().upgrade
    runtime_lock, dev_lock = ROOT / "requirements.lock", ROOT / "requirements-dev.lock"
    kept = {} if upgrade else read_pins(runtime_lock) | read_pins(dev_lock)

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    (apex,) = extras["apex"]
    apex_pin, apex_needs = apex_requirements(apex, kept)
    pytest = [r for r in extras["dev"] if canonical(r) == "pytest"]  # `raymaker` users check their install with it
    inputs = [*project["dependencies"], *extras["paradex"], *apex_needs, *pytest, DROP_IN]
    runtime = versions(report(inputs, kept)) | apex_pin
    write(runtime_lock.name, "Everything Raymaker runs on, apexomni and paradex-py included.", [DROP_IN], runtime)

    tools = versions(report(extras["dev"], kept | runtime))
    tools = {name: version for name, version in tools.items() if name not in runtime}
    write(dev_lock.name, "requirements.lock and what tests and checks need.", ["-r requirements.lock"], tools)


if __name__ == "__main__":
    main()
