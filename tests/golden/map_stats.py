"""Section 6, risk statistics."""

from __future__ import annotations

import math
from typing import Any

from mm.core import stats
from tests.golden.outcome import Outcome

Inputs = dict[str, Any]


def max_drawdown(i: Inputs) -> Outcome:
    return Outcome(stats.drawdown(i["equity"])._asdict())


def sharpe_annualisation(i: Inputs) -> Outcome:
    periods = i["periods_per_year"]
    per_period = stats.sharpe(i["returns"])
    eta = stats.lo_factor(periods, i.get("rho", ()))
    return Outcome(
        {
            "sharpe_period": per_period,
            "sharpe_annual": None if per_period is None else per_period * math.sqrt(periods),
            "lo_factor": eta,
            "sharpe_annual_lo": None if per_period is None or eta is None else per_period * eta,
            # what a daily series gives with the trading days of a stock exchange
            "wrong_252": per_period * math.sqrt(252) if per_period is not None and periods == 365 else None,
        }
    )


def var_cvar(i: Inputs) -> Outcome:
    return Outcome(stats.tail_risk(i["returns"], i["alpha"])._asdict())


def kupiec_pof(i: Inputs) -> Outcome:
    lr, p_value = stats.kupiec_pof(i["n"], i["x"], i["p"])
    return Outcome({"lr": lr, "p_value": p_value})
