"""What an exchange says about one instrument, and the exact conversion between its strings and our integers."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, InvalidOperation
from typing import Any, Literal

from mm.errors import ConfigError

ContractKind = Literal["linear", "inverse", "spot"]


@dataclass(frozen=True, slots=True)
class Instrument:
    """Static facts of one instrument on one venue.

    Units: ``tick_size`` quote per base; ``lot_size`` base (linear, spot) or contracts (inverse); ``contract_value``
    base per contract (linear, spot: 1) or quote per contract (inverse); ``min_notional`` quote; fees are signed
    fractions of notional, a rebate is negative.
    """

    symbol: str
    venue: str
    kind: ContractKind
    tick_size: Decimal
    lot_size: Decimal
    min_notional: Decimal = Decimal(0)
    contract_value: Decimal = Decimal(1)
    base: str = ""
    quote: str = ""
    maker_fee: Decimal = Decimal("0.0002")
    taker_fee: Decimal = Decimal("0.0005")

    def __post_init__(self) -> None:
        for name in ("tick_size", "lot_size", "contract_value"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"instrument {self.symbol}: {name} must be positive, got {getattr(self, name)}")
        if self.kind not in ("linear", "inverse", "spot"):
            raise ConfigError(f"instrument {self.symbol}: kind must be linear, inverse or spot, got {self.kind!r}")

    # --- exact conversions -------------------------------------------------------------------------------------------
    def ticks(self, price: str | Decimal) -> int:
        """Exact ticks of a price; raises ``ValueError`` when the price is off the tick grid."""
        return _exact(price, self.tick_size, "price")

    def lots(self, size: str | Decimal) -> int:
        """Exact lots of a size; raises ``ValueError`` when the size is off the lot grid."""
        return _exact(size, self.lot_size, "size")

    def lots_floor(self, size: str | Decimal) -> int:
        return int((Decimal(size) / self.lot_size).to_integral_value(ROUND_FLOOR))

    def price(self, ticks: int) -> Decimal:
        return self.tick_size * ticks

    def size(self, lots: int) -> Decimal:
        return self.lot_size * lots

    # --- money -------------------------------------------------------------------------------------------------------
    def notional(self, ticks: int, lots: int) -> Decimal:
        """Quote value of a position or order."""
        if self.kind == "inverse":
            return self.size(lots) * self.contract_value
        return self.price(ticks) * self.size(lots) * self.contract_value

    def unit_value(self) -> float:
        """Quote value of one tick on one lot (linear, spot): the unit of integer cash."""
        return float(self.tick_size * self.lot_size * self.contract_value)

    def lots_of_notional(self, usd: Decimal, ticks: int) -> int:
        """Whole lots that ``usd`` of quote currency buys at a price (rounded down)."""
        one_lot = self.notional(ticks, 1)
        return int((usd / one_lot).to_integral_value(ROUND_FLOOR))

    def min_lots(self, ticks: int) -> int:
        """Smallest order in lots that meets the minimum notional at a price."""
        need = (self.min_notional / self.notional(ticks, 1)).to_integral_value(ROUND_CEILING)
        return max(1, int(need))

    # --- storage -----------------------------------------------------------------------------------------------------
    def to_dict(self) -> dict[str, str]:
        return {k: str(v) for k, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> Instrument:
        known = {f.name: f.type for f in fields(cls)}
        unknown = sorted(set(raw) - set(known))
        if unknown:
            raise ConfigError(f"instrument: unknown field {unknown[0]!r}; known: {', '.join(known)}")
        try:
            kw = {k: Decimal(str(v)) if known[k] == "Decimal" else str(v) for k, v in raw.items()}
            return cls(**kw)  # type: ignore[arg-type]
        except (InvalidOperation, TypeError) as exc:
            raise ConfigError(f"instrument {raw.get('symbol', '?')}: {exc}") from exc


def _exact(value: str | Decimal, step: Decimal, what: str) -> int:
    try:
        quotient = Decimal(value) / step
        whole = quotient.to_integral_value()
        if whole == quotient:
            return int(whole)
    except ArithmeticError as exc:
        raise ValueError(f"{what} {value!r} is not a number") from exc
    raise ValueError(f"{what} {value} is not a multiple of {step}")
