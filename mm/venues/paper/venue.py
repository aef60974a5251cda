"""``paper:VENUE`` in the registry: public data of that venue, orders on paper.

Options beside the venue's own public ones: ``symbols``, ``balance``, ``held`` (spot inventory by symbol),
``queue_model`` and ``queue_n`` (``mm.sim.queue``), ``latency_s`` one way, ``fills_path``: a file that keeps the fills,
so that a restarted process finds its position.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from mm.core.instrument import Instrument
from mm.sim.queue import MODELS
from mm.venues.base import Codec, Decoded
from mm.venues.native.codec import NativeCodec
from mm.venues.paper.account import PaperAccount
from mm.venues.paper.client import PaperTradingClient
from mm.venues.registry import Venue

_OPTIONS = ("balance", "held", "queue_model", "queue_n", "latency_s", "symbols", "fills_path")


class PaperCodec:
    """Public frames are the venue's, private ones the paper account's."""

    def __init__(self, public: Codec, private: NativeCodec) -> None:
        self._public, self._private = public, private

    def decode_public(self, raw: bytes, ts_recv_ns: int) -> Decoded:
        return self._public.decode_public(raw, ts_recv_ns)

    def decode_private(self, raw: bytes, ts_recv_ns: int) -> Decoded:
        return self._private.decode_private(raw, ts_recv_ns)

    def reset(self) -> None:
        """A new connection."""
        self._public.reset()
        self._private.reset()


def over(source: Venue) -> Venue:
    """The paper venue over another one's market data."""

    def codec(instruments: Sequence[Instrument], prefix: str = "") -> PaperCodec:
        return PaperCodec(source.make_codec(instruments, prefix), NativeCodec(instruments, prefix))

    def public(options: Mapping[str, Any], symbols: Sequence[str]) -> Any:
        return source.make_public(_of_source(options), symbols)

    def trading(options: Mapping[str, Any]) -> PaperTradingClient:
        symbols = list(options["symbols"])
        held = {symbol: Decimal(str(size)) for symbol, size in dict(options.get("held", {})).items()}
        model, n = MODELS[str(options.get("queue_model", "risk_averse"))], float(options.get("queue_n", 1.0))
        balance = Decimal(str(options.get("balance", "10000")))
        return PaperTradingClient(
            lambda: source.make_public(_of_source(options), symbols),
            lambda instruments: source.make_codec(instruments, ""),
            symbols,
            lambda instruments: PaperAccount(instruments, model, n, balance, held),
            float(options.get("latency_s", 0.01)),
            options.get("fills_path"),
        )

    return Venue(f"paper:{source.name}", codec, public, trading, networks=source.networks)


def _of_source(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name not in _OPTIONS}
