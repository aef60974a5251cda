"""Tapes: two clocks, the first mid, refusals; and where the synthetic one is kept."""

from decimal import Decimal

import pytest

from mm.config.schema import DataConfig, ListingConfig
from mm.core.types import ASK, BID, BUY, EVENT, FUNDING, LAST, records
from mm.data.store import StoreWriter
from mm.errors import DataError
from mm.sim.tape import from_store, listed, open_tape
from tests.reference.kernel_box import instrument

T0 = 1_704_067_200_000_000_000


def store(path, rows):
    """Rows of (exch_ms, recv_ms, kind, tick, lots, flags)."""
    ev = records(len(rows), EVENT)
    for k, (exch, recv, kind, tick, lots, flags) in enumerate(rows):
        ev[k].ts_exch_ns, ev[k].ts_recv_ns = T0 + exch * 10**6, T0 + recv * 10**6
        ev[k].kind, ev[k].tick, ev[k].lots, ev[k]["flags"] = kind, tick, lots, flags
    with StoreWriter(path, instrument(), "test") as writer:
        writer.append(ev)
        return writer.finish({})


def test_the_first_mid_is_that_of_a_complete_message(tmp_path):
    rows = [(0, 1, BID, 600_000, 5, 0), (0, 1, ASK, 600_100, 5, 0), (0, 1, ASK, 600_010, 5, LAST),
            (5, 6, BID, 600_004, 5, LAST)]  # fmt: skip
    tape = from_store(store(tmp_path / "s", rows))
    assert tape.ref_price == pytest.approx(60_000.5)
    assert tape.events == 4
    assert tape.span_s == pytest.approx(0.005)


def test_the_exchange_never_steps_back(tmp_path):
    rows = [(0, 1, BID, 600_000, 5, 0), (0, 1, ASK, 600_010, 5, LAST), (9, 10, BUY, 600_010, 1, LAST),
            (4, 11, BID, 600_001, 5, LAST), (12, 13, BID, 600_002, 5, LAST)]  # fmt: skip
    tape = from_store(store(tmp_path / "s", rows))
    assert [(t - T0) // 10**6 for t in tape.msg_exch_ns] == [0, 9, 9, 12]
    assert [(t - T0) // 10**6 for t in tape.receive_ns(-1)] == [1, 10, 11, 13]
    assert [(t - T0) // 10**6 for t in tape.receive_ns(7 * 10**6)] == [7, 16, 16, 19]


def test_a_book_with_one_side_cannot_be_traded(tmp_path):
    with pytest.raises(DataError, match="never has two sides"):
        from_store(store(tmp_path / "s", [(0, 1, BID, 600_000, 5, LAST), (1, 2, BUY, 600_000, 1, LAST)]))


def test_no_store(tmp_path):
    with pytest.raises(DataError, match="no such store"):
        open_tape(DataConfig(source=str(tmp_path / "nothing")))


def test_a_synthetic_tape_is_made_once(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first = open_tape(DataConfig(duration="2s", seed=3))
    made = (first.path / "meta.json").stat().st_mtime_ns
    again = open_tape(DataConfig(duration="2s", seed=3))
    assert (again.path / "meta.json").stat().st_mtime_ns == made
    assert again.data_hash == first.data_hash
    other = open_tape(DataConfig(duration="2s", seed=4))
    assert other.path != first.path
    assert other.data_hash != first.data_hash
    assert first.path.is_relative_to(tmp_path)


def test_the_market_in_another_venues_lots(tmp_path):
    rows = [(0, 1, BID, 600_000, 5, 0), (0, 1, ASK, 600_010, 7, LAST), (2, 3, FUNDING, 600_005, 100_000, LAST),
            (9, 10, BUY, 600_010, 2, LAST)]  # fmt: skip
    path = tmp_path / "s"
    tape = from_store(store(path, rows))
    assert tape.instrument.lot_size == Decimal("0.001")
    fine = listed(tape, ListingConfig(venue="elsewhere", lot_size=Decimal("0.00001"), min_notional_usd=Decimal(10)))
    assert fine.lots.tolist() == [500, 700, 100_000, 200]  # not the funding rate
    assert (fine.instrument.venue, fine.instrument.lot_size) == ("elsewhere", Decimal("0.00001"))
    assert fine.instrument.min_notional == 10
    assert tape.lots.tolist() == [5, 7, 100_000, 2]
    opened = open_tape(DataConfig.model_validate({"source": str(path), "listing": {"venue": "x", "lot_size": "1e-5"}}))
    assert opened.lots.tolist() == fine.lots.tolist()
    with pytest.raises(DataError, match=r"lots of 0\.001 cannot be told in lots of 0\.0004"):
        listed(tape, ListingConfig(venue="elsewhere", lot_size=Decimal("0.0004")))


def test_sizes_that_outgrow_32_bits(tmp_path):
    rows = [(0, 1, BID, 600_000, 10**9, 0), (0, 1, ASK, 600_010, 7, LAST)]
    fine = listed(from_store(store(tmp_path / "s", rows)), ListingConfig(venue="x", lot_size=Decimal("0.0001")))
    assert fine.lots.tolist() == [10**10, 70]
