"""ccxt's Hyperliquid with raw frames, nonces that no two instances share, and without ccxt's fee for itself.

Stock ccxt approves a builder on first use and then attaches it to every order (one basis point to ccxt), and sets
itself as referrer. Nothing of that happens here: the two calls that would do it are empty, and orders are built by us
(``mm.venues.hyperliquid.client``), so that none has a builder at all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

import ccxt.pro
import msgspec

from mm.errors import VenueUnreachable
from mm.venues.ccxt_base import SILENCE_S, RawExchange, RawSocket, make_exchange
from mm.venues.ccxt_calls import Answer, attempt, redacted
from mm.venues.hyperliquid.signing import digest, keccak
from mm.venues.settings import credentials, endpoints, hexadecimal, proxy

VENUE: Final = "hyperliquid"
KEYS: Final = ("wallet_address", "private_key")
_KEY_BYTES: Final = {"wallet_address": 20, "private_key": 32}
TIMEOUT_S: Final = 5.0
_ANSWER: Final = b'{"channel":"subscriptionResponse"'
_POST: Final = b'{"channel":"post"'
_UNREADABLE: Final = "Failed to deserialize"  # certainly not done
_CONTROL: Final = (b'{"channel":"pong"', b'{"channel":"error"')


class _Response(msgspec.Struct):
    type: str
    payload: msgspec.Raw


class _Post(msgspec.Struct):
    id: int
    response: _Response


class _PostFrame(msgspec.Struct):
    data: _Post


_decode_post: Final = msgspec.json.Decoder(_PostFrame).decode


class Hyperliquid(RawExchange, ccxt.pro.hyperliquid):  # type: ignore[misc]  # ccxt has no types
    """See the module. ``url``: the one WebSocket address."""

    last_nonce: ClassVar[dict[str, int]] = {}  # by key, of all instances of this process

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__(config)
        self.answers = 0
        self.answered = asyncio.Event()
        self.data_s = 0.0  # monotonic: the last frame that was more than a pong
        self._waiting: dict[int, asyncio.Future[_Response | None]] = {}

    @property
    def url(self) -> str:
        """Where all streams are."""
        return str(self.urls["api"]["ws"]["public"])

    # --- what ccxt calls ---------------------------------------------------------------------------------------------
    def is_control(self, _socket: RawSocket, raw: bytes) -> bool:
        """Pongs and errors; answers to subscriptions are counted here, ccxt would end a watch that we renew."""
        if raw.startswith(_ANSWER):
            self.answers += 1
            self.answered.set()
            return False
        return raw.startswith(_CONTROL)

    def on_raw(self, socket: RawSocket, raw: bytes) -> bool:
        """Answers to our actions go to whoever waits, everything else the usual way."""
        if not raw.startswith(_POST):
            control = super().on_raw(socket, raw)
            if not control:
                self.data_s = socket.heard_s
            return control
        try:
            answer = _decode_post(raw).data
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return False  # nobody's answer: the request it belongs to ends by its timeout
        future = self._waiting.get(answer.id)
        if future is not None and not future.done():
            future.set_result(answer.response)
        return False

    def handle_error_message(self, client: RawSocket, message: Any) -> Any:
        """A complaint does not end the connection: the codec tells it."""
        return True if message.get("channel") == "error" else super().handle_error_message(client, message)

    @staticmethod
    def hash(request: bytes, algorithm: str = "md5", digest: str = "hex") -> Any:
        """ccxt's, with a native keccak."""
        if algorithm != "keccak":
            return ccxt.pro.hyperliquid.hash(request, algorithm, digest)
        value = keccak(request)
        return value if digest == "binary" else value.hex()

    def sign_l1_action(
        self, action: Mapping[str, Any], nonce: int, vault: str | None = None, expires_after: int | None = None
    ) -> Any:
        """ccxt's, with what never changes hashed once."""
        connection_id = self.action_hash(action, vault, nonce, expires_after)
        signed = digest(connection_id, mainnet=not self.options["sandboxMode"])
        return self.sign_hash(signed.hex(), self.privateKey)

    def incrementing_nonce(self) -> int:
        """Milliseconds, above every nonce that this process has used with the same key."""
        key = str(self.privateKey)
        self.last_nonce[key] = nonce = max(int(self.milliseconds()), self.last_nonce.get(key, 0) + 1)
        return nonce

    async def initialize_client(self) -> bool:
        """No builder, no referrer."""
        return True

    async def handle_builder_fee_approval(self) -> bool:
        """Never approved."""
        return True

    async def set_ref(self) -> bool:
        """Never set."""
        return True

    # --- for the clients ---------------------------------------------------------------------------------------------
    @property
    def agent(self) -> str:
        """The address behind the key that signs."""
        return str(self.eth_get_address_from_private_key(self.privateKey)).lower()

    def signed(self, action: Mapping[str, Any]) -> dict[str, Any]:
        """An action as it is sent."""
        nonce = self.incrementing_nonce()
        return {"action": action, "nonce": nonce, "signature": self.sign_l1_action(action, nonce)}

    async def act(self, action: Mapping[str, Any]) -> Answer:
        """Sign and send one action over REST; never raises for what the venue or the network did."""
        return await attempt(self, lambda: self.privatePostExchange(self.signed(action)))

    async def act_by_socket(self, action: Mapping[str, Any], timeout_s: float) -> Answer:
        """As ``act`` over the WebSocket: no HTTP, and no weight in the venue's budget of requests."""
        socket = self.clients.get(self.url)
        if socket is None or socket.closed():
            return Answer(end="unsent", error="not connected")
        number = int(self.request_id())
        future: asyncio.Future[_Response | None] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        try:
            request = {"type": "action", "payload": self.signed(action)}
            await socket.send({"method": "post", "id": number, "request": request})
            async with asyncio.timeout(timeout_s):
                said = await future
        except ConnectionError as exc:
            return Answer(end="unsent", error=str(exc))
        except TimeoutError:
            return Answer(error=f"no answer in {timeout_s:g} s")
        finally:
            self._waiting.pop(number, None)
        if said is None:
            return Answer(error="the connection ended before the answer")
        body = bytes(said.payload).decode()
        if said.type == "action":
            return Answer(end="certain", status=200, body=body)
        if _UNREADABLE in body:
            refusal = msgspec.json.encode({"status": "err", "response": _UNREADABLE}).decode()
            return Answer(end="certain", status=422, body=refusal, error=body)
        return Answer(error=body)

    def give_up(self) -> None:
        """The connection has ended: whoever waits will get no answer."""
        for future in self._waiting.values():
            if not future.done():
                future.set_result(None)

    async def streams(self, subscriptions: Sequence[Mapping[str, str]], timeout_s: float) -> list[asyncio.Future[Any]]:
        """Subscribe; each future ends in an error when the connection does.

        Raises:
            VenueUnreachable: no connection, or the venue did not take the subscriptions in time.
        """
        self.answers = 0
        watches = [
            asyncio.ensure_future(self.watch(self.url, name, {"method": "subscribe", "subscription": dict(s)}, name))
            for s in subscriptions
            for name in [":".join(s.values())]
        ]
        try:
            async with asyncio.timeout(timeout_s):
                while self.answers < len(subscriptions) and not any(w.done() for w in watches):
                    self.answered.clear()
                    waiter = asyncio.ensure_future(self.answered.wait())
                    await asyncio.wait([waiter, *watches], return_when=asyncio.FIRST_COMPLETED)
                    waiter.cancel()
        except TimeoutError:
            pass
        if self.answers >= len(subscriptions) and not any(w.done() for w in watches):
            return watches
        faults = [w.exception() for w in watches if w.done() and not w.cancelled()]
        for watch in watches:
            watch.cancel()
        await asyncio.gather(*watches, return_exceptions=True)
        raise VenueUnreachable(f"{self.id}: no subscription ({redacted(self, faults[0]) if faults else 'no answer'})")


def make_hyperliquid(options: Mapping[str, Any], *, private: bool) -> Hyperliquid:
    """An exchange by a client's options; raises ``ConfigError``."""
    where = endpoints(VENUE, options)
    keys = credentials(VENUE, options, KEYS) if private else {}
    for name, key in keys.items():  # ccxt would pad a short key to another one
        hexadecimal(VENUE, name, key, _KEY_BYTES[name])
    exchange: Hyperliquid = make_exchange(
        Hyperliquid,
        where,
        proxy=proxy(options, where),
        timeout_s=float(options.get("timeout_s", TIMEOUT_S)),
        walletAddress=keys.get("wallet_address", "").lower(),
        privateKey=keys.get("private_key", ""),
        options={
            "refSet": True,
            "builderFee": False,
            "approvedBuilderFee": False,
            "sandboxMode": options.get("network") == "testnet",  # the testnet signs with another source
        },
    )
    exchange.silence_s = float(options.get("stall_s", SILENCE_S))
    return exchange
