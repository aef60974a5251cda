"""Bars, features, labels and selection: invariants, causality, loops instead of vectors."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm.bars.bars import build_bars, imbalance_bars
from mm.features.fracdiff import ffd, ffd_weights
from mm.features.wilder import adx, rsi
from mm.ml.labels import bet_size, discretise, triple_barrier, triple_barrier_ohlc
from mm.ml.selection import deflated_sharpe, pbo_logits, probabilistic_sharpe, purged_kfold

TRADES = st.lists(
    st.tuples(st.integers(90, 110), st.integers(1, 40), st.sampled_from([1, -1])), min_size=1, max_size=60
)


@given(TRADES, st.sampled_from(["tick", "volume", "dollar"]), st.integers(1, 60), st.sampled_from(["reset", "carry"]))
def test_bars_in_whole_numbers(trades, kind, threshold, mode):
    p, v, s = (np.array(column, float) for column in zip(*trades, strict=True))
    threshold = threshold * 50 if kind == "dollar" else threshold
    total, first, want = 0, 0, []
    for i, (price, size, _) in enumerate(trades):  # exact integers
        total += {"tick": 1, "volume": size, "dollar": price * size}[kind]
        if total >= threshold:
            want.append((first, i))
            first, total = i + 1, total % threshold if mode == "carry" else 0
    bars = build_bars(np.arange(len(p)), p, 0.1 * v, s, kind, 0.1 * threshold if kind != "tick" else threshold, mode)
    assert [(b["i0"], b["i1"]) for b in bars] == want
    for b in bars:
        part = slice(b["i0"], b["i1"] + 1)
        assert (b["open"], b["close"]) == (p[part][0], p[part][-1])
        assert (b["high"], b["low"], b["n"]) == (p[part].max(), p[part].min(), len(p[part]))
        assert b["volume"] == pytest.approx(0.1 * v[part].sum())
        assert b["buy_volume"] == pytest.approx(0.1 * v[part][s[part] > 0].sum())
        assert b["low"] - 1e-9 <= b["vwap"] <= b["high"] + 1e-9


def test_no_bars():
    assert len(build_bars([0], [1.0], [1.0], [1], "tick", 2)) == 0
    assert imbalance_bars([1.0], 5).shape == (0, 3)
    for bad in (("tick", 0, "reset"), ("moon", 1, "reset"), ("tick", 1, "never")):
        with pytest.raises(ValueError, match="no bars"):
            build_bars([0], [1.0], [1.0], [1], *bad)
    with pytest.raises(ValueError, match="positive"):
        imbalance_bars([1.0], 0)


WALK = st.lists(st.floats(-1, 1), min_size=12, max_size=60).map(lambda d: 100 + np.cumsum(d))


@given(WALK, st.integers(1, 5), st.integers(1, 11))
def test_indicators_are_causal_and_bounded(close, n, cut):
    high, low = close + 0.5, close - 0.5
    r, a = rsi(close, n), adx(high, low, close, n)
    assert np.isnan(r[:n]).all()
    assert np.isnan(a.adx[: 2 * n - 1]).all()
    for x in (r[n:], a.plus_di[n:], a.dx[n:], a.adx[2 * n - 1 :]):
        assert np.all((x >= 0) & (x <= 100 + 1e-9))
    assert np.array_equal(rsi(close[:cut], n), r[:cut], equal_nan=True)
    assert np.array_equal(adx(high[:cut], low[:cut], close[:cut], n).adx, a.adx[:cut], equal_nan=True)


def test_rsi_ends():
    assert rsi(np.arange(10.0), 3)[-1] == 100.0
    assert rsi(-np.arange(10.0) + 20, 3)[-1] == 0.0
    assert rsi(np.ones(10), 3)[-1] == 50.0
    with pytest.raises(ValueError, match="at least 1"):
        rsi([1.0], 0)


@given(st.floats(0.05, 0.95), st.floats(1e-3, 0.3), WALK)
def test_fractional_difference_is_causal(d, threshold, x):
    y = ffd(x, d, threshold)
    w = ffd_weights(d, threshold)
    assert abs(w[-1]) >= threshold
    assert np.isnan(y[: len(w) - 1]).all()
    for t in range(len(w) - 1, len(x)):
        assert y[t] == pytest.approx(sum(w[k] * x[t - k] for k in range(len(w))), abs=1e-8)


def test_whole_orders_of_difference():
    assert list(ffd_weights(1.0, 1e-9)) == [1.0, -1.0]
    assert list(ffd_weights(2.0, 1e-9)) == [1.0, -2.0, 1.0]
    with pytest.raises(ValueError, match="threshold"):
        ffd_weights(0.5, 0.0)


@given(WALK, st.sampled_from([1, -1]), st.floats(0.001, 0.05), st.integers(1, 8), st.integers(0, 11))
def test_labels_by_a_plain_loop(close, side, target, horizon, t0):
    got = triple_barrier(close, [t0], target, horizon, side=side, pt=1.5, sl=1.0)[0]
    want = None
    last = min(t0 + horizon, len(close) - 1)
    for j in range(t0 + 1, last + 1):
        r = side * (close[j] / close[t0] - 1)
        if r >= 1.5 * target or r <= -target:
            want = (1 if r > 0 else 2, j, r)
            break
    if want is None:
        want = (0, last, side * (close[last] / close[t0] - 1))
    assert (got["touch"], got["t1"]) == want[:2]
    assert got["ret"] == pytest.approx(want[2], abs=1e-12)
    assert got["complete"] == (t0 + horizon < len(close))
    off = triple_barrier(close, [t0], target, horizon, side=side, pt=0.0, sl=0.0)[0]
    assert off["touch"] == 0
    inside = triple_barrier_ohlc(close, close, close, [t0], target, horizon, side=side, pt=1.5, sl=1.0)[0]
    assert (inside["touch"], inside["t1"]) == want[:2]


def test_bet_sizes():
    assert bet_size(0.5) == (0.0, 0.0)
    assert bet_size(1.0) == (math.inf, 1.0)
    assert bet_size(0.0) == (-math.inf, -1.0)
    assert discretise(0.97, 0.25) == 1.0
    with pytest.raises(ValueError, match="probability"):
        bet_size(1.5)


@given(st.lists(st.integers(0, 6), min_size=6, max_size=40), st.integers(2, 6), st.sampled_from([0.0, 0.05, 0.2]))
def test_no_training_label_touches_the_test_span(spans, k, pct):
    n = len(spans)
    t1 = [min(i + s, n - 1) for i, s in enumerate(spans)]
    seen = []
    for fold in purged_kfold(t1, k, pct):
        seen += range(fold.first, fold.last + 1)
        for i in fold.train.tolist():
            assert t1[i] < fold.first or i > fold.label_end + math.floor(n * pct + 1e-9)
        loose = next(f for f in purged_kfold(t1, k, pct, strict=False) if f.first == fold.first)
        assert set(fold.train.tolist()) <= set(loose.train.tolist())
    assert seen == list(range(n))
    with pytest.raises(ValueError, match="k must"):
        purged_kfold(t1, 1)


def test_more_trials_need_more_luck():
    few, many = (deflated_sharpe(0.1, 500, 0.0, 3.0, n, 0.002) for n in (5, 500))
    assert many.sr0 > few.sr0
    assert many.dsr < few.dsr < few.psr0
    one = deflated_sharpe(0.1, 500, 0.0, 3.0, 1, 0.002)
    assert one.dsr == one.psr0 == probabilistic_sharpe(0.1, 0.0, 500, 0.0, 3.0)
    assert deflated_sharpe(0.0, 500, 0.0, 3.0, 5, 0.002).min_trl is None
    # a track record of exactly that length is 95 % sure
    assert probabilistic_sharpe(0.1, 0.0, 1 + (one.min_trl - 1), 0.0, 3.0) == pytest.approx(0.95, abs=1e-9)


def test_pbo_of_noise_and_of_skill():
    rng = np.random.default_rng(2)
    noise = rng.normal(size=(240, 20))
    assert 0.2 < np.mean(pbo_logits(noise, 8) <= 0) < 0.85
    skilled = noise.copy()
    skilled[:, 3] += 1.0
    assert np.mean(pbo_logits(skilled, 8) <= 0) == 0.0
    for bad in ((noise, 7), (noise[:, :1], 4), (noise[:239], 8)):
        with pytest.raises(ValueError, match="CSCV"):
            pbo_logits(*bad)
