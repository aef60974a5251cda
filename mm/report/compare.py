"""A comparison of arms: its verdict in words, a table, one picture, and everything on disk."""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from mm.config.arms import Arm
from mm.config.schema import DataConfig
from mm.core.paired import MIN_BLOCKS
from mm.data.candles import open_candles, read_meta
from mm.errors import ConfigError
from mm.sim.compare import MIN_FILLS, Comparison, Market, Paths, Terms, compare
from mm.sim.tape import open_tape

# figure of an arm: label, format
_ROWS: Final = {
    "pnl_usd": ("profit after fees, $", "+,.3f"),
    "usd_per_hour": ("  per hour, $", "+,.2f"),
    "fees_usd": ("fees, $", ",.3f"),
    "fills": ("fills", ",d"),
    "volume_usd": ("traded, $", ",.0f"),
    "pnl_per_volume_bps": ("profit per volume, bps", "+.3f"),
    "spread_capture_bps": ("edge at the fill, bps", "+.3f"),
    "markout_5s_bps": ("left after 5 s, bps", "+.3f"),
    "markout_60s_bps": ("left after 60 s, bps", "+.3f"),
    "quote_uptime": ("both sides quoted", ".1%"),
    "clamped_share": ("decisions clamped", ".1%"),
    "max_drawdown_usd": ("largest drawdown, $", ",.3f"),
    "max_abs_position": ("largest position", ",g"),
}
_COLOURS: Final = ("#444444", "#1f4e79", "#b23a48", "#2a7f62", "#b0893b", "#6a4c93", "#3a86a8", "#8c564b")
_ZERO: Final = "#bbbbbb"


def run(
    arms: Sequence[Arm], sources: Sequence[str], out: Path, terms: Terms,
    progress: Callable[[float], None] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Compare ``arms`` on their own tape, or on each of ``sources``, and keep everything below ``out``.

    A source is a store, ``synth``, or ``synth:7`` for the synthetic tape of another seed.

    Raises:
        ConfigError: an arm does not fit the data, or ``out`` cannot be written.
        DataError: there is no such store.
    """
    own = arms[0].config.data
    markets = [_open(data, progress) for data in (_source(own, s) for s in sources or [own.source])]
    done = compare([arm.name for arm in arms], [arm.config for arm in arms], markets, terms)
    found: dict[str, Any] = {"name": _label(arms), **done.found}
    found["verdict"] = [verdict(pair, found) for pair in found["pairs"]]
    found["notes"] = notes(found)
    found["result_hash"] = hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()
    try:
        path = save(found, done, out / f"compare-{found['name']}-{found['result_hash'][:8]}")
    except OSError as exc:
        raise ConfigError(f"--out {out}: results cannot be written there: {exc}") from exc
    return found | {"path": str(path)}


def _source(own: DataConfig, source: str) -> DataConfig:
    name, _, seed = source.partition(":")
    if name == "synth" and seed:
        if not seed.isdecimal():
            raise ConfigError(f"--data {source}: expected synth:SEED, for example synth:7")
        return own.model_copy(update={"source": name, "seed": int(seed)})
    return own.model_copy(update={"source": source})


def _open(data: DataConfig, progress: Callable[[float], None] | None) -> Market:
    return open_candles(data.source) if read_meta(Path(data.source)) else open_tape(data, progress)


def _label(arms: Sequence[Arm]) -> str:
    files = list(dict.fromkeys(arm.raw.path for arm in arms))
    name = arms[0].config.name if len(files) == 1 else "-vs-".join(Path(f).stem for f in files)
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", name)[:60]


# --- words -----------------------------------------------------------------------------------------------------------
def hours(value: float) -> str:
    """A length of time in words: about 14 h, 3 days, 20 min."""
    if value < 1.0:
        return f"{max(value * 60.0, 1.0):,.0f} min"
    return f"{value:,.1f} h" if value < 10.0 else f"{value:,.0f} h" if value < 72.0 else f"{value / 24.0:,.0f} days"


def money(value: float) -> str:
    """An amount with its sign and three digits that mean something."""
    digits = 2 if abs(value) < 10.0 else 1 if abs(value) < 100.0 else 0
    return f"{value:+,.{digits}f}"


def verdict(pair: dict[str, Any], found: dict[str, Any]) -> str:
    """What one comparison says, in a sentence or two."""
    a, b, effect = pair["a"], pair["b"], found["effect_usd_per_hour"]
    if pair["identical"]:
        return f"{b} and {a} are the same on this data: every fill is equal and every difference exactly zero."
    rate = pair["usd_per_hour"]
    if pair["few_fills"]:
        apart = pair["fills_apart"]
        more = f"; {MIN_FILLS} would take about {hours(found['hours'] * MIN_FILLS / apart)}" if apart else ""
        return f"{b} against {a}: {money(rate)} $/h on {hours(found['hours'])}, too little data for an interval: " + (
            f"the two differ in {apart} fills{more}." if apart else f"fewer than {MIN_FILLS} fills."
        )
    if pair["few_blocks"]:
        return (
            f"{b} against {a}: {money(rate)} $/h on {hours(found['hours'])}, too little data for an interval "
            f"({pair['blocks']:.0f} independent stretches of {pair['block_s']:.3g} s, "
            f"{MIN_BLOCKS} are needed)."
        )
    said = f"{money(rate)} $/h, interval {money(pair['low'])} to {money(pair['high'])} $/h"
    could = f"data of {hours(found['hours'])} would mostly find {pair['mde_usd_per_hour']:,.3g} $/h"
    if pair["detected"]:
        verb = "earns more than" if rate > 0.0 else "earns less than"
        return f"{b} {verb} {a}: {said} ({could})."
    if pair["mde_usd_per_hour"] <= effect:
        return f"no difference detectable between {b} and {a}: {said}; one of {effect:g} $/h would most likely show."
    return (
        f"no difference detectable between {b} and {a}: {said}; {could}: "
        f"needs about {hours(pair['hours_for_effect'])} of data for {effect:g} $/h."
    )


def notes(found: dict[str, Any]) -> list[str]:
    """What a reader must know beside the verdicts."""
    n, each = found["comparisons"], found["interval_level"]
    out = [
        f"{len(found['arms'])} arms, {n} comparison{'s' if n > 1 else ''}: "
        + (
            f"intervals hold together at {found['level']:.3g} (each at {each:.4g}, Bonferroni)"
            if n > 1
            else f"interval at {found['level']:.3g}"
        )
        + f"; blocks of {_span([pair['block_s'] for pair in found['pairs']])} s over {hours(found['hours'])}"
    ]
    for arm in found["arms"]:
        if arm["halted"]:
            out.append(f"{arm['name']} was halted by risk ({', '.join(arm['halted'])}): from there on it earns nothing")
        if not arm["fills"]:
            out.append(f"{arm['name']} was never filled")
    if any(market["mode"] == "candles" for market in found["data"]):
        out.append("candles have no queue and no spread: fills are a stated approximation (docs/candles.md)")
    if found["hours"] < 24.0:
        out.append("an interval knows the hours it was made from, no other day: pool tapes with --data A --data B")
    return out


def render(found: dict[str, Any]) -> Any:
    """A rich table with a column an arm, the verdicts below it."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    data = ", ".join(f"{m['instrument']} {m['span_s']:,.0f} s" for m in found["data"])
    out = Table(title=f"{found['name']} on {data}", title_justify="left")
    out.add_column("", no_wrap=True)
    for arm in found["arms"]:
        out.add_column(arm["name"], justify="right")
    for key, (label, style) in _ROWS.items():
        out.add_row(label, *(_text(arm[key], style) for arm in found["arms"]))
    said = [
        Text(line) for line in (*found["verdict"], "", *(f"note: {note}" for note in found["notes"]), found["path"])
    ]
    return Group(out, *said)


def _text(value: float | None, style: str) -> str:
    return "-" if value is None else f"{value:{style}}"


def _span(values: list[float]) -> str:
    low, high = f"{min(values):.3g}", f"{max(values):.3g}"
    return low if low == high else f"{low} to {high}"


# --- disk ------------------------------------------------------------------------------------------------------------
def save(found: dict[str, Any], done: Comparison, out: Path) -> Path:
    """``compare.json``, ``arms.csv``, ``pairs.csv``, ``paths.csv`` and ``compare.png`` in ``out``."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "compare.json").write_text(json.dumps(found, indent=2) + "\n")
    _csv(out / "arms.csv", [_flat(arm) for arm in found["arms"]])
    _csv(out / "pairs.csv", [_flat(pair) for pair in found["pairs"]])
    names = [arm["name"] for arm in found["arms"]]
    with (out / "paths.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["tape", "ts_ns", *names])
        for k, path in enumerate(done.paths):
            writer.writerows([k, int(t), *map(float, row)] for t, row in zip(path.t_ns, path.pnl.T, strict=True))
    picture(found, done.paths, out / "compare.png")
    return out


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    return {key: " ".join(map(str, value)) if isinstance(value, list) else value for key, value in row.items()}


def _csv(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def picture(found: dict[str, Any], paths: Sequence[Paths], file: Path) -> None:
    """Profit of every arm, differences with what their interval says of the whole run, and the intervals in $/h."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = [arm["name"] for arm in found["arms"]]
    pairs = found["pairs"]
    figure = Figure(figsize=(12, 8.5 + 0.28 * len(pairs)), layout="constrained")
    FigureCanvasAgg(figure)
    top, middle, bottom = figure.subplots(3, 1, height_ratios=(3, 3, 0.7 + 0.35 * len(pairs)))
    t, pnl, borders = _joined(paths)
    middle.sharex(top)
    for k, name in enumerate(names):
        top.plot(t, pnl[k], color=_COLOURS[k % len(_COLOURS)], lw=1.1, label=name)
    for number, pair in enumerate(pairs):
        a, b = names.index(pair["a"]), names.index(pair["b"])
        colour = _COLOURS[(b if a == 0 else number + 1) % len(_COLOURS)]
        middle.plot(t, pnl[b] - pnl[a], color=colour, lw=1.1, label=f"{pair['b']} - {pair['a']}")
        if pair["low"] is not None:
            middle.fill_between(t, pair["low"] / 60.0 * t, pair["high"] / 60.0 * t, color=colour, alpha=0.12, lw=0)
    for axis in (top, middle):
        axis.axhline(0.0, color=_ZERO, lw=0.8, zorder=0)
        for border in borders:
            axis.axvline(border, color=_ZERO, lw=0.8, ls=":")
        axis.legend(loc="best", fontsize=8, ncols=4, framealpha=0.7)
    top.set_ylabel("profit [quote]\nfees inside")
    middle.set_ylabel("paired difference [quote]\nshaded: interval of its rate")
    middle.set_xlabel("minutes of tape" + (" (dotted: the next tape)" if borders else ""))
    _forest(bottom, found)
    data = ", ".join(f"{m['instrument']} {m['span_s']:,.0f} s" for m in found["data"])
    figure.suptitle(f"{found['name']} on {data}", fontsize=12)
    figure.savefig(file, dpi=110)


def _joined(paths: Sequence[Paths]) -> tuple[Any, Any, list[float]]:
    """Tapes one after the other: minutes (n,), profit (arms, n), minutes at which a tape begins."""
    minutes, pnl, borders = [], [], []
    start, level = 0.0, np.zeros((len(paths[0].pnl), 1))
    for k, path in enumerate(paths):
        if k:
            borders.append(start)
        minutes.append(start + (path.t_ns - path.t_ns[0]) / 60e9)
        pnl.append(path.pnl + level)
        start, level = float(minutes[-1][-1]), pnl[-1][:, -1:]
    return np.concatenate(minutes), np.concatenate(pnl, axis=1), borders


def _forest(axis: Any, found: dict[str, Any]) -> None:
    for row, pair in enumerate(found["pairs"]):
        if pair["mde_usd_per_hour"]:
            mde = pair["mde_usd_per_hour"]
            axis.barh(row, 2.0 * mde, left=-mde, height=0.6, color="#eeeeee", zorder=0)
        colour = "#b23a48" if pair["detected"] else "#444444"
        if pair["low"] is not None:
            axis.plot([pair["low"], pair["high"]], [row, row], color=colour, lw=2.0)
        axis.plot(pair["usd_per_hour"], row, "o", color=colour, ms=5)
    axis.axvline(0.0, color=_ZERO, lw=0.8)
    axis.set_yticks(range(len(found["pairs"])), [f"{p['b']} - {p['a']}" for p in found["pairs"]], fontsize=8)
    axis.set_ylim(len(found["pairs"]) - 0.4, -0.6)
    axis.set_xlabel(
        f"difference [quote per hour], intervals at {found['interval_level']:.4g}; "
        "grey: too small to be found on this data 4 times in 5; red: told from zero"
    )
