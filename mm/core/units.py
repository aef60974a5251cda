"""Quantities with units, as people write them in a config: ``2 bps``, ``3 ticks``, ``$5``, ``2%/day``, ``60s``.

A quantity is parsed once into a small immutable value and converted once, when the instrument and a reference price
are known, into the kernel's scale-free units (ticks and order lots; FORMULAS section 0). A bare number is refused
wherever its unit would be a guess.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from mm.core.instrument import Instrument

_NUMBER = r"([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)"
_GROUPED = re.compile(r"(?<![\d.,])[1-9]\d{0,2}(?:,\d{3})+(?![\d,])")  # 1,000 but never 0,5
_MAX_SECONDS: Final = 100 * 365 * 86400.0  # so that a time plus a duration fits 64 bits of nanoseconds
_SECONDS: Final = {
    "ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "sec": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0,
    "hour": 3600.0, "d": 86400.0, "day": 86400.0, "year": 365 * 86400.0,
}  # fmt: skip
_BPS = ("bps", "bp")
_TICKS = ("ticks", "tick")
_LOTS = ("lots", "lot")


def _split_text(text: str, what: str, examples: str) -> tuple[str, str]:
    """(digits, unit) of ``5 bps`` or ``$5``; raises ValueError with examples, also when the number is not finite."""
    clean = _GROUPED.sub(lambda m: m[0].replace(",", ""), text.strip().replace("_", ""))
    if match := re.fullmatch(r"\$\s*" + _NUMBER, clean):
        digits, unit = match[1], "$"
    elif match := re.fullmatch(_NUMBER + r"\s*([^,]*)", clean):
        digits, unit = match[1], match[2].strip().lower()
    else:
        raise ValueError(f"{what}: cannot read {text!r}; write it like {examples}")
    if not math.isfinite(float(digits)):
        raise ValueError(f"{what}: {text!r} is too large")
    return digits, unit


def _split(text: str, what: str, examples: str) -> tuple[float, str]:
    digits, unit = _split_text(text, what, examples)
    return float(digits), unit


def _need_text(value: Any, what: str, examples: str) -> str:
    if isinstance(value, bool) or value is None:
        raise ValueError(f"{what}: expected a quantity like {examples}, got {value!r}")
    if isinstance(value, (int, float)):
        raise ValueError(f"{what}: {value} has no unit; write it like {examples}")
    if not isinstance(value, str):
        raise ValueError(f"{what}: expected a quantity like {examples}, got {type(value).__name__}")
    return value


def to_ns(seconds: float) -> int:
    """Whole nanoseconds of a duration in seconds."""
    return round(seconds * 1e9)


def parse_seconds(value: Any) -> float:
    """A duration in seconds: ``60s``, ``5m``, ``250ms``, ``8h``, ``1d``."""
    examples = "'60s', '5m', '250ms', '8h'"
    number, unit = _split(_need_text(value, "duration", examples), "duration", examples)
    if unit not in _SECONDS:
        raise ValueError(f"duration: unknown unit {unit!r} in {value!r}; write it like {examples}")
    seconds = number * _SECONDS[unit]
    if not 0 <= seconds <= _MAX_SECONDS:
        raise ValueError(f"duration: {value!r} must be between 0 and 100 years")
    return seconds


def parse_fee(value: Any) -> Decimal:
    """A signed fee as a fraction of notional: ``2 bps``, ``0.02%``, or the bare fraction ``0.0002``."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str, Decimal)):
        raise ValueError(f"fee: expected '2 bps', '0.02%' or a fraction, got {value!r}")
    match = re.fullmatch(_NUMBER + r"\s*(bps|bp|%)?", str(value).strip().lower())
    if not match or not math.isfinite(float(match[1])):
        raise ValueError(f"fee: cannot read {value!r}; write it like '2 bps', '0.02%' or 0.0002")
    try:
        fee = Decimal(match[1]) * {"bps": Decimal("1e-4"), "bp": Decimal("1e-4"), "%": Decimal("1e-2")}.get(
            match[2] or "", Decimal(1)
        )
    except InvalidOperation as exc:
        raise ValueError(f"fee: cannot read {value!r}") from exc
    if abs(fee) > Decimal("0.05"):
        raise ValueError(f"fee: {value!r} is {float(fee):.6g} of notional; fees are fractions (2 bps = 0.0002)")
    return fee


@dataclass(frozen=True, slots=True)
class Distance:
    """A price distance: value in ``bps`` of the price, ``ticks`` or ``$`` (quote currency)."""

    value: float
    unit: str

    EXAMPLES = "'5 bps', '3 ticks' or '$5'"

    @classmethod
    def parse(cls, value: Any) -> Distance:
        number, unit = _split(_need_text(value, "distance", cls.EXAMPLES), "distance", cls.EXAMPLES)
        if unit == "%":
            unit, number = "bps", number * 100
        for name, spellings in (("bps", _BPS), ("ticks", _TICKS), ("$", ("$", "usd", "usdt", "quote"))):
            if unit in spellings and math.isfinite(number):
                return cls(number, name)
        raise ValueError(f"distance: unknown unit {unit!r} in {value!r}; write it like {cls.EXAMPLES}")

    def ticks(self, instrument: Instrument, ref_price: float) -> float:
        tick = float(instrument.tick_size)
        match self.unit:
            case "ticks":
                return self.value
            case "bps":
                return self.value * 1e-4 * ref_price / tick
            case _:
                return self.value / tick


@dataclass(frozen=True, slots=True)
class Volatility:
    """A price volatility: ``unit`` is the price unit (``bps``, ``ticks``, ``$``), ``per`` its time (``s``, ``day``)."""

    value: float
    unit: str
    per: str

    EXAMPLES = "'2%/day', '0.7 bps/sqrt(s)' or '$6.8/sqrt(s)'"

    @classmethod
    def parse(cls, value: Any) -> Volatility:
        text = _need_text(value, "sigma", cls.EXAMPLES)
        head, slash, per = text.partition("/")
        if not slash:
            raise ValueError(f"sigma: {value!r} does not say per which time; write it like {cls.EXAMPLES}")
        number, unit = _split(head, "sigma", cls.EXAMPLES)
        per = per.strip().lower().replace("√", "sqrt").replace(" ", "")
        per = re.sub(r"^sqrt\(?(.*?)\)?$", r"\1", per)
        if per not in _SECONDS:
            raise ValueError(f"sigma: unknown time {per!r} in {value!r}; write it like {cls.EXAMPLES}")
        names = {"%": "bps", "$": "$", "usd": "$"} | dict.fromkeys(_BPS, "bps") | dict.fromkeys(_TICKS, "ticks")
        if unit not in names:
            raise ValueError(f"sigma: unknown unit {unit!r} in {value!r}; write it like {cls.EXAMPLES}")
        if number < 0:
            raise ValueError(f"sigma: {value!r} must not be negative")
        if unit == "%" and not math.isfinite(number := number * 100):
            raise ValueError(f"sigma: {value!r} is too large")
        return cls(number, names[unit], per)

    def ticks_per_sqrt_s(self, instrument: Instrument, ref_price: float) -> float:
        return Distance(self.value, self.unit).ticks(instrument, ref_price) / math.sqrt(_SECONDS[self.per])


@dataclass(frozen=True, slots=True)
class PerPrice:
    """The inverse of a price distance (kappa, gamma): ``0.3/bp``, ``0.05/$``, ``0.01/tick``.

    A bare number is in the project's unit, 1/quote currency (``/$``).
    """

    value: float
    unit: str

    EXAMPLES = "'0.3/bp', '0.05/$' or '0.01/tick'"

    @classmethod
    def parse(cls, value: Any) -> PerPrice:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            try:
                return cls._checked(float(value), "$", value)
            except OverflowError as exc:
                raise ValueError("an integer of hundreds of digits is no quantity") from exc
        text = _need_text(value, "value", cls.EXAMPLES)
        head, slash, per = text.partition("/")
        number, rest = _split(head, "value", cls.EXAMPLES)
        if rest or (slash and not per.strip()):
            raise ValueError(f"cannot read {value!r}; write it like {cls.EXAMPLES}")
        per = per.strip().lower() or "$"
        for name, spellings in (("bps", _BPS), ("ticks", _TICKS), ("$", ("$", "usd", "usdt", "quote"))):
            if per in spellings:
                return cls._checked(number, name, value)
        raise ValueError(f"unknown unit {per!r} in {value!r}; write it like {cls.EXAMPLES}")

    @classmethod
    def _checked(cls, number: float, unit: str, value: Any) -> PerPrice:
        if not (number >= 0 and math.isfinite(number)):
            raise ValueError(f"{value!r} must be finite and not negative")
        return cls(number, unit)

    def per_tick(self, instrument: Instrument, ref_price: float) -> float:
        return self.value / Distance(1.0, self.unit).ticks(instrument, ref_price) if self.value else 0.0


@dataclass(frozen=True, slots=True)
class Size:
    """An order or position size: ``100 usd`` (notional), ``0.01 base`` (or the base currency's name), ``5 lots``."""

    value: Decimal
    unit: str

    EXAMPLES = "'100 usd', '0.001 base' or '5 lots'"

    @classmethod
    def parse(cls, value: Any) -> Size:
        text = _need_text(value, "size", cls.EXAMPLES)
        digits, unit = _split_text(text, "size", cls.EXAMPLES)
        exact = Decimal(digits)
        if exact < 0:
            raise ValueError(f"size: {value!r} must not be negative")
        if unit in ("$", "usd", "usdt", "usdc", "quote"):
            return cls(exact, "usd")
        if unit in _LOTS or unit in ("contracts", "contract"):
            return cls(exact, "lots" if unit in _LOTS else "contracts")
        if unit and re.fullmatch(r"[a-z][a-z0-9]*", unit):
            return cls(exact, "base" if unit == "base" else unit.upper())
        raise ValueError(f"size: {value!r} has no unit; write it like {cls.EXAMPLES}")

    def lots(self, instrument: Instrument, ref_price: float) -> int:
        """Whole lots, rounded down.

        Raises:
            ValueError: the unit is not this instrument's.
        """
        match self.unit:
            case "lots":
                return int(self.value)
            case "usd":
                ticks = round(ref_price / float(instrument.tick_size))
                return instrument.lots_of_notional(self.value, ticks)
            case "contracts":
                return instrument.lots_floor(self.value)
            case unit if unit == "base" or unit == instrument.base.upper():
                if instrument.kind == "inverse":
                    return instrument.lots_floor(self.value * Decimal(repr(ref_price)) / instrument.contract_value)
                return instrument.lots_floor(self.value / instrument.contract_value)
            case unit:
                raise ValueError(
                    f"size: {self.value} {unit} is not in the units of {instrument.symbol} "
                    f"(usd, {instrument.base or 'base'}, lots)"
                )
