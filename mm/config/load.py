"""YAML to ``RunConfig``: overrides from the command line, errors that name file, line, key and what was expected."""

from __future__ import annotations

import copy
import difflib
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from mm.config.schema import RunConfig
from mm.errors import ConfigError

Key = tuple[str | int, ...]

BASE = "base"  # the key that names what a file stands on
MAX_BASES = 8

_AXIS_WORDS = {"grid", "uniform", "loguniform", "choice"}  # of `tune`; here only for a hint


@dataclass(slots=True)
class RawConfig:
    """A parsed but not validated config: plain data, where each key came from."""

    data: dict[str, Any]
    path: str = "<config>"
    lines: dict[Key, str] = field(default_factory=dict)  # ``file:line``: a key may come from a file below
    overrides: dict[Key, str] = field(default_factory=dict)

    def where(self, key: Key) -> str:
        """``file:line`` of a key or of its nearest parent; ``--set a.b=c`` for an override."""
        for n in range(len(key), 0, -1):
            part = key[:n]
            if part not in self.lines:  # also a section that exists only because a key below it was set
                for name, item in self.overrides.items():
                    if name[:n] == part:
                        return f"--set {item}"
            elif part in self.overrides:
                return f"--set {self.overrides[part]}"
            else:
                return self.lines[part]
        return self.lines.get((), self.path)


class _Loader(yaml.SafeLoader):
    """SafeLoader that reads ``1e-3`` as a number (YAML 1.1 wants ``1.0e-3``) and refuses duplicate keys."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$|^[-+]?\.(inf|Inf|INF)$|^\.(nan|NaN|NAN)$"),
    list("-+0123456789."),
)


def _walk(node: yaml.Node, key: Key, lines: dict[Key, str], path: str, above: tuple[yaml.Node, ...] = ()) -> None:
    lines.setdefault(key, f"{path}:{node.start_mark.line + 1}")
    if node in above:
        raise ConfigError(f"{path}:{node.start_mark.line + 1}: {'.'.join(map(str, key))} contains itself")
    above = (*above, node)
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for name, value in node.value:
            if not isinstance(name, yaml.ScalarNode):
                raise ConfigError(f"{path}:{name.start_mark.line + 1}: a key must be a word, not a list or mapping")
            if name.value in seen:
                raise ConfigError(f"{path}:{name.start_mark.line + 1}: key {name.value!r} is given twice")
            seen.add(name.value)
            lines[(*key, name.value)] = f"{path}:{name.start_mark.line + 1}"
            _walk(value, (*key, name.value), lines, path, above)
    elif isinstance(node, yaml.SequenceNode):
        for i, value in enumerate(node.value):
            _walk(value, (*key, i), lines, path, above)


def load_raw(path: str | Path, overrides: list[str] | None = None) -> RawConfig:
    """Read a YAML file and apply ``a.b=value`` overrides, without validation (a sweep still has axes in it).

    ``base: other.yaml`` (or a list, each over the one before it; relative to the file) is what the file stands on: its
    sections are merged key by key into those of the base, anything else replaces.
    """
    raw = _load_file(Path(path), ())
    for item in overrides or []:
        apply_override(raw, item)
    return raw


def _load_file(file: Path, above: tuple[Path, ...]) -> RawConfig:
    raw = _read(file)
    if BASE not in raw.data:
        return raw
    where = raw.where((BASE,))
    if len(above) >= MAX_BASES:
        raise ConfigError(f"{where}: {BASE}: more than {MAX_BASES} files stand on one another, or one on itself")
    names = raw.data.pop(BASE)
    names = [names] if isinstance(names, str) else names
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ConfigError(f"{where}: {BASE}: expected a file name or a list of them, got {names!r}")
    data: dict[str, Any] = {}
    lines: dict[Key, str] = {}
    for name in names:
        try:
            below = _load_file(file.parent / name, (*above, file))
        except ConfigError as exc:
            raise ConfigError(f"{where}: {BASE}: {exc}") from exc
        lay_over(data, lines, below.data, below.lines, ())
    lay_over(data, lines, raw.data, raw.lines, ())
    lines.pop((BASE,), None)
    return RawConfig(data, str(file), lines)


def lay_over(
    data: dict[str, Any], lines: dict[Key, str], over: dict[str, Any], over_lines: dict[Key, str], key: Key
) -> None:
    """Merge ``over`` into ``data`` and remember where each key was last written."""
    for name, value in over.items():
        at = (*key, name)
        if isinstance(value, dict) and isinstance(data.get(name), dict):
            lay_over(data[name], lines, value, over_lines, at)
        else:
            data[name] = value
            for old in [k for k in lines if k[: len(at)] == at]:
                del lines[old]
            lines.update({k: where for k, where in over_lines.items() if k[: len(at)] == at})
        if at in over_lines:
            lines[at] = over_lines[at]
    if key == () and () in over_lines:
        lines[()] = over_lines[()]


def _read(file: Path) -> RawConfig:
    """One file as it stands."""
    path = str(file)
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError as exc:
        near = sorted(str(p) for p in file.parent.glob("*.y*ml")) if file.parent.is_dir() else []
        hint = f"; there are: {', '.join(near[:8])}" if near else ""
        raise ConfigError(f"config file {path} does not exist{hint}") from exc
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"config file {path} cannot be read: {exc}") from exc
    try:
        node = yaml.compose(text, Loader=_Loader)
        lines: dict[Key, str] = {}
        if node is not None:
            _walk(node, (), lines, path)
        data = yaml.load(text, Loader=_Loader)  # noqa: S506 - _Loader is a SafeLoader
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise ConfigError(f"{path}{line}: not valid YAML: {getattr(exc, 'problem', None) or exc}") from exc
    except (ValueError, RecursionError) as exc:  # a date that does not exist, a number of 5000 digits
        raise ConfigError(f"{path}: not valid YAML: {exc}") from exc
    if data is None:
        data = {}
    if not isinstance(data, dict):
        raise ConfigError(f"{path}:1: expected a mapping of sections, got {type(data).__name__}")
    return RawConfig(data, path, lines)


def apply_override(raw: RawConfig, item: str) -> None:
    """Apply one ``a.b.0.c=value``; the value is read as YAML."""
    name, eq, text = item.partition("=")
    if not eq or not name.strip():
        raise ConfigError(f"--set {item}: expected KEY=VALUE, for example --set strategy.model.gamma=0.1")
    try:
        value = yaml.load(text, Loader=_Loader)  # noqa: S506 - _Loader is a SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError) as exc:
        raise ConfigError(f"--set {item}: the value is not valid YAML: {getattr(exc, 'problem', None) or exc}") from exc
    parts = name.strip().split(".")
    target: Any = raw.data
    key: Key = ()
    for i, part in enumerate(parts):
        step: str | int = part
        if isinstance(target, list):
            if not part.isdecimal() or int(part) >= len(target):
                raise ConfigError(
                    f"--set {item}: {'.'.join(parts[:i])} is a list of {len(target)}; use 0..{len(target) - 1}"
                )
            step = int(part)
        elif not isinstance(target, dict):
            raise ConfigError(f"--set {item}: {'.'.join(parts[:i])} is a value, not a section")
        key = (*key, step)
        if i == len(parts) - 1:
            target[step] = value
        elif isinstance(target, dict):
            if not isinstance(target.get(part), (dict, list)):
                target[part] = {}
                raw.lines.pop(key, None)
            target = target[part]
        else:
            target = target[step]
    raw.overrides[key] = item
    for below in [name for name in raw.lines if len(name) > len(key) and name[: len(key)] == key]:
        del raw.lines[below]  # what the file said below it is gone


def validate(raw: RawConfig) -> RunConfig:
    """Type-check a raw config.

    Raises:
        ConfigError: one line per problem: file:line, key, what was expected, what was found.
    """
    try:
        return RunConfig.model_validate(copy.deepcopy(raw.data))
    except ValidationError as exc:
        problems = list(dict.fromkeys(_describe(raw, dict(err)) for err in exc.errors(include_url=False)))
        raise ConfigError("\n".join(problems)) from exc


def load_config(path: str | Path, overrides: list[str] | None = None) -> RunConfig:
    """Read, override and validate."""
    return validate(load_raw(path, overrides))


def _describe(raw: RawConfig, err: dict[str, Any]) -> str:
    # pydantic puts union branch names into the location: keep only the parts that are keys of the file
    key: list[str | int] = []
    at: Any = raw.data
    loc = list(err["loc"])
    for part in loc:
        if (isinstance(at, dict) and part in at) or (isinstance(at, list) and isinstance(part, int) and part < len(at)):
            at = at[part]
        elif err["type"] == "missing" and part == loc[-1]:
            pass
        else:
            continue
        key.append(part)
    name = ".".join(map(str, key)) or "(top level)"
    if err["type"] == "extra_forbidden":
        known = _known_keys(tuple(key[:-1]))
        close = difflib.get_close_matches(str(key[-1] if key else ""), known, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(known)}" if known else ""
        hint = "; a file with several arms is run by `compare`" if key == ["arms"] else hint
        return f"{raw.where(tuple(key))}: {name}: unknown key{hint}"
    message = str(err["msg"]).removeprefix("Value error, ")
    if err["type"] in ("model_type", "dict_type"):
        message = f"expected a section of keys ({', '.join(_known_keys(tuple(key))[:6]) or 'name: value'}, ...)"
    got = "" if err["type"] in ("missing", "value_error") else f", got {err.get('input')!r}"
    if key and key[0] != "live" and err["type"] != "missing" and _looks_like_an_axis(at):
        got += "; to sweep over it use `tune`"
    prefix = f"{name}: " if key else ""  # a rule between sections names its keys itself
    return f"{_where_rule(raw, tuple(key), message)}: {prefix}{message}{got}"


def _where_rule(raw: RawConfig, key: Key, message: str) -> str:
    """Where ``key`` is; for a rule about a section also the override that broke it."""
    for name, item in raw.overrides.items():
        if len(name) > len(key) and name[: len(key)] == key and f"{name[-1]} " in message:
            return f"--set {item}"
    return raw.where(key)


def _looks_like_an_axis(value: Any) -> bool:
    return bool(value) and (isinstance(value, list) or (isinstance(value, dict) and value.keys() <= _AXIS_WORDS))


def _section_in(annotation: Any) -> Any:
    """The section class in an annotation like ``Section | None``, or the annotation itself."""
    for arg in getattr(annotation, "__args__", ()):
        inner = _section_in(arg)
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            return inner
    return annotation


def _known_keys(key: Key) -> list[str]:
    """Field names of the section at ``key``, for suggestions."""
    cls: Any = RunConfig
    for part in key:
        if isinstance(part, int):
            continue
        info = cls.model_fields.get(part) if isinstance(cls, type) and issubclass(cls, BaseModel) else None
        if info is None:
            return []
        cls = _section_in(info.annotation)
    return list(cls.model_fields) if isinstance(cls, type) and issubclass(cls, BaseModel) else []
