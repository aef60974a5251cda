"""``python -m tests.golden FILE.json [--kind KIND ...]``."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from tests.golden.kinds import KINDS
from tests.golden.outcome import first_failure


def run_case(kind: str, case: dict[str, Any]) -> str | None:
    """None when the case passes, else why not: the first differing field, or what the project's function raised."""
    if kind not in KINDS:
        return "unknown kind"
    try:
        return first_failure(KINDS[kind](case["inputs"]), case["outputs"], case.get("tol", {}))
    except Exception as exc:  # noqa: BLE001 - whatever a mapping raises is that case's failure
        return f"{type(exc).__name__}: {exc}"


def run(golden: dict[str, Any], kinds: list[str]) -> tuple[int, int]:
    """Evaluate and print; (passed, failed)."""
    passed = failed = 0
    for kind in kinds:
        cases = golden.get(kind, {}).get("cases")
        if cases is None:
            print(f"{kind} 0/0\n  {kind}: not in this file")
            failed += 1
            continue
        reasons = [(case.get("id", "?"), run_case(kind, case)) for case in cases]
        bad = [(name, reason) for name, reason in reasons if reason is not None]
        print(f"{kind} {len(cases) - len(bad)}/{len(cases)}")
        for name, reason in bad:
            print(f"  {name}: {reason}")
        passed += len(cases) - len(bad)
        failed += len(bad)
    return passed, failed


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.golden", description="Evaluate golden cases.")
    parser.add_argument("path", type=Path, help="a golden JSON file")
    parser.add_argument("--kind", nargs="+", action="extend", metavar="KIND", help="only these kinds")
    options = parser.parse_args(argv)
    try:
        golden = json.loads(options.path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        parser.error(f"{options.path}: not a golden file: {exc}")
    if not isinstance(golden, dict):
        parser.error(f"{options.path}: not a golden file: expected kinds, got {type(golden).__name__}")
    passed, failed = run(golden, options.kind or list(golden))
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
