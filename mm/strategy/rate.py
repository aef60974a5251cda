"""A venue's rate limit, kept on our side: a token bucket in integers, and what happens to commands without a token.

``burst`` tokens at most, refilled at ``orders + 1 - burst`` a window: then no window, wherever it starts, sees more
than ``orders`` messages (burst plus what is refilled in less than a window). Levels are tokens times ``window_ns``, so
that no rounding ever gives a token away.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mm.config.schema import RateLimit
from mm.core.jit import hot_kernel
from mm.core.types import CANCEL, CANCELING, FREE, LIVE, Rec, RecArray

RATE = np.dtype(
    [
        ("window_ns", "i8"),  # 0: no limit
        ("burst", "i8"),
        ("refill", "i8"),  # tokens a window
        ("cancels", "i8"),  # 1: cancels take tokens too
        ("level", "i8"),  # tokens x window_ns
        ("last_ns", "i8"),  # when the level was true
        ("held", "i8"),  # commands held back so far
    ]
)


def fill_rate(rate: Any, limit: RateLimit | None) -> None:
    """A RATE record with a full bucket."""
    if limit is None:
        return
    burst = limit.burst if limit.burst is not None else max(limit.orders // 2, 1)
    rate["window_ns"] = round(limit.window * 1e9)
    rate["burst"] = burst
    rate["refill"] = limit.orders + 1 - burst
    rate["cancels"] = limit.cancels
    rate["level"] = burst * rate["window_ns"]


@hot_kernel
def _refill(rate: Rec, now_ns: int) -> None:
    full = rate.burst * rate.window_ns
    elapsed_ns = min(now_ns - rate.last_ns, full // rate.refill + 1)  # so that the product stays in 64 bits
    rate.level = min(rate.level + elapsed_ns * rate.refill, full)
    rate.last_ns = now_ns


@hot_kernel
def hold_back(rate: Rec, orders: RecArray, cmds: RecArray, n_cmds: int, now_ns: int) -> int:
    """Keep the commands of one decision that the budget allows, cancels first; returns how many.

    A cancel that must wait leaves its order LIVE, so that the next decision asks again. A placement that must wait is
    forgotten, and no placement goes out before a cancel that waits.
    """
    if rate.window_ns == 0:
        return n_cmds
    _refill(rate, now_ns)
    kept = 0
    waits = False
    for i in range(n_cmds):
        c = cmds[i]
        free = c.op == CANCEL and not rate.cancels
        if free or (rate.level >= rate.window_ns and not waits):
            if not free:
                rate.level -= rate.window_ns
            if kept < i:
                d = cmds[kept]
                d.id, d.lots, d.tick, d.instrument, d.side, d.op = c.id, c.lots, c.tick, c.instrument, c.side, c.op
            kept += 1
            continue
        waits = True
        rate.held += 1
        for k in range(orders.shape[0]):
            o = orders[k]
            if o.id == c.id and o.state != FREE:
                o.state = LIVE if c.op == CANCEL and o.state == CANCELING else FREE
    return kept
