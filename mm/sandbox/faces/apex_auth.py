"""Keys of ApeX Omni: those of a local account, the HMAC of a request and the zk signature of an order.

The zk check is the venue's: the contract is built again from what the form says, with the library's own SDK, and the
signature must be the account's over exactly those bytes.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from decimal import ROUND_DOWN, ROUND_UP, Decimal
from typing import Any, Final

from mm.venues.apex.shim import load_sdk
from mm.venues.native.wire import decimal

SOCKET_PATH: Final = "/ws/accounts"
MAX_SKEW_MS: Final = 30_000  # a request stamped further from the exchange's clock is refused; the venue's is not known
TOKEN_DECIMALS: Final = 18
_SIGNATURE: Final = re.compile(r"0x[0-9a-fA-F]{128}")
_U32: Final = (1 << 32) - 1
_U64: Final = (1 << 64) - 1


def local_keys(token: str) -> dict[str, str]:
    """The credentials of a local account: what the client's options of the same names hold."""
    seed = b"".join(hashlib.sha256(f"apex seeds {n} {token}".encode()).digest() for n in range(3))[:65]
    return {
        "api_key": _derived("api key", token)[:32],
        "api_secret": _derived("api secret", token)[:40],
        "passphrase": _derived("passphrase", token)[:20],
        "zk_seeds": seed.hex(),
    }


def account_id(token: str) -> str:
    """The venue's number of a local account: 18 digits."""
    return str(600_000_000_000_000_000 + int(_derived("account", token)[:12], 16))


def _derived(what: str, token: str) -> str:
    return hashlib.sha256(f"apex {what} {token}".encode()).hexdigest()


def sign(secret: str, stamp: str, method: str, path: str, form: Mapping[str, str]) -> str:
    """What the headers of a request, or the log-in of a socket, must carry."""
    said = stamp + method + path + "&".join(f"{key}={value}" for key, value in sorted(form.items()))
    key = base64.standard_b64encode(secret.encode())
    return base64.standard_b64encode(hmac.new(key, said.encode(), hashlib.sha256).digest()).decode()


def is_fresh(stamp: str, now_ns: int) -> bool:
    """Whether a request was stamped (milliseconds) about now."""
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) < 16):
        return False
    return abs(int(stamp) - now_ns // 1_000_000) <= MAX_SKEW_MS


class ZkVerifier:
    """Checks the orders of one account."""

    def __init__(self, token: str) -> None:
        self._sdk: Any = load_sdk()
        seed = bytes.fromhex(local_keys(token)["zk_seeds"])
        self.l2_key: str = self._sdk.ZkLinkSigner.new_from_seed(seed).public_key()
        self._account = int(account_id(token)) % _U32

    def verify(self, form: Mapping[str, str], pair_id: int, fees: tuple[Decimal, Decimal]) -> bool:
        """Whether the form's signature is the account's over exactly this order; ``fees`` are maker and taker."""
        signature = form.get("signature", "")
        if not _SIGNATURE.fullmatch(signature):
            return False
        number = int(hashlib.sha256(form["clientId"].encode()).hexdigest(), 16)
        slot, nonce = (number % _U64) / _U32, number % _U32
        maker, taker = (int((rate * 10_000).quantize(Decimal(0), ROUND_UP)) for rate in fees)
        try:
            builder = self._sdk.ContractBuilder(
                self._account, 0, int(slot), int(nonce), pair_id, _scaled(form["size"]), _scaled(form["price"]),
                form["side"] == "BUY", taker, maker, False,
            )  # fmt: skip
            message = self._sdk.Contract(builder).get_bytes()
            return bool(self._sdk.verify_musig(self._sdk.ZkLinkSignature(self.l2_key, signature), message))
        except (self._sdk.InternalError, ValueError, ArithmeticError):  # numbers that no contract can hold
            return False


def _scaled(text: str) -> str:
    return format((decimal(text) * 10**TOKEN_DECIMALS).quantize(Decimal(0), ROUND_DOWN), "f")
