"""Hyperliquid: hourly ``l2Book`` archives (JSON lines in LZ4), and lines of a collector, ``local_ns JSON``.

A line of the archive is ``{"time": ISO, "ver_num": 1, "raw": {"channel": "l2Book", "data": {"coin", "time", "levels":
[bids, asks]}}}`` where the outer time is that of receipt. A collector's line, or a bare WebSocket message, has the
inner object; books and ``trades`` are read. Every book is whole, 20 levels a side: the store keeps what changes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, Final

import orjson

from mm.data.importers.lines import Block
from mm.data.importers.messages import VISIBLE, Malformed, Message, Reading, each_line, near, trade
from mm.data.importers.times import plausible_ns

_REMEMBERED: Final = 10_000  # trades, which a new connection tells again


def messages(blocks: Iterator[Block], reading: Reading) -> Iterator[Message]:
    """Messages of archives or of a collector."""
    told: OrderedDict[Any, None] = OrderedDict()
    for line, where in each_line(blocks):
        try:
            recv_ns, channel, data = _unwrap(line)
            if channel == "l2Book":
                if reading.ours(data["coin"]):
                    yield _book(recv_ns, data, reading, where)
            elif channel == "trades":
                for one in data:
                    if not reading.ours(one["coin"]) or one.get("tid") in told:
                        continue
                    exch_ns = plausible_ns(str(one["time"]))
                    recv = reading.later(exch_ns) if recv_ns is None else recv_ns
                    near(exch_ns, recv)
                    if one.get("tid") is not None:
                        told[one["tid"]] = None
                        if len(told) > _REMEMBERED:
                            told.popitem(last=False)
                    yield trade(one["side"], one["px"], one["sz"], recv, exch_ns, where)
            else:
                reading.other_messages += 1
        except Malformed as exc:
            reading.refuse(where, exc)


def _unwrap(line: bytes) -> tuple[int | None, str, Any]:
    """(time of receipt if it is told, channel, data) of a line."""
    stamp, space, rest = line.strip().partition(b" ")
    if space and stamp.isdigit():
        recv_ns, message = plausible_ns(stamp.decode()), orjson.loads(rest)
    else:
        message = orjson.loads(line)
        recv_ns = None
        if "raw" in message:
            recv_ns, message = plausible_ns(str(message["time"])), message["raw"]
    return recv_ns, message["channel"], message["data"]


def _book(recv_ns: int | None, data: Any, reading: Reading, where: tuple[str, int]) -> Message:
    exch_ns = plausible_ns(str(data["time"]))
    recv = reading.later(exch_ns) if recv_ns is None else recv_ns
    bids, asks = data["levels"]
    text = [x for level in (*bids, *asks) for x in (level["px"], level["sz"])]
    return Message(recv, near(exch_ns, recv), VISIBLE, len(bids), text, where)
