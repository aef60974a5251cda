"""The exchange without sockets and clocks: accounts around matching engines. Time is passed in.

Public messages come out of ``flush``, private ones gather in ``outbox``; the server sends both.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Final, Literal

from mm.core.types import ASK, BID, BUY, CLEAR_ASK, CLEAR_BID, FUNDING, FUNDING_RATE_UNIT, MARK, SELL
from mm.sandbox import margin
from mm.sandbox.account import Account, ClientOrder, Status, currency_of
from mm.sandbox.checks import room_to_reduce, units_of, why_not
from mm.sandbox.market import Market
from mm.sandbox.spec import ExchangeSpec
from mm.sandbox.state import Refused, State, describe
from mm.sim.matching import BACKGROUND, Reports
from mm.venues.native import wire

__all__ = ["Exchange", "Refused"]

KEPT_FILLS: Final = 100_000  # per account, for queries
KEPT_FUNDING: Final = 10_000
_MARK_EVERY_NS: Final = 1_000_000_000  # a mark that the flow does not tell is published at most this often
_RATE_UNIT: Final = Decimal(repr(FUNDING_RATE_UNIT))


class Exchange(State):
    """What changes them: requests, the flow, time."""

    def __init__(self, spec: ExchangeSpec) -> None:
        super().__init__(spec)
        self.outbox: list[tuple[Account, wire.Message]] = []
        self._orders: dict[int, ClientOrder] = {}
        self._moved: dict[tuple[Account, Market], None] = {}  # positions that changed in this stimulus, in order
        self._last_oid = BACKGROUND

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
        reason = reason or why_not(self.markets, order, market, ticks, lots)
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
        reason = reason or why_not(self.markets, order, market, ticks, lots)
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

    def set_leverage(self, account: Account, symbol: str, leverage: int) -> None:
        """Leverage of a contract, its margin isolated; raises ``Refused``."""
        market = self.market(symbol)
        if market.instrument.kind == "spot":
            raise Refused("no_leverage", f"{symbol} is spot")
        if not 1 <= leverage <= market.rules.max_leverage:
            raise Refused("bad_leverage", f"{symbol}: leverage must be 1 to {market.rules.max_leverage}")
        old, account.leverage[symbol] = account.leverage[symbol], leverage
        if leverage < old and margin.available(account, self.markets, currency_of(market.instrument)) < 0:
            account.leverage[symbol] = old
            raise Refused("insufficient_margin", f"{symbol}: the balance does not cover orders and position")
        account.moved.add(symbol)
        market.checked = None

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
                    market.flow_mark = tick
                    market.news.append(wire.Mark(symbol, now_ns, market.units.price(tick)))
                elif kind == FUNDING and market.funding is None:
                    self.settle(symbol, tick, lots * _RATE_UNIT, now_ns)
                continue
            if reports:
                self._apply(market, side, reports, now_ns)
        self._check_margins(market, now_ns)

    def tick(self, now_ns: int) -> None:
        """Time passes: dead men, funding by schedule, marks that no flow tells, positions without margin."""
        self.expire(now_ns)
        for symbol, market in self.markets.items():
            mark = market.mark
            if market.funding is not None:
                step_ns = round(market.funding.interval_s * 1e9)
                if market.next_funding_ns and now_ns >= market.next_funding_ns and mark is not None:
                    self.settle(symbol, mark, Decimal(market.funding.rate), now_ns)
                if now_ns >= market.next_funding_ns:
                    market.next_funding_ns = (now_ns // step_ns + 1) * step_ns
            if market.flow_mark is None and market.instrument.kind != "spot":
                market.tell_mark(now_ns, _MARK_EVERY_NS)
            self._check_margins(market, now_ns)

    def settle(self, symbol: str, mark: int, rate: Decimal, now_ns: int) -> None:
        """A funding settlement: every position of the market pays or receives."""
        market = self.markets[symbol]
        text, price = format(rate, "f"), market.units.price(mark)
        market.news.append(wire.Funding(symbol, now_ns, text, price))
        for account in self.accounts.values():
            ledger = account.ledgers[symbol]
            received = ledger.settle(mark, rate)
            if not received:
                continue
            paid = wire.FundingPaid(symbol, format(received, "f"), text, price, market.units.size(ledger.lots), now_ns)
            account.funding.append(paid)
            del account.funding[:-KEPT_FUNDING]
            account.moved.add(symbol)
            self.outbox.append((account, paid))
        market.checked = None

    def _check_margins(self, market: Market, now_ns: int) -> None:
        """Take over the positions that the mark leaves without margin."""
        mark = market.mark
        if mark is None or mark == market.checked or market.instrument.kind == "spot":
            return
        market.checked = mark
        for account in self.accounts.values():
            if account.ledgers[market.instrument.symbol].lots and margin.is_due(account, market, mark):
                self._take_over(account, market, mark, now_ns)

    def _take_over(self, account: Account, market: Market, mark: int, now_ns: int) -> None:
        """Cancel every order in the market and close the position within its margin, outside the book."""
        symbol, units = market.instrument.symbol, market.units
        for order in [o for o in account.open.values() if o.market is market]:
            self._cancel(order, "liquidation", now_ns)
        ledger = account.ledgers[symbol]
        lots, before = ledger.lots, ledger.realised
        side: wire.Side = "sell" if lots > 0 else "buy"
        ticks, rate = margin.take_over_terms(account, market, mark)
        fee = ledger.fill(wire.SIDE_SIGN[side], ticks, abs(lots), rate)
        loss, px = format(before - ledger.realised, "f"), units.price(ticks)
        told = wire.Liquidation(symbol, units.size(lots), px, units.price(mark), loss, now_ns)
        self.outbox.append((account, told))
        market.trade_id += 1
        account.n_fills += 1
        account.n_taker_fills += 1
        fill = wire.Fill(
            symbol, "liquidation", 0, account.n_fills, market.trade_id, side, px, units.size(abs(lots)), units.size(0),
            format(fee, "f"), False, units.size(0), now_ns,
        )  # fmt: skip
        self._keep(account, fill)

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
        self._keep(account, fill)
        self._moved[account, market] = None
        market.checked = None
        if order.lots == 0:
            self._end(order, "filled", "", now_ns)

    def _keep(self, account: Account, fill: wire.Fill) -> None:
        """Tell an execution, and remember it."""
        account.fills.append(fill)
        if len(account.fills) > KEPT_FILLS + KEPT_FILLS // 50:
            del account.fills[:-KEPT_FILLS]
        account.moved.add(fill.symbol)
        self.outbox.append((account, fill))

    def _end(self, order: ClientOrder, status: Status, reason: str, now_ns: int) -> None:
        del self._orders[order.oid]
        order.reason = reason
        order.account.close(order, status, now_ns)
        self._update(order, status, reason, now_ns)

    def _update(self, order: ClientOrder, status: Any, reason: str, now_ns: int) -> None:
        self.outbox.append((order.account, describe(order, status, reason, now_ns)))

    # --- what to send ------------------------------------------------------------------------------------------------
    def flush(self, now_ns: int) -> list[tuple[str, wire.Message]]:
        """Public messages by symbol since the last call; positions that moved go to the outbox."""
        for account in self.accounts.values():
            if account.moved:
                self.outbox.extend((account, self.position(account, symbol, now_ns)) for symbol in account.moved)
                account.moved = set()
        return [(symbol, message) for symbol, market in self.markets.items() for message in market.flush(now_ns)]


def _ended(account: Account, cid: str) -> str:
    """Why there is no open order of this id."""
    order = account.orders.get(cid)
    return "unknown_order" if order is None else order.status
