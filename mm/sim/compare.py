"""Arms side by side: every arm on the same tapes, paired differences of profit, and what the data could have told.

All arms see the same market, latencies and random draws, so what they share cancels in the difference; that is why a
paired interval is so much narrower than two separate ones. Profit is marked at the mid on one grid for all arms; its
differences are resampled in blocks over all tapes (``mm.core.paired``).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mm.config.schema import RunConfig
from mm.core.paired import Estimate, block_length, bootstrap_means, estimate, memory_stretch
from mm.data.candles import Candles
from mm.errors import ConfigError
from mm.sim.candles import simulate_candles
from mm.sim.run import SimResult, simulate_many
from mm.sim.tape import Tape
from mm.strategy.setup import settings_of

Floats = NDArray[np.float64]
Market = Tape | Candles
HOUR_S: Final = 3600.0
MIN_BLOCK_S: Final = 5.0  # by then a fill has shown what it was worth: its loss belongs in the same block
RESAMPLES: Final = 4000
MIN_FILLS: Final = 30  # that two arms do not share: how often rare events come cannot be told from fewer
# figures of an arm over all tapes: summed, largest, and means weighted by another figure
SUMMED: Final = ("pnl_usd", "fees_usd", "funding_usd", "volume_usd", "fills", "orders", "rejects", "alerts", "span_s")
LARGEST: Final = ("max_drawdown_usd", "max_abs_position")
WEIGHTED: Final = {
    "quote_uptime": "span_s", "clamped_share": "decisions", "pulled_share": "decisions",
    "spread_capture_bps": "volume_usd", "adverse_selection_5s_bps": "volume_usd", "markout_1s_bps": "volume_usd",
    "markout_5s_bps": "volume_usd", "markout_30s_bps": "volume_usd", "markout_60s_bps": "volume_usd",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Terms:
    """What a comparison is asked: ``effect`` is the difference worth finding, quote currency per hour."""

    level: float = 0.95
    effect: float = 1.0
    resamples: int = RESAMPLES
    all_pairs: bool = False
    seed: int = 42


class Paths(NamedTuple):
    """Profit of all arms on one tape: at ``t_ns`` (n,), ``pnl`` (arms, n), 0 at the start and the final profit last."""

    t_ns: NDArray[np.int64]
    pnl: Floats


@dataclass(frozen=True, slots=True)
class Comparison:
    """What came out: ``found`` is JSON-able, ``paths`` one a tape."""

    found: dict[str, Any]
    paths: list[Paths]


def simulate_arms(configs: Sequence[RunConfig], market: Market) -> list[SimResult]:
    """Every arm on one tape, in as few passes as their settings allow."""
    if isinstance(market, Candles):
        return [simulate_candles(cfg, market) for cfg in configs]
    return simulate_many(configs, market)


def compare(names: Sequence[str], configs: Sequence[RunConfig], markets: Sequence[Market], terms: Terms) -> Comparison:
    """Run every arm on every tape and compare them.

    Raises:
        ConfigError: an arm does not fit the data, a tape that is given twice, terms that make no sense.
    """
    _check(names, configs, markets, terms)
    runs = [simulate_arms(configs, market) for market in markets]
    step_s = max(_step_s(r.samples) for results in runs for r in results)
    paths = [_paths(results, step_s) for results in runs]
    pairs = list(combinations(range(len(names)), 2)) if terms.all_pairs else [(0, k) for k in range(1, len(names))]
    level = 1.0 - (1.0 - terms.level) / len(pairs)  # Bonferroni: all intervals hold together at terms.level
    steps = [np.diff(p.pnl, axis=1) for p in paths]
    differences = [[own[b] - own[a] for own in steps] for a, b in pairs]
    count = sum(own.shape[1] for own in steps)
    hours = count * step_s / HOUR_S
    rows = []
    for number, ((a, b), parts) in enumerate(zip(pairs, differences, strict=True)):
        block = max(*(block_length(part) for part in parts), math.ceil(MIN_BLOCK_S / step_s))
        block = min(block, *(len(part) for part in parts))
        means = bootstrap_means(parts, block, terms.resamples, np.random.default_rng([terms.seed, number]))
        apart = sum(_fills_apart(results[a], results[b]) for results in runs)
        same = apart == 0 and not any(part.any() for part in parts)
        both = sum(len(results[b].fills) for results in runs)  # the same fills at another price: a fee, say
        enough = same or (apart or both) >= MIN_FILLS
        mean = sum(float(part.sum()) for part in parts) / count
        est = estimate(mean, means, count / block if enough else 0.0, level, memory_stretch(parts, block))
        row = _pair(names[a], names[b], est, HOUR_S / step_s, hours, terms.effect, len(pairs))
        rows.append(row | {"detected": row["detected"] and not same, "identical": same, "fills_apart": apart,
                           "few_fills": not enough, "block_s": block * step_s, "blocks": count / block})  # fmt: skip
    found = {
        "arms": [_arm(name, [results[k] for results in runs]) for k, name in enumerate(names)],
        "pairs": rows,
        "data": [_market(market) for market in markets],
        "hours": hours,
        "step_s": step_s,
        "resamples": terms.resamples,
        "comparisons": len(pairs),
        "level": terms.level,
        "interval_level": level,
        "effect_usd_per_hour": terms.effect,
        "seed": terms.seed,
    }
    return Comparison(found, paths)


def _check(names: Sequence[str], configs: Sequence[RunConfig], markets: Sequence[Market], terms: Terms) -> None:
    if not 0.5 <= terms.level < 1.0:
        raise ConfigError(f"--level: expected a share between 0.5 and 1, for example 0.95, got {terms.level:g}")
    if not (math.isfinite(terms.effect) and terms.effect > 0.0):
        raise ConfigError(f"--effect: expected a positive amount per hour, got {terms.effect:g}")
    if terms.resamples < 200:
        raise ConfigError(f"--resamples: at least 200, got {terms.resamples}")
    if any(cfg.desk.legs for cfg in configs):
        raise ConfigError("compare: an arm is a strategy on one instrument; leave `desk.legs` out")
    hashes = [market.data_hash for market in markets]
    if len(set(hashes)) < len(hashes):
        raise ConfigError("--data: the same tape is given twice; counted twice, every interval would be too narrow")
    for market in markets:
        if isinstance(market, Tape):
            for name, cfg in zip(names, configs, strict=True):
                try:
                    settings_of(cfg, market.instrument, market.ref_price)
                except ConfigError as exc:
                    raise ConfigError(f"arm {name!r}: {exc}") from exc


def _step_s(samples: NDArray[Any]) -> float:
    if len(samples) < 3:
        raise ConfigError("compare: the tape is too short: fewer than three sampled moments")
    return float(samples["ts_ns"][-1] - samples["ts_ns"][0]) * 1e-9 / (len(samples) - 1)


def _paths(results: Sequence[SimResult], step_s: float) -> Paths:
    """Profits of the arms at the same moments, ``step_s`` apart, up to the end of the tape."""
    first = min(int(r.samples["ts_ns"][0]) for r in results)
    last = max(int(r.samples["ts_ns"][-1]) for r in results)
    step_ns = max(1, round(step_s * 1e9))
    t_ns = last - step_ns * np.arange((last - first) // step_ns, -1, -1, dtype=np.int64)
    if len(t_ns) < 3:
        raise ConfigError("compare: a tape is too short for the sampling of the others")
    pnl = np.empty((len(results), len(t_ns)))
    for row, r in zip(pnl, results, strict=True):
        at = np.searchsorted(r.samples["ts_ns"], t_ns, side="right") - 1
        row[:] = np.where(at >= 0, r.samples["pnl_usd"][np.maximum(at, 0)], 0.0)
        row[0], row[-1] = 0.0, float(r.metrics["pnl_usd"] or 0.0)
    return Paths(t_ns, pnl)


def _fills_apart(one: SimResult, other: SimResult) -> int:
    """Fills that one of the two has and the other has not."""
    a, b = (Counter(zip(*(r.fills[n].tolist() for n in ("ts_exch_ns", "side", "tick", "lots")), strict=True))
            for r in (one, other))  # fmt: skip
    return ((a - b) + (b - a)).total()


def _pair(
    a: str, b: str, est: Estimate, per_hour: float, hours: float, effect: float, comparisons: int
) -> dict[str, Any]:
    """One comparison, in quote currency per hour: how much more ``b`` earns than ``a``."""
    known = math.isfinite(est.se)
    mde = est.mde * per_hour
    rate = est.mean * per_hour
    return {
        "a": a,
        "b": b,
        "difference_usd": rate * hours,
        "usd_per_hour": rate,
        "low": est.low * per_hour if known else None,
        "high": est.high * per_hour if known else None,
        "se": est.se * per_hour if known else None,
        "p": est.p if known else None,
        "p_adjusted": min(1.0, est.p * comparisons) if known else None,
        "mde_usd_per_hour": mde if known else None,
        "hours_for_effect": hours * (mde / effect) ** 2 if known else None,
        "hours_for_observed": hours * (mde / rate) ** 2 if known and rate != 0.0 else None,
        "detected": bool(known and (est.low > 0.0 or est.high < 0.0)),
        "few_blocks": not known,
    }


def _arm(name: str, runs: Sequence[SimResult]) -> dict[str, Any]:
    """Figures of one arm over all tapes."""
    all_of = [dict(r.metrics) for r in runs]

    def values(key: str) -> list[float]:
        return [float(m.get(key) or 0.0) for m in all_of]

    out: dict[str, Any] = {"name": name}
    for key in SUMMED:
        out[key] = sum(values(key))
    for key in ("fills", "orders", "rejects", "alerts"):
        out[key] = int(out[key])
    out["usd_per_hour"] = out["pnl_usd"] / out["span_s"] * HOUR_S if out["span_s"] else None
    out["pnl_per_volume_bps"] = out["pnl_usd"] / out["volume_usd"] * 1e4 if out["volume_usd"] else None
    for key in LARGEST:
        out[key] = max(values(key))
    for key, by in WEIGHTED.items():
        known = [(float(m[key] or 0.0), w) for m, w in zip(all_of, values(by), strict=True) if m.get(key) is not None]
        total = sum(w for _, w in known)
        out[key] = sum(v * w for v, w in known) / total if total else None
    out["halted"] = [m["halted"] for m in all_of if m.get("halted")]
    out["result_hash"] = [r.result_hash for r in runs]
    return out


def _market(market: Market) -> dict[str, Any]:
    if isinstance(market, Candles):
        return {"path": str(market.source), "hash": market.data_hash, "instrument": market.instrument.symbol,
                "events": len(market), "span_s": len(market) * market.step_ns * 1e-9, "mode": "candles"}  # fmt: skip
    return {"path": str(market.path), "hash": market.data_hash, "instrument": market.instrument.symbol,
            "events": market.events, "span_s": market.span_s, "mode": "order book"}  # fmt: skip
