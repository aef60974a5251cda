"""Who speaks: Bybit's HMAC signatures of requests and log-ins, really checked.

Source: https://bybit-exchange.github.io/docs/v5/guide and /ws/connect.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping

from mm.sandbox.account import Account
from mm.sandbox.faces.bybit_wire import Denied


def local_keys(token: str) -> dict[str, str]:
    """The credentials of a local account, a function of its token."""
    seed = hashlib.sha256(f"bybit:{token}".encode()).hexdigest()
    return {"api_key": seed[:18], "api_secret": seed[18:54]}


class Signatures:
    """The keys of all accounts."""

    def __init__(self, accounts: Mapping[str, Account]) -> None:
        self._secrets: dict[str, tuple[str, Account]] = {}
        for token, account in accounts.items():
            keys = local_keys(token)
            self._secrets[keys["api_key"]] = (keys["api_secret"], account)

    def request(self, headers: Mapping[str, str], payload: str, now_ms: int) -> Account:
        """The account that signed a REST request (``payload``: body or query); raises ``Denied``."""
        key, stamp = headers.get("X-BAPI-API-KEY", ""), headers.get("X-BAPI-TIMESTAMP", "")
        window = headers.get("X-BAPI-RECV-WINDOW", "5000")
        secret, account = self._known(key)
        check_time(stamp, window, now_ms)
        if not _signed(secret, f"{stamp}{key}{window}{payload}", headers.get("X-BAPI-SIGN", "")):
            raise Denied(10004, "error sign! origin_string[" + f"{stamp}{key}{window}{payload}" + "]")
        return account

    def log_in(self, args: Iterable[object], now_ms: int) -> Account:
        """The account of a WebSocket log-in [key, expires, signature]; raises ``Denied``."""
        parts = [str(part) for part in args]
        if len(parts) != 3 or not is_whole(parts[1]):
            raise Denied(10001, "Request parameter error.")
        key, expires, signature = parts
        secret, account = self._known(key)
        if int(expires) <= now_ms:
            raise Denied(10004, "Request has expired.")
        if not _signed(secret, f"GET/realtime{expires}", signature):
            raise Denied(10004, "Sign error")
        return account

    def _known(self, key: str) -> tuple[str, Account]:
        try:
            return self._secrets[key]
        except KeyError:
            raise Denied(10003, "API key is invalid.") from None


def is_whole(text: str) -> bool:
    """Digits, and not so many that it is no time."""
    return text.isascii() and text.isdigit() and len(text) <= 18


def check_time(stamp: str, window: str, now_ms: int) -> None:
    """The venue takes requests from its receive window, and at most a second from the future; raises ``Denied``."""
    good = is_whole(stamp) and is_whole(window)
    if not good or not now_ms - int(window) <= int(stamp) < now_ms + 1_000:
        raise Denied(
            10002,
            "invalid request, please check your server timestamp or recv_window param. "
            f"req_timestamp[{stamp}],server_timestamp[{now_ms}],recv_window[{window}]",
        )


def _signed(secret: str, text: str, signature: str) -> bool:
    expected = hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected, signature)
