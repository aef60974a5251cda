"""Laws of the search space: permutations are permutations, samples stay in bounds, configuration k stays itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm.config import RawConfig
from tune.axes import Axis, split_quantity
from tune.seeds import shuffled, trial_seed, unit
from tune.space import Space

SEEDS = st.integers(-(2**63), 2**63)
UNITS = st.floats(0, 1, exclude_max=True)


@given(st.integers(1, 300), SEEDS)
def test_shuffled_is_a_permutation(n, seed):
    assert sorted(shuffled(k, n, seed) for k in range(n)) == list(range(n))


@given(st.integers(1, 10**30), SEEDS, st.data())
def test_shuffled_stays_in_a_huge_range(n, seed, data):
    k = data.draw(st.integers(0, n - 1))
    assert 0 <= shuffled(k, n, seed) < n


@given(st.integers(1, 50), st.integers(0, 100))
def test_shuffled_refuses_what_is_outside(n, beyond):
    with pytest.raises(ValueError, match="need 0 <= k"):
        shuffled(n + beyond, n, 1)


@given(SEEDS, st.text(max_size=5), st.integers(0, 10**9))
def test_unit_is_in_range_and_pure(seed, label, k):
    assert 0 <= unit(seed, k, label) < 1
    assert unit(seed, k, label) == unit(seed, k, label)
    assert 0 <= trial_seed(seed, label) < 2**48


@given(st.floats(1e-9, 1e9), st.floats(1.0000001, 1e6), UNITS, st.sampled_from(["uniform", "loguniform"]))
def test_a_range_holds_its_samples(low, factor, u, kind):
    axis = Axis(("a",), kind, low=low, high=low * factor)
    assert axis.low <= axis.sample(u) <= axis.high


@given(st.integers(1, 10**6), st.integers(0, 10**6), UNITS, st.sampled_from(["uniform", "loguniform"]))
def test_a_whole_range_gives_whole_numbers_up_to_both_ends(low, width, u, kind):
    axis = Axis(("a",), kind, low=float(low), high=float(low + width), whole=True)
    x = axis.sample(u)
    assert isinstance(x, int)
    assert low <= x <= low + width
    assert axis.sample(0.0) == low
    assert axis.sample(1 - 2**-53) == low + width


@given(st.floats(-1e9, 1e9), st.sampled_from([("", " bps"), ("$", ""), ("", "/bp"), ("", "s"), ("", "%/day")]))
def test_a_quantity_is_its_number_and_what_is_around_it(value, around):
    number, found = split_quantity(f"{around[0]}{value!r}{around[1]}")
    assert number == value
    assert [part.strip() for part in found] == [part.strip() for part in around]


@given(
    st.lists(st.integers(1, 5), min_size=1, max_size=3),
    st.booleans(),
    st.integers(1, 60),
    st.integers(1, 60),
    SEEDS,
)
def test_configuration_k_depends_on_config_seed_and_k_only(sizes, random, trials, more, seed):
    keys = ("A", "n_lots", "horizon_mode")
    data = {"strategy": {"model": {key: list(range(n)) for key, n in zip(keys, sizes, strict=False)}}}
    if random:
        data["sim"] = {"queue": {"n": {"uniform": [1, 5]}}}
    one, again = Space.of(RawConfig(data), seed, trials), Space.of(RawConfig(data), seed, trials)
    points = [one.point(k) for k in range(one.size)]
    assert points == [again.point(k) for k in reversed(range(one.size))][::-1]
    if not random:
        frozen = [tuple(p.values()) for p in points]
        assert len(set(frozen)) == len(frozen)
        assert len(frozen) == min(trials, one.grid_size)
    longer = Space.of(RawConfig(data), seed, trials + more)
    if (one.grid_size > trials) == (longer.grid_size > longer.trials):  # sampled, or whole: then a prefix
        assert [longer.point(k) for k in range(one.size)] == points
