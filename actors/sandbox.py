"""The local exchanges as a command: one process per venue, found again by ``sandbox fault``, ``play`` and ``stats``.

What a running one is stands in ``$RAYMAKER_HOME/sandbox.json``; the keys of its accounts stand in ``sandbox.env``
beside it, in the form of a ``.env`` file. Both can be read by their owner only and go when the exchanges end.
"""

from __future__ import annotations

import json
import math
import os
import secrets
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any, Final, Literal

import msgspec

from actors.home import home, read_json, write_json
from actors.keys import variable
from mm.core import types
from mm.core.first_run import SANDBOX, first_run
from mm.core.instrument import Instrument
from mm.errors import ConfigError, VenueUnreachable
from mm.sandbox.faces import FACES, local_keys
from mm.sandbox.fleet import fleet
from mm.sandbox.process import ExchangeHandle, control, exchange_stats, start_exchange, stop_exchange
from mm.sandbox.spec import HOST
from mm.venues.native import wire

SHORTEST_FUNDING_S: Final = 0.1  # between settlements
_EVERY_S: Final = 1.0  # of the status line
_RATE_STEPS: Final = round(1 / types.FUNDING_RATE_UNIT)
_KINDS: Final = {
    "bid": types.BID, "ask": types.ASK, "buy": types.BUY, "sell": types.SELL, "mark": types.MARK,
    "funding": types.FUNDING, "clear_bid": types.CLEAR_BID, "clear_ask": types.CLEAR_ASK,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Options:
    """``venues`` empty: every one that has a face."""

    venues: Sequence[str] = ()
    bases: Sequence[str] = ("BTC",)
    flow: str = "synth"
    speed: float = 1.0
    duration_s: float | None = None
    funding_every_s: float | None = None  # default: at the venue's hours


@dataclass(frozen=True, slots=True)
class Status:
    """Sums over the venues, ``per_s`` since the last one."""

    elapsed_s: float
    orders: int
    fills: int
    sessions: int
    messages_per_s: float
    gone: tuple[str, ...]


def run(
    options: Options,
    on_ready: Callable[[dict[str, Any]], None],
    on_status: Callable[[Status], None],
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Run the exchanges until the duration is over or a signal comes; returns their counters."""
    path = home() / "sandbox.json"
    if any(_handle(raw).process() for raw in _known().values()):
        raise ConfigError(f"a sandbox runs already (see {path}): end it, or set RAYMAKER_HOME to another folder")
    stop = threading.Event()
    with _signals(stop), _started(options, say) as handles:
        on_ready(_describe(handles))
        return _watch(handles, options.duration_s, stop, on_status)


def fault(venue: str, changes: Sequence[str], drop: Literal["", "public", "private", "all"], *, hard: bool) -> Any:
    """Set faults (``key=value``) of a running exchange and end sockets; returns the faults that are on."""
    handle = _running(venue)
    parsed = dict(_parsed(change) for change in changes)
    return control(handle, wire.Fault(token=handle.control_token, set=parsed, drop=drop, hard=hard))


def play(venue: str, symbol: str, rows: Sequence[str]) -> int:
    """Anonymous flow by hand, ``"sell 60000.5 0.2"`` in the venue's units; returns how many rows."""
    handle = _running(venue)
    listed = {i["symbol"]: Instrument.from_dict(i) for i in control(handle, wire.Instruments())}
    if symbol not in listed:
        raise ConfigError(f"{venue} has no {symbol!r} here; it has {', '.join(listed)}")
    parsed = [_row(listed[symbol], row) for row in rows]
    control(handle, wire.Play(token=handle.control_token, symbol=symbol, rows=parsed))
    return len(parsed)


def stats(venues: Sequence[str] = ()) -> dict[str, Any]:
    """Counters of the running exchanges."""
    return {venue: exchange_stats(_running(venue)) for venue in venues or _known()}


# --- processes -------------------------------------------------------------------------------------------------------
@contextmanager
def _started(options: Options, say: Callable[[str], None]) -> Any:
    """The exchanges, all or none, and the files that tell of them."""
    venues = list(options.venues or (v for v in FACES if ":" not in v))  # a generic one when it is named
    for venue in venues:
        if venue not in FACES:
            raise ConfigError(f"--venues: no local exchange speaks the wire of {venue!r}; there are {', '.join(FACES)}")
    tokens = {venue: (secrets.token_hex(16), secrets.token_hex(16)) for venue in venues}
    specs = fleet(
        venues, options.bases, options.flow, options.speed, time.time_ns(), tokens,
        funding_every_s=options.funding_every_s,
    )  # fmt: skip
    logs = home() / "logs"
    handles: dict[str, ExchangeHandle] = {}

    def start(venue: str) -> None:
        spec = msgspec.to_builtins(specs[venue])
        handles[venue] = start_exchange(spec, logs / f"sandbox.{venue}.log", watch_pid=os.getpid())

    try:
        with first_run(SANDBOX, say) as cold, ThreadPoolExecutor(len(venues)) as pool:
            if cold:  # one compiles for all
                start(venues[0])
            list(pool.map(start, venues[1:] if cold else venues))
        handles = {venue: handles[venue] for venue in venues}
        _write_keys({venue: local_keys(venue, token) for venue, (_, token) in tokens.items()})
        write_json(home() / "sandbox.json", {venue: asdict(handle) for venue, handle in handles.items()})
        yield handles
    finally:
        for name in ("sandbox.json", "sandbox.env"):
            (home() / name).unlink(missing_ok=True)
        for handle in handles.values():
            stop_exchange(handle)


def _write_keys(keys: Mapping[str, Mapping[str, str]]) -> None:
    lines = [f"{variable(venue, name)}={value}" for venue, pairs in keys.items() for name, value in pairs.items()]
    path = home() / "sandbox.env"
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")


def _describe(handles: Mapping[str, ExchangeHandle]) -> dict[str, Any]:
    venues = {}
    for venue, handle in handles.items():
        where = f"{HOST}:{handle.face_port}"
        venues[venue] = {"rest": f"http://{where}", "ws": f"ws://{where}", "pid": handle.pid}
    return {"venues": venues, "keys": str(home() / "sandbox.env")}


@contextmanager
def _signals(stop: threading.Event) -> Any:
    """Ctrl-C and a kill set ``stop``."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _watch(
    handles: Mapping[str, ExchangeHandle], duration_s: float | None, stop: threading.Event,
    on_status: Callable[[Status], None],
) -> dict[str, Any]:  # fmt: skip
    begin = last = time.monotonic()
    told = 0
    counters: dict[str, Any] = {}
    while True:
        gone = []
        for venue, handle in handles.items():
            try:
                counters[venue] = exchange_stats(handle)
            except VenueUnreachable:
                gone.append(venue)
        now = time.monotonic()
        messages = sum(c["public_messages"] for c in counters.values())
        rate = (messages - told) / max(now - last, 1e-3) if told else 0.0
        told, last = messages, now
        sessions = sum(c["connections"] + c.get("face", {}).get("sessions", 0) for c in counters.values())
        orders, fills = (sum(c[name] for c in counters.values()) for name in ("orders", "fills"))
        on_status(Status(now - begin, orders, fills, sessions - len(handles), rate, tuple(gone)))
        if len(gone) == len(handles):
            raise VenueUnreachable(f"every exchange ended by itself; see {home() / 'logs'}")
        left = _EVERY_S if duration_s is None else min(_EVERY_S, begin + duration_s - now)
        if left <= 0 or stop.wait(left):
            return {"elapsed_s": round(now - begin, 1), "venues": counters, "gone": gone}


# --- a running one ---------------------------------------------------------------------------------------------------
def _known() -> dict[str, Any]:
    path = home() / "sandbox.json"
    return dict(read_json(path) or {}) if path.exists() else {}


def _handle(raw: Mapping[str, Any]) -> ExchangeHandle:
    return ExchangeHandle(**raw)


def _running(venue: str) -> ExchangeHandle:
    known = _known()
    if venue not in known:
        what = f"it has {', '.join(known)}" if known else "start one with `sandbox`"
        raise ConfigError(f"no exchange of {venue!r} runs in a sandbox; {what}")
    return _handle(known[venue])


def _parsed(change: str) -> tuple[str, Any]:
    key, equals, text = change.partition("=")
    try:
        value = json.loads(text.lower())
    except ValueError:
        value = None
    if not equals or not isinstance(value, (bool, int, float)) or not math.isfinite(value):
        raise ConfigError(f"{change!r}: expected key=value with a number, true or false, e.g. ack_lost=1")
    return key, value


def _row(instrument: Instrument, text: str) -> tuple[int, int, int]:
    words = text.split()
    if not 2 <= len(words) <= 3 or words[0] not in _KINDS:
        raise ConfigError(f"{text!r}: expected KIND PRICE [SIZE] with a kind of {', '.join(_KINDS)}")
    kind = _KINDS[words[0]]
    px, qty = [*words[1:], "0", "0"][:2]
    try:
        lots = round(Decimal(qty) * _RATE_STEPS) if kind == types.FUNDING else instrument.lots(qty)
        tick = instrument.ticks(px)
    except (ValueError, ArithmeticError) as exc:
        raise ConfigError(f"{text!r}: {exc}") from exc
    if tick <= 0:
        raise ConfigError(f"{text!r}: the price must be positive")
    if (kind in (types.BUY, types.SELL) and lots <= 0) or (kind in (types.BID, types.ASK) and lots < 0):
        raise ConfigError(f"{text!r}: expected KIND PRICE SIZE with a positive size (bid and ask: 0 empties a level)")
    return kind, tick, lots
