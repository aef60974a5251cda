"""What an account of Bybit can be asked and told over REST, apart from its orders."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, Final

import msgspec

from mm.errors import ConfigError, VenueUnreachable
from mm.venues.base import FillRecord, FundingPayment, OpenOrder, OrderState, Permissions, Position
from mm.venues.bybit import wire
from mm.venues.bybit.exchange import Bybit, make_bybit
from mm.venues.ccxt_calls import Answer, Budget, attempt, clock_skew_s

SETTLE: Final = "USDT"
DEAD_MAN_S: Final = (3.0, 300.0)
DEAD_MAN_TOPIC: Final = "dcp.future"
_WEEK_MS: Final = 7 * 86_400_000  # the longest span of one history query
_KEPT_MS: Final = 104 * _WEEK_MS  # the venue keeps two years
_ORDERS_PAGE: Final = 50
_HISTORY_PAGE: Final = 100
_MAX_PAGES: Final = 1_000
_PACE_S: Final = 0.025  # between the weeks of a long history
OPEN_ORDERS: Final = {"settleCoin": SETTLE, "limit": str(_ORDERS_PAGE)}
_STATUS: Final = {
    "New": "open",
    "PartiallyFilled": "open",
    "Untriggered": "open",
    "Filled": "filled",
    "Rejected": "rejected",
}  # fmt: skip  everything else has been cancelled

_OUR_FAULT: Final = frozenset({0, 10001, 10002, 10003, 10004})  # no answer to speak of, parameters, clock, keys

log = logging.getLogger("mm.venues.bybit")

Query = Callable[[dict[str, Any]], Awaitable[Any]]


class BybitAccount:
    """The queries and settings of ``mm.venues.base.TradingClient``."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._ex: Bybit = make_bybit(options, private=True)
        self._halting: Bybit = make_bybit(options, private=True)  # connections of its own: a halt waits behind nothing
        self._budget: Budget | None = options.get("budget")
        self._dead_man_s = 0
        self._no_dead_man = ""  # why there is none

    async def arm_dead_man(self, timeout_s: float) -> None:
        """Cancel everything when the private stream has been gone for ``timeout_s`` (3 to 300 s); 0 disarms.

        The venue watches streams that have its topic, so it needs no renewal while the stream lives.
        """
        window_s = 0 if timeout_s <= 0 else round(min(max(timeout_s, DEAD_MAN_S[0]), DEAD_MAN_S[1]))
        if self._no_dead_man:
            raise NotImplementedError(self._no_dead_man)
        if window_s == self._dead_man_s:
            return
        if window_s:
            await self._set_window(window_s)
        if not window_s or not self._dead_man_s:
            op = "subscribe" if window_s else "unsubscribe"
            await self._ex.say(self._ex.private_url, {"op": op, "args": [DEAD_MAN_TOPIC]})
        self._dead_man_s = window_s

    async def _set_window(self, window_s: int) -> None:
        """Tell the venue; some accounts must ask it for a dead man first."""
        if self._budget is not None:
            await self._budget.take("query")
        params = {"timeWindow": window_s, "product": "DERIVATIVES"}
        answer = await self._attempt(self._ex.privatePostV5OrderDisconnectedCancelAll, params)
        if answer.ok:
            return
        if answer.end != "certain" or too_many(answer) or code_of(answer) in _OUR_FAULT:
            raise VenueUnreachable(answer.error)
        self._no_dead_man = f"Bybit gives this account no dead man: {answer.error}"
        log.warning(self._no_dead_man)
        raise NotImplementedError(self._no_dead_man)

    async def set_leverage(self, symbol: str, leverage: int) -> None:
        """Isolated margin for the account, leverage for the symbol; harmless when it is so already."""
        info = await self._ask(self._ex.privateGetV5AccountInfo, {})
        if info["result"].get("marginMode") != "ISOLATED_MARGIN":
            await self._ask(self._ex.privatePostV5AccountSetMarginMode, {"setMarginMode": "ISOLATED_MARGIN"})
        params = {"category": wire.CATEGORY, "symbol": symbol, "buyLeverage": str(leverage)}
        params["sellLeverage"] = params["buyLeverage"]
        answer = await self._attempt(self._ex.privatePostV5PositionSetLeverage, params)
        if not answer.ok and code_of(answer) not in wire.NOT_MODIFIED:
            raise VenueUnreachable(f"bybit: leverage of {symbol}: {answer.error}")

    async def open_orders(self) -> list[OpenOrder]:
        """Open orders as the venue knows them."""
        rows = typed(await pages(self._ask, self._ex.privateGetV5OrderRealtime, OPEN_ORDERS), wire.Order)
        with reading("an order"):
            return [
                OpenOrder(
                    o.orderLinkId,
                    o.orderId,
                    o.symbol,
                    wire.SIDE_SIGN[o.side],
                    wire.number(o.price),
                    wire.number(o.leavesQty),
                )
                for o in rows
                if _STATUS.get(o.orderStatus) == "open"
            ]

    async def order(self, symbol: str, client_order_id: str) -> OrderState | None:
        """What became of an order: among the open ones, those that ended lately, then in the history, which lags."""
        named = {"symbol": symbol, "orderLinkId": client_order_id}
        live, history = self._ex.privateGetV5OrderRealtime, self._ex.privateGetV5OrderHistory
        for call, params in ((live, named), (live, {**named, "openOnly": "1"}), (history, named)):
            for o in typed(await self._pages(call, params, _ORDERS_PAGE), wire.Order):
                if o.orderLinkId == client_order_id:
                    with reading("an order"):
                        return _state(o)
        return None

    async def position(self, symbol: str) -> Position:
        """Position in one symbol and the wallet's balance."""
        found = await self._pages(self._ex.privateGetV5PositionList, {"symbol": symbol}, _ORDERS_PAGE)
        asked = {"accountType": "UNIFIED", "coin": SETTLE}
        wallets = typed(rows_of(await self._ask(self._ex.privateGetV5AccountWalletBalance, asked)), wire.Wallet)
        size, entry = Decimal(0), None
        with reading("a position or balance"):
            coins = [coin for wallet in wallets for coin in wallet.coin if coin.coin == SETTLE]
            balance = sum((wire.number(coin.walletBalance) for coin in coins), Decimal(0))
            for p in typed(found, wire.Position):
                if p.symbol == symbol and p.side in wire.SIDE_SIGN:
                    size = wire.number(p.size) * wire.SIDE_SIGN[p.side]
                    entry = wire.number(p.avgPrice) if size else None
        return Position(symbol, size, entry, balance)

    async def fills(self, since_ns: int) -> list[FillRecord]:
        """Executions since a time, oldest first."""
        found = await self._executions(since_ns, "")
        with reading("an execution"):
            return [
                FillRecord(
                    e.orderLinkId,
                    e.execId,
                    e.symbol,
                    wire.SIDE_SIGN[e.side],
                    wire.number(e.execPrice),
                    wire.number(e.execQty),
                    wire.number(e.execFee),
                    e.isMaker,
                    wire.time_ns(e.execTime),
                )
                for e in found
                if e.execType in {"Trade", "BustTrade", "AdlTrade"}
            ]

    async def funding(self, since_ns: int) -> list[FundingPayment]:
        """Funding settlements, oldest first."""
        found = await self._executions(since_ns, "Funding")
        with reading("a funding settlement"):
            return [FundingPayment(e.symbol, -wire.number(e.execFee), wire.time_ns(e.execTime)) for e in found]

    async def fees(self, symbol: str) -> tuple[Decimal, Decimal]:
        """Maker and taker fee of this account."""
        answer = await self._ask(self._ex.privateGetV5AccountFeeRate, {"category": wire.CATEGORY, "symbol": symbol})
        with reading("a fee rate"):
            rates = {row["symbol"]: (row["makerFeeRate"], row["takerFeeRate"]) for row in rows_of(answer)}
            maker, taker = rates[symbol]
            return wire.number(maker), wire.number(taker)

    async def permissions(self) -> Permissions:
        """Of the key: contract orders, withdrawals."""
        answer = await self._ask(self._ex.privateGetV5UserQueryApi, {})
        with reading("the key's permissions"):
            result = answer["result"]
            granted: dict[str, list[str]] = result["permissions"]
            orders = "Order" in granted.get("ContractTrade", []) or "DerivativesTrade" in granted.get("Derivatives", [])
            words = ", ".join(f"{name} {'/'.join(what)}" for name, what in granted.items() if what)
            may_trade = orders and not int(result["readOnly"])
            return Permissions(may_trade, "Withdraw" in granted.get("Wallet", []), words or "none")

    async def server_time_ns(self) -> int:
        """The venue's clock."""
        answer = await self._ask(self._ex.publicGetV5MarketTime, {})
        with reading("a time"):
            return int(answer["result"]["timeNano"])

    async def _executions(self, since_ns: int, exec_type: str) -> list[wire.Execution]:
        """By weeks, newest first within each as the venue answers; the result is oldest first."""
        now_ms = self._ex.milliseconds()
        from_ms = max(since_ns // 1_000_000, now_ms - _KEPT_MS)
        found: list[wire.Execution] = []
        while from_ms <= now_ms:
            params = {"startTime": str(from_ms), "endTime": str(min(from_ms + _WEEK_MS, now_ms + 1))}
            if exec_type:
                params["execType"] = exec_type
            rows = await self._pages(self._ex.privateGetV5ExecutionList, params, _HISTORY_PAGE)
            found += reversed(typed(rows, wire.Execution))
            from_ms += _WEEK_MS
            if from_ms <= now_ms:
                await asyncio.sleep(_PACE_S)
        with reading("an execution"):
            found.sort(key=lambda e: wire.time_ns(e.execTime))
        return list({e.execId: e for e in found}.values())

    async def _ask(self, call: Query, params: dict[str, Any]) -> Any:
        """The answer to a query; raises ``VenueUnreachable``."""
        if self._budget is not None:
            await self._budget.take("query")
        answer = await self._attempt(call, params)
        if not answer.ok:
            raise VenueUnreachable(answer.error)
        return answer.data

    async def _attempt(self, call: Query, params: dict[str, Any]) -> Answer:
        """One REST request; one that came at a wrong time is not done, so it is sent again by the right clock."""
        answer = await attempt(self._ex, call, params)
        if code_of(answer) == wire.STALE_CLOCK:
            await self._set_clock()
            answer = await attempt(self._ex, call, params)
        return answer

    async def _set_clock(self) -> None:
        """Ask the venue for the time; raises ``VenueUnreachable``."""
        skew_s, _ = await clock_skew_s(self._time_ms)
        self._ex.skew_ms = self._halting.skew_ms = round(skew_s * 1e3)

    async def _time_ms(self) -> int:
        return await self.server_time_ns() // 1_000_000

    async def _pages(self, call: Query, params: dict[str, str], page: int) -> list[Any]:
        return await pages(self._ask, call, {**params, "limit": str(page)})


async def pages(
    one: Callable[[Query, dict[str, Any]], Awaitable[Any]], call: Query, params: dict[str, str]
) -> list[Any]:
    """The rows of all pages of a query; raises ``VenueUnreachable``."""
    rows: list[Any] = []
    cursor = ""
    for _ in range(_MAX_PAGES):
        page = {"category": wire.CATEGORY, **params} | ({"cursor": cursor} if cursor else {})
        answer = await one(call, page)
        rows += rows_of(answer)
        cursor = (answer.get("result") or {}).get("nextPageCursor") or ""
        if not cursor:
            return rows
    raise VenueUnreachable("bybit: the pages of an answer do not end")


@contextmanager
def reading(what: str) -> Iterator[None]:
    """An answer whose values make no sense is no answer: ``VenueUnreachable``."""
    try:
        yield
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, ConfigError) as exc:
        raise VenueUnreachable(f"bybit: {what} that cannot be read: {exc!r}") from exc


def rows_of(answer: Any) -> list[Any]:
    """The list in an answer; raises ``VenueUnreachable`` when there is none."""
    rows = (answer.get("result") or {}).get("list") if isinstance(answer, dict) else None
    if not isinstance(rows, list):
        raise VenueUnreachable(f"bybit: no list in {str(answer)[:100]!r}")
    return rows


def typed(rows: list[Any], kind: type[Any]) -> list[Any]:
    """Rows of an answer; raises ``VenueUnreachable``."""
    try:
        return msgspec.convert(rows, list[kind])  # type: ignore[valid-type]
    except msgspec.ValidationError as exc:
        raise VenueUnreachable(f"bybit: an answer that cannot be read: {exc}") from exc


def _state(o: wire.Order) -> OrderState:
    status: Any = _STATUS.get(o.orderStatus, "canceled")
    reason = "" if o.rejectReason == "EC_NoError" else o.rejectReason
    if reason == wire.POST_ONLY_CROSSED and not wire.number(o.cumExecQty):
        status = "rejected"
    return OrderState(
        o.orderLinkId,
        o.orderId,
        o.symbol,
        wire.SIDE_SIGN[o.side],
        wire.number(o.price),
        wire.number(o.qty),
        wire.number(o.cumExecQty),
        status,
        reason,
    )


def code_of(answer: Answer) -> int:
    """The venue's code in a REST answer, 0 without one."""
    try:
        return int(msgspec.json.decode(answer.body)["retCode"])
    except (msgspec.MsgspecError, KeyError, TypeError, ValueError):
        return 0


def too_many(answer: Answer) -> bool:
    """Refused by a rate limit: certainly not done."""
    return answer.status in {403, 429} or code_of(answer) in {10006, 10018, 10429}
