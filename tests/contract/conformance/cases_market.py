"""Cases 1-7, 35, 36: instruments and market data."""

from __future__ import annotations

import asyncio
import time
from decimal import Decimal

import numpy as np

from mm.core.types import ASK, BID, BUY, MARK, SELL
from tests.contract.conformance.cases import case
from tests.contract.conformance.rig import Rig
from tests.contract.conformance.wait import until


@case(1, "load specs")
async def load_specs(rig: Rig) -> None:
    """Tick, lot, minimum and currencies are the exchange's; the account's fees and the server's clock are true."""
    market, trader = await rig.market(wait=False), await rig.trader()
    (found,) = [i for i in await market.client.instruments() if i.symbol == rig.symbol]
    for name in ("kind", "tick_size", "lot_size", "min_notional", "contract_value", "base", "quote"):
        assert getattr(found, name) == getattr(rig.instrument, name), name
    assert await trader.client.fees(rig.symbol) == trader.account.fees[rig.symbol]
    assert abs(await trader.client.server_time_ns() - rig.now_ns()) < 2e9
    position = await trader.client.position(rig.symbol)
    assert (position.size, position.balance) == (trader.held(), Decimal(100_000))


@case(2, "subscribe and first book")
async def first_book(rig: Rig) -> None:
    """The first events are a snapshot of the true book, stamped with both clocks."""
    market = await rig.market()
    await until(market.agrees, "the true book")
    assert market.snapshots >= 1
    assert not market.errors
    decoded = [market.codec.decode_public(raw, 7) for raw in market.raw]
    events = np.concatenate([d.events for d in decoded if len(d.events)])
    assert (events["ts_recv_ns"] == 7).all()
    assert (np.abs(events["ts_exch_ns"] - rig.now_ns()) < 60e9).all()


@case(3, "deltas equal the snapshot after 1000 updates")
async def deltas(rig: Rig) -> None:
    """After 1,000 updates in bursts the ten best levels of each side are true; so they are in a fresh snapshot."""
    market = await rig.market()
    rng = np.random.default_rng(3)
    for burst in range(100):
        for _ in range(10):
            side, k, size = int(rng.integers(2)), int(rng.integers(1, 26)), int(rng.integers(4))
            tick = rig.mid + (k if side else -k) * rig.step
            rig.play((ASK if side else BID, tick, size * rig.lots("0.5")))
        await asyncio.sleep(0.004 if burst % 10 == 0 else 0)
    await until(market.agrees, "the true book after 1,000 updates")
    assert (market.gaps, market.errors) == (0, [])
    before, snapshots = market.top(), market.snapshots
    await market.client.resync(rig.symbol)
    rig.play((BID, rig.mid - 60 * rig.step, rig.lots("1")))  # far away: some venues answer with the next change
    await until(lambda: market.snapshots > snapshots, "a fresh snapshot")
    await until(market.agrees, "the true book in the snapshot")
    assert market.top() == before


@case(4, "gap and resync")
async def gap(rig: Rig) -> None:
    """Frames get lost: the codec notices or the next frame is whole; a fresh snapshot comes, and the book is true."""
    market = await rig.market()
    await until(market.agrees, "the true book")
    snapshots = market.snapshots
    rig.fault(lose_public=2)
    begun = time.perf_counter()
    for k in range(400):
        rig.play((BID, rig.mid - rig.step, rig.lots("1") + k + 1))
        await asyncio.sleep(0.005)
        if not rig.faults.lose_public and market.snapshots > snapshots:
            break
    await until(market.agrees, "the true book after a gap")
    assert market.snapshots > snapshots
    assert not market.errors
    rig.figures["gap to resync ms"] = (time.perf_counter() - begun) * 1e3


@case(5, "stall")
async def stall(rig: Rig) -> None:
    """A connection that says nothing, pongs neither, ends within 2 s (told to: 1 s); the next one has the true book."""
    market = await rig.market(stall_s=1.0)
    await until(market.agrees, "the true book")
    rig.fault(stall_public=True, no_pong=True)
    begun = time.perf_counter()
    rig.play((BID, rig.mid - rig.step, rig.lots("2")))
    await until(lambda: market.ended, "the end of a silent connection", 2.5)
    rig.figures["stall noticed s"] = took = time.perf_counter() - begun
    assert took <= 2.0 + 0.3
    assert _lost(market.task), "it ended without VenueUnreachable"
    rig.fault(stall_public=False, no_pong=False)
    market.start()
    await until(market.agrees, "the true book after a stall")


@case(6, "duplicate and out-of-order frames")
async def disorder(rig: Rig) -> None:
    """Frames twice, frames in the wrong order: no error, and the book is true in the end."""
    market = await rig.market()
    await until(market.agrees, "the true book")
    for fault in ("duplicate_public", "swap_public"):
        rig.fault(**{fault: 2})
        for k in range(400):
            rig.play((ASK, rig.mid + rig.step, rig.lots("1") + k + 1))
            await asyncio.sleep(0.005)
            if k > 4 and not getattr(rig.faults, fault):
                break
        assert not getattr(rig.faults, fault)
        rig.play((ASK, rig.mid + 2 * rig.step, rig.lots("3") + len(fault)))  # a change: it frees a frame held back
        await until(market.agrees, f"the true book after {fault}")
    assert not market.errors


@case(7, "trades")
async def trades(rig: Rig) -> None:
    """Every match arrives once with price, size and the aggressor's side."""
    market = await rig.market()
    bid, ask, size = rig.mid - rig.step, rig.mid + rig.step, rig.lots("0.25")
    for kind, tick, lots in ((SELL, bid, size), (BUY, ask, 2 * size), (SELL, bid, size)):
        rig.play((kind, tick, lots))
    expected = [(SELL, bid, size), (BUY, ask, 2 * size), (SELL, bid, size)]
    await until(lambda: len(market.traded()) >= 3, "three trades")
    assert market.traded() == expected
    await until(market.agrees, "the true book after trades")


@case(35, "mark price")
async def mark(rig: Rig) -> None:
    """A new mark price arrives as an event."""
    if rig.spot:
        rig.skip("spot has no mark price")
    market = await rig.market()
    tick = rig.mid + 7 * rig.step
    rig.play((MARK, tick, 0))
    await until(lambda: tick in market.marks, "the mark price")


@case(36, "aborted market data")
async def aborted(rig: Rig) -> None:
    """An aborted socket ends ``run`` at once with VenueUnreachable; another run starts with the true book."""
    market = await rig.market()
    begun = time.perf_counter()
    rig.drop("public")
    await until(lambda: market.ended, "the end of an aborted connection", 2.0)
    assert _lost(market.task), "it ended without VenueUnreachable"
    rig.play((BID, rig.mid - rig.step, rig.lots("2")))
    market.start()
    await until(market.agrees, "the true book of a new connection")
    rig.figures["reconnect ms"] = (time.perf_counter() - begun) * 1e3


def _lost(task: asyncio.Task[None]) -> bool:
    """A connection ended with the error that the feed knows."""
    from mm.errors import VenueUnreachable

    return isinstance(task.exception(), VenueUnreachable)
