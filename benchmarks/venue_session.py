"""One venue for the benchmarks: its local exchange in a process of its own, a feed and a trader in this one.

``python -m benchmarks.venue_session`` (options as JSON on stdin) is the child whose memory is measured.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import psutil

from mm.core.instrument import Instrument
from mm.core.types import ACK, BID, CANCELED, SNAPSHOT
from mm.errors import VenueUnreachable
from mm.sandbox.faces import local_keys
from mm.sandbox.process import ExchangeHandle, control, start_exchange, stop_exchange
from mm.sandbox.spec import HOST
from mm.venues.native import wire
from mm.venues.registry import get_venue
from mm.venues.specs import venue_spec

PREFIX: Final = "be7c4000"
TOKEN: Final = "token-of-the-benchmark"  # noqa: S105  of a local exchange that lives for a minute
LIMIT_S: Final = 15.0
MID: Final = 60_000
NATIVE: Final = Instrument(
    "BTC-USDT", "native", "linear", Decimal("0.1"), Decimal("0.001"), Decimal(100), base="BTC", quote="USDT"
)

Row = tuple[int, int, int]


async def until(condition: Callable[[], Any], limit_s: float = LIMIT_S) -> None:
    """Wait until ``condition`` is true; raises ``TimeoutError``."""
    async with asyncio.timeout(limit_s):
        while not condition():  # noqa: ASYNC110  it is counted by frames that arrive: a poll of 0.5 ms is finer
            await asyncio.sleep(0.0005)


class Session:
    """See the module; ``events`` and ``reports`` are what the codecs made of the frames, with the time of each."""

    def __init__(self, venue: str, handle: ExchangeHandle) -> None:
        self.venue = get_venue(venue)
        self.handle = handle
        self.instrument = instrument_of(venue)
        self.symbol = self.instrument.symbol
        self.mid = int(MID / self.instrument.tick_size)
        self.step = max(1, int(1 / self.instrument.tick_size))
        self.lot = self.instrument.lots("0.1")
        self.options = options_of(venue, handle)
        self.codec = self.venue.make_codec([self.instrument], PREFIX)
        self.private = self.venue.make_codec([self.instrument], PREFIX)
        self.feed = self.venue.make_public(self.options, [self.symbol])
        self.trader = self.venue.make_trading(self.options)
        self.frames: list[bytes] = []
        self.bids: dict[int, int] = {}
        self.valid = False
        self.gap_at_s = 0.0
        self.acks: dict[int, float] = {}
        self.cancels: dict[int, float] = {}
        self.n_orders = 0
        self._asked: set[asyncio.Task[None]] = set()

    # --- the exchange ------------------------------------------------------------------------------------------------
    async def play(self, *rows: Row) -> None:
        """Anonymous flow."""
        request = wire.Play(token=self.handle.control_token, symbol=self.symbol, rows=list(rows))
        await asyncio.to_thread(control, self.handle, request)

    async def fault(self, drop: Any = "", *, hard: bool = False, **changes: Any) -> None:
        """Disturb the venue's wire."""
        request = wire.Fault(token=self.handle.control_token, set=changes, drop=drop, hard=hard)
        await asyncio.to_thread(control, self.handle, request)

    # --- the feed ----------------------------------------------------------------------------------------------------
    def start_feed(self) -> None:
        """Connect (again)."""
        self.codec.reset()
        self.valid = False
        self.bids = {}
        self.running = asyncio.create_task(self.feed.run(self._on_public))

    async def feed_ended(self) -> None:
        """Wait for the end of the market data connection."""
        await asyncio.wait([self.running], timeout=2 * LIMIT_S)
        if not self.running.done() or not isinstance(self.running.exception(), VenueUnreachable):
            raise RuntimeError(f"{self.venue.name}: the market data connection did not end as it should")

    def _on_public(self, raw: bytes, ts_recv_ns: int) -> None:
        self.frames.append(raw)
        decoded = self.codec.decode_public(raw, ts_recv_ns)
        for event in decoded.events:
            if event["kind"] == BID:
                self.bids[int(event["tick"])] = int(event["lots"])
        if len(decoded.events) and (decoded.events["flags"] & SNAPSHOT).any():
            self.valid = True
        if decoded.gap:
            self.gap_at_s, self.valid = self.gap_at_s or time.perf_counter(), False
            task = asyncio.ensure_future(self.feed.resync(self.symbol))
            self._asked.add(task)
            task.add_done_callback(self._asked.discard)

    # --- orders ------------------------------------------------------------------------------------------------------
    def on_private(self, raw: bytes, ts_recv_ns: int) -> None:
        """Note the times of reports."""
        decoded = self.private.decode_private(raw, ts_recv_ns)
        for e in decoded.execs:
            if e["kind"] == ACK:
                self.acks.setdefault(int(e["id"]), time.perf_counter())
            elif e["kind"] == CANCELED:
                self.cancels.setdefault(int(e["id"]), time.perf_counter())

    async def round_trip(self) -> tuple[float, float]:
        """Seconds from sending an order to its acknowledgement, and from sending its cancel to the report."""
        self.n_orders += 1
        n, cid = self.n_orders, f"{PREFIX}-{self.n_orders}"
        price = self.instrument.price(self.mid - 50 * self.step)
        placed_s = time.perf_counter()
        await self.trader.place(self.symbol, cid, 1, price, Decimal("0.02"))
        await until(lambda: n in self.acks)
        canceled_s = time.perf_counter()
        await self.trader.cancel(self.symbol, cid)
        await until(lambda: n in self.cancels)
        return self.acks[n] - placed_s, self.cancels[n] - canceled_s


def instrument_of(venue: str) -> Instrument:
    """BTC of a venue."""
    return NATIVE if venue == "native" else venue_spec(venue).instrument("BTC")


def options_of(venue: str, handle: ExchangeHandle) -> dict[str, Any]:
    """How a client reaches the exchange and its one account."""
    if venue == "native":
        return {"port": handle.port, "token": TOKEN}
    where = f"{HOST}:{handle.face_port}"
    keys = local_keys(venue, TOKEN)
    return {"network": "local", "rest_url": f"http://{where}", "ws_url": f"ws://{where}", **keys}


@asynccontextmanager
async def session(venue: str, log_path: Path) -> AsyncIterator[Session]:
    """A running exchange with a book of ten levels a side, and clients that are connected."""
    instrument = instrument_of(venue)
    spec = {
        "control_token": "control-token-of-the-benchmark",
        "instruments": [instrument.to_dict()],
        "accounts": [{"name": "a", "token": TOKEN}],
        "face": "" if venue == "native" else venue,
    }
    handle = start_exchange(spec, log_path, watch_pid=os.getpid())
    one: Session | None = None
    try:
        one = Session(venue, handle)
        rows: list[Row] = []
        for k in range(1, 11):
            rows += [(BID, one.mid - k * one.step, one.lot), (1, one.mid + k * one.step, one.lot)]
        await one.play(*rows)
        one.start_feed()
        await one.trader.connect(one.on_private)
        await until(lambda: one is not None and one.valid)
        yield one
    finally:
        if one is not None:
            await one.feed.close()
            await one.trader.close()
            with contextlib.suppress(VenueUnreachable, asyncio.CancelledError):
                await one.running
        stop_exchange(handle)


# --- memory of a process that has one client -------------------------------------------------------------------------
async def _child(venue: str, role: str, options: dict[str, Any]) -> int:
    """Resident bytes of this process with a connected client of a role ("none": without)."""
    found = get_venue(venue)
    symbol = instrument_of(venue).symbol
    frames: list[int] = []

    def on_frame(raw: bytes, _ts_recv_ns: int) -> None:
        frames.append(len(raw))

    if role == "feed":
        feed = found.make_public(options, [symbol])
        running = asyncio.create_task(feed.run(on_frame))
        await until(lambda: len(frames) >= 1 or running.done())
        await asyncio.sleep(0.2)
    elif role == "executor":
        trader = found.make_trading(options)
        await trader.connect(on_frame)
        await trader.open_orders()
    return psutil.Process().memory_info().rss


if __name__ == "__main__":
    told = json.loads(sys.stdin.readline())
    print(asyncio.run(_child(**told)), flush=True)
    os._exit(0)  # nothing to clean up: the exchange sees the sockets end
