"""The simulator alone: nanoseconds per event, many sets in one pass, threads, cold start, memory, import.

Figures of one thread are CPU time, figures of two threads wall time. ``--day N`` replays a synthetic day of N events
instead of the short one (100000000 is the issue's: about 6 GB of disk in the cache and some minutes); ``--plots DIR``
draws cost against sets, events and threads.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.common import ROOT, Report, arguments, best_s, cache_dir, interleaved_best_s, open_data, raw_tape
from benchmarks.peer_env import run_peer
from mm.config.schema import DataConfig, RunConfig
from mm.models.registry import MODELS
from mm.sim.one_pass import Pass
from mm.sim.run import market_view, simulate, simulate_many
from mm.sim.tape import Tape, open_tape
from mm.strategy.setup import settings_of

DAY_EVENTS = 5_000_000  # of the default run
RSS_LIMIT_MB = 4096.0
FULL_DAY_EVENTS = 100_000_000


ALL_CONTROLS: dict[str, Any] = {
    "tick_filter": {}, "inventory": {"soft": "10 lots", "hard": "25 lots"}, "cooldown": {}, "displacement": {},
    "momentum": {}, "regime": {"bar": "1s", "period": 5, "soften": 40, "pull": 100, "dwell": "1s"},
    "volatility": {"pull": "9%/hour"}, "market_spread": {}, "thin_book": {}, "fee_floor": {"margin_bps": -100},
    "session": {"end": "12:00"}, "rebalance": {"limit": "30 lots"}, "liquidation": {},
}  # fmt: skip
"""Every control at once, set so that quotes stand nearly all the time (97 % on the recorded tape)."""


def config(
    k: int = 0,
    *,
    model: str = "glft_asymptotic",
    sim: dict[str, Any] | None = None,
    controls: dict[str, Any] | None = None,
) -> RunConfig:
    """Set ``k``: GLFT with spread bounds, whole fills, decisions every 100 ms; sets differ in gamma and kappa."""
    return RunConfig.model_validate(
        {
            "strategy": {
                "model": {"name": model, "gamma": {"q_max": 3 + 0.05 * (k % 64)}, "kappa": f"{1 + 0.01 * k:.2f}/bp"},
                "order_size": "5 lots",
                "spread": {"min": "0.2 bps", "max": "20 bps", "max_skew": "10 bps"},
                "requote": {"min_age": "0ms"},
                "controls": controls,
            },
            "risk": {"max_drawdown_usd": 1e9, "max_daily_loss_usd": 1e9},
            "sim": {
                "decide_every": "100ms",
                "partial_fills": False,
                "queue": {"model": "power", "n": 2},
                **(sim or {}),
            },
        }
    )


def cpu_s(run: Any, repeats: int = 7) -> float:
    """CPU seconds of the fastest run."""
    return best_s(run, repeats=repeats, clock=time.process_time)


def single_s(cfg: RunConfig, tape: Tape, repeats: int = 7) -> float:
    """One trial with everything: the market is observed anew each time."""

    def run() -> None:
        tape.features.clear()
        simulate(cfg, tape)

    run()
    return cpu_s(run, repeats)


def pass_s(configs: list[RunConfig], tape: Tape, repeats: int = 7) -> float:
    """One pass of the engine for up to 64 sets whose market view is known: the kernel alone."""
    parts = [settings_of(cfg, tape.instrument, tape.ref_price) for cfg in configs]
    view = market_view(configs[0], tape)
    Pass(configs, parts, view, tape).advance()
    best = float("inf")
    for _ in range(repeats):
        one = Pass(configs, parts, view, tape)
        best = min(best, cpu_s(one.advance, 1))
    return best


def speed(report: Report, tape: Tape) -> None:
    """One set, and 64 in one pass."""
    events = tape.events
    single = single_s(config(), tape, 15) / events * 1e9
    report.case("single", single, unit="ns/event")
    report.check("single_ns_per_event_le_13", single <= 13)
    sets = [config(k) for k in range(64)]
    kernel = pass_s(sets, tape, 15) / events / 64 * 1e9
    report.case("set64_kernel", kernel, unit="ns/event/set")
    report.check("set64_ns_per_event_set_le_0_5", kernel <= 0.5)
    report.case("set64", cpu_s(lambda: simulate_many(sets, tape)) / events / 64 * 1e9, unit="ns/event/set")
    done = simulate_many(sets, tape)
    report.case("metrics", cpu_s(lambda: [r.work_out() for r in done], 3) / 64 * 1e3, unit="ms/set")
    report.case("result_hash", cpu_s(lambda: [r.digest() for r in done], 3) / 64 * 1e3, unit="ms/set")


def variants(report: Report, tape: Tape) -> None:
    """What the rest of the features cost."""
    events = tape.events
    for name in MODELS:
        report.case(f"single_{name}", single_s(config(model=name), tape, 3) / events * 1e9, unit="ns/event")
    report.case(
        "single_every_message", single_s(config(sim={"decide_every": "message"}), tape, 3) / events * 1e9,
        unit="ns/event",
    )  # fmt: skip
    report.case(
        "single_partial_fills", single_s(config(sim={"partial_fills": True}), tape) / events * 1e9, unit="ns/event"
    )
    for queue in ("risk_averse", "power3", "log", "touch", "trade_through"):
        cost = single_s(config(sim={"queue": {"model": queue, "n": 3}}), tape, 3)
        report.case(f"single_queue_{queue}", cost / events * 1e9, unit="ns/event")
    report.case("single_all_controls", single_s(config(controls=ALL_CONTROLS), tape, 3) / events * 1e9, unit="ns/event")
    mixed = {
        "set64_partial_fills": [config(k, sim={"partial_fills": True}) for k in range(64)],
        "set64_own_latencies": [config(k, sim={"order_latency": f"{1 + k}ms"}) for k in range(64)],
        "set64_every_message": [config(k, sim={"decide_every": "message"}) for k in range(64)],
        "set64_all_controls": [config(k, controls=ALL_CONTROLS) for k in range(64)],
        "set64_all_models": [config(k, model=list(MODELS)[k % len(MODELS)]) for k in range(64)],
    }
    for name, sets in mixed.items():
        report.case(name, pass_s(sets, tape, 3) / events / 64 * 1e9, unit="ns/event/set")


def thread_scale(tape: Tape, n: int = 128, repeats: int = 40) -> float:
    """How much faster two threads are than one."""
    sets = [config(k) for k in range(n)]
    simulate_many(sets, tape)
    best = interleaved_best_s(
        {"1": lambda: simulate_many(sets, tape), "2": lambda: simulate_many(sets, tape, threads=2)}, repeats=repeats
    )
    return best["1"] / best["2"]


def threads(report: Report, tape: Tape) -> None:
    """Two threads on this tape, where what Python does per set weighs, and on one of half an hour."""
    report.case("threads2_short_tape", thread_scale(tape), unit="x")
    long = open_tape(DataConfig.model_validate({"source": "synth", "duration": "1800s", "seed": 1}))
    scale = thread_scale(long, repeats=12)
    report.case("threads2_half_hour", scale, unit="x")
    report.check("threads2_scale_ge_1_7", scale >= 1.7)


def _child(code: str, *args: str) -> dict[str, Any]:
    """Run ``code`` in a fresh interpreter from the project's root; its last line is JSON."""
    done = subprocess.run([sys.executable, "-c", code, *args], check=True, capture_output=True, cwd=ROOT, text=True)
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


COLD = """
import json, sys
from benchmarks.sim import config
from mm.config.schema import DataConfig
from mm.sim.run import simulate
from mm.sim.tape import open_tape
simulate(config(), open_tape(DataConfig(source=sys.argv[1])))
heavy = [m for m in ("pandas", "pyarrow", "matplotlib", "plotly", "ray", "scipy") if m in sys.modules]
print(json.dumps({"heavy": heavy}))
"""

DAY = """
import json, sys, time
from benchmarks.sim import config, peak_mb
from mm.config.schema import DataConfig
from mm.sim.run import simulate
from mm.sim.tape import open_tape
base = peak_mb()
start = time.perf_counter()
tape = open_tape(DataConfig(source=sys.argv[1]))
opened, open_mb = time.perf_counter() - start, peak_mb()
start = time.perf_counter()
result = simulate(config(), tape)
print(json.dumps({"events": tape.events, "base_mb": base, "open_s": opened, "open_mb": open_mb,
                  "replay_s": time.perf_counter() - start, "peak_mb": peak_mb(), "fills": len(result.fills)}))
"""


def cold(report: Report, tape: Tape) -> None:
    """A fresh process, with kernels on disk: imports, opening the tape, one trial."""
    _child(COLD, str(tape.path))
    took = []
    heavy: list[str] = []
    for _ in range(4):
        start = time.perf_counter()
        heavy = _child(COLD, str(tape.path))["heavy"]
        took.append(time.perf_counter() - start)
    report.case("cold_process", min(took), unit="s")
    report.notes["heavy_imports_of_a_trial"] = heavy
    report.check("cold_process_le_2s", min(took) <= 2.0)


WRITE_DAY = """
import json, sys
from pathlib import Path
from benchmarks.sim import peak_mb, write_day
write_day(Path(sys.argv[1]), int(sys.argv[2]))
print(json.dumps({"peak_mb": peak_mb()}))
"""


def peak_mb() -> float:
    """Largest resident set of this process so far (rusage would count that of the process that started us)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def write_day(path: Path, events: int) -> None:
    """A synthetic day of about that many events: the flow's rates scaled so that 24 hours hold them."""
    from mm.data.synth import SynthSpec, write_synth

    base = SynthSpec()
    seconds = 86_400.0
    factor = events / (seconds * 500.0)  # the default flow makes about 500 events a second
    rates = ("fair_moves_per_s", "market_orders_per_s", "churn_per_s")
    write_synth(path, dataclasses.replace(base, **{name: getattr(base, name) * factor for name in rates}), 1, seconds)


def day(report: Report, events: int) -> None:
    """Peak memory of a process that replays a day; a short day is extrapolated by its bytes per event."""
    path = cache_dir() / f"day-{events}"
    if not path.exists():
        report.notes["day_write_peak_mb"] = _child(WRITE_DAY, str(path), str(events))["peak_mb"]
    seen = _child(DAY, str(path))
    per_event = (seen["peak_mb"] - seen["base_mb"]) / seen["events"]
    full_mb = seen["base_mb"] + per_event * FULL_DAY_EVENTS
    report.notes["day"] = seen | {"bytes_per_event": per_event * 1024 * 1024, "extrapolated": seen["events"] < 9e7}
    report.case("day_rss_100M_events", full_mb, unit="MB")
    report.case("day_replay", (seen["open_s"] + seen["replay_s"]) / seen["events"] * 1e9, unit="ns/event")
    report.check("day_rss_le_4gb", full_mb <= RSS_LIMIT_MB)


IMPORT = """
import json, sys, time
from pathlib import Path
from mm.data.importers.binance import Options, import_binance
times = []
for _ in range(4):
    start = time.process_time()
    import_binance([Path(sys.argv[1])], Path(sys.argv[2]), Options(market="usdm"))
    times.append(time.process_time() - start)
print(json.dumps({"s": min(times)}))
"""


def importing(report: Report) -> None:
    """Our importer (to a store on disk, the book checked) against hftbacktest's converter, CPU time.

    Like for like is to disk; its converter can also stop at an array in memory, which ours cannot.
    """
    raw = raw_tape()
    if raw is None:
        report.notes["import"] = "no raw tape on this machine"
        return
    out = cache_dir() / "import-test"
    ours = _child(IMPORT, str(raw), str(out))["s"]
    peer = run_peer("convert", raw)
    ratio = report.case("import_to_disk", ours, peer["to_disk_s"], "CPU-s")
    report.case("import_peer_to_array", ours, peer["to_array_s"], "CPU-s")
    report.check("import_ratio_ge_2", (ratio or 0.0) >= 2.0)


def scaling(tape: Tape) -> dict[str, Any]:
    """Cost against the number of sets, of events, and of threads."""
    out: dict[str, Any] = {"sets": {}, "events": {}, "threads": {}}
    for n in (1, 2, 4, 8, 16, 32, 64):
        out["sets"][n] = pass_s([config(k) for k in range(n)], tape, 5) / tape.events / n * 1e9
    for seconds in (60, 300, 1200, 3600):
        data = DataConfig.model_validate({"source": "synth", "duration": f"{seconds}s", "seed": 1})
        long = open_tape(data)
        out["events"][long.events] = single_s(config(), long, 3) / long.events * 1e9
    for n in (2, 8, 32, 128, 256):
        out["threads"][n] = thread_scale(tape, n, 25)
    return out


def draw(measured: dict[str, Any], folder: Path) -> None:
    """One picture of three panels."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(10, 2.9), layout="constrained")
    panels = (
        ("sets", "parameter sets in one pass", "ns per event and set"),
        ("events", "events on the tape, one set", "ns per event"),
        ("threads", "sets in the sweep", "two threads over one"),
    )
    for axis, (key, x, y) in zip(axes, panels, strict=True):
        axis.plot(list(measured[key]), list(measured[key].values()), "o-", color="#2a6f97", markersize=4)
        axis.set_xscale("log", base=10 if key == "events" else 2)
        axis.set_xlabel(x)
        axis.set_ylabel(y)
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
    axes[0].set_yscale("log")
    axes[0].set_ylim(0.1, 10)
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / "sim_scaling.png", dpi=80)
    plt.close(figure)


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--day", type=int, default=DAY_EVENTS, metavar="N", help="events of the synthetic day")
    parser.add_argument("--plots", type=Path, metavar="DIR", help="draw the scaling plots there")


def main() -> None:
    """Measure everything."""
    args = arguments(__doc__, _options)
    tape, name = open_data(args.data)
    report = Report("sim", name)
    speed(report, tape)
    threads(report, tape)
    cold(report, tape)
    variants(report, tape)
    importing(report)
    day(report, args.day)
    if args.plots:
        measured = scaling(tape)
        report.notes["scaling"] = measured
        draw(measured, args.plots)
    report.notes["load_average"] = os.getloadavg()[0]
    report.print(as_json=args.json)


if __name__ == "__main__":
    main()
