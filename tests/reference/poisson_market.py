"""A market that obeys λ(δ) = A·exp(-κδ) to the letter, around a mid that moves: the truth for estimators of it.

Orders of each side arrive with rate A and reach down to δ ~ Exp(κ) from the mid of that moment. An order that does not
reach the touch never trades; the others print at every level on their way. The book is dense, one level a tick.
"""

from __future__ import annotations

from decimal import Decimal

import numpy as np

from mm.core.instrument import Instrument
from mm.core.types import ASK, BID, BUY, CLEAR_ASK, CLEAR_BID, EVENT, LAST, SELL
from mm.data.store import StoreWriter

TICK = 0.1
START_NS = 1_704_067_200_000_000_000
DEPTH = 1  # levels shown per side


def instrument():
    return Instrument(
        symbol="BTC-USDT", venue="poisson", kind="linear", tick_size=Decimal(str(TICK)), lot_size=Decimal("0.001"),
        min_notional=Decimal(5), base="BTC", quote="USDT",
    )  # fmt: skip


def book_rows(bid, ask, ts_ns, recv_ns):
    """A message that replaces the book."""
    kinds = [CLEAR_BID, CLEAR_ASK] + [BID] * DEPTH + [ASK] * DEPTH
    ticks = [0, 2**31 - 1] + [bid - j for j in range(DEPTH)] + [ask + j for j in range(DEPTH)]
    lots = [0, 0] + [1000] * (2 * DEPTH)
    return [(ts_ns, recv_ns, q, t, 0, k, 0) for k, t, q in zip(kinds, ticks, lots, strict=True)]


def write(
    path, *, A, kappa, sigma, seconds, seed, mid0=60_000.0, spreads=(1, 2, 4), steps_per_s=8.0, prints="levels",
    book_first=False, book_every_s=0.0, latency_ns=1_000_000,
):  # fmt: skip
    """A store of such a market. kappa 1/$, sigma $/√s, A orders/s and side, the touch moves ``steps_per_s`` times.

    ``prints``: ``levels`` prints every level of a sweep, ``last`` its furthest price only. ``book_first``: the book
    that an order leaves behind is received before its prints. ``book_every_s``: the book is
    published that often only.
    """
    rng = np.random.default_rng(seed)
    steps = np.sort(rng.uniform(0, seconds, rng.poisson(seconds * steps_per_s)))
    n = rng.poisson(2 * A * seconds)
    orders = np.sort(rng.uniform(0, seconds, n))
    mids = mid0 + np.cumsum(rng.normal(0, sigma * np.sqrt(np.diff(steps, prepend=0.0))))
    widths = rng.choice(spreads, len(steps))
    bids = np.floor(mids / TICK - widths / 2).astype(int)
    sides, depths = rng.integers(0, 2, n), rng.exponential(1 / kappa, n)
    rows = book_rows(round(mid0 / TICK), round(mid0 / TICK) + 1, START_NS, START_NS + latency_ns)
    rows[-1] = (*rows[-1][:-1], LAST)
    bid, ask = round(mid0 / TICK), round(mid0 / TICK) + 1
    publish = np.arange(0, seconds, book_every_s) if book_every_s else []
    what = [(t, "step", j) for j, t in enumerate(steps)] + [(t, "order", j) for j, t in enumerate(orders)]
    for when, kind, k in sorted(what + [(t, "publish", 0) for t in publish]):
        ts_ns = START_NS + int(when * 1e9)
        recv_ns = ts_ns + latency_ns
        message = []
        if kind == "step":
            bid, ask = bids[k], bids[k] + widths[k]
        if kind == ("publish" if book_every_s else "step"):
            message = book_rows(bid, ask, ts_ns, recv_ns)
        elif kind == "order":
            middle = 0.5 * (bid + ask)
            reach = depths[k] / TICK
            if reach < ask - middle:
                continue
            if sides[k]:
                last = int(np.floor(middle + reach))
                way = range(ask, last + 1)
            else:
                last = int(np.ceil(middle - reach))
                way = range(bid, last - 1, -1)
            way = list(way) if prints == "levels" else [last]
            if len(way) > 4:  # most levels of a real sweep hold nothing
                way = [way[0], way[1], way[len(way) // 2], way[-1]]
            message = [(ts_ns, recv_ns, 5, t, 0, BUY if sides[k] else SELL, 0) for t in way]
            if book_every_s == 0.0:
                swept = book_rows(*((bid, max(ask, last)) if sides[k] else (min(bid, last), ask)), ts_ns, recv_ns)
                refilled = book_rows(bid, ask, ts_ns + 1000, recv_ns + 1000)  # makers come back
                if book_first:
                    swept[-1] = (*swept[-1][:-1], LAST)
                    message = swept + message + refilled
                    message[len(swept) + len(way) - 1] = (*message[len(swept) + len(way) - 1][:-1], LAST)
                else:
                    message = message + swept
                    message[-1] = (*message[-1][:-1], LAST)
                    message += refilled
        if message:
            message[-1] = (*message[-1][:-1], LAST)
            rows += message
    events = np.array([(a, b, c, d, e, f, g) for a, b, c, d, e, f, g in rows], EVENT).view(np.recarray)
    with StoreWriter(path, instrument(), f"poisson market {seed}") as writer:
        writer.append(events)
        return writer.finish({})
