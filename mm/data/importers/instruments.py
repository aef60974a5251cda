"""The instrument of an archive, which says little about it: fees from the dated tables where the venue is in them."""

from __future__ import annotations

from decimal import Decimal

from mm.core.fees import SCHEDULES
from mm.core.instrument import ContractKind, Instrument
from mm.data.importers.binance_symbols import split_symbol


def instrument_of(venue: str, kind: ContractKind, symbol: str, tick_size: Decimal, lot_size: Decimal) -> Instrument:
    """An instrument with the dearest fees that the venue (``bybit``, ``binance-futures``, ...) lists for its kind."""
    base, quote = _parts(symbol, venue)
    rows = [s.rows[0] for s in SCHEDULES.get(venue.partition("-")[0], ()) if kind in s.kinds]
    maker, taker = (Decimal(x) / 100 for x in rows[0][1:]) if rows else (Decimal("0.0002"), Decimal("0.0005"))
    return Instrument(symbol=symbol, venue=venue, kind=kind, tick_size=tick_size, lot_size=lot_size, base=base,
                      quote=quote, maker_fee=maker, taker_fee=taker)  # fmt: skip


def _parts(symbol: str, venue: str) -> tuple[str, str]:
    if venue == "hyperliquid":
        return symbol, "USDC"
    base, dash, rest = symbol.replace("/", "-").partition("-")
    return (base, rest.partition("-")[0]) if dash else split_symbol(symbol.upper())
