"""What a Binance tape does not say about its instrument: sizes of well-known symbols, contract values, default fees."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from mm.core.instrument import ContractKind, Instrument

MARKETS: Final[dict[str, ContractKind]] = {"usdm": "linear", "spot": "spot", "cm": "inverse"}

# (market, symbol): tick size, lot size, min notional, contract value
KNOWN: Final = {
    ("usdm", "BTCUSDT"): ("0.1", "0.001", "100", "1"),
    ("usdm", "ETHUSDT"): ("0.01", "0.001", "20", "1"),
    ("spot", "BTCUSDT"): ("0.01", "0.00001", "5", "1"),
    ("spot", "ETHUSDT"): ("0.01", "0.0001", "5", "1"),
    ("cm", "BTCUSD_PERP"): ("0.1", "1", "0", "100"),
    ("cm", "ETHUSD_PERP"): ("0.01", "1", "0", "10"),
}
FEES: Final = {"usdm": ("0.0002", "0.0005"), "cm": ("0.0002", "0.0005"), "spot": ("0.001", "0.001")}


def known_steps(market: str, symbol: str) -> tuple[Decimal | None, Decimal | None]:
    """(tick size, lot size) of a well-known symbol, else two ``None``."""
    row = KNOWN.get((market, symbol))
    return (Decimal(row[0]), Decimal(row[1])) if row else (None, None)


def binance_instrument(market: str, symbol: str, tick_size: Decimal, lot_size: Decimal) -> Instrument:
    """The instrument of a tape; an unknown coin-margined contract is worth 10 USD, as all but BTC are."""
    unknown = ("", "", "0", "10" if market == "cm" else "1")
    _, _, min_notional, contract_value = KNOWN.get((market, symbol), unknown)
    maker, taker = FEES[market]
    base, quote = split_symbol(symbol)
    return Instrument(
        symbol=symbol,
        venue=f"binance-{market}",
        kind=MARKETS[market],
        tick_size=tick_size,
        lot_size=lot_size,
        min_notional=Decimal(min_notional),
        contract_value=Decimal(contract_value),
        base=base,
        quote=quote,
        maker_fee=Decimal(maker),
        taker_fee=Decimal(taker),
    )


def split_symbol(symbol: str) -> tuple[str, str]:
    """(base, quote) of a symbol such as ETHUSDT; the quote is empty where it cannot be told."""
    pair = symbol.partition("_")[0]
    for quote in ("USDT", "USDC", "FDUSD", "BUSD", "USD", "BTC", "ETH"):
        if pair.endswith(quote) and pair != quote:
            return pair.removesuffix(quote), quote
    return pair, ""
