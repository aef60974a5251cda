"""Arms of a comparison: named configs from one file with ``arms:``, or one file each.

An arm says what it changes of the config around it; mappings are merged, everything else is replaced, and a key may be
dotted (``strategy.model.sigma: 1 bps/s``). Errors point at the line of the arm.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mm.config.load import Key, RawConfig, apply_override, lay_over, validate
from mm.config.schema import RunConfig
from mm.errors import ConfigError

ARMS: Final = "arms"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _.+-]{0,40}")


@dataclass(frozen=True, slots=True)
class Arm:
    """One of the strategies that are compared."""

    name: str
    config: RunConfig
    raw: RawConfig

    def where(self, *key: str) -> str:
        """``file:line`` of a key of this arm."""
        return self.raw.where(key)


def arms_of(raws: Sequence[RawConfig], source: str | None = None) -> list[Arm]:
    """Every arm of the files, in order; the first is what the others are measured against.

    ``source``: tape of all arms, whatever their files say.

    Raises:
        ConfigError: fewer than two arms, two of one name, an arm that is no valid config, or arms of different data.
    """
    arms = [_validated(name, own, source) for raw in raws for name, own in _split(raw)]
    if len(arms) < 2:
        found = f"only {arms[0].name!r}" if arms else "none"
        raise ConfigError(
            f"{raws[0].path if raws else 'compare'}: a comparison needs two arms, found {found}; "
            "name them under `arms:` in one file, or give several files"
        )
    seen: dict[str, Arm] = {}
    for arm in arms:
        if arm.name in seen:
            other = seen[arm.name]
            raise ConfigError(
                f"{arm.raw.path}: arm {arm.name!r} is also in {other.raw.path}; give each file a `name:` of its own"
            )
        seen[arm.name] = arm
    _same_data(arms)
    return arms


def _validated(name: str, raw: RawConfig, source: str | None) -> Arm:
    if source is not None:
        apply_override(raw, f"data.source={json.dumps(source)}")
    return Arm(name, validate(raw), raw)


def _split(raw: RawConfig) -> list[tuple[str, RawConfig]]:
    if ARMS not in raw.data:
        name = raw.data.get("name")
        return [(str(name) if name else Path(raw.path).stem, raw)]
    named = raw.data[ARMS]
    if not isinstance(named, dict) or not named:
        raise ConfigError(f"{raw.where((ARMS,))}: arms: expected names with what each changes, got {named!r}")
    return [(name, _arm(raw, name, changes)) for name, changes in named.items()]


def _arm(raw: RawConfig, name: Any, changes: Any) -> RawConfig:
    where = raw.where((ARMS, name))
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigError(f"{where}: arms: a name is a word of letters, digits and _.+-, got {name!r}; quote it?")
    if changes is not None and not isinstance(changes, dict):
        raise ConfigError(f"{where}: arms.{name}: expected the keys that this arm changes, got {changes!r}")
    changed: dict[str, Any] = {}
    origin: dict[Key, str] = {}
    _undot(raw, (ARMS, name), changes or {}, (), changed, origin)
    out = RawConfig(
        {key: copy.deepcopy(value) for key, value in raw.data.items() if key != ARMS},
        raw.path,
        {key: line for key, line in raw.lines.items() if key[:1] != (ARMS,)},
        {key: item for key, item in raw.overrides.items() if key not in origin},
    )
    lay_over(out.data, out.lines, changed, origin, ())
    return out


def _undot(raw: RawConfig, at: Key, changes: Any, key: Key, out: dict[str, Any], origin: dict[Key, str]) -> None:
    """Write what stands at ``at`` of the file into ``out`` with dotted keys as sections, and where each came from."""
    if not isinstance(changes, dict):
        for below in [k for k in raw.lines if k[: len(at)] == at]:  # inside a list
            origin[key + below[len(at) :]] = raw.lines[below]
        return
    for name, value in changes.items():
        here, target = key, out
        for part in str(name).split("."):
            here = (*here, part)
            origin.setdefault(here, raw.where((*at, name)))
            target[part] = {} if not isinstance(target.get(part), dict) else target[part]
            above, target = target, target[part]
        if not isinstance(value, dict) or not value:
            above[part] = copy.deepcopy(value)
        _undot(raw, (*at, name), value, here, target, origin)


def _same_data(arms: Sequence[Arm]) -> None:
    first = arms[0]
    for arm in arms[1:]:
        for name in type(arm.config.data).model_fields:
            ours, theirs = (getattr(a.config.data, name) for a in (arm, first))
            if ours != theirs:
                raise ConfigError(
                    f"{arm.where('data', name)}: data.{name}: arm {arm.name!r} trades {ours}, {first.name!r} trades "
                    f"{theirs}; a paired comparison needs one tape for all arms (--data sets it for all)"
                )
