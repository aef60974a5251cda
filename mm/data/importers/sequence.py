"""Which depth messages make the book: sequence numbers, snapshots, gaps.

One rule serves every Binance market once a diff is read as "the changes from ``prev_u`` to ``u``" (futures say
``prev_u`` as ``pu``; spot says ``U``, and ``prev_u = U - 1``): a book that stands at update id ``last`` ignores a diff
with ``u <= last``, takes one with ``prev_u <= last < u``, and has a gap when ``prev_u > last``. A REST snapshot puts
the book at its ``lastUpdateId``.

A snapshot is often older than diffs that were received before it. Then the exchange's rule is to take the snapshot
first and those newer diffs after it. (hftbacktest's converter writes every diff where it was received, so the snapshot
undoes the newer ones; and it shows the diffs before the first snapshot as if they were a book.) Here diffs without a
book to apply to wait for their snapshot: the stale ones are dropped, the newer ones follow the snapshot in the same
message. When no snapshot comes within ``SNAPSHOT_WAIT_NS`` the waiting diffs are applied to an empty book, which then
fills up slowly: the report calls that stretch a partial book.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

SNAPSHOT_WAIT_NS: Final = 10_000_000_000

DIFF: Final = 0
SNAP: Final = 1

CLEAR: Final = 1  # void the book first
LEVELS: Final = 2  # then the message's own rows
REBUILD: Final = 4  # flag the rows SNAPSHOT
END: Final = 8  # flag the last row LAST


@dataclass(slots=True)
class Plan:
    """What to write for each message of one block; ``replays`` lists the diffs that follow a snapshot."""

    bits: Ints
    replays: dict[int, list[int]] = field(default_factory=dict)
    gaps: list[int] = field(default_factory=list)
    stale: list[int] = field(default_factory=list)
    unused_snapshots: list[int] = field(default_factory=list)
    used_snapshots: list[int] = field(default_factory=list)
    partial: list[int] = field(default_factory=list)  # diffs written to a book that never had a snapshot
    cut: int = 0  # messages from here on come again with the next block


@dataclass(slots=True)
class Sequencer:
    """State between blocks: synced (the book stands at ``last``), filling (partial book at ``last``) or waiting."""

    last: int = -1
    synced: bool = False
    filling: bool = False
    _waiting: list[int] = field(default_factory=list)

    def plan(self, bits: Ints, depth: Ints, what: Ints, recv_ns: Ints, prev_u: Ints, u: Ints, *, final: bool) -> Plan:
        """Decide for the messages ``depth`` (indices) of a block; ``what`` is DIFF or SNAP, others already have bits.

        Unless ``final``, diffs still waiting at the end are left for the next block (``cut``).
        """
        out = Plan(bits, cut=len(bits))
        self._waiting = []
        rows = zip(depth.tolist(), what[depth].tolist(), prev_u[depth].tolist(), u[depth].tolist(), strict=True)
        for i, kind, before, new in rows:
            if kind == SNAP:
                self._snapshot(out, i, new, prev_u, u)
            elif self.synced or self.filling:
                self._diff(out, i, before, new)
            else:
                self._wait(out, i, before, recv_ns, prev_u, u)
        if self._waiting:
            if final:
                self._fill(out, prev_u, u)
            else:
                out.cut = self._waiting[0]
        return out

    def _diff(self, out: Plan, i: int, before: int, new: int) -> None:
        if new <= self.last:
            out.stale.append(i)
        elif before <= self.last:
            out.bits[i] = LEVELS | END
            self.last = new
            if self.filling:
                out.partial.append(i)
        else:
            out.gaps.append(i)
            out.bits[i] = CLEAR | REBUILD | END
            self.synced = self.filling = False
            self._waiting = [i]

    def _wait(self, out: Plan, i: int, before: int, recv_ns: Ints, prev_u: Ints, u: Ints) -> None:
        if self._waiting and before > u[self._waiting[-1]]:
            out.gaps.append(i)
            self._waiting = []
        self._waiting.append(i)
        if recv_ns[i] - recv_ns[self._waiting[0]] > SNAPSHOT_WAIT_NS:
            self._fill(out, prev_u, u)

    def _fill(self, out: Plan, prev_u: Ints, u: Ints) -> None:
        """No snapshot came: start an empty book with the diffs that waited."""
        first, *others = self._waiting
        self._waiting = []
        self.filling = True
        self.last = int(u[first])
        out.bits[first] = CLEAR | LEVELS | REBUILD | END
        out.partial.append(first)
        for i in others:
            self._diff(out, i, int(prev_u[i]), int(u[i]))

    def _snapshot(self, out: Plan, i: int, at: int, prev_u: Ints, u: Ints) -> None:
        newer = [d for d in self._waiting if u[d] > at]
        too_old = (prev_u[newer[0]] > at) if newer else self.filling and self.last > at
        if self.synced or too_old:
            out.unused_snapshots.append(i)
            return
        out.used_snapshots.append(i)
        out.stale += [d for d in self._waiting if u[d] <= at]
        out.bits[i] = CLEAR | LEVELS | REBUILD | (0 if newer else END)
        if newer:
            out.replays[i] = newer
        self.last = int(u[newer[-1]]) if newer else at
        self.synced, self.filling = True, False
        self._waiting = []
