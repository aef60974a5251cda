"""What a mapping returns for one case, and how it is compared with the expected outputs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Sampled:
    """A Monte Carlo figure of an output, with the standard error of one path."""

    value: float
    unit_se: float
    paths: int
    stated_se: str = ""  # the output that states this standard error, where the case has it


@dataclass(frozen=True)
class Estimate:
    """A sampled figure inside an output, with the standard error of its difference to the file's sampled figure."""

    value: float
    se: float


@dataclass(frozen=True)
class Outcome:
    """Our outputs. ``loose`` names outputs that are sampled in the file itself, with their relative tolerance."""

    outputs: dict[str, Any]
    sampled: dict[str, Sampled] = field(default_factory=dict)
    loose: dict[str, float] = field(default_factory=dict)


def plain(value: Any) -> Any:
    """numpy values as Python values, nan as None (no quote, not defined)."""
    if isinstance(value, np.ndarray):
        return [plain(v) for v in value.tolist()]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, Mapping):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(v) for v in value]
    return value


def difference(path: str, got: Any, want: Any, rel: float, abs_: float, z: float = 4.0) -> str | None:
    """The first place where two plain values differ, or None. Only numbers have a tolerance, estimates ``z`` errors."""
    if isinstance(got, Estimate) and _is_number(want):
        near = abs(got.value - want) <= z * got.se
        return None if near else f"{path}: {got.value!r} is not within {z:g} errors of {got.se:.3g} of {want!r}"
    if isinstance(want, dict):
        if not isinstance(got, dict) or set(want) - set(got):
            return f"{path}: missing {sorted(set(want) - set(got)) if isinstance(got, dict) else want}"
        return _first(difference(f"{path}.{k}", got[k], want[k], rel, abs_, z) for k in want)
    if isinstance(want, list):
        if not isinstance(got, list) or len(got) != len(want):
            return f"{path}: {len(want)} entries expected, got {len(got) if isinstance(got, list) else got!r}"
        pairs = enumerate(zip(got, want, strict=True))
        return _first(difference(f"{path}[{i}]", g, w, rel, abs_, z) for i, (g, w) in pairs)
    if _is_number(want) and _is_number(got):
        same = got == want or abs(got - want) <= max(rel * abs(want), abs_)
    else:
        same = type(got) is type(want) and got == want
    return None if same else f"{path}: expected {want!r}, got {got!r}"


def first_failure(outcome: Outcome, want: dict[str, Any], tol: dict[str, Any]) -> str | None:
    """Compare an outcome with a case's outputs: exact figures within rel/abs, sampled ones within mc_sigma errors."""
    rel, abs_ = float(tol.get("rel", 0.0)), float(tol.get("abs", 0.0))
    got = plain(outcome.outputs)
    z = float(tol.get("z", 4.0))
    for name, value in want.items():
        if name not in got:
            return f"{name}: missing"
        found = difference(name, got[name], value, outcome.loose.get(name, rel), abs_, z)
        if found:
            return found
    sigmas = float(tol.get("mc_sigma", 4.0))
    for name, s in outcome.sampled.items():
        if name not in want:
            continue
        se = float(want.get(s.stated_se, s.unit_se)) / math.sqrt(s.paths)
        off = abs(s.value - float(want[name]))
        if not off <= sigmas * se + abs_:
            return f"{name}: Monte Carlo {s.value!r} is {off / se if se else math.inf:.1f} errors from {want[name]!r}"
    return None


def _first(found: Any) -> str | None:
    return next((f for f in found if f), None)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
