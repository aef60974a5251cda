"""ApeX Omni's frames, recorded from the local exchange's face without sockets, and what the codec makes of them.

``python tests/contract/test_apex_codec.py`` (from the repository's root) records them again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mm.core.instrument import Instrument
from mm.core.types import ASK, BID, BUY, EXEC_NAMES, FUNDING, KIND_NAMES, MARK, SELL
from mm.sandbox.face import Session
from mm.sandbox.faces import apex_wire
from mm.sandbox.faces.apex import ApexFace, Refusal, local_keys
from mm.sandbox.faces.apex_auth import SOCKET_PATH, account_id, sign
from mm.sandbox.server import Server
from mm.sandbox.spec import parse_spec
from mm.venues import replies
from mm.venues.apex.codec import ApexCodec
from mm.venues.apex.shim import load
from mm.venues.base import Decoded
from mm.venues.replies import Reply

FRAMES = Path(__file__).parent / "frames" / "apex" / "face.json"
BTC = {
    "symbol": "BTC-USDT", "venue": "apex", "kind": "linear", "tick_size": "0.1", "lot_size": "0.001",
    "base": "BTC", "quote": "USDT",
}  # fmt: skip
SPEC = {
    "control_token": "control-token", "instruments": [BTC], "face": "apex",
    "accounts": [{"name": "a", "token": "token-of-a"}],
}  # fmt: skip
T0 = 1_795_192_200_000_000_000  # 2026-11-20 16:30 UTC
INSTRUMENTS = [Instrument.from_dict(BTC)]


class Ear(Session):
    """A session without a socket that keeps what it is told."""

    def __init__(self, log: list[tuple[str, str]], *, private: bool) -> None:
        super().__init__(None, None, private=private)  # type: ignore[arg-type]
        self._log = log

    def send(self, data: Any) -> None:
        self._log.append(("private" if self.private else "public", data))


class Desk:
    """A face with a clock of its own, orders signed by the real library."""

    def __init__(self) -> None:
        self.now = T0
        self.server = Server(parse_spec(json.dumps(SPEC).encode(), "spec"), clock=self.tick)
        assert isinstance(self.server.face, ApexFace)
        self.face = self.server.face
        self.account = self.server.exchange.accounts["token-of-a"]
        self.log: list[tuple[str, str]] = []
        self.ears = {private: Ear(self.log, private=private) for private in (False, True)}
        self.face.sessions.update(self.ears.values())
        self.forms: list[dict[str, Any]] = []
        self.library = self._library()

    def tick(self) -> int:
        self.now += 1_000_000
        return self.now

    def _library(self) -> Any:
        forms = self.forms

        class Signer(load("apexomni.http_private_sign").HttpPrivateSign):  # type: ignore[misc]
            def _submit_request(self, query: dict[str, Any], **_: Any) -> dict[str, Any]:
                forms.append({key: str(value) for key, value in query.items() if value is not None})
                return {}

        keys = local_keys("token-of-a")
        signer = Signer("http://nowhere", network_id=9, zk_seeds=keys["zk_seeds"], zk_l2Key="")
        signer.configV3 = apex_wire.symbols(self.server.exchange.instruments)
        signer.accountV3 = self.face._account(self.account)
        return signer

    def hear(self, message: dict[str, Any], *, private: bool = False) -> None:
        self.face._sockets.hear(self.ears[private], json.dumps(message))
        self.server.publish()

    def play(self, *rows: tuple[int, int, int]) -> None:
        self.server.exchange.background("BTC-USDT", rows, self.now)
        self.server.publish()

    def form(self, cid: str, side: str, price: str, size: str, **more: Any) -> dict[str, Any]:
        self.library.create_order_v3(
            symbol="BTC-USDT", side=side, type="LIMIT", price=price, size=size, clientId=cid,
            timestampSeconds=self.now // 10**9, **{"timeInForce": "POST_ONLY", **more},
        )  # fmt: skip
        return self.forms[-1]

    def place(self, cid: str, side: str, price: str, size: str, **more: Any) -> None:
        """As the venue does it: the answer comes before or after the pushes, here before."""
        form = self.form(cid, side, price, size, **more)
        at = len(self.log)
        order = self.face._place(self.account, form)
        reply = Reply(raymaker="ok", op="place", symbol="BTC-USDT", cid=cid, body=order)
        self.log.insert(at, ("private", replies.frame(reply).decode()))
        self.server.publish()

    def login(self) -> None:
        keys, stamp = local_keys("token-of-a"), str(self.now // 1_000_000)
        said = {
            "type": "login", "topics": ["ws_zk_accounts_v3"], "httpMethod": "GET", "requestPath": SOCKET_PATH,
            "apiKey": keys["api_key"], "passphrase": keys["passphrase"], "timestamp": stamp,
            "signature": sign(keys["api_secret"], stamp, "GET", SOCKET_PATH, {}),
        }  # fmt: skip
        self.hear({"op": "login", "args": [json.dumps(said)]}, private=True)


def record() -> list[tuple[str, str]]:
    """A session in which everything happens once."""
    desk = Desk()
    desk.play((BID, 999_900, 5_000), (BID, 999_800, 2_000), (ASK, 1_000_100, 5_000), (MARK, 1_000_000, 0))
    for name in ("orderBook200.H.BTCUSDT", "recentlyTrade.H.BTCUSDT", "instrumentInfo.H.BTCUSDT"):
        desk.hear({"op": "subscribe", "args": [name]})
    desk.hear({"op": "subscribe", "args": ["orderBook200.H.BTCUSDT"]})
    desk.hear({"op": "ping", "args": ["1"]})
    desk.login()
    desk.play((BUY, 1_000_100, 7), (MARK, 1_000_003, 0))
    desk.place("RM-1", "BUY", "99985.0", "0.010")
    desk.place("RM-2", "SELL", "99980.0", "0.010")  # would trade
    desk.play((BID, 999_900, 0), (SELL, 999_850, 4))
    desk.play((FUNDING, 1_000_003, 125_000))
    desk.play((SELL, 999_850, 6))
    desk.place("RM-3", "SELL", "100020.0", "0.020")
    desk.face._cancel(desk.account, desk.account.orders["RM-3"], "RM-3")
    desk.server.publish()
    desk.place("RM-4", "SELL", "99900.0", "0.010", timeInForce="IMMEDIATE_OR_CANCEL", reduceOnly=True)
    with pytest.raises(Refusal) as refused:
        desk.face._cancel(desk.account, desk.account.orders["RM-4"], "RM-4")
    no = Reply(raymaker="no", op="cancel", symbol="BTC-USDT", cid="RM-4", code="3", text=refused.value.key)
    desk.log.append(("private", replies.frame(no).decode()))
    lost = Reply(raymaker="unknown", op="place", symbol="BTC-USDT", cid="RM-5", text="timed out")
    desk.log.append(("private", replies.frame(lost).decode()))
    return desk.log


def plain(decoded: Decoded) -> dict[str, Any]:
    """What was decoded, as JSON."""
    out: dict[str, Any] = {}
    if len(decoded.events):
        numbers = ("tick", "lots", "flags")
        out["events"] = [[KIND_NAMES[e["kind"]], *(int(e[f]) for f in numbers)] for e in decoded.events]
    if len(decoded.execs):
        out["execs"] = [
            [EXEC_NAMES[e["kind"]], *(int(e[f]) for f in ("id", "side", "tick", "lots", "maker")), d.client_order_id,
             str(d.fee), d.reason]
            for e, d in zip(decoded.execs, decoded.exec_detail, strict=True)
        ]  # fmt: skip
    out |= {"news": [[n.kind, n.symbol, str(n.amount)] for n in decoded.news]} if decoded.news else {}
    out |= {"unknown": decoded.unknown} if decoded.unknown else {}
    out |= {"gap": decoded.gap} if decoded.gap else {}
    out |= {"error": decoded.error} if decoded.error else {}
    return out


def decode(codec: ApexCodec, way: str, raw: bytes) -> Decoded:
    return (codec.decode_public if way == "public" else codec.decode_private)(raw, T0)


def decode_all(frames: list[tuple[str, str]]) -> Iterator[dict[str, Any]]:
    codec = ApexCodec(INSTRUMENTS, "RM")
    for way, raw in frames:
        yield plain(decode(codec, way, raw.encode()))


def golden() -> list[dict[str, Any]]:
    return json.loads(FRAMES.read_text())


def frames() -> list[tuple[str, str]]:
    return [(one["way"], json.dumps(one["frame"])) for one in golden()]


def test_the_face_says_what_it_said() -> None:
    said = [{"way": way, "frame": json.loads(raw)} for way, raw in record()]
    for one in said:
        one["frame"].pop("conn_id", None)
    assert said == [{"way": one["way"], "frame": one["frame"]} for one in golden()]


def test_the_codec_makes_of_it_what_it_made() -> None:
    assert list(decode_all(frames())) == [one["decoded"] for one in golden()]


def push(topic: str, kind: str, data: Any) -> bytes:
    return json.dumps({"topic": topic, "type": kind, "data": data, "ts": T0 // 1000}).encode()


def book(u: int, kind: str = "delta", px: str = "100.0") -> bytes:
    return push("orderBook200.H.BTCUSDT", kind, {"s": "BTCUSDT", "b": [[px, "1"]], "a": [], "u": u})


def test_sequence() -> None:
    codec = ApexCodec(INSTRUMENTS)

    def n(raw: bytes) -> tuple[int, list[int]]:
        decoded = codec.decode_public(raw, 1)
        return len(decoded.events), decoded.gap

    assert n(book(7)) == (0, [])  # nothing before a snapshot
    assert n(book(10, "snapshot")) == (3, [])
    assert n(book(11)) == (1, [])
    assert n(book(11)) == (0, [])  # twice
    assert n(book(9)) == (0, [])  # late
    assert n(book(13)) == (0, [0])  # one is missing
    assert n(book(14)) == (0, [])  # withheld
    assert n(book(1, "snapshot")) == (3, [])  # the venue counts anew
    assert n(book(2)) == (1, [])
    assert n(book(3, px="100.05")) == (0, [0])  # off the grid: the book is not known any more
    codec.reset()
    assert n(book(4)) == (0, [])


def trade(trade_id: str, at_ms: int, side: str = "Buy") -> dict[str, Any]:
    return {"T": at_ms, "s": "BTCUSDT", "S": side, "v": "0.002", "p": "100.0", "i": trade_id}


def test_trades_are_new_ones_in_order() -> None:
    codec = ApexCodec(INSTRUMENTS)
    codec.decode_public(book(1, "snapshot"), 1)
    topic = "recentlyTrade.H.BTCUSDT"
    assert not len(codec.decode_public(push(topic, "snapshot", [trade("b", 2), trade("a", 1)]), 1).events)
    events = codec.decode_public(push(topic, "delta", [trade("d", 4, "Sell"), trade("c", 3), trade("b", 2)]), 1).events
    assert events["ts_exch_ns"].tolist() == [3_000_000, 4_000_000]
    assert [KIND_NAMES[k] for k in events["kind"]] == ["buy", "sell"]
    assert not len(codec.decode_public(push(topic, "delta", [trade("d", 4)]), 1).events)
    assert "side" in codec.decode_public(push(topic, "delta", [trade("e", 5, "Both")]), 1).error


def ticker(**fields: str) -> bytes:
    return push("instrumentInfo.H.BTCUSDT", "delta", fields)


def test_mark_and_settlement() -> None:
    codec = ApexCodec(INSTRUMENTS)

    def told(**fields: str) -> list[tuple[str, int, int]]:
        events = codec.decode_public(ticker(**fields), 1).events
        return [(KIND_NAMES[e["kind"]], int(e["tick"]), int(e["lots"])) for e in events]

    assert told(oraclePrice="100.04999", nextFundingTime="2026-11-20T08:00:00Z") == [("mark", 1000, 0)]
    assert told(oraclePrice="100.02", fundingRate="0.0000125") == []  # the same tick
    assert told(nextFundingTime="2026-11-20T09:00:00Z", fundingRate="0.5") == [("funding", 1000, 12_500)]
    assert told(nextFundingTime="2026-11-20T09:00:00Z") == []
    assert codec.decode_public(ticker(nextFundingTime="10:00"), 1).error
    assert codec.decode_public(ticker(oraclePrice="-1"), 1).error


def account(**contents: Any) -> bytes:
    said = {"topic": "ws_zk_accounts_v3", "type": "delta", "timestamp": 5, "contents": contents}
    return json.dumps(said).encode()


def order(status: str, **more: Any) -> dict[str, Any]:
    return {
        "id": "7", "symbol": "BTC-USDT", "side": "BUY", "price": "100.0", "size": "0.010", "status": status,
        "clientId": "RM-1", "timeInForce": "POST_ONLY", "cancelReason": "COULD_NOT_FILL", **more,
    }  # fmt: skip


FILL = {
    "id": "f1", "symbol": "BTC-USDT", "side": "BUY", "price": "100.0", "size": "0.004", "fee": "0.01",
    "liquidity": "MAKER", "orderId": "7", "createdAt": 3,
}  # fmt: skip


def reports(codec: ApexCodec, raw: bytes) -> list[tuple[str, int, int]]:
    return [(EXEC_NAMES[e["kind"]], int(e["id"]), int(e["lots"])) for e in codec.decode_private(raw, 9).execs]


def test_a_fill_before_anything_named_its_order() -> None:
    codec = ApexCodec(INSTRUMENTS, "RM")
    assert reports(codec, account(fills=[FILL])) == []
    assert reports(codec, account(orders=[order("OPEN")])) == [("ack", 1, 10), ("fill", 1, 4)]
    assert reports(codec, account(fills=[FILL])) == []  # the same again
    assert reports(codec, account(orders=[order("OPEN")])) == []
    assert reports(codec, account(orders=[order("CANCELED")])) == [("canceled", 1, 6)]
    assert reports(codec, account(orders=[order("CANCELED")])) == []
    assert reports(codec, account(orders=[order("OPEN")])) == []


def test_a_fill_before_the_answer_to_its_order() -> None:
    codec = ApexCodec(INSTRUMENTS, "RM")
    assert reports(codec, account(fills=[FILL])) == []
    reply = Reply(raymaker="ok", op="place", symbol="BTC-USDT", cid="RM-1", body=order("PENDING"))
    assert reports(codec, replies.frame(reply)) == [("fill", 1, 4)]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (["PENDING", "CANCELED"], "reject"),  # the engine refused it
        (["PENDING", "OPEN", "CANCELED"], "canceled"),
        (["CANCELED"], "canceled"),  # we did not see how it began
    ],
)
def test_refused_or_canceled(said: list[str], expected: str) -> None:
    codec = ApexCodec(INSTRUMENTS, "RM")
    told = [r for status in said for r in reports(codec, account(orders=[order(status)]))]
    assert told[-1] == (expected, 1, 10)


def test_ended_before_it_was_answered() -> None:
    codec = ApexCodec(INSTRUMENTS, "RM")
    assert reports(codec, account(orders=[order("PENDING")])) == []
    canceled = order("CANCELED", cancelReason="USER_CANCELED")
    assert reports(codec, account(orders=[canceled])) == [("canceled", 1, 10)]
    reply = Reply(raymaker="ok", op="place", symbol="BTC-USDT", cid="RM-1", body=order("OPEN"))
    assert reports(codec, replies.frame(reply)) == []


def test_foreign_orders_and_bad_ones() -> None:
    codec = ApexCodec(INSTRUMENTS, "RM")
    decoded = codec.decode_private(
        account(
            orders=[order("OPEN", id="8", clientId="", clientOrderId="hand-3"), order("OPEN", symbol="DOGE-USDT")],
            fills=[FILL | {"orderId": "8"}, FILL | {"id": "f2", "liquidity": "BOTH", "orderId": "8"}],
            contractWallets=[{"token": "USDT", "balance": "12.5"}],
        ),
        9,
    )
    assert decoded.execs["id"].tolist() == [-1, -1]
    assert [d.client_order_id for d in decoded.exec_detail] == ["hand-3", "hand-3"]
    assert [(n.kind, str(n.amount)) for n in decoded.news] == [("balance", "12.5")]
    assert "DOGE" in decoded.error
    assert "BOTH" in decoded.error


def test_a_snapshot_is_no_news() -> None:
    codec = ApexCodec(INSTRUMENTS, "RM")
    said = json.loads(account(orders=[order("OPEN")], fills=[FILL])) | {"type": "snapshot"}
    assert reports(codec, json.dumps(said).encode()) == []
    assert reports(codec, account(orders=[order("OPEN")])) == []
    assert reports(codec, account(fills=[FILL])) == [("fill", 1, 4)]


def test_refusals_of_the_socket() -> None:
    codec = ApexCodec(INSTRUMENTS)
    assert "authority" in codec.decode_private(b'{"success":false,"ret_msg":"login authority err"}', 1).error
    again = b'{"success":false,"ret_msg":"error:topic:already subscribed [x]"}'
    assert not codec.decode_public(again, 1).error
    assert not codec.decode_public(b'{"success":true,"ret_msg":"","request":{"op":"subscribe"}}', 1).error
    assert "unknown topic" in codec.decode_public(push("candle.1.BTCUSDT", "delta", []), 1).error


def test_the_same_account_number() -> None:
    assert account_id("token-of-a") == account_id("token-of-a") != account_id("token-of-b")


if __name__ == "__main__":
    recorded = record()
    told = list(decode_all(recorded))
    out = []
    for (way, raw), what in zip(recorded, told, strict=True):
        frame = json.loads(raw)
        frame.pop("conn_id", None)
        out.append({"way": way, "frame": frame, "decoded": what})
    FRAMES.write_text("[\n" + ",\n".join(json.dumps(one) for one in out) + "\n]\n")
