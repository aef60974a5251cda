"""One pass over a tape for up to 64 configs that see the market alike, advanced to any time and resumed from there."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mm.config.schema import RunConfig
from mm.core.instrument import Instrument
from mm.core.types import COMMAND, RecArray, records, unpacked
from mm.errors import RaymakerError
from mm.models.base import MODEL_PARAMS, POLICY
from mm.sim.engine import replay
from mm.sim.liquidation import floored_equity
from mm.sim.market import MarketView, observations
from mm.sim.metrics import Metric, summarise
from mm.sim.monitors import Alert, watch, watch_bounds
from mm.sim.state import FILL_ROW, KEPT, MARK, SAMPLE, WORKING
from mm.sim.tables import Messages, Observed, Strategies
from mm.sim.tape import Tape
from mm.sim.venue import open_venue
from mm.strategy.orders import MAX_COMMANDS
from mm.strategy.rate import RATE
from mm.strategy.risk import LIMITS, LOSS
from mm.strategy.setup import Settings
from mm.strategy.state import PARAMS, STATE, TARGET

MARKOUT_STEP_NS = 100_000_000  # at most, between the mids that fills are judged by
FOREVER_NS = np.iinfo(np.int64).max
_SETTINGS = {"params": PARAMS, "model": MODEL_PARAMS, "state": STATE, "limits": LIMITS, "rate": RATE}
_SPENT = ("bids", "asks", "bid_sets", "ask_sets", "flight", "reports", "fills")
_OWN = {"policy": POLICY, "loss": LOSS}  # these start empty


@dataclass(frozen=True)
class SimResult:
    """What a trial leaves behind. ``fills``: FILL_ROW; ``samples``: SAMPLE (``mm.sim.state``).

    Samples, metrics, alerts and hash cost several times the simulation itself: they are made when first asked for.
    """

    instrument: Instrument
    events: int
    fills: NDArray[Any]
    sample: Callable[[], NDArray[Any]] = field(repr=False, compare=False)
    work_out: Callable[[], tuple[dict[str, Metric], tuple[Alert, ...]]] = field(repr=False, compare=False)
    digest: Callable[[], str] = field(repr=False, compare=False)

    @cached_property
    def samples(self) -> NDArray[Any]:
        """Position, quotes and profit at decisions."""
        return self.sample()

    @cached_property
    def _figures(self) -> tuple[dict[str, Metric], tuple[Alert, ...]]:
        return self.work_out()

    @property
    def metrics(self) -> dict[str, Metric]:
        """Figures of merit (``mm.sim.metrics``)."""
        return self._figures[0]

    @property
    def alerts(self) -> tuple[Alert, ...]:
        """Of the configured risk monitors, and of spread bounds that quote instead of the model."""
        return self._figures[1]

    @cached_property
    def result_hash(self) -> str:
        """The same for the same config and data, whoever else was in the pass."""
        return self.digest()


class Pass:
    """The simulated exchange and the strategies of one pass; ``advance`` may be called again and again."""

    def __init__(self, configs: Sequence[RunConfig], parts: Sequence[Settings], view: MarketView, tape: Tape) -> None:
        n = len(configs)
        self.configs, self.parts, self.tape = configs, parts, tape
        self.records = {name: unpacked([getattr(part, name) for part in parts], _SETTINGS[name]) for name in _SETTINGS}
        self.records |= {name: records(n, dtype) for name, dtype in _OWN.items()}
        self.venue = open_venue(configs, tape, self.records["params"], self.records["state"])
        self._strategies = Strategies(
            **self.records, orders=records(n, WORKING), target=records(1, TARGET), cmds=records(MAX_COMMANDS, COMMAND)
        )
        self._messages = Messages(
            tape.words, tape.lots, tape.msg_exch_ns, tape.msg_start, tape.msg_whole, tape.book_window[0]
        )
        self._stride = max(1, -(-len(view.decide_ns) // configs[0].sim.samples))
        rows = -(-len(view.decide_ns) // self._stride)
        self._kept = np.empty((n, rows), KEPT).view(np.recarray)
        self._times = view.decide_ns[:: self._stride]
        self._mids = np.zeros(rows)  # ticks
        self._dense: list[tuple[NDArray[Any], NDArray[Any]]] = []  # where samples are too far apart for markouts
        self._chunks = observations(tape, view)
        self._seen: Observed | None = None
        self._next = 0  # decision of the chunk
        self._done = 0  # decisions of the run
        self._fills: list[NDArray[Any]] = []
        self.last_mid = 0.0
        self.first_ns = int(view.decide_ns[0])

    def advance(self, until_ns: int = FOREVER_NS) -> bool:
        """Make every decision up to ``until_ns``; returns whether any are left."""
        while True:
            if self._seen is None or self._next == len(self._seen.decide_ns):
                self._seen, self._next = next(self._chunks, None), 0
                if self._seen is None:
                    return False
                row = -(-self._done // self._stride)
                mids = self._seen.features["mid"][row * self._stride - self._done :: self._stride]
                self._mids[row : row + len(mids)] = mids
                if self._stride > 1:
                    step = self._seen.decide_ns // MARKOUT_STEP_NS
                    first = np.flatnonzero(np.diff(step, prepend=step[0] - 1))
                    self._dense.append((self._seen.decide_ns[first], self._seen.features["mid"][first]))
            seen = self._seen
            end = int(np.searchsorted(seen.decide_ns, until_ns, side="right"))
            due = seen if end == len(seen.decide_ns) else seen._replace(decide_ns=seen.decide_ns[:end])
            while self._next < end:
                made = replay(
                    self._messages, due, self.venue, self._strategies, self._next, self._done, self._kept,
                    self._stride,
                )  # fmt: skip
                self._next += made
                self._done += made
                self._fills.append(self.venue.fills[: int(self.venue.cursor[0].fills)].copy())
                self.venue.cursor[0].fills = 0
            if self._next:
                self.last_mid = float(seen.features[self._next - 1].mid)
            if end < len(seen.decide_ns):
                return True

    def pnl_usd(self, k: int) -> float:
        """Profit of strategy ``k`` so far, its position at the last mid."""
        state, params = self.records["state"][k], self.records["params"][k]
        return float(floored_equity(state, params, self.venue.sets[k], self.last_mid)) if self.last_mid > 0.0 else 0.0

    def exposure_usd(self, k: int) -> float:
        """Signed value of strategy ``k``'s position at the last mid."""
        lots = int(self.records["state"][k].pos_lots)
        return math.copysign(float(self.parts[k].instrument.notional(round(self.last_mid), abs(lots))), lots)

    def halt(self, reason: int) -> None:
        """Every strategy pulls its quotes from the next decision on."""
        for state in self.records["state"]:
            if state.halted == 0:
                state.halted = reason

    def results(self) -> list[SimResult]:
        """One result a config, in their order; the pass has come to its end.

        Raises:
            RaymakerError: messages or fills found no room.
        """
        if int(np.sum(self.venue.sets.overflow)):
            raise RaymakerError(
                "the simulated exchange ran out of room for messages or fills; please report this config"
            )
        self._kept[:, -(-self._done // self._stride) :] = 0  # decisions that were never made
        fills = self._fills[0] if len(self._fills) == 1 else np.concatenate([self.venue.fills[:0], *self._fills])
        whose = fills["set"].astype(np.uint8)  # so small that numpy sorts by counting
        fills = fills.take(np.argsort(whose, kind="stable"))
        self._fills = [fills]
        # results refer to the pass for as long as they live: what only the replay needed would be most of their memory
        spent: dict[str, Any] = dict.fromkeys(_SPENT, np.zeros(0, np.int64))
        self.venue = self.venue._replace(**spent)
        ends = np.cumsum(np.bincount(whose, minlength=len(self.configs))).tolist()
        trials = [_Trial(self, k, fills[start:end]) for k, (start, end) in enumerate(pairwise([0, *ends]))]
        return [
            SimResult(self.tape.instrument, self.tape.events, t.fills, t.sample, t.work_out, t.digest) for t in trials
        ]

    @cached_property
    def mids(self) -> NDArray[Any]:
        """MARK rows for markouts: the mid of every decision, or of one in ``MARKOUT_STEP_NS``."""
        parts = self._dense or [(self._times, self._mids)]
        out = records(sum(len(ts) for ts, _ in parts), MARK)
        out["ts_ns"], out["mid"] = (np.concatenate(column) for column in zip(*parts, strict=True))
        return np.asarray(out)

    def samples(self, k: int) -> NDArray[Any]:
        """SAMPLE rows of strategy ``k``."""
        out = records(len(self._times), SAMPLE)
        out["ts_ns"], out["mid"] = self._times, self._mids
        for name in KEPT.names or ():
            out[name] = self._kept[name][k]
        return np.asarray(out)


class _Trial:
    """What strategy ``k`` of a pass left behind, and what follows from it."""

    __slots__ = ("_end", "_k", "_samples", "fills")

    def __init__(self, end: Pass, k: int, fills: NDArray[Any]) -> None:
        self._end, self._k, self.fills = end, k, fills
        self._samples: NDArray[Any] | None = None

    def sample(self) -> NDArray[Any]:
        if self._samples is None:
            self._samples = self._end.samples(self._k)
        return self._samples

    def _own(self) -> dict[str, RecArray]:
        return {name: rows[self._k : self._k + 1] for name, rows in self._end.records.items()}

    def work_out(self) -> tuple[dict[str, Metric], tuple[Alert, ...]]:
        end, k, own, samples = self._end, self._k, self._own(), self.sample()
        cfg, part, state = end.configs[k], end.parts[k], own["state"][0]
        metrics = summarise(
            cfg, part.instrument, own, end.venue.sets[k], self.fills, samples, end.mids, end.last_mid,
            end.venue.refusals[k],
        )  # fmt: skip
        alerts = watch(cfg.risk.monitors, samples, part.instrument, part.ref_price)
        alerts += watch_bounds(int(state.clamped) / max(int(state.decision), 1), samples)
        return metrics | {"alerts": len(alerts)}, alerts

    def digest(self) -> str:
        own, digest = self._own(), hashlib.sha256()
        columns = [self.fills[name] for name in FILL_ROW.names or () if name != "set"]
        for part in (*columns, self.sample(), own["state"], own["loss"]):
            digest.update(np.ascontiguousarray(part).tobytes())
        return digest.hexdigest()
