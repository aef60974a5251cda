"""The synthetic market in other instruments' units: the same spread and sizes in money."""

from __future__ import annotations

import numpy as np
import pytest

from mm.core.instrument import Instrument
from mm.core.types import BID, BUY, SELL
from mm.data.synth import SynthFlow, SynthSpec
from mm.data.synth_like import MID_USD, market_params
from mm.errors import ConfigError
from mm.venues.specs import SPECS

MARKETS = [(venue, one.base) for venue, spec in SPECS.items() for one in spec.listings]


def figures(instrument: Instrument, params: dict[str, float]) -> tuple[float, float, float]:
    """(first mid, traded USD per second, USD of the first snapshot's bids)."""
    chunk = SynthFlow(SynthSpec(instrument=instrument, **params), 3).next_chunk(40 * 10**9)
    tick, lot = float(instrument.tick_size), float(instrument.lot_size)
    value = chunk["tick"] * tick * chunk["lots"] * lot
    kind = chunk["kind"]
    first = chunk[kind == BID][:5]
    traded = value[(kind == BUY) | (kind == SELL)].sum() / 40
    return float(first["tick"][0] * tick), float(traded), float((first["tick"] * tick * first["lots"] * lot).sum())


@pytest.mark.parametrize(("venue", "base"), MARKETS)
def test_it_is_the_same_market_in_money(venue, base):
    instrument = SPECS[venue].instrument(base)
    plain = figures(SynthSpec().instrument, {})
    mid, traded, _ = figures(instrument, market_params(instrument))
    assert mid == pytest.approx(MID_USD[base], rel=0.002)
    assert plain[1] / 4 < traded < plain[1] * 4


def test_a_currency_without_a_price():
    odd = Instrument.from_dict(SPECS["bybit"].instrument("BTC").to_dict() | {"base": "DOGE"})
    with pytest.raises(ConfigError, match="no synthetic price for DOGE"):
        market_params(odd)


def test_the_default_market_is_itself():
    same = SynthSpec(**market_params(SynthSpec().instrument))
    for name in SynthSpec.__dataclass_fields__:
        assert np.all(getattr(same, name) == getattr(SynthSpec(), name)), name
