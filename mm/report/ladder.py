"""The fill ladder: one strategy and a blind control under every fill model, from optimistic to pessimistic.

A profit that exists on the optimistic rungs only is a profit of the fill model. The control says how far to believe a
rung: blind quotes that earn money there are being given it.
"""

from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np

from mm.config.schema import QueueConfig, RunConfig
from mm.sim.control import control_config, half_touch_ticks
from mm.sim.run import SimResult, simulate_many
from mm.sim.tape import Tape

Rung = dict[str, Any]
CONTROLS: Final = 6  # blind quoters a rung; 8 rungs x (1 + 6) sets fit one pass
_FIXED: Final = (
    ("touch", QueueConfig(model="touch")),
    ("risk_averse", QueueConfig(model="risk_averse")),
    ("power 1", QueueConfig(model="power", n=1.0)),
    ("power 2", QueueConfig(model="power", n=2.0)),
    ("power 3", QueueConfig(model="power", n=3.0)),
    ("log", QueueConfig(model="log")),
    ("trade_through", QueueConfig(model="trade_through")),
)
_STRATEGY, _CONTROL, _ZERO = "#1f4e79", "#b0893b", "#bbbbbb"


def rungs(cfg: RunConfig) -> list[tuple[str, QueueConfig]]:
    """(label, queue model) of every rung; the configured model is marked, and added where it is none of the fixed."""
    queue = cfg.sim.queue
    out = [(f"{label} (configured)" if q == queue else label, q) for label, q in _FIXED]
    if not any(q == queue for _, q in _FIXED):
        exponent = f" {queue.n:g}" if queue.model.startswith("power") else ""
        out.append((f"{queue.model}{exponent} (configured)", queue))
    return out


def run_ladder(cfg: RunConfig, tape: Tape, controls: int = CONTROLS) -> dict[str, Any]:
    """Every rung on the same tape in one pass; JSON-able.

    ``rungs`` are sorted by what the control is filled there, the most generous first. ``pnl_usd`` is net of fees,
    ``gross_*`` before them; control figures are means over ``controls`` seeds with their standard error (``*_se``).
    ``sign_changes`` names neighbouring rungs between which the strategy's profit changes its sign;
    ``generous`` the rungs where blind quotes earn money before fees (two standard errors above zero), ``free_money``
    those where they earn after fees.
    """
    half = half_touch_ticks(tape)
    names = rungs(cfg)
    configs = []
    for _, queue in names:
        own = cfg.model_copy(update={"sim": cfg.sim.model_copy(update={"queue": queue})})
        configs += [own, *(control_config(own, half, cfg.seed + 1 + k) for k in range(controls))]
    results = simulate_many(configs, tape)
    found: list[Rung] = []
    for at, (label, queue) in enumerate(names):
        first, *blind = results[at * (1 + controls) : (at + 1) * (1 + controls)]
        found.append(
            {
                "rung": label,
                "queue": queue.model_dump(mode="json"),
                "strategy": _figures(first),
                "control": _mean([_figures(r) for r in blind]),
            }
        )
    found.sort(key=lambda r: -r["control"]["volume_usd"])
    return {
        "instrument": tape.instrument.symbol,
        "events": tape.events,
        "span_s": tape.span_s,
        "data_hash": tape.data_hash,
        "model": cfg.strategy.model.name,
        "controls": controls,
        "half_touch_ticks": half,
        "rungs": found,
        "sign_changes": [
            [a["rung"], b["rung"]]
            for a, b in pairwise(found)
            if a["strategy"]["pnl_usd"] * b["strategy"]["pnl_usd"] < 0.0
        ],
        "generous": [r["rung"] for r in found if _clearly_positive(r["control"], "gross_usd")],
        "free_money": [r["rung"] for r in found if _clearly_positive(r["control"], "pnl_usd")],
    }


def _figures(result: SimResult) -> Rung:
    m: dict[str, Any] = result.metrics
    gross = m["pnl_usd"] + m["fees_usd"] - m["funding_usd"]
    per_volume = 1e4 / m["volume_usd"] if m["volume_usd"] else None
    return {
        "pnl_usd": m["pnl_usd"],
        "gross_usd": gross,
        "fees_usd": m["fees_usd"],
        "fills": m["fills"],
        "volume_usd": m["volume_usd"],
        "pnl_bps": None if per_volume is None else m["pnl_usd"] * per_volume,
        "gross_bps": None if per_volume is None else gross * per_volume,
        "spread_capture_bps": m["spread_capture_bps"],
        "adverse_selection_5s_bps": m["adverse_selection_5s_bps"],
        "realised_spread_5s_bps": m["realised_spread_5s_bps"],
        "markout_60s_bps": m["markout_60s_bps"],
        "halted": m["halted"],
    }


def _mean(figures: list[Rung]) -> Rung:
    out: Rung = {}
    for name in figures[0]:
        if name == "halted":
            out[name] = sum(f[name] is not None for f in figures)
            continue
        values = [f[name] for f in figures if f[name] is not None]
        out[name] = float(np.mean(values)) if values else None
        out[f"{name}_se"] = float(np.std(values, ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else None
    return out


def _clearly_positive(control: Rung, name: str) -> bool:
    return bool(control[name] > 2.0 * (control[f"{name}_se"] or 0.0) and control["fills"] > 0)


def verdict(ladder: dict[str, Any]) -> str:
    """What the ladder says, in a sentence or two."""
    profits = [r["strategy"]["pnl_usd"] for r in ladder["rungs"]]
    filled = [r for r in ladder["rungs"] if r["strategy"]["fills"]]
    if not filled:
        return "The strategy was filled on no rung: the tape says nothing about it."
    if ladder["sign_changes"]:
        change = " and ".join(f"between {a} and {b}" for a, b in ladder["sign_changes"])
        text = f"The sign of the profit depends on the fill model: it changes {change}."
    elif min(profits) > 0.0:
        text = "Profitable on every rung."
    else:
        text = "Not profitable on any rung." if max(profits) <= 0.0 else "No sign change, but not filled everywhere."
    if ladder["generous"]:
        text += f" Blind quotes earn money before fees under {', '.join(ladder['generous'])}: fills there are gifts."
    return text


def render(ladder: dict[str, Any]) -> Any:
    """A rich table, with the verdict below it."""
    from rich.table import Table

    out = Table(
        title=f"Fill ladder: {ladder['model']} on {ladder['instrument']}, {ladder['events']:,} events",
        caption=verdict(ladder),
        caption_justify="left",
    )
    out.add_column("rung, generous first")
    for name in ("pnl $", "fees $", "fills", "gross bps", "control $", "control gross bps"):
        out.add_column(name, justify="right")
    for r in ladder["rungs"]:
        s, c = r["strategy"], r["control"]
        out.add_row(
            r["rung"], _text(s["pnl_usd"]), _text(s["fees_usd"]), f"{s['fills']}", _text(s["gross_bps"]),
            _text(c["pnl_usd"]), f"{_text(c['gross_bps'])} ± {_text(c['gross_bps_se'])}",
        )  # fmt: skip
    return out


def save(ladder: dict[str, Any], out: Path) -> Path:
    """``ladder.json`` and ``ladder.png`` in ``out``."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "ladder.json").write_text(json.dumps(ladder | {"verdict": verdict(ladder)}, indent=2) + "\n")
    picture(ladder, out / "ladder.png")
    return out


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:,.3g}" if abs(value) < 100 else f"{value:,.0f}"


def picture(ladder: dict[str, Any], path: Path) -> None:
    """Two panels by rung: profit of the strategy before and after fees, and the control's per volume, with errors."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    labels = [r["rung"].replace(" (configured)", "\n(configured)") for r in ladder["rungs"]]
    x = np.arange(len(labels))
    fig, axes = plt.subplots(2, 1, figsize=(10, 8), sharex=True, layout="constrained")
    for name, color, label, shift in (
        ("gross_usd", "#9db8d2", "before fees", -0.2), ("pnl_usd", _STRATEGY, "after fees", 0.2),
    ):  # fmt: skip
        axes[0].bar(x + shift, [r["strategy"][name] for r in ladder["rungs"]], 0.4, color=color, label=label)
    axes[0].set_ylabel("strategy [quote]")
    axes[0].set_title(f"Fill ladder: {ladder['model']} on {ladder['instrument']}")
    for name, color, label, shift in (
        ("gross_bps", "#dcc48e", "before fees", -0.2), ("pnl_bps", _CONTROL, "after fees", 0.2),
    ):  # fmt: skip
        axes[1].bar(
            x + shift,
            [r["control"][name] or 0.0 for r in ladder["rungs"]],
            0.4,
            yerr=[2.0 * (r["control"][f"{name}_se"] or 0.0) for r in ladder["rungs"]],
            color=color,
            label=label,
            capsize=3,
        )
    axes[1].set_ylabel("blind control [bps of volume]\n± 2 standard errors")
    for ax in axes:
        ax.axhline(0.0, color=_ZERO, lw=0.8)
        ax.legend(fontsize=8, ncols=2, loc="lower left", bbox_to_anchor=(0.0, 1.0), frameon=False)  # beside no bar
    axes[1].set_xticks(x, labels, rotation=20)
    axes[1].set_xlabel("fill model, the most generous first")
    fig.savefig(path, dpi=110)
    plt.close(fig)
