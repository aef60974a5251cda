"""REST of paradex-py: the synchronous client in a small pool of threads, log-in, tokens, the venue's clock."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import re
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

import httpx
from paradex_py.account.account import ParadexAccount
from paradex_py.account.subkey_account import SubkeyAccount
from paradex_py.api.api_client import ParadexApiClient
from paradex_py.api.http_client import HttpClient

from mm.errors import ConfigError, VenueUnreachable
from mm.venues.paradex.stark import Messages, OrderSigner

THREADS: Final = 4
_AUTH_LIFE_S: Final = 24 * 3600
_LIFE_S: Final = 240.0  # of a token that does not say when it ends
_ERROR: Final = re.compile(
    r"ApiError\(error='(?P<code>[A-Z0-9_]+)', message=(?P<q>['\"])(?P<text>.*)(?P=q), data=", re.DOTALL
)
_NO_ANSWER: Final = ("SERVICE_UNAVAILABLE", "INTERNAL_ERROR", "RATE_LIMIT_EXCEEDED")

T = TypeVar("T")
log = logging.getLogger("mm.venues.paradex.library")
logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs every request


class Refused(Exception):
    """The venue says no."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class _Clocked:
    """An account that dates its log-in by the venue's clock."""

    offset_s = 0.0
    l2_address: int
    auth_signature: Callable[[int, int], str]

    def auth_headers(self) -> dict[str, str]:
        """As the library's."""
        signed = int(time.time() + self.offset_s)
        until = signed + _AUTH_LIFE_S
        return {
            "PARADEX-STARKNET-ACCOUNT": hex(self.l2_address),
            "PARADEX-STARKNET-SIGNATURE": self.auth_signature(signed, until),
            "PARADEX-TIMESTAMP": str(signed),
            "PARADEX-SIGNATURE-EXPIRATION": str(until),
        }


class _Subkey(_Clocked, SubkeyAccount):
    """A Paradex key of its own."""


class _Wallet(_Clocked, ParadexAccount):
    """A key derived from an Ethereum wallet."""


class Rest:
    """One client. ``keys`` empty: public requests only."""

    def __init__(self, base_url: str, keys: Mapping[str, str], proxy: str, timeout_s: float) -> None:
        self._pool = ThreadPoolExecutor(THREADS, "paradex")
        self._urgent = ThreadPoolExecutor(1, "paradex-urgent")  # a halt waits for no query
        self._signers = ThreadPoolExecutor(2, "paradex-sign")
        self._lock = threading.Lock()
        self._busy = 0  # requests that threads are at
        self._keys = keys
        # httpx 0.27 knows one word for SOCKS5; the proxy looks names up either way
        through = proxy.replace("socks5h:", "socks5:") or None
        self._http = httpx.Client(timeout=timeout_s, trust_env=False, proxy=through)
        self.api = ParadexApiClient(
            env="prod", logger=log, http_client=HttpClient(self._http), api_base_url=base_url, retry_strategy=None
        )
        self.account: Any = None
        self.signer: OrderSigner | None = None
        self.offset_ns = 0  # the venue's clock before ours

    def __repr__(self) -> str:
        return f"Rest({self.api.api_url})"

    async def call(self, request: Callable[[ParadexApiClient], T], *, urgent: bool = False) -> T:
        """What the library returns; raises ``Refused`` or ``VenueUnreachable``."""
        return await self._run(lambda: request(self.api), urgent=urgent)

    async def query(self, request: Callable[[ParadexApiClient], T]) -> T:
        """As ``call`` for what may be asked again: a token that has ended is renewed once."""
        try:
            return await self.call(request)
        except Refused as exc:
            if exc.code != "INVALID_TOKEN":
                raise VenueUnreachable(f"paradex: {exc.code}: {exc}") from exc
        await self.renew()
        try:
            return await self.call(request)
        except Refused as exc:
            raise VenueUnreachable(f"paradex: {exc.code}: {exc}") from exc

    async def log_in(self) -> None:
        """Know the account and hold a fresh token; raises ``VenueUnreachable``."""
        await self.sync_clock()
        if self.account is None:
            try:
                await self._run(self._make_account)
            except Refused as exc:
                raise VenueUnreachable(f"paradex: log-in refused: {exc.code}: {exc}") from exc
        else:
            await self.renew()

    async def renew(self) -> None:
        """A fresh token; raises ``VenueUnreachable``."""
        try:
            await self.call(lambda api: api.auth())
        except Refused as exc:
            raise VenueUnreachable(f"paradex: log-in refused: {exc.code}: {exc}") from exc

    async def sync_clock(self) -> None:
        """Measure the venue's clock, the best of two."""
        best_ns = 1 << 62
        for _ in range(2):
            sent_ns = time.time_ns()
            venue_ns = await self.server_time_ns()
            took_ns = time.time_ns() - sent_ns
            if took_ns < best_ns:
                best_ns, self.offset_ns = took_ns, venue_ns - sent_ns - took_ns // 2
        if abs(self.offset_ns) <= best_ns // 2 + 1_000_000:  # no more than we can tell
            self.offset_ns = 0
        if self.account is not None:
            self.account.offset_s = self.offset_ns / 1e9

    async def server_time_ns(self) -> int:
        """The venue's clock, in whole milliseconds."""
        answer = await self.query(lambda api: api.fetch_system_time())
        return int(answer["server_time"]) * 1_000_000

    def now_ms(self) -> int:
        """The venue's clock as we know it."""
        return (time.time_ns() + self.offset_ns) // 1_000_000

    def token_life_s(self) -> float:
        """How long the token is still good."""
        try:
            body = str(self.account.jwt_token).split(".")[1]
            claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
            return float(claims["exp"]) - self.now_ms() / 1e3
        except (IndexError, KeyError, ValueError, TypeError):
            return _LIFE_S

    async def sign(self, order: dict[str, Any]) -> dict[str, Any]:
        """An order request with its signature: about 1.6 ms, most of it outside the interpreter's lock."""
        signer = self.signer
        if signer is None:
            raise VenueUnreachable("paradex: not logged in; connect first")
        return await asyncio.get_running_loop().run_in_executor(self._signers, signer.sign_order, order)

    def close(self) -> None:
        """End the threads without waiting for what they do; the last of them closes the connections."""
        for pool in (self._pool, self._urgent, self._signers):
            pool.shutdown(wait=False, cancel_futures=True)
        if self._busy:  # a request that is under way would open a connection that nobody closes
            threading.Thread(target=self._close_later, name="paradex-close", daemon=True).start()
        else:
            self._http.close()

    def _close_later(self) -> None:
        for pool in (self._pool, self._urgent):
            pool.shutdown(wait=True)
        self._http.close()

    def _make_account(self) -> None:
        """In a thread: system config, account, onboarding if need be, token."""
        config = self.api.fetch_system_config()
        try:
            if self._keys.get("l2_private_key"):
                account: Any = _Subkey(config, self._keys["l2_private_key"], self._keys["l2_address"])
            else:
                account = _Wallet(config, self._keys["l1_address"], l1_private_key=self._keys["l1_private_key"])
        except ValueError:
            raise ConfigError("venue paradex: the keys are not hexadecimal numbers of the right size") from None
        account.offset_s = self.offset_ns / 1e9
        self.api.init_account(account)
        messages = Messages(config.starknet_chain_id, account.l2_address)
        self.signer = OrderSigner(account.l2_private_key, messages)
        self.account = account

    def _counted(self, work: Callable[[], T]) -> T:
        """In a thread."""
        with self._lock:
            self._busy += 1
        try:
            return work()
        finally:
            with self._lock:
                self._busy -= 1

    async def _run(self, work: Callable[[], T], *, urgent: bool = False) -> T:
        pool = self._urgent if urgent else self._pool
        try:
            return await asyncio.get_running_loop().run_in_executor(pool, self._counted, work)
        except httpx.HTTPError as exc:
            raise VenueUnreachable(f"paradex: no answer ({type(exc).__name__}: {exc})") from exc
        except ValueError as exc:  # the library's word for every refusal
            found = _ERROR.search(str(exc))
            if found is None or found["code"] in _NO_ANSWER:
                raise VenueUnreachable(f"paradex: {str(exc)[:200]}") from exc
            raise Refused(found["code"], found["text"]) from exc
        except (TypeError, RuntimeError) as exc:  # a body that is no answer; a client that was closed meanwhile
            raise VenueUnreachable(f"paradex: no usable answer ({exc})") from exc
