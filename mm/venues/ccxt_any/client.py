"""Clients of any exchange by ccxt's unified API: ``watch_*`` for streams, REST for orders and queries.

Each session makes an exchange of ccxt anew, so nothing of an old connection is left in it (books, listen keys). ccxt
does not say when a private subscription has been taken: what happens before is found by reconciliation.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import Any, Final

from ccxt.base.errors import ChecksumError, InvalidNonce

from mm.core.instrument import Instrument
from mm.errors import VenueUnreachable
from mm.venues import replies
from mm.venues.base import Caps, OnFrame, OrderRequest
from mm.venues.ccxt_any import says
from mm.venues.ccxt_any.account import CcxtAccount
from mm.venues.ccxt_any.exchange import TIMEOUT_S, Markets, facts, load, make
from mm.venues.ccxt_base import close_exchange, until_broken, within
from mm.venues.ccxt_calls import Sends, attempt

_AGAIN_S: Final = 0.02  # after a book that ccxt found broken
_LOOK_S: Final = 0.005

Watch = Callable[[], Awaitable[Any]]


class CcxtPublicClient:
    """Market data of some symbols (``mm.venues.base.PublicClient``)."""

    def __init__(self, exchange_id: str, options: Mapping[str, Any], symbols: Sequence[str]) -> None:
        self._id, self._options, self._symbols = exchange_id, options, list(symbols)
        self._ex = make(exchange_id, options, private=False)
        self._markets: Markets | None = None
        self._on_frame: OnFrame | None = None
        self._closing = False

    async def instruments(self) -> list[Instrument]:
        """Every spot and perpetual market with a grid; fees are those of everybody."""
        self._markets = await load(self._ex, self._markets)
        return list(self._markets.instruments.values())

    async def run(self, on_frame: OnFrame) -> None:
        """Deliver frames until the connection ends: returns after ``close``, else raises ``VenueUnreachable``."""
        self._closing = False
        old, self._ex = self._ex, make(self._id, self._options, private=False)
        self._ex.set_markets(old.markets) if old.markets else None
        await close_exchange(old)
        ex = self._ex
        try:
            self._markets = await load(ex, self._markets)
            self._on_frame = on_frame
            await until_broken(ex, *(w for symbol in self._symbols for w in self._watches(ex, symbol)))
        except VenueUnreachable:
            if not self._closing:
                raise
        finally:
            await close_exchange(ex)

    def _watches(self, ex: Any, symbol: str) -> list[Awaitable[Any]]:
        assert self._markets is not None
        markets, unified = self._markets, self._markets.unified(symbol)
        out: list[Awaitable[Any]] = [self._watch_book(ex, markets, symbol)]
        out.append(_each(lambda: ex.watch_trades(unified), lambda r: self._tell(says.trades(symbol, markets, r))))
        if ex.has.get("watchMarkPrice") and markets.instruments[symbol].kind != "spot":
            out.append(_each(lambda: ex.watch_mark_price(unified), lambda t: self._tell(says.mark(symbol, t))))
        return out

    async def _watch_book(self, ex: Any, markets: Markets, symbol: str) -> None:
        """Books, begun anew whenever ccxt finds that something is missing."""
        unified, last = markets.unified(symbol), None
        while True:
            try:
                book = await ex.watch_order_book(unified)
            except (ChecksumError, InvalidNonce):
                last = None
                await asyncio.sleep(_AGAIN_S)
                continue
            kept = ex.orderbooks.get(unified)  # another object when ccxt began anew
            self._tell(says.book(symbol, markets, book, fresh=last is None or kept is not last))
            last = kept

    async def resync(self, symbol: str) -> None:
        """The book as ccxt has it, whole: every frame is, so nothing else can be missing."""
        book = self._ex.orderbooks.get(self._markets.unified(symbol)) if self._markets else None
        if book is None or not self._ex.clients:
            raise VenueUnreachable(f"{self._id}: not connected")
        assert self._markets is not None
        self._tell(says.book(symbol, self._markets, book, fresh=True))

    def _tell(self, frame: bytes) -> None:
        if frame and self._on_frame is not None:
            self._on_frame(frame, time.time_ns())

    async def close(self) -> None:
        """End every connection."""
        self._closing = True
        await close_exchange(self._ex)


class CcxtTradingClient(CcxtAccount):
    """One account (``mm.venues.base.TradingClient``).

    Options: ``symbols`` that the desk trades (default: all), ``budget`` of the account.
    """

    def __init__(self, exchange_id: str, options: Mapping[str, Any]) -> None:
        super().__init__(exchange_id, options)
        has = facts(exchange_id).has
        perpetual = bool(has.get("swap"))
        self.caps = Caps(
            leverage=perpetual and bool(has.get("setLeverage")), short=perpetual,
            funding=perpetual and bool(has.get("fetchFundingHistory")),
        )  # fmt: skip
        self._timeout_s = float(options.get("timeout_s", TIMEOUT_S))
        self._stream: Any = None
        self._sends = Sends()
        self._session: asyncio.Task[None] | None = None
        self._clock: asyncio.Task[None] | None = None
        self._on_frame: OnFrame | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._id})"

    # --- connection --------------------------------------------------------------------------------------------------
    async def connect(self, on_frame: OnFrame) -> None:
        """Set the clock and begin the private streams; raises ``VenueUnreachable``."""
        await self._end_session()
        markets = await self._known()
        await self._set_clock()
        self._on_frame = on_frame
        ex = self._stream = make(self._id, self._options, private=True)
        ex.skew_ms = self._ex.skew_ms
        ex.set_markets(self._ex.markets)
        ex.open()
        self._session = asyncio.create_task(until_broken(ex, *self._watches(ex, markets)))
        self._session.add_done_callback(_look)
        try:
            await within(ex, self._timeout_s, "private streams", self._until_connected(ex, self._session))
        except VenueUnreachable:
            await self._end_session()
            raise

    def _watches(self, ex: Any, markets: Markets) -> list[Awaitable[Any]]:
        def on_orders(rows: Any) -> None:
            for row in rows:
                if markets.symbol(row.get("symbol")):
                    self._learn(says.order(markets, row))
            self._tell(says.orders(markets, rows))

        news: dict[str, Callable[[Any], None]] = {
            "watchPositions": lambda r: self._tell(says.positions(markets, r)),
            "watchBalance": lambda r: self._tell(says.balances(r)),
            "watchMyLiquidations": lambda r: self._tell(says.liquidations(markets, r)),
        }
        out: list[Awaitable[Any]] = [_each(ex.watch_my_trades, lambda r: self._tell(says.own_trades(markets, r)))]
        out.append(_each(ex.watch_orders, on_orders))
        if ex.has.get("watchPositions") and self.caps.short:
            out.append(_each(ex.watch_positions, news["watchPositions"]))
        if ex.has.get("watchBalance"):
            out.append(_each(ex.watch_balance, news["watchBalance"]))
        if ex.has.get("watchMyLiquidations") and self.caps.short:
            for symbol in self._wanted or markets.instruments:
                watch = partial(ex.watch_my_liquidations, markets.unified(symbol))
                out.append(_each(watch, news["watchMyLiquidations"]))
        return out

    @staticmethod
    async def _until_connected(ex: Any, session: asyncio.Task[None]) -> None:
        """A WebSocket is open and somebody waits on it."""
        while not session.done():
            open_ones = [c for c in ex.clients.values() if "://" in c.url and c.connected.done() and c.futures]
            if open_ones:
                return
            await asyncio.sleep(_LOOK_S)
        session.result()

    async def _end_session(self) -> None:
        self._sends.pull()
        session, self._session = self._session, None
        if session is not None:
            session.cancel()
            with contextlib.suppress(asyncio.CancelledError, VenueUnreachable):
                await session
        stream, self._stream = self._stream, None
        if stream is not None:
            await close_exchange(stream)

    async def closed(self) -> None:
        """Return when a private stream has ended, a silent stall included."""
        if self._session is not None:
            await asyncio.wait([self._session])

    async def close(self) -> None:
        """End every connection; what is under way has a moment."""
        await self._sends.drain(0.2)
        await self._end_session()
        if self._clock is not None:
            self._clock.cancel()
        await close_exchange(self._ex, self._halting)

    async def _set_clock_again(self) -> None:
        with contextlib.suppress(VenueUnreachable):  # then the next refusal tries again
            await self._set_clock()

    # --- orders ------------------------------------------------------------------------------------------------------
    async def place(self, symbol: str, client_order_id: str, side: int, price: Decimal, size: Decimal) -> None:
        """Send one post-only limit order."""
        await self._create("place", OrderRequest(symbol, client_order_id, side, price, size), {"postOnly": True})

    async def place_reduce_only_ioc(
        self, symbol: str, client_order_id: str, side: int, price: Decimal, size: Decimal
    ) -> None:
        """Send the one taker order of the desk; on spot a sale of what is held."""
        params: dict[str, Any] = {"timeInForce": "IOC"}
        if (await self._known()).instruments[symbol].kind != "spot":
            params["reduceOnly"] = True
        elif side > 0:
            reply = replies.request("reduce", OrderRequest(symbol, client_order_id, side, price, size))
            replies.not_sent(reply, "a purchase reduces nothing on a spot market")
            self._tell_reply(reply)
            return
        await self._create("reduce", OrderRequest(symbol, client_order_id, side, price, size), params)

    async def _create(self, op: replies.Op, order: OrderRequest, params: dict[str, Any]) -> None:
        reply, markets = replies.request(op, order), await self._known()
        wrong = says.off_grid(markets, order)
        if wrong:
            replies.not_sent(reply, wrong)
            self._tell_reply(reply)
            return
        side = "buy" if order.side > 0 else "sell"
        amount, unified = markets.amount(order.symbol, order.size), markets.unified(order.symbol)
        params = {**params, "clientOrderId": order.client_order_id}
        call = lambda: self._ex.create_order(unified, "limit", side, amount, float(order.price), params)  # noqa: E731
        await self._start(self._send(call, reply, "place"))

    async def cancel(self, symbol: str, client_order_id: str) -> None:
        """Send one cancel."""
        reply = replies.cancel_request(symbol, client_order_id)
        unified = (await self._known()).unified(symbol)
        name, params = self.named(client_order_id)
        call = lambda: self._ex.cancel_order(name, unified, params)  # noqa: E731
        await self._start(self._send(call, reply, "cancel"), cancel=True)

    async def cancel_all(self) -> int:
        """Cancel every open order, symbol by symbol; returns how many were open."""
        self._sends.pull()
        ex, canceled = self._halting, 0
        markets = await self._known()
        ex.open()
        found: dict[str, list[str]] = {}
        for scope in self._scope(markets):
            if self._budget is not None:
                self._budget.note("cancel_all")
            for row in await self._sure(ex.fetch_open_orders, scope):
                found.setdefault(str(row["symbol"]), []).append(str(row["id"]))
        for unified, ids in found.items():
            if self._budget is not None:
                self._budget.note("cancel_all")
            if ex.has.get("cancelAllOrders"):
                await self._sure(ex.cancel_all_orders, unified)
            else:
                await asyncio.gather(*(attempt(ex, ex.cancel_order, one, unified) for one in ids))
            canceled += len(ids)
        return canceled

    async def _sure(self, call: Any, *args: Any) -> Any:
        """A halting call, once more by the right clock or on a new connection; raises ``VenueUnreachable``."""
        answer = await attempt(self._halting, call, *args)
        if says.stale_clock(answer):
            await self._set_clock()
        if says.stale_clock(answer) or answer.dropped:
            answer = await attempt(self._halting, call, *args)
        if not answer.ok:
            raise VenueUnreachable(answer.error)
        return answer.data

    async def _start(self, send: Any, *, cancel: bool = False) -> None:
        if self._session is None or self._session.done():
            send.close()
            raise VenueUnreachable(f"{self._id}: not connected")
        await self._sends.start(send, cancel=cancel)

    async def _send(self, call: Watch, reply: replies.Reply, kind: str) -> None:
        """One request to its end; the answer, or that there is none, goes the way of the private frames."""
        try:
            await self._sends.turn(self._budget, kind)
        except VenueUnreachable as exc:
            replies.not_sent(reply, exc)
        else:
            answer = await attempt(self._ex, call)
            says.judge(answer, reply, await self._known())
            if says.stale_clock(answer) and (self._clock is None or self._clock.done()):
                self._clock = asyncio.create_task(self._set_clock_again())
        self._tell_reply(reply)

    def _tell_reply(self, reply: replies.Reply) -> None:
        if isinstance(reply.body, dict):
            self._cids[reply.body["id"]], self._ids[reply.cid] = reply.cid, reply.body["id"]
        self._tell(replies.frame(reply))

    def _tell(self, frame: bytes) -> None:
        if self._on_frame is not None:
            self._on_frame(frame, time.time_ns())


async def _each(watch: Watch, tell: Callable[[Any], None]) -> None:
    """Hand on what a ``watch_*`` call returns, again and again; ends by its error."""
    while True:
        tell(await watch())


def _look(session: asyncio.Task[None]) -> None:
    if not session.cancelled():
        session.exception()  # ``closed`` tells that it ended; the reason is the library's
