"""Paradex's binary market data frames (SBE, schema 1, versions 0 to 3), read with ``struct`` and nothing else.

Layout: header of four uint16 (block length, template, schema, version), a block of fixed fields, groups, then texts
with a length byte. A later version appends fields to a block and texts to the end, so both lengths are taken from the
frame. Prices and sizes are integers in 1e-8, times microseconds. Source: docs.paradex.trade, "Binary Encoding (SBE)",
and the schema that paradex-py 0.8.2 decodes (``paradex_py.api.sbe``), against which a test checks this file.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

TRADE: Final = 1
BBO: Final = 2
BOOK: Final = 3
SUMMARY: Final = 4
FUNDING: Final = 5

SCHEMA: Final = b"\x01\x00"  # at bytes 4:6 of every frame; a control character, so never there in JSON
E8: Final = 100_000_000
NULL: Final = -(1 << 63)
HEADER: Final = struct.Struct("<HHHH")
_TRADE: Final = struct.Struct("<qqqBqqqB")
_BOOK: Final = struct.Struct("<qqB")
_SUMMARY: Final = struct.Struct("<qqq")
_FUNDING: Final = struct.Struct("<qqqq")
_GROUP: Final = struct.Struct("<HH")
_LEVEL: Final = struct.Struct("<qq")

Level = tuple[int, int]  # price, size


class Trade(NamedTuple):
    """One match; ``side`` is the aggressor's (1 buy, 2 sell), ``kind`` the venue's (1 fill, 2 liquidation, ...)."""

    ts_us: int
    number: int  # low 64 bits of the venue's id
    side: int
    price: int
    size: int
    kind: int
    market: str


class Book(NamedTuple):
    """A whole book or the levels that changed; size 0 removes a level."""

    ts_us: int
    seq: int
    is_delta: int
    bids: list[Level]
    asks: list[Level]
    market: str


class Summary(NamedTuple):
    """Mark price."""

    ts_us: int
    mark: int
    market: str


class Funding(NamedTuple):
    """Funding that a position of one unit has accrued since the market opened, in quote currency."""

    ts_us: int
    accrued: int
    market: str


def block_of(raw: bytes) -> tuple[int, int]:
    """(template, block length) of a frame; raises ``ValueError`` or ``struct.error``."""
    length, template, _, _ = HEADER.unpack_from(raw)
    if 8 + length > len(raw):
        raise ValueError(f"a block of {length} bytes in a frame of {len(raw)}")
    return template, length


def trade(raw: bytes, length: int) -> Trade:
    """Template 1."""
    _, _, number, side, price, size, created, kind = _TRADE.unpack_from(_fits(raw, length, _TRADE), 8)
    return Trade(created, number, side, price, size, kind, _text(raw, 8 + length))


def book(raw: bytes, length: int) -> Book:
    """Template 3."""
    ts, seq, is_delta = _BOOK.unpack_from(_fits(raw, length, _BOOK), 8)
    bids, at = _levels(raw, 8 + length)
    asks, at = _levels(raw, at)
    return Book(ts, seq, is_delta, bids, asks, _text(raw, at))


def summary(raw: bytes, length: int) -> Summary:
    """Template 4."""
    ts, _, mark = _SUMMARY.unpack_from(_fits(raw, length, _SUMMARY), 8)
    return Summary(ts, mark, _text(raw, 8 + length))


def funding(raw: bytes, length: int) -> Funding:
    """Template 5."""
    ts, _, _, index = _FUNDING.unpack_from(_fits(raw, length, _FUNDING), 8)
    return Funding(ts, index, _text(raw, 8 + length))


def _fits(raw: bytes, length: int, layout: struct.Struct) -> bytes:
    if length < layout.size:
        raise ValueError(f"a block of {length} bytes, {layout.size} expected")
    return raw


def _levels(raw: bytes, at: int) -> tuple[list[Level], int]:
    size, count = _GROUP.unpack_from(raw, at)
    at += 4
    end = at + size * count
    if end > len(raw) or (size < 16 and count):
        raise ValueError(f"a group of {count} entries of {size} bytes at {at} of {len(raw)}")
    if size == 16:
        return list(_LEVEL.iter_unpack(raw[at:end])), end
    return [_LEVEL.unpack_from(raw, k) for k in range(at, end, size)] if count else [], end


def _text(raw: bytes, at: int) -> str:
    end = at + 1 + raw[at]
    if end > len(raw):
        raise ValueError("a text beyond the end of the frame")
    return raw[at + 1 : end].decode()
