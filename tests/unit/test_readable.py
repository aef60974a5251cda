"""Answers of a venue that make no sense."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from mm.errors import VenueUnreachable
from mm.venues.base import NotOffered
from mm.venues.readable import QUERIES, readable


class Said(NotOffered):
    def __init__(self, row):
        self.row = row

    async def position(self, symbol):
        return {"long": 1}[self.row["side"]] * Decimal(self.row["size"])


for _name in set(QUERIES) - {"position", "set_leverage", "funding"}:
    setattr(Said, _name, NotOffered.funding)
Said = readable(Said)


@pytest.mark.parametrize("row", [{}, {"side": "none"}, {"side": "long", "size": "1,5"}, {"side": "long"}, None])
def test_it_is_no_answer(row):
    with pytest.raises(VenueUnreachable, match="cannot be read"):
        asyncio.run(Said(row).position("BTC"))


def test_a_good_answer_and_what_is_not_offered_pass():
    assert asyncio.run(Said({"side": "long", "size": "1.5"}).position("BTC")) == Decimal("1.5")
    with pytest.raises(NotImplementedError):
        asyncio.run(Said({}).set_leverage("BTC", 2))
