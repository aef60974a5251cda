"""The three WebSocket endpoints of Bybit v5: what a client may say on them and what it is answered."""

from __future__ import annotations

import asyncio
import uuid
from abc import abstractmethod
from typing import Any, Final

import msgspec
from aiohttp import web

from mm.sandbox.account import Account
from mm.sandbox.face import Core, Face, Frame, Session
from mm.sandbox.faces import bybit_wire as out
from mm.sandbox.faces.bybit_auth import Signatures, check_time
from mm.sandbox.faces.bybit_book import Window
from mm.sandbox.faces.bybit_orders import Orders
from mm.sandbox.faces.bybit_wire import Denied

_PRIVATE_TOPICS: Final = frozenset({"order", "execution", "position", "wallet", "dcp.future", "dcp"})
_PUBLIC_TOPICS: Final = ("orderbook.50.", "publicTrade.", "tickers.")


class _Said(msgspec.Struct):
    """A client's WebSocket message."""

    op: str
    args: list[Any] = []
    req_id: Any = None
    reqId: str = ""
    header: dict[str, Any] = {}


class Sockets(Face):
    """What ``BybitFace`` is on its sockets; orders are those of its REST routes."""

    def __init__(self, core: Core) -> None:
        super().__init__(core)
        self.orders = Orders(self.exchange, self.now_ns)
        self.signatures = Signatures(self.exchange.accounts)
        self.windows = {s: Window(s, m.units) for s, m in self.exchange.markets.items()}

    @abstractmethod
    def begin(self, session: Session, topic: str) -> None:
        """The snapshot with which a topic begins."""

    @abstractmethod
    def see_dead_man(self, account: Account, *, ended: bool = False) -> None:
        """The account's private streams are others than before."""

    def steady_ns(self) -> int:
        """The exchange's clock without the injected skew: for what lasts."""
        return self._core.clock_ns()

    def _now_ms(self) -> int:
        return self.now_ns() // 1_000_000

    async def public_socket(self, request: web.Request) -> web.StreamResponse:
        """``/v5/public/linear``."""
        return await self.serve_socket(request, self._heard_public, private=False)

    async def private_socket(self, request: web.Request) -> web.StreamResponse:
        """``/v5/private``."""
        return await self.serve_socket(request, self._heard_private, private=True)

    async def trade_socket(self, request: web.Request) -> web.StreamResponse:
        """``/v5/trade``."""
        return await self.serve_socket(request, self._heard_trade, private=True)

    def _read(self, session: Session, frame: Frame) -> _Said | None:
        """A message, or None after telling the client what is wrong with it."""
        session.state["heard"] = self.steady_ns()
        session.state.setdefault("id", str(uuid.uuid4()))
        try:
            return msgspec.json.decode(frame, type=_Said)
        except msgspec.MsgspecError as exc:
            self.counts["bad_requests"] += 1
            session.send(out.text(self._note(session, None, "", f"error:{exc}", success=False)))
            return None

    def _heard_public(self, session: Session, frame: Frame) -> None:
        said = self._read(session, frame)
        if said is None:
            return
        if said.op == "ping":
            if not self.faults.no_pong:
                session.send(out.text(self._note(session, said.req_id, "ping", "pong")))
        elif said.op in {"subscribe", "unsubscribe"}:
            unknown = [t for t in said.args if not self._is_public(t)]
            if unknown:
                why = f"error:handler not found,topic:{unknown[0]}"
                session.send(out.text(self._note(session, said.req_id, said.op, why, success=False)))
                return
            again = [t for t in said.args if said.op == "subscribe" and t in session.topics]
            if again:
                why = f"error:already subscribed,topic:{again[0]}"
                session.send(out.text(self._note(session, said.req_id, said.op, why, success=False)))
                return
            session.send(out.text(self._note(session, said.req_id, said.op, "")))
            if said.op == "unsubscribe":
                session.topics.difference_update(said.args)
                return
            for topic in said.args:
                self.begin(session, topic)
                session.topics.add(topic)
        else:
            session.send(out.text(self._note(session, said.req_id, said.op, "error:invalid op", success=False)))

    def _is_public(self, topic: Any) -> bool:
        kinds = [kind for kind in _PUBLIC_TOPICS if isinstance(topic, str) and topic.startswith(kind)]
        return bool(kinds) and topic.removeprefix(kinds[0]) in self.windows

    def _heard_private(self, session: Session, frame: Frame) -> None:
        said = self._read(session, frame)
        if said is None:
            return
        if said.op == "auth":
            self._log_in(session, said)
        elif said.op == "ping":
            if not self.faults.no_pong:
                pong = {"req_id": said.req_id or "", "op": "pong", "args": [str(self._now_ms())]}
                session.send(out.text({**pong, "conn_id": session.state["id"]}))
        elif session.account is None:
            why = "error:please authenticate first"
            session.send(out.text(self._note(session, said.req_id, said.op, why, success=False)))
        elif said.op in {"subscribe", "unsubscribe"}:
            unknown = [t for t in said.args if not isinstance(t, str) or t not in _PRIVATE_TOPICS]
            if unknown:
                why = f"error:handler not found,topic:{unknown[0]}"
                session.send(out.text(self._note(session, said.req_id, said.op, why, success=False)))
                return
            change = session.topics.update if said.op == "subscribe" else session.topics.difference_update
            change(said.args)
            session.send(out.text(self._note(session, said.req_id, said.op, "")))
            self.see_dead_man(session.account)
        else:
            session.send(out.text(self._note(session, said.req_id, said.op, "error:invalid op", success=False)))

    def _log_in(self, session: Session, said: _Said) -> None:
        """Tell who speaks; a failed log-in ends nothing."""
        trade = bool(session.state.get("trade"))
        try:
            session.account = self.signatures.log_in(said.args, self._now_ms())
        except Denied as no:
            self.counts["refused"] += 1
            if trade:
                session.send(out.text({"retCode": no.code, "retMsg": no.message, "op": "auth", "connId": ""}))
            else:
                session.send(out.text(self._note(session, said.req_id, "auth", no.message, success=False)))
            return
        session.state["since"] = self.steady_ns()
        if trade:
            connection = session.state["id"]
            session.send(out.text({"retCode": 0, "retMsg": "OK", "op": "auth", "connId": connection}))
        else:
            session.send(out.text(self._note(session, said.req_id, "auth", "")))

    @staticmethod
    def _note(session: Session, req_id: Any, op: str, why: str, *, success: bool = True) -> dict[str, Any]:
        """What the market and private sockets answer to anything."""
        note = {"success": success, "ret_msg": why, "conn_id": session.state["id"]}
        return {**note, "req_id": "" if req_id is None else req_id, "op": op}

    # --- orders over a socket ----------------------------------------------------------------------------------------
    def _heard_trade(self, session: Session, frame: Frame) -> None:
        session.state["trade"] = True
        said = self._read(session, frame)
        if said is None:
            return
        if said.op == "auth":
            self._log_in(session, said)
        elif said.op == "ping":
            if not self.faults.no_pong:
                pong = {"retCode": 0, "retMsg": "OK", "op": "pong", "data": [str(self._now_ms())]}
                session.send(out.text({**pong, "connId": session.state["id"]}))
        elif self.faults.request_delay_s:
            asyncio.get_running_loop().call_later(self.faults.request_delay_s, self._execute, session, said)
        else:
            self._execute(session, said)

    def _execute(self, session: Session, said: _Said) -> None:
        """One order request and its answer, with the faults of order requests."""
        faults = self.faults
        ext: Any = {}
        data: Any = {}
        code, message = 0, "OK"
        self.counts["requests"] += 1
        try:
            data, ext = self._trade(session, said)
        except Denied as no:
            self.counts["refused"] += 1
            code, message = no.code, no.message
        self.publish()
        if faults.take("ack_lost"):
            return
        if faults.take("error_after_accept"):
            code, message, data, ext = 10016, "Internal server error", {}, {}
        reply = out.text(
            {
                "reqId": said.reqId, "retCode": code, "retMsg": message, "op": said.op, "data": data,
                "retExtInfo": ext, "header": {"Timenow": str(self._now_ms()), "X-Bapi-Limit": "20"},
                "connId": session.state["id"],
            }
        )  # fmt: skip
        if faults.ack_delay_s:
            asyncio.get_running_loop().call_later(faults.ack_delay_s, session.send, reply)
        else:
            session.send(reply)

    def _trade(self, session: Session, said: _Said) -> tuple[Any, Any]:
        account, orders = session.account, self.orders
        if self.faults.maintenance:
            raise Denied(10019, "ws trade service is restarting, do not accept new request")
        if account is None:
            raise Denied(10003, "not authenticated")
        check_time(
            str(said.header.get("X-BAPI-TIMESTAMP", "")),
            str(said.header.get("X-BAPI-RECV-WINDOW", "5000")),
            self._now_ms(),
        )
        known = {
            "order.create": (orders.create, "new orders"),
            "order.amend": (orders.amend, "amendments"),
            "order.cancel": (orders.cancel, "cancels"),
        }
        name = said.op.removesuffix("-batch")
        if name not in known or len(said.args) != 1 or not isinstance(said.args[0], dict):
            raise Denied(10404, "op is not found, or its args are not one object")
        args = said.args[0]
        if args.get("category") != "linear":
            raise Denied(10001, "params error: Invalid category")
        one, what = known[name]
        legs = args.get("request") if name != said.op else None
        count = len(legs) if isinstance(legs, list) else 1
        if self.faults.take("rate_limited") or not self.limit(account, what, count):
            raise Denied(10006, "Too many visits. Exceeded the API Rate Limit.")
        if name != said.op:
            return orders.batch(account, args, one)
        return one(account, args), {}
