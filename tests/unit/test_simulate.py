"""``simulate``: what must hold of any trial (tests/property/test_engine_against_naive.py checks every fill)."""

import math
import time
from dataclasses import replace

import numpy as np
import pytest

from mm.config.schema import RunConfig
from mm.core.types import ASK, BID, EVENT, LAST, SELL, records
from mm.data.store import StoreWriter
from mm.data.synth import SynthFlow, SynthSpec
from mm.errors import ConfigError, RaymakerError
from mm.sim import market, venue
from mm.sim.run import decision_times, simulate, simulate_many
from mm.sim.tape import from_store
from tests.reference.kernel_box import instrument

MS = 1_000_000
SPEC = SynthSpec(sigma_bps_per_sqrt_s=1.5)


@pytest.fixture(scope="module")
def tape(tmp_path_factory):
    path = tmp_path_factory.mktemp("tape") / "synth"
    with StoreWriter(path, SPEC.instrument, "test") as writer:
        writer.append(SynthFlow(SPEC, 11).next_chunk(20_000_000_000))
        return from_store(writer.finish({}))


def config(sim=None, risk=None, **strategy):
    model = {"name": "glft_asymptotic", "gamma": {"q_max": 4}, "kappa": "4/bp", "A": 2.0}
    base = {"model": model, "order_size": "3000 usd", "requote": {"threshold": "2 ticks", "min_age": "50ms"}}
    limits = {"max_position": "100000 usd", "max_notional_usd": 1e6, "initial_equity_usd": 1e6}
    return RunConfig.model_validate({"strategy": base | strategy, "risk": limits | (risk or {}), "sim": sim or {}})


def test_the_same_call_gives_the_same_hash(tape):
    a, b = simulate(config(), tape), simulate(config(), tape)
    assert a.result_hash == b.result_hash
    assert a.metrics == b.metrics
    times = decision_times(config(), tape)
    assert simulate(config(), tape, times).result_hash == a.result_hash
    assert simulate(config(), tape, times[: len(times) // 2]).result_hash != a.result_hash


def test_equity_falls_with_every_fee(tape):
    runs = [simulate(config({"maker_fee": fee}), tape).metrics for fee in ("-1 bps", "0 bps", "1 bps", "3 bps")]
    assert runs[0]["fills"] > 5
    assert {m["fills"] for m in runs} == {runs[0]["fills"]}
    assert np.all(np.diff([m["pnl_usd"] for m in runs]) < 0)
    for m, rate in zip(runs, (-1e-4, 0, 1e-4, 3e-4), strict=True):
        assert m["fees_usd"] == pytest.approx(rate * m["volume_usd"], rel=1e-9, abs=1e-9)
        assert m["pnl_usd"] + m["fees_usd"] == pytest.approx(runs[1]["pnl_usd"], abs=1e-6)


def test_metrics_add_up(tape):
    r = simulate(config(), tape)
    m, f = r.metrics, r.fills
    assert len(f) == m["fills"] > 5
    tick, lot = (float(x) for x in (tape.instrument.tick_size, tape.instrument.lot_size))
    assert m["position"] == pytest.approx(float((f["side"] * f["lots"]).sum()) * lot)
    assert m["volume_usd"] == pytest.approx(float((f["tick"] * f["lots"]).sum()) * tick * lot)
    cash = -float((f["side"] * f["tick"] * f["lots"]).sum()) * tick * lot
    assert m["pnl_usd"] == pytest.approx(cash - m["fees_usd"] + m["position"] * r.samples["mid"][-1] * tick, abs=0.5)
    assert m["equity_usd"] == pytest.approx(1e6 + m["pnl_usd"])
    assert m["max_abs_position"] == pytest.approx(float(np.abs(np.cumsum(f["side"] * f["lots"])).max()) * lot)
    assert m["orders"] >= m["cancels"]
    assert 0 < m["quote_uptime"] <= 1
    assert 0 <= m["clamped_share"] <= 1
    assert 0 <= m["pulled_share"] <= 1
    assert m["max_drawdown_usd"] >= max(0.0, -m["pnl_usd"]) - 1e-9
    assert m["decisions"] == len(decision_times(config(), tape))
    assert m["halted"] is None
    assert all(v is None or isinstance(v, str) or math.isfinite(v) for v in m.values())


@pytest.mark.compiled
def test_a_constant_feed_latency_moves_the_decisions_with_it(tape, tmp_path):
    """The same as a tape that was recorded with that latency."""
    ev = SynthFlow(SPEC, 11).next_chunk(20_000_000_000)
    ev["ts_recv_ns"] = np.maximum.accumulate(ev["ts_exch_ns"]) + 40 * MS
    with StoreWriter(tmp_path / "late", tape.instrument, "test") as writer:
        writer.append(ev)
        recorded = from_store(writer.finish({}))
    constant = config({"feed_latency": "40ms", "decide_every": "message"})
    as_recorded = config({"decide_every": "message"})
    assert np.array_equal(decision_times(constant, tape), decision_times(as_recorded, recorded))
    assert set(decision_times(constant, tape)) <= set(ev["ts_recv_ns"])
    assert simulate(constant, tape).result_hash == simulate(as_recorded, recorded).result_hash


def test_latency_delays_what_we_do(tape):
    """Nothing is known or done before it can be: the first fill comes no earlier, quotes rest less."""
    runs = [simulate(config({"order_latency": f"{ms}ms", "response_latency": f"{ms}ms"}), tape) for ms in (0, 50, 2000)]
    assert len(runs[0].fills) > 5
    first = [int(r.fills["ts_exch_ns"][0]) for r in runs if len(r.fills)]
    start = int(decision_times(config(), tape)[0])
    assert all(t >= start + ms * MS for t, ms in zip(first, (0, 50, 2000), strict=False))
    for r, ms in zip(runs, (0, 50, 2000), strict=True):
        assert np.all(r.fills["ts_recv_ns"] - r.fills["ts_exch_ns"] == ms * MS)


def test_deciding_at_every_message(tape):
    m = simulate(config({"decide_every": "message"}), tape).metrics
    times = decision_times(config({"decide_every": "message"}), tape)
    assert m["decisions"] == len(times)
    assert np.all(np.diff(times) > 0)


@pytest.mark.parametrize(("limit", "reason"), [("max_drawdown_usd", "drawdown"), ("max_daily_loss_usd", "daily_loss")])
def test_limits_halt(tape, limit, reason):
    m = simulate(config({"maker_fee": "5%"}, {limit: 1.0}), tape).metrics
    assert m["halted"] == reason
    assert m["pulled_share"] > 0.5
    assert 1 <= m["fills"] <= 6


def test_the_position_limit_holds(tape):
    r = simulate(config(risk={"max_position": "6000 usd"}), tape)
    lots = int(6000 / (tape.ref_price * float(tape.instrument.lot_size)))
    assert np.abs(np.cumsum(r.fills["side"] * r.fills["lots"])).max() <= lots


def test_a_tape_shorter_than_a_step(tape):
    with pytest.raises(ConfigError, match="shorter than one step"):
        simulate(config({"decide_every": "1h"}), tape)


def test_a_step_of_nothing_is_refused(tape):
    with pytest.raises(ConfigError, match="decide_every must be positive"):
        simulate(config({"decide_every": "0s"}), tape)


def drip(path, trades, gap_ms=1):
    """A still book, and then one lot after another into our bid at the touch."""
    ev = records(2 + trades, EVENT)
    t0 = 1_704_067_200_000_000_000
    ev["ts_exch_ns"] = t0 + np.maximum(np.arange(2 + trades) - 1, 0) * gap_ms * MS + (np.arange(2 + trades) > 1) * 10**9
    ev["ts_recv_ns"] = ev["ts_exch_ns"]
    ev["kind"], ev["tick"], ev["lots"], ev["flags"] = SELL, 599_999, 1, LAST
    ev[0].kind, ev[0].tick, ev[0].lots, ev[0]["flags"] = BID, 599_990, 5, 0
    ev[1].kind, ev[1].tick, ev[1].lots = ASK, 600_010, 5
    with StoreWriter(path, instrument(), "test") as writer:
        writer.append(ev)
        return from_store(writer.finish({}))


BIG = {
    "order_size": "5000 lots",
    "spread": {"min": "2 ticks", "max": "2 ticks", "max_skew": "0 ticks"},
    "model": {"gamma": {"q_max": 5}, "sigma": "0.7 bps/sqrt(s)"},
}


UNLIMITED = {
    "max_position": "1e6 lots",
    "max_notional_usd": 1e12,
    "initial_equity_usd": 1e12,
    "max_drawdown_usd": 1e12,
    "max_daily_loss_usd": 1e12,
}


def test_many_partial_fills_between_two_decisions_are_all_booked(tmp_path):
    tape = drip(tmp_path / "s", 3000)
    r = simulate(config({"decide_every": "700ms", "response_latency": "0s"}, UNLIMITED, **BIG), tape)
    assert r.metrics["fills"] == len(r.fills) > 2000
    assert r.metrics["position"] == pytest.approx(int((r.fills["side"] * r.fills["lots"]).sum()) * 0.001)


def test_the_fill_table_has_room_for_what_one_step_fills(tmp_path, monkeypatch):
    monkeypatch.setattr(venue, "FILL_ROWS", 4096)
    tape = drip(tmp_path / "s", 4600)
    r = simulate(config({"decide_every": "700ms", "response_latency": "0s"}, UNLIMITED, **BIG), tape)
    assert r.metrics["fills"] == len(r.fills) > 4096


def test_markouts_do_not_depend_on_how_densely_samples_are_kept(tape):
    """A long run keeps every so-many-th decision; what happens a second after a fill is between two of them."""
    dense, sparse = simulate_many([config(), config({"samples": 5})], tape)
    assert len(sparse.samples) <= 5 < len(dense.samples)
    assert np.array_equal(dense.fills["ts_exch_ns"], sparse.fills["ts_exch_ns"])
    step = dense.samples[:: int(np.argmax(dense.samples["ts_ns"] == sparse.samples["ts_ns"][1]))]
    assert np.array_equal(step[: len(sparse.samples)], sparse.samples)
    names = [n for n in dense.metrics if n.startswith(("markout_", "realised_spread_", "adverse_selection_"))]
    assert len(names) == 6
    assert dense.metrics["markout_1s_bps"] is not None
    assert {n: sparse.metrics[n] for n in names} == {n: dense.metrics[n] for n in names}


def test_a_result_does_not_hold_the_tables_of_its_replay(tape):
    owner = simulate(config(), tape).digest.__self__._end
    assert sum(table.nbytes for table in owner.venue if isinstance(table, np.ndarray)) < 50_000


class Hesitant(dict):
    """Gives other threads a turn wherever it is looked through."""

    def values(self):
        for value in super().values():
            time.sleep(0.001)
            yield value

    def __iter__(self):
        for key in super().__iter__():
            time.sleep(0.001)
            yield key


@pytest.mark.compiled
def test_a_view_may_be_dropped_while_another_thread_looks_at_what_is_kept(tape, monkeypatch):
    monkeypatch.setattr(market, "KEEP_DECISIONS", 250)  # a view has 200 decisions, and four times as many are kept
    feeds = [f"{k}ms" for k in range(1, 13)] + [{"median": f"{k}ms", "sigma": 0.5} for k in range(1, 13)]
    configs = [config({"feed_latency": feed}) for feed in feeds]
    alone = [r.result_hash for r in simulate_many(configs, tape)]
    shared = replace(tape, features=Hesitant(), clocks=Hesitant())
    assert [r.result_hash for r in simulate_many(configs, shared, threads=4)] == alone


def test_messages_beyond_the_ring_are_an_error_not_a_loss(tmp_path):
    with pytest.raises(RaymakerError, match="ran out of room"):
        simulate(config({"response_latency": "60s"}, UNLIMITED, **BIG), drip(tmp_path / "s", 4800))


def test_a_decision_every_fraction_of_a_nanosecond_is_refused(tape):
    with pytest.raises(ConfigError, match="decisions in the"):
        simulate(config({"decide_every": "2ns"}), tape)
