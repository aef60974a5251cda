"""Model ``random_control``: quotes placed at random, blind to inventory and market. A yardstick, not a strategy.

At every refresh each side's distance from the reference price is drawn evenly from [0, 2/kappa], so on average it is
the 1/kappa of a risk-neutral maker. Without any skill it must earn its spread, lose it again to adverse selection and
pay its fees; a fill model under which it earns more than that gives money away. Neither gamma nor sigma nor A matter.

The draws are a Lehmer sequence (Park & Miller 1988) that starts from the run's seed and lives in the policy, so that
a run repeats exactly.
"""

from __future__ import annotations

from typing import Final

from mm.core.jit import hot_kernel
from mm.core.types import Rec
from mm.models.base import set_affine, set_none

MODULUS: Final = 2147483647
MULTIPLIER: Final = 48271


@hot_kernel
def next_draw(state: int) -> int:
    """The state after ``state``, both in 1..MODULUS - 1."""
    return state * MULTIPLIER % MODULUS


@hot_kernel
def first_draw(seed: int) -> int:
    """Where a seed starts; near seeds begin far apart."""
    state = 1 + abs(seed) % (MODULUS - 1)
    for _ in range(3):
        state = next_draw(state)
    return state


@hot_kernel
def refresh(pol: Rec, p: Rec, sigma: float, tau_s: float) -> None:  # noqa: ARG001 - one signature for all models
    """A fresh pair of distances in ticks."""
    if not (p.kappa > 0.0 and p.gamma >= 0.0 and sigma >= 0.0):
        set_none(pol)
        return
    bid_state = first_draw(p.seed) if pol.draw == 0 else next_draw(pol.draw)
    ask_state = next_draw(bid_state)
    pol.draw = ask_state
    scale = 2.0 / (p.kappa * MODULUS)
    delta_bid, delta_ask = bid_state * scale, ask_state * scale
    set_affine(pol, 0.5 * (delta_bid + delta_ask), 0.0, 0.5 * (delta_bid - delta_ask))
