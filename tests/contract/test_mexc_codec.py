"""What the MEXC codec makes of recorded frames, of frames that are damaged, lost, repeated or out of order."""

from __future__ import annotations

import functools
from decimal import Decimal
from typing import Any

import pytest
from ccxt.protobuf.mexc.PushDataV3ApiWrapper_pb2 import PushDataV3ApiWrapper
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
    LAST,
    REJECT,
    SNAPSHOT,
)
from mm.sandbox.faces.mexc_wire import depth_push
from mm.venues.base import AccountNews, Decoded
from mm.venues.mexc.book import BookVersions, Push, Verdict
from mm.venues.mexc.codec import POST_ONLY, MexcCodec, quote_fee, snapshot_frame
from tests.contract.mexc_frames import NOW_NS, PRIVATE, PUBLIC, read
from tests.contract.mexc_local import BTC, ETH, MID

RECV = 5
TOPIC = "spot@public.aggre.depth.v3.api.pb@10ms@BTCUSDT"
INSTRUMENTS = [Instrument.from_dict(BTC), Instrument.from_dict(ETH)]


def codec() -> MexcCodec:
    return MexcCodec(INSTRUMENTS, "RM")


def levels(decoded: Decoded) -> list[tuple[int, ...]]:
    """(kind, tick, lots, flags) of the events."""
    return [(int(e["kind"]), int(e["tick"]), int(e["lots"]), int(e["flags"])) for e in decoded.events]


# --- recorded frames -------------------------------------------------------------------------------------------------
def test_pushes_wait_for_the_snapshot_and_go_on_from_it() -> None:
    c = codec()
    for name in ("note_subscribed", "push_1", "trades"):
        quiet = c.decode_public(read(name), RECV)
        assert (len(quiet.events), quiet.gap, quiet.error) == (0, [], "")
    book = c.decode_public(read("snapshot"), RECV)
    assert levels(book) == [
        (CLEAR_BID, 0, 0, SNAPSHOT), (CLEAR_ASK, (1 << 31) - 1, 0, SNAPSHOT), (BID, MID - 50, 1_000_000, SNAPSHOT),
        (BID, MID - 100, 5_000_000, SNAPSHOT), (ASK, MID + 100, 5_000_000, SNAPSHOT),
        (ASK, MID + 200, 5_000_000, SNAPSHOT | LAST),
    ]  # fmt: skip
    assert set(book.events["ts_exch_ns"].tolist()) == {NOW_NS}
    assert set(book.events["ts_recv_ns"].tolist()) == {RECV}
    assert levels(c.decode_public(read("push_2"), RECV)) == [(BID, MID - 60, 2_000_000, 0), (BID, MID - 50, 0, LAST)]
    assert levels(c.decode_public(read("trades"), RECV)) == [(BUY, MID + 100, 250_000, LAST)]
    assert levels(c.decode_public(read("trades"), RECV)) == []  # the same push again
    assert levels(c.decode_public(read("push_3"), RECV)) == [(ASK, MID + 100, 4_750_000, LAST)]
    assert levels(c.decode_public(read("push_3"), RECV)) == []  # known already


def test_a_lost_push_is_a_gap_until_the_next_snapshot() -> None:
    c = codec()
    c.decode_public(read("snapshot"), RECV)
    assert c.decode_public(read("push_3"), RECV).gap == [0]
    assert c.decode_public(read("trades"), RECV).events.size == 0
    assert c.decode_public(read("snapshot"), RECV).gap == [0]  # older than what was lost: it does not help
    c.decode_public(read("push_2"), RECV)  # late
    assert levels(c.decode_public(read("snapshot"), RECV))[-3:] == [
        (BID, MID - 60, 2_000_000, SNAPSHOT), (BID, MID - 50, 0, SNAPSHOT),
        (ASK, MID + 100, 4_750_000, SNAPSHOT | LAST),
    ]  # fmt: skip
    c.reset()
    assert c.decode_public(read("push_2"), RECV).events.size == 0


def test_a_snapshot_that_cannot_be_read_is_asked_for_again() -> None:
    c = codec()
    broken = c.decode_public(snapshot_frame("ETHUSDT", b'{"code":429,"msg":"Too Many Requests"}'), RECV)
    assert broken.gap == [1]
    assert "undecodable snapshot" in broken.error
    off_tick = b'{"lastUpdateId":7,"bids":[["100.001","1"]],"asks":[]}'
    assert c.decode_public(snapshot_frame("BTCUSDT", off_tick), RECV).gap == [0]


def test_the_life_of_orders() -> None:
    c = codec()
    found = {name: c.decode_private(read(name), RECV) for name in PRIVATE}

    def row(name: str) -> tuple[int, ...]:
        [e], [d] = found[name].execs, found[name].exec_detail
        assert d.client_order_id == f"RM-{e['id']}"
        return tuple(int(e[k]) for k in ("kind", "id", "lots", "tick", "side", "maker"))

    assert row("order_new") == (ACK, 7, 10_000, MID + 50, -1, 0)
    assert row("deal_1") == (FILL, 7, 4_000, MID + 50, -1, 1)
    assert row("deal_2") == (FILL, 7, 6_000, MID + 50, -1, 1)
    assert row("order_new_2") == (ACK, 8, 20_000, MID + 60, -1, 0)
    assert row("order_canceled") == (CANCELED, 8, 20_000, MID + 60, -1, 0)
    assert row("order_post_only") == (REJECT, 9, 0, MID - 100, -1, 0)
    assert row("reply_refused") == (REJECT, 10, 0, 0, -1, 0)
    assert row("reply_cancel_refused") == (CANCEL_REJECT, 10, 0, 0, -1, 0)
    assert found["order_post_only"].exec_detail[0].reason == POST_ONLY
    assert found["reply_refused"].exec_detail[0].reason == "30005: Oversold"
    for name in ("order_partly", "order_filled", "reply_taken", "reply_unknown", "balance_base"):
        assert found[name].execs.size == 0
    assert found["reply_unknown"].unknown == ["RM-10"]
    assert found["balance_base"].news == [AccountNews("position", "BTCUSDT", Decimal(1), NOW_NS)]
    detail = found["deal_1"].exec_detail[0]
    assert detail.venue_order_id == found["order_new"].exec_detail[0].venue_order_id
    assert detail.trade_id != found["deal_2"].exec_detail[0].trade_id
    again = [c.decode_private(read(name), RECV) for name in PRIVATE if name.startswith("order_")]
    assert not any(len(d.execs) for d in again)  # each state is told once
    assert [f.error for f in found.values() if f.error] == ["place RM-10: outcome unknown:  no answer"]


def edited(name: str, **fields: Any) -> bytes:
    """A recorded private push with other fields."""
    push = PushDataV3ApiWrapper.FromString(read(name))
    body = getattr(push, push.WhichOneof("body"))
    for field, value in fields.items():
        setattr(body, field, value)
    return bytes(push.SerializeToString())


def test_a_deal_without_a_client_id_is_known_by_its_order() -> None:
    bare = edited("deal_1", clientOrderId="")
    c = codec()
    assert c.decode_private(bare, RECV).execs["id"].tolist() == [-1]
    c.decode_private(read("order_new"), RECV)
    assert c.decode_private(bare, RECV).execs["id"].tolist() == [7]
    taken = edited("deal_1", clientOrderId="", orderId="C02__000000000000000099")
    c.decode_private(read("reply_taken"), RECV)
    assert c.decode_private(taken, RECV).execs["id"].tolist() == [10]


def test_a_post_only_order_of_an_earlier_connection_was_canceled() -> None:
    """It may have rested unheard."""
    earlier = edited("order_post_only", createTime=NOW_NS // 1_000_000 - 5_000)
    c = codec()
    c.decode_private(read("note_subscribed"), NOW_NS - 10**9)
    assert c.decode_private(earlier, NOW_NS).execs["kind"].tolist() == [CANCELED]
    c = codec()
    c.decode_private(read("note_subscribed"), NOW_NS - 10**10)
    assert c.decode_private(earlier, NOW_NS).execs["kind"].tolist() == [REJECT]


def test_fees_in_another_coin() -> None:
    c = codec()
    base = c.decode_private(edited("deal_1", feeAmount="0.000001", feeCurrency="BTC"), RECV)
    assert (base.exec_detail[0].fee, base.error) == (Decimal("0.1000005"), "")
    other = c.decode_private(edited("deal_2", feeAmount="0.5", feeCurrency="MX"), RECV)
    assert (other.exec_detail[0].fee, len(other.execs)) == (0, 1)
    assert "0.5 MX" in other.error
    assert quote_fee(INSTRUMENTS[0], Decimal("-0.2"), "USDT", Decimal(1)) == (Decimal("-0.2"), "")


def test_finer_public_sizes_are_rounded_and_finer_prices_refused() -> None:
    c = codec()
    c.decode_public(snapshot_frame("BTCUSDT", b'{"lastUpdateId":7,"bids":[],"asks":[]}'), RECV)
    fine = depth_push(TOPIC, "BTCUSDT", (8, 8), [("99000", "1.86837271"), ("98000", "0.00000001")], [], NOW_NS)
    assert [row[2] for row in levels(c.decode_public(fine, RECV))] == [1_868_372, 1]
    off_tick = c.decode_public(depth_push(TOPIC, "BTCUSDT", (9, 9), [("99000.001", "1")], [], NOW_NS), RECV)
    assert (off_tick.gap, off_tick.events.size) == ([0], 0)


# --- damaged frames --------------------------------------------------------------------------------------------------
def digest(frame: bytes, *, private: bool) -> None:
    """A damaged frame, between good ones: an error or nothing, never an exception."""
    c = codec()
    c.decode_public(read("snapshot"), RECV)
    for decode in (c.decode_private, c.decode_public) if private else (c.decode_public, c.decode_private):
        out = decode(frame, RECV)
        assert len(out.execs) == len(out.exec_detail)
        assert all(0 <= i < len(INSTRUMENTS) for i in out.gap)


@given(st.binary(max_size=300))
@settings(max_examples=150, deadline=None)
def test_any_bytes(raw: bytes) -> None:
    digest(raw, private=False)
    digest(b"\x0a" + raw, private=True)
    digest(b'{"snapshot":' + raw, private=False)
    digest(b'{"raymaker":' + raw, private=True)


@functools.cache
def recorded() -> tuple[bytes, ...]:
    return tuple(read(name) for name in PUBLIC + PRIVATE)


@given(st.data())
@settings(max_examples=250, deadline=None)
def test_damaged_golden_frames(data: st.DataObject) -> None:
    raw = bytearray(data.draw(st.sampled_from(recorded())))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at] = data.draw(st.integers(0, 255))
    digest(bytes(raw[: data.draw(st.integers(1, len(raw)))]), private=data.draw(st.booleans()))
    digest(bytes(raw), private=data.draw(st.booleans()))


NUMBERS = st.one_of(st.sampled_from(["", "0", "-1", "1e400", "NaN", "0.000001", "9" * 30]), st.text(max_size=12))


@given(
    st.sampled_from(["order_new", "deal_1", "balance_base", "order_canceled"]), NUMBERS, NUMBERS,
    st.integers(-(1 << 31), (1 << 31) - 1), st.integers(-(1 << 63), (1 << 63) - 1),
)  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_strange_values(name: str, first: str, second: str, small: int, large: int) -> None:
    push = PushDataV3ApiWrapper.FromString(read(name))
    push.sendTime = large
    body = getattr(push, push.WhichOneof("body"))
    for field, value in {
        "price": first, "quantity": second, "cumulativeQuantity": first, "feeAmount": second, "balanceAmount": first,
        "frozenAmount": second, "tradeType": small, "status": small, "time": large,
    }.items():  # fmt: skip
        if field in body.DESCRIPTOR.fields_by_name:
            setattr(body, field, value)
    digest(push.SerializeToString(), private=True)


# --- the book under every mishap -------------------------------------------------------------------------------------
@given(
    st.lists(st.tuples(st.sampled_from(["push", "lose", "twice", "swap", "snapshot", "old"]), st.integers(0, 3))),
    st.integers(1, 3),
)
@settings(max_examples=150, deadline=None)
def test_a_known_book_is_the_venues_book(steps: list[tuple[str, int]], span: int) -> None:
    """Whatever is lost, repeated, late or old: when the codec shows a book, it is the venue's at that version."""
    c = codec()
    truth: dict[int, dict[int, int]] = {0: {}}  # version -> ticks -> lots
    ours: dict[int, int] = {}
    version, held = 0, None

    def deliver(raw: bytes) -> None:
        out = c.decode_public(raw, RECV)
        assert out.error == ""
        for e in out.events:
            if e["kind"] in (CLEAR_BID, CLEAR_ASK):
                ours.clear()
            elif e["lots"]:
                ours[int(e["tick"])] = int(e["lots"])
            else:
                ours.pop(int(e["tick"]), None)

    def snapshot(at: int) -> bytes:
        rows = ",".join(f'["{MID + t}","{q / 10**6:f}"]' for t, q in truth[at].items())
        return snapshot_frame("BTCUSDT", f'{{"lastUpdateId":{at},"bids":[{rows}],"asks":[]}}'.encode())

    for what, n in [*steps, ("push", 1), ("snapshot", 0), ("push", 2)]:
        if what in ("snapshot", "old"):
            deliver(snapshot(version if what == "snapshot" else max(0, version - n)))
        else:
            now = {**truth[version], n: version % 3 * (1 + n)}
            truth[version + span] = now = {t: q for t, q in now.items() if q}
            change = f"{version % 3 * (1 + n) / 10**6:f}"
            raw = depth_push(TOPIC, "BTCUSDT", (version + 1, version + span), [(f"{MID + n}", change)], [], NOW_NS)
            for v in range(version + 1, version + span + 1):
                truth[v] = now
            version += span
            if what == "swap" and held is None:
                held = raw
                continue
            if what != "lose":
                deliver(raw)
            if what == "twice":
                deliver(raw)
            if held is not None:
                deliver(held)
                held = None
        known = c._books[0].version
        if known is not None:
            assert ours == {(MID + t) * 100: q for t, q in truth[known].items()}
    assert c._books[0].version == version  # a snapshot and an unbroken stream: it stands at the end


def test_versions_alone() -> None:
    book = BookVersions()
    assert book.push(Push(5, 6, 0, [], [])) is Verdict.IGNORE
    assert book.snapshot(3) is None  # 4 is missing
    assert book.snapshot(4) == [Push(5, 6, 0, [], [])]
    assert book.push(Push(7, 9, 0, [], [])) is Verdict.APPLY
    assert book.push(Push(8, 9, 0, [], [])) is Verdict.IGNORE
    assert book.push(Push(9, 10, 0, [], [])) is Verdict.APPLY  # an overlap says nothing wrong
    assert book.push(Push(12, 12, 0, [], [])) is Verdict.GAP
    assert book.version is None


@pytest.mark.parametrize("cid", ["", "RM", "RM-", "RM-x", "XX-7", "RM-" + "9" * 19])
def test_foreign_ids(cid: str) -> None:
    assert codec().own_id(cid) == -1
