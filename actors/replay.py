"""A run again, decision by decision: its frames, reports and decision moments through the same account and kernel.

What goes in is what the quoter took: every message of its inbox in order, market data decoded again from the raw
frames, and the moments at which it decided. What it quoted does not go in; it is compared with what comes out, bit by
bit: whether market data was stale, targets, prices before the overlays, mid, position, and every command.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from actors.account import Account
from actors.base import DeskSpec
from actors.home import read_json
from actors.recorder import BEGIN, DECISION, Frame, Life, read_inbox, read_lives, read_raw, segments
from actors.transport import EVENTS, QUOTER, Message
from mm.config import RawConfig, validate
from mm.config.load import apply_override
from mm.config.schema import RunConfig
from mm.core.instrument import Instrument
from mm.core.jit import source_hash
from mm.core.types import EVENT
from mm.errors import DataError
from mm.venues.base import Codec
from mm.venues.registry import get_venue

_SHOWN: Final = 10  # mismatches that are told in full
_NOTHING: Final = np.zeros(0, EVENT)
_COMPARED: Final = tuple(n for n in DECISION.names or () if n not in ("now_ns", "messages", "instrument"))


@dataclass(slots=True)
class Replayed:
    """What came out for one venue."""

    venue: str
    decisions: int = 0  # compared
    identical: int = 0
    quotes: int = 0  # of the compared, with a quote on at least one side
    commands: int = 0
    unreached: int = 0  # decisions whose causes are not on record any more
    lives: int = 0  # of the quoter
    same_code: bool = True
    notes: list[str] = field(default_factory=list)
    mismatches: list[dict[str, Any]] = field(default_factory=list)  # the first ones

    @property
    def share(self) -> float:
        """Of the compared decisions, how many are identical; 0 without any."""
        return self.identical / self.decisions if self.decisions else 0.0

    def to_dict(self) -> dict[str, Any]:
        return {
            "venue": self.venue, "decisions": self.decisions, "identical": self.identical,
            "identical_pct": round(100.0 * self.share, 4), "quotes": self.quotes, "commands": self.commands,
            "unreached": self.unreached, "lives": self.lives, "same_code": self.same_code, "notes": self.notes,
            "mismatches": self.mismatches,
        }  # fmt: skip


def recorded_config(run_dir: Path, overrides: list[str] | None = None) -> RunConfig:
    """The config of a run, with ``a.b=value`` overrides; raises ``DataError`` or ``ConfigError``."""
    file = run_dir / "config.json"
    try:
        kept = read_json(file)
    except (OSError, ValueError) as exc:
        raise DataError(f"{file}: cannot be read ({exc}); without the config of a run it cannot be replayed") from exc
    if kept is None:
        raise DataError(f"{run_dir}: not a run (no config.json)")
    if not isinstance(kept.get("config"), dict):
        raise DataError(f"{file}: not the config of a live run; `replay` takes a folder below runs/")
    raw = RawConfig(kept["config"], str(file))
    for item in overrides or []:
        apply_override(raw, item)
    return validate(raw)


class Frames:
    """A venue's raw frames, decoded in order of arrival over all lives of its feed."""

    def __init__(self, run_dir: Path, venue: str, codec: Codec) -> None:
        self._files = segments(run_dir / "raw" / f"{venue}.bin")
        self._codec = codec
        self._frames = self._walk()
        self._next: Frame | None = next(self._frames, None)

    def _walk(self) -> Iterator[Frame]:
        for file in self._files:
            yield from read_raw(file)

    def _decode(self, frame: Frame) -> NDArray[Any]:
        self._next = next(self._frames, None)
        if frame.number == 0:
            self._codec.reset()
            return _NOTHING
        return self._codec.decode_public(frame.raw, frame.ts_recv_ns).events

    def decoded(self) -> Iterator[tuple[Frame, NDArray[Any]]]:
        """(frame, its events), from where this object stands."""
        while (frame := self._next) is not None:
            yield frame, self._decode(frame)

    def events_of(self, m: Message) -> NDArray[Any] | None:
        """The events of the frame that an EVENTS message came from, None when it is not on record."""
        while (frame := self._next) is not None and frame.ts_recv_ns <= m.t_wall_ns:  # later ones are not ours
            events = self._decode(frame)
            if len(events) and frame.ts_recv_ns == m.t_wall_ns and frame.number & 0xFFFF == m.b:
                return events
        return None


def replay_venue(
    run_dir: Path, venue: str, cfg: RunConfig, progress: Callable[[float], None] | None = None
) -> Replayed:
    """Replay one venue of a run under ``cfg`` (``recorded_config``); raises ``DataError`` when nothing is on record."""
    out = Replayed(venue)
    lives = read_lives(run_dir, venue)
    names = [v.name for v in cfg.live.venues]
    at = names.index(venue)
    first = _first_head(lives)
    instruments = instruments_of(lives)
    frames = Frames(run_dir, venue, get_venue(cfg.live.venues[at].kind).make_codec(instruments, ""))
    spec = DeskSpec(
        run_id=run_dir.name, desk=cfg.name, run_dir=str(run_dir), log_dir="", home="",
        config=cfg.model_dump(mode="json"), venue=at, instruments=first["instruments"],
    )  # fmt: skip
    out.same_code = first["code"] == source_hash(without="report")
    if not out.same_code:
        out.notes.append("recorded by another version of the code: differences may come from that")
    total = sum(len(life.decisions) for life in lives)
    for n, life in enumerate(lives):
        out.lives += 1
        _replay_life(life, Account(spec, QUOTER, _NOBODY, _NOBODY, own_in_feed=True), frames, out, n)
        if progress is not None and total:
            progress((out.decisions + out.unreached) / total)
    return out


class _Nobody:
    """Stands where a replayed account would speak to its neighbours; nobody asks it to."""


_NOBODY: Final[Any] = _Nobody()


def _first_head(lives: list[Life]) -> dict[str, Any]:
    for life in lives:
        head = _head(life.inbox)
        if head is not None:
            return head
    raise DataError(f"{lives[0].inbox}: the quoter left no record")


def instruments_of(lives: list[Life]) -> list[Instrument]:
    """What the quoter traded, in the order of the records' instrument index; raises ``DataError``."""
    return [Instrument.from_dict(i) for i in _first_head(lives)["instruments"]]


def _head(inbox: Path) -> dict[str, Any] | None:
    first = next(read_inbox(inbox), None)
    if first is None or first[0].kind != BEGIN:
        return None
    return dict(json.loads(first[0].payload))


def _replay_life(life: Life, account: Account, frames: Frames, out: Replayed, n: int) -> None:
    inbox = (item for item in read_inbox(life.inbox) if item[0].kind != BEGIN)
    rows, cmds = life.decisions, life.commands
    if len(rows) == 0:
        out.notes.append(f"life {n + 1} of the quoter: no decision is on record")
        return
    starts = np.flatnonzero(np.diff(rows["now_ns"], prepend=-1)).tolist()  # one row an instrument
    ends = [*starts[1:], len(rows)]
    taken = sent = 0
    for start, end in zip(starts, ends, strict=True):
        was = rows[start:end]
        n_cmds = int(was["commands"][0])
        why = ""
        while taken < was["messages"][0] and not why:
            why = _take(account, inbox, frames)
            taken += 1
        if not why and sent + n_cmds > len(cmds):
            why = "its commands are not on record"
        if why:
            left = len(rows) - int(start)
            out.unreached += left
            out.notes.append(f"life {n + 1} of the quoter: the last {left} decisions are beyond the record: {why}")
            return
        _compare(account, was, cmds[sent : sent + n_cmds], out)
        sent += n_cmds


def _take(account: Account, inbox: Iterator[tuple[Message, int]], frames: Frames) -> str:
    """Give the account its next message; returns why that is not possible, or an empty string."""
    item = next(inbox, None)
    if item is None:
        return "the inbox ends before"
    m, size = item
    if m.kind == EVENTS:
        events = frames.events_of(m)
        if events is None:
            return f"frame {m.b} received at {m.t_wall_ns} is not among the raw frames"
        m = m._replace(payload=events.tobytes())
        if len(m.payload) != size:
            return f"frame {m.b} received at {m.t_wall_ns} decodes to {len(m.payload)} bytes, not to {size}"
    try:
        account.take([m])
    except ValueError as exc:  # records of another shape
        return f"a message of kind {m.kind} is not of this version of the code: {exc}"
    return ""


def _compare(account: Account, was: NDArray[Any], cmds: NDArray[Any], out: Replayed) -> None:
    """Decide at a recorded moment and compare with what was decided then."""
    now_ns = int(was["now_ns"][0])
    now_cmds = account.q.decide(now_ns, account.stale(now_ns))
    made = b"".join(account.decision_rows(now_ns, int(was["messages"][0]), len(now_cmds)))
    out.decisions += len(was)
    out.commands += len(cmds)
    out.quotes += int(np.count_nonzero((was["bid_lots"] > 0) | (was["ask_lots"] > 0)))
    if made == was.tobytes() and now_cmds.tobytes() == cmds.tobytes():
        out.identical += len(was)
        return
    is_ = np.frombuffer(made, DECISION)
    if len(is_) != len(was):
        out.mismatches.append({"now_ns": now_ns, "instruments": [len(was), len(is_)]})
        return
    same_commands = now_cmds.tobytes() == cmds.tobytes()
    for a, b in zip(was, is_, strict=True):
        if same_commands and a.tobytes() == b.tobytes():
            out.identical += 1
        elif len(out.mismatches) < _SHOWN:
            differs = {n: [a[n].item(), b[n].item()] for n in _COMPARED if a[n].tobytes() != b[n].tobytes()}
            if not same_commands:
                differs["orders"] = [_shown(cmds), _shown(now_cmds)]
            out.mismatches.append({"now_ns": now_ns, "instrument": int(a["instrument"])} | differs)


def _shown(cmds: NDArray[Any]) -> list[dict[str, int]]:
    return [{name: int(c[name]) for name in cmds.dtype.names or ()} for c in cmds]
