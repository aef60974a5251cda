"""What Bybit v5 answers about an account: orders, executions, positions, wallet, settings. Raises ``Denied``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any, Final

import msgspec

from mm.sandbox.account import Account, ClientOrder
from mm.sandbox.exchange import Exchange, Refused
from mm.sandbox.faces import bybit_wire as out
from mm.sandbox.faces.bybit_wire import Denied
from mm.venues.native import wire

Params = Mapping[str, Any]

RECENT_NS: Final = 600_000_000_000  # so long ended orders are among the "realtime" ones that are not open
RECENT: Final = 500  # and so many of them
_PAGE: Final = {"order": (20, 50), "execution": (50, 100)}  # default and longest page


class MarginMode(msgspec.Struct):
    """``set-margin-mode``."""

    setMarginMode: str


class Leverage(msgspec.Struct):
    """``set-leverage``."""

    symbol: str
    buyLeverage: str
    sellLeverage: str


class DeadMan(msgspec.Struct):
    """``disconnected-cancel-all``."""

    timeWindow: int
    product: str = "OPTIONS"


class Settings:
    """What an account has set."""

    def __init__(self) -> None:
        self.margin_mode = "REGULAR_MARGIN"
        self.window_s = 0  # of the dead man, 0: never armed
        self.gone_ns = 0  # since when no private stream with its topic is open, 0: one is


class Desk:
    """``now_ns``: the exchange's clock."""

    def __init__(self, exchange: Exchange, now_ns: Callable[[], int]) -> None:
        self._exchange = exchange
        self._now_ns = now_ns
        self._settings: dict[str, Settings] = {}

    def settings(self, account: Account) -> Settings:
        """Of one account."""
        return self._settings.setdefault(account.name, Settings())

    # --- queries -----------------------------------------------------------------------------------------------------
    def realtime(self, account: Account, params: Params) -> dict[str, Any]:
        """Open orders; with ``openOnly`` 1 those that ended a moment ago instead."""
        one = self._by_id(account, params)
        wanted = self._symbol(params, needed=one is None and not params.get("settleCoin"))
        since_ns = self._now_ns() - RECENT_NS
        if params.get("openOnly") == "1":
            known = reversed(account.orders.values()) if one is None else iter(one)
            found = list(islice((o for o in known if o.status != "open" and o.updated_ns > since_ns), RECENT))
        else:
            found = [o for o in (account.open.values() if one is None else one) if o.status == "open"]
        return self._orders([o for o in found if wanted in {"", o.request.symbol}], params)

    def history(self, account: Account, params: Params) -> dict[str, Any]:
        """Ended orders, newest first."""
        one, wanted = self._by_id(account, params), self._symbol(params)
        known = reversed(account.orders.values()) if one is None else one
        return self._orders([o for o in known if o.status != "open" and wanted in {"", o.request.symbol}], params)

    def _by_id(self, account: Account, params: Params) -> list[ClientOrder] | None:
        if params.get("orderId"):
            found = account.by_oid(out.oid_of(params["orderId"]))
        elif params.get("orderLinkId"):
            found = account.orders.get(params["orderLinkId"])
        else:
            return None
        return [] if found is None else [found]

    def _orders(self, orders: Sequence[ClientOrder], params: Params) -> dict[str, Any]:
        page, cursor = _page(orders, params, "order")
        rows = [out.order_row(o, out.status_of(o), o.market.units.size(o.lots), o.updated_ns) for o in page]
        return {"category": "linear", "list": rows, "nextPageCursor": cursor}

    def executions(self, account: Account, params: Params) -> dict[str, Any]:
        """Executions of at most seven days, newest first."""
        wanted, kind = self._symbol(params), params.get("execType") or ""
        first, last = _span(params, self._now_ns() // 1_000_000)
        told: list[wire.Fill | wire.FundingPaid] = []
        if kind != "Funding":
            told += account.fills
        if kind in {"", "Funding"}:
            told += account.funding
        found = [x for x in told if first <= x.ts // 1_000_000 <= last and wanted in {"", x.symbol}]
        found.sort(key=lambda x: x.ts)
        page, cursor = _page(found[::-1], params, "execution")
        rows = [self.execution_row(account, x) for x in page]
        return {"category": "linear", "list": rows, "nextPageCursor": cursor}

    def execution_row(self, account: Account, fill: wire.Fill | wire.FundingPaid) -> dict[str, Any]:
        """One execution as the stream and the history tell it."""
        if isinstance(fill, wire.FundingPaid):
            return out.funding_row(fill)
        rate = account.fees[fill.symbol][0 if fill.maker else 1]
        return out.execution_row(fill, account.orders.get(fill.cid), self.mark(fill.symbol), rate)

    def positions(self, account: Account, params: Params) -> dict[str, Any]:
        """Of one symbol, flat ones too; or all that are not flat."""
        wanted = self._symbol(params, needed=not params.get("settleCoin"))
        rows = []
        for symbol in [wanted] if wanted else list(self._exchange.markets):
            position = self._exchange.position(account, symbol, self._now_ns())
            row = out.position_row(position)
            if wanted or row["side"]:
                rows.append(row)
        return {"category": "linear", "list": rows, "nextPageCursor": ""}

    def wallet(self, account: Account, _params: Params) -> dict[str, Any]:
        """The unified account."""
        return {"list": [self.wallet_row(account)]}

    def wallet_row(self, account: Account) -> dict[str, Any]:
        """The wallet as the stream and the query tell it."""
        return out.wallet_row(self._exchange.account_view(account, next(iter(self._exchange.markets))), account)

    def fee_rate(self, account: Account, params: Params) -> dict[str, Any]:
        """Of one symbol or all."""
        wanted = self._symbol(params)
        fees = {s: f for s, f in account.fees.items() if wanted in {"", s}}
        rows = [
            {"symbol": s, "makerFeeRate": format(maker, "f"), "takerFeeRate": format(taker, "f")}
            for s, (maker, taker) in fees.items()
        ]
        return {"category": "linear", "list": rows}

    def info(self, account: Account, _params: Params) -> dict[str, Any]:
        """Account settings."""
        own = self.settings(account)
        return {
            "marginMode": own.margin_mode, "unifiedMarginStatus": 5, "isMasterTrader": False,
            "dcpStatus": "ON" if own.window_s else "OFF", "timeWindow": own.window_s, "smpGroup": 0,
            "updatedTime": out.ms(self._now_ns()),
        }  # fmt: skip

    def api_key(self, account: Account, _params: Params) -> dict[str, Any]:
        """What the key may do."""
        return {
            "id": "1", "note": account.name, "readOnly": 0, "secret": "", "ips": ["*"], "type": 1, "unified": 0,
            "permissions": {"ContractTrade": ["Order", "Position"], "Wallet": [], "Derivatives": ["DerivativesTrade"]},
            "uta": 1, "userID": 1, "inviterID": 0, "vipLevel": "No VIP", "mktMakerLevel": "0", "affiliateID": 0,
            "isMaster": True, "parentUid": "0", "deadlineDay": 90,
        }  # fmt: skip

    # --- settings ----------------------------------------------------------------------------------------------------
    def set_margin_mode(self, account: Account, params: Params) -> dict[str, Any]:
        """Isolated or cross, for the whole account."""
        mode = out.read(params, MarginMode).setMarginMode
        if mode not in {"ISOLATED_MARGIN", "REGULAR_MARGIN"}:
            raise Denied(10001, "params error: setMarginMode invalid")
        self.settings(account).margin_mode = mode
        return {"reasons": []}

    def set_leverage(self, account: Account, params: Params) -> dict[str, Any]:
        """Of one symbol; both sides the same."""
        r = out.read(params, Leverage)
        symbol, buy, sell = self._symbol({"symbol": r.symbol}, needed=True), r.buyLeverage, r.sellLeverage
        if buy != sell or not (buy.isascii() and buy.isdigit()) or len(buy) > 3:
            raise Denied(110013, "cannot set leverage due to risk limit level")
        if account.leverage.get(symbol) == int(buy):
            raise Denied(110043, "leverage not modified")
        try:
            self._exchange.set_leverage(account, symbol, int(buy))
        except Refused as no:
            code = 110007 if no.code == "insufficient_margin" else 110013
            raise Denied(code, f"cannot set leverage: {no}") from None
        return {}

    def arm(self, account: Account, params: Params) -> dict[str, Any]:
        """The dead man's window."""
        r = out.read(params, DeadMan)
        if not 3 <= r.timeWindow <= 300 or r.product != "DERIVATIVES":
            raise Denied(10001, "params error: timeWindow must be 3 to 300, product DERIVATIVES")
        self.settings(account).window_s = r.timeWindow
        return {}

    # --- helpers -----------------------------------------------------------------------------------------------------
    def mark(self, symbol: str) -> str:
        """Mark price, "" before there is one."""
        market = self._exchange.markets[symbol]
        return "" if market.mark is None else market.units.price(market.mark)

    def _symbol(self, params: Params, *, needed: bool = False) -> str:
        symbol = str(params.get("symbol") or "")
        if (needed and not symbol) or (symbol and symbol not in self._exchange.markets):
            raise Denied(10001, "params error: symbol invalid")
        return symbol


def _page(rows: Sequence[Any], params: Params, what: str) -> tuple[list[Any], str]:
    """One page and the cursor of the next, "" for the last."""
    usual, most = _PAGE[what]
    at, limit = out.whole(params, "cursor", 0), min(out.whole(params, "limit", usual), most)
    page = list(islice(rows, at, at + limit))
    return page, str(at + limit) if at + limit < len(rows) else ""


def _span(params: Params, now_ms: int) -> tuple[int, int]:
    week = 7 * 86_400_000
    start, end = out.whole(params, "startTime", 0), out.whole(params, "endTime", 0)
    end = end or (start + week if start else now_ms)
    start = start or end - week
    if not 0 <= end - start <= week:
        raise Denied(10001, "The time range between startTime and endTime cannot exceed 7 days")
    return start, end
