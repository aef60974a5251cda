"""Who speaks to the local MEXC: signed queries and listen keys, checked as the venue checks them."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl

from mm.sandbox.account import Account

LISTEN_KEY_LIFE_NS: Final = 3_600_000_000_000
_AHEAD_MS: Final = 1_000  # a timestamp may be this far in the venue's future
_WINDOW_MS: Final = 5_000
_LONGEST_WINDOW_MS: Final = 60_000


class Denied(Exception):
    """A request the venue refuses, with its code, message and HTTP status."""

    def __init__(self, code: int, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status


def local_keys(token: str) -> dict[str, str]:
    """The API key and secret of a local account, derived from its token."""
    return {
        "api_key": "mx0" + hashlib.sha256(f"mexc api key {token}".encode()).hexdigest()[:29],
        "api_secret": hashlib.sha256(f"mexc api secret {token}".encode()).hexdigest()[:32],
    }


class Signatures:
    """Verifies HMAC-SHA256 over the whole query (and body), keyed with the account's secret."""

    def __init__(self, accounts: Mapping[str, Account]) -> None:
        self._known: dict[str, tuple[Account, bytes]] = {}
        for token, account in accounts.items():
            keys = local_keys(token)
            self._known[keys["api_key"]] = (account, keys["api_secret"].encode())

    def check(self, api_key: str | None, query: str, body: str, now_ms: int) -> Account:
        """The account that signed ``query`` (as it was sent, still encoded); raises ``Denied``."""
        if not api_key:
            raise Denied(400, "api key required")
        known = self._known.get(api_key)
        if known is None:
            raise Denied(10072, "Api key info invalid")
        account, secret = known
        parts = query.split("&") if query else []
        signed = "&".join(p for p in parts if not p.startswith("signature=")) + body
        fields = dict(parse_qsl(query, keep_blank_values=True))
        signature = fields.get("signature", "")
        if not signature:
            raise Denied(700004, "Mandatory parameter 'signature' was not sent, was empty/null, or malformed.")
        if not hmac.compare_digest(hmac.new(secret, signed.encode(), hashlib.sha256).hexdigest(), signature):
            raise Denied(700002, "Signature for this request is not valid.")
        _check_time(fields, now_ms)
        return account


def _check_time(fields: Mapping[str, str], now_ms: int) -> None:
    try:
        sent_ms = int(fields["timestamp"])
        window_ms = int(fields.get("recvWindow", _WINDOW_MS))
    except (KeyError, ValueError):
        raise Denied(700004, "Mandatory parameter 'timestamp' was not sent, was empty/null, or malformed.") from None
    if window_ms > _LONGEST_WINDOW_MS:
        raise Denied(700005, "recvWindow must less than 60000")
    if not (sent_ms < now_ms + _AHEAD_MS and now_ms - sent_ms <= window_ms):
        raise Denied(700003, "Timestamp for this request is outside of the recvWindow.")


@dataclass(slots=True)
class ListenKeys:
    """Keys of user data streams: good for 60 minutes from their making or the last extension."""

    _made: int = 0
    _keys: dict[str, tuple[Account, int]] = field(default_factory=dict)  # key -> account, when it ends

    def make(self, account: Account, now_ns: int, life_s: float = 0.0) -> str:
        """A new key; ``life_s`` 0 is the venue's own life."""
        self._made += 1
        key = hashlib.sha256(f"{account.name} {now_ns} {self._made}".encode()).hexdigest()
        self._keys[key] = (account, now_ns + _life(life_s))
        return key

    def extend(self, account: Account, key: str, now_ns: int, life_s: float = 0.0) -> None:
        """Another hour; raises ``Denied`` for a key that is not the account's or has ended."""
        self._own(account, key, now_ns)
        self._keys[key] = (account, now_ns + _life(life_s))

    def end(self, account: Account, key: str, now_ns: int) -> None:
        """Forget a key; raises ``Denied``."""
        self._own(account, key, now_ns)
        del self._keys[key]

    def of(self, account: Account, now_ns: int) -> list[str]:
        """The valid keys of an account."""
        return [key for key, (owner, ends) in self._keys.items() if owner is account and ends > now_ns]

    def account(self, key: str, now_ns: int) -> Account | None:
        """Whose stream a key opens, None for an unknown or ended one."""
        account, ends = self._keys.get(key, (None, 0))
        return account if ends > now_ns else None

    def ended(self, now_ns: int) -> Iterable[str]:
        """Drop and return the keys whose time is over."""
        over = [key for key, (_, ends) in self._keys.items() if ends <= now_ns]
        for key in over:
            del self._keys[key]
        return over

    def _own(self, account: Account, key: str, now_ns: int) -> None:
        if self.account(key, now_ns) is not account:
            raise Denied(730002, "listenKey does not exist or has expired")


def _life(life_s: float) -> int:
    return round(life_s * 1e9) if life_s else LISTEN_KEY_LIFE_NS
