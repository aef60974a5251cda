"""The shipped comparisons on recorded and synthetic order books, as docs/compare.md shows them.

    python -m benchmarks.compare [--data DIR] [--write] [--json]

DIR holds the recorded files (default MM_DATA_DIR). ``--write`` replaces what is between the marks of docs/compare.md,
and its picture. Minutes of one market and hours of an invented one: an example of what the command says, no finding.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from benchmarks.common import ROOT, cache_dir
from benchmarks.profiles import store
from mm.config.arms import arms_of
from mm.config.load import load_raw
from mm.errors import ConfigError
from mm.report.compare import money, render, run
from mm.report.venue_tables import table
from mm.sim.compare import Terms

PAGE: Final = ROOT / "docs" / "compare.md"
PICTURE: Final = ROOT / "docs" / "img" / "compare.png"
SHOWN: Final = ("legacy", "perp")  # in full
BEGIN, END = "<!-- output: python -m benchmarks.compare --write -->", "<!-- end of output -->"


def cases() -> list[tuple[str, str]]:
    """(file of configs/compare, tape): every file on every tape it can run on."""
    files = sorted(path.stem for path in (ROOT / "configs" / "compare").glob("*.yaml"))
    return [(name, tape) for name in files for tape in (("perp",) if name == "cross_venue" else ("synth", "perp"))]


def run_case(name: str, tape: str, data: Path, out: Path) -> dict[str, Any]:
    """One comparison; raises ``DataError`` when the recorded files are not there."""
    sets = []
    if tape == "perp":
        sets.append(f"data.source={json.dumps(str(store('usdm', data, cache_dir())))}")
    if name == "cross_venue":
        sets.append(f"data.other={json.dumps(str(store('spot', data, cache_dir())))}")
    arms = arms_of([load_raw(ROOT / "configs" / "compare" / f"{name}.yaml", sets)])
    return run(arms, [], out, Terms(seed=arms[0].config.seed)) | {"file": name, "tape": tape}


def markdown(found: list[dict[str, Any]]) -> str:
    """One line a comparison of two arms."""
    head = ("file", "tape", "arms", "fills", "difference [$/h]", "interval [$/h]", "could find [$/h]", "verdict")
    rows = []
    for case in found:
        fills = {arm["name"]: arm["fills"] for arm in case["arms"]}
        for pair in case["pairs"]:
            known = pair["low"] is not None
            rows.append((
                f"[{case['file']}](../configs/compare/{case['file']}.yaml)", case["tape"],
                f"{pair['b']} - {pair['a']}", f"{fills[pair['b']]:,} / {fills[pair['a']]:,}",
                money(pair["usd_per_hour"]), f"{money(pair['low'])} to {money(pair['high'])}" if known else "-",
                f"{pair['mde_usd_per_hour']:,.3g}" if known else "-", _word(pair),
            ))  # fmt: skip
    return table(head, rows)


def _word(pair: dict[str, Any]) -> str:
    if pair["identical"]:
        return "the same fills"
    if pair["low"] is None:
        return "too little data"
    return ("more" if pair["usd_per_hour"] > 0.0 else "less") if pair["detected"] else "no difference detectable"


def console(case: dict[str, Any]) -> str:
    """What the command prints."""
    text = io.StringIO()
    Console(file=text, width=100, no_color=True).print(render(case | {"path": f"results/{Path(case['path']).name}"}))
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())


def write(found: list[dict[str, Any]]) -> None:
    """Put the outputs into the page; raises ``ConfigError`` when a mark is missing."""
    (full,) = [case for case in found if (case["file"], case["tape"]) == SHOWN]
    page = PAGE.read_text(encoding="utf-8")
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ConfigError(f"{PAGE}: needs the lines {BEGIN!r} and {END!r}")
    body = f"```text\n{console(full)}\n```\n\n![Profit of the arms, differences, intervals](img/compare.png)\n\n"
    PAGE.write_text(f"{before}{BEGIN}\n{body}{markdown(found)}\n{END}{after}", encoding="utf-8")
    shutil.copy(Path(full["path"]) / "compare.png", PICTURE)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Path(os.environ.get("MM_DATA_DIR") or ROOT.parent / "shared" / "data")
    parser.add_argument("--data", type=Path, default=default, help="folder of the recorded files")
    parser.add_argument("--write", action="store_true", help="put the outputs into docs/compare.md")
    parser.add_argument("--json", action="store_true", help="print one JSON list as the last line")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as out:
        found = [run_case(name, tape, args.data, Path(out)) for name, tape in cases()]
        print(markdown(found))
        if args.write:
            write(found)
    if args.json:
        print(json.dumps(found))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
