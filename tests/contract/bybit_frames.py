"""Golden frames of Bybit: ``python -m tests.contract.bybit_frames`` records them again from the local exchange.

``life.jsonl`` (beside the shared ``session.jsonl``): a line per frame, {way, raw, decoded}: what the client handed on,
untouched, and what the codec made of it at the time of recording. Read the differences before keeping a new recording:
they are changes of meaning.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from mm.core.instrument import Instrument
from mm.core.types import BID, BUY, EXEC_NAMES, FUNDING, KIND_NAMES, MARK, SELL
from mm.venues.base import Decoded, OrderRequest
from mm.venues.bybit.codec import BybitCodec
from mm.venues.registry import get_venue
from tests.contract.bybit_local import BTC, MID, PREFIX, Heard, local_bybit, price
from tests.contract.conformance.wait import until

FILE: Final = Path(__file__).parent / "frames" / "bybit" / "life.jsonl"
RECV_NS: Final = 1_800_000_000_000_000_000
SIZE: Final = Decimal("0.010")


def new_codec() -> BybitCodec:
    """For BTC alone."""
    return BybitCodec([Instrument.from_dict(BTC)], PREFIX)


def recorded(way: str = "") -> Iterator[tuple[str, bytes, dict[str, Any]]]:
    """(way, raw, decoded) of every frame, or of one way."""
    for line in FILE.read_text().splitlines():
        row = json.loads(line)
        if way in {"", row["way"]}:
            yield row["way"], row["raw"].encode(), row["decoded"]


def plain(decoded: Decoded) -> dict[str, Any]:
    """What a frame said as JSON, without what is empty."""
    events = [[KIND_NAMES[e["kind"]], int(e["tick"]), int(e["lots"]), int(e["flags"])] for e in decoded.events]
    execs = [
        [EXEC_NAMES[e["kind"]], *(int(e[name]) for name in ("id", "side", "lots", "tick", "maker")),
         d.client_order_id, d.venue_order_id, d.trade_id, str(d.fee), d.reason]
        for e, d in zip(decoded.execs, decoded.exec_detail, strict=True)
    ]  # fmt: skip
    news = [[n.kind, n.symbol, str(n.amount), n.text] for n in decoded.news]
    times = sorted({int(x["ts_exch_ns"]) for x in (*decoded.events, *decoded.execs)})
    out = {"events": events, "execs": execs, "news": news, "gap": decoded.gap, "unknown": decoded.unknown,
           "error": decoded.error, "ts_exch_ns": times}  # fmt: skip
    return {key: value for key, value in out.items() if value}


async def _record() -> list[tuple[str, bytes]]:
    venue = get_venue("bybit")
    async with local_bybit() as local:
        public, private = Heard(public=True), Heard()
        market, trader = venue.make_public(local.options, ["BTCUSDT"]), venue.make_trading(local.options)
        running = asyncio.create_task(market.run(public))
        await trader.connect(private)
        await until(lambda: len(public.frames) == 3)
        local.play((BID, MID - 60, 700), (MARK, MID + 3, 0))
        local.play((BUY, MID + 100, 250))
        await until(lambda: len(public.frames) == 6)
        await trader.place("BTCUSDT", "t1-1", 1, price(-50), SIZE)
        await until(lambda: private.kinds(1) == ["ack"])
        local.play((SELL, MID - 50, 4))
        await until(lambda: "fill" in private.kinds(1))
        await trader.amend("BTCUSDT", "t1-1", price(-40), SIZE)
        await until(lambda: private.kinds(1)[-1] == "ack")
        local.play((SELL, MID - 40, 10))
        await until(lambda: private.kinds(1)[-1] == "fill")
        await trader.place("BTCUSDT", "t1-2", 1, price(150), SIZE)  # would cross
        await until(lambda: private.kinds(2) == ["reject"])
        await trader.place("BTCUSDT", "t1-3", 1, Decimal(4000), Decimal("0.001"))
        await until(lambda: private.kinds(3) == ["reject"])
        await trader.place_batch([OrderRequest("BTCUSDT", f"t1-{n}", -1, price(n), SIZE) for n in (60, 70)])
        await until(lambda: private.kinds(70) == ["ack"])
        await trader.cancel("BTCUSDT", "t1-60")
        await until(lambda: private.kinds(60) == ["ack", "canceled"])
        await trader.cancel("BTCUSDT", "t1-60")
        await until(lambda: private.kinds(60)[-1] == "cancel_reject")
        local.face.change_faults({"error_after_accept": 1})
        await trader.cancel("BTCUSDT", "t1-70")
        await until(lambda: private.unknown)
        await trader.place_reduce_only_ioc("BTCUSDT", "t1-4", -1, price(-150), Decimal("0.004"))
        await until(lambda: "fill" in private.kinds(4))
        local.play((FUNDING, MID, 100_000))
        await until(lambda: any(n.kind == "funding" for n in private.news))
        await trader.place("BTCUSDT", "t1-5", 1, price(-50), Decimal(9))
        await until(lambda: private.kinds(5) == ["ack"])
        local.play((SELL, MID - 50, 9_000), (MARK, MID * 8 // 10, 0))
        await until(lambda: any(n.kind == "liquidation" for n in private.news))
        await asyncio.sleep(0.1)
        await market.close()
        await running
        await trader.close()
    return [("public", raw) for raw in public.frames] + [("private", raw) for raw in private.frames]


def _main() -> None:
    codec, lines = new_codec(), []
    for way, raw in asyncio.run(_record()):
        decoded = (codec.decode_public if way == "public" else codec.decode_private)(raw, RECV_NS)
        lines.append(json.dumps({"way": way, "raw": raw.decode(), "decoded": plain(decoded)}))
    FILE.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    _main()
