"""Whatever is in a file, the importer ends in a report or a ``DataError``, and what it stores keeps its promises."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mm.core.types import LAST
from mm.data.importers import import_files
from mm.data.store import Store
from mm.errors import DataError

MS = 1_723_161_255_000


def lines() -> list[bytes]:
    """A small valid tape: snapshot, diffs with a gap, trades, tickers."""
    out = [f'{MS}000000 {{"lastUpdateId":5,"T":{MS},"bids":[["100.0","1"]],"asks":[["100.1","2.5"]]}}']
    for k in range(5, 25):
        stamp = f"{MS + k}000000"
        diff = f'"e":"depthUpdate","T":{MS + k},"s":"BTCUSDT","u":{k + 1},"pu":{k + (k == 15)}'
        out.append(f'{stamp} {{"stream":"x","data":{{{diff},"b":[["99.{k % 9}","{k}.5"]],"a":[["100.{k % 9}","0"]]}}}}')
        trade = f'"e":"trade","T":{MS + k},"s":"BTCUSDT","p":"100.1","q":"0.01","X":"MARKET","m":true'
        out.append(f'{stamp} {{"stream":"x","data":{{{trade}}}}}')
        ticker = f'"e":"bookTicker","u":{k},"s":"BTCUSDT","b":"99.9","B":"1","a":"100.1","A":"1"'
        out.append(f'{stamp} {{"stream":"x","data":{{{ticker}}}}}')
    return [line.encode() for line in out]


VALUES = [
    b"null",
    b"-1",
    b'"x"',
    b"[]",
    b"{}",
    b"1e400",
    b"99999999999999999999",
    b"true",
    b'"1\\n2"',
    b'"-5"',
    b"0.5",
    b"",
]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """The tape with lines moved, bytes changed and JSON values replaced."""
    tape = lines()
    for _ in range(draw(st.integers(0, 6))):
        k = draw(st.integers(0, len(tape) - 1))
        line = tape[k]
        how = draw(st.sampled_from(["byte", "value", "cut", "swap"]))
        if how == "byte" and line:
            at = draw(st.integers(0, len(line) - 1))
            line = line[:at] + bytes([draw(st.integers(0, 255))]) + line[at + 1 :]
        elif how == "value":
            key, colon, rest = line.partition(
                draw(st.sampled_from([b'"T":', b'"u":', b'"b":', b'"p":', b'"s":', b'":']))
            )
            end = min((rest.find(c) for c in (b",", b"}") if c in rest), default=0)
            line = key + colon + draw(st.sampled_from(VALUES)) + rest[end:]
        elif how == "cut":
            line = line[: draw(st.integers(0, len(line)))]
        else:
            other = draw(st.integers(0, len(tape) - 1))
            line, tape[other] = tape[other], line
        tape[k] = line
    return b"\n".join(tape)


@given(data=damaged() | st.binary(max_size=300), market=st.sampled_from(["usdm", "usdm", "usdm", "spot", "cm"]))
def test_never_a_crash(data: bytes, market: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file, out = Path(folder) / "tape", Path(folder) / "out"
        file.write_bytes(data)
        try:
            report = import_files("binance-collector", market, [file], out)
        except DataError:
            assert not out.exists()
            return
        store = Store.open(out)
        assert report["events"] == len(store)
        assert np.all(np.diff(store.ts_recv_ns) >= 0)
        assert np.all(store.ts_exch_ns <= store.ts_recv_ns)
        assert np.all(store.lots >= 0)
        assert store.flags[-1] & LAST
        assert report["bad_lines"] >= len(report["first_bad_lines"])
