"""Does a parameter still move what is sent? The final quote of a config, with one parameter at a time multiplied.

A clamp can hide a dead model (MATRIX section 5): this asks the whole decision kernel, bounds and rounding included,
on a quiet book of one tick's width. Controls that react to the market stay out; the fee floor, which always stands in
the way, stays in.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from mm.config.schema import RunConfig
from mm.core.instrument import Instrument
from mm.strategy.controls.names import FEE_FLOOR, bit
from mm.strategy.features import set_touch
from mm.strategy.kernel import decide_on
from mm.strategy.setup import resolve

PARAMETERS: Final = ("gamma", "sigma", "kappa", "A", "q")
_NOW_NS: Final = 1_704_067_200_000_000_000


class FinalQuote(NamedTuple):
    """A decision after bounds and rounding; 0 lots: no quote on that side."""

    bid_tick: int
    ask_tick: int
    bid_lots: int
    ask_lots: int
    clamped: bool


Pair = tuple[FinalQuote, FinalQuote]  # with nothing held beyond the target, and with one order more


class Sensitivity(NamedTuple):
    """The final quotes at the config's own parameters and with one of them changed."""

    base: Pair
    changed: Pair

    @property
    def moved(self) -> bool:
        """Price or size of a side is another one, with or without inventory."""
        return any(a[:4] != b[:4] for a, b in zip(self.base, self.changed, strict=True))


def sensitivity(
    cfg: RunConfig, instrument: Instrument, ref_price: float, *, factor: float = 2.0
) -> dict[str, Sensitivity]:
    """For each of ``PARAMETERS``: the final quotes without and with it multiplied by ``factor``; ``q``: one order held.

    Raises:
        ConfigError: the config does not fit the instrument.
    """
    base = _quotes(cfg, instrument, ref_price, "", factor)
    out = {
        name: Sensitivity(base, _quotes(cfg, instrument, ref_price, name, factor)) for name in PARAMETERS if name != "q"
    }
    return out | {"q": Sensitivity((base[0], base[0]), (base[1], base[1]))}


def _quotes(cfg: RunConfig, instrument: Instrument, ref_price: float, name: str, factor: float) -> Pair:
    flat, held = (_final_quote(cfg, instrument, ref_price, name, factor, orders) for orders in (0, 1))
    return flat, held


def _final_quote(
    cfg: RunConfig, instrument: Instrument, ref_price: float, name: str, factor: float, orders: int
) -> FinalQuote:
    r = resolve(cfg, instrument, ref_price)
    p, s, f, model = r.params[0], r.state[0], r.features[0], r.model[0]
    p.controls &= bit(FEE_FLOOR)
    s.pos_lots = p.target_lots + orders * p.order_lots
    if name == "sigma":
        f.sigma2 *= factor * factor
        p.static_sigma *= factor  # negative, and so without effect, where it is estimated
    elif name:
        model[name] *= factor
    tick = round(ref_price / float(instrument.tick_size))
    set_touch(f, tick, tick + 1, 1, 1)
    decide_on(f, model, r.policy[0], p, s, _NOW_NS, False, r.target[0])
    t = r.target[0]
    return FinalQuote(int(t.bid_tick), int(t.ask_tick), int(t.bid_lots), int(t.ask_lots), bool(s.clamped))
