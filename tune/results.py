"""The results of a sweep: its folder, its table, its hash, and what ``from tune import load`` gives."""

from __future__ import annotations

import io
import json
import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from mm.errors import ConfigError
from tune.rows import OK, Row, read_rows, write_atomic
from tune.seeds import digest

CONFIG: Final = "config.yaml"
TABLE: Final = "trials.parquet"
SUMMARY: Final = "summary.json"
ROWS: Final = "rows"
TUNE: Final = "tune"  # Ray Tune's own folder, one part per run or resume


def find(experiment: str | Path, root: str | Path = "results") -> Path:
    """Folder of an experiment given by path or by name; raises ``ConfigError`` that lists what there is."""
    for path in (Path(experiment), Path(root) / experiment):
        if (path / CONFIG).is_file():
            return path.resolve()
    there = sorted((p.parent for p in Path(root).glob(f"*/{CONFIG}")), key=lambda p: p.stat().st_mtime, reverse=True)
    hint = f"; latest: {', '.join(p.name for p in there[:5])}" if there else f"; {root}/ holds none yet"
    raise ConfigError(f"{experiment}: no experiment there{hint}")


@dataclass(frozen=True)
class SweepResult:
    """A sweep on disk, finished or not. Everything is read when it is first asked for."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @cached_property
    def rows(self) -> list[Row]:
        """Finished trials in the order of their index."""
        return read_rows(self.path / ROWS)

    @cached_property
    def df(self) -> Any:
        """One line per configuration (pandas): index, hashes, status, the axes by dotted key, the metrics, times."""
        return to_frame(self.rows)

    @cached_property
    def summary(self) -> dict[str, Any]:
        """The JSON object of the run with its environment; empty before the first run has ended."""
        file = self.path / SUMMARY
        return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else {}

    @cached_property
    def result_grid(self) -> Any:
        """Ray Tune's ``ResultGrid`` over the trials of every part of the experiment (a resume adds one)."""
        from tune.grid import restore_grid

        return restore_grid(self.path, self.rows)


def load(experiment: str | Path, root: str | Path = "results") -> SweepResult:
    """Open the results of an experiment, by path or by name.

    Raises:
        ConfigError: there is no such experiment.
    """
    return SweepResult(find(experiment, root))


def cell(value: Any) -> Any:
    """A table cell of an axis value: scalars as they are, the rest as JSON."""
    return value if value is None or isinstance(value, (bool, int, float, str)) else json.dumps(value, sort_keys=True)


def to_frame(rows: list[Row]) -> Any:
    """Rows as a pandas DataFrame, one column per axis and metric."""
    import pandas as pd

    params = list(dict.fromkeys(k for row in rows for k in row["params"]))
    metrics = list(dict.fromkeys(k for row in rows for k in row["metrics"]))
    head = ("index", "config_hash", "status", "error", "seed")
    tail = ("result_hash", "started_ns", "sim_s", "total_s", "worker")
    data: dict[str, list[Any]] = {k: [row[k] for row in rows] for k in head}
    for k in params:
        values = [cell(row["params"].get(k)) for row in rows]
        mixed = len({isinstance(v, str) for v in values if v is not None}) > 1
        data[k] = [v if v is None or not mixed else str(v) for v in values]
    for k in metrics:
        data[k] = [row["metrics"].get(k) for row in rows]
    return pd.DataFrame(data | {k: [row[k] for row in rows] for k in tail})


def write_table(path: Path) -> list[Row]:
    """Compact the rows below ``path`` into its ``trials.parquet``; returns them."""
    rows = read_rows(path / ROWS)
    if rows:
        buffer = io.BytesIO()
        to_frame(rows).to_parquet(buffer, index=False)
        write_atomic(path / TABLE, buffer.getvalue())
    return rows


def table_hash(rows: list[Row]) -> str:
    """Hash of what was computed, without times and workers: equal for any number of workers and after a resume."""
    keys = ("index", "config_hash", "seed", "status", "result_hash", "metrics")
    return digest([[row[k] for k in keys] for row in sorted(rows, key=lambda r: r["index"])])


def best_row(rows: list[Row], metric: str, mode: str) -> Row | None:
    """The row with the best finite value of the metric; of equal ones the first."""
    sign = 1.0 if mode == "max" else -1.0
    known = [r for r in rows if r["status"] == OK and _number(r["metrics"].get(metric))]
    return max(known, key=lambda r: (sign * r["metrics"][metric], -r["index"]), default=None)


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
