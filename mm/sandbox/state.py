"""Markets and accounts of one local exchange, and every question about them."""

from __future__ import annotations

from bisect import bisect_left
from decimal import Decimal
from typing import Any, Final, overload

from mm.core.account_ledger import Ledger
from mm.errors import ConfigError
from mm.sandbox import margin
from mm.sandbox.account import Account, ClientOrder, currency_of
from mm.sandbox.market import Market
from mm.sandbox.rules import rules_of
from mm.sandbox.spec import AccountSpec, ExchangeSpec, amount
from mm.venues.native import wire

FILLS_PAGE: Final = 2_000


class Refused(Exception):
    """A request that cannot be served; ``code`` is part of the protocol."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class State:
    """See the module."""

    def __init__(self, spec: ExchangeSpec) -> None:
        self.instruments = spec.parsed_instruments()
        for symbol, schedule in spec.funding.items():
            amount(schedule.rate, f"funding of {symbol}")
        self.markets = {
            i.symbol: Market(i, spec.stp, rules_of(i, spec.face), spec.funding.get(i.symbol)) for i in self.instruments
        }
        self.accounts = {raw.token: self._account(raw) for raw in spec.accounts}

    def _account(self, spec: AccountSpec) -> Account:
        where = f"account {spec.name}"
        ledgers, fees, leverage = {}, {}, {}
        for instrument in self.instruments:
            inventory = amount(spec.positions.get(instrument.symbol, "0"), where)
            if inventory and instrument.kind != "spot":
                raise ConfigError(f"{where}: positions are inventory of spot instruments, {instrument.symbol} is none")
            ledgers[instrument.symbol] = Ledger(instrument, instrument.lots(inventory))
            maker = instrument.maker_fee if spec.maker_fee is None else amount(spec.maker_fee, where)
            taker = instrument.taker_fee if spec.taker_fee is None else amount(spec.taker_fee, where)
            fees[instrument.symbol] = (maker, taker)
            if instrument.kind != "spot":
                leverage[instrument.symbol] = min(spec.leverage, self.markets[instrument.symbol].rules.max_leverage)
        for text in (spec.balance, *spec.balances.values()):
            amount(text, where)
        return Account(spec.name, spec, ledgers, fees, leverage)

    def market(self, symbol: str) -> Market:
        """A market by symbol; raises ``Refused``."""
        try:
            return self.markets[symbol]
        except KeyError:
            raise Refused("unknown_symbol", f"no instrument {symbol!r} here") from None

    def balance(self, account: Account, symbol: str) -> Decimal:
        """Balance in the settlement currency of a symbol, without unrealised profit."""
        return account.balance(currency_of(self.markets[symbol].instrument))

    def position(self, account: Account, symbol: str, now_ns: int) -> wire.Position:
        """Position and balance of an account in a symbol; raises ``Refused`` for an unknown one."""
        market = self.market(symbol)
        ledger, mark = account.ledgers[symbol], market.mark
        out = wire.Position(
            symbol, market.units.size(ledger.lots), _text(ledger.entry), _text(self.balance(account, symbol)), now_ns,
            None if mark is None else market.units.price(mark), account.leverage.get(symbol, 1),
        )  # fmt: skip
        if ledger.entry is not None:
            out.margin = _text(margin.position_margin(account, market))
            out.maintenance = _text(margin.maintenance_margin(ledger, market, mark))
            out.unrealised = _text(margin.unrealised(ledger, mark))
            out.liquidation = _text(margin.liquidation_price(account, market))
        return out

    def account_view(self, account: Account, symbol: str) -> wire.AccountView:
        """Money of an account in the settlement currency of a symbol; raises ``Refused`` for an unknown one."""
        currency = currency_of(self.market(symbol).instrument)
        balance = account.balance(currency)
        markets = [m for m in self.markets.values() if currency_of(m.instrument) == currency]
        ledgers = [(account.ledgers[m.instrument.symbol], m, m.mark) for m in markets]
        profit = sum((margin.unrealised(ledger, mark) for ledger, _, mark in ledgers), Decimal(0))
        maintenance = sum((margin.maintenance_margin(*row) for row in ledgers), Decimal(0))
        free = margin.available(account, self.markets, currency)
        return wire.AccountView(
            currency, _text(balance), _text(balance + profit), _text(max(free, Decimal(0))), _text(balance - free),
            _text(maintenance), _text(profit),
        )  # fmt: skip

    def open_orders(self, account: Account, now_ns: int) -> list[wire.OrderUpdate]:
        """Open orders of an account."""
        return [describe(order, "open", "", now_ns) for order in account.open.values()]

    @staticmethod
    def order(account: Account, cid: str) -> wire.OrderAnswer | None:
        """What became of an order."""
        order = account.orders.get(cid)
        if order is None or order.status == "new":
            return None
        units = order.market.units
        return wire.OrderAnswer(
            cid, order.oid, order.request.side, units.price(order.ticks), units.size(order.size_lots),
            units.size(order.filled_lots), order.status, order.reason,
        )  # fmt: skip

    def fees(self, account: Account, symbol: str) -> tuple[Decimal, Decimal]:
        """Maker and taker fee of an account in a symbol; raises ``Refused``."""
        self.market(symbol)
        return account.fees[symbol]

    @staticmethod
    def fills(account: Account, since_ns: int, after: int) -> list[wire.Fill]:
        """One page of an account's fills, oldest first."""
        known = account.fills
        if not known:
            return []
        start = max(bisect_left(known, since_ns, key=lambda fill: fill.ts), after - known[0].n + 1)
        return known[start : start + FILLS_PAGE]

    @staticmethod
    def funding(account: Account, since_ns: int) -> list[wire.FundingPaid]:
        """Funding settlements of an account since a time, oldest first."""
        return account.funding[bisect_left(account.funding, since_ns, key=lambda paid: paid.ts) :]

    def stats(self) -> dict[str, Any]:
        """Counters per account and in total."""
        accounts = {
            a.name: {
                "orders": a.n_orders,
                "rejects": a.n_rejects,
                "fills": a.n_fills,
                "taker_fills": a.n_taker_fills,
                "open_orders": len(a.open),
                "positions": {s: self.markets[s].units.size(ledger.lots) for s, ledger in a.ledgers.items()},
            }
            for a in self.accounts.values()
        }
        return {
            "orders": sum(a.n_orders for a in self.accounts.values()),
            "fills": sum(a.n_fills for a in self.accounts.values()),
            "trades": {symbol: market.trade_id for symbol, market in self.markets.items()},
            "accounts": accounts,
        }


def describe(order: ClientOrder, status: Any, reason: str, now_ns: int) -> wire.OrderUpdate:
    """An order as the exchange tells it."""
    units = order.market.units
    return wire.OrderUpdate(
        order.market.instrument.symbol,
        order.cid,
        order.oid,
        wire.SIDE_NAME[order.side],
        units.price(order.ticks),
        units.size(order.lots),
        status,
        reason,
        now_ns,
    )


@overload
def _text(value: Decimal) -> str: ...
@overload
def _text(value: None) -> None: ...
def _text(value: Decimal | None) -> str | None:
    return None if value is None else format(value, "f")
