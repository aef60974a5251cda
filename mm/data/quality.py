"""How good a tape is: crossed books, agreement with the exchange's own best prices, feed latency; and the report."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from mm.core.book import Levels, apply, new_book
from mm.core.jit import kernel
from mm.core.types import ASK, BID, BUY, CLEAR_ASK, CLEAR_BID, LAST, SELL, SNAPSHOT, Rec, RecArray
from mm.data.store import Store

if TYPE_CHECKING:
    import os

    from rich.table import Table

Column = NDArray[Any]
ImportReport = dict[str, Any]

_SAMPLE: Final = 1_000_000  # rows looked at for latency quantiles, at most
_QUANTILES: Final = {"min": 0.0, "p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999, "max": 1.0}


@kernel
def check(b: Rec, bids: Levels, asks: Levels, void: Levels, e: RecArray, best_bid: Levels, best_ask: Levels) -> int:
    """Apply EVENT rows; write the touch after each (0 without one); return the messages that ended crossed.

    Crossed: the levels as the exchange sent them overlap. In the book the newer side wins, so what a row voids is
    marked in ``void`` (1 + its side) until a later row of the message sets it; marks left at the end are the overlap.
    """
    crossed = 0
    marked = 0
    low = b.n
    high = -1
    for k in range(len(e)):
        kind = int(e[k].kind)
        i = e[k].tick - b.base_tick
        if kind <= ASK and 0 <= i < b.n:
            if void[i] == 1 + kind:
                void[i] = 0
                marked -= 1
            if e[k].lots > 0:
                first = b.ba if kind == BID else i
                last = i if kind == BID else b.bb
                for j in range(first, last + 1):
                    if (asks[j] if kind == BID else bids[j]) > 0:
                        marked += void[j] == 0
                        void[j] = 1 + (ASK if kind == BID else BID)
                        low = min(low, j)
                        high = max(high, j)
        apply(b, bids, asks, kind, int(e[k].tick), int(e[k].lots))
        two_sided = b.bb >= 0 and b.ba < b.n
        best_bid[k] = b.bb + b.base_tick if two_sided else 0
        best_ask[k] = b.ba + b.base_tick if two_sided else 0
        if e[k]["flags"] & LAST:
            if marked > 0:
                crossed += 1
            for j in range(low, high + 1):
                void[j] = 0
            marked = 0
            low = b.n
            high = -1
    return crossed


class Checker:
    """``check`` over a book that persists between blocks, which end with whole messages; ``window``: (base_tick, n)."""

    def __init__(self, window: tuple[int, int]) -> None:
        self.book, self.bids, self.asks = new_book(*window)
        self.void = np.zeros_like(self.bids)
        self.crossed = 0

    def feed(self, events: RecArray) -> tuple[Levels, Levels]:
        """(best bid, best ask) after each row."""
        best_bid, best_ask = np.empty(len(events), np.int64), np.empty(len(events), np.int64)
        self.crossed += check(self.book[0], self.bids, self.asks, self.void, events, best_bid, best_ask)
        return best_bid, best_ask


class TickerCheck:
    """Compares the rebuilt touch at update id ``u`` with the newest bookTicker whose update id is not above ``u``.

    A bookTicker is sent whenever the touch changes, so the two must be equal; both may arrive in any order.
    """

    def __init__(self) -> None:
        self.compared = 0
        self.agreed = 0
        self._touch = np.empty((3, 0), np.int64)
        self._ticker = np.empty((3, 0), np.int64)

    def feed(self, touch: Levels, ticker: Levels) -> None:
        """Rows (update id, best bid, best ask) of shape (3, n), each in order of receipt."""
        touch = np.concatenate([self._touch, touch], axis=1)
        ticker = np.concatenate([self._ticker, ticker], axis=1)
        ticker = ticker[:, np.argsort(ticker[0], kind="stable")]
        if not ticker.shape[1]:
            self._touch = touch
            return
        ready = touch[0] <= ticker[0, -1]
        at = np.searchsorted(ticker[0], touch[0], side="right") - 1
        known = ready & (at >= 0) & (touch[1] > 0)
        self.compared += int(known.sum())
        self.agreed += int(np.all(touch[1:, known] == ticker[1:, at[known]], axis=0).sum())
        self._touch = touch[:, ~ready]
        self._ticker = ticker[:, max(int(at.max(initial=0)), 0) :]

    @property
    def agreement(self) -> float | None:
        """Share of comparisons that agreed; ``None`` without any."""
        return self.agreed / self.compared if self.compared else None


def latency_ms(store: Store) -> dict[str, float]:
    """Quantiles of receive minus exchange time over the messages of a store (snapshots apart), in ms."""
    rows = slice(None, None, max(1, len(store) // _SAMPLE))
    live = (store.flags[rows] & (LAST | SNAPSHOT)) == LAST
    delay = (store.ts_recv_ns[rows] - store.ts_exch_ns[rows])[live]
    if not len(delay):
        return {}
    values = np.quantile(delay, list(_QUANTILES.values())) * 1e-6
    return {name: round(float(value), 6) for name, value in zip(_QUANTILES, values, strict=True)}


def info(path: str | os.PathLike[str]) -> ImportReport:
    """The report of a stored tape: the same keys whether it was imported, recorded or generated."""
    store = Store.open(path)
    return report(store)


def report(store: Store) -> ImportReport:
    """The stored quality figures completed with what the rows themselves say."""
    meta = store.meta
    kinds = np.bincount(store.kind, minlength=8)
    last = (store.flags & LAST) > 0
    basic = {
        "rows": int(np.count_nonzero(last)),
        "events": len(store),
        "trades": int(kinds[SELL] + kinds[BUY]),
        "depth_messages": int(np.count_nonzero(last & ((store.kind <= ASK) | (store.kind == CLEAR_ASK)))),
        "gaps": max(0, int(min(kinds[CLEAR_BID], kinds[CLEAR_ASK])) - 1),
        "bad_lines": 0,
        "span_s": round(store.span_s, 9),
        "first_ts_ns": meta["first_ts_ns"],
        "last_ts_ns": meta["last_ts_ns"],
        "path": str(store.path),
        "source": meta["source"],
        "instrument": meta["instrument"],
        "low_tick": store.low_tick,
        "high_tick": store.high_tick,
        "data_hash": store.data_hash,
    }
    quality = dict(meta["quality"])
    quality.setdefault("feed_latency_ms", latency_ms(store))
    return basic | quality


def render(figures: ImportReport) -> Table:
    """A report as a table of two columns for the terminal."""
    from rich.table import Table

    table = Table(title=f"{figures['instrument']['symbol']} ({figures['source']})", show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for key, value in figures.items():
        if key in ("source", "first_bad_lines"):
            continue
        table.add_row(key.replace("_", " "), _utc(value) if key in ("first_ts_ns", "last_ts_ns") else _text(value))
    for line in figures.get("first_bad_lines", ()):
        table.add_row("bad line", line, style="red")
    return table


def _utc(ts_ns: int) -> str:
    """A time for people and for scripts."""
    seconds, rest = divmod(ts_ns, 1_000_000_000)
    return f"{ts_ns} ({datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}.{rest // 1_000_000:03d} UTC)"


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} {_text(v)}" for k, v in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) and abs(value) < 10**15:
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.6g}"
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    return "-" if value is None else str(value)
