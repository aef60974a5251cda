"""The papers' simulation: exact moments compared to the digit, Monte Carlo within its standard errors."""

from __future__ import annotations

from typing import Any

import numpy as np

from mm.sim import paper_sim as ps
from tests.golden.outcome import Outcome, Sampled

SEED = 2008
PATH_STEPS = 40_000_000  # Monte Carlo budget of one case
MAX_PATHS = 200_000


def _run(w: ps.World, offsets: ps.Offsets) -> tuple[ps.ExactResult, dict[str, Sampled]]:
    law = ps.exact_law(w, offsets)
    paths = min(MAX_PATHS, max(1000, PATH_STEPS // w.steps))
    mc = ps.sample(w, offsets, paths, np.random.default_rng(SEED))
    return law, {
        "pnl_mean": Sampled(mc.pnl_mean, law.pnl.std, paths, "pnl_std"),
        "pnl_std": Sampled(mc.pnl_std, law.pnl.se_std, paths, "se_std_per_sqrt_n"),
        "q_mean": Sampled(mc.q_mean, law.q.std, paths, "q_std"),
        "q_std": Sampled(mc.q_std, law.q.se_std, paths, "se_qstd_per_sqrt_n"),
        "fills_mean": Sampled(mc.fills_mean, law.fills.std, paths),
    }


def as_simulation_exact(i: dict[str, Any]) -> Outcome:
    w = ps.World(
        gamma=i["gamma"],
        k=i["k"],
        A=i["A"],
        sigma=i["sigma"],
        T=i["T"],
        dt=i["dt"],
        s0=i["s0"],
        q0=i["q0"],
        fill_rule=i["fill_probability"],
    )
    law, sampled = _run(w, ps.paper_offsets(w, i["strategy"], i["spread_mode"]))
    return Outcome(
        outputs={
            "avg_spread": float(ps.paper_spread(w, i["spread_mode"]).mean()),
            "pnl_mean": law.pnl.mean,
            "pnl_std": law.pnl.std,
            "q_mean": law.q.mean,
            "q_std": law.q.std,
            "fills_mean": law.fills.mean,
            "se_std_per_sqrt_n": law.pnl.se_std,
            "se_qstd_per_sqrt_n": law.q.se_std,
        },
        sampled=sampled,
        # the file's two standard errors come from its own sampled kurtosis; ours are exact
        loose={"se_std_per_sqrt_n": 0.05, "se_qstd_per_sqrt_n": 0.05},
    )


def policy_simulation_exact(i: dict[str, Any]) -> Outcome:
    w = ps.World(gamma=i["gamma"], k=i["k"], A=i["A"], sigma=i["sigma"], T=i["T"], dt=i["dt"])
    law, sampled = _run(w, ps.policy_offsets(w, i["policy"], i["Q"]))
    return Outcome(
        outputs={
            "pnl_mean": law.pnl.mean,
            "pnl_std": law.pnl.std,
            "q_mean": law.q.mean,
            "q_std": law.q.std,
            "fills_mean": law.fills.mean,
            "certainty_equivalent": law.certainty_equivalent,
            "continuous_optimum_ce": ps.continuous_optimum(w, i["Q"]),
        },
        sampled=sampled,
    )
