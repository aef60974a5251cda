"""Where the controls live: a group in PARAMS and one in STATE, the last fields of both."""

from __future__ import annotations

import numpy as np

from mm.strategy.controls.cooldown import COOL, COOL_STATE
from mm.strategy.controls.inventory import INVENTORY, INVENTORY_STATE
from mm.strategy.controls.latch import LATCH, LATCH_STATE
from mm.strategy.controls.market import MARKET
from mm.strategy.controls.moves import MOVE
from mm.strategy.controls.names import ACTS
from mm.strategy.controls.reduce import BALANCE, PROTECTION, PROTECTION_STATE
from mm.strategy.controls.session import SESSION_DAY

CONTROL = np.dtype(
    [
        ("inventory", INVENTORY),
        ("cooldown", COOL),
        ("displacement", MOVE),
        ("momentum", MOVE),
        ("regime", LATCH),
        ("volatility", LATCH),
        ("market", MARKET),
        ("fee_floor", "f8"),  # fraction of the price, total spread
        ("session", SESSION_DAY),
        ("rebalance", BALANCE),
        ("protection", PROTECTION),
    ]
)
"""Settings of one strategy's controls; ``PARAMS.controls`` says which are on."""

CONTROL_STATE = np.dtype(
    [
        ("inventory", INVENTORY_STATE),
        ("cooldown", COOL_STATE),
        ("regime", LATCH_STATE),
        ("volatility", LATCH_STATE),
        ("rebalance", "i8"),
        ("protection", PROTECTION_STATE),
        ("acted", "i8", (len(ACTS),)),  # decisions in which each acted
        ("paused", "i8"),  # decisions in which any of them kept a side from being quoted
    ]
)
