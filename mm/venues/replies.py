"""Answers to our own requests as frames, so that the codec alone says what they mean and all of it is recorded.

A client wraps what the venue answered to ``place``, ``amend`` or ``cancel`` and gives it to ``on_frame`` among the
venue's own private frames; the codec recognises it by its first bytes.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from mm.venues.base import OrderRequest

PREFIX: Final = b'{"raymaker":'
Op = Literal["place", "reduce", "amend", "cancel"]


class Reply(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One request and what became of it.

    ``ok``: the venue took it (``body`` its answer); ``no``: the venue refused (``code``, ``text``, ``body``);
    ``unknown``: no usable answer, it may have been executed.
    """

    raymaker: Literal["ok", "no", "unknown"]
    op: Op
    symbol: str
    cid: str
    side: int = 0
    px: str = ""
    qty: str = ""
    code: str = ""
    text: str = ""
    body: Any = None


def request(op: Op, order: OrderRequest) -> Reply:
    """What is sent for an order, its outcome not known yet."""
    return Reply(
        raymaker="unknown",
        op=op,
        symbol=order.symbol,
        cid=order.client_order_id,
        side=order.side,
        px=format(order.price, "f"),
        qty=format(order.size, "f"),
    )


def cancel_request(symbol: str, client_order_id: str) -> Reply:
    """The same for a cancel."""
    return Reply(raymaker="unknown", op="cancel", symbol=symbol, cid=client_order_id)


def not_sent(reply: Reply, why: object) -> None:
    """It never left."""
    reply.raymaker, reply.code, reply.text = "no", "not sent", str(why)


_decode: Final = msgspec.json.Decoder(Reply).decode
_encode: Final = msgspec.json.Encoder().encode


def frame(reply: Reply) -> bytes:
    """A reply as a frame."""
    return _encode(reply)


def parse(raw: bytes) -> Reply | None:
    """The reply in a frame, None when it is the venue's own; raises ``msgspec.MsgspecError`` for a broken one."""
    return _decode(raw) if raw.startswith(PREFIX) else None
