"""What a user may say about files that are imported."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from mm.core.instrument import ContractKind
from mm.errors import DataError

KINDS: Final[dict[str, ContractKind]] = {
    "usdm": "linear", "linear": "linear", "spot": "spot", "cm": "inverse", "inverse": "inverse",
}  # fmt: skip
MAX_BAD: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the user may say about a tape; unset sizes come from the table of known symbols, else from the data.

    ``max_bad``: with more bad lines than that the import fails. ``base_latency_s``: the smallest latency that is
    believed; also the latency of files that do not say when a message was received.
    """

    market: str
    symbol: str | None = None
    tick_size: Decimal | None = None
    lot_size: Decimal | None = None
    base_latency_s: float = 0.001
    max_bad: int = MAX_BAD

    @property
    def kind(self) -> ContractKind:
        """Kind of contract; raises ``DataError`` for an unknown market."""
        if self.market not in KINDS:
            raise DataError(f"unknown market {self.market!r}; known: {', '.join(KINDS)}")
        return KINDS[self.market]
