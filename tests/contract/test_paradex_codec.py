"""What the Paradex codec makes of recorded frames, and of frames that are damaged, lost, repeated or out of order."""

from __future__ import annotations

import json
import struct
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paradex_py.api.sbe import decode_frame

from mm.core.types import (
    ASK,
    BID,
    BUY,
    CLEAR_ASK,
    CLEAR_BID,
    EXEC_NAMES,
    FUNDING,
    KIND_NAMES,
    LAST,
    MARK,
    SELL,
    SNAPSHOT,
)
from mm.sandbox.faces import paradex_wire as out
from mm.venues import replies
from mm.venues.base import AccountNews, Decoded
from mm.venues.paradex import sbe
from mm.venues.paradex.codec import ParadexCodec
from tests.contract.paradex_local import BTC, MID, NOW_NS, ONE, PREFIX, SYMBOL, read

RECV = 5
TOP = (1 << 31) - 1
SBE, JSON, PRIVATE = read("public_sbe"), read("public_json"), read("private")


def codec() -> ParadexCodec:
    return ParadexCodec([BTC], PREFIX)


def events(decoded: Decoded) -> list[tuple[int, ...]]:
    """(kind, tick, lots, flags)."""
    return [(int(e["kind"]), int(e["tick"]), int(e["lots"]), int(e["flags"])) for e in decoded.events]


def told(decoded: Decoded) -> list[tuple[str, int, int, int, int, int]]:
    """(kind, id, tick, lots, side, maker)."""
    names = ("id", "tick", "lots", "side", "maker")
    return [(EXEC_NAMES[int(e["kind"])], *(int(e[n]) for n in names)) for e in decoded.execs]  # type: ignore[misc]


def book(seq: int, bids: list[tuple[str, str]], asks: list[tuple[str, str]], *, whole: bool = False) -> bytes:
    return out.sbe_book(SYMBOL, seq, NOW_NS, whole, bids, asks, (None, None), 2)


WHOLE = book(10, [("59999", "1")], [("60001", "2")], whole=True)


# --- recorded frames -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("frames", [SBE, JSON], ids=["sbe", "json"])
def test_a_session_of_market_data(frames: list[bytes]) -> None:
    c = codec()
    decoded = [c.decode_public(raw, RECV) for raw in frames]
    assert not any(d.error or d.gap for d in decoded)
    assert [
        (
            KIND_NAMES[int(e["kind"])], int(e["tick"]) - MID, int(e["lots"]), int(e["flags"]),
            int(e["ts_exch_ns"]) - NOW_NS,
        )
        for d in decoded
        for e in d.events
    ] == [
        ("clear_bid", -MID, 0, SNAPSHOT, 0), ("clear_ask", TOP - MID, 0, SNAPSHOT, 0),
        ("bid", -10, ONE, SNAPSHOT, 0), ("bid", -20, 2 * ONE, SNAPSHOT, 0),
        ("ask", 10, ONE, SNAPSHOT, 0), ("ask", 20, 3 * ONE, SNAPSHOT | LAST, 0),
        ("mark", 0, 0, LAST, 0),
        ("bid", -5, ONE // 2, LAST, 7_000_000), ("ask", 10, 0, LAST, 14_000_000), ("mark", 3, 0, LAST, 21_000_000),
        ("sell", -5, ONE // 4, LAST, 28_000_000), ("bid", -5, ONE // 4, LAST, 28_000_000),
        ("buy", 20, ONE, LAST, 35_000_000), ("ask", 20, 2 * ONE, LAST, 35_000_000),
        ("funding", 3, 100_000, LAST, 42_000_000),
    ]  # fmt: skip
    assert {int(e["ts_recv_ns"]) for d in decoded for e in d.events} == {RECV}


def test_our_sbe_decoder_against_the_librarys() -> None:
    """Every recorded frame: the numbers of the library's models are ours."""
    seen = set()
    for raw in SBE:
        channel, model = decode_frame(raw)
        template, length = sbe.block_of(raw)
        seen.add(template)
        assert model is not None
        theirs: Any = model
        if template == sbe.BOOK:
            b = sbe.book(raw, length)
            assert (b.seq, b.ts_us // 1000, b.market) == (theirs.seq_no, theirs.timestamp, theirs.market)
            assert ["SNAPSHOT", "DELTA"][b.is_delta] == theirs.pkg_type
            for ours, levels in ((b.bids, theirs.bids), (b.asks, theirs.asks)):
                assert ours == [(out.e8(px), out.e8(qty)) for px, qty in levels]
        elif template == sbe.TRADE:
            t = sbe.trade(raw, length)
            assert (t.price, t.size) == (out.e8(theirs.price), out.e8(theirs.size))
            assert ({1: "BUY", 2: "SELL"}[t.side], t.ts_us // 1000) == (theirs.side, theirs.created_at)
            assert theirs.trade_type == "FILL"
        elif template == sbe.SUMMARY:
            s = sbe.summary(raw, length)
            assert (s.mark, s.market) == (out.e8(theirs.mark_price), theirs.market)
        elif template == sbe.FUNDING:
            f = sbe.funding(raw, length)
            assert (f.accrued, f.market) == (out.e8(theirs.funding_index), theirs.market)
        assert channel is not None
    assert seen == {sbe.BOOK, sbe.TRADE, sbe.SUMMARY, sbe.FUNDING}


def test_best_prices_are_read_by_the_library_and_ignored_by_us() -> None:
    raw = out.sbe_bbo(SYMBOL, 7, NOW_NS, ("59999", "1"), None, 2)
    _, model = decode_frame(raw)
    assert model is not None
    assert (model.bid_price, model.ask_price) == ("59999.00000000", None)  # type: ignore[attr-defined]
    assert not codec().decode_public(raw, RECV).error


def test_a_session_of_an_account() -> None:
    c = codec()
    decoded = [c.decode_private(raw, RECV) for raw in PRIVATE]
    assert not any(d.error or d.unknown for d in decoded)
    n = ONE // 100
    assert [row for d in decoded for row in told(d)] == [
        ("ack", 1, MID, n, 1, 0), ("fill", 1, MID, n // 2, 1, 1), ("ack", 1, MID - 1, n, 1, 0),
        ("canceled", 1, MID - 1, n, 1, 0), ("cancel_reject", 1, 0, 0, 0, 0), ("reject", 2, MID + 50, n, 1, 0),
        ("reject", 3, 0, 0, 1, 0), ("ack", 4, MID + 4, n, -1, 0), ("ack", 5, MID + 5, n, -1, 0),
        ("fill", 6, MID - 10, n // 2, -1, 0), ("canceled", 4, MID + 4, n, -1, 0), ("canceled", 5, MID + 5, n, -1, 0),
    ]  # fmt: skip
    details = [x for d in decoded for x in d.exec_detail]
    assert [x.reason for x in details if x.reason] == [
        "USER_CANCELED", "-32602 ORDER_IS_CLOSED order is closed", "POST_ONLY_WOULD_CROSS",
        "-32602 VALIDATION_ERROR price is not a multiple of price_tick_size", "USER_CANCELED", "USER_CANCELED",
    ]  # fmt: skip
    fills = [x for x in details if x.trade_id]
    assert [x.fee for x in fills] == [Decimal("0.009"), Decimal("0.059999")]
    assert len({x.trade_id for x in fills}) == 2
    news = [(x.kind, x.symbol, x.amount) for d in decoded for x in d.news]
    assert ("funding", SYMBOL, Decimal("-0.03")) in news
    assert ("position", SYMBOL, Decimal("0.005")) in news
    assert ("balance", "USD", Decimal("99999.991")) in news


# --- the book's sequence ---------------------------------------------------------------------------------------------
def test_a_gap_withholds_the_market_until_the_whole_book_comes() -> None:
    c = codec()
    assert events(c.decode_public(book(9, [("59999", "1")], []), RECV)) == []  # before the first snapshot
    c.decode_public(WHOLE, RECV)
    assert events(c.decode_public(book(11, [("59998", "1")], []), RECV)) == [(BID, MID - 20, ONE, LAST)]
    lost = c.decode_public(book(13, [("59997", "1")], []), RECV)
    assert (lost.gap, events(lost), lost.error) == ([0], [], "")
    late = c.decode_public(book(12, [("59997", "1")], []), RECV)
    assert (late.gap, events(late)) == ([], [])
    assert events(c.decode_public(SBE[6], RECV)) == []  # a trade in a market that is withheld
    assert events(c.decode_public(WHOLE, RECV))[:2] == [(CLEAR_BID, 0, 0, SNAPSHOT), (CLEAR_ASK, TOP, 0, SNAPSHOT)]
    assert events(c.decode_public(book(11, [], [("60001", "0")]), RECV)) == [(ASK, MID + 10, 0, LAST)]


def test_a_frame_twice_or_late_changes_nothing() -> None:
    c = codec()
    c.decode_public(WHOLE, RECV)
    one, two = book(11, [("59999", "3")], []), book(12, [("59999", "4")], [])
    for raw in (one, two):
        assert len(events(c.decode_public(raw, RECV))) == 1
    for raw in (one, two, two):
        again = c.decode_public(raw, RECV)
        assert (events(again), again.gap, again.error) == ([], [], "")
    assert len(events(c.decode_public(book(13, [], []), RECV))) == 0  # a change outside what we follow
    assert events(c.decode_public(book(14, [("59999", "5")], []), RECV)) == [(BID, MID - 10, 5 * ONE, LAST)]


@pytest.mark.parametrize("frames", [SBE, JSON], ids=["sbe", "json"])
def test_a_trade_told_twice_counts_once(frames: list[bytes]) -> None:
    c = codec()
    decoded = [c.decode_public(raw, RECV) for raw in frames for _ in range(2)]
    assert sum(kind in (SELL, BUY) for d in decoded for kind, *_ in events(d)) == 2
    assert not any(d.error or d.gap for d in decoded)


def test_a_new_connection_begins_with_a_snapshot() -> None:
    c = codec()
    c.decode_public(WHOLE, RECV)
    c.reset()
    assert events(c.decode_public(book(11, [("59999", "3")], []), RECV)) == []


@pytest.mark.parametrize(
    "level", [("59999.05", "1"), ("59999", "0.000001"), ("-1", "1"), ("59999", "-1"), ("3e9", "1")]
)
def test_a_bad_level_makes_the_book_unknown(level: tuple[str, str]) -> None:
    c = codec()
    c.decode_public(WHOLE, RECV)
    bad = c.decode_public(book(11, [level], []), RECV)
    assert bad.gap == [0]
    assert "level" in bad.error
    assert events(c.decode_public(book(12, [("59999", "1")], []), RECV)) == []


def test_entries_may_grow_and_blocks_too() -> None:
    """A later schema appends fields: entries of 24 bytes and a block of 97 are read by their own lengths."""
    head = struct.pack("<qqB9q", NOW_NS // 1000, 10, 0, *[0] * 9) + b"\x07" * 8
    group = struct.pack("<HH", 24, 1) + struct.pack("<qqq", out.e8("59999"), out.e8("1"), 77)
    raw = struct.pack("<HHHH", len(head), 3, 1, 9) + head + group + struct.pack("<HH", 16, 0)
    raw += bytes([len(SYMBOL)]) + SYMBOL.encode() + b"\x01x"
    assert events(codec().decode_public(raw, RECV))[2:] == [(BID, MID - 10, ONE, SNAPSHOT | LAST)]


# --- marks and funding -----------------------------------------------------------------------------------------------
def test_marks_are_rounded_to_ticks_and_told_when_they_change() -> None:
    c = codec()

    def mark(price: str) -> list[tuple[int, ...]]:
        raw = out.sbe_summary(SYMBOL, 1, NOW_NS, Decimal(price), Decimal(0), None, None, 2)
        return events(c.decode_public(raw, RECV))

    assert mark("60000.04999999") == [(MARK, MID, 0, LAST)]
    assert mark("60000.04") == []
    assert mark("60000.05") == [(MARK, MID + 1, 0, LAST)]


def test_funding_accrues_until_it_counts_and_loses_nothing() -> None:
    c = codec()

    def accrued(index: str) -> list[tuple[int, ...]]:
        return events(c.decode_public(out.sbe_funding(SYMBOL, 1, NOW_NS, Decimal(0), Decimal(index), 2), RECV))

    c.decode_public(out.sbe_summary(SYMBOL, 1, NOW_NS, Decimal(60_000), Decimal(0), None, None, 2), RECV)
    assert accrued("-100") == []  # where it begins does not matter
    rates = [lots for k in range(1, 601) for _, _, lots, _ in accrued(str(Decimal(-100) + Decimal(k) / 100))]
    assert 60 < len(rates) <= 100
    assert sum(rates) == pytest.approx(6 / 60_000 * 1e9, abs=2 * len(rates) + 1_000)
    assert accrued("-94.2") == [(FUNDING, MID, -3333, LAST)]
    c.reset()
    assert accrued("-94.14") == [(FUNDING, MID, 1000, LAST)]  # what accrued while we were away


# --- orders ----------------------------------------------------------------------------------------------------------
def order(status: str, **changes: Any) -> bytes:
    data = {
        "id": "1790000000130000000000000009", "market": SYMBOL, "side": "SELL", "size": "0.01", "price": "60001",
        "remaining_size": "0.01", "status": status, "client_id": f"{PREFIX}-9", "cancel_reason": "",
        "last_updated_at": NOW_NS // 1_000_000, "something_new": 1,
    }  # fmt: skip
    return json.dumps({"method": "subscription", "params": {"channel": "orders.ALL", "data": data | changes}}).encode()


@pytest.mark.parametrize(
    ("frames", "kinds"),
    [
        ([order("NEW")], []),
        ([order("NEW"), order("OPEN")], ["ack"]),
        ([order("OPEN"), order("OPEN", remaining_size="0.004")], ["ack"]),
        ([order("OPEN"), order("OPEN", price="60002")], ["ack", "ack"]),
        ([order("OPEN"), order("CLOSED", remaining_size="0")], ["ack"]),
        ([order("CLOSED", cancel_reason="POST_ONLY_WOULD_CROSS")], ["reject"]),
        ([order("CLOSED", cancel_reason="NOT_ENOUGH_MARGIN")], ["reject"]),
        ([order("OPEN"), order("CLOSED", cancel_reason="NOT_ENOUGH_MARGIN")], ["ack", "canceled"]),
        ([order("CLOSED", cancel_reason="USER_CANCELED")], ["canceled"]),
        ([order("CLOSED", cancel_reason="CANCEL_ON_DISCONNECT")], ["canceled"]),
        ([order("CLOSED", cancel_reason="IOC_NOT_FILLED", remaining_size="0.004")], ["canceled"]),
        ([order("CLOSED", cancel_reason="POST_ONLY_WOULD_CROSS", remaining_size="0")], ["reject"]),  # as some show it
        ([order("CLOSED", cancel_reason="IOC_NOT_FILLED", remaining_size="0", avg_fill_price="60000")], ["canceled"]),
        ([order("CLOSED")], ["canceled"]),
    ],
)
def test_the_life_of_an_order(frames: list[bytes], kinds: list[str]) -> None:
    c = codec()
    assert [row[0] for raw in frames for row in told(c.decode_private(raw, RECV))] == kinds


def test_answers_to_requests() -> None:
    c = codec()

    def reply(result: Any, op: Any, **more: Any) -> Decoded:
        return c.decode_private(
            replies.frame(replies.Reply(raymaker=result, op=op, symbol=SYMBOL, cid=f"{PREFIX}-7", **more)), RECV
        )

    assert told(reply("ok", "place", body={"order": {"status": "NEW"}})) == []  # the channel tells
    assert told(reply("no", "place", side=-1, code="-32602", text="VALIDATION_ERROR")) == [("reject", 7, 0, 0, -1, 0)]
    assert told(reply("no", "reduce", side=1)) == [("reject", 7, 0, 0, 1, 0)]
    assert told(reply("no", "cancel")) == told(reply("no", "amend")) == [("cancel_reject", 7, 0, 0, 0, 0)]
    lost = reply("unknown", "place", text="timed out")
    assert (lost.unknown, told(lost), "unknown" in lost.error) == ([f"{PREFIX}-7"], [], True)


def test_orders_of_others_and_complaints() -> None:
    c = codec()
    assert told(c.decode_private(order("OPEN", client_id="by-hand"), RECV))[0][:2] == ("ack", -1)
    complaint = b'{"jsonrpc":"2.0","error":{"code":40111,"message":"Invalid Bearer Token"},"id":null}'
    assert "40111" in c.decode_private(complaint, RECV).error
    assert "40111" in c.decode_public(complaint, RECV).error


def test_a_liquidation_is_news_and_a_fill() -> None:
    data = {
        "id": "1", "market": SYMBOL, "side": "SELL", "liquidity": "TAKER", "price": "59000", "size": "0.5", "fee": "3",
        "created_at": 1, "fill_type": "LIQUIDATION",
    }  # fmt: skip
    raw = json.dumps({"params": {"channel": "fills.ALL", "data": data}, "method": "subscription"}).encode()
    d = codec().decode_private(raw, RECV)
    assert told(d) == [("fill", -1, 590_000, ONE // 2, -1, 0)]
    assert d.news == [AccountNews("liquidation", SYMBOL, Decimal("-0.5"), 1_000_000, "")]


@pytest.mark.parametrize(
    ("size", "side", "signed"), [("-0.3", "SHORT", "-0.3"), ("0.3", "SHORT", "-0.3"), ("0.3", "LONG", "0.3")]
)
def test_a_short_position_is_negative_however_it_is_written(size: str, side: str, signed: str) -> None:
    data = {"market": SYMBOL, "size": size, "side": side, "last_updated_at": 1}
    raw = json.dumps({"method": "subscription", "params": {"channel": "positions", "data": data}}).encode()
    assert codec().decode_private(raw, RECV).news == [AccountNews("position", SYMBOL, Decimal(signed), 1_000_000)]


# --- garbage ---------------------------------------------------------------------------------------------------------
def _harmless(raw: bytes) -> None:
    c = codec()
    for warm in (WHOLE, *SBE[1:3], order("OPEN")):
        c.decode_public(warm, RECV)
        c.decode_private(warm, RECV)
    for decode in (c.decode_public, c.decode_private):
        d = decode(raw, RECV)
        assert len(d.execs) == len(d.exec_detail)
        assert set(d.gap) <= {0}
        if len(d.events):
            assert int(d.events[-1]["flags"]) & LAST
            assert (d.events["lots"][d.events["kind"] != FUNDING] >= 0).all()
            assert (d.events["tick"] >= 0).all()


@settings(max_examples=400, deadline=None)
@given(st.binary(max_size=300))
def test_no_bytes_raise(raw: bytes) -> None:
    _harmless(raw)


@settings(max_examples=600, deadline=None)
@given(data=st.data())
def test_no_damaged_frame_raises(data: st.DataObject) -> None:
    raw = bytearray(data.draw(st.sampled_from([*SBE, *JSON, *PRIVATE, order("OPEN")])))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(raw) - 1))
        match data.draw(st.sampled_from(["flip", "cut", "insert", "max"])):
            case "flip":
                raw[at] ^= data.draw(st.integers(1, 255))
            case "cut":
                raw = raw[: at + 1]
            case "insert":
                raw[at:at] = data.draw(st.binary(min_size=1, max_size=9))
            case "max":
                raw[at : at + 8] = b"\xff" * 8
    _harmless(bytes(raw))


@settings(max_examples=300, deadline=None)
@given(
    template=st.integers(0, 45), block=st.binary(max_size=260), version=st.integers(0, 9), tail=st.binary(max_size=60)
)
def test_no_sbe_frame_raises(template: int, block: bytes, version: int, tail: bytes) -> None:
    _harmless(struct.pack("<HHHH", len(block), template, 1, version) + block + tail)
