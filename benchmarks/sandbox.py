"""The local exchange: public messages and orders a second of one core, on its own wire and on every venue's.

An exchange process serves a client in this process: the venue's real library, signatures and all. Rates count against
the processor time of the exchange process, so they are those of one core whatever else the machine does; the wall rates
beside them include the client, which signs and decodes on the other core and is slower than the exchange.
``--only VENUE`` measures one.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import msgspec
import psutil

from benchmarks.common import Report, arguments
from mm.core.instrument import Instrument
from mm.core.types import ACK, ASK, BID, CANCELED, REJECT
from mm.data.synth import SynthSpec
from mm.data.synth_like import MID_USD, market_params
from mm.sandbox.faces import FACES, local_keys
from mm.sandbox.process import ExchangeHandle, control, exchange_stats, start_exchange, stop_exchange
from mm.sandbox.spec import HOST, AccountSpec, BackgroundSpec, ExchangeSpec
from mm.venues.native import wire
from mm.venues.registry import VENUES, Venue, get_venue
from mm.venues.specs import venue_spec

HMAC: Final = ("native", "bybit", "mexc")  # no curve arithmetic in their signatures
PUBLIC_PER_S: Final = 5_000
TOKEN: Final = "token-of-the-benchmark"  # noqa: S105  of an exchange that lives for seconds on the loopback
CONTROL: Final = "control-of-the-benchmark"
SPEED: Final = 10.0  # of the flow: a busy market, and still a message for every change of it
SPAN_S: Final = 5.0
IN_FLIGHT: Final = 16
IN_ONE: Final = 100  # orders between two cancel-alls: no venue's limit of open orders is near


def instruments(venue: str) -> list[Instrument]:
    """Two markets of a venue."""
    if venue != "native":
        return [venue_spec(venue).instrument(base) for base in ("BTC", "ETH")]
    return [replace(SynthSpec().instrument, symbol=f"{base}-USDT", base=base) for base in ("BTC", "ETH")]


class Exchange:
    """A running exchange process and how to reach it."""

    def __init__(self, handle: ExchangeHandle, venue: Venue, listed: list[Instrument]) -> None:
        self.handle, self.venue, self.listed = handle, venue, listed
        self.process = psutil.Process(handle.pid)
        where = f"{HOST}:{handle.face_port}"
        self.options: dict[str, Any] = {"network": "local", "rest_url": f"http://{where}", "ws_url": f"ws://{where}"}
        if venue.name == "native":
            self.options = {"port": handle.port, "token": TOKEN}
        else:
            self.options |= local_keys(venue.name, TOKEN)

    def cpu_s(self) -> float:
        """Processor seconds of the exchange so far."""
        times = self.process.cpu_times()
        return times.user + times.system


async def until(condition: Callable[[], bool]) -> None:
    """Wait for it, a minute at most."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110  what is waited for comes by callbacks of a library
            await asyncio.sleep(0.001)


@asynccontextmanager
async def exchange(venue: str, folder: Path, speed: float | None) -> AsyncIterator[Exchange]:
    """An exchange of a venue, with a flow of that speed or none."""
    listed = instruments(venue)
    flows = {}
    for n, instrument in enumerate(listed):
        if speed is not None:
            flows[instrument.symbol] = BackgroundSpec(
                kind="synth", seed=n + 1, speed=speed, params=market_params(instrument)
            )
    held = {i.symbol: "100" for i in listed if i.kind == "spot"}
    spec = ExchangeSpec(
        control_token=CONTROL, instruments=[i.to_dict() for i in listed], background=flows, limits=False,
        accounts=[AccountSpec(name="a", token=TOKEN, balance="1000000000", positions=held)],
        face="" if venue == "native" else venue,
    )  # fmt: skip
    handle = await asyncio.to_thread(
        start_exchange, msgspec.to_builtins(spec), folder / f"{venue}.log", os.getpid(), 180
    )
    try:
        yield Exchange(handle, get_venue(venue), listed)
    finally:
        await asyncio.to_thread(stop_exchange, handle)


async def public(report: Report, venue: str, folder: Path) -> float:
    """Messages a second with one subscriber to books, trades and marks of both markets."""
    async with exchange(venue, folder, SPEED) as ex:
        seen: list[int] = []
        client = ex.venue.make_public(ex.options, [i.symbol for i in ex.listed])
        task = asyncio.create_task(client.run(lambda raw, _ns: seen.append(len(raw))))
        await until(lambda: len(seen) >= 20 or task.done())
        first, frames, cpu, begin = exchange_stats(ex.handle), len(seen), ex.cpu_s(), time.perf_counter()
        await asyncio.sleep(SPAN_S)
        wall = time.perf_counter() - begin
        cpu, frames = ex.cpu_s() - cpu, len(seen) - frames
        messages = exchange_stats(ex.handle)["public_messages"] - first["public_messages"]
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await client.close()
    report.case(f"public_{venue}", messages / cpu, unit="messages/s of a core", higher_is_better=True)
    report.case(f"public_{venue}_delivered", frames / wall, unit="frames/s at this load", higher_is_better=True)
    report.notes[f"public_{venue}"] = {"messages_per_s": round(messages / wall), "core_used": round(cpu / wall, 3)}
    return messages / cpu


async def orders(report: Report, venue: str, folder: Path, count: int) -> float:
    """Post-only orders a second, each acknowledged, none filled; 0 when one was not taken."""
    async with exchange(venue, folder, None) as ex:
        listed = ex.listed[0]
        mid = int(MID_USD["BTC"] / float(listed.tick_size))
        rows = [(BID, mid - 5, 1_000_000), (ASK, mid + 5, 1_000_000)]
        control(ex.handle, wire.Play(token=CONTROL, symbol=listed.symbol, rows=rows))
        codec = ex.venue.make_codec(ex.listed, "B")
        told: Counter[int] = Counter()
        reasons: set[str] = set()

        def on_frame(raw: bytes, ts_ns: int) -> None:
            decoded = codec.decode_private(raw, ts_ns)
            told.update(decoded.execs["kind"].tolist())
            reasons.update(filter(None, [decoded.error, *(detail.reason for detail in decoded.exec_detail)]))

        client = ex.venue.make_trading(ex.options)
        await client.connect(on_frame)
        size = listed.size(listed.min_lots(mid) * 2)
        step = max(1, int(mid * 1e-5))
        sent = 0

        def room() -> bool:
            return sent - told[ACK] - told[REJECT] < IN_FLIGHT

        async def send(n: int) -> tuple[float, float]:
            """(processor seconds of the exchange, wall seconds) of some orders, which are cancelled then."""
            nonlocal sent
            cpu, begin = ex.cpu_s(), time.perf_counter()
            for _ in range(n):
                await until(room)
                sent += 1
                await client.place(listed.symbol, f"B-{sent}", 1, listed.price(mid - 20 - sent % 50 * step), size)
            await until(lambda: told[ACK] + told[REJECT] >= sent)
            taken = ex.cpu_s() - cpu, time.perf_counter() - begin
            await client.cancel_all()
            await until(lambda: told[CANCELED] >= told[ACK])
            return taken

        await send(20)
        parts = [await send(IN_ONE) for _ in range(-(-count // IN_ONE))]
        cpu, wall = (sum(column) for column in zip(*parts, strict=True))
        count = len(parts) * IN_ONE
        await client.close()
        counted = exchange_stats(ex.handle)["orders"]
    report.case(f"orders_{venue}", count / cpu, unit="orders/s of a core", higher_is_better=True)
    report.case(f"orders_{venue}_wall", count / wall, unit="orders/s, client and all", higher_is_better=True)
    report.notes[f"orders_{venue}"] = {
        "sent": sent, "acknowledged": told[ACK], "refused": told[REJECT], "why": sorted(reasons)[:3]
    }  # fmt: skip
    return count / cpu if told[ACK] == sent == counted else 0.0


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", help="one venue")
    parser.add_argument("--orders", type=int, default=400, help="how many per venue")


def main() -> None:
    """Measure every venue that has both a face and an adapter."""
    args = arguments(__doc__, _options)
    venues = ["native", *(venue for venue in FACES if venue in VENUES)]
    if args.only:
        venues = [args.only]
    report = Report("sandbox", "synthetic flow")
    worst = float("inf")
    with tempfile.TemporaryDirectory() as folder:
        for venue in venues:
            worst = min(worst, asyncio.run(public(report, venue, Path(folder))))
            rate = asyncio.run(orders(report, venue, Path(folder), args.orders))
            wanted = 500 if venue in HMAC else 150
            report.check(f"orders_ge_{wanted}_{venue}", rate >= wanted)
    report.check(f"public_ge_{PUBLIC_PER_S}", worst >= PUBLIC_PER_S)
    report.notes["load_average"] = os.getloadavg()[0]
    report.print(as_json=args.json)


if __name__ == "__main__":
    main()
