"""The exchange without sockets and clocks: accounts around matching engines. Time is passed in.

Public messages come out of ``flush``, private ones gather in ``outbox``; the server sends both.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Final, Literal

from mm.core.types import ASK, BID, BUY, CLEAR_ASK, CLEAR_BID, FUNDING, FUNDING_RATE_UNIT, MARK, SELL
from mm.sandbox.account import Account, ClientOrder, Status, currency_of
from mm.sandbox.checks import room_to_reduce, units_of, why_not
from mm.sandbox.ledger import Ledger
from mm.sandbox.market import Market
from mm.sandbox.spec import AccountSpec, ExchangeSpec, amount
from mm.sim.matching import BACKGROUND, Reports
from mm.venues.native import wire

KEPT_FILLS: Final = 100_000  # per account, for queries
FILLS_PAGE: Final = 2_000
_RATE_UNIT: Final = Decimal(repr(FUNDING_RATE_UNIT))


class Refused(Exception):
    """A request that cannot be served; ``code`` is part of the protocol."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Exchange:
    """All markets and accounts of one local exchange."""

    def __init__(self, spec: ExchangeSpec) -> None:
        self.instruments = spec.parsed_instruments()
        self.markets = {i.symbol: Market(i, spec.stp) for i in self.instruments}
        self.accounts = {raw.token: self._account(raw) for raw in spec.accounts}
        self.outbox: list[tuple[Account, wire.Message]] = []
        self._orders: dict[int, ClientOrder] = {}
        self._moved: dict[tuple[Account, Market], None] = {}  # positions that changed in this stimulus, in order
        self._last_oid = BACKGROUND

    def _account(self, spec: AccountSpec) -> Account:
        where = f"account {spec.name}"
        ledgers, fees = {}, {}
        for instrument in self.instruments:
            inventory = amount(spec.positions.get(instrument.symbol, "0"), where)
            ledgers[instrument.symbol] = Ledger(instrument, instrument.lots(inventory))
            maker = instrument.maker_fee if spec.maker_fee is None else amount(spec.maker_fee, where)
            taker = instrument.taker_fee if spec.taker_fee is None else amount(spec.taker_fee, where)
            fees[instrument.symbol] = (maker, taker)
        for text in (spec.balance, *spec.balances.values()):
            amount(text, where)
        return Account(spec.name, spec, ledgers, fees)

    # --- orders ------------------------------------------------------------------------------------------------------
    def place(self, account: Account, request: wire.Place, now_ns: int) -> ClientOrder:
        """Take one limit order; returns it as it stands now (open, filled, canceled or rejected with a reason)."""
        account.n_orders += 1
        order = ClientOrder(account, request, now_ns)
        market = self.markets.get(request.symbol)
        if market is None:
            return self._reject(order, "unknown_symbol", now_ns)
        reason, ticks, lots = self._check(order, market)
        if reason:
            return self._reject(order, reason, now_ns)
        self._last_oid += 1
        order.accept(self._last_oid, market, ticks, lots)
        self._orders[order.oid] = order
        account.add(order)
        reports = market.engine.new(
            order.oid, account.name, order.side, ticks, lots, tif=request.tif, post_only=request.post_only
        )
        if reports[0][0] == "rejected":
            del self._orders[order.oid]
            account.close(order, "rejected", now_ns)
            return self._reject(order, reports[0][2], now_ns)
        self._apply(market, order.side, reports, now_ns)
        return order

    def amend(
        self, account: Account, cid: str, px: str | None, qty: str | None, now_ns: int,
        symbol: str = "", *, if_crossing: Literal["refuse", "cancel"] = "refuse",
    ) -> ClientOrder | None:  # fmt: skip
        """Change price and open size of an order (None leaves it); only a smaller size at its price keeps its place.

        Returns the order as it stands then; ``if_crossing`` says what becomes of a post-only order whose new price
        would trade at once. None after telling the account why the order stays as it was, or is gone
        (``account.refusal``).
        """
        order = account.open.get(cid)
        if order is None:
            self._refuse(account, wire.AmendReject(symbol, cid, _ended(account, cid), now_ns))
            return None
        market = order.market
        symbol, units = market.instrument.symbol, market.units
        px, qty = px or units.price(order.ticks), qty or units.size(order.lots)
        reason, ticks, lots = units_of(market, px, qty)
        reason = reason or why_not(order, market, ticks, lots)
        if order.request.reduce_only:
            lots = min(lots, room_to_reduce(order, market))
        if not reason and order.request.post_only and market.engine.would_cross(order.side, ticks):
            reason = "post_only_would_cross"
            if if_crossing == "cancel":
                self._cancel(order, reason, now_ns)
                return order
        if reason:
            self._refuse(account, wire.AmendReject(symbol, cid, reason, now_ns))
            return None
        order.ticks, order.lots, order.updated_ns = ticks, lots, now_ns
        self._apply(market, order.side, market.engine.modify(order.oid, ticks, lots), now_ns)
        return order

    def cancel(self, account: Account, cid: str, now_ns: int, symbol: str = "") -> ClientOrder | None:
        """Cancel one order; returns it, or None after telling the account why there was nothing to cancel."""
        order = account.open.get(cid)
        if order is None:
            self._refuse(account, wire.CancelReject(symbol, cid, _ended(account, cid), now_ns))
            return None
        self._cancel(order, "user", now_ns)
        return order

    def cancel_all(self, account: Account, now_ns: int, reason: str = "user") -> int:
        """Cancel every open order of an account; returns how many there were."""
        orders = list(account.open.values())
        for order in orders:
            self._cancel(order, reason, now_ns)
        return len(orders)

    def arm(self, account: Account, timeout_s: float, now_ns: int) -> None:
        """Dead man: cancel everything at ``now + timeout`` unless armed again; 0 disarms."""
        account.deadline_ns = now_ns + round(timeout_s * 1e9) if timeout_s else 0

    def expire(self, now_ns: int) -> None:
        """Let the dead men whose time has come cancel."""
        for account in self.accounts.values():
            if account.deadline_ns and now_ns >= account.deadline_ns:
                account.deadline_ns = 0
                self.cancel_all(account, now_ns, "dead_man")

    def _check(self, order: ClientOrder, market: Market) -> tuple[str, int, int]:
        """(reason to reject or "", ticks, lots); a reduce-only order is cut down to what it can reduce."""
        account, request = order.account, order.request
        if not 0 < len(request.cid) <= 64:
            return "bad_cid", 0, 0
        if request.cid in account.orders:
            return "duplicate_cid", 0, 0
        reason, ticks, lots = units_of(market, request.px, request.qty)
        reason = reason or why_not(order, market, ticks, lots)
        if request.reduce_only and not reason:
            lots = min(lots, room_to_reduce(order, market))
        return reason, ticks, lots

    def _refuse(self, account: Account, told: wire.CancelReject | wire.AmendReject) -> None:
        account.refusal = told.reason
        self.outbox.append((account, told))

    def _reject(self, order: ClientOrder, reason: str, now_ns: int) -> ClientOrder:
        order.status, order.reason = "rejected", reason
        account, request = order.account, order.request
        account.n_rejects += 1
        update = wire.OrderUpdate(
            request.symbol, request.cid, order.oid, request.side, request.px, request.qty, "rejected", reason, now_ns
        )
        self.outbox.append((account, update))
        return order

    def _cancel(self, order: ClientOrder, reason: str, now_ns: int) -> None:
        order.market.engine.cancel(order.oid)
        self._end(order, "canceled", reason, now_ns)

    # --- background --------------------------------------------------------------------------------------------------
    def background(self, symbol: str, rows: Iterable[tuple[int, int, int]], now_ns: int) -> None:
        """Play (kind, tick, lots) of the anonymous flow (``mm.core.types``) into a market."""
        market = self.markets[symbol]
        engine = market.engine
        for kind, tick, lots in rows:
            if kind in (BID, ASK):
                side = 1 if kind == BID else -1
                reports = engine.set_background_level(side, tick, lots)
            elif kind in (SELL, BUY):
                side = 1 if kind == BUY else -1
                reports = engine.take_background(side, tick, lots)
            else:
                if kind in (CLEAR_BID, CLEAR_ASK):
                    engine.clear_background(1 if kind == CLEAR_BID else -1, tick)
                elif kind == MARK:
                    market.mark = tick
                    market.news.append(wire.Mark(symbol, now_ns, market.units.price(tick)))
                elif kind == FUNDING:
                    self.settle(symbol, tick, lots * _RATE_UNIT, now_ns)
                continue
            if reports:
                self._apply(market, side, reports, now_ns)

    def settle(self, symbol: str, mark: int, rate: Decimal, now_ns: int) -> None:
        """A funding settlement: every position of the market pays or receives."""
        market = self.markets[symbol]
        market.mark = mark
        market.news.append(wire.Funding(symbol, now_ns, format(rate, "f"), market.units.price(mark)))
        for account in self.accounts.values():
            if account.ledgers[symbol].settle(mark, rate):
                account.moved.add(symbol)

    # --- what the engine reported ------------------------------------------------------------------------------------
    def _apply(self, market: Market, side: int, reports: Reports, now_ns: int) -> None:
        """Book the reports of one stimulus; ``side`` is the side of the order that came in."""
        for report in reports:
            if report[0] == "trade":
                _, maker_id, taker_id, ticks, lots = report
                trade_id = market.print_trade(side, ticks, lots)
                if maker_id != BACKGROUND:
                    self._fill(self._orders[maker_id], trade_id, ticks, lots, True, now_ns)
                if taker_id != BACKGROUND:
                    self._fill(self._orders[taker_id], trade_id, ticks, lots, False, now_ns)
            elif report[0] in ("rested", "reduced"):
                self._update(self._orders[report[1]], "open", "", now_ns)
            elif report[0] == "canceled":
                self._end(self._orders[report[1]], "canceled", report[3], now_ns)
        moved, self._moved = self._moved, {}
        for account, moved_market in moved:
            self._uncover(account, moved_market, now_ns)

    def _uncover(self, account: Account, market: Market, now_ns: int) -> None:
        """Cut down the resting reduce-only orders that the position no longer covers, the newest first."""
        held = account.ledgers[market.instrument.symbol].lots
        left = {1: max(-held, 0), -1: max(held, 0)}
        for order in [o for o in account.open.values() if o.market is market and o.request.reduce_only]:
            lots = min(order.lots, left[order.side])
            left[order.side] -= lots
            if not lots:
                self._cancel(order, "reduce_only", now_ns)
            elif lots < order.lots:
                market.engine.modify(order.oid, order.ticks, lots)
                order.lots, order.updated_ns = lots, now_ns
                self._update(order, "open", "reduce_only", now_ns)

    def _fill(self, order: ClientOrder, trade_id: int, ticks: int, lots: int, maker: bool, now_ns: int) -> None:
        account, market = order.account, order.market
        symbol, units = market.instrument.symbol, market.units
        ledger = account.ledgers[symbol]
        fee = ledger.fill(order.side, ticks, lots, account.fees[symbol][0 if maker else 1])
        order.fill(ticks, lots, fee, now_ns)
        account.n_fills += 1
        account.n_taker_fills += not maker
        fill = wire.Fill(
            symbol,
            order.cid,
            order.oid,
            account.n_fills,
            trade_id,
            wire.SIDE_NAME[order.side],
            units.price(ticks),
            units.size(lots),
            units.size(order.lots),
            format(fee, "f"),
            maker,
            units.size(ledger.lots),
            now_ns,
        )
        account.fills.append(fill)
        if len(account.fills) > KEPT_FILLS + FILLS_PAGE:
            del account.fills[:-KEPT_FILLS]
        account.moved.add(symbol)
        self._moved[account, market] = None
        self.outbox.append((account, fill))
        if order.lots == 0:
            self._end(order, "filled", "", now_ns)

    def _end(self, order: ClientOrder, status: Status, reason: str, now_ns: int) -> None:
        del self._orders[order.oid]
        order.reason = reason
        order.account.close(order, status, now_ns)
        self._update(order, status, reason, now_ns)

    def _update(self, order: ClientOrder, status: Any, reason: str, now_ns: int) -> None:
        self.outbox.append((order.account, self._describe(order, status, reason, now_ns)))

    @staticmethod
    def _describe(order: ClientOrder, status: Any, reason: str, now_ns: int) -> wire.OrderUpdate:
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

    # --- answers -----------------------------------------------------------------------------------------------------
    def flush(self, now_ns: int) -> list[tuple[str, wire.Message]]:
        """Public messages by symbol since the last call; positions that moved go to the outbox."""
        for account in self.accounts.values():
            if account.moved:
                self.outbox.extend((account, self.position(account, symbol, now_ns)) for symbol in account.moved)
                account.moved = set()
        return [(symbol, message) for symbol, market in self.markets.items() for message in market.flush(now_ns)]

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
        units = self.market(symbol).units
        ledger = account.ledgers[symbol]
        entry = ledger.entry
        return wire.Position(
            symbol,
            units.size(ledger.lots),
            None if entry is None else format(entry, "f"),
            format(self.balance(account, symbol), "f"),
            now_ns,
        )

    def open_orders(self, account: Account, now_ns: int) -> list[wire.OrderUpdate]:
        """Open orders of an account."""
        return [self._describe(order, "open", "", now_ns) for order in account.open.values()]

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


def _ended(account: Account, cid: str) -> str:
    """Why there is no open order of this id."""
    order = account.orders.get(cid)
    return "unknown_order" if order is None else order.status
