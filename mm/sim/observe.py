"""The market as strategies see it: features at every decision moment, and every new mid in between.

None of it depends on a strategy's parameters, so it is computed once and shared by all that decide at the same
moments with the same feed latency and volatility settings.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mm.core.jit import hot_kernel
from mm.core.levels import clear_asks, clear_bids, set_ask, set_bid
from mm.core.types import ASK, BID, BUY, CLEAR_ASK, CLEAR_BID, FUNDING, MARK, Rec
from mm.models.flow import flow_touch, flow_trade
from mm.sim.tables import Column, Messages, Observed
from mm.strategy.controls.signals import look, look_deep, see
from mm.strategy.features import set_touch


@hot_kernel
def _mark(seen: Observed, ob: Rec, ts_ns: int, mid: float) -> None:
    row = seen.marks[ob.marks]
    row.ts_ns = ts_ns
    row.mid = mid
    ob.marks += 1


@hot_kernel
def _take_touch(t: Messages, bids: Column, asks: Column, f: Rec, bb: int, ba: int) -> None:
    f.valid = 0
    if bb >= 0 and ba < bids.shape[0] and bb < ba:
        set_touch(f, t.base_tick + bb, t.base_tick + ba, bids[bb], asks[ba])


@hot_kernel
def _moves_book(t: Messages, m: int) -> bool:
    for e in range(t.start[m], t.start[m + 1]):
        kind: Any = np.int64(t.words[e]) >> 28
        if kind <= ASK or kind == CLEAR_BID or kind == CLEAR_ASK:
            return True
    return False


@hot_kernel
def observe(
    t: Messages, exch_ns: Column, bids: Column, asks: Column, touch: Rec, ob: Rec, f: Rec, w: Rec, flow: Rec,
    sample_ns: int, halflife_s: float, seen: Observed,
) -> None:  # fmt: skip
    """Replay the strategy's clock over ``seen.decide_ns``, filling features, marks and ``mark_end``.

    Our orders are not in a recorded book, so nothing is netted out. ``bids``, ``asks``, ``touch``, ``ob``, ``f``
    and ``w`` carry over to the next chunk of decisions. There is room for one mark a message. A and kappa are
    estimated where ``flow`` (FLOW) says how often; ``exch_ns`` are the messages' exchange times.
    """
    m = ob.message
    track = flow.every_ns > 0
    bb, ba, lowb, hia = touch.bb, touch.ba, touch.lowb, touch.hia
    for d in range(seen.decide_ns.shape[0]):
        now_ns = seen.decide_ns[d]
        while m < t.ts_ns.shape[0] and t.ts_ns[m] <= now_ns:
            ts_ns = t.ts_ns[m]
            for e in range(t.start[m], t.start[m + 1]):
                word: Any = np.int64(t.words[e])  # unsigned words would turn sums into floats
                kind = word >> 28
                i = word & 0xFFFFFFF
                if kind == BID:
                    bb, ba, lowb, hia = set_bid(bids, asks, i, t.lots[e], bb, ba, lowb, hia)
                elif kind == ASK:
                    bb, ba, lowb, hia = set_ask(bids, asks, i, t.lots[e], bb, ba, lowb, hia)
                elif kind <= BUY:
                    f.trades += 1
                    if track:
                        flow_trade(flow, kind == BUY, t.base_tick + i, exch_ns[m], ts_ns)
                elif kind == CLEAR_BID:
                    bb, lowb = clear_bids(bids, i, bb, lowb)
                elif kind == CLEAR_ASK:
                    ba, hia = clear_asks(asks, i, ba, hia)
                elif kind == MARK or kind == FUNDING:
                    f.mark = t.base_tick + i
            if track and _moves_book(t, m):
                flow.moved = 1
            if t.whole[m]:
                _take_touch(t, bids, asks, f, bb, ba)
                if f.valid:
                    see(w, f, sample_ns, halflife_s, ts_ns)
                    if f.mid != ob.last_mid:
                        ob.last_mid = f.mid
                        _mark(seen, ob, ts_ns, f.mid)
                if track:
                    flow_touch(flow, f, exch_ns[m], ts_ns)
            m += 1
        _take_touch(t, bids, asks, f, bb, ba)
        if w.settings.on and f.valid:
            look(w, f, now_ns)
            if w.settings.depth_ticks >= 0:
                look_deep(w, f, bids, asks, t.base_tick)
        seen.features[d] = f
        seen.mark_end[d] = ob.marks
    ob.message = m
    touch.bb, touch.ba, touch.lowb, touch.hia = bb, ba, lowb, hia
