"""``base:``: files that stand on one another, and errors that name the file in which the mistake is."""

import pytest

from mm.config import load_config, load_raw
from mm.errors import ConfigError

BELOW = """\
name: below
strategy:
  model: {name: glft_asymptotic, kappa: 2/bp, A: 3}
  order_size: 100 usd
risk: {max_position: 500 usd}
"""


@pytest.fixture
def write(tmp_path):
    def go(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return go


def test_what_is_not_said_comes_from_the_base(write):
    write("base.yaml", BELOW)
    top = write("sub/top.yaml", "base: ../base.yaml\nname: top\nstrategy: {model: {kappa: 4/bp}}\n")
    cfg = load_config(top)
    assert cfg.name == "top"
    assert (cfg.strategy.model.kappa.value, cfg.strategy.model.A) == (4.0, 3.0)
    assert cfg.strategy.order_size.value == 100
    assert "base" not in load_raw(top).data


def test_of_several_bases_the_last_wins_and_the_file_over_all(write):
    write("a.yaml", "seed: 1\ntag: a\nname: a\n")
    write("b.yaml", "seed: 2\ntag: b\n")
    cfg = load_config(write("top.yaml", "base: [a.yaml, b.yaml]\ntag: top\n"), ["seed=9"])
    assert (cfg.name, cfg.tag, cfg.seed) == ("a", "top", 9)


def test_a_list_or_a_word_replaces_a_section(write):
    write("base.yaml", "strategy: {model: {sigma: {halflife: 10s}, gamma: {q_max: 5}}}\nrisk: {margin: {tiers: []}}\n")
    top = write("top.yaml", "base: base.yaml\nstrategy: {model: {sigma: 2%/day, gamma: 0.1/bp}}\n")
    cfg = load_config(top)
    assert cfg.strategy.model.sigma.per == "day"
    assert cfg.strategy.model.gamma.unit == "bps"
    assert cfg.risk.margin.tiers == []


@pytest.mark.parametrize(
    ("top", "expected"),
    [
        ("base: base.yaml\nstrategy:\n  model: {A: -1}\n", "top.yaml:3: strategy.model.A"),
        ("base: base.yaml\nname: x\nrisk: {max_position: 50 usd}\n", "is above risk.max_position"),
        ("base: broken.yaml\n", "broken.yaml:2: strategy.kapa: unknown key"),
        ("name: x\nbase: nowhere.yaml\n", r"top.yaml:2: base: config file .*nowhere.yaml does not exist"),
        ("base: top.yaml\n", "one on itself"),
        ("base: 7\n", "top.yaml:1: base: expected a file name or a list of them, got 7"),
        ("base: [base.yaml, {a: 1}]\n", "expected a file name"),
    ],
)
def test_an_error_names_the_file_it_is_in(write, top, expected):
    write("base.yaml", BELOW)
    write("broken.yaml", "strategy:\n  kapa: 1\n")
    with pytest.raises(ConfigError, match=expected):
        load_config(write("top.yaml", top))


def test_an_override_of_a_base_is_named(write):
    write("base.yaml", BELOW)
    with pytest.raises(ConfigError, match=r"--set strategy\.model\.kappa=x"):
        load_config(write("top.yaml", "base: base.yaml\n"), ["strategy.model.kappa=x"])
