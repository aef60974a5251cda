"""Clients of Hyperliquid perpetuals: ccxt.pro signs and carries, the codec reads.

Orders are signed actions over the account's WebSocket: one write, no HTTP, and nothing of the venue's small budget of
REST requests, which queries, cancel-all, the dead man and leverage use. When the socket ends, what was not answered is
unknown. The answer to a batch has a status for each order: ccxt raises for all of them when one is an error, so it is
the raw answer that counts. One agent key (API wallet) per process: nonces are per key.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

import msgspec

from mm.core.instrument import Instrument
from mm.errors import VenueUnreachable
from mm.venues import replies
from mm.venues.base import Caps, OnFrame, OrderRequest, Permissions
from mm.venues.ccxt_base import close_exchange, drop_sockets, until_broken
from mm.venues.ccxt_calls import Answer
from mm.venues.ccxt_session import Session
from mm.venues.hyperliquid.account import HyperliquidAccount, instrument, universe
from mm.venues.hyperliquid.exchange import TIMEOUT_S, make_hyperliquid
from mm.venues.hyperliquid.rules import price_allowed, to_cloid, venue_number
from mm.venues.readable import readable
from mm.venues.sends import Sends

BATCH: Final = 40  # orders of one request that weigh no more than one
DEAD_MAN_S: Final = (5.0, 86_400.0)
_LEAD_S: Final = 5.5  # the venue wants five seconds when it reads the request
_LAG_S: Final = 0.5
_OFF_GRID: Final = "Price must be divisible by tick size. (not sent)"
_NO_VOLUME: Final = "until enough volume traded"
_PUBLIC: Final = ("l2Book", "bbo", "trades", "activeAssetCtx")
_PRIVATE: Final = ("orderUpdates", "userFills", "userEvents", "clearinghouseState")


class HyperliquidPublicClient:
    """Market data of some symbols (``mm.venues.base.PublicClient``)."""

    quiet_s = 10.0  # market data that is silent for so long has ended, whatever the pongs say

    def __init__(self, options: Mapping[str, Any], symbols: Sequence[str]) -> None:
        self._ex = make_hyperliquid(options, private=False)
        self._symbols = list(symbols)
        self._timeout_s = float(options.get("timeout_s", TIMEOUT_S))
        self._closing = False

    async def instruments(self) -> list[Instrument]:
        """Every listed perpetual at its present price level."""
        self._ex.open()
        perps, contexts = await universe(self._ex)
        listed = [(p, c) for p, c in zip(perps, contexts, strict=True) if not p.isDelisted]
        return [instrument(perp, ctx) for perp, ctx in listed]

    async def run(self, on_frame: OnFrame) -> None:
        """Deliver frames until the connection ends: returns after ``close``, else raises ``VenueUnreachable``."""
        ex = self._ex
        self._closing = False
        ex.open()
        ex.on_frame = on_frame
        subscriptions = [{"type": kind, "coin": symbol} for symbol in self._symbols for kind in _PUBLIC]
        try:
            await until_broken(ex, *await ex.streams(subscriptions, self._timeout_s), self._silence())
        except VenueUnreachable:
            if not self._closing:
                raise
        finally:
            await drop_sockets(ex)

    async def _silence(self) -> None:
        """Raise when pongs come and market data does not: books are told twice a second, changed or not."""
        pause_s = self.quiet_s / 4
        while True:
            before_s = time.monotonic()
            await asyncio.sleep(pause_s)
            now_s = time.monotonic()
            late = now_s - before_s > pause_s + _LAG_S  # it may be us who did not read
            if not late and now_s - self._ex.data_s > self.quiet_s:
                raise VenueUnreachable(f"no market data for {self.quiet_s:g} s")

    async def resync(self, symbol: str) -> None:
        """Subscribe to a book again: it begins whole."""
        socket = self._ex.clients.get(self._ex.url)
        if socket is None or socket.closed():
            raise VenueUnreachable("hyperliquid: not connected")
        try:
            for method in ("unsubscribe", "subscribe"):
                await socket.send({"method": method, "subscription": {"type": "l2Book", "coin": symbol}})
        except ConnectionError as exc:
            raise VenueUnreachable(f"hyperliquid: {exc}") from exc

    async def close(self) -> None:
        """End every connection."""
        self._closing = True
        await close_exchange(self._ex)


@readable
class HyperliquidTradingClient(HyperliquidAccount):
    """One account (``mm.venues.base.TradingClient``). ``budget`` in the options: the account's rate budget."""

    caps = Caps(batch=BATCH, amend=True, dead_man_s=DEAD_MAN_S, leverage=True, funding=True, post_only_sync=True)

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__(options)
        self._halting = make_hyperliquid(options, private=True)  # connections of its own: a halt waits behind nothing
        self._timeout_s = float(options.get("timeout_s", TIMEOUT_S))
        self._sends = Sends()
        self._session = Session(self._ex, self._sends, self._ex.give_up)
        self._known = False  # the venue knows our key as one of this account's
        self._sides: dict[str, int] = {}  # of orders placed, for amendments

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._ex.urls['api']['private']})"

    # --- connection --------------------------------------------------------------------------------------------------
    async def connect(self, on_frame: OnFrame) -> None:
        """Compare clocks, learn the asset numbers, subscribe; raises ``VenueUnreachable``."""
        await self._session.end()
        ex = self._ex
        ex.open()
        self._halting.open()
        ex.on_frame = on_frame
        sent_ms = time.time() * 1e3
        venue_ms = await self.server_time_ns() // 1_000_000
        self._behind_ms = round((sent_ms + time.time() * 1e3) / 2 - venue_ms)
        await self._learn(ex, self._budget)
        if not self._known:
            await self._check_agent()
            self._known = True
        try:
            watches = await ex.streams([{"type": kind, "user": self.user} for kind in _PRIVATE], self._timeout_s)
        except VenueUnreachable:
            await drop_sockets(ex)
            raise
        self._session.begin(*watches)

    async def closed(self) -> None:
        """Return when the private connection has ended, a silent stall included."""
        await self._session.closed()

    async def close(self) -> None:
        """End every connection; what is under way has a moment."""
        await self._sends.drain(0.2)
        await self._session.end()
        await close_exchange(self._ex, self._halting)

    # --- orders ------------------------------------------------------------------------------------------------------
    async def place(self, symbol: str, client_order_id: str, side: int, price: Decimal, size: Decimal) -> None:
        """Send one post-only limit order."""
        await self.place_batch([OrderRequest(symbol, client_order_id, side, price, size)])

    async def place_batch(self, orders: Sequence[OrderRequest]) -> None:
        """Send several post-only limit orders in one request."""
        for at in range(0, len(orders), BATCH):
            await self._place("place", orders[at : at + BATCH], "Alo")

    async def place_reduce_only_ioc(
        self, symbol: str, client_order_id: str, side: int, price: Decimal, size: Decimal
    ) -> None:
        """Send the one taker order of the desk."""
        await self._place("reduce", [OrderRequest(symbol, client_order_id, side, price, size)], "Ioc")

    async def _place(self, op: replies.Op, orders: Sequence[OrderRequest], tif: str) -> None:
        asked, legs = [], []
        for order in orders:
            reply = replies.request(op, order)
            cloid = to_cloid(order.client_order_id)
            if self._refused(reply, order.price):
                continue
            asked.append(reply)
            legs.append(self._leg(order, cloid, tif))
        if legs:
            action = {"type": "order", "orders": legs, "grouping": "na"}
            await self._sends.start(self._send("place", action, asked))

    async def amend(self, symbol: str, client_order_id: str, price: Decimal, size: Decimal) -> None:
        """Cancel and place under the same id in one action; the order loses its place in the queue.

        When the new price would cross, the old order is gone all the same.
        """
        state = None if client_order_id in self._sides else await self.order(symbol, client_order_id)
        side = self._sides.get(client_order_id) or (state.side if state is not None else 1)
        order = OrderRequest(symbol, client_order_id, side, price, size)
        reply, cloid = replies.request("amend", order), to_cloid(client_order_id)
        if not self._refused(reply, price):
            modify = {"oid": cloid, "order": self._leg(order, cloid, "Alo")}
            await self._sends.start(self._send("amend", {"type": "batchModify", "modifies": [modify]}, [reply]))

    async def cancel(self, symbol: str, client_order_id: str) -> None:
        """Send one cancel."""
        reply = replies.cancel_request(symbol, client_order_id)
        if self._refused(reply, None):
            return
        asset, number = self._assets[symbol][0], venue_number(client_order_id)
        if number is None:
            leg = {"asset": asset, "cloid": to_cloid(client_order_id)}
            action: dict[str, Any] = {"type": "cancelByCloid", "cancels": [leg]}
        else:
            action = {"type": "cancel", "cancels": [{"a": asset, "o": number}]}
        await self._sends.start(self._send("cancel", action, [reply]), cancel=True)

    def _refused(self, reply: replies.Reply, price: Decimal | None) -> bool:
        """Say no to what the venue would certainly refuse; raises ``VenueUnreachable`` without a connection."""
        self._session.need()
        asset = self._assets.get(reply.symbol)
        if asset is None:
            reply.text = f"hyperliquid has no perpetual {reply.symbol!r}"
        elif price is not None and not price_allowed(price, asset[1]):
            reply.text = _OFF_GRID
        else:
            return False
        reply.raymaker = "no"
        self._tell(reply)
        return True

    def _leg(self, order: OrderRequest, cloid: str, tif: str) -> dict[str, Any]:
        if len(self._sides) >= 4_096:
            del self._sides[next(iter(self._sides))]
        self._sides[order.client_order_id] = order.side
        return {
            "a": self._assets[order.symbol][0],
            "b": order.side > 0,
            "p": _plain(order.price),
            "s": _plain(order.size),
            "r": tif == "Ioc",
            "t": {"limit": {"tif": tif}},
            "c": cloid,
        }

    async def _send(self, kind: str, action: Mapping[str, Any], asked: list[replies.Reply]) -> None:
        """One request to its end; the answer, or that there is none, goes the way of the private frames."""
        try:
            await self._sends.turn(self._budget, kind)
        except VenueUnreachable as exc:
            for reply in asked:
                replies.not_sent(reply, exc)
        else:
            _judge(await self._ex.act_by_socket(action, self._timeout_s), asked)
        for reply in asked:
            self._tell(reply)

    def _tell(self, reply: replies.Reply) -> None:
        on_frame = self._ex.on_frame
        if on_frame is not None:
            on_frame(replies.frame(reply), time.time_ns())

    # --- the account -------------------------------------------------------------------------------------------------
    async def cancel_all(self) -> int:
        """Cancel what the venue shows as open; returns how many that was."""
        self._sends.pull()
        ex = self._halting
        ex.open()
        rows = await self._open(ex, None)
        legs = [{"a": self._assets[o.coin][0], "o": o.oid} for o in rows]
        for at in range(0, len(legs), BATCH):
            if self._budget is not None:
                self._budget.note("cancel_all")
            answer = await ex.act({"type": "cancel", "cancels": legs[at : at + BATCH]})
            if answer.end != "certain" or _statuses(answer) is None:
                raise VenueUnreachable(f"hyperliquid: cancel-all: {answer.error or answer.body[:200]}")
        return len(rows)

    async def arm_dead_man(self, timeout_s: float) -> None:
        """Cancel everything unless called again in time (5 s at least); 0 disarms.

        Raises:
            NotImplementedError: the venue does not grant it to an account that has traded so little.
        """
        action: dict[str, Any] = {"type": "scheduleCancel"}
        if timeout_s > 0:
            lead_s = min(max(timeout_s, _LEAD_S), DEAD_MAN_S[1])
            action["time"] = round(time.time() * 1e3 - self._behind_ms + lead_s * 1e3)
        await self._change(action)

    async def permissions(self) -> Permissions:
        """What a key may do follows from whose it is; the venue is not asked."""
        raise NotImplementedError("this venue does not say what a key may do; an API wallet cannot withdraw")

    async def set_leverage(self, symbol: str, leverage: int) -> None:
        """Isolated margin and leverage of a symbol; harmless when it is so already."""
        asset = self._assets.get(symbol)
        if asset is None:
            raise VenueUnreachable(f"hyperliquid: no perpetual {symbol!r}, or not connected")
        await self._change({"type": "updateLeverage", "asset": asset[0], "isCross": False, "leverage": leverage})

    async def _change(self, action: Mapping[str, Any]) -> None:
        if self._budget is not None:
            await self._budget.take("query")
        answer = await self._ex.act(action)
        if not answer.ok:
            words = _refusal(answer) or answer.error
            if _NO_VOLUME in words:
                raise NotImplementedError(f"hyperliquid: {words}")
            raise VenueUnreachable(f"hyperliquid: {action['type']}: {words}")


def _plain(number: Decimal) -> str:
    """Without trailing zeros: what is signed is what the venue hashes."""
    return format(number.normalize(), "f")


def _body(answer: Answer) -> Any:
    try:
        return msgspec.json.decode(answer.body)
    except msgspec.MsgspecError:
        return None


def _refusal(answer: Answer) -> str:
    """The venue's words when it refused a whole action, else ""."""
    body = _body(answer)
    if answer.end == "certain" and isinstance(body, dict) and body.get("status") == "err":
        return str(body.get("response"))
    return ""


def _statuses(answer: Answer) -> list[Any] | None:
    """The statuses of an action that the venue took, None when there are none."""
    body = _body(answer)
    try:
        found = body["response"]["data"]["statuses"]
    except (KeyError, TypeError):
        return None
    return found if isinstance(found, list) else None


def _judge(answer: Answer, asked: list[replies.Reply]) -> None:
    """Write into each request what became of it."""
    refusal = _refusal(answer)
    statuses = _statuses(answer) if answer.end == "certain" else None
    if answer.end == "unsent" or refusal:
        for reply in asked:
            reply.raymaker, reply.text = "no", refusal or answer.error
            reply.code = "" if refusal else "not sent"
        return
    if statuses is not None and len(statuses) == 1 and "error" in statuses[0]:
        statuses *= len(asked)  # refused before it was looked at leg by leg
    if statuses is None or len(statuses) != len(asked):
        for reply in asked:
            reply.text = answer.error or f"an answer that cannot be read: {answer.body[:200]}"
        return
    for reply, status in zip(asked, statuses, strict=True):
        reply.raymaker, reply.body = "ok", status
