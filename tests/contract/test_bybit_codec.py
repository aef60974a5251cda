"""What the Bybit codec makes of recorded and documented frames, and of frames that are damaged, lost or repeated."""

import copy
import json

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm.core.types import ASK, BID, CLEAR_ASK, CLEAR_BID, LAST
from mm.venues import replies
from tests.contract.bybit_frames import RECV_NS, new_codec, plain, recorded

# As the venue's documentation shows them (websocket/public/orderbook, /trade, /ticker; websocket/private/order,
# /execution), cut to one instrument.
SNAPSHOT = (
    '{"topic":"orderbook.50.BTCUSDT","type":"snapshot","ts":1672304484978,"data":{"s":"BTCUSDT","b":[["16493.50",'
    '"0.006"],["16493.00","0.100"]],"a":[["16611.00","0.029"],["16612.00","0.213"]],"u":18521288,"seq":7961638724},'
    '"cts":1672304484976}'
)
DELTA = (
    '{"topic":"orderbook.50.BTCUSDT","type":"delta","ts":1687940967466,"data":{"s":"BTCUSDT","b":[["30247.20","30.028"]'
    ',["30245.40","0.224"],["30242.10","1.593"],["30239.10","0"]],"a":[["30248.70","0"],["30249.30","0.892"]],'
    '"u":18521289,"seq":66544703342},"cts":1687940967464}'
)
TRADE = (
    '{"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":1672304486868,"data":[{"T":1672304486865,"s":"BTCUSDT",'
    '"S":"Buy","v":"0.001","p":"16578.50","L":"PlusTick","i":"20f43950-d8dd-5b31-9112-a178eb6023af","BT":false,'
    '"seq":1783284617}]}'
)
TICKER = (
    '{"topic":"tickers.BTCUSDT","type":"snapshot","data":{"symbol":"BTCUSDT","tickDirection":"PlusTick","price24hPcnt":'
    '"0.017103","lastPrice":"17216.00","prevPrice24h":"16926.50","highPrice24h":"17281.50","lowPrice24h":"16915.00",'
    '"markPrice":"17217.33","indexPrice":"17227.36","openInterest":"68744.761","fundingRate":"-0.000212",'
    '"nextFundingTime":"1673280000000","bid1Price":"17215.50","bid1Size":"84.489","ask1Price":"17216.00","ask1Size":'
    '"83.020"},"cs":24987956059,"ts":1673272861686}'
)
ORDER = {
    "id": "5923240c6880ab-c59f-420b-9adb-3639adc9dd90", "topic": "order", "creationTime": 1672364262474,
    "data": [{
        "symbol": "BTCUSDT", "orderId": "5cf98598-39a7-459e-97bf-76ca765ee020", "side": "Sell", "orderType": "Limit",
        "cancelType": "UNKNOWN", "price": "72.5", "qty": "1", "orderIv": "", "timeInForce": "PostOnly",
        "orderStatus": "New", "orderLinkId": "t1-7", "lastPriceOnCreated": "", "reduceOnly": False, "leavesQty": "",
        "leavesValue": "", "cumExecQty": "0", "cumExecValue": "0", "avgPrice": "", "blockTradeId": "",
        "positionIdx": 0, "cumExecFee": "0", "createdTime": "1672364262444", "updatedTime": "1672364262457",
        "rejectReason": "EC_NoError", "stopOrderType": "", "tpslMode": "", "triggerPrice": "", "category": "linear",
    }],
}  # fmt: skip
EXECUTION = {
    "id": "592324803b2785-26fa-4214-9963-bdd4727f07be", "topic": "execution", "creationTime": 1672364174455,
    "data": [{
        "category": "linear", "symbol": "BTCUSDT", "execFee": "0.005061", "execId": "7e2ae69c-4edf-5800-a352-893d52b4",
        "execPrice": "0.3", "execQty": "25", "execType": "Trade", "execValue": "8.435", "isMaker": False,
        "feeRate": "0.0006", "tradeIv": "", "markIv": "", "blockTradeId": "", "markPrice": "0.3391", "indexPrice": "",
        "underlyingPrice": "", "leavesQty": "0", "orderId": "f6e324ff-99c2-4e89-9739-3086e47f9381",
        "orderLinkId": "t1-8", "orderPrice": "0.3", "orderQty": "25", "orderType": "Limit", "stopOrderType": "UNKNOWN",
        "side": "Sell", "execTime": "1672364174443", "isLeverage": "0", "closedSize": "", "seq": 4688002127,
    }],
}  # fmt: skip


def frame(base, **changes):
    """A push with other values in its one row."""
    out = copy.deepcopy(base)
    out["data"][0].update(changes)
    return json.dumps(out).encode()


def book(u, kind="delta", bids=(), asks=()):
    levels = {"b": [list(x) for x in bids], "a": [list(x) for x in asks]}
    push = {"topic": "orderbook.50.BTCUSDT", "type": kind, "ts": 1, "cts": 1}
    return json.dumps({**push, "data": {"s": "BTCUSDT", **levels, "u": u, "seq": 1}}).encode()


def public(codec, raw):
    return plain(codec.decode_public(raw if isinstance(raw, bytes) else raw.encode(), RECV_NS))


def private(codec, raw):
    return plain(codec.decode_private(raw, RECV_NS))


# --- recorded and documented frames ----------------------------------------------------------------------------------
def test_recorded_frames_mean_what_they_meant():
    codec = new_codec()
    kinds = set()
    for way, raw, expected in recorded():
        decoded = (codec.decode_public if way == "public" else codec.decode_private)(raw, RECV_NS)
        assert plain(decoded) == expected, raw[:200]
        assert all(int(x["ts_recv_ns"]) == RECV_NS for x in (*decoded.events, *decoded.execs))
        kinds |= set(expected) | {row[0] for row in expected.get("execs", []) + expected.get("news", [])}
    assert {"ack", "fill", "canceled", "reject", "cancel_reject", "funding", "liquidation", "unknown"} <= kinds


def test_documented_market_data():
    codec = new_codec()
    assert public(codec, TRADE) == {}  # before the book
    assert public(codec, SNAPSHOT) == {
        "events": [["clear_bid", 0, 0, 2], ["clear_ask", 2147483647, 0, 2], ["bid", 164935, 6, 2],
                   ["bid", 164930, 100, 2], ["ask", 166110, 29, 2], ["ask", 166120, 213, 3]],
        "ts_exch_ns": [1672304484976000000],
    }  # fmt: skip
    assert public(codec, DELTA)["events"][3:5] == [["bid", 302391, 0, 0], ["ask", 302487, 0, 0]]
    assert public(codec, TRADE)["events"] == [["buy", 165785, 1, 1]]
    assert public(codec, TRADE) == {}  # the same again
    assert public(codec, TRADE.replace("20f4", "20f5"))["events"] == [["buy", 165785, 1, 1]]
    assert public(codec, TICKER)["events"] == [["mark", 172173, 0, 1]]  # 17217.33 is off the grid


def test_documented_account_data():
    codec = new_codec()
    assert private(codec, frame(ORDER))["execs"][0][:5] == ["ack", 7, -1, 1000, 725]
    ended = frame(ORDER, orderStatus="Cancelled", cumExecQty="0.4", cancelType="CancelByUser", leavesQty="0")
    assert private(codec, ended)["execs"][0][:5] == ["canceled", 7, -1, 600, 725]
    fill = private(codec, frame(EXECUTION))["execs"][0]
    assert fill == ["fill", 8, -1, 25_000, 3, 0, "t1-8", "f6e324ff-99c2-4e89-9739-3086e47f9381",
                    "7e2ae69c-4edf-5800-a352-893d52b4", "0.005061", ""]  # fmt: skip


@pytest.mark.parametrize("status", ["Cancelled", "Rejected"])
def test_a_crossing_post_only_order_is_refused_however_the_venue_calls_it(status):
    raw = frame(ORDER, orderStatus=status, rejectReason="EC_PostOnlyWillTakeLiquidity")
    assert private(new_codec(), raw)["execs"][0][0] == "reject"
    codec = new_codec()
    codec.decode_private(frame(ORDER), RECV_NS)  # it rested, and an amendment made it cross
    assert private(codec, raw)["execs"][0][0] == "canceled"


def test_an_amendment_is_told_from_a_fill():
    codec = new_codec()
    codec.decode_private(frame(ORDER), RECV_NS)
    part = {"orderStatus": "PartiallyFilled", "cumExecQty": "0.2"}
    assert private(codec, frame(ORDER, **part)) == {}
    assert private(codec, frame(ORDER, **part, price="72.4"))["execs"][0][:5] == ["ack", 7, -1, 800, 724]
    assert private(codec, frame(ORDER, **part, price="72.4")) == {}
    assert private(codec, frame(ORDER, orderStatus="Filled", cumExecQty="1")) == {}


def test_funding_is_seen_when_the_next_time_moves_on():
    codec = new_codec()
    codec.decode_public(TICKER.encode(), RECV_NS)
    delta = {"topic": "tickers.BTCUSDT", "type": "delta", "ts": 5, "data": {"symbol": "BTCUSDT"}}
    rate = {**delta, "data": {"symbol": "BTCUSDT", "fundingRate": "0.0003"}}
    assert public(codec, json.dumps(rate)) == {}
    moved = {**delta, "data": {"symbol": "BTCUSDT", "fundingRate": "0.0001", "nextFundingTime": "1673308800000"}}
    assert public(codec, json.dumps(moved))["events"] == [["funding", 172173, 300_000, 1]]
    assert public(codec, json.dumps(moved)) == {}


def test_the_executions_that_are_no_trades_of_ours():
    codec = new_codec()
    paid = private(codec, frame(EXECUTION, execType="Funding", execFee="1.25", orderLinkId=""))
    assert paid["news"][0][:3] == ["funding", "BTCUSDT", "-1.25"]
    assert "execs" not in paid
    bust = private(codec, frame(EXECUTION, execType="BustTrade", orderLinkId=""))
    assert bust["news"] == [["liquidation", "BTCUSDT", "-25.000", "BustTrade"]]
    assert bust["execs"][0][:3] == ["fill", -1, -1]
    for other in ({"execType": "Settle"}, {"category": "spot"}, {"symbol": "XRPUSDT"}):
        assert private(codec, frame(EXECUTION, **other)) == {}
    assert private(codec, frame(EXECUTION, orderLinkId="other-8"))["execs"][0][1] == -1


def test_answers_to_our_requests():
    codec = new_codec()

    def answered(**fields):
        return private(codec, replies.frame(replies.Reply(**{"symbol": "BTCUSDT", "cid": "t1-9", **fields})))

    assert answered(raymaker="ok", op="place") == {}
    assert answered(raymaker="unknown", op="place")["unknown"] == ["t1-9"]
    assert answered(raymaker="no", op="place", code="110007", text="x")["execs"][0][:2] == ["reject", 9]
    assert answered(raymaker="no", op="reduce", side=-1)["execs"][0][:3] == ["reject", 9, -1]
    for op in ("cancel", "amend"):
        assert answered(raymaker="no", op=op)["execs"][0][:2] == ["cancel_reject", 9]
    assert private(codec, b'{"raymaker":"maybe"}')["error"]


def test_the_venues_complaints_are_errors():
    raw = b'{"success":false,"ret_msg":"error:handler not found","conn_id":"x","req_id":"1","op":"subscribe"}'
    assert "handler not found" in public(new_codec(), raw)["error"]
    assert "10004" in private(new_codec(), b'{"retCode":10004,"retMsg":"Sign error","op":"auth","connId":""}')["error"]


# --- the sequence ----------------------------------------------------------------------------------------------------
def test_a_hole_silences_the_book_until_the_next_snapshot():
    codec = new_codec()
    bid = (("100.0", "1"),)
    assert public(codec, book(7, bids=bid)) == {}
    assert public(codec, book(8, "snapshot", bids=bid))["events"]
    assert public(codec, book(9, bids=bid))["events"] == [["bid", 1000, 1000, 1]]
    assert public(codec, book(9, bids=bid)) == {}  # again
    assert public(codec, book(8, bids=bid)) == {}  # late
    assert public(codec, book(11, bids=bid)) == {"gap": [0]}
    assert public(codec, book(10, bids=bid)) == {}
    assert public(codec, book(12, bids=bid)) == {}  # asked for once
    assert public(codec, TRADE) == {}
    assert public(codec, book(1, "snapshot", bids=bid))["events"]  # the venue's service was restarted
    assert public(codec, book(2, bids=bid))["events"]
    codec.reset()
    assert public(codec, book(3, bids=bid)) == {}


def test_a_level_that_cannot_be_read_is_a_gap():
    codec = new_codec()
    public(codec, book(8, "snapshot", bids=(("100.0", "1"),)))
    for level in (("100.05", "1"), ("x", "1"), ("100.0", "-1"), ("1e99", "1"), ("100.0", "NaN")):
        said = public(codec, book(9, bids=(level,)))
        assert said["gap"] == [0]
        assert said["error"]
        public(codec, book(8, "snapshot", bids=(("100.0", "1"),)))


def test_deltas_add_up_to_the_book():
    rng = np.random.default_rng(3)
    codec = new_codec()
    truth: dict[tuple[int, int], int] = {}
    ours: dict[tuple[int, int], int] = {}
    for u in range(1, 1_500):
        fresh = u % 400 == 1
        if fresh:
            truth.clear()
        changes: dict[int, list[tuple[str, str]]] = {BID: [], ASK: []}
        for _ in range(rng.integers(1, 5)):
            side, tick, lots = int(rng.integers(2)), int(rng.integers(900, 1100)), int(rng.integers(0, 4))
            truth[side, tick] = lots
            changes[side].append((f"{tick / 10:.1f}", f"{lots / 1000:.3f}"))
        raw = book(u, "snapshot" if fresh else "delta", changes[BID], changes[ASK])
        events = codec.decode_public(raw, RECV_NS).events
        assert [bool(int(e["flags"]) & LAST) for e in events] == [False] * (len(events) - 1) + [True]
        for e in events:
            kind, tick = int(e["kind"]), int(e["tick"])
            if kind in (CLEAR_BID, CLEAR_ASK):
                side = BID if kind == CLEAR_BID else ASK
                ours = {key: v for key, v in ours.items() if key[0] != side}
            else:
                ours[kind, tick] = int(e["lots"])
    assert {k: v for k, v in ours.items() if v} == {k: v for k, v in truth.items() if v}


# --- anything at all -------------------------------------------------------------------------------------------------
SEEDS = [raw for _, raw, _ in recorded()] + [t.encode() for t in (SNAPSHOT, DELTA, TRADE, TICKER)]
SEEDS += [frame(ORDER), frame(EXECUTION)]
ODD = st.one_of(
    st.none(), st.booleans(), st.integers(-(1 << 70), 1 << 70), st.floats(), st.text(max_size=5), st.just([]),
    st.just({}), st.sampled_from(["", "0", "-1", "1e400", "NaN", "9" * 50, "0.00000000000000000001", "Buy", "New"]),
)  # fmt: skip


def survives(raw):
    codec = new_codec()
    codec.decode_public(SNAPSHOT.encode(), RECV_NS)
    for decode in (codec.decode_public, codec.decode_private):
        decoded = decode(raw, RECV_NS)
        assert len(decoded.execs) == len(decoded.exec_detail)


@given(st.binary(max_size=300))
@settings(max_examples=300, deadline=None)
def test_no_bytes_break_it(raw):
    survives(raw)


@given(st.sampled_from(SEEDS), st.data())
@settings(max_examples=400, deadline=None)
def test_no_damaged_frame_breaks_it(raw, data):
    at = data.draw(st.integers(0, len(raw) - 1))
    kind = data.draw(st.sampled_from(["cut", "byte", "join"]))
    if kind == "cut":
        survives(raw[:at])
    elif kind == "byte":
        survives(raw[:at] + bytes([data.draw(st.integers(0, 255))]) + raw[at + 1 :])
    else:
        survives(raw[:at] + data.draw(st.sampled_from(SEEDS)))


@given(st.sampled_from(SEEDS), st.data())
@settings(max_examples=400, deadline=None)
def test_no_odd_value_in_a_frame_breaks_it(raw, data):
    tree = msgspec.json.decode(raw)
    node = tree
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        if not keys:
            break
        key = data.draw(st.sampled_from(keys))
        if isinstance(node[key], (dict, list)) and node[key] and data.draw(st.booleans()):
            node = node[key]
            continue
        node[key] = data.draw(ODD)
        break
    survives(json.dumps(tree).encode())


def test_an_execution_that_cannot_be_read_hides_no_other():
    push = copy.deepcopy(EXECUTION)
    good = push["data"][0]
    push["data"] = [good | {"execId": "a", "execQty": "much"}, good | {"execId": "b"}]
    decoded = new_codec().decode_private(json.dumps(push).encode(), RECV_NS)
    assert "much" in decoded.error
    assert [d.trade_id for d in decoded.exec_detail] == ["b"]
