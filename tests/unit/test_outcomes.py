"""Orders without a usable answer are asked for, never sent again."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from actors import outcomes as module
from actors.base import DeskSpec
from actors.executor_book import Book
from actors.outcomes import Outcomes
from mm.config.schema import RunConfig
from mm.core.instrument import Instrument
from mm.core.types import CANCELED, CANCELING, EXEC_NAMES, FREE, LIVE, PLACE, SENT, records
from mm.errors import VenueUnreachable
from mm.strategy.executor_core import Command
from mm.strategy.journal import read_journal
from mm.strategy.risk import LIMITS
from mm.strategy.state import PARAMS
from mm.venues.base import FillRecord, OrderState, Position

BTC = Instrument("BTC-USDT", "sandbox", "linear", Decimal("0.1"), Decimal("0.001"), base="BTC", quote="USDT")
NOW = 10**18


def state(status: str, filled: str = "0", reason: str = "") -> OrderState:
    return OrderState("p-1", "77", BTC.symbol, 1, Decimal(60_000), Decimal("0.002"), Decimal(filled), status, reason)  # type: ignore[arg-type]


FILL = FillRecord("p-1", "t9", BTC.symbol, 1, Decimal(60_000), Decimal("0.001"), Decimal("0.012"), True, NOW)


class Venue:
    """Answers the questions in turn; an exception is raised."""

    def __init__(self, *answers, fills=()):
        self.answers, self.history, self.asked = list(answers), list(fills), 0

    async def order(self, symbol, cid):
        assert (symbol, cid) == (BTC.symbol, "p-1")
        self.asked += 1
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def fills(self, since_ns):
        return self.history


@pytest.fixture
def book(tmp_path, monkeypatch):
    monkeypatch.setenv("RAYMAKER_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(module, "_WAITS_S", (0.0,) * 6)
    spec = DeskSpec(
        run_id="r", desk="desk", run_dir=str(tmp_path / "run"), log_dir=str(tmp_path), home=str(tmp_path / "home"),
        config=RunConfig().model_dump(mode="json"), prefix="p", instruments=[BTC.to_dict()],
    )  # fmt: skip
    book = Book(spec, 10**9, 10**9)
    book.open_session([], [Position(BTC.symbol, Decimal(0), None, Decimal(0))], NOW)
    limits, params = records(1, LIMITS), records(1, PARAMS)
    limits["max_pos_lots"], limits["max_notional_usd"] = 10, 1e9
    params["min_lots"], params["unit_value"], params["tick_size"] = 1, 0.0001, 0.1
    book.core.lease(limits, params, 2 * NOW)
    book.core.ready, book.core.epoch = True, 7
    assert book.core.place(Command(1, 2, 600_000, 0, 1, PLACE), 7, NOW) == 0
    yield book
    book.close()


def run(book, venue, *, canceling=False):
    """Ask for order 1; returns (names of what was published, state of its slot)."""
    published = []

    async def work():
        asker = Outcomes(venue, book, "p", lambda: NOW, lambda execs, _fees: published.extend(execs["kind"].tolist()))
        if canceling:
            book.core.cancel(0, 1, NOW)
        asker.ask(["p-1", "p-1", "foreign", "p-99"])
        assert asker.asked == 1
        async with asyncio.timeout(5):
            while asker._tasks:  # noqa: ASYNC110
                await asyncio.sleep(0)
        return asker

    asker = asyncio.run(work())
    return [EXEC_NAMES[k] for k in published], int(book.core.orders[0][0].state), asker


def test_it_rests(book):
    names, slot, _ = run(book, Venue(VenueUnreachable("down"), state("open")))
    assert (names, slot) == (["ack"], LIVE)


def test_one_denial_is_not_believed(book):
    venue = Venue(None, state("open"))
    names, slot, _ = run(book, venue)
    assert (names, slot, venue.asked) == (["ack"], LIVE, 2)


def test_two_denials_free_the_order(book):
    names, slot, _ = run(book, Venue(None, None))
    assert (names, slot) == (["reject"], FREE)


def test_a_fill_that_nobody_told_is_booked_before_the_order_ends(book):
    names, slot, _ = run(book, Venue(state("canceled", "0.001"), fills=[FILL]))
    assert (names, slot) == (["fill", "canceled"], FREE)
    assert int(book.core.states[0][0].pos_lots) == 1
    written = [r["kind"] for r in read_journal(book._journal.path) if r["t"] == "exec"]
    assert written == [EXEC_NAMES[2], EXEC_NAMES[CANCELED]]


def test_a_filled_order_needs_no_end(book):
    whole = FillRecord("p-1", "t9", BTC.symbol, 1, Decimal(60_000), Decimal("0.002"), Decimal("0.024"), True, NOW)
    names, slot, _ = run(book, Venue(state("filled", "0.002"), fills=[whole]))
    assert (names, slot) == (["fill"], FREE)


def test_a_cancel_without_effect_is_left_to_reconciliation(book):
    names, slot, _ = run(book, Venue(state("open")), canceling=True)
    assert (names, slot) == ([], CANCELING)


def test_silence_leaves_the_side_closed(book):
    names, slot, asker = run(book, Venue(*[VenueUnreachable("down")] * 6))
    assert (names, slot, asker.unresolved) == ([], SENT, 1)
