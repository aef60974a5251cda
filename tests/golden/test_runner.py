"""The golden runner on a small sample of our own, on the shared file where it is, and on files that must fail."""

import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.golden.__main__ import main, run_case
from tests.golden.kinds import KINDS
from tests.golden.outcome import Outcome, Sampled, first_failure

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = Path(__file__).with_name("cases.json")
SHARED = Path(os.environ.get("MM_DATA_DIR", ROOT.parent / "shared" / "data")).parent / "golden" / "golden.json"
MONTE_CARLO = ("as_simulation_exact", "policy_simulation_exact")

CASES = json.loads(SAMPLE.read_text(encoding="utf-8"))
FLAT = [
    pytest.param(kind, case, id=f"{kind}-{case['id']}", marks=[pytest.mark.slow] if kind in MONTE_CARLO else [])
    for kind, entry in CASES.items()
    for case in entry["cases"]
]


@pytest.mark.parametrize(("kind", "case"), FLAT)
def test_case(kind, case):
    assert run_case(kind, case) is None


def test_the_sample_covers_what_is_built():
    assert set(KINDS) - set(CASES) <= {"as_vs_glft", "liq_linear", "liq_inverse", "intensity_estimators_mc"}


@pytest.mark.slow
@pytest.mark.real_data
@pytest.mark.skipif(not SHARED.exists(), reason="the shared golden file is not here")
def test_shared_file():
    golden = json.loads(SHARED.read_text(encoding="utf-8"))
    assert set(golden) == set(KINDS)
    command = [sys.executable, "-m", "tests.golden", str(SHARED), "--kind", *KINDS]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].endswith(" passed, 0 failed")


def test_report_and_exit_code(tmp_path, capsys):
    kind = {"cases": CASES["pnl_linear"]["cases"]}
    good = tmp_path / "good.json"
    good.write_text(json.dumps({"pnl_linear": kind}))
    assert main([str(good)]) == 0
    assert capsys.readouterr().out.splitlines() == ["pnl_linear 1/1", "1 passed, 0 failed"]

    broken = copy.deepcopy(kind)
    broken["cases"][0]["outputs"]["net"] += 1e-6
    bad = tmp_path / "bad.json"
    bad.write_text(json.dumps({"pnl_linear": broken, "astrology": kind, "funding": {"cases": [{}]}}))
    assert main([str(bad)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "pnl_linear 0/1"
    assert lines[1].startswith("  own.0: net: expected ")
    assert "  own.0: unknown kind" in lines
    assert "  ?: KeyError: 'inputs'" in lines
    assert lines[-1] == "0 passed, 3 failed"

    assert main([str(good), "--kind", "pnl_linear", "as_quotes"]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "1 passed, 1 failed"


@pytest.mark.parametrize(
    ("got", "want", "field"),
    [
        ({"a": None}, {"a": 0.0}, "a"),
        ({"a": float("nan")}, {"a": None}, None),
        ({"a": 0.0}, {"a": None}, "a"),
        ({"a": True}, {"a": 1}, "a"),
        ({"a": [1.0, 2.0]}, {"a": [1.0]}, "a"),
        ({"a": [1.0, {"b": 2.0}]}, {"a": [1.0, {"b": 2.1}]}, "a[1].b"),
        ({"a": {"b": 1}}, {"a": {"c": 1}}, "a"),
        ({}, {"a": 1}, "a"),
        ({"a": "x"}, {"a": "y"}, "a"),
        ({"a": 1.0 + 5e-10}, {"a": 1.0}, None),
        ({"a": 1.0 + 5e-9}, {"a": 1.0}, "a"),
    ],
)
def test_comparison(got, want, field):
    failure = first_failure(Outcome(got), want, {"rel": 1e-9, "abs": 1e-12})
    assert failure is None if field is None else failure.startswith(f"{field}:")


def test_monte_carlo_is_held_to_its_standard_error():
    want = {"mean": 1.0, "std": 2.0}
    for value, ok in ((1.07, True), (1.09, False)):  # four errors are 4·2/√10000 = 0.08
        outcome = Outcome(want, {"mean": Sampled(value, 99.0, 10_000, "std")})
        assert (first_failure(outcome, want, {"mc_sigma": 4}) is None) == ok
    assert first_failure(Outcome(want, {"mean": Sampled(1.09, 3.0, 10_000)}), want, {}) is None


@pytest.mark.parametrize("text", [None, "{", "[]", b"\xff"])
def test_what_is_no_golden_file_is_a_usage_error(tmp_path, capsys, text):
    path = tmp_path / "g.json"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SystemExit) as caught:
        main([str(path)])
    assert caught.value.code == 2
    assert "g.json: not a golden file: " in capsys.readouterr().err
