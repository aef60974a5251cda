"""Candle import and candle mode: exact conversion, causality, the worst order of events, agreement with a replay."""

import gzip
import json
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm.config.schema import RunConfig
from mm.core.instrument import Instrument
from mm.core.types import records
from mm.data.candles import CANDLE, Candles, hash_rows, info, open_candles, write_candles
from mm.data.importers import import_files
from mm.data.importers.ohlcv import columns_of, parse_time, step_of
from mm.errors import ConfigError, DataError
from mm.report.backtest import save
from mm.sim.candles import BIAS, candles_of, simulate_candles
from mm.sim.run import simulate
from mm.sim.tape import open_tape

COIN = Instrument("X", "ohlcv", "linear", Decimal("0.1"), Decimal("0.001"), maker_fee=Decimal(0), base="X", quote="USD")


def config(half_ticks=5, **risk):
    return RunConfig.model_validate(
        {
            "strategy": {
                "model": {"gamma": "0.0001/tick", "kappa": "100/tick", "A": 100.0, "sigma": "0.001 ticks/sqrt(s)"},
                "order_size": "2 lots",
                "max_inventory": "6 lots",
                "spread": {"min": f"{2 * half_ticks} ticks", "max": "1000 ticks", "max_skew": "0 ticks"},
            },
            "risk": {"max_position": "1000 lots"} | risk,
        }
    )


def candles(*rows, known=False, step_s=60):
    out = records(len(rows), CANDLE)
    for k, (o, h, low, c, *v) in enumerate(rows):
        out[k] = (1_700_000_000_000_000_000 + k * step_s * 10**9, o, h, low, c, v[0] if v else 9)
    return Candles(COIN, out, step_s * 10**9, known, hash_rows(out))


def fills_of(*rows, **kw):
    result = simulate_candles(config(), candles(*rows, **kw))
    return [(int(f.side), int(f.tick), int(f.lots)) for f in result.fills], result


@pytest.mark.parametrize(
    ("high", "low", "close", "want"),
    [
        (10_005, 9_995, 10_000, []),  # touching is not enough
        (10_003, 9_994, 10_000, [(1, 9_995, 2)]),
        (10_006, 9_998, 10_000, [(-1, 10_005, 2)]),
        (10_006, 9_994, 10_004, [(-1, 10_005, 2)]),  # both: the sale is the worse one at the close
        (10_006, 9_994, 9_996, [(1, 9_995, 2)]),
    ],
)
def test_one_candle(high, low, close, want):
    got, result = fills_of((10_000, high, low, close))
    assert got == want
    if high == 10_006 and low == 9_994:
        assert result.metrics["pnl_both_filled_usd"] == pytest.approx(10 * 2 * 0.1 * 0.001)
        assert result.metrics["pnl_usd"] < result.metrics["pnl_both_filled_usd"]
    assert result.metrics["bias"] == BIAS
    assert result.metrics["mode"] == "candles"


def test_volume_bounds_a_fill_where_it_is_known():
    row = (10_000, 10_002, 9_990, 9_992, 1)
    assert fills_of(row, known=True)[0] == [(1, 9_995, 1)]
    assert fills_of(row, known=False)[0] == [(1, 9_995, 2)]
    assert fills_of((10_000, 10_002, 9_990, 9_992, 0), known=True)[0] == []


def test_inventory_limit_and_adverse_marks():
    falling = [(10_000 - 20 * k, 10_001 - 20 * k, 9_979 - 20 * k, 9_980 - 20 * k) for k in range(6)]
    got, result = fills_of(*falling)
    assert [f[0] for f in got] == [1, 1, 1]  # six lots of room
    unit = 0.1 * 0.001
    cost = sum(tick * lots for _, tick, lots in got)
    assert result.metrics["pnl_usd"] == pytest.approx((6 * 9_880 - cost) * unit)
    assert result.metrics["max_drawdown_usd"] == pytest.approx((cost - 6 * 9_879) * unit), "marked at the last low"
    halted = simulate_candles(config(max_drawdown_usd=0.002), candles(*falling))
    assert halted.metrics["halted"] == "drawdown"
    assert len(halted.fills) < 3


def prices():
    return st.lists(
        st.tuples(st.integers(-9, 9), st.integers(0, 12), st.integers(0, 12), st.integers(0, 20)),
        min_size=2, max_size=30,
    )  # fmt: skip


def walk(moves):
    rows, at = [], 10_000
    for move, up, down, volume in moves:
        close = at + move
        rows.append((at, max(at, close) + up, min(at, close) - down, close, volume))
        at = close
    return rows


@given(moves=prices(), cut=st.integers(1, 29))
def test_nothing_before_a_candle_depends_on_it(moves, cut):
    rows = walk(moves)
    cut = min(cut, len(rows))
    whole, part = simulate_candles(config(2), candles(*rows)), simulate_candles(config(2), candles(*rows[:cut]))
    early = whole.fills[whole.fills["ts_exch_ns"] <= part.samples["ts_ns"][-1]]
    assert np.array_equal(early, part.fills)


@given(moves=prices())
def test_money_adds_up(moves):
    rows = walk(moves)
    got, result = fills_of(*rows)
    pos = sum(side * lots for side, _, lots in got)
    cash = -sum(side * tick * lots for side, tick, lots in got)
    assert result.metrics["pnl_usd"] == pytest.approx((cash + pos * rows[-1][3]) * 0.1 * 0.001, abs=1e-9)
    assert abs(pos) <= 6
    assert result.result_hash == fills_of(*rows)[1].result_hash
    assert result.metrics["markout_5s_bps"] is None


def test_aggregated_tape_has_the_tapes_extremes():
    tape = open_tape(RunConfig.model_validate({"data": {"source": "synth", "duration": "40s", "seed": 3}}).data)
    fine, coarse = candles_of(tape, 1.0), candles_of(tape, 8.0)
    assert fine.rows["lots"].sum() == coarse.rows["lots"].sum() > 0
    for c in coarse.rows:
        inside = fine.rows[(fine.rows["ts_ns"] >= c.ts_ns) & (fine.rows["ts_ns"] < c.ts_ns + coarse.step_ns)]
        assert (inside["high"].max(), inside["low"].min()) == (c.high, c.low)
        assert (inside["open"][0], inside["close"][-1]) == (c.open, c.close)


@pytest.mark.slow
def test_candle_mode_brackets_a_replay_of_the_same_market():
    """15 s candles of a synthetic market, quotes inside their range: the worst order loses bps that a replay does not
    lose, the best order comes close to the replay. Measured; docs/candles.md has the table."""
    worst = best = replay = volume = 0.0
    for seed in (1, 2, 3):
        cfg = RunConfig.model_validate(
            {
                "data": {"source": "synth", "duration": "600s", "seed": seed},
                "strategy": {
                    "model": {"gamma": {"q_max": 5}, "kappa": "2.5/bps", "A": 3},
                    "order_size": "200 usd",
                    "spread": {"min": "3 bps"},
                    "requote": {"threshold": "0 ticks", "min_age": "0s", "max_age": "0s"},
                },
                "sim": {"maker_fee": "0 bps"},
            }
        )
        tape = open_tape(cfg.data)
        seen = candles_of(tape, 15.0)
        times = np.ascontiguousarray(seen.rows["ts_ns"][seen.rows["ts_ns"] > tape.msg_recv_ns[0]])
        truth = simulate(cfg, tape, decide_ns=times).metrics
        m = simulate_candles(cfg, seen).metrics
        worst, best, replay = worst + m["pnl_usd"], best + m["pnl_both_filled_usd"], replay + truth["pnl_usd"]
        volume += truth["volume_usd"]
    assert (worst - replay) / volume * 1e4 < -0.3
    assert abs(best - replay) / volume * 1e4 < 0.3


# --- import ----------------------------------------------------------------------------------------------------------
HEADERLESS = """1774656000000,1991.37,1992.26,1989.54,1992.26,224.285,1774656299999,446605.12,0,0.0,0.0,0
1774656300000,1992.26,1992.44,1989.35,1989.61,508.7,1774656599999,1013101.64,0,0.0,0.0,0
1774656900000,1989.61,1989.88,1988.28,1988.65,204.286,1774657199999,406280.5,0,0.0,0.0,0
1774656900000,1989.61,1989.88,1988.28,1988.65,204.286,1774657199999,406280.5,0,0.0,0.0,0
1774657200000,1989.61,1980.00,1988.28,1988.65,204.286,1774657499999,406280.5,0,0.0,0.0,0
nonsense
"""


def test_headerless(tmp_path):
    file = tmp_path / "eth-perp.csv.gz"
    file.write_bytes(gzip.compress(HEADERLESS.encode()))
    report = import_files("ohlcv", "usdm", [file], tmp_path / "out")
    assert report == info(tmp_path / "out")
    assert (report["candles"], report["gaps"], report["missing_candles"], report["duplicates"]) == (3, 1, 1, 1)
    assert report["bad_lines"] == 2
    assert "do not contain" in report["first_bad_lines"][0]
    assert report["time_is"].startswith("start (proved")
    assert report["volume_unit"] == "base"
    got = open_candles(tmp_path / "out")
    assert got.instrument.symbol == "ETH_PERP"
    assert (got.instrument.tick_size, got.instrument.lot_size) == (Decimal("0.01"), Decimal("0.001"))
    assert got.rows[0].tolist() == (1774656000 * 10**9, 199137, 199226, 198954, 199226, 224285)
    assert got.step_ns == 300 * 10**9
    assert got.volume_known


def test_header_iso_and_a_coarser_tick(tmp_path):
    file = tmp_path / "a.csv"
    file.write_text(
        "Date,Volume,Close,Low,High,Open\n2021-12-31 23:01:00.000000,5,46377.0,46318.7,46385.2,46319.0\n"
        "2021-12-31T23:02:00Z,7.25,46411,46377,46411,46377\n"
    )
    report = import_files("ohlcv", "spot", [file], tmp_path / "out", symbol="BTCUSDT", tick_size=Decimal("0.5"))
    rows = open_candles(tmp_path / "out").rows
    assert rows[0].tolist()[:5] == (1640991660 * 10**9, 92638, 92770, 92638, 92754)  # the range moved inwards
    assert rows[1].lots == 725
    assert report["off_grid"] == 1
    assert report["time_is"] == "start (assumed)"
    assert report["volume_unit"] == "unknown"
    assert report["instrument"]["kind"] == "spot"


@given(st.lists(st.integers(1, 10**7), min_size=1, max_size=20), st.integers(0, 6))
def test_step_holds_every_value(values, places):
    exact = [Decimal(v).scaleb(-places) for v in values]
    step = step_of(exact)
    assert all(v % step == 0 for v in exact)


def test_a_few_odd_values_do_not_shrink_the_step():
    assert step_of([Decimal(k) / 2 for k in range(1, 500)] + [Decimal("7.123")]) == Decimal("0.5")


def test_times_and_columns():
    second = 1_640_991_660
    for text in (f"{second}", f"{second}000", f"{second}000000", f"{second}000000000", "2021-12-31T23:01:00+00:00"):
        assert parse_time(text) == second * 10**9
    assert parse_time("2022-01-01 00:01:00.000001+01:00") == second * 10**9 + 1000
    for bad in ("", "0", "soon", str(10**21)):
        with pytest.raises(ValueError):
            parse_time(bad)
    assert columns_of(["close time", "Open Time", "O", "H", "L", "C", "V"])[0]["ts"] == 1
    with pytest.raises(DataError, match="volume"):
        columns_of(["time", "open", "high", "low", "close"])


def test_damage_is_told(tmp_path):
    with pytest.raises(DataError, match="not a candle store"):
        open_candles(tmp_path)
    file = tmp_path / "a.csv"
    file.write_text("time,open,high,low,close,volume\n1774656000000,1,2,1,1,1\n")
    with pytest.raises(DataError, match="fewer than two"):
        import_files("ohlcv", "usdm", [file], tmp_path / "out")
    with pytest.raises(DataError, match="unknown market"):
        import_files("ohlcv", "moon", [file], tmp_path / "out")
    file.write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match=r"a\.csv: no column"):
        import_files("ohlcv", "usdm", [file], tmp_path / "out")
    good = candles((10, 11, 9, 10), (10, 11, 9, 10))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("keep")
    with pytest.raises(DataError, match="refusing"):
        write_candles(tmp_path / "mine", good, {})
    write_candles(tmp_path / "c", good, {})
    meta = json.loads((tmp_path / "c/meta.json").read_text())
    (tmp_path / "c/meta.json").write_text(json.dumps(meta | {"candles": 3}))
    with pytest.raises(DataError, match="not those"):
        open_candles(tmp_path / "c")
    (tmp_path / "c/candles.npy").write_bytes(b"x")
    with pytest.raises(DataError, match="damaged"):
        open_candles(tmp_path / "c")


def test_the_bias_is_in_every_report(tmp_path):
    cfg = config()
    result = simulate_candles(cfg, candles(*walk([(3, 9, 2, 5), (-4, 2, 9, 5)] * 5)))
    save(result, cfg, tmp_path / "r", data_hash="x")
    assert json.loads((tmp_path / "r/metrics.json").read_text())["metrics"]["bias"] == BIAS


@pytest.mark.slow
@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "rows", "step_s", "base"),
    [
        ("btc_perp_1m_20211231_20220201", 45_031, 60, False),
        ("lighter_eth_perp_5m_20260328_20260628", 26_496, 300, True),
    ],
)
def test_recorded_candles(name, rows, step_s, base, real_data_dir, tmp_path):
    file = real_data_dir / f"ohlcv/{name}.csv.gz"
    report = import_files("ohlcv", "usdm", [file], tmp_path / "s", symbol="ETHUSDT" if base else "BTCUSD")
    assert (report["candles"], report["step_s"]) == (rows, pytest.approx(step_s))
    assert report["gaps"] == report["bad_lines"] == report["duplicates"] == 0
    seen = open_candles(tmp_path / "s")
    assert seen.volume_known == base
    assert seen.instrument.lot_size == Decimal("0.0001"), "not the digits that sums of floats leave"
    never = {"max_daily_loss_usd": 1e9, "max_drawdown_usd": 1e9}
    for_free, charged = (
        simulate_candles(RunConfig.model_validate({"sim": {"maker_fee": fee}, "risk": never}), seen).metrics
        for fee in ("0 bps", "1 bps")
    )
    assert for_free["fills"] == charged["fills"] > 100
    assert for_free["bias"]
    assert for_free["pnl_usd"] - charged["pnl_usd"] == pytest.approx(charged["fees_usd"]) != 0.0


def test_controls_that_need_ticks_are_refused_and_others_act():
    def with_controls(controls):
        cfg = config()
        return cfg.model_validate(cfg.model_dump() | {"strategy": cfg.strategy.model_dump() | {"controls": controls}})

    some = candles((10_000, 10_010, 9_990, 10_000), (10_000, 10_010, 9_990, 10_000))
    with pytest.raises(ConfigError, match="a candle shows no ticks and no book"):
        simulate_candles(with_controls({"momentum": {}}), some)
    result = simulate_candles(with_controls({"session": {"end": "00:00", "start": "23:59", "flatten": "10s"}}), some)
    assert result.metrics["acted_session"] == result.metrics["decisions"]
    assert result.metrics["fills"] == 0
