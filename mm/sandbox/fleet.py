"""What the exchange processes of several venues are when they share one market."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Final

from mm.core.instrument import Instrument
from mm.data.store import Store
from mm.data.synth_like import MID_USD, market_params
from mm.errors import ConfigError
from mm.sandbox.spec import AccountSpec, BackgroundSpec, ExchangeSpec, FundingSpec
from mm.venues.specs import find_spec, venue_spec

ACCOUNT: Final = "desk"
PERSONALITY: Final[Mapping[str, tuple[float, float]]] = {  # basis [bps] and delay [ms] against the shared fair price
    "bybit": (0.0, 0.0),
    "mexc": (1.0, 40.0),
    "hyperliquid": (-1.5, 80.0),
    "apex": (2.0, 120.0),
    "paradex": (-2.5, 160.0),
}
_BALANCE: Final = "100000"
_INVENTORY_USD: Final = 50_000.0  # of each base currency on a spot venue


def fleet(
    venues: Sequence[str],
    bases: Sequence[str],
    flow: str,
    speed: float,
    epoch_ns: int,
    tokens: Mapping[str, tuple[str, str]],
    seed: int = 1,
    funding_every_s: float | None = None,
) -> dict[str, ExchangeSpec]:
    """One spec per venue. Raises ``ConfigError`` or ``DataError``.

    ``bases``: base currencies, each listed on every venue; ``flow``: "synth" or a store, which then plays its base
    currency; ``tokens``: control token and account token by venue; ``funding_every_s``: default as ``schedule`` says.
    """
    stored = None if flow == "synth" else Store.open(flow)
    if stored is not None and (stored.instrument.base or "?") not in bases:
        raise ConfigError(f"{flow} holds {stored.instrument.base or 'an unnamed currency'}, not {' or '.join(bases)}")
    out = {}
    for venue in venues:
        spec = venue_spec(venue)
        basis_bps, delay_ms = PERSONALITY.get(venue, (0.0, 0.0))
        instruments = [spec.instrument(base) for base in bases]
        background, funding = {}, {}
        for instrument in instruments:
            one = BackgroundSpec(
                kind="synth", speed=speed, basis_bps=basis_bps, delay_ms=delay_ms, epoch_ns=epoch_ns,
                seed=seed_of(seed, venue, instrument.base),
            )  # fmt: skip
            if stored is not None and instrument.base == stored.instrument.base:
                one.kind, one.path = "store", str(stored.path.absolute())
            else:
                one.fair_seed, one.params = seed_of(seed, instrument.base), market_params(instrument)
            background[instrument.symbol] = one
            settlements = schedule(instrument, venue, one, funding_every_s)
            if settlements is not None:
                funding[instrument.symbol] = settlements
        control, token = tokens[venue]
        held = {i.symbol: _inventory(i) for i in instruments if i.kind == "spot"}
        account = AccountSpec(name=ACCOUNT, token=token, balance=_BALANCE, positions=held)
        out[venue] = ExchangeSpec(
            control_token=control, instruments=[i.to_dict() for i in instruments], accounts=[account],
            background=background, funding=funding, name=venue, face=venue,
        )  # fmt: skip
    return out


def schedule(
    instrument: Instrument, venue: str, flow: BackgroundSpec, every_s: float | None, rate: str = "0.0001"
) -> FundingSpec | None:
    """When a contract settles funding: as told, else a synthetic flow at the venue's hours and a store as recorded."""
    if instrument.kind == "spot":
        return None
    spec = find_spec(venue)
    hours = spec.funding_interval_h if spec is not None and flow.kind == "synth" else None
    if every_s is None and hours is not None:
        every_s = hours * 3600
    return None if every_s is None else FundingSpec(interval_s=every_s, rate=rate)


def _inventory(instrument: Instrument) -> str:
    lots = instrument.lots_floor(str(round(_INVENTORY_USD / MID_USD[instrument.base], 4)))
    return format(instrument.size(lots), "f")


def seed_of(*words: object) -> int:
    """One seed from several words."""
    return zlib.crc32(repr(words).encode())
