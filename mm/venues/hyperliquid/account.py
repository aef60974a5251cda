"""What Hyperliquid answers about an account and its perpetuals: POST /info, typed, by address."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final, Literal

import msgspec

from mm.core.instrument import Instrument
from mm.core.types import ACK, FILL, REJECT
from mm.errors import VenueUnreachable
from mm.venues.base import FillRecord, FundingPayment, OpenOrder, OrderState, Position
from mm.venues.ccxt_calls import Budget, attempt
from mm.venues.hyperliquid import messages as m
from mm.venues.hyperliquid.codec import order_kind
from mm.venues.hyperliquid.exchange import Hyperliquid, make_hyperliquid
from mm.venues.hyperliquid.rules import MIN_NOTIONAL, from_cloid, tick_at, to_cloid, venue_number
from mm.venues.hyperliquid.spec import SPEC
from mm.venues.native.wire import decimal

Status = Literal["open", "filled", "canceled", "rejected"]

_LIGHT: Final = frozenset({"clearinghouseState", "orderStatus", "exchangeStatus", "l2Book", "allMids"})
_HEAVY_COSTS: Final = 10  # light ones
_PAGE: Final = 2_000
_MAX_PAGES: Final = 100
_STATUS: Final[dict[int, Status]] = {ACK: "open", FILL: "filled", REJECT: "rejected"}


async def ask_info(ex: Hyperliquid, question: Mapping[str, Any], kind: Any, budget: Budget | None = None) -> Any:
    """The answer to a question as ``kind``; raises ``VenueUnreachable`` whenever there is none."""
    if budget is not None:
        for _ in range(1 if question["type"] in _LIGHT else _HEAVY_COSTS):
            await budget.take("query")
    answer = await attempt(ex, lambda: ex.publicPostInfo(dict(question)))
    if answer.dropped:  # a connection that had been kept for too long
        answer = await attempt(ex, lambda: ex.publicPostInfo(dict(question)))
    if answer.status != 200:
        raise VenueUnreachable(f"hyperliquid: {question['type']}: {answer.error or f'status {answer.status}'}")
    try:
        return msgspec.json.decode(answer.body, type=kind)
    except msgspec.MsgspecError as exc:
        raise VenueUnreachable(f"hyperliquid: an answer to {question['type']} that cannot be read: {exc}") from exc


async def universe(ex: Hyperliquid, budget: Budget | None = None) -> tuple[list[m.PerpMeta], list[m.AssetCtx]]:
    """All perpetuals, by asset number, and their contexts."""
    kind = tuple[m.Meta, list[m.AssetCtx]]
    meta, contexts = await ask_info(ex, {"type": "metaAndAssetCtxs"}, kind, budget)
    return meta.universe, contexts


def instrument(perp: m.PerpMeta, ctx: m.AssetCtx) -> Instrument:
    """A perpetual at its present price level (``mm.venues.hyperliquid.rules``), with the fees of a new account."""
    fees = SPEC.fees()
    return Instrument(
        symbol=perp.name,
        venue=SPEC.name,
        kind="linear",
        tick_size=tick_at(decimal(ctx.markPx), perp.szDecimals),
        lot_size=Decimal(1).scaleb(-perp.szDecimals),
        min_notional=MIN_NOTIONAL,
        base=perp.name,
        quote="USDC",
        maker_fee=fees.maker,
        taker_fee=fees.taker,
    )


class HyperliquidAccount:
    """The queries of ``mm.venues.base.TradingClient``."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._ex = make_hyperliquid(options, private=True)
        self._budget: Budget | None = options.get("budget")
        self._behind_ms = 0  # by how much the venue's clock is behind ours
        self._assets: dict[str, tuple[int, int]] = {}  # symbol -> asset number, szDecimals

    @property
    def user(self) -> str:
        """The account's address."""
        return str(self._ex.walletAddress)

    async def open_orders(self) -> list[OpenOrder]:
        """Open orders in perpetuals as the venue knows them."""
        return [
            OpenOrder(
                from_cloid(o.cloid, o.oid), str(o.oid), o.coin, m.SIDE_SIGN[o.side], Decimal(o.limitPx), Decimal(o.sz)
            )
            for o in await self._open(self._ex, self._budget)
        ]

    async def order(self, symbol: str, client_order_id: str) -> OrderState | None:
        """What became of an order; a modified one is the newest under its id."""
        number = venue_number(client_order_id)
        oid: int | str = to_cloid(client_order_id) if number is None else number
        answer: m.OrderAnswer = await self._ask({"type": "orderStatus", "oid": oid}, m.OrderAnswer)
        if answer.order is None or answer.order.order.coin != symbol:
            return None
        o, word = answer.order.order, answer.order.status
        kind = order_kind(word)
        if kind is None:
            raise VenueUnreachable(f"hyperliquid: unknown order status {word!r}")
        size = Decimal(o.origSz or o.sz)
        status: Status = _STATUS.get(kind, "canceled")
        filled = size if status == "filled" else size - Decimal(o.sz)
        reason = "" if status in {"open", "filled"} else word
        return OrderState(
            client_order_id, str(o.oid), symbol, m.SIDE_SIGN[o.side], Decimal(o.limitPx), size, filled, status, reason
        )

    async def position(self, symbol: str) -> Position:
        """Position in one symbol; the balance is the account's."""
        state: m.Clearinghouse = await self._ask({"type": "clearinghouseState"}, m.Clearinghouse)
        size, entry = Decimal(0), None
        for row in state.assetPositions:
            if row.position.coin == symbol:
                size = Decimal(row.position.szi)
                entry = Decimal(row.position.entryPx) if row.position.entryPx and size else None
        return Position(symbol, size, entry, m.balance_of(state))

    async def fills(self, since_ns: int) -> list[FillRecord]:
        """Executions since a time, oldest first."""
        found: dict[tuple[int, int], m.Fill] = {}
        start = since_ns // 1_000_000 - max(self._behind_ms, 0)
        for _ in range(_MAX_PAGES):
            question = {"type": "userFillsByTime", "startTime": max(start, 0)}
            page: list[m.Fill] = await self._ask(question, list[m.Fill])
            found |= {(f.tid, f.oid): f for f in page}
            last = max((f.time for f in page), default=start)
            if len(page) < _PAGE:
                return [_fill_record(f) for f in sorted(found.values(), key=lambda f: f.time)]
            if last <= start:  # more than a page in one millisecond
                break
            start = last
        raise VenueUnreachable("hyperliquid: the pages of fills do not end")

    async def funding(self, since_ns: int) -> list[FundingPayment]:
        """Funding settlements, oldest first; at most the venue's page of 500."""
        start = max(since_ns // 1_000_000 - max(self._behind_ms, 0), 0)
        rows = await self._ask({"type": "userFunding", "startTime": start}, list[m.FundingRow])
        rows.sort(key=lambda row: row.time)
        return [FundingPayment(r.delta.coin, Decimal(r.delta.usdc), r.time * 1_000_000) for r in rows]

    async def fees(self, _symbol: str) -> tuple[Decimal, Decimal]:
        """Maker and taker fee of this account, the same for all perpetuals."""
        fees: m.UserFees = await self._ask({"type": "userFees"}, m.UserFees)
        return Decimal(fees.userAddRate), Decimal(fees.userCrossRate)

    async def server_time_ns(self) -> int:
        """The venue's clock."""
        status: m.ExchangeStatus = await self._ask({"type": "exchangeStatus"}, m.ExchangeStatus)
        return status.time * 1_000_000

    async def _open(self, ex: Hyperliquid, budget: Budget | None) -> list[m.BasicOrder]:
        await self._learn(ex, budget)
        question = {"type": "openOrders", "user": self.user}
        rows: list[m.BasicOrder] = await ask_info(ex, question, list[m.BasicOrder], budget)
        return [o for o in rows if o.coin in self._assets]  # not those in spot

    async def _learn(self, ex: Hyperliquid, budget: Budget | None) -> None:
        """Asset numbers, once: they never change."""
        if not self._assets:
            perps, _ = await universe(ex, budget)
            self._assets = {p.name: (n, p.szDecimals) for n, p in enumerate(perps)}

    async def _check_agent(self) -> None:
        """The key must be the account's or one of its agents'; raises ``VenueUnreachable``.

        The venue itself would only say so at the first order, and then as an unknown address.
        """
        agent = self._ex.agent
        role: m.UserRole = await ask_info(self._ex, {"type": "userRole", "user": agent}, m.UserRole, self._budget)
        if agent != self.user and (role.role != "agent" or role.data is None or role.data.user.lower() != self.user):
            raise VenueUnreachable(
                "hyperliquid: the private key belongs to no API wallet of this account; approve one, or correct "
                "wallet_address or private_key"
            )

    async def _ask(self, question: Mapping[str, Any], kind: Any) -> Any:
        return await ask_info(self._ex, {**question, "user": self.user}, kind, self._budget)


def _fill_record(f: m.Fill) -> FillRecord:
    return FillRecord(
        from_cloid(f.cloid, f.oid),
        str(f.tid),
        f.coin,
        m.SIDE_SIGN[f.side],
        Decimal(f.px),
        Decimal(f.sz),
        Decimal(f.fee),
        not f.crossed,
        f.time * 1_000_000,
    )
