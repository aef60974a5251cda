"""Our own orders out of a recorded public stream: the market as it would have looked without them.

A recorded book holds our resting orders, and recorded trades hold those against us; a simulation on it puts its own
orders there again. The rules, and why (docs/replay.md has the reasoning):

* a level is its public quantity minus what we rested there at the exchange's time of the message; a message that only
  our own orders caused stays as one that changes nothing, because the strategy was woken and looked at it;
* a trade against us stays: its aggressor would have hit whoever stood there instead;
* except when the aggressor was a maker's new quote that our order stood in the way of (after the message the other
  side's book is at or beyond our price): without us there is no trade, and that quote rests with its full size.

The stream must come from one clock: reports and public messages stamped by the same exchange process, a message after
everything that it tells of.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mm.core.types import (
    ACK,
    ASK,
    BID,
    BUY,
    CANCELED,
    CLEAR_ASK,
    CLEAR_BID,
    EVENT,
    FILL,
    LAST,
    SELL,
    SNAPSHOT,
)

_SIDE: Final = {BID: 1, ASK: -1}
_AGGRESSOR: Final = {BUY: 1, SELL: -1}
Row = tuple[int, int, int, int, int, int, int]  # in the order of EVENT's fields


class Report(NamedTuple):
    """What the exchange said about one of our orders (``mm.core.types.EXEC``), at its time."""

    ts_exch_ns: int
    kind: int
    id: int
    side: int
    tick: int
    lots: int


@dataclass(slots=True)
class Netting:
    """State of the netting of one instrument, and what it met."""

    reports: list[Report]  # in the exchange's order
    quiet: int = 0  # messages of our own orders only
    crossed: int = 0  # quotes that our order stood in the way of
    short: int = 0  # levels that showed less than we thought we had there: reports are missing
    _at: int = 0
    _orders: dict[int, list[int]] = field(default_factory=dict)  # id -> [side, tick, lots]
    _own: dict[tuple[int, int], int] = field(default_factory=dict)  # (side, tick) -> lots
    _public: dict[tuple[int, int], int] = field(default_factory=dict)
    _others: dict[tuple[int, int], int] = field(default_factory=dict)  # public without ours
    _lost: dict[tuple[int, int], int] = field(default_factory=dict)  # what a quote there lost to us, while it rests
    _shown: dict[tuple[int, int], int] = field(default_factory=dict)  # what the netted book says
    _moved: set[tuple[int, int]] = field(default_factory=set)  # levels where we changed since the last book message

    def message(self, frames: list[NDArray[Any]]) -> list[NDArray[Any]]:
        """The frames of one publication (equal ``ts_exch_ns``) without us, each with at least one row."""
        fills = self._advance(int(frames[0]["ts_exch_ns"][0]))
        rows = [frame.tolist() for frame in frames]
        absorbed = self._absorbed(rows, fills) if fills else {}
        out = [self._frame(r, absorbed, fills) or [self._quiet(r[-1])] for r in rows]
        for frame in out:
            frame[-1] = (*frame[-1][:-1], frame[-1][-1] | LAST)
        return [np.array(frame, EVENT) for frame in out]

    def _quiet(self, row: Row) -> Row:
        """A row that says again what the netted book says."""
        self.quiet += 1
        ts, recv, _, tick, i, kind, flags = row
        kind = {BUY: ASK, SELL: BID}.get(kind, kind)
        return ts, recv, self._shown.get((_SIDE[kind], tick), 0), tick, i, kind, flags & ~LAST

    def _advance(self, ts_ns: int) -> list[Report]:
        """Our orders at a time of the exchange; returns the fills since the last call."""
        fills = []
        while self._at < len(self.reports) and self.reports[self._at].ts_exch_ns <= ts_ns:
            r = self.reports[self._at]
            self._at += 1
            if r.kind == ACK:
                self._orders[r.id] = [r.side, r.tick, 0]
                self._rest(r.id, r.lots)
            elif r.kind == FILL:
                fills.append(r)
                self._rest(r.id, -r.lots)
            elif r.kind == CANCELED and r.id in self._orders:
                self._rest(r.id, -self._orders[r.id][2])
        return fills

    def _rest(self, order: int, lots: int) -> None:
        if order not in self._orders:  # filled without an acknowledgement on record
            return
        o = self._orders[order]
        o[2] += lots
        level = (o[0], o[1])
        self._own[level] = self._own.get(level, 0) + lots
        self._moved.add(level)
        if o[2] <= 0:
            del self._orders[order]
        if self._own[level] <= 0:
            del self._own[level]

    def _absorbed(self, frames: list[list[Row]], fills: list[Report]) -> dict[tuple[int, int], int]:
        """(side, tick) of a quote that met our order -> lots that it lost there; those fills leave ``fills``."""
        out: dict[tuple[int, int], int] = {}
        for fill in list(fills):
            quotes = [
                ((fill.tick - tick) * fill.side, tick)
                for frame in frames
                for _, _, lots, tick, _, kind, _ in frame
                if _SIDE.get(kind) == -fill.side and lots > 0 and (fill.tick - tick) * fill.side >= 0
            ]
            if quotes:
                level = (-fill.side, min(quotes)[1])  # the nearest: quotes advance price by price, it came first
                out[level] = out.get(level, 0) + fill.lots
                self.crossed += 1
            else:
                fills.remove(fill)  # an aggressor's: its trade stays
        return out

    def _frame(self, rows: list[Row], absorbed: dict[tuple[int, int], int], fills: list[Report]) -> list[Row]:
        out: list[Row] = []
        book = False
        for row in rows:
            ts, recv, lots, tick, i, kind, flags = row
            flags &= ~LAST
            if kind in _SIDE:
                book = True
                level = (_SIDE[kind], tick)
                self._public[level] = lots
                self._moved.discard(level)
                self._show(out, (ts, recv, lots, tick, i, kind, flags), level, absorbed.pop(level, 0))
            elif kind in (CLEAR_BID, CLEAR_ASK):
                out.append((ts, recv, lots, tick, i, kind, flags))
                self._forget(1 if kind == CLEAR_BID else -1, tick)
            elif kind in _AGGRESSOR and _take(fills, _AGGRESSOR[kind], tick, lots):
                continue
            else:
                out.append((ts, recv, lots, tick, i, kind, flags))
        if book:
            ts, recv, _, _, i, _, flags = rows[-1]
            for level in sorted(self._moved):
                kind = BID if level[0] > 0 else ASK
                row = (ts, recv, self._public.get(level, 0), level[1], i, kind, flags & SNAPSHOT)
                self._show(out, row, level, 0)
            self._moved.clear()
        return out

    def _show(self, out: list[Row], row: Row, level: tuple[int, int], lost: int) -> None:
        """A level row with our lots taken off, unless the netted book says so already."""
        others = row[2] - self._own.get(level, 0)
        if others < 0:
            self.short += 1
            others = 0
        if lost:
            self._lost[level] = lost
        elif others != self._others.get(level, 0):
            self._lost.pop(level, None)  # set anew by those who quote there
        self._others[level] = others
        lots = others + self._lost.get(level, 0)
        if lots != self._shown.get(level, 0):
            self._shown[level] = lots
            out.append((*row[:2], lots, *row[3:]))

    def _forget(self, side: int, tick: int) -> None:
        for book in (self._public, self._others, self._lost, self._shown):
            for level in [v for v in book if v[0] == side and (v[1] - tick) * side >= 0]:
                del book[level]


def _take(fills: list[Report], aggressor: int, tick: int, lots: int) -> bool:
    """Whether a trade is one of these fills (which is then used up)."""
    for k, f in enumerate(fills):
        if (f.side, f.tick, f.lots) == (-aggressor, tick, lots):
            del fills[k]
            return True
    return False


def publications(frames: Iterable[NDArray[Any]]) -> Iterator[list[NDArray[Any]]]:
    """Frames of events, in order, put together where the exchange published them at one time."""
    held: list[NDArray[Any]] = []
    for frame in frames:
        if len(frame) == 0:
            continue
        if held and held[0]["ts_exch_ns"][0] != frame["ts_exch_ns"][0]:
            yield held
            held = []
        held.append(frame)
    if held:
        yield held
