"""A trading client as the executor has it: frames decoded, reports kept."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from mm.core.types import EXEC_NAMES, FILL
from mm.sandbox.account import Account, ClientOrder
from mm.strategy.orders import client_order_id
from mm.venues.base import AccountNews, ExecDetail, OrderRequest
from tests.contract.conformance.market import PREFIX
from tests.contract.conformance.wait import LIMIT_S, until

if TYPE_CHECKING:
    from tests.contract.conformance.rig import Rig


class Told(NamedTuple):
    """One report."""

    kind: str  # ack, reject, fill, canceled, cancel_reject
    id: int
    lots: int
    tick: int
    side: int
    maker: bool
    detail: ExecDetail


class Trader:
    """``account`` is the exchange's own: what is true."""

    def __init__(self, rig: Rig, account: Account, options: dict[str, Any]) -> None:
        self.rig = rig
        self.account = account
        self.client = rig.venue.make_trading(options)
        self.caps = self.client.caps
        self.codec = rig.venue.make_codec([rig.instrument], PREFIX)
        self.told: list[Told] = []
        self.news: list[AccountNews] = []
        self.unknown: list[int] = []
        self.errors: list[str] = []
        self.raw: list[bytes] = []
        self._ended: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        """As the executor opens a session."""
        self.codec.reset()
        await self.client.connect(self.on_frame)
        if self._ended is not None:
            self._ended.cancel()
        self._ended = asyncio.create_task(self.client.closed())

    @property
    def ended(self) -> bool:
        """``closed`` has returned."""
        return self._ended is not None and self._ended.done()

    def on_frame(self, raw: bytes, ts_recv_ns: int) -> None:
        self.raw.append(raw)
        decoded = self.codec.decode_private(raw, ts_recv_ns)
        if decoded.error:
            self.errors.append(decoded.error)
        self.news += decoded.news
        self.unknown += [self.codec.own_id(cid) for cid in decoded.unknown]
        for e, detail in zip(decoded.execs, decoded.exec_detail, strict=True):
            kind, n, lots, tick, side = (int(e[name]) for name in ("kind", "id", "lots", "tick", "side"))
            self.told.append(Told(EXEC_NAMES[kind], n, lots, tick, side, bool(e["maker"]), detail))

    # --- orders ------------------------------------------------------------------------------------------------------
    def request(self, side: int, tick: int, size: str | Decimal) -> tuple[int, OrderRequest]:
        """A post-only order with a number of its own."""
        n = self.rig.number()
        price = self.rig.instrument.price(tick)
        return n, OrderRequest(self.rig.symbol, self.cid(n), side, price, Decimal(size))

    @staticmethod
    def cid(n: int) -> str:
        return client_order_id(PREFIX, n)

    async def place(self, side: int, tick: int, size: str | Decimal, price: Decimal | None = None) -> int:
        """Send one post-only order; returns its number."""
        n, r = self.request(side, tick, size)
        await self.client.place(r.symbol, r.client_order_id, side, r.price if price is None else price, r.size)
        return n

    async def rest(self, side: int, tick: int, size: str | Decimal) -> int:
        """Place one order and wait until it rests."""
        n = await self.place(side, tick, size)
        await self.hears(n, "ack")
        return n

    async def reduce(self, side: int, tick: int, size: str | Decimal) -> int:
        """Send one reduce-only IOC order."""
        n, r = self.request(side, tick, size)
        await self.client.place_reduce_only_ioc(r.symbol, r.client_order_id, side, r.price, r.size)
        return n

    async def cancel(self, n: int) -> None:
        await self.client.cancel(self.rig.symbol, self.cid(n))

    # --- what was said -----------------------------------------------------------------------------------------------
    def kinds(self, n: int) -> list[str]:
        """What was reported of one order, in order."""
        return [t.kind for t in self.told if t.id == n]

    def filled(self, n: int) -> list[Told]:
        return [t for t in self.told if t.id == n and t.kind == EXEC_NAMES[FILL]]

    async def hears(self, n: int, *kinds: str) -> str:
        """Wait until one of some kinds was reported of an order; returns which."""

        def found() -> str | None:
            return next((kind for kind in self.kinds(n) if kind in kinds), None)

        def what() -> str:
            return f"{' or '.join(kinds)} of order {n}; reported: {self.kinds(n)}, errors: {self.errors}"

        return str(await until(found, what))

    # --- what is true ------------------------------------------------------------------------------------------------
    def orders(self) -> list[ClientOrder]:
        """Orders that the exchange accepted, oldest first."""
        return sorted(self.account.orders.values(), key=lambda order: order.oid)

    def held(self) -> Decimal:
        """The true position."""
        return Decimal(self.rig.exchange.position(self.account, self.rig.symbol, 0).size)

    def check_fills(self) -> None:
        """Every execution of the exchange was reported once, with its price, size, side, fee and maker flag."""
        unit = self.rig.exchange.markets[self.rig.symbol].units
        true = [(unit.ticks(f.px), unit.lots(f.qty), f.side == "buy", f.maker) for f in self.account.fills]
        told = [t for t in self.told if t.kind == EXEC_NAMES[FILL]]
        assert [(t.tick, t.lots, t.side > 0, t.maker) for t in told] == true, "fills reported and made differ"
        ids = [t.detail.trade_id for t in told]
        assert all(ids), "a fill without a trade id"
        assert len(set(ids)) == len(ids), f"a trade was reported twice: {ids}"
        for t, f in zip(told, self.account.fills, strict=True):
            assert abs(t.detail.fee - Decimal(f.fee)) <= Decimal("0.000001"), (
                f"fee {t.detail.fee} reported, {f.fee} paid"
            )

    async def close(self) -> None:
        if self._ended is not None and not self._ended.done():
            self._ended.cancel()
        await asyncio.wait_for(self.client.close(), LIMIT_S)
