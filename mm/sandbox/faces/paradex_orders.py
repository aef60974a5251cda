"""Order entry as Paradex does it, the same for REST and WebSocket: checked and signed orders are NEW, then decided.

What can be seen in the request itself (signature, grid, unknown market, client id in use) is refused at once; what the
risk engine and the book decide (margin, post-only that would cross, reduce-only) closes the order with a reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final

from mm.sandbox.account import Account, ClientOrder
from mm.sandbox.exchange import Exchange
from mm.sandbox.faces import paradex_wire as out
from mm.sandbox.faces.paradex_auth import Access, Refusal
from mm.venues.native import wire

MAX_BATCH: Final = 50
_MAX_AHEAD_MS: Final = 5_000
_KEPT: Final = 1_000
_SIDE: Final[dict[str, wire.Side]] = {"BUY": "buy", "SELL": "sell"}
_AT_ONCE: Final = {  # reasons of the exchange that the request itself shows
    "unknown_symbol": ("MARKET_NOT_FOUND", "market not found"),
    "bad_cid": ("VALIDATION_ERROR", "client_id must have 1 to 64 characters"),
    "duplicate_cid": ("DUPLICATED_CLIENT_ID", "client_id is in use"),
    "bad_px": ("VALIDATION_ERROR", "price is not a multiple of price_tick_size"),
    "bad_qty": ("VALIDATION_ERROR", "size is not a multiple of order_size_increment"),
    "min_notional": ("VALIDATION_ERROR", "notional is below min_notional"),
    "reduce_only_needs_ioc": ("VALIDATION_ERROR", "the local exchange takes reduce-only orders as IOC only"),
}


class Orders:
    """Orders of all accounts of one face."""

    def __init__(self, exchange: Exchange, access: Access, now_ns: Callable[[], int]) -> None:
        self._exchange = exchange
        self._access = access
        self._now_ns = now_ns
        self._refused: dict[tuple[str, str], ClientOrder] = {}  # closed by risk before they had a number
        self.why: dict[tuple[str, str], str] = {}  # reasons of cancels that are ours and not the exchange's

    # --- entry -------------------------------------------------------------------------------------------------------
    def create(self, account: Account, body: Any) -> dict[str, Any]:
        """One order, signature checked; raises ``Refusal``."""
        request = self._checked(account, body)
        return self._place(account, request)

    def create_batch(self, account: Account, bodies: Any) -> dict[str, Any]:
        """Up to 50 orders: one bad signature refuses all, everything else concerns one; raises ``Refusal``."""
        if not isinstance(bodies, list) or not 1 <= len(bodies) <= MAX_BATCH:
            raise Refusal("BATCH_SIZE_OUT_OF_RANGE", f"a batch has 1 to {MAX_BATCH} orders")
        requests = [self._checked(account, body) for body in bodies]
        orders: list[Any] = []
        errors: list[Any] = []
        for request in requests:
            try:
                orders.append(self._place(account, request))
                errors.append(None)
            except Refusal as exc:
                orders.append(None)
                errors.append({"error": exc.code, "message": str(exc)})
        return {"orders": orders, "errors": errors}

    def _place(self, account: Account, request: wire.Place) -> dict[str, Any]:
        now_ns = self._now_ns()
        order = self._exchange.place(account, request, now_ns)
        if order.status == "rejected":
            if order.reason in _AT_ONCE:
                raise Refusal(*_AT_ONCE[order.reason])
            if order.oid == 0:
                self._refused[account.name, order.cid] = order
                if len(self._refused) > _KEPT:
                    del self._refused[next(iter(self._refused))]
        return self.describe(order, new=True)

    def _checked(self, account: Account, body: Any) -> wire.Place:
        """The exchange's request in a signed one; raises ``Refusal``."""
        if not isinstance(body, dict):
            raise Refusal("BINDING_ERROR", "an order is an object")
        size, price = _number(body, "size"), _number(body, "price")
        side, instruction = _SIDE.get(str(body.get("side"))), body.get("instruction", "GTC")
        if side is None or body.get("type") != "LIMIT" or instruction not in ("GTC", "IOC", "POST_ONLY"):
            raise Refusal("VALIDATION_ERROR", "side, type or instruction (this exchange takes LIMIT orders)")
        self._check_time(body)
        self._access.check_order(account, body, size, price)
        return wire.Place(
            symbol=str(body.get("market")),
            cid=str(body.get("client_id") or ""),
            side=side,
            px=format(price, "f"),
            qty=format(size, "f"),
            post_only=instruction == "POST_ONLY",
            tif="IOC" if instruction == "IOC" else "GTC",
            reduce_only="REDUCE_ONLY" in (body.get("flags") or []),
        )

    def _check_time(self, body: Mapping[str, Any]) -> None:
        signed, window = body.get("signature_timestamp"), body.get("recv_window")
        if not isinstance(signed, int) or not (window is None or isinstance(window, int)):
            raise Refusal("BINDING_ERROR", "signature_timestamp and recv_window are milliseconds")
        age_ms = self._now_ns() // 1_000_000 - signed
        if age_ms < -_MAX_AHEAD_MS:
            raise Refusal("INVALID_TIMESTAMP", "signature_timestamp is in the future")
        if window is not None and age_ms > window:
            raise Refusal("INVALID_TIMESTAMP", "outside recv_window")

    def modify(self, account: Account, venue_id: str, body: Any) -> dict[str, Any]:
        """New price and total size of an open order under its id; raises ``Refusal``."""
        order = self.by_id(account, venue_id)
        if not isinstance(body, dict) or str(body.get("id", venue_id)) != venue_id:
            raise Refusal("BINDING_ERROR", "the order's id")
        if order.status != "open":
            raise Refusal("ORDER_IS_CLOSED", "order is closed")
        request, what = order.request, ("market", "side", "type")
        if [str(body.get(name)) for name in what] != [request.symbol, out.SIDE[request.side], "LIMIT"]:
            raise Refusal("VALIDATION_ERROR", "market, side and type cannot be changed")
        size, price = _number(body, "size"), _number(body, "price")
        self._check_time(body)
        self._access.check_order(account, {**body, "id": venue_id}, size, price)
        left = size - Decimal(order.market.units.size(order.filled_lots))
        if left <= 0:
            raise Refusal("INVALID_ORDER_SIZE", "size is not above what is filled")
        px, qty = format(price, "f"), format(left, "f")
        if self._exchange.amend(account, order.cid, px, qty, self._now_ns()) is None:
            code, message = _AT_ONCE.get(account.refusal, ("VALIDATION_ERROR", account.refusal))
            raise Refusal(code, message)
        return self.describe(order)

    # --- cancels -----------------------------------------------------------------------------------------------------
    def cancel_id(self, account: Account, venue_id: str) -> ClientOrder:
        """By Paradex's id; raises ``Refusal``."""
        order = self.by_id(account, venue_id)
        return self._cancel(account, order)

    def cancel_client(self, account: Account, cid: str, market: str = "") -> ClientOrder:
        """By the client's id; raises ``Refusal``."""
        order = self.by_client(account, cid, market)
        return self._cancel(account, order)

    def cancel_all(self, account: Account, market: str = "") -> int:
        """Every open order (of a market); returns how many."""
        orders = [o for o in account.open.values() if market in ("", o.request.symbol)]
        for order in orders:
            self._exchange.cancel(account, order.cid, self._now_ns())
        return len(orders)

    def cancel_batch(self, account: Account, ids: Any, cids: Any) -> dict[str, Any]:
        """Several; each has its own result; raises ``Refusal``."""
        wanted = [("id", x) for x in ids or []] + [("cid", x) for x in cids or []]
        if not wanted or len(wanted) > MAX_BATCH:
            raise Refusal("BATCH_SIZE_OUT_OF_RANGE", f"a batch has 1 to {MAX_BATCH} orders")
        results = []
        for what, name in wanted:
            row = {"id": str(name)} if what == "id" else {"client_id": str(name)}
            try:
                found = self.by_id(account, str(name)) if what == "id" else self.by_client(account, str(name))
                row |= {"id": out.order_id(found), "client_id": found.cid, "market": found.request.symbol}
                self._cancel(account, found)
                row["status"] = "QUEUED_FOR_CANCELLATION"
            except Refusal as exc:
                row["status"] = "ALREADY_CLOSED" if exc.code == "ORDER_IS_CLOSED" else "NOT_FOUND"
            results.append(row)
        return {"results": results}

    def cancel_for(self, account: Account, cid: str, why: str) -> None:
        """A cancel of the venue itself, with its reason."""
        if cid in account.open:
            self.why[account.name, cid] = why
            self._exchange.cancel(account, cid, self._now_ns())

    def _cancel(self, account: Account, order: ClientOrder) -> ClientOrder:
        if order.status != "open":
            raise Refusal("ORDER_IS_CLOSED", "order is closed")
        self._exchange.cancel(account, order.cid, self._now_ns())
        return order

    # --- answers -----------------------------------------------------------------------------------------------------
    def by_id(self, account: Account, venue_id: str) -> ClientOrder:
        """An order by Paradex's id; raises ``Refusal``."""
        order = account.by_oid(out.oid_of(venue_id))
        if order is None or out.order_id(order) != venue_id:
            raise Refusal("ORDER_ID_NOT_FOUND", "order id not found", 404)
        return order

    def by_client(self, account: Account, cid: str, market: str = "") -> ClientOrder:
        """An order by the client's id; raises ``Refusal``."""
        order = self.find(account, cid)
        if order is None or market not in ("", order.request.symbol):
            raise Refusal("CLIENT_ORDER_ID_NOT_FOUND", "client order id not found", 404)
        return order

    def find(self, account: Account, cid: str) -> ClientOrder | None:
        """An order that ever was one of Paradex's."""
        return account.orders.get(cid) or self._refused.get((account.name, cid))

    def describe(self, order: ClientOrder, *, new: bool = False) -> dict[str, Any]:
        """An order in Paradex's words."""
        account = order.account
        why = self.why.get((account.name, order.cid), "") if order.status == "canceled" else ""
        owner = hex(self._access.owner(account).address)
        return out.order(order, owner, self._now_ns(), new=new, reason=why)


def is_at_once(reason: str) -> bool:
    """Whether the request itself shows this reason: then there never was an order."""
    return reason in _AT_ONCE


def _number(body: Mapping[str, Any], name: str) -> Decimal:
    try:
        return wire.decimal(str(body.get(name)))
    except ValueError as exc:
        raise Refusal("VALIDATION_ERROR", f"{name}: {exc}") from exc
