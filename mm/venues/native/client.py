"""Clients of the local exchange: one socket each, the last byte of a frame is stamped and handed on at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

import msgspec

from mm.core.instrument import Instrument
from mm.errors import VenueUnreachable
from mm.venues.base import Caps, FillRecord, FundingPayment, NotOffered, OnFrame, OpenOrder, OrderState, Position
from mm.venues.native import wire
from mm.venues.native.spec import instruments_from_reply

TIMEOUT_S: Final = 5.0
_REPLY: Final = b'{"type":"reply"'  # the exchange writes the type first
_ERROR: Final = b'{"type":"error"'

_decode_answer = msgspec.json.Decoder(wire.Reply | wire.Error).decode


class _Link(asyncio.Protocol):
    """One connection: frames go to ``on_frame``, answers to whoever asked."""

    def __init__(self, where: str, on_frame: OnFrame | None) -> None:
        self.where = where
        self.on_frame = on_frame
        self.ended: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        self._splitter = wire.Splitter(wire.MAX_MESSAGE)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._last_id = 0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        ts_recv_ns = time.time_ns()
        try:
            for raw in self._splitter.feed(data):
                if raw.startswith((_REPLY, _ERROR)) and self._answer(raw):
                    continue
                if self.on_frame is not None:
                    self.on_frame(raw, ts_recv_ns)
        except Exception as exc:  # noqa: BLE001  whatever it was, ``closed`` tells it: a feed must not die in silence
            self._end(exc)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(exc)

    def send(self, request: wire.AnyRequest) -> None:
        """Write one request; raises ``VenueUnreachable`` when the connection has ended."""
        if self._transport is None or self.ended.done():
            raise self.gone()
        self._transport.write(wire.frame(request))

    async def ask(self, request: wire.AnyRequest, timeout_s: float) -> Any:
        """Send a request and return the data of its reply; raises ``VenueUnreachable``."""
        self._last_id += 1
        request.req_id = number = self._last_id
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            self.send(request)
            return await asyncio.wait_for(answer, timeout_s)
        except TimeoutError as exc:
            raise VenueUnreachable(f"{self.where}: no answer to {type(request).__name__} in {timeout_s:g} s") from exc
        finally:
            self._waiting.pop(number, None)

    def close(self) -> None:
        """End the connection."""
        self._end(None)

    def gone(self) -> VenueUnreachable:
        """The error that says how the connection ended."""
        fault = self.ended.result() if self.ended.done() else None
        why = f"the connection ended ({fault})" if fault else "the exchange closed the connection"
        return VenueUnreachable(f"{self.where}: {why}; see the log of the exchange, then connect again")

    def _answer(self, raw: bytes) -> bool:
        """Give a reply to its request; False when nobody waits for it."""
        message = _decode_answer(raw)
        future = self._waiting.get(message.req_id) if message.req_id is not None else None
        if future is None or future.done():
            return isinstance(message, wire.Reply)
        if isinstance(message, wire.Reply):
            future.set_result(message.data)
        else:
            future.set_exception(VenueUnreachable(f"{self.where}: {message.code}: {message.message}"))
        return True

    def _end(self, exc: Exception | None) -> None:
        if self.ended.done():
            return
        self.ended.set_result(exc)
        if self._transport is not None:
            self._transport.abort() if exc else self._transport.close()
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(self.gone())


class _Client:
    """What both clients share: an address and, once opened, a link."""

    def __init__(self, host: str, port: int, timeout_s: float = TIMEOUT_S) -> None:
        self._host = host
        self._port = port
        self._timeout_s = timeout_s
        self._open: _Link | None = None

    @property
    def where(self) -> str:
        """host:port."""
        return f"{self._host}:{self._port}"

    async def _connect(self, on_frame: OnFrame | None, first: wire.AnyRequest | None = None) -> _Link:
        """Open a new connection in place of the old one; its ``first`` request must succeed."""
        await self.close()
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._timeout_s):
                _, link = await loop.create_connection(lambda: _Link(self.where, on_frame), self._host, self._port)
        except (OSError, TimeoutError) as exc:
            raise VenueUnreachable(
                f"{self.where}: cannot connect ({str(exc) or 'timed out'}); start the exchange or correct its address"
            ) from exc
        self._open = link
        if first is not None:
            try:
                await self._ask(first)
            except VenueUnreachable:
                await self.close()
                raise
        return link

    @property
    def _link(self) -> _Link:
        if self._open is None:
            raise VenueUnreachable(f"{self.where}: not connected; connect first")
        return self._open

    async def _ask(self, request: wire.AnyRequest) -> Any:
        return await self._link.ask(request, self._timeout_s)

    async def close(self) -> None:
        """End the connection, if there is one."""
        if self._open is not None:
            self._open.close()
            self._open = None


class NativePublicClient(_Client):
    """Market data of some symbols (``mm.venues.base.PublicClient``)."""

    def __init__(self, host: str, port: int, symbols: Sequence[str], timeout_s: float = TIMEOUT_S) -> None:
        super().__init__(host, port, timeout_s)
        self._symbols = list(symbols)

    async def instruments(self) -> list[Instrument]:
        """All instruments of the exchange; before ``run`` on a connection of its own."""
        if self._open is not None:
            return instruments_from_reply(await self._ask(wire.Instruments()))
        await self._connect(None)
        try:
            return instruments_from_reply(await self._ask(wire.Instruments()))
        finally:
            await self.close()

    async def run(self, on_frame: OnFrame) -> None:
        """Deliver frames until the connection ends: returns after ``close``, else raises ``VenueUnreachable``."""
        link = await self._connect(on_frame, wire.Subscribe(symbols=self._symbols))
        fault = await link.ended
        if self._open is link:
            raise link.gone() from fault

    async def resync(self, symbol: str) -> None:
        """Ask for a fresh snapshot; it arrives at ``on_frame``."""
        self._link.send(wire.Resync(symbol=symbol))


class NativeTradingClient(NotOffered, _Client):
    """One account (``mm.venues.base.TradingClient``). ``place`` and ``cancel`` write and return."""

    caps = Caps(amend=True, dead_man_s=(0.1, 86_400.0), leverage=True, funding=True)

    def __init__(self, host: str, port: int, token: str, timeout_s: float = TIMEOUT_S) -> None:
        super().__init__(host, port, timeout_s)
        self._token = token

    async def connect(self, on_frame: OnFrame) -> None:
        """Log in; from now on private frames arrive at ``on_frame``."""
        await self._connect(on_frame, wire.Login(token=self._token))

    async def place(self, symbol: str, client_order_id: str, side: int, price: Decimal, size: Decimal) -> None:
        """Send one post-only limit order."""
        request = wire.Place(
            symbol=symbol,
            cid=client_order_id,
            side=wire.SIDE_NAME[side],
            px=format(price, "f"),
            qty=format(size, "f"),
            post_only=True,
        )
        self._link.send(request)

    async def place_reduce_only_ioc(
        self, symbol: str, client_order_id: str, side: int, price: Decimal, size: Decimal
    ) -> None:
        """Send the one taker order of the desk."""
        request = wire.Place(
            symbol=symbol,
            cid=client_order_id,
            side=wire.SIDE_NAME[side],
            px=format(price, "f"),
            qty=format(size, "f"),
            tif="IOC",
            reduce_only=True,
        )
        self._link.send(request)

    async def amend(self, symbol: str, client_order_id: str, price: Decimal, size: Decimal) -> None:
        """Send a new price and a new open size."""
        self._link.send(wire.Amend(cid=client_order_id, symbol=symbol, px=format(price, "f"), qty=format(size, "f")))

    async def cancel(self, symbol: str, client_order_id: str) -> None:
        """Send one cancel."""
        self._link.send(wire.Cancel(cid=client_order_id, symbol=symbol))

    async def cancel_all(self) -> int:
        """Cancel everything; returns how many orders were open."""
        return int((await self._ask(wire.CancelAll()))["canceled"])

    async def arm_dead_man(self, timeout_s: float) -> None:
        """Let the exchange cancel everything unless called again in time; 0 disarms."""
        await self._ask(wire.DeadMan(timeout_s=timeout_s))

    async def set_leverage(self, symbol: str, leverage: int) -> None:
        """Leverage of a contract; margin is isolated here always."""
        await self._ask(wire.SetLeverage(symbol=symbol, leverage=leverage))

    async def account(self, symbol: str) -> wire.AccountView:
        """Money in the settlement currency of a symbol."""
        return msgspec.convert(await self._ask(wire.AccountQuery(symbol=symbol)), wire.AccountView)

    async def funding(self, since_ns: int) -> list[FundingPayment]:
        """Funding settlements, oldest first."""
        rows = msgspec.convert(await self._ask(wire.FundingQuery(since=since_ns)), list[wire.FundingPaid])
        return [FundingPayment(r.symbol, Decimal(r.amount), r.ts) for r in rows]

    async def open_orders(self) -> list[OpenOrder]:
        """Open orders as the exchange knows them."""
        rows = msgspec.convert(await self._ask(wire.OpenOrders()), list[wire.OrderUpdate])
        return [
            OpenOrder(r.cid, str(r.oid), r.symbol, wire.SIDE_SIGN[r.side], Decimal(r.px), Decimal(r.qty)) for r in rows
        ]

    async def order(self, symbol: str, client_order_id: str) -> OrderState | None:
        """What became of an order."""
        answer = await self._ask(wire.OrderQuery(cid=client_order_id))
        if answer is None:
            return None
        r = msgspec.convert(answer, wire.OrderAnswer)
        return OrderState(
            r.cid, str(r.oid), symbol, wire.SIDE_SIGN[r.side], Decimal(r.px), Decimal(r.qty), Decimal(r.filled),
            r.status, r.reason,
        )  # fmt: skip

    async def fees(self, symbol: str) -> tuple[Decimal, Decimal]:
        """Maker and taker fee of this account."""
        maker, taker = await self._ask(wire.FeesQuery(symbol=symbol))
        return Decimal(maker), Decimal(taker)

    async def server_time_ns(self) -> int:
        """The exchange's clock."""
        return int((await self._ask(wire.Time()))["ts"])

    async def position(self, symbol: str) -> Position:
        """Position and balance in one symbol."""
        row = msgspec.convert(await self._ask(wire.PositionQuery(symbol=symbol)), wire.Position)
        entry = None if row.entry is None else Decimal(row.entry)
        return Position(row.symbol, Decimal(row.size), entry, Decimal(row.balance))

    async def fills(self, since_ns: int) -> list[FillRecord]:
        """Executions since a time, oldest first; the pages of the exchange are put together."""
        out: list[FillRecord] = []
        after = 0
        while True:
            page = msgspec.convert(await self._ask(wire.Fills(since=since_ns, after=after)), list[wire.Fill])
            if not page:
                return out
            after = page[-1].n
            out += [
                FillRecord(
                    r.cid,
                    str(r.trade_id),
                    r.symbol,
                    wire.SIDE_SIGN[r.side],
                    Decimal(r.px),
                    Decimal(r.qty),
                    Decimal(r.fee),
                    r.maker,
                    r.ts,
                )
                for r in page
            ]

    async def closed(self) -> None:
        """Return when the connection has ended, for whatever reason."""
        if self._open is not None:
            await asyncio.shield(self._open.ended)
