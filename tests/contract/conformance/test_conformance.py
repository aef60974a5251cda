"""Every venue through every numbered case, over real sockets, with the venue's own library."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.contract.conformance.cases import Case, all_cases
from tests.contract.conformance.matrix import run_case, venues
from tests.contract.conformance.rig import NotApplicable, Rig

pytestmark = pytest.mark.slow  # real time: clients, sockets and an exchange, which plain Python would not make clearer


class Bench:
    """One exchange and its event loop for all cases of a venue."""

    def __init__(self, venue: str) -> None:
        self.runner = asyncio.Runner()
        self.rig = Rig(venue)
        self.runner.run(self.rig.start())

    def close(self) -> None:
        self.runner.run(self.rig.stop())
        self.runner.close()


@pytest.fixture(scope="module", params=venues())
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    bench = Bench(request.param)
    yield bench
    bench.close()


@pytest.mark.parametrize("case", all_cases(), ids=lambda case: case.id)
def test_case(bench: Bench, case: Case, record_property: pytest.RecordProperty) -> None:
    try:
        bench.runner.run(run_case(bench.rig, case))
    except NotApplicable as exc:  # the venue said no, in so many words: shown in docs/venues.md
        record_property("not applicable", str(exc))
