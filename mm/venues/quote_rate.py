"""How fast a quoter may send to a venue when the config does not say: below the venue's own rules."""

from __future__ import annotations

from typing import Final

from mm.config.schema import RateLimit
from mm.venues.spec import VenueSpec

QUESTIONS_PER_S: Final = 1.5  # reconciliation: open orders and a position every two seconds, and some more
_USABLE: Final = 0.9
_LEAST: Final = 0.1  # of a rule, however dear questions are


def quote_rate(spec: VenueSpec) -> RateLimit | None:
    """The pace that every rule allows beside reconciliation, a window as short as the shortest; None: no rules."""
    rules = [rule for rule in spec.rates if rule.weight("place")]
    if not rules:
        return None
    pace = window_s = float("inf")
    for rule in rules:
        asked = rule.weight("query") * QUESTIONS_PER_S * rule.window_s
        usable = max(rule.count * _USABLE - asked, rule.count * _LEAST)
        pace = min(pace, usable / max(rule.weight("place"), rule.weight("cancel")) / rule.window_s)
        window_s = min(window_s, rule.window_s)
    cancels = any(rule.weight("cancel") for rule in rules)
    orders = min(max(1, int(pace * window_s)), 10_000)
    return RateLimit.model_validate({"orders": orders, "window": f"{window_s} s", "cancels": cancels})
