"""Orders whose request had no usable answer: asked for by client id until the venue says what they are.

Nothing is sent again. Until then the order keeps its place in the table (its side places nothing new), and what may be
live is counted as live.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, Final

from actors.executor_book import Book
from mm.core.types import ACK, CANCELED, CANCELING, EXEC, REJECT, SENT, RecArray, records
from mm.errors import VenueUnreachable
from mm.strategy.executor_core import OrderKey
from mm.strategy.orders import client_order_id, find
from mm.venues.base import ExecDetail, FillRecord, OrderState, TradingClient

_WAITS_S: Final = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
_DENIALS: Final = 2  # so many answers "no such order" in a row: a request may still be on its way at the first

Booked = tuple[RecArray, list[Decimal]]


class Outcomes:
    """Questions under way. ``publish`` takes what was booked to the quoter and risk."""

    def __init__(
        self, client: TradingClient, book: Book, prefix: str, now_ns: Callable[[], int],
        publish: Callable[[RecArray, list[Decimal]], None],
    ) -> None:  # fmt: skip
        self.asked = self.unresolved = 0
        self._client, self._book, self._prefix, self._now_ns, self._publish = client, book, prefix, now_ns, publish
        self._tasks: dict[OrderKey, asyncio.Task[None]] = {}
        self._log = logging.getLogger(f"{__name__}.{prefix}")

    def ask(self, client_order_ids: Sequence[str]) -> None:
        """Begin to ask for the outcome of these orders, those of ours that are in the table."""
        for cid in client_order_ids:
            key = self._key(cid)
            if key is not None and key not in self._tasks:
                self.asked += 1
                task = self._tasks[key] = asyncio.get_running_loop().create_task(self._ask(key))
                task.add_done_callback(lambda _, key=key: self._tasks.pop(key, None))  # type: ignore[misc]

    async def close(self) -> None:
        """Stop asking."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _ask(self, key: OrderKey) -> None:
        symbol = self._book.instruments[key.instrument].symbol
        cid = client_order_id(self._prefix, key.id)
        denials = 0
        for wait_s in _WAITS_S:
            await asyncio.sleep(wait_s)
            if not self._open_question(key):
                return
            try:
                state = await self._client.order(symbol, cid)
                fills = [] if state is None or not state.filled else await self._client.fills(self._book.history_ns)
                denials = denials + 1 if state is None else 0
                if state is not None or denials >= _DENIALS:
                    self._settle(key, cid, state, fills)
                    return
            except VenueUnreachable as exc:
                self._log.info("%s: the venue does not say what became of it: %s", cid, exc)
        self.unresolved += 1
        self._log.warning("%s: outcome still unknown; reconciliation goes on asking", cid)

    def _settle(self, key: OrderKey, cid: str, state: OrderState | None, fills: Sequence[FillRecord]) -> None:
        """Book what the venue said, fills first: an order that has ended takes no more of them."""
        now_ns = self._now_ns()
        for execs, fees in self._book.missed_reports([f for f in fills if f.client_order_id == cid], now_ns):
            self._publish(execs, fees)
        orders = self._book.core.orders[key.instrument]
        k = find(orders, key.id)
        if k < 0:
            return
        o = orders[k]
        if state is not None and state.status == "open":
            if o.state == CANCELING:
                return  # the cancel had no effect: reconciliation sends it again
            kind, reason = ACK, ""
        elif state is None or state.status == "rejected":
            kind, reason = REJECT, "not on the venue" if state is None else state.reason
        else:
            kind, reason = CANCELED, state.reason
        e = records(1, EXEC)
        e[0] = (now_ns, now_ns, key.id, int(o.lots), int(o.tick), key.instrument, int(o.side), kind, 1)
        if self._book.execution(e[0], ExecDetail(cid, "" if state is None else state.venue_order_id, reason=reason)):
            self._publish(e, [])

    def _open_question(self, key: OrderKey) -> bool:
        orders: Any = self._book.core.orders[key.instrument]
        k = find(orders, key.id)
        return k >= 0 and orders[k].state in (SENT, CANCELING)

    def _key(self, cid: str) -> OrderKey | None:
        head, _, number = cid.rpartition("-")
        if head != self._prefix or not number.isdigit():
            return None
        for i, orders in enumerate(self._book.core.orders):
            if find(orders, int(number)) >= 0:
                return OrderKey(i, int(number))
        return None
