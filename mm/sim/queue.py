"""Queue position of a resting order at one price level, inferred from L2 data.

``front`` is the quantity ahead of us. A trade at the level on the hitting side takes it down; a shrinking level is
cancels, ahead of us or behind us according to a model; semantics of hftbacktest's queue.rs (FORMULAS section 4),
without its two defects: partial fills are booked, and an exactly filled order is gone.

Probability that a cancelled lot stood *behind* us, for ``b`` behind and ``f`` ahead:
power ``b^n/(b^n+f^n)``, power2 ``b^n/(b+f)^n``, power3 ``1-(f/(f+b))^n``, log ``ln(1+b)/(ln(1+b)+ln(1+f))``,
log2 ``ln(1+b)/ln(1+b+f)``.
"""

from __future__ import annotations

import math
from typing import Any, Final

from mm.core.jit import hot_kernel

RISK_AVERSE: Final = 0
POWER: Final = 1
POWER2: Final = 2
POWER3: Final = 3
LOG: Final = 4
LOG2: Final = 5
TOUCH: Final = 6  # optimistic: nobody is ever ahead, a trade at our price fills us
TRADE_THROUGH: Final = 7  # pessimistic: only a trade beyond our price, or a touch that reaches it, fills us
MODELS: Final = {
    "risk_averse": RISK_AVERSE,
    "power": POWER,
    "power2": POWER2,
    "power3": POWER3,
    "log": LOG,
    "log2": LOG2,
    "touch": TOUCH,
    "trade_through": TRADE_THROUGH,
}


@hot_kernel
def _power(x: float, n: float) -> float:
    """x**n, without the library call for the exponents that people use."""
    if n == 2.0:
        return x * x
    if n == 1.0:
        return x
    return float(x**n)


@hot_kernel
def _log1p(x: float) -> float:
    """ln(1 + x) as compiled code has it, where plain Python raises: an estimate of the queue ahead may be negative."""
    if x > -1.0:
        return math.log1p(x)
    return -math.inf if x == -1.0 else math.nan


@hot_kernel
def probability_behind(model: int, n: float, front: float, back: float) -> float:
    """Probability that a cancel came from behind us; nan when the level is empty on both sides."""
    if model == POWER:
        b = _power(back, n)
        return b / (b + _power(front, n))
    if model == POWER2:
        return _power(back, n) / _power(back + front, n)
    if model == POWER3:
        return 1.0 - _power(front / (front + back), n)
    if model == LOG:
        return _log1p(back) / (_log1p(back) + _log1p(front))
    return _log1p(back) / _log1p(back + front)


@hot_kernel
def on_level_change(model: int, n: float, front: float, traded: float, prev: float, new: float) -> float:
    """Quantity ahead after a level went from ``prev`` to ``new``; what was ``traded`` meanwhile is not a cancel."""
    if model >= TOUCH:
        return front
    if model == RISK_AVERSE:
        return min(front, new)
    change = prev - new - traded
    if change < 0.0:
        return min(front, new)
    back = prev - front
    p = 1.0
    if model == POWER and front == 0.0 and back == 0.0:
        return new
    p = probability_behind(model, n, front, back)
    if math.isnan(p):
        return new
    if math.isinf(p):
        p = 1.0
    ahead = front - (1.0 - p) * change + min(back - p * change, 0.0)
    return min(ahead, new)


@hot_kernel
def lots_ahead(model: int, level: float) -> float:
    """Quantity ahead of an order that arrives at a level: all of it, none (touch) or more than ever trades."""
    if model == TOUCH:
        return 0.0
    if model == TRADE_THROUGH:
        return math.inf
    return level


@hot_kernel
def executed_lots(front_lots: float, leaves: int) -> int:
    """Lots filled once trades have eaten through everything ahead (``front_lots`` is negative then)."""
    if front_lots >= 0.0:
        return 0
    return min(math.floor(0.5 - front_lots), leaves)


def trace(
    model: list[Any],
    lot: float,
    side: str,  # noqa: ARG001 - the tape is told from our side, so both sides are alike
    tape: list[list[Any]],
) -> tuple[list[list[float | None]], float]:
    """Follow one order through a tape of ``[op, value]``: (state after each event, total filled).

    Ops: ``level`` new market quantity, ``place`` our order of that size, ``trade`` at the level, ``trade_through``
    at a worse price for us, ``cross`` the opposite best reaches our price. State: [front, filled now, leaves].
    """
    code = MODELS[model[0]]
    n = float(model[1]) if len(model) > 1 else 1.0
    level = front = traded = leaves = total = 0.0
    working = False
    out: list[list[float | None]] = []
    for op, *args in tape:
        filled = 0.0
        value = float(args[0]) if args else 0.0
        if op == "level":
            if working:
                front = on_level_change(code, n, front, traded, level, value)
                traded = 0.0
            level = value
        elif op == "place":
            working, front, traded, leaves = True, level, 0.0, value
        elif working and op == "trade":
            front -= value
            traded += value
            lots = executed_lots(front / lot, round(leaves / lot))
            if lots > 0:
                filled, front = lots * lot, 0.0
        elif working and op in ("trade_through", "cross"):
            filled = leaves
        if filled:
            leaves = round(leaves / lot) * lot - filled
            leaves = 0.0 if leaves < 0.5 * lot else leaves
            total += filled
            working = leaves > 0.0
        out.append([front if working else None, filled, leaves])
    return out, total
