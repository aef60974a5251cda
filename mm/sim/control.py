"""The control of a fill model: the same run with blind random quotes (model ``random_control``).

Blind quotes have no edge. Before fees they earn their distance from the mid and lose it to adverse selection; with
fees they must lose about the fees. A fill model under which they do better gives fills away.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from mm.config.schema import GammaFromQmax, RunConfig
from mm.core.units import Distance, PerPrice
from mm.data.touch import Walker
from mm.sim.tape import Tape

REACH_TICKS: Final = 2.0  # how far beyond the typical touch the control's quotes lie at most
_ROWS: Final = 1 << 20  # looked at for the typical touch
_UNBOUND: Final = Distance(1e6, "ticks")


def half_touch_ticks(tape: Tape) -> float:
    """Median half spread of the recorded book, ticks; over the first million rows."""
    base_tick, n_levels = tape.book_window
    words = tape.words[:_ROWS]
    bid, ask = Walker((base_tick, n_levels)).feed(
        (words >> 28).astype(np.uint8), (words & 0xFFFFFFF).astype(np.int64) + base_tick, tape.lots[: len(words)]
    )
    shown = bid > 0
    return 0.5 * float(np.median((ask - bid)[shown])) if shown.any() else 0.5


def control_config(cfg: RunConfig, half_touch: float, seed: int, reach_ticks: float = REACH_TICKS) -> RunConfig:
    """``cfg`` with blind quotes instead of its model: each side evenly within ``half_touch + reach_ticks`` of the mid.

    Latency, queue, fees, order size and risk limits stay; spread bounds and requote threshold, which would move the
    quotes, go. ``seed`` chooses the draws.
    """
    model = cfg.strategy.model.model_copy(
        update={
            "name": "random_control",
            "kappa": PerPrice(2.0 / (half_touch + reach_ticks), "ticks"),
            "gamma": GammaFromQmax(q_max=5.0),
        }
    )
    strategy = cfg.strategy.model_copy(
        update={
            "model": model,
            "reference": "mid",
            "spread": cfg.strategy.spread.model_copy(
                update={"min": Distance(0.0, "ticks"), "max": _UNBOUND, "max_skew": _UNBOUND}
            ),
            "requote": cfg.strategy.requote.model_copy(update={"threshold": Distance(1.0, "ticks")}),
        }
    )
    return cfg.model_copy(update={"strategy": strategy, "seed": seed})
