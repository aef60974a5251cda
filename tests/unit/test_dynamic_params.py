"""``params: dynamic``: estimates in flight find the truth, and give way to the config's values with a reason."""

import logging
from types import SimpleNamespace

import numpy as np
import pytest
from pydantic import ValidationError

from mm.config.schema import RunConfig
from mm.core.types import records
from mm.errors import ConfigError
from mm.models.arrivals import arrivals
from mm.models.calibrate import calibrate
from mm.models.registry import model_params
from mm.sim.candles import candles_of, simulate_candles
from mm.sim.run import simulate
from mm.sim.tape import from_store
from mm.strategy.dynamic import PARAMS_REASONS, choose_params
from mm.strategy.state import FEATURES
from tests.reference import poisson_market as market

pytestmark = pytest.mark.slow  # hopeless as plain Python

LAW = {"A": 3.0, "kappa": 0.3, "sigma": 8.0}  # kappa 1.8/bp


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return market.write(tmp_path_factory.mktemp("market") / "store", seconds=400, seed=6, **LAW)


def run(store, params, kappa="2/bp", A=2.0):
    model = {"kappa": kappa, "A": A, "gamma": {"q_max": 5}}
    cfg = {"strategy": {"model": model, "order_size": "100 usd", "params": params}, "sim": {"decide_every": "1s"}}
    return simulate(RunConfig.model_validate(cfg), from_store(store)).metrics


def test_the_truth_is_recovered_in_flight(store):
    m = run(store, {"halflife": "1h"})
    assert m["params_last"] == "estimated"
    assert m["A_last_per_s"] == pytest.approx(LAW["A"], rel=0.1)
    assert m["kappa_last_per_quote"] == pytest.approx(LAW["kappa"], rel=0.1)
    both = calibrate(arrivals(store), 60.0)[2]
    assert m["kappa_last_per_quote"] == pytest.approx(both.kappa.value / market.TICK, rel=0.02), "as offline"
    assert m["A_last_per_s"] == pytest.approx(both.A.value, rel=0.03)


def test_memory_fades(store):
    short, long = run(store, {"halflife": "20s"}), run(store, {"halflife": "1h"})
    assert short["kappa_last_per_quote"] != pytest.approx(long["kappa_last_per_quote"], rel=1e-3)
    assert short["kappa_last_per_quote"] == pytest.approx(LAW["kappa"], rel=0.5)


@pytest.mark.parametrize(
    ("params", "kappa", "A", "reason"),
    [
        ({"min_arrivals": 1e6}, "2/bp", 2.0, "too_few_arrivals"),
        ({"max_misfit": 1e-3}, "2/bp", 2.0, "poor_fit"),
        ({"within": 3.0}, "30/bp", 2.0, "kappa_at_bound"),
        ({"within": 3.0}, "2/bp", 40.0, "A_at_bound"),
    ],
)
def test_a_failed_gate_falls_back_and_is_counted(store, params, kappa, A, reason):
    m, static = run(store, params, kappa, A), run(store, "static", kappa, A)
    assert m["params_last"] == reason
    assert m["params_estimated_share"] < 0.05
    assert m[f"fallback_{reason}"] > 300
    assert m["A_last_per_s"] == A
    assert m["kappa_last_per_quote"] == pytest.approx(float(kappa[:-3]) / 6.0, rel=1e-3)
    assert m["fills"] == pytest.approx(static["fills"], abs=5)
    assert "params_last" not in static


def test_the_gates_hold_for_any_estimate():
    """Not a number, infinite, zero: never quoted on."""
    model = model_params("glft_asymptotic", gamma=0.1, kappa=0.2, A=1.0, sigma=1.0)[0]
    model.dynamic, model.static_A, model.static_kappa = 1, 1.0, 0.2
    model.min_orders, model.max_misfit, model.within = 1.0, 0.25, 10.0
    f = records(1, FEATURES)[0]
    for A in (np.nan, np.inf, 0.0, 0.05, 11.0, 1.5):
        for kappa in (np.nan, np.inf, 0.0, 0.01, 2.1, 0.3):
            for misfit in (np.nan, 0.1, 0.3):
                f.flow_A, f.flow_kappa, f.flow_misfit, f.flow_orders = A, kappa, misfit, 5.0
                choose_params(f, model)
                good = (A, kappa, misfit) == (1.5, 0.3, 0.1)
                assert (model.A, model.kappa) == ((1.5, 0.3) if good else (1.0, 0.2))
                assert (PARAMS_REASONS[model.params_reason] == "estimated") is good
    assert model.refreshes.sum() == 6 * 6 * 3


def test_the_config_takes_a_word_or_a_section():
    def parse(params):
        return RunConfig.model_validate({"strategy": {"params": params}})

    cfg = parse({"halflife": "5m"})
    assert cfg.strategy.params.halflife == 300.0
    assert RunConfig.model_validate(cfg.model_dump(mode="json")) == cfg
    assert parse("dynamic").strategy.params == "dynamic"
    for wrong in ("dynamik", {"half": "5m"}, {"within": 1.0}, {"every": "0s"}):
        with pytest.raises(ValidationError):
            parse(wrong)


def test_the_live_quoter_says_when_the_source_changes(caplog):
    """One line a change, none while it stays."""
    from actors.quoter import QuoterActor

    actor = object.__new__(QuoterActor)
    said = [("static", 1.0, 0.3), ("too_few_arrivals", 1.0, 0.3), ("too_few_arrivals", 1.0, 0.3)]
    said += [("estimated", 2.0, 0.5), ("estimated", 2.1, 0.5), ("poor_fit", 1.0, 0.3)]
    actor._params, actor.log = {}, logging.getLogger("quoter")
    actor.spec = SimpleNamespace(parsed_instruments=[market.instrument()])
    actor._account = SimpleNamespace(q=SimpleNamespace(params_of=lambda _i: said.pop(0)))
    with caplog.at_level(logging.INFO):
        for _ in range(6):
            actor._say_params()
    lines = [r.getMessage() for r in caplog.records]
    assert len(lines) == 3
    assert "because of too_few_arrivals" in lines[0]
    assert "A 2/s and kappa 0.5 per quote, estimated in flight" in lines[1]
    assert "because of poor_fit" in lines[2]


def test_candles_have_no_orders(store):
    cfg = RunConfig.model_validate({"strategy": {"params": "dynamic"}})
    with pytest.raises(ConfigError, match="candles"):
        simulate_candles(cfg, candles_of(from_store(store), 10.0))
