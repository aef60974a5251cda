"""Tick, volume, dollar and imbalance bars from trades (López de Prado, AFML chapter 2).

A bar closes on the trade that reaches its threshold, trades are never split, the unfinished tail is dropped. What a
trade brings beyond the threshold is forgotten (``reset``) or counts for the next bar (``carry``). Sums of floats are
compared with a tolerance of 1e-9 thresholds, so that ten trades of 0.1 make a bar of 1.
"""

from __future__ import annotations

from typing import Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mm.core.jit import kernel

BarType = Literal["tick", "volume", "dollar"]
_TOLERANCE: Final = 1e-9

BAR = np.dtype(
    [
        ("i0", "i8"),  # first trade
        ("i1", "i8"),  # last trade
        ("open", "f8"),
        ("high", "f8"),
        ("low", "f8"),
        ("close", "f8"),
        ("volume", "f8"),
        ("dollar", "f8"),
        ("n", "i8"),
        ("buy_volume", "f8"),  # of trades whose aggressor bought
        ("vwap", "f8"),
        ("t_open", "i8"),
        ("t_close", "i8"),
    ]
)


@kernel
def bar_ends(amount: NDArray[np.float64], threshold: float, carry: bool, ends: NDArray[np.int64]) -> int:
    """Index of the last trade of each bar into ``ends`` (n,); returns how many bars closed."""
    total = 0.0
    n = 0
    for i in range(amount.shape[0]):
        total += amount[i] / threshold
        if total >= 1.0 - _TOLERANCE:
            ends[n] = i
            n += 1
            total = max(total - np.floor(total + _TOLERANCE), 0.0) if carry else 0.0
    return n


@kernel
def imbalance_ends(
    price: NDArray[np.float64], threshold: float, ends: NDArray[np.int64], theta: NDArray[np.int64]
) -> int:
    """Bars that close when the sum of tick signs reaches ±threshold; returns how many closed."""
    sign = 1
    total = 0
    n = 0
    for i in range(price.shape[0]):
        if i > 0 and price[i] != price[i - 1]:
            sign = 1 if price[i] > price[i - 1] else -1
        total += sign
        if abs(total) >= threshold:
            ends[n] = i
            theta[n] = total
            n += 1
            total = 0
    return n


def build_bars(
    ts: ArrayLike,
    price: ArrayLike,
    size: ArrayLike,
    side: ArrayLike,
    kind: BarType,
    threshold: float,
    mode: Literal["reset", "carry"] = "reset",
) -> NDArray[np.void]:
    """Bars (BAR) of trades given as columns of shape (n,); ``side`` +1 when the aggressor bought.

    ``threshold``: trades, volume or price times volume a bar. ``ValueError`` unless it is positive and the names known.
    """
    if not threshold > 0.0 or kind not in {"tick", "volume", "dollar"} or mode not in {"reset", "carry"}:
        raise ValueError(f"no bars of kind {kind!r}, mode {mode!r}, threshold {threshold}")
    t, p, v, s = np.asarray(ts, np.int64), np.asarray(price, float), np.asarray(size, float), np.asarray(side)
    dollar = p * v
    amount = {"tick": np.ones(len(p)), "volume": v, "dollar": dollar}[kind]
    ends = np.empty(len(p), np.int64)
    ends = ends[: bar_ends(amount, float(threshold), mode == "carry", ends)]
    out = np.zeros(len(ends), BAR)
    if len(ends) == 0:
        return out
    first = np.append(0, ends[:-1] + 1)
    cut = slice(0, int(ends[-1]) + 1)
    out["i0"], out["i1"], out["n"] = first, ends, ends - first + 1
    out["open"], out["close"], out["t_open"], out["t_close"] = p[first], p[ends], t[first], t[ends]
    out["high"], out["low"] = np.maximum.reduceat(p[cut], first), np.minimum.reduceat(p[cut], first)
    out["volume"], out["dollar"] = np.add.reduceat(v[cut], first), np.add.reduceat(dollar[cut], first)
    out["buy_volume"] = np.add.reduceat(np.where(s > 0, v, 0.0)[cut], first)
    np.divide(out["dollar"], out["volume"], out=out["vwap"], where=out["volume"] > 0.0)
    return out


def imbalance_bars(price: ArrayLike, threshold: float) -> NDArray[np.int64]:
    """(first trade, last trade, imbalance) of each tick-imbalance bar, shape (n, 3); fixed threshold."""
    if not threshold > 0:
        raise ValueError(f"the threshold must be positive, got {threshold}")
    p = np.asarray(price, float)
    ends, theta = np.empty(len(p), np.int64), np.empty(len(p), np.int64)
    n = imbalance_ends(p, float(threshold), ends, theta)
    ends, theta = ends[:n], theta[:n]
    return np.column_stack([np.append(0, ends[:-1] + 1)[:n], ends, theta])
