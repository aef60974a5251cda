"""Set and clear price levels with the touch in four plain integers that travel in registers.

Best bid, best ask, lowest bid, highest ask are indices into the two quantity arrays; -1 and n say that a side is
empty. ``mm.core.book`` keeps the four in a record; a replay of 2.4 ns an event cannot afford to write them back.
"""

from __future__ import annotations

from typing import Any

from numba import njit
from numpy.typing import NDArray

Quantities = NDArray[Any]  # (n,) lots per level


@njit(inline="always", error_model="numpy")
def set_bid(
    bids: Quantities, asks: Quantities, i: int, lots: int, bb: int, ba: int, lowb: int, hia: int
) -> tuple[int, int, int, int]:
    """The bid quantity at index ``i`` becomes ``lots``; asks that it reaches are void. Returns the new touch."""
    bids[i] = lots
    if lots == 0:
        if i == bb:
            j = i - 1
            while j >= lowb and bids[j] == 0:
                j -= 1
            if j >= lowb:
                bb = j
            else:
                bb = -1
                lowb = bids.shape[0]
    else:
        lowb = min(lowb, i)
        if i > bb:
            bb = i
            if i >= ba:
                for k in range(ba, i + 1):
                    asks[k] = 0
                j = i + 1
                while j <= hia and asks[j] == 0:
                    j += 1
                if j <= hia:
                    ba = j
                else:
                    ba = bids.shape[0]
                    hia = -1
    return bb, ba, lowb, hia


@njit(inline="always", error_model="numpy")
def set_ask(
    bids: Quantities, asks: Quantities, i: int, lots: int, bb: int, ba: int, lowb: int, hia: int
) -> tuple[int, int, int, int]:
    """The ask quantity at index ``i`` becomes ``lots``; mirror image of ``set_bid``."""
    asks[i] = lots
    if lots == 0:
        if i == ba:
            j = i + 1
            while j <= hia and asks[j] == 0:
                j += 1
            if j <= hia:
                ba = j
            else:
                ba = bids.shape[0]
                hia = -1
    else:
        hia = max(hia, i)
        if i < ba:
            ba = i
            if i <= bb:
                for k in range(i, bb + 1):
                    bids[k] = 0
                j = i - 1
                while j >= lowb and bids[j] == 0:
                    j -= 1
                if j >= lowb:
                    bb = j
                else:
                    bb = -1
                    lowb = bids.shape[0]
    return bb, ba, lowb, hia


@njit(inline="always", error_model="numpy")
def clear_bids(bids: Quantities, i: int, bb: int, lowb: int) -> tuple[int, int]:
    """Every bid at index ``i`` or better is void; returns (best bid, lowest bid)."""
    for k in range(max(i, 0), bb + 1):
        bids[k] = 0
    j = min(i, bb + 1) - 1
    while j >= lowb and bids[j] == 0:
        j -= 1
    if j < max(lowb, 0):
        j = -1
        lowb = bids.shape[0]
    return j, lowb


@njit(inline="always", error_model="numpy")
def clear_asks(asks: Quantities, i: int, ba: int, hia: int) -> tuple[int, int]:
    """Every ask at index ``i`` or better is void; returns (best ask, highest ask)."""
    for k in range(ba, min(i + 1, asks.shape[0])):
        asks[k] = 0
    j = max(i, ba - 1) + 1
    while j <= hia and asks[j] == 0:
        j += 1
    if j > hia:
        j = asks.shape[0]
        hia = -1
    return j, hia
