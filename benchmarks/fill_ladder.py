"""The fill ladder on recorded order books: one GLFT maker and blind quotes under every fill model.

    python -m benchmarks.fill_ladder [--data DIR] [--write docs/simulator.md] [--plots docs/img]

DIR holds the recorded files (default MM_DATA_DIR). ``--write`` replaces the tables between the marks of a page,
``--plots`` writes a picture a market. Minutes of one market: the ladder says how much of a result is the fill model.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any, Final

from benchmarks.common import ROOT, cache_dir, replace_part
from benchmarks.profiles import store
from mm.config.schema import RunConfig
from mm.data.store import Store
from mm.report.ladder import picture, run_ladder, verdict
from mm.report.venue_tables import table
from mm.sim.tape import from_store

MARKETS: Final = {"usdm": "Binance USDⓈ-M BTCUSDT, 345 s", "spot": "Binance spot BTCUSDT, 650 s"}
BEGIN: Final = "<!-- tables: python -m benchmarks.fill_ladder --write docs/simulator.md --plots docs/img -->"
END: Final = "<!-- end of tables -->"
HEAD: Final = (
    "rung", "fills", "profit before fees [$]", "after [$]", "blind quotes: fills", "before fees [bps]", "after [bps]",
)  # fmt: skip


def config(market: str) -> RunConfig:
    """The maker: 500 $ orders at least 0.5 bps apart, 10 ms to the venue and back, the instrument's own fees."""
    strategy: dict[str, Any] = {
        "model": {"gamma": {"q_max": 5}, "kappa": "2.5/bps", "A": 3},
        "order_size": "500 usd",
        "spread": {"min": "0.5 bps"},
        "requote": {"threshold": "2 ticks"},
    }
    if market == "spot":
        strategy["opening_base"] = "2500 usd"  # something to sell, for half of the limit
    risk = {"max_position": "10000 usd", "max_daily_loss_usd": 9000, "max_drawdown_usd": 9000}
    sim = {"order_latency": "10ms", "response_latency": "10ms"}
    return RunConfig.model_validate({"strategy": strategy, "risk": risk, "sim": sim})


def ladder(market: str, data: Path) -> dict[str, Any]:
    """Every rung on the recorded tape of one market."""
    return run_ladder(config(market), from_store(Store.open(store(market, data, cache_dir()))))


def markdown(market: str, found: dict[str, Any]) -> str:
    """One market: what was traded on, the rungs, the verdict."""
    rows = []
    for r in found["rungs"]:
        s, c = r["strategy"], r["control"]
        errors = [f"{c[name]:+.2f} ± {c[name + '_se']:.2f}" for name in ("gross_bps", "pnl_bps")]
        rows.append(
            (r["rung"], f"{s['fills']}", f"{s['gross_usd']:+.2f}", f"{s['pnl_usd']:+.2f}", f"{c['fills']:.0f}", *errors)
        )
    return f"**{MARKETS[market]}**, {found['events']:,} events.\n\n{table(HEAD, rows)}\n\n{verdict(found)}"


def main() -> None:
    """Run both markets; print or write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = os.environ.get("MM_DATA_DIR") or ROOT.parent / "shared" / "data"
    parser.add_argument("--data", type=Path, default=Path(default), help="folder with the recorded files")
    parser.add_argument("--write", type=Path, help="page whose tables are replaced")
    parser.add_argument("--plots", type=Path, help="folder for the pictures")
    args = parser.parse_args()
    parts = []
    for market in MARKETS:
        found = ladder(market, args.data)
        parts.append(markdown(market, found))
        if args.plots:
            picture(found, args.plots / f"fill_ladder_{market}.png")
    if args.write:
        replace_part(args.write, BEGIN, END, "\n\n".join(parts))
    else:
        print("\n\n".join(parts))


if __name__ == "__main__":
    main()
