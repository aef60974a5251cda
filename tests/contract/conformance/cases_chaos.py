"""Cases 48 and 49: everything at once, from a fixed seed; afterwards what is known must be what is true."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np

from mm.core.types import ASK, BID, BUY, SELL
from mm.errors import VenueUnreachable
from mm.sandbox.account import ClientOrder
from tests.contract.conformance.cases import case
from tests.contract.conformance.rig import Rig
from tests.contract.conformance.trader import Trader
from tests.contract.conformance.wait import until

SEED = 48
_STEPS = 60
_SAME = {"rejected": "canceled"}  # an amendment that would cross ends a post-only order in either word
_HARMLESS = ("ack_lost", "error_after_accept", "rate_limited", "duplicate_private")
_LOSING = (*_HARMLESS, "lose_private")


@case(48, "chaos of orders")
async def orders(rig: Rig) -> None:
    """Sixty random orders, cancels, amendments and trades under faults: all that was told is true, nothing was done
    twice, and what was not told is in the answers."""
    rng = np.random.default_rng(SEED)
    trader = await rig.trader()
    since_ns = rig.now_ns() - 1_000_000_000
    sizes = Sent()
    for step in range(_STEPS):
        await _step(rig, trader, rng, sizes, _HARMLESS if step < _STEPS // 2 else _LOSING)
        await asyncio.sleep(0.005)
        if step == _STEPS // 2 and rig.face is not None:
            _quiet(rig)
            await _all_told(rig, trader, sizes)
        if step == 3 * _STEPS // 4:
            rig.drop("private")
            await until(lambda: trader.ended, "the end of the private connection", 3.0)
        if trader.ended:
            _quiet(rig)
            await trader.connect()
    _quiet(rig)
    await asyncio.sleep(0.3)
    await _compare(rig, trader, sizes, since_ns)


async def _step(rig: Rig, trader: Trader, rng: np.random.Generator, sizes: Sent, faults: tuple[str, ...]) -> None:
    what = rng.choice(["place", "place", "place", "cancel", "amend", "trade", "trade", "fault"])
    known = list(sizes)
    try:
        if what == "place":
            size = Decimal("0.02") + rig.instrument.lot_size * len(sizes)
            n = await trader.place(*_quote(rig, rng), size)
            sizes[n] = size
        elif what == "cancel" and known:
            await trader.cancel(int(rng.choice(known)))
        elif what == "amend" and known and trader.caps.amend:
            n = int(rng.choice(known))
            true = _true(rig, trader, sizes[n])
            side = true.last.side if true else 1
            price = rig.instrument.price(rig.mid - side * int(rng.integers(0, 6)) * rig.step)
            await trader.client.amend(rig.symbol, trader.cid(n), price, sizes[n])
            sizes.amends += 1
        elif what == "trade":
            kind, k = (SELL, -1) if rng.integers(2) else (BUY, 1)
            rig.play((kind, rig.mid + k * int(rng.integers(0, 4)) * rig.step, rig.lots("0.03")))
        elif what == "fault" and rig.face is not None:
            rig.fault(**{str(rng.choice(faults)): 1})
    except VenueUnreachable:  # certain not to have been sent, or found by its number later
        pass


def _quote(rig: Rig, rng: np.random.Generator) -> tuple[int, int]:
    """Side and price: mostly passive, sometimes through the other side."""
    side = int(rng.choice([1, -1]))
    return side, rig.mid - side * int(rng.integers(-1, 5)) * rig.step


def _quiet(rig: Rig) -> None:
    if rig.face is not None:
        rig.fault(**dict.fromkeys(_LOSING, 0))


class Sent(dict[int, Decimal]):
    """Sizes of what was sent, by number: every order has a size of its own, by it the exchange's is found."""

    amends = 0


class Truth(NamedTuple):
    """An order in the exchange. ``filled`` counts what went before an amendment that made a new order of it."""

    last: ClientOrder
    filled: int

    @property
    def status(self) -> str:
        return self.last.status


def _true(rig: Rig, trader: Trader, size: Decimal) -> Truth | None:
    """The exchange's order of a size."""
    lots = rig.lots(size)
    found = [o for o in trader.orders() if rig.lots(o.request.qty) == lots]
    assert all(o.status == "canceled" for o in found[:-1]), f"two orders of {size}"
    return Truth(found[-1], sum(o.filled_lots for o in found)) if found else None


async def _all_told(rig: Rig, trader: Trader, sizes: Sent) -> None:
    """No push was lost so far: every end of an order in the exchange has been told, except to who must ask."""

    def missing() -> list[tuple[int, str, list[str]]]:
        out = []
        for n, size in sizes.items():
            true, kinds = _true(rig, trader, size), trader.kinds(n)
            if true is not None and true.status == "canceled" and "canceled" not in kinds and "reject" not in kinds:
                out.append((n, true.status, kinds))
            if true is not None and sum(_lots(trader, n)) != true.filled:
                out.append((n, f"filled {true.filled}", kinds))
            if n not in trader.unknown and not kinds:
                out.append((n, "no outcome", kinds))
        return out

    await until(lambda: not missing(), lambda: f"what was not told: {missing()}")


def _lots(trader: Trader, n: int) -> list[int]:
    return list({t.detail.trade_id: t.lots for t in trader.filled(n)}.values())


async def _compare(rig: Rig, trader: Trader, sizes: Sent, since_ns: int) -> None:
    client, account = trader.client, trader.account
    for n, size in sizes.items():
        true, kinds = _true(rig, trader, size), trader.kinds(n)
        state = await _answer(lambda n=n: client.order(rig.symbol, trader.cid(n)))
        where = f"order {n}: {kinds}, {state}, true {true and (true.status, true.filled)}"
        if true is None or true.status == "rejected":
            assert state is None or state.status in ("rejected", "canceled"), where
            assert "ack" not in kinds or "canceled" in kinds, where
            assert "fill" not in kinds, where
            continue
        assert state is not None, where
        assert _SAME.get(state.status, state.status) == _SAME.get(true.status, true.status), where
        assert rig.lots(state.filled) in (true.filled, true.last.filled_lots), where
        assert "reject" not in kinds or true.status == "canceled", where
        assert "canceled" not in kinds or true.status == "canceled", where
        assert sum(_lots(trader, n)) <= true.filled, where
    history = await _answer(lambda: client.fills(since_ns))
    assert sorted((f.price, f.size, f.side) for f in history) == sorted(
        (Decimal(f.px), Decimal(f.qty), 1 if f.side == "buy" else -1) for f in account.fills
    )
    known = {(f.trade_id, f.client_order_id) for f in history}
    assert len(known) == len(history) == account.n_fills
    assert {(t.detail.trade_id, t.detail.client_order_id) for t in trader.told if t.kind == "fill"} <= known
    assert all(f.maker for f in history)
    assert account.n_taker_fills == 0
    assert account.n_orders <= len(sizes) + sizes.amends, "an order was sent twice"
    assert (await _answer(lambda: client.position(rig.symbol))).size == trader.held()
    open_orders = await _answer(client.open_orders)
    assert sorted(o.size for o in open_orders) == sorted(rig.instrument.size(o.lots) for o in account.open.values())
    await _answer(client.cancel_all)
    assert account.open == {}


async def _answer(query: Callable[[], Awaitable[Any]]) -> Any:
    """A query's answer; the venue's own limit of requests may stand in the way for a moment."""
    for _ in range(5):
        try:
            return await query()
        except VenueUnreachable:
            await asyncio.sleep(0.3)
    return await query()


@case(49, "chaos of market data")
async def market_data(rig: Rig) -> None:
    """Three hundred random changes under lost, repeated and swapped frames, closed and aborted sockets: the book is
    true in the end, and no frame was called bad."""
    rng = np.random.default_rng(SEED)
    market = await rig.market()
    for step in range(300):
        side, k = int(rng.integers(2)), int(rng.integers(1, 12))
        tick = rig.mid + (k if side else -k) * rig.step
        rig.play((ASK if side else BID, tick, int(rng.integers(4)) * rig.lots("0.5")))
        if step % 15 == 14:
            rig.fault(**{str(rng.choice(["lose_public", "duplicate_public", "swap_public"])): int(rng.integers(1, 4))})
        if step in (99, 199):
            rig.drop("public", hard=bool(rng.integers(2)))
        if market.ended:
            market.start()
        await asyncio.sleep(0.002)
    rig.fault(lose_public=2, duplicate_public=0, swap_public=0)
    for k in range(2, 8):
        rig.play((ASK, rig.mid + k * rig.step, rig.lots("2") + k))
        await asyncio.sleep(0.002)
    rig.fault(lose_public=0)
    for k in range(400):  # a frame that is held back goes with the next one; a lost one is noticed by the next
        if market.ended:
            market.start()
        rig.play((BID, rig.mid - rig.step, rig.lots("1") + k))
        await asyncio.sleep(0.01)
        if market.agrees():
            break
    await until(market.agrees, "the true book")
    assert not market.errors
