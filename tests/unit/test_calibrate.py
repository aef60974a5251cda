"""A and kappa of a market whose law is known; an estimator that has too little says so."""

import json
import math

import numpy as np
import pytest
from typer.testing import CliRunner

import cli
from mm.config import load_raw, validate
from mm.data.importers import import_files
from mm.data.store import Store
from mm.errors import ConfigError, DataError
from mm.models.arrivals import BOOK, PRINT, arrivals
from mm.models.calibrate import Gate, calibrate
from mm.models.sigma import best_of, volatilities
from mm.report import calibration
from tests.reference import poisson_market as market

pytestmark = pytest.mark.slow  # hopeless as plain Python

BP = 6.0 / market.TICK  # ticks


def fits(tmp_path, **law):
    found = arrivals(market.write(tmp_path / "store", **law))
    return found, {f.side: f for f in calibrate(found, BP)}


def close(fit, law, rel=0.10):
    assert fit.gate is Gate.OK
    assert fit.kappa.value / market.TICK == pytest.approx(law["kappa"], rel=rel)
    assert fit.A.value == pytest.approx(law["A"], rel=rel)


LAWS = {
    "still": {"A": 2.0, "kappa": 0.3, "sigma": 0.5},
    "wild": {"A": 2.0, "kappa": 0.3, "sigma": 8.0},
    "deep": {"A": 3.0, "kappa": 0.04, "sigma": 8.0},
    "wide spread": {"A": 4.0, "kappa": 0.5, "sigma": 8.0, "spreads": (1, 6, 30)},
    "hardly beyond the touch": {"A": 3.0, "kappa": 4.0, "sigma": 8.0, "spreads": (1, 2)},
}


@pytest.mark.parametrize(("name", "seed"), [("wild", 1), ("wild", 2), ("wild", 3), *((n, 4) for n in LAWS)])
def test_the_truth_is_recovered(tmp_path, name, seed):
    law = LAWS[name]
    found, fit = fits(tmp_path, seconds=2700 / law["A"], seed=seed, book_first=seed == 2, **law)
    assert len(found.ts_ns) > 4000  # about 2,000 a side
    assert found.reference == BOOK
    close(fit["both"], law, rel=0.05)
    for side in ("sells", "buys"):
        close(fit[side], law)
        assert fit[side].survival_kappa.value == pytest.approx(fit[side].kappa.value, rel=0.15)
        assert fit[side].survival_A.value == pytest.approx(fit[side].A.value, rel=0.2)


def test_prints_of_the_furthest_price_alone_are_enough(tmp_path):
    law = LAWS["wild"]
    found, fit = fits(tmp_path, seconds=1100, seed=4, prints="last", **law)
    assert found.reference == BOOK
    close(fit["both"], law)


def test_a_book_that_lags_is_noticed(tmp_path):
    """Against a book of 100 ms ago the moving mid looks like deep orders; the first prints show the touch."""
    law = LAWS["wild"] | {"kappa": 1.5}
    found, fit = fits(tmp_path, seconds=1100, seed=5, book_every_s=0.1, **law)
    assert found.reference == PRINT
    close(fit["both"], law)
    blind = calibrate(arrivals(Store.open(tmp_path / "store"), BOOK), BP)[2]
    assert blind.kappa.value / market.TICK < 0.8 * law["kappa"]


def test_intervals_hold_the_truth(tmp_path):
    """At the stated rate, on arrays: forty samples of a law, two figures each."""
    rng = np.random.default_rng(3)
    found = arrivals(market.write(tmp_path / "store", A=1.0, kappa=0.3, sigma=1.0, seconds=60, seed=1))
    first, seconds, k, A, hits = int(found.mid_ns[0]), 1000, 0.05, 0.5, 0
    for _ in range(40):
        n = rng.poisson(2 * A * math.exp(-0.5 * k) * seconds)
        sample = found._replace(
            ts_ns=np.sort(first + rng.integers(0, seconds * 10**9, n)),
            buys=rng.integers(0, 2, n) == 1,
            excess=np.floor(rng.exponential(1 / k, n)).astype(np.int64),
            half=np.full(n, 0.5),
            off=np.zeros(n, bool),
            mid_ns=np.array([first]), mid=np.array([6e5]), spread=np.array([1.0]),
            end_ns=first + seconds * 10**9,
        )  # fmt: skip
        both = calibrate(sample, BP)[2]
        hits += (both.A.low <= A <= both.A.high) + (both.kappa.low <= k <= both.kappa.high)
    assert 70 <= hits <= 80


def test_too_little_is_said_not_guessed(tmp_path):
    _, fit = fits(tmp_path, A=0.4, kappa=0.3, sigma=8.0, seconds=60, seed=1)
    assert [f.gate for f in fit.values()] == [Gate.TOO_FEW] * 3
    assert all(math.isnan(f.A.value) and math.isnan(f.kappa.value) for f in fit.values())
    assert fit["both"].alpha.value == pytest.approx(0.4, rel=0.5)


def test_depths_of_another_law_are_refused(tmp_path):
    found = arrivals(market.write(tmp_path / "store", A=4.0, kappa=0.3, sigma=8.0, seconds=100, seed=1))
    two = np.where(np.arange(len(found.excess)) % 2, 10, 1000)
    assert calibrate(found._replace(excess=two), BP)[2].gate is Gate.POOR_FIT
    touch = np.zeros_like(found.excess)
    assert calibrate(found._replace(excess=touch), BP)[2].gate is Gate.KAPPA_AT_BOUND


@pytest.mark.parametrize("sigma", [0.5, 3.0, 8.0])
def test_sigma_is_recovered_by_every_estimator(tmp_path, sigma):
    found = arrivals(market.write(tmp_path / "store", A=1e-3, kappa=9, sigma=sigma, seconds=600, seed=2, spreads=(1,)))
    every = volatilities(found.mid_ns, found.mid, found.end_ns, np.random.default_rng(0), 60.0)
    assert len(every) == 9
    for row in every:
        slack = 0.35 if "EWMA" in row.name else 0.2  # eight steps a second: ranges miss the extremes
        assert row.sigma.value * market.TICK == pytest.approx(sigma, rel=slack), row.name
        assert "EWMA" in row.name or row.sigma.low < row.sigma.value < row.sigma.high
    best = best_of(every)
    assert best.low * market.TICK < sigma < best.high * market.TICK


@pytest.mark.real_data
def test_a_recorded_perpetual(real_data_dir, tmp_path):
    """The book lags, most orders stop at the touch, and what is left is told with useful intervals."""
    import_files("binance-collector", "usdm", [real_data_dir / "binance" / "usdm_btcusdt_20240808.gz"], tmp_path / "s")
    summary = calibration.run(tmp_path / "s")
    assert summary["reference"] == "first_print"
    for side in summary["sides"].values():
        assert side["gate"] == "ok"
        assert side["fit"] == "beyond_touch"
        A, kappa = side["A_per_s"], side["kappa_per_bp"]
        assert 0.5 < A[0] < 2.0
        assert 1.5 < kappa[0] < 4.0
        assert kappa[2] / kappa[1] < 2.0
    assert 0.7 < summary["sigma_bps_per_sqrt_s"][0] < 2.0


# --- the command -----------------------------------------------------------------------------------------------------
def test_the_command_writes_a_config_and_a_picture(tmp_path):
    law = LAWS["wild"]
    market.write(tmp_path / "store", seconds=400, seed=3, **law)
    out, png = tmp_path / "new" / "c.yaml", tmp_path / "new" / "c.png"
    args = ["calibrate", "--data", str(tmp_path / "store"), "--out", str(out), "--plot", str(png)]
    said = CliRunner().invoke(cli.app, [*args, "--json"])
    summary = json.loads(said.stdout.splitlines()[-1])
    both = summary["sides"]["both"]
    assert both["gate"] == "ok"
    assert both["kappa_per_quote"][0] == pytest.approx(law["kappa"], rel=0.15)
    assert png.stat().st_size > 10_000
    cfg = validate(load_raw(out))
    assert cfg.strategy.model.kappa.value == pytest.approx(both["kappa_per_bp"][0], rel=1e-3)
    assert pytest.approx(both["A_per_s"][0], rel=1e-3) == cfg.strategy.model.A
    assert cfg.strategy.model.sigma.initial.value == pytest.approx(summary["sigma_bps_per_sqrt_s"][0], rel=1e-3)
    table = CliRunner().invoke(cli.app, args)
    assert table.exit_code == 0
    assert "market orders" in table.stdout


@pytest.mark.parametrize("args", [["calibrate", "--data", "x", "--plot"], ["data", "plot", "x", "--out"]])
def test_a_picture_is_a_png(args):
    said = CliRunner().invoke(cli.app, [*args, "picture.nonsense"])
    assert isinstance(said.exception, ConfigError)
    assert "end the name in .png" in str(said.exception)


def test_the_command_leaves_out_what_it_does_not_know(tmp_path):
    market.write(tmp_path / "store", A=0.4, kappa=0.3, sigma=8.0, seconds=60, seed=1)
    summary = calibration.run(tmp_path / "store")
    text = (tmp_path / "store" / "calibration.yaml").read_text()
    assert summary["sides"]["both"]["A_per_s"] == [None] * 3
    assert "too_few_arrivals" in text
    assert "kappa:" not in text
    validate(load_raw(tmp_path / "store" / "calibration.yaml"))


def test_stores_that_tell_nothing_are_refused(tmp_path):
    market.write(tmp_path / "silent", A=1e-9, kappa=0.3, sigma=8.0, seconds=60, seed=1)
    with pytest.raises(DataError, match="no trade"):
        calibration.run(tmp_path / "silent")
    market.write(tmp_path / "short", A=4.0, kappa=0.3, sigma=8.0, seconds=5, seed=1)
    with pytest.raises(DataError, match="need at least 30 s"):
        calibration.run(tmp_path / "short")
    with pytest.raises(DataError):
        calibration.run(tmp_path / "nowhere")
