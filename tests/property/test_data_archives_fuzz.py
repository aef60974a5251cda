"""Whatever is in an archive, its importer ends in a report or a ``DataError``; what it stores keeps its promises."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from mm.core.types import CLEAR_BID, LAST
from mm.data.importers import import_files
from mm.data.importers.hftbacktest import HFT_EVENT
from mm.data.store import Store
from mm.errors import DataError

MS = 1_690_848_002_000


def bybit_book() -> list[str]:
    out = []
    for k in range(12):
        data = {
            "s": "BTCUSDT",
            "b": [["100.0", "1.5"], [f"99.{k % 10}", "0"]],
            "a": [["100.1", f"0.00{k}"]],
            "u": 5 + k,
        }
        kind = "delta" if k % 8 else "snapshot"
        out.append(json.dumps({"topic": "orderbook.500.BTCUSDT", "type": kind, "ts": MS + k, "data": data}))
    return out


def bybit_trades() -> list[str]:
    rows = [f"{MS / 1000 + k:.4f},BTCUSDT,{'Buy' if k % 2 else 'Sell'},0.00{k},100.{k}" for k in range(9)]
    return ["timestamp,symbol,side,size,price", *rows]


def hyperliquid() -> list[str]:
    out = []
    for k in range(8):
        levels = [[{"px": f"18.{k}", "sz": "1.5"}, {"px": "17", "sz": "2"}], [{"px": "18.9", "sz": f"{k}.5"}]]
        book = {"channel": "l2Book", "data": {"coin": "SOL", "time": MS + k, "levels": levels}}
        deal = {"coin": "SOL", "side": "AB"[k % 2], "px": "18.5", "sz": "0.1", "time": MS + k, "tid": k}
        out.append(f"{MS + k + 1}000000 {json.dumps({'channel': 'trades', 'data': [deal]})}")
        out.append(json.dumps({"time": f"2023-08-01T00:00:02.{k:03}9", "ver_num": 1, "raw": book}))
    return out


def tardis_book() -> list[str]:
    rows = []
    for k in range(20):
        times = f"{MS}{k // 3:03},{MS}{5 + k // 3:03}"
        side = "bid" if k % 2 else "ask"
        rows.append(f"x,BTC,{times},{'true' if k < 4 else 'false'},{side},{100 - k % 2}.{k % 4},{k % 5}.5")
    return ["exchange,symbol,timestamp,local_timestamp,is_snapshot,side,price,amount", *rows]


def tardis_snapshots() -> list[str]:
    head = "exchange,symbol,timestamp,local_timestamp,asks[0].price,asks[0].amount,bids[0].price,bids[0].amount"
    return [head, *(f"x,BTC,{MS}00{k},{MS}10{k},101.{k},1.5,100.{k},2" for k in range(9))]


def candles() -> list[str]:
    rows = [f"{MS + k * 60_000},{100 + k}.5,{103 + k},{99 + k},{101 + k},{k}.25" for k in range(9)]
    return ["timestamp,open,high,low,close,volume", *rows]


TAPES = [candles(), bybit_book(), bybit_trades(), hyperliquid(), tardis_book(), tardis_snapshots()]
VALUES = ["null", "-1", '"x"', "[]", "{}", "1e400", "99999999999999999999", "true", '"-5"', "0.5", "", "nan", "1e-9",
          "2262-01-01", "1e18", "1e-18", "1e-999999", "Infinity", "0001-01-01T00:00:00+23:00"]  # fmt: skip


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A tape with lines moved, bytes changed and values replaced."""
    tape = [line.encode() for line in draw(st.sampled_from(TAPES))]
    for _ in range(draw(st.integers(0, 6))):
        k = draw(st.integers(0, len(tape) - 1))
        line = tape[k]
        how = draw(st.sampled_from(["byte", "value", "cut", "swap"]))
        if how == "byte" and line:
            at = draw(st.integers(0, len(line) - 1))
            line = line[:at] + bytes([draw(st.integers(0, 255))]) + line[at + 1 :]
        elif how == "value":
            mark = draw(st.sampled_from([b'":', b",", b'"ts":', b'"px": ', b'"time": ', b'"data": ']))
            at = draw(st.integers(0, line.count(mark)))
            parts = line.split(mark)
            key, rest = mark.join(parts[:at]), mark.join(parts[at:])
            end = min((rest.find(c) for c in (b",", b"}", b"]") if c in rest), default=len(rest))
            line = key + mark + draw(st.sampled_from(VALUES)).encode() + rest[end:]
        elif how == "cut":
            line = line[: draw(st.integers(0, len(line)))]
        else:
            other = draw(st.integers(0, len(tape) - 1))
            line, tape[other] = tape[other], line
        tape[k] = line
    return b"\n".join(tape)


def check(name: str, data: bytes, form: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file, out = Path(folder) / name, Path(folder) / "out"
        file.write_bytes(data)
        try:
            report = import_files(form, "linear", [file], out)
        except DataError:
            assert not out.exists()
            return
        if report.get("kind") == "candles":
            return
        store = Store.open(out)
        assert report["events"] == len(store)
        assert np.all(np.diff(store.ts_recv_ns) >= 0)
        assert np.all(store.ts_exch_ns <= store.ts_recv_ns)
        assert np.all(store.lots >= 0)
        assert store.flags[-1] & LAST
        assert report["bad_lines"] >= len(report["first_bad_lines"])
        levels = np.flatnonzero(store.kind < 2)
        assert not len(levels) or np.any(store.kind[: levels[0]] >= CLEAR_BID), "a book begins with a clear"


@example(data=b"1\r690848002000,1,2,1,2,1\n1690848062000,1,2,1,2,1\n1690848122000,1,2,1,2,1")
@given(data=damaged() | st.binary(max_size=200))
def test_never_a_crash(data: bytes) -> None:
    check("tape", data, "auto")


@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from([1, 2, 3, 4, 5, 0, 255]),
            st.integers(0, 15),
            st.sampled_from([0, 1, 1_000_000, -(10**18), 2**62, 10**13]),
            st.floats(99, 101) | st.sampled_from([float("nan"), float("inf"), -1.0, 0.0, 100.5, 1e300]),
            st.sampled_from([0.0, 0.5, 1.0, 3.0, float("nan"), 1e300, -2.0, 5e-324]),
        ),
        max_size=40,
    ),
    cut=st.integers(0, 400) | st.none(),
)
def test_never_a_crash_of_npz(rows: list[tuple[int, int, int, float, float]], cut: int | None) -> None:
    events = np.zeros(len(rows), HFT_EVENT)
    for k, (what, flags, late, px, qty) in enumerate(rows):
        at = MS * 1_000_000 + k * 1000
        events[k] = (what | flags << 28, at, min(at + late, 2**63 - 1), px, qty, 0, 0, 0.0)
    with tempfile.TemporaryFile() as file:
        np.savez_compressed(file, data=events)
        file.seek(0)
        data = file.read()
    check("a.npz", data if cut is None else data[:cut], "auto" if cut is None else "hftbacktest")
