"""Golden frames of MEXC: ``python -m tests.contract.mexc_frames`` records them again from the local exchange.

The scenario is one book, one maker order that fills in two parts, one that is canceled, one that would have crossed.
"""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Final

import aiohttp

from mm.core.types import BID, BUY
from mm.sandbox.faces import mexc_wire
from mm.venues import replies
from mm.venues.mexc.codec import snapshot_frame
from mm.venues.native import wire
from tests.contract.mexc_local import MID, TOKEN, Local, local_mexc

FOLDER: Final = Path(__file__).parent / "frames" / "mexc"
NOW_NS: Final = 1_790_000_000_123_000_000
PUBLIC: Final = ("note_subscribed", "note_refused", "push_1", "push_2", "push_3", "trades", "snapshot")
PRIVATE: Final = (
    "order_new", "balance_base", "deal_1", "order_partly", "deal_2", "order_filled", "order_new_2", "order_canceled",
    "order_post_only", "reply_taken", "reply_refused", "reply_cancel_refused", "reply_unknown",
)  # fmt: skip


def read(name: str) -> bytes:
    """A recorded frame."""
    return (FOLDER / name).read_bytes()


async def _record() -> dict[str, bytes]:
    async with local_mexc(clock=lambda: NOW_NS) as local, aiohttp.ClientSession() as http:
        local.face.trading.post_only_error = False
        return {**await _public(local, http), **await _private(local, http), **_replies()}


async def _public(local: Local, http: aiohttp.ClientSession) -> dict[str, bytes]:
    names = [f"{kind}@10ms@BTCUSDT" for kind in (mexc_wire.DEPTH, mexc_wire.DEALS)]
    out: dict[str, bytes] = {}
    async with http.ws_connect(local.ws + "/ws") as socket:
        await socket.send_json({"method": "SUBSCRIPTION", "params": names})
        out["note_subscribed"] = (await socket.receive()).data.encode()
        await socket.send_json({"method": "SUBSCRIPTION", "params": ["spot@public.aggre.depth.v3.api.pb@1ms@X"]})
        out["note_refused"] = (await socket.receive()).data.encode()
        local.play((BID, MID - 50, 1_000_000))
        out["push_1"] = (await socket.receive()).data
        async with http.get(local.rest + "/api/v3/depth?symbol=BTCUSDT&limit=2") as r:
            out["snapshot"] = snapshot_frame("BTCUSDT", await r.read())
        local.play((BID, MID - 50, 0), (BID, MID - 60, 2_000_000))
        out["push_2"] = (await socket.receive()).data
        local.play((BUY, MID + 100, 250_000))
        got = [(await socket.receive()).data for _ in range(2)]
        out["trades"], out["push_3"] = sorted(got, key=lambda raw: b"aggre.deals" not in raw)
    return out


async def _private(local: Local, http: aiohttp.ClientSession) -> dict[str, bytes]:
    exchange = local.server.exchange
    account = exchange.accounts[TOKEN]
    key = local.face._keys.make(account, NOW_NS)
    out: dict[str, bytes] = {}

    def place(cid: str, px: str, qty: str) -> None:
        exchange.place(
            account, wire.Place(symbol="BTCUSDT", cid=cid, side="sell", px=px, qty=qty, post_only=True), NOW_NS
        )
        local.server.publish()

    async with http.ws_connect(local.ws + "/ws?listenKey=" + key) as socket:

        async def keep(*kept: str) -> None:
            for name in kept:
                raw = (await socket.receive(timeout=2)).data
                if name:
                    out[name] = raw

        topics = [mexc_wire.ORDERS, mexc_wire.OWN_DEALS, mexc_wire.BALANCES]
        await socket.send_json({"method": "SUBSCRIPTION", "params": topics})
        await keep("")
        place("RM-7", "100000.50", "0.010000")
        await keep("order_new", "balance_base", "")
        local.play((BUY, MID + 50, 4_000))
        await keep("deal_1", "order_partly", "", "")
        local.play((BUY, MID + 50, 6_000))
        await keep("deal_2", "order_filled", "", "")
        place("RM-8", "100000.60", "0.020000")
        await keep("order_new_2", "")
        exchange.cancel(account, "RM-8", NOW_NS, "BTCUSDT")
        local.server.publish()
        await keep("order_canceled", "")
        place("RM-9", "99999.00", "0.010000")
        await keep("order_post_only")
    return out


def _replies() -> dict[str, bytes]:
    def reply(what: str, op: str, **rest: object) -> bytes:
        fields = {"symbol": "BTCUSDT", "cid": "RM-10", "side": -1, **rest}
        return replies.frame(replies.Reply(raymaker=what, op=op, **fields))  # type: ignore[arg-type]

    taken = {"symbol": "BTCUSDT", "orderId": "C02__000000000000000099", "orderListId": -1}
    return {
        "reply_taken": reply("ok", "place", px="100000.50", qty="0.010000", body=taken),
        "reply_refused": reply("no", "place", code="30005", text="Oversold"),
        "reply_cancel_refused": reply("no", "cancel", code="-2011", text="Unknown order sent."),
        "reply_unknown": reply("unknown", "place", text="no answer"),
    }


def main() -> None:
    """Record."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, raw in asyncio.run(_record()).items():
        (FOLDER / name).write_bytes(raw)
        print(name, len(raw), hashlib.sha256(raw).hexdigest()[:8])


if __name__ == "__main__":
    main()
