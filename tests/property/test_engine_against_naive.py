"""The replay engine equals a slow plain-Python exchange around the live quoter: fills, position, money, orders."""

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from mm.config.schema import RunConfig
from mm.sim.run import decision_times, simulate, simulate_many
from mm.strategy.dynamic import PARAMS_REASONS
from tests.reference import naive_sim
from tests.reference.lively_market import lively_tape
from tests.reference.plain import examples

# As plain Python, where lines are counted, one of each kind is compared.
COMPILED = pytest.mark.compiled
MODELS = [pytest.param(m, marks=COMPILED) for m in ("avellaneda_stoikov", "glft_asymptotic", "glft_stationary")]


@pytest.fixture(scope="module")
def tape(tmp_path_factory):
    return lively_tape(tmp_path_factory.mktemp("tape") / "synth")


def config(**changes):
    raw = {
        "strategy": {
            "model": {"name": "glft_asymptotic", "gamma": {"q_max": 4}, "kappa": "4/bp", "A": 2.0},
            "order_size": "300 usd",
            "spread": {"min": "1 ticks", "max": "20 bps", "max_skew": "5 bps"},
            "requote": {"threshold": "2 ticks", "min_age": "50ms", "max_age": "5s"},
        },
        # the naive exchange has no risk actor: keep its halts out of the comparison
        "risk": {"max_daily_loss_usd": 1e9, "max_drawdown_usd": 1e9},
        "sim": {"order_latency": "7ms", "response_latency": "5ms", "decide_every": "100ms"},
    }
    for key, value in changes.items():
        section = raw
        *parents, last = key.split("__")
        for part in parents:
            section = section.setdefault(part, {})
        section[last] = value
    return RunConfig.model_validate(raw)


def compare(cfg, tape):
    times = decision_times(cfg, tape)
    result = simulate(cfg, tape)
    naive = naive_sim.run(cfg, tape, times)
    fills, quotes, quoter = naive.fills, naive.quotes, naive.quoter
    ours = [
        (int(f["ts_exch_ns"]), int(f["order_id"]), int(f["side"]), int(f["tick"]), int(f["lots"])) for f in result.fills
    ]
    assert ours == fills
    stride = -(-len(times) // len(result.samples))
    simulated = [(int(r["bid_tick"]), int(r["ask_tick"]), int(r["pos_lots"])) for r in result.samples]
    assert simulated == quotes[::stride], "the simulated and the live shell quote alike, decision for decision"
    state = quoter.records_of(0).state[0]
    for live, slow in naive.estimates:
        assert live == pytest.approx(slow, rel=1e-9, abs=1e-12, nan_ok=True)
    if naive.estimates:
        model, m = quoter.records_of(0).model[0], result.metrics
        tick = float(tape.instrument.tick_size)
        assert (m["A_last_per_s"], m["kappa_last_per_quote"]) == (model.A, model.kappa / tick), "to the last bit"
        counts = dict(zip(PARAMS_REASONS, model.refreshes, strict=True))
        assert {r: m[f"fallback_{r}"] for r in PARAMS_REASONS[2:]} == {r: counts[r] for r in PARAMS_REASONS[2:]}
    assert float(quoter.records_of(0).instrument.size(int(state.pos_lots))) == result.metrics["position"]
    return result, quotes, quoter


@pytest.mark.parametrize("model", [*MODELS, "glft_exact"])
def test_every_fill_is_the_same(tape, model):
    result, _, quoter = compare(config(strategy__model__name=model), tape)
    assert result.metrics["fills"] > 3
    assert quoter.records_of(0).state[0].fee_units_e8 == pytest.approx(
        result.metrics["fees_usd"] / quoter.records_of(0).params[0].unit_value * 1e8, rel=1e-12
    )


DYNAMIC = {"halflife": "8s", "every": "500ms", "min_arrivals": 10, "within": 100.0}


@pytest.mark.parametrize("model", [*MODELS, "glft_exact"])
def test_parameters_estimated_in_flight_are_the_same(tape, model):
    changes = {"strategy__model__name": model, "sim__feed_latency": {"median": "20ms", "sigma": 1}}
    result, quotes, _ = compare(config(strategy__params=DYNAMIC, **changes), tape)
    assert result.metrics["fallback_too_few_arrivals"] > 0
    assert result.metrics["params_estimated_share"] > 0.3
    _, static, _ = compare(config(**changes), tape)
    assert quotes != static, "the estimates move the quotes"


@settings(
    max_examples=examples(16, 2),
    deadline=None,
    derandomize=True,
    phases=(Phase.explicit, Phase.generate),
)
@given(
    queue=st.sampled_from(["risk_averse", "power", "power2", "power3", "log", "log2", "touch", "trade_through"]),
    n=st.sampled_from([1.0, 2.0, 3.0]),
    partial=st.booleans(),
    kappa=st.sampled_from(["0.8/bp", "4/bp", "30/bp"]),
    latency_ms=st.integers(0, 40),
    size=st.sampled_from(["100 usd", "1000 usd", "20000 usd"]),
    every=st.sampled_from(["message", "100ms", "1s"]),
    sigma=st.sampled_from(["3%/day", {"halflife": "5s", "sample": "100ms"}]),
    params=st.sampled_from(["static", DYNAMIC, DYNAMIC | {"halflife": "90s", "min_arrivals": 40, "within": 4.0}]),
)
def test_any_settings_agree(tape, queue, n, partial, kappa, latency_ms, size, every, sigma, params):
    cfg = config(
        sim__queue={"model": queue, "n": n},
        sim__partial_fills=partial,
        sim__order_latency=f"{latency_ms}ms",
        sim__response_latency=f"{latency_ms}ms",
        sim__decide_every=every,
        strategy__model__kappa=kappa,
        strategy__model__sigma=sigma,
        strategy__params=params,
        strategy__order_size=size,
        risk__max_position="1000000 usd",
        risk__max_notional_usd=1e6,
        risk__initial_equity_usd=1e6,
    )
    compare(cfg, tape)


@pytest.fixture(scope="module")
def measured_file(tape):
    """Delays of 1 to 90 ms, measured every 1.3 s over the first half of the tape."""
    times = int(tape.msg_recv_ns[0]) + np.arange(10) * 1_300_000_000
    path = tape.path.parent / "delays.csv"
    np.savetxt(path, np.stack([times, (np.arange(10) * 37 % 89 + 1) * 1_000_000], 1), "%d", ",", header="time,delay")
    return path


LATENCIES = {
    "lognormal": {"order_latency": {"median": "8ms", "sigma": 1.2}, "response_latency": {"median": "3ms", "sigma": 2}},
    "feed": {"feed_latency": {"median": "20ms", "sigma": 1}, "decide_every": "message"},
    "constant feed": {"feed_latency": "33ms", "response_latency": {"median": "30ms", "sigma": 0.5}},
    "measured": {"order_latency": {"file": "delays.csv"}, "response_latency": {"file": "delays.csv"}},
    "repeated": {"order_latency": {"file": "delays.csv", "repeat": True}, "response_latency": "1ms"},
}


def sim_section(name, measured_file):
    out = {"decide_every": "100ms"}
    for key, value in LATENCIES[name].items():
        out[key] = value | {"file": str(measured_file)} if isinstance(value, dict) and "file" in value else value
    return out


@pytest.mark.parametrize("name", ["feed", *(pytest.param(n, marks=COMPILED) for n in LATENCIES if n != "feed")])
def test_any_latency_agrees(tape, measured_file, name):
    result, _, _ = compare(config(sim=sim_section(name, measured_file)), tape)
    assert result.metrics["fills"] > 3
    assert np.all(np.diff(result.fills["ts_recv_ns"]) >= 0)


def test_the_hash_repeats_and_moves_with_a_parameter(tape):
    a, b = simulate(config(), tape), simulate(config(), tape)
    assert a.result_hash == b.result_hash
    c = simulate(config(strategy__model__kappa="4.04/bp"), tape)
    assert c.result_hash != a.result_hash


def test_more_fees_less_profit(tape):
    profits = [simulate(config(sim__maker_fee=fee), tape).metrics["pnl_usd"] for fee in ("-1 bps", "0 bps", "2 bps")]
    assert np.all(np.diff(profits) < 0)


def test_a_loss_limit_halts_and_pulls_the_quotes(tape):
    free = simulate(
        config(
            strategy__order_size="20000 usd",
            risk__max_position="100000 usd",
            risk__initial_equity_usd=1e5,
            risk__max_notional_usd=1e5,
        ),
        tape,
    )
    worst = free.metrics["max_drawdown_usd"]
    assert worst > 1
    cut = simulate(
        config(
            strategy__order_size="20000 usd",
            risk__max_position="100000 usd",
            risk__initial_equity_usd=1e5,
            risk__max_notional_usd=1e5,
            risk__max_drawdown_usd=worst / 2,
        ),
        tape,
    )
    assert cut.metrics["halted"] == "drawdown"
    assert cut.metrics["fills"] < free.metrics["fills"]
    assert cut.samples["bid_tick"][-1] == 0
    assert cut.samples["ask_tick"][-1] == 0


@pytest.mark.slow
def test_no_result_depends_on_the_company_or_on_threads(tape):
    """The same hash alone, with others in any order, in two threads."""
    changes = [
        {"strategy__model__kappa": "2/bp"},
        {"strategy__model__name": "avellaneda_stoikov", "sim__order_latency": "31ms"},
        {"strategy__model__name": "glft_exact", "sim__queue": {"model": "risk_averse"}},
        {"sim__response_latency": "60ms", "strategy__order_size": "1500 usd"},
        {"strategy__model__kappa": "30/bp", "sim__queue": {"model": "log"}, "risk__max_drawdown_usd": 0.05},
        {"strategy__spread": {"min": "5 bps", "max": "6 bps"}, "sim__decide_every": "message"},
        {"strategy__params": DYNAMIC},
        {"strategy__params": DYNAMIC, "strategy__model__sigma": "3%/day", "strategy__model__kappa": "2/bp"},
        {"strategy__params": "dynamic"},
        {"strategy__model__sigma": "3%/day"},
    ]
    configs = [config(**c) for c in changes]
    alone = [simulate(c, tape).result_hash for c in configs]
    assert len(set(alone)) == len(alone)
    assert [r.result_hash for r in simulate_many(configs, tape)] == alone
    assert [r.result_hash for r in simulate_many(configs[::-1], tape)] == alone[::-1]
    assert [r.result_hash for r in simulate_many(configs, tape, threads=2)] == alone
    crowd = [configs[k % len(configs)] for k in range(70)]
    assert [r.result_hash for r in simulate_many(crowd, tape)] == [alone[k % len(configs)] for k in range(70)]
    plain = [configs[0]] * 70  # enough of one view to be split between two threads
    assert [r.result_hash for r in simulate_many(plain, tape, threads=2)] == [alone[0]] * 70


def test_an_estimate_like_the_stand_in_of_those_without_keeps_its_own(tape):
    """Every second over a minute, from nothing: what stands for "no estimate" must not be taken for it."""
    slow = config(
        strategy__model__sigma={"sample": "1s", "halflife": "60s", "initial": "0 bps/s"},
        strategy__model__gamma="0.01/bp",
    )
    fast = config(strategy__model__sigma={"sample": "100ms", "halflife": "5s"})
    alone = [simulate(c, tape).result_hash for c in (slow, fast)]
    assert [r.result_hash for r in simulate_many([slow, fast], tape)] == alone


def test_the_fill_ladder_is_ordered(tape):
    """The optimistic end fills more than the queue model, the pessimistic end less."""
    fills = [
        simulate(config(sim__queue={"model": m}), tape).metrics["fills"] for m in ("touch", "power", "trade_through")
    ]
    assert fills[0] >= fills[1] >= fills[2] > 0
    assert fills[0] > fills[2]
