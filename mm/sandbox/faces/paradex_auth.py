"""Who speaks: accounts by their Starknet address, registered keys, access tokens, signatures.

Every signature is verified: Pedersen hash of the typed data, ECDSA on the STARK curve.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

import jwt
from starknet_crypto_py import ORDER

from mm.sandbox.account import Account
from mm.venues.paradex.stark import Messages, account_address, is_signed, public_key

CHAIN: Final = "PRIVATE_SN_POTC_SEPOLIA"  # the testnet's: the library knows three chains and refuses others
PROXY_CLASS: Final = 0x3530CC4759D78042F1B543BF797F5F3D647CDE0388C33734CF91B7F7B9314A9
ACCOUNT_CLASS: Final = 0x41CB0280EBADAA75F996D8D92C6F265F6D040BB3BA442E5F86A554F1765244E
TOKEN_LIFE_S: Final = 300.0
_MAX_AHEAD_S: Final = 5.0  # how far a signature may be dated ahead of our clock
_MAX_AGE_S: Final = 300.0
_MAX_SIGNED_S: Final = 7 * 86_400.0


class Refusal(Exception):
    """A request that Paradex refuses: ``code`` is its error string."""

    def __init__(self, code: str, message: str = "", status: int = 400) -> None:
        super().__init__(message or code.replace("_", " ").lower())
        self.code = code
        self.status = status


def local_keys(token: str) -> dict[str, str]:
    """Credentials of the local account with this token: address and Starknet key, as the web page exports them."""
    private = _private_key(token)
    return {"l2_address": hex(_address(public_key(private))), "l2_private_key": hex(private)}


def _private_key(token: str) -> int:
    return int.from_bytes(hashlib.sha256(b"paradex:" + token.encode()).digest(), "big") % (ORDER - 1) + 1


def _address(key: int) -> int:
    return account_address(key, PROXY_CLASS, ACCOUNT_CLASS)


@dataclass(slots=True)
class Owner:
    """One account as Paradex knows it."""

    account: Account
    address: int
    key: int  # of the account itself
    messages: Messages
    keys: set[int] = field(default_factory=set)  # registered: the account's and its subkeys'
    onboarded: bool = True


class Access:
    """Accounts, tokens and signature checks of one face."""

    def __init__(self, accounts: Mapping[str, Account]) -> None:
        self._secret = secrets.token_hex(32)
        self.owners: dict[int, Owner] = {}  # by address
        self._by_name: dict[str, Owner] = {}
        self._revoked_ns = 0
        for token, account in accounts.items():
            key = public_key(_private_key(token))
            self.register(account, key)

    def register(self, account: Account, key: int, *, onboarded: bool = True) -> Owner:
        """The Starknet key of an account; another one replaces it (an account made by a wallet's signature)."""
        old = self._by_name.pop(account.name, None)
        if old is not None:
            del self.owners[old.address]
        address = _address(key)
        owner = Owner(account, address, key, Messages(CHAIN, address), {key}, onboarded)
        self.owners[address] = self._by_name[account.name] = owner
        return owner

    def owner(self, account: Account) -> Owner:
        """What Paradex knows of an account."""
        return self._by_name[account.name]

    # --- tokens ------------------------------------------------------------------------------------------------------
    def onboard(self, headers: Mapping[str, str], body: Any) -> None:
        """POST /onboarding; raises ``Refusal``."""
        owner = self._claimed(headers)
        if not isinstance(body, dict) or _felt(body.get("public_key")) != owner.key:
            raise Refusal("PUBLIC_KEY_INVALID")
        self._check(owner.key, owner.messages.onboarding(), headers.get("PARADEX-STARKNET-SIGNATURE", ""))
        owner.onboarded = True

    def authenticate(self, headers: Mapping[str, str], key_text: str, now_ns: int, life_s: float) -> str:
        """POST /auth: a token for whoever signed; raises ``Refusal``."""
        owner = self._claimed(headers)
        if not owner.onboarded:
            raise Refusal("NOT_ONBOARDED", "User has never called /onboarding endpoint")
        key = _felt(key_text) if key_text else owner.key
        if key not in owner.keys:
            raise Refusal("INVALID_SUBKEY" if key else "PUBLIC_KEY_INVALID")
        signed_s = _whole(headers, "PARADEX-TIMESTAMP")
        until_s = _whole(headers, "PARADEX-SIGNATURE-EXPIRATION")
        now_s = now_ns / 1e9
        if not now_s - _MAX_AGE_S <= signed_s <= now_s + _MAX_AHEAD_S:
            raise Refusal("INVALID_TIMESTAMP", f"signed at {signed_s}, it is {now_s:.0f}")
        if not now_s < until_s <= signed_s + _MAX_SIGNED_S:
            raise Refusal("INVALID_SIGNATURE_EXPIRATION")
        digest = owner.messages.auth(signed_s, until_s)
        self._check(key, digest, headers.get("PARADEX-STARKNET-SIGNATURE", ""))
        claims = {"sub": hex(owner.address), "key": hex(key), "iat": now_s, "exp": now_s + life_s}
        return jwt.encode(claims, self._secret, algorithm="HS256")

    def bearer(self, token: str, now_ns: int) -> tuple[Account, int]:
        """(whose token it is, when it ends in ns); raises ``Refusal``."""
        try:
            claims = jwt.decode(
                token, self._secret, algorithms=["HS256"], options={"verify_exp": False, "verify_iat": False}
            )
            owner = self.owners[int(claims["sub"], 16)]
        except (jwt.InvalidTokenError, KeyError, ValueError) as exc:
            raise Refusal("INVALID_TOKEN", "token is malformed", 401) from exc
        ends_ns = round(claims["exp"] * 1e9)
        if now_ns >= ends_ns or claims["iat"] * 1e9 < self._revoked_ns:
            raise Refusal("INVALID_TOKEN", "token is expired", 401)
        return owner.account, ends_ns

    def revoke(self, now_ns: int) -> None:
        """Every token given out so far is void."""
        self._revoked_ns = now_ns

    # --- orders ------------------------------------------------------------------------------------------------------
    def check_order(self, account: Account, order: Mapping[str, Any], size: Decimal, price: Decimal) -> None:
        """Whether a key of the account signed this order; raises ``Refusal``."""
        owner = self.owner(account)
        try:
            digest = owner.messages.order(
                order["signature_timestamp"], order["market"], order["side"], order["type"], size, price,
                order.get("id", ""),
            )  # fmt: skip
            r, s = _signature(order["signature"])
        except (ValueError, KeyError, TypeError) as exc:
            raise Refusal("INVALID_ORDER_SIGNATURE", f"unreadable: {exc}") from exc
        if not any(is_signed(key, digest, r, s) for key in owner.keys):
            raise Refusal("INVALID_ORDER_SIGNATURE", "order signature does not verify")

    def _claimed(self, headers: Mapping[str, str]) -> Owner:
        try:
            address = int(headers["PARADEX-STARKNET-ACCOUNT"], 16)
        except (KeyError, ValueError) as exc:
            raise Refusal("INVALID_STARKNET_ADDRESS") from exc
        owner = self.owners.get(address)
        if owner is None:
            raise Refusal("NOT_ONBOARDED", "User has never called /onboarding endpoint")
        return owner

    @staticmethod
    def _check(key: int, digest: int, text: str) -> None:
        try:
            r, s = _signature(text)
        except ValueError as exc:
            raise Refusal("INVALID_STARKNET_SIGNATURE", str(exc), 401) from exc
        if not is_signed(key, digest, r, s):
            raise Refusal("STARKNET_SIGNATURE_VERIFICATION_FAILED", "signature does not verify", 401)


def _signature(text: Any) -> tuple[int, int]:
    """(r, s) of ``["r","s"]``, decimal or hex; raises ``ValueError``."""
    parts = json.loads(text) if isinstance(text, str) else None
    if not isinstance(parts, list) or len(parts) != 2 or not all(isinstance(p, str) and len(p) < 90 for p in parts):
        raise ValueError("a signature is a list of two numbers as strings")
    return int(parts[0], 0), int(parts[1], 0)


def _felt(text: Any) -> int:
    try:
        return int(str(text), 16)
    except ValueError:
        return 0


def _whole(headers: Mapping[str, str], name: str) -> int:
    text = headers.get(name, "")
    if not text.isascii() or not text.isdigit() or len(text) > 12:
        raise Refusal("INVALID_TIMESTAMP", f"{name} must be whole seconds")
    return int(text)
