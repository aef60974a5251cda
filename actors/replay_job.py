"""``replay``: a recorded run through the kernel again, then through the simulator; the report is kept with the run."""

from __future__ import annotations

import csv
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from actors.home import write_json
from actors.recorder import read_lives
from actors.replay import instruments_of, recorded_config, replay_venue
from actors.run_record import RunTape, make_tape
from mm.config.schema import MeasuredLatency, QueueConfig, RunConfig, VenueConfig
from mm.errors import DataError
from mm.sim.divergence import CAUSES, Divergence, diverge, same_market
from mm.sim.tape import from_store

FIFO_VENUES: Final = ("native",)  # cancels leave from the back: the risk-averse queue model is exact there

FILLS_SAME: Final = 0.95  # of the fills, at least
PNL_PCT: Final = 10.0  # of the spread captured, at most

log = logging.getLogger(__name__)


def find_run(run: str | Path) -> Path:
    """The folder of a run: as given, or below ``runs/``."""
    path = Path(run)
    return path if path.exists() or path.is_absolute() else Path("runs") / path


def replay_run(
    run: str | Path, overrides: list[str] | None = None, progress: Callable[[float], None] | None = None
) -> dict[str, Any]:
    """Replay every venue of a run through the kernel and, without overrides, simulate it.

    Returns ``{"run", "identical", "complete", "venues": {name: {"quotes": ..., "simulated": {symbol: ...}}}}``:
    ``identical`` says that every decision on record came out again, ``complete`` that none was beyond the record.
    Without overrides the report is kept at ``RUN/replay``.

    Raises:
        DataError: not a run, or one without a record.
        ConfigError: an override that is none.
    """
    run_dir = find_run(run)
    cfg = recorded_config(run_dir, overrides)
    venues: dict[str, dict[str, Any]] = {}
    for venue in cfg.live.venues:
        replayed = replay_venue(run_dir, venue.name, cfg, progress)
        venues[venue.name] = {"quotes": replayed.to_dict()}
        if not overrides and replayed.decisions:
            venues[venue.name]["simulated"] = _simulate(run_dir, cfg, venue)
    same = all(v["quotes"]["identical"] == v["quotes"]["decisions"] > 0 for v in venues.values())
    complete = same and not any(v["quotes"]["unreached"] for v in venues.values())
    found = {"run": str(run_dir), "identical": same, "complete": complete, "venues": venues}
    if not overrides:
        write_json(run_dir / "replay" / "report.json", found)
    return found


def _simulate(run_dir: Path, cfg: RunConfig, venue: VenueConfig) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for index, instrument in enumerate(instruments_of(read_lives(run_dir, venue.name))):
        try:
            out[instrument.symbol] = _simulate_one(run_dir, cfg, venue, index)
        except DataError as exc:  # the quotes were compared all the same
            log.error("%s %s is not simulated: %s", venue.name, instrument.symbol, exc)  # noqa: TRY400  it says all
            out[instrument.symbol] = {"error": str(exc)}
    return out


def _simulate_one(run_dir: Path, cfg: RunConfig, venue: VenueConfig, index: int) -> dict[str, Any]:
    from mm.report.divergence import draw_divergence

    symbol = venue.instruments[index]
    folder = run_dir / "replay" / f"{venue.name}_{symbol}"
    folder.mkdir(parents=True, exist_ok=True)
    recorded = make_tape(run_dir, venue, index, folder / "tape")
    sim = sim_config(cfg, venue, recorded, folder)
    tape = from_store(recorded.store)
    seen = same_market(sim, tape, recorded.decide_ns, recorded.live_mid)
    found = diverge(sim, tape, recorded.decide_ns, recorded.reports, recorded.opening_lots)
    _write_fills(folder / "fills.csv", found, recorded)
    delays = {
        "decision to exchange": recorded.orders[:, 1] / 1e6, "exchange to decision": recorded.responses[:, 1] / 1e6
    }  # fmt: skip
    figures = found.figures
    span_s = float(recorded.decide_ns[-1] - recorded.decide_ns[0]) * 1e-9
    title = (
        f"{run_dir.name} · {venue.name} {symbol} · {span_s:.0f} s\n{figures['fills_live']} fills live, "
        f"{figures['fills_sim']} simulated, {figures['fills_same']} of them the same; profit "
        f"{figures['pnl_live_usd']:+.4f} and {figures['pnl_sim_usd']:+.4f}, spread captured "
        f"{figures['capture_live_usd']:.4f}"
    )
    draw_divergence(folder / "divergence.png", found, recorded.instrument, delays, title)
    return (
        figures
        | judged(figures)
        | {
            "span_s": span_s,
            "market_same_pct": 100.0 * float(seen.mean()),
            "order_latency_ms": _spread(recorded.orders),
            "response_latency_ms": _spread(recorded.responses),
            "queue": sim.sim.queue.model,
            "netting": recorded.netting,
            "notes": _notes(recorded),
            "path": str(folder),
        }
    )


def judged(figures: dict[str, Any]) -> dict[str, bool | None]:
    """Does the simulation trade what the run traded? None where there is nothing to judge.

    Fills: at least 95 % of the larger number are the same fills. Profit: within 10 % of the spread captured.
    """
    fills = max(figures["fills_live"], figures["fills_sim"])
    share = figures["pnl_diff_pct_of_capture"]
    return {
        "fills_within_5_pct": figures["fills_same"] >= FILLS_SAME * fills if fills else None,
        "pnl_within_10_pct": None if share is None else share <= PNL_PCT,
    }


def sim_config(cfg: RunConfig, venue: VenueConfig, recorded: RunTape, folder: Path) -> RunConfig:
    """The run's config with what was measured: latencies, the venue's own fees, and its queue where it is known."""
    files = {}
    for name, series in (("order_latency", recorded.orders), ("response_latency", recorded.responses)):
        if len(series) == 0:
            raise DataError(f"no {name.replace('_', ' ')} was measured: the run sent no order that was answered")
        np.save(folder / f"{name}.npy", series)
        files[name] = MeasuredLatency(file=folder / f"{name}.npy")
    queue = QueueConfig(model="risk_averse") if venue.kind in FIFO_VENUES else cfg.sim.queue
    plain = {"fee_tier": None, "maker_fee": None, "taker_fee": None, "feed_latency": "data", "partial_fills": True}
    return cfg.model_copy(update={"sim": cfg.sim.model_copy(update=files | plain | {"queue": queue})})


def _spread(series: NDArray[np.int64]) -> dict[str, float]:
    p50, p99 = np.percentile(series[:, 1], [50, 99]) / 1e6
    return {"p50": float(p50), "p99": float(p99), "n": len(series)}


def _notes(recorded: RunTape) -> list[str]:
    out = []
    if recorded.stale:
        out.append(f"{recorded.stale} decisions without market data pulled the quotes; the simulation quotes there")
    if recorded.netting["short"]:
        out.append(f"{recorded.netting['short']} levels showed less than we had there: reports are missing")
    return out


def _write_fills(path: Path, found: Divergence, recorded: RunTape) -> None:
    """Every fill of either world, one a line."""
    tick, lot = recorded.instrument.tick_size, recorded.instrument.lot_size
    with path.open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow([
            "live_ns", "sim_ns", "side", "price", "size", "cause", "live_position", "sim_position", "other_price",
            "other_lots_ahead",
        ])  # fmt: skip
        for p in found.pairs.tolist():
            live_ns, sim_ns, side, at, lots, cause, live_pos, sim_pos, other, ahead = p
            out.writerow([
                live_ns or "", sim_ns or "", "buy" if side > 0 else "sell", at * tick, lots * lot, CAUSES[cause],
                live_pos * lot, sim_pos * lot, other * tick if other else "", ahead if other else "",
            ])  # fmt: skip
