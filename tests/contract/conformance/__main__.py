"""``python -m tests.contract.conformance [--venue V ...] [--case N ...] [--json] [--write] [--record V]``."""

from __future__ import annotations

import argparse
import json
import sys

import msgspec

from tests.contract.conformance.cases import all_cases
from tests.contract.conformance.matrix import run_venue, venues
from tests.contract.conformance.recording import record


def main(argv: list[str] | None = None) -> int:
    """Run the matrix; 1 when a case failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.contract.conformance", description=__doc__)
    parser.add_argument("--venue", action="append", choices=venues(), help="only these venues")
    parser.add_argument("--case", action="append", type=int, help="only these cases, by number")
    parser.add_argument("--json", action="store_true", help="one JSON object at the end")
    parser.add_argument("--write", action="store_true", help="run everything, measure, and write docs/venues.md")
    parser.add_argument("--record", choices=venues(), help="write the golden frames of a venue instead")
    options = parser.parse_args(argv)
    if options.record:
        print(record(options.record).name)
        return 0
    if options.write and (options.venue or options.case):
        parser.error("--write is for all venues and cases")
    cases = [case for case in all_cases() if not options.case or case.number in options.case]
    results = {}
    for venue in options.venue or venues():
        results[venue] = {name: msgspec.to_builtins(result) for name, result in run_venue(venue, cases).items()}
        for name, result in results[venue].items():
            words = f" ({result['note']})" if result["note"] else ""
            print(f"{venue:12} {name:52} {result['outcome']:4} {result['wall_s']:6.2f} s{words}", flush=True)
    outcomes = [result["outcome"] for of_venue in results.values() for result in of_venue.values()]
    print(", ".join(f"{outcomes.count(outcome)} {outcome}" for outcome in ("pass", "n/a", "fail")))
    if options.write:
        from tests.contract.conformance.doc import write

        print(write(results))
    if options.json:
        print(json.dumps(results))
    return 1 if "fail" in outcomes else 0


if __name__ == "__main__":
    sys.exit(main())
