"""Golden frames of Hyperliquid: ``python -m tests.contract.hyperliquid_frames`` records them from the local exchange.

One file, in the order in which they came: a small book that moves and trades; orders that rest, fill in part, are
modified and cancelled; a batch of which one would cross; funding; a liquidation.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, Final

from mm.core.types import BID, FUNDING, MARK, SELL
from mm.venues import replies
from mm.venues.hyperliquid.rules import to_cloid
from tests.contract.hyperliquid_local import IOC, Wire, exchange, order

FILE: Final = Path(__file__).parent / "frames" / "hyperliquid" / "session.json"
NOW_NS: Final = 1_790_000_000_123_000_000


def load() -> dict[str, list[bytes]]:
    """Recorded frames: public and private."""
    return {name: [raw.encode() for raw in frames] for name, frames in json.loads(FILE.read_text()).items()}


async def _public(w: Wire) -> None:
    kinds = ("l2Book", "bbo", "trades", "activeAssetCtx")
    async with w.socket(*({"type": kind, "coin": "BTC"} for kind in kinds)) as ws:
        w.play((BID, 99_995, 5))
        await w.heard(lambda: w.of("bbo")[1:])
        w.play((BID, 99_900, 7))
        w.play((SELL, 99_995, 5))
        await w.heard(lambda: w.of("trades"))
        w.play((MARK, 100_003, 0))
        await w.heard(lambda: [d for d in w.of("activeAssetCtx") if d["ctx"]["markPx"] == "100003.0"])
        for method in ("unsubscribe", "subscribe"):
            await ws.send_json({"method": method, "subscription": {"type": "l2Book", "coin": "BTC"}})
        await w.heard(lambda: w.of("subscriptionResponse")[5:])
        await w.heard(lambda: [b for b in w.of("l2Book") if len(b["levels"][0]) == 2])
        await ws.send_json({"method": "ping"})
        await w.heard(lambda: w.told[-1] == {"channel": "pong"})
        await ws.send_json({"method": "subscribe", "subscription": {"type": "l2Book", "coin": "X"}})
        await w.heard(lambda: w.of("error"))


async def _private(w: Wire) -> None:
    def reply(what: Any, op: Any, cid: str, **rest: Any) -> None:
        fields = {"symbol": "BTC", "cid": cid, "side": 1, **rest}
        w.raw.append(replies.frame(replies.Reply(raymaker=what, op=op, **fields)).decode())

    kinds = ("orderUpdates", "userFills", "userEvents", "clearinghouseState")
    async with w.socket(*({"type": kind, "user": w.user} for kind in kinds)):
        legs = (("RM-1", "99000"), ("RM-2", "100010"), ("RM-3", "99001"))
        statuses = await w.place(*(order(cid, px) for cid, px in legs))
        await w.heard(lambda: w.of("orderUpdates"))
        for (cid, px), status in zip(legs, statuses, strict=True):
            reply("ok", "place", cid, px=px, qty="0.01", body=status)
        w.play((BID, 99_995, 0), (BID, 99_990, 0), (BID, 99_900, 0), (SELL, 99_000, 1_400))
        await w.heard(lambda: w.of("userFills")[1:])
        answer = await w.act(
            {"type": "batchModify", "modifies": [{"oid": to_cloid("RM-1"), "order": order("RM-1", "98000")}]}
        )
        await w.heard(lambda: [rows for rows in w.of("orderUpdates") if len(rows) == 2 and rows[1]["status"] == "open"])
        reply("ok", "amend", "RM-1", px="98000", qty="0.01", body=answer["response"]["data"]["statuses"][0])
        cancel = {"type": "cancelByCloid", "cancels": [{"asset": 0, "cloid": to_cloid("RM-1")}] * 2}
        for status in (await w.act(cancel))["response"]["data"]["statuses"]:
            reply("ok", "cancel", "RM-1", side=0, body=status)
        await w.heard(lambda: w.of("orderUpdates")[-1][0]["status"] == "canceled")
        w.play((FUNDING, 100_000, 10_000))
        await w.heard(lambda: w.of("user"))
        await w.place(order("RM-4", "100010", "0.9", tif=IOC))
        await w.heard(lambda: w.of("userFills")[2:])
        w.play((MARK, 50_000, 0))
        await w.heard(lambda: w.of("user")[1:])
        await w.heard(lambda: w.of("userFills")[3:])
        reply("unknown", "place", "RM-5", px="99000", qty="0.01", text="timeout")
        reply("no", "place", "RM-6", px="99000", qty="0.01", text="Invalid nonce: duplicate nonce 5")


async def _record() -> dict[str, list[str]]:
    out = {}
    for name, scene in (("public", _public), ("private", _private)):
        async with exchange(lambda: NOW_NS) as w:
            await scene(w)
            out[name] = list(w.raw)
    return out


def main() -> None:
    """Record."""
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text(json.dumps(asyncio.run(_record()), indent=1) + "\n")


if __name__ == "__main__":
    main()
