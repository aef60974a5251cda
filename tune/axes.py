"""One axis of a sweep: a list of alternatives (``grid``, ``choice``) or a range (``uniform``, ``loguniform``)."""

from __future__ import annotations

import difflib
import math
import re
from dataclasses import dataclass
from typing import Any, Final

GRID: Final = "grid"
RANGES: Final = ("uniform", "loguniform")
KINDS: Final = (GRID, *RANGES, "choice")
_EXAMPLES: Final = {
    "grid": "{grid: [1, 2, 3]}",
    "choice": "{choice: [1, 2, 3]}",
    "uniform": "{uniform: [1, 5]} or {uniform: ['1 bps', '5 bps']}",
    "loguniform": "{loguniform: [0.1, 10]} or {loguniform: ['0.1/bp', '1/bp']}",
}
_QUANTITY: Final = re.compile(r"\s*(\$?)\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*(.*?)\s*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Axis:
    """``values`` of a grid or choice; or ``low``..``high`` in ``unit`` (text around the number) of a range."""

    key: tuple[str | int, ...]
    kind: str
    values: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    unit: tuple[str, str] | None = None  # before and after the number; None: a bare number
    whole: bool = False

    @property
    def name(self) -> str:
        return ".".join(map(str, self.key))

    def sample(self, u: float) -> Any:
        """The value at ``u`` in [0, 1): six significant digits, never outside the bounds; whole bounds included."""
        if self.kind not in RANGES:
            return self.values[int(u * len(self.values))]
        low, high = self.low, self.high + (1.0 if self.whole else 0.0)
        if self.kind == "uniform":
            x = low + u * (high - low)
        else:
            x = math.exp(math.log(low) + u * (math.log(high) - math.log(low)))
        if self.whole:
            return int(min(max(math.floor(x), self.low), self.high))
        x = min(max(float(f"{x:.6g}"), self.low), self.high)
        return x if self.unit is None else f"{self.unit[0]}{x!r}{self.unit[1]}"


def split_quantity(value: Any) -> tuple[float, tuple[str, str] | None] | None:
    """(number, unit around it) of ``5``, ``'5 bps'`` or ``'$5'``; None when ``value`` is no quantity."""
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        return float(value), None
    match = _QUANTITY.fullmatch(value) if isinstance(value, str) else None
    if not match:
        return None
    tail = match[3]
    return float(match[2]), (match[1], f" {tail}" if tail[:1].isalnum() else tail)


def parse_axis(key: tuple[str | int, ...], spec: dict[str, Any], *, whole: bool) -> Axis:
    """Read ``{kind: [...]}``; ``whole``: the schema wants an integer.

    Raises:
        ValueError: nonsense, with what was expected.
    """
    unknown = [k for k in spec if k not in KINDS]
    if unknown:
        raise ValueError(unknown_kind(str(unknown[0])))
    if len(spec) != 1:
        raise ValueError(f"one of {', '.join(KINDS)}, not {' and '.join(spec)} together")
    kind, values = next(iter(spec.items()))
    if not isinstance(values, list):
        raise ValueError(f"{kind} wants a list like {_EXAMPLES[kind]}, got {values!r}")
    if not values:
        raise ValueError(f"{kind} has no values; write it like {_EXAMPLES[kind]}")
    return _parse_range(key, kind, values, whole) if kind in RANGES else Axis(key, kind, tuple(values))


def unknown_kind(name: str) -> str:
    """The message for a key that is no kind of axis."""
    close = difflib.get_close_matches(name, KINDS, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"unknown axis {name!r}, expected {', '.join(KINDS)}{hint}"


def _parse_range(key: tuple[str | int, ...], kind: str, values: list[Any], whole: bool) -> Axis:
    ends = [split_quantity(v) for v in values]
    if len(ends) != 2:
        raise ValueError(f"{kind} wants [low, high] like {_EXAMPLES[kind]}, got {len(ends)} values")
    first, last = ends
    if first is None or last is None:
        raise ValueError(f"{kind} wants numbers or quantities like {_EXAMPLES[kind]}, got {values!r}")
    (low, low_unit), (high, high_unit) = first, last
    if _same(low_unit) != _same(high_unit):
        raise ValueError(f"{kind}: the bounds {values[0]!r} and {values[1]!r} must have the same unit")
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(f"{kind} wants low < high, both finite, got {values!r}")
    if kind == "loguniform" and low <= 0:
        raise ValueError(f"loguniform wants bounds above 0, got {values!r}")
    if whole and not (isinstance(values[0], int) and isinstance(values[1], int)):
        raise ValueError(f"{kind}: the key wants whole numbers, got {values!r}")
    return Axis(key, kind, low=low, high=high, unit=low_unit, whole=whole)


def _same(unit: tuple[str, str] | None) -> tuple[str, str] | None:
    """A unit without its plural, blanks and case: ``bp`` is ``bps``."""
    if unit is None:
        return None
    return unit[0], re.sub(r"(bp|tick|lot|contract)s\b", r"\1", unit[1].lower().replace(" ", ""))
