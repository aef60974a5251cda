"""ApeX Omni over the wire, through apexomni: frames in, requests out, no opinion on either."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import partial
from operator import methodcaller
from typing import Any, Final

from mm.core.instrument import Instrument
from mm.errors import ConfigError, VenueUnreachable
from mm.venues import replies
from mm.venues.apex import wire
from mm.venues.apex.account import Account
from mm.venues.apex.rest import NO_KEYS, Keys, Outcome, Rest, Tuning
from mm.venues.apex.shim import load
from mm.venues.apex.sockets import Link
from mm.venues.apex.spec import instruments_of
from mm.venues.base import Caps, NotOffered, OnFrame, OrderRequest
from mm.venues.readable import readable
from mm.venues.replies import Reply
from mm.venues.sends import Sends
from mm.venues.settings import Endpoints

_DRAIN_S: Final = 1.5
MAX_BATCH: Final = 10
_COUNT_S: Final = 0.5  # the answer to "cancel all" is empty: so long it waits for somebody to count


class ApexPublicClient:
    """Market data of some symbols (``mm.venues.base.PublicClient``)."""

    def __init__(self, where: Endpoints, symbols: Sequence[str], tuning: Tuning) -> None:
        self._where = where
        self._symbols = list(symbols)
        self._tuning = tuning
        self._link: Link | None = None

    async def instruments(self) -> list[Instrument]:
        """All perpetuals of the venue."""
        rest = Rest(self._where.rest, NO_KEYS, self._tuning, threads=1)
        try:
            return instruments_of(await rest.ask(lambda library: library.configs_v3()))
        finally:
            rest.close()

    async def run(self, on_frame: OnFrame) -> None:
        """Deliver frames until the connection ends: returns after ``close``, else raises ``VenueUnreachable``."""
        await self.close()
        link = self._link = Link(self._where.ws, on_frame, self._tuning)
        try:
            await link.open()
            for symbol in self._symbols:
                name = wire.topic_symbol(symbol)
                link.expect(wire.BOOK_TOPIC + name)
                link.subscribe(partial(_subscribe, name=name))
            if await link.ended is not None:
                raise link.gone()
        finally:
            await link.close()

    async def resync(self, symbol: str) -> None:
        """Subscribe to one book again: it begins with a snapshot."""
        if self._link is None or self._link.ended.done():
            raise VenueUnreachable("apex: the feed is not connected")
        name = wire.topic_symbol(symbol)
        topic = wire.BOOK_TOPIC + name
        self._link.expect(topic)
        self._link.subscribe(lambda api: api.unsub_depth_topic_stream(_nobody, topic))
        self._link.subscribe(lambda api: api.depth_stream(_nobody, name, wire.BOOK_DEPTH))

    async def close(self) -> None:
        """End the connection, if there is one."""
        link, self._link = self._link, None
        if link is not None:
            await link.close()


@readable
class ApexTradingClient(Account, NotOffered):
    """One account (``mm.venues.base.TradingClient``).

    Orders, cancels, queries and the halt have sessions and threads of their own: a slow one never delays another.
    """

    caps = Caps(batch=MAX_BATCH, leverage=True, funding=True)

    def __init__(self, where: Endpoints, keys: Keys, tuning: Tuning) -> None:
        super().__init__(Rest(where.rest, keys, tuning, "query", threads=3))
        self._where = where
        self._keys = keys
        self._tuning = tuning
        self._orders = Rest(where.rest, keys, tuning, "place", threads=6)
        self._cancels = Rest(where.rest, keys, tuning, "cancel", threads=4)
        self._halt = Rest(where.rest, keys, tuning, "", threads=2)
        self._sends = Sends()
        self._on_frame: OnFrame | None = None
        self._link: Link | None = None

    def __repr__(self) -> str:
        return f"ApexTradingClient({self._where.rest})"

    async def connect(self, on_frame: OnFrame) -> None:
        """Learn what orders are signed with, then sign in; from now on private frames arrive at ``on_frame``."""
        self._sends.pull()
        if self._link is not None:
            await self._link.close()
        await self._orders.ask(lambda library: library.configs_v3())
        account = await self._orders.ask(lambda library: library.get_account_v3())
        if not isinstance(account, dict) or not str(account.get("id", "")).isdigit():
            raise VenueUnreachable("apex: the account has no number")
        stated, own = str(account.get("l2Key") or "").lower(), self._orders.l2_key().lower()
        if stated and stated.removeprefix("0x") != own.removeprefix("0x"):
            raise ConfigError(
                "venue apex: zk_seeds are not those of the account of api_key: its orders would be refused"
            )
        self._on_frame = on_frame
        link = Link(self._where.ws, on_frame, self._tuning, self._keys)
        await link.open()
        self._link = link

    async def closed(self) -> None:
        """Return when the private connection has ended, for whatever reason."""
        if self._link is not None:
            await asyncio.shield(self._link.ended)

    async def close(self) -> None:
        """Give what is under way a moment, then end everything; ``connect`` and ``cancel_all`` begin again."""
        self._sends.pull()
        await self._sends.drain(_DRAIN_S)
        link, self._link = self._link, None
        if link is not None:
            await link.close()
        for rest in (self._orders, self._cancels, self._queries, self._halt):
            rest.close()

    # --- orders ------------------------------------------------------------------------------------------------------
    async def place(self, symbol: str, client_order_id: str, side: int, price: Decimal, size: Decimal) -> None:
        """Send one post-only limit order."""
        self._connected()
        reply = replies.request("place", OrderRequest(symbol, client_order_id, side, price, size))
        await self._sends.start(self._place(reply, timeInForce="POST_ONLY"))

    async def place_reduce_only_ioc(
        self, symbol: str, client_order_id: str, side: int, price: Decimal, size: Decimal
    ) -> None:
        """Send the one taker order of the desk."""
        self._connected()
        reply = replies.request("reduce", OrderRequest(symbol, client_order_id, side, price, size))
        await self._sends.start(self._place(reply, timeInForce="IMMEDIATE_OR_CANCEL", reduceOnly=True))

    async def place_batch(self, orders: Sequence[OrderRequest]) -> None:
        """Send several post-only limit orders in one request."""
        if not 0 < len(orders) <= MAX_BATCH:
            raise ConfigError(f"venue apex: a batch holds 1 to {MAX_BATCH} orders, not {len(orders)}")
        self._connected()
        told = [replies.request("place", o) for o in orders]
        await self._sends.start(self._place_batch(told))

    async def cancel(self, symbol: str, client_order_id: str) -> None:
        """Send one cancel."""
        self._connected()
        reply = replies.cancel_request(symbol, client_order_id)
        await self._sends.start(self._cancel(reply), cancel=True)

    async def cancel_all(self) -> int:
        """Cancel everything; returns how many orders were open. Waits for no other request of ours."""
        self._sends.pull()
        asked = asyncio.create_task(self._halt.send(lambda library: library.open_orders_v3()))
        await asyncio.wait([asked], timeout=_COUNT_S)
        outcome = await self._halt.send(lambda library: library.delete_open_orders_v3())
        listed = await asked
        if outcome.end != "ok" and outcome.text != wire.NOT_FOUND:
            raise VenueUnreachable(f"apex: cancel all: {outcome.text}")
        return len(listed.data) if listed.end == "ok" and isinstance(listed.data, list) else 0

    async def set_leverage(self, symbol: str, leverage: int) -> None:
        """Initial margin rate of one market; the venue has cross margin only."""
        rate = format(round(Decimal(1) / leverage, 4).normalize(), "f")
        set_rate = methodcaller("set_initial_margin_rate_v3", symbol=symbol, initialMarginRate=rate)
        await self._orders.ask(set_rate)

    def _connected(self) -> None:
        """Without the private stream nobody would hear what becomes of an order."""
        if self._link is None or self._link.ended.done():
            raise VenueUnreachable("apex: not connected")

    async def _place(self, reply: Reply, **options: Any) -> None:
        def call(library: Any) -> Any:
            return library.create_order_v3(
                symbol=reply.symbol, side=wire.SIDE_NAME[reply.side], type="LIMIT", size=reply.qty, price=reply.px,
                clientId=reply.cid, **options,
            )  # fmt: skip

        self._tell(reply, await self._orders.send(call, self._sends.wanted()))

    async def _place_batch(self, told: list[Reply]) -> None:
        def call(library: Any) -> Any:
            model = load("apexomni.models").CreateOrderModel
            return library.create_batch_orders_v3(
                [
                    model(symbol=r.symbol, side=wire.SIDE_NAME[r.side], type="LIMIT", size=r.qty, price=r.px,
                          clientId=r.cid, timeInForce="POST_ONLY")
                    for r in told
                ]
            )  # fmt: skip

        outcome = await self._orders.send(call, self._sends.wanted())
        answers = outcome.data if outcome.end == "ok" and isinstance(outcome.data, list) else []
        by_cid = {str(a.get("clientId") or a.get("clientOrderId")): a for a in answers if isinstance(a, dict)}
        for reply in told:
            self._tell(reply, outcome if outcome.end != "ok" else _of_batch(by_cid.get(reply.cid)))

    async def _cancel(self, reply: Reply) -> None:
        outcome = await self._cancels.send(lambda library: library.delete_order_by_client_order_id_v3(id=reply.cid))
        self._tell(reply, outcome)

    def _tell(self, reply: Reply, outcome: Outcome) -> None:
        """The outcome of a request as a frame among the venue's own."""
        reply.raymaker, reply.code, reply.text, reply.body = outcome.end, outcome.code, outcome.text, outcome.data
        if self._on_frame is not None:
            self._on_frame(replies.frame(reply), time.time_ns())


def _of_batch(answer: Mapping[str, Any] | None) -> Outcome:
    """One order of a batch."""
    if answer is None:
        return Outcome("unknown", text="the answer to the batch does not name this order")
    code = str(answer.get("code") or "0")
    if code == "0":
        return Outcome("ok", data=dict(answer))
    end: Any = "unknown" if code in wire.UNDECIDED_CODES else "no"
    return Outcome(end, code=code, text=str(answer.get("key") or answer.get("msg") or f"code {code}")[:300])


def _subscribe(api: Any, name: str) -> None:
    api.depth_stream(_nobody, name, wire.BOOK_DEPTH)
    api.trade_stream(_nobody, name)
    api.ticker_stream(_nobody, name)


def _nobody(_message: Any) -> None:
    """The library wants a listener for every topic; frames went to ours before."""
