"""What the Hyperliquid codec makes of recorded frames, and of frames that are damaged, repeated, late or strange."""

from __future__ import annotations

import functools
import json
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm.core.types import (
    ACK,
    ASK,
    BID,
    BUY,
    CANCEL_REJECT,
    CANCELED,
    CLEAR_ASK,
    CLEAR_BID,
    EXEC_NAMES,
    FILL,
    FUNDING,
    LAST,
    MARK,
    REJECT,
    SELL,
    SNAPSHOT,
)
from mm.errors import ConfigError
from mm.venues import replies
from mm.venues.base import AccountNews, Decoded
from mm.venues.hyperliquid.codec import HyperliquidCodec, order_kind
from mm.venues.hyperliquid.rules import from_cloid, price_allowed, sz_decimals, tick_at, to_cloid, venue_number
from mm.venues.hyperliquid.spec import SPEC
from tests.contract.hyperliquid_frames import NOW_NS, load

BTC, ETH = SPEC.instrument("BTC"), SPEC.instrument("ETH")
TOP = (1 << 31) - 1
RECV = 5
T0 = NOW_NS // 1_000_000


def codec() -> HyperliquidCodec:
    return HyperliquidCodec([BTC, ETH], "RM")


def rows(decoded: Decoded) -> list[tuple[int, ...]]:
    """(kind, tick, lots, flags) of the events."""
    assert decoded.error == ""
    return [(int(e["kind"]), int(e["tick"]), int(e["lots"]), int(e["flags"])) for e in decoded.events]


def told(decoded: Decoded) -> list[tuple[Any, ...]]:
    """(kind, id, lots, tick, side, maker) of the reports."""
    return [
        (EXEC_NAMES[e["kind"]], int(e["id"]), int(e["lots"]), int(e["tick"]), int(e["side"]), int(e["maker"]))
        for e in decoded.execs
    ]


def frame(channel: str, data: Any) -> bytes:
    return json.dumps({"channel": channel, "data": data}, separators=(",", ":")).encode()


def book(time_ms: int, bids: list[tuple[str, str]], asks: list[tuple[str, str]], coin: str = "BTC") -> bytes:
    sides = [[{"px": px, "sz": sz, "n": 1} for px, sz in side] for side in (bids, asks)]
    return frame("l2Book", {"coin": coin, "time": time_ms, "levels": sides})


def touch(time_ms: int, bid: tuple[str, str] | None, ask: tuple[str, str] | None) -> bytes:
    best = [None if level is None else {"px": level[0], "sz": level[1], "n": 1} for level in (bid, ask)]
    return frame("bbo", {"coin": "BTC", "time": time_ms, "bbo": best})


def trade(tid: int, time_ms: int, px: str = "100000.0", side: str = "B") -> bytes:
    row = {"coin": "BTC", "side": side, "px": px, "sz": "0.5", "time": time_ms, "hash": "0x0", "tid": tid}
    return frame("trades", [row])


def ready() -> HyperliquidCodec:
    c = codec()
    c.decode_public(book(T0, [("99990.0", "1.0"), ("99980.0", "2.0")], [("100010.0", "1.0")]), RECV)
    return c


# --- the recorded session --------------------------------------------------------------------------------------------
def test_recorded_market_data() -> None:
    c = codec()
    decoded = [c.decode_public(raw, RECV) for raw in load()["public"]]
    assert [d.error for d in decoded if d.error] == ['Invalid subscription {"type":"l2Book","coin":"X"}']
    assert [rows(d) for d in decoded if len(d.events)] == [
        [(CLEAR_BID, 0, 0, 2), (CLEAR_ASK, TOP, 0, 2), (BID, 99_990, 200_000, 2), (ASK, 100_010, 100_000, 3)],
        [(MARK, 100_000, 0, LAST)],
        [(BID, 99_995, 5, LAST)],
        [(SELL, 99_995, 5, LAST)],
        [(BID, 99_995, 0, LAST)],
        [(MARK, 100_003, 0, LAST)],
        [  # asked for again: from the beginning
            (CLEAR_BID, 0, 0, 2), (CLEAR_ASK, TOP, 0, 2), (BID, 99_990, 200_000, 2), (BID, 99_900, 7, 2),
            (ASK, 100_010, 100_000, 3),
        ],
    ]  # fmt: skip
    first = next(d for d in decoded if len(d.events)).events
    assert set(first["ts_exch_ns"].tolist()) == {T0 * 1_000_000}
    assert set(first["ts_recv_ns"].tolist()) == {RECV}


def test_recorded_orders() -> None:
    c = codec()
    decoded = [c.decode_private(raw, RECV) for raw in load()["private"]]
    assert [d.error for d in decoded if d.error] == ["place RM-5: timeout"]
    assert [d.unknown for d in decoded if d.unknown] == [["RM-5"]]
    assert [t for d in decoded for t in told(d)] == [
        ("ack", 1, 1_000, 99_000, 1, 0),  # by the update; the answers say nothing new
        ("ack", 3, 1_000, 99_001, 1, 0),
        ("reject", 2, 0, 0, 1, 0),
        ("fill", 3, 1_000, 99_001, 1, 1),
        ("fill", 1, 400, 99_000, 1, 1),
        ("ack", 1, 1_000, 98_000, 1, 0),  # modified: another number, the same order of ours
        ("cancel_reject", 1, 0, 0, 0, 0),
        ("canceled", 1, 1_000, 98_000, 1, 0),
        ("fill", 4, 90_000, 100_010, 1, 0),
        ("fill", -1, 91_400, 89_996, -1, 0),  # a liquidation is nobody's order
        ("reject", 6, 0, 0, 1, 0),
    ]
    details = [detail for d in decoded for detail in d.exec_detail]
    assert [x.fee for x in details if x.trade_id] == [
        Decimal("0.1485015"), Decimal("0.0594"), Decimal("40.50405"), Decimal("0.835"),
    ]  # fmt: skip
    assert [x.trade_id for x in details if x.trade_id] == ["1", "2", "3", "4"]
    assert details[2].reason.startswith("Post only order would have immediately matched")
    assert details[-1].reason == "Invalid nonce: duplicate nonce 5"
    news = [n for d in decoded for n in d.news]
    assert [n for n in news if n.kind == "funding"] == [AccountNews("funding", "BTC", Decimal("-0.014"), T0 * 10**6)]
    assert [n.kind for n in news].count("liquidation") == 1
    assert [n.amount for n in news if n.kind == "position"] == [Decimal("0.014")] * 2 + [Decimal("0.914")]
    balances = [n.amount for n in news if n.kind == "balance"]
    assert balances[0] == 100_000
    assert balances[1] == Decimal(100000) - Decimal("0.1485015").quantize(Decimal("1e-6")) - Decimal("0.0594")


# --- books -----------------------------------------------------------------------------------------------------------
def test_a_whole_book_ends_what_it_does_not_show() -> None:
    c = ready()
    assert rows(c.decode_public(book(T0 + 5, [("99980.0", "2.0")], [("100010.0", "3.0")]), RECV)) == [
        (BID, 99_990, 0, SNAPSHOT), (BID, 99_980, 200_000, SNAPSHOT), (ASK, 100_010, 300_000, SNAPSHOT | LAST),
    ]  # fmt: skip


def test_a_touch_ends_what_was_better() -> None:
    c = ready()
    assert rows(c.decode_public(touch(T0 + 1, ("99980.0", "1.5"), ("99985.0", "1.0")), RECV)) == [
        (BID, 99_990, 0, 0), (BID, 99_980, 150_000, 0), (ASK, 99_985, 100_000, LAST),
    ]  # fmt: skip
    assert rows(c.decode_public(touch(T0 + 2, None, ("99985.0", "1.0")), RECV)) == [(BID, 99_980, 0, LAST)]
    assert rows(c.decode_public(touch(T0 + 3, ("1.0", "1.0"), None), RECV)) == [
        (BID, 1, 100_000, 0), (ASK, 100_010, 0, 0), (ASK, 99_985, 0, LAST),
    ]  # fmt: skip


def test_late_and_repeated_frames() -> None:
    c = ready()
    new = touch(T0 + 9, ("99991.0", "1.0"), ("100010.0", "1.0"))
    assert len(rows(c.decode_public(new, RECV))) == 1
    assert rows(c.decode_public(new, RECV)) == []
    assert rows(c.decode_public(touch(T0 + 8, ("99990.0", "1.0"), ("100010.0", "1.0")), RECV)) == []
    assert rows(c.decode_public(book(T0 + 8, [], []), RECV)) == []
    for tid, time_ms, n in ((1, T0, 1), (1, T0, 0), (2, T0 - 1, 0), (3, T0 + 1, 1), (2, T0 - 1, 0)):
        assert len(rows(c.decode_public(trade(tid, time_ms), RECV))) == n  # older than the first book: the past


def test_nothing_before_the_first_book() -> None:
    c = codec()
    for raw in (touch(T0, ("99990.0", "1.0"), None), trade(1, T0)):
        assert rows(c.decode_public(raw, RECV)) == []
    c = ready()
    c.reset()
    assert rows(c.decode_public(trade(1, T0 + 1), RECV)) == []
    assert rows(c.decode_public(book(T0 - 5, [], []), RECV))[-1][0] == CLEAR_ASK  # any time will do


@pytest.mark.parametrize(
    ("bids", "asks"),
    [
        ([("99990.0", "1.000001")], []),  # between two lots
        ([("-1", "1.0")], []),
        ([("1e400", "1.0")], []),
        ([("99990.0", "0.0")], []),
        ([("99980.0", "1.0"), ("99990.0", "1.0")], []),  # the worse one first
        ([("99990.0", "1.0")], [("99990.0", "1.0")]),  # crossed
    ],
)
def test_a_book_that_cannot_be_true_is_a_gap(bids: Any, asks: Any) -> None:
    c = ready()
    decoded = c.decode_public(book(T0 + 1, bids, asks), RECV)
    assert (decoded.gap, len(decoded.events)) == ([0], 0)
    assert decoded.error.startswith("bad level")
    again = c.decode_public(book(T0 + 1, bids, asks), RECV)
    assert again.gap == []  # asked for already
    assert again.error
    assert rows(c.decode_public(trade(1, T0 + 1), RECV)) == []
    assert len(rows(c.decode_public(book(T0 + 1, [("99990.0", "1.0")], []), RECV))) == 3


def test_a_finer_grid_than_ours_counts_to_the_tick_behind() -> None:
    """Below 10,000 the venue quotes tenths of a dollar; an instrument loaded above has whole ones."""
    c = codec()
    decoded = c.decode_public(
        book(T0, [("9990.7", "1.0"), ("9990.1", "2.0"), ("9989.9", "1.0")], [("9991.2", "1.0"), ("9991.8", "1.0")]),
        RECV,
    )
    assert rows(decoded)[2:] == [(BID, 9_990, 300_000, 2), (BID, 9_989, 100_000, 2), (ASK, 9_992, 200_000, 3)]
    assert rows(c.decode_public(trade(1, T0, "9990.4"), RECV)) == [(BUY, 9_990, 50_000, LAST)]
    bought = fill(px="9990.1", side="B")
    decoded = c.decode_private(bought, RECV)
    assert told(decoded) == [("fill", 7, 1_000, 9_991, 1, 1)]  # the worse tick
    assert "between two ticks" in decoded.error


def test_funding_at_the_hour() -> None:
    c = codec()
    hour = (T0 // 3_600_000 + 1) * 3_600_000
    context = {"coin": "BTC", "ctx": {"markPx": "100000.0", "funding": "0.0000125"}}
    c.decode_public(book(hour - 10, [("99990.0", "1.0")], []), RECV)
    c.decode_public(frame("activeAssetCtx", context), RECV)
    assert rows(c.decode_public(touch(hour - 1, ("99990.0", "1.0"), None), RECV)) == []
    decoded = c.decode_public(touch(hour + 3, ("99990.0", "1.0"), None), RECV)
    assert rows(decoded) == [(FUNDING, 100_000, 12_500, LAST)]
    assert decoded.events["ts_exch_ns"].tolist() == [hour * 1_000_000]
    assert rows(c.decode_public(touch(hour + 4, ("99990.0", "1.0"), None), RECV)) == []


@given(
    st.lists(
        st.tuples(st.booleans(), st.lists(st.integers(1, 60), unique=True, max_size=20), st.integers(1, 9)),
        max_size=30,
    )
)
@settings(max_examples=60, deadline=None)
def test_the_book_is_what_the_last_frames_say(steps: list[tuple[bool, list[int], int]]) -> None:
    """A slow reader of whole books and touches against the events, applied to an empty book."""
    c = codec()
    seen: dict[int, dict[int, int]] = {BID: {}, ASK: {}}
    true: dict[int, dict[int, int]] = {BID: {}, ASK: {}}
    valid = False
    for n, (whole, offsets, size) in enumerate(steps):
        bids = [(1_000 - k, size) for k in sorted(offsets)]
        asks = [(1_000 + k, size + 1) for k in sorted(offsets)]
        text = [[(f"{px}.0", f"{lots / 100_000:.5f}") for px, lots in side] for side in (bids, asks)]
        if whole:
            raw = book(T0 + n, *text)
            true, valid = {BID: dict(bids), ASK: dict(asks)}, True
        else:
            raw = touch(T0 + n, *(side[0] if side else None for side in text))
            if valid:
                true[BID] = {px: lots for px, lots in true[BID].items() if bids and px < bids[0][0]} | dict(bids[:1])
                true[ASK] = {px: lots for px, lots in true[ASK].items() if asks and px > asks[0][0]} | dict(asks[:1])
        for kind, tick, lots, _ in rows(c.decode_public(raw, RECV)):
            if kind in (BID, ASK):
                seen[kind][tick] = lots
        assert {side: {t: n for t, n in levels.items() if n} for side, levels in seen.items()} == true


# --- orders ----------------------------------------------------------------------------------------------------------
def update(status: str, oid: int = 9, cid: str | None = "RM-7", sz: str = "0.01", **more: Any) -> dict[str, Any]:
    order = {
        "coin": "BTC", "side": "B", "limitPx": "99000.0", "sz": sz, "oid": oid, "timestamp": T0, "origSz": "0.01",
        **more,
    }  # fmt: skip
    if cid is not None:
        order["cloid"] = to_cloid(cid)
    return {"order": order, "status": status, "statusTimestamp": T0}


def fill(**changes: Any) -> bytes:
    row = {
        "coin": "BTC", "px": "99000.0", "sz": "0.01", "side": "B", "time": T0, "oid": 9, "crossed": False, "fee": "0.1",
        "tid": 5, "cloid": to_cloid("RM-7"),
    }  # fmt: skip
    return frame("userFills", {"user": "0x", "fills": [row | changes]})


def answer(body: Any, op: Any = "place", cid: str = "RM-7", what: Any = "ok") -> bytes:
    return replies.frame(
        replies.Reply(raymaker=what, op=op, symbol="BTC", cid=cid, side=1, px="99000", qty="0.01", body=body)
    )


RESTING = {"resting": {"oid": 9, "cloid": to_cloid("RM-7")}}


def test_answer_and_update_in_either_order_are_one_ack() -> None:
    for frames in ((answer(RESTING), frame("orderUpdates", [update("open")])),) * 2:
        for order in (frames, frames[::-1]):
            c = codec()
            assert [t[:2] for raw in order for t in told(c.decode_private(raw, RECV))] == [("ack", 7)]


def test_an_answer_that_comes_after_the_end_says_nothing() -> None:
    for status in ("filled", "canceled"):
        c = codec()
        c.decode_private(frame("orderUpdates", [update(status)]), RECV)
        assert told(c.decode_private(answer(RESTING), RECV)) == []


def test_an_order_is_refused_once() -> None:
    c = codec()
    refused = answer({"error": "Insufficient margin to place order. asset=0"})
    late = frame("orderUpdates", [update("perpMarginRejected")])
    assert [t for raw in (refused, late, refused) for t in told(c.decode_private(raw, RECV))] == [
        ("reject", 7, 0, 0, 1, 0)
    ]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("open", ACK), ("triggered", ACK), ("filled", FILL), ("canceled", CANCELED), ("scheduledCancel", CANCELED),
        ("marginCanceled", CANCELED), ("selfTradeCanceled", CANCELED), ("liquidatedCanceled", CANCELED),
        ("rejected", REJECT), ("badAloPxRejected", REJECT), ("tickRejected", REJECT), ("somethingNew", None),
    ],
)  # fmt: skip
def test_statuses(status: str, kind: int | None) -> None:
    assert order_kind(status) == kind
    decoded = codec().decode_private(frame("orderUpdates", [update(status)]), RECV)
    assert bool(decoded.error) == (kind is None)
    assert [EXEC_NAMES.index(t[0]) for t in told(decoded)] == ([] if kind in (None, FILL) else [kind])


def test_fills_tell_maker_fee_and_owner() -> None:
    c = codec()
    decoded = c.decode_private(fill(crossed=True, fee="-0.015"), RECV)
    assert told(decoded) == [("fill", 7, 1_000, 99_000, 1, 0)]
    assert decoded.exec_detail[0].fee == Decimal("-0.015")
    other = {"cloid": None, "tid": 6, "oid": 77}
    assert told(c.decode_private(fill(**other), RECV)) == [("fill", -1, 1_000, 99_000, 1, 1)]
    c.decode_private(frame("orderUpdates", [update("open", oid=77, cid="RM-8")]), RECV)
    assert told(c.decode_private(fill(**other), RECV))[0][1] == 8  # the number was told by the order
    assert c.decode_private(fill(cloid=to_cloid("XX-7")), RECV).exec_detail[0].client_order_id == "XX-7"
    assert told(c.decode_private(fill(cloid=to_cloid("XX-7")), RECV))[0][1] == -1
    past = frame("userFills", {"isSnapshot": True, "user": "0x", "fills": json.loads(fill())["data"]["fills"]})
    assert told(c.decode_private(past, RECV)) == []


def test_other_coins_of_the_account_are_not_ours() -> None:
    ours, spot = json.loads(fill())["data"]["fills"][0], {"coin": "@107", "sz": "0.123456789"}
    c = codec()
    decoded = c.decode_private(frame("userFills", {"user": "0x", "fills": [ours | spot, ours]}), RECV)
    assert (len(told(decoded)), decoded.error) == (1, "")
    decoded = c.decode_private(frame("orderUpdates", [update("open", coin="PURR/USDC"), update("open")]), RECV)
    assert (len(told(decoded)), decoded.error) == (1, "")


def test_answers_to_cancels_and_amendments() -> None:
    c = codec()
    assert told(c.decode_private(answer("success", "cancel"), RECV)) == []
    gone = answer({"error": "Order was never placed, already canceled, or filled. asset=0"}, "cancel")
    assert told(c.decode_private(gone, RECV))[0][:2] == ("cancel_reject", 7)
    kept = answer({"error": "Cannot modify canceled or filled order"}, "amend")
    assert EXEC_NAMES[CANCEL_REJECT] == told(c.decode_private(kept, RECV))[0][0]
    lost = answer({"error": "Error placing new order during modify: Post only order would have"}, "amend")
    decoded = c.decode_private(lost, RECV)
    assert (told(decoded), bool(decoded.error)) == ([], True)  # its cancel comes by the stream
    assert told(c.decode_private(answer({"filled": {"totalSz": "0.01", "avgPx": "1", "oid": 9}}, "reduce"), RECV)) == []


# --- damage ----------------------------------------------------------------------------------------------------------
@functools.cache
def recorded() -> list[bytes]:
    return [raw for frames in load().values() for raw in frames]


@given(st.data())
@settings(max_examples=400, deadline=None)
def test_no_frame_crashes_the_desk(data: st.DataObject) -> None:
    c = ready()
    raw = bytearray(data.draw(st.sampled_from(recorded())))
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(raw) - 1))
        match data.draw(st.integers(0, 3)):
            case 0:
                raw[at] = data.draw(st.integers(0, 255))
            case 1:
                del raw[at : at + data.draw(st.integers(1, 9))]
            case 2:
                raw[at:at] = data.draw(st.binary(max_size=6))
            case _:
                raw[at:at] = data.draw(
                    st.sampled_from([b"9" * 40, b"-", b"null", b"1e999", b"[[", b'{"channel":"bbo"}'])
                )
        if not raw:
            break
    for decode in (c.decode_public, c.decode_private):
        decoded = decode(bytes(raw), RECV)
        assert isinstance(decoded, Decoded)
        assert len(decoded.execs) == len(decoded.exec_detail)
        assert np.all(decoded.events["tick"] >= 0)


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_bytes(raw: bytes) -> None:
    for decode in (codec().decode_public, codec().decode_private):
        assert decode(raw, RECV).error


def test_a_unknown_coin_and_a_number_that_is_none() -> None:
    c = ready()
    assert "unknown coin" in c.decode_public(book(T0, [], [], "DOGE"), RECV).error
    assert c.decode_private(
        frame("userFills", {"fills": [{**json.loads(fill())["data"]["fills"][0], "fee": "x"}]}), RECV
    ).error
    deep = b'{"channel":"trades","data":' + b"[" * 100_000
    assert c.decode_public(deep, RECV).error


# --- rules -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("price", "decimals", "allowed"),
    [
        ("123456", 5, True), ("12345.6", 5, False), ("1234.5", 5, True), ("1234.56", 4, False), ("0.001234", 0, True),
        ("0.0012345", 0, False), ("0.012345", 1, False), ("0.01234", 1, True), ("99999", 5, True),
        ("99999.5", 5, False),
        ("1000000", 5, True), ("1234567", 5, True), ("0", 5, False), ("-1", 5, False), ("3000.10", 4, True),
    ],
)  # fmt: skip
def test_price_rule(price: str, decimals: int, allowed: bool) -> None:
    assert price_allowed(Decimal(price), decimals) is allowed


@given(st.decimals("0.00001", "9000000", allow_nan=False, places=6), st.integers(0, 5))
@settings(deadline=None)
def test_the_tick_at_a_price_is_the_venues_grid(price: Decimal, decimals: int) -> None:
    if price <= 0:
        return
    tick = tick_at(price, decimals)
    here = (price / tick).to_integral_value() * tick
    if here > 0 and here.adjusted() == price.adjusted():
        assert price_allowed(here, decimals)
        finer = here + tick / 10
        assert not price_allowed(finer, decimals)


def test_decimals_of_a_lot() -> None:
    assert [sz_decimals(Decimal(lot)) for lot in ("0.00001", "0.0001", "1", "10")] == [5, 4, 0, 0]


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=10), st.integers(0, 2**40 - 1))
@settings(deadline=None)
def test_ids_there_and_back(prefix: str, number: int) -> None:
    cid = f"{prefix}-{number}"
    cloid = to_cloid(cid)
    assert len(cloid) == 34
    assert from_cloid(cloid, 1) == cid
    assert from_cloid(cloid.upper().replace("0X", "0x"), 1) == cid
    assert HyperliquidCodec([BTC], prefix).own_id(cid) == number


@pytest.mark.parametrize("cid", ["elevenchars-1", "RM-01", "RM-", "RM", "é-1", f"RM-{2**40}", "oid:5"])
def test_ids_that_do_not_fit(cid: str) -> None:
    with pytest.raises(ConfigError, match="does not fit"):
        to_cloid(cid)


@given(st.binary(min_size=16, max_size=16))
@settings(deadline=None)
def test_no_two_cloids_have_the_same_name(raw: bytes) -> None:
    cloid = f"0x{raw.hex()}"
    assert to_cloid(from_cloid(cloid, 1)) == cloid


def test_orders_without_a_cloid() -> None:
    assert from_cloid(None, 5) == from_cloid("", 5) == "oid:5"
    assert (venue_number("oid:5"), venue_number("RM-5"), venue_number("0x" + "0" * 32)) == (5, None, None)
    assert HyperliquidCodec([BTC], "oid:").own_id("oid:5") == -1
