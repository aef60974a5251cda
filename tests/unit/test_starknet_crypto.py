"""The drop-in signs as the native starknet-crypto-py 0.2.0 does: vectors recorded from it, and its own round trip."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import starknet_crypto_py
from hypothesis import given, settings
from hypothesis import strategies as st
from starknet_crypto_py import LIMIT, ORDER, PRIME, get_public_key, pedersen_hash, sign, verify

VECTORS = [
    {name: value if isinstance(value, int) else int(value, 16) for name, value in vector.items()}
    for vector in json.loads((Path(__file__).parent / "data" / "stark_vectors.json").read_text())
]
keys = st.integers(1, ORDER - 1)
hashes = st.integers(0, LIMIT - 1)


@pytest.mark.parametrize("v", VECTORS)
def test_recorded_vectors_bit_for_bit(v: dict[str, int]) -> None:
    assert get_public_key(v["private_key"]) == v["public_key"]
    assert sign(private_key=v["private_key"], msg_hash=v["msg_hash"], seed=v["seed"]) == (v["r"], v["s"])
    assert verify(msg_hash=v["msg_hash"], r=v["r"], s=v["s"], public_key=v["public_key"])
    assert pedersen_hash(v["pedersen_a"], v["pedersen_b"]) == v["pedersen"]


def test_the_vectors_reach_both_sides_of_the_padding_rule_and_several_seeds() -> None:
    lengths = {v["msg_hash"].bit_length() > 248 for v in VECTORS}
    assert lengths == {True, False}
    assert {0, 1, 32} <= {v["seed"] for v in VECTORS}


@settings(max_examples=15, deadline=None)
@given(key=keys, msg_hash=hashes, seed=st.integers(0, 2**64), flip=st.integers(0, 250))
def test_a_signature_verifies_and_no_changed_message_does(key: int, msg_hash: int, seed: int, flip: int) -> None:
    r, s = sign(key, msg_hash, seed)
    public = get_public_key(key)
    assert verify(public, msg_hash, r, s)
    assert not verify(public, msg_hash ^ (1 << flip), r, s)
    assert not verify(public, msg_hash, r ^ 1, s)


@settings(max_examples=15, deadline=None)
@given(key=st.integers(1, 500))
def test_public_key_against_repeated_affine_addition(key: int) -> None:
    """Slow reference: the textbook chord-and-tangent rule, ``key - 1`` times."""
    x0, y0 = starknet_crypto_py._G.x(), starknet_crypto_py._G.y()
    x, y = x0, y0
    for _ in range(key - 1):
        if (x, y) == (x0, y0):
            slope = (3 * x * x + 1) * pow(2 * y, -1, PRIME) % PRIME
        else:
            slope = (y - y0) * pow(x - x0, -1, PRIME) % PRIME
        x, y = (slope**2 - x - x0) % PRIME, (slope * (2 * x + x0 - slope**2) - y) % PRIME
    assert get_public_key(key) == x


@pytest.mark.parametrize("key", [0, -1, ORDER])
def test_a_private_key_out_of_range_is_an_error(key: int) -> None:
    with pytest.raises(ValueError, match="private key"):
        get_public_key(key)
    with pytest.raises(ValueError, match="private key"):
        sign(key, 1)


def test_the_zero_hash_can_be_signed() -> None:
    assert verify(get_public_key(5), 0, *sign(5, 0))


def test_other_arguments_out_of_range() -> None:
    with pytest.raises(ValueError, match="msg_hash"):
        sign(1, LIMIT)
    with pytest.raises(ValueError, match="field element"):
        pedersen_hash(PRIME, 0)
    r, s = sign(5, 7)
    public = get_public_key(5)
    assert not verify(public, LIMIT, r, s)
    assert not verify(public, 7, 0, s)
    assert not verify(public, 7, r, 0)
    assert not any(verify(x, 7, r, s) for x in (0, 5, PRIME))


def test_paradex_py_finds_it() -> None:
    utils = pytest.importorskip("paradex_py.account.utils")
    v = VECTORS[0]
    signature = utils.message_signature(v["msg_hash"], v["private_key"], v["seed"])
    assert signature == (v["r"], v["s"])
    assert utils.verify_message_signature(v["msg_hash"], list(signature), v["public_key"])
