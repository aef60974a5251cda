"""With controls on, the simulator and the live shell around a naive exchange still agree, decision for decision."""

import numpy as np
import pytest

from mm.config.schema import RunConfig
from mm.sim.run import decision_times, simulate, simulate_many
from mm.strategy.controls.names import ACTS
from tests.reference import naive_sim
from tests.reference.lively_market import lively_tape


def jump(events):
    """Two jumps of the price: whatever watches it has something to see."""
    at = (events["ts_exch_ns"] - events["ts_exch_ns"][0]) * 1e-9
    shift = np.where((at > 8) & (at < 8.4), 600, 0) + np.where(at > 15, -200, 0)
    last = np.flatnonzero(events["flags"] & 1)
    whole = np.zeros(len(events), np.int64)  # a message keeps one shift
    start = 0
    for end in last:
        whole[start : end + 1] = shift[end]
        start = end + 1
    events["tick"] += whole.astype("i4")


@pytest.fixture(scope="module")
def tape(tmp_path_factory):
    return lively_tape(tmp_path_factory.mktemp("tape") / "synth", jump)


ALL = {
    "tick_filter": {"window": 9, "floor": "20 ticks", "mads": 4, "confirm": 60},
    "inventory": {"soft": "600 usd", "hard_usd": 1500, "skew": 1.5},
    "cooldown": {"halflife": "1s", "pause_at": 2.5, "widen_at": 1, "resume_at": 0.5, "markout": "500ms"},
    "displacement": {"window": "1s", "start": 1, "full": 2},
    "momentum": {"window": "3s", "start": 0.5, "full": 2},
    "regime": {"bar": "1s", "period": 2, "dwell": "500ms", "soften": 60, "pull": 85, "resume": 55},
    "volatility": {"sample": "200ms", "halflife": "2s", "soften": "2 bps/s", "pull": "6 bps/s", "resume": "1.8 bps/s",
                   "dwell": "300ms"},
    "market_spread": {"max": "4 ticks"},
    "thin_book": {"min": "2 BTC", "within": "1 bps"},
    "fee_floor": {"margin_bps": -1.6},
    "rebalance": {"limit": "900 usd"},
    "liquidation": {"below": 0.99992, "resume": 0.99997},
}  # fmt: skip


def config(controls, **sim):
    model = {"name": "glft_asymptotic", "gamma": {"q_max": 4}, "kappa": "4/bp", "A": 2.0}
    return RunConfig.model_validate({
        "strategy": {
            "model": model, "order_size": "300 usd", "controls": controls,
            "spread": {"min": "1 ticks", "max": "20 bps", "max_skew": "5 bps"},
            "requote": {"threshold": "2 ticks", "min_age": "50ms", "max_age": "5s"},
        },
        "risk": {"max_daily_loss_usd": 1e9, "max_drawdown_usd": 1e9},
        "sim": {"order_latency": "7ms", "response_latency": "5ms", "decide_every": "100ms",
                "queue": {"model": "touch"}} | sim,
    })  # fmt: skip


def compare(cfg, tape):
    times = decision_times(cfg, tape)
    result = simulate(cfg, tape)
    naive = naive_sim.run(cfg, tape, times)
    ours = [(int(f["ts_exch_ns"]), int(f["order_id"]), int(f["side"]), int(f["tick"]), int(f["lots"]))
            for f in result.fills]  # fmt: skip
    assert ours == naive.fills
    stride = -(-len(times) // len(result.samples))
    simulated = [(int(r["bid_tick"]), int(r["ask_tick"]), int(r["pos_lots"])) for r in result.samples]
    assert simulated == naive.quotes[::stride]
    live = naive.quoter.records_of(0).state[0].control
    acted = {name: int(n) for name, n in zip(ACTS, live.acted, strict=True)}
    assert acted == {name: result.metrics[f"acted_{name}"] for name in ACTS}
    return result, acted


@pytest.mark.parametrize(
    "name", [*(pytest.param(n, marks=pytest.mark.compiled) for n in ALL), "all but the pulling ones"]
)
def test_one_control(tape, name):
    gentle = ("inventory", "cooldown", "displacement", "momentum", "rebalance", "liquidation")
    controls = {name: ALL[name]} if name in ALL else {k: ALL[k] for k in gentle}
    result, acted = compare(config(controls), tape)
    assert result.metrics["fills"] > 3
    assert sum(acted.values()) > 0


def test_all_controls_at_every_message(tape):
    result, acted = compare(config(ALL, decide_every="message"), tape)
    assert result.metrics["fills"] > 0
    assert sum(n > 0 for n in acted.values()) > 8


def test_the_end_of_a_session(tape):
    start = int(tape.msg_recv_ns[0]) // 60_000_000_000 % 1440
    end = f"{(start + 1) // 60 % 24:02d}:{(start + 1) % 60:02d}"
    result, acted = compare(config({"session": {"end": end, "flatten": "55s", "widening": "30s"}}), tape)
    assert acted["session"] > 0
    assert result.metrics["decisions"] > acted["session"] or acted["session"] > 200


@pytest.mark.compiled
def test_no_result_depends_on_the_company(tape):
    """Sets share a pass only when their signals have equal settings; thresholds may differ."""
    some = [None, ALL, {"tick_filter": ALL["tick_filter"]}, {"momentum": ALL["momentum"]},
            {"momentum": ALL["momentum"] | {"widen": 5}}, {"cooldown": ALL["cooldown"]}]  # fmt: skip
    configs = [config(c) for c in some]
    alone = [simulate(c, tape).result_hash for c in configs]
    assert len(set(alone)) == len(alone)
    assert [r.result_hash for r in simulate_many(configs[::-1], tape)] == alone[::-1]


def test_a_paused_desk_is_still_halted_by_its_losses(tape):
    """Cooldown rests both sides for good after their first fills; the loss limit sees every mid all the same."""
    rest = {"cooldown": {"halflife": "10h", "resume_at": 0.1, "widen_at": 0.1, "pause_at": 0.2, "weight": 0}}
    cfg = config(rest)
    free = simulate(cfg, tape)
    assert free.metrics["halted"] is None
    assert free.metrics["acted_cooldown"] > 100
    tight = cfg.risk.model_copy(update={"max_drawdown_usd": free.metrics["max_drawdown_usd"] / 2})
    cut = simulate(cfg.model_copy(update={"risk": tight}), tape)
    assert cut.metrics["halted"] == "drawdown"
    assert cut.samples["bid_tick"][-1] == cut.samples["ask_tick"][-1] == 0
