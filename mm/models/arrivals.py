"""Arrivals: market orders of one side, each with the depth it reached beyond the touch that stood just before it.

The mid, and the touch, of an arrival are those of the last state of the book whose exchange time lies strictly before
the trade's: a venue may report the book that a trade left behind before the trade itself, and against that mid a
moving market looks like deep orders. Trades of one side with one exchange time are one order that swept levels.

A venue that sends its book every 50 or 100 ms adds another error: between two books the touch moves, and an order
that only takes the new touch looks deep (on recorded Binance perpetuals this makes the mean depth three times too
large). An order's first print *is* the touch it met, so on such a feed that is the reference, with the spread of the
known book. Which feed this is the data tell (``first_prints_lead``): prints beyond the known touch are then confirmed
by the book that follows.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mm.core.book import Levels, apply, is_valid, new_book
from mm.core.jit import hot_kernel, kernel
from mm.core.types import BUY, LAST, SELL, Rec, RecArray, records
from mm.data.store import Store

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

RING: Final = 16  # touches remembered, a power of two
MIN_EVIDENCE: Final = 8  # orders off the touch before the feed is judged

AUTO: Final = 0  # the touch that an order met: as the data tell
BOOK: Final = 1  # that of the book
PRINT: Final = 2  # its first print

IGNORED: Final = 0  # no book stood before the trade
NEW: Final = 1  # an order of its own
DEEPER: Final = 2  # one that has just reached further
KNOWN: Final = 3  # one that has been there already

TRACKER = np.dtype(
    [
        ("clock_ns", "i8"),  # of the exchange; never steps back
        ("touches", "i8"),  # written to the ring so far
        ("ring_ns", "i8", (RING,)),
        ("ring_bid", "i8", (RING,)),  # ticks, 0: no valid book
        ("ring_ask", "i8", (RING,)),
        ("reference", "i8"),  # AUTO, BOOK or PRINT
        ("beyond", "i8"),  # orders whose first print lay beyond the known touch, judged by the next book
        ("confirmed", "i8"),  # of them, by a book that has moved there
        ("sweeps", "i8"),  # orders that printed at several prices
        # the newest order of each side, 0: sells, 1: buys
        ("open_first", "i8", (2,)),  # its first print while that awaits the next book, else 0
        ("open_ns", "i8", (2,)),
        ("open_touch", "i8", (2,)),  # the touch it met, ticks
        ("open_excess", "i8", (2,)),  # how far beyond it has come, ticks
        ("open_swept", "i8", (2,)),  # 1: it printed at several prices
        # what the last trade did
        ("excess", "i8"),  # ticks beyond the touch
        ("before", "i8"),  # the same before a DEEPER trade
        ("half", "f8"),  # distance of the touch from the mid (of the price, when it lay inside the spread), ticks
        ("off", "i8"),  # 1: the order did not begin at the touch
    ]
)


@hot_kernel
def first_prints_lead(t: Rec) -> bool:
    """The book lags behind the trades: the first print tells better which touch an order met.

    Not on a feed whose prints show one price per order, however many levels it swept.
    """
    if t.reference != AUTO:
        return bool(t.reference == PRINT)
    return bool(t.beyond >= MIN_EVIDENCE and 4 * t.confirmed >= 3 * t.beyond and 4 * t.sweeps >= t.confirmed)


@hot_kernel
def track_touch(t: Rec, ts_exch_ns: int, bid: int, ask: int) -> bool:
    """The touch after a whole message, both 0 without a valid book; returns whether it is another one.

    For messages that moved the book; one of trades alone says nothing new about it.
    """
    t.clock_ns = max(t.clock_ns, ts_exch_ns)
    for side in range(2):
        first = t.open_first[side]
        if first > 0:
            t.open_first[side] = 0
            t.beyond += 1
            if (side == 1 and ask >= first) or (side == 0 and 0 < bid <= first):
                t.confirmed += 1
    k = (t.touches - 1) & (RING - 1)
    if t.touches > 0:
        if t.ring_bid[k] == bid and t.ring_ask[k] == ask:
            return False
        if t.ring_ns[k] == t.clock_ns:
            t.ring_bid[k] = bid
            t.ring_ask[k] = ask
            return True
    k = t.touches & (RING - 1)
    t.ring_ns[k] = t.clock_ns
    t.ring_bid[k] = bid
    t.ring_ask[k] = ask
    t.touches += 1
    return True


@hot_kernel
def track_trade(t: Rec, buys: bool, tick: int, ts_exch_ns: int) -> int:
    """Take a trade; returns one of IGNORED, NEW, DEEPER, KNOWN, details in ``t.excess``, ``before``, ``half``."""
    t.clock_ns = max(t.clock_ns, ts_exch_ns)
    side = 1 if buys else 0
    sign = 1 if buys else -1
    if t.open_ns[side] == t.clock_ns:
        t.before = t.open_excess[side]
        t.excess = sign * (tick - t.open_touch[side])
        if t.excess <= t.before:
            return KNOWN
        if t.open_swept[side] == 0:
            t.open_swept[side] = 1
            t.sweeps += 1
        t.open_excess[side] = t.excess
        return DEEPER
    n = t.touches
    stop = max(n - RING, 0)
    k = -1
    while n > stop:
        n -= 1
        k = n & (RING - 1)
        if t.ring_ns[k] < t.clock_ns:
            break
    if k < 0 or t.ring_bid[k] == 0:
        return IGNORED
    bid, ask = t.ring_bid[k], t.ring_ask[k]
    touch = ask if buys else bid
    excess = sign * (tick - touch)
    t.half = 0.5 * (ask - bid)
    t.off = 1 if excess != 0 else 0
    t.open_first[side] = tick if excess > 0 else 0
    if excess != 0 and first_prints_lead(t):
        touch = tick
        excess = 0
    elif excess < 0:  # inside the spread: the price itself is all the depth there is
        t.half = max(t.half + excess, 0.0)
        touch = tick
        excess = 0
    t.excess = excess
    t.before = 0
    t.open_ns[side] = t.clock_ns
    t.open_touch[side] = touch
    t.open_excess[side] = excess
    t.open_swept[side] = 0
    return NEW


class Arrivals(NamedTuple):
    """Market orders and mids of a store, by exchange time. Columns (n,) of orders in order of time; ticks."""

    ts_ns: Ints
    buys: NDArray[np.bool_]
    excess: Ints  # beyond the touch
    half: Floats  # distance of the touch from the mid
    off: NDArray[np.bool_]  # did not begin at the touch that was known
    mid_ns: Ints  # (m,) when the touch changed
    mid: Floats  # (m,) to what; nan: no valid book
    spread: Floats  # (m,)
    end_ns: int  # newest exchange time
    prints: tuple[int, int]  # trades of either side, sells first, before they are merged to orders
    ignored: int  # trades without a book before them
    reference: int  # BOOK or PRINT: what told the touch that an order met


@kernel
def _scan(
    book: Rec, bids: Levels, asks: Levels, t: Rec, kind: Any, flags: Any, tick: Any, lots: Any, ts_exch: Any,
    rows: RecArray, touches: RecArray, counts: Ints,
) -> tuple[int, int]:  # fmt: skip
    """Orders into ``rows``, touches into ``touches``; returns how many. ``counts``: sells, buys, ignored."""
    n, m = 0, 0
    newest = np.zeros(2, np.int64)
    moved = False
    for k in range(len(kind)):
        kd = int(kind[k])
        if kd == SELL or kd == BUY:
            side = kd - SELL
            counts[side] += 1
            did = track_trade(t, kd == BUY, int(tick[k]), int(ts_exch[k]))
            if did == NEW:
                row = rows[n]
                row.ts_ns = t.clock_ns
                row.buys = side
                row.excess = t.excess
                row.half = t.half
                row.off = t.off
                newest[side] = n
                n += 1
            elif did == DEEPER:
                rows[newest[side]].excess = t.excess
            elif did == IGNORED:
                counts[2] += 1
        else:
            moved = True
            apply(book, bids, asks, kd, int(tick[k]), int(lots[k]))
        if flags[k] & LAST and moved:
            moved = False
            valid = is_valid(book)
            bid = book.base_tick + book.bb if valid else 0
            ask = book.base_tick + book.ba if valid else 0
            if track_touch(t, int(ts_exch[k]), bid, ask):
                if m == 0 or touches[m - 1].ts_ns != t.clock_ns:
                    m += 1
                row = touches[m - 1]
                row.ts_ns = t.clock_ns
                row.bid = bid
                row.ask = ask
    return n, m


_ARRIVAL = np.dtype([("ts_ns", "i8"), ("excess", "i8"), ("half", "f8"), ("buys", "i8"), ("off", "i8")])
_TOUCH = np.dtype([("ts_ns", "i8"), ("bid", "i8"), ("ask", "i8")])


def arrivals(store: Store, reference: int = AUTO) -> Arrivals:
    """Every market order of a store, and every touch. ``reference``: AUTO judges the feed by all of it."""
    if reference == AUTO:
        tracker = records(1, TRACKER)[0]
        _walk(store, tracker)
        reference = PRINT if first_prints_lead(tracker) else BOOK
    tracker = records(1, TRACKER)[0]
    tracker.reference = reference
    rows, touches, counts = _walk(store, tracker)
    shown = touches["bid"] > 0
    return Arrivals(
        rows["ts_ns"].copy(), rows["buys"] == 1, rows["excess"].copy(), rows["half"].copy(), rows["off"] == 1,
        touches["ts_ns"].copy(),
        np.where(shown, 0.5 * (touches["bid"] + touches["ask"]), np.nan),
        np.where(shown, touches["ask"] - touches["bid"], np.nan).astype(float),
        int(tracker.clock_ns), (int(counts[0]), int(counts[1])), int(counts[2]), reference,
    )  # fmt: skip


def _walk(store: Store, tracker: Rec) -> tuple[RecArray, RecArray, Ints]:
    trades = int(np.count_nonzero((store.kind == SELL) | (store.kind == BUY)))
    whole = int(np.count_nonzero(store.flags & LAST))
    book, bids, asks = new_book(*store.book_window())
    rows, touches, counts = records(trades, _ARRIVAL), records(whole, _TOUCH), np.zeros(3, np.int64)
    n, m = _scan(
        book[0], bids, asks, tracker, store.kind, store.flags, store.tick, store.lots, store.ts_exch_ns, rows, touches,
        counts,
    )  # fmt: skip
    return rows[:n], touches[:m], counts
