"""What an account can be asked and told by the unified API, apart from its orders.

Queries raise ``VenueUnreachable``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from typing import Any, Final

from ccxt.base.errors import OrderNotFound

from mm.errors import VenueUnreachable
from mm.venues.base import FillRecord, FundingPayment, NotOffered, OpenOrder, OrderState, Position
from mm.venues.ccxt_any import says, wire
from mm.venues.ccxt_any.exchange import Markets, load, make
from mm.venues.ccxt_calls import Answer, Budget, attempt, clock_skew_s

_KEPT_IDS: Final = 20_000
_STATUS: Final[dict[str, Any]] = {"open": "open", "closed": "filled", "rejected": "rejected"}  # else cancelled

Call = Callable[..., Awaitable[Any]]


class CcxtAccount(NotOffered):
    """The queries and settings of ``mm.venues.base.TradingClient``."""

    def __init__(self, exchange_id: str, options: Mapping[str, Any]) -> None:
        self._id, self._options = exchange_id, options
        self._ex = make(exchange_id, options, private=True)
        self._halting = make(exchange_id, options, private=True)  # connections of its own: a halt waits behind nothing
        self._budget: Budget | None = options.get("budget")
        self._wanted: list[str] = list(options.get("symbols", ()))
        self._markets: Markets | None = None
        self._cids: dict[str, str] = {}  # by the exchange's order id: executions name only that
        self._ids: dict[str, str] = {}

    async def open_orders(self) -> list[OpenOrder]:
        """Open orders as the exchange knows them, of the desk's symbols."""
        markets = await self._known()
        rows = [row for s in self._scope(markets) for row in await self._ask(self._ex.fetch_open_orders, s)]
        return says.read("an order", lambda: [self._open_order(markets, row) for row in rows])  # type: ignore[no-any-return]

    def _open_order(self, markets: Markets, row: Mapping[str, Any]) -> OpenOrder:
        o = self._learn(says.order(markets, row))
        left = Decimal(o.qty) - Decimal(o.filled)
        return OpenOrder(o.cid, o.id, o.symbol, wire.SIDE_SIGN[o.side], Decimal(o.px), left)

    async def order(self, symbol: str, client_order_id: str) -> OrderState | None:
        """What became of an order; None: the exchange does not know it."""
        markets = await self._known()
        name, params = self.named(client_order_id)
        answer = await self._attempt(self._ex.fetch_order, name, markets.unified(symbol), params)
        if answer.end == "certain" and isinstance(answer.fault, OrderNotFound):
            return None
        if not answer.ok:
            raise VenueUnreachable(answer.error)
        return says.read("an order", lambda: self._state(markets, answer.data, client_order_id))  # type: ignore[no-any-return]

    def _state(self, markets: Markets, row: Mapping[str, Any], cid: str) -> OrderState:
        o = self._learn(says.order(markets, row))
        status = _STATUS.get(o.status, "canceled")
        size, filled = Decimal(o.qty), Decimal(o.filled)
        return OrderState(cid, o.id, o.symbol, wire.SIDE_SIGN[o.side], Decimal(o.px), size, filled, status)

    async def position(self, symbol: str) -> Position:
        """Size and entry (spot: what is held, without an entry), and the currency's total as ccxt tells it.

        Whether a total of ccxt's counts unrealised profit depends on the exchange (binanceusdm: it does).
        """
        markets = await self._known()
        one, unified = markets.instruments[symbol], markets.unified(symbol)
        found = await self._ask(self._ex.fetch_balance)
        settle = one.base if one.kind == "inverse" else one.quote
        totals = found.get("total") or {}
        balance = says.read("a balance", lambda: Decimal(str(totals.get(settle) or 0)))
        if one.kind == "spot":
            held = says.read("a balance", lambda: Decimal(str(totals.get(one.base) or 0)))
            return Position(symbol, one.size(one.lots_floor(held)), None, balance)
        size, entry = Decimal(0), None
        for row in await self._ask(self._ex.fetch_positions, [unified]):
            if row.get("symbol") == unified and row.get("contracts"):
                size = says.read("a position", lambda r=row: Decimal(says.signed_size(markets, r)))
                entry = says.read("a position", lambda r=row: Decimal(str(r["entryPrice"])))
        return Position(symbol, size, entry, balance)

    async def fills(self, since_ns: int) -> list[FillRecord]:
        """Executions since a time, oldest first."""
        markets = await self._known()
        out: list[FillRecord] = []
        for unified in self._scope(markets, every=True):
            for row in await self._pages(self._ex.fetch_my_trades, unified, since_ns // 1_000_000):
                trade = says.read("an execution", lambda r=row: says.own_trade(markets, r))
                cid = self._cids.get(trade.order)
                if cid is None and trade.order:
                    found = await self._ask(self._ex.fetch_order, trade.order, unified)
                    cid = self._learn(says.read("an order", lambda f=found: says.order(markets, f))).cid
                out.append(says.read("an execution", lambda t=trade, c=cid: _fill(t, c or t.order)))
        return sorted(out, key=lambda fill: fill.ts_exch_ns)

    async def _pages(self, call: Call, unified: str, since_ms: int) -> list[Any]:
        """All rows since a time, oldest first: the next page begins at the last row's time."""
        found: dict[str, Any] = {}
        while True:
            rows = await self._ask(call, unified, since_ms)
            known = len(found)
            found.update((str(row["id"]), row) for row in rows)
            last_ms = max((row.get("timestamp") or 0 for row in rows), default=0)
            if len(found) == known or last_ms < since_ms:
                return sorted(found.values(), key=lambda row: row.get("timestamp") or 0)
            since_ms = last_ms

    async def funding(self, since_ns: int) -> list[FundingPayment]:
        """Funding settlements, oldest first."""
        if not self.caps.funding:
            return await super().funding(since_ns)
        markets, out = await self._known(), []
        for unified in self._scope(markets, every=True):
            for row in await self._pages(self._ex.fetch_funding_history, unified, since_ns // 1_000_000):
                amount = says.read("a funding payment", lambda r=row: Decimal(str(r["amount"])))
                out.append(FundingPayment(markets.symbol(unified), amount, row["timestamp"] * 1_000_000))
        return sorted(out, key=lambda paid: paid.ts_exch_ns)

    async def fees(self, symbol: str) -> tuple[Decimal, Decimal]:
        """Maker and taker fee of this account; where the exchange does not tell, those of everybody."""
        markets = await self._known()
        if not self._ex.has.get("fetchTradingFee"):
            one = markets.instruments[symbol]
            return one.maker_fee, one.taker_fee
        found = await self._ask(self._ex.fetch_trading_fee, markets.unified(symbol))
        return says.read("fees", lambda: (Decimal(str(found["maker"])), Decimal(str(found["taker"]))))  # type: ignore[no-any-return]

    async def set_leverage(self, symbol: str, leverage: int) -> None:
        """Isolated margin where it can be set, then leverage; harmless when it is so already."""
        if not self.caps.leverage:
            await super().set_leverage(symbol, leverage)
        unified = (await self._known()).unified(symbol)
        if self._ex.has.get("setMarginMode"):
            answer = await self._attempt(self._ex.set_margin_mode, "isolated", unified, {"leverage": leverage})
            if not answer.ok and type(answer.fault).__name__ not in {"MarginModeAlreadySet", "NoChange"}:
                raise VenueUnreachable(f"{self._id}: isolated margin of {symbol}: {answer.error}")
        await self._ask(self._ex.set_leverage, leverage, unified)

    async def server_time_ns(self) -> int:
        """The venue's clock, in whole milliseconds; where it tells none, ours."""
        if not self._ex.has.get("fetchTime"):
            return int(self._ex.milliseconds()) * 1_000_000
        self._ex.open()
        answer = await attempt(self._ex, self._ex.fetch_time)
        if not answer.ok or not isinstance(answer.data, int):
            raise VenueUnreachable(answer.error or f"{self._id}: no time")
        return answer.data * 1_000_000

    # --- inner -------------------------------------------------------------------------------------------------------
    async def _known(self) -> Markets:
        """The markets, asked for once."""
        self._ex.open()
        if self._markets is None:
            self._markets = await load(self._ex)
            self._halting.set_markets(self._ex.markets)
        return self._markets

    def _scope(self, markets: Markets, *, every: bool = False) -> list[Any]:
        """Unified names to ask for: the desk's symbols; without any all at once (None), or every market."""
        if self._wanted:
            return [markets.unified(symbol) for symbol in self._wanted]
        return [markets.unified(symbol) for symbol in markets.instruments] if every else [None]

    def named(self, cid: str) -> tuple[str, dict[str, str]]:
        """How an order is named to ccxt: by the exchange's id once we know it, else by ours."""
        if cid in self._ids:
            return self._ids[cid], {}
        return cid, {"clientOrderId": cid}

    def _learn(self, o: wire.Order) -> wire.Order:
        """Remember both names of an order; returns it with a client order id, for want of one the exchange's."""
        o.cid = o.cid or self._cids.get(o.id, o.id)
        if o.id:
            self._cids[o.id], self._ids[o.cid] = o.cid, o.id
            for known in (self._cids, self._ids):
                if len(known) > _KEPT_IDS:
                    del known[next(iter(known))]
        return o

    async def _ask(self, call: Call, *args: Any) -> Any:
        """The answer to a query."""
        answer = await self._attempt(call, *args)
        if not answer.ok:
            raise VenueUnreachable(answer.error)
        return answer.data

    async def _attempt(self, call: Call, *args: Any) -> Answer:
        """A query; once more when the venue finds our clock wrong, or when a kept connection breaks."""
        for again in (True, False):
            if self._budget is not None:
                await self._budget.take("query")
            answer = await attempt(self._ex, call, *args)
            if again and says.stale_clock(answer):
                await self._set_clock()
            elif not answer.dropped:
                break
        return answer

    async def _set_clock(self) -> None:
        """Ask the venue for the time."""
        if not self._ex.has.get("fetchTime"):
            return
        self._ex.skew_ms = self._halting.skew_ms = 0
        skew_s, _ = await clock_skew_s(self._time_ms)
        self._ex.skew_ms = self._halting.skew_ms = round(skew_s * 1e3)

    async def _time_ms(self) -> int:
        return await self.server_time_ns() // 1_000_000


def _fill(t: wire.OwnTrade, cid: str) -> FillRecord:
    return FillRecord(
        cid, t.id, t.symbol, wire.SIDE_SIGN[t.side], Decimal(t.px), Decimal(t.qty), Decimal(t.fee),
        t.maker is not False, t.ts * 1_000_000,
    )  # fmt: skip
