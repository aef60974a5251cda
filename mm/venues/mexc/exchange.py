"""ccxt's MEXC with raw frames, the venue's clock, and subscriptions that are known to have been taken."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

import ccxt.pro
from ccxt.base.errors import ExchangeError

from mm.errors import VenueUnreachable
from mm.venues.ccxt_base import IDLE_S, SILENCE_S, RawExchange, RawSocket, make_exchange
from mm.venues.ccxt_calls import redacted
from mm.venues.mexc.protobuf import FIRST_BYTE
from mm.venues.settings import credentials, endpoints, proxy

VENUE: Final = "mexc"
KEYS: Final = ("api_key", "api_secret")
RECV_WINDOW_MS: Final = 5_000
TIMEOUT_S: Final = 5.0


class Mexc(RawExchange, ccxt.pro.mexc):  # type: ignore[misc]  # ccxt has no types
    """See the module. ``skew_ms``: how far this machine's clock is ahead of the venue's."""

    skew_ms = 0
    silence_s = SILENCE_S

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__(config)
        self._awaited: dict[str, tuple[set[str], asyncio.Event]] = {}  # by url: topics not yet confirmed

    @property
    def public_url(self) -> str:
        """Where all streams are; the account's own with a listen key."""
        return str(self.urls["api"]["ws"]["spot"])

    # --- what ccxt calls ---------------------------------------------------------------------------------------------
    def client(self, url: str) -> RawSocket:
        """A connection, as patient as we were told to be."""
        socket = super().client(url)
        socket.silence_s, socket.idle_s = self.silence_s, self.silence_s * IDLE_S / SILENCE_S
        return socket

    def is_control(self, _socket: RawSocket, raw: bytes) -> bool:
        """Whatever is no push: confirmations, pongs, complaints."""
        return not raw.startswith(FIRST_BYTE)

    def milliseconds(self) -> int:
        """The venue's clock: everything ccxt signs carries it."""
        return int(super().milliseconds()) - self.skew_ms

    def handle_subscription_status(self, client: RawSocket, message: Any) -> None:
        """Tell ``stream`` which topics the venue has taken; one that it refuses ends the connection."""
        said = str(message.get("msg", ""))
        if said.startswith("Not Subscribed") or message.get("code"):
            client.reject(ExchangeError(f"{self.id}: {said}"))
        topics, taken = self._awaited.get(client.url, (set(), None))
        topics.difference_update(said.split(","))
        if not topics and taken is not None:
            taken.set()

    # --- for the clients ---------------------------------------------------------------------------------------------
    async def stream(self, url: str, topics: Sequence[str], timeout_s: float) -> asyncio.Future[Any]:
        """Subscribe; the future ends in an error when the connection does.

        Raises:
            VenueUnreachable: no connection, or the venue did not take the subscription in time.
        """
        taken = asyncio.Event()
        self._awaited[url] = (set(topics), taken)
        request = {"method": "SUBSCRIPTION", "params": list(topics)}
        watch: asyncio.Future[Any] = self.watch(url, "stream", request, "stream")
        waiter = asyncio.ensure_future(taken.wait())
        try:
            await asyncio.wait([watch, waiter], timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiter.cancel()
            self._awaited.pop(url, None)
        if watch.done() or not taken.is_set():
            fault = watch.exception() if watch.done() and not watch.cancelled() else None
            watch.cancel()
            raise VenueUnreachable(f"{self.id}: no subscription ({redacted(self, fault) if fault else 'no answer'})")
        return watch


def make_mexc(options: Mapping[str, Any], *, private: bool) -> Mexc:
    """An exchange by a client's options; raises ``ConfigError``."""
    where = endpoints(VENUE, options)
    keys = credentials(VENUE, options, KEYS) if private else {}
    exchange: Mexc = make_exchange(
        Mexc,
        where,
        proxy=proxy(options, where),
        timeout_s=float(options.get("timeout_s", TIMEOUT_S)),
        apiKey=keys.get("api_key", ""),
        secret=keys.get("api_secret", ""),
        options={"recvWindow": RECV_WINDOW_MS, "defaultType": "spot"},
    )
    exchange.silence_s = float(options.get("stall_s", SILENCE_S))
    return exchange
