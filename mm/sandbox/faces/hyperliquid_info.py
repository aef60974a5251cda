"""POST /info: what Hyperliquid answers to questions. No signature: an account is public by its address."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

from mm.sandbox.account import Account, ClientOrder
from mm.sandbox.exchange import Exchange
from mm.sandbox.faces import hyperliquid_wire as hl
from mm.sandbox.faces.hyperliquid_actions import FREE_ACTIONS, Actions

END: Final = 1 << 60
PAGE: Final = 2_000
FUNDING_PAGE: Final = 500
_LIGHT: Final = frozenset({
    "l2Book", "allMids", "clearinghouseState", "orderStatus", "spotClearinghouseState", "exchangeStatus",
})  # fmt: skip
_SPOT_META: Final = {
    "tokens": [
        {"name": "USDC", "szDecimals": 8, "weiDecimals": 8, "index": 0, "tokenId": "0x" + "0" * 32, "isCanonical": True}
    ],
    "universe": [],
}


class Unknown(Exception):
    """Not a question, or one that is not answered here."""


def weight(kind: str) -> int:
    """Of a question, in the venue's rate budget."""
    return 2 if kind in _LIGHT else 60 if kind == "userRole" else 20


class Info:
    """``to_ms``: the exchange's nanoseconds to what the venue's clock shows."""

    def __init__(self, exchange: Exchange, actions: Actions, to_ms: Callable[[int], int]) -> None:
        self.exchange = exchange
        self.actions = actions
        self.rates: dict[str, str] = {}  # funding rate by coin
        self.history: dict[str, list[dict[str, Any]]] = {}  # funding rates by coin
        self.now_ms: Callable[[], int] = lambda: 0
        self._to_ms = to_ms

    def answer(self, asked: Any) -> Any:
        """The answer; raises ``Unknown``."""
        if not isinstance(asked, dict) or not isinstance(asked.get("type"), str):
            raise Unknown
        kind = asked["type"]
        public: dict[str, Callable[[], Any]] = {
            "meta": self.meta,
            "metaAndAssetCtxs": lambda: [self.meta(), self.contexts()],
            "spotMeta": lambda: _SPOT_META,
            "spotMetaAndAssetCtxs": lambda: [_SPOT_META, []],
            "perpDexs": lambda: [None],
            "allMids": self._mids,
            "exchangeStatus": lambda: {"time": self.now_ms(), "specialStatuses": None},
        }
        if kind in public:
            return public[kind]()
        if kind in {"l2Book", "fundingHistory"}:
            return self._of_coin(kind, asked)
        if kind == "userRole":
            return self._role(str(asked.get("user", "")).lower())
        account = self.account(asked)
        return self._of_account(kind, account, asked)

    def account(self, asked: Any) -> Account | None:
        """Whose state is asked for; None for an address that is nobody's. Raises ``Unknown``."""
        user = asked.get("user") if isinstance(asked, dict) else None
        if not isinstance(user, str) or not user.startswith("0x") or len(user) != 42:
            raise Unknown
        return self.actions.users.get(user.lower())

    # --- markets ------------------------------------------------------------------------------------------------------
    def meta(self) -> dict[str, Any]:
        """All perpetuals."""
        return hl.meta(self.exchange.markets.values())

    def contexts(self) -> list[dict[str, Any]]:
        """Their contexts, in the same order."""
        return [hl.asset_ctx(m, self.rates.get(c, "0.0")) for c, m in self.exchange.markets.items()]

    def _mids(self) -> dict[str, str]:
        return {c: hl.num(format(hl.mark_price(m), "f")) for c, m in self.exchange.markets.items()}

    def _of_coin(self, kind: str, asked: dict[str, Any]) -> Any:
        coin = str(asked.get("coin"))
        if coin not in self.exchange.markets:
            return None if kind == "l2Book" else []
        if kind == "l2Book":
            return hl.book(coin, self.exchange.markets[coin], self.now_ms())
        start = _number(asked, "startTime")
        return [row for row in self.history.get(coin, []) if row["time"] >= start][:FUNDING_PAGE]

    def _role(self, user: str) -> dict[str, Any]:
        if user in self.actions.users:
            return {"role": "user"}
        account = self.actions.signers.get(user)
        if account is None:
            return {"role": "missing"}
        return {"role": "agent", "data": {"user": self.actions.address[account.name]}}

    # --- accounts -----------------------------------------------------------------------------------------------------
    def _of_account(self, kind: str, account: Account | None, asked: dict[str, Any]) -> Any:
        answers: dict[str, Callable[[], Any]] = {
            "clearinghouseState": lambda: self.clearinghouse(account),
            "spotClearinghouseState": lambda: {"balances": []},
            "userAbstraction": lambda: "default",
            "openOrders": lambda: [hl.basic_order(o, self._made(o)) for o in _open(account)],
            "frontendOpenOrders": lambda: [hl.frontend_order(o, self._made(o)) for o in _open(account)],
            "historicalOrders": lambda: [self._state(o) for o in _known(account)],
            "orderStatus": lambda: self._order(account, asked),
            "userFills": lambda: self.fills(account, 0, newest=True),
            "userFillsByTime": lambda: self.fills(account, _number(asked, "startTime"), _number(asked, "endTime", END)),
            "userFees": lambda: self._fees(account),
            "userFunding": lambda: self._paid(account, _number(asked, "startTime")),
            "userRateLimit": lambda: self._limits(account),
        }
        if kind not in answers:
            raise Unknown
        return answers[kind]()

    def _paid(self, account: Account | None, start_ms: int) -> list[dict[str, Any]]:
        rows = [hl.funding(row, self._to_ms(row.ts)) for row in (account.funding if account else ())]
        kept = [
            {"time": row.pop("time"), "hash": hl.NO_HASH, "delta": {"type": "funding", **row, "nSamples": None}}
            for row in rows
        ]
        return [row for row in kept if row["time"] >= start_ms][:FUNDING_PAGE]

    def _limits(self, account: Account | None) -> dict[str, Any]:
        volume = self.actions.volume_usd.get(account.name, Decimal(0)) if account else Decimal(0)
        used = self.actions.used.get(account.name, 0) if account else 0
        return {"cumVlm": hl.usd(volume), "nRequestsUsed": used, "nRequestsCap": FREE_ACTIONS + int(volume)}

    def _made(self, order: ClientOrder) -> int:
        return self._to_ms(order.created_ns)

    def _state(self, order: ClientOrder) -> dict[str, Any]:
        return {
            "order": hl.frontend_order(order, self._made(order)),
            "status": hl.order_status(order),
            "statusTimestamp": self._to_ms(order.updated_ns),
        }

    def _order(self, account: Account | None, asked: dict[str, Any]) -> dict[str, Any]:
        oid = asked.get("oid")
        if isinstance(oid, bool) or not isinstance(oid, int | str):
            raise Unknown
        if isinstance(oid, str) and oid.isdigit():
            oid = int(oid)
        order = self.actions.by_any(account, oid) if account else None
        return {"status": "unknownOid"} if order is None else {"status": "order", "order": self._state(order)}

    def fills(
        self, account: Account | None, start_ms: int, end_ms: int = 1 << 60, *, newest: bool = False
    ) -> list[Any]:
        """A page of fills: the newest first, or from a time on, oldest first."""
        if account is None:
            return []
        known, user = account.fills, self.actions.address[account.name]
        first = bisect_left(known, start_ms, key=lambda f: self._to_ms(f.ts))
        page = known[: -PAGE - 1 : -1] if newest else known[first : first + PAGE]
        rows = [hl.fill(f, self._to_ms(f.ts), user) for f in page]
        return [row for row in rows if row["time"] <= end_ms]

    def _fees(self, account: Account | None) -> dict[str, Any]:
        instrument = self.exchange.instruments[0]
        maker, taker = account.fees[instrument.symbol] if account else (instrument.maker_fee, instrument.taker_fee)
        return {
            "dailyUserVlm": [],
            "feeSchedule": {},
            "userCrossRate": format(taker, "f"),
            "userAddRate": format(maker, "f"),
            "userSpotCrossRate": "0.0007",
            "userSpotAddRate": "0.0004",
            "activeReferralDiscount": "0.0",
        }

    def clearinghouse(self, account: Account | None) -> dict[str, Any]:
        """Positions and money."""
        rows: list[dict[str, Any]] = []
        cash = notional = signed = profit = margin = Decimal(0)
        if account is not None:
            cash = self.exchange.balance(account, self.actions.symbols[0])
        for coin, market in self.exchange.markets.items():
            if account is None or not account.ledgers[coin].lots:
                continue
            p = self.exchange.position(account, coin, 0)
            size, mark = Decimal(p.size), hl.mark_price(market)
            value, gain, used = size * mark, Decimal(p.unrealised), Decimal(p.margin)
            notional, signed, profit, margin = notional + abs(value), signed + value, profit + gain, margin + used
            funding = account.ledgers[coin].funding
            rows.append({
                "type": "oneWay",
                "position": {
                    "coin": coin,
                    "szi": hl.num(p.size),
                    "leverage": {
                        "type": "cross" if self.actions.is_cross(account, coin) else "isolated",
                        "value": p.leverage,
                        "rawUsd": hl.usd(used + gain - value),
                    },
                    "entryPx": hl.num(format(round(Decimal(p.entry or mark), 6), "f")),
                    "positionValue": hl.usd(abs(value)),
                    "unrealizedPnl": hl.usd(gain),
                    "returnOnEquity": hl.usd(gain / used if used else Decimal(0)),
                    "liquidationPx": None if p.liquidation is None else hl.num(p.liquidation),
                    "marginUsed": hl.usd(used),
                    "maxLeverage": market.rules.max_leverage,
                    "cumFunding": {"allTime": hl.usd(-funding), "sinceOpen": "0.0", "sinceChange": "0.0"},
                },
            })  # fmt: skip
        summary = {
            "accountValue": hl.usd(cash + profit),
            "totalNtlPos": hl.usd(notional),
            "totalRawUsd": hl.usd(cash + profit - signed),
            "totalMarginUsed": hl.usd(margin),
        }
        return {
            "marginSummary": summary,
            "crossMarginSummary": summary,
            "crossMaintenanceMarginUsed": "0.0",
            "withdrawable": hl.usd(max(Decimal(0), cash + profit - margin)),
            "assetPositions": rows,
            "time": self.now_ms(),
        }


def _open(account: Account | None) -> list[ClientOrder]:
    return list(account.open.values()) if account else []


def _known(account: Account | None) -> list[ClientOrder]:
    """Orders that got a number, the newest first."""
    orders = [o for o in (account.orders.values() if account else ()) if o.oid]
    return orders[: -PAGE - 1 : -1]


def _number(asked: dict[str, Any], name: str, default: int | None = None) -> int:
    value = asked.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int):
        raise Unknown
    return value
