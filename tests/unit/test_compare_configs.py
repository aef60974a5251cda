"""The shipped comparisons: every file loads, and runs on a short tape."""

from pathlib import Path

import pytest

from mm.config.arms import arms_of
from mm.config.load import load_raw
from mm.data.synth import SynthSpec, write_synth
from mm.report.compare import run
from mm.sim.compare import Terms

pytestmark = pytest.mark.slow  # hopeless as plain Python

FILES = sorted((Path(__file__).parents[2] / "configs" / "compare").glob("*.yaml"))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write_synth(tmp_path_factory.mktemp("tape") / "s", SynthSpec(), 3, 30.0)


def test_there_are_some():
    assert {"models", "legacy", "sigma", "cross_venue", "overlays", "dynamic"} <= {path.stem for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_shipped_comparison_runs(path, store, tmp_path):
    raw = load_raw(path, [f"data.other={store.path}"] if path.stem == "cross_venue" else None)
    arms = arms_of([raw], str(store.path))
    assert len({arm.config.model_dump_json() for arm in arms}) == len(arms)  # no arm is another one in disguise
    found = run(arms, [str(store.path)], tmp_path, Terms(resamples=200))
    assert len(found["pairs"]) == len(arms) - 1
    assert (Path(found["path"]) / "compare.png").stat().st_size > 10_000
