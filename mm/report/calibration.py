"""`calibrate`: A, kappa and sigma of a store, as a JSON object, a table, a config fragment and a picture."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import yaml

from mm.config.schema import EwmaSigma, RunConfig, StrategyConfig
from mm.core.instrument import Instrument
from mm.data import candles
from mm.data.store import Store
from mm.errors import ConfigError, DataError
from mm.models.arrivals import PRINT, Arrivals, arrivals
from mm.models.calibrate import MIN_ORDERS, Estimate, Gate, SideFit, calibrate, observed_s
from mm.models.sigma import MIN_S, Sigma, best_of, volatilities
from mm.report import calibration_plot

if TYPE_CHECKING:
    from rich.console import Group

_SEED: Final = 0  # of the bootstrap
_SIDES: Final = {"sells": "sells (fill bids)", "buys": "buys (fill asks)", "both": "both, per side"}
_WHY: Final = {
    Gate.TOO_FEW: f"fewer than {MIN_ORDERS} orders to fit: record for longer",
    Gate.POOR_FIT: "no exponential law fits the depths that were reached",
    Gate.A_AT_BOUND: "A is no plausible rate: the depths do not tell it",
    Gate.KAPPA_AT_BOUND: "kappa is at its bound: (almost) no order went deeper than another",
}


def run(path: Path, out: Path | None = None, png: Path | None = None) -> dict[str, Any]:
    """Calibrate the store at ``path``; writes the fragment and the picture, returns the JSON object.

    ``out`` and ``png`` default to ``calibration.yaml`` and ``calibration.png`` in the store.

    Raises:
        DataError: no order-book store, no trades, or less than ``MIN_S`` seconds of book.
        ConfigError: the results cannot be written.
    """
    if candles.read_meta(path):
        raise DataError(f"{path}: candles hold no trades and no book; calibrate needs an order-book store")
    store = Store.open(path)
    found = arrivals(store)
    seconds = observed_s(found)
    if len(found.ts_ns) == 0:
        raise DataError(f"{path}: no trade with a valid book before it in {seconds:.1f} s; nothing to estimate from")
    if seconds < MIN_S:
        raise DataError(
            f"{path}: {seconds:.1f} s with a book and {len(found.ts_ns)} orders; need at least {MIN_S:g} s, "
            f"and A and kappa {MIN_ORDERS} orders a side"
        )
    tick = float(store.instrument.tick_size)
    mid = float(np.nanmean(found.mid))
    fits = calibrate(found, 1e-4 * mid)
    sigmas = volatilities(found.mid_ns, found.mid, found.end_ns, np.random.default_rng(_SEED), EwmaSigma().halflife)
    summary = _summary(store, found, seconds, fits, sigmas, mid * tick)
    text = fragment(summary)
    out, png = out or path / "calibration.yaml", png or path / "calibration.png"
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text, encoding="utf-8")
        calibration_plot.draw(png, store.instrument, mid * tick, found, fits, sigmas)
    except OSError as exc:
        raise ConfigError(f"{exc.filename or out}: cannot be written ({exc}); choose --out and --plot") from exc
    return summary | {"config": str(out), "picture": str(png)}


def _scaled(estimate: Estimate, factor: float) -> list[float | None]:
    """[value, low, high] for JSON, which has no nan."""
    return [x * factor if math.isfinite(x) else None for x in estimate]


def _summary(
    store: Store, found: Arrivals, seconds: float, fits: list[SideFit], sigmas: list[Sigma], mid: float
) -> dict[str, Any]:
    tick, bp = float(store.instrument.tick_size), 1e-4 * mid
    sides = {
        f.side: {
            "orders": f.orders,
            "prints": f.prints,
            "alpha_per_s": _scaled(f.alpha, 1.0),
            "fit": "beyond_touch" if f.beyond else "all",
            "fitted": f.used,
            "A_per_s": _scaled(f.A, 1.0),
            "kappa_per_bp": _scaled(f.kappa, bp / tick),
            "kappa_per_quote": _scaled(f.kappa, 1.0 / tick),
            "kappa_per_tick": _scaled(f.kappa, 1.0),
            "survival_A_per_s": _scaled(f.survival_A, 1.0),
            "survival_kappa_per_bp": _scaled(f.survival_kappa, bp / tick),
            "misfit": f.misfit,
            "gate": str(f.gate),
        }
        for f in fits
    }
    return {
        "path": str(store.path),
        "symbol": store.instrument.symbol,
        "venue": store.instrument.venue,
        "quote": store.instrument.quote,
        "data_hash": store.data_hash,
        "observed_s": seconds,
        "mid": mid,
        "tick_bps": tick / bp,
        "spread_ticks": float(np.nanmedian(found.spread)),
        "reference": "first_print" if found.reference == PRINT else "book",
        "orders_off_touch": float(found.off.mean()),
        "trades_without_book": found.ignored,
        "order_lots": _order_lots(store.instrument, mid),
        "sides": sides,
        "sigma": [
            {
                "estimator": s.name,
                "says": s.says,
                "per_sqrt_s": _scaled(s.sigma, tick),
                "bps_per_sqrt_s": _scaled(s.sigma, tick / bp),
                "pct_per_day": _scaled(s.sigma, tick / mid * 100.0 * math.sqrt(86_400.0)),
            }
            for s in sigmas
        ],
        "sigma_bps_per_sqrt_s": _scaled(best_of(sigmas), tick / bp),
    }


def _order_lots(instrument: Instrument, mid: float) -> int | None:
    """Twice the smallest order, where the default order size lies below that; else None."""
    smallest = instrument.min_lots(round(mid / float(instrument.tick_size)))
    return 2 * smallest if StrategyConfig().order_size.lots(instrument, mid) < smallest else None


def fragment(summary: dict[str, Any]) -> str:
    """A config of what passed its gate, what did not as a comment with the reason. ``live`` and ``backtest`` take it.

    Raises:
        ConfigError: never in practice: the text is validated before anyone sees it.
    """
    both = summary["sides"]["both"]
    sigma = summary["sigma_bps_per_sqrt_s"][0]
    lines = [
        f"# {summary['symbol']} on {summary['venue']}, {summary['observed_s']:.0f} s at {summary['mid']:.8g}",
        "# made by `calibrate`; behind each value its 95 % interval",
        "strategy:",
        "  model:",
    ]
    if both["gate"] == Gate.OK:
        lines += [
            f"    kappa: {both['kappa_per_bp'][0]:.4g}/bps  # {_between(both['kappa_per_bp'])}",
            f"    A: {both['A_per_s'][0]:.4g}  # {_between(both['A_per_s'])} per second, one side",
        ]
    else:
        lines += [
            f"    # kappa and A: {both['gate']}, {_WHY[Gate(both['gate'])]};",
            "    # the values of the config this is merged into stay in force",
        ]
    lines.append(
        f"    sigma: {{halflife: 60s, sample: 100ms, initial: {sigma:.4g} bps/sqrt(s)}}"
        if sigma
        else "    # sigma: the mid did not move"
    )
    if both["gate"] != Gate.OK and not sigma:  # a section of comments alone is no section
        lines = [*lines[:2], *(line.lstrip() for line in lines[4:]), "strategy:"]
    if summary["order_lots"]:
        lines.append(f"  order_size: {summary['order_lots']} lots  # twice the smallest that the venue takes")
    elif lines[-1] == "strategy:":
        lines.pop()
    text = "\n".join(lines) + "\n"
    RunConfig.model_validate(yaml.safe_load(text) or {})
    return text


def _between(values: list[float | None]) -> str:
    low, high = values[1], values[2]
    return "no interval" if low is None or high is None else f"{low:.3g} to {high:.3g}"


def _cell(values: list[float | None]) -> str:
    value = values[0]
    if value is None:
        return "-"
    return f"{value:,.4g}" if values[1] is None else f"{value:,.4g} ({_between(values)})"


def table(summary: dict[str, Any]) -> Group:
    """What a person reads first."""
    from rich.console import Group
    from rich.table import Table

    quote = summary["quote"] or "quote"
    head = (
        f"{summary['symbol']} on {summary['venue']}: {summary['observed_s']:,.1f} s at {summary['mid']:,.2f}, "
        f"spread {summary['spread_ticks']:g} ticks, 1 tick = {summary['tick_bps']:.3g} bps"
    )
    flow = Table(title="λ(δ) = A·exp(-κδ), 95 % intervals", title_justify="left", box=None, pad_edge=False)
    flow.add_column("", style="bold", no_wrap=True)
    for name in _SIDES.values():
        flow.add_column(name, overflow="fold")
    sides = [summary["sides"][name] for name in _SIDES]
    flow.add_row("market orders", *(f"{s['orders']:,} ({s['prints']:,} prints)" for s in sides))
    flow.add_row("alpha, orders/s", *(_cell(s["alpha_per_s"]) for s in sides))
    flow.add_row("fitted to", *(f"{s['fitted']:,} {_fit_name(s['fit'])}" for s in sides))
    flow.add_row("A, 1/s (MLE)", *(_cell(s["A_per_s"]) for s in sides))
    flow.add_row("κ, 1/bp (MLE)", *(_cell(s["kappa_per_bp"]) for s in sides))
    flow.add_row(f"κ, 1/{quote}", *(_cell(s["kappa_per_quote"]) for s in sides))
    flow.add_row("A, 1/s (survival)", *(_cell(s["survival_A_per_s"]) for s in sides))
    flow.add_row("κ, 1/bp (survival)", *(_cell(s["survival_kappa_per_bp"]) for s in sides))
    flow.add_row("misfit (KS)", *(f"{s['misfit']:.3f}" for s in sides))
    flow.add_row("verdict", *(s["gate"] for s in sides))
    sigma = Table(title="σ of the mid", title_justify="left", box=None, pad_edge=False)
    for name in ("", "bps/√s", f"{quote}/√s", "%/√day", ""):
        sigma.add_column(name)
    for row in summary["sigma"]:
        day = row["pct_per_day"][0]
        sigma.add_row(
            row["estimator"], _cell(row["bps_per_sqrt_s"]), _cell(row["per_sqrt_s"]),
            "-" if day is None else f"{day:.3g}", row["says"],
        )  # fmt: skip
    notes = [_WHY[Gate(s["gate"])] for s in sides[2:] if s["gate"] != Gate.OK]
    if summary["reference"] == "first_print":
        notes.append(
            f"the book lags behind the trades ({summary['orders_off_touch']:.0%} of the orders began off the known "
            "touch): an order's first print is taken for the touch it met"
        )
    parts: list[str | Table] = [head, "", flow, "", sigma, ""]
    parts += [f"mind: {note}" for note in notes]
    if "config" in summary:
        parts += [f"config   {summary['config']}", f"picture  {summary['picture']}"]
    return Group(*parts)


def _fit_name(fit: str) -> str:
    return "beyond the touch" if fit == "beyond_touch" else "(all)"
