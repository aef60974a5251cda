"""Session policy: widen into the close of a trading day, then only flatten, then nothing until it opens again.

Times of day are UTC. It is apart from the model: Avellaneda-Stoikov narrows towards its horizon, and that is right
inside its own assumptions.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from mm.core.jit import hot_kernel
from mm.core.types import Rec
from mm.strategy.controls.draft import reduce_only, widen
from mm.strategy.controls.names import SESSION

DAY_NS: Final = 86_400_000_000_000

SESSION_DAY = np.dtype(
    [
        ("end_ns", "i8"),  # time of day
        ("closed_ns", "i8"),  # from the end to the next opening
        ("flatten_ns", "i8"),  # before the end
        ("widen_ns", "i8"),  # before flattening
        ("extra", "f8"),  # half-spreads at its end
    ]
)


@hot_kernel
def session(g: Rec, t: Rec, excess_lots: int, now_ns: int) -> None:
    """What the time of day asks for."""
    since = (now_ns - g.end_ns) % DAY_NS
    left = DAY_NS - since
    if since < g.closed_ns or left <= g.flatten_ns:
        reduce_only(t, excess_lots, SESSION)
    elif left <= g.flatten_ns + g.widen_ns:
        widen(t, 0, g.extra * (1.0 - (left - g.flatten_ns) / g.widen_ns), SESSION)
