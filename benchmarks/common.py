"""What every benchmark shares: data, timing, and the one JSON object that it prints.

A benchmark is ``python -m benchmarks.NAME [--json] [--data DIR]``. Ratios compare times taken minutes apart on the same
machine; absolute times do not travel. The machine is shared, so a figure is the best of several runs.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numba
import numpy as np

from mm.config.schema import DataConfig
from mm.errors import ConfigError
from mm.sim.tape import Tape, open_tape

ROOT = Path(__file__).resolve().parents[1]
TAPE = "binance/usdm_btcusdt_20240808.gz"


@dataclass(slots=True)
class Report:
    """The outcome of one benchmark: cases with figures, checks that are true or false."""

    name: str
    data: str = ""
    cases: dict[str, dict[str, Any]] = field(default_factory=dict)
    checks: dict[str, bool] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)

    def case(
        self, name: str, ours: float, peer: float | None = None, unit: str = "", *, higher_is_better: bool = False
    ) -> float | None:
        """Add a case; returns its ratio, above 1 when ours is better, None without a peer."""
        ratio = None
        if peer is not None:
            above, below = (ours, peer) if higher_is_better else (peer, ours)
            ratio = above / below if below else None
        self.cases[name] = {
            "ours": _short(ours),
            "peer": None if peer is None else _short(peer),
            "ratio": None if ratio is None else _short(ratio),
            "unit": unit,
        }
        return ratio

    def check(self, name: str, passed: bool) -> None:
        self.checks[name] = bool(passed)

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "machine": machine(),
            "data": self.data,
            "cases": self.cases,
            "checks": self.checks,
            "notes": self.notes,
        }

    def print(self, *, as_json: bool) -> None:
        """A table to read, and with ``as_json`` one JSON object as the last line."""
        print(f"{self.name} on {self.data}\n{machine()}\n")
        print(f"{'case':44} {'ours':>12} {'peer':>12} {'ratio':>8}  unit")
        for name, c in self.cases.items():
            peer, ratio = (f"{c[k]:,.4g}" if c[k] is not None else "-" for k in ("peer", "ratio"))
            print(f"{name:44} {c['ours']:12,.4g} {peer:>12} {ratio:>8}  {c['unit']}")
        for name, passed in self.checks.items():
            print(f"{'ok    ' if passed else 'FAILED'}  {name}")
        if as_json:
            print(json.dumps(self.to_dict()))
        sys.stdout.flush()


def _short(x: float) -> float:
    """Six significant digits: more would be noise."""
    return float(f"{x:.6g}")


def machine() -> str:
    """The processor and the versions that decide how fast the kernels are."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    versions = f"Python {platform.python_version()}, numpy {np.__version__}, numba {numba.__version__}"
    return f"{model}, {os.cpu_count()} CPUs, {platform.system()}, {versions}"


def best_s(run: Callable[[], object], *, repeats: int = 7, clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds of the fastest of ``repeats`` runs: what the code takes when nobody disturbs it."""
    best = float("inf")
    for _ in range(repeats):
        start = clock()
        run()
        best = min(best, clock() - start)
    return best


def interleaved_best_s(runs: dict[str, Callable[[], object]], *, repeats: int = 7) -> dict[str, float]:
    """``best_s`` of several runs taken in turn, so that a slow minute of the machine hits all of them."""
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(repeats):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            best[name] = min(best[name], time.perf_counter() - start)
    return best


def cache_dir() -> Path:
    """Where benchmarks keep imported tapes and the peer's environment."""
    path = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "raymaker" / "benchmarks"
    path.mkdir(parents=True, exist_ok=True)
    return path


def raw_tape(name: str = TAPE) -> Path | None:
    """A recorded tape in the collector's format (``MM_DATA_DIR``), None when it is not on this machine."""
    path = Path(os.environ.get("MM_DATA_DIR") or ROOT.parent / "shared" / "data") / name
    return path if path.exists() else None


def imported(raw: Path, market: str = "usdm") -> Path:
    """The store of a recorded tape, imported once."""
    path = cache_dir() / f"{raw.stem}-{raw.stat().st_size}"
    if not path.exists():
        from mm.data.importers.binance import Options, import_binance

        import_binance([raw], path, Options(market=market))
    return path


def replace_part(page: Path, begin: str, end: str, body: str) -> None:
    """Put ``body`` between two lines of a page; raises ``ConfigError`` when one of them is missing."""
    before, found, rest = page.read_text(encoding="utf-8").partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ConfigError(f"{page}: needs the lines {begin!r} and {end!r}")
    page.write_text(f"{before}{begin}\n{body}\n{end}{after}", encoding="utf-8")


def arguments(description: str | None, add: Callable[[argparse.ArgumentParser], None] | None = None) -> Any:
    """The command line of a benchmark."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    parser.add_argument("--data", type=Path, help="store to run on (default: the recorded tape, else a synthetic one)")
    if add:
        add(parser)
    return parser.parse_args()


def open_data(store: Path | None) -> tuple[Tape, str]:
    """The tape to run on and what to call it: ``store``, the recorded one (imported once) or 345 synthetic seconds."""
    if store is not None:
        return open_tape(DataConfig(source=str(store))), f"store {store.name}"
    raw = raw_tape()
    if raw is None:
        return open_tape(
            DataConfig(source="synth", duration="345s", seed=1)
        ), "synthetic, 345 s (no recorded data here)"
    return open_tape(DataConfig(source=str(imported(raw)))), f"recorded {raw.name}"
