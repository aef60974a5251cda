"""Venue by case: who is under test, one case run, the whole matrix with what it measured."""

from __future__ import annotations

import asyncio
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from mm.sandbox.faces import FACES
from mm.venues.registry import VENUES
from tests.contract.conformance.cases import Case, all_cases
from tests.contract.conformance.rig import NotApplicable, Rig

CASE_LIMIT_S = 30.0
# In the registry and not under test, with the reason.
EXEMPT: dict[str, str] = {}
GENERIC = ("ccxt:binanceusdm",)  # what the adapter for any exchange is shown on

Outcome = Literal["pass", "n/a", "fail"]


@dataclass(slots=True)
class Result:
    """One case on one venue. ``note``: why it does not apply, or how it failed."""

    outcome: Outcome
    note: str = ""
    wall_s: float = 0.0
    cpu_s: float = 0.0
    figures: dict[str, float] = field(default_factory=dict)


def venues() -> list[str]:
    """Venues with an adapter and a local exchange that speaks their wire, the native one first."""
    under_test = [name for name in (*VENUES, *GENERIC) if name not in EXEMPT and (name == "native" or name in FACES)]
    return sorted(under_test, key=lambda name: (name != "native", name))


async def run_case(rig: Rig, case: Case) -> None:
    """One case between ``begin`` and ``end``; clients must leave no task behind."""
    await rig.begin()
    try:
        async with asyncio.timeout(CASE_LIMIT_S):
            await case.run(rig)
    finally:
        await rig.end()


def run_venue(venue: str, cases: list[Case] | None = None) -> dict[str, Result]:
    """Every case on one venue; results by case id."""
    out: dict[str, Result] = {}
    with asyncio.Runner() as runner:
        rig = Rig(venue)
        runner.run(rig.start())
        for case in cases or all_cases():
            wall_s, cpu_s = time.perf_counter(), time.process_time()
            try:
                runner.run(run_case(rig, case))
                result = Result("pass")
            except NotApplicable as exc:
                result = Result("n/a", str(exc))
            except Exception as exc:  # noqa: BLE001  whatever it is, it is this case's failure
                result = Result("fail", _words(exc))
            result.wall_s, result.cpu_s = time.perf_counter() - wall_s, time.process_time() - cpu_s
            result.figures = rig.figures
            out[case.id] = result
        runner.run(rig.stop())
    return out


def _words(exc: BaseException) -> str:
    """What failed, and where in the case."""
    where = [f for f in traceback.extract_tb(exc.__traceback__) if Path(f.filename).name.startswith("cases_")]
    line = f"; {Path(where[-1].filename).name}:{where[-1].lineno}: {where[-1].line}" if where else ""
    return f"{type(exc).__name__}: {exc}{line}"


def listed(results: dict[str, dict[str, Any]]) -> list[str]:
    """Venues that may be called supported: every case there is was run, none failed."""
    ids = {case.id for case in all_cases()}
    return [
        venue
        for venue, cases in results.items()
        if ids == set(cases) and all(result["outcome"] in ("pass", "n/a") for result in cases.values())
    ]
