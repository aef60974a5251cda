"""The window of the best levels: what a reader builds from its changes is the best of the whole book."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from mm.core.instrument import Instrument
from mm.sandbox.faces.apex_book import Window
from mm.venues.native.wire import Units

UNITS = Units(Instrument("X", "apex", "linear", Decimal(1), Decimal(1)))
CHANGES = st.lists(
    st.lists(st.tuples(st.booleans(), st.integers(1, 12), st.integers(0, 3)), min_size=1, max_size=6), max_size=25
)


@given(st.integers(1, 8), CHANGES)
def test_a_reader_of_the_changes_has_the_best_of_the_book(
    depth: int, changes: list[list[tuple[bool, int, int]]]
) -> None:
    window = Window(UNITS, depth, [("5", "1")], [("6", "1")])
    whole: dict[bool, dict[int, int]] = {True: {5: 1}, False: {6: 1}}
    read: dict[bool, dict[int, int]] = {True: {5: 1}, False: {6: 1}}
    u = window.u
    for batch in changes:
        for bid, price, size in batch:
            if size:
                whole[bid][price] = size
            else:
                whole[bid].pop(price, None)
        told = window.change(
            [(str(p), str(s)) for bid, p, s in batch if bid], [(str(p), str(s)) for bid, p, s in batch if not bid]
        )
        if told is not None:
            assert window.u == u + 1
            u = window.u
            for bid, levels in zip((True, False), told, strict=True):
                for price, size in levels:
                    if int(size):
                        read[bid][int(price)] = int(size)
                    else:
                        read[bid].pop(int(price), None)
        best = {bid: dict(sorted(whole[bid].items(), reverse=bid)[:depth]) for bid in (True, False)}
        assert read == best
        bids, asks = window.levels()
        assert [(int(p), int(s)) for p, s in bids] == sorted(best[True].items())
        assert [(int(p), int(s)) for p, s in asks] == sorted(best[False].items())
