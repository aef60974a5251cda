"""Several instruments in one simulation: legs are what they are alone, until the desk's risk halts them together."""

import numpy as np
import pytest

from mm.config.schema import RunConfig
from mm.data.synth import SynthSpec, write_synth
from mm.errors import ConfigError
from mm.report.desk import run_desk, save
from mm.sim.desk import Leg, legs_of, simulate_desk
from mm.sim.run import simulate
from mm.sim.tape import from_store

pytestmark = pytest.mark.slow


def config(**risk):
    quick = {"order_latency": "3ms", "response_latency": "3ms", "maker_fee": "1 bps"}
    return RunConfig.model_validate({
        "strategy": {
            "model": {"kappa": "20/bp", "A": 3.0, "gamma": {"q_max": 4}},
            "order_size": "1000 usd",
            "spread": {"min": "1 ticks", "max": "20 bps"},
        },
        "risk": {"max_position": "10000 usd", **risk},
        "desk": {
            "step": "250ms",
            "legs": [
                {"name": "near", "data": {"seed": 1}, "sim": quick},
                {"name": "far", "data": {"seed": 2}, "sim": quick | {"order_latency": "50ms"}},
            ],
        },
    })  # fmt: skip


@pytest.fixture(scope="module")
def tapes(tmp_path_factory):
    root = tmp_path_factory.mktemp("desk")
    made = {}
    for name, seed in (("near", 1), ("far", 2)):
        made[name] = from_store(write_synth(root / name, SynthSpec(), seed, 40.0))
    return made


def test_without_a_breach_every_leg_is_what_it_is_alone(tapes):
    cfg = config()
    result = simulate_desk(cfg, legs_of(cfg, tapes))
    for leg in legs_of(cfg, tapes):
        assert result.legs[leg.name].result_hash == simulate(leg.config, leg.tape).result_hash
    assert result.metrics["halted"] is None
    assert result.metrics["fills"] > 20
    alone = sum(r.metrics["pnl_usd"] for r in result.legs.values())
    assert result.metrics["pnl_usd"] == pytest.approx(alone, abs=1e-9)
    assert result.samples["pnl_usd"][-1] == pytest.approx(alone, abs=1e-9)


def test_the_desk_halts_every_leg_on_the_sum_of_their_losses(tapes):
    cfg = config()
    free = simulate_desk(cfg, legs_of(cfg, tapes))
    worst = free.metrics["max_drawdown_usd"]
    own = max(float(r.metrics["max_drawdown_usd"]) for r in free.legs.values())
    assert worst > own, "the test needs a desk loss that no leg has alone"
    limit = 0.5 * (worst + own)
    cut = simulate_desk(config(max_drawdown_usd=limit), legs_of(config(), tapes))
    assert cut.metrics["halted"] == "drawdown"
    assert cut.metrics["fills"] < free.metrics["fills"]
    for result in cut.legs.values():
        assert result.metrics["halted"] == "drawdown"
        assert result.samples["bid_tick"][-1] == result.samples["ask_tick"][-1] == 0


def test_tapes_of_different_days_are_no_desk(tapes, tmp_path):
    later = from_store(write_synth(tmp_path / "later", SynthSpec(start_ts_ns=1_800_000_000_000_000_000), 3, 10.0))
    cfg = config()
    legs = [Leg("near", cfg, tapes["near"]), Leg("later", cfg, later)]
    with pytest.raises(ConfigError, match="overlap"):
        simulate_desk(cfg, legs)


def test_a_desk_is_kept_with_its_legs(tapes, tmp_path):
    cfg = config()
    legs = legs_of(cfg, tapes)
    summary = save(simulate_desk(cfg, legs), legs, tmp_path / "out")
    assert set(summary["legs"]) == {"near", "far"}
    for name in ("desk.json", "desk.parquet", "picture.png", "near/metrics.json", "far/fills.parquet"):
        assert (tmp_path / "out" / name).stat().st_size > 0


def test_the_same_desk_twice(tapes):
    cfg = config()
    first, second = (simulate_desk(cfg, legs_of(cfg, tapes)) for _ in range(2))
    assert first.result_hash == second.result_hash
    assert np.array_equal(first.samples, second.samples)


def test_the_shipped_desk_runs(monkeypatch, tmp_path):
    from mm.config import load_config

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    overrides = [f"desk.legs.{k}.data.duration=20s" for k in (0, 1)]
    result, legs = run_desk(load_config("configs/desk_two_legs.yaml", overrides))
    assert [leg.name for leg in legs] == ["near", "far"]
    assert result.metrics["fills"] > 0
