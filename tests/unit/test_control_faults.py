"""Every trigger has an action and a recovery, and says its name; the table in the docs is what happens here."""

import pytest

from mm.strategy.controls.names import ACTS
from tests.reference.control_faults import DOCS, FAULTS, play, rendered


@pytest.mark.parametrize("f", FAULTS, ids=lambda f: f.run.__name__)
def test_a_fault(f):
    (before, _), (during, acts), (after, calm) = play(f)
    assert f.reason in acts
    assert f.reason not in calm
    assert f.holds(before, during, after), (before, during, after)
    if during.bid_lots == 0 or during.ask_lots == 0:
        assert during.reason in (f.reason, "inventory_limit")


def test_every_control_is_provoked():
    assert {f.reason for f in FAULTS} == set(ACTS)


def test_the_table_in_the_docs_is_what_happens():
    text = DOCS.read_text(encoding="utf-8")
    assert rendered(text) == text, "run: python -m tests.reference.control_faults"
