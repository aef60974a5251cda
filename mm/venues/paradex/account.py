"""What one account of Paradex is asked, and its margin: REST calls, each from the account's budget."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final, TypeVar

import msgspec

from mm.errors import VenueUnreachable
from mm.venues.base import Budget, FillRecord, FundingPayment, OpenOrder, OrderState, Position
from mm.venues.paradex import wire
from mm.venues.paradex.codec import end_of, signed_size
from mm.venues.paradex.link import Link
from mm.venues.paradex.spec import instrument_of
from mm.venues.settings import Endpoints

_PAGE: Final = 1_000

T = TypeVar("T")


class ParadexAccount(Link):
    """See the module."""

    def __init__(
        self, where: Endpoints, keys: Mapping[str, str], proxy: str, timeout_s: float, stall_s: float,
        budget: Budget | None,
    ) -> None:  # fmt: skip
        super().__init__(where, keys, proxy, timeout_s, stall_s)
        self._budget = budget

    async def open_orders(self) -> list[OpenOrder]:
        """Working orders."""
        rows = await self._rows(lambda api, _: api.fetch_orders(), wire.Order, pages=False)
        return [
            OpenOrder(
                o.client_id, o.id, o.market, wire.SIDE_SIGN[o.side], Decimal(o.price), Decimal(o.remaining_size)
            )
            for o in rows
            if o.status != "CLOSED"
        ]  # fmt: skip

    async def order(self, symbol: str, client_order_id: str) -> OrderState | None:
        """What became of an order."""
        found = await self._find(client_order_id)
        if found is None or found.market != symbol:
            return None
        status = "open" if found.status != "CLOSED" else end_of(found)
        size, left = Decimal(found.size), Decimal(found.remaining_size)
        filled = Decimal(0) if status == "rejected" else size - left
        return OrderState(
            client_order_id, found.id, symbol, wire.SIDE_SIGN[found.side], Decimal(found.price), size, filled, status,
            found.cancel_reason,
        )  # fmt: skip

    async def _find(self, cid: str) -> wire.Order | None:
        from mm.venues.paradex.rest import Refused

        rest = await self._rest()
        await self._take("query")
        try:
            raw = await rest.call(lambda api: api.fetch_order_by_client_id(cid))
        except Refused as exc:
            if exc.code not in ("CLIENT_ORDER_ID_NOT_FOUND", "ORDER_ID_NOT_FOUND", "NOT_FOUND"):
                raise VenueUnreachable(f"paradex: {exc.code}: {exc}") from exc
            rows = await self._rows(
                lambda api, _: api.fetch_orders_history({"client_id": cid}), wire.Order, pages=False
            )
            return next((o for o in rows if o.client_id == cid), None)
        return read(raw, wire.Order)

    async def position(self, symbol: str) -> Position:
        """Position in a symbol; the balance is the account's collateral without unrealised profit."""
        rows, money = await asyncio.gather(
            self._rows(lambda api, _: api.fetch_positions(), wire.Position, pages=False),
            self._query(lambda api: api.fetch_account_summary()),
        )
        balance = Decimal(money.total_collateral)
        for p in rows:
            if p.market == symbol and (size := signed_size(p)):
                return Position(symbol, size, Decimal(p.average_entry_price), balance)
        return Position(symbol, Decimal(0), None, balance)

    async def fills(self, since_ns: int) -> list[FillRecord]:
        """Executions since a time, oldest first; the pages of the venue are put together."""
        start = {"start_at": since_ns // 1_000_000, "page_size": _PAGE}
        rows = await self._rows(lambda api, page: api.fetch_fills({**start, **page}), wire.Fill)
        return [
            FillRecord(
                f.client_id, f.id, f.market, wire.SIDE_SIGN[f.side], Decimal(f.price), Decimal(f.size), Decimal(f.fee),
                f.liquidity == "MAKER", f.created_at * 1_000_000,
            )
            for f in reversed(rows)
        ]  # fmt: skip

    async def funding(self, since_ns: int) -> list[FundingPayment]:
        """Funding settlements, oldest first."""
        start = {"start_at": since_ns // 1_000_000, "page_size": _PAGE}
        rows = await self._rows(lambda api, page: api.fetch_funding_payments({**start, **page}), wire.Payment)
        return [FundingPayment(p.market, Decimal(p.payment), p.created_at * 1_000_000) for p in reversed(rows)]

    async def fees(self, symbol: str) -> tuple[Decimal, Decimal]:
        """Maker and taker fee: what the market's ``fee_config.api_fee`` says to this account."""
        answer = await self._query(lambda api: api.fetch_markets({"market": symbol}))
        for market in read(answer, wire.Page).results:
            if market.get("symbol") == symbol:
                one = instrument_of(market)
                return one.maker_fee, one.taker_fee
        raise VenueUnreachable(f"paradex: no market {symbol}")

    async def _rows(self, ask: Callable[[Any, dict[str, str]], Any], kind: type[T], *, pages: bool = True) -> list[T]:
        """All rows of a list, as the venue orders them."""
        out: list[T] = []
        cursor: dict[str, str] = {}
        while True:
            raw = await self._query(lambda api, page=cursor: ask(api, page))  # type: ignore[misc]
            page = read(raw, wire.Page)
            out += [read(row, kind) for row in page.results]
            if not pages or not page.next:
                return out
            cursor = {"cursor": page.next}

    async def _query(self, request: Callable[[Any], T]) -> T:
        rest = await self._rest()
        await self._take("query")
        return await rest.query(request)

    async def _certain(self, call: Callable[[], Any]) -> Any:
        """An answer to something that may be sent again by whoever called; raises ``VenueUnreachable`` for a no."""
        from mm.venues.paradex.rest import Refused

        try:
            return await call()
        except Refused as exc:
            raise VenueUnreachable(f"paradex: {exc.code}: {exc}") from exc

    async def set_leverage(self, symbol: str, leverage: int) -> None:
        """Isolated margin with this leverage."""
        rest = await self._rest()
        payload = {"leverage": leverage, "margin_type": "ISOLATED"}
        await self._certain(
            lambda: rest.call(lambda api: api._post_authorized(path=f"account/margin/{symbol}", payload=payload))  # noqa: SLF001  the library has no method for it
        )

    async def _take(self, kind: str) -> None:
        """Wait until the account may send one more of this kind."""
        if self._budget is not None:
            await self._budget.take(kind)


def read(raw: Any, kind: type[T]) -> T:
    """A row of an answer; raises ``VenueUnreachable`` for one that is not what it should be."""
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as exc:
        raise VenueUnreachable(f"paradex: an answer that cannot be read: {exc}") from exc
