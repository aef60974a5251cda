"""Cases 8-21: orders from placing to their end, asserted at the adapter and in the exchange's account."""

from __future__ import annotations

import asyncio
import time
from decimal import Decimal

from mm.core.types import SELL
from tests.contract.conformance.cases import case
from tests.contract.conformance.rig import Rig
from tests.contract.conformance.trader import Trader
from tests.contract.conformance.wait import until


@case(8, "place and rest")
async def rest(rig: Rig) -> None:
    """One ACK; one order in the exchange with that price, size and side, post-only; the queries show the same."""
    trader = await rig.trader()
    begun = time.perf_counter()
    n = await trader.rest(1, rig.mid - 3 * rig.step, "0.02")
    rig.figures["place to ack ms"] = (time.perf_counter() - begun) * 1e3
    assert trader.kinds(n) == ["ack"]
    (true,) = trader.orders()
    assert (true.status, true.side, true.ticks, true.lots) == ("open", 1, rig.mid - 3 * rig.step, rig.lots("0.02"))
    assert true.request.post_only
    (shown,) = await trader.client.open_orders()
    assert (shown.client_order_id, shown.symbol, shown.side) == (trader.cid(n), rig.symbol, 1)
    assert (shown.price, shown.size) == (rig.instrument.price(true.ticks), Decimal("0.02"))
    state = await trader.client.order(rig.symbol, trader.cid(n))
    assert state is not None
    assert (state.status, state.size, state.filled) == ("open", Decimal("0.02"), 0)
    assert not trader.errors


@case(9, "place batch")
async def batch(rig: Rig) -> None:
    """Two legs rest, the crossing one does not; no leg hides another's outcome."""
    trader = await rig.trader()
    legs = [trader.request(1, rig.mid - k * rig.step, "0.02") for k in (2, 3)]
    legs.insert(1, trader.request(1, rig.mid + 2 * rig.step, "0.02"))
    call = trader.client.place_batch([r for _, r in legs])
    if not trader.caps.batch:
        await rig.refused(call, "batches")
    await call
    for n, _ in (legs[0], legs[2]):
        await trader.hears(n, "ack")
    await trader.hears(legs[1][0], "reject", "canceled")
    assert sorted(o.ticks for o in trader.account.open.values()) == [rig.mid - 3 * rig.step, rig.mid - 2 * rig.step]
    assert not trader.account.n_fills


@case(10, "post-only would cross")
async def would_cross(rig: Rig) -> None:
    """It never trades: refused, or accepted and then cancelled; told so once; nothing is open."""
    trader = await rig.trader()
    n = await trader.place(1, rig.mid + rig.step, "0.02")
    await trader.hears(n, "reject", "canceled")
    await asyncio.sleep(0.05)
    kinds = trader.kinds(n)
    assert kinds in (["reject"], ["canceled"], ["ack", "canceled"]), kinds
    assert kinds == ["reject"] or not trader.caps.post_only_sync
    assert (trader.account.n_fills, trader.account.open) == (0, {})
    state = await trader.client.order(rig.symbol, trader.cid(n))
    assert state is None or state.status in ("rejected", "canceled")


@case(11, "price off tick")
async def off_tick(rig: Rig) -> None:
    """Refused with one REJECT, never rounded behind our back."""
    trader = await rig.trader()
    price = rig.instrument.price(rig.mid - 3 * rig.step) + rig.instrument.tick_size / 2
    n = await trader.place(1, 0, "0.02", price)
    await _only_rejected(rig, trader, n)


@case(12, "size below minimum")
async def too_small(rig: Rig) -> None:
    """Refused with one REJECT."""
    trader = await rig.trader()
    one, tick = rig.instrument, rig.mid - 3 * rig.step
    size = one.lot_size if one.notional(tick, 1) < one.min_notional else one.lot_size / 2
    n = await trader.place(1, tick, size)
    await _only_rejected(rig, trader, n)


@case(13, "insufficient margin")
async def too_large(rig: Rig) -> None:
    """An order that the account cannot pay is refused with one REJECT."""
    trader = await rig.trader()
    n = await trader.place(1, rig.mid - 3 * rig.step, "2000")
    await _only_rejected(rig, trader, n)


async def _only_rejected(rig: Rig, trader: Trader, n: int) -> None:
    await trader.hears(n, "reject")
    await asyncio.sleep(0.05)
    assert trader.kinds(n) == ["reject"]
    (told,) = [t for t in trader.told if t.id == n]
    assert told.detail.reason, "a refusal without a reason"
    assert trader.account.open == {}
    assert await trader.client.open_orders() == []


@case(14, "partial fill")
async def partial(rig: Rig) -> None:
    """Part of an order trades: one FILL as maker; the rest stays open with the right size."""
    trader = await rig.trader()
    n = await trader.rest(1, rig.mid, "0.05")
    before = trader.held()
    rig.play((SELL, rig.mid, rig.lots("0.02")))
    await trader.hears(n, "fill")
    assert trader.kinds(n) == ["ack", "fill"]
    trader.check_fills()
    (order,) = await trader.client.open_orders()
    assert order.size == Decimal("0.03")
    state = await trader.client.order(rig.symbol, trader.cid(n))
    assert state is not None
    assert (state.status, state.filled, state.size) == ("open", Decimal("0.02"), Decimal("0.05"))
    assert (await trader.client.position(rig.symbol)).size == trader.held() == before + Decimal("0.02")


@case(15, "full fill")
async def full(rig: Rig) -> None:
    """Two executions end a sale: two FILLs; history, position, balance and fees agree with the exchange."""
    trader = await rig.trader()
    since_ns = rig.now_ns() - 1_000_000_000
    n = await trader.rest(1, rig.mid, "0.05")
    for size in ("0.02", "0.03"):
        rig.play((SELL, rig.mid, rig.lots(size)))
    await until(lambda: len(trader.filled(n)) == 2, f"two fills, have {trader.told}")
    trader.check_fills()
    history = await trader.client.fills(since_ns)
    assert [(f.trade_id, f.price, f.size, f.maker, f.side) for f in history] == [
        (t.detail.trade_id, rig.instrument.price(rig.mid), rig.instrument.size(t.lots), True, 1)
        for t in trader.filled(n)
    ]
    assert {f.client_order_id for f in history} == {trader.cid(n)}
    position = await trader.client.position(rig.symbol)
    true = rig.exchange.position(trader.account, rig.symbol, 0)
    assert position.size == Decimal(true.size)
    assert abs(position.balance - Decimal(true.balance)) < Decimal("0.000001")
    if not rig.spot:
        assert position.entry_price == rig.instrument.price(rig.mid)
    state = await trader.client.order(rig.symbol, trader.cid(n))
    assert state is not None
    assert (state.status, state.filled) == ("filled", Decimal("0.05"))
    assert await trader.client.open_orders() == []
    assert trader.account.n_taker_fills == 0


@case(16, "fill before ack")
async def fill_first(rig: Rig) -> None:
    """``place`` does not wait for the answer; the fill that overtakes it is booked once; the answer changes nothing."""
    trader = await rig.trader()
    rig.fault(ack_delay_s=1.2)
    begun = time.perf_counter()
    n = await trader.place(1, rig.mid, "0.05")
    assert time.perf_counter() - begun < 1.0, "place waited for the answer"
    await until(lambda: trader.account.open, "the order in the exchange")
    rig.play((SELL, rig.mid, rig.lots("0.05")))
    await trader.hears(n, "fill")
    took = time.perf_counter() - begun
    await asyncio.sleep(max(0.0, 1.35 - took))
    assert took < 1.2, f"the fill came after the answer ({took:.2f} s)"
    trader.check_fills()
    assert set(trader.kinds(n)) <= {"ack", "fill"}
    assert trader.kinds(n).count("ack") <= 1
    assert (trader.unknown, trader.orders()[0].status) == ([], "filled")


@case(17, "cancel")
async def cancel(rig: Rig) -> None:
    """One CANCELED; the exchange has nothing open."""
    trader = await rig.trader()
    n = await trader.rest(-1, rig.mid + 3 * rig.step, "0.02")
    await trader.cancel(n)
    await trader.hears(n, "canceled")
    await asyncio.sleep(0.05)
    assert trader.kinds(n) == ["ack", "canceled"]
    assert trader.orders()[0].status == "canceled"
    assert await trader.client.open_orders() == []
    state = await trader.client.order(rig.symbol, trader.cid(n))
    assert state is not None
    assert (state.status, state.filled) == ("canceled", 0)


@case(18, "cancel of a filled order")
async def cancel_filled(rig: Rig) -> None:
    """CANCEL_REJECT with a reason; the fill stands."""
    trader = await rig.trader()
    n = await trader.rest(1, rig.mid, "0.02")
    rig.play((SELL, rig.mid, rig.lots("0.02")))
    await trader.hears(n, "fill")
    await trader.cancel(n)
    await trader.hears(n, "cancel_reject")
    assert trader.kinds(n) == ["ack", "fill", "cancel_reject"]
    trader.check_fills()
    assert trader.orders()[0].status == "filled"


@case(19, "cancel-all")
async def cancel_all(rig: Rig) -> None:
    """Three orders go, each is reported, the count is right; with nothing open it is 0."""
    trader = await rig.trader()
    numbers = [await trader.rest(1, rig.mid - k * rig.step, "0.02") for k in (2, 3, 4)]
    assert await trader.client.cancel_all() == 3
    assert trader.account.open == {}
    for n in numbers:
        await trader.hears(n, "canceled")
        assert trader.kinds(n) == ["ack", "canceled"]
    assert await trader.client.open_orders() == []
    if rig.face is not None:
        await asyncio.sleep(max((r.window_s for r in rig.face.rates if r.what == "cancel-alls"), default=0.0))
    assert await trader.client.cancel_all() == 0


@case(20, "amend")
async def amend(rig: Rig) -> None:
    """The order keeps its id and has the new price and size in the exchange; it was neither ended nor doubled."""
    trader = await rig.trader()
    if not trader.caps.amend:
        await rig.refused(trader.client.amend(rig.symbol, trader.cid(1), Decimal(1), Decimal(1)), "amending")
    n = await trader.rest(1, rig.mid - 3 * rig.step, "0.05")
    price = rig.instrument.price(rig.mid - 2 * rig.step)
    await trader.client.amend(rig.symbol, trader.cid(n), price, Decimal("0.03"))
    await until(lambda: [(o.ticks, o.lots) for o in trader.account.open.values()]
                == [(rig.mid - 2 * rig.step, rig.lots("0.03"))], "the amended order")  # fmt: skip
    (shown,) = await trader.client.open_orders()
    assert (shown.client_order_id, shown.price, shown.size) == (trader.cid(n), price, Decimal("0.03"))
    await asyncio.sleep(0.05)
    assert set(trader.kinds(n)) == {"ack"}
    last = [t for t in trader.told if t.id == n][-1]
    assert (last.tick, last.lots) == (rig.mid - 2 * rig.step, rig.lots("0.03"))
    rig.play((SELL, rig.mid - rig.step, rig.lots("1")), (SELL, rig.mid - 2 * rig.step, rig.lots("2")))
    await trader.hears(n, "fill")
    trader.check_fills()


@case(21, "unknown order")
async def unknown(rig: Rig) -> None:
    """To cancel what never was is a CANCEL_REJECT; to ask for it gives None, not an error."""
    trader = await rig.trader()
    n = rig.number()
    assert await trader.client.order(rig.symbol, trader.cid(n)) is None
    await trader.cancel(n)
    await trader.hears(n, "cancel_reject")
    assert trader.kinds(n) == ["cancel_reject"]
