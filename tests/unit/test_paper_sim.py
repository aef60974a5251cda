"""The papers' simulation against a brute-force tree, and its Monte Carlo against the exact law."""

import itertools
import math

import numpy as np
import pytest

from mm.sim import paper_sim as ps

WORLD = {"gamma": 0.2, "k": 1.5, "A": 60.0, "sigma": 2.0, "T": 0.03, "dt": 0.01}


def tree(w, offsets):
    """Every outcome of every step: [(probability, profit, inventory, fills)]. Profit as the paper books it."""
    centre = (offsets.bid.shape[1] - 1) // 2
    leaves = [(1.0, 0.0, w.s0, w.q0, 0)]  # probability, cash, mid, inventory, fills
    for j in range(w.steps):
        nxt = []
        for p, cash, mid, q, fills in leaves:
            db, da = offsets.bid[j, centre + q], offsets.ask[j, centre + q]
            pb, pa = (float(ps.fill_probability(w, np.array(d))) for d in (db, da))
            for bid, ask, move in itertools.product((0, 1), (0, 1), (-1, 1)):
                weight = (pb if bid else 1 - pb) * (pa if ask else 1 - pa) / 2
                if weight > 0:
                    money = cash + (mid + da if ask else 0) - (mid - db if bid else 0)
                    new_mid = mid + move * w.sigma * math.sqrt(w.dt)
                    nxt.append((p * weight, money, new_mid, q + bid - ask, fills + bid + ask))
        leaves = nxt
    return [(p, cash + q * mid, q, fills) for p, cash, mid, q, fills in leaves]


def check(w, offsets):
    law = ps.exact_law(w, offsets)
    leaves = np.array(tree(w, offsets))
    p = leaves[:, 0]
    assert p.sum() == pytest.approx(1.0)
    for column, got in ((1, law.pnl), (2, law.q), (3, law.fills)):
        x = leaves[:, column]
        mean = p @ x
        variance, fourth = p @ (x - mean) ** 2, p @ (x - mean) ** 4
        assert got.mean == pytest.approx(mean, rel=1e-9, abs=1e-9)
        assert got.std == pytest.approx(math.sqrt(variance), rel=1e-9)
        assert got.se_std == pytest.approx(math.sqrt(fourth - variance**2) / (2 * math.sqrt(variance)), rel=1e-7)
    ce = -math.log(p @ np.exp(-w.gamma * leaves[:, 1])) / w.gamma
    assert law.certainty_equivalent == pytest.approx(ce, rel=1e-9)


@pytest.mark.parametrize("rule", ["min(1,lambda*dt)", "1-exp(-lambda*dt)"])
@pytest.mark.parametrize(("strategy", "mode"), [("inventory", "full"), ("symmetric", "avg"), ("inventory", "const")])
def test_exact_law_of_the_paper_is_the_tree(rule, strategy, mode):
    w = ps.World(**WORLD, fill_rule=rule)
    check(w, ps.paper_offsets(w, strategy, mode))


@pytest.mark.parametrize("policy", ps.POLICIES)
def test_exact_law_of_policies_is_the_tree(policy):
    w = ps.World(**WORLD, q0=1)
    check(w, ps.policy_offsets(w, policy, 2))


def test_monte_carlo_agrees_with_the_exact_law():
    w = ps.World(**(WORLD | {"T": 0.2}))
    offsets = ps.policy_offsets(w, "glft_asymptotic", 3)
    law, mc = ps.exact_law(w, offsets), ps.sample(w, offsets, 5000, np.random.default_rng(1))
    root = math.sqrt(mc.paths)
    assert abs(mc.pnl_mean - law.pnl.mean) < 4 * law.pnl.std / root
    assert abs(mc.pnl_std - law.pnl.std) < 4 * law.pnl.se_std / root
    assert abs(mc.q_mean - law.q.mean) < 4 * law.q.std / root
    assert abs(mc.q_std - law.q.std) < 4 * law.q.se_std / root
    assert abs(mc.fills_mean - law.fills.mean) < 4 * law.fills.std / root
    assert mc == ps.sample(w, offsets, 5000, np.random.default_rng(1)), "same seed, same result"


def test_the_exact_policy_approaches_the_continuous_optimum():
    gaps = []
    for dt in (0.01, 0.0025):
        w = ps.World(gamma=0.1, k=1.5, A=20.0, sigma=2.0, T=0.5, dt=dt)
        law = ps.exact_law(w, ps.policy_offsets(w, "glft_exact", 4))
        gaps.append(ps.continuous_optimum(w, 4) - law.certainty_equivalent)
    assert gaps[0] > gaps[1] > 0
    assert gaps[1] < 0.3 * gaps[0]


def test_risk_neutral_certainty_equivalent_is_the_mean():
    w = ps.World(**(WORLD | {"gamma": 0.0}))
    law = ps.exact_law(w, ps.paper_offsets(w, "symmetric", "const"))
    assert law.certainty_equivalent == law.pnl.mean


def test_unknown_names_and_worlds_are_refused():
    w = ps.World(**WORLD)
    for call in (
        lambda: ps.World(**WORLD, fill_rule="always"),
        lambda: ps.World(**(WORLD | {"dt": 0.0})),
        lambda: ps.paper_spread(w, "wide"),
        lambda: ps.paper_offsets(w, "momentum", "full"),
        lambda: ps.policy_offsets(w, "hope", 3),
    ):
        with pytest.raises(ValueError):
            call()
