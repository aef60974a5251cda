"""The numbered cases. Each is one small async function of a ``Rig``; the text of its docstring says what must hold.

A case fails by an exception, ends as not applicable by ``NotApplicable`` and passes otherwise. Numbers are stable:
docs/venues.md and test ids use them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.contract.conformance.rig import Rig

Run = Callable[[Rig], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Case:
    """One numbered case."""

    number: int
    title: str
    run: Run

    @property
    def id(self) -> str:
        """For test names: ``07-trades``."""
        return f"{self.number:02d}-{self.title.replace(' ', '-')}"


_cases: dict[int, Case] = {}


def case(number: int, title: str) -> Callable[[Run], Run]:
    """Register a case."""

    def register(run: Run) -> Run:
        assert number not in _cases, f"case {number} exists"
        _cases[number] = Case(number, title, run)
        return run

    return register


def all_cases() -> list[Case]:
    """Every case, by number."""
    from tests.contract.conformance import (  # noqa: F401  they register themselves
        cases_account,
        cases_chaos,
        cases_faults,
        cases_market,
        cases_orders,
        cases_races,
    )

    return [_cases[number] for number in sorted(_cases)]
