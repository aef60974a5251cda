"""One client of the exchange: orders, money, history."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, Literal

from mm.core.account_ledger import Ledger
from mm.core.instrument import Instrument
from mm.sandbox.market import Market
from mm.sandbox.spec import AccountSpec
from mm.venues.native import wire

KEPT_ORDERS: Final = 200_000  # ended orders per account that can be asked for, and whose ids are refused as duplicates

Status = Literal["new", "open", "filled", "canceled", "rejected"]


def currency_of(instrument: Instrument) -> str:
    """Settlement currency."""
    return instrument.base if instrument.kind == "inverse" else instrument.quote


class ClientOrder:
    """An order of an account from the request to its end. ``lots`` is what is still open."""

    __slots__ = (
        "account", "created_ns", "fee", "filled_lots", "lots", "market_", "oid", "reason", "request", "side", "status",
        "tick_lots", "ticks", "updated_ns",
    )  # fmt: skip

    def __init__(self, account: Account, request: wire.Place, now_ns: int) -> None:
        self.account = account
        self.request = request
        self.side = wire.SIDE_SIGN[request.side]
        self.oid = 0  # 0: refused before it had a number
        self.market_: Market | None = None
        self.ticks = self.lots = self.filled_lots = 0
        self.tick_lots = 0  # sum of trade price times size, for the average price
        self.fee = Decimal(0)
        self.status: Status = "new"
        self.reason = ""
        self.created_ns = self.updated_ns = now_ns

    @property
    def cid(self) -> str:
        """The client's own id."""
        return self.request.cid

    @property
    def market(self) -> Market:
        """Where it was accepted."""
        assert self.market_ is not None
        return self.market_

    @property
    def size_lots(self) -> int:
        """What was accepted (after amendments)."""
        return self.lots + self.filled_lots

    @property
    def average_price(self) -> Decimal | None:
        """Of what was filled, None without a fill."""
        if not self.filled_lots:
            return None
        return self.market.instrument.tick_size * self.tick_lots / self.filled_lots

    def accept(self, oid: int, market: Market, ticks: int, lots: int) -> None:
        """It passed the checks and goes to the book."""
        self.oid, self.market_, self.ticks, self.lots, self.status = oid, market, ticks, lots, "open"

    def fill(self, ticks: int, lots: int, fee: Decimal, now_ns: int) -> None:
        """One execution."""
        self.lots -= lots
        self.filled_lots += lots
        self.tick_lots += ticks * lots
        self.fee += fee
        self.updated_ns = now_ns


@dataclass(slots=True, eq=False)
class Account:
    """Orders, money and history of one client."""

    name: str
    spec: AccountSpec
    ledgers: dict[str, Ledger]  # by symbol
    fees: dict[str, tuple[Decimal, Decimal]]  # by symbol: maker, taker
    leverage: dict[str, int] = field(default_factory=dict)  # by symbol of a contract
    open: dict[str, ClientOrder] = field(default_factory=dict)  # by client order id
    orders: dict[str, ClientOrder] = field(default_factory=dict)  # open ones and the newest KEPT_ORDERS ended, by id
    cid_of: dict[int, str] = field(default_factory=dict)  # by the exchange's number
    fills: list[wire.Fill] = field(default_factory=list)
    funding: list[wire.FundingPaid] = field(default_factory=list)
    moved: set[str] = field(default_factory=set)  # symbols whose position changed since the last flush
    deadline_ns: int = 0  # dead man; 0 is disarmed
    refusal: str = ""  # why the last cancel or amendment was refused
    n_orders: int = 0
    n_rejects: int = 0
    n_fills: int = 0
    n_taker_fills: int = 0

    def balance(self, currency: str) -> Decimal:
        """Balance in a settlement currency, without unrealised profit."""
        start = Decimal(self.spec.balances.get(currency, self.spec.balance))
        return sum((a.realised for a in self.ledgers.values() if currency_of(a.instrument) == currency), start)

    def add(self, order: ClientOrder) -> None:
        """An order was accepted."""
        self.open[order.cid] = self.orders[order.cid] = order
        self.cid_of[order.oid] = order.cid

    def close(self, order: ClientOrder, how: Status, now_ns: int) -> None:
        """An order ended; its id stays taken."""
        self.open.pop(order.cid, None)
        self.orders[order.cid] = self.orders.pop(order.cid)  # ended last: forgotten last
        order.status, order.updated_ns = how, now_ns
        if len(self.orders) - len(self.open) > KEPT_ORDERS:
            oldest = next(o for o in self.orders.values() if o.cid not in self.open)
            del self.orders[oldest.cid], self.cid_of[oldest.oid]

    def by_oid(self, oid: int) -> ClientOrder | None:
        """An order by the exchange's number."""
        return self.orders.get(self.cid_of.get(oid, ""))
