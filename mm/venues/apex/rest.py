"""REST of ApeX Omni through the library, which is synchronous: a few threads with a session of their own.

The library signs, encodes and posts; it ignores the HTTP status, and so a connection adapter of ours keeps what the
venue really answered. A request that changes something has three ends: the venue's words (``ok`` or ``no``), certainly
never sent (``no``), or unknown; nothing is ever sent twice.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec
import requests
from requests.adapters import HTTPAdapter

from mm.errors import ConfigError, VenueUnreachable
from mm.venues.apex import wire
from mm.venues.apex.shim import load
from mm.venues.apex.tunnel import tunnel
from mm.venues.base import Budget

_NETWORK_ID: Final = 9  # of the chain: the library wants one, orders do not hold it
_SHORTEST_SEED: Final = 32  # bytes; the library refuses fewer
_MAX_WORDS: Final = 300
_MIN_SECRET: Final = 6  # characters; a shorter one is found in any text
_UNSENT: Final = (requests.exceptions.ConnectTimeout, requests.exceptions.ProxyError, requests.exceptions.InvalidURL)

Call = Callable[[Any], Any]  # takes the library's client


@dataclass(frozen=True, slots=True)
class Keys:
    """Credentials of one account; never shown."""

    api_key: str
    api_secret: str
    passphrase: str
    zk_seeds: str

    def __repr__(self) -> str:
        return "Keys(***)"

    def redact(self, text: str) -> str:
        """The words of an error without any credential in them, short."""
        for value in (self.api_key, self.api_secret, self.passphrase, self.zk_seeds.removeprefix("0x")):
            if len(value) >= _MIN_SECRET:
                text = text.replace(value, "***")
        text = " ".join(text.split())
        return text if len(text) <= _MAX_WORDS else text[:_MAX_WORDS] + "…"


NO_KEYS: Final = Keys("", "", "", "")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a request ended. ``data`` is the venue's, only when ``end`` is ok."""

    end: Literal["ok", "no", "unknown"]
    data: Any = None
    code: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Tuning:
    """How patient a client is, and the proxy it goes through ("": none)."""

    timeout_s: float = 5.0  # of one request, and of a connection being made
    stall_s: float = 3.0  # a socket that says nothing for so long, pongs neither, has ended
    proxy: str = ""
    budget: Budget | None = None  # of the account


class _Seen(threading.local):
    """What the thread's request met on the wire."""

    sent = False
    status = 0
    body = b""


class _Adapter(HTTPAdapter):
    """Keeps status and body, and whether anything left this machine."""

    def __init__(self, seen: _Seen, connections: int) -> None:
        self._seen = seen
        super().__init__(pool_connections=1, pool_maxsize=connections, max_retries=0)

    def send(self, *args: Any, **kwargs: Any) -> requests.Response:
        self._seen.sent = True
        answer = super().send(*args, **kwargs)
        self._seen.body = answer.content
        self._seen.status = answer.status_code
        return answer

    def close(self) -> None:
        """End the connections now; requests leaves it to the garbage collector, and an old error may hold a pool."""
        pools = self.poolmanager.pools
        for key in pools.keys():  # noqa: SIM118  no ordinary mapping
            pools[key].close()
        super().close()


class Rest:
    """One session. ``threads`` requests at a time; one that waited ``patience_s`` for a thread is not sent any more.

    ``kind``: what its requests count as in the account's budget; "" is the halt's, which counts and never waits.
    """

    def __init__(
        self, rest_url: str, keys: Keys, tuning: Tuning, kind: str = "query", *, threads: int = 4,
        patience_s: float = 2.0,
    ) -> None:  # fmt: skip
        self.keys = keys
        self._budget, self._kind = tuning.budget, kind
        self._timeout_s = tuning.timeout_s
        self._patience_s = patience_s
        self._seen = _Seen()
        self._threads = threads
        self._pool: ThreadPoolExecutor | None = None  # made when it is needed: after ``close`` too, for a new session
        self.library = _library(rest_url, keys, tuning.timeout_s)
        session: requests.Session = self.library.client
        session.trust_env = False  # a proxy is an option, never the environment's
        for scheme in ("http://", "https://"):
            adapter = _Adapter(self._seen, threads)
            if tuning.proxy:
                tunnel(adapter.poolmanager, tuning.proxy, tuning.timeout_s)
            session.mount(scheme, adapter)

    async def send(self, call: Call, wanted: Callable[[], bool] = lambda: True) -> Outcome:
        """Make one request; never raises for what the venue or the network did. Not ``wanted`` any more: not sent."""
        loop = asyncio.get_running_loop()
        asked_s = time.monotonic()  # what the budget keeps too long is not sent either
        if self._budget is not None:
            if self._kind:
                await self._budget.take(self._kind)
            else:
                self._budget.note("cancel_all")
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="apex-rest")
        running = loop.run_in_executor(self._pool, self._run, call, asked_s, wanted)
        try:
            return await asyncio.wait_for(asyncio.shield(running), self._patience_s + 3 * self._timeout_s)
        except TimeoutError:
            return Outcome("unknown", text="no answer")

    async def ask(self, call: Call) -> Any:
        """The data of a query; raises ``VenueUnreachable`` whenever there is none."""
        outcome = await self.send(call)
        if outcome.end != "ok":
            raise VenueUnreachable(f"apex: {outcome.text}")
        return outcome.data

    def l2_key(self) -> str:
        """The public key of the seeds."""
        signer = load("apexomni").zklink_sdk.ZkLinkSigner
        return str(signer.new_from_seed(bytes.fromhex(self.keys.zk_seeds.removeprefix("0x"))).public_key())

    def close(self) -> None:
        """End the threads; what is under way ends by its own timeout."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)
        self.library.client.close()

    def _run(self, call: Call, asked_s: float, wanted: Callable[[], bool]) -> Outcome:
        """In a thread of the pool."""
        if not wanted():
            return Outcome("no", text="not sent: everything was cancelled before")
        waited_s = time.monotonic() - asked_s
        if waited_s > self._patience_s:
            return Outcome("no", text=f"not sent: it waited for {waited_s:.1f} s")
        seen = self._seen
        seen.sent, seen.status, seen.body = False, 0, b""
        try:
            call(self.library)
            fault = ""
        except _UNSENT as exc:
            return Outcome("no", text=self.keys.redact(f"not sent: {exc}"))
        except Exception as exc:  # noqa: BLE001  the library raises Exception itself: what was seen on the wire decides
            fault = self.keys.redact(f"{type(exc).__name__}: {exc}")
            if _refused_connection(exc) or not seen.sent:
                return Outcome("no", text=f"not sent: {fault}")
        return judge(seen.status, seen.body, self.keys.redact, fault)


def judge(status: int, body: bytes, redact: Callable[[str], str], fault: str = "") -> Outcome:
    """What an answer means. ``status`` 0: there was none."""
    if not status:
        return Outcome("unknown", text=fault or "no answer")
    try:
        answer = wire.decode_answer(body)
    except wire.DECODE_ERRORS:
        return Outcome("unknown", code=str(status), text=redact(f"HTTP {status}: {body[:80].decode(errors='replace')}"))
    code = str(answer.code) if answer.refused else ""
    if status >= 500 or status in {403, 408, 429} or code in wire.UNDECIDED_CODES or answer.key in wire.UNDECIDED_KEYS:
        return Outcome("unknown", code=code or str(status), text=redact(answer.complaint if code else f"HTTP {status}"))
    if code or status >= 400:
        return Outcome("no", code=code or str(status), text=redact(answer.complaint if code else f"HTTP {status}"))
    return Outcome("ok", data=msgspec.json.decode(answer.data) if bytes(answer.data) else None)


def _library(rest_url: str, keys: Keys, timeout_s: float) -> Any:
    made = load("apexomni.http_private_sign").HttpPrivateSign
    try:
        seed = bytes.fromhex(keys.zk_seeds.removeprefix("0x"))
    except ValueError:
        raise ConfigError("venue apex: zk_seeds is not hexadecimal; copy the Omni key from key management") from None
    if keys.api_key and len(seed) < _SHORTEST_SEED:
        raise ConfigError("venue apex: zk_seeds is too short; copy the whole Omni key from key management")
    credentials = {"key": keys.api_key, "secret": keys.api_secret, "passphrase": keys.passphrase}
    return made(
        rest_url, network_id=_NETWORK_ID, zk_seeds=keys.zk_seeds, zk_l2Key="",
        api_key_credentials=credentials if keys.api_key else None, request_timeout=timeout_s,
    )  # fmt: skip


def _refused_connection(exc: BaseException) -> bool:
    """No connection was made: nothing can have arrived."""
    reason: Any = exc
    for _ in range(4):
        if type(reason).__name__ in ("NewConnectionError", "NameResolutionError", "ConnectTimeoutError"):
            return True
        inner = getattr(reason, "reason", None) or (reason.args[0] if getattr(reason, "args", ()) else None)
        if not isinstance(inner, BaseException):
            return False
        reason = inner
    return False
