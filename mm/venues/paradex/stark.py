"""The message hashes that Paradex wants signed, and who signs them: SNIP-12 revision 0 typed data over Pedersen.

An order's hash costs the library 18 Pedersen hashes and a parse of the type description; here the parts that never
change (domain, account, type) are hashed once, which leaves 9. The result is the same number (a test compares them).
Source: docs.paradex.trade, "API authentication" and "Order signing"; Starknet SNIP-12.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from functools import reduce
from typing import Any, Final

from Crypto.Hash import keccak
from starknet_crypto_py import get_public_key, pedersen_hash, sign, verify

_MASK: Final = (1 << 250) - 1
_ADDRESS_LIMIT: Final = (1 << 251) - 256
_SHORT_TEXT: Final = 31  # characters of a felt
_DOMAIN_TYPE: Final = "StarkNetDomain(name:felt,chainId:felt,version:felt)"
_ORDER_FIELDS: Final = "timestamp:felt,market:felt,side:felt,orderType:felt,size:felt,price:felt"
_AUTH_TYPE: Final = "Request(method:felt,path:felt,body:felt,timestamp:felt,expiration:felt)"
_CHAIN_SIDE: Final = {"BUY": 1, "SELL": 2}


def short_text(text: str) -> int:
    """A text of at most 31 ASCII characters as a felt; raises ``ValueError``."""
    if len(text) > _SHORT_TEXT or not text.isascii():
        raise ValueError(f"{text[:40]!r} is no short string")
    return int.from_bytes(text.encode(), "big")


def selector(name: str) -> int:
    """Starknet's keccak of a name: of an entry point or a type."""
    return int.from_bytes(keccak.new(digest_bits=256, data=name.encode()).digest(), "big") & _MASK


def chain_hash(first: int, elements: Iterable[int]) -> int:
    """Pedersen chain from ``first`` over the elements."""
    return reduce(pedersen_hash, elements, first)


def list_hash(elements: list[int]) -> int:
    """Pedersen hash of a list, its length last."""
    return pedersen_hash(chain_hash(0, elements), len(elements))


def account_address(public_key: int, proxy_class: int, account_class: int) -> int:
    """The address under which Paradex deploys the account of a Starknet key (proxy, ``initialize(key, 0)``)."""
    call = list_hash([account_class, selector("initialize"), 2, public_key, 0])
    return list_hash([short_text("STARKNET_CONTRACT_ADDRESS"), 0, public_key, proxy_class, call]) % _ADDRESS_LIMIT


class Messages:
    """Hashes of one account's messages on one chain (``starknet_chain_id`` of the system config)."""

    def __init__(self, chain: str, account: int) -> None:
        domain = list_hash([selector(_DOMAIN_TYPE), short_text("Paradex"), short_text(chain), 1])
        self._start = chain_hash(0, [short_text("StarkNet Message"), domain, account])
        self._order = pedersen_hash(0, selector(f"Order({_ORDER_FIELDS})"))
        self._modify = pedersen_hash(0, selector(f"ModifyOrder({_ORDER_FIELDS},id:felt)"))
        self._texts: dict[str, int] = {}

    def order(
        self, timestamp_ms: int, market: str, side: str, kind: str, size: Decimal, price: Decimal, order_id: str = ""
    ) -> int:
        """A new order, or with ``order_id`` the change of one; raises ``ValueError``."""
        fields = [timestamp_ms, self._text(market), _CHAIN_SIDE[side], self._text(kind), _quantum(size)]
        fields.append(0 if kind == "MARKET" else _quantum(price))
        if not order_id:
            return self._message(self._order, fields)
        return self._message(self._modify, [*fields, int(order_id)])

    def auth(self, timestamp_s: int, expiration_s: int) -> int:
        """The request for an access token."""
        head = [short_text("POST"), short_text("/v1/auth"), 0]
        return self._message(pedersen_hash(0, selector(_AUTH_TYPE)), [*head, timestamp_s, expiration_s])

    def onboarding(self) -> int:
        """The request to open the account."""
        return self._message(pedersen_hash(0, selector("Constant(action:felt)")), [short_text("Onboarding")])

    def _message(self, typed: int, fields: list[int]) -> int:
        return chain_hash(self._start, (pedersen_hash(chain_hash(typed, fields), len(fields) + 1), 4))

    def _text(self, text: str) -> int:
        known = self._texts.get(text)
        if known is None:
            known = self._texts[text] = short_text(text)
        return known


class OrderSigner:
    """Signs order requests (``paradex_py.api.protocols.Signer``); about half the time of the library's own way."""

    def __init__(self, private_key: int, messages: Messages) -> None:
        self._key = private_key
        self._messages = messages

    def __repr__(self) -> str:
        return "OrderSigner(...)"

    def sign_order(self, order_data: dict[str, Any]) -> dict[str, Any]:
        """The request with its signature."""
        digest = self._messages.order(
            order_data["signature_timestamp"],
            order_data["market"],
            order_data["side"],
            order_data["type"],
            Decimal(order_data["size"]),
            Decimal(order_data.get("price", "0")),
            order_data.get("id", ""),
        )
        return {**order_data, "signature": signature_text(*sign(self._key, digest))}

    def sign_batch(self, orders_data: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Several requests."""
        return [self.sign_order(data) for data in orders_data]


def signature_text(r: int, s: int) -> str:
    """A signature as Paradex takes it."""
    return f'["{r}","{s}"]'


def public_key(private_key: int) -> int:
    """The Starknet key of a private key; raises ``ValueError``."""
    return get_public_key(private_key)


def is_signed(key: int, digest: int, r: int, s: int) -> bool:
    """Whether (r, s) is a signature of the digest under a public key."""
    return verify(key, digest, r, s)


def _quantum(value: Decimal) -> int:
    return int(value.scaleb(8))
