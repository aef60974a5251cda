"""REST calls through ccxt: what came back in the venue's own words, and whether it is certain.

A request that changes something has three ends: the venue answered (``Answer.certain``: its words decide), it never
left this machine (``unsent``), or nobody knows (timeout, dropped connection, 429, 5xx): then the order must be asked
for, never sent again.
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import aiohttp
from ccxt.base.errors import ExchangeClosedByUser

from mm.errors import VenueUnreachable
from mm.venues import base, sends

End = Literal["certain", "unsent", "unknown"]

_MAX_WORDS: Final = 300  # characters of an error message
_MIN_SECRET: Final = 6  # characters; shorter values (a uid of 1) are found in any text
_SECRETS: Final = ("apiKey", "secret", "password", "privateKey", "token", "login", "uid", "walletAddress")


@dataclass(slots=True)
class Answer:
    """How one call ended. ``status`` is 0 and ``body`` empty when the venue said nothing."""

    end: End = "unknown"
    status: int = 0
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    error: str = ""  # ccxt's complaint, "" when it had none
    data: Any = None  # parsed by ccxt, only without a complaint
    dropped: bool = False  # the connection broke: perhaps it had been kept for too long
    fault: BaseException | None = None  # what ccxt raised

    @property
    def ok(self) -> bool:
        """The venue did it."""
        return self.end == "certain" and not self.error


Budget = base.Budget
Sends = sends.Sends
_answer: ContextVar[Answer | None] = ContextVar("answer", default=None)


def keep_answer(status: int, headers: Mapping[str, str], body: str) -> None:
    """Called by the exchange with every REST answer: the call in whose context we are gets it."""
    answer = _answer.get()
    if answer is not None:
        answer.status, answer.headers, answer.body = status, dict(headers), body


async def attempt(exchange: Any, call: Callable[..., Awaitable[Any]], *args: Any) -> Answer:
    """Make one REST call; never raises for what the venue or the network did."""
    answer = Answer()
    token = _answer.set(answer)
    try:
        answer.data = await call(*args)
        answer.end = "certain"
    except Exception as exc:  # noqa: BLE001  a proxy's error, a session closed meanwhile: whatever it was, no answer
        answer.error, answer.fault = redacted(exchange, exc), exc
        answer.end = _end(answer.status, exc)
        answer.dropped = isinstance(exc.__cause__, aiohttp.ServerDisconnectedError)
    finally:
        _answer.reset(token)
    return answer


async def ask(exchange: Any, call: Callable[..., Awaitable[Any]], *args: Any) -> Any:
    """The data of a query; raises ``VenueUnreachable`` whenever there is none.

    Asked again once when a connection breaks, as aiohttp would: the session is told not to repeat anything by itself.
    """
    answer = await attempt(exchange, call, *args)
    if answer.dropped:
        answer = await attempt(exchange, call, *args)
    if not answer.ok:
        raise VenueUnreachable(answer.error)
    return answer.data


def _end(status: int, exc: BaseException) -> End:
    if status:
        return "unknown" if status >= 500 or status in {408, 418, 425, 429} else "certain"
    never_left = isinstance(exc.__cause__, aiohttp.ClientConnectorError | socket.gaierror)
    return "unsent" if never_left or isinstance(exc, ExchangeClosedByUser) else "unknown"


def redacted(exchange: Any, fault: BaseException | None) -> str:
    """The words of an error without any credential of the exchange in them."""
    text = str(fault) or type(fault).__name__
    cause = None if fault is None else fault.__cause__
    if isinstance(cause, aiohttp.ClientError | TimeoutError | OSError) and str(cause) not in text:
        text += f": {cause}"  # ccxt names the address and not what was wrong with it
    for name in _SECRETS:
        value = getattr(exchange, name, None)
        if isinstance(value, str) and len(value) >= _MIN_SECRET:
            text = text.replace(value, "***")
    text = re.sub(r"(?i)(signature=)[^&\s]+", r"\1***", " ".join(text.split()))
    return text if len(text) <= _MAX_WORDS else text[:_MAX_WORDS] + "…"


async def clock_skew_s(server_time_ms: Callable[[], Awaitable[int]]) -> tuple[float, float]:
    """(how far this machine's clock is ahead of the venue's, round trip), the best of three, in seconds."""
    best = (0.0, float("inf"))
    for _ in range(3):
        sent_s = time.time()
        server_s = await server_time_ms() / 1e3
        got_s = time.time()
        if got_s - sent_s < best[1]:
            best = ((sent_s + got_s) / 2 - server_s, got_s - sent_s)
    return best
