"""The picture of a live run: mid with our quotes and fills, equity, inventory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np


def draw_live(
    path: str | Path, metrics: Sequence[Mapping[str, Any]], fills: Sequence[Mapping[str, Any]], title: str = ""
) -> None:
    """Write a PNG: one column per venue and instrument; rows mid with quotes and fills, equity, inventory.

    Args:
        path: the file.
        metrics: rows with ts (s), venue, symbol, mid, bid, ask, position, pnl_usd (each may be None).
        fills: rows with ts_exch_ns, venue, symbol, side, price.
        title: above the picture.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.dates import DateFormatter
    from matplotlib.figure import Figure

    books = sorted({(str(r["venue"]), str(r["symbol"])) for r in metrics}) or [("", "")]
    figure = Figure(figsize=(1.5 + 6.5 * len(books), 8.0), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(3, len(books), sharex="col", squeeze=False, height_ratios=(3, 1.3, 1.3))
    for column, (venue, symbol) in enumerate(books):
        rows = [r for r in metrics if (r["venue"], r["symbol"]) == (venue, symbol)]
        ours = [f for f in fills if (f["venue"], f["symbol"]) == (venue, symbol)]
        when = np.array([datetime.fromtimestamp(r["ts"], UTC) for r in rows], dtype=object)
        price, money, inventory = axes[0][column], axes[1][column], axes[2][column]
        price.set_title(f"{venue} {symbol}".strip() or "no data", fontsize=10)
        for name, style in (("bid", "tab:green"), ("ask", "tab:red")):
            price.step(when, _floats(rows, name), where="post", color=style, lw=0.9, label=f"our {name}")
        price.plot(when, _floats(rows, "mid"), color="black", lw=0.9, label="mid")
        for side, mark, colour, label in ((1, "^", "tab:green", "bought"), (-1, "v", "tab:red", "sold")):
            some = [f for f in ours if f["side"] == side]
            at = [datetime.fromtimestamp(f["ts_exch_ns"] / 1e9, UTC) for f in some]
            if some:
                price.scatter(at, [f["price"] for f in some], marker=mark, s=22, color=colour, label=label, zorder=3)
        money.plot(when, _floats(rows, "pnl_usd"), color="tab:blue", lw=1.1)
        money.axhline(0.0, color="grey", lw=0.5)
        inventory.step(when, _floats(rows, "position"), where="post", color="tab:purple", lw=1.1)
        inventory.axhline(0.0, color="grey", lw=0.5)
        inventory.xaxis.set_major_formatter(DateFormatter("%H:%M:%S"))  # type: ignore[no-untyped-call]
        inventory.tick_params(axis="x", labelrotation=30, labelsize=8)
        price.ticklabel_format(axis="y", useOffset=False)
        if rows:
            price.legend(loc="upper left", fontsize=8, ncols=3, framealpha=0.6)
        if column == 0:
            price.set_ylabel("price")
            money.set_ylabel("profit, quote\n(whole account)")
            inventory.set_ylabel("position, base")
    figure.suptitle(title, fontsize=11)
    figure.savefig(path, dpi=110)


def _floats(rows: Sequence[Mapping[str, Any]], name: str) -> Any:
    return np.array([np.nan if r.get(name) is None else float(r[name]) for r in rows])
