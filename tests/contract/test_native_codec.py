"""The native codec on frames made by hand, and on bytes made by Hypothesis: it never raises."""

from __future__ import annotations

import itertools
import json
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm.core.instrument import Instrument
from mm.core.types import (
    ACK,
    ASK,
    BID,
    BUY,
    CANCEL_REJECT,
    CANCELED,
    CLEAR_ASK,
    CLEAR_BID,
    FILL,
    FUNDING,
    LAST,
    MARK,
    REJECT,
    SELL,
    SNAPSHOT,
)
from mm.errors import ConfigError
from mm.venues.base import Decoded
from mm.venues.native import wire
from mm.venues.native.codec import NativeCodec
from mm.venues.native.spec import instruments_from_reply

INSTRUMENTS = [
    Instrument("A", "native", "linear", Decimal("0.1"), Decimal("0.001"), quote="USDT"),
    Instrument("B", "native", "inverse", Decimal("0.5"), Decimal(1), contract_value=Decimal(100)),
]
FRAMES: dict[str, dict[str, Any]] = {
    "snapshot": {
        "type": "snapshot", "symbol": "A", "seq": 5, "ts": 1000,
        "bids": [["10.0", "0.002"], ["9.9", "1"]], "asks": [["10.1", "0.003"]],
    },
    "depth": {
        "type": "depth", "symbol": "A", "seq": 6, "prev_seq": 5, "ts": 1001, "bids": [["10.0", "0"]],
        "asks": [["10.2", "0.001"]],
    },
    "trades": {
        "type": "trades", "symbol": "A", "ts": 1002,
        "trades": [
            {"id": 1, "side": "buy", "px": "10.1", "qty": "0.001"},
            {"id": 2, "side": "sell", "px": "9.9", "qty": "1"},
        ],
    },
    "mark": {"type": "mark", "symbol": "B", "ts": 1003, "px": "100.5"},
    "funding": {"type": "funding", "symbol": "B", "ts": 1004, "rate": "-0.000012500", "mark": "100.5"},
    "order": {
        "type": "order", "symbol": "B", "cid": "1A2B-17", "oid": 3, "side": "sell", "px": "100.5", "qty": "7",
        "status": "open", "reason": "", "ts": 1005,
    },
    "fill": {
        "type": "fill", "symbol": "B", "cid": "1A2B-17", "oid": 3, "n": 1, "trade_id": 9, "side": "sell", "px": "100.5",
        "qty": "3", "remaining": "4", "fee": "-0.00012", "maker": True, "pos": "-3", "ts": 1006,
    },
    "cancel_reject": {"type": "cancel_reject", "symbol": "A", "cid": "1A2B-18", "reason": "filled", "ts": 1007},
    "amend_reject": {"type": "amend_reject", "symbol": "A", "cid": "1A2B-18", "reason": "bad_px", "ts": 1007},
    "position": {"type": "position", "symbol": "A", "size": "-1", "entry": None, "balance": "10", "ts": 1008},
    "funding_paid": {
        "type": "funding_paid", "symbol": "A", "amount": "-1.1", "rate": "0.001", "mark": "110.0", "size": "10",
        "ts": 1009,
    },
    "liquidation": {
        "type": "liquidation", "symbol": "A", "size": "-10", "px": "110.0", "mark": "120.0", "loss": "100", "ts": 1010,
    },
    "reply": {"type": "reply", "req_id": 1, "data": {"any": [1, 2]}},
    "error": {"type": "error", "req_id": None, "code": "malformed", "message": "what?"},
}  # fmt: skip


def raw(name: str, **changes: Any) -> bytes:
    return json.dumps({**FRAMES[name], **changes}).encode()


def rows(decoded: Decoded) -> list[tuple[int, int, int, int]]:
    """(kind, tick, lots, flags)."""
    return [(int(e["kind"]), int(e["tick"]), int(e["lots"]), int(e["flags"])) for e in decoded.events]


@pytest.fixture
def codec() -> NativeCodec:
    return NativeCodec(INSTRUMENTS, "1A2B")


def test_snapshot_depth_and_trades(codec: NativeCodec) -> None:
    snapshot = codec.decode_public(raw("snapshot"), 2000)
    assert rows(snapshot) == [
        (CLEAR_BID, 0, 0, SNAPSHOT),
        (CLEAR_ASK, (1 << 31) - 1, 0, SNAPSHOT),
        (BID, 100, 2, SNAPSHOT),
        (BID, 99, 1000, SNAPSHOT),
        (ASK, 101, 3, SNAPSHOT | LAST),
    ]
    assert set(snapshot.events["ts_exch_ns"]) == {1000}
    assert set(snapshot.events["ts_recv_ns"]) == {2000}
    assert set(snapshot.events["instrument"]) == {0}
    assert rows(codec.decode_public(raw("depth"), 2001)) == [(BID, 100, 0, 0), (ASK, 102, 1, LAST)]
    assert rows(codec.decode_public(raw("trades"), 2002)) == [(BUY, 101, 1, 0), (SELL, 99, 1000, LAST)]


def test_mark_and_funding(codec: NativeCodec) -> None:
    mark, funding = codec.decode_public(raw("mark"), 1), codec.decode_public(raw("funding"), 1)
    assert rows(mark) == [(MARK, 201, 0, LAST)]
    assert rows(funding) == [(FUNDING, 201, -12_500, LAST)]
    assert set(mark.events["instrument"]) == {1}
    assert "out of range" in codec.decode_public(raw("funding", rate="1000"), 1).error


def test_a_gap_silences_the_instrument_until_its_snapshot(codec: NativeCodec) -> None:
    assert rows(codec.decode_public(raw("depth"), 1)) == []  # before any snapshot
    assert rows(codec.decode_public(raw("trades"), 1)) == []
    codec.decode_public(raw("snapshot"), 1)
    gap = codec.decode_public(raw("depth", seq=8, prev_seq=7), 1)
    assert (gap.gap, len(gap.events), gap.error) == ([0], 0, "")
    for name in ("depth", "trades"):
        assert rows(codec.decode_public(raw(name), 1)) == []
    assert codec.decode_public(raw("depth", seq=9, prev_seq=8), 1).gap == []  # told once
    assert len(codec.decode_public(raw("snapshot", seq=20), 1).events) == 5
    assert rows(codec.decode_public(raw("depth", seq=20, prev_seq=19), 1)) == []  # older than the snapshot
    assert len(codec.decode_public(raw("depth", seq=21, prev_seq=20), 1).events) == 2


def test_a_bad_level_is_a_gap_too(codec: NativeCodec) -> None:
    codec.decode_public(raw("snapshot"), 1)
    bad = codec.decode_public(raw("depth", bids=[["10.05", "1"]]), 1)
    assert (bad.gap, len(bad.events)) == ([0], 0)
    assert "not a multiple" in bad.error
    assert codec.decode_public(raw("snapshot", asks=[["10", "-1"]]), 1).gap == [0]
    assert rows(codec.decode_public(raw("depth"), 1)) == []


def test_reset_forgets_the_sequence(codec: NativeCodec) -> None:
    codec.decode_public(raw("snapshot"), 1)
    codec.reset()
    assert rows(codec.decode_public(raw("depth"), 1)) == []


@pytest.mark.parametrize(
    ("status", "kind"), [("open", ACK), ("rejected", REJECT), ("canceled", CANCELED), ("filled", None)]
)
def test_order_updates(codec: NativeCodec, status: str, kind: int | None) -> None:
    decoded = codec.decode_private(raw("order", status=status, reason="why"), 3000)
    assert len(decoded.execs) == len(decoded.exec_detail) == (kind is not None)
    if kind is not None:
        row, detail = decoded.execs[0], decoded.exec_detail[0]
        assert (row["kind"], row["id"], row["side"], row["instrument"], row["ts_recv_ns"]) == (kind, 17, -1, 1, 3000)
        assert (row["tick"], row["lots"]) == ((0, 0) if kind == REJECT else (201, 7))
        assert (detail.client_order_id, detail.venue_order_id, detail.reason) == ("1A2B-17", "3", "why")


def test_rejects_of_nonsense_are_still_reports(codec: NativeCodec) -> None:
    decoded = codec.decode_private(raw("order", status="rejected", symbol="NO", px="x", qty="y"), 1)
    assert (decoded.execs[0]["kind"], decoded.execs[0]["id"]) == (REJECT, 17)


def test_a_refused_amendment_changes_nothing(codec: NativeCodec) -> None:
    decoded = codec.decode_private(raw("amend_reject"), 1)
    row, detail = decoded.execs[0], decoded.exec_detail[0]
    assert (row["kind"], row["id"], detail.reason) == (CANCEL_REJECT, 18, "bad_px")


def test_fill_and_cancel_reject(codec: NativeCodec) -> None:
    fill = codec.decode_private(raw("fill"), 1)
    row, detail = fill.execs[0], fill.exec_detail[0]
    assert (row["kind"], row["id"], row["tick"], row["lots"], row["maker"], row["side"]) == (FILL, 17, 201, 3, 1, -1)
    assert (detail.fee, detail.trade_id) == (Decimal("-0.00012"), "9")
    reject = codec.decode_private(raw("cancel_reject"), 1)
    assert (reject.execs[0]["kind"], reject.execs[0]["id"], reject.exec_detail[0].reason) == (
        CANCEL_REJECT,
        18,
        "filled",
    )


@pytest.mark.parametrize("cid", ["", "17", "1A2B-", "1A2B-x", "1A2B-1.5", "OTHER-17", "1A2B-" + "9" * 19, "1A2B-१७"])
def test_ids_that_are_not_ours(codec: NativeCodec, cid: str) -> None:
    assert codec.decode_private(raw("order", cid=cid), 1).execs[0]["id"] == -1


def test_ids_need_no_prefix_when_none_is_given() -> None:
    assert NativeCodec(INSTRUMENTS).own_id("any-thing-5") == 5


def test_news_of_the_account(codec: NativeCodec) -> None:
    news = [n for name in ("position", "funding_paid", "liquidation") for n in codec.decode_private(raw(name), 1).news]
    assert [(n.kind, n.symbol, n.amount, n.ts_exch_ns) for n in news] == [
        ("position", "A", -1, 1008), ("balance", "USDT", 10, 1008), ("funding", "A", Decimal("-1.1"), 1009),
        ("liquidation", "A", -10, 1010),
    ]  # fmt: skip
    assert news[-1].text == "closed at 110.0, lost 100"


def test_messages_without_records(codec: NativeCodec) -> None:
    for name in ("position", "reply"):
        decoded = codec.decode_private(raw(name), 1)
        assert (len(decoded.execs), len(decoded.events), decoded.error) == (0, 0, "")
    assert codec.decode_public(raw("error"), 1).error == "malformed: what?"
    assert "unknown symbol" in codec.decode_public(raw("mark", symbol="NO"), 1).error
    assert "unknown symbol" in codec.decode_private(raw("fill", symbol="NO"), 1).error
    assert codec.decode_public(raw("trades", trades=[]), 1).error == ""


def test_instruments_reply_is_checked() -> None:
    assert instruments_from_reply([i.to_dict() for i in INSTRUMENTS]) == INSTRUMENTS
    for bad in ({}, ["A"], None):
        with pytest.raises(ConfigError, match="list of instruments"):
            instruments_from_reply(bad)


# --- fuzz ------------------------------------------------------------------------------------------------------------
def feed(codec: NativeCodec, frame: bytes) -> None:
    """Both decoders, with the checks that hold for every frame."""
    for decode in (codec.decode_public, codec.decode_private):
        decoded = decode(frame, 1)
        assert isinstance(decoded, Decoded)
        assert len(decoded.execs) == len(decoded.exec_detail)
        assert np.all(decoded.events["lots"][decoded.events["kind"] <= BUY] >= 0)
        if len(decoded.events):
            assert decoded.events["flags"][-1] & LAST
        if decoded.gap:
            assert len(decoded.events) == 0


@settings(max_examples=300)
@given(frame=st.binary(max_size=200))
def test_random_bytes_never_raise(frame: bytes) -> None:
    feed(NativeCodec(INSTRUMENTS), frame)


awkward = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(1 << 70), 1 << 70),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["A", "B", "NaN", "-Infinity", "1e400", "1E-400", "0x10", "1_0", " 1", "9" * 50, "10.0", "buy"]),
    st.lists(st.lists(st.sampled_from(["10.0", "-1", "0", "1e9", "99999999999", ""]), max_size=3), max_size=3),
)


@settings(max_examples=600)
@given(data=st.data())
def test_mutated_frames_never_raise(data: st.DataObject) -> None:
    codec = NativeCodec(INSTRUMENTS)
    codec.decode_public(raw("snapshot"), 1)
    for _ in range(3):
        frame = dict(FRAMES[data.draw(st.sampled_from(sorted(FRAMES)))])
        for key in data.draw(st.lists(st.sampled_from(sorted(frame)), max_size=2)):
            if data.draw(st.booleans()):
                frame[key] = data.draw(awkward)
            else:
                frame.pop(key, None)
        feed(codec, json.dumps(frame).encode())


@settings(max_examples=300)
@given(name=st.sampled_from(sorted(FRAMES)), at=st.integers(0, 300), byte=st.integers(0, 255), cut=st.booleans())
def test_damaged_bytes_never_raise(name: str, at: int, byte: int, cut: bool) -> None:
    frame = bytearray(raw(name))
    at %= len(frame)
    frame[at] = byte
    codec = NativeCodec(INSTRUMENTS)
    codec.decode_public(raw("snapshot"), 1)
    feed(codec, bytes(frame[:at] if cut else frame))


@pytest.mark.parametrize(
    "frame", [b"[" * 100_000, b'{"type":' * 50_000, b'{"type":"reply","req_id":1,"data":' + b"[" * 99_999]
)
def test_deep_nesting_is_an_error(frame: bytes) -> None:
    assert "undecodable" in NativeCodec(INSTRUMENTS).decode_public(frame, 1).error


# --- framing and units -----------------------------------------------------------------------------------------------
@given(bodies=st.lists(st.binary(max_size=40), max_size=8), cuts=st.lists(st.integers(0, 400), max_size=12))
def test_frames_survive_any_fragmentation(bodies: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(wire.LENGTH.pack(len(body)) + body for body in bodies)
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    splitter = wire.Splitter(100)
    got = [frame for a, b in itertools.pairwise(edges) for frame in splitter.feed(stream[a:b])]
    assert got == bodies


def test_a_long_frame_is_refused_before_it_arrives() -> None:
    with pytest.raises(wire.FrameTooLong, match="101 bytes"):
        wire.Splitter(100).feed(wire.LENGTH.pack(101))


@given(ticks=st.integers(0, (1 << 31) - 1), lots=st.integers(0, 1 << 50))
def test_units_round_trip(ticks: int, lots: int) -> None:
    units = wire.Units(INSTRUMENTS[0])
    for _ in range(2):  # computed, then remembered
        assert units.ticks(units.price(ticks)) == ticks
        assert units.lots(units.size(lots)) == lots
    assert Decimal(units.price(ticks)) == INSTRUMENTS[0].price(ticks)


def test_unit_caches_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MAX_REMEMBERED", 10)
    units = wire.Units(INSTRUMENTS[0])
    for ticks in range(100):
        assert units.ticks(units.price(ticks)) == ticks
    assert len(units._price) <= 10
