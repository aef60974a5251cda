"""How Hyperliquid writes things: numbers, books, orders, fills, positions, and the words of its refusals.

Sources: the venue's API documentation ("Info endpoint", "WebSocket subscriptions", "Error responses") and the shapes
that ccxt reads. Not established, and marked so below: the words for a client order id used twice and for a dead-man
time too near.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

from mm.sandbox.account import ClientOrder
from mm.sandbox.market import Market
from mm.venues.hyperliquid.rules import sz_decimals
from mm.venues.native import wire

DEPTH: Final = 20
NO_HASH: Final = "0x" + "0" * 64
SIDE: Final = {"buy": "B", "sell": "A"}

# --- refusals ---------------------------------------------------------------------------------------------------------
TICK: Final = "Price must be divisible by tick size."
ZERO_SIZE: Final = "Order has zero size."
BAD_SIZE: Final = "Order has invalid size."
GONE: Final = "Order was never placed, already canceled, or filled."
NO_MODIFY: Final = "Cannot modify canceled or filled order"
MODIFY_FAILED: Final = "Error placing new order during modify: "
NO_MATCH: Final = "Order could not immediately match against any resting orders."
TOO_EARLY: Final = "Scheduled cancel time too early, must be at least 5 seconds from now."  # words not established
SAME_CLOID: Final = "Client order id already used."  # words not established
NO_MARGIN_LEFT: Final = (
    "Isolated position does not have sufficient margin available to decrease leverage. "
    "To decrease leverage, add margin to the position."
)
_WORDS: Final = {
    "bad_px": TICK,
    "bad_qty": BAD_SIZE,
    "min_notional": "Order must have minimum value of $10.",
    "reduce_only": "Reduce only order would increase position.",
    "insufficient_margin": "Insufficient margin to place order.",
    "insufficient_balance": "Insufficient margin to place order.",
    "duplicate_cid": SAME_CLOID,
}
_REJECTED: Final = {
    "post_only_would_cross": "badAloPxRejected",
    "min_notional": "minTradeNtlRejected",
    "reduce_only": "reduceOnlyRejected",
    "insufficient_margin": "perpMarginRejected",
    "bad_px": "tickRejected",
}
_CANCELED: Final = {
    "dead_man": "scheduledCancel",
    "stp": "selfTradeCanceled",
    "liquidation": "liquidatedCanceled",
    "margin": "marginCanceled",
    "reduce_only": "reduceOnlyCanceled",
}


def refusal(reason: str, asset: int, market: Market | None) -> str:
    """The error of an order that the exchange refused for ``reason``."""
    if reason == "post_only_would_cross" and market is not None:
        bbo = f"{touch(market, 1)}@{touch(market, -1)}"
        return f"Post only order would have immediately matched, bbo was {bbo}. asset={asset}"
    return f"{_WORDS.get(reason, f'Order has invalid parameters ({reason}).')} asset={asset}"


def touch(market: Market, side: int) -> str:
    """The best price of a side, 0 when there is none."""
    best = market.engine.best_bid if side > 0 else market.engine.best_ask
    return "0" if best is None else format(market.instrument.price(best).normalize(), "f")


# --- numbers ----------------------------------------------------------------------------------------------------------
@lru_cache(maxsize=1 << 16)
def num(text: str) -> str:
    """A decimal as the venue prints it: no trailing zeros, but never without a point."""
    out = format(Decimal(text).normalize(), "f")
    return out if "." in out else out + ".0"


def usd(value: Decimal) -> str:
    """An amount of money, to a millionth."""
    return num(format(round(value, 6), "f"))


# --- market data ------------------------------------------------------------------------------------------------------
def levels(market: Market, side: int, depth: int = DEPTH) -> list[dict[str, Any]]:
    """The best levels of a side; the number of orders behind each is not known here (1)."""
    units = market.units
    rows = market.engine.depth(side)[:depth]
    return [{"px": num(units.price(px)), "sz": num(units.size(lots)), "n": 1} for px, lots in rows]


def book(coin: str, market: Market, time_ms: int) -> dict[str, Any]:
    """WsBook."""
    return {"coin": coin, "time": time_ms, "levels": [levels(market, 1), levels(market, -1)]}


def bbo(coin: str, market: Market, time_ms: int) -> dict[str, Any]:
    """WsBbo."""
    return {"coin": coin, "time": time_ms, "bbo": [best(market, 1), best(market, -1)]}


def best(market: Market, side: int) -> dict[str, Any] | None:
    """The best level of a side."""
    engine, units = market.engine, market.units
    px = engine.best_bid if side > 0 else engine.best_ask
    if px is None:
        return None
    return {"px": num(units.price(px)), "sz": num(units.size(engine.level_qty(side, px))), "n": 1}


def trade(coin: str, row: wire.Trade, time_ms: int) -> dict[str, Any]:
    """WsTrade."""
    return {
        "coin": coin,
        "side": SIDE[row.side],
        "px": num(row.px),
        "sz": num(row.qty),
        "time": time_ms,
        "hash": NO_HASH,
        "tid": row.id,
        "users": ["0x" + "0" * 40, "0x" + "0" * 40],
    }


def mark_price(market: Market) -> Decimal:
    """The mark, else a price at which the venue's grid is the instrument's."""
    return market.instrument.price(50_000 if market.mark is None else market.mark)


def asset_ctx(market: Market, funding: str) -> dict[str, Any]:
    """The context of a perpetual."""
    mark = num(format(mark_price(market), "f"))
    return {
        "funding": funding,
        "openInterest": "0.0",
        "prevDayPx": mark,
        "dayNtlVlm": "0.0",
        "premium": "0.0",
        "oraclePx": mark,
        "markPx": mark,
        "midPx": mark if market.engine.best_bid is not None and market.engine.best_ask is not None else None,
        "impactPxs": None,
        "dayBaseVlm": "0.0",
    }


def meta(markets: Iterable[Market]) -> dict[str, Any]:
    """The universe of perpetuals."""
    universe = [
        {
            "szDecimals": sz_decimals(market.instrument.lot_size),
            "name": market.instrument.symbol,
            "maxLeverage": market.rules.max_leverage,
            "marginTableId": n,
        }
        for n, market in enumerate(markets)
    ]
    return {"universe": universe, "marginTables": [], "collateralToken": 0}


# --- orders and fills -------------------------------------------------------------------------------------------------
def cloid_of(cid: str) -> str | None:
    """The client's id behind the exchange's name of an order, see ``hyperliquid_actions``."""
    return cid.split("#", 1)[0] if cid.startswith("0x") else None


def basic_order(order: ClientOrder, time_ms: int) -> dict[str, Any]:
    """WsBasicOrder; ``sz`` is what is still open."""
    units, cloid = order.market.units, cloid_of(order.cid)
    out = {
        "coin": order.market.instrument.symbol,
        "side": SIDE[order.request.side],
        "limitPx": num(units.price(order.ticks)),
        "sz": num(units.size(order.lots)),
        "oid": order.oid,
        "timestamp": time_ms,
        "origSz": num(units.size(order.size_lots)),
    }
    if cloid is not None:
        out["cloid"] = cloid
    return out


def frontend_order(order: ClientOrder, time_ms: int) -> dict[str, Any]:
    """An order with everything that the venue's own page shows."""
    request = order.request
    tif = "Alo" if request.post_only else request.tif.capitalize()
    return {
        **basic_order(order, time_ms),
        "cloid": cloid_of(order.cid),
        "triggerCondition": "N/A",
        "isTrigger": False,
        "triggerPx": "0.0",
        "children": [],
        "isPositionTpsl": False,
        "reduceOnly": request.reduce_only,
        "orderType": "Limit",
        "tif": tif,
    }


def order_status(order: ClientOrder) -> str:
    """The venue's word for how an order stands."""
    if order.status == "rejected":
        return _REJECTED.get(order.reason, "rejected")
    if order.status == "canceled":
        if order.reason == "ioc" and not order.filled_lots:
            return "iocCancelRejected"
        return _CANCELED.get(order.reason, "canceled")
    return order.status


def fill(row: wire.Fill, time_ms: int, user: str) -> dict[str, Any]:
    """WsFill. ``closedPnl`` is not kept (0.0)."""
    side, liquidated = wire.SIDE_SIGN[row.side], row.oid == 0
    after, size = Decimal(row.pos), Decimal(row.qty)
    before = after - side * size
    out = {
        "coin": row.symbol,
        "px": num(row.px),
        "sz": num(row.qty),
        "side": SIDE[row.side],
        "time": time_ms,
        "startPosition": num(format(before, "f")),
        "dir": f"Liquidated Isolated {'Long' if before > 0 else 'Short'}" if liquidated else _direction(before, after),
        "closedPnl": "0.0",
        "hash": NO_HASH,
        "oid": row.oid,
        "crossed": not row.maker,
        "fee": num(format(round(Decimal(row.fee), 8), "f")),
        "tid": row.trade_id,
        "feeToken": "USDC",
    }
    cloid = cloid_of(row.cid)
    if cloid is not None:
        out["cloid"] = cloid
    if liquidated:
        out["liquidation"] = {"liquidatedUser": user, "markPx": num(row.px), "method": "market"}
    return out


def funding(row: wire.FundingPaid, time_ms: int) -> dict[str, Any]:
    """WsUserFunding."""
    return {
        "time": time_ms,
        "coin": row.symbol,
        "usdc": usd(Decimal(row.amount)),
        "szi": num(row.size),
        "fundingRate": row.rate,
    }


def liquidation(row: wire.Liquidation, lid: int, user: str, value: Decimal) -> dict[str, Any]:
    """WsLiquidation; ``value`` is what the account has left."""
    notional = abs(Decimal(row.size)) * Decimal(row.px)
    return {
        "lid": lid,
        "liquidator": "0x" + "0" * 40,
        "liquidated_user": user,
        "liquidated_ntl_pos": usd(notional),
        "liquidated_account_value": usd(value),
    }


def _direction(before: Decimal, after: Decimal) -> str:
    if before * after < 0:
        return "Long > Short" if before > 0 else "Short > Long"
    name = "Long" if (before or after) > 0 else "Short"
    return f"{'Open' if abs(after) > abs(before) else 'Close'} {name}"
