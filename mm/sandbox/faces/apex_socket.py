"""The WebSockets of ApeX Omni over the exchange."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from mm.sandbox.account import Account
from mm.sandbox.exchange import Exchange
from mm.sandbox.face import Face, Frame, Session, SessionEnd
from mm.sandbox.faces import apex_auth
from mm.sandbox.faces import apex_wire as say
from mm.sandbox.faces.apex_book import Window
from mm.sandbox.faces.apex_history import History
from mm.venues.apex.wire import ACCOUNT_TOPIC, TICKER_TOPIC, TRADE_TOPIC, topic_symbol
from mm.venues.native import wire

_DEPTHS: Final = (25, 200)
_KEPT_TRADES: Final = 50  # what a new subscription is told
PING_NS: Final = 15_000_000_000  # between two pings of ours
DEAD_NS: Final = 150_000_000_000  # a client that did not ping or pong for so long is disconnected
FUNDING_NS: Final = 3_600_000_000_000


class _Request(msgspec.Struct):
    """A client's message."""

    op: str
    args: list[str] = []


class _Login(msgspec.Struct, rename="camel"):
    """The argument of a log-in, itself JSON."""

    type: str
    topics: list[str]
    http_method: str
    request_path: str
    api_key: str
    passphrase: str
    timestamp: int | str
    signature: str


_decode: Final = msgspec.json.Decoder(_Request).decode
_decode_login: Final = msgspec.json.Decoder(_Login).decode


class MarketTopics:
    """Public topics of one market: its windows, latest trades and ticker."""

    def __init__(self, exchange: Exchange, symbol: str, now_ns: int) -> None:
        self.symbol = symbol
        self.name = topic_symbol(symbol)
        self.topics = {TRADE_TOPIC + self.name, TICKER_TOPIC + self.name}
        self.topics |= {f"orderBook{depth}.H.{self.name}" for depth in _DEPTHS}
        self.next_funding_ns = (now_ns // FUNDING_NS + 1) * FUNDING_NS
        self.rate = "0.0000125"
        self._exchange = exchange
        self._windows: dict[str, Window] = {}
        self.latest: deque[dict[str, Any]] = deque(maxlen=_KEPT_TRADES)  # the newest first
        self.history = History(self.name)

    def snapshot(self, topic: str, now_ns: int) -> str:
        """What a new subscription gets."""
        if topic.startswith(TRADE_TOPIC):
            return self._push(topic, "snapshot", list(self.latest), now_ns)
        if topic.startswith(TICKER_TOPIC):
            return self._push(topic, "snapshot", self.ticker(now_ns), now_ns)
        window = self._windows.get(topic)
        if window is None:
            market = self._exchange.market(self.symbol)
            book = market.snapshot(now_ns)
            depth = int(topic.removeprefix("orderBook").partition(".")[0])
            window = self._windows[topic] = Window(market.units, depth, book.bids, book.asks)
        bids, asks = window.levels()
        return self._push(topic, "snapshot", {"s": self.name, "b": bids, "a": asks, "u": window.u}, now_ns)

    def news(self, message: wire.Message, now_ns: int) -> list[tuple[str, str]]:
        """(topic, frame) of what the exchange says publicly."""
        match message:
            case wire.Depth():
                return self._depth(message, now_ns)
            case wire.Trades():
                told = say.trades(message.trades, self.symbol, message.ts // 1_000_000)
                self.latest.extendleft(reversed(told))
                self.history.add_trades(message.trades, message.ts // 1_000_000)
                topic = TRADE_TOPIC + self.name
                return [(topic, self._push(topic, "delta", told, now_ns))]
            case wire.Mark():
                return [self._changed(now_ns, **self._prices(message.px))]
            case wire.Funding():
                self.history.funding.append(message)
                self.rate = message.rate
                self.next_funding_ns = max(self.next_funding_ns, now_ns // FUNDING_NS * FUNDING_NS) + FUNDING_NS
                return [
                    self._changed(now_ns, **self._prices(message.mark), fundingRate=message.rate),
                    self._changed(now_ns, nextFundingTime=say.iso(self.next_funding_ns)),
                ]
            case _:
                return []

    def ticker(self, now_ns: int) -> dict[str, Any]:
        """The whole ticker."""
        market = self._exchange.market(self.symbol)
        mark = market.units.price(market.mark) if market.mark else ""
        last = self.latest[0]["p"] if self.latest else mark
        return {
            "symbol": self.name,
            "lastPrice": last,
            **self._prices(mark),
            "fundingRate": self.rate,
            "predictedFundingRate": self.rate,
            "nextFundingTime": say.iso(self.next_funding_ns),
            "openInterest": "0",
            **self.history.figures(now_ns // 1_000_000, last),
        }

    @staticmethod
    def _prices(mark: str) -> dict[str, str]:
        return {"oraclePrice": mark, "indexPrice": mark, "markPrice": mark}

    def _changed(self, now_ns: int, **fields: str) -> tuple[str, str]:
        topic = TICKER_TOPIC + self.name
        return topic, self._push(topic, "delta", {"symbol": self.name, **fields}, now_ns)

    def _depth(self, message: wire.Depth, now_ns: int) -> list[tuple[str, str]]:
        out = []
        for topic, window in self._windows.items():
            changed = window.change(message.bids, message.asks)
            if changed is not None:
                data = {"s": self.name, "b": changed[0], "a": changed[1], "u": window.u}
                out.append((topic, self._push(topic, "delta", data, now_ns)))
        return out

    @staticmethod
    def _push(topic: str, kind: str, data: Any, now_ns: int) -> str:
        stamp = now_ns // 1_000
        return say.text({"topic": topic, "type": kind, "data": data, "cs": stamp, "ts": stamp})


class Sockets:
    """What clients say on their sockets, and what they are told back."""

    def __init__(
        self,
        face: Face,
        accounts: Mapping[str, tuple[Account, Mapping[str, str]]],
        markets: Mapping[str, MarketTopics],
        contents: Callable[[Account], dict[str, Any]],
    ) -> None:
        self._face = face
        self._now_ns = face.now_ns
        self._accounts = accounts  # by API key, with its credentials
        self._markets = markets  # by symbol
        self._contents = contents

    def hear(self, session: Session, raw: Frame) -> None:
        """One message of a client."""
        session.state["heard_ns"] = self._now_ns()
        try:
            request = _decode(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            self._tell(session, {"success": False, "ret_msg": "error:invalid op", "conn_id": self._name(session)})
            return
        match request.op:
            case "ping" if not self._face.faults.no_pong:
                self._tell(session, {"op": "pong", "args": [str(self._now_ns() // 1_000_000)]})
            case "ping" | "pong":
                pass
            case "subscribe" if not session.private:
                self._subscribe(session, request)
            case "unsubscribe" if not session.private:
                session.topics.difference_update(request.args)
                self._answer(session, request, "")
            case "login" if session.private:
                self._login(session, request)
            case _:
                self._answer(session, request, "error:handler not found")

    def beat(self, session: Session, now_ns: int) -> None:
        """Ping, and end a socket on which nobody answers."""
        state = session.state
        if now_ns - state.setdefault("heard_ns", now_ns) > DEAD_NS:
            session.close(1000, "no heartbeat")
        if now_ns - state.setdefault("pinged_ns", now_ns) >= PING_NS:
            state["pinged_ns"] = now_ns
            self._tell(session, {"op": "ping", "args": [str(now_ns // 1_000_000)]})

    def _subscribe(self, session: Session, request: _Request) -> None:
        found = [(topic, m) for topic in request.args for m in self._markets.values() if topic in m.topics]
        if len(found) < len(request.args):
            self._answer(session, request, "error:handler not found")
            return
        again = [topic for topic, _ in found if topic in session.topics]
        if again:
            self._answer(session, request, f"error:topic:already subscribed {','.join(again)}")
            return
        session.topics.update(request.args)
        self._answer(session, request, "")
        for topic, market in found:
            if not self._quiet(session):
                session.send(market.snapshot(topic, self._now_ns()))

    def _login(self, session: Session, request: _Request) -> None:
        try:
            said = _decode_login(request.args[0] if request.args else "")
        except (msgspec.MsgspecError, RecursionError):
            self._tell(session, {"success": False, "ret_msg": "msg param error", "conn_id": self._name(session)})
            raise SessionEnd(1000, "msg param error") from None
        account, keys = self._accounts.get(said.api_key, (None, {}))
        stamp = str(said.timestamp)
        fresh = apex_auth.is_fresh(stamp, self._now_ns())
        signed = account is not None and said.signature == apex_auth.sign(
            keys["api_secret"], stamp, "GET", apex_auth.SOCKET_PATH, {}
        )
        if account is None or not fresh or not signed or said.passphrase != keys["passphrase"]:
            self._tell(session, {"success": False, "ret_msg": "login authority err", "conn_id": self._name(session)})
            raise SessionEnd(1000, "login authority err")
        session.account = account
        session.topics.update(said.topics)
        answer = {"success": "true", "ret_msg": "", "conn_id": self._name(session), "request": {"op": "login"}}
        self._tell(session, answer)
        if ACCOUNT_TOPIC in session.topics:
            self._tell(session, account_push("snapshot", self._contents(account), self._now_ns()))

    def _answer(self, session: Session, request: _Request, complaint: str) -> None:
        answer = {"success": not complaint, "ret_msg": complaint, "conn_id": self._name(session), "request": request}
        self._tell(session, answer)

    def _tell(self, session: Session, answer: dict[str, Any]) -> None:
        if not self._quiet(session):
            session.send(say.text(answer))

    def _quiet(self, session: Session) -> bool:
        """A stalled socket says nothing at all."""
        return self._face.faults.stall_private if session.private else self._face.faults.stall_public

    @staticmethod
    def _name(session: Session) -> str:
        return f"{id(session):032x}"


def account_push(kind: str, contents: dict[str, Any], now_ns: int) -> dict[str, Any]:
    """A push about an account."""
    empty: dict[str, Any] = {"orders": [], "fills": [], "positions": [], "contractWallets": [], "transfers": []}
    return {
        "type": kind,
        "timestamp": now_ns // 1_000_000,
        "topic": ACCOUNT_TOPIC,
        "contents": {**empty, **contents},
    }
