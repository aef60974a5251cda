"""The store: what is written comes back, and what is not a store is refused with a reason."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from mm.core.instrument import Instrument
from mm.core.types import ASK, BID, BUY, EVENT, LAST, SNAPSHOT, RecArray, records
from mm.data.store import COLUMNS, META, Store, StoreWriter, clear_rows
from mm.data.touch import Walker
from mm.errors import DataError

INSTRUMENT = Instrument("BTC-USDT", "test", "linear", Decimal("0.1"), Decimal("0.001"))


def rows(n: int, start_ns: int = 1_000) -> RecArray:
    out = records(n, EVENT)
    out["ts_exch_ns"] = start_ns + np.arange(n) * 10
    out["ts_recv_ns"] = out["ts_exch_ns"] + 3
    out["kind"] = np.arange(n) % 2
    out["tick"] = 600_000 + np.arange(n) % 2 + np.arange(n) // 2 % 5
    out["lots"] = np.arange(n) % 7
    out["flags"] = LAST
    return out


def write(path: Path, *chunks: RecArray) -> Store:
    with StoreWriter(path, INSTRUMENT, "test") as writer:
        for chunk in chunks:
            writer.append(chunk)
        return writer.finish({"gaps": 0})


def test_round_trip(tmp_path: Path) -> None:
    events = rows(100)
    store = write(tmp_path / "s", events)
    again = Store.open(tmp_path / "s")
    assert len(again) == 100
    assert again.instrument == INSTRUMENT
    assert again.meta["quality"] == {"gaps": 0}
    assert np.array_equal(again.events(), events)
    assert np.array_equal(again.events(10, 20), events[10:20])
    assert isinstance(again.tick, np.memmap)
    assert store.data_hash == again.data_hash
    assert again.span_s == pytest.approx(99 * 10e-9)
    assert [p.name for p in tmp_path.iterdir()] == ["s"], "nothing is left beside the store"


def test_hash_depends_on_rows_and_not_on_chunks(tmp_path: Path) -> None:
    events = rows(100)
    whole = write(tmp_path / "a", events)
    cut = write(tmp_path / "b", events[:1], events[1:60], events[60:60], events[60:])
    events["lots"][50] += 1
    other = write(tmp_path / "c", events)
    assert whole.data_hash == cut.data_hash != other.data_hash


def test_touch_range_counts_only_ends_of_messages(tmp_path: Path) -> None:
    events = records(6, EVENT)
    events["kind"] = BID, ASK, ASK, BID, BID, BUY
    events["tick"] = 1000, 1005, 1003, 900, 1001, 1003
    events["lots"] = 1, 1, 1, 1, 1, 1
    events["flags"] = 0, 0, LAST, LAST, LAST, LAST
    store = write(tmp_path / "s", events)
    assert (store.low_tick, store.high_tick) == (1000, 1003)
    base, n = store.book_window()
    assert base <= 900
    assert base + n > 1003


def test_exchange_clock_shift(tmp_path: Path) -> None:
    events = rows(10)
    events["ts_exch_ns"] += 500
    with StoreWriter(tmp_path / "s", INSTRUMENT, "test") as writer:
        writer.append(events)
        assert writer.min_latency_ns == -497
        store = writer.finish(exch_shift_ns=-600)
    assert np.array_equal(store.ts_exch_ns, events["ts_exch_ns"] - 600)
    events["ts_exch_ns"] -= 600
    assert store.data_hash == write(tmp_path / "t", events).data_hash


def test_refuses_unsorted_negative_latency_and_empty(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="sorted"):
        write(tmp_path / "s", rows(10)[::-1])
    with pytest.raises(DataError, match="sorted"):
        write(tmp_path / "s", rows(10, 2_000), rows(10, 1_000))
    bad = rows(10)
    bad["ts_exch_ns"] += 4
    with pytest.raises(DataError, match="after it was received"):
        write(tmp_path / "s", bad)
    with pytest.raises(DataError, match="no events"):
        write(tmp_path / "s")
    assert not list(tmp_path.iterdir()), "a failed import leaves nothing behind"


def test_refuses_to_overwrite_what_is_not_a_store(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(DataError, match="refusing"):
        write(tmp_path / "mine", rows(3))
    assert (tmp_path / "mine" / "thesis.txt").exists()
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match="refusing"):
        write(tmp_path / "file", rows(3))


def test_replaces_a_store_and_fills_an_empty_directory(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    write(tmp_path / "s", rows(3))
    assert len(write(tmp_path / "s", rows(5))) == 5
    assert len(Store.open(tmp_path / "s")) == 5


def test_open_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such store"):
        Store.open(tmp_path / "nowhere")
    with pytest.raises(DataError, match="not a store"):
        Store.open(tmp_path)
    path = tmp_path / "s"
    write(path, rows(50))
    meta = json.loads((path / META).read_text())

    (path / META).write_text("{")
    with pytest.raises(DataError, match="unreadable"):
        Store.open(path)
    (path / META).write_text("[1]")
    with pytest.raises(DataError, match="not the meta file"):
        Store.open(path)
    (path / META).write_text(json.dumps(meta | {"schema": 99}))
    with pytest.raises(DataError, match="schema version 99"):
        Store.open(path)
    (path / META).write_text(json.dumps({k: v for k, v in meta.items() if k != "low_tick"}))
    with pytest.raises(DataError, match="low_tick"):
        Store.open(path)
    (path / META).write_text(json.dumps(meta | {"instrument": {"symbol": "X", "size": "1"}}))
    with pytest.raises(DataError, match="size"):
        Store.open(path)
    (path / META).write_text(json.dumps(meta | {"events": 51}))
    with pytest.raises(DataError, match="expected 51"):
        Store.open(path)


@pytest.mark.parametrize("name", COLUMNS)
def test_truncated_or_missing_column(tmp_path: Path, name: str) -> None:
    path = tmp_path / "s"
    write(path, rows(50))
    file = path / f"{name}.npy"
    file.write_bytes(file.read_bytes()[:-8])
    with pytest.raises(DataError, match=name):
        Store.open(path)
    file.unlink()
    with pytest.raises(DataError, match=name):
        Store.open(path)


def test_clear_rows_void_the_whole_book(tmp_path: Path) -> None:
    events = np.concatenate([rows(4), clear_rows(2_000, 2_003, SNAPSHOT | LAST)]).view(np.recarray)
    store = write(tmp_path / "s", events)
    best_bid, _ = Walker(store.book_window()).feed(store.kind, store.tick, store.lots)
    assert best_bid[3] > 0
    assert best_bid[-1] == 0


def test_what_will_not_fit_is_refused_before_it_is_written(tmp_path: Path) -> None:
    from mm.data.synth import SynthSpec, write_synth

    with pytest.raises(DataError, match=r"events need .* GB, .* are free.*shorter span"):
        write_synth(tmp_path / "ages", SynthSpec(), 1, 90 * 365 * 86_400.0)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_an_error_that_leaves_nothing_behind(tmp_path: Path) -> None:
    class Full:
        def write(self, _data: object) -> None:
            raise OSError(28, "No space left on device")

        def close(self) -> None:
            pass

    writer = StoreWriter(tmp_path / "s", INSTRUMENT, "test")
    writer.append(rows(10))
    writer._files["lots"].close()
    writer._files["lots"] = Full()  # type: ignore[assignment]
    with pytest.raises(DataError, match="cannot write after 10 events: No space left on device"):
        writer.append(rows(10, start_ns=2_000))
    assert list(tmp_path.iterdir()) == []
