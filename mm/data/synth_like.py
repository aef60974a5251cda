"""The default synthetic market, told in another instrument's ticks and lots."""

from __future__ import annotations

from typing import Any, Final

from mm.core.instrument import Instrument
from mm.data.synth import SynthSpec
from mm.errors import ConfigError

MID_USD: Final = {"BTC": 60_000.0, "ETH": 3_000.0, "SOL": 150.0}  # invented, of the right size

_IN_TICKS: Final = ("informed_edge_ticks", "min_edge_ticks", "mean_edge_ticks", "churn_depth_ticks")
_IN_LOTS: Final = ("order_median_lots", "informed_median_lots", "level_median_lots")
_DEEPEST_TICKS: Final = 1_000
_SHALLOWEST_TICKS: Final = 20  # levels


def market_params(instrument: Instrument) -> dict[str, Any]:
    """Fields of ``SynthSpec`` that give an instrument the default market's spread, depth and sizes in money.

    Where the instrument's tick is coarser than the default spread, the tick is the spread. Inverse contracts are taken
    by their value in quote currency. Raises ``ConfigError`` for a base currency without a price of its own.
    """
    plain = SynthSpec()
    if instrument.base not in MID_USD:
        raise ConfigError(
            f"{instrument.symbol}: no synthetic price for {instrument.base or 'an unnamed base currency'}; "
            f"there are {', '.join(MID_USD)} (mm/data/synth_like.py)"
        )
    mid = MID_USD[instrument.base]
    # a default tick and a default lot, as fractions of price and in USD, counted in this instrument's
    ticks = (float(plain.instrument.tick_size) / plain.mid0) / (float(instrument.tick_size) / mid)
    lot_usd = float(instrument.lot_size * instrument.contract_value) * (1.0 if instrument.kind == "inverse" else mid)
    lots = float(plain.instrument.lot_size) * plain.mid0 / lot_usd
    out: dict[str, Any] = {"mid0": mid}
    out |= {name: min(getattr(plain, name) * ticks, 100.0) for name in _IN_TICKS}
    out |= {name: max(getattr(plain, name) * lots, 1.0) for name in _IN_LOTS}
    for name in ("depth_ticks", "walk_ticks"):
        out[name] = round(min(max(getattr(plain, name) * ticks, _SHALLOWEST_TICKS), _DEEPEST_TICKS))
    # as many levels in the same price range, as far as the grid allows
    out["level_density"] = min(max(plain.level_density / ticks, 0.02), 1.0)
    out["churn_depth_ticks"] = max(out["churn_depth_ticks"], 3.0)
    return out
