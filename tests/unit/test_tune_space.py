"""Axes of a raw config: what is one, what is refused, which configuration is which."""

import itertools

import pytest

from mm.config import RawConfig, load_raw, validate
from mm.errors import ConfigError
from tune.space import Space

SEED = 7


def space(data, trials=100, **raw):
    return Space.of(RawConfig(data, **raw), SEED, trials)


def model(**keys):
    return {"strategy": {"model": keys}}


def values(s, key):
    return [s.point(k)[key] for k in range(s.size)]


def test_lists_of_scalars_are_crossed_in_file_order_the_last_fastest():
    s = space(
        {"strategy": {"model": {"A": [1, 2]}, "reference": ["mid", "microprice"]}, "sim": {"queue": {"n": [1, 3]}}}
    )
    assert [a.name for a in s.axes] == ["strategy.model.A", "strategy.reference", "sim.queue.n"]
    expected = list(itertools.product([1, 2], ["mid", "microprice"], [1, 3]))
    assert [tuple(s.point(k).values()) for k in range(s.size)] == expected


def test_a_list_where_the_schema_wants_a_list_is_none_and_grid_makes_it_one():
    assert space({"live": {"venues": [{"name": "a"}, {"name": "b"}]}}).axes == ()
    with pytest.raises(ConfigError, match=r"live\.venues: cannot be an axis: a sweep simulates"):
        space({"live": {"venues": {"grid": [[{"name": "a"}], [{"name": "b"}]]}}})


def test_sections_can_be_alternatives():
    s = space(model(gamma=[{"q_max": 3}, "0.1/$"]))
    assert values(s, ("strategy", "model", "gamma")) == [{"q_max": 3}, "0.1/$"]
    assert validate(s.config(0)).strategy.model.gamma.q_max == 3
    assert validate(s.config(1)).strategy.model.gamma.value == 0.1


def test_an_axis_inside_a_section_is_found():
    assert [a.name for a in space(model(gamma={"q_max": [3, 5]})).axes] == ["strategy.model.gamma.q_max"]


def test_ranges_keep_their_unit_and_stay_inside():
    s = space(
        model(kappa={"loguniform": ["0.1/bp", "1/bps"]}, mu={"uniform": ["$-2", "$2"]}, n_lots={"uniform": [1, 3]})
    )
    for k in range(s.size):
        kappa, mu, n_lots = s.point(k).values()
        assert kappa.endswith("/bp")
        assert 0.1 <= float(kappa.removesuffix("/bp")) <= 1
        assert mu.startswith("$")
        assert -2 <= float(mu.removeprefix("$")) <= 2
        assert type(n_lots) is int
        validate(s.config(k))
    assert set(values(s, ("strategy", "model", "n_lots"))) == {1, 2, 3}


def test_loguniform_is_even_in_the_logarithm():
    drawn = values(space(model(A={"loguniform": [0.01, 100]}), trials=400), ("strategy", "model", "A"))
    assert 160 <= sum(a < 1 for a in drawn) <= 240


def test_random_axes_sample_every_grid_point_again():
    s = space(model(A={"uniform": [1, 2]}, name=["glft_asymptotic", "legacy_glft"]), trials=6)
    assert values(s, ("strategy", "model", "name")) == ["glft_asymptotic", "legacy_glft"] * 3
    assert len(set(values(s, ("strategy", "model", "A")))) == 6


def test_size_is_the_grid_or_the_trials():
    grid = model(A=[1, 2, 3])
    assert [space(grid, n).size for n in (1, 3, 50)] == [1, 3, 3]
    assert space({}, 50).size == 1
    assert space(model(A={"choice": [1, 2]}), 50).size == 50


def test_a_grid_larger_than_the_trials_is_sampled_without_repeats_and_says_so():
    data = {"strategy": {"model": {"A": list(range(1, 41)), "n_lots": list(range(1, 41))}}}
    s = space(data, 200)
    points = [tuple(s.point(k).values()) for k in range(s.size)]
    assert len(set(points)) == 200
    assert len({a for a, _ in points}) > 30  # all over the grid, not its first rows
    assert "a seeded sample, the whole grid has 1600 points" in s.describe()
    more = space(data, 300)
    assert [tuple(more.point(k).values()) for k in range(200)] == points  # more trials only add to them


def test_the_seed_moves_samples():
    data = model(A={"uniform": [1, 2]})
    one, other = Space.of(RawConfig(data), 1, 5), Space.of(RawConfig(data), 2, 5)
    assert values(one, ("strategy", "model", "A")) != values(other, ("strategy", "model", "A"))


def test_filling_leaves_the_raw_config_alone():
    data = model(gamma=[{"q_max": 3}, {"q_max": 5}])
    s = space(data)
    s.config(0).data["strategy"]["model"]["gamma"]["q_max"] = 99
    assert data == model(gamma=[{"q_max": 3}, {"q_max": 5}])
    assert s.point(0) == {("strategy", "model", "gamma"): {"q_max": 3}}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "grid has no values"),
        ({"choice": []}, "choice has no values"),
        ({"grid": 3}, "grid wants a list"),
        ({"gird": [1, 2]}, "unknown axis 'gird'.*did you mean 'grid'"),
        ({"grid": [1], "step": 2}, "unknown axis 'step'"),
        ({"grid": [1], "choice": [2]}, "not grid and choice together"),
        ({"uniform": [1, 2, 3]}, "wants .low, high.*got 3 values"),
        ({"uniform": [2, 1]}, "low < high"),
        ({"uniform": [1, float("inf")]}, "both finite"),
        ({"uniform": ["a", "b"]}, "wants numbers or quantities"),
        ({"uniform": [True, 2]}, "wants numbers or quantities"),
        ({"uniform": ["1/bp", "2/$"]}, "the same unit"),
        ({"uniform": [1, "2/$"]}, "the same unit"),
        ({"loguniform": [0, 1]}, "bounds above 0"),
    ],
)
def test_nonsense_is_refused_with_its_line(value, message):
    raw = {"path": "sweep.yaml", "lines": {("strategy", "model", "kappa"): "sweep.yaml:12"}}
    with pytest.raises(ConfigError, match=r"sweep\.yaml:12: strategy\.model\.kappa.*" + message):
        space(model(kappa=value), **raw)


def test_a_misspelt_axis_beside_a_section_is_found():
    with pytest.raises(ConfigError, match="did you mean 'uniform'"):
        space(model(gamma={"unifrom": [1, 2]}))


def test_whole_numbers_stay_whole():
    with pytest.raises(ConfigError, match=r"n_lots.*whole numbers"):
        space(model(n_lots={"uniform": [1, 2.5]}))


@pytest.mark.parametrize(
    "data", [{"seed": [1, 2]}, {"name": ["a", "b"]}, {"tune": {"trials": [1, 2]}}, {"live": {"timer": ["1s", "2s"]}}]
)
def test_keys_that_do_not_move_a_simulation_are_no_axes(data):
    with pytest.raises(ConfigError, match="cannot be an axis"):
        space(data)


def test_an_axis_inside_an_alternative_is_refused():
    with pytest.raises(ConfigError, match=r"value 2 has an axis inside it \(strategy\.model\.gamma\.q_max\)"):
        space(model(gamma=["0.1/$", {"q_max": [1, 2]}]))


def test_a_configuration_beyond_the_sweep_is_an_error():
    with pytest.raises(ValueError, match="not one of the sweep's 2"):
        space(model(A=[1, 2])).point(2)


def test_an_override_can_be_an_axis_and_errors_name_it(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("strategy: {model: {A: 1.0}}\n")
    assert space(load_raw(file, ["strategy.model.A=[1, 2]"]).data).size == 2
    raw = load_raw(file, ["strategy.model.A={uniform: [2, 1]}"])
    with pytest.raises(ConfigError, match=r"--set strategy\.model\.A="):
        Space.of(raw, SEED, 10)


def test_a_filled_value_that_is_wrong_points_at_its_line(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("strategy:\n  model:\n    kappa: [1/bp, nonsense]\n")
    s = Space.of(load_raw(file), SEED, 10)
    validate(s.config(0))
    with pytest.raises(ConfigError, match=r"c\.yaml:3: strategy\.model\.kappa"):
        validate(s.config(1))


def test_the_shipped_sweep_is_a_thousand_valid_configurations(request):
    s = Space.of(load_raw(request.config.rootpath / "configs" / "grid.yaml"), 42, 1000)
    assert s.size == s.grid_size == 1000
    for k in range(0, 1000, 37):
        validate(s.config(k))
