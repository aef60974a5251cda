"""Cases 40-47: private streams that stall, repeat and lose; requests that overtake each other; many reconnects."""

from __future__ import annotations

import asyncio
import threading
import time
from decimal import Decimal

from mm.core.types import SELL
from tests.contract.conformance.cases import case
from tests.contract.conformance.rig import Rig
from tests.contract.conformance.wait import until


@case(40, "silent private stream")
async def private_stall(rig: Rig) -> None:
    """A private connection that says nothing, pongs neither: ``closed`` returns within 2 s (told to: 1 s)."""
    trader = await rig.trader(stall_s=1.0)
    rig.fault(stall_private=True, no_pong=True)
    begun = time.perf_counter()
    await until(lambda: trader.ended, "the end of a silent connection", 2.5)
    rig.figures["stall noticed s"] = took = time.perf_counter() - begun
    assert took <= 2.0 + 0.3
    rig.fault(stall_private=False, no_pong=False)
    await trader.connect()
    n = await trader.rest(1, rig.mid - 3 * rig.step, "0.02")
    assert trader.kinds(n) == ["ack"]


@case(41, "private frames twice")
async def told_twice(rig: Rig) -> None:
    """Pushes that arrive twice: a fill keeps its trade id, so that it can be booked once; nothing else is invented."""
    trader = await rig.trader()
    rig.fault(duplicate_private=50)
    n = await trader.rest(1, rig.mid, "0.05")
    for size in ("0.02", "0.03"):
        rig.play((SELL, rig.mid, rig.lots(size)))
    await until(lambda: len({t.detail.trade_id for t in trader.filled(n)}) == 2, "two fills")
    await asyncio.sleep(0.05)
    assert set(trader.kinds(n)) == {"ack", "fill"}
    true = {(rig.lots(f.qty), Decimal(f.fee)) for f in trader.account.fills}
    assert {(t.lots, t.detail.fee) for t in trader.filled(n)} == true
    assert len({t.detail.trade_id for t in trader.filled(n)}) == 2


@case(42, "private frames lost")
async def lost(rig: Rig) -> None:
    """A fill that no push told is in the answers: the order's state, the history, the position."""
    trader = await rig.trader()
    since_ns = rig.now_ns() - 1_000_000_000
    n = await trader.rest(1, rig.mid, "0.05")
    rig.fault(lose_private=1_000)
    rig.play((SELL, rig.mid, rig.lots("0.02")))
    await asyncio.sleep(0.05)
    state = await trader.client.order(rig.symbol, trader.cid(n))
    assert state is not None
    assert (state.status, state.filled) == ("open", Decimal("0.02"))
    (fill,) = await trader.client.fills(since_ns)
    assert (fill.client_order_id, fill.size, fill.maker) == (trader.cid(n), Decimal("0.02"), True)
    assert (await trader.client.position(rig.symbol)).size == trader.held()
    rig.fault(lose_private=0)
    assert await trader.client.cancel_all() == 1


@case(43, "executed after its timeout")
async def late(rig: Rig) -> None:
    """The answer does not come in time: unknown, not refused; the order that is executed later is told and is one."""
    trader = await rig.trader(timeout_s=0.5)
    rig.fault(request_delay_s=1.0)
    n = await trader.place(1, rig.mid - 3 * rig.step, "0.02")
    await until(lambda: n in trader.unknown, "the unknown outcome")
    assert trader.kinds(n) == []
    await until(lambda: trader.account.open, "the late order in the exchange")
    rig.fault(request_delay_s=0.0)
    await trader.hears(n, "ack")
    await asyncio.sleep(0.1)
    assert trader.kinds(n) == ["ack"]
    assert trader.account.n_orders == 1
    assert [o.client_order_id for o in await trader.client.open_orders()] == [trader.cid(n)]


@case(44, "fill overtakes the cancel")
async def overtaken(rig: Rig) -> None:
    """The order is filled while its cancel is under way: FILL and CANCEL_REJECT, no CANCELED."""
    trader = await rig.trader()
    n = await trader.rest(1, rig.mid, "0.05")
    rig.fault(request_delay_s=0.3)
    await trader.cancel(n)
    await asyncio.sleep(0.1)
    rig.play((SELL, rig.mid, rig.lots("0.05")))
    await trader.hears(n, "cancel_reject")
    assert trader.kinds(n) == ["ack", "fill", "cancel_reject"]
    trader.check_fills()


@case(45, "five reconnects")
async def reconnects(rig: Rig) -> None:
    """After five lost connections of each kind every frame still comes once, and no thread or task is left over."""
    trader, market = await rig.trader(), await rig.market()
    await trader.rest(1, rig.mid - 9 * rig.step, "0.02")
    n_threads, n_tasks = threading.active_count(), len(asyncio.all_tasks())
    for _ in range(5):
        rig.drop("private")
        rig.drop("public")
        await until(lambda: trader.ended and market.ended, "the ends of two connections")
        market.start()
        await trader.connect()
        await until(market.agrees, "the true book")
    n = await trader.rest(1, rig.mid, "0.05")
    rig.play((SELL, rig.mid, rig.lots("0.05")))
    await trader.hears(n, "fill")
    await asyncio.sleep(0.1)
    assert trader.kinds(n) == ["ack", "fill"]
    await until(market.agrees, "the true book")
    assert sum(lots for kind, tick, lots in market.trades if (kind, tick) == (SELL, rig.mid)) == rig.lots("0.05")
    now = threading.active_count()  # a pool may have grown to its size, but not by one for each connection
    assert now <= n_threads + 4, f"{n_threads} threads before, {now} after"
    await until(lambda: len(asyncio.all_tasks()) <= n_tasks, lambda: f"at most {n_tasks} tasks")


@case(46, "an id twice")
async def same_id(rig: Rig) -> None:
    """A client order id that was used is refused by the venue, so that nothing sent twice can be executed twice."""
    trader = await rig.trader()
    n, r = trader.request(1, rig.mid - 3 * rig.step, "0.02")
    for _ in range(2):
        await trader.client.place(r.symbol, r.client_order_id, r.side, r.price, r.size)
        await trader.hears(n, "ack")
    await trader.hears(n, "reject")
    assert len(trader.account.open) == 1


@case(47, "amend of an order that has ended")
async def amend_ended(rig: Rig) -> None:
    """CANCEL_REJECT; nothing new is in the book."""
    trader = await rig.trader()
    price = rig.instrument.price(rig.mid - 2 * rig.step)
    if not trader.caps.amend:
        await rig.refused(trader.client.amend(rig.symbol, trader.cid(1), price, Decimal("0.02")), "amending")
    n = await trader.rest(1, rig.mid, "0.02")
    rig.play((SELL, rig.mid, rig.lots("0.02")))
    await trader.hears(n, "fill")
    await trader.client.amend(rig.symbol, trader.cid(n), price, Decimal("0.02"))
    await trader.hears(n, "cancel_reject")
    assert trader.account.open == {}
