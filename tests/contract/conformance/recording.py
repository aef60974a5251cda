"""Golden frames: a short session of a venue as its clients received it, and what the codec made of each frame.

``python -m tests.contract.conformance --record VENUE`` writes ``tests/contract/frames/VENUE/conformance.jsonl``.
A codec must always make the same of it; the fuzz test starts from it.
"""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from typing import Any, Literal

import msgspec

from mm.core.types import ASK, BID, BUY, EXEC_NAMES, KIND_NAMES, MARK, SELL
from mm.venues.base import Codec, Decoded
from tests.contract.conformance.market import PREFIX, Market
from tests.contract.conformance.rig import NATIVE, Rig
from tests.contract.conformance.trader import Trader
from tests.contract.conformance.wait import until

FRAMES = Path(__file__).resolve().parents[1] / "frames"
TS_RECV_NS = 1_700_000_000_000_000_000

Stream = Literal["public", "private"]


class Recorded(msgspec.Struct):
    """One frame and what it says (``summary``)."""

    stream: Stream
    text: str = ""
    binary: str = ""  # base64, where the frame is no text
    says: dict[str, Any] = {}

    @property
    def raw(self) -> bytes:
        return base64.b64decode(self.binary) if self.binary else self.text.encode()


def path_of(venue: str) -> Path:
    """Where a venue's session lies."""
    return FRAMES / venue.removeprefix("ccxt:") / "conformance.jsonl"


def load(venue: str) -> list[Recorded]:
    """A recorded session."""
    return [msgspec.json.decode(line, type=Recorded) for line in path_of(venue).read_bytes().splitlines()]


def codec_of(venue: str) -> Codec:
    """A fresh codec as the session wants it."""
    from mm.venues.registry import get_venue
    from mm.venues.specs import venue_spec

    instrument = NATIVE if venue == "native" else venue_spec(venue).instrument("BTC")
    return get_venue(venue).make_codec([instrument], PREFIX)


def decode(codec: Codec, stream: Stream, raw: bytes) -> Decoded:
    """One frame of a stream."""
    return (codec.decode_public if stream == "public" else codec.decode_private)(raw, TS_RECV_NS)


def summary(decoded: Decoded) -> dict[str, Any]:
    """What a frame says, as plain data; empty parts are left out."""
    out: dict[str, Any] = {
        "events": [
            [KIND_NAMES[e["kind"]], int(e["tick"]), int(e["lots"]), int(e["flags"]), int(e["ts_exch_ns"])]
            for e in decoded.events
        ],
        "execs": [
            [EXEC_NAMES[e["kind"]], int(e["id"]), int(e["lots"]), int(e["tick"]), int(e["side"]), int(e["maker"]),
             d.client_order_id, d.trade_id, str(d.fee), d.reason]
            for e, d in zip(decoded.execs, decoded.exec_detail, strict=True)
        ],
        "gap": decoded.gap,
        "news": [[n.kind, n.symbol, str(n.amount)] for n in decoded.news],
        "unknown": decoded.unknown,
        "error": decoded.error,
    }  # fmt: skip
    return {name: part for name, part in out.items() if part}


async def _play(rig: Rig, market: Market, trader: Trader) -> None:
    """A little of everything."""
    step, mid, one = rig.step, rig.mid, rig.lots("1")
    for k in range(8):
        rig.play((BID, mid - (k + 1) * step, one + k), (ASK, mid + (k + 1) * step, (k % 3) * one))
        await asyncio.sleep(0.01)
    rig.play((SELL, mid - step, one // 4), (BUY, mid + 2 * step, one // 8))
    if not rig.spot:
        rig.play((MARK, mid + 3 * step, 0))
    n = await trader.rest(1, mid, "0.05")
    for size in ("0.02", "0.03"):
        rig.play((SELL, mid, rig.lots(size)))
    await until(lambda: len(trader.filled(n)) == 2)
    n = await trader.rest(-1, mid + 20 * step, "0.02")
    await trader.cancel(n)
    await trader.hears(n, "canceled")
    await trader.cancel(n)
    await trader.hears(n, "cancel_reject")
    n = await trader.place(1, mid + 30 * step, "0.02")  # it would cross
    await trader.hears(n, "reject", "canceled")
    n = await trader.place(1, 0, "0.02", rig.instrument.price(mid) + rig.instrument.tick_size / 2)
    await trader.hears(n, "reject")
    n = await trader.reduce(-1, mid - 9 * step, "0.02")
    await trader.hears(n, "fill")
    if rig.face is not None:
        rig.fault(ack_lost=1)
        n = await trader.place(1, mid - 9 * step, "0.02")
        await until(lambda: n in trader.unknown)
        await trader.client.cancel_all()
    await until(market.agrees)


async def _session(venue: str) -> list[Recorded]:
    rig = Rig(venue)
    await rig.start()
    await rig.begin()
    market, trader = await rig.market(), await rig.trader()
    try:
        await _play(rig, market, trader)
    finally:
        await rig.end()
        await rig.stop()
    codec = codec_of(venue)
    out = []
    streams: tuple[tuple[Stream, list[bytes]], ...] = (("public", market.raw), ("private", trader.raw))
    for stream, frames in streams:
        for raw in frames:
            says = summary(decode(codec, stream, raw))
            try:
                out.append(Recorded(stream, text=raw.decode("ascii"), says=says))
            except UnicodeDecodeError:
                out.append(Recorded(stream, binary=base64.b64encode(raw).decode(), says=says))
    return out


def record(venue: str) -> Path:
    """Write a venue's session; returns its path."""
    path = path_of(venue)
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({k: v for k, v in msgspec.to_builtins(r).items() if v}) for r in asyncio.run(_session(venue))]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
