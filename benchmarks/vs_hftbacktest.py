"""The same GLFT maker on hftbacktest 2.4.4 and on our engine: equal fills, positions and equity first, then speed.

Both see the rows of our store: the same events, times and order, whole fills, one queue model, constant order and
response latency, recorded feed latency. The peer runs in an environment of its own (``benchmarks.peer_env``).
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.common import ROOT, Report, arguments, best_s, open_data
from benchmarks.peer_env import PEER, run_peer
from mm.config.schema import RunConfig
from mm.core.types import ASK, BID, BUY, CLEAR_ASK, CLEAR_BID, FUNDING, MARK, SELL
from mm.data.store import Store
from mm.sim.market import observations
from mm.sim.queue import MODELS as QUEUE_MODELS
from mm.sim.run import SimResult, decision_times, market_view, simulate, simulate_many
from mm.sim.tape import Tape
from mm.strategy.setup import resolve

N_SETS = 100  # compared fill by fill, and swept by the peer
N_SWEEP = 1000  # swept by us: a sweep; the peer's time per trial does not depend on their number
EVENT = np.dtype(
    [
        ("ev", "u8"), ("exch_ts", "i8"), ("local_ts", "i8"), ("px", "f8"), ("qty", "f8"), ("order_id", "u8"),
        ("ival", "i8"), ("fval", "f8"),
    ],
    align=True,
)  # fmt: skip
"""One row of hftbacktest's data."""

_BOTH, _BUY, _SELL = 1 << 31 | 1 << 30, 1 << 29, 1 << 28
_DEPTH, _TRADE, _CLEAR = 1, 2, 3
FLAGS = {
    BID: _DEPTH | _BUY, ASK: _DEPTH | _SELL, SELL: _TRADE | _SELL, BUY: _TRADE | _BUY, CLEAR_BID: _CLEAR | _BUY,
    CLEAR_ASK: _CLEAR | _SELL,
}  # fmt: skip


def parameter_sets(n: int, seed: int = 7, unit: int = 1) -> list[RunConfig]:
    """Configs that differ in everything that the maker and the two exchanges share. The first one is the plain one.

    Order sizes are multiples of ``unit`` lots.
    """
    rng = np.random.default_rng(seed)
    sets = [_config(size=f"{5 * unit} lots")]
    while len(sets) < n:
        low = float(rng.choice([0.0, 0.1, 0.3, 1.0]))
        sets.append(
            _config(
                gamma={"q_max": float(rng.uniform(1, 12))},
                kappa=f"{rng.uniform(0.5, 8):.4f}/bp",
                A=float(rng.uniform(0.2, 4)),
                sigma=f"{rng.uniform(0.2, 2):.4f} bps/s" if rng.random() < 0.5 else {"halflife": "20s"},
                size=f"{rng.choice([2, 3, 5, 10, 50]) * unit} lots",
                limit=int(rng.integers(1, 12)),
                spread={"min": f"{low} bps", "max": f"{low + rng.uniform(0.1, 5):.4f} bps",
                        "max_skew": f"{rng.uniform(0.2, 20):.4f} bps"},
                threshold=int(rng.choice([1, 2, 5, 20])),
                max_age=float(rng.choice([0.3, 3.0, 30.0])),
                refresh=float(rng.choice([0.1, 1.0, 5.0])),
                queue=str(rng.choice(["risk_averse", "power", "power2", "power3"])),
                n=float(rng.choice([1.0, 2.0, 3.0])),
                fee=str(rng.choice(["-0.5 bps", "0 bps", "2 bps"])),
            )
        )  # fmt: skip
    return sets


def _config(
    *, gamma: Any = None, kappa: str = "1/bp", A: float = 0.8, sigma: Any = "0.7 bps/s", size: str = "5 lots",
    limit: int = 5, spread: Any = None, threshold: int = 1, max_age: float = 30.0, refresh: float = 1.0,
    queue: str = "power", n: float = 2.0, fee: str = "-0.5 bps",
) -> RunConfig:  # fmt: skip
    return RunConfig.model_validate(
        {
            "strategy": {
                "model": {"name": "glft_asymptotic", "gamma": gamma or {"q_max": 5}, "kappa": kappa, "A": A,
                          "sigma": sigma, "n_lots": limit},
                "order_size": size,
                "spread": spread or {"min": "0.2 bps", "max": "20 bps", "max_skew": "10 bps"},
                "requote": {"threshold": f"{threshold} ticks", "min_age": "0ms", "max_age": f"{max_age}s"},
                "refresh": f"{refresh}s",
            },
            # the peer has no risk actor: its halts stay out of the comparison
            "risk": {"max_position": "1000000000 usd", "max_notional_usd": 1e12, "initial_equity_usd": 1e12,
                     "max_daily_loss_usd": 1e12, "max_drawdown_usd": 1e12},
            "sim": {"order_latency": "10ms", "response_latency": "10ms", "decide_every": "100ms",
                    "queue": {"model": queue, "n": n}, "partial_fills": False, "maker_fee": fee},
        }
    )  # fmt: skip


def peer_rows(store: Store, tape: Tape, *, as_stamped: bool = False) -> NDArray[Any]:
    """The store's rows as hftbacktest reads them, in our order: the exchange's clock never steps back.

    ``as_stamped`` leaves the exchange's stamps as they are, for the peer to sort.
    Rows that only we keep (mark prices) are left out; a clear that reaches beyond the replay's window stops there.
    """
    base_tick, n_levels = tape.book_window
    kept = ~np.isin(store.kind, (FUNDING, MARK))
    kind = store.kind[kept].astype(np.int64)
    tick = store.tick[kept].astype(np.int64)
    clears = (kind == CLEAR_BID) | (kind == CLEAR_ASK)
    tick = np.where(clears, np.clip(tick, base_tick, base_tick + n_levels - 1), tick)
    flags = np.array([FLAGS.get(k, 0) for k in range(max(FLAGS) + 1)], np.uint64)
    out = np.zeros(int(kept.sum()), EVENT)
    out["ev"] = flags[kind] | np.uint64(_BOTH)
    out["exch_ts"] = (store.ts_exch_ns if as_stamped else np.maximum.accumulate(store.ts_exch_ns))[kept]
    out["local_ts"] = store.ts_recv_ns[kept]
    out["px"] = tick * float(tape.instrument.tick_size)
    out["qty"] = store.lots[kept] * float(tape.instrument.lot_size)
    return out


def write_job(folder: Path, configs: list[RunConfig], tape: Tape) -> NDArray[np.int64]:
    """Everything the peer needs, in kernel units; returns the decision moments."""
    store = Store.open(tape.path)
    times = decision_times(configs[0], tape)
    base_tick, n_levels = tape.book_window
    rows, sigmas, known = [], [np.zeros(len(times))], {}
    for cfg in configs:
        r = resolve(cfg, tape.instrument, tape.ref_price)
        p, m = r.params[0], r.model[0]
        row = 0
        if p.static_sigma < 0.0:  # the estimate in flight is fed: the peer sees only decision moments
            view = market_view(cfg, tape, times)
            row = known.setdefault(view.key(), len(sigmas))
            if row == len(sigmas):
                sigmas.append(np.sqrt(np.concatenate([c.features["sigma2"] for c in observations(tape, view)])))
        xi = float(m.gamma if m.xi < 0 else m.xi)
        rows.append(
            {
                "gamma": float(m.gamma), "kappa": float(m.kappa), "A": float(m.A), "xi": xi,
                "sigma": float(p.static_sigma), "sigma_floor": float(p.sigma_floor), "sigma_row": row,
                "order_lots": int(p.order_lots), "min_lots": int(p.min_lots),
                "max_inventory_lots": int(p.max_inventory_lots), "min_spread": float(p.min_spread),
                "max_spread": float(p.max_spread), "max_skew": float(p.max_skew), "threshold": float(p.threshold),
                "max_age_ns": int(p.max_age_ns), "refresh_ns": int(p.refresh_ns),
                "maker_fee": int(p.maker_fee_e8) * 1e-8, "queue_model": QUEUE_MODELS[cfg.sim.queue.model],
                "queue_n": cfg.sim.queue.n, "entry_ns": round(cfg.sim.order_latency * 1e9),
                "response_ns": round(cfg.sim.response_latency * 1e9), "spot": int(p.spot), "inverse": int(p.inverse),
                "contract_value": float(tape.instrument.contract_value),
            }
        )  # fmt: skip
    dtype = np.dtype([(name, "i8" if isinstance(value, int) else "f8") for name, value in rows[0].items()])
    np.save(folder / "sets.npy", np.array([tuple(r.values()) for r in rows], dtype))
    np.save(folder / "sigmas.npy", np.array(sigmas))
    np.save(folder / "decide_ns.npy", times)
    np.save(folder / "events.npy", peer_rows(store, tape))
    job = {"tick_size": float(tape.instrument.tick_size), "lot_size": float(tape.instrument.lot_size),
           "low_tick": base_tick, "high_tick": base_tick + n_levels - 1}  # fmt: skip
    (folder / "job.json").write_text(json.dumps(job))
    return times


def differences(ours: list[SimResult], peer: dict[str, Any], end_ns: int) -> list[dict[str, Any]]:
    """The sets that differ, and in what: fills (time, order, side, price, size), position and equity at each decision.

    Equity is a float sum on the peer's side and integers on ours: equal means within 1e-9 of the largest equity.
    """
    out = []
    starts = np.concatenate([[0], np.cumsum(peer["counts"])])
    for k, result in enumerate(ours):
        known = result.fills[result.fills["ts_recv_ns"] <= end_ns]  # the peer shows a fill when its report arrives
        mine = sorted(known[["ts_exch_ns", "order_id", "side", "tick", "lots"]].tolist())
        theirs = sorted(peer["fills"][starts[k] : starts[k + 1]].tolist())
        equity = result.samples["pnl_usd"]
        worth = float(np.abs(equity - peer["equity"][k]).max())
        fills_equal = mine == theirs
        position_equal = bool(np.array_equal(result.samples["pos_lots"], peer["position"][k]))
        equity_equal = position_equal and worth <= 1e-9 * (1.0 + float(np.abs(equity).max()))
        if not (fills_equal and equity_equal):
            first = next(((x, y) for x, y in zip(mine, theirs, strict=False) if x != y), None)
            out.append(
                {"set": k, "fills_equal": fills_equal, "equity_equal": equity_equal, "fills_ours": len(mine),
                 "fills_peer": len(theirs), "first_difference": first, "equity_usd": worth}
            )  # fmt: skip
    return out


def compare(report: Report, tape: Tape, folder: Path) -> list[RunConfig]:
    """Fills, positions and equity of 100 parameter sets on both sides."""
    configs = parameter_sets(N_SETS)
    times = write_job(folder, configs, tape)
    run_peer("verify", folder)
    with np.load(folder / "results.npz") as file:
        peer = dict(file)
    ours = simulate_many(configs, tape)
    wrong = differences(ours, peer, int(times[-1]))
    report.check("fills_equal_100", all(w["fills_equal"] for w in wrong) and len(ours) == N_SETS)
    report.check("equity_equal_100", all(w["equity_equal"] for w in wrong) and len(ours) == N_SETS)
    fills = [len(r.fills) for r in ours]
    report.notes["compared"] = {
        "sets": len(ours),
        "fills": sum(fills),
        "fills_per_set": {"min": min(fills), "median": float(np.median(fills)), "max": max(fills)},
        "rejects": sum(int(r.metrics["rejects"] or 0) for r in ours),
        "largest_equity_usd": max(float(np.abs(r.samples["pnl_usd"]).max()) for r in ours),
        "largest_equity_difference_usd": max(
            float(np.abs(r.samples["pnl_usd"] - peer["equity"][k]).max()) for k, r in enumerate(ours)
        ),
        "sets_that_differ": wrong,
    }
    return configs


def by_stamp(report: Report, tape: Tape, folder: Path, configs: list[RunConfig]) -> None:
    """The one difference that is defined rather than found: what the exchange did when rows arrive out of its order.

    Ours lets a row count when its predecessor did; the peer's converter sorts the exchange's view by its stamps.
    """
    store = Store.open(tape.path)
    late = store.ts_exch_ns < np.maximum.accumulate(store.ts_exch_ns)
    np.save(folder / "events.npy", peer_rows(store, tape, as_stamped=True))
    run_peer("verify-by-stamp", folder)
    with np.load(folder / "results.npz") as file:
        peer = dict(file)
    names = ["ts_exch_ns", "side", "tick", "lots"]
    starts = np.concatenate([[0], np.cumsum(peer["counts"])])
    same, gaps = 0, []
    ours = simulate_many(configs, tape)
    for k, result in enumerate(ours):
        theirs = Counter(peer["fills"][starts[k] : starts[k + 1]][names].tolist())
        same += (theirs & Counter(result.fills[names].tolist())).total()
        gaps.append(abs(float(result.samples["pnl_usd"][-1] - peer["equity"][k][-1])))
    report.notes["exchange_order_by_stamp"] = {
        "rows_stamped_before_their_predecessor": int(late.sum()),
        "rows": len(store),
        "fills_ours": sum(len(r.fills) for r in ours),
        "fills_peer": int(peer["counts"].sum()),
        "fills_equal": same,
        "median_final_equity_difference_usd": float(np.median(gaps)),
    }


def race(report: Report, tape: Tape, configs: list[RunConfig], folder: Path) -> None:
    """Times of both sides in the same minutes: one core in CPU time, two cores in wall time.

    Ours observes the market anew each time. Both end with fills, position and equity; the peer computes no metrics, so
    ours are counted apart.
    """
    plain = configs[0]
    many = parameter_sets(N_SWEEP)

    def observed() -> None:
        tape.features.clear()
        simulate(plain, tape)

    def sweep(threads: int, sets: list[RunConfig] = many, *, figures: bool = False) -> None:
        tape.features.clear()
        for result in simulate_many(sets, tape, threads=threads):
            if figures:
                result.work_out()

    single: list[float] = []
    reused: list[float] = []
    sweep_1: list[float] = []
    hundred: list[float] = []
    sweep_2: list[float] = []
    figures: list[float] = []
    peer: dict[str, float] = {}
    for _ in range(2):  # ours, theirs, ours, theirs: a slow minute hits both
        single.append(best_s(observed, repeats=15, clock=time.process_time))
        reused.append(best_s(lambda: simulate(plain, tape), repeats=15, clock=time.process_time))
        sweep_1.append(best_s(lambda: sweep(1), repeats=5, clock=time.process_time))
        hundred.append(best_s(lambda: sweep(1, configs), repeats=9, clock=time.process_time))
        figures.append(best_s(lambda: sweep(1, configs, figures=True), repeats=2, clock=time.process_time))
        sweep_2.append(best_s(lambda: sweep(2), repeats=15))
        times = run_peer("time", folder)
        peer = {name: min(value, peer.get(name, value)) for name, value in times.items()}
    events, n = tape.events, len(configs)
    ratio = report.case("single_trial", min(single) * 1e3, peer["run_s"] * 1e3, "ms")
    report.case("single_trial_per_event", min(single) / events * 1e9, peer["run_s"] / events * 1e9, "ns/event")
    report.case("single_trial_hashmap_peer", min(single) * 1e3, peer["run_hash_s"] * 1e3, "ms")
    report.case("single_trial_peer_with_build", min(single) * 1e3, peer["with_build_s"] * 1e3, "ms")
    report.case("single_trial_market_seen_before", min(reused) * 1e3, peer["run_s"] * 1e3, "ms")
    rate, rate_2 = n / peer["sweep_1_s"], n / peer["sweep_2_s"]
    report.case("sweep_100_1_core_all_metrics", n / min(figures), rate, "trials/s", higher_is_better=True)
    report.case("sweep_100_1_core", n / min(hundred), rate, "trials/s", higher_is_better=True)
    report.case("sweep_1000_1_core", len(many) / min(sweep_1), rate, "trials/s", higher_is_better=True)
    swept = report.case("sweep_1000_2_cores", len(many) / min(sweep_2), rate_2, "trials/s", higher_is_better=True)
    report.case("first_call_in_a_process", best_cold_s(tape), peer["first_call_s"], "CPU-s")
    report.check("single_ratio_ge_5", (ratio or 0.0) >= 5.0)
    report.check("sweep_ratio_ge_100", (swept or 0.0) >= 100.0)


def best_cold_s(tape: Tape) -> float:
    """CPU seconds of the first trial in a fresh process, imports and opening the tape left out, as for the peer."""
    code = (
        "import sys, time; from benchmarks.vs_hftbacktest import parameter_sets, open_data, simulate; "
        "from pathlib import Path; tape, _ = open_data(Path(sys.argv[1])); cfg = parameter_sets(1)[0]; "
        "t = time.process_time(); simulate(cfg, tape); print(time.process_time() - t)"
    )
    command = [sys.executable, "-c", code, str(tape.path)]
    return min(float(subprocess.run(command, check=True, capture_output=True, cwd=ROOT).stdout) for _ in range(3))


def main() -> None:
    """Compare, then race."""
    args = arguments(__doc__)
    tape, name = open_data(args.data)
    report = Report("vs_hftbacktest", name)
    report.notes["peer"] = PEER
    with tempfile.TemporaryDirectory(prefix="raymaker-peer-") as temp:
        folder = Path(temp)
        configs = compare(report, tape, folder)
        race(report, tape, configs, folder)
        by_stamp(report, tape, folder, configs)
        if args.data is None:
            from benchmarks.peer_kinds import other_kinds  # it imports this module

            other_kinds(report, folder)
    report.print(as_json=args.json)


if __name__ == "__main__":
    main()
