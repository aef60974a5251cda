"""Paradex's WebSocket: JSON-RPC requests, authentication, order entry, cancel on disconnect."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from mm.sandbox.face import Frame, Session
from mm.sandbox.faces import paradex_wire as out
from mm.sandbox.faces.paradex_auth import Refusal
from mm.sandbox.faces.paradex_public import NoChannel

if TYPE_CHECKING:
    from mm.sandbox.faces.paradex import ParadexFace

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
NO_METHOD: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL: Final = -32603
METHOD_ERROR: Final = 100
BAD_TOKEN: Final = 40111
_PRIVATE: Final = ("orders", "fills", "positions", "account", "funding_payments", "balance_events", "tradebusts")
_ENTRY: Final = "orders and cancels"


class RpcFault(Exception):
    """An error answer."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.code = code
        self.data = data


class Sockets:
    """All sockets of one face."""

    def __init__(self, face: ParadexFace) -> None:
        self._face = face
        self._methods: dict[str, Callable[[Session, Any], Any]] = {
            "auth": self._auth,
            "subscribe": self._subscribe,
            "unsubscribe": self._unsubscribe,
        }
        self._entry: dict[str, Callable[[Session, Any], Any]] = {
            "order.create": self._create,
            "order.create_batch": self._create_batch,
            "order.modify": self._modify,
            "order.cancel": self._cancel,
            "order.cancel_all": self._cancel_all,
            "order.cancel_batch": self._cancel_batch,
            "order.cancel_on_disconnect": self._cancel_on_disconnect,
        }

    async def serve(self, request: web.Request) -> Any:
        """GET /v1: a schema that is not served is refused, there is no fall-back to JSON."""
        version = _schema(request)
        if version is not None and not 0 <= version <= out.MAX_VERSION:
            return web.Response(status=400, text="unsupported sbe schema")
        private = "Authorization" in request.headers

        def first(session: Session, frame: Frame) -> None:
            session.state.setdefault("sbe", version)
            self._message(session, frame)

        return await self._face.serve_socket(request, first, private=private)

    def tick(self, now_ns: int) -> None:
        """Sockets whose token has ended, when a fault has made that matter."""
        for session in list(self._face.sessions):
            ends_ns = session.state.get("ends_ns", 0)
            if ends_ns and now_ns >= ends_ns:
                session.state["ends_ns"] = 0
                session.send(_error(None, BAD_TOKEN, "Invalid Bearer Token", "token is expired"))
                session.close(1008, "token is expired")

    def ended(self, session: Session) -> None:
        """Cancel on disconnect: what was placed over this socket."""
        if session.account is not None and session.state.get("cancel"):
            for cid in list(session.state.get("cids", ())):
                self._face.orders.cancel_for(session.account, cid, "CANCEL_ON_DISCONNECT")

    # --- requests ----------------------------------------------------------------------------------------------------
    def _message(self, session: Session, frame: Frame) -> None:
        try:
            request = json.loads(frame)
        except ValueError:
            session.send(_error(None, PARSE_ERROR, "Parse error"))
            return
        if not isinstance(request, dict) or not isinstance(request.get("method"), str):
            session.send(_error(None, INVALID_REQUEST, "Invalid request"))
            return
        method, params, number = request["method"], request.get("params") or {}, request.get("id")
        if method in self._entry:
            self._order_request(session, method, params, number)
        elif method in self._methods:
            session.send(self._answer(session, self._methods[method], params, number))
        else:
            self._face.counts["unknown_routes"] += 1
            session.send(_error(number, NO_METHOD, "method does not exist"))

    def _order_request(self, session: Session, method: str, params: Any, number: Any) -> None:
        """Order entry, with the faults that REST requests have."""
        faults = self._face.faults
        self._face.counts["requests"] += 1
        if session.account is None:
            session.send(_error(number, BAD_TOKEN, "Invalid Bearer Token", "unauthorized"))
        elif faults.maintenance:
            session.send(_error(number, INTERNAL, "SERVICE_UNAVAILABLE", "system is under maintenance"))
        elif faults.take("rate_limited") or not self._face.limit(session.account, _ENTRY):
            session.send(_error(number, METHOD_ERROR, "RATE_LIMIT_EXCEEDED"))
        elif faults.request_delay_s:
            _later(faults.request_delay_s, lambda: self._do(session, method, params, number))
        else:
            self._do(session, method, params, number)

    def _do(self, session: Session, method: str, params: Any, number: Any) -> None:
        faults = self._face.faults
        answer = self._answer(session, self._entry[method], params, number)
        if faults.take("ack_lost"):  # executed; the answer never leaves
            self._face.publish()
            return
        if faults.take("error_after_accept"):
            answer = _error(number, INTERNAL, "Internal error")
        if faults.ack_delay_s:
            _later(faults.ack_delay_s, lambda: session.send(answer))
        else:
            session.send(answer)
        self._face.publish()

    def _answer(self, session: Session, serve: Callable[[Session, Any], Any], params: Any, number: Any) -> str:
        begun_ns = time.perf_counter_ns()
        try:
            result = serve(session, params)
        except RpcFault as exc:
            self._face.counts["refused"] += 1
            return _error(number, exc.code, str(exc), exc.data)
        except Refusal as exc:
            self._face.counts["refused"] += 1
            return _error(number, INVALID_PARAMS, exc.code, str(exc))
        now_us, spent_us = self._face.now_ns() // 1000, (time.perf_counter_ns() - begun_ns) // 1000
        return json.dumps({"jsonrpc": "2.0", "result": result, "usIn": now_us, "usDiff": spent_us, "id": number})

    def _auth(self, session: Session, params: Any) -> Any:
        try:
            account, ends_ns = self._face.access.bearer(str(_field(params, "bearer")), self._face.now_ns())
        except Refusal as exc:
            raise RpcFault(BAD_TOKEN, "Invalid Bearer Token", str(exc)) from exc
        if session.account not in (None, account):
            raise RpcFault(INVALID_REQUEST, "authenticated as another account")
        session.account = account
        session.private = True
        session.state["ends_ns"] = ends_ns if self._face.faults.token_life_s else 0
        return {"node_id": "local"}

    def _subscribe(self, session: Session, params: Any) -> Any:
        channel = str(_field(params, "channel"))
        if channel.partition(".")[0] in _PRIVATE:
            if session.account is None:
                raise RpcFault(BAD_TOKEN, "Invalid Bearer Token", "unauthorized")
            session.topics.add(channel)
        else:
            try:
                self._face.public.subscribe(session, channel)
            except NoChannel as exc:
                raise RpcFault(INVALID_REQUEST, "invalid subscribe request", str(exc)) from exc
        return {"channel": channel}

    def _unsubscribe(self, session: Session, params: Any) -> Any:
        channel = str(_field(params, "channel"))
        try:
            if channel in session.topics:
                session.topics.discard(channel)
            else:
                self._face.public.unsubscribe(session, channel)
        except NoChannel as exc:
            raise RpcFault(INVALID_REQUEST, "invalid unsubscribe request", str(exc)) from exc
        return {"channel": channel}

    # --- order entry -------------------------------------------------------------------------------------------------
    def _create(self, session: Session, params: Any) -> Any:
        assert session.account is not None
        order = self._face.orders.create(session.account, params)
        self._track(session, [order])
        return {"order": order, **self._times()}

    def _create_batch(self, session: Session, params: Any) -> Any:
        assert session.account is not None
        result = self._face.orders.create_batch(session.account, params)
        self._track(session, [o for o in result["orders"] if o is not None])
        return {**result, **self._times()}

    def _modify(self, session: Session, params: Any) -> Any:
        assert session.account is not None
        order = self._face.orders.modify(session.account, str(_field(params, "id")), params)
        return {"order": order, **self._times()}

    def _cancel(self, session: Session, params: Any) -> Any:
        assert session.account is not None
        orders = self._face.orders
        if "id" in params:
            order = orders.cancel_id(session.account, str(params["id"]))
        elif "client_id" in params and "market" in params:
            order = orders.cancel_client(session.account, str(params["client_id"]), str(params["market"]))
        else:
            raise RpcFault(INVALID_PARAMS, "Invalid parameters", "id, or client_id and market")
        return {"order_id": out.order_id(order), "status": "QUEUED_FOR_CANCELLATION"}

    def _cancel_all(self, session: Session, params: Any) -> Any:
        assert session.account is not None
        self._face.orders.cancel_all(session.account, str(params.get("market", "")))
        return {"status": "QUEUED_FOR_CANCELLATION"}

    def _cancel_batch(self, session: Session, params: Any) -> Any:
        assert session.account is not None
        return self._face.orders.cancel_batch(session.account, params.get("order_ids"), params.get("client_order_ids"))

    def _cancel_on_disconnect(self, session: Session, params: Any) -> Any:
        session.state["cancel"] = bool(_field(params, "enabled"))
        return {"enabled": session.state["cancel"]}

    def _track(self, session: Session, orders: list[dict[str, Any]]) -> None:
        account = session.account
        assert account is not None
        cids: set[str] = session.state.setdefault("cids", set())
        cids.intersection_update(account.open)
        cids.update(o["client_id"] for o in orders)

    def _times(self) -> dict[str, int]:
        now_ms = self._face.now_ns() // 1_000_000
        return {"created_at": now_ms, "received_at": now_ms}


def _schema(request: web.Request) -> int | None:
    """Version of the SBE schema in the address; None without one, -1 for what cannot be."""
    query = request.query
    if "sbeSchemaId" not in query and "sbeSchemaVersion" not in query:
        return None
    version = query.get("sbeSchemaVersion", "")
    return int(version) if query.get("sbeSchemaId") == "1" and version.isdigit() else -1


def _field(params: Any, name: str) -> Any:
    if not isinstance(params, dict) or name not in params:
        raise RpcFault(INVALID_PARAMS, "Invalid parameters", f"{name} is missing")
    return params[name]


def _error(number: Any, code: int, message: str, data: Any = None) -> str:
    error = {"code": code, "message": message} | ({} if data is None else {"data": data})
    return json.dumps({"jsonrpc": "2.0", "error": error, "id": number})


def _later(seconds: float, do: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_later(seconds, do)
