"""The search space: which keys of a raw config are axes, and configuration k of the sweep.

A list where the schema wants a scalar or a section is a grid axis; ``{grid|uniform|loguniform|choice: [...]}`` is an
axis anywhere. Grid axes are crossed in the order of the file, the last one turning fastest. Configuration k is a pure
function of (config, seed, k): the k-th grid point while all fit, a seeded permutation of them where the grid is larger
than the number of trials; random axes draw from a hash of (seed, k, key).
"""

from __future__ import annotations

import copy
import math
import types
import typing
from dataclasses import dataclass
from typing import Any, Final, Literal, Union

from pydantic import BaseModel

from mm.config import RawConfig, RunConfig
from mm.errors import ConfigError
from tune.axes import GRID, KINDS, Axis, parse_axis, unknown_kind
from tune.seeds import shuffled, unit

Key = tuple[str | int, ...]

_FIXED: Final = {
    "name": "it names the experiment",
    "tag": "it names the experiment",
    "seed": "it is the seed of the whole sweep; to repeat over tapes use data.seed",
    "live": "a sweep simulates, it starts no desk",
    "tune": "it describes the sweep itself",
}


@dataclass(frozen=True, slots=True)
class Shape:
    """What the schema accepts at a key."""

    sections: tuple[type[BaseModel], ...] = ()
    item: Any = None  # annotation of the items, where a list is wanted
    types: frozenset[Any] = frozenset()

    @classmethod
    def of(cls, annotation: Any) -> Shape:
        origin = typing.get_origin(annotation)
        args = typing.get_args(annotation)
        if origin is typing.Annotated:
            return cls.of(args[0])
        if origin in (Union, types.UnionType):
            parts = [cls.of(arg) for arg in args]
            return cls(
                tuple(s for p in parts for s in p.sections),
                next((p.item for p in parts if p.item is not None), None),
                frozenset().union(*(p.types for p in parts)),
            )
        if origin is list:
            return cls(item=args[0])
        if origin is Literal:
            return cls(types=frozenset(type(arg) for arg in args))
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            return cls(sections=(annotation,))
        return cls(types=frozenset({origin or annotation}))


@dataclass(frozen=True, slots=True)
class Space:
    """The axes of a raw config and how many trials are asked for."""

    raw: RawConfig
    axes: tuple[Axis, ...]
    seed: int
    trials: int

    @classmethod
    def of(cls, raw: RawConfig, seed: int, trials: int) -> Space:
        """Find the axes; raises ``ConfigError`` with file, line and key for one that makes no sense."""
        return cls(raw, tuple(find_axes(raw)), seed, trials)

    @property
    def grid_size(self) -> int:
        return math.prod(len(axis.values) for axis in self.axes if axis.kind == GRID)

    @property
    def random(self) -> bool:
        return any(axis.kind != GRID for axis in self.axes)

    @property
    def size(self) -> int:
        """Configurations of the sweep."""
        return self.trials if self.random else min(self.trials, self.grid_size)

    def describe(self) -> str:
        """One sentence for people: what will run and what will not."""
        names = ", ".join(axis.name for axis in self.axes) or "none"
        text = f"{self.size} configurations over {len(self.axes)} axes ({names})"
        if self.grid_size > self.trials:
            text += f": a seeded sample, the whole grid has {self.grid_size} points"
        elif self.random:
            text += f": {self.grid_size} grid points with random samples" if self.grid_size > 1 else ": random search"
        elif self.trials > self.grid_size > 1:
            text += f": the whole grid ({self.trials} trials were allowed)"
        return text

    def point(self, k: int) -> dict[Key, Any]:
        """Values of the axes in configuration ``k``, in the order of the file.

        Raises:
            ValueError: ``k`` is outside the sweep.
        """
        if not 0 <= k < self.size:
            raise ValueError(f"configuration {k} is not one of the sweep's {self.size}")
        grid = self.grid_size
        place = shuffled(k, grid, self.seed) if grid > self.trials else k % grid
        out: dict[Key, Any] = {axis.key: None for axis in self.axes}
        for axis in reversed(self.axes):
            if axis.kind == GRID:
                place, at = divmod(place, len(axis.values))
                out[axis.key] = axis.values[at]
            else:
                out[axis.key] = axis.sample(unit(self.seed, k, axis.name))
        return out

    def config(self, k: int) -> RawConfig:
        """The raw config of configuration ``k``, without axes."""
        return fill(self.raw, self.point(k))


def fill(raw: RawConfig, values: dict[Key, Any]) -> RawConfig:
    """A copy of ``raw`` with ``values`` in place of its axes; errors still point at the lines of the file."""
    data = copy.deepcopy(raw.data)
    for key, value in values.items():
        at: Any = data
        for part in key[:-1]:
            at = at[part]
        at[key[-1]] = copy.deepcopy(value)
    return RawConfig(data, raw.path, raw.lines, raw.overrides)


def find_axes(raw: RawConfig) -> list[Axis]:
    """Axes of a raw config, in the order of the file."""
    out: list[Axis] = []
    _section(raw, RunConfig, raw.data, (), out)
    for axis in out:
        top = str(axis.key[0])
        if top in _FIXED:
            raise ConfigError(f"{raw.where(axis.key)}: {axis.name}: cannot be an axis: {_FIXED[top]}")
        for i, value in enumerate(axis.values):
            _refuse_nested(raw, axis, i, value)
    return out


def _section(raw: RawConfig, cls: type[BaseModel], data: dict[str, Any], key: Key, out: list[Axis]) -> None:
    for name, value in data.items():
        field = cls.model_fields.get(name)
        if field is not None:  # an unknown key is the validation's to report
            _value(raw, Shape.of(field.annotation), value, (*key, name), out)


def _value(raw: RawConfig, shape: Shape, value: Any, key: Key, out: list[Axis]) -> None:
    if isinstance(value, list):
        if shape.item is None:
            out.append(_axis(raw, shape, {GRID: value}, key))
        else:
            for i, item in enumerate(value):
                _value(raw, Shape.of(shape.item), item, (*key, i), out)
    elif isinstance(value, dict):
        if any(kind in value for kind in KINDS):
            out.append(_axis(raw, shape, value, key))
            return
        cls = max(shape.sections, key=lambda s: len(s.model_fields.keys() & value.keys()), default=None)
        stray = next((str(name) for name in value if cls is None or name not in cls.model_fields), None)
        hint = unknown_kind(stray) if stray is not None else ""
        if stray is not None and (cls is None or "did you mean" in hint):
            raise ConfigError(f"{raw.where((*key, stray))}: {'.'.join(map(str, key))}: {hint}")
        if cls is not None:
            _section(raw, cls, value, key, out)


def _axis(raw: RawConfig, shape: Shape, spec: dict[str, Any], key: Key) -> Axis:
    try:
        return parse_axis(key, spec, whole=int in shape.types and float not in shape.types)
    except ValueError as exc:
        raise ConfigError(f"{raw.where(key)}: {'.'.join(map(str, key))}: {exc}") from exc


def _refuse_nested(raw: RawConfig, axis: Axis, i: int, value: Any) -> None:
    """An alternative that is itself a section must be complete: no axes in it."""
    if not isinstance(value, dict):
        return
    filled = fill(raw, {axis.key: value})
    inner: list[Axis] = []
    _section(filled, RunConfig, filled.data, (), inner)
    for other in inner:
        if other.key[: len(axis.key)] == axis.key:
            raise ConfigError(
                f"{raw.where(axis.key)}: {axis.name}: value {i + 1} has an axis inside it ({other.name}); "
                "write every alternative out, or make two sweeps"
            )
