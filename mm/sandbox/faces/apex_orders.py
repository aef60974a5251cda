"""Orders as clients of ApeX Omni state them, and what their accounts hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from mm.core.instrument import Instrument
from mm.sandbox.account import Account
from mm.sandbox.exchange import Exchange
from mm.sandbox.faces import apex_wire as say
from mm.venues.native import wire

MAX_OPEN: Final = 200  # orders of one account
_TIF: Final = {
    "GOOD_TIL_CANCEL": ("GTC", False),
    "POST_ONLY": ("GTC", True),
    "IMMEDIATE_OR_CANCEL": ("IOC", False),
    "FILL_OR_KILL": ("FOK", False),
}


class Refusal(Exception):
    """The venue says no: number, key and words."""

    def __init__(self, code: int, key: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.key = key


def read_order(
    form: Mapping[str, str], instruments: Mapping[str, Instrument], now_ns: int
) -> tuple[wire.Place, Decimal, Decimal]:
    """The order in a form, with its price and size; raises ``Refusal``."""
    if form.get("symbol", "") not in instruments:
        raise Refusal(3, *say.refusal("unknown_symbol"))
    if form.get("side") not in ("BUY", "SELL"):
        raise Refusal(3, "ORDER_INVALID_ORDER_SIDE", "This order direction is invalid.")
    if form.get("type") not in ("LIMIT", "MARKET"):
        raise Refusal(3, "ORDER_INVALID_ORDER_TYPE", "This order type is invalid.")
    tif, post_only = _TIF.get(form.get("timeInForce", "GOOD_TIL_CANCEL"), ("", False))
    if not tif:
        raise Refusal(3, "ORDER_INVALID_TIME_IN_FORCE", "Invalid time-in-force.")
    if not form.get("clientId"):
        raise Refusal(3, "ORDER_EMPTY_CLIENT_ORDER_ID", "Empty clientOrderId.")
    try:
        price, size = wire.decimal(form.get("price", "")), wire.decimal(form.get("size", ""))
        wire.decimal(form.get("limitFee", ""))
    except ValueError as exc:
        raise Refusal(10001, "", str(exc)) from exc
    if price <= 0:
        raise Refusal(3, "ORDER_PRICE_MUST_GREETER_ZERO", f"Price must greater than 0. {price}")
    expiration = form.get("expiration", "")
    timely = expiration.isascii() and expiration.isdigit() and len(expiration) < 16
    if not timely or int(expiration) <= now_ns // 1_000_000:
        raise Refusal(3, "ORDER_INVALID_EXPIRATION", "The order has expired.")
    request = wire.Place(
        symbol=form["symbol"],
        cid=form["clientId"],
        side="buy" if form["side"] == "BUY" else "sell",
        px=form["price"],
        qty=form["size"],
        post_only=post_only,
        tif="IOC" if form["type"] == "MARKET" else tif,  # type: ignore[arg-type]  # from _TIF
        reduce_only=form.get("reduceOnly", "").lower() == "true",
    )
    return request, price, size


class Holdings:
    """Positions, wallets and funding of all accounts.

    The exchange keeps funding by account and symbol; the venue states it by the side that is held, from zero.
    """

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._received: dict[str, dict[tuple[str, str], Decimal]] = {}  # by account, then symbol and side

    def settled(self, account: Account, paid: wire.FundingPaid) -> None:
        """A funding payment belongs to the side that was held."""
        sides = self._received.setdefault(account.name, {})
        key = (paid.symbol, _side_of(paid))
        sides[key] = sides.get(key, Decimal(0)) + Decimal(paid.amount)

    def settlements(self, account: Account) -> list[dict[str, Any]]:
        """Funding payments, the newest first."""
        return [
            {
                "id": str(number),
                "transactionId": str(number),
                "symbol": paid.symbol,
                "fundingValue": paid.amount,
                "rate": paid.rate,
                "positionSize": paid.size.removeprefix("-"),
                "price": paid.mark,
                "side": _side_of(paid),
                "status": "SUCCESS",
                "fundingTime": paid.ts // 1_000_000,
            }
            for number, paid in enumerate(account.funding, 1)
        ][::-1]

    def state(self, account: Account, symbols: Sequence[str], now_ns: int) -> dict[str, Any]:
        """Positions in some symbols and the wallet."""
        stamp, sides = now_ns // 1_000_000, self._received.setdefault(account.name, {})
        told = []
        for symbol in symbols:
            held = account.ledgers[symbol].lots
            for side, sign in (("LONG", 1), ("SHORT", -1)):
                if held * sign <= 0:
                    sides.pop((symbol, side), None)
            told += say.positions(account, symbol, sides, stamp)
        return {"positions": told, "contractWallets": say.wallets(self._exchange.balance(account, symbols[0]))}

    def fees(self, account: Account) -> tuple[Decimal, Decimal]:
        """Maker and taker: one pair for the whole account."""
        return account.fees[self._exchange.instruments[0].symbol]

    def account(self, account: Account, number: str, l2_key: str) -> dict[str, Any]:
        """Who the account is and what it pays."""
        maker, taker = self.fees(account)
        sub = {"subAccountId": "0", "l2Key": l2_key, "nonce": 0, "nonceVersion": 0, "changePubKeyStatus": "FINISH"}
        return {
            "id": number,
            "ethereumAddress": "0x" + number.zfill(40),
            "l2Key": l2_key,
            "spotAccount": {"zkAccountId": "1", "defaultSubAccountId": "0", "nonce": 1, "subAccounts": [sub]},
            "spotWallets": [],
            "contractAccount": {
                "makerFeeRate": format(maker, "f"),
                "takerFeeRate": format(taker, "f"),
                "minInitialMarginRate": "0",
                "status": "NORMAL",
                "unrealizePnlPriceType": "INDEX_PRICE",
            },
            "isNewUser": False,
        }

    def balance(self, account: Account) -> dict[str, Any]:
        """Equity and what of it is free."""
        view = self._exchange.account_view(account, self._exchange.instruments[0].symbol)
        return {
            "totalEquityValue": view.equity,
            "availableBalance": view.available,
            "initialMargin": view.initial,
            "maintenanceMargin": view.maintenance,
            "walletBalance": view.balance,
            "unrealizedPnl": view.unrealised,
            "realizedPnl": "0",
            "symbolToOraclePrice": {},
        }


def _side_of(paid: wire.FundingPaid) -> str:
    return "SHORT" if paid.size.startswith("-") else "LONG"
