"""Arithmetic of linear (quote-margined) and inverse (coin-margined) perpetuals: PnL, funding, liquidation prices.

``side`` is +1 long, -1 short; fees are signed fractions of notional (negative: rebate); ``None`` means that there is
no such price. Plain floats: for money that is booked see ``mm.core.ledger``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

MaintenanceModel = Literal["entry_mm", "mark_mm", "mark_mm_fee"]


class LinearPnl(NamedTuple):
    """All in quote currency, ``roe`` as a fraction of initial margin, ``breakeven_exit`` a price (without funding)."""

    gross: float
    fees: float
    net: float
    initial_margin: float
    roe: float
    breakeven_exit: float


class InversePnl(NamedTuple):
    """Coin amounts, and the net valued at the exit price."""

    gross_coin: float
    fees_coin: float
    net_coin: float
    pnl_usd_at_exit: float


class LinearLiquidation(NamedTuple):
    """Margins in quote currency, prices, and the distance of the liquidation price as a fraction of entry."""

    initial_margin: float
    maintenance_margin_at_entry: float
    bankruptcy_price: float | None
    liq_price: float | None
    distance_pct: float | None


class InverseLiquidation(NamedTuple):
    """Position value and margin in coin, and prices under either maintenance rule."""

    position_value_coin: float
    initial_margin_coin: float
    liq_price_entry_mm: float | None
    liq_price_mark_mm: float | None
    bankruptcy_price: float | None


def pnl_linear(
    side: int,
    size: float,
    entry: float,
    exit_price: float,
    fee_open: float,
    fee_close: float,
    funding: float = 0.0,
    leverage: float = 1.0,
) -> LinearPnl:
    """A round trip of ``size`` base; ``funding`` is the cash received while it was open."""
    gross = side * size * (exit_price - entry)
    fees = size * (entry * fee_open + exit_price * fee_close)
    net = gross - fees + funding
    margin = size * entry / leverage
    return LinearPnl(gross, fees, net, margin, net / margin, entry * (side + fee_open) / (side - fee_close))


def pnl_inverse(
    side: int, contracts_usd: float, entry: float, exit_price: float, fee_open: float, fee_close: float
) -> InversePnl:
    """A round trip of ``contracts_usd`` contracts of 1 quote unit, settled in coin."""
    gross = side * contracts_usd * (exit_price - entry) / (entry * exit_price)
    fees = contracts_usd * (fee_open / entry + fee_close / exit_price)
    net = gross - fees
    return InversePnl(gross, fees, net, net * exit_price)


def funding_linear(position: float, mark: float, rate: float) -> float:
    """Quote cash to the holder of ``position`` [signed base] at a settlement: a long pays a positive rate."""
    return -position * mark * rate


def funding_inverse(contracts: float, mark: float, rate: float) -> float:
    """Coin to the holder of ``contracts`` [signed, 1 quote unit each] at a settlement."""
    return -contracts / mark * rate


def funding_flows(kind: Literal["linear", "inverse"], settlements: Iterable[tuple[float, float, float]]) -> list[float]:
    """Cash flow of each settlement (position held at the timestamp, mark, rate). ``ValueError`` on another kind."""
    if kind == "linear":
        return [funding_linear(*s) for s in settlements]
    if kind == "inverse":
        return [funding_inverse(*s) for s in settlements]
    raise ValueError(f"funding: kind must be linear or inverse, got {kind!r}")


def liquidation_linear(
    side: int,
    size: float,
    entry: float,
    leverage: float,
    mmr: float,
    mm_deduction: float = 0.0,
    extra_margin: float = 0.0,
    fee_rate: float = 0.0,
    model: MaintenanceModel = "mark_mm",
) -> LinearLiquidation:
    """Liquidation of an isolated position; which maintenance rule a venue uses is configuration.

    ``entry_mm``: maintenance on the entry value; ``mark_mm``: on the value at the liquidation price; ``mark_mm_fee``:
    as ``mark_mm``, and a closing fee must be left too. Raises ``ValueError`` on another name.
    """
    margin = size * entry / leverage
    maintenance = size * entry * mmr - mm_deduction
    bankruptcy = _price(entry - side * (margin + extra_margin) / size)
    if model == "entry_mm":
        liq = _price(entry - side * (margin - maintenance + extra_margin) / size)
    elif model in {"mark_mm", "mark_mm_fee"}:
        rate = mmr + (fee_rate if model == "mark_mm_fee" else 0.0)
        liq = _ratio(entry * size * side - margin - extra_margin - mm_deduction, size * (side - rate))
    else:
        raise ValueError(f"liquidation: unknown maintenance model {model!r}")
    distance = None if liq is None else side * (entry - liq) / entry
    return LinearLiquidation(margin, maintenance, bankruptcy, liq, distance)


def liquidation_inverse(
    side: int,
    contracts_usd: float,
    entry: float,
    leverage: float,
    mmr: float,
    mm_deduction: float = 0.0,
    extra_margin_coin: float = 0.0,
) -> InverseLiquidation:
    """Isolated margin in coin, under maintenance on the entry value and on the value at the liquidation price."""
    value = contracts_usd / entry
    margin = value / leverage
    maintenance = value * mmr - mm_deduction
    own = margin + extra_margin_coin
    return InverseLiquidation(
        position_value_coin=value,
        initial_margin_coin=margin,
        liq_price_entry_mm=_ratio(contracts_usd, value + side * (own - maintenance)),
        liq_price_mark_mm=_ratio(contracts_usd * (1.0 + side * mmr), value + side * (own + mm_deduction)),
        bankruptcy_price=_ratio(contracts_usd, value + side * own),
    )


def _price(value: float) -> float | None:
    return value if value > 0.0 else None


def _ratio(numerator: float, denominator: float) -> float | None:
    return _price(numerator / denominator) if denominator != 0.0 else None
