"""Arms on one tape: a planted difference is found exactly, an arm against itself is nothing, and the words say so."""

import csv
import json

import pytest
from rich.console import Console

from mm.config.arms import arms_of
from mm.config.load import RawConfig
from mm.config.schema import RunConfig
from mm.data.synth import SynthSpec, write_synth
from mm.errors import ConfigError, DataError
from mm.report.compare import hours, notes, render, run, verdict
from mm.sim.candles import candles_of
from mm.sim.compare import Terms, compare
from mm.sim.control import control_config
from mm.sim.run import simulate
from mm.sim.tape import from_store

pytestmark = pytest.mark.slow  # hopeless as plain Python

STRATEGY = {"model": {"kappa": "2.5/bps", "A": 3.0, "gamma": {"q_max": 4}}, "order_size": "500 usd",
            "spread": {"min": "1 ticks", "max": "20 bps"}}  # fmt: skip


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    root = tmp_path_factory.mktemp("compare")
    return [write_synth(root / f"s{seed}", SynthSpec(), seed, 240.0) for seed in (1, 2)]


@pytest.fixture(scope="module")
def tapes(stores):
    return [from_store(store) for store in stores]


def arms(**changes):
    data = {"name": "test", "strategy": STRATEGY, "sim": {"maker_fee": "0 bps"}, "arms": changes}
    return arms_of([RawConfig(data)])


def compared(tapes, changes, **terms):
    made = arms(**changes)
    return compare([a.name for a in made], [a.config for a in made], tapes, Terms(**terms))


def test_a_planted_difference_is_found_to_the_cent(tapes):
    """A dearer fee moves no quote: the arms differ by exactly the fees."""
    found = compared(tapes, {"free": {}, "dear": {"sim.maker_fee": "1 bps"}}).found
    free, dear = found["arms"]
    (pair,) = found["pairs"]
    assert free["fills"] == dear["fills"] > 50
    assert free["fees_usd"] == 0.0
    assert dear["fees_usd"] == pytest.approx(dear["volume_usd"] * 1e-4, rel=1e-6)
    assert pair["difference_usd"] == pytest.approx(-dear["fees_usd"], rel=1e-9)
    assert pair["detected"]
    assert pair["low"] < pair["usd_per_hour"] < pair["high"] < 0.0
    assert pair["usd_per_hour"] == pytest.approx(pair["difference_usd"] / found["hours"])
    assert "dear earns less than free" in verdict(pair, found)


def test_intervals_of_arms_that_differ_by_luck_alone_mostly_hold_zero(tapes):
    """Blind quoters that differ in their seed earn the same in the long run: the truth is zero, every time."""
    blind = RunConfig.model_validate({"strategy": STRATEGY, "sim": {"maker_fee": "0 bps"}})
    held = 0
    for k in range(40):
        pair = [control_config(blind, 2.0, seed) for seed in (2 * k, 2 * k + 1)]
        (row,) = compare(["one", "two"], pair, tapes, Terms(resamples=500)).found["pairs"]
        assert row["fills_apart"] >= 30
        held += row["low"] <= 0.0 <= row["high"]
    assert 34 <= held <= 40


def test_an_arm_against_itself_is_exactly_nothing(tapes):
    (pair,) = compared(tapes, {"a": {}, "again": {}}).found["pairs"]
    assert pair["identical"]
    assert not pair["detected"]
    assert (pair["difference_usd"], pair["low"], pair["high"], pair["p"]) == (0.0, 0.0, 0.0, 1.0)


def test_a_handful_of_fills_is_no_evidence(tapes):
    """Rare fills make a smooth path and a confident interval; how rare they are is what is not known."""
    rare = {"strategy.spread.min": "3 bps"}
    (pair,) = compared(tapes, {"a": rare, "b": rare | {"strategy.requote.threshold": "6 ticks"}}).found["pairs"]
    assert 0 < pair["fills_apart"] < 30
    assert (pair["few_fills"], pair["low"], pair["p"]) == (True, None, None)
    dear = {"a": rare, "b": rare | {"sim.maker_fee": "1 bps"}}  # the same few fills, dearer
    found = compared(tapes, dear).found
    assert 0 < found["arms"][0]["fills"] < 30
    assert found["pairs"][0]["fills_apart"] == 0
    assert found["pairs"][0]["few_fills"]
    assert not found["pairs"][0]["detected"]


def test_each_arm_is_what_it_is_alone(tapes):
    changes = {"a": {}, "slow": {"sim.order_latency": "40ms"}, "b": {"strategy.model.sigma": "1 bps/s"}}
    done = compared(tapes, changes)
    for arm, entry in zip(arms(**changes), done.found["arms"], strict=True):
        alone = [simulate(arm.config, tape) for tape in tapes]
        assert entry["result_hash"] == [r.result_hash for r in alone]
        assert entry["pnl_usd"] == pytest.approx(sum(r.metrics["pnl_usd"] for r in alone))
        assert entry["max_drawdown_usd"] == max(r.metrics["max_drawdown_usd"] for r in alone)
    for path, results in zip(
        done.paths, [[simulate(a.config, t) for a in arms(**changes)] for t in tapes], strict=True
    ):
        assert list(path.pnl[:, 0]) == [0.0] * 3
        assert list(path.pnl[:, -1]) == [r.metrics["pnl_usd"] for r in results]


def test_many_comparisons_widen_every_interval(tapes):
    changes = {"a": {}, "b": {"strategy.model.A": 1.0}, "c": {"strategy.model.A": 9.0}}
    one = compared(tapes, {k: changes[k] for k in ("a", "b")}).found
    two = compared(tapes, changes).found
    three = compared(tapes, changes, all_pairs=True).found
    assert [len(f["pairs"]) for f in (one, two, three)] == [1, 2, 3]
    assert [f["interval_level"] for f in (one, two, three)] == pytest.approx([0.95, 0.975, 1 - 0.05 / 3])
    width = [f["pairs"][0]["high"] - f["pairs"][0]["low"] for f in (one, two, three)]
    assert width[0] < width[2]
    p = three["pairs"][0]
    assert p["p_adjusted"] == min(1.0, 3 * p["p"])


def test_more_tapes_narrow_the_interval_and_the_same_seed_repeats_it(tapes):
    changes = {"a": {}, "b": {"strategy.model.A": 1.0}}
    one, both = compared(tapes[:1], changes).found, compared(tapes, changes).found
    assert both["hours"] == pytest.approx(2 * one["hours"], rel=0.05)
    assert compared(tapes, changes).found == both
    assert compared(tapes, changes, seed=1).found["pairs"] != both["pairs"]


@pytest.mark.parametrize(
    ("terms", "said"), [({"level": 1.0}, "--level"), ({"effect": 0.0}, "--effect"), ({"resamples": 5}, "--resamples")]
)
def test_terms_that_make_no_sense(tapes, terms, said):
    with pytest.raises(ConfigError, match=said):
        compared(tapes[:1], {"a": {}, "b": {}}, **terms)


def test_a_tape_counts_once_and_a_desk_is_no_arm(tapes):
    with pytest.raises(ConfigError, match="given twice"):
        compared([tapes[0], tapes[0]], {"a": {}, "b": {}})
    with pytest.raises(ConfigError, match="desk"):
        compared(tapes[:1], {"a": {}, "b": {"desk.legs": [{"name": "x", "data": {}}]}})


def test_a_comparison_on_disk(stores, tmp_path):
    made = arms(a={}, b={"strategy.model.A": 1.0}, never={"strategy.spread.min": "19 bps", "sim.maker_fee": "1 bps"})
    found = run(made, [str(s.path) for s in stores], tmp_path, Terms(effect=2.0))
    out = next(tmp_path.iterdir())
    assert found["path"] == str(out)
    assert {p.name for p in out.iterdir()} == {"compare.json", "compare.png", "arms.csv", "pairs.csv", "paths.csv"}
    assert json.loads((out / "compare.json").read_text())["verdict"] == found["verdict"]
    with (out / "arms.csv").open() as file:
        assert [row["name"] for row in csv.DictReader(file)] == ["a", "b", "never"]
    with (out / "paths.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["tape"] for row in rows} == {"0", "1"}
    last = [float(row["b"]) for row in rows if row["tape"] == "0"][-1]
    assert last + float(rows[-1]["b"]) == pytest.approx(found["arms"][1]["pnl_usd"])
    console = Console(width=120, record=True)
    console.print(render(found))
    text = console.export_text()
    assert "3 arms, 2 comparisons" in text
    assert "for 2 $/h" in text or "earns" in text
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigError, match="--out"):
        run(made, [str(stores[0].path)], tmp_path / "file", Terms())
    with pytest.raises(DataError):
        run(made, [str(tmp_path / "nothing")], tmp_path, Terms())
    with pytest.raises(ConfigError, match="synth:SEED"):
        run(made, ["synth:x"], tmp_path, Terms())


def test_the_words():
    assert [hours(x) for x in (0.01, 0.25, 5.0, 14.2, 24.0 * 9)] == ["1 min", "15 min", "5.0 h", "14 h", "9 days"]
    pair = {"a": "x", "b": "y", "identical": False, "few_blocks": False, "usd_per_hour": 0.4, "low": -2.0, "high": 2.9,
            "mde_usd_per_hour": 3.6, "detected": False, "hours_for_effect": 14.0, "few_fills": False,
            "fills_apart": 80, "blocks": 12.0, "block_s": 3.0}  # fmt: skip
    found = {"effect_usd_per_hour": 1.0, "hours": 1.1}
    assert verdict(pair, found) == (
        "no difference detectable between y and x: +0.40 $/h, interval -2.00 to +2.90 $/h; data of 1.1 h would mostly "
        "find 3.6 $/h: needs about 14 h of data for 1 $/h."
    )
    assert "one of 1 $/h would most likely show" in verdict(pair | {"mde_usd_per_hour": 0.9}, found)
    few = pair | {"few_fills": True, "fills_apart": 4}
    assert verdict(few, found).endswith("the two differ in 4 fills; 30 would take about 8.2 h.")
    assert verdict(few | {"fills_apart": 0}, found).endswith("fewer than 30 fills.")
    assert "too little data" in verdict(pair | {"few_blocks": True}, found)


def test_candles_are_compared_too(tapes):
    candles = candles_of(tapes[0], 1.0)
    made = arms(free={}, dear={"sim.maker_fee": "1 bps"})
    found = compare([a.name for a in made], [a.config for a in made], [candles], Terms()).found
    assert found["arms"][1]["fees_usd"] > 0.0
    assert found["data"][0]["mode"] == "candles"
    assert found["pairs"][0]["difference_usd"] == pytest.approx(-found["arms"][1]["fees_usd"], rel=1e-6)
    assert any("candles" in note for note in notes(found))
