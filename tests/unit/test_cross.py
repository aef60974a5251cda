"""A reference price from two venues: the rule against a slow loop, a planted lead found, no news."""

import math
from dataclasses import replace

import numpy as np
import pytest

from mm.config.schema import RunConfig
from mm.core.types import BUY, SELL, records
from mm.data.store import Store
from mm.data.synth import SynthSpec, write_synth
from mm.errors import ConfigError, DataError
from mm.sim.compare import Terms, compare
from mm.sim.cross import cross_of
from mm.sim.market import observations
from mm.sim.run import market_view, simulate, simulate_many
from mm.sim.tape import beside, from_store, open_tape
from mm.strategy.cross import CROSS, see_other
from mm.strategy.state import FEATURES

pytestmark = pytest.mark.slow  # hopeless as plain Python

LEAD_NS = 400_000_000


def config(reference="mid", **data):
    return RunConfig.model_validate({
        "data": data,
        "strategy": {
            "model": {"kappa": "2.5/bps", "A": 3.0, "gamma": {"q_max": 4}},
            "order_size": "500 usd",
            "spread": {"min": "1 ticks", "max": "20 bps"},
            "reference": reference,
        },
        "sim": {"maker_fee": "0 bps"},
    })  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write_synth(tmp_path_factory.mktemp("cross") / "s", SynthSpec(), 5, 240.0)


@pytest.fixture(scope="module")
def tape(store):
    return from_store(store)


@pytest.fixture(scope="module")
def leader(tape):
    """Another venue that knows everything 400 ms earlier, at a price of its own."""
    base, n = tape.book_window
    return replace(
        tape, msg_recv_ns=tape.msg_recv_ns - LEAD_NS, data_hash="leader", book_window=(base + 700, n), features={},
        clocks={},
    )  # fmt: skip


def seen(cfg, tape):
    view = market_view(cfg, tape)
    chunks = list(observations(tape, view))
    return view, np.concatenate([c.features for c in chunks])


def test_the_rule_is_that_of_a_slow_loop(tape, leader):
    both = beside(tape, leader)
    cfg = config({"cross": "volume", "volume_halflife": "5s", "basis_halflife": "7s", "stale_after": "200ms"})
    view, got = seen(cfg, both)
    theirs = np.concatenate([c.features for c in observations(leader, replace(view, cross=None))])
    kind = tape.words >> 28
    rows = np.flatnonzero(np.isin(kind, (SELL, BUY)))
    lot = float(tape.instrument.lot_size)
    size = tape.lots[rows] * lot
    message = np.searchsorted(tape.msg_start, rows, side="right") - 1
    heard_at = np.asarray(leader.msg_recv_ns)

    basis = math.nan
    basis_ns = 0
    volume = [0.0, 0.0]
    clocks = [tape.msg_recv_ns[message], leader.msg_recv_ns[message]]
    before = None
    for d, now in enumerate(view.decide_ns):
        for k, at in enumerate(clocks):
            new = (at <= now) & (at > (before if before is not None else -1))
            if before is not None:
                volume[k] *= 0.5 ** ((now - before) * 1e-9 / 5.0)
            volume[k] += float(size[new].sum())
        before = now
        expected = 0.0
        past = heard_at[heard_at <= now]
        fresh = len(past) > 0 and now - past[-1] <= 200_000_000
        if got["valid"][d] and theirs["valid"][d] and fresh:
            gap = theirs["mid"][d] - got["mid"][d]
            if basis_ns == 0:
                basis = gap
            share = volume[1] / sum(volume) if sum(volume) else 0.0
            expected = got["mid"][d] + share * (gap - basis)
            if basis_ns:
                basis += (1 - 0.5 ** ((now - basis_ns) * 1e-9 / 7.0)) * (gap - basis)
            basis_ns = now
        assert got["cross"][d] == pytest.approx(expected, abs=1e-6), d
    assert 0.2 < np.mean(got["cross"] > 0.0) < 1.0  # stale at times, not always
    assert np.median(np.abs(got["cross"] - got["mid"])[got["cross"] > 0.0]) < 50  # the gap of 700 ticks is basis


def test_a_venue_that_leads_is_worth_money_and_one_that_does_not_is_told_apart(tape, leader):
    both = beside(tape, leader)
    arms = {"mid": config(), "cross": config({"cross": 1.0, "basis_halflife": "20s"})}
    (pair,) = compare(list(arms), list(arms.values()), [both], Terms()).found["pairs"]
    assert pair["detected"]
    assert pair["low"] > 0.0
    twin = beside(tape, replace(tape, features={}))
    (pair,) = compare(list(arms), list(arms.values()), [twin], Terms()).found["pairs"]
    assert pair["identical"]  # the same news at the same time: no other quote


def test_without_news_the_own_mid_rules(tape, leader):
    late = replace(leader, msg_recv_ns=leader.msg_recv_ns + 120 * 10**9, features={})  # silent for the first half
    cfg = config({"cross": 0.5})
    _, got = seen(cfg, beside(tape, late))
    quiet = np.arange(len(got)) < len(got) // 3
    assert not got["cross"][quiet].any()
    assert got["cross"][~quiet].any()
    # a threshold that nothing meets: the same trades as with the mid
    never = config({"cross": 0.5, "stale_after": "1us"})
    assert np.array_equal(simulate(never, beside(tape, leader)).fills, simulate(config(), tape).fills)


def test_sets_of_one_pass_do_not_see_each_other(tape, leader):
    both = beside(tape, leader)
    cfgs = [config(), config({"cross": "volume"}), config({"cross": 0.3}), config({"cross": "volume"})]
    together = [r.result_hash for r in simulate_many(cfgs, both)]
    assert together == [simulate(cfg, both).result_hash for cfg in cfgs]
    assert together[1] == together[3]
    assert len(set(together)) == 3


def test_volume_weights_and_staleness():
    c, f = records(1, CROSS)[0], records(1, FEATURES)[0]
    c.weight, c.volume_halflife_s, c.basis_halflife_s, c.stale_ns = -1.0, 10.0, 1e9, 1000
    f.valid, f.mid = 1, 100.0
    see_other(c, f, 110.0, 0, 1.0, 3.0, 1)
    assert f.cross == 100.0  # the first gap is the basis
    see_other(c, f, 114.0, 2, 0.0, 0.0, 2)
    assert f.cross == pytest.approx(103.0)  # three quarters of the volume is theirs
    see_other(c, f, 114.0, 2, 0.0, 0.0, 1003)
    assert f.cross == 0.0
    see_other(c, f, 0.0, 1003, 0.0, 0.0, 1003)
    assert f.cross == 0.0
    f.valid = 0
    see_other(c, f, 114.0, 1003, 0.0, 0.0, 1003)
    assert f.cross == 0.0


def test_what_is_missing_is_named(tape, store, tmp_path):
    cfg = config({"cross": "volume"})
    with pytest.raises(ConfigError, match=r"data\.other"):
        simulate(cfg, tape)
    elsewhen = replace(tape, msg_recv_ns=tape.msg_recv_ns + 10**15)
    with pytest.raises(ConfigError, match="another time"):
        cross_of(cfg, beside(tape, elsewhen))
    assert cross_of(config(), tape) is None
    with pytest.raises(DataError):
        open_tape(config(source=str(store.path), other=str(tmp_path / "nothing")).data)
    opened = open_tape(config(source=str(store.path), other=str(store.path)).data)
    assert opened.other.data_hash == Store.open(store.path).data_hash != opened.data_hash
