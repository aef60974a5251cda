"""The picture of a calibration: how often each depth is reached and what the fit says, volatility, orders over time."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np

from mm.core.instrument import Instrument
from mm.models.arrivals import Arrivals
from mm.models.calibrate import Gate, SideFit
from mm.models.sigma import STEP_NS, Sigma, on_grid, signature

_COLORS: Final = {"sells": "#b2182b", "buys": "#2166ac", "both": "black"}
_STEPS: Final = np.array([1, 2, 3, 5, 10, 20, 30, 50, 100, 200, 300, 600])  # of the mid's grid


def draw(
    out: Path, instrument: Instrument, mid: float, found: Arrivals, fits: list[SideFit], sigmas: list[Sigma]
) -> None:
    """Write the picture. ``mid`` quote per base; everything else in ticks."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    tick_bps = float(instrument.tick_size) / mid * 1e4
    figure = Figure(figsize=(13, 8), layout="constrained")
    FigureCanvasAgg(figure)
    depth, sigma, time = figure.subplot_mosaic([["depth", "sigma"], ["depth", "time"]], width_ratios=(3, 2)).values()
    _depth(depth, fits, tick_bps)
    _sigma(sigma, found, sigmas, tick_bps)
    _time(time, found)
    figure.suptitle(f"{instrument.symbol} on {instrument.venue}: {len(found.ts_ns):,} market orders")
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=110)


def _depth(axes: Any, fits: list[SideFit], tick_bps: float) -> None:
    floor = np.inf
    for f in fits:
        color, x = _COLORS[f.side], f.depth * tick_bps
        reached = f.rate > 0.0
        if f.side != "both":
            axes.plot(x[reached], f.rate[reached], ".", color=color, ms=5, label=f"{f.side}, observed")
            if reached.any():
                floor = min(floor, float(f.rate[reached].min()))
            if f.gate in (Gate.OK, Gate.POOR_FIT):
                axes.plot(x, f.A.value * np.exp(-f.kappa.value * f.depth), color=color, lw=1, alpha=0.6)
        elif f.gate in (Gate.OK, Gate.POOR_FIT):
            k, a = f.kappa.value / tick_bps, f.A.value
            start = np.concatenate([[0.0], f.depth])
            label = f"A = {a:.3g}/s, κ = {k:.3g}/bp" + ("" if f.gate is Gate.OK else f" ({f.gate})")
            axes.plot(start * tick_bps, a * np.exp(-f.kappa.value * start), color=color, lw=2, label=label)
            survival = f.survival_A.value * np.exp(-f.survival_kappa.value * start)
            axes.plot(start * tick_bps, survival, color=color, ls="--", lw=1, label="line through the survival counts")
            if f.beyond:
                axes.axvline(float(f.depth[0] + 0.5) * tick_bps, color="grey", lw=0.6)
                axes.text(
                    0.02,
                    0.02,
                    "fitted right of the grey line: beyond the touch",
                    transform=axes.transAxes,
                    color="grey",
                )
        else:
            axes.set_title(f"no fit: {f.gate}")
    axes.set_yscale("log")
    if np.isfinite(floor):
        axes.set_ylim(bottom=0.5 * floor)
    axes.set_xlabel("δ, bps from the mid just before the order")
    axes.set_ylabel("λ(δ): orders per second and side that reach δ")
    axes.legend(frameon=False)


def _sigma(axes: Any, found: Arrivals, sigmas: list[Sigma], tick_bps: float) -> None:
    grid = on_grid(found.mid_ns, found.mid, found.end_ns)
    steps = _STEPS[len(grid) > 10 * _STEPS]
    if len(steps):
        seconds = steps * STEP_NS * 1e-9
        axes.plot(seconds, signature(grid, steps) * tick_bps, "o-", ms=3, color="black", label="by sampling step")
    for k, s in enumerate(sigmas):
        at = 10.0 ** (2.1 + 0.16 * k)
        value, low, high = (x * tick_bps for x in s.sigma)
        bars = [[value - low], [high - value]] if np.isfinite([low, high]).all() else None
        axes.errorbar([at], [value], yerr=bars, fmt="s", ms=4, capsize=2, label=s.name)
    axes.set_xscale("log")
    axes.set_ylim(bottom=0.0)
    axes.set_xlabel("sampling step, s (squares: estimators)")
    axes.set_ylabel("σ, bps/√s")
    axes.legend(frameon=False, fontsize=7, ncols=2)


def _time(axes: Any, found: Arrivals) -> None:
    first = int(found.mid_ns[0])
    span = (found.end_ns - first) * 1e-9
    edges = np.linspace(0.0, span, 61)
    for side, mine, sign in (("buys", found.buys, 1), ("sells", ~found.buys, -1)):
        count, _ = np.histogram((found.ts_ns[mine] - first) * 1e-9, edges)
        axes.stairs(sign * count / (edges[1] - edges[0]), edges, color=_COLORS[side], fill=True, alpha=0.6)
    axes.axhline(0.0, color="black", lw=0.5)
    axes.set_xlabel("seconds")
    axes.set_ylabel("orders/s: buys up, sells down")
