"""Cases 22-27, 33, 34, 37, 38: what the wire and the venue do to requests. Nothing is ever sent twice."""

from __future__ import annotations

import asyncio
import time
from decimal import Decimal

from mm.core.types import SELL
from mm.errors import RaymakerError
from tests.contract.conformance.cases import case
from tests.contract.conformance.rig import Rig, unreachable
from tests.contract.conformance.trader import Trader
from tests.contract.conformance.wait import until


@case(22, "ack lost after accept")
async def ack_lost(rig: Rig) -> None:
    """The outcome is unknown and asked for; exactly one order exists. The same for a cancel."""
    await _unanswered(rig, "ack_lost")


@case(23, "5xx after accept")
async def error_after_accept(rig: Rig) -> None:
    """As 22, with a bad gateway for an answer."""
    await _unanswered(rig, "error_after_accept")


async def _unanswered(rig: Rig, fault: str) -> None:
    trader = await rig.trader(timeout_s=2.0)
    rig.fault(**{fault: 1})
    n = await trader.place(1, rig.mid - 3 * rig.step, "0.02")
    await until(lambda: n in trader.unknown, f"the unknown outcome of order {n}; reported: {trader.told}")
    assert not getattr(rig.faults, fault)
    state = await trader.client.order(rig.symbol, trader.cid(n))
    assert state is not None
    assert state.status == "open"
    await asyncio.sleep(0.2)
    assert trader.account.n_orders == 1, "it was sent again"
    assert set(trader.kinds(n)) <= {"ack"}, "an outcome was invented"
    rig.fault(**{fault: 1})
    await trader.cancel(n)
    await until(lambda: trader.orders()[0].status == "canceled", "the cancel in the exchange")
    await until(lambda: trader.unknown.count(n) == 2, "the unknown outcome of the cancel")
    await trader.hears(n, "canceled")  # by the private stream
    await asyncio.sleep(0.05)
    assert trader.kinds(n).count("canceled") == 1
    assert "cancel_reject" not in trader.kinds(n)
    assert await trader.client.open_orders() == []


@case(24, "429 with backoff")
async def rate_limited(rig: Rig) -> None:
    """A request too many is not executed, not repeated and not taken for a success; the next one goes through."""
    trader = await rig.trader()
    rig.fault(rate_limited=1)
    n = await trader.place(1, rig.mid - 3 * rig.step, "0.02")
    await until(lambda: n in trader.unknown or trader.kinds(n), "an outcome")
    requests = rig.face.counts["requests"] if rig.face else 0
    await asyncio.sleep(0.3)
    assert rig.face is None or rig.face.counts["requests"] - requests <= 2, "it hammers a venue that asked for a pause"
    assert trader.account.n_orders == 0
    assert trader.kinds(n) in ([], ["reject"])
    assert await trader.client.order(rig.symbol, trader.cid(n)) is None
    rig.fault(rate_limited=1)
    async with unreachable("a query that was refused for its rate"):
        await trader.client.open_orders()
    again = await trader.rest(1, rig.mid - 3 * rig.step, "0.02")
    assert trader.kinds(again) == ["ack"]
    assert trader.account.n_orders == 1


@case(25, "clock skew")
async def skew(rig: Rig) -> None:
    """The exchange's clock is 20 s ahead: the client sees it; whatever an order's outcome is, it is the true one."""
    trader = await rig.trader()
    rig.fault(clock_skew_s=20.0)
    assert abs(await trader.client.server_time_ns() - rig.now_ns() - 20e9) < 3e9
    n = await trader.place(1, rig.mid - 3 * rig.step, "0.02")
    await until(lambda: n in trader.unknown or trader.kinds(n), "an outcome")
    await asyncio.sleep(0.05)
    assert trader.kinds(n) in ([], ["ack"], ["reject"])
    assert ("ack" in trader.kinds(n)) <= bool(trader.account.open)
    assert ("reject" in trader.kinds(n)) <= (not trader.account.open)
    rig.fault(clock_skew_s=0.0)
    assert bool(await trader.client.open_orders()) == bool(trader.account.open)
    again = await trader.rest(1, rig.mid - 4 * rig.step, "0.02")
    assert trader.kinds(again) == ["ack"]


@case(26, "auth expiry mid-stream")
async def expiry(rig: Rig) -> None:
    """Access given for half a second: afterwards the client has renewed it or says that it is closed, and trades on."""
    rig.fault(token_life_s=0.5)
    trader = await rig.trader()
    await asyncio.sleep(0.9)
    rig.fault(token_life_s=0.0)
    n = -1
    if not trader.ended:
        try:
            n = await trader.place(1, rig.mid - 3 * rig.step, "0.02")
        except RaymakerError:
            await until(lambda: trader.ended, "the end of a connection that takes no order")
        else:
            await until(lambda: trader.ended or n in trader.unknown or trader.kinds(n), "an outcome or the end")
    if trader.ended:
        await trader.connect()
    again = await trader.rest(1, rig.mid - 4 * rig.step, "0.02")
    assert trader.kinds(again) == ["ack"]
    assert len(await trader.client.open_orders()) == len(trader.account.open)
    rig.play((SELL, rig.mid - 4 * rig.step, 10 * rig.lots("1")))
    await trader.hears(again, "fill")


@case(27, "private stream drop with a fill meanwhile")
async def dropped(rig: Rig) -> None:
    """``closed`` returns; the fill that nobody pushed is in the history, once, and in the position."""
    trader = await rig.trader()
    since_ns = rig.now_ns() - 1_000_000_000
    n = await trader.rest(1, rig.mid, "0.05")
    if rig.face is not None:
        rig.fault(ws_down=True)
    begun = time.perf_counter()
    rig.drop("private")
    rig.play((SELL, rig.mid, rig.lots("0.02")))
    await until(lambda: trader.ended, "the end of the private connection", 3.0)
    if rig.face is not None:
        async with unreachable("a connection that cannot be made"):
            await trader.connect()
        rig.fault(ws_down=False)
    await trader.connect()
    rig.figures["reconnect ms"] = (time.perf_counter() - begun) * 1e3
    (missed,) = await trader.client.fills(since_ns)
    (true,) = trader.account.fills
    assert (missed.client_order_id, missed.size, missed.maker) == (trader.cid(n), Decimal(true.qty), True)
    assert (await trader.client.position(rig.symbol)).size == trader.held()
    rig.play((SELL, rig.mid, rig.lots("0.03")))
    await until(lambda: len({missed.trade_id} | {t.detail.trade_id for t in trader.filled(n)}) == 2, "the second fill")
    assert (await trader.client.fills(since_ns))[0].trade_id == missed.trade_id
    assert trader.account.n_taker_fills == 0


@case(33, "maintenance")
async def maintenance(rig: Rig) -> None:
    """Queries raise, nothing is executed, nothing is taken for a success; afterwards all works again."""
    trader = await rig.trader()
    market = await rig.market()
    rig.fault(maintenance=True)
    async with unreachable("a query under maintenance"):
        await trader.client.open_orders()
    n = await trader.place(1, rig.mid - 3 * rig.step, "0.02")
    await until(lambda: n in trader.unknown or trader.kinds(n), "an outcome")
    assert trader.kinds(n) in ([], ["reject"])
    rig.drop("public")
    await until(lambda: market.ended, "the end of the market data")
    market.start()
    await until(lambda: market.ended, "a refused connection")
    rig.fault(maintenance=False)
    assert trader.account.n_orders == 0
    if trader.ended:
        await trader.connect()
    assert await trader.client.order(rig.symbol, trader.cid(n)) is None
    await trader.rest(1, rig.mid - 3 * rig.step, "0.02")
    market.start()
    await until(market.agrees, "the true book")


@case(34, "shutdown cancels all")
async def shutdown(rig: Rig) -> None:
    """What a process left open, the next one cancels, past every throttle, and sees that nothing is left."""
    first = await rig.trader()
    for k in (2, 3, 4):
        await first.rest(1, rig.mid - k * rig.step, "0.02")
    begun = time.perf_counter()
    await first.close()
    assert time.perf_counter() - begun < 2.0
    second = await rig.trader(account=first.account)
    assert len(await second.client.open_orders()) == 3
    begun = time.perf_counter()
    assert await second.client.cancel_all() == 3
    rig.figures["cancel-all ms"] = (time.perf_counter() - begun) * 1e3
    assert await second.client.open_orders() == []
    assert first.account.open == {}


@case(37, "requests alone down")
async def rest_down(rig: Rig) -> None:
    """Queries raise, an order's outcome is unknown or a refusal, the streams go on; then everything works again."""
    trader, market = await rig.trader(), await rig.market()
    n = await trader.rest(1, rig.mid, "0.05")
    rig.fault(rest_down=True)
    for query in (trader.client.open_orders, trader.client.server_time_ns):
        async with unreachable(query.__name__):
            await query()
    async with unreachable("cancel_all"):
        await trader.client.cancel_all()
    if not trader.account.open:  # cancelled by the socket, and still not verified
        n = await trader.rest(1, rig.mid, "0.05")
    rig.play((SELL, rig.mid, rig.lots("0.02")))
    await trader.hears(n, "fill")
    await until(market.agrees, "the true book")
    rig.fault(rest_down=False)
    trader.check_fills()
    assert await trader.client.cancel_all() == 1


@case(38, "wrong keys")
async def wrong_keys(rig: Rig) -> None:
    """Another account's key is refused by the venue, and no error and no repr shows a key."""
    account = next(rig.unused)
    options = rig.options(account)
    secrets = [str(v) for k, v in options.items() if k not in rig.options() or k == "token"]
    other = rig.options(next(rig.unused))
    changed = max((k for k in options if options[k] != other[k]), key=lambda k: len(str(options[k])))
    trader = Trader(rig, account, {**options, changed: other[changed] if rig.face else "wrong-token-0000"})
    try:
        await trader.connect()
        await trader.client.open_orders()
    except RaymakerError as exc:
        said = [str(exc), repr(exc)]
    else:
        raise AssertionError(f"a client with another {changed} was let in")
    finally:
        await trader.close()
    for text in (*said, repr(trader.client), str(trader.client), *trader.errors):
        assert not any(len(s) > 12 and s in text for s in secrets), "a key was shown"
