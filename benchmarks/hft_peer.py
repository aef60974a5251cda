# numba infers the types; this file runs in the peer's environment
# ruff: noqa: ANN001, ANN201, ANN202
"""The peer's side of ``benchmarks.vs_hftbacktest``; runs in the peer's environment, where hftbacktest is installed.

    python hft_peer.py verify|verify-by-stamp|time|convert PATH

``verify`` writes what each parameter set did to ``results.npz``; ``time`` prints one JSON line of timings. The maker
is the decision kernel's rule for ``glft_asymptotic`` written against hftbacktest's API: reference mid, closed form,
inventory limit, skew and spread bounds, post-only rounding, one order a side, replaced when its target moved. Spot is
the peer's linear asset with a maker that sells only what it holds.
"""

import contextlib
import io
import json
import math
import multiprocessing
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from hftbacktest import (
    FILLED,
    GTX,
    LIMIT,
    NEW,
    NONE,
    BacktestAsset,
    HashMapMarketDepthBacktest,
    ROIVectorMarketDepthBacktest,
)
from hftbacktest.data import correct_event_order
from hftbacktest.types import event_dtype
from numba import njit

FILL = np.dtype([("ts_exch_ns", "i8"), ("order_id", "i8"), ("side", "i8"), ("tick", "i8"), ("lots", "i8")])
MAX_FILLS = 100_000


@njit
def coefficients(s, sigma):
    """GLFT closed form: (half spread, skew per order), ticks."""
    z = s.xi / s.kappa
    ratio = math.log1p(z) / z if z > 0.0 else 1.0
    c1 = ratio / s.kappa
    c2 = math.sqrt(s.gamma / (2.0 * s.A * s.kappa)) * math.exp(0.5 * (ratio + math.log1p(z)))
    skew = c2 * sigma
    return c1 + 0.5 * skew, skew


@njit
def wanted_lots(s, room):
    """Size of a quote: the order size, or what the inventory limit leaves."""
    lots = min(s.order_lots, room)
    return lots if lots >= s.min_lots else 0


@njit
def targets(s, mid, half, skew, q, pos, best_bid, best_ask):
    """(bid tick, bid lots, ask tick, ask lots)."""
    lean = skew * q + 0.0
    raw_bid = mid - (half + lean)
    raw_ask = mid + (half - lean)
    skewed = 0.5 * (raw_bid + raw_ask) - mid
    spread = raw_ask - raw_bid
    bounded_skew = min(max(skewed, -s.max_skew), s.max_skew)
    bounded = min(max(spread, s.min_spread), s.max_spread)
    if bounded_skew != skewed or bounded != spread:
        raw_bid = mid + bounded_skew - 0.5 * bounded
        raw_ask = mid + bounded_skew + 0.5 * bounded
    bid = min(math.floor(raw_bid), best_ask - 1)
    ask = max(math.ceil(raw_ask), best_bid + 1)
    bid_lots = wanted_lots(s, s.max_inventory_lots - pos)
    room = s.max_inventory_lots + pos
    ask_lots = wanted_lots(s, min(room, pos) if s.spot else room)
    if bid >= ask:
        if q >= 0:
            bid_lots = 0
        else:
            ask_lots = 0
    return int(bid), bid_lots, int(ask), ask_lots


@njit
def serves(s, order, tick, lots, now, lot):
    """A resting order still serves its target."""
    if lots == 0 or round(order.leaves_qty / lot) > lots:
        return False
    moved = abs(order.price_tick - tick)
    if moved == 0:
        return True
    return moved < s.threshold and now - order.local_timestamp < s.max_age_ns


@njit
def profit(s, v, price):
    """What a run has earned, in quote currency."""
    if s.inverse:
        coins = -v.balance - s.contract_value * v.position / price - v.fee if price > 0.0 else 0.0
        return coins * price
    return v.balance + v.position * price - v.fee


@njit
def make_market(hbt, s, decide_ns, sigmas, record, fills, position, equity):
    """Run one set; returns (fills, final lots, final equity). With ``record``, fills and the path are kept."""
    depth = hbt.depth(0)
    tick, lot = depth.tick_size, depth.lot_size
    n_fills = 0
    next_id = 1
    next_refresh = 0
    half = skew = mid = 0.0
    pos = 0
    hbt.elapse(0)
    for d in range(decide_ns.shape[0]):
        now = decide_ns[d]
        if hbt.elapse(now - hbt.current_timestamp) != 0:
            break
        best_bid, best_ask = depth.best_bid_tick, depth.best_ask_tick
        valid = best_bid > 0 and best_ask < 1 << 40 and best_bid < best_ask
        pos = round(hbt.position(0) / lot)
        bid_id = ask_id = 0
        held_bid = held_ask = False
        selling = 0
        orders = hbt.orders(0).values()
        bid_tick = bid_lots = ask_tick = ask_lots = 0
        if valid:
            mid = 0.5 * (best_bid + best_ask)
            if now >= next_refresh:
                half, skew = coefficients(s, s.sigma if s.sigma >= 0.0 else max(sigmas[d], s.sigma_floor))
                next_refresh = now + s.refresh_ns
            q = pos / s.order_lots
            bid_tick, bid_lots, ask_tick, ask_lots = targets(s, mid, half, skew, q, pos, best_bid, best_ask)
        while orders.has_next():
            order = orders.get()
            if order.status == FILLED:
                if record:
                    row = fills[n_fills]
                    row.ts_exch_ns = order.exch_timestamp
                    row.order_id = order.order_id
                    row.side = order.side
                    row.tick = order.exec_price_tick
                    row.lots = round(order.exec_qty / lot)
                n_fills += 1
            elif order.status == NEW and order.req == NONE:
                if order.side < 0:
                    selling += round(order.leaves_qty / lot)
                if order.side > 0:
                    if serves(s, order, bid_tick, bid_lots, now, lot) and not (
                        ask_lots > 0 and order.price_tick >= ask_tick
                    ):
                        held_bid = True
                    else:
                        bid_id = order.order_id
                elif serves(s, order, ask_tick, ask_lots, now, lot) and not (
                    bid_lots > 0 and order.price_tick <= bid_tick
                ):
                    held_ask = True
                else:
                    ask_id = order.order_id
        hbt.clear_inactive_orders(0)
        if bid_id:
            hbt.cancel(0, bid_id, False)
        if ask_id:
            hbt.cancel(0, ask_id, False)
        if bid_lots > 0 and not held_bid:
            hbt.submit_buy_order(0, next_id, bid_tick * tick, bid_lots * lot, GTX, LIMIT, False)
            next_id += 1
        if ask_lots > 0 and not held_ask and not (s.spot and selling + ask_lots > pos):
            hbt.submit_sell_order(0, next_id, ask_tick * tick, ask_lots * lot, GTX, LIMIT, False)
            next_id += 1
        if record:
            v = hbt.state_values(0)
            position[d] = pos
            equity[d] = profit(s, v, mid * tick)
    v = hbt.state_values(0)
    return n_fills, pos, profit(s, v, mid * tick)


QUEUES = ("risk_adverse_queue_model", "power_prob_queue_model", "power_prob_queue_model2", "power_prob_queue_model3")


def new_run(job, s, depth="roi"):
    """A backtest of one set, ready to run."""
    asset = BacktestAsset().data(job["events"])
    asset = asset.inverse_asset(float(s["contract_value"])) if s["inverse"] else asset.linear_asset(1.0)
    asset = (
        asset.constant_order_latency(int(s["entry_ns"]), int(s["response_ns"]))
        .no_partial_fill_exchange()
        .trading_value_fee_model(float(s["maker_fee"]), 0.0)
        .tick_size(float(job["tick_size"]))
        .lot_size(float(job["lot_size"]))
        .last_trades_capacity(0)
    )
    kind = QUEUES[int(s["queue_model"])]
    asset = getattr(asset, kind)() if kind.startswith("risk") else getattr(asset, kind)(float(s["queue_n"]))
    if depth == "hash":
        return HashMapMarketDepthBacktest([asset])
    tick = float(job["tick_size"])
    return ROIVectorMarketDepthBacktest([asset.roi_lb(job["low_tick"] * tick).roi_ub(job["high_tick"] * tick)])


def run_one(job, k, *, record, fills, position, equity, depth="roi"):
    """(fills, lots, equity, CPU seconds of the run alone)."""
    s = job["sets"][k]
    hbt = new_run(job, s, depth)
    start = time.process_time()
    out = make_market(hbt, s, job["decide_ns"], job["sigmas"][s["sigma_row"]], record, fills, position, equity)
    took = time.process_time() - start
    hbt.close()
    return (*out, took)


def load(folder):
    """The job that ``benchmarks.vs_hftbacktest`` wrote."""
    job = {name: np.load(folder / f"{name}.npy") for name in ("events", "decide_ns", "sigmas")}
    job["sets"] = np.load(folder / "sets.npy").view(np.recarray)
    return job | json.loads((folder / "job.json").read_text())


def verify(folder, *, by_stamp):
    """What every set did, to ``results.npz``; ``by_stamp`` sorts the exchange's view as the peer's converters do."""
    job = load(folder)
    if by_stamp:
        rows = np.zeros(len(job["events"]), event_dtype)
        for name in event_dtype.names:
            rows[name] = job["events"][name]
        orders = (np.argsort(rows[name], kind="stable") for name in ("exch_ts", "local_ts"))
        job["events"] = correct_event_order(rows, *orders)
    n = len(job["sets"])
    fills = np.zeros(MAX_FILLS, FILL).view(np.recarray)
    position, equity = np.zeros((n, len(job["decide_ns"])), np.int64), np.zeros((n, len(job["decide_ns"])))
    kept, final = [], []
    for k in range(n):
        count, lots, worth, _ = run_one(job, k, record=True, fills=fills, position=position[k], equity=equity[k])
        row = np.sort(fills[:count].copy(), order=["ts_exch_ns", "order_id"])
        kept.append(row)
        final.append((count, lots, worth))
    np.savez(
        folder / "results.npz",
        fills=np.concatenate(kept),
        counts=np.array([len(r) for r in kept]),
        position=position,
        equity=equity,
        final=np.array(final),
    )


_JOB = {}  # inherited by the forked workers
_NONE = (np.zeros(1, FILL).view(np.recarray), np.zeros(1, np.int64), np.zeros(1))


def time_one(k, depth="roi"):
    """Set ``k`` without records."""
    return run_one(_JOB, k, record=False, fills=_NONE[0], position=_NONE[1], equity=_NONE[2], depth=depth)


def _seconds(run, clock=time.process_time):
    start = clock()
    run()
    return clock() - start


def measure(folder):
    """CPU seconds of one set (the run alone, and with building it) and of all; wall seconds in two processes."""
    _JOB.update(load(folder))
    sets = range(len(_JOB["sets"]))
    start = time.process_time()
    time_one(0)
    first_s = time.process_time() - start
    time_one(0, "hash")
    out = {
        "first_call_s": first_s,
        "run_s": min(time_one(0)[-1] for _ in range(15)),
        "run_hash_s": min(time_one(0, "hash")[-1] for _ in range(7)),
        "with_build_s": min(_seconds(lambda: time_one(0)) for _ in range(7)),
        "sweep_1_s": min(_seconds(lambda: [time_one(k) for k in sets]) for _ in range(2)),
    }
    with multiprocessing.get_context("fork").Pool(2) as pool:  # the compiled maker is inherited
        pool.map(time_one, [0] * 8, chunksize=4)
        chunk = -(-len(sets) // 8)
        out["sweep_2_s"] = min(
            _seconds(lambda: pool.map(time_one, sets, chunksize=chunk), time.perf_counter) for _ in range(4)
        )
    print(json.dumps(out))


def convert(raw):
    """CPU seconds of hftbacktest's own converter on a raw file: to an array, and to its file format on disk."""
    from hftbacktest.data.utils import binancefutures

    with contextlib.redirect_stdout(io.StringIO()), tempfile.TemporaryDirectory() as temp:
        rows = len(binancefutures.convert(raw))
        to_array = min(_seconds(lambda: binancefutures.convert(raw)) for _ in range(4))
        to_disk = min(_seconds(lambda: binancefutures.convert(raw, temp + "/out.npz")) for _ in range(2))
    print(json.dumps({"to_array_s": to_array, "to_disk_s": to_disk, "rows": rows}))


if __name__ == "__main__":
    action, where = sys.argv[1:]
    if action.startswith("verify"):
        verify(Path(where), by_stamp=action == "verify-by-stamp")
    elif action == "time":
        measure(Path(where))
    else:
        convert(where)
