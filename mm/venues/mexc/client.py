"""Clients of MEXC spot: ccxt.pro carries, the codec reads.

Orders go over REST; what became of them is told by the private stream, refusals by the answer itself. The stream hangs
on a listen key, which is renewed here. Cancel-all has connections of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

import msgspec

from mm.core.instrument import Instrument
from mm.errors import ConfigError, VenueUnreachable
from mm.venues import replies
from mm.venues.base import Caps, OnFrame, OrderRequest
from mm.venues.ccxt_base import close_exchange, drop_sockets, until_broken
from mm.venues.ccxt_calls import Answer, Sends, ask, attempt
from mm.venues.ccxt_session import Session
from mm.venues.mexc import answers, wire
from mm.venues.mexc.account import MexcAccount, Query
from mm.venues.mexc.codec import snapshot_frame
from mm.venues.mexc.exchange import TIMEOUT_S, make_mexc
from mm.venues.readable import readable

BATCH: Final = 20
BATCH_EVERY_S: Final = 0.55  # the venue takes two batches a second
RENEW_S: Final = 1_200.0  # a listen key is good for an hour
DEPTH_LEVELS: Final = 1_000
SPEED: Final = "10ms"  # the faster of the venue's two
MAX_SYMBOLS: Final = 15  # 30 streams on a connection, two for a symbol
PRIVATE_TOPICS: Final = tuple(f"spot@private.{kind}.v3.api.pb" for kind in ("orders", "deals", "account"))
_SNAPSHOT_WAIT_S: Final = (0.1, 2.0)  # first and longest, between two tries


class MexcPublicClient:
    """Market data of some symbols (``mm.venues.base.PublicClient``)."""

    def __init__(self, options: Mapping[str, Any], symbols: Sequence[str]) -> None:
        if len(symbols) > MAX_SYMBOLS:
            raise ConfigError(f"venue mexc: {len(symbols)} symbols, a connection carries {MAX_SYMBOLS}")
        self._ex = make_mexc(options, private=False)
        self._symbols = list(symbols)
        self._timeout_s = float(options.get("timeout_s", TIMEOUT_S))
        self._snapshots: dict[str, asyncio.Task[None]] = {}
        self._closing = False

    async def instruments(self) -> list[Instrument]:
        """Every spot market that a maker can trade; fees are those of everybody."""
        self._ex.open()
        found = wire.read(await ask(self._ex, lambda: self._ex.spotPublicGetExchangeInfo({})), dict[str, Any])
        return wire.instruments(found.get("symbols"))

    async def run(self, on_frame: OnFrame) -> None:
        """Deliver frames until the connection ends: returns after ``close``, else raises ``VenueUnreachable``."""
        ex = self._ex
        self._closing = False
        ex.open()
        ex.on_frame = on_frame
        kinds = (f"spot@public.aggre.{kind}.v3.api.pb@{SPEED}" for kind in ("depth", "deals"))
        topics = [f"{kind}@{symbol}" for kind in kinds for symbol in self._symbols]
        try:
            stream = await ex.stream(ex.public_url, topics, self._timeout_s)
            for symbol in self._symbols:
                self._ask_snapshot(symbol)
            await until_broken(ex, stream)
        except VenueUnreachable:
            if not self._closing:
                raise
        finally:
            await self._end_snapshots()
            await drop_sockets(ex)

    async def resync(self, symbol: str) -> None:
        """Get a fresh snapshot; it arrives at ``on_frame``. Tries until it has one or the connection ends."""
        socket = self._ex.clients.get(self._ex.public_url)
        if socket is None or socket.closed():
            raise VenueUnreachable("mexc: not connected")
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.shield(self._ask_snapshot(symbol))

    def _ask_snapshot(self, symbol: str) -> asyncio.Task[None]:
        task = self._snapshots.get(symbol)
        if task is None or task.done():
            task = self._snapshots[symbol] = asyncio.create_task(self._snapshot(symbol))
        return task

    async def _snapshot(self, symbol: str) -> None:
        ex, wait_s = self._ex, _SNAPSHOT_WAIT_S[0]
        params = {"symbol": symbol, "limit": DEPTH_LEVELS}
        while True:
            answer = await attempt(ex, lambda: ex.spotPublicGetDepth(params))
            if answer.ok:
                if ex.on_frame is not None:
                    ex.on_frame(snapshot_frame(symbol, answer.body.encode()), time.time_ns())
                return
            await asyncio.sleep(max(wait_s, answers.retry_after_s(answer)))
            wait_s = min(2 * wait_s, _SNAPSHOT_WAIT_S[1])

    async def _end_snapshots(self) -> None:
        tasks = list(self._snapshots.values())
        self._snapshots = {}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def close(self) -> None:
        """End every connection."""
        self._closing = True
        await self._end_snapshots()
        await close_exchange(self._ex)


@readable
class MexcTradingClient(MexcAccount):
    """One account (``mm.venues.base.TradingClient``).

    Options: ``symbols`` that the desk trades (default: those the key may trade), ``budget`` of the account.
    """

    caps = Caps(batch=BATCH, short=False)

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__(options)
        self._halting = make_mexc(options, private=True)
        self._timeout_s = float(options.get("timeout_s", TIMEOUT_S))
        self._renew_s = float(options.get("renew_s", RENEW_S))
        self._sends = Sends()
        self._batch_free_s = 0.0
        self._session = Session(self._ex, self._sends)
        self._clock: asyncio.Task[None] | None = None
        self._listen_key = ""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._ex.urls['api']['spot']['private']})"

    # --- connection --------------------------------------------------------------------------------------------------
    async def connect(self, on_frame: OnFrame) -> None:
        """Set the clock, get a listen key, subscribe; raises ``VenueUnreachable``."""
        await self._session.end()
        ex = self._ex
        ex.open()
        self._halting.open()
        ex.on_frame = on_frame
        await self._set_clock()
        key = wire.read(await self._ask(ex.spotPrivatePostUserDataStream, {}), dict[str, str]).get("listenKey", "")
        ex.token = self._listen_key = key  # ccxt's ``token`` is blotted out of error messages
        try:
            stream = await ex.stream(f"{ex.public_url}?listenKey={key}", PRIVATE_TOPICS, self._timeout_s)
        except VenueUnreachable:
            await drop_sockets(ex)
            raise
        self._session.begin(stream, self._keep_listening(key))

    async def _keep_listening(self, key: str) -> None:
        """Renew the listen key; ends when the venue refuses it."""
        wait_s = self._renew_s
        while True:
            await asyncio.sleep(wait_s)
            answer = await attempt(self._ex, lambda: self._ex.spotPrivatePutUserDataStream({"listenKey": key}))
            if answer.end == "certain" and answer.error:
                raise VenueUnreachable(f"mexc: the listen key was not renewed: {answer.error}")
            wait_s = self._renew_s if answer.ok else min(self._renew_s / 10, 30.0)

    async def closed(self) -> None:
        """Return when the private stream has ended, a silent stall included."""
        await self._session.closed()

    async def close(self) -> None:
        """End every connection; what is under way has a moment."""
        await self._sends.drain(0.2)
        await self._session.end()
        if self._clock is not None:
            self._clock.cancel()
        if self._listen_key:
            with contextlib.suppress(TimeoutError):
                end = {"listenKey": self._listen_key}
                call = attempt(self._ex, lambda: self._ex.spotPrivateDeleteUserDataStream(end))
                await asyncio.wait_for(call, 0.5)
            self._listen_key = ""
        await close_exchange(self._ex, self._halting)

    def _skewed(self, ms: int) -> None:
        self._ex.skew_ms = self._halting.skew_ms = ms

    async def _set_clock_again(self) -> None:
        with contextlib.suppress(VenueUnreachable):  # then the next refusal tries again
            await self._set_clock()

    # --- orders ------------------------------------------------------------------------------------------------------
    async def place(self, symbol: str, client_order_id: str, side: int, price: Decimal, size: Decimal) -> None:
        """Send one post-only limit order."""
        reply = replies.request("place", OrderRequest(symbol, client_order_id, side, price, size))
        await self._start(
            self._send(self._ex.spotPrivatePostOrder, answers.create(reply, "LIMIT_MAKER"), reply, "place")
        )

    async def place_batch(self, orders: Sequence[OrderRequest]) -> None:
        """Send several post-only limit orders, those of a symbol in one request."""
        for symbol in dict.fromkeys(order.symbol for order in orders):
            rows = [replies.request("place", order) for order in orders if order.symbol == symbol]
            for at in range(0, len(rows), BATCH):
                await self._start(self._send_batch(rows[at : at + BATCH]))

    async def place_reduce_only_ioc(
        self, symbol: str, client_order_id: str, side: int, price: Decimal, size: Decimal
    ) -> None:
        """Send the one taker order of the desk, a sale: no purchase reduces what is held on a spot market."""
        reply = replies.request("reduce", OrderRequest(symbol, client_order_id, side, price, size))
        if side > 0:
            replies.not_sent(reply, "a purchase reduces nothing on a spot market")
            self._tell(reply)
            return
        params = answers.create(reply, "IMMEDIATE_OR_CANCEL")
        await self._start(self._send(self._ex.spotPrivatePostOrder, params, reply, "place"))

    async def cancel(self, symbol: str, client_order_id: str) -> None:
        """Send one cancel."""
        reply = replies.cancel_request(symbol, client_order_id)
        params = answers.named(symbol, client_order_id)
        await self._start(self._send(self._ex.spotPrivateDeleteOrder, params, reply, "cancel"), cancel=True)

    async def cancel_all(self) -> int:
        """Cancel every open order: symbol by symbol, which says how many there were, then whatever is left."""
        self._sends.pull()
        ex, canceled = self._halting, 0
        ex.open()
        await self._find_symbols(lambda call, params: ask(ex, lambda: call(params)))
        for symbols in self._symbol_groups():
            answer = await _cancel_symbols(ex, symbols)
            if not answer.ok:
                break
            canceled += len(answer.data)
        await ask(ex, lambda: ex.spotPrivateDeleteOrderAll({}))
        return canceled

    async def _start(self, send: Any, *, cancel: bool = False) -> None:
        try:
            self._session.need()
        except VenueUnreachable:
            send.close()
            raise
        await self._sends.start(send, cancel=cancel)

    async def _send(self, call: Query, params: dict[str, Any], reply: replies.Reply, kind: str) -> None:
        """One request to its end; the answer, or that there is none, goes the way of the private frames."""
        try:
            await self._sends.turn(self._budget, kind)
        except VenueUnreachable as exc:
            replies.not_sent(reply, exc)
        else:
            answers.judge(await attempt(self._ex, lambda: call(params)), reply)
        self._tell(reply)

    async def _send_batch(self, rows: list[replies.Reply]) -> None:
        wait_s = self._batch_free_s - time.monotonic()
        self._batch_free_s = max(self._batch_free_s, time.monotonic()) + BATCH_EVERY_S
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        try:
            await self._sends.turn(self._budget, "place", len(rows))
        except VenueUnreachable as exc:
            for reply in rows:
                replies.not_sent(reply, exc)
                self._tell(reply)
            return
        legs = msgspec.json.encode([answers.create(reply, "LIMIT_MAKER") for reply in rows]).decode()
        answer = await attempt(self._ex, lambda: self._ex.spotPrivatePostBatchOrders({"batchOrders": legs}))
        for reply in rows:
            answers.judge_leg(answer, reply)
            self._tell(reply)

    def _tell(self, reply: replies.Reply) -> None:
        if reply.op != "cancel" and isinstance(reply.body, dict) and reply.body.get("orderId"):
            self._remember(str(reply.body["orderId"]), reply.cid)
        if reply.code == wire.STALE_CLOCK and (self._clock is None or self._clock.done()):
            self._clock = asyncio.create_task(self._set_clock_again())
        if self._ex.on_frame is not None:
            self._ex.on_frame(replies.frame(reply), time.time_ns())


async def _cancel_symbols(ex: Any, symbols: str) -> Answer:
    answer = await attempt(ex, lambda: ex.spotPrivateDeleteOpenOrders({"symbol": symbols}))
    answer.data = answer.data if isinstance(answer.data, list) else []
    return answer
