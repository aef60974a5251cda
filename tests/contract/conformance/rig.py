"""One venue under test: its local exchange in this event loop, real sockets, and clients made through the registry.

The rig knows both sides. What an adapter reported is in ``Market`` and ``Trader``; what is true is in ``rig.server``.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import msgspec

from mm.core.instrument import Instrument
from mm.core.types import ASK, BID, CLEAR_ASK, CLEAR_BID, MARK
from mm.errors import VenueUnreachable
from mm.sandbox.account import Account
from mm.sandbox.faces import local_keys
from mm.sandbox.faults import Faults
from mm.sandbox.server import Server
from mm.sandbox.spec import HOST, parse_spec
from mm.venues.registry import get_venue
from mm.venues.specs import venue_spec
from tests.contract.conformance.market import Market
from tests.contract.conformance.trader import Trader
from tests.contract.conformance.wait import until

N_ACCOUNTS = 48
MID = 60_000
NATIVE = Instrument(
    "BTC-USDT", "native", "linear", Decimal("0.1"), Decimal("0.001"), Decimal(100), base="BTC", quote="USDT"
)
_TOP_TICK = (1 << 31) - 1

Row = tuple[int, int, int]


class NotApplicable(Exception):
    """The venue does not offer this, and says so; raised only by ``Rig.refused``, ``Rig.fault`` and ``Rig.skip``."""


class Rig:
    """See the module. A case gets a standard book, no faults, a true clock and accounts that nobody used."""

    def __init__(self, venue: str) -> None:
        self.venue = get_venue(venue)
        self.instrument = NATIVE if venue == "native" else venue_spec(venue).instrument("BTC")
        self.symbol = self.instrument.symbol
        self.spot = self.instrument.kind == "spot"
        self.ahead_ns = 0  # the exchange's clock before the true one
        spec = {
            "control_token": "control-token",
            "instruments": [self.instrument.to_dict()],
            "accounts": [
                {"name": f"t{n}", "token": f"conf-token-{n:04d}", "positions": {self.symbol: "5"} if self.spot else {}}
                for n in range(N_ACCOUNTS)
            ],
            "face": "" if venue == "native" else venue,
        }
        self.server = Server(parse_spec(msgspec.json.encode(spec), "spec"), lambda: time.time_ns() + self.ahead_ns)
        self.face = self.server.face
        self.faults = Faults() if self.face is None else self.face.faults
        self.exchange = self.server.exchange
        self.unused = iter(self.exchange.accounts.values())
        self.mid = int(MID / self.instrument.tick_size)
        self.step = max(1, int(1 / self.instrument.tick_size))  # one dollar in ticks
        self.figures: dict[str, float] = {}  # what a case measured
        self._tasks: set[asyncio.Task[Any]] = set()
        self._open: list[Market | Trader] = []
        self._numbers = itertools.count(1)

    # --- life --------------------------------------------------------------------------------------------------------
    async def start(self) -> None:
        listening: asyncio.Future[tuple[int, int]] = asyncio.get_running_loop().create_future()
        run = self.server.run(0, lambda port, face_port: listening.set_result((port, face_port)))
        self._run = asyncio.create_task(run)
        await asyncio.wait([self._run, listening], return_when=asyncio.FIRST_COMPLETED)
        if self._run.done():
            self._run.result()
        self.port, self.face_port = listening.result()

    async def stop(self) -> None:
        self.server.stop()
        await self._run

    async def begin(self) -> None:
        """Before a case."""
        self.figures = {}
        self._tasks = asyncio.all_tasks()
        rows = [(CLEAR_BID, 0, 0), (CLEAR_ASK, _TOP_TICK, 0)]
        for k in range(1, 11):
            rows += [(BID, self.mid - k * self.step, self.lots("1")), (ASK, self.mid + k * self.step, self.lots("1"))]
        if not self.spot:
            rows.append((MARK, self.mid, 0))
        self.play(*rows)

    async def end(self) -> None:
        """After a case: everything is closed and mended; clients must leave no task behind."""
        self.ahead_ns = 0
        self.faults.change(msgspec.to_builtins(Faults()))
        for one in self._open:
            await one.close()
        self._open = []
        for account in self.exchange.accounts.values():
            self.exchange.arm(account, 0, 0)
            self.exchange.cancel_all(account, self.now_ns())
        self.server.publish()
        await until(lambda: asyncio.all_tasks() <= self._tasks, lambda: f"the end of {self._left()}", 2.0)

    def _left(self) -> list[str]:
        return [str(task.get_coro()) for task in asyncio.all_tasks() - self._tasks]

    # --- the exchange's side -----------------------------------------------------------------------------------------
    def now_ns(self) -> int:
        return self.server.clock_ns()

    def lots(self, size: str | Decimal) -> int:
        return self.instrument.lots(size)

    def play(self, *rows: Row) -> None:
        """Anonymous flow, told to everybody at once."""
        self.exchange.background(self.symbol, rows, self.now_ns())
        self.server.publish()

    def book(self, depth: int = 10) -> dict[int, list[tuple[int, int]]]:
        """The true book, (tick, lots) best first."""
        engine = self.exchange.markets[self.symbol].engine
        return {BID: engine.depth(1)[:depth], ASK: engine.depth(-1)[:depth]}

    def fault(self, **changes: Any) -> None:
        """Disturb the venue's wire."""
        own = {"lose_public", "duplicate_public", "swap_public"}  # ``Market`` makes these where there is no face
        if self.face is not None:
            self.face.change_faults(changes)
        elif own.issuperset(changes):
            self.faults.change(changes)
        else:
            raise NotApplicable(f"its own wire has no face to disturb ({', '.join(changes)})")

    def drop(self, which: str, *, hard: bool = True) -> None:
        """End sockets of the kind "public" or "private"."""
        if self.face is not None:
            self.face.drop(which, hard=hard)
            return
        for connection in list(self.server.connections):
            if (connection.account is not None) == (which == "private"):
                connection.close()

    # --- the client's side -------------------------------------------------------------------------------------------
    def options(self, account: Account | None = None, **more: Any) -> dict[str, Any]:
        """What a client is made with. ``stall_s``, ``timeout_s``: generous, the machine may be busy."""
        out: dict[str, Any] = {"timeout_s": 4.0, "stall_s": 6.0, **more}
        if self.face is None:
            return out | {"port": self.port, "token": account.spec.token if account else ""}
        where = f"{HOST}:{self.face_port}"
        keys = local_keys(self.venue.name, account.spec.token) if account else {}
        return out | {"network": "local", "rest_url": f"http://{where}", "ws_url": f"ws://{where}", **keys}

    async def market(self, *, wait: bool = True, **options: Any) -> Market:
        """A feed of the symbol, with its first book."""
        market = Market(self, self.options(**options))
        self._open.append(market)
        market.start()
        if wait:
            await until(lambda: market.valid or market.ended, "the first book")
            if market.ended:
                market.task.result()
        return market

    async def trader(self, *, account: Account | None = None, connect: bool = True, **options: Any) -> Trader:
        """A connected client of a fresh account."""
        account = account or next(self.unused)
        trader = Trader(self, account, self.options(account, **options))
        self._open.append(trader)
        if connect:
            await trader.connect()
        return trader

    def number(self) -> int:
        """A new number of an order."""
        return next(self._numbers)

    # --- what does not apply -----------------------------------------------------------------------------------------
    async def refused(self, call: Awaitable[Any], what: str) -> None:
        """What a venue does not have must be refused in so many words; then the case ends as not applicable."""
        try:
            await call
        except NotImplementedError as exc:
            raise NotApplicable(f"{what}: {exc}") from None
        raise AssertionError(f"{what}: its Caps say no, its client did not refuse")

    def skip(self, reason: str) -> None:
        """For what a kind of contract cannot have (spot), and for the native wire, which has no face."""
        assert self.spot or self.face is None, "a venue with a face is spared nothing but what its Caps deny"
        raise NotApplicable(reason)


@asynccontextmanager
async def unreachable(what: str) -> AsyncIterator[None]:
    """The block must end in ``VenueUnreachable``: never in an empty answer, never in another error."""
    try:
        yield
    except VenueUnreachable:
        return
    raise AssertionError(f"{what}: no VenueUnreachable")
