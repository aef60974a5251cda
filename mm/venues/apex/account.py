"""What the venue answers when asked about an account."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from decimal import Decimal
from operator import methodcaller
from typing import Any, Final, TypeVar

import msgspec

from mm.errors import VenueUnreachable
from mm.venues.apex import wire
from mm.venues.apex.rest import Call, Rest
from mm.venues.base import FillRecord, FundingPayment, OpenOrder, OrderState, Position

_PAGE: Final = 100
_MAX_PAGES: Final = 200
_KEPT_IDS: Final = 20_000
_STATUS: Final = {
    "PENDING": "open",
    "OPEN": "open",
    "PARTIALLY_FILLED": "open",
    "UNTRIGGERED": "open",
    "FILLED": "filled",
}
_FAILED_FILLS: Final = ("FAILED_CENSOR_FAILURE", "FAILED_L2_REJECTED")
Dated = TypeVar("Dated", FillRecord, FundingPayment)


class _Account(msgspec.Struct, rename="camel"):
    """What we read of an account."""

    positions: list[wire.Position] = []
    contract_wallets: list[wire.Wallet] = []
    contract_account: dict[str, Any] = {}


class _FillRow(wire.Fill, rename="camel"):
    """One execution in the history."""

    status: str = ""


class _FundingRow(msgspec.Struct, rename="camel"):
    """One settlement in the history."""

    id: str
    symbol: str
    funding_value: str
    funding_time: int


class Account:
    """Queries of one account."""

    def __init__(self, queries: Rest) -> None:
        self._queries = queries
        self._cids: dict[str, str] = {}  # by the venue's order id, for fills that do not name ours

    async def open_orders(self) -> list[OpenOrder]:
        """Working orders."""
        listed = await self._ask(lambda library: library.open_orders_v3(), list[wire.Order])
        out = []
        for o in listed:
            self._remember(o)
            left = Decimal(o.size) - o.filled
            out.append(OpenOrder(o.cid, o.id, o.symbol, wire.SIDE_SIGN[o.side], Decimal(o.price), left))
        return out

    async def order(self, symbol: str, client_order_id: str) -> OrderState | None:
        """What became of an order; None: the venue does not know it."""
        outcome = await self._queries.send(lambda library: library.get_order_by_client_order_id_v3(id=client_order_id))
        if outcome.end == "no" and outcome.text == wire.NOT_FOUND:
            return None
        if outcome.end != "ok":
            raise VenueUnreachable(f"apex: order {client_order_id} of {symbol}: {outcome.text}")
        if not outcome.data:
            return None
        o = _convert(outcome.data, wire.Order)
        self._remember(o)
        filled = o.filled
        status: Any = _STATUS.get(o.status, "canceled")
        if status == "canceled" and not filled and o.cancel_reason in ("COULD_NOT_FILL", "INTERNAL_FAILED"):
            status = "rejected" if o.time_in_force == "POST_ONLY" else "canceled"
        return OrderState(
            client_order_id, o.id, o.symbol, wire.SIDE_SIGN[o.side], Decimal(o.price), Decimal(o.size), filled, status,
            o.cancel_reason if status in ("canceled", "rejected") else "",
        )  # fmt: skip

    async def position(self, symbol: str) -> Position:
        """Net position and wallet."""
        held = await self._ask(lambda library: library.get_account_v3(), _Account)
        net, entry = Decimal(0), None
        for p in held.positions:
            size = abs(Decimal(p.size))
            if p.symbol == symbol and size:
                net += size if p.side == "LONG" else -size
                entry = Decimal(p.entry_price)
        wallets = held.contract_wallets
        balance = next((Decimal(w.balance) for w in wallets if (w.token or w.asset) == "USDT"), None)
        if balance is None:
            raise VenueUnreachable("apex: the account states no USDT wallet")
        return Position(symbol, net, entry if net else None, balance)

    async def fills(self, since_ns: int) -> list[FillRecord]:
        """Executions since then, oldest first."""
        begin, out = since_ns // 1_000_000, {}
        async for raw in self._pages("orders", "fills_v3", begin):
            one = _convert(raw, _FillRow)
            if one.status in _FAILED_FILLS:
                continue
            cid = one.cid or await self._cid_of(one.order_id) or f"apex:{one.order_id}"  # as the codec names them
            out[one.order_id, one.id] = FillRecord(
                cid,
                one.id,
                one.symbol,
                wire.SIDE_SIGN[one.side],
                Decimal(one.price),
                Decimal(one.size),
                Decimal(one.fee),
                one.liquidity == "MAKER",
                one.created_at * 1_000_000,
            )
        return _oldest_first(out.values())

    async def funding(self, since_ns: int) -> list[FundingPayment]:
        """Funding settlements, oldest first."""
        out = {}
        async for raw in self._pages("fundingValues", "funding_v3", since_ns // 1_000_000):
            one = _convert(raw, _FundingRow)
            out[one.id] = FundingPayment(one.symbol, Decimal(one.funding_value), one.funding_time * 1_000_000)
        return _oldest_first(out.values())

    async def fees(self, symbol: str) -> tuple[Decimal, Decimal]:
        """Maker and taker fee of the account, the same for every market."""
        held = await self._ask(lambda library: library.get_account_v3(), _Account)
        if not held.contract_account:
            raise VenueUnreachable(f"apex: the account states no fees for {symbol}")
        return Decimal(held.contract_account["makerFeeRate"]), Decimal(held.contract_account["takerFeeRate"])

    async def server_time_ns(self) -> int:
        """The venue's clock."""
        said = await self._ask(lambda library: library._get("/api/v3/time", {}), dict[str, int])  # noqa: SLF001
        return int(said["time"]) * 1_000_000

    async def _ask(self, call: Call, kind: Any) -> Any:
        return _convert(await self._queries.ask(call), kind)

    async def _pages(self, name: str, query: str, begin_ms: int) -> AsyncIterator[Any]:
        """Entries of all pages, the newest first; new ones meanwhile move some to the next page, where they repeat."""
        for page in range(_MAX_PAGES):
            at = {"limit": _PAGE, "page": page, "beginTimeInclusive": begin_ms}
            found = (await self._ask(methodcaller(query, **at), dict[str, Any])).get(name)
            if not isinstance(found, list):
                raise VenueUnreachable(f"apex: {query}: an answer without {name}")
            for one in found:
                yield one
            if len(found) < _PAGE:
                return
        raise VenueUnreachable(f"apex: {query} since {begin_ms} has more than {_MAX_PAGES * _PAGE} entries")

    def _remember(self, order: wire.Order) -> None:
        self._cids[order.id] = order.cid
        if len(self._cids) > _KEPT_IDS:
            del self._cids[next(iter(self._cids))]

    async def _cid_of(self, order_id: str) -> str:
        """Our id of an order that a fill names by the venue's."""
        if order_id not in self._cids:
            o = await self._ask(lambda library: library.get_order_v3(id=order_id), wire.Order)
            self._remember(o)
        return self._cids[order_id]


def _convert(data: Any, kind: Any) -> Any:
    """Data of an answer as a type; raises ``VenueUnreachable`` when the venue sent something else."""
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as exc:
        raise VenueUnreachable(f"apex: an answer that cannot be read: {exc}") from exc


def _oldest_first(newest_first: Iterable[Dated]) -> list[Dated]:
    """By time; of one millisecond the venue's order turned round."""
    out = list(newest_first)
    out.reverse()
    out.sort(key=lambda one: one.ts_exch_ns)
    return out
