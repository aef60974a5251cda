"""Half a minute of a lively synthetic market as a tape: what the replay and its slow references are compared on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mm.core.types import RecArray
from mm.data.store import StoreWriter
from mm.data.synth import SynthFlow, SynthSpec
from mm.sim.tape import Tape, from_store

SECONDS = 25


def lively_tape(path: Path, change: Callable[[RecArray], None] | None = None) -> Tape:
    """The tape, its store written to ``path``; ``change`` may edit the events before."""
    spec = SynthSpec(sigma_bps_per_sqrt_s=1.5)
    events = SynthFlow(spec, 7).next_chunk(SECONDS * 1_000_000_000)
    if change is not None:
        change(events)
    with StoreWriter(path, spec.instrument, "test") as writer:
        writer.append(events)
        return from_store(writer.finish({}))
