"""Position and money of one account in one instrument, in exact decimals.

Let *worth* be what a position of one lot is worth at a price: ``price * lot * contract_value`` in quote (linear, spot),
``-contracts * contract_value / price`` in base (inverse). Profit between two prices is then position times the
difference of worth for every kind. ``cash`` counts what trades paid and received, ``cost`` is the worth at entry of the
position that is open; their sum is the realised profit. Cash never rounds (linear) and cost is zero whenever the
position is, so rounding of the average entry cannot accumulate.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal

from mm.core.instrument import Instrument

_EXACT = Context(prec=50)
_NOWHERE = Decimal(-1)


class Ledger:
    """``lots`` is the signed position, or the inventory (spot)."""

    __slots__ = ("_per_tick", "cash", "cost", "fees", "funding", "instrument", "lots")

    def __init__(self, instrument: Instrument, lots: int = 0) -> None:
        self.instrument = instrument
        self.lots = lots
        self.cash = Decimal(0)
        self.cost = Decimal(0)
        self.fees = Decimal(0)
        self.funding = Decimal(0)
        size = instrument.lot_size * instrument.contract_value
        self._per_tick = size / instrument.tick_size if instrument.kind == "inverse" else size * instrument.tick_size

    def worth(self, ticks: int) -> Decimal:
        """Worth of one lot at a price, see the module."""
        if self.instrument.kind == "inverse":
            return -_EXACT.divide(self._per_tick, ticks)
        return _EXACT.multiply(self._per_tick, ticks)

    def ticks_of_worth(self, worth: Decimal, *, up: bool) -> int | None:
        """The price at which one lot is worth that much, rounded; None where no price does."""
        if self.instrument.kind == "inverse":
            ticks = -_EXACT.divide(self._per_tick, worth) if worth else _NOWHERE
        else:
            ticks = _EXACT.divide(worth, self._per_tick)
        return int(ticks.to_integral_value(ROUND_CEILING if up else ROUND_FLOOR)) if ticks > 0 else None

    def fill(self, side: int, ticks: int, lots: int, rate: Decimal) -> Decimal:
        """Book one execution; returns its fee (negative is a rebate)."""
        worth = self.worth(ticks)
        signed = side * lots
        value = _EXACT.multiply(worth, signed)
        fee = _EXACT.multiply(abs(value), rate)
        self.cash = _EXACT.subtract(self.cash, value)
        self.fees = _EXACT.add(self.fees, fee)
        before = self.lots
        after = before + signed
        if before * signed >= 0:
            self.cost = _EXACT.add(self.cost, value)
        elif before * after > 0:  # smaller, same sign
            self.cost = _EXACT.divide(_EXACT.multiply(self.cost, after), before)
        else:  # closed, perhaps reversed
            self.cost = _EXACT.multiply(worth, after)
        self.lots = after
        return fee

    def settle(self, ticks: int, rate: Decimal) -> Decimal:
        """Book a funding settlement at a mark price; returns what the holder receives."""
        if self.instrument.kind == "spot":
            return Decimal(0)
        received = -self.lots * abs(self.worth(ticks)) * rate
        self.funding = _EXACT.add(self.funding, received)
        return received

    @property
    def realised(self) -> Decimal:
        """What the balance gained: realised profit and funding less fees (spot: what trades paid and received)."""
        gain = self.cash if self.instrument.kind == "spot" else _EXACT.add(self.cash, self.cost)
        return _EXACT.subtract(_EXACT.add(gain, self.funding), self.fees)

    @property
    def entry(self) -> Decimal | None:
        """Average entry price (inverse: harmonic), None when flat and for spot inventory."""
        if self.lots == 0 or self.instrument.kind == "spot":
            return None
        size = self.instrument.size(self.lots) * self.instrument.contract_value
        price = -size / self.cost if self.instrument.kind == "inverse" else self.cost / size
        return price.normalize()
