"""What an account of MEXC spot is asked: orders, history, coins, fees. Each query may raise ``VenueUnreachable``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from typing import Any, Final

from mm.core.instrument import Instrument
from mm.errors import VenueUnreachable
from mm.venues.base import FillRecord, NotOffered, OpenOrder, OrderState, Permissions, Position
from mm.venues.ccxt_calls import Budget, ask, attempt, clock_skew_s
from mm.venues.mexc import answers, wire
from mm.venues.mexc.exchange import make_mexc

_SYMBOLS_AT_ONCE: Final = 5
_TRADES_PAGE: Final = 100
_KEPT_IDS: Final = 20_000

Query = Callable[[dict[str, Any]], Awaitable[Any]]


class MexcAccount(NotOffered):
    """The queries of ``mm.venues.base.TradingClient``."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._ex = make_mexc(options, private=True)
        self._budget: Budget | None = options.get("budget")
        self._symbols: list[str] = list(options.get("symbols", ()))
        self._instruments: dict[str, Instrument] = {}
        self._entries: dict[str, Decimal | None] = {}
        self._cids: dict[str, str] = {}  # by the venue's order id: not every answer repeats the client's

    async def open_orders(self) -> list[OpenOrder]:
        """Open orders as the venue knows them."""
        out: list[OpenOrder] = []
        await self._find_symbols(self._ask)
        for symbols in self._symbol_groups():
            rows = wire.read(await self._ask(self._ex.spotPrivateGetOpenOrders, {"symbol": symbols}), list[wire.Order])
            out += [row.open_order(self._cid(row)) for row in rows]
        return out

    async def order(self, symbol: str, client_order_id: str) -> OrderState | None:
        """What became of an order; None: the venue does not know it."""
        row = await self._order(answers.named(symbol, client_order_id))
        return None if row is None else row.state(client_order_id)

    async def _order(self, params: dict[str, str]) -> wire.Order | None:
        try:
            data = await self._ask(self._ex.spotPrivateGetOrder, params)
        except _Refused as exc:
            if exc.code in wire.UNKNOWN_ORDER:
                return None
            raise
        row: wire.Order = wire.read(data, wire.Order)
        return row

    def _cid(self, row: wire.Order | wire.OwnTrade) -> str:
        """The client's id of an order, for want of one the venue's."""
        return row.client_order_id or self._cids.get(row.order_id, row.order_id)

    def _remember(self, order_id: str, cid: str) -> None:
        self._cids[order_id] = cid
        if len(self._cids) > _KEPT_IDS:
            del self._cids[next(iter(self._cids))]

    async def position(self, symbol: str) -> Position:
        """What is held of the base coin, rounded down to whole lots, and of the quote coin.

        Spot knows no entry price: what is held counts as bought at the mid of the first query, so that profit starts at
        zero and the whole inventory is not taken for it.
        """
        one = await self._instrument(symbol)
        account = wire.read(await self._ask(self._ex.spotPrivateGetAccount, {}), wire.Account)
        held = {row.asset: row.total for row in account.balances}
        size = one.size(one.lots_floor(held.get(one.base, Decimal(0))))
        if size and symbol not in self._entries:
            self._entries[symbol] = await self._mid(symbol)
        entry = self._entries.get(symbol) if size else None
        return Position(symbol, size, entry, held.get(one.quote, Decimal(0)))

    async def _mid(self, symbol: str) -> Decimal | None:
        params = {"symbol": symbol, "limit": 5}
        book = wire.read(await self._ask(self._ex.spotPublicGetDepth, params), wire.Depth)
        if not book.bids or not book.asks:
            return None
        return (wire.number(book.bids[0][0]) + wire.number(book.asks[0][0])) / 2

    async def fills(self, since_ns: int) -> list[FillRecord]:
        """Executions since a time, oldest first."""
        out: list[FillRecord] = []
        await self._find_symbols(self._ask)
        for symbol in self._symbols:
            one = await self._instrument(symbol)
            rows = await self._own_trades(symbol, since_ns // 1_000_000)
            for order_id in {row.order_id for row in rows if not row.client_order_id} - self._cids.keys():
                order = await self._order({"symbol": symbol, "orderId": order_id})
                self._remember(order_id, (order and order.client_order_id) or order_id)
            out += [row.fill(one, self._cid(row)) for row in rows]
        return sorted(out, key=lambda fill: (fill.ts_exch_ns, fill.trade_id))

    async def _own_trades(self, symbol: str, since_ms: int) -> list[wire.OwnTrade]:
        """All pages; the venue answers the newest first."""
        found: dict[str, wire.OwnTrade] = {}
        params: dict[str, Any] = {"symbol": symbol, "startTime": max(since_ms, 0), "limit": _TRADES_PAGE}
        while True:
            rows = wire.read(await self._ask(self._ex.spotPrivateGetMyTrades, params), list[wire.OwnTrade])
            known = len(found)
            found.update((row.id, row) for row in rows)
            if len(rows) < _TRADES_PAGE:
                return list(found.values())
            if len(found) == known:
                raise VenueUnreachable(f"mexc: more than {_TRADES_PAGE} trades of {symbol} in one millisecond")
            params["endTime"] = min(row.time for row in rows)

    async def fees(self, symbol: str) -> tuple[Decimal, Decimal]:
        """Maker and taker fee of this account."""
        answer = wire.read(await self._ask(self._ex.spotPrivateGetTradeFee, {"symbol": symbol}), dict[str, Any])
        data = wire.read(answer.get("data"), dict[str, wire.Text])
        try:
            return wire.number(data["makerCommission"]), wire.number(data["takerCommission"])
        except KeyError as exc:
            raise VenueUnreachable(f"mexc: no {exc} in the fees of {symbol}") from exc

    async def permissions(self) -> Permissions:
        """Of the account: it may trade; withdrawals by a key are granted apart and not told."""
        answer = wire.read(await self._ask(self._ex.spotPrivateGetAccount, {}), dict[str, Any])
        if not isinstance(answer.get("canTrade"), bool):
            raise VenueUnreachable("mexc: the account does not say whether it may trade")
        granted = wire.read(answer.get("permissions"), list[str])
        return Permissions(answer["canTrade"], None, ", ".join(granted) or "none")

    async def server_time_ns(self) -> int:
        """The venue's clock, in whole milliseconds."""
        answer = await ask(self._ex, lambda: self._ex.spotPublicGetTime({}))
        return int(wire.number(wire.read(answer, dict[str, wire.Text]).get("serverTime", ""))) * 1_000_000

    async def _instrument(self, symbol: str) -> Instrument:
        if symbol not in self._instruments:
            answer = wire.read(await self._ask(self._ex.spotPublicGetExchangeInfo, {"symbol": symbol}), dict[str, Any])
            self._instruments.update((one.symbol, one) for one in wire.instruments(answer.get("symbols")))
        if symbol not in self._instruments:
            raise VenueUnreachable(f"mexc: no facts about {symbol}")
        return self._instruments[symbol]

    async def _find_symbols(self, query: Callable[[Query, dict[str, Any]], Awaitable[Any]]) -> None:
        """The venue tells of orders by symbol only: without symbols of ours, those that the key may trade."""
        if not self._symbols:
            answer = wire.read(await query(self._ex.spotPrivateGetSelfSymbols, {}), dict[str, Any])
            self._symbols = wire.read(answer.get("data"), list[str])

    def _symbol_groups(self) -> list[str]:
        at_once = _SYMBOLS_AT_ONCE
        return [",".join(self._symbols[i : i + at_once]) for i in range(0, len(self._symbols), at_once)]

    async def _ask(self, call: Query, params: dict[str, Any]) -> Any:
        """A query; once more when the venue finds our clock wrong, or when a kept connection breaks."""
        for again in (True, False):
            if self._budget is not None:
                await self._budget.take("query")
            answer = await attempt(self._ex, lambda: call(params))
            if answer.ok:
                return answer.data
            code, _ = wire.complaint(answer.body)
            if again and code == wire.STALE_CLOCK:
                await self._set_clock()
            elif not again or not answer.dropped:
                break
        if answer.end == "certain" and code:
            raise _Refused(code, answer.error)
        raise VenueUnreachable(answer.error)

    async def _set_clock(self) -> None:
        skew_s, _ = await clock_skew_s(self._time_ms)
        self._skewed(round(skew_s * 1e3))

    async def _time_ms(self) -> int:
        return await self.server_time_ns() // 1_000_000

    def _skewed(self, ms: int) -> None:
        """This machine's clock is so far ahead of the venue's."""
        self._ex.skew_ms = ms


class _Refused(VenueUnreachable):
    """The venue answered a query with a complaint."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
