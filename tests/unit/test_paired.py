"""Paired intervals: they cover as often as they say, find what they say they would find, and know when to be silent."""

import math

import numpy as np
import pytest

from mm.core.paired import MIN_BLOCKS, Estimate, block_length, bootstrap_means, estimate, memory_stretch


def ar(rng, n, phi, burn=100):
    noise = rng.standard_normal(n + burn)
    out = np.zeros(n + burn)
    for t in range(1, n + burn):
        out[t] = phi * out[t - 1] + noise[t]
    return out[burn:]


def of(parts, rng, level=0.95, resamples=300):
    block = max(block_length(part) for part in parts)
    n = sum(len(part) for part in parts)
    means = bootstrap_means(parts, block, resamples, rng)
    mean = float(np.concatenate(parts).mean())
    return estimate(mean, means, n / block, level, memory_stretch(parts, block))


@pytest.mark.parametrize(("phi", "parts"), [(0.0, 1), (0.5, 1), (0.5, 3), (-0.5, 1)])
def test_an_interval_covers_the_truth_as_often_as_it_says(phi, parts):
    rng = np.random.default_rng(7)
    covered = 0
    for _ in range(250):
        found = of(np.array_split(ar(rng, 900, phi), parts), rng)
        covered += found.low <= 0.0 <= found.high
    assert 0.91 <= covered / 250 <= (0.99 if phi >= 0.0 else 1.0)  # memory that takes back: on the safe side


def test_ignoring_memory_would_not_cover():
    """The test above can fail: single increments instead of blocks miss far too often."""
    rng = np.random.default_rng(7)
    covered = 0
    for _ in range(150):
        x = ar(rng, 900, 0.5)
        found = estimate(float(x.mean()), bootstrap_means([x], 1, 300, rng), 900, 0.95)
        covered += found.low <= 0.0 <= found.high
    assert covered / 150 < 0.85


def test_the_detectable_effect_is_found_four_times_in_five():
    rng = np.random.default_rng(3)
    n, found = 600, 0
    effect = of([rng.standard_normal(n)], rng).mde
    assert effect == pytest.approx((1.96 + 0.8416) / math.sqrt(n), rel=0.25)
    for _ in range(200):
        e = of([rng.standard_normal(n) + effect], rng)
        found += e.low > 0.0
    assert 0.7 <= found / 200 <= 0.9


def test_a_wider_level_gives_a_wider_interval_and_p_agrees_with_it():
    rng = np.random.default_rng(5)
    x = rng.standard_normal(2000) + 0.08
    means = bootstrap_means([x], 13, 4000, rng)
    narrow, wide = (estimate(float(x.mean()), means, 2000 / 13, level) for level in (0.95, 0.99))
    assert wide.low < narrow.low < narrow.mean < narrow.high < wide.high
    assert wide.mde > narrow.mde
    assert narrow.p == pytest.approx(math.erfc(abs(narrow.mean) / narrow.se / math.sqrt(2.0)), abs=0.01)


def test_no_difference_at_all_is_an_interval_of_nothing():
    zero = np.zeros(1000)
    found = of([zero], np.random.default_rng(1))
    assert found == Estimate(0.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def test_too_few_blocks_have_no_interval():
    x = np.arange(100.0)
    found = estimate(1.0, bootstrap_means([x], 50, 100, np.random.default_rng(1)), MIN_BLOCKS - 1, 0.95)
    assert found.mean == 1.0
    assert all(math.isnan(v) for v in found[1:])


def test_blocks_grow_with_memory_not_with_scale():
    rng = np.random.default_rng(2)
    lengths = [block_length(ar(rng, 4000, phi)) for phi in (0.0, 0.7, 0.95)]
    assert lengths[0] == round(4000 ** (1 / 3)) < lengths[1] < lengths[2]
    x = ar(rng, 2000, 0.8)
    assert block_length(x) == block_length(1e6 * x) == block_length(3.0 - x)
    assert block_length(ar(rng, 4000, -0.6)) == lengths[0]
    # Patton, Politis & White 2009 for an AR(1): (6 (phi / (1 - phi^2))^2 n)^(1/3)
    many = [block_length(ar(rng, 4000, 0.8)) for _ in range(20)]
    assert np.median(many) == pytest.approx((6.0 * (0.8 / 0.36) ** 2 * 4000) ** (1 / 3), rel=0.3)
    assert [block_length(np.zeros(n)) for n in (1, 5, 1000)] == [1, 2, 10]


def test_blocks_stay_within_their_tape_and_weigh_every_moment_alike():
    parts = [np.zeros(50), np.ones(50)]
    means = bootstrap_means(parts, 50, 2000, np.random.default_rng(0))
    assert set(np.round(means, 9)) <= {0.0, 0.5, 1.0}  # a block that crossed would give something between
    spike = np.zeros(60)
    spike[0] = 60.0
    assert bootstrap_means([spike], 10, 20_000, np.random.default_rng(0)).mean() == pytest.approx(1.0, abs=0.02)


def test_a_part_holds_a_block():
    with pytest.raises(ValueError, match="shorter"):
        bootstrap_means([np.zeros(50), np.zeros(5)], 7, 10, np.random.default_rng(0))
