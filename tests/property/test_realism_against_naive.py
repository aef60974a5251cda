"""Account realism, engine against the naive exchange: liquidation, funding, spot, inverse, rate limits, refusals."""

import dataclasses
import functools
import tempfile
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from mm.config.schema import RunConfig
from mm.core.types import EVENT, FUNDING, LAST, MARK
from mm.data.store import StoreWriter
from mm.data.synth import SynthFlow, SynthSpec
from mm.sim.run import decision_times, simulate, simulate_many
from mm.sim.tape import from_store
from tests.reference import naive_sim
from tests.reference.plain import examples

RATE_E9 = 30_000_000  # 3 % a settlement, so that nobody overlooks it


@functools.cache
def shock_tape(kind="linear", marks=False):
    """15 s of synthetic flow with three jumps (-0.5 %, +1.3 %, -0.9 %) and a funding settlement every second."""
    spec = SynthSpec(sigma_bps_per_sqrt_s=1.5)
    ev = np.array(SynthFlow(spec, 5).next_chunk(15_000_000_000))
    third = len(ev) // 4
    for k, move in ((1, -0.005), (2, 0.013), (3, -0.009)):
        part = ev[k * third :]
        part["tick"] += np.int32(move * 600_000)
    ends = np.flatnonzero(ev["flags"] & LAST)
    ends = ends[np.searchsorted(ev["ts_exch_ns"][ends], ev["ts_exch_ns"][0] + np.arange(1, 14) * 10**9)]
    extra = np.zeros(len(ends), EVENT)
    for name in ("ts_exch_ns", "ts_recv_ns", "tick"):
        extra[name] = ev[name][ends]
    extra["kind"], extra["flags"] = FUNDING, LAST
    extra["lots"] = RATE_E9 * np.where(np.arange(len(ends)) % 3 == 0, -1, 1)
    ev = np.insert(ev, ends + 1, extra)
    if marks:
        ends = np.flatnonzero(ev["flags"] & LAST)[50::40]
        extra = ev[ends]
        extra["kind"], extra["flags"], extra["lots"] = MARK, LAST, 0
        ev = np.insert(ev, ends + 1, extra)
    path = Path(tempfile.mkdtemp(prefix="raymaker-test-")) / "shocks"
    with StoreWriter(path, instrument(kind), "test") as writer:
        writer.append(ev)
        return from_store(writer.finish({}))


def instrument(kind):
    i = SynthSpec().instrument
    if kind == "inverse":  # contracts of 1 USD
        return dataclasses.replace(i, kind=kind, lot_size=Decimal(1), min_notional=Decimal(0))
    return dataclasses.replace(i, kind=kind)


def config(size="3000 usd", risk=None, sim=None, **strategy):
    limits = {
        "max_position": "1e6 usd", "max_notional_usd": 1e7, "max_daily_loss_usd": 1e12, "max_drawdown_usd": 1e12,
        "initial_equity_usd": 5_000.0, "leverage": 100, "max_leverage": 100,
        "margin": {"tiers": [{"above_usd": 0, "rate_pct": 0.4}, {"above_usd": 9_000, "rate_pct": 0.7}]},
    }  # fmt: skip
    model = {"name": "glft_asymptotic", "gamma": {"q_max": 30}, "kappa": "4/bp", "A": 2.0}
    base = {"model": model, "order_size": size, "requote": {"threshold": "2 ticks", "min_age": "50ms"}}
    base["spread"] = {"min": "1 ticks", "max": "20 bps", "max_skew": "5 bps"}
    times = {"order_latency": "7ms", "response_latency": "5ms", "decide_every": "100ms"}
    return RunConfig.model_validate(
        {"strategy": base | strategy, "risk": limits | (risk or {}), "sim": times | (sim or {})}
    )


def compare(cfg, tape):
    """Every fill, the money and the counts are those of the naive exchange."""
    result = simulate(cfg, tape)
    naive = naive_sim.run(cfg, tape, decision_times(cfg, tape))
    ours = [tuple(int(f[n]) for n in ("ts_exch_ns", "order_id", "side", "tick", "lots")) for f in result.fills]
    assert ours == naive.fills
    m, s, account = result.metrics, naive.quoter.records_of(0).state[0], naive.exchange.account
    i = tape.instrument
    assert m["position"] == pytest.approx(float(i.size(int(s.pos_lots))))
    mid = float(result.samples["mid"][-1]) * float(i.tick_size)
    to_usd = mid if i.kind == "inverse" else 1.0
    assert m["funding_usd"] == pytest.approx(float(s.funding) * to_usd, rel=1e-9, abs=1e-9)
    paid = s.fee_coin * to_usd if i.kind == "inverse" else s.fee_units_e8 * 1e-8 * i.unit_value()
    assert m["fees_usd"] == pytest.approx(float(paid), rel=1e-4, abs=1e-6)
    assert m["liquidated"] == account.liquidated
    assert m["liquidation_loss_usd"] == pytest.approx(float(account.loss_usd), abs=1e-6)
    assert m["held_back"] == naive.budget.held
    assert m["rejects"] == sum(naive.exchange.refusals.values())
    for reason, count in naive.exchange.refusals.items():
        assert m[f"rejects_{reason}"] == count
    floor = -cfg.risk.initial_equity_usd * (to_usd / tape.ref_price if i.kind == "inverse" else 1.0)
    assert m["pnl_usd"] >= floor - 1e-6
    if i.kind != "inverse":
        assert result.samples["pnl_usd"].min() >= floor - 1e-6
    return result, naive


@pytest.mark.parametrize("kind", ["linear", pytest.param("inverse", marks=pytest.mark.compiled)])
@pytest.mark.parametrize("rule", ["entry_mm", "mark_mm", "mark_mm_fee"])
def test_liquidation_agrees(kind, rule):
    margin = {"tiers": [{"rate_pct": 0.4}, {"above_usd": 9_000, "rate_pct": 0.7}], "maintenance": rule}
    result, _ = compare(config(risk={"margin": margin}), shock_tape(kind))
    assert result.metrics["liquidated"]
    assert result.metrics["halted"] == "liquidation"
    assert result.fills["order_id"][-1] == 0
    assert result.metrics["position"] == 0
    assert result.metrics["liquidation_loss_usd"] > 0
    assert result.metrics["taker_fills"] == 1


def test_closing_at_the_mark_leaves_what_is_left():
    margin = {"tiers": [{"rate_pct": 0.9}]}
    losses = []
    for close_at in ("bankruptcy", "mark"):
        result, _ = compare(config(risk={"margin": margin | {"close_at": close_at}}), shock_tape())
        assert result.metrics["liquidated"]
        losses.append(result.metrics["liquidation_loss_usd"])
    assert losses[1] < losses[0]


@pytest.mark.compiled
def test_the_mark_price_decides_where_the_tape_has_one():
    by_mark, _ = compare(config(), shock_tape(marks=True))
    by_mid, _ = compare(config(), shock_tape())
    assert shock_tape(marks=True).has_marks
    assert by_mark.metrics["liquidated"]
    assert by_mark.fills["ts_exch_ns"][-1] >= by_mid.fills["ts_exch_ns"][-1]


@pytest.mark.parametrize("kind", ["linear", "inverse"])
def test_funding_agrees(kind):
    result, _ = compare(config(risk={"leverage": 1}, sim={"response_latency": "400ms"}), shock_tape(kind))
    assert not result.metrics["liquidated"]
    assert abs(result.metrics["funding_usd"]) > 1


@pytest.mark.compiled
def test_spot_sells_only_what_it_holds():
    risk = {"leverage": 1, "initial_equity_usd": 1e6}
    flat, _ = compare(config(risk=risk), shock_tape("spot"))
    held, _ = compare(config(risk=risk, opening_base="0.2 base", max_inventory="100000 usd"), shock_tape("spot"))
    for result, opening in ((flat, 0), (held, 200)):
        assert result.metrics["funding_usd"] == 0.0  # though the tape has settlements
        assert (opening + np.cumsum(result.fills["side"] * result.fills["lots"])).min() >= 0
        assert result.metrics["liquidated"] is False
    assert flat.fills["side"][0] == 1
    assert -1 in held.fills["side"][: len(held.fills) // 2]
    assert held.metrics["position"] != pytest.approx((held.fills["side"] * held.fills["lots"]).sum() * 0.001)
    first = held.samples[held.samples["mid"] > 0][0]
    move = (first["mid"] * 0.1 - shock_tape("spot").ref_price) * 0.2
    assert first["pnl_usd"] == pytest.approx(move, abs=1.0)  # counts from the opening value


@pytest.mark.parametrize(("kind", "reason"), [("linear", "margin"), ("inverse", "margin"), ("spot", "quote")])
def test_an_order_that_the_wallet_does_not_cover_is_refused(kind, reason):
    """Two orders are all that the opening wallet covers; fees eat into it."""
    leverage = 1 if kind == "spot" else 20
    risk = {"leverage": leverage, "initial_equity_usd": 1091.0 / leverage, "margin": {"tiers": [{"rate_pct": 0.1}]}}
    wide = {"spread": {"min": "1 ticks", "max": "4 ticks"}, "max_inventory": "1e6 usd"}
    result, _ = compare(config("545 usd", risk, {"maker_fee": "5 bps"}, **wide), shock_tape(kind))
    m = result.metrics
    name = {"margin": "rejects_insufficient_margin", "quote": "rejects_no_quote"}[reason]
    assert 0 < m[name] < m["orders"]
    assert {m["rejects_insufficient_margin"], m["rejects_no_quote"]} == {0, m[name]}
    assert m["fills"] > 2


def test_without_a_margin_account_nothing_is_refused_for_margin():
    risk = {"leverage": 20, "initial_equity_usd": 60.0, "margin": {"tiers": []}}
    result, _ = compare(config("599 usd", risk, {"maker_fee": "5 bps"}), shock_tape())
    assert result.metrics["rejects_insufficient_margin"] == 0


@pytest.mark.parametrize("cancels", [True, pytest.param(False, marks=pytest.mark.compiled)])
def test_rate_limits_agree_and_hold(cancels):
    limit = {"orders": 3, "window": "1s", "cancels": cancels}
    free, _ = compare(config(risk={"leverage": 1}), shock_tape())
    result, naive = compare(config(risk={"leverage": 1, "rate_limit": limit}), shock_tape())
    assert result.metrics["held_back"] > 10
    assert result.metrics["orders"] < free.metrics["orders"]
    sent = np.array(naive.budget.sent)
    assert max(np.sum((sent >= t) & (sent < t + 10**9)) for t in sent) <= 3


def test_a_minimum_notional_is_checked_at_the_price_of_the_order():
    tape = shock_tape()
    small = dataclasses.replace(tape.instrument, min_notional=Decimal("599.0"))
    result, _ = compare(config("0.01 base", risk={"leverage": 1}), dataclasses.replace(tape, instrument=small))
    assert result.metrics["rejects_min_notional"] > 0


def test_fees_by_tier():
    tape = shock_tape()
    for sim, rate in (
        ({"fee_tier": "bybit:vip2"}, 1.6e-4),
        ({"fee_tier": "bybit:vip2", "maker_fee": "-0.5 bps"}, -0.5e-4),
        ({}, float(tape.instrument.maker_fee)),
    ):
        m = compare(config(risk={"leverage": 1}, sim=sim), tape)[0].metrics
        assert m["fees_usd"] == pytest.approx(rate * m["volume_usd"], rel=1e-9)


@settings(max_examples=examples(12, 2), deadline=None, derandomize=True, phases=(Phase.explicit, Phase.generate))
@given(
    kind=st.sampled_from(["linear", "inverse", "spot"]),
    marks=st.booleans(),
    leverage=st.sampled_from([1, 20, 60, 100]),
    rate=st.sampled_from([0.3, 0.7]),
    rule=st.sampled_from(["entry_mm", "mark_mm", "mark_mm_fee"]),
    close_at=st.sampled_from(["bankruptcy", "mark"]),
    equity=st.sampled_from([60.0, 500.0, 20_000.0]),
    orders=st.sampled_from([None, 1, 4, 30]),
    self_trade=st.sampled_from(["reject", "cancel_resting"]),
    sigma=st.sampled_from([0, 1.0, 2.5]),
    every=st.sampled_from(["message", "100ms"]),
)
def test_any_account_agrees(kind, marks, leverage, rate, rule, close_at, equity, orders, self_trade, sigma, every):
    risk = {
        "leverage": leverage,
        "initial_equity_usd": equity,
        "margin": {"tiers": [{"rate_pct": rate}, {"above_usd": 6_000, "rate_pct": 0.9}], "maintenance": rule,
                   "close_at": close_at},
        "rate_limit": orders and {"orders": orders, "window": "700ms"},
    }  # fmt: skip
    wire = {"median": "9ms", "sigma": sigma}
    sim = {"order_latency": wire, "response_latency": wire, "self_trade": self_trade, "decide_every": every}
    compare(config("600 usd", risk, sim), shock_tape(kind, marks))


@pytest.mark.slow
def test_no_result_depends_on_the_company_or_on_threads():
    """With every feature in use: alone, together, in two threads, the same hash."""
    wire = {"median": "9ms", "sigma": 1.0}
    configs = [
        config(),
        config(risk={"margin": {"tiers": [{"rate_pct": 0.9}], "close_at": "mark"}}),
        config(risk={"leverage": 1, "rate_limit": {"orders": 4}}),
        config(sim={"order_latency": wire, "response_latency": wire, "self_trade": "cancel_resting"}),
        config(sim={"feed_latency": wire, "fee_tier": "bybit:vip5"}),
        config("600 usd", risk={"initial_equity_usd": 60.0}),
    ]
    tape = shock_tape()
    alone = [simulate(c, tape).result_hash for c in configs]
    assert len(set(alone)) == len(alone)
    assert [r.result_hash for r in simulate_many(configs, tape)] == alone
    assert [r.result_hash for r in simulate_many(configs[::-1], tape, threads=2)] == alone[::-1]


def test_monitors_raise_alerts_and_change_nothing():
    watched = {"window": "3s", "step": "200ms", "drawdown_usd": 1.0, "inventory_drift": "1 lots"}
    plain = simulate(config(risk={"leverage": 1}), shock_tape())
    result = simulate(config(risk={"leverage": 1, "monitors": watched}), shock_tape())
    assert result.result_hash == plain.result_hash
    assert plain.alerts == ()
    assert {a.monitor for a in result.alerts} == {"drawdown_usd", "inventory_drift_lots"}
    assert result.metrics["alerts"] == len(result.alerts)
