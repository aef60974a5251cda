"""Quotes that know the fee: the optimum of a fill worth its depth less the fee."""

import numpy as np
import pytest

from mm.core.types import records
from mm.models.base import POLICY, deltas
from mm.models.dispatch import refresh
from mm.models.registry import MODELS, model_params
from tests.reference.kernel_box import Box

MARKET = {"gamma": 0.02, "kappa": 0.15, "A": 1.2, "sigma": 8.0, "n_lots": 8, "horizon_s": 60.0}


def quotes(model, q, **changes):
    pol = records(1, POLICY)
    refresh(pol[0], model_params(model, **({"mid_ticks": 600_000.0} | MARKET | changes))[0], 8.0, 60.0)
    return np.array(deltas(pol[0], q))


@pytest.mark.parametrize("fee", [12.0, -3.0])
@pytest.mark.parametrize("q", [-2.0, 0.0, 1.5])
@pytest.mark.parametrize("model", ["avellaneda_stoikov", "glft_asymptotic", "glft_stationary", "glft_exact"])
def test_one_fee_further_out_at_the_rate_found_there(model, q, fee):
    known = quotes(model, q, fee=fee)
    assert known == pytest.approx(quotes(model, q, A=1.2 * np.exp(-0.15 * fee)) + fee)


@pytest.mark.parametrize("fee", [0.0, 5.0, 12.0, -3.0])
def test_without_risk_it_is_the_best_depth_of_all(fee):
    """gamma, sigma to 0: the depth that earns most per second, found by looking at all of them."""
    depth = np.linspace(-10.0, 60.0, 700_001)
    best = depth[np.argmax(1.2 * np.exp(-0.15 * depth) * (depth - fee))]
    assert quotes("glft_asymptotic", 0.0, gamma=1e-9, fee=fee)[0] == pytest.approx(best, abs=2e-3)


@pytest.mark.parametrize("model", [name for name, spec in MODELS.items() if spec.legacy or spec.blind])
def test_yardsticks_stay_as_they_are(model):
    assert quotes(model, 0.0, fee=12.0) == pytest.approx(quotes(model, 0.0))


def test_a_config_takes_the_fee_it_pays():
    def bid(**sim):
        return Box({"strategy": {"model": {"fee_aware": True}}, "sim": sim}).touch().quote().raw_bid

    plain = Box({}).touch().quote().raw_bid
    assert bid(maker_fee="0 bps") == pytest.approx(plain)
    assert bid(maker_fee="2 bps") < plain - 119.0  # 120 ticks and the wider skew of the thinner flow
    assert bid(maker_fee="-0.5 bps") > plain
