"""The native venue against the real exchange process on a real socket."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Self

import numpy as np
import psutil
import pytest

from mm.core.instrument import Instrument
from mm.core.types import (
    ACK,
    ASK,
    BID,
    CANCEL_REJECT,
    CANCELED,
    CLEAR_ASK,
    CLEAR_BID,
    EVENT,
    EXEC_NAMES,
    FILL,
    FUNDING,
    REJECT,
    SELL,
)
from mm.data.store import StoreWriter
from mm.errors import ConfigError, RaymakerError, VenueUnreachable
from mm.sandbox.process import ExchangeHandle, control, exchange_stats, start_exchange, stop_exchange
from mm.venues.native import wire
from mm.venues.native.client import NativePublicClient, NativeTradingClient
from mm.venues.native.codec import NativeCodec
from mm.venues.registry import get_venue

BUSY = Instrument("BTC-USDT", "native", "linear", Decimal("0.1"), Decimal("0.001"), base="BTC", quote="USDT")
QUIET = Instrument("QUIET", "native", "linear", Decimal("0.5"), Decimal("0.01"), quote="USDT")
SPEC = {
    "control_token": "control-token",
    "instruments": [BUSY.to_dict(), QUIET.to_dict()],
    "accounts": [{"name": f"t{n}", "token": f"token-{n:04d}"} for n in range(40)],
    "background": {"BTC-USDT": {"kind": "synth", "seed": 7, "speed": 10}},
}
LIMIT_S = 20.0

pytestmark = pytest.mark.slow  # it has a clock: too slow for it as plain Python
fresh_account = itertools.count()


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ExchangeHandle]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("NUMBA_DISABLE_JIT", raising=False)  # the flow runs ten times faster than time: compiled, always
        handle = start_exchange(SPEC, tmp_path_factory.mktemp("exchange") / "exchange.log", watch_pid=os.getpid())
    yield handle
    stop_exchange(handle)
    assert handle.process() is None


async def until(condition: Callable[[], Any]) -> Any:
    """Wait until ``condition`` is true and return it."""
    async with asyncio.timeout(LIMIT_S):
        while not (value := condition()):  # noqa: ASYNC110
            await asyncio.sleep(0.002)
        return value


class Book:
    """Public frames, decoded and applied as a feed would."""

    def __init__(self, handle: ExchangeHandle, symbol: str = "BTC-USDT") -> None:
        self.client = NativePublicClient("127.0.0.1", handle.port, [symbol])
        self.codec = NativeCodec([BUSY, QUIET])
        self.symbol = symbol
        self.levels: dict[int, dict[int, int]] = {BID: {}, ASK: {}}
        self.messages = 0
        self.snapshots: list[tuple[int, dict[int, dict[int, int]]]] = []  # seq, book before it
        self.raw: list[bytes] = []

    def on_frame(self, raw: bytes, ts_recv_ns: int) -> None:
        self.messages += 1
        self.raw.append(raw)
        decoded = self.codec.decode_public(raw, ts_recv_ns)
        assert decoded.error == ""
        assert decoded.gap == []
        if raw.startswith(b'{"type":"snapshot"'):
            self.snapshots.append((json.loads(raw)["seq"], {side: dict(book) for side, book in self.levels.items()}))
        for event in decoded.events:
            kind, tick, lots = int(event["kind"]), int(event["tick"]), int(event["lots"])
            if kind in (CLEAR_BID, CLEAR_ASK):
                self.levels[BID if kind == CLEAR_BID else ASK].clear()
            elif kind in (BID, ASK) and lots:
                self.levels[kind][tick] = lots
            elif kind in (BID, ASK):
                self.levels[kind].pop(tick, None)

    @property
    def touch(self) -> tuple[Decimal, Decimal]:
        return BUSY.price(max(self.levels[BID])), BUSY.price(min(self.levels[ASK]))

    async def __aenter__(self) -> Self:
        self.task = asyncio.create_task(self.client.run(self.on_frame))
        await until(lambda: self.snapshots or self.task.done())
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.client.close()
        await self.task


class Trader:
    """One account and what it was told: (kind name, id, reason, lots)."""

    def __init__(self, handle: ExchangeHandle, token: str | None = None) -> None:
        self.token = token or f"token-{next(fresh_account):04d}"
        self.client = NativeTradingClient("127.0.0.1", handle.port, self.token)
        self.codec = NativeCodec([BUSY, QUIET], "RUN")
        self.told: list[tuple[str, int, str, int]] = []
        self.fills: list[Any] = []
        self.news: list[Any] = []
        self.raw: list[bytes] = []

    def on_frame(self, raw: bytes, ts_recv_ns: int) -> None:
        self.raw.append(raw)
        decoded = self.codec.decode_private(raw, ts_recv_ns)
        assert decoded.error == ""
        self.news += decoded.news
        for row, detail in zip(decoded.execs, decoded.exec_detail, strict=True):
            self.told.append((EXEC_NAMES[row["kind"]], int(row["id"]), detail.reason, int(row["lots"])))
            if row["kind"] == FILL:
                self.fills.append((row, detail))

    def of(self, kind: int) -> list[tuple[int, str]]:
        return [(n, reason) for name, n, reason, _ in self.told if name == EXEC_NAMES[kind]]

    async def place(self, cid: str, side: int, price: str, size: str, symbol: str = "QUIET") -> None:
        await self.client.place(symbol, cid, side, Decimal(price), Decimal(size))

    async def __aenter__(self) -> Self:
        await self.client.connect(self.on_frame)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.client.cancel_all()
        await self.client.close()


def scenario(body: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(body(), 2 * LIMIT_S))  # type: ignore[arg-type]


# --- public ----------------------------------------------------------------------------------------------------------
def test_snapshot_and_deltas_equal_a_fresh_snapshot(venue: ExchangeHandle) -> None:
    async def body() -> None:
        async with Book(venue) as book:
            await until(lambda: book.messages > 1_200)
            await book.client.resync("BTC-USDT")
            await until(lambda: len(book.snapshots) == 2)
            deltas = [json.loads(raw) for raw in book.raw if raw.startswith(b'{"type":"depth"')]
            assert sum(d["seq"] <= book.snapshots[1][0] for d in deltas) > 800
            assert book.snapshots[1][1] == _levels(next(r for r in book.raw[2:] if b'"snapshot"' in r[:20]))

    scenario(body)


def _levels(raw: bytes) -> dict[int, dict[int, int]]:
    snapshot = json.loads(raw)
    return {
        kind: {BUSY.ticks(px): BUSY.lots(qty) for px, qty in snapshot[side]}
        for kind, side in ((BID, "bids"), (ASK, "asks"))
    }


def test_instruments_are_discovered(venue: ExchangeHandle) -> None:
    async def body() -> None:
        client = get_venue("native").make_public({"port": venue.port}, ["QUIET"])
        assert await client.instruments() == [BUSY, QUIET]

    scenario(body)


def test_the_public_book_holds_clients_orders(venue: ExchangeHandle) -> None:
    async def body() -> None:
        async with Book(venue, "QUIET") as book, Trader(venue) as a:
            await a.place("RUN-1", 1, "77.5", "0.03")
            await until(lambda: book.levels[BID].get(155) == 3)
            await a.client.cancel("QUIET", "RUN-1")
            await until(lambda: 155 not in book.levels[BID])

    scenario(body)


# --- orders ----------------------------------------------------------------------------------------------------------
def test_maker_fill_by_the_background_and_queries_agree_with_pushes(venue: ExchangeHandle) -> None:
    async def body() -> None:
        async with Book(venue) as book, Trader(venue) as a:
            for n in itertools.count(1):
                bid, ask = book.touch
                await a.place(f"RUN-{2 * n}", 1, str(bid), "0.002", "BTC-USDT")
                await a.place(f"RUN-{2 * n + 1}", -1, str(ask), "0.002", "BTC-USDT")
                await asyncio.sleep(0.3)
                await a.client.cancel_all()
                if {int(row["side"]) for row, _ in a.fills} == {1, -1}:
                    break
            position, history = await a.client.position("BTC-USDT"), await a.client.fills(0)
            assert all(row["maker"] and row["id"] > 0 for row, _ in a.fills)
            assert position.size == sum(int(r["side"]) * BUSY.size(int(r["lots"])) for r, _ in a.fills)
            assert [f.trade_id for f in history] == [d.trade_id for _, d in a.fills]
            assert [f.price for f in history] == [BUSY.price(int(r["tick"])) for r, _ in a.fills]
            assert sum(f.fee for f in history) == sum(d.fee for _, d in a.fills) > 0
            pushed = [json.loads(raw) for raw in a.raw if raw.startswith(b'{"type":"position"')]
            assert Decimal(pushed[-1]["size"]) == position.size
            assert Decimal(pushed[-1]["balance"]) == position.balance
            assert await a.client.open_orders() == []

    scenario(body)


def test_ack_cancel_and_cancel_of_a_canceled_order(venue: ExchangeHandle) -> None:
    async def body() -> None:
        async with Trader(venue) as a:
            await a.place("RUN-1", 1, "50", "0.10")
            await until(lambda: a.of(ACK) == [(1, "")])
            (order,) = await a.client.open_orders()
            assert (order.client_order_id, order.side, order.price, order.size) == ("RUN-1", 1, 50, Decimal("0.10"))
            for _ in range(2):
                await a.client.cancel("QUIET", "RUN-1")
            await until(lambda: a.of(CANCEL_REJECT))
            assert a.told == [("ack", 1, "", 10), ("canceled", 1, "user", 10), ("cancel_reject", 1, "canceled", 0)]

    scenario(body)


def test_amend(venue: ExchangeHandle) -> None:
    async def body() -> None:
        async with Trader(venue) as a:
            await a.place("RUN-1", 1, "50", "0.10")
            for cid, price in (("RUN-1", "49.5"), ("RUN-1", "49.7"), ("RUN-2", "49.5")):
                await a.client.amend("QUIET", cid, Decimal(price), Decimal("0.20"))
            await until(lambda: len(a.of(CANCEL_REJECT)) == 2)
            assert a.told == [
                ("ack", 1, "", 10), ("ack", 1, "", 20), ("cancel_reject", 1, "bad_px", 0),
                ("cancel_reject", 2, "unknown_order", 0),
            ]  # fmt: skip
            (order,) = await a.client.open_orders()
            assert (order.price, order.size) == (Decimal("49.5"), Decimal("0.20"))

    scenario(body)


def test_leverage_funding_and_money(venue: ExchangeHandle) -> None:
    async def body() -> None:
        async with Trader(venue) as a, Trader(venue) as b:
            await a.client.set_leverage("QUIET", 20)
            await a.place("RUN-1", 1, "50", "2")
            await until(lambda: a.of(ACK))
            money = await a.client.account("QUIET")
            assert (money.currency, Decimal(money.initial)) == ("USDT", 5)
            await b.client.place_reduce_only_ioc("QUIET", "RUN-1", -1, Decimal(50), Decimal(2))
            await until(lambda: b.of(REJECT))
            b.client._link.send(wire.Place(symbol="QUIET", cid="RUN-2", side="sell", px="50", qty="2", tif="IOC"))
            await until(lambda: a.fills and b.fills)
            control(venue, wire.Play(token="control-token", symbol="QUIET", rows=[(FUNDING, 100, 1_000_000)]))
            await until(lambda: any(news.kind == "funding" for news in a.news))
            (paid,) = await a.client.funding(0)
            assert (paid.symbol, paid.amount) == ("QUIET", Decimal("-0.1"))
            with pytest.raises(VenueUnreachable, match="bad_leverage"):
                await a.client.set_leverage("QUIET", 999)

    scenario(body)


def test_two_accounts_post_only_and_cancel_of_filled(venue: ExchangeHandle) -> None:
    async def body() -> None:
        async with Trader(venue) as a, Trader(venue) as b:
            await a.place("RUN-1", -1, "60", "0.05")
            await until(lambda: a.of(ACK))
            await b.place("RUN-1", 1, "60", "0.05")  # the same id in another account; it would cross
            await until(lambda: b.of(REJECT) == [(1, "post_only_would_cross")])
            await b.client.place_reduce_only_ioc("QUIET", "RUN-2", 1, Decimal(60), Decimal("0.05"))
            await until(lambda: (2, "reduce_only") in b.of(REJECT))  # flat: nothing to reduce
            b.client._link.send(wire.Place(symbol="QUIET", cid="RUN-3", side="buy", px="60", qty="0.02", tif="IOC"))
            await until(lambda: a.of(FILL) and b.of(FILL))
            (maker, maker_detail), (taker, taker_detail) = a.fills[0], b.fills[0]
            assert (maker["maker"], taker["maker"], maker["lots"], taker["lots"]) == (1, 0, 2, 2)
            assert maker_detail.trade_id == taker_detail.trade_id
            await b.client.place_reduce_only_ioc("QUIET", "RUN-4", -1, Decimal(1), Decimal(1))  # nobody bids
            await until(lambda: b.of(CANCELED) == [(4, "ioc")])
            await a.place("RUN-2", 1, "59", "0.01")
            await b.client.place_reduce_only_ioc("QUIET", "RUN-5", -1, Decimal(59), Decimal(1))
            await until(lambda: len(b.fills) == 2)
            assert int(b.fills[1][0]["lots"]) == 1
            await a.client.cancel("QUIET", "RUN-2")
            await until(lambda: a.of(CANCEL_REJECT) == [(2, "filled")])
            assert (await a.client.position("QUIET")).size == Decimal("-0.01")
            assert (await b.client.position("QUIET")).size == Decimal("0.01")
            stats = exchange_stats(venue)["accounts"]
            assert stats[f"t{int(a.token[-4:])}"]["taker_fills"] == 0
            assert stats[f"t{int(b.token[-4:])}"]["taker_fills"] == 2

    scenario(body)


def test_cancel_all_duplicates_and_bad_numbers(venue: ExchangeHandle) -> None:
    async def body() -> None:
        async with Trader(venue) as a:
            for n in range(1, 6):
                await a.place(f"RUN-{n}", 1, "40", "0.10")
            await a.place("RUN-1", 1, "40", "0.10")
            await a.place("RUN-6", 1, "40.1", "0.10")
            await a.place("RUN-7", 1, "40", "0.001")
            await a.place("RUN-8", 1, "40", "0.10", "NOWHERE")
            await a.place("foreign", 1, "40", "0.10")
            await until(lambda: len(a.told) == 10)
            assert a.of(REJECT) == [(1, "duplicate_cid"), (6, "bad_px"), (7, "bad_qty"), (8, "unknown_symbol")]
            assert a.of(ACK)[-1] == (-1, "")
            assert await a.client.cancel_all() == 6
            assert sorted(n for n, _ in a.of(CANCELED)) == [-1, 1, 2, 3, 4, 5]  # told before the reply
            assert await a.client.cancel_all() == 0

    scenario(body)


def test_dead_man_cancels_when_not_renewed(venue: ExchangeHandle) -> None:
    async def body() -> None:
        async with Trader(venue) as a:
            await a.place("RUN-1", 1, "30", "0.10")
            await a.client.arm_dead_man(0.3)
            await asyncio.sleep(0.2)
            await a.client.arm_dead_man(0.3)
            await asyncio.sleep(0.2)
            assert a.of(CANCELED) == []
            await until(lambda: a.of(CANCELED) == [(1, "dead_man")])
            await a.place("RUN-2", 1, "30", "0.10")
            await a.client.arm_dead_man(0.1)
            await a.client.arm_dead_man(0)
            await asyncio.sleep(0.25)
            assert len(await a.client.open_orders()) == 1

    scenario(body)


def test_orders_outlive_their_connection(venue: ExchangeHandle) -> None:
    async def body() -> None:
        first = Trader(venue)
        await first.client.connect(first.on_frame)
        await first.place("RUN-1", 1, "20", "0.10")
        await until(lambda: first.of(ACK))
        await first.client.close()
        await first.client.closed()
        async with Trader(venue, first.token) as again:
            assert [o.client_order_id for o in await again.client.open_orders()] == ["RUN-1"]

    scenario(body)


# --- what can go wrong -----------------------------------------------------------------------------------------------
def test_errors_of_the_venue_are_typed(venue: ExchangeHandle) -> None:
    async def body() -> None:
        with pytest.raises(VenueUnreachable, match="bad_token"):
            await NativeTradingClient("127.0.0.1", venue.port, "wrong").connect(lambda *_: None)
        with pytest.raises(VenueUnreachable, match="not connected"):
            await NativeTradingClient("127.0.0.1", venue.port, "wrong").open_orders()
        with pytest.raises(VenueUnreachable, match=r"127\.0\.0\.1:1: cannot connect"):
            await NativePublicClient("127.0.0.1", 1, ["QUIET"]).run(lambda *_: None)
        with pytest.raises(VenueUnreachable, match="unknown_symbol"):
            await NativePublicClient("127.0.0.1", venue.port, ["NOWHERE"]).run(lambda *_: None)
        async with Trader(venue) as a:
            with pytest.raises(VenueUnreachable, match="unknown_symbol"):
                await a.client.position("NOWHERE")

    scenario(body)
    with pytest.raises(ConfigError, match="port"):
        get_venue("native").make_trading({"token": "x"})
    with pytest.raises(ConfigError, match="token"):
        get_venue("native").make_trading({"port": 1})
    with pytest.raises(ConfigError, match="known: apex, bybit"):
        get_venue("nowhere")
    with pytest.raises(ConfigError, match="control token"):
        control(venue, wire.Shutdown(token="guess"))


def test_a_failing_listener_ends_the_feed_with_its_own_error(venue: ExchangeHandle) -> None:
    def fail(_raw: bytes, _ts: int) -> None:
        raise KeyError("listener")

    async def body() -> None:
        with pytest.raises(VenueUnreachable, match="listener"):
            await NativePublicClient("127.0.0.1", venue.port, ["QUIET"]).run(fail)

    scenario(body)


def test_garbage_is_answered_counted_and_survived(venue: ExchangeHandle) -> None:
    garbage = [
        b"", b"\xff\xfe", b"{", b"[]", b"7", b'{"op":"fly"}', b'{"op":"place"}', b"[" * 5_000,
        b'{"op":"place","symbol":"QUIET","cid":"x","side":"up","px":"1","qty":"1","req_id":9}',
        b'{"op":"cancel","cid":"x"}',
        b'{"op":"dead_man","timeout_s":-1}', b'{"op":"login","token":"wrong"}',
    ]  # fmt: skip
    before = exchange_stats(venue)["bad_frames"]
    with socket.create_connection(("127.0.0.1", venue.port), LIMIT_S) as link:
        link.sendall(b"".join(wire.LENGTH.pack(len(g)) + g for g in garbage))
        frame = wire.frame(wire.Time(req_id=77))
        for byte in frame:  # a frame in the smallest pieces
            link.sendall(bytes([byte]))
        answers = _read(link, len(garbage) + 1)
        assert {a["type"] for a in answers[:-1]} == {"error"}
        assert [a["code"] for a in answers[:-1]] == ["malformed"] * 9 + ["not_logged_in", "malformed", "bad_token"]
        assert answers[8]["req_id"] == 9
        assert (answers[-1]["type"], answers[-1]["req_id"]) == ("reply", 77)
    assert exchange_stats(venue)["bad_frames"] == before + 10


def _read(link: socket.socket, count: int) -> list[Any]:
    splitter, frames = wire.Splitter(wire.MAX_MESSAGE), []
    while len(frames) < count:
        data = link.recv(1 << 16)
        assert data, "closed early"
        frames += splitter.feed(data)
    return [json.loads(raw) for raw in frames]


def test_oversized_frame_closes_the_connection(venue: ExchangeHandle) -> None:
    with socket.create_connection(("127.0.0.1", venue.port), LIMIT_S) as link:
        link.sendall(wire.LENGTH.pack(wire.MAX_REQUEST + 1) + b"x" * 100)
        assert _read(link, 1)[0]["code"] == "frame_too_long"
        assert link.recv(1) == b""


def test_a_client_that_does_not_read_is_disconnected(venue: ExchangeHandle) -> None:
    before = exchange_stats(venue, 60.0)["slow_clients"]
    with socket.socket() as link:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        link.settimeout(LIMIT_S)
        link.connect(("127.0.0.1", venue.port))
        request = wire.frame(wire.Resync(symbol="BTC-USDT"))
        try:
            for _ in range(100):
                link.sendall(request * 100)
        except OSError:  # reset while we were still asking
            pass
        for _ in range(200):
            if exchange_stats(venue, 60.0)["slow_clients"] > before:
                break
    assert exchange_stats(venue, 60.0)["slow_clients"] == before + 1


def test_a_recorded_store_is_replayed_in_a_loop(tmp_path: Path) -> None:
    events = np.zeros(4, EVENT).view(np.recarray)
    events.ts_exch_ns = events.ts_recv_ns = 1_000_000_000 + 50_000_000 * np.arange(4)
    events.kind, events.tick, events.lots = [BID, ASK, SELL, BID], [100, 110, 100, 100], [5, 7, 2, 3]
    with StoreWriter(tmp_path / "store", QUIET, "test") as writer:
        writer.append(events)
        writer.finish()
    background = {"QUIET": {"kind": "store", "path": str(tmp_path / "store")}}
    handle = start_exchange(_small(background=background), tmp_path / "log", watch_pid=os.getpid())

    async def body() -> None:
        async with Book(handle, "QUIET") as book:
            await until(lambda: sum(raw.startswith(b'{"type":"trades"') for raw in book.raw) > 2)
            bids = [level for raw in book.raw for level in json.loads(raw).get("bids", [])]
            assert {tuple(level) for level in bids} == {("50.0", "0.05"), ("50.0", "0.03")}

    try:
        scenario(body)
    finally:
        stop_exchange(handle)


# --- life and death --------------------------------------------------------------------------------------------------
def _small(**changes: Any) -> dict[str, Any]:
    return {**SPEC, "background": {}, **changes}


def test_shutdown_tells_clients_and_ends_the_process(tmp_path: Path) -> None:
    handle = start_exchange(_small(), tmp_path / "log")
    assert handle.process() is not None

    async def body() -> None:
        trader = Trader(handle, "token-0001")
        await trader.client.connect(trader.on_frame)
        feed = asyncio.create_task(NativePublicClient("127.0.0.1", handle.port, ["QUIET"]).run(lambda *_: None))
        await asyncio.sleep(0.1)
        await asyncio.to_thread(stop_exchange, handle)
        await trader.client.closed()
        with pytest.raises(VenueUnreachable, match="closed the connection"):
            await feed
        with pytest.raises(VenueUnreachable, match="closed the connection"):
            await trader.client.place("QUIET", "RUN-1", 1, Decimal(1), Decimal(1))

    scenario(body)
    assert handle.process() is None
    stop_exchange(handle)  # again: harmless
    with pytest.raises(VenueUnreachable, match="still running"):
        exchange_stats(handle)


def test_sigterm_and_a_vanished_owner_end_the_process(tmp_path: Path) -> None:
    owner = psutil.Popen(["sleep", "60"])
    watched = start_exchange(_small(), tmp_path / "watched", watch_pid=owner.pid)
    told = start_exchange(_small(), tmp_path / "told")
    for handle, end in ((watched, owner.kill), (told, lambda: psutil.Process(told.pid).terminate())):
        process = handle.process()
        assert process is not None
        end()
        assert process.wait(LIMIT_S) in (0, None)
        stop_exchange(handle)
    owner.wait()


def test_a_bad_spec_fails_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(RaymakerError, match="colour"):
        start_exchange(_small(colour="red"), tmp_path / "log")
    with pytest.raises(RaymakerError, match="no such store"):
        start_exchange(
            _small(background={"QUIET": {"kind": "store", "path": str(tmp_path / "nothing")}}), tmp_path / "log"
        )
    with pytest.raises(RaymakerError, match="colours"):
        start_exchange(_small(background={"QUIET": {"kind": "synth", "params": {"colours": 3}}}), tmp_path / "log")
