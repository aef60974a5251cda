"""The fill ladder and its control: blind quotes must lose about their costs, on made and on recorded markets."""

import io
import json
import math

import numpy as np
import pytest

from mm.config.schema import RunConfig
from mm.data.importers import import_files
from mm.data.store import Store
from mm.report import ladder as fl
from mm.sim.control import control_config, half_touch_ticks
from mm.sim.run import simulate
from mm.sim.tape import from_store, open_tape


def config(**sim):
    return RunConfig.model_validate(
        {
            "name": "ladder",
            "data": {"source": "synth", "duration": "40s", "seed": 3},
            "strategy": {
                "model": {"gamma": {"q_max": 5}, "kappa": "2.5/bps", "A": 3},
                "order_size": "200 usd",
                "requote": {"threshold": "2 ticks"},
            },
            "sim": sim,
        }
    )


@pytest.fixture(scope="module")
def found():
    cfg = config()
    return fl.run_ladder(cfg, open_tape(cfg.data), controls=4)


def check_control(ladder):
    """Net of fees blind quotes lose; before fees they have what adverse selection left of their edge, no more."""
    for r in ladder["rungs"]:
        c = r["control"]
        assert c["fills"] > 20, r["rung"]
        assert c["halted"] == 0
        assert c["pnl_usd"] < -0.5 * c["fees_usd"] < 0.0, r["rung"]
        left = c["spread_capture_bps"] + c["adverse_selection_5s_bps"]
        assert left == pytest.approx(c["realised_spread_5s_bps"], abs=0.05)
        noise = math.hypot(c["gross_bps_se"], c["realised_spread_5s_bps_se"])
        assert c["gross_bps"] == pytest.approx(left, abs=0.25 + 4.0 * noise), r["rung"]
    assert ladder["free_money"] == []


@pytest.mark.slow
def test_control_loses_its_costs(found):
    check_control(found)


@pytest.mark.slow
def test_a_rung_is_the_plain_simulation(found):
    queue = {"model": "touch"}
    cfg = config(queue=queue)
    alone = simulate(cfg, open_tape(cfg.data)).metrics
    rung = next(r for r in found["rungs"] if r["rung"] == "touch")
    assert rung["strategy"]["pnl_usd"] == alone["pnl_usd"]
    assert rung["strategy"]["fills"] == alone["fills"] > 0


@pytest.mark.slow
def test_rungs_are_sorted_and_configured_is_named(found):
    volumes = [r["control"]["volume_usd"] for r in found["rungs"]]
    assert volumes == sorted(volumes, reverse=True)
    labels = [r["rung"] for r in found["rungs"]]
    assert "power 2 (configured)" in labels
    assert len(labels) == 7
    other = fl.rungs(config(queue={"model": "power3", "n": 1.5}))
    assert other[-1][0] == "power3 1.5 (configured)"
    touch, through = (next(r for r in found["rungs"] if r["rung"] == name) for name in ("touch", "trade_through"))
    assert touch["control"]["fills"] > through["control"]["fills"]
    assert touch["strategy"]["fills"] >= through["strategy"]["fills"]


def test_control_config_is_blind_to_the_strategy():
    cfg = config()
    tape = open_tape(cfg.data)
    half = half_touch_ticks(tape)
    assert 0.5 <= half < 20
    control = control_config(cfg, half, 9)
    other = cfg.model_copy(
        update={"strategy": cfg.strategy.model_copy(update={"model": cfg.strategy.model.model_copy(update={"A": 9.0})})}
    )
    one, two = simulate(control, tape), simulate(control_config(other, half, 9), tape)
    assert one.result_hash == two.result_hash
    assert one.result_hash != simulate(control_config(cfg, half, 10), tape).result_hash
    assert one.metrics["clamped_share"] == 0.0
    assert abs(one.fills["side"].mean()) < 0.2
    RunConfig.model_validate(control.model_dump(mode="json"))


def rung(name, pnl, gross=0.0, se=1.0, fills=5):
    c = {"pnl_usd": -1.0, "gross_usd": gross, "gross_usd_se": se, "fills": fills}
    return {"rung": name, "strategy": {"pnl_usd": pnl, "fills": fills}, "control": c}


@pytest.mark.parametrize(
    ("pnls", "says"),
    [([3, 1], "Profitable on every rung"), ([-3, -1], "Not profitable"), ([3, -1], "changes between a and b")],
)
def test_verdict(pnls, says):
    rungs = [rung(name, pnl) for name, pnl in zip("ab", pnls, strict=True)]
    changes = [["a", "b"]] if pnls[0] * pnls[1] < 0 else []
    assert says in fl.verdict({"rungs": rungs, "sign_changes": changes, "generous": []})
    text = fl.verdict({"rungs": rungs, "sign_changes": changes, "generous": ["a"]})
    assert "Blind quotes earn money before fees under a" in text
    assert "no rung" in fl.verdict({"rungs": [rung("a", 0.0, fills=0)], "sign_changes": [], "generous": []})


def test_generous_needs_two_standard_errors():
    assert fl._clearly_positive(rung("a", 0, gross=2.5)["control"], "gross_usd")
    assert not fl._clearly_positive(rung("a", 0, gross=1.5)["control"], "gross_usd")
    assert not fl._clearly_positive(rung("a", 0, gross=0.0, se=None, fills=0)["control"], "gross_usd")


@pytest.mark.slow
def test_saved_and_shown(found, tmp_path):
    from rich.console import Console

    out = fl.save(found, tmp_path / "x")
    kept = json.loads((out / "ladder.json").read_text())
    assert kept["verdict"] == fl.verdict(found)
    assert kept["rungs"][0]["control"]["fills"] == found["rungs"][0]["control"]["fills"]
    assert (out / "ladder.png").stat().st_size > 10_000
    console = Console(width=220, record=True, file=io.StringIO())
    console.print(fl.render(found))
    text = console.export_text()
    assert all(r["rung"] in text for r in found["rungs"])


@pytest.mark.real_data
@pytest.mark.slow
@pytest.mark.parametrize("market", ["usdm", "spot"])
def test_control_on_recorded_markets(market, real_data_dir, tmp_path):
    import_files("binance-collector", market, [real_data_dir / f"binance/{market}_btcusdt_20240808.gz"], tmp_path / "s")
    tape = from_store(Store.open(tmp_path / "s"))
    found = fl.run_ladder(config(), tape, controls=4)
    for r in found["rungs"]:
        c = r["control"]
        assert c["pnl_usd"] < -c["fees_usd"] < 0.0, "gross too, blind quotes lose here"
        assert np.isfinite(c["gross_bps"])
    assert found["free_money"] == found["generous"] == []
    if market == "usdm":  # spot cannot go short: its control holds inventory, and its drift
        check_control(found)
