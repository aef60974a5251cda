"""Bybit's public archives: order books (``..._ob500.data``, zipped JSON lines) and trades (CSV, ``.gz``).

A book line is what the WebSocket sent: ``{"topic","ts","type": "snapshot"|"delta","data": {"s","b","a","u","seq"},
"cts"}``; ``u`` counts messages, 1 or a snapshot begins anew. ``cts`` is the matching engine's time (older files have
``ts`` only), ``ts`` that of the message: received ``base_latency_s`` after it. Trades: the columns of futures
(``timestamp,symbol,side,size,price,...``, in seconds) and of spot (``id,timestamp,price,volume,side``, in ms).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import orjson

from mm.data.importers.lines import Block
from mm.data.importers.messages import CHANGES, LOST, SNAPSHOT, Malformed, Message, Reading, each_line, near, trade
from mm.data.importers.times import plausible_ns


def book(blocks: Iterator[Block], reading: Reading) -> Iterator[Message]:
    """Messages of an order book archive."""
    last: int | None = None
    for line, where in each_line(blocks):
        try:
            raw = orjson.loads(line)
            data = raw["data"]
            if not reading.ours(data["s"]):
                continue
            sent_ns = plausible_ns(str(raw["ts"]))
            exch_ns = near(plausible_ns(str(raw["cts"])), sent_ns) if raw.get("cts") else sent_ns
            u = _whole(data["u"])
            text = [x for level in (*data["b"], *data["a"]) for x in _pair(level)]
            whole = {"snapshot": True, "delta": u == 1}[raw["type"]]
        except Malformed as exc:
            reading.refuse(where, exc)
            continue
        recv_ns = reading.later(sent_ns)
        if not whole and last is not None:
            if u <= last:
                reading.stale += 1
                continue
            if u != last + 1:
                reading.gaps += 1
                yield Message(recv_ns, exch_ns, LOST, 0, [], where)
        last = u
        yield Message(recv_ns, exch_ns, SNAPSHOT if whole else CHANGES, len(data["b"]), text, where)


def trades(blocks: Iterator[Block], reading: Reading) -> Iterator[Message]:
    """Messages of a trade archive."""
    columns: dict[str, int] = {}
    for line, where in each_line(blocks):
        cells = line.decode("utf-8", "replace").strip().split(",")
        if "timestamp" in cells:
            columns = {name: k for k, name in enumerate(cells)}
            columns.setdefault("size", columns.get("volume", -1))
            continue
        try:
            if not reading.ours(cells[columns["symbol"]] if "symbol" in columns else _named(where[0], reading)):
                continue
            exch_ns = plausible_ns(cells[columns["timestamp"]])
            yield trade(cells[columns["side"]], cells[columns["price"]], cells[columns["size"]],
                        reading.later(exch_ns), exch_ns, where)  # fmt: skip
        except Malformed as exc:
            reading.refuse(where, exc)


def _named(file: str, reading: Reading) -> str:
    """The symbol of a spot file, which says it in its name only."""
    found = re.search(r"(?:^|_)([A-Z0-9]{5,})(?=[-_.])", file)
    return reading.symbol or (found[1] if found else "UNKNOWN")


def _whole(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 62:
        raise ValueError(f"update id {value} is not a whole number in range")
    return value


def _pair(level: Any) -> Any:
    if len(level) != 2:
        raise ValueError("a level is not a pair of price and size")
    return level
