"""Randomness of a sweep without state: everything is a hash of the master seed and of what is asked for.

So configuration k is the same on every worker, in any order, and again after a resume.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any


def digest(*parts: Any) -> str:
    """SHA-256 (hex) of the parts' canonical JSON."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def unit(seed: int, *labels: Any) -> float:
    """A uniform number in [0, 1) of 53 bits, a pure function of its arguments."""
    return (int(digest(seed, *labels)[:16], 16) >> 11) / (1 << 53)


def trial_seed(master: int, config_hash: str) -> int:
    """Seed of one trial; 48 bits, so that it also survives in JSON and spreadsheets."""
    return int(digest("trial", master, config_hash)[:12], 16)


def shuffled(k: int, n: int, seed: int) -> int:
    """Position of ``k`` in a seeded permutation of ``range(n)``, without building it.

    A four-round Feistel network on the smallest even number of bits that holds ``n``; values beyond ``n`` are sent
    through it again (cycle walking), which keeps it a bijection.

    Raises:
        ValueError: ``k`` is not in ``range(n)``.
    """
    if not 0 <= k < n:
        raise ValueError(f"need 0 <= k < {n}, got {k}")
    half = max(1, ((n - 1).bit_length() + 1) // 2)
    mask = (1 << half) - 1
    while True:
        left, right = k >> half, k & mask
        for turn in range(4):
            left, right = right, left ^ (int(digest("shuffle", seed, n, turn, right), 16) & mask)
        k = left << half | right
        if k < n:
            return k
