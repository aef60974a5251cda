"""ccxt's Bybit with raw frames, a clock of the venue, and an order socket whose answers are awaited by request id."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

import ccxt.pro
import msgspec

from mm.errors import VenueUnreachable
from mm.venues.bybit import wire
from mm.venues.ccxt_base import SILENCE_S, RawExchange, RawSocket, make_exchange, within
from mm.venues.ccxt_calls import redacted
from mm.venues.settings import credentials, endpoints, proxy

VENUE: Final = "bybit"
KEYS: Final = ("api_key", "api_secret")
RECV_WINDOW_MS: Final = 5_000
TIMEOUT_S: Final = 5.0

_decode_answer: Final = msgspec.json.Decoder(wire.TradeAnswer).decode


class Bybit(RawExchange, ccxt.pro.bybit):  # type: ignore[misc]  # ccxt has no types
    """See the module. ``skew_ms``: how far this machine's clock is ahead of the venue's."""

    skew_ms = 0

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__(config)
        self._waiting: dict[str, asyncio.Future[wire.TradeAnswer]] = {}
        self._subscribed: dict[str, asyncio.Event] = {}

    # --- addresses ---------------------------------------------------------------------------------------------------
    @property
    def public_url(self) -> str:
        """Market data of linear contracts."""
        return str(self.urls["api"]["ws"]["public"]["linear"])

    @property
    def private_url(self) -> str:
        """The account's own stream."""
        return str(self.urls["api"]["ws"]["private"]["contract"])

    @property
    def trade_url(self) -> str:
        """Orders over a socket."""
        return str(self.urls["api"]["ws"]["private"]["trade"])

    # --- what ccxt calls ---------------------------------------------------------------------------------------------
    def is_control(self, _socket: RawSocket, raw: bytes) -> bool:
        """Everything but a push: private ones write their topic after an id."""
        return raw.find(b'"topic"', 0, 160) < 0

    def on_raw(self, socket: RawSocket, raw: bytes) -> bool:
        """The order socket's answers go to whoever asked, everything else the usual way."""
        if socket.url == self.trade_url and b'"order.' in raw:
            try:
                answer = _decode_answer(raw)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                return False  # nobody's answer: the request it belongs to ends by its timeout
            future = self._waiting.get(answer.reqId)
            if future is not None and not future.done():
                future.set_result(answer)
            return False
        return super().on_raw(socket, raw)

    def milliseconds(self) -> int:
        """The venue's clock: everything ccxt signs carries it."""
        return int(super().milliseconds()) - self.skew_ms

    def handle_subscription_status(self, client: RawSocket, message: Any) -> Any:
        """Tell ``stream`` that the venue has taken a subscription."""
        self._subscribed.setdefault(client.url, asyncio.Event()).set()
        return super().handle_subscription_status(client, message)

    # --- for the clients ---------------------------------------------------------------------------------------------
    async def stream(self, url: str, topics: Sequence[str], timeout_s: float) -> asyncio.Future[Any]:
        """Subscribe; the future ends in an error when the connection does.

        Raises:
            VenueUnreachable: no connection, or the venue did not take the subscription in time.
        """
        taken = self._subscribed[url] = asyncio.Event()
        watch: asyncio.Future[Any] = asyncio.ensure_future(self.watch_topics(url, list(topics), list(topics)))
        waiter = asyncio.ensure_future(taken.wait())
        try:
            await asyncio.wait([watch, waiter], timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiter.cancel()
        if watch.done() or not taken.is_set():
            watch.cancel()
            fault = watch.exception() if watch.done() and not watch.cancelled() else None
            raise VenueUnreachable(f"{self.id}: no subscription ({redacted(self, fault) if fault else 'no answer'})")
        return watch

    async def log_in(self, url: str, timeout_s: float) -> None:
        """Authenticate a socket; raises ``VenueUnreachable``."""
        await within(self, timeout_s, "log-in", self.authenticate(url))

    async def order_request(self, op: str, args: Mapping[str, Any], timeout_s: float) -> wire.TradeAnswer | None:
        """One request on the order socket; None when nobody answered and it may have been executed.

        Raises:
            VenueUnreachable: it was not sent.
        """
        socket = self.clients.get(self.trade_url)
        if socket is None or socket.closed():
            raise VenueUnreachable(f"{self.id}: the order socket is not connected")
        number = str(self.request_id())
        header = {"X-BAPI-TIMESTAMP": str(self.milliseconds()), "X-BAPI-RECV-WINDOW": str(RECV_WINDOW_MS)}
        future: asyncio.Future[wire.TradeAnswer] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        try:
            await socket.send({"reqId": number, "header": header, "op": op, "args": [args]})
            async with asyncio.timeout(timeout_s):
                return await future
        except (TimeoutError, ConnectionError):  # it may have been written
            return None
        finally:
            self._waiting.pop(number, None)

    async def say(self, url: str, message: Mapping[str, Any]) -> None:
        """Write on a socket; raises ``VenueUnreachable`` when it has ended."""
        socket = self.clients.get(url)
        if socket is None or socket.closed():
            raise VenueUnreachable(f"{self.id}: not connected")
        try:
            await socket.send({"req_id": str(self.request_id()), **message})
        except ConnectionError as exc:
            raise VenueUnreachable(f"{self.id}: not sent: {exc}") from exc

    def give_up_requests(self) -> None:
        """The order socket has ended: whoever waits will get no answer."""
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(TimeoutError())


def make_bybit(options: Mapping[str, Any], *, private: bool) -> Bybit:
    """An exchange by a client's options; raises ``ConfigError``."""
    where = endpoints(VENUE, options)
    keys = credentials(VENUE, options, KEYS) if private else {}
    exchange: Bybit = make_exchange(
        Bybit,
        where,
        proxy=proxy(options, where),
        timeout_s=float(options.get("timeout_s", TIMEOUT_S)),
        apiKey=keys.get("api_key", ""),
        secret=keys.get("api_secret", ""),
        options={"recvWindow": RECV_WINDOW_MS, "defaultType": "swap"},
    )
    exchange.silence_s = float(options.get("stall_s", SILENCE_S))
    return exchange
