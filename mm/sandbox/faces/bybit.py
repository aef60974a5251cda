"""Bybit v5, linear: REST, public, private and order sockets over the local exchange.

The dead man is the venue's: it is armed for a window and fires when the account's last private stream with the topic
``dcp.future`` has been gone that long. Sockets that say nothing for ``IDLE_S`` are ended, so a client that hangs counts
as gone.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from aiohttp import web

from mm.sandbox.account import Account
from mm.sandbox.face import Core, Session
from mm.sandbox.faces import bybit_wire as out
from mm.sandbox.faces.bybit_account import Desk
from mm.sandbox.faces.bybit_auth import local_keys
from mm.sandbox.faces.bybit_market import MarketData
from mm.sandbox.faces.bybit_sockets import Sockets
from mm.sandbox.faces.bybit_wire import Denied
from mm.venues.bybit.spec import SPEC
from mm.venues.native import wire

__all__ = ["FACE", "BybitFace", "local_keys"]

IDLE_S: Final = 60.0
DEPTH_PUSH_S: Final = 0.02

Serve = Callable[[Account, Mapping[str, Any]], Any]


class BybitFace(Sockets):
    """See the module."""

    venue = "bybit"
    order_paths = ("/v5/order/create", "/v5/order/amend", "/v5/order/cancel")
    rates = SPEC.rates

    def __init__(self, core: Core) -> None:
        super().__init__(core)
        self.desk = Desk(self.exchange, self.now_ns)
        self.data = MarketData(self.exchange, self.windows, self.now_ns)

    def routes(self) -> list[web.RouteDef]:
        """REST and the three WebSocket endpoints."""
        desk, orders, data, v5 = self.desk, self.orders, self.data, "/v5/"
        public = {
            "time": data.time, "instruments-info": data.instruments, "orderbook": data.book, "tickers": data.tickers,
            "kline": data.candles, "recent-trade": data.trades, "funding/history": data.funding,
        }  # fmt: skip
        queries: dict[str, Serve] = {
            "order/realtime": desk.realtime, "order/history": desk.history, "execution/list": desk.executions,
            "position/list": desk.positions, "account/wallet-balance": desk.wallet, "account/fee-rate": desk.fee_rate,
            "account/info": desk.info, "user/query-api": desk.api_key,
        }  # fmt: skip
        settings: dict[str, Serve] = {
            "account/set-margin-mode": desk.set_margin_mode, "position/set-leverage": desk.set_leverage,
            "order/disconnected-cancel-all": desk.arm,
        }  # fmt: skip
        return [
            web.get(v5 + "public/linear", self.public_socket),
            web.get(v5 + "private", self.private_socket),
            web.get(v5 + "trade", self.trade_socket),
            *(web.get(f"{v5}market/{path}", self._open(serve)) for path, serve in public.items()),
            web.get(v5 + "asset/coin/query-info", self._signed(lambda _a, _p: {"rows": []}, "queries")),
            *(web.get(v5 + path, self._signed(serve, "queries")) for path, serve in queries.items()),
            *(web.post(v5 + path, self._signed(serve, "settings")) for path, serve in settings.items()),
            web.post(v5 + "position/switch-isolated", self._signed(_only_classic, "settings")),
            web.post(v5 + "order/create", self._signed(orders.create, "new orders")),
            web.post(v5 + "order/amend", self._signed(orders.amend, "amendments")),
            web.post(v5 + "order/cancel", self._signed(orders.cancel, "cancels")),
            web.post(v5 + "order/cancel-all", self._signed(orders.cancel_all, "cancel-alls")),
            web.post(v5 + "order/create-batch", self._signed_batch(orders.create, "new orders")),
            web.post(v5 + "order/amend-batch", self._signed_batch(orders.amend, "amendments")),
            web.post(v5 + "order/cancel-batch", self._signed_batch(orders.cancel, "cancels")),
        ]

    # --- REST --------------------------------------------------------------------------------------------------------
    def maintenance_response(self) -> web.Response:
        """The gateway's own page."""
        return web.Response(status=503, text="<html>503 Service Temporarily Unavailable</html>")

    def rate_limited_response(self) -> web.Response:
        """The account's limit, with the time it is free again."""
        headers = {"X-Bapi-Limit": "20", "X-Bapi-Limit-Status": "0"}
        headers["X-Bapi-Limit-Reset-Timestamp"] = str(self._now_ms() + 1_000)
        return self._answer(10006, "Too many visits. Exceeded the API Rate Limit.", {}, headers=headers)

    def unknown_route_response(self, request: web.Request) -> web.Response:
        """No such endpoint."""
        return web.Response(status=404, text=f"404 page not found: {request.path}")

    def _answer(self, code: int, message: str, result: Any, ext: Any = None, headers: Any = None) -> web.Response:
        if code:
            self.counts["refused"] += 1
        body = msgspec.json.encode(out.answer(code, message, result, self._now_ms(), ext))
        return web.Response(body=body, headers=headers, content_type="application/json")

    def _open(self, serve: Callable[[Mapping[str, str]], Any]) -> Callable[[web.Request], Any]:
        async def handle(request: web.Request) -> web.Response:
            try:
                return self._answer(0, "OK", serve(request.query))
            except Denied as no:
                return self._answer(no.code, no.message, {})

        return handle

    def _signed(self, serve: Serve, what: str) -> Callable[[web.Request], Any]:
        async def handle(request: web.Request) -> web.Response:
            try:
                account, params = await self._who(request)
                if not self.limit(account, what):
                    return self.rate_limited_response()
                return self._answer(0, "OK", serve(account, params))
            except Denied as no:
                return self._answer(no.code, no.message, {})

        return handle

    def _signed_batch(self, one: Callable[[Account, Any], dict[str, str]], what: str) -> Callable[[web.Request], Any]:
        async def handle(request: web.Request) -> web.Response:
            try:
                account, params = await self._who(request)
                legs = params.get("request")
                if not self.limit(account, what, len(legs) if isinstance(legs, list) else 1):
                    return self.rate_limited_response()
                result, ext = self.orders.batch(account, params, one)
                return self._answer(0, "OK", result, ext)
            except Denied as no:
                return self._answer(no.code, no.message, {})

        return handle

    async def _who(self, request: web.Request) -> tuple[Account, Mapping[str, Any]]:
        """The account that signed a request, and its parameters."""
        if request.method == "GET":
            payload = request.raw_path.partition("?")[2]
            return self.signatures.request(request.headers, payload, self._now_ms()), request.query
        payload = await request.text()
        account = self.signatures.request(request.headers, payload, self._now_ms())
        try:
            params = msgspec.json.decode(payload or "{}", type=dict[str, Any])
        except msgspec.MsgspecError:
            raise Denied(10001, "params error: not JSON") from None
        if params.get("category", "linear") != "linear":
            raise Denied(10001, "params error: Invalid category")
        return account, params

    def begin(self, session: Session, topic: str) -> None:
        """The snapshot with which a topic begins; trades have none."""
        symbol = topic.rpartition(".")[2]
        if self.faults.stall_public:
            return
        if topic.startswith("orderbook."):
            self._show(symbol)
            session.send(out.text(self.windows[symbol].snapshot(self._now_ms())))
        elif topic.startswith("tickers."):
            session.send(out.text(self._tickers_push(symbol, "snapshot", self.data.ticker(symbol))))

    # --- pushes ------------------------------------------------------------------------------------------------------
    def on_public(self, symbol: str, message: wire.Message) -> None:
        """Depth every 20 ms, trades and tickers at once."""
        now_ms = self._now_ms()
        match message:
            case wire.Depth():
                window = self.windows[symbol]
                window.apply(message)
                if not window.due:
                    window.due = True
                    asyncio.get_running_loop().call_later(DEPTH_PUSH_S, self._show, symbol)
            case wire.Trades():
                self.data.printed(symbol, message)
                rows = [out_trade(symbol, trade, now_ms) for trade in message.trades]
                topic = f"publicTrade.{symbol}"
                self.broadcast(topic, out.text({"topic": topic, "type": "snapshot", "ts": now_ms, "data": rows}))
            case wire.Mark():
                self._tell(symbol, {"markPrice": message.px, "indexPrice": message.px})
            case wire.Funding():
                for changed in self.data.settled(symbol, message):
                    self._tell(symbol, changed)
            case _:
                pass

    def _show(self, symbol: str) -> None:
        """Push what the window's levels have become."""
        window = self.windows[symbol]
        window.due = False
        delta = window.delta(self._now_ms())
        if delta is not None:
            self.broadcast(window.topic, out.text(delta))

    def _tell(self, symbol: str, changed: Mapping[str, str]) -> None:
        self.broadcast(f"tickers.{symbol}", out.text(self._tickers_push(symbol, "delta", changed)))

    def _tickers_push(self, symbol: str, kind: str, data: Mapping[str, str]) -> dict[str, Any]:
        body = {"topic": f"tickers.{symbol}", "type": kind, "data": {"symbol": symbol, **data}, "cs": 0}
        return {**body, "ts": self._now_ms()}

    def on_private(self, account: Account, message: wire.Message) -> None:
        """Orders, executions, positions and the wallet of one account."""
        match message:
            case wire.OrderUpdate():
                order = account.orders.get(message.cid)
                if order is None or order.oid != message.oid:
                    return  # refused before it had a number: the answer has said so
                status = {"filled": "Filled", "canceled": "Cancelled", "rejected": "Cancelled"}.get(message.status)
                if status is None:
                    part = order.market.units.lots(message.qty) < order.size_lots
                    status = "PartiallyFilled" if part else "New"
                self._push(account, "order", out.order_row(order, status, message.qty, message.ts))
            case wire.FundingPaid():
                self._push(account, "execution", out.funding_row(message))
            case wire.Fill():
                self._push(account, "execution", self.desk.execution_row(account, message))
                order = account.orders.get(message.cid)
                if order is not None and order.market.units.lots(message.remaining):
                    row = out.order_row(order, "PartiallyFilled", message.remaining, message.ts)
                    self._push(account, "order", row)
            case wire.Position():
                self._push(account, "position", out.position_row(message))
                self._push(account, "wallet", self.desk.wallet_row(account))
            case _:
                pass  # a cancel or amendment that found nothing: its answer has said so

    def _push(self, account: Account, topic: str, row: dict[str, Any]) -> None:
        push = {"id": str(uuid.uuid4()), "topic": topic, "creationTime": self._now_ms(), "data": [row]}
        self.push(account, out.text(push), topic)

    # --- time --------------------------------------------------------------------------------------------------------
    def on_tick(self, now_ns: int) -> None:
        """Dead men, idle sockets, log-ins that end."""
        steady_ns = self.steady_ns()
        for account in self.exchange.accounts.values():
            own = self.desk.settings(account)
            if own.window_s and own.gone_ns and steady_ns - own.gone_ns >= own.window_s * 1_000_000_000:
                own.gone_ns = 0
                self.exchange.cancel_all(account, now_ns, "dead_man")
        life_s = self.faults.token_life_s
        for session in list(self.sessions):
            heard = session.state.setdefault("heard", steady_ns)
            since = session.state.get("since", steady_ns)
            if steady_ns - heard > IDLE_S * 1e9 or (life_s and steady_ns - since > life_s * 1e9):
                session.close(1000, "idle, or the key has expired")

    def on_session_end(self, session: Session) -> None:
        """The dead man's clock starts when the last stream of its topic is gone."""
        if session.account is not None and session.topics & {"dcp.future", "dcp"}:
            self.see_dead_man(session.account, ended=True)

    def see_dead_man(self, account: Account, *, ended: bool = False) -> None:
        """A stream of the account has its topic, has left it, or has ended: only an end starts the clock."""
        watching = any(s.account is account and s.topics & {"dcp.future", "dcp"} for s in self.sessions)
        own = self.desk.settings(account)
        if watching:
            own.gone_ns = 0
        elif ended and not own.gone_ns:
            own.gone_ns = self.steady_ns()


def out_trade(symbol: str, trade: wire.Trade, now_ms: int) -> dict[str, Any]:
    """A row of ``publicTrade``."""
    return {
        "T": now_ms, "s": symbol, "S": out.side(trade.side), "v": trade.qty, "p": trade.px,
        "L": "ZeroPlusTick", "i": out.order_id(trade.id), "BT": False, "seq": trade.id,
    }  # fmt: skip


def _only_classic(_account: Account, _params: Mapping[str, Any]) -> Any:
    raise Denied(100028, "unified account is forbidden")


FACE: Final = BybitFace
