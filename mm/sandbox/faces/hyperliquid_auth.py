"""Who signed an action on Hyperliquid: typed actions, their hash, and the address behind a signature.

An L1 action is hashed as the venue does: msgpack of its fields in the venue's order, numbers without trailing zeros and
addresses in lower case, then the nonce (8 bytes), the vault (0, or 1 and 20 bytes) and, if given, the expiry (0 and 8
bytes); keccak of that is the ``connectionId`` that is signed (``mm.venues.hyperliquid.signing``). Whatever differs in
one byte recovers to another address: the venue has no wrong signatures, only unknown signers. An account approves
*agents* (API wallets); each has a key, and nonces, of its own.
"""

from __future__ import annotations

import hashlib
from decimal import Decimal
from typing import Annotated, Final, Literal

import coincurve
import msgspec

from mm.venues.hyperliquid.signing import digest, keccak

N_AGENTS: Final = 4  # of a local account: one key per process

Number = Annotated[str, msgspec.Meta(pattern=r"^\d{1,30}(\.\d{1,30})?$")]
Cloid = Annotated[str, msgspec.Meta(pattern=r"^0x[0-9a-fA-F]{32}$")]
Address = Annotated[str, msgspec.Meta(pattern=r"^0x[0-9a-fA-F]{40}$")]
Uint = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
Word = Annotated[str, msgspec.Meta(pattern=r"^0x[0-9a-fA-F]{1,64}$")]


# --- actions, fields in the order in which the venue hashes them ------------------------------------------------------
class Limit(msgspec.Struct, forbid_unknown_fields=True):
    """How long a limit order waits."""

    tif: Literal["Alo", "Ioc", "Gtc"]


class OrderType(msgspec.Struct, forbid_unknown_fields=True):
    """Limit orders only: the local exchange has no triggers."""

    limit: Limit


class Order(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """asset, buy, price, size, reduce-only, type, cloid."""

    a: Uint
    b: bool
    p: Number
    s: Number
    r: bool
    t: OrderType
    c: Cloid | None = None


class Builder(msgspec.Struct, forbid_unknown_fields=True):
    """Somebody who is paid ``f`` tenths of a basis point of every fill."""

    b: Address
    f: Uint


class PlaceOrders(msgspec.Struct, tag="order", forbid_unknown_fields=True, omit_defaults=True):
    """New orders."""

    orders: Annotated[list[Order], msgspec.Meta(min_length=1, max_length=1_000)]
    grouping: Literal["na"]
    builder: Builder | None = None


class CancelOne(msgspec.Struct, forbid_unknown_fields=True):
    """By the venue's number."""

    a: Uint
    o: Uint


class Cancel(msgspec.Struct, tag="cancel", forbid_unknown_fields=True):
    """Cancel by number."""

    cancels: list[CancelOne]


class CancelOneByCloid(msgspec.Struct, forbid_unknown_fields=True):
    """By client order id."""

    asset: Uint
    cloid: Cloid


class CancelByCloid(msgspec.Struct, tag="cancelByCloid", forbid_unknown_fields=True):
    """Cancel by client order id."""

    cancels: list[CancelOneByCloid]


class Modify(msgspec.Struct, tag="modify", forbid_unknown_fields=True):
    """Cancel an order and place another in its stead."""

    oid: Uint | Cloid
    order: Order


class ModifyOne(msgspec.Struct, forbid_unknown_fields=True):
    """One of a batch."""

    oid: Uint | Cloid
    order: Order


class BatchModify(msgspec.Struct, tag="batchModify", forbid_unknown_fields=True):
    """Several of ``Modify``."""

    modifies: list[ModifyOne]


class UpdateLeverage(msgspec.Struct, tag="updateLeverage", forbid_unknown_fields=True):
    """Leverage and kind of margin of one asset."""

    asset: Uint
    isCross: bool  # noqa: N815  the wire's name
    leverage: Uint


class ScheduleCancel(msgspec.Struct, tag="scheduleCancel", forbid_unknown_fields=True, omit_defaults=True):
    """The dead-man switch; without a time it is disarmed."""

    time: Uint | None = None


class SetReferrer(msgspec.Struct, tag="setReferrer", forbid_unknown_fields=True):
    """A library's self-advertisement: counted, never wanted."""

    code: str


class ApproveBuilderFee(msgspec.Struct, tag="approveBuilderFee"):
    """Signed by the account itself in another way: refused here, counted."""


class Noop(msgspec.Struct, tag="noop", forbid_unknown_fields=True):
    """Uses up a nonce."""


Action = (
    PlaceOrders
    | Cancel
    | CancelByCloid
    | Modify
    | BatchModify
    | UpdateLeverage
    | ScheduleCancel
    | SetReferrer
    | ApproveBuilderFee
    | Noop
)


class Signature(msgspec.Struct):
    """Of 32-byte words in hex, leading zeros optional."""

    r: Word
    s: Word
    v: Literal[27, 28]


class Request(msgspec.Struct):
    """The body of POST /exchange, and the payload of an action sent by WebSocket."""

    action: Action
    nonce: Uint
    signature: Signature
    vaultAddress: Address | None = None  # noqa: N815  the wire's name
    expiresAfter: Uint | None = None  # noqa: N815


decode_request: Final = msgspec.json.Decoder(Request).decode
_pack: Final = msgspec.msgpack.Encoder().encode


# --- hash and signer --------------------------------------------------------------------------------------------------
def action_hash(action: Action, nonce: int, vault: str | None, expires_after: int | None) -> bytes:
    """The ``connectionId`` of an action."""
    data = _pack(_canonical(action)) + nonce.to_bytes(8, "big")
    data += b"\0" if vault is None else b"\1" + bytes.fromhex(vault[2:])
    if expires_after is not None:
        data += b"\0" + expires_after.to_bytes(8, "big")
    return keccak(data)


def signer(request: Request, *, mainnet: bool = True) -> str | None:
    """The address whose key signed a request; None when the numbers are no signature at all."""
    connection_id = action_hash(request.action, request.nonce, request.vaultAddress, request.expiresAfter)
    sig = request.signature
    raw = int(sig.r, 16).to_bytes(32, "big") + int(sig.s, 16).to_bytes(32, "big") + bytes([sig.v - 27])
    try:
        key = coincurve.PublicKey.from_signature_and_message(raw, digest(connection_id, mainnet=mainnet), hasher=None)
    except Exception as exc:
        if type(exc) not in (ValueError, Exception):  # coincurve raises bare exceptions for numbers off the curve
            raise
        return None
    return _address(key)


def _canonical(action: Action) -> Action:
    """Numbers without trailing zeros, addresses and cloids in lower case: what the venue hashes."""
    orders: list[Order] = []
    if isinstance(action, PlaceOrders):
        orders = action.orders
        if action.builder is not None:
            action.builder.b = action.builder.b.lower()
    elif isinstance(action, BatchModify):
        orders = [m.order for m in action.modifies]
    elif isinstance(action, Modify):
        orders = [action.order]
    for order in orders:
        order.p, order.s = number(order.p), number(order.s)
        order.c = order.c.lower() if order.c else None
    return action


def number(text: str) -> str:
    """A decimal without trailing zeros."""
    return format(Decimal(text).normalize(), "f")


# --- keys of local accounts -------------------------------------------------------------------------------------------
def _key(token: str, what: str) -> coincurve.PrivateKey:
    return coincurve.PrivateKey(hashlib.sha256(f"hyperliquid:{what}:{token}".encode()).digest())


def _address(key: coincurve.PublicKey) -> str:
    return "0x" + keccak(key.format(compressed=False)[1:])[-20:].hex()


def address(token: str) -> str:
    """The address of a local account."""
    return _address(_key(token, "account").public_key)


def agents(token: str) -> list[str]:
    """The addresses of the API wallets that a local account has approved."""
    return [_address(_key(token, f"agent {i}").public_key) for i in range(N_AGENTS)]


def local_keys(token: str, agent: int = 0) -> dict[str, str]:
    """Credentials of a local account: its address and the key of one of its agents (one per process)."""
    return {"wallet_address": address(token), "private_key": f"0x{_key(token, f'agent {agent}').secret.hex()}"}
