"""Quantities as config fields: parsed from text with its unit, written back the same way."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

from mm.core.units import Distance, PerPrice, Size, Volatility, parse_fee, parse_seconds


def unit_text(value: Any) -> str:
    """A quantity as a config writes it."""
    if isinstance(value, Distance):
        return f"{value.value!r} {value.unit}" if value.unit != "$" else f"${value.value!r}"
    if isinstance(value, PerPrice):
        return f"{value.value!r}/{value.unit}"
    if isinstance(value, Size):
        return f"{value.value} {value.unit}"
    return f"{value.value!r} {'usd' if value.unit == '$' else value.unit}/{value.per}"


def _parser(cls: Any) -> BeforeValidator:
    return BeforeValidator(lambda v: v if isinstance(v, cls) else cls.parse(v))


_TEXT = PlainSerializer(unit_text, return_type=str)


def _not_negative(value: Distance) -> Distance:
    if value.value < 0:
        raise ValueError(f"must not be negative, got {unit_text(value)}")
    return value


def positive(value: PerPrice) -> PerPrice:
    """Validator: above 0."""
    if value.value <= 0:
        raise ValueError(f"must be above 0, got {unit_text(value)}")
    return value


DistanceQ = Annotated[Distance, _parser(Distance), _TEXT]
LengthQ = Annotated[Distance, _parser(Distance), AfterValidator(_not_negative), _TEXT]
PerPriceQ = Annotated[PerPrice, _parser(PerPrice), _TEXT]
SizeQ = Annotated[Size, _parser(Size), _TEXT]
VolatilityQ = Annotated[Volatility, _parser(Volatility), _TEXT]
Seconds = Annotated[
    float, BeforeValidator(parse_seconds), PlainSerializer(lambda v: f"{v!r}s", return_type=str), Field(ge=0)
]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Fee = Annotated[Decimal, BeforeValidator(parse_fee), PlainSerializer(str, return_type=str)]


class Section(BaseModel):
    """A config section: unknown keys are errors, values are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True, allow_inf_nan=False)
