"""Quote models against slow references, and every registered model against the contract of a policy."""

import math

import numpy as np
import pytest
from scipy.linalg import eigh_tridiagonal, expm

from mm.core.types import records
from mm.errors import ConfigError
from mm.models import avellaneda_stoikov, glft, legacy_glft, legacy_percent, units
from mm.models.base import AFFINE, MAX_Q, NO_QUOTE, POLICY, TABLE, deltas
from mm.models.dispatch import refresh
from mm.models.registry import MODELS, model_params
from mm.models.risk_aversion import gamma_from_qmax

MARKET = {"gamma": 0.01, "kappa": 0.3, "A": 0.9, "mid_ticks": 50_000.0}
SIGMA, TAU = 0.3, 600.0


def policy(model, sigma=SIGMA, tau=TAU, **changes):
    pol = records(1, POLICY)
    refresh(pol[0], model_params(model, **(MARKET | changes))[0], sigma, tau)
    return pol[0]


def matrix(gamma, k, A, sigma, n, delta=1.0, xi=None, mu=0.0, impact=0.0):
    """(M, c1 + impact/2) of GLFT, written out."""
    xi = gamma if xi is None else xi
    z = xi * delta / k
    eta = A / math.e if z == 0 else A * (1 + z) ** -(1 + 1 / z)
    eta *= math.exp(-k * impact / 2)
    q = np.arange(-n, n + 1) * delta
    diagonal = k * gamma * sigma**2 / (2 * delta) * q**2 - k * mu / delta * q
    c1 = 1 / k if z == 0 else math.log(1 + z) / (xi * delta)
    beside = np.full(2 * n, -eta)
    return np.diag(diagonal) + np.diag(beside, 1) + np.diag(beside, -1), c1 + impact / 2


CASES = [
    {"gamma": 0.1, "k": 1.5, "A": 140.0, "sigma": 2.0},
    {"gamma": 0.01, "k": 0.3, "A": 0.9, "sigma": 0.3, "mu": 0.002, "xi": 0.05},
    {"gamma": 0.01, "k": 0.3, "A": 0.9, "sigma": 0.3, "xi": 0.0},
    {"gamma": 0.0, "k": 0.3, "A": 0.9, "sigma": 0.3},
    {"gamma": 0.5, "k": 0.05, "A": 0.5, "sigma": 6.8, "delta": 0.001, "impact": 2.0},
]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("tau", [0.0, 0.01, 1.0, 20.0])
def test_exact_agrees_with_expm(case, tau):
    n, k = 5, case["k"]
    m, base = matrix(n=n, **case)
    lowest = np.linalg.eigvalsh(m)[0]
    v = expm((lowest * np.eye(2 * n + 1) - m) * tau) @ np.exp(
        -0.5 * k * case.get("impact", 0.0) * np.arange(-n, n + 1) ** 2
    )
    table = glft.exact(tau=tau, n_lots=n, **case)
    np.testing.assert_allclose(table.delta_bid[:-1], np.log(v[:-1] / v[1:]) / k + base, rtol=1e-9)
    np.testing.assert_allclose(table.delta_ask[1:], np.log(v[1:] / v[:-1]) / k + base, rtol=1e-9)
    np.testing.assert_allclose(table.log_value, np.log(v) - lowest * tau, rtol=1e-9, atol=1e-9)
    assert math.isnan(table.delta_bid[-1])
    assert math.isnan(table.delta_ask[0])


@pytest.mark.parametrize("case", CASES)
def test_stationary_agrees_with_an_eigensolver(case):
    n, k = 5, case["k"]
    m, base = matrix(n=n, **case)
    _, vectors = eigh_tridiagonal(np.diag(m), np.diag(m, 1))
    v = np.abs(vectors[:, 0])
    table = glft.stationary(n_lots=n, **case)
    np.testing.assert_allclose(table.delta_bid[:-1], np.log(v[:-1] / v[1:]) / k + base, rtol=1e-8)


@pytest.mark.parametrize("n", [1, 12, pytest.param(80, marks=pytest.mark.slow)])
def test_a_long_horizon_is_stationary_without_overflow(n):
    case = {"gamma": 1.0, "k": 1.5, "A": 2.0, "sigma": 3.0, "n_lots": n}  # values span 1e±1500 at n = 80
    long, limit = glft.exact(tau=1e7, **case), glft.stationary(**case)
    np.testing.assert_allclose(long.delta_bid, limit.delta_bid, rtol=0, atol=1e-9)


def test_as_is_the_first_order_of_exact():
    g, k, A, sigma = 0.1, 1.5, 140.0, 2.0
    errors = []
    for tau in (1e-3, 1e-2):
        near = avellaneda_stoikov.quotes(100.0, 2, g, sigma, tau, k)
        errors.append(abs(glft.exact(g, k, A, sigma, tau, 10).delta_bid[12] - near.delta_bid))
    assert 0 < errors[0] < 1e-6
    assert 500 < errors[1] / errors[0] < 2000  # third order


def test_as_quotes_are_consistent():
    x = avellaneda_stoikov.quotes(100.0, 3, 0.1, 2.0, 0.5, 1.5, delta=2.0, mu=0.4)
    assert x.ask - x.bid == pytest.approx(x.spread)
    assert 0.5 * (x.ask + x.bid) == pytest.approx(x.reservation_price)
    assert x.reservation_price == pytest.approx(100.0 + 0.4 * 0.5 - 3 * 0.1 * 4 * 0.5)
    assert x.spread_liquidity_term == pytest.approx(2 / 0.2 * math.log(1 + 0.2 / 1.5))


def test_closed_form_limits():
    tiny, zero = (glft.asymptotic(1e-9, 1.5, 140.0, 2.0, xi=x, q=1.0) for x in (1e-13, 0.0))
    assert tiny.half_spread == pytest.approx(zero.half_spread, rel=1e-9)
    risk_neutral = glft.asymptotic(0.0, 1.5, 140.0, 2.0, q=[0.0, 5.0])
    np.testing.assert_allclose(risk_neutral.delta_bid, 1 / 1.5)
    assert math.isnan(glft.asymptotic(0.0, 1.5, 140.0, 2.0, mu=0.1).delta_bid)


def test_gamma_from_qmax_puts_the_ask_on_the_mid():
    for xi in (None, 0.2):
        gamma = gamma_from_qmax(0.3, 0.9, 0.5, 7.0, xi=xi)
        assert float(glft.asymptotic(gamma, 0.3, 0.9, 0.5, xi=xi, q=7.0).delta_ask) == pytest.approx(0.0, abs=1e-9)
    for bad in ((0.3, 0.9, 0.5, 0.5), (0.3, 0.9, 0.0, 7.0), (0.0, 0.9, 0.5, 7.0), (0.3, 0.0, 0.5, 7.0)):
        with pytest.raises(ConfigError):
            gamma_from_qmax(*bad)


def test_units_round_trip():
    hat = units.to_scale_free(0.5, 0.05, 0.5, 6.8, 0.1, 0.001)
    assert units.from_scale_free(hat, 0.1, 0.001) == pytest.approx((0.5, 0.05, 0.5, 6.8))
    assert units.sigma_from_daily(100_000.0, 0.02) == pytest.approx(6.804, abs=1e-3)
    assert units.to_bps(5.0, 50_000.0) == pytest.approx(1.0)


def test_impossible_parameters_raise():
    with pytest.raises(ValueError, match="gamma"):
        glft.stationary(-0.1, 1.5, 140.0, 2.0, 5)
    with pytest.raises(ValueError, match="tau"):
        glft.exact(0.1, 1.5, 140.0, 2.0, -1.0, 5)
    with pytest.raises(ArithmeticError, match="represented"):
        glft.stationary(0.1, 1.5, 1e-320, 2.0, 5)


def test_legacy_formulas_are_wrong_in_the_known_ways():
    arguments = (1e-6, 0.5, 20.0, 30.0)
    assert legacy_glft.seed_formula(*arguments).half_spread > 10 * glft.asymptotic(*arguments).half_spread
    assert legacy_glft.seed_formula(0.0, 0.5, 20.0, 30.0).half_spread == math.inf
    half, skew = legacy_glft.small_gamma_limit(*arguments)
    assert half == pytest.approx(glft.asymptotic(*arguments).half_spread, rel=1e-5)
    assert skew == pytest.approx(glft.asymptotic(*arguments).skew, rel=1e-5)
    spread = legacy_percent.spread_fraction(0.1, 1.5, 0.02, 1.0, 1e-4, 5e-3)
    assert spread.raw > 1.0
    assert spread.clamp_binds
    assert legacy_percent.equivalent_skew(2.0, 0.1, 2.0, 1.0, 1.6) == pytest.approx(1.0)


# --- every registered model ------------------------------------------------------------------------------------------
def test_ids_are_unique():
    assert len({spec.model_id for spec in MODELS.values()}) == len(MODELS)


@pytest.mark.parametrize("model", MODELS)
def test_conformance(model):
    pol = policy(model)
    assert pol.kind == (AFFINE if MODELS[model].shape == "affine" else TABLE)
    bids, asks = zip(*(deltas(pol, q) for q in np.linspace(-9, 9, 37)), strict=True)
    assert np.isfinite(bids).all()
    assert np.isfinite(asks).all()
    if MODELS[model].blind:
        assert len(set(bids)) == len(set(asks)) == 1, "inventory does not matter"
        return
    assert (np.diff(bids) > 0).all(), "a longer maker bids lower"
    assert (np.diff(asks) < 0).all(), "a longer maker offers lower"
    assert deltas(pol, 2.5) == pytest.approx(deltas(pol, -2.5)[::-1]), "mirror image"


@pytest.mark.parametrize("model", MODELS)
def test_tau_matters_exactly_where_the_registry_says(model):
    same = deltas(policy(model, tau=0.5), 2.0) == deltas(policy(model, tau=5.0), 2.0)
    # the percent formula has tau, but its clamp hides it
    assert same == (not MODELS[model].uses_tau or model == "legacy_percent")


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    "bad", [{"gamma": math.nan}, {"gamma": -1.0}, {"kappa": 0.0}, {"sigma": math.nan}, {"sigma": -1.0}]
)
def test_degenerate_parameters_quote_nothing(model, bad):
    params = model_params(model, **MARKET)
    sigma = bad.get("sigma", SIGMA)
    for name, value in bad.items():
        params[0][name] = value
    pol = records(1, POLICY)
    refresh(pol[0], params[0], sigma, TAU)
    assert pol[0].kind == NO_QUOTE
    assert all(math.isnan(d) for d in deltas(pol[0], 0.0))


def test_unknown_model_and_oversized_table_quote_nothing():
    for field, value in (("model_id", 99), ("n_lots", MAX_Q + 1), ("n_lots", 0)):
        params = model_params("glft_stationary", **MARKET)
        params[0][field] = value
        pol = records(1, POLICY)
        refresh(pol[0], params[0], SIGMA, TAU)
        assert pol[0].kind == NO_QUOTE
    assert math.isnan(deltas(records(1, POLICY)[0], 0.0)[0]), "a zeroed policy quotes nothing"


def test_a_matrix_beyond_floats_quotes_nothing():
    assert policy("glft_exact", A=1e-300, sigma=1e10).kind == NO_QUOTE
    assert policy("glft_stationary", A=1e-300, sigma=1e10).kind == NO_QUOTE


@pytest.mark.slow
def test_hopeless_stiffness_quotes_nothing():
    # a drift that makes q = 0 and q = 1 equally good, and hardly any order ever arrives: relaxation takes for ever
    arguments = {"A": 1e-9, "n_lots": 1, "mu": 0.5 * 0.01 * SIGMA**2}
    assert policy("glft_exact", tau=1e10, **arguments).kind == NO_QUOTE
    with pytest.raises(ArithmeticError, match="step budget"):
        glft.exact(0.01, 0.3, 1e-9, SIGMA, 1e10, 1, mu=arguments["mu"])


def test_kernel_and_public_functions_agree():
    for model, table in (
        ("glft_stationary", glft.stationary(0.01, 0.3, 0.9, SIGMA, 10, xi=0.02, mu=1e-3, impact=0.5)),
        ("glft_exact", glft.exact(0.01, 0.3, 0.9, SIGMA, TAU, 10, xi=0.02, mu=1e-3, impact=0.5)),
    ):
        pol = policy(model, n_lots=10, xi=0.02, mu=1e-3, impact=0.5)
        for i, q in enumerate(table.q):
            np.testing.assert_array_equal(deltas(pol, q), (table.delta_bid[i], table.delta_ask[i]))
    pol = policy("glft_asymptotic", xi=0.02, mu=1e-3, impact=0.5)
    closed = glft.asymptotic(0.01, 0.3, 0.9, SIGMA, xi=0.02, mu=1e-3, impact=0.5, q=2.5)
    assert deltas(pol, 2.5) == pytest.approx((float(closed.delta_bid), float(closed.delta_ask)))
    pol = policy("avellaneda_stoikov", mu=1e-3)
    near = avellaneda_stoikov.quotes(0.0, 2.5, 0.01, SIGMA, TAU, 0.3, mu=1e-3)
    assert deltas(pol, 2.5) == pytest.approx((near.delta_bid, near.delta_ask))


def test_table_between_and_beyond_its_nodes():
    pol = policy("glft_stationary", n_lots=4)
    mean = np.mean([deltas(pol, 1.0), deltas(pol, 2.0)], axis=0)
    assert deltas(pol, 1.5) == pytest.approx(tuple(mean))
    assert math.isnan(deltas(pol, 3.2)[0]), "one more order would pass the limit"
    assert not math.isnan(deltas(pol, 3.0)[0])
    assert deltas(pol, 6.0)[1] == deltas(pol, 4.0)[1], "beyond the limit the reducing side still quotes"
    assert math.isnan(deltas(pol, 6.0)[0])


@pytest.mark.parametrize(
    "bad",
    [
        {"model": "nope"},
        {"gamma": -1.0},
        {"kappa": 0.0},
        {"A": math.inf},
        {"n_lots": MAX_Q + 1},
        {"impact": 1e3},
        {"mu": math.nan},
        {"model": "legacy_percent", "mid_ticks": 0.0},
        {"min_fraction": 0.1, "max_fraction": 0.01},
    ],
)
def test_model_params_name_what_is_wrong(bad):
    with pytest.raises(ConfigError, match=next(iter(bad.values())) if bad == {"model": "nope"} else "model"):
        model_params(**({"model": "glft_exact"} | MARKET | bad))


def test_random_control_is_blind_even_and_repeatable():
    def draws(seed, n, **changes):
        params = model_params("random_control", **(MARKET | {"kappa": 0.5} | changes), seed=seed)
        pol = records(1, POLICY)
        out = []
        for _ in range(n):
            refresh(pol[0], params[0], SIGMA, TAU)
            out.append(deltas(pol[0], 3.0))
        return np.array(out)

    d = draws(1, 4000)
    assert np.array_equal(d, draws(1, 4000, gamma=0.7, A=9.0))
    assert not np.array_equal(d[:50], draws(2, 50))
    for side in d.T:
        assert np.histogram(side, bins=8, range=(0.0, 4.0))[0] == pytest.approx(np.full(8, 500), abs=90)
    assert abs(np.corrcoef(d.T)[0, 1]) < 0.06
    assert abs(np.corrcoef(d[1:, 0], d[:-1, 1])[0, 1]) < 0.06
