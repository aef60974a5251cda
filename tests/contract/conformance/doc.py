"""docs/venues.md: what each venue offers, which cases it passes, what was measured. Generated, never edited."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from mm.report.venue_tables import table
from mm.sandbox.faces import local_keys
from mm.venues.base import Caps
from mm.venues.registry import get_venue
from mm.venues.specs import SPECS
from tests.contract.conformance.cases import all_cases
from tests.contract.conformance.matrix import listed

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "venues.md"

Results = dict[str, dict[str, dict[str, Any]]]  # venue, case id, what ``matrix.Result`` holds

_HEAD = """\
# Venues

Generated: `python -m tests.contract.conformance --write`. A venue is listed here when every case below was run on it \
and none failed; the same cases run in CI. `native` is the local exchange's own protocol; every other venue is reached \
by its real client library, and its wire is spoken by a face of the local exchange (`mm/sandbox/faces`). Nothing here \
was measured on a real venue. Fees, ticks and margins: [fees.md](fees.md).
"""
_MEASURED = """\
`python -m benchmarks.venues`: the exchange is a process of its own; round trips count from the call to the decoded \
report, library and codec inside; a reconnect from the fault to a whole book or a logged-in client; memory is of a \
process with one client (none: without).
"""
_CAPS_HEAD = (
    "venue", "contract", "batch", "amend", "dead man", "leverage", "funding", "a post-only order that would cross",
    "credentials",
)  # fmt: skip


def caps_of(venue: str) -> Caps:
    """What a venue's client says it can do."""
    where = {"network": "local", "rest_url": "http://127.0.0.1:1", "ws_url": "ws://127.0.0.1:1"}
    options = {"port": 1, "token": "x" * 8} if venue == "native" else where | local_keys(venue, "token-for-docs")
    return get_venue(venue).make_trading(options).caps


def support(venues: Iterable[str]) -> str:
    """The support table, from ``Caps``, the static specs and the registry."""
    rows = []
    for name in venues:
        caps, spec = caps_of(name), SPECS.get(name)
        dead_man = "no"
        if caps.dead_man_s is not None:
            dead_man = f"{caps.dead_man_s[0]:g} to {caps.dead_man_s[1]:g} s"
        if caps.dead_man_on_disconnect:
            dead_man = "when the private connection is gone" + (f", {dead_man}" if caps.dead_man_s else "")
        rows.append((
            name, spec.kind if spec else "linear", f"up to {caps.batch}" if caps.batch else "no", _yes(caps.amend),
            dead_man, _yes(caps.leverage), _yes(caps.funding),
            "refused in the answer" if caps.post_only_sync else "its end is told later",
            _credentials(name),
        ))  # fmt: skip
    return table(_CAPS_HEAD, rows)


def cases_table(results: Results) -> str:
    """Venue by case."""
    names = list(results)
    rows = []
    for case in all_cases():
        doc = " ".join((case.run.__doc__ or "").split())
        outcomes = [results[name].get(case.id, {}).get("outcome", "not run") for name in names]
        rows.append((f"{case.number}", f"**{case.title}**: {doc}", *outcomes))
    return table(("case", "what must hold", *names), rows)


def reasons(results: Results) -> str:
    """Why a case does not apply."""
    lines = []
    for venue, cases in results.items():
        found: dict[str, list[str]] = {}
        for name, result in cases.items():
            if result["outcome"] == "n/a":
                found.setdefault(re.sub(r" \(.*\)", "", result["note"]), []).append(str(int(name[:2])))
        lines += [f"- {venue} {', '.join(numbers)}: {why}" for why, numbers in found.items()]
    return "\n".join(lines)


def figures(report: dict[str, Any]) -> str:
    """The measurements of ``benchmarks.venues``, one column a venue."""
    cases: dict[str, dict[str, str]] = {}
    venues: list[str] = []
    for name, case in report["cases"].items():
        venue, _, what = name.partition(" ")
        if venue not in venues:
            venues.append(venue)
        cases.setdefault(f"{what} [{case['unit']}]", {})[venue] = f"{case['ours']:,.3g}"
    rows = [(what, *(values.get(venue, "") for venue in venues)) for what, values in cases.items()]
    others = f"load average {report['notes'].get('load', 0):.1f}"
    return f"{report['machine']}, {others}; {report['data']}.\n\n" + table(("", *venues), rows)


def page(results: Results, report: dict[str, Any]) -> str:
    """The whole page; a venue that failed has no column in it."""
    good = {venue: results[venue] for venue in listed(results)}
    shown = {k: v for k, v in report["cases"].items() if k.partition(" ")[0] in good}
    parts = [
        _HEAD,
        "## What each offers\n",
        support(good),
        "\nWhat a venue does not offer its client refuses with `NotImplementedError`.\n",
        "## Conformance\n",
        cases_table(good),
        "\nDoes not apply (n/a):\n",
        reasons(good),
        "\n## Measured\n",
        _MEASURED,
        figures({**report, "cases": shown}),
    ]
    return "\n".join(parts) + "\n"


def write(results: Results) -> str:
    """Measure and write the page; returns what was done."""
    command = [sys.executable, "-m", "benchmarks.venues", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False, cwd=ROOT)
    if not done.stdout.strip().endswith("}"):
        raise RuntimeError(f"benchmarks.venues failed: {done.stderr[-2_000:]}")
    PAGE.write_text(page(results, msgspec.json.decode(done.stdout.strip().splitlines()[-1])), encoding="utf-8")
    return f"{PAGE.relative_to(ROOT)}: {', '.join(listed(results))}"


def _credentials(venue: str) -> str:
    found = get_venue(venue)
    return ", ".join(found.keys) or f"some of {', '.join(found.optional_keys)}"


def _yes(it: bool) -> str:
    return "yes" if it else "no"
