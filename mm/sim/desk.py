"""Several instruments and venues in one simulation: each leg its own tape, latencies and quotes, one desk-wide risk.

Legs advance together in steps of ``desk.step``; after each, the desk's equity is the sum of theirs (all in quote
currency), and a breach of the desk's daily loss or drawdown halts every leg at its next decision. Within a step legs do
not see each other, so the step is the reaction time of the desk's risk, as it is live.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mm.config.schema import RunConfig
from mm.core.types import records
from mm.errors import ConfigError
from mm.sim.metrics import Metric
from mm.sim.one_pass import FOREVER_NS, Pass
from mm.sim.run import SimResult, decision_times, market_view
from mm.sim.tape import Tape
from mm.strategy.risk import HALT_REASONS, LIMITS, LOSS, mark_loss
from mm.strategy.setup import settings_of

DESK_SAMPLE = np.dtype([("ts_ns", "i8"), ("pnl_usd", "f8"), ("gross_usd", "f8"), ("net_usd", "f8")])


@dataclass(frozen=True, slots=True)
class Leg:
    """One instrument on one venue: its config (strategy, latencies, limits of its own) and its market."""

    name: str
    config: RunConfig
    tape: Tape


@dataclass(frozen=True, slots=True)
class DeskResult:
    """``legs`` by name; ``samples``: DESK_SAMPLE, one row a step; ``metrics`` of the desk as a whole."""

    legs: dict[str, SimResult]
    samples: NDArray[Any]
    metrics: dict[str, Metric]
    result_hash: str


def legs_of(cfg: RunConfig, tapes: dict[str, Tape]) -> list[Leg]:
    """The legs of a config, sections that a leg leaves out taken from the run."""
    out = []
    for leg in cfg.desk.legs:
        changes: dict[str, Any] = {"data": leg.data, "name": f"{cfg.name}-{leg.name}"}
        if leg.strategy is not None:
            changes["strategy"] = leg.strategy
        if leg.sim is not None:
            changes["sim"] = leg.sim
        out.append(Leg(leg.name, cfg.model_copy(update=changes), tapes[leg.name]))
    return out


def simulate_desk(cfg: RunConfig, legs: Sequence[Leg]) -> DeskResult:
    """Run all legs under one desk-wide risk (``cfg.risk``); a leg's own limits hold beside it.

    Raises:
        ConfigError: a leg does not fit its instrument, or two legs never trade at the same time.
    """
    passes: dict[str, Pass] = {}
    start_ns, end_ns = 0, FOREVER_NS
    for leg in legs:
        part = settings_of(leg.config, leg.tape.instrument, leg.tape.ref_price)
        times = decision_times(leg.config, leg.tape)
        start_ns, end_ns = max(start_ns, int(times[0])), min(end_ns, int(times[-1]))
        passes[leg.name] = Pass([leg.config], [part], market_view(leg.config, leg.tape, times), leg.tape)
    if start_ns >= end_ns:
        raise ConfigError("desk.legs: their tapes do not overlap in time, so they are not one desk")
    limits, loss = records(1, LIMITS)[0], records(1, LOSS)[0]
    limits.max_daily_loss_usd, limits.max_drawdown_usd = cfg.risk.max_daily_loss_usd, cfg.risk.max_drawdown_usd
    rows: list[tuple[int, float, float, float]] = []
    halted = 0
    step_ns = max(1, round(cfg.desk.step * 1e9))
    for now_ns in range(min(int(p.first_ns) for p in passes.values()) + step_ns, FOREVER_NS, step_ns):
        more = [p.advance(now_ns) for p in passes.values()]
        exposure = [p.exposure_usd(0) for p in passes.values()]
        pnl_usd = sum(p.pnl_usd(0) for p in passes.values())
        rows.append((now_ns, pnl_usd, sum(abs(x) for x in exposure), sum(exposure)))
        breach = mark_loss(loss, limits, pnl_usd, now_ns)
        if breach and not halted:
            halted = breach
            for p in passes.values():
                p.halt(breach)
        if not any(more):
            break
    results = {name: p.results()[0] for name, p in passes.items()}
    samples = np.array(rows, DESK_SAMPLE)
    digest = hashlib.sha256("".join(r.result_hash for r in results.values()).encode() + samples.tobytes())
    return DeskResult(results, samples, _metrics(cfg, results, samples, float(loss.drawdown_usd), halted),
                      digest.hexdigest())  # fmt: skip


def _metrics(
    cfg: RunConfig, results: dict[str, SimResult], samples: NDArray[Any], drawdown_usd: float, halted: int
) -> dict[str, Metric]:
    def total(name: str) -> float:
        return float(sum(float(r.metrics[name] or 0.0) for r in results.values()))

    pnl = total("pnl_usd")
    return {
        "pnl_usd": pnl,
        "equity_usd": cfg.risk.initial_equity_usd + pnl,
        "fees_usd": total("fees_usd"),
        "funding_usd": total("funding_usd"),
        "volume_usd": total("volume_usd"),
        "fills": int(total("fills")),
        "taker_fills": int(total("taker_fills")),
        "max_drawdown_usd": drawdown_usd,
        "max_gross_usd": float(np.max(samples["gross_usd"], initial=0.0)),
        "max_abs_net_usd": float(np.max(np.abs(samples["net_usd"]), initial=0.0)),
        "halted": HALT_REASONS[halted] or None,
    }
