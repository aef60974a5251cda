"""Spot and inverse contracts on hftbacktest and on our engine: equal fills, positions and equity, or what differs.

The peer has linear and inverse assets. Spot is its linear asset with a maker that sells only what it holds, and starts
with nothing, because the peer knows no opening inventory.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.common import Report, imported, raw_tape
from benchmarks.peer_env import run_peer
from benchmarks.vs_hftbacktest import differences, parameter_sets, write_job
from mm.config.schema import DataConfig
from mm.core.instrument import Instrument
from mm.data.store import Store
from mm.data.synth import SynthSpec, write_synth
from mm.sim.run import simulate_many
from mm.sim.tape import Tape, from_store, open_tape

SETS: Final = 20  # a tape
SECONDS: Final = 300.0  # of synthetic flow
RECORDED: Final = {
    "spot": ("binance/spot_btcusdt_20240808.gz", "spot"),
    "inverse": ("binance/cm_btcusd_perp_20240808.gz", "cm"),
}


def synthetic(kind: str, folder: Path) -> Tape:
    """The usual synthetic flow as spot, or as an inverse contract of 100 USD."""
    instrument: Instrument = SynthSpec().instrument
    if kind == "inverse":
        instrument = replace(instrument, lot_size=Decimal(1), contract_value=Decimal(100), min_notional=Decimal(0))
    path = folder / f"synth-{kind}"
    write_synth(path, SynthSpec(instrument=replace(instrument, kind=kind)), 3, SECONDS)
    return from_store(Store.open(path))


def tapes(kind: str, folder: Path) -> dict[str, Tape]:
    """Every tape of that kind on this machine, by name."""
    out = {f"synthetic, {SECONDS:g} s": synthetic(kind, folder)}
    name, market = RECORDED[kind]
    raw = raw_tape(name)
    if raw is not None:
        out[f"recorded {raw.name}"] = open_tape(DataConfig(source=str(imported(raw, market))))
    return out


def compare_tape(tape: Tape, folder: Path) -> dict[str, Any]:
    """Both sides on one tape: what was compared, and the sets that differ."""
    smallest = tape.instrument.min_lots(round(tape.ref_price / float(tape.instrument.tick_size)))
    configs = parameter_sets(SETS, seed=11, unit=-(-smallest // 2))
    times = write_job(folder, configs, tape)
    run_peer("verify", folder)
    with np.load(folder / "results.npz") as file:
        peer = dict(file)
    ours = simulate_many(configs, tape)
    known = [r.fills[r.fills["ts_recv_ns"] <= times[-1]] for r in ours]
    return {
        "sets": len(ours),
        "fills": sum(len(rows) for rows in known),
        "sells": sum(int((rows["side"] < 0).sum()) for rows in known),
        "sets_with_fills": sum(len(rows) > 0 for rows in known),
        "lowest_position_lots": min(int(r.samples["pos_lots"].min()) for r in ours),
        "largest_equity_usd": float(np.abs(peer["equity"]).max()),
        "sets_that_differ": differences(ours, peer, int(times[-1])),
    }


def other_kinds(report: Report, folder: Path) -> None:
    """Checks ``spot_equal`` and ``inverse_equal``, with what was compared in the notes."""
    for kind in RECORDED:
        found = {name: compare_tape(tape, folder) for name, tape in tapes(kind, folder).items()}
        report.notes[kind] = found
        traded = all(case["fills"] > SETS and case["sells"] > 0 for case in found.values())
        report.check(f"{kind}_equal", traded and not any(case["sets_that_differ"] for case in found.values()))
