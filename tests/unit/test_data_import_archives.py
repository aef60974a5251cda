"""Importers of archives on hand-made files of the true formats: every rule once, and damaged files."""

from __future__ import annotations

import gzip
import json
import zipfile
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mm.core.types import ASK, BID, BUY, CLEAR_ASK, CLEAR_BID, LAST, SELL, SNAPSHOT
from mm.data.importers import import_files
from mm.data.importers.detect import kind_of
from mm.data.importers.hftbacktest import BUY_EVENT, HFT_EVENT, LOCAL_EVENT, SELL_EVENT
from mm.data.importers.times import parse_time
from mm.data.quality import info
from mm.data.store import Store
from mm.errors import DataError

MS = 1_690_848_002_972
NS = MS * 1_000_000
CLEARS = [(CLEAR_BID, 0, 0, SNAPSHOT), (CLEAR_ASK, 2**31 - 1, 0, SNAPSHOT)]
VOID = [(CLEAR_BID, 0, 0, SNAPSHOT), (CLEAR_ASK, 2**31 - 1, 0, SNAPSHOT | LAST)]

STEPS: dict[str, Any] = {"tick_size": Decimal("0.1"), "lot_size": Decimal("0.001")}
Levels = list[tuple[str, str]]


def rows(store: Store) -> list[tuple[int, int, int, int]]:
    return list(zip(store.kind.tolist(), store.tick.tolist(), store.lots.tolist(), store.flags.tolist(), strict=True))


def load(tmp_path: Path, *files: Path, fmt: str = "auto", **kw: Any) -> tuple[dict[str, Any], Store]:
    report = import_files(fmt, kw.pop("market", "linear"), list(files), tmp_path / "out", **kw)
    assert info(tmp_path / "out") == report
    return report, Store.open(tmp_path / "out")


# --- Bybit -----------------------------------------------------------------------------------------------------------
def bybit(u: int, bids: Levels, asks: Levels, k: int = 0, *, snapshot: bool = False, symbol: str = "BTCUSDT") -> str:
    data = {"s": symbol, "b": bids, "a": asks, "u": u, "seq": 1000 + u}
    kind = "snapshot" if snapshot else "delta"
    return json.dumps({"topic": f"orderbook.500.{symbol}", "type": kind, "ts": MS + k, "data": data, "cts": MS + k - 3})


FIRST = bybit(5, [("100.0", "1.000"), ("99.9", "2")], [("100.1", "0.5")], snapshot=True)


def zipped(path: Path, lines: list[str]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("2023-08-01_BTCUSDT_ob500.data", "\n".join(lines) + "\n")
    return path


def test_bybit_book_and_trades_are_one_tape(tmp_path: Path) -> None:
    book = zipped(tmp_path / "b.data.zip", [FIRST, bybit(6, [("100.0", "0")], [("100.2", "3")], 100)])
    trades = tmp_path / "BTCUSDT2023-08-01.csv.gz"
    trades.write_bytes(
        gzip.compress(
            b"timestamp,symbol,side,size,price,tickDirection,trdMatchID,grossValue\n"
            b"1690848003.0425,BTCUSDT,Buy,0.007,100.1,PlusTick,x,1\n1690848003.1,BTCUSDT,Sell,0.2,100.0,MinusTick,y,1\n"
        )
    )
    report, store = load(tmp_path, trades, book)
    assert rows(store) == [
        *CLEARS, (BID, 1000, 1000, 2), (BID, 999, 2000, 2), (ASK, 1001, 500, SNAPSHOT | LAST), (BUY, 1001, 7, LAST),
        (BID, 1000, 0, 0), (ASK, 1002, 3000, LAST), (SELL, 1000, 200, LAST),
    ]  # fmt: skip
    assert store.ts_exch_ns[0] == NS - 3_000_000
    assert store.ts_recv_ns[0] == NS + 1_000_000, "no time of receipt in the file: base latency after it was sent"
    assert store.ts_exch_ns[5] == 1_690_848_003_042_500_000
    figures = {"format": "bybit", "trades": 2, "depth_messages": 2, "snapshots": 1, "gaps": 0, "bad_lines": 0}
    assert figures.items() <= report.items()
    assert store.instrument.tick_size == Decimal("0.1")
    assert store.instrument.taker_fee == Decimal("0.00055")
    assert (store.instrument.base, store.instrument.quote) == ("BTC", "USDT")


def test_bybit_gap_duplicate_and_service_restart(tmp_path: Path) -> None:
    lines = [FIRST, bybit(6, [("99.8", "1")], [], 100), bybit(6, [("99.8", "9")], [], 200),
             bybit(9, [("99.7", "1")], [], 300), bybit(10, [("99.6", "1")], [], 400),
             bybit(1, [("98.0", "1")], [("98.1", "1")], 500)]  # fmt: skip
    report, store = load(tmp_path, zipped(tmp_path / "x.zip", lines), **STEPS)
    assert rows(store)[5:] == [
        (BID, 998, 1000, LAST), *VOID, *CLEARS, (BID, 997, 1000, SNAPSHOT | LAST), (BID, 996, 1000, LAST),
        *CLEARS, (BID, 980, 1000, SNAPSHOT), (ASK, 981, 1000, SNAPSHOT | LAST),
    ]  # fmt: skip
    assert (report["gaps"], report["stale_diffs"], report["partial_book_messages"], report["snapshots"]) == (1, 1, 2, 2)


def test_bybit_bad_lines_name_file_and_line(tmp_path: Path) -> None:
    lines = [FIRST, "{", bybit(6, [("abc", "1")], [], 100), bybit(7, [("99.85", "1")], [], 200), "[]",
             bybit(8, [("99.7", "1")], [], 300)]  # fmt: skip
    report, store = load(tmp_path, zipped(tmp_path / "x.zip", lines), **STEPS)
    assert report["bad_lines"] == 4
    assert report["first_bad_lines"][0].startswith("x.zip:2: ")
    assert "x.zip:3: price 'abc' is not a number in range" in report["first_bad_lines"]
    assert "x.zip:4: price '99.85' is off the tick size grid" in report["first_bad_lines"]
    assert report["gaps"] == 2, "a lost change is a gap"
    assert rows(store)[-1] == (BID, 997, 1000, SNAPSHOT | LAST)
    with pytest.raises(DataError, match=r"more than 3 bad lines, the first: x\.zip:2"):
        load(tmp_path, tmp_path / "x.zip", max_bad=3, **STEPS)


def test_bybit_spot_trades_have_their_symbol_in_the_name(tmp_path: Path) -> None:
    file = tmp_path / "ETHUSDT-2024-01-01.csv"
    file.write_text(f"id,timestamp,price,volume,side\n1,{MS},2000.5,0.1,buy\n2,{MS + 1},2000.1,0.25,sell\n")
    report, store = load(tmp_path, file, market="spot")
    assert store.instrument.symbol == "ETHUSDT"
    assert store.instrument.kind == "spot"
    assert rows(store) == [(BUY, 20005, 2, LAST), (SELL, 20001, 5, LAST)]
    assert report["depth_messages"] == 0


def test_files_of_one_kind_in_the_wrong_order_and_backwards_rows(tmp_path: Path) -> None:
    a, b = zipped(tmp_path / "a.zip", [FIRST]), zipped(tmp_path / "b.zip", [bybit(6, [("99", "1")], [], 900)])
    assert load(tmp_path, a, b)[0]["gaps"] == 0
    with pytest.raises(DataError, match=r"a\.zip: begins .* before b\.zip"):
        load(tmp_path, b, a)
    file = tmp_path / "t.csv"
    text = "\n".join(f"{MS / 1000 - k:.3f},BTCUSDT,Buy,0.1,100.{k}" for k in range(9))
    file.write_text(f"timestamp,symbol,side,size,price\n{text}\n")
    with pytest.raises(DataError, match="most rows run backwards in time"):
        load(tmp_path, file)


# --- Hyperliquid -----------------------------------------------------------------------------------------------------
def level(px: str, sz: str) -> dict[str, Any]:
    return {"px": px, "sz": sz, "n": 1}


def l2(k: int, bids: Levels, asks: Levels) -> dict[str, Any]:
    sides = [[level(*x) for x in bids], [level(*x) for x in asks]]
    return {"channel": "l2Book", "data": {"coin": "SOL", "time": MS + k, "levels": sides}}


def archived(k: int, message: dict[str, Any]) -> str:
    return json.dumps({"time": f"2023-08-01T00:00:0{3 + k}.123456789", "ver_num": 1, "raw": message})


def test_hyperliquid_archive_in_lz4_keeps_what_changes(tmp_path: Path) -> None:
    lines = [
        archived(0, l2(0, [("18.4", "1"), ("18.3", "2")], [("18.5", "3")])),
        archived(1, l2(1000, [("18.4", "1"), ("18.2", "4")], [("18.5", "2")])),
        archived(2, l2(2000, [("18.4", "1"), ("18.2", "4")], [("18.5", "2")])),
    ]
    file = tmp_path / "SOL.lz4"
    with pa.CompressedOutputStream(str(file), "lz4") as stream:
        stream.write("\n".join(lines).encode())
    report, store = load(tmp_path, file)
    assert rows(store) == [
        *CLEARS, (BID, 184, 1, 2), (BID, 183, 2, 2), (ASK, 185, 3, SNAPSHOT | LAST),
        (BID, 183, 0, 0), (BID, 182, 4, 0), (ASK, 185, 2, LAST),
    ]  # fmt: skip
    assert store.ts_recv_ns[0] == 1_690_848_003_123_456_789
    assert report["depth_messages"] == 3
    assert (store.instrument.symbol, store.instrument.quote, store.instrument.venue) == ("SOL", "USDC", "hyperliquid")
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"SOL\.lz4: the compressed file is damaged"):
        load(tmp_path, file, fmt="hyperliquid")


def test_hyperliquid_collector_with_trades_and_a_bad_book(tmp_path: Path) -> None:
    deal = {"coin": "SOL", "side": "A", "px": "18.4", "sz": "0.5", "time": MS, "tid": 7}
    book = l2(0, [("18.4", "1"), ("18.3", "2")], [("18.5", "3")])
    bad = l2(0, [("18.4x", "1")], [("18.5", "3")])
    lines = [(0, book), (1, {"channel": "trades", "data": [deal]}), (2, {"channel": "trades", "data": [deal]}),
             (3, bad), (4, book), (5, {"channel": "subscriptionResponse", "data": {}})]  # fmt: skip
    file = tmp_path / "sol"
    file.write_text("\n".join(f"{NS + (5 + k) * 10**6} {json.dumps(m)}" for k, m in lines))
    report, store = load(tmp_path, file, lot_size=Decimal("0.1"))
    assert [r[0] for r in rows(store)] == [4, 5, BID, BID, ASK, SELL, 4, 5, 4, 5, BID, BID, ASK]
    assert rows(store)[5] == (SELL, 184, 5, LAST)
    assert rows(store)[6:8] == VOID
    assert (report["bad_lines"], report["gaps"], report["other_messages"]) == (1, 1, 1)


@pytest.mark.real_data
def test_hyperliquid_recorded(tmp_path: Path, real_data_dir: Path) -> None:
    report, store = load(tmp_path, real_data_dir / "hyperliquid" / "btc_20250126.gz")
    assert (report["depth_messages"], report["crossed"], report["bad_lines"]) == (46, 0, 0)
    assert report["trades"] > 9
    assert store.instrument.tick_size == 1


# --- Tardis ----------------------------------------------------------------------------------------------------------
US = MS * 1000
BOOK = "exchange,symbol,timestamp,local_timestamp,is_snapshot,side,price,amount"


def tardis(k: int, snapshot: bool, side: str, price: str, amount: str, symbol: str = "BTCUSDT") -> str:
    return f"binance-futures,{symbol},{US + k},{US + k + 2500},{str(snapshot).lower()},{side},{price},{amount}"


def test_tardis_book_with_trades(tmp_path: Path) -> None:
    lines = [BOOK, tardis(0, True, "bid", "100", "1"), tardis(0, True, "ask", "100.5", "1e-3"),
             tardis(9, False, "bid", "100", "0"), tardis(9, False, "bid", "99.5", "2"),
             tardis(20, True, "ask", "101", "1"), tardis(20, True, "bid", "100.5", "1")]  # fmt: skip
    book, trades = tmp_path / "book.csv.gz", tmp_path / "trades.csv"
    book.write_bytes(gzip.compress("\r\n".join(lines).encode()))
    trades.write_text("exchange,symbol,timestamp,local_timestamp,id,side,price,amount\n"
                      f"binance-futures,BTCUSDT,{US + 10},{US + 2510},a,sell,100,0.5\n"
                      f"binance-futures,BTCUSDT,{US + 11},{US + 2511},b,unknown,100,0.5\n")  # fmt: skip
    report, store = load(tmp_path, book, trades)
    assert rows(store) == [
        *CLEARS, (BID, 200, 1000, 2), (ASK, 201, 1, SNAPSHOT | LAST), (BID, 200, 0, 0), (BID, 199, 2000, LAST),
        (SELL, 200, 500, LAST), *CLEARS, (BID, 201, 1000, 2), (ASK, 202, 1000, SNAPSHOT | LAST),
    ]  # fmt: skip
    assert store.ts_recv_ns[0] - store.ts_exch_ns[0] == 2_500_000
    assert (report["snapshots"], report["other_messages"], store.instrument.venue) == (2, 1, "binance-futures")
    assert store.instrument.maker_fee == Decimal("0.0002")


def test_tardis_bad_row_voids_the_book(tmp_path: Path) -> None:
    lines = [BOOK, tardis(0, True, "bid", "100.0", "1"), tardis(0, True, "ask", "100.1", "1"),
             tardis(9, False, "middle", "99.9", "2"), tardis(12, False, "bid", "99.8", "2")]  # fmt: skip
    (tmp_path / "x.csv").write_text("\n".join(lines))
    report, store = load(tmp_path, tmp_path / "x.csv")
    assert report["first_bad_lines"] == ["x.csv:4: unexpected line: KeyError('middle')"]
    assert rows(store)[4:] == [*VOID, *CLEARS, (BID, 998, 2, SNAPSHOT | LAST)]
    assert report["gaps"] == 1


def test_tardis_snapshots(tmp_path: Path) -> None:
    names = [f"{side}[{k}].{what}" for k in range(5) for side in ("asks", "bids") for what in ("price", "amount")]

    def row(k: int, bid: int, size: str) -> str:
        cells = [
            x
            for n in range(5)
            for x in (f"{bid + 1 + n}.5", "1", f"{bid - n}.5" if n < 4 else "", size if n < 4 else "")
        ]
        return ",".join(["deribit", "BTC-PERPETUAL", str(US + k), str(US + k + 100), *cells])

    text = "\n".join([",".join(["exchange", "symbol", "timestamp", "local_timestamp", *names]), row(0, 100, "1"),
                      row(1, 100, "1"), row(2, 101, "1")])  # fmt: skip
    (tmp_path / "s.csv").write_text(text)
    report, store = load(tmp_path, tmp_path / "s.csv", market="inverse", lot_size=Decimal(1), tick_size=Decimal("0.5"))
    assert report["depth_messages"] == 3
    got = rows(store)
    assert got[:3] == [*CLEARS, (BID, 201, 1, SNAPSHOT)]
    assert got[10:11] == [(ASK, 211, 1, SNAPSHOT | LAST)]
    assert got[11:] == [(BID, 195, 0, 0), (BID, 203, 1, 0), (ASK, 203, 0, 0), (ASK, 213, 1, LAST)]
    assert (store.instrument.base, store.instrument.venue) == ("BTC", "deribit")


# --- hftbacktest -----------------------------------------------------------------------------------------------------
def npz(path: Path, events: list[tuple[int, int, float, float]], **kw: Any) -> Path:
    data = np.zeros(len(events), HFT_EVENT)
    for k, (ev, at, px, qty) in enumerate(events):
        data[k] = (ev, NS + at, NS + at + 1_000_000, px, qty, 0, 0, 0.0)
    np.savez_compressed(path, **(kw or {"data": data}))
    return path


BIDS, ASKS = LOCAL_EVENT | BUY_EVENT, LOCAL_EVENT | SELL_EVENT
EVENTS = [
    (BIDS | 3, 0, 99.9, 0.0), (BIDS | 4, 0, 100.0, 1.0), (BIDS | 4, 0, 99.9, 0.0021), (ASKS | 3, 0, 100.1, 0.0),
    (ASKS | 4, 0, 100.1, 0.3), (BIDS | 1, 5, 99.9, 0.0), (ASKS | 1, 5, 100.2, 0.1 + 0.2), (BIDS | 2, 9, 100.1, 0.3),
    (ASKS | 2, 9, 100.0, 0.25), (1 << 31 | BUY_EVENT | 1, 10, 99.9, 7.0), (LOCAL_EVENT | 3, 12, 0.0, 0.0),
]  # fmt: skip


def test_hftbacktest(tmp_path: Path) -> None:
    report, store = load(tmp_path, npz(tmp_path / "btcusdt_20240808.npz", EVENTS), lot_size=Decimal("0.001"))
    assert rows(store) == [
        (CLEAR_BID, 999, 0, 2), (BID, 1000, 1000, 2), (BID, 999, 2, 2), (CLEAR_ASK, 1001, 0, 2), (ASK, 1001, 300, 3),
        (BID, 999, 0, 0), (ASK, 1002, 300, LAST), (BUY, 1001, 300, LAST), (SELL, 1000, 250, LAST), *VOID,
    ]  # fmt: skip
    figures = {"format": "hftbacktest", "trades": 2, "rounded_sizes": 1, "other_messages": 1, "bad_lines": 0}
    assert figures.items() <= report.items()
    assert store.instrument.symbol == "BTCUSDT"


def test_hftbacktest_bad_rows_and_foreign_arrays(tmp_path: Path) -> None:
    events = [*EVENTS, (BIDS | 1, 20, float("nan"), 1.0), (BIDS | 1, 21, 99.95, 1.0), (LOCAL_EVENT | 1, 22, 99.9, 1.0),
              (BIDS | 1, -8 * 10**18, 99.9, 1.0), (BIDS | 2, 23, 99.9, 0.0)]  # fmt: skip
    report, _ = load(tmp_path, npz(tmp_path / "a.npz", events), tick_size=Decimal("0.1"))
    assert report["bad_lines"] == 5
    assert "a.npz:14: neither buy nor sell" in report["first_bad_lines"]
    with pytest.raises(DataError, match="is not hftbacktest's events"):
        load(tmp_path, npz(tmp_path / "b.npz", [], data=np.zeros((3, 6))))
    with pytest.raises(DataError, match="no array `data`"):
        load(tmp_path, npz(tmp_path / "c.npz", [], a=np.zeros(3), b=np.zeros(3)))
    whole = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "d.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="not a readable npz"):
        load(tmp_path, tmp_path / "d.npz", fmt="hftbacktest")


def test_hftbacktest_blocks_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = npz(tmp_path / "a.npz", EVENTS)
    whole = load(tmp_path, file, **STEPS)[1].data_hash
    monkeypatch.setattr("mm.data.importers.hftbacktest._ROWS", 2)
    assert load(tmp_path, file, **STEPS)[1].data_hash == whole


def test_hftbacktest_of_what_another_importer_stored(tmp_path: Path) -> None:
    """The rows that we hand to hftbacktest itself (``benchmarks``) come back as they were."""
    from benchmarks.vs_hftbacktest import peer_rows
    from mm.data.synth import SynthSpec, write_synth

    ours = write_synth(tmp_path / "ours", SynthSpec(), 3, 5.0)
    as_tape: Any = SimpleNamespace(book_window=ours.book_window(), instrument=ours.instrument)
    peer = peer_rows(ours, as_tape, as_stamped=True)
    data = np.zeros(len(peer), HFT_EVENT)
    for name in ("ev", "exch_ts", "local_ts", "px", "qty"):
        data[name] = peer[name]
    np.savez(tmp_path / "peer.npz", data=data)
    steps = {"tick_size": ours.instrument.tick_size, "lot_size": ours.instrument.lot_size}
    report, store = load(tmp_path, tmp_path / "peer.npz", base_latency_s=0.0, **steps)
    kept = ours.kind <= CLEAR_ASK
    clear = ours.kind[kept] >= CLEAR_BID
    for name in ("ts_exch_ns", "ts_recv_ns", "kind", "lots"):
        assert np.array_equal(getattr(ours, name)[kept], getattr(store, name)), name
    assert np.array_equal(ours.tick[kept][~clear], store.tick[~clear])
    assert report["bad_lines"] == 0


# --- what format is it -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (FIRST, "bybit-book"),
        ("timestamp,symbol,side,size,price,tickDirection\n", "bybit-trades"),
        ("id,timestamp,price,volume,side,rpi\n", "bybit-trades"),
        (archived(0, l2(0, [], [])), "hyperliquid"),
        (f"{NS} " + json.dumps(l2(0, [], [])), "hyperliquid"),
        (f'{NS} {{"stream":"btcusdt@trade","data":{{}}}}', "binance-collector"),
        (f'{NS} {{"lastUpdateId":1}}', "binance-collector"),
        (BOOK, "tardis-book"),
        ("time,open,high,low,close,volume\n", "ohlcv"),
        (f"{MS},1,2,0.5,1,3,{MS + 59999},3", "ohlcv"),
        ("2024-01-01 00:00:00,1,2,0.5,1,3", "ohlcv"),
    ],
)
def test_formats_are_told_by_content(tmp_path: Path, text: str, kind: str) -> None:
    (tmp_path / "x").write_text(text)
    assert kind_of(tmp_path / "x") == kind
    (tmp_path / "x.gz").write_bytes(gzip.compress(text.encode()))
    assert kind_of(tmp_path / "x.gz") == kind


@pytest.mark.parametrize("text", ["hello", "{}", '{"topic": 1}', "1,2,3", f'{NS} {{"a": [1]}}', "[1]", f"{NS} {{"])
def test_unknown_formats_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "x").write_text(text)
    with pytest.raises(DataError, match="is no format that we know; give --format"):
        load(tmp_path, tmp_path / "x")
    assert not (tmp_path / "out").exists()


def test_formats_are_not_mixed(tmp_path: Path) -> None:
    (tmp_path / "a").write_text(FIRST)
    (tmp_path / "b").write_text(BOOK + "\n" + tardis(0, True, "bid", "1", "1"))
    with pytest.raises(DataError, match="files of different formats: bybit-book a, tardis-book b"):
        load(tmp_path, tmp_path / "a", tmp_path / "b")
    with pytest.raises(DataError, match="unknown market 'options'"):
        load(tmp_path, tmp_path / "a", market="options")
    with pytest.raises(DataError, match="no message of ETHUSDT; the files hold BTCUSDT"):
        load(tmp_path, tmp_path / "a", symbol="ETHUSDT")


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("1690848002", 1_690_848_002 * 10**9),
        ("1690848002.1234567", 1_690_848_002_123_456_700),
        ("1690848002972", NS),
        ("1690848002972.5", NS + 500_000),
        ("1690848002972123", NS + 123_000),
        ("2023-08-01T00:00:02.972", NS),
        ("2023-08-01T00:00:02.972000001Z", NS + 1),
        ("2023-08-01 02:00:02.972+02:00", NS),
        ("2023-08-01", 1_690_848_000 * 10**9),
    ],
)
def test_times(text: str, ns: int) -> None:
    assert parse_time(text) == ns
