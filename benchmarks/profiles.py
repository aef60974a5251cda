"""Every profile of configs/profiles on recorded order books: does it quote, is it filled, what did it cost.

    python -m benchmarks.profiles [--data DIR] [--write docs/profiles.md] [--json]

DIR holds the recorded files (default MM_DATA_DIR). A perpetual profile runs on Binance USDⓈ-M BTCUSDT, a spot profile
on Binance spot BTCUSDT. ``--write`` replaces the table between the marks of a page. Minutes of one market: nothing here
is an expectation, it says that the profiles work and what they cost there.
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.common import ROOT, cache_dir, replace_part
from mm.config import RunConfig, load_config
from mm.core import stats
from mm.errors import DataError
from mm.report.venue_tables import table
from mm.sim.run import SimResult, simulate
from mm.sim.tape import open_tape
from mm.venues.specs import venue_spec

PROFILES: Final = ROOT / "configs" / "profiles"
PAGE: Final = ROOT / "docs" / "profiles.md"
FILES: Final = {
    "usdm": ("usdm_btcusdt_20240808.gz",),
    "spot": ("spot_btcusdt_20240808.gz", "spot_btcusdt_20240809.gz"),
}
_BARE: Final = ("strategy.controls=null", "strategy.model.fee_aware=false", "strategy.model.impact=0 bps")
STEPS: Final = {  # what a profile locks, does not assume, or adds: asked for, or left out, by name
    "base": (("without controls", _BARE[:1]), ("nor fee and cost of a fill in the quotes", _BARE)),
    "bybit-futures-10x": (
        ("25x, unlocked", ("risk.max_leverage=25", "risk.leverage=25")),
        ("50x, unlocked", ("risk.max_leverage=50", "risk.leverage=50")),
    ),
    "optimized": (("pulled at ADX 30, as in the documents", ("strategy.controls.regime.pull=30",)),),
    "paradex-rebate": (("with the rebate of 2025", ("sim.fee_tier=paradex:rebate-2025",)),),
}
MIN_UPTIME, MAX_CLAMPED = 0.95, 0.10
BLOCK_S, RESAMPLES = 10.0, 2000
BEGIN, END = "<!-- table: python -m benchmarks.profiles --write docs/profiles.md -->", "<!-- end of table -->"


@dataclass(frozen=True, slots=True)
class Row:
    """One profile, or one step of it, on its tape."""

    profile: str
    step: str
    market: str
    figures: dict[str, Any]

    @property
    def failed(self) -> list[str]:
        """What the profile promises and does not keep; a step promises nothing."""
        f = self.figures
        if self.step:
            return []
        uptime = f["uptime"]
        return [
            text
            for text, bad in (
                ("paused all the time", uptime is None),
                (f"both sides quoted {uptime or 0.0:.1%} of the time", uptime is not None and uptime < MIN_UPTIME),
                (f"{f['clamped_share']:.1%} of its quotes clamped", f["clamped_share"] > MAX_CLAMPED),
                ("no fill", f["fills"] == 0),
                (f"halted: {f['halted']}", f["halted"] is not None),
            )
            if bad
        ]


def names() -> list[str]:
    """Profiles that are shipped."""
    return sorted(path.stem for path in PROFILES.glob("*.yaml"))


def market_of(cfg: RunConfig) -> str:
    """The tape that a profile is for."""
    listing = cfg.data.listing
    return "spot" if listing is not None and venue_spec(listing.venue).kind == "spot" else "usdm"


def store(market: str, data: Path, cache: Path) -> Path:
    """The recorded tape of a market, imported into ``cache`` once; raises ``DataError`` when it is not there."""
    raw = [data / "binance" / name for name in FILES[market]]
    for file in raw:
        if not file.exists():
            raise DataError(f"{file} is not there: the folder with the recorded files is MM_DATA_DIR or --data")
    path = cache / f"{market}-{'-'.join(str(file.stat().st_size) for file in raw)}"
    if not path.exists():
        from mm.data.importers.binance import Options, import_binance

        import_binance(raw, path, Options(market=market))
    return path


def load(profile: str, overrides: tuple[str, ...] = ()) -> RunConfig:
    """A shipped profile."""
    return load_config(PROFILES / f"{profile}.yaml", list(overrides))


def run(profile: str, data: Path, cache: Path, step: str = "", overrides: tuple[str, ...] = ()) -> Row:
    """One profile on its tape."""
    market = market_of(load(profile))
    cfg = load(profile, (f"data.source={json.dumps(str(store(market, data, cache)))}", *overrides))
    return Row(profile, step, market, figures(simulate(cfg, open_tape(cfg.data)), cfg.seed))


def figures(result: SimResult, seed: int) -> dict[str, Any]:
    """What the table shows, of one run."""
    m: dict[str, Any] = result.metrics
    low, high = pnl_interval(result.samples, seed)
    kept = (
        "fills", "paused_share", "clamped_share", "pnl_usd", "fees_usd", "volume_usd", "pnl_per_volume_bps",
        "spread_capture_bps", "markout_1s_bps", "markout_5s_bps", "markout_30s_bps", "max_drawdown_usd", "orders",
        "rejects", "held_back", "max_abs_position", "span_s", "halted",
    )  # fmt: skip
    own = {name: m[name] for name in kept}
    open_share = 1.0 - m["paused_share"]
    uptime = min(m["quote_uptime"] / open_share, 1.0) if open_share > 0.0 else None
    acted = {
        name.removeprefix("acted_"): n / m["decisions"] for name, n in m.items() if name.startswith("acted_") and n
    }
    return {"uptime": uptime, "pnl_low": low, "pnl_high": high, **own, "acted": acted}


def pnl_interval(samples: np.ndarray[Any, Any], seed: int) -> tuple[float, float]:
    """95 % moving-block bootstrap interval of the profit: sampled changes of equity in blocks of ten seconds."""
    change = np.diff(samples["pnl_usd"])
    step_s = float(samples["ts_ns"][-1] - samples["ts_ns"][0]) * 1e-9 / len(change)
    block = min(max(round(BLOCK_S / step_s), 1), len(change))
    found = stats.mean_interval(change, block, stats.shared_starts(len(change), block, RESAMPLES, seed))
    return found.low * len(change), found.high * len(change)


def run_all(data: Path, cache: Path) -> list[Row]:
    """Every profile, each followed by its steps."""
    rows = []
    for profile in names():
        rows.append(run(profile, data, cache))
        rows += [run(profile, data, cache, step, overrides) for step, overrides in STEPS.get(profile, ())]
    return rows


def markdown(rows: list[Row]) -> str:
    """The table of docs/profiles.md."""
    head = (
        "profile", "tape", "fills", "paused", "both sides quoted else", "clamped",
        "profit after fees, 95 % interval [$]", "fees [$]", "traded [$]", "profit / traded [bps]",
        "edge at the fill [bps]", "mid 1 / 5 / 30 s after it [bps]",
    )  # fmt: skip
    return table(head, map(_cells, rows))


def _cells(row: Row) -> tuple[str, ...]:
    f = row.figures
    name = f"[{row.profile}](../configs/profiles/{row.profile}.yaml)" if not row.step else f"… {row.step}"
    marks = " / ".join(_bps(f[f"markout_{s}s_bps"]) for s in (1, 5, 30))
    return (
        name, row.market, f"{f['fills']:,}", f"{f['paused_share']:.1%}",
        "-" if f["uptime"] is None else f"{f['uptime']:.1%}", f"{f['clamped_share']:.1%}",
        f"{f['pnl_usd']:+.2f} ({f['pnl_low']:+.2f} to {f['pnl_high']:+.2f})", f"{f['fees_usd']:+.2f}",
        f"{f['volume_usd']:,.0f}", _bps(f["pnl_per_volume_bps"]), _bps(f["spread_capture_bps"]), marks,
    )  # fmt: skip


def _bps(value: float | None) -> str:
    return "-" if value is None else f"{value:+.2f}"


def write(page: Path, rows: list[Row]) -> None:
    """Replace the table between the marks; raises ``ConfigError`` when a mark is missing."""
    replace_part(page, BEGIN, END, markdown(rows))


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Path(os.environ.get("MM_DATA_DIR") or ROOT.parent / "shared" / "data")
    parser.add_argument("--data", type=Path, default=default, help="folder of the recorded files")
    parser.add_argument("--write", type=Path, help="page whose table is replaced")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    args = parser.parse_args()
    rows = run_all(args.data, cache_dir())
    print(markdown(rows))
    for row in rows:
        for text in row.failed:
            print(f"FAILED  {row.profile}: {text}")
    if args.write:
        write(args.write, rows)
    if args.json:
        print(json.dumps([{"profile": r.profile, "step": r.step, "market": r.market, **r.figures} for r in rows]))
    return int(any(row.failed for row in rows))


if __name__ == "__main__":
    raise SystemExit(main())
