"""An exchange of ccxt.pro by its id: supervised connections, the venue's clock, our symbols, what its unified API has.

ccxt reads every frame here; connections are ours all the same (``mm.venues.ccxt_base``), so silence ends them.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

import ccxt.pro
from ccxt.base.decimal_to_precision import DECIMAL_PLACES, TICK_SIZE

from mm.core.instrument import ContractKind, Instrument
from mm.errors import ConfigError, VenueUnreachable
from mm.venues.ccxt_base import SILENCE_S, RawExchange, RawSocket, make_exchange
from mm.venues.ccxt_calls import ask
from mm.venues.settings import Endpoints, credentials, proxy

KEYS: Final = {  # our names of ccxt's credentials
    "api_key": "apiKey", "api_secret": "secret", "uid": "uid", "login": "login", "password": "password",
    "private_key": "privateKey", "wallet_address": "walletAddress", "token": "token", "account_id": "accountId",
}  # fmt: skip
TIMEOUT_S: Final = 5.0
_NEEDED: Final = ("watchOrderBook", "watchTrades")
_NEEDED_TO_TRADE: Final = ("watchOrders", "watchMyTrades", "fetchOpenOrders", "fetchMyTrades", "fetchOrder")
_OPTIONS: Final[dict[str, Any]] = {  # documented switches of ccxt; an exchange that does not know one ignores it
    "warnOnFetchOpenOrdersWithoutSymbol": False,
    "watchPositions": {"fetchPositionsSnapshot": False, "awaitPositionsSnapshot": False},
    "watchBalance": {"fetchBalanceSnapshot": False, "awaitBalanceSnapshot": False},
}


class Watched(RawExchange):
    """Mix-in before an exchange of ccxt.pro. ``skew_ms``: how far this machine's clock is ahead of the venue's."""

    skew_ms = 0

    def on_raw(self, _socket: RawSocket, _raw: bytes) -> bool:
        """ccxt reads everything."""
        return True

    def milliseconds(self) -> int:
        """The venue's clock: everything ccxt signs carries it."""
        parent: Any = super()
        return int(parent.milliseconds()) - self.skew_ms


@lru_cache(maxsize=16)
def exchange_class(exchange_id: str) -> type[Any]:
    """The supervised class of an exchange; raises ``ConfigError`` for one that ccxt.pro has not."""
    if exchange_id not in ccxt.pro.exchanges:
        raise ConfigError(f"ccxt.pro has no exchange {exchange_id!r}; see docs.ccxt.com for the list")
    return type(f"Watched_{exchange_id}", (Watched, getattr(ccxt.pro, exchange_id)), {})


@lru_cache(maxsize=16)
def facts(exchange_id: str) -> Any:
    """An exchange that is only asked what it has and needs."""
    return exchange_class(exchange_id)({})


def make(exchange_id: str, options: Mapping[str, Any], *, private: bool) -> Any:
    """An exchange by a client's options; raises ``ConfigError``, also for what its unified API lacks."""
    known = facts(exchange_id)
    missing = [name for name in (*_NEEDED, *(_NEEDED_TO_TRADE if private else ())) if not known.has.get(name)]
    if missing:
        raise ConfigError(f"venue ccxt:{exchange_id}: its unified API has no {', '.join(missing)}")
    keys = credentials(exchange_id, options, needed_keys(exchange_id)) if private else {}
    config: dict[str, Any] = {KEYS[name]: value for name, value in keys.items()}
    config["options"] = {name: dict(v) if isinstance(v, dict) else v for name, v in _OPTIONS.items()}
    where = Endpoints(str(options.get("rest_url") or ""), str(options.get("ws_url") or ""))
    exchange = make_exchange(
        exchange_class(exchange_id),
        where if where.rest and where.ws else None,
        proxy=proxy(options, where),
        timeout_s=float(options.get("timeout_s", TIMEOUT_S)),
        **config,
    )
    if options.get("network") == "testnet":  # some have given up their sandbox for a demo
        exchange.enable_demo_trading(True) if "demo" in exchange.urls else exchange.set_sandbox_mode(True)
    exchange.has["fetchCurrencies"] = False  # markets alone: some exchanges want keys for the rest
    exchange.silence_s = float(options.get("stall_s", SILENCE_S))
    return exchange


def needed_keys(exchange_id: str) -> tuple[str, ...]:
    """Names of the credentials that an exchange needs."""
    needs = facts(exchange_id).requiredCredentials
    return tuple(name for name, theirs in KEYS.items() if needs.get(theirs))


class Markets:
    """Instruments of an exchange by the venue's own symbol; of several markets with one symbol the swap counts."""

    def __init__(self, exchange: Any) -> None:
        self.instruments: dict[str, Instrument] = {}
        self._unified: dict[str, str] = {}
        self._symbol: dict[str, str] = {}
        self._contract: dict[str, Decimal] = {}  # by unified symbol: base per contract
        for market in sorted(exchange.markets.values(), key=lambda m: bool(m.get("swap"))):
            found = instrument(exchange, market)
            if found is None:
                continue
            unified, symbol = str(market["symbol"]), str(market["id"])
            self._symbol.pop(self._unified.get(symbol, ""), None)
            self.instruments[symbol], self._unified[symbol], self._symbol[unified] = found, unified, symbol
            if found.kind == "linear":
                self._contract[unified] = Decimal(str(market.get("contractSize") or 1))

    def unified(self, symbol: str) -> str:
        """ccxt's name; raises ``ConfigError``."""
        if symbol not in self._unified:
            raise ConfigError(f"no instrument {symbol!r}; it has {', '.join(sorted(self._unified)[:50])}")
        return self._unified[symbol]

    def symbol(self, unified: Any) -> str:
        """The venue's own name, "" for a market that is not ours."""
        return self._symbol.get(str(unified), "")

    def size(self, unified: Any, amount: Any) -> str:
        """ccxt's amount (contracts) as our size (base; inverse: contracts)."""
        return number(amount, self._contract.get(str(unified)))

    def amount(self, symbol: str, size: Decimal) -> float:
        """Our size as ccxt's amount."""
        return float(size / self._contract.get(self.unified(symbol), Decimal(1)))


async def load(exchange: Any, known: Markets | None = None) -> Markets:
    """Open the exchange and know its markets; raises ``VenueUnreachable``."""
    exchange.open()
    if known is None:
        await ask(exchange, exchange.load_markets)
        known = Markets(exchange)
    return known


def instrument(exchange: Any, market: Mapping[str, Any]) -> Instrument | None:
    """A market as an instrument; None for what the desk does not trade (options, dated futures, no known grid)."""
    kind: ContractKind
    if market.get("spot"):
        kind = "spot"
    elif market.get("swap"):
        kind = "inverse" if market.get("inverse") else "linear"
    else:
        return None
    grid = market.get("precision") or {}
    tick, lot = _step(exchange, grid.get("price")), _step(exchange, grid.get("amount"))
    if market.get("active") is False or not tick or not lot:
        return None
    contract = Decimal(str(market.get("contractSize") or 1))
    cost = ((market.get("limits") or {}).get("cost") or {}).get("min")
    return Instrument(
        symbol=str(market["id"]), venue=f"ccxt:{exchange.id}", kind=kind, tick_size=tick,
        lot_size=lot * contract if kind == "linear" else lot, min_notional=_plain(cost or 0),
        contract_value=contract if kind == "inverse" else Decimal(1), base=str(market["base"]),
        quote=str(market["quote"]), maker_fee=_plain(market.get("maker") or 0),
        taker_fee=_plain(market.get("taker") or 0),
    )  # fmt: skip


def _step(exchange: Any, precision: Any) -> Decimal:
    """A step of price or size by the exchange's way to tell it, 0 when it tells none."""
    if precision is None:
        return Decimal(0)
    if exchange.precisionMode == TICK_SIZE:
        return _plain(precision)
    if exchange.precisionMode == DECIMAL_PLACES:
        return Decimal(1).scaleb(-int(precision))
    return Decimal(0)  # significant digits: no grid


def _plain(value: Any) -> Decimal:
    return Decimal(format(Decimal(str(value)).normalize(), "f"))


def number(value: Any, scale: Decimal | None = None) -> str:
    """A number of ccxt's as a string; raises ``VenueUnreachable`` for none."""
    if value is None or isinstance(value, bool):
        raise VenueUnreachable(f"ccxt: {value!r} where a number should be")
    if scale is None or scale == 1:
        return str(value)
    return format((Decimal(str(value)) * scale).normalize(), "f")
