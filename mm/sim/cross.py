"""The other venue in a simulation: its book and trades at our decision moments, each over its own feed.

Both tapes are told by their receive clocks, which one machine must have kept for the two. ``Tape.other`` is the second
store (``data.other``); the rule itself is ``mm.strategy.cross``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mm.config.schema import CrossReference, RunConfig
from mm.core.jit import bare, kernel
from mm.core.types import BUY, SELL, Rec, RecArray, records
from mm.errors import ConfigError
from mm.sim.latency import Feed, receive_ns
from mm.sim.tables import Observed
from mm.sim.tape import Tape
from mm.strategy.cross import CROSS, see_other

Floats = NDArray[np.float64]


class Cross(NamedTuple):
    """Settings of a cross reference, part of what strategies that share a market view see alike."""

    weight: float  # negative: the share of traded volume
    volume_halflife_s: float
    basis_halflife_s: float
    stale_ns: int
    data_hash: str  # of the other tape


def cross_of(cfg: RunConfig, tape: Tape) -> Cross | None:
    """Settings of a config on a tape; None for strategies that look at their own venue only.

    Raises:
        ConfigError: there is no other tape, or it is of another time.
    """
    st = cfg.strategy.reference
    if not isinstance(st, CrossReference):
        return None
    if tape.other is None:
        raise ConfigError(
            "strategy.reference: cross reads a second venue: name its store in data.other (the same asset, recorded on "
            "the same machine at the same time)"
        )
    theirs = tape.other.msg_recv_ns
    if theirs[-1] < tape.msg_recv_ns[0] or theirs[0] > tape.msg_recv_ns[-1]:
        raise ConfigError(f"data.other: {tape.other.path} was recorded at another time than {tape.path}")
    weight = -1.0 if isinstance(st.cross, str) else st.cross
    return Cross(weight, st.volume_halflife, st.basis_halflife, round(st.stale_after * 1e9), tape.other.data_hash)


@kernel
def _blend(
    c: Rec, features: RecArray, decide_ns: NDArray[np.int64], other_mid: Floats, heard_ns: NDArray[np.int64],
    own_traded: Floats, other_traded: Floats,
) -> None:  # fmt: skip
    for d in range(decide_ns.shape[0]):
        see_other(c, features[d], other_mid[d], heard_ns[d], own_traded[d], other_traded[d], decide_ns[d])


def blended(
    tape: Tape, feed: Feed, cross: Cross, ours: Iterator[Observed], theirs: Iterator[Observed]
) -> Iterator[Observed]:
    """``ours`` with the cross price in their features; ``theirs`` is the other tape seen at the same decisions."""
    other = tape.other
    if other is None:
        raise ValueError("a cross price needs the other tape")
    c = records(1, CROSS)
    c[0].weight, c[0].stale_ns = cross.weight, cross.stale_ns
    c[0].volume_halflife_s, c[0].basis_halflife_s = cross.volume_halflife_s, cross.basis_halflife_s
    scale = float(other.instrument.tick_size / tape.instrument.tick_size)
    recv = receive_ns(other, feed)
    volumes = [(receive_ns(t, feed), _traded(t)) for t in (tape, other)]
    before = [0.0, 0.0]
    for seen, their in zip(ours, theirs, strict=True):
        heard = np.searchsorted(recv, seen.decide_ns, side="right") - 1
        mid = np.where((their.features["valid"] != 0) & (heard >= 0), their.features["mid"] * scale, 0.0)
        traded = []
        for k, (at_ns, total) in enumerate(volumes):
            sums = total[np.searchsorted(at_ns, seen.decide_ns, side="right")]
            traded.append(np.diff(sums, prepend=before[k]))
            before[k] = float(sums[-1])
        _blend(bare(c)[0], seen.features, seen.decide_ns, mid, recv[np.maximum(heard, 0)], *traded)
        yield seen


def _traded(tape: Tape) -> Floats:
    """Base currency traded in the first m messages, (messages + 1,)."""
    kind = tape.words >> 28
    at = np.flatnonzero((kind == BUY) | (kind == SELL))
    size = tape.lots[at] * float(tape.instrument.lot_size * tape.instrument.contract_value)
    if tape.instrument.kind == "inverse":  # contracts: their base at the price of the trade
        tick = (tape.words[at] & 0xFFFFFFF).astype(np.int64) + tape.book_window[0]
        size = size / (tick * float(tape.instrument.tick_size))
    total = np.concatenate([[0.0], np.cumsum(size)])
    return np.asarray(total[np.searchsorted(at, tape.msg_start, side="left")])
