"""From index to trial: configuration k validated, bound to its tape, hashed, seeded. Same on driver and worker."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Final

from mm.config import RunConfig, validate
from mm.config.schema import DataConfig
from mm.errors import RaymakerError
from mm.sim.tape import Tape, open_tape
from mm.strategy.setup import settings_of
from tune.seeds import digest, trial_seed
from tune.space import Space

_MOVES_A_RESULT: Final = {"strategy", "risk", "sim"}


@dataclass(frozen=True, slots=True)
class Candidate:
    """One configuration of a sweep. ``config`` is None where it is invalid; ``error`` then says why."""

    index: int
    config_hash: str
    seed: int
    params: dict[str, Any]  # dotted key -> value as written
    config: RunConfig | None = field(default=None, repr=False)
    error: str | None = None


@lru_cache(maxsize=4)
def tape_of(data: DataConfig) -> Tape:
    """The tape of a config, opened once per process; its columns are memory maps, shared by all processes of a node."""
    return open_tape(data)


def candidate(space: Space, k: int, tape: Callable[[DataConfig], Tape] = tape_of) -> Candidate:
    """Configuration ``k``: one that is invalid, or whose data cannot be opened, comes back with its error."""
    raw = space.config(k)
    params = {".".join(map(str, key)): value for key, value in space.point(k).items()}
    try:
        cfg = validate(raw)
        data_hash = tape(cfg.data).data_hash
    except RaymakerError as exc:
        said = {name: raw.data[name] for name in sorted(_MOVES_A_RESULT | {"data"}) if name in raw.data}
        key = digest("invalid", json.loads(json.dumps(said, default=str)), space.seed)[:16]
        return Candidate(k, key, trial_seed(space.seed, key), params, error=str(exc))
    key = digest(cfg.model_dump(mode="json", include=_MOVES_A_RESULT), data_hash, space.seed)[:16]
    seed = trial_seed(space.seed, key)
    return Candidate(k, key, seed, params, cfg.model_copy(update={"seed": seed}))


def candidates(space: Space) -> Iterator[Candidate]:
    """All configurations of the sweep, each once: of equal ones the first.

    One that does not fit its instrument (an order below the exchange's smallest, say) is invalid as well.
    """
    seen: set[str] = set()
    for k in range(space.size):
        one = candidate(space, k)
        if one.config_hash in seen:
            continue
        seen.add(one.config_hash)
        if one.config is not None:
            tape = tape_of(one.config.data)
            try:
                settings_of(one.config, tape.instrument, tape.ref_price)
            except RaymakerError as exc:
                one = replace(one, config=None, error=str(exc))
        yield one
