"""Tardis CSV: ``incremental_book_L2``, ``book_snapshot_5`` and ``_25``, ``trades`` (plain or ``.gz``, times in µs).

Rows of the book with the same ``local_timestamp`` are one message. A row with ``is_snapshot`` after one without voids
the book. ``book_snapshot`` rows are whole books of so many levels: the store keeps what changes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from mm.data.importers.lines import Block
from mm.data.importers.messages import (
    CHANGES,
    SNAPSHOT,
    VISIBLE,
    Malformed,
    Message,
    Reading,
    each_line,
    near,
    trade,
)
from mm.data.importers.messages import LOST as LOST_CHANGE
from mm.data.importers.times import plausible_ns
from mm.errors import DataError

_BEGIN = b"exchange,symbol,"
_LEVEL = re.compile(r"(bids|asks)\[(\d+)\]\.(price|amount)")


def book(blocks: Iterator[Block], reading: Reading) -> Iterator[Message]:
    """Messages of ``incremental_book_L2``: exchange,symbol,timestamp,local_timestamp,is_snapshot,side,price,amount."""
    key: tuple[str, bool] | None = None
    before = False  # the message before was a snapshot
    bids: list[str] = []
    asks: list[str] = []
    head: tuple[int, int, tuple[str, int]] = (0, 0, ("", 0))

    def message() -> Message:
        what = SNAPSHOT if key is not None and key[1] and not before else CHANGES
        return Message(head[0], head[1], what, len(bids) // 2, bids + asks, head[2])

    for line, where in each_line(blocks, _BEGIN):
        try:
            exchange, symbol, stamp, local, snapshot, side, price, amount = _cells(line)
            reading.venue = reading.venue or exchange
            if not reading.ours(symbol):
                continue
            whole = {"true": True, "false": False}[snapshot]
            levels = {"bid": bids, "ask": asks}[side]
            if (local, whole) != key:
                recv_ns = plausible_ns(local)
                exch_ns = near(plausible_ns(stamp), recv_ns)
                if key is not None:
                    yield message()
                    before = key[1]
                bids, asks = [], []
                levels = bids if side == "bid" else asks
                key, head = (local, whole), (recv_ns, exch_ns, where)
            levels += (price, amount)
        except Malformed as exc:
            reading.refuse(where, exc)
            if key is not None:  # the level that it was about is unknown from now on
                yield message()
                reading.gaps += 1
                yield Message(head[0], head[1], LOST_CHANGE, 0, [], where)
                key, before = None, False
                bids, asks = [], []
    if key is not None:
        yield message()


def snapshots(blocks: Iterator[Block], reading: Reading) -> Iterator[Message]:
    """Messages of ``book_snapshot_N``; the header says which column is which."""
    columns: dict[str, list[tuple[int, int]]] = {}
    for line, where in each_line(blocks):
        if line.startswith(_BEGIN):
            columns = _levels(line.decode("utf-8", "replace").strip().split(","))
            continue
        try:
            cells = _cells(line)
            reading.venue = reading.venue or cells[0]
            if not reading.ours(cells[1]):
                continue
            recv_ns = plausible_ns(cells[3])
            exch_ns = near(plausible_ns(cells[2]), recv_ns)
            bids, asks = ([cells[k] for at in columns[side] if cells[at[0]] for k in at] for side in ("bids", "asks"))
            yield Message(recv_ns, exch_ns, VISIBLE, len(bids) // 2, bids + asks, where)
        except Malformed as exc:
            reading.refuse(where, exc)


def trades(blocks: Iterator[Block], reading: Reading) -> Iterator[Message]:
    """Messages of ``trades``: exchange,symbol,timestamp,local_timestamp,id,side,price,amount."""
    for line, where in each_line(blocks, _BEGIN):
        try:
            exchange, symbol, stamp, local, _, side, price, amount = _cells(line)
            reading.venue = reading.venue or exchange
            if not reading.ours(symbol):
                continue
            if side == "unknown":
                reading.other_messages += 1
                continue
            recv_ns = plausible_ns(local)
            yield trade(side, price, amount, recv_ns, near(plausible_ns(stamp), recv_ns), where)
        except Malformed as exc:
            reading.refuse(where, exc)


def _cells(line: bytes) -> list[str]:
    return line.decode().rstrip("\r").split(",")


def _levels(names: list[str]) -> dict[str, list[tuple[int, int]]]:
    """(column of the price, of the amount) of each level, the best first."""
    at = {m.groups(): k for k, name in enumerate(names) if (m := _LEVEL.fullmatch(name))}
    depth = 1 + max((int(level) for _, level, _ in at), default=-1)
    try:
        return {side: [(at[side, str(k), "price"], at[side, str(k), "amount"]) for k in range(depth)]
                for side in ("bids", "asks")}  # fmt: skip
    except KeyError as exc:
        raise DataError(f"the header of a book_snapshot file has no column for {exc}") from exc
