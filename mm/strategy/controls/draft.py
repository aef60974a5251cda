"""The decision in the making: what each control asks for, in a TARGET record.

Widenings add up, of sizes the smallest counts, a pulled side stays pulled: no control can undo another, so the order
of the chain decides only which reason is named first. Protection of the position is the one exception (``rescue``).
"""

from __future__ import annotations

import math

from mm.core.jit import hot_kernel
from mm.core.types import Rec
from mm.strategy.controls.names import FIRST_ACT

_BID, _ASK = 1, 2  # bits of `pulled`


@hot_kernel
def open_draft(t: Rec) -> None:
    """Nothing is asked for yet."""
    t.pulled = 0
    t.reduce_only = 0
    t.widen_bid = 0.0
    t.widen_ask = 0.0
    t.scale_bid = 1.0
    t.scale_ask = 1.0


@hot_kernel
def pull(t: Rec, side: int, act: int) -> None:
    """No quote on ``side`` (±1, 0: both)."""
    t.acting |= 1 << act
    if side >= 0:
        t.pulled |= _BID
    if side <= 0:
        t.pulled |= _ASK
    if t.reason == 0:
        t.reason = FIRST_ACT + act


@hot_kernel
def widen(t: Rec, side: int, extra: float, act: int) -> None:
    """Move ``side`` (±1, 0: both) outward by ``extra`` times the half-spread of an empty inventory."""
    if extra <= 0.0:
        return
    t.acting |= 1 << act
    if side >= 0:
        t.widen_bid += extra
    if side <= 0:
        t.widen_ask += extra


@hot_kernel
def shrink(t: Rec, side: int, scale: float, act: int) -> None:
    """Quote at most ``scale`` (0..1) of the order size on ``side`` (±1, 0: both)."""
    if scale >= 1.0:
        return
    t.acting |= 1 << act
    if side >= 0:
        t.scale_bid = min(t.scale_bid, scale)
    if side <= 0:
        t.scale_ask = min(t.scale_ask, scale)


@hot_kernel
def reduce_only(t: Rec, excess_lots: int, act: int) -> None:
    """Quote only what brings ``excess_lots`` (signed, away from the target) towards 0, up to the touch."""
    t.reduce_only = 1
    if excess_lots >= 0:
        pull(t, 1, act)
    if excess_lots <= 0:
        pull(t, -1, act)


@hot_kernel
def rescue(t: Rec, excess_lots: int) -> None:
    """Whatever pulled the reducing side: it is quoted, in full size."""
    if excess_lots > 0:
        t.pulled &= ~_ASK
        t.scale_ask = 1.0
    elif excess_lots < 0:
        t.pulled &= ~_BID
        t.scale_bid = 1.0


@hot_kernel
def is_pulled(t: Rec, side: int) -> bool:
    """A control wants no quote on that side."""
    return bool(t.pulled & (_BID if side > 0 else _ASK))


@hot_kernel
def sized(p: Rec, t: Rec, side: int, room_lots: int, excess_lots: int) -> int:
    """Size of a quote [lots] after the controls; ``room_lots``: what the limits allow.

    A scaled size is at least the venue's smallest order; a reducing order is never larger than what it reduces.
    """
    scale = t.scale_bid if side > 0 else t.scale_ask
    if is_pulled(t, side) or scale <= 0.0:
        return 0
    lots = min(room_lots, max(int(p.order_lots * scale), p.min_lots))
    if t.reduce_only:
        lots = min(lots, -side * excess_lots)
    return lots if lots >= p.min_lots else 0


@hot_kernel
def up_to_touch(f: Rec, raw_bid: float, raw_ask: float) -> tuple[float, float]:
    """Prices of a reducing quote: at least as eager as the best order of its side."""
    bid = max(raw_bid, float(f.bid_tick)) if math.isfinite(raw_bid) else raw_bid
    ask = min(raw_ask, float(f.ask_tick)) if math.isfinite(raw_ask) else raw_ask
    return bid, ask
