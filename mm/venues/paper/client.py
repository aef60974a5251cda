"""The paper account's client: a public connection of its own, orders that take as long as a wire would."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Final

import msgspec

from mm.core.instrument import Instrument
from mm.errors import DataError, VenueUnreachable
from mm.venues.base import Caps, Codec, FillRecord, NotOffered, OnFrame, OpenOrder, OrderState, Position, PublicClient
from mm.venues.native import wire
from mm.venues.paper.account import PaperAccount

_FIRST_BOOK_S: Final = 30.0
_encode = msgspec.json.Encoder().encode
_decode_fill = msgspec.json.Decoder(wire.Fill).decode

log = logging.getLogger(__name__)


class PaperTradingClient(NotOffered):
    """``mm.venues.base.TradingClient`` over live market data. Nothing leaves this machine but market data requests.

    Args:
        make_public: makes the public client of the venue whose prices are used.
        codec: of the same venue.
        account: makes the account, given the instruments; kept over reconnects.
        latency_s: from the call to the book, and from the book to the report.
    """

    caps = Caps(dead_man_s=(0.1, 86_400.0))

    def __init__(
        self, make_public: Callable[[], PublicClient], make_codec: Callable[[Sequence[Instrument]], Codec],
        symbols: Sequence[str], make_account: Callable[[Sequence[Instrument]], PaperAccount], latency_s: float,
        fills_path: Path | None = None,
    ) -> None:  # fmt: skip
        self._make_public, self._make_codec, self._make_account = make_public, make_codec, make_account
        self._symbols, self._latency_s = list(symbols), latency_s
        self._fills_path = fills_path
        self._kept = 0  # fills in the file
        self._account: PaperAccount | None = None
        self._codec: Codec | None = None
        self._public: PublicClient | None = None
        self._feed: asyncio.Task[None] | None = None
        self._books = asyncio.Event()
        self._on_frame: OnFrame = lambda _raw, _ts: None
        self._deadline: asyncio.TimerHandle | None = None

    # --- connection --------------------------------------------------------------------------------------------------
    async def connect(self, on_frame: OnFrame) -> None:
        """Subscribe to the live market; ready when every book is there."""
        await self.close()
        self._on_frame = on_frame
        self._books.clear()
        public = self._public = self._make_public()
        if self._account is None:
            known = {i.symbol: i for i in await public.instruments()}
            instruments = [known[s] for s in self._symbols]
            self._account, self._codec = self._make_account(instruments), self._make_codec(instruments)
            self._restore(self._account)
        self._decoder.reset()
        self._orders.void(range(len(self._symbols)))
        self._feed = asyncio.create_task(public.run(self._on_public))
        waiting = asyncio.create_task(self._books.wait())
        try:
            await asyncio.wait({self._feed, waiting}, timeout=_FIRST_BOOK_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        if not self._books.is_set():
            fault = self._feed.exception() if self._feed.done() and not self._feed.cancelled() else None
            await self.close()
            raise VenueUnreachable(f"paper: no book of {', '.join(self._symbols)} ({fault or 'no answer'})")

    def _restore(self, account: PaperAccount) -> None:
        """Take up the position that an earlier process of this run left."""
        path = self._fills_path
        if path is None:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        if lines and not lines[-1].endswith(b"\n"):
            lines.pop()  # torn by the end of the process: nobody was told of it
            path.write_bytes(b"".join(lines))
        try:
            account.restore(_decode_fill(line) for line in lines)
        except (msgspec.MsgspecError, KeyError, ValueError) as exc:
            raise DataError(f"{path}: not a record of paper fills: {exc}") from exc
        self._kept = len(account.fills)

    def _keep(self, account: PaperAccount) -> None:
        """Write new fills down before anybody hears of them."""
        new = account.fills[self._kept :]
        if new and self._fills_path is not None:
            with self._fills_path.open("ab") as file:
                file.write(b"".join(_encode(fill) + b"\n" for fill in new))
        self._kept = len(account.fills)

    async def close(self) -> None:
        """End the market data connection; the account is kept."""
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        feed, self._feed = self._feed, None
        if self._public is not None:
            await self._public.close()
            self._public = None
        if feed is not None:
            feed.cancel()
            with contextlib.suppress(asyncio.CancelledError, VenueUnreachable):
                await feed

    async def closed(self) -> None:
        """Return when the market data has ended: without a market there are no fills."""
        if self._feed is not None:
            await asyncio.wait({self._feed})
            self._orders.void(range(len(self._symbols)))

    def _on_public(self, raw: bytes, ts_recv_ns: int) -> None:
        decoded = self._decoder.decode_public(raw, ts_recv_ns)
        if decoded.gap:
            self._orders.void(decoded.gap)
            for i in decoded.gap:
                self._resync(self._symbols[i])
        if len(decoded.events):
            e = decoded.events
            rows = zip(
                e["instrument"].tolist(), e["kind"].tolist(), e["tick"].tolist(), e["lots"].tolist(), strict=True
            )
            self._orders.events(rows, ts_recv_ns)
            self._tell()
            if not self._books.is_set() and all(m.two_sided for m in self._orders.markets):
                self._orders.value_inventory()
                self._books.set()

    def _resync(self, symbol: str) -> None:
        public = self._public
        if public is None:
            return

        async def ask() -> None:
            with contextlib.suppress(VenueUnreachable):  # the connection has ended: the next one begins with snapshots
                await public.resync(symbol)

        self._resyncs = asyncio.get_running_loop().create_task(ask())

    @property
    def _orders(self) -> PaperAccount:
        if self._account is None:
            raise VenueUnreachable("paper: not connected; connect first")
        return self._account

    @property
    def _decoder(self) -> Codec:
        if self._codec is None:
            raise VenueUnreachable("paper: not connected; connect first")
        return self._codec

    # --- orders ------------------------------------------------------------------------------------------------------
    def _later(self, what: Callable[[], object]) -> None:
        """Do something when it would have arrived there."""

        def arrive() -> None:
            what()
            self._tell()

        asyncio.get_running_loop().call_later(self._latency_s, arrive)

    def _tell(self) -> None:
        """Reports on their way back."""
        self._keep(self._orders)
        outbox, self._orders.outbox = self._orders.outbox, []
        loop = asyncio.get_running_loop()
        for message in outbox:
            loop.call_later(self._latency_s, self._deliver, _encode(message))

    def _deliver(self, raw: bytes) -> None:
        self._on_frame(raw, time.time_ns())

    async def place(self, symbol: str, client_order_id: str, side: int, price: Decimal, size: Decimal) -> None:
        """One post-only limit order."""
        account = self._orders
        self._later(lambda: account.place(symbol, client_order_id, side, price, size, time.time_ns()))

    async def place_reduce_only_ioc(
        self, symbol: str, client_order_id: str, side: int, price: Decimal, size: Decimal
    ) -> None:
        """The one taker order of the desk."""
        account = self._orders
        self._later(lambda: account.place(symbol, client_order_id, side, price, size, time.time_ns(), ioc=True))

    async def cancel(self, symbol: str, client_order_id: str) -> None:
        """Cancel one order."""
        account = self._orders
        self._later(lambda: account.cancel(symbol, client_order_id, time.time_ns()))

    async def cancel_all(self) -> int:
        """Cancel everything."""
        await asyncio.sleep(2 * self._latency_s)  # behind what was sent before
        n = self._orders.cancel_all(time.time_ns())
        self._tell()
        return n

    async def arm_dead_man(self, timeout_s: float) -> None:
        """Cancel everything unless called again in time; 0 disarms."""
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if timeout_s:
            self._deadline = asyncio.get_running_loop().call_later(timeout_s, self._expire)

    def _expire(self) -> None:
        self._orders.cancel_all(time.time_ns(), "dead_man")
        self._tell()

    # --- questions ---------------------------------------------------------------------------------------------------
    async def open_orders(self) -> list[OpenOrder]:
        """Orders at rest."""
        rows = self._orders.open_orders()
        instruments = self._orders.instruments
        return [
            OpenOrder(
                o.cid, str(o.oid), instruments[i].symbol, o.side, instruments[i].price(o.tick),
                instruments[i].size(o.lots),
            )
            for i, o in rows
        ]  # fmt: skip

    async def order(self, symbol: str, client_order_id: str) -> OrderState | None:
        """What became of an order."""
        r = self._orders.order(client_order_id)
        if r is None:
            return None
        side, price = wire.SIDE_SIGN[r.side], Decimal(r.px)
        return OrderState(r.cid, str(r.oid), symbol, side, price, Decimal(r.qty), Decimal(r.filled), r.status, r.reason)

    async def position(self, symbol: str) -> Position:
        """Position and balance."""
        row = self._orders.position(symbol, time.time_ns())
        return Position(
            symbol, Decimal(row.size), None if row.entry is None else Decimal(row.entry), Decimal(row.balance)
        )

    async def fills(self, since_ns: int) -> list[FillRecord]:
        """Paper executions since a time."""
        return [
            FillRecord(
                f.cid, str(f.trade_id), f.symbol, wire.SIDE_SIGN[f.side], Decimal(f.px), Decimal(f.qty),
                Decimal(f.fee), f.maker, f.ts,
            )
            for f in self._orders.fills
            if f.ts >= since_ns
        ]  # fmt: skip

    async def fees(self, symbol: str) -> tuple[Decimal, Decimal]:
        """As the venue lists them."""
        instrument = self._orders.instruments[self._orders.index[symbol]]
        return instrument.maker_fee, instrument.taker_fee

    async def server_time_ns(self) -> int:
        """Our own clock: there is no server."""
        return time.time_ns()
