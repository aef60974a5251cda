"""Sections 4 and 5: automated market makers and bidding for inclusion."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from mm.sim import amm, amm_v3, inclusion, inclusion_fit
from tests.golden.outcome import Outcome

Inputs = dict[str, Any]


def ratio(value: Fraction) -> str:
    return f"{value.numerator}/{value.denominator}"


def pool(i: Inputs) -> tuple[int, int, int, int]:
    return int(i["reserve_in"]), int(i["reserve_out"]), int(i["amount_in"]), int(i["fee_bps"])


def cp_swap_v2(i: Inputs) -> Outcome:
    reserve_in, reserve_out, amount, fee = pool(i)
    swap = amm.swap_v2(reserve_in, reserve_out, amount, fee)
    prices = amm.swap_prices(reserve_in, reserve_out, swap, fee)
    return Outcome(
        {
            "amount_out": str(swap.amount_out),
            "reserve_in_after": str(swap.reserve_in),
            "reserve_out_after": str(swap.reserve_out),
            "amount_in_for_that_out": str(amm.amount_in_v2(reserve_in, reserve_out, swap.amount_out, fee)),
            "exec_price_frac": ratio(prices.execution),
            "spot_before_frac": ratio(prices.spot_before),
            "spot_after_frac": ratio(prices.spot_after),
            "price_impact": prices.impact,
            "impact_ex_fee": prices.impact_ex_fee,
            "k_growth": prices.k_growth,
        }
    )


def cp_swap_aero_volatile(i: Inputs) -> Outcome:
    reserve_in, reserve_out, amount, fee = pool(i)
    swap = amm.swap_aero_volatile(reserve_in, reserve_out, amount, fee)
    prices = amm.swap_prices(reserve_in, reserve_out, swap, fee)
    return Outcome(
        {
            "fee": str(swap.fee),
            "amount_out": str(swap.amount_out),
            "reserve_in_after": str(swap.reserve_in),
            "reserve_out_after": str(swap.reserve_out),
            "spot_after_frac": ratio(prices.spot_after),
            "price_impact": prices.impact,
        }
    )


def stable_swap_aero(i: Inputs) -> Outcome:
    numbers = (int(i[name]) for name in ("reserve0", "reserve1", "decimals0", "decimals1", "fee_bps"))
    stable = amm.StablePool(*numbers)
    amount, way = int(i["amount_in"]), bool(i["zero_for_one"])
    fee, out = stable.amount_out(amount, way)
    return Outcome(
        {
            "fee": str(fee),
            "amount_out": str(out),
            "amount_out_real": stable.amount_out_real(amount, way),
            "marginal_price_before": stable.marginal_price(way),
        }
    )


def lp_mint_burn(i: Inputs) -> Outcome:
    r0, r1, supply, a0, a1 = (int(i[k]) for k in ("reserve0", "reserve1", "total_supply", "amount0", "amount1"))
    liquidity, after = amm.mint(r0, r1, supply, a0, a1)
    part = int(i.get("burn_liquidity", liquidity // 3))  # the file burns a third of what was minted
    burnt = amm.burn(r0 + a0, r1 + a1, after, part)
    return Outcome(
        {
            "liquidity": str(liquidity),
            "supply_after": str(after),
            "burn_liquidity": str(part),
            "burn_amount0": str(burnt[0]),
            "burn_amount1": str(burnt[1]),
        }
    )


def impermanent_loss(i: Inputs) -> Outcome:
    r = Fraction(str(i["price_ratio"]))
    exact = amm.impermanent_loss_exact(r)
    loss = amm.impermanent_loss(float(r)) if exact is None else float(exact)
    return Outcome({"il": loss, "il_frac": None if exact is None else ratio(exact)})


def cp_arbitrage(i: Inputs) -> Outcome:
    return Outcome(amm.arbitrage(i["x"], i["y"], i["fee"], i["p_ext"])._asdict())


def cl_step(i: Inputs) -> Outcome:
    names = ("sqrt_price_x96", "sqrt_target_x96", "liquidity", "amount_remaining", "fee_pips")
    step = amm_v3.swap_step(*(int(i[name]) for name in names))
    return Outcome(
        {
            "sqrt_next_x96": str(step.sqrt_next_x96),
            "amount_in": str(step.amount_in),
            "amount_out": str(step.amount_out),
            "fee_amount": str(step.fee_amount),
        }
    )


def cl_position(i: Inputs) -> Outcome:
    a0, a1 = amm_v3.position_amounts(i["P0"], i["pa"], i["pb"], i["L"])
    b0, b1 = amm_v3.position_amounts(i["P1"], i["pa"], i["pb"], i["L"])
    value, hold = b0 * i["P1"] + b1, a0 * i["P1"] + a1
    return Outcome(
        {
            "amount0_P0": a0,
            "amount1_P0": a1,
            "amount0_P1": b0,
            "amount1_P1": b1,
            "value_P1": value,
            "hold_P1": hold,
            "il": value / hold - 1.0,
        }
    )


def bribe_optimum(i: Inputs) -> Outcome:
    bid = inclusion.optimal_bid(i["V"], i["beta0"], i["beta1"], i.get("cost_if_not_included", 0.0), i.get("b_max"))
    if bid is None:
        return Outcome(dict.fromkeys(("b_star", "b_unclamped", "p_star", "value")))
    return Outcome({"b_star": bid.bid, "b_unclamped": bid.unclamped, "p_star": bid.probability, "value": bid.value})


def bribe_all_pay(i: Inputs) -> Outcome:
    bid = inclusion.all_pay_bid(i["V"], i["beta0"], i["beta1"])
    return Outcome({"b_star": bid.bid, "p_star": bid.probability, "value": bid.value})


def bribe_percentile(i: Inputs) -> Outcome:
    if i["mode"] == "percentile":
        return Outcome({"b": inclusion.percentile_bid(i["bids"], i["percentile"])})
    return Outcome({"b": inclusion.target_bid(i["target_p"], i["beta0"], i["beta1"])})


def logistic_fit(i: Inputs) -> Outcome:
    return Outcome(inclusion_fit.fit_logistic(i["bid"], i["included"])._asdict())
