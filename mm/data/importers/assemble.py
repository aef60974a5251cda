"""From parsed messages to EVENT rows, in one compiled pass."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mm.core.jit import kernel
from mm.core.types import ASK, CLEAR_ASK, CLEAR_BID, EVENT, LAST, SNAPSHOT, RecArray, records
from mm.data.importers.sequence import CLEAR, END, LEVELS, REBUILD, Plan

Ints = NDArray[np.int64]
INT32_MAX = 2**31 - 1


def item_list(plan: Plan) -> tuple[Ints, Ints, Ints]:
    """(message, message whose receive time counts, bits) of everything to write, in order."""
    order = np.arange(min(plan.cut + 1, len(plan.bits)))
    bits = plan.bits[: len(order)].copy()
    if plan.cut < len(order) and bits[plan.cut] != CLEAR | REBUILD | END:
        bits[plan.cut] = 0  # comes again with the next block; only a gap mark is written now
    message = order[bits > 0]
    stamp, bits = message, bits[bits > 0]
    for snapshot, diffs in reversed(plan.replays.items()):
        at = int(np.searchsorted(stamp, snapshot)) + 1
        message = np.insert(message, at, diffs)
        stamp = np.insert(stamp, at, [snapshot] * len(diffs))
        bits = np.insert(bits, at, [LEVELS | REBUILD] * (len(diffs) - 1) + [LEVELS | REBUILD | END])
    return message, stamp, bits


def assemble(plan: Plan, msg: dict[str, Ints], ticks: Ints, lots: Ints) -> tuple[RecArray, Ints, Ints]:
    """(EVENT rows, message of each item, its last row). ``msg`` has per-message columns.

    kind (of the first ``n_first`` pairs; the others are asks), recv_ns, exch_ns, n_first, n_asks, and pair (its first
    index into ticks and lots).
    """
    message, stamp, bits = item_list(plan)
    size = msg["n_first"][message] + msg["n_asks"][message]
    total = int(size.sum()) + 2 * len(message)
    out = records(total, EVENT)
    ends = np.empty(len(message), np.int64)
    n = write_rows(
        message,
        stamp,
        bits,
        msg["kind"],
        msg["recv_ns"],
        msg["exch_ns"],
        msg["pair"],
        msg["n_first"],
        msg["n_asks"],
        ticks,
        lots,
        out,
        ends,
    )
    return out[:n], message, ends


@kernel
def write_rows(
    message: Ints,
    stamp: Ints,
    bits: Ints,
    kind: Ints,
    recv_ns: Ints,
    exch_ns: Ints,
    pair: Ints,
    n_first: Ints,
    n_asks: Ints,
    ticks: Ints,
    lots: Ints,
    out: Any,
    ends: Ints,
) -> int:
    """Write the items (message, message of its receive time, bits); returns the rows written, ``ends``: the last each.

    ``out`` needs two rows an item beside those of its levels.
    """
    n = 0
    for k in range(len(message)):
        m = message[k]
        start = n
        if bits[k] & CLEAR:
            out[n].kind = CLEAR_BID
            out[n + 1].kind = CLEAR_ASK
            out[n + 1].tick = INT32_MAX
            n += 2
        if bits[k] & LEVELS:
            for j in range(n_first[m] + n_asks[m]):
                e = out[n]
                e.kind = kind[m] if j < n_first[m] else ASK
                e.tick = ticks[pair[m] + j]
                e.lots = lots[pair[m] + j]
                n += 1
        flag = SNAPSHOT if bits[k] & REBUILD else 0
        for j in range(start, n):
            e = out[j]
            e.ts_recv_ns = recv_ns[stamp[k]]
            e.ts_exch_ns = exch_ns[m]
            e["flags"] = flag
        if bits[k] & END and n > 0:
            out[n - 1]["flags"] |= LAST
        ends[k] = n - 1
    return n
