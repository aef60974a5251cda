"""What the exchange holds, in the words of ApeX Omni."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

import msgspec

from mm.core.instrument import Instrument
from mm.errors import ConfigError
from mm.sandbox.account import Account, ClientOrder
from mm.sandbox.faces.apex_auth import TOKEN_DECIMALS
from mm.venues.apex.spec import SPEC
from mm.venues.apex.wire import topic_symbol
from mm.venues.native import wire

FIRST_ID: Final = 700_000_000_000_000_000  # the venue's order numbers are long
_FIRST_PAIR: Final = 50_001
_STATUS: Final = {"new": "PENDING", "open": "OPEN", "filled": "FILLED", "canceled": "CANCELED", "rejected": "CANCELED"}
_CANCELS: Final = {
    "user": "USER_CANCELED",
    "reduce_only": "REDUCE_ONLY_CANCELED",
    "liquidation": "LIQUIDATE_CANCELED",
    "expired": "EXPIRED",
}
_REFUSALS: Final = {
    "unknown_symbol": ("INVALID_SYMBOL", "invalid symbol"),
    "bad_cid": ("ORDER_INVALID_CLIENT_ORDER_ID", "Invalid clientOrderId."),
    "duplicate_cid": ("ORDER_CLIENT_ORDER_DATA_CONFLICT", "Please resubmit your order."),
    "bad_px": ("ORDER_INVALID_PRICE", "Price must be a multiple of the tick size."),
    "bad_qty": ("ORDER_SIZE_SMALLER_THAN_SYMBOL_MIN_ORDER_SIZE", "Order size smaller than symbol min order size."),
    "min_notional": ("ORDER_SIZE_SMALLER_THAN_SYMBOL_MIN_ORDER_SIZE", "Order size smaller than symbol min order size."),
    "reduce_only": ("ORDER_IS_REDUCE_ONLY_CANNOT_OPEN_POSITION", "Order is reduce-only, cannot open position."),
    "insufficient_margin": (
        "ORDER_THERE_IS_NOT_ENOUGH_MARGIN_TO_OPEN_POSITION",
        "If order is filled, there is insufficient margin to open position.",
    ),
    "liquidating": ("ORDER_LIQUIDATING_ACCOUNT_CANNOT_CREATE_ORDER", "Account is liquidating, cannot create order."),
}
_UNCANCELABLE: Final = {
    "filled": ("ORDER_NOT_CANCEL_FILLED", "Order successful, please do not cancel."),
    "canceled": ("ORDER_NOT_CANCEL_INVALID_STATUS", "Invalid order, please do not cancel."),
    "rejected": ("ORDER_NOT_CANCEL_INVALID_STATUS", "Invalid order, please do not cancel."),
}
NOT_FOUND: Final = ("ORDER_NOT_FOUND", "This order does not exist.")

encode = msgspec.json.Encoder().encode


def text(value: Any) -> str:
    """JSON as a text frame."""
    return encode(value).decode()


def refusal(reason: str) -> tuple[str, str]:
    """Key and message of an order that the exchange did not take."""
    return _REFUSALS.get(reason, ("ORDER_" + reason.upper(), reason))


def uncancelable(status: str) -> tuple[str, str]:
    """Key and message of a cancel that came too late, or for nothing."""
    return _UNCANCELABLE.get(status, NOT_FOUND)


def pair_id(instruments: Iterable[Instrument], symbol: str) -> int:
    """The number of a market in contracts."""
    return _FIRST_PAIR + [i.symbol for i in instruments].index(symbol)


def symbols(instruments: Iterable[Instrument]) -> dict[str, Any]:
    """The configuration of everything."""
    tokens = [{"tokenId": "141", "token": "USDT", "displayName": "Tether USD Coin", "decimals": TOKEN_DECIMALS}]
    listed = list(instruments)
    return {
        "spotConfig": {"assets": tokens, "global": {}, "spot": [], "multiChain": {"chains": []}},
        "contractConfig": {
            "assets": [{**token, "showStep": "0.01", "iconUrl": "", "l2WithdrawFee": "0"} for token in tokens],
            "tokens": [],
            "global": {},
            "perpetualContract": [_contract(i, pair_id(listed, i.symbol)) for i in listed],
            "prelaunchContract": [],
            "predictionContract": [],
            "stockContract": [],
        },
    }


def _contract(instrument: Instrument, pair: int) -> dict[str, Any]:
    try:
        listing = SPEC.listing(instrument.base)
        leverage, tier = listing.max_leverage, listing.tiers[0][1]
    except ConfigError:  # a market that only the local exchange has
        leverage, tier = 20.0, 2.5
    name = topic_symbol(instrument.symbol)
    return {
        "symbol": instrument.symbol,
        "symbolDisplayName": name,
        "crossSymbolName": name,
        "crossSymbolId": pair - _FIRST_PAIR + 10,
        "settleAssetId": instrument.quote,
        "baseTokenId": instrument.base,
        "tickSize": format(instrument.tick_size, "f"),
        "stepSize": format(instrument.lot_size, "f"),
        "minOrderSize": format(instrument.lot_size, "f"),
        "maxOrderSize": format(instrument.lot_size * 50_000, "f"),
        "maxPositionSize": format(instrument.lot_size * 100_000, "f"),
        "l2PairId": str(pair),
        "initialMarginRate": format(1 / Decimal(str(leverage)), "f"),
        "maintenanceMarginRate": format(Decimal(str(tier)) / 100, "f"),
        "defaultInitialMarginRate": "0.05",
        "displayMaxLeverage": format(Decimal(str(leverage)), "f"),
        "displayMinLeverage": "1",
        "enableTrade": True,
        "enableDisplay": True,
        "enableOpenPosition": True,
        "enableFundingSettlement": True,
        "maxMarketPriceRange": "0.025",
        "isPrelaunch": False,
        "category": "L1",
    }


def order(one: ClientOrder, account_number: str, *, pending: bool = False) -> dict[str, Any]:
    """One order, as it is or as it was when it came in."""
    market, request = one.market, one.request
    units = market.units
    size, filled = units.size(one.size_lots), "0" if pending else units.size(one.filled_lots)
    value = format(market.instrument.tick_size * market.instrument.lot_size * one.tick_lots, "f")
    created, updated = one.created_ns // 1_000_000, one.updated_ns // 1_000_000
    status = "PENDING" if pending else _STATUS[one.status]
    tif = {"GTC": "GOOD_TIL_CANCEL", "IOC": "IMMEDIATE_OR_CANCEL", "FOK": "FILL_OR_KILL"}[request.tif]
    why = _CANCELS.get(one.reason, "COULD_NOT_FILL") if status == "CANCELED" else "UNKNOWN_ORDER_CANCEL_REASON"
    fee = "0" if pending else format(one.fee, "f")
    matched = "0" if pending else value
    return {
        "id": str(FIRST_ID + one.oid),
        "orderId": str(FIRST_ID + one.oid),
        "clientId": one.cid,
        "clientOrderId": one.cid,
        "accountId": account_number,
        "symbol": market.instrument.symbol,
        "side": "BUY" if one.side > 0 else "SELL",
        "price": units.price(one.ticks),
        "size": size,
        "remainingSize": size if pending else units.size(one.lots),
        "type": "LIMIT",
        "timeInForce": "POST_ONLY" if request.post_only else tif,
        "postOnly": request.post_only,
        "reduceOnly": request.reduce_only,
        "status": status,
        "cancelReason": why,
        "fee": fee,
        "limitFee": "0",
        "triggerPrice": "0",
        "trailingPercent": "0",
        "createdAt": created,
        "updatedAt": created if pending else updated,
        "updatedTime": created if pending else updated,
        "expiresAt": created + 28 * 86_400_000,
        "isPositionTpsl": False,
        "isDeleverage": False,
        "isLiquidate": False,
        "latestMatchFillPrice": "0",
        "cumMatchFillSize": filled,
        "cumMatchFillValue": matched,
        "cumMatchFillFee": fee,
        "cumSuccessFillSize": filled,
        "cumSuccessFillValue": matched,
        "cumSuccessFillFee": fee,
    }


def fill(one: wire.Fill, account_number: str) -> dict[str, Any]:
    """One execution as a push tells it: without our own id."""
    stamp = one.ts // 1_000_000
    return {
        "id": fill_id(one),
        "orderId": order_id(one),
        "accountId": account_number,
        "symbol": one.symbol,
        "side": one.side.upper(),
        "price": one.px,
        "size": one.qty,
        "fee": one.fee,
        "liquidity": "MAKER" if one.maker else "TAKER",
        "quoteAmount": format(Decimal(one.px) * Decimal(one.qty), "f"),
        "isOpen": True,
        "createdAt": stamp,
        "updatedAt": stamp,
    }


def fill_record(one: wire.Fill, account_number: str) -> dict[str, Any]:
    """One execution as the history tells it."""
    return {**fill(one, account_number), "clientOrderId": one.cid, "clientId": one.cid, "status": "SUCCESS"}


def order_id(one: wire.Fill) -> str:
    """The venue's number of the order of an execution; a liquidation has one of its own."""
    return str(FIRST_ID + (one.oid or 500_000_000_000 + one.n))


def liquidation(one: wire.Fill, account_number: str) -> dict[str, Any]:
    """The order by which the venue closed a position."""
    stamp = one.ts // 1_000_000
    return {
        "id": order_id(one),
        "clientId": "",
        "accountId": account_number,
        "symbol": one.symbol,
        "side": one.side.upper(),
        "price": one.px,
        "size": one.qty,
        "remainingSize": "0",
        "type": "MARKET",
        "timeInForce": "IMMEDIATE_OR_CANCEL",
        "reduceOnly": True,
        "status": "FILLED",
        "cancelReason": "UNKNOWN_ORDER_CANCEL_REASON",
        "isDeleverage": False,
        "isLiquidate": True,
        "cumSuccessFillSize": one.qty,
        "cumSuccessFillFee": one.fee,
        "createdAt": stamp,
        "updatedAt": stamp,
    }


def fill_id(one: wire.Fill) -> str:
    """The venue's number of an execution: every side of a trade has its own."""
    return str(FIRST_ID + one.oid * 1_000_000 + one.n)


def positions(
    account: Account, symbol: str, funding: Mapping[tuple[str, str], Decimal], stamp: int
) -> list[dict[str, Any]]:
    """Both sides of a position."""
    ledger = account.ledgers[symbol]
    rate = format(round(1 / Decimal(account.leverage[symbol]), 5), "f")
    out = []
    for side, sign in (("LONG", 1), ("SHORT", -1)):
        held = ledger.lots * sign > 0
        out.append(
            {
                "symbol": symbol,
                "side": side,
                "size": format(ledger.instrument.size(abs(ledger.lots) if held else 0), "f"),
                "entryPrice": format(ledger.entry or Decimal(0), "f") if held else "0",
                "exitPrice": "0",
                "fundingFee": format(funding.get((symbol, side), Decimal(0)), "f"),
                "customImr": rate,
                "customInitialMarginRate": rate,
                "realizedPnl": "0",
                "updatedAt": stamp,
                "updatedTime": stamp,
            }
        )
    return out


def wallets(balance: Decimal) -> list[dict[str, Any]]:
    """The margin account."""
    return [
        {
            "token": "USDT",
            "asset": "USDT",
            "balance": format(balance, "f"),
            "pendingDepositAmount": "0",
            "pendingWithdrawAmount": "0",
            "pendingTransferInAmount": "0",
            "pendingTransferOutAmount": "0",
        }
    ]


def trades(messages: Iterable[wire.Trade], symbol: str, stamp: int) -> list[dict[str, Any]]:
    """Matches, the newest first."""
    name = topic_symbol(symbol)
    out = [
        {
            "T": stamp,
            "s": name,
            "S": "Buy" if t.side == "buy" else "Sell",
            "v": t.qty,
            "p": t.px,
            "L": "PlusTick",
            "i": f"{symbol}-{t.id}",
        }
        for t in messages
    ]
    out.reverse()
    return out


def iso(ns: int) -> str:
    """``2026-11-20T08:00:00Z``."""
    return datetime.fromtimestamp(ns // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
