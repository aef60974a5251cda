"""What a person sees while a sweep runs: a bar on a terminal, a line every ten seconds elsewhere. To stderr."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bar

from tune.rows import OK

LINE_EVERY_S: Final = 10.0
OnProgress = Callable[[dict[str, Any]], None]


class Progress:
    """Counts finished trials and shows rate, ETA, failures and the best so far.

    ``on_progress`` gets the state after every trial (keys ``done, total, failed, rate, eta_s, best``) and every note
    (key ``note``); with it nothing is drawn.
    """

    def __init__(self, metric: str, mode: str, on_progress: OnProgress | None = None) -> None:
        self.metric = metric
        self._sign = 1.0 if mode == "max" else -1.0
        self._on_progress = on_progress
        self.console = Console(file=sys.stderr, highlight=False)
        self._bar: Bar | None = None
        self.total = self.done = self.failed = self._here = 0
        self.best: float | None = None
        self._began = self._line = time.monotonic()

    def note(self, text: str) -> None:
        """Something that happened, apart from a trial."""
        if self._on_progress:
            self._on_progress({"note": text})
        else:
            self.console.print(text, markup=False, soft_wrap=True)

    def start(self, total: int, rows: list[dict[str, Any]]) -> None:
        """Begin with ``rows`` already there."""
        self.total, self.done = total, len(rows)
        for row in rows:
            self._count(row["status"], row["metrics"].get(self.metric))
        self._began = self._line = time.monotonic()
        if self.console.is_terminal and not self._on_progress:
            self._bar = Bar(
                BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}", markup=False), console=self.console
            )
            self._bar.add_task("starting", total=total, completed=self.done)
            self._bar.start()

    def update(self, status: str, value: Any) -> None:
        """One more trial finished with ``value`` of the metric."""
        self.done += 1
        self._here += 1
        self._count(status, value)
        now = time.monotonic()
        if self._on_progress:
            self._on_progress(self.state(now))
        elif self._bar:
            self._bar.update(self._bar.task_ids[0], completed=self.done, description=self.text(now))
        elif now - self._line >= LINE_EVERY_S or self.done == self.total:
            self._line = now
            self.note(f"{self.done}/{self.total} {self.text(now)}")

    def state(self, now: float) -> dict[str, Any]:
        rate = self._here / max(now - self._began, 1e-9)
        return {
            "done": self.done,
            "total": self.total,
            "failed": self.failed,
            "rate": rate,
            "eta_s": (self.total - self.done) / rate if rate else None,
            "best": self.best,
        }

    def text(self, now: float) -> str:
        s = self.state(now)
        eta = "?" if s["eta_s"] is None else f"{s['eta_s']:.0f} s"
        best = "" if self.best is None else f", best {self.metric} {self.best:.6g}"
        return f"trials, {s['rate']:.1f}/s, {eta} left, {self.failed} failed{best}"

    def close(self) -> None:
        if self._bar:
            self._bar.stop()
            self._bar = None

    def _count(self, status: str, value: Any) -> None:
        if status != OK:
            self.failed += 1
        elif isinstance(value, (int, float)) and math.isfinite(value):
            better = max if self._sign > 0 else min
            self.best = float(value) if self.best is None else better(self.best, float(value))
