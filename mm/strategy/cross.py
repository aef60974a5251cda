"""A reference price from two venues' books: the venue that trades more moves it more.

``cross = mid + w·(other - basis - mid)``: ``other`` is the other venue's mid in our ticks, ``basis`` the usual gap
between the two mids (exponential mean over time, so that funding, fees and another quote currency cancel), ``w`` the
other venue's share of the volume traded lately on both, or a fixed weight. Without fresh news from the other venue
there is no cross price, and the strategy quotes around its own mid: one venue down degrades to the other.
"""

from __future__ import annotations

import numpy as np

from mm.core.jit import hot_kernel
from mm.core.types import Rec

CROSS = np.dtype(
    [
        # settings
        ("weight", "f8"),  # of the other venue; negative: its share of the traded volume
        ("volume_halflife_s", "f8"),
        ("basis_halflife_s", "f8"),
        ("stale_ns", "i8"),  # older news than this are none
        # state
        ("basis", "f8"),  # ticks
        ("basis_ns", "i8"),  # 0: not known yet
        ("last_ns", "i8"),  # of the last look
        ("own_volume", "f8"),  # base, decayed
        ("other_volume", "f8"),
    ]
)


@hot_kernel
def see_other(
    c: Rec, f: Rec, other_mid: float, heard_ns: int, own_traded: float, other_traded: float, now_ns: int
) -> None:
    """Set ``f.cross`` (ticks, 0: none) at a decision, with the book features ``f`` up to date.

    ``other_mid``: in our ticks, 0 without a book; ``heard_ns``: when the other venue was last heard; ``own_traded``,
    ``other_traded``: base traded since the last call.
    """
    if c.last_ns != 0 and now_ns > c.last_ns:
        keep = 2.0 ** (-(now_ns - c.last_ns) * 1e-9 / c.volume_halflife_s)
        c.own_volume *= keep
        c.other_volume *= keep
    c.last_ns = now_ns
    c.own_volume += own_traded
    c.other_volume += other_traded
    f.cross = 0.0
    if f.valid == 0 or other_mid <= 0.0 or now_ns - heard_ns > c.stale_ns:
        return
    gap = other_mid - f.mid
    if c.basis_ns == 0:
        c.basis = gap
    w = c.weight
    if w < 0.0:
        total = c.own_volume + c.other_volume
        w = c.other_volume / total if total > 0.0 else 0.0
    f.cross = f.mid + w * (gap - c.basis)
    if c.basis_ns != 0:
        c.basis += (1.0 - 2.0 ** (-(now_ns - c.basis_ns) * 1e-9 / c.basis_halflife_s)) * (gap - c.basis)
    c.basis_ns = now_ns
