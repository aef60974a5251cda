"""A recorded book on the grid of another venue: other tick, other lot, a basis on top of the price."""

from __future__ import annotations

from fractions import Fraction
from typing import Final

from mm.core.instrument import Instrument
from mm.core.types import ASK, BID, BUY, CLEAR_ASK, CLEAR_BID, SELL
from mm.errors import ConfigError

Row = tuple[int, int, int]  # kind, tick, lots of mm.core.types

_TOP_TICK: Final = (1 << 31) - 1


class Regrid:
    """``basis_bps`` shifts every price by the same amount, that share of ``price``.

    On a coarser tick, bids round down and asks up; the levels that meet there are added up, so the rows still hold
    absolute quantities. ``same``: nothing changes.
    """

    def __init__(self, source: Instrument, target: Instrument, basis_bps: float, price: float) -> None:
        if source.kind != target.kind and "inverse" in (source.kind, target.kind):
            raise ConfigError(f"{source.symbol} counts in contracts or {target.symbol} does: it cannot be played there")
        self._ticks = Fraction(source.tick_size) / Fraction(target.tick_size)
        self._lots = Fraction(source.lot_size * source.contract_value) / Fraction(
            target.lot_size * target.contract_value
        )
        self._shift = round(price * basis_bps * 1e-4 / float(target.tick_size))
        self.same = self._ticks == 1 and self._lots == 1 and not self._shift
        self._fine: dict[int, dict[int, int]] = {BID: {}, ASK: {}}  # as recorded, in lots of the target
        self._sum: dict[int, dict[int, int]] = {BID: {}, ASK: {}}  # where ticks meet: target tick -> lots

    def row(self, row: Row) -> list[Row]:
        """What one recorded row becomes."""
        kind, tick, lots = row
        if kind in (BID, ASK):
            return [self._level(kind, tick, self._size(lots))]
        if kind in (CLEAR_BID, CLEAR_ASK):
            return self._clear(kind, tick)
        if kind in (BUY, SELL):
            return [(kind, self._tick(tick, up=kind == BUY), self._size(lots))]
        return [(kind, self._tick(tick, up=False), lots)]  # a mark or a settlement

    def _level(self, kind: int, tick: int, lots: int) -> Row:
        at = self._tick(tick, up=kind == ASK)
        if self._ticks >= 1:
            return kind, at, lots
        fine, total = self._fine[kind], self._sum[kind]
        total[at] = total.get(at, 0) + lots - fine.pop(tick, 0)
        if lots:
            fine[tick] = lots
        return kind, at, total[at] or total.pop(at)

    def _clear(self, kind: int, tick: int) -> list[Row]:
        side = BID if kind == CLEAR_BID else ASK
        for t in [t for t in self._fine[side] if (t >= tick if side == BID else t <= tick)]:
            self._level(side, t, 0)
        at = self._tick(tick, up=side == ASK)
        left = self._sum[side].get(at, 0)  # the cut goes through this level
        return [(kind, at, 0), (side, at, left)] if left else [(kind, at, 0)]

    def _tick(self, tick: int, *, up: bool) -> int:
        exact = tick * self._ticks
        whole = -(-exact.numerator // exact.denominator) if up else exact.numerator // exact.denominator
        return max(0, min(whole + self._shift, _TOP_TICK)) if tick else 0

    def _size(self, lots: int) -> int:
        return max(1, int(lots * self._lots)) if lots else 0
