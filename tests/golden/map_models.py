"""Sections 1 and 2: quote models, units, legacy formulas."""

from __future__ import annotations

from typing import Any

import numpy as np

from mm.models import avellaneda_stoikov, glft, legacy_glft, legacy_percent, units
from mm.models.risk_aversion import gamma_from_qmax as solve_gamma
from tests.golden.outcome import Outcome

Inputs = dict[str, Any]


def as_quotes(i: Inputs) -> Outcome:
    return Outcome(avellaneda_stoikov.quotes(i["s"], i["q"], i["gamma"], i["sigma"], i["tau"], i["k"])._asdict())


def as_vs_glft(i: Inputs) -> Outcome:
    gamma, k, sigma, n = i["gamma"], i["k"], i["sigma"], i["nQ"]
    rows = []
    for tau in i.get("tau", (1e-4, 1e-3, 1e-2, 1e-1, 1.0)):
        table = glft.exact(gamma, k, i["A"], sigma, tau, n)
        for q in i.get("q", (0, 2)):
            near = avellaneda_stoikov.quotes(0.0, q, gamma, sigma, tau, k)
            rows.append(
                {
                    "tau": tau,
                    "q": q,
                    "exact_delta_b": table.delta_bid[n + q],
                    "exact_delta_a": table.delta_ask[n + q],
                    "as_delta_b": near.delta_bid,
                    "as_delta_a": near.delta_ask,
                }
            )
    return Outcome({"rows": rows})


def _glft_arguments(i: Inputs) -> dict[str, Any]:
    names = {"Delta": "delta", "xi": "xi", "mu": "mu", "impact": "impact"}
    optional = {ours: i[theirs] for theirs, ours in names.items() if theirs in i}
    return {"gamma": i["gamma"], "k": i["k"], "A": i["A"], "sigma": i["sigma"], **optional}


def glft_exact(i: Inputs) -> Outcome:
    table = glft.exact(**_glft_arguments(i), tau=i["tau"], n_lots=i["n_lots"])
    return Outcome({"q": table.q, "delta_b": table.delta_bid, "delta_a": table.delta_ask})


def glft_stationary(i: Inputs) -> Outcome:
    table = glft.stationary(**_glft_arguments(i), n_lots=i["n_lots"])
    return Outcome({"q": table.q, "delta_b": table.delta_bid, "delta_a": table.delta_ask})


def glft_asymptotic(i: Inputs) -> Outcome:
    interior = min(5, i["n_lots"] - 1)  # the file samples the closed form where both sides quote, up to 5 orders
    q = np.arange(-interior, interior + 1) * float(i.get("Delta", 1.0))
    closed = glft.asymptotic(**_glft_arguments(i), q=q)
    names = {"delta_bid": "delta_b", "delta_ask": "delta_a"}
    return Outcome({"q": q} | {names.get(k, k): v for k, v in closed._asdict().items()})


def gamma_from_qmax(i: Inputs) -> Outcome:
    gamma = solve_gamma(i["k"], i["A"], i["sigma"], i["q_max"], i.get("xi"))
    closed = glft.asymptotic(gamma, i["k"], i["A"], i["sigma"], xi=i.get("xi"))
    return Outcome({"gamma": gamma, "half_spread": closed.half_spread, "skew": closed.skew})


def seed_formula_audit(i: Inputs) -> Outcome:
    arguments = (i["gamma"], i["k"], i["A"], i["sigma"])
    seed, right = legacy_glft.seed_formula(*arguments), glft.asymptotic(*arguments)
    half_limit, skew_limit = legacy_glft.small_gamma_limit(*arguments)
    return Outcome(
        {
            "seed_half": seed.half_spread,
            "seed_skew": seed.skew,
            "right_half": right.half_spread,
            "right_skew": right.skew,
            "right_half_small_gamma_limit": half_limit,
            "right_skew_small_gamma_limit": skew_limit,
            "seed_first_term": seed.first_term,
            "right_first_term": right.c1,
        }
    )


def percent_formula_audit(i: Inputs) -> Outcome:
    spread = legacy_percent.spread_fraction(
        i["gamma"], i["k"], i["sigma_frac"], i["tau"], i["min_spread"], i["max_spread"]
    )
    q = i.get("q", 0.0)
    skew = legacy_percent.equivalent_skew(q, i["gamma"], i["sigma_frac"], i["tau"], spread.raw)
    return Outcome(spread._asdict() | {"skew_equiv": skew})


def unit_conversion(i: Inputs) -> Outcome:
    mid, u, lot = i["mid"], i["u"], i["lot"]
    sigma = units.sigma_from_daily(mid, i["sigma_daily"])
    hat = units.to_scale_free(i["gamma"], i["k"], i["A"], sigma, u, lot)
    dollars = glft.asymptotic(i["gamma"], i["k"], i["A"], sigma, delta=lot, q=i["q"])
    scaled = glft.asymptotic(hat.gamma, hat.kappa, hat.A, hat.sigma, q=i["q"] / lot)
    return Outcome(
        {
            "sigma_dollar_per_sqrt_s": sigma,
            "sigma_hat": hat.sigma,
            "k_hat": hat.kappa,
            "gamma_hat": hat.gamma,
            "A_hat": hat.A,
            "q_hat": i["q"] / lot,
            "half_spread_dollar": dollars.half_spread,
            "skew_dollar_per_base": dollars.skew,
            "delta_b_dollar": float(dollars.delta_bid),
            "delta_a_dollar": float(dollars.delta_ask),
            "half_spread_u": scaled.half_spread,
            "skew_u_per_lot": scaled.skew,
            "delta_b_u": float(scaled.delta_bid),
            "delta_a_u": float(scaled.delta_ask),
            "half_spread_bps": units.to_bps(scaled.half_spread * u, mid),
        }
    )
