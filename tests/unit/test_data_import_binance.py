"""The Binance importer on hand-made lines (every rule once), on damaged files, and on real tapes."""

from __future__ import annotations

import gzip
import io
import json
import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from mm.core.types import ASK, BID, BUY, CLEAR_ASK, CLEAR_BID, LAST, SELL, SNAPSHOT
from mm.data.importers import import_files
from mm.data.quality import info, render
from mm.data.store import Store
from mm.errors import DataError

T0_MS = 1_723_161_255_000
T0 = T0_MS * 1_000_000

Levels = list[tuple[str, str]]


class Tape:
    """Builds usdm collector lines; one message per millisecond, received 2 ms after it left unless told otherwise."""

    def __init__(self, *, spot: bool = False) -> None:
        self.lines: list[str] = []
        self.spot = spot
        self.ms = 0

    def line(self, message: dict[str, Any], delay_ms: float = 2.0) -> Tape:
        self.lines.append(f"{T0 + round((self.ms + delay_ms) * 1e6)} {json.dumps(message)}")
        self.ms += 1
        return self

    def now(self) -> dict[str, int]:
        return {"E": T0_MS + self.ms} if self.spot else {"E": T0_MS + self.ms + 1, "T": T0_MS + self.ms}

    def diff(self, before: int, u: int, b: Levels = (), a: Levels = (), **kw: float) -> Tape:  # type: ignore[assignment]
        data = {"e": "depthUpdate", "s": "BTCUSDT", "u": u, "b": b, "a": a, **self.now()}
        data |= {"U": before + 1} if self.spot else {"U": before + 3, "pu": before}
        return self.line({"stream": "btcusdt@depth@0ms", "data": data}, **kw)

    def snapshot(self, u: int, bids: Levels, asks: Levels, **kw: float) -> Tape:
        times = {} if self.spot else self.now()
        return self.line({"lastUpdateId": u, "bids": bids, "asks": asks, **times}, **kw)

    def trade(self, p: str, q: str, *, seller_is_maker: bool, x: str = "MARKET") -> Tape:
        times = {"E": T0_MS + self.ms + 1, "T": T0_MS + self.ms}
        data = {"e": "trade", "s": "BTCUSDT", "p": p, "q": q, "m": not seller_is_maker, "X": x, **times}
        return self.line({"stream": "btcusdt@trade", "data": data})

    def ticker(self, u: int, b: str, a: str) -> Tape:
        data = {"e": "bookTicker", "s": "BTCUSDT", "u": u, "b": b, "B": "1", "a": a, "A": "1"}
        return self.line({"stream": "btcusdt@bookTicker", "data": data})

    def raw(self, text: str) -> Tape:
        self.lines.append(text)
        return self

    def write(self, path: Path) -> Path:
        data = ("\n".join(self.lines) + "\n").encode()
        path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
        return path


def synced() -> Tape:
    return Tape().snapshot(100, [("100.0", "1.000"), ("99.9", "2")], [("100.1", "0.5"), ("100.2", "3")])


def load(tmp_path: Path, *tapes: Tape, market: str = "usdm", **kw: Any) -> tuple[dict[str, Any], Store]:
    files = [tape.write(tmp_path / f"{k}.gz") for k, tape in enumerate(tapes)]
    report = import_files("binance-collector", market, files, tmp_path / "out", **kw)
    return report, Store.open(tmp_path / "out")


def rows(store: Store) -> list[tuple[int, int, int, int]]:
    return list(zip(store.kind.tolist(), store.tick.tolist(), store.lots.tolist(), store.flags.tolist(), strict=True))


CLEARS = [(CLEAR_BID, 0, 0, SNAPSHOT), (CLEAR_ASK, 2**31 - 1, 0, SNAPSHOT)]


def test_rows_of_a_clean_tape(tmp_path: Path) -> None:
    tape = synced().diff(100, 105, [("100.0", "0.000")], [("100.2", "4")]).trade("100.1", "0.2", seller_is_maker=True)
    tape.trade("99.9", "0.007", seller_is_maker=False)
    report, store = load(tmp_path, tape)
    assert rows(store) == [
        *CLEARS,
        (BID, 1000, 1000, SNAPSHOT),
        (BID, 999, 2000, SNAPSHOT),
        (ASK, 1001, 500, SNAPSHOT),
        (ASK, 1002, 3000, SNAPSHOT | LAST),
        (BID, 1000, 0, 0),
        (ASK, 1002, 4000, LAST),
        (BUY, 1001, 200, LAST),
        (SELL, 999, 7, LAST),
    ]
    expected = {"rows": 4, "events": 10, "trades": 2, "depth_messages": 1, "gaps": 0, "bad_lines": 0, "crossed": 0}
    assert expected.items() <= report.items()
    assert (report["first_ts_ns"], report["last_ts_ns"]) == (T0 + 2_000_000, T0 + 5_000_000)
    assert report["span_s"] == pytest.approx(0.003)
    assert report["clock_offset_ns"] == 0
    assert report["feed_latency_ms"]["p50"] == 2.0
    assert info(tmp_path / "out") == report
    assert render(report).row_count > 10
    console = Console(file=io.StringIO(), width=120)
    console.print(render(report))
    assert "(2024-08-08 23:54:15.002 UTC)" in console.file.getvalue()


def test_snapshot_older_than_diffs_received_before_it(tmp_path: Path) -> None:
    tape = Tape().diff(90, 95, [("50.0", "9")]).diff(95, 102, [("100.0", "5")])
    tape.snapshot(100, [("100.0", "1"), ("99.9", "1")], [("100.1", "1")]).diff(102, 103, [("99.9", "0")])
    report, store = load(tmp_path, tape)
    assert rows(store) == [
        *CLEARS,
        (BID, 1000, 1000, SNAPSHOT),
        (BID, 999, 1000, SNAPSHOT),
        (ASK, 1001, 1000, SNAPSHOT),
        (BID, 1000, 5000, SNAPSHOT | LAST),  # the newer diff follows the snapshot, the stale one is gone
        (BID, 999, 0, LAST),
    ]
    assert (report["stale_diffs"], report["diffs_replayed"], report["gaps"]) == (1, 1, 0)
    assert np.all(np.diff(store.ts_recv_ns) >= 0)


def test_first_diff_after_the_snapshot_may_straddle_it(tmp_path: Path) -> None:
    tape = synced().diff(80, 90, [("1.0", "1")]).diff(95, 104, [("99.8", "1")]).diff(104, 106, [("99.7", "1")])
    report, store = load(tmp_path, tape)
    assert [r[:3] for r in rows(store)[6:]] == [(BID, 998, 1000), (BID, 997, 1000)]
    assert (report["stale_diffs"], report["gaps"]) == (1, 0)


@pytest.mark.parametrize("spot", [False, True])
def test_gap_clears_and_a_snapshot_rebuilds(tmp_path: Path, spot: bool) -> None:
    tape = Tape(spot=spot)
    tape.snapshot(100, [("100.00", "1")], [("101.00", "1")]).diff(100, 101, [("99.00", "1")])
    tape.diff(107, 110, [("98.00", "1")])
    tape.trade("100.00", "1", seller_is_maker=True)
    tape.diff(110, 112, [("97.00", "1")]).snapshot(110, [("100.00", "2")], [("101.00", "2")])
    report, store = load(tmp_path, tape, market="spot" if spot else "usdm")
    assert report["gaps"] == 1
    assert report["snapshots"] == 2
    kinds = [(kind, flags) for kind, _, _, flags in rows(store)]
    mark = [(CLEAR_BID, SNAPSHOT), (CLEAR_ASK, SNAPSHOT | LAST)]
    assert kinds[5:8] == [*mark, (BUY, LAST)]
    assert [k for k, _ in kinds[8:]] == [CLEAR_BID, CLEAR_ASK, BID, ASK, BID]
    assert report["partial_book_diffs"] == 0


def test_without_a_snapshot_the_book_builds_up_and_says_so(tmp_path: Path) -> None:
    tape = Tape().diff(1, 2, [("100.0", "1")], [("100.1", "1")]).diff(2, 3, [("100.0", "2")]).diff(3, 4, [], [])
    report, store = load(tmp_path, tape)
    assert report["partial_book_diffs"] == 3
    assert [r[:3] for r in rows(store)] == [
        (CLEAR_BID, 0, 0),
        (CLEAR_ASK, 2**31 - 1, 0),
        (BID, 1000, 1000),
        (ASK, 1001, 1000),
        (BID, 1000, 2000),
    ]


def test_waiting_for_a_snapshot_ends(tmp_path: Path) -> None:
    tape = Tape()
    for k in range(30):
        tape.diff(k, k + 1, [(f"{100 + k}.0", "1")])
        tape.ms += 1000
    tape.snapshot(30, [("100.0", "1")], [("200.0", "1")])
    report, store = load(tmp_path, tape)
    assert report["partial_book_diffs"] == 30
    assert report["snapshots"] == 1, "a late snapshot still rebuilds the book"
    assert rows(store)[-2:] == [(BID, 1000, 1000, SNAPSHOT), (ASK, 2000, 1000, SNAPSHOT | LAST)]


def test_several_files_are_one_tape_whatever_the_cut(tmp_path: Path) -> None:
    whole = synced()
    for k in range(100, 160):
        whole.diff(k, k + 1, [("99.9", f"{k}")])
    expected = load(tmp_path, whole)[1].data_hash
    for cut in (1, 7, 60):
        a, b = Tape(), Tape()
        a.lines, b.lines = whole.lines[:cut], whole.lines[cut:]
        report, store = load(tmp_path, a, b)
        assert report["gaps"] == 0
        assert store.data_hash == expected


def test_small_blocks_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tape = Tape()
    for k in range(40):
        tape.diff(k, k + 1, [("99.9", f"{k + 1}")])
    tape.snapshot(20, [("100.0", "1")], [("100.1", "1")])
    for k in range(40, 60):
        tape.diff(k + (k > 50), k + 1 + (k > 50), [("99.9", f"{k + 1}")])
    big_report, big = load(tmp_path, tape)
    big_rows = rows(big)
    monkeypatch.setattr("mm.data.importers.lines.BLOCK", 500)
    small_report, small = load(tmp_path, tape)
    assert rows(small)[: len(big_rows)] == big_rows
    assert big_report["diffs_replayed"] == 20
    assert {k: v for k, v in small_report.items() if k != "data_hash"} == {
        k: v for k, v in big_report.items() if k != "data_hash"
    }
    assert big_report["gaps"] == 1


def test_files_in_the_wrong_order_are_refused(tmp_path: Path) -> None:
    whole = synced()
    for k in range(100, 160):
        whole.diff(k, k + 1, [("99.9", f"{k}")])
    a, b = Tape(), Tape()
    a.lines, b.lines = whole.lines[:30], whole.lines[30:]
    with pytest.raises(DataError, match=r"1\.gz: begins 0\.03 s before 0\.gz; give the files in order of time"):
        load(tmp_path, b, a)
    with pytest.raises(DataError, match=r"1\.gz: begins at the same time as 0\.gz; give .*, each once"):
        load(tmp_path, a, a)
    assert not (tmp_path / "out").exists()


def test_another_symbol_than_expected_is_refused(tmp_path: Path) -> None:
    tape = synced().diff(100, 101, [("99.9", "1")]).trade("100.1", "0.2", seller_is_maker=True)
    with pytest.raises(DataError, match="no message of ETHUSDT; the files hold BTCUSDT"):
        load(tmp_path, tape, symbol="ETHUSDT")
    assert not (tmp_path / "out").exists()


def test_a_tick_size_that_fits_nothing_is_refused(tmp_path: Path) -> None:
    tape = synced().diff(100, 101, [("99.9", "1")]).trade("100.1", "0.2", seller_is_maker=True)
    tape.trade("99.9", "0.2", seller_is_maker=True).trade("99.7", "0.2", seller_is_maker=True)
    with pytest.raises(DataError, match=r"lines do not fit \(.*off the tick size grid\); is --tick-size right"):
        load(tmp_path, tape, tick_size=Decimal("0.3"))


def test_clock_ahead_is_shifted_to_the_floor(tmp_path: Path) -> None:
    tape = synced().diff(100, 101, [("99.9", "1")], delay_ms=-1272.0).diff(101, 102, [("99.9", "2")], delay_ms=-1270.0)
    tape.lines[0] = tape.lines[0].replace(str(T0 + 2_000_000), str(T0 - 1_280_000_000))
    report, store = load(tmp_path, tape, base_latency_s=0.0005)
    latency = store.ts_recv_ns - store.ts_exch_ns
    assert latency.min() == 500_000
    assert report["clock_offset_ns"] == 1_280_500_000
    assert store.ts_recv_ns[0] == T0 - 1_280_000_000, "receive times stay as recorded"


def test_out_of_order_receive_times_are_counted_and_held(tmp_path: Path) -> None:
    tape = synced().diff(100, 101, [("99.9", "1")], delay_ms=9).diff(101, 102, [("99.9", "2")])
    report, store = load(tmp_path, tape)
    assert report["out_of_order"] == 1
    assert np.all(np.diff(store.ts_recv_ns) >= 0)


def test_crossed_messages_are_counted(tmp_path: Path) -> None:
    tape = synced().diff(100, 101, [("100.1", "1")], [("100.1", "0")])  # moves through, not crossed
    tape.diff(101, 102, [("100.2", "1")])  # crossed: the ask at 100.2 is still there
    tape.diff(102, 103, [("100.2", "2")], [("100.3", "1")]).diff(103, 104, [], [("100.1", "1")])  # ask through a bid
    tape.diff(104, 105, [("100.2", "0"), ("100.1", "0")], [("100.1", "0"), ("100.0", "1")])  # through the bid at 100.0
    tape.diff(105, 106, [("100.0", "1"), ("99.9", "3")], [("100.0", "0")])  # through and taken away: not crossed
    report, _ = load(tmp_path, tape)
    assert report["crossed"] == 3


def test_bookticker_agreement_compares_by_update_id(tmp_path: Path) -> None:
    tape = synced().ticker(101, "100.0", "100.1").diff(100, 102, [("99.8", "1")])
    tape.diff(102, 104, [("100.0", "0")]).ticker(103, "99.9", "100.1")  # the ticker comes after the diff
    tape.ticker(105, "99.9", "100.2").diff(104, 106, [("99.7", "1")]).ticker(107, "99.9", "100.1")  # disagrees
    report, _ = load(tmp_path, tape)
    assert report["bookticker_compared"] == 3
    assert report["bookticker_agreement"] == pytest.approx(2 / 3, abs=1e-6)


def test_bad_lines_are_counted_with_file_and_number(tmp_path: Path) -> None:
    tape = synced().raw("garbage").raw("").raw(f'{T0 + 3_000_000} {{"stream": ').raw("12 {}")
    tape.line({"stream": "btcusdt@trade", "data": {"e": "trade", "s": "BTCUSDT", "p": "1.0"}})
    tape.trade("1x0.1", "1", seller_is_maker=True).trade("100.05", "1", seller_is_maker=True)
    tape.line({"stream": "x", "data": {"e": "trade", "s": "BTCUSDT", "p": 5, "q": None, "m": True, "T": T0_MS}})
    tape.line({"stream": "x", "data": [1, 2]}).line({"stream": "x", "data": {"e": "trade", "s": "ETHUSDT"}})
    tape.diff(100, 101, [("99.9", "1", "2")], []).trade("100.1", "1", seller_is_maker=True, x="INSURANCE_FUND")  # type: ignore[list-item]
    tape.diff(100, 102, [("99.9", "1")])
    report, store = load(tmp_path, tape)
    assert report["bad_lines"] == 9
    assert report["trades"] == 0
    assert report["other_messages"] == 2
    assert report["gaps"] == 0
    assert rows(store)[-1] == (BID, 999, 1000, LAST)
    first = report["first_bad_lines"]
    assert first[0].startswith("0.gz:2: not `local_ns JSON`")
    assert any("0.gz:8: price '100.05' is off the tick size grid" in line for line in first)
    assert any("not nanoseconds" in line for line in first)
    assert any("not a pair" in line for line in first)


def test_a_lost_depth_message_is_a_gap(tmp_path: Path) -> None:
    tape = synced().diff(100, 101).diff(101, 102, [("99.95", "1")]).diff(102, 103, [("99.8", "1")])
    report, _ = load(tmp_path, tape)
    assert (report["bad_lines"], report["gaps"]) == (1, 1)


def test_sizes_finer_than_the_lot_are_rounded_down_but_never_away(tmp_path: Path) -> None:
    tape = synced().diff(100, 101, [("99.9", "1.2345"), ("99.8", "0.0001"), ("99.7", "0.0000")])
    report, store = load(tmp_path, tape)
    assert [r[2] for r in rows(store)[-3:]] == [1234, 1, 0]
    assert report["rounded_sizes"] == 2


def test_sizes_are_inferred_for_unknown_symbols_or_given(tmp_path: Path) -> None:
    tape = synced().diff(100, 101, [("99.5", "1.25")])
    tape.lines = [line.replace("BTCUSDT", "XYZUSDT") for line in tape.lines]
    report, _ = load(tmp_path, tape)
    assert (report["instrument"]["tick_size"], report["instrument"]["lot_size"]) == ("0.1", "0.25")
    assert (report["instrument"]["base"], report["instrument"]["quote"]) == ("XYZ", "USDT")
    report, store = load(tmp_path, tape, tick_size=Decimal("0.05"), lot_size=Decimal("0.125"))
    assert rows(store)[-1][:3] == (BID, 1990, 10)


def test_foreign_empty_and_missing_files(tmp_path: Path) -> None:
    def attempt(name: str, data: bytes, market: str = "usdm") -> None:
        (tmp_path / name).write_bytes(data)
        import_files("binance-collector", market, [tmp_path / name], tmp_path / "out")

    with pytest.raises(DataError, match="empty"):
        attempt("a", b"")
    with pytest.raises(DataError, match="expected collector lines"):
        attempt("b", b"\n\n")
    with pytest.raises(DataError, match="expected collector lines"):
        attempt("c", b"time,price\n1,2\n" * 2000)
    with pytest.raises(DataError, match="expected collector lines"):
        attempt("d", os.urandom(100_000))
    with pytest.raises(DataError, match="expected collector lines"):
        attempt("e.gz", b"\x1f\x8bnot really")
    with pytest.raises(DataError, match="not a spot tape"):
        attempt("f", "\n".join(synced().diff(100, 101).lines).encode(), market="spot")
    with pytest.raises(DataError, match="not a cm tape"):
        attempt("g", "\n".join(synced().diff(100, 101).lines).encode(), market="cm")
    with pytest.raises(DataError, match="no such file"):
        import_files("binance-collector", "usdm", [tmp_path / "nowhere"], tmp_path / "out")
    with pytest.raises(DataError, match="unknown market"):
        import_files("binance-collector", "options", [tmp_path / "a"], tmp_path / "out")
    with pytest.raises(DataError, match="unknown format"):
        import_files("csv", "usdm", [tmp_path / "a"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_truncated_gzip_keeps_what_was_read(tmp_path: Path) -> None:
    tape = synced()
    for k in range(100, 3000):
        tape.diff(k, k + 1, [("99.9", f"{k * 7919 % 1000}.{k * 31 % 1000:03}")])
    path = tape.write(tmp_path / "x.gz")
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])
    report = import_files("binance-collector", "usdm", [path], tmp_path / "out")
    assert 1000 < report["depth_messages"] < 2900
    assert "damaged" in report["first_bad_lines"][0]


REAL_FIGURES = [
    ("usdm", ["usdm_btcusdt_20240808.gz"], 466_577, 21_313, 6_551),
    ("spot", ["spot_btcusdt_20240808.gz", "spot_btcusdt_20240809.gz"], 320_000, 19_904, 6_495),
    ("spot", ["spot_btcusdt_20240809.gz"], 184_170, 10_147, 3_044),
    ("cm", ["cm_btcusd_perp_20240808.gz"], 300_035, 2_286, 26_847),
]


@pytest.mark.real_data
@pytest.mark.slow
@pytest.mark.parametrize(("market", "names", "events", "trades", "depth"), REAL_FIGURES)
def test_real_tapes(
    tmp_path: Path, real_data_dir: Path, market: str, names: list[str], events: int, trades: int, depth: int
) -> None:
    files = [real_data_dir / "binance" / name for name in names]
    report = import_files("binance-collector", market, files, tmp_path / "out")
    assert (report["events"], report["trades"], report["depth_messages"]) == (events, trades, depth)
    assert (report["gaps"], report["bad_lines"], report["crossed"], report["out_of_order"]) == (0, 0, 0, 0)
    assert 1.26e9 < report["clock_offset_ns"] < 1.28e9
    assert report["feed_latency_ms"]["min"] >= 1.0
    assert report["feed_latency_ms"]["p50"] < 20
    if report["snapshots"]:
        assert report["bookticker_agreement"] > 0.999
        assert report["partial_book_diffs"] == 0
    else:
        assert report["partial_book_diffs"] == depth
