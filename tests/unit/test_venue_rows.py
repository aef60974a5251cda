"""Rows of codecs become the records that numpy would make of them, or a plain error."""

import numpy as np
import pytest

from mm.core.types import BID, EVENT, LAST, SNAPSHOT
from mm.venues.rows import TOP_TICK, cleared, events_of, number_in

ROW = (1 << 62, -5, 1 << 40, TOP_TICK, 65_535, 255, SNAPSHOT)


@pytest.mark.parametrize("n", [0, 1, 3])
def test_records_are_those_of_numpy_and_the_last_ends_the_message(n):
    expected = np.array([ROW] * n, EVENT)
    if n:
        expected["flags"][-1] |= LAST
    made = events_of([ROW] * n)
    assert made.dtype == EVENT
    assert np.array_equal(made, expected)
    made["lots"] = 7  # whoever gets it may write


@pytest.mark.parametrize("row", [(1 << 63, 0, 0, 0, 0, BID, 0), (0, 0, 0, TOP_TICK + 1, 0, BID, 0)])
def test_a_number_that_fits_no_record_is_an_error_of_the_frame(row):
    with pytest.raises(ValueError, match="fits no record"):
        events_of([row])


def test_a_snapshot_begins_with_two_empty_sides():
    bids, asks = events_of(cleared(3, 4, 1))
    assert (bids["tick"], asks["tick"], bids["flags"]) == (0, TOP_TICK, SNAPSHOT)


@pytest.mark.parametrize(("cid", "number"), [("t1-7", 7), ("t1-x-12", 12), ("t2-7", -1), ("t1-", -1), ("t1-7x", -1)])
def test_the_number_in_a_client_order_id(cid, number):
    assert number_in(cid, "t1") == number
