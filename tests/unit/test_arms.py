"""Arms of a comparison: what each changes, and errors that point at the line of the arm."""

import pytest

from mm.config.arms import arms_of
from mm.config.load import load_raw
from mm.errors import ConfigError

BASE = """\
name: both
strategy:
  model: {gamma: {q_max: 5}, A: 1.5}
  order_size: 200 usd
"""


def file(tmp_path, text, name="arms.yaml"):
    path = tmp_path / name
    path.write_text(text)
    return path


def arms(tmp_path, text, sets=None, source=None):
    return arms_of([load_raw(file(tmp_path, text), sets)], source)


def test_an_arm_changes_the_config_around_it(tmp_path):
    found = arms(
        tmp_path,
        BASE
        + "arms:\n  plain:\n  other:\n    strategy.model.sigma: {halflife: 9s}\n    strategy:\n      model: {A: 2}\n"
        "    sim.maker_fee: 1 bps\n    strategy.model.gamma: 0.1/bp\n",
    )
    plain, other = (arm.config for arm in found)
    assert [arm.name for arm in found] == ["plain", "other"]
    assert plain.strategy.model.A == 1.5
    assert other.strategy.model.A == 2.0
    assert other.strategy.model.sigma.halflife == 9.0
    assert other.strategy.model.gamma.value == 0.1
    assert float(other.sim.maker_fee) == 1e-4
    assert plain.strategy.order_size == other.strategy.order_size
    assert plain.sim.maker_fee is None


def test_set_reaches_the_base_and_a_single_arm(tmp_path):
    text = BASE + "arms:\n  a: {}\n  b: {strategy.model.A: 2}\n"
    a, b = arms(tmp_path, text, ["strategy.model.A=7", "arms.a.sim.maker_fee=2 bps"])
    assert (a.config.strategy.model.A, b.config.strategy.model.A) == (7.0, 2.0)
    assert float(a.config.sim.maker_fee) == pytest.approx(2e-4)
    assert b.config.sim.maker_fee is None
    with pytest.raises(ConfigError, match=r"--set arms\.a\.strategy\.model\.kapa=1"):
        arms(tmp_path, text, ["arms.a.strategy.model.kapa=1"])


def test_an_unknown_key_of_an_arm_is_named_with_its_line(tmp_path):
    with pytest.raises(ConfigError, match=r"arms\.yaml:7: strategy\.model\.gama: unknown key; did you mean 'gamma'"):
        arms(tmp_path, BASE + "arms:\n  a: {}\n  b: {strategy.model.gama: 1}\n")
    with pytest.raises(ConfigError, match=r"arms\.yaml:10: strategy\.model\.kappa: "):
        arms(tmp_path, BASE + "arms:\n  a: {}\n  b:\n    strategy:\n      model:\n        kappa: -1/bp\n")
    with pytest.raises(ConfigError, match=r"arms\.yaml:3: strategy\.model\.A"):  # of the base: where it stands
        arms(tmp_path, BASE.replace("1.5", "-1") + "arms:\n  a: {}\n  b: {}\n")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "needs two arms, found only 'both'"),
        ("arms: {one: {}}\n", "needs two arms, found only 'one'"),
        ("arms: [a, b]\n", r"arms\.yaml:5: arms: expected names"),
        ("arms: {}\n", r"arms\.yaml:5: arms: expected names"),
        ("arms:\n  a: {}\n  b: 3\n", r"arms\.yaml:7: arms\.b: expected the keys"),
        ("arms:\n  a: {}\n  'b/c': {}\n", r"arms\.yaml:7: arms: a name is a word"),
        ("arms:\n  a: {}\n  2: {}\n", r"arms\.yaml:\d+: arms: a name is a word .* got 2"),
        (
            "arms:\n  a: {}\n  b: {data.seed: 2}\n",
            r"arms\.yaml:7: data\.seed: arm 'b' trades 2, 'a' trades 1;",
        ),
    ],
)
def test_what_is_no_comparison_says_why(tmp_path, text, said):
    with pytest.raises(ConfigError, match=said):
        arms(tmp_path, BASE + text)


def test_a_file_an_arm(tmp_path):
    one = file(tmp_path, "strategy: {model: {A: 1}}\n", "one.yaml")
    two = file(tmp_path, "name: second\nstrategy: {model: {A: 2}}\n", "two.yaml")
    found = arms_of([load_raw(one), load_raw(two)])
    assert [(arm.name, arm.config.strategy.model.A) for arm in found] == [("one", 1.0), ("second", 2.0)]
    with pytest.raises(ConfigError, match=r"arm 'one' is also in .*one\.yaml"):
        arms_of([load_raw(one), load_raw(one)])


def test_one_tape_for_all(tmp_path):
    one = file(tmp_path, "data: {source: x}\n", "one.yaml")
    two = file(tmp_path, "data: {source: y}\n", "two.yaml")
    with pytest.raises(ConfigError, match=r"two\.yaml:1: data\.source: arm 'two' trades y, 'one' trades x"):
        arms_of([load_raw(one), load_raw(two)])
    assert {arm.config.data.source for arm in arms_of([load_raw(one), load_raw(two)], "z")} == {"z"}


def test_other_commands_name_the_command_for_arms(tmp_path):
    from mm.config.load import load_config

    with pytest.raises(ConfigError, match=r"arms: unknown key; a file with several arms is run by `compare`"):
        load_config(file(tmp_path, BASE + "arms: {a: {}, b: {}}\n"))
