"""Section 7: perpetual arithmetic, the position ledger, quote rounding."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

from mm.core import perps
from mm.core.ledger import PositionLedger
from tests.golden.outcome import Outcome

Inputs = dict[str, Any]


def exact(number: float | str) -> Fraction:
    """A JSON number as the decimal that the file shows."""
    return Fraction(str(number))


def pnl_linear(i: Inputs) -> Outcome:
    rest = {"funding": i.get("funding", 0.0), "leverage": i.get("leverage", 1.0)}
    pnl = perps.pnl_linear(i["side"], i["size"], i["entry"], i["exit"], i["fee_open"], i["fee_close"], **rest)
    return Outcome(pnl._asdict())


def pnl_inverse(i: Inputs) -> Outcome:
    pnl = perps.pnl_inverse(i["side"], i["contracts_usd"], i["entry"], i["exit"], i["fee_open"], i["fee_close"])
    return Outcome(pnl._asdict())


def funding(i: Inputs) -> Outcome:
    flows = perps.funding_flows(i["type"], [(p, m, r) for p, m, r in i["settlements"]])
    return Outcome({"cash_flows": flows, "total": sum(flows)})


def liq_linear(i: Inputs) -> Outcome:
    return Outcome(perps.liquidation_linear(**i)._asdict())


def liq_inverse(i: Inputs) -> Outcome:
    return Outcome(perps.liquidation_inverse(**i)._asdict())


def position_ledger(i: Inputs) -> Outcome:
    outputs: dict[str, Any] = {}
    if "fills" in i:
        ledger = PositionLedger()
        states = []
        for quantity, price in i["fills"]:
            ledger.apply(exact(quantity), exact(price))
            entry = None if ledger.entry is None else float(ledger.entry)
            states.append([float(ledger.position), entry, float(ledger.realised)])
        outputs["states"] = states
    if "inverse_adds" in i:
        inverse = PositionLedger("inverse")
        for contracts, price in i["inverse_adds"]:
            inverse.apply(exact(contracts), exact(price))
        outputs["avg_entry"] = None if inverse.entry is None else float(inverse.entry)
    return Outcome(outputs)


def quote_rounding(i: Inputs) -> Outcome:
    from mm.strategy.rounding import round_quotes_exact

    names = ("raw_bid", "raw_ask", "tick", "best_bid", "best_ask", "q")
    bid, ask = round_quotes_exact(*(Decimal(str(i[name])) for name in names))
    return Outcome({"bid": None if bid is None else float(bid), "ask": None if ask is None else float(ask)})
