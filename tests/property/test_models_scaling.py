"""What must hold for all parameters: units do not matter, every input does."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm.core.types import records
from mm.models import avellaneda_stoikov, glft
from mm.models.base import POLICY, deltas
from mm.models.dispatch import refresh
from mm.models.registry import MODELS, model_params
from mm.models.tridiagonal import ground_state

SOUND = [name for name, spec in MODELS.items() if not (spec.legacy or spec.blind)]


def between(low, high):
    return st.floats(np.log(low), np.log(high)).map(lambda x: float(np.exp(x)))


MARKETS = st.fixed_dictionaries(
    {"gamma": between(1e-4, 1.0), "kappa": between(0.05, 5.0), "A": between(0.05, 50.0), "sigma": between(0.05, 5.0)}
)


def quote(model, market, q, tau=5.0, **more):
    market = dict(market)
    sigma = market.pop("sigma")
    pol = records(1, POLICY)
    refresh(pol[0], model_params(model, n_lots=8, **market, **more)[0], sigma, tau)
    return np.array(deltas(pol[0], q))


@settings(deadline=None, max_examples=40)
@given(MARKETS, between(1e-3, 1e3), st.integers(-7, 7), st.sampled_from(SOUND))
def test_rescaling_the_price_unit_rescales_quotes(market, u, q, model):
    other = {
        "gamma": market["gamma"] * u,
        "kappa": market["kappa"] * u,
        "A": market["A"],
        "sigma": market["sigma"] / u,
    }
    np.testing.assert_allclose(quote(model, other, q) * u, quote(model, market, q), rtol=1e-7, atol=1e-7)


@settings(deadline=None, max_examples=40)
@given(MARKETS, between(1e-3, 1e3), st.integers(-7, 7), st.sampled_from(SOUND))
def test_rescaling_time_does_not_move_quotes(market, u, q, model):
    other = market | {"A": market["A"] * u, "sigma": market["sigma"] * np.sqrt(u)}
    np.testing.assert_allclose(
        quote(model, other, q, tau=5.0 / u), quote(model, market, q, tau=5.0), rtol=1e-7, atol=1e-7
    )


@settings(deadline=None, max_examples=25)
@given(MARKETS, between(1e-3, 1e2), st.integers(-3, 3))
def test_order_size_is_a_unit_too(market, lot, q):
    g, k, A, s = market["gamma"], market["kappa"], market["A"], market["sigma"]
    for ours, scaled in (
        (glft.exact(g / lot, k, A, s, 5.0, 3, delta=lot), glft.exact(g, k, A, s, 5.0, 3)),
        (glft.stationary(g / lot, k, A, s, 3, delta=lot), glft.stationary(g, k, A, s, 3)),
        (glft.asymptotic(g / lot, k, A, s, delta=lot, q=q * lot), glft.asymptotic(g, k, A, s, q=q)),
        (
            avellaneda_stoikov.quotes(0.0, q * lot, g / lot, s, 5.0, k, delta=lot),
            avellaneda_stoikov.quotes(0.0, q, g, s, 5.0, k),
        ),
    ):
        np.testing.assert_allclose(ours.delta_bid, scaled.delta_bid, rtol=1e-8, atol=1e-8)
        np.testing.assert_allclose(ours.delta_ask, scaled.delta_ask, rtol=1e-8, atol=1e-8)


@settings(deadline=None, max_examples=40)
@given(MARKETS, st.integers(1, 6), st.sampled_from(SOUND), st.sampled_from(["gamma", "kappa", "A", "sigma", "q"]))
def test_every_input_moves_a_quote(market, q, model, what):
    before = quote(model, market, q)
    changed = market if what == "q" else market | {what: market[what] * 1.3}
    after = quote(model, changed, q - 1 if what == "q" else q)
    if model == "avellaneda_stoikov" and what == "A":
        assert (before == after).all(), "A-S does not know the arrival rate"
    else:
        assert not np.allclose(before, after, rtol=1e-9, atol=0.0)


@settings(deadline=None, max_examples=40)
@given(MARKETS, st.sampled_from(SOUND))
def test_skew_is_monotone_in_inventory(market, model):
    inventories = np.arange(-7, 8)
    quotes = np.array([quote(model, market, q) for q in inventories])
    assert (np.diff(quotes[:, 0]) > 0).all()
    assert (np.diff(quotes[:, 1]) < 0).all()


@settings(deadline=None, max_examples=25)
@given(MARKETS, st.sampled_from(["glft_asymptotic", "glft_stationary", "glft_exact", "avellaneda_stoikov"]))
def test_a_rising_market_leans_quotes_up(market, model):
    calm, rising = quote(model, market, 0.0), quote(model, market, 0.0, mu=0.01 * market["sigma"])
    assert rising[0] < calm[0]
    assert rising[1] > calm[1]


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 60), between(1e-9, 1e6), st.floats(-1.5, 1.5))
def test_ground_state_solves_the_eigenvalue_equation(n, curvature, centre):
    e = curvature * (np.arange(-n, n + 1) - centre * n) ** 2
    e -= e.min()
    rho = np.empty(e.size - 1)
    x = ground_state(e, rho)
    beside = np.zeros(e.size)
    beside[:-1] += np.exp(-rho)  # v_{i+1}/v_i
    beside[1:] += np.exp(rho)  # v_{i-1}/v_i
    assert beside == pytest.approx(e + x, rel=1e-9, abs=1e-9)
