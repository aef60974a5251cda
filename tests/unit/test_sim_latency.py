"""Latency models: their laws, their order, their files."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from mm.config.schema import LognormalLatency, MeasuredLatency
from mm.core.types import records
from mm.errors import DataError
from mm.sim.latency import (
    CONNECTION,
    ORDERS,
    RESPONSES,
    Feed,
    Series,
    arrival_ns,
    connect,
    feed_of,
    lognormal_ns,
    mix,
    random_key,
    receive_ns,
)  # fmt: skip
from tests.reference.kernel_box import instrument
from tests.reference.scenario import BOOK, T0, tape

MS = 1_000_000


@pytest.fixture(scope="module")
def market():
    return tape([*BOOK, *[(k + 1, 0, 600_000, 5 + k % 2) for k in range(2000)]], instrument())


def test_lognormal_delays_have_their_law():
    key = random_key(42, ORDERS)
    draws = np.array([lognormal_ns(8 * MS, 0.6, key, k) for k in range(20_000)])
    z = np.log(draws / (8 * MS)) / 0.6
    assert stats.kstest(z, "norm").pvalue > 0.01
    assert abs(np.corrcoef(z[1:], z[:-1])[0, 1]) < 0.02
    other = np.array([lognormal_ns(8 * MS, 0.6, random_key(42, RESPONSES), k) for k in range(20_000)])
    assert abs(np.corrcoef(z, np.log(other))[0, 1]) < 0.02
    assert lognormal_ns(8 * MS, 0.6, key, 5) == draws[5]
    assert len({mix(k) for k in range(10_000)}) == 10_000


def connection(latency, market, which=ORDERS, seed=42):
    c, series = records(1, CONNECTION), Series()
    connect(c[0], latency, seed, which, series, market)
    return c[0], series.table()


def test_messages_of_one_connection_stay_in_order(market):
    c, series = connection(LognormalLatency(median="20ms", sigma=1.5), market)
    sent = T0 + np.arange(3000) * MS
    arrived = np.array([arrival_ns(c, series, int(ts)) for ts in sent])
    assert np.all(np.diff(arrived) >= 0)
    assert np.all(arrived >= sent)
    assert np.any(np.diff(arrived) == 0)  # one that would have overtaken waits


def test_a_constant_delay_is_just_that(market):
    c, series = connection(0.007, market)
    assert arrival_ns(c, series, T0) == T0 + 7 * MS


def write(path, rows):
    np.save(path, np.array(rows))
    return path


def test_a_measured_series_is_read_at_the_time_of_sending(market, tmp_path):
    file = write(tmp_path / "s.npy", [(T0, 5 * MS), (T0 + 100 * MS, 9 * MS), (T0 + 200 * MS, 1 * MS)])
    c, series = connection(MeasuredLatency(file=file), market)
    delays = [arrival_ns(c, series, T0 + k * MS) - T0 - k * MS for k in (-1, 0, 99, 100, 150, 199)]
    assert delays == [5 * MS] * 3 + [9 * MS] * 3
    assert arrival_ns(c, series, T0 + 200 * MS) == T0 + 208 * MS  # not before the one that took 9 ms
    assert arrival_ns(c, series, T0 + 900 * MS) == T0 + 901 * MS


def test_a_repeated_series_starts_with_the_tape(market, tmp_path):
    file = write(tmp_path / "s.npy", [(0, 5 * MS), (100 * MS, 9 * MS), (200 * MS, 9 * MS)])
    start = int(market.msg_recv_ns[0])
    c, series = connection(MeasuredLatency(file=file, repeat=True), market)
    delays = [arrival_ns(c, series, start + k * MS) - start - k * MS for k in (0, 99, 100, 199, 250, 320, 450)]
    assert [d // MS for d in delays] == [5, 5, 9, 9, 5, 9, 5]
    with pytest.raises(DataError, match="not of the tape's time"):
        connection(MeasuredLatency(file=file), market)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([(5, 1), (4, 1)], "must not fall"),
        ([(5, -1)], "not be negative"),
        ([5, 1], "shape"),
        ([(0.5, 1.5)], "integers"),
    ],
)
def test_a_file_that_is_no_series(market, tmp_path, rows, message):
    with pytest.raises(DataError, match=message):
        connection(MeasuredLatency(file=write(tmp_path / "s.npy", rows)), market)
    with pytest.raises(DataError, match="latency series"):
        connection(MeasuredLatency(file=tmp_path / "missing.npy"), market)


def test_the_feed(market):
    assert feed_of("data", 1) == Feed(-1)
    assert receive_ns(market, Feed(-1)) is market.msg_recv_ns
    assert np.array_equal(receive_ns(market, feed_of(0.004, 1)), market.msg_exch_ns + 4 * MS)
    drawn = receive_ns(market, feed_of(LognormalLatency(median="4ms", sigma=0.5), 1))
    assert np.all(np.diff(drawn) >= 0)
    assert np.all(drawn > market.msg_exch_ns)
    assert np.median(drawn - market.msg_exch_ns) == pytest.approx(5 * MS, rel=0.3)  # waiting for the slow ones
    again = receive_ns(dataclasses.replace(market, clocks={}), feed_of(LognormalLatency(median="4ms", sigma=0.5), 1))
    assert np.array_equal(again, drawn)
    other = receive_ns(market, feed_of(LognormalLatency(median="4ms", sigma=0.5), 2))
    assert not np.array_equal(other, drawn)
