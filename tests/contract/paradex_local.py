"""A local Paradex in this event loop, with two accounts and a small book; and the recorder of the golden frames.

``python -m tests.contract.paradex_local`` writes tests/contract/frames/paradex anew: a session with a clock that only
moves when told to, over real sockets and through the real clients.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from mm.core.instrument import Instrument
from mm.core.types import ASK, BID, BUY, FUNDING, MARK, SELL
from mm.sandbox.faces.paradex import ParadexFace, local_keys
from mm.sandbox.server import Server
from mm.sandbox.spec import HOST, parse_spec
from mm.venues.base import OrderRequest
from mm.venues.paradex.client import ParadexPublicClient, ParadexTradingClient
from mm.venues.paradex.venue import VENUE
from tests.contract.conformance.wait import until
from tests.contract.local_server import running

FRAMES: Final = Path(__file__).parent / "frames" / "paradex"
NOW_NS: Final = 1_790_000_000_123_000_000
SYMBOL: Final = "BTC-USD-PERP"
BTC: Final = Instrument(
    SYMBOL, "paradex", "linear", Decimal("0.1"), Decimal("0.00001"), Decimal(100), base="BTC", quote="USD",
    maker_fee=Decimal("0.00003"), taker_fee=Decimal("0.0002"),
)  # fmt: skip
ETH: Final = replace(BTC, symbol="ETH-USD-PERP", tick_size=Decimal("0.01"), lot_size=Decimal("0.0001"), base="ETH")
MID: Final = 600_000  # ticks: 60,000
ONE: Final = 100_000  # lots of one bitcoin
PREFIX: Final = "c0ffee00"


class Local:
    """``clock_ns`` None: the true clock."""

    def __init__(self, clock_ns: int | None = None, instruments: Sequence[Instrument] = (BTC,)) -> None:
        spec = {
            "control_token": "control-token", "instruments": [i.to_dict() for i in instruments], "face": "paradex",
            "accounts": [{"name": "a", "token": "token-of-a"}, {"name": "b", "token": "token-of-b"}],
        }  # fmt: skip
        self.at_ns = clock_ns
        raw = parse_spec(json.dumps(spec).encode(), "spec")
        self.server = Server(raw) if clock_ns is None else Server(raw, lambda: self.at_ns or 0)
        assert isinstance(self.server.face, ParadexFace)
        self.face = self.server.face
        self.exchange = self.server.exchange
        self.account = self.exchange.accounts["token-of-a"]
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def play(self, *rows: tuple[int, int, int]) -> None:
        """Anonymous flow, told to everybody."""
        self.exchange.background(SYMBOL, rows, self.server.clock_ns())
        self.server.publish()

    def options(self, token: str = "token-of-a", **more: Any) -> dict[str, Any]:
        return {"rest_url": self.url, "ws_url": f"ws://{HOST}:{self.port}", **local_keys(token), **more}

    def public(self, **more: Any) -> ParadexPublicClient:
        client = VENUE.make_public(self.options(**more), [SYMBOL])
        assert isinstance(client, ParadexPublicClient)
        return client

    def trading(self, **more: Any) -> ParadexTradingClient:
        client = VENUE.make_trading(self.options(**more))
        assert isinstance(client, ParadexTradingClient)
        return client


@asynccontextmanager
async def local(
    clock_ns: int | None = None, instruments: Sequence[Instrument] = (BTC,)
) -> AsyncIterator[Local]:  # fmt: skip
    one = Local(clock_ns, instruments)
    async with running(one.server) as one.port:
        one.play((BID, MID - 10, ONE), (BID, MID - 20, 2 * ONE), (ASK, MID + 10, ONE), (ASK, MID + 20, 3 * ONE))
        yield one


# --- recording -------------------------------------------------------------------------------------------------------
async def _record_public(*, binary: bool) -> list[bytes]:
    """Snapshot, changes, a trade, a mark, a settlement."""
    frames: list[bytes] = []
    async with local(NOW_NS) as one:
        client = one.public()
        if not binary:
            make = client._make_socket
            client._make_socket = lambda f, **kw: make(f, **(kw | {"binary": False}))  # type: ignore[method-assign]
        run = asyncio.create_task(client.run(lambda raw, _: frames.append(raw)))
        await until(lambda: len(frames) >= 3)
        steps: list[tuple[int, int, int]] = [
            (BID, MID - 5, ONE // 2), (ASK, MID + 10, 0), (MARK, MID + 3, 0), (SELL, MID - 5, ONE // 4),
            (BUY, MID + 20, ONE), (FUNDING, MID, 100_000),
        ]  # fmt: skip
        for step in steps:
            known = len(frames)
            one.at_ns = (one.at_ns or 0) + 7_000_000
            one.play(step)
            await until(lambda known=known: len(frames) > known)
            await asyncio.sleep(0.05)
        await client.close()
        await asyncio.gather(run, return_exceptions=True)
    return frames


async def _record_private() -> list[bytes]:
    """Orders to each of their ends, fills, a position, a funding payment, refusals."""
    frames: list[bytes] = []
    async with local(NOW_NS) as one:
        client = one.trading()
        await client.connect(lambda raw, _: frames.append(raw))

        async def step(work: Any) -> None:
            known = len(frames)
            one.at_ns = (one.at_ns or 0) + 7_000_000
            await work
            await until(lambda: len(frames) > known)
            await asyncio.sleep(0.05)

        price, size = BTC.price, BTC.size
        await step(client.place(SYMBOL, f"{PREFIX}-1", 1, price(MID), size(ONE // 100)))
        one.play((SELL, MID, ONE // 200))
        await asyncio.sleep(0.05)
        await step(client.amend(SYMBOL, f"{PREFIX}-1", price(MID - 1), size(ONE // 100)))
        await step(client.cancel(SYMBOL, f"{PREFIX}-1"))
        await step(client.cancel(SYMBOL, f"{PREFIX}-1"))
        await step(client.place(SYMBOL, f"{PREFIX}-2", 1, price(MID + 50), size(ONE // 100)))
        await step(client.place(SYMBOL, f"{PREFIX}-3", 1, price(MID) + Decimal("0.05"), size(ONE // 100)))
        legs = [OrderRequest(SYMBOL, f"{PREFIX}-{n}", -1, price(MID + n), size(ONE // 100)) for n in (4, 5)]
        await step(client.place_batch(legs))
        one.at_ns = (one.at_ns or 0) + 7_000_000
        one.exchange.settle(SYMBOL, MID, Decimal("0.0001"), one.at_ns)
        one.server.publish()
        await asyncio.sleep(0.05)
        await step(client.place_reduce_only_ioc(SYMBOL, f"{PREFIX}-6", -1, price(MID - 20), size(ONE // 100)))
        await step(client.cancel_all())
        await client.close()
    return frames


def _write(name: str, frames: list[bytes]) -> None:
    FRAMES.mkdir(parents=True, exist_ok=True)
    lines = [raw.decode() if raw[:1] == b"{" and raw[4:6] != b"\x01\x00" else f"hex:{raw.hex()}" for raw in frames]
    (FRAMES / f"{name}.txt").write_text("".join(line + "\n" for line in lines))


def read(name: str) -> list[bytes]:
    """Recorded frames."""
    lines = (FRAMES / f"{name}.txt").read_text().splitlines()
    return [bytes.fromhex(line[4:]) if line.startswith("hex:") else line.encode() for line in lines]


def main() -> None:
    """Record all."""
    _write("public_sbe", asyncio.run(_record_public(binary=True)))
    _write("public_json", asyncio.run(_record_public(binary=False)))
    _write("private", asyncio.run(_record_private()))


if __name__ == "__main__":
    main()
