"""Every kind of golden case and the mapping that evaluates it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.golden import map_amm, map_estimators, map_learn, map_micro, map_models, map_money, map_sim, map_stats
from tests.golden.outcome import Outcome

KINDS: dict[str, Callable[[dict[str, Any]], Outcome]] = {
    mapping.__name__: mapping
    for mapping in (
        map_models.as_quotes,
        map_models.as_vs_glft,
        map_models.gamma_from_qmax,
        map_models.glft_asymptotic,
        map_models.glft_exact,
        map_models.glft_stationary,
        map_models.percent_formula_audit,
        map_models.seed_formula_audit,
        map_models.unit_conversion,
        map_sim.as_simulation_exact,
        map_sim.policy_simulation_exact,
        map_money.funding,
        map_money.liq_inverse,
        map_money.liq_linear,
        map_money.pnl_inverse,
        map_money.pnl_linear,
        map_money.position_ledger,
        map_money.quote_rounding,
        map_micro.lob_script,
        map_micro.queue_model,
        map_stats.kupiec_pof,
        map_stats.max_drawdown,
        map_stats.sharpe_annualisation,
        map_stats.var_cvar,
        map_amm.bribe_all_pay,
        map_amm.bribe_optimum,
        map_amm.bribe_percentile,
        map_amm.cl_position,
        map_amm.cl_step,
        map_amm.cp_arbitrage,
        map_amm.cp_swap_aero_volatile,
        map_amm.cp_swap_v2,
        map_amm.impermanent_loss,
        map_amm.logistic_fit,
        map_amm.lp_mint_burn,
        map_amm.stable_swap_aero,
        map_estimators.intensity_estimators,
        map_estimators.intensity_estimators_mc,
        map_estimators.kappa_from_book,
        map_estimators.volatility_,
        map_learn.adx_wilder,
        map_learn.bars,
        map_learn.bet_size,
        map_learn.deflated_sharpe,
        map_learn.ffd_series,
        map_learn.ffd_weights,
        map_learn.imbalance_bars,
        map_learn.pbo_cscv,
        map_learn.purged_kfold,
        map_learn.rsi_wilder,
        map_learn.triple_barrier,
        map_learn.triple_barrier_ohlc,
    )
}
