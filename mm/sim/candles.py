"""Candle mode: the decision kernel on OHLCV data, for markets of which nothing finer is recorded.

Each candle: the kernel decides at the open (mid = open, volatility from closed candles only), its quotes rest until
the close, and a quote is filled when the candle's range goes at least one tick beyond it. The way inside a candle is
unknown, so wherever it matters the worst is assumed:

- both quotes inside the range: only the fill that is worse at the close counts, never a round trip within a candle;
- a position is marked at the candle's adverse extreme before its close (drawdown and loss limits see it);
- where the volume is known, a fill is never larger than the candle's volume.

What stays optimistic is said in ``BIAS``, which every result carries.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Final

import numpy as np

from mm.config.schema import CrossReference, RunConfig
from mm.core.jit import kernel
from mm.core.types import BUY, FILL, FREE, PLACE, SELL, Rec, RecArray, records
from mm.data.candles import CANDLE, Candles, hash_rows
from mm.errors import ConfigError, DataError
from mm.sim.metrics import MARKOUT_S, summarise
from mm.sim.one_pass import SimResult
from mm.sim.state import FILL_ROW, REFUSALS, SAMPLE, SET
from mm.sim.tape import Tape
from mm.strategy.features import sample_volatility, set_touch
from mm.strategy.kernel import decide_on
from mm.strategy.orders import diff_orders, on_exec, simulated_fee
from mm.strategy.portfolio import equity
from mm.strategy.risk import mark_loss
from mm.strategy.setup import resolve

BIAS: Final = (
    "Candle mode: no queue, no latency, no requote within a candle; a quote fills wholly one tick inside the range, as "
    "if first in its queue. With both quotes inside a range only the worse fill counts (pnl_both_filled_usd: both). "
    "No funding, no liquidation. Against a replay of the same market profits were off by bps of volume either way: "
    "compare ideas with it, believe no figure."
)


@kernel
def _fill(s: Rec, p: Rec, orders: RecArray, cmd: Rec, cap_lots: int, row: Rec, now_ns: int, open_tick: int) -> int:
    """One quote of a candle trades; returns the lots."""
    lots = min(cmd.lots, cap_lots) if cap_lots >= 0 else cmd.lots
    if lots <= 0:
        return 0
    on_exec(s, p, orders, FILL, cmd.id, cmd.side, cmd.tick, lots, True, simulated_fee(p, cmd.tick, lots, True))
    row.ts_exch_ns = now_ns
    row.ts_recv_ns = now_ns
    row.order_id = cmd.id
    row.side = cmd.side
    row.tick = cmd.tick
    row.lots = lots
    row.mid = open_tick
    return int(lots)


@kernel
def _mark(s: Rec, p: Rec, loss: Rec, lim: Rec, tick: int, now_ns: int) -> None:
    halt = mark_loss(loss, lim, equity(s, p, float(tick)), now_ns)
    if halt != 0 and s.halted == 0:
        s.halted = halt


@kernel
def replay_candles(
    rows: RecArray, step_ns: int, capped: bool, both: bool, f: Rec, model: Rec, policy: Rec, p: Rec, s: Rec,
    orders: RecArray, lim: Rec, loss: Rec, target: Rec, cmds: RecArray, z: Rec, fills: RecArray, samples: RecArray,
    stride: int,
) -> int:  # fmt: skip
    """All candles, one strategy; returns the number of fills (``fills`` has room for two a candle).

    ``both``: a candle that holds both quotes fills both (the best order of events), not just the worse one.
    """
    n = 0
    for k in range(rows.shape[0]):
        c = rows[k]
        open_ns = c.ts_ns
        close_ns = open_ns + step_ns
        set_touch(f, c.open - 1, c.open + 1, 1, 1)
        sample_volatility(f, p.sigma_sample_ns, p.sigma_halflife_s, open_ns)
        decide_on(f, model, policy, p, s, open_ns, False, target)
        n_cmds = diff_orders(p, s, lim, orders, target, 0, open_ns, cmds)
        bid = -1
        ask = -1
        bid_tick = 0
        ask_tick = 0
        for j in range(n_cmds):
            if cmds[j].op != PLACE:
                continue
            z.orders += 1
            if cmds[j].side > 0:
                bid_tick = cmds[j].tick
                if c.low < bid_tick:
                    bid = j
            else:
                ask_tick = cmds[j].tick
                if c.high > ask_tick:
                    ask = j
        if bid >= 0 and ask >= 0 and not both:
            if c.close - cmds[bid].tick <= cmds[ask].tick - c.close:
                ask = -1
            else:
                bid = -1
        cap_lots = c.lots if capped else -1
        if bid >= 0 and _fill(s, p, orders, cmds[bid], cap_lots, fills[n], close_ns, c.open) > 0:
            n += 1
        if ask >= 0 and _fill(s, p, orders, cmds[ask], cap_lots, fills[n], close_ns, c.open) > 0:
            n += 1
        for j in range(orders.shape[0]):
            orders[j].state = FREE
        if s.fills > 0 or s.pos_lots != 0:
            if s.pos_lots != 0:
                _mark(s, p, loss, lim, c.low if s.pos_lots > 0 else c.high, close_ns - 1)
            _mark(s, p, loss, lim, c.close, close_ns)
        if z.first_valid_ns == 0:
            z.first_valid_ns = open_ns
        z.last_ns = close_ns
        if bid_tick != 0 and ask_tick != 0:
            z.both_ns += step_ns
        if k % stride == 0:
            row = samples[k // stride]
            row.ts_ns = close_ns
            row.mid = c.close
            row.pnl_usd = equity(s, p, float(c.close)) if s.fills > 0 or s.pos_lots != 0 else 0.0
            row.pos_lots = s.pos_lots
            row.bid_tick = bid_tick
            row.ask_tick = ask_tick
    z.fills = n
    return n


def simulate_candles(cfg: RunConfig, candles: Candles) -> SimResult:
    """One trial on candles. Latency, queue model and decision times of the config have no meaning here.

    Metrics are those of a replay and ``bias`` (``BIAS``), ``mode`` and ``step_s``; figures over horizons shorter than
    a candle are None. Raises ``ConfigError`` when the config does not fit the instrument.
    """
    if isinstance(cfg.strategy.reference, CrossReference):
        raise ConfigError("strategy.reference: cross reads two order books; candles have none")
    if cfg.strategy.params != "static":
        raise ConfigError("strategy.params: dynamic reads market orders; candles have none")
    worst, own, z = _run(cfg, candles, both=False)
    best, other, _ = _run(cfg, candles, both=True)
    close = float(candles.rows["close"][-1])
    refusals = np.zeros(len(REFUSALS), np.int64)  # nothing is refused inside a candle
    metrics = summarise(cfg, candles.instrument, own, z, worst.fills, worst.samples, worst.samples, close, refusals)
    step_s = candles.step_ns * 1e-9
    sample_s = step_s * -(-len(candles) // max(len(worst.samples), 1))
    short = [f"markout_{h}s_bps" for h in MARKOUT_S if h < sample_s]
    short += [name for name in metrics if name.endswith("_5s_bps")] if sample_s > 5 else []
    metrics |= dict.fromkeys(short)
    metrics |= {
        "pnl_both_filled_usd": float(equity(other["state"][0], other["params"][0], close)) if len(best.fills) else 0.0,
        "mode": "candles",
        "step_s": step_s,
        "bias": BIAS,
    }
    return replace(worst, work_out=lambda: (metrics, ()))


def _run(cfg: RunConfig, candles: Candles, *, both: bool) -> tuple[SimResult, dict[str, RecArray], Rec]:
    """(result without metrics, the kernel's records, its counts)."""
    rows = np.array(candles.rows).view(np.recarray)
    r = resolve(cfg, candles.instrument, float(rows["open"][0]) * float(candles.instrument.tick_size))
    if r.watch[0]["settings"]["on"]:
        raise ConfigError(
            "strategy.controls: a candle shows no ticks and no book, so tick_filter, displacement, momentum, regime, "
            "volatility and thin_book cannot run on it; replay recorded events, or leave them out"
        )
    z, fills = records(1, SET), records(2 * len(rows), FILL_ROW)
    stride = max(1, -(-len(rows) // cfg.sim.samples))
    samples = records(-(-len(rows) // stride), SAMPLE)
    n = replay_candles(
        rows, candles.step_ns, candles.volume_known, both, r.features[0], r.model[0], r.policy[0], r.params[0],
        r.state[0], r.orders, r.limits[0], r.loss[0], r.target[0], r.cmds, z[0], fills, samples, stride,
    )  # fmt: skip
    fills = fills[:n].copy()
    digest = hashlib.sha256()
    for part in (fills, samples, r.state, r.loss):
        digest.update(np.ascontiguousarray(part).tobytes())
    result = SimResult(candles.instrument, len(rows), fills, lambda: samples, lambda: ({}, ()), digest.hexdigest)
    return result, {"state": r.state, "params": r.params, "model": r.model, "loss": r.loss, "rate": r.rate}, z[0]


def candles_of(tape: Tape, step_s: float) -> Candles:
    """Candles of a tape's trades, empty ones left out: what candle mode would have seen of it."""
    step_ns = round(step_s * 1e9)
    kind = tape.words >> 28
    at = np.flatnonzero((kind == SELL) | (kind == BUY))
    if len(at) == 0:
        raise DataError(f"{tape.path}: no trades, so no candles")
    message = np.searchsorted(tape.msg_start, at, side="right") - 1
    bucket = tape.msg_exch_ns[message] // step_ns
    tick = (tape.words[at] & 0xFFFFFFF).astype(np.int64) + tape.book_window[0]
    first = np.flatnonzero(np.diff(bucket, prepend=bucket[0] - 1))
    rows = records(len(first), CANDLE)
    rows["ts_ns"] = bucket[first] * step_ns
    rows["open"] = tick[first]
    rows["high"] = np.maximum.reduceat(tick, first)
    rows["low"] = np.minimum.reduceat(tick, first)
    rows["close"] = tick[np.append(first[1:], len(tick)) - 1]
    rows["lots"] = np.add.reduceat(tape.lots[at].astype(np.int64), first)
    return Candles(tape.instrument, rows, step_ns, True, hash_rows(rows), f"trades of {tape.path.name}")
