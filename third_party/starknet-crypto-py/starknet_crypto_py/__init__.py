"""ECDSA and the Pedersen hash on the STARK curve, pure Python but for the hash.

All arguments and results are integers. Signatures equal those of the native ``starknet-crypto-py`` 0.2.0 bit for bit:
the nonce k is that of RFC 6979 (HMAC-SHA256) with ``seed`` as its extra entropy.
Curve: https://docs.starkware.co/starkex/crypto/stark-curve.html
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

from crypto_cpp_py.cpp_bindings import cpp_hash
from ecdsa import ellipticcurve, numbertheory, rfc6979

__all__ = ["get_public_key", "pedersen_hash", "sign", "verify"]

PRIME = 2**251 + 17 * 2**192 + 1
ORDER = 0x800000000000010FFFFFFFFFFFFFFFFB781126DCAE7B2321E66A241ADC64D2F
ALPHA = 1
BETA = 0x6F21413EFBE40DE150E596D72F7A8C5609AD26C15C915C1F4CDFCB99CEE9E89
LIMIT = 2**251  # message hashes, r and s stay below it: they must be field elements of 251 bits

_CURVE = ellipticcurve.CurveFp(PRIME, ALPHA, BETA)
_G = ellipticcurve.PointJacobi(
    _CURVE,
    0x1EF15C18599971B7BECED415A40F0C7DEACFD9B0D1819E03D723D8BC943CFCA,
    0x5668060AA49730B7BE4801DF46EC62DE53ECD11ABE43A32873000C36E8DC1F,
    1,
    ORDER,
    generator=True,  # precomputes multiples: signing takes 0.4 ms
)


def get_public_key(private_key: int) -> int:
    """x coordinate of ``private_key`` times the generator. ``ValueError`` outside 1..order-1."""
    _check_private_key(private_key)
    return int((_G * private_key).x())


def pedersen_hash(first: int, second: int) -> int:
    """Pedersen hash of two field elements (0 .. prime-1)."""
    for value in (first, second):
        if not 0 <= value < PRIME:
            raise ValueError("pedersen_hash: an argument is not a field element")
    return int(cpp_hash(first, second))


def sign(private_key: int, msg_hash: int, seed: int = 32) -> tuple[int, int]:
    """Signature (r, s) of ``msg_hash`` (below 2^251). ``ValueError`` for a key or hash out of range."""
    _check_private_key(private_key)
    if not 0 <= msg_hash < LIMIT:
        raise ValueError("sign: msg_hash is not below 2^251")
    while True:
        k = _nonce(private_key, msg_hash, seed)
        r = int((_G * k).x())
        s = (msg_hash + r * private_key) * pow(k, -1, ORDER) % ORDER
        if 0 < r < LIMIT and 0 < s < LIMIT:
            return r, s
        seed += 1  # about once in 2^55 signatures


def verify(public_key: int, msg_hash: int, r: int, s: int) -> bool:
    """Whether (r, s) signs ``msg_hash`` under the key with x coordinate ``public_key``; malformed input is False."""
    if not (0 <= msg_hash < LIMIT and 0 < r < LIMIT and 0 < s < LIMIT and 0 <= public_key < PRIME):
        return False
    point = _point(public_key)
    if point is None:
        return False
    w = pow(s, -1, ORDER)
    ours, theirs = _G * (msg_hash * w % ORDER), point * (r * w % ORDER)
    # The key is an x coordinate: the point is (x, y) or (x, -y), and either may have signed.
    sums = (ours + theirs, ours + -theirs)
    return any(total != ellipticcurve.INFINITY and int(total.x()) % ORDER == r for total in sums)


@lru_cache(maxsize=64)
def _point(public_key: int) -> ellipticcurve.PointJacobi | None:
    """A point with this x coordinate, None when the curve has none; with multiples, which makes verifying 5x faster."""
    try:
        y = numbertheory.square_root_mod_prime((public_key**3 + ALPHA * public_key + BETA) % PRIME, PRIME)
    except numbertheory.SquareRootError:
        return None
    return ellipticcurve.PointJacobi(_CURVE, public_key, y, 1, ORDER, generator=True)


def _check_private_key(private_key: int) -> None:
    if not 0 < private_key < ORDER:
        raise ValueError("private key is not in 1 .. order-1")


def _nonce(private_key: int, msg_hash: int, seed: int) -> int:
    """k of RFC 6979 section 3.2, with the extra entropy of section 3.6.

    RFC 6979 keeps the leftmost 252 bits of the data, as many as the order has. The hash itself is the number wanted,
    so it is padded with 4 low bits to fill 32 bytes, of which exactly those 4 are dropped again. (The published rule,
    pad only above 248 bits, gives the same number from a string of varying length.)
    """
    data = (msg_hash << 4).to_bytes(32, "big")
    entropy = seed.to_bytes((seed.bit_length() + 7) // 8, "big")
    return int(rfc6979.generate_k(ORDER, private_key, hashlib.sha256, data, extra_entropy=entropy))
