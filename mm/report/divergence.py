"""The picture of a replay: live and simulated fills, positions and profit of one run, and why fills differ."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np

from mm.core.instrument import Instrument
from mm.sim.divergence import CAUSES, SAME, Divergence, Fill

_COLOURS: Final = {
    "queue_position": "tab:orange", "latency": "tab:red", "other_price": "tab:blue", "follows": "tab:purple",
    "own_footprint": "tab:brown",
}  # fmt: skip


def draw_divergence(
    path: str | Path, d: Divergence, instrument: Instrument, latency_ms: dict[str, Any], title: str = ""
) -> None:
    """Write a PNG: price with the fills, position and profit of both worlds, causes, measured latencies.

    Args:
        path: the file.
        d: what ``mm.sim.divergence.diverge`` found.
        instrument: for prices and sizes.
        latency_ms: name -> array of measured delays, ms.
        title: above the picture.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.dates import DateFormatter
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13.0, 11.0), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(4, 2, height_ratios=(3.2, 1.3, 1.3, 1.6))
    price = figure.add_subplot(grid[0, :])
    position = figure.add_subplot(grid[1, :], sharex=price)
    profit = figure.add_subplot(grid[2, :], sharex=price)
    _draw_fills(price, d, float(instrument.tick_size))
    lot = float(instrument.lot_size)
    for fills, name, style in ((d.live, "live", _LIVE), (d.sim, "simulated", _SIM)):
        when = _times([f.ts_ns for f in fills])
        position.step(when, np.cumsum([f.side * f.lots for f in fills]) * lot, where="post", label=name, **style)
        ns, usd = _profit(fills, d.mids, instrument.unit_value())
        profit.plot(_times(ns), usd, label=name, **style)
    position.set_ylabel(f"position, {instrument.base or 'base'}")
    profit.set_ylabel("profit, quote\n(marked at the mid)")
    for axis in (position, profit):
        axis.axhline(0.0, color="grey", lw=0.5)
        axis.legend(loc="upper left", fontsize=8, ncols=2)
    profit.xaxis.set_major_formatter(DateFormatter("%H:%M:%S"))  # type: ignore[no-untyped-call]
    _draw_causes(figure.add_subplot(grid[3, 0]), d)
    _draw_latency(figure.add_subplot(grid[3, 1]), latency_ms)
    figure.suptitle(title, fontsize=11)
    figure.savefig(path, dpi=110)


_LIVE: Final[dict[str, Any]] = {"color": "black", "lw": 2.2, "alpha": 0.45}
_SIM: Final[dict[str, Any]] = {"color": "tab:green", "lw": 1.0}


def _times(ns: Any) -> Any:
    return np.array([datetime.fromtimestamp(t / 1e9, UTC) for t in ns], dtype=object)


def _draw_fills(axis: Any, d: Divergence, tick: float) -> None:
    axis.plot(_times(d.mids[:, 0]), d.mids[:, 1] * tick, color="silver", lw=0.8, label="mid", zorder=1)
    for world, marks in (("live", ("^", "v")), ("sim", ("2", "1"))):
        for side, mark in zip((1, -1), marks, strict=True):
            some = d.pairs[(d.pairs[f"{world}_ns"] > 0) & (d.pairs["side"] == side)]
            both = some[some["cause"] == SAME]
            label = f"{'bought' if side > 0 else 'sold'}, both" if world == "live" else None
            if world == "live" and len(both):
                axis.scatter(_times(both["live_ns"]), both["tick"] * tick, marker=mark, s=14, color="grey", label=label)
            for code, cause in enumerate(CAUSES):
                differ = some[some["cause"] == code]
                if code == SAME or len(differ) == 0:
                    continue
                axis.scatter(
                    _times(differ[f"{world}_ns"]), differ["tick"] * tick, marker=mark, s=60, zorder=3,
                    color=_COLOURS[cause], label=f"{'only live' if world == 'live' else 'only simulated'}: {cause}",
                )  # fmt: skip
    handles, labels = axis.get_legend_handles_labels()
    kept = dict(zip(labels, handles, strict=True))
    axis.legend(kept.values(), kept.keys(), loc="upper left", fontsize=8, ncols=3, framealpha=0.6)
    axis.ticklabel_format(axis="y", useOffset=False)
    axis.set_ylabel("price")


def _profit(fills: list[Fill], mids: Any, unit_value: float) -> tuple[Any, Any]:
    """Profit before fees at each kept mid."""
    ns = mids[:, 0]
    at = np.searchsorted([f.ts_ns for f in fills], ns, side="right")
    pos = np.concatenate([[0.0], np.cumsum([f.side * f.lots for f in fills])])
    cash = np.concatenate([[0.0], np.cumsum([-f.side * f.lots * f.tick for f in fills])])
    return ns, (cash[at] + pos[at] * mids[:, 1]) * unit_value


def _draw_causes(axis: Any, d: Divergence) -> None:
    names = [name for name in CAUSES if name != "same"]
    for world, left in (("live", -1), ("sim", 1)):
        counts = [
            int(np.count_nonzero((d.pairs["cause"] == CAUSES.index(n)) & (d.pairs[f"{world}_ns"] > 0))) for n in names
        ]
        axis.barh(names, [left * c for c in counts], color=[_COLOURS[n] for n in names], alpha=0.8)
        for y, count in enumerate(counts):
            if count:
                axis.text(left * count, y, f" {count} ", va="center", ha="right" if left < 0 else "left", fontsize=8)
    axis.axvline(0.0, color="black", lw=0.6)
    axis.margins(x=0.15)
    axis.set_title(
        f"fills that differ: only live (left), only simulated (right); {d.figures['fills_same']:,} are the same",
        fontsize=9,
    )
    axis.xaxis.set_major_formatter(lambda x, _: f"{abs(x):.0f}")
    axis.tick_params(labelsize=8)


def _draw_latency(axis: Any, latency_ms: dict[str, Any]) -> None:
    for name, values in latency_ms.items():
        if len(values):
            shares = np.arange(1, len(values) + 1) / len(values)
            axis.step(np.sort(np.maximum(values, 1e-3)), shares, where="post", label=name)
    axis.set_xscale("log")
    axis.set_xlabel("measured latency, ms")
    axis.set_ylabel("share of messages")
    axis.legend(fontsize=8, loc="lower right")
    axis.tick_params(labelsize=8)
