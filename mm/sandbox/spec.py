"""What one local exchange is: instruments, accounts, background flow. The file that ``--spec`` names."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Final, Literal

import msgspec

from mm.core.instrument import Instrument
from mm.errors import ConfigError
from mm.sim.matching import Stp

HOST: Final = "127.0.0.1"  # never anything else: the local exchange has no encryption


class AccountSpec(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """One account. Amounts are decimal strings; ``positions`` is the starting inventory by symbol (spot)."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    token: Annotated[str, msgspec.Meta(min_length=8)]
    balance: str = "100000"  # in every settlement currency that ``balances`` does not name
    balances: dict[str, str] = {}
    positions: dict[str, str] = {}
    maker_fee: str | None = None  # signed fraction; default: the instrument's
    taker_fee: str | None = None
    leverage: Annotated[int, msgspec.Meta(ge=1)] = 10  # of every contract at the start, at most what its venue allows


class BackgroundSpec(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Where a market's anonymous flow comes from; ``params`` are fields of ``mm.data.synth.SynthSpec``.

    Markets of several exchange processes move together without talking to each other when they have the same epoch
    and the same ``fair_seed`` or store.
    """

    kind: Literal["synth", "store"]
    path: str = ""  # store: its directory
    seed: int = 1
    speed: Annotated[float, msgspec.Meta(gt=0)] = 1.0
    params: dict[str, Any] = {}
    fair_seed: Annotated[int, msgspec.Meta(ge=0)] | None = None  # synth: flows of one seed share a fair price
    basis_bps: Annotated[float, msgspec.Meta(ge=-1000, le=1000)] = 0.0  # of this venue over the shared price
    delay_ms: Annotated[float, msgspec.Meta(ge=0, le=60_000)] = 0.0  # this venue is so much later, in flow time
    epoch_ns: Annotated[int, msgspec.Meta(ge=0)] | None = None  # when the flow began, by the clock; None: with us


class FundingSpec(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Funding settlements at whole multiples of ``interval_s`` since the epoch, in place of those of the flow."""

    interval_s: Annotated[float, msgspec.Meta(ge=0.1)] = 28_800.0
    rate: str = "0.0001"  # signed fraction of the position's value: longs pay a positive rate


class ExchangeSpec(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """One exchange process."""

    control_token: Annotated[str, msgspec.Meta(min_length=8)]
    instruments: Annotated[list[dict[str, str]], msgspec.Meta(min_length=1)]
    accounts: list[AccountSpec] = []
    background: dict[str, BackgroundSpec] = {}  # by symbol
    funding: dict[str, FundingSpec] = {}  # by symbol
    stp: Stp = "cancel_newest"
    name: str = "local"
    face: str = ""  # the venue whose wire it speaks beside its own (mm.sandbox.faces)
    limits: bool = True  # the venue's rate limits hold on its wire
    face_port: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 0  # 0 takes a free one

    def parsed_instruments(self) -> list[Instrument]:
        """The instruments, checked."""
        out = [Instrument.from_dict(raw) for raw in self.instruments]
        symbols = [instrument.symbol for instrument in out]
        for symbol in {*symbols, *self.background, *self.funding}:
            if symbols.count(symbol) != 1:
                raise ConfigError(f"exchange {self.name}: symbol {symbol!r} must be listed once in instruments")
        return out


def parse_spec(raw: bytes, where: str) -> ExchangeSpec:
    """A spec from JSON; raises ``ConfigError`` that names ``where`` and the field."""
    try:
        spec = msgspec.json.decode(raw, type=ExchangeSpec)
    except msgspec.MsgspecError as exc:
        raise ConfigError(f"{where}: {exc}") from exc
    names = [account.name for account in spec.accounts]
    tokens = [account.token for account in spec.accounts]
    if len(set(names)) != len(names) or len(set(tokens)) != len(tokens):
        raise ConfigError(f"{where}: accounts need names and tokens of their own")
    return spec


def amount(text: str, what: str) -> Decimal:
    """A finite decimal; raises ``ConfigError``."""
    try:
        value = Decimal(text)
    except InvalidOperation as exc:
        raise ConfigError(f"{what}: {text!r} is not a decimal number") from exc
    if not value.is_finite():
        raise ConfigError(f"{what}: {text!r} is not finite")
    return value
