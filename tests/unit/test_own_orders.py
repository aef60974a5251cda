"""A recorded stream without our orders is the stream of the same market in which we never were."""

import numpy as np
import pytest

from actors.exchanges import exchange_spec
from actors.run_record import make_tape
from mm.core.types import (
    ACK,
    ASK,
    BID,
    BUY,
    CANCELED,
    CLEAR_ASK,
    CLEAR_BID,
    EVENT,
    FILL,
    KIND_NAMES,
    LAST,
    MARK,
    SELL,
)
from mm.data.own_orders import Netting, Report, publications
from mm.sandbox.exchange import Exchange
from tests.reference.small_run import SYMBOL, SmallRun, quick_config

pytestmark = pytest.mark.slow  # hopeless as plain Python


def frame(ts, *rows):
    out = np.zeros(len(rows), EVENT)
    for e, (kind, tick, lots) in zip(out, rows, strict=True):
        e["ts_exch_ns"], e["ts_recv_ns"], e["kind"], e["tick"], e["lots"] = ts, ts + 5, kind, tick, lots
    out["flags"][-1] = LAST
    return out


def netted(reports, *frames):
    """[(kind, tick, lots)] of each message."""
    netting = Netting([Report(*r) for r in reports])
    out = []
    for group in publications(frames):
        for rows in netting.message(group):
            assert (rows["flags"] & LAST).tolist() == [0] * (len(rows) - 1) + [1]
            out.append([(KIND_NAMES[e["kind"]], int(e["tick"]), int(e["lots"])) for e in rows])
    return out, netting


BOOK = frame(1, (CLEAR_BID, 0, 0), (CLEAR_ASK, 1 << 20, 0), (BID, 99, 5), (BID, 100, 10), (ASK, 102, 8), (ASK, 103, 4))
ASK_AT_102 = (10, ACK, 1, -1, 102, 3)


def test_our_orders_leave_the_levels():
    out, netting = netted(
        [ASK_AT_102, (30, CANCELED, 1, -1, 102, 3)],
        BOOK, frame(11, (ASK, 102, 11)), frame(20, (ASK, 102, 7), (BID, 98, 2)), frame(31, (ASK, 102, 4)),
    )  # fmt: skip
    assert out[1:] == [[("ask", 102, 8)], [("ask", 102, 4), ("bid", 98, 2)], [("ask", 102, 4)]]
    assert (netting.quiet, netting.short) == (2, 0)


def test_an_order_alone_at_its_price_is_no_level():
    out, _ = netted([(10, ACK, 1, 1, 101, 3)], BOOK, frame(11, (BID, 101, 3)), frame(20, (BID, 101, 5)))
    assert out[1:] == [[("bid", 101, 0)], [("bid", 101, 2)]]


def test_what_an_aggressor_takes_from_us_it_takes_all_the_same():
    out, _ = netted(
        [ASK_AT_102, (20, FILL, 1, -1, 102, 3)],
        BOOK, frame(11, (ASK, 102, 11)), frame(21, (BUY, 102, 8), (BUY, 102, 3)), frame(21, (ASK, 102, 0)),
    )  # fmt: skip
    assert out[2:] == [[("buy", 102, 8), ("buy", 102, 3)], [("ask", 102, 0)]]


def test_a_quote_that_our_order_stood_in_the_way_of_rests_whole():
    out, netting = netted(
        [ASK_AT_102, (20, FILL, 1, -1, 102, 3)],
        BOOK, frame(11, (ASK, 102, 11)), frame(21, (BUY, 102, 3)), frame(21, (ASK, 102, 0), (BID, 102, 9)),
    )  # fmt: skip
    assert out[2:] == [[("ask", 102, 8)], [("ask", 102, 0), ("bid", 102, 12)]]
    assert netting.crossed == 1


def test_a_change_that_ours_hid_is_told_with_the_next_book():
    """Our 3 lots go and 3 others come: the level shows the same quantity, so nobody publishes it."""
    out, _ = netted(
        [ASK_AT_102, (20, FILL, 1, -1, 102, 3)],
        BOOK, frame(11, (ASK, 102, 11)), frame(21, (BUY, 102, 3)), frame(25, (BID, 98, 1)),
    )  # fmt: skip
    assert out[2:] == [[("buy", 102, 3)], [("bid", 98, 1), ("ask", 102, 11)]]


def test_missing_reports_are_counted():
    out, netting = netted([ASK_AT_102], BOOK, frame(11, (ASK, 102, 11)), frame(20, (ASK, 102, 2)))
    assert out[-1] == [("ask", 102, 0)]
    assert netting.short == 1


def test_everything_else_passes():
    out, _ = netted([], BOOK, frame(5, (MARK, 101, 0)), frame(6, (SELL, 100, 2)), frame(6, (BID, 100, 8)))
    assert out[1:] == [[("mark", 101, 0)], [("sell", 100, 2)], [("bid", 100, 8)]]


class Shadowed(SmallRun):
    """Beside the exchange that we trade on runs one with the same background, on which nobody trades."""

    def __init__(self, *args):
        self.shadow = Exchange(exchange_spec(quick_config().live.venues[0], "token-of-the-desk"))
        self.books = []
        super().__init__(*args)

    def _background(self, rows):
        super()._background(rows)
        self.shadow.background(SYMBOL, rows, self.now)
        engine = self.shadow.markets[SYMBOL].engine
        self.books.append((self.now, {(side, px): qty for side in (1, -1) for px, qty in engine.depth(side)}))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_the_tape_is_the_market_in_which_we_never_were(tmp_path, seed):
    cfg = quick_config()
    run = Shadowed(tmp_path / "run", cfg, seed)
    run.play(10.0)
    run.close()
    tape = make_tape(tmp_path / "run", cfg.live.venues[0], 0, tmp_path / "tape")
    assert sum(r.kind == FILL for r in tape.reports) > 20
    assert tape.netting["short"] == 0
    ev = tape.store.events()
    book: dict[tuple[int, int], int] = {}
    at = checked = same = 0
    for now_ns, theirs in run.books:
        end = int(np.searchsorted(ev["ts_exch_ns"], now_ns + 2, side="left"))  # published a nanosecond later
        for e in ev[at:end]:
            if e["kind"] <= ASK:
                level = (1 if e["kind"] == BID else -1, int(e["tick"]))
                book[level] = int(e["lots"])
                if not book[level]:
                    del book[level]
            elif e["kind"] in (CLEAR_BID, CLEAR_ASK):
                book = {v: q for v, q in book.items() if v[0] != (1 if e["kind"] == CLEAR_BID else -1)}
        at = end
        if book:
            checked += 1
            same += book == theirs
    assert checked > 5_000
    assert same == checked, f"{checked - same} of {checked} books differ"
