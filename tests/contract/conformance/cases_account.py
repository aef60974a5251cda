"""Cases 28-32: dead man, reduce-only, leverage, funding, liquidation."""

from __future__ import annotations

import asyncio
from decimal import Decimal

from mm.core.types import BUY, MARK, SELL
from tests.contract.conformance.cases import case
from tests.contract.conformance.rig import Rig
from tests.contract.conformance.wait import until


@case(28, "dead man fires")
async def dead_man(rig: Rig) -> None:
    """Not renewed (or the connection gone) everything is cancelled; disarmed nothing is."""
    trader = await rig.trader()
    caps = trader.caps
    if caps.dead_man_s is None and not caps.dead_man_on_disconnect:
        await rig.refused(trader.client.arm_dead_man(10), "a dead man")
    n = await trader.rest(1, rig.mid - 3 * rig.step, "0.02")
    shortest_s = caps.dead_man_s[0] if caps.dead_man_s else 0.0
    await trader.client.arm_dead_man(shortest_s)
    if caps.dead_man_on_disconnect:
        await asyncio.sleep(0.05)
        assert trader.account.open
        rig.drop("private")
        await until(lambda: trader.ended, "the end of the private connection", 3.0)
    if shortest_s > 0.5:
        rig.ahead_ns = round(shortest_s * 1e9)  # the exchange's clock jumps; clients keep theirs
    await until(lambda: not trader.account.open, "the dead man")
    assert trader.orders()[0].status == "canceled"
    rig.ahead_ns = 0
    if trader.ended:
        await trader.connect()
    else:
        await trader.hears(n, "canceled")
    assert await trader.client.open_orders() == []
    await trader.client.arm_dead_man(shortest_s)
    await trader.client.arm_dead_man(0)
    again = await trader.rest(1, rig.mid - 3 * rig.step, "0.02")
    if caps.dead_man_on_disconnect:
        rig.drop("private")
    rig.ahead_ns = round(shortest_s * 2e9)
    await asyncio.sleep(0.15)
    rig.ahead_ns = 0
    assert len(trader.account.open) == 1, f"order {again} was cancelled by a dead man that was disarmed"


@case(29, "reduce-only")
async def reduce_only(rig: Rig) -> None:
    """The one taker order closes no more than there is, and opens nothing when there is nothing."""
    trader = await rig.trader()
    if not rig.spot:
        n = await trader.reduce(-1, rig.mid - 5 * rig.step, "0.02")
        await trader.hears(n, "reject", "canceled")
        assert (trader.account.n_fills, trader.held()) == (0, 0)
    before = trader.held()
    n = await trader.rest(1, rig.mid, "0.05")
    rig.play((SELL, rig.mid, rig.lots("0.05")))
    await trader.hears(n, "fill")
    n = await trader.reduce(-1, rig.mid - 5 * rig.step, "0.05" if rig.spot else "0.10")
    await trader.hears(n, "fill")
    await until(lambda: trader.held() == before, "the position closed")
    assert [t.maker for t in trader.filled(n)] == [False] * len(trader.filled(n))
    trader.check_fills()
    assert trader.account.n_taker_fills == 1
    assert trader.account.open == {}
    assert (await trader.client.position(rig.symbol)).size == before


@case(30, "leverage and margin")
async def leverage(rig: Rig) -> None:
    """Isolated margin with that leverage in the exchange; to set it again is harmless."""
    trader = await rig.trader()
    if not trader.caps.leverage:
        await rig.refused(trader.client.set_leverage(rig.symbol, 5), "leverage")
    for value in (5, 5, 7):
        await trader.client.set_leverage(rig.symbol, value)
    assert trader.account.leverage[rig.symbol] == 7
    await trader.rest(1, rig.mid - 3 * rig.step, "0.02")


@case(31, "funding payment")
async def funding(rig: Rig) -> None:
    """A settlement is in the history with sign and amount, and in the balance; the rate arrives as an event or not."""
    trader = await rig.trader()
    if not trader.caps.funding:
        await rig.refused(trader.client.funding(0), "funding")
    since_ns = rig.now_ns() - 1_000_000_000
    n = await trader.rest(1, rig.mid, "0.05")
    rig.play((SELL, rig.mid, rig.lots("0.05")))
    await trader.hears(n, "fill")
    balance = (await trader.client.position(rig.symbol)).balance
    rig.exchange.settle(rig.symbol, rig.mid, Decimal("0.0001"), rig.now_ns())
    rig.server.publish()
    paid = -rig.instrument.notional(rig.mid, rig.lots("0.05")) * Decimal("0.0001")
    (payment,) = await trader.client.funding(since_ns)
    assert (payment.symbol, payment.amount) == (rig.symbol, paid)
    assert abs(payment.ts_exch_ns - rig.now_ns()) < 60e9
    assert abs((await trader.client.position(rig.symbol)).balance - balance - paid) < Decimal("0.000001")
    assert await trader.client.funding(rig.now_ns() + 60_000_000_000) == []


@case(32, "liquidation notice")
async def liquidation(rig: Rig) -> None:
    """The venue closes a position that its margin no longer carries: the client is told, and books the executions."""
    if rig.spot:
        rig.skip("spot is never liquidated")
    trader = await rig.trader()
    n = await trader.rest(-1, rig.mid, "0.5")
    rig.play((BUY, rig.mid, rig.lots("0.5")))
    await trader.hears(n, "fill")
    rig.play((MARK, 3 * rig.mid, 0))
    await until(lambda: trader.held() == 0, "the liquidation")
    await until(lambda: any(x.kind == "liquidation" for x in trader.news), lambda: f"the notice, have {trader.news}")
    await until(lambda: len(trader.told) == 3, lambda: f"the execution, have {trader.told}")
    trader.check_fills()
    position = await trader.client.position(rig.symbol)
    assert position.size == 0
    assert abs(position.balance - trader.account.balance(rig.instrument.quote)) < Decimal("0.000001")


@case(39, "positions and balances by the stream")
async def money_news(rig: Rig) -> None:
    """After a fill the stream tells the position (spot: the holding) and the balance, as they are."""
    trader = await rig.trader()
    n = await trader.rest(1, rig.mid, "0.05")
    rig.play((SELL, rig.mid, rig.lots("0.05")))
    await trader.hears(n, "fill")
    quote, held = rig.instrument.quote, trader.held()
    balance = trader.account.balance(quote)

    def told() -> bool:
        last = {(x.kind, x.symbol): x.amount for x in trader.news}
        money = [amount for (kind, name), amount in last.items() if kind == "balance" and name.startswith(quote)]
        holding = last.get(("position", rig.symbol), last.get(("balance", rig.instrument.base)) if rig.spot else None)
        return holding == held and any(abs(m - balance) < Decimal("0.000001") for m in money)

    await until(told, lambda: f"{held} and {balance}, have {trader.news}")
