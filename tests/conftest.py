"""What every test gets: Hypothesis profiles, skips that say why, and no Ray unless the test is marked for it."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest
from hypothesis import Phase, settings

from tests.reference.plain import PLAIN

ROOT = Path(__file__).resolve().parents[1]
DATA_DIR = Path(os.environ.get("MM_DATA_DIR") or ROOT / ".." / "shared" / "data").resolve()

# Shrinking takes minutes and swallows pytest's timeout: in CI a failure is reported as found.
PHASES = [phase for phase in Phase if phase is not Phase.shrink or not os.environ.get("CI")]

settings.register_profile("default", deadline=None, derandomize=True, print_blob=True, phases=PHASES)
settings.register_profile("plain", parent=settings.get_profile("default"), max_examples=10)  # kernels 100 times slower
settings.register_profile("search", deadline=None, max_examples=2000)  # --hypothesis-profile=search: look for new ones
settings.load_profile("plain" if PLAIN else "default")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    skips = []
    if not DATA_DIR.is_dir():
        skips.append(("real_data", pytest.mark.skip(reason=f"no recorded data at {DATA_DIR}: set MM_DATA_DIR")))
    if shutil.which("nvidia-smi") is None:
        skips.append(("gpu", pytest.mark.skip(reason="no NVIDIA GPU on this machine")))
    for item in items:
        for marker, skip in skips:
            if item.get_closest_marker(marker):
                item.add_marker(skip)


@pytest.fixture(scope="session")
def real_data_dir() -> Path:
    """Folder of the recorded data; the test that asks for it is marked ``real_data``."""
    return DATA_DIR


@pytest.fixture(autouse=True)
def no_ray(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test without the mark ``ray`` or ``e2e`` that starts Ray is a design error: the core never needs it."""
    if any(request.node.get_closest_marker(name) for name in ("ray", "e2e")):
        return
    if "ray" in sys.modules:

        def refuse(*_args: object, **_kwargs: object) -> None:
            pytest.fail("this test starts Ray: mark it `ray`, or use the pure object below the actor")

        monkeypatch.setattr(sys.modules["ray"], "init", refuse)
