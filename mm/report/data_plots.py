"""A picture of a tape: mid with trades, spread, traded volume, and the depth around the touch over time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from mm.core.book import Levels, apply, new_book
from mm.core.jit import kernel
from mm.core.types import BUY, LAST, SELL, Rec
from mm.data.store import Store

if TYPE_CHECKING:
    import os

_COLUMNS: Final = 900  # points in time
_RANGE_BPS: Final = 5.0  # of depth on either side of the mid
_BINS: Final = 40  # of depth per side
_TRADES: Final = 20_000  # drawn, at most
_BLUE, _RED, _GREY = "#2166ac", "#b2182b", "#666666"


@kernel
def _scan(
    b: Rec,
    bids: Levels,
    asks: Levels,
    kind: NDArray[Any],
    flags: NDArray[Any],
    tick: NDArray[Any],
    lots: NDArray[Any],
    ts_ns: NDArray[Any],
    edges_ns: Levels,
    bin_ticks: float,
    touch: Levels,
    depth: NDArray[np.float64],
) -> None:
    """At each edge: the touch (column 0 and 1, 0 without one) and the lots per distance bin (bids left, asks right)."""
    bins = depth.shape[1] // 2
    at = 0
    best_bid = 0
    best_ask = 0
    for k in range(len(kind)):
        while at < len(edges_ns) and ts_ns[k] > edges_ns[at]:
            touch[at, 0] = best_bid
            touch[at, 1] = best_ask
            if best_bid > 0:
                middle = 0.5 * (b.bb + b.ba)
                for j in range(max(0, int(middle - bins * bin_ticks)), b.bb + 1):
                    place = int((middle - j) / bin_ticks)
                    if place < bins:
                        depth[at, bins - 1 - place] += bids[j]
                for j in range(b.ba, min(b.n, int(middle + bins * bin_ticks) + 1)):
                    place = int((j - middle) / bin_ticks)
                    if place < bins:
                        depth[at, bins + place] += asks[j]
            at += 1
        kd = int(kind[k])
        apply(b, bids, asks, kd, int(tick[k]), int(lots[k]))
        if flags[k] & LAST:
            shown = b.bb >= 0 and b.ba < b.n
            best_bid = b.bb + b.base_tick if shown else 0
            best_ask = b.ba + b.base_tick if shown else 0


def sample(store: Store, columns: int = _COLUMNS) -> tuple[Levels, Levels, NDArray[np.float64], float]:
    """(times ns, touch (n, 2) in ticks, depth (n, 2 bins) in lots, ticks per bin) at equally spaced receive times."""
    first, last = store.meta["first_ts_ns"], store.meta["last_ts_ns"]
    edges = np.linspace(first, last - 1, columns + 1)[1:].astype(np.int64)
    bin_ticks = max(1.0, _RANGE_BPS * 1e-4 * 0.5 * (store.low_tick + store.high_tick) / _BINS)
    book, bids, asks = new_book(*store.book_window())
    touch = np.zeros((len(edges), 2), np.int64)
    depth = np.zeros((len(edges), 2 * _BINS))
    _scan(
        book[0],
        bids,
        asks,
        store.kind,
        store.flags,
        store.tick,
        store.lots,
        store.ts_recv_ns,
        edges,
        bin_ticks,
        touch,
        depth,
    )
    return edges, touch, depth, bin_ticks


def plot_store(path: str | os.PathLike[str], out_png: str | os.PathLike[str]) -> Path:
    """Draw the store at ``path`` to ``out_png``; returns the picture's path. Raises ``DataError`` for a bad store."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure

    store = Store.open(path)
    out = Path(out_png)
    edges, touch, depth, bin_ticks = sample(store)
    start_ns = store.meta["first_ts_ns"]
    seconds = (edges - start_ns) * 1e-9
    size = float(store.instrument.tick_size)
    shown = touch[:, 0] > 0
    mid = np.where(shown, touch.sum(axis=1) * 0.5 * size, np.nan)

    figure = Figure(figsize=(12, 10), layout="constrained")
    FigureCanvasAgg(figure)
    price, spread, volume, book = figure.subplots(4, 1, sharex=True, height_ratios=(3, 1, 1, 2))

    _draw_trades(price, store, start_ns, size)
    price.plot(seconds, mid, color="black", lw=0.8, label="mid")
    price.set_ylabel(f"price, {store.instrument.quote or 'quote'}")
    price.legend(loc="upper left", ncols=3, frameon=False, markerscale=3)
    price.ticklabel_format(axis="y", useOffset=False)

    spread.plot(seconds, np.where(shown, touch[:, 1] - touch[:, 0], np.nan), color=_GREY, lw=0.6)
    spread.set_ylabel("spread, ticks")
    spread.set_yscale("log")

    _draw_volume(volume, store, start_ns, seconds[-1])

    reach = _BINS * bin_ticks * size / (0.5 * (store.low_tick + store.high_tick) * size) * 1e4
    lots = np.where(depth.T > 0, depth.T, np.nan)
    if np.isfinite(lots).any():
        image = book.imshow(
            lots,
            aspect="auto",
            origin="lower",
            extent=(seconds[0], seconds[-1], -reach, reach),
            norm=LogNorm(),
            cmap="viridis",
            interpolation="nearest",
        )
        figure.colorbar(image, ax=book, label="lots", pad=0.01)
    book.axhline(0, color="white", lw=0.5)
    book.set_ylabel("distance from mid, bps")
    book.set_xlabel(f"seconds since {np.datetime64(start_ns, 'ns').astype('datetime64[s]')} UTC")

    instrument = store.instrument
    figure.suptitle(f"{instrument.symbol} on {instrument.venue}: {len(store):,} events, {store.span_s:,.1f} s")
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=110)
    return out


def _draw_trades(axes: Any, store: Store, start_ns: int, size: float) -> None:
    for kind, color, name in ((BUY, _BLUE, "buys"), (SELL, _RED, "sells")):
        rows = np.flatnonzero(store.kind == kind)
        rows = rows[:: max(1, len(rows) // _TRADES)]
        at = (store.ts_recv_ns[rows] - start_ns) * 1e-9
        axes.plot(at, store.tick[rows] * size, ".", ms=2, color=color, alpha=0.35, label=name, rasterized=True)


def _draw_volume(axes: Any, store: Store, start_ns: int, span_s: float) -> None:
    bins = np.linspace(0, span_s, 181)
    for kind, color, sign in ((BUY, _BLUE, 1), (SELL, _RED, -1)):
        rows = np.flatnonzero(store.kind == kind)
        at = (store.ts_recv_ns[rows] - start_ns) * 1e-9
        total, _ = np.histogram(at, bins, weights=store.lots[rows] * float(store.instrument.lot_size))
        axes.bar(bins[:-1], sign * total, width=np.diff(bins), align="edge", color=color)
    axes.axhline(0, color="black", lw=0.5)
    axes.set_ylabel(
        "traded\n" + ("contracts" if store.instrument.kind == "inverse" else store.instrument.base or "base")
    )
